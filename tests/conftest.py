import hypothesis
import pytest

from tests.support.runner import Emodir

# No test may fail because the machine is busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


# Tests that share one of these fixtures stay in one process, so that its runs are made once.
GROUPS = {"finished": "finished", "other": "finished", "chaos": "chaos", "live": "live"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        for group in {GROUPS[name] for name in getattr(item, "fixturenames", ()) if name in GROUPS}:
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def emodir(tmp_path):
    return Emodir(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run of the tiny profile, made once; (command, the run's id, what following it printed)."""
    emodir = Emodir(tmp_path_factory.mktemp("finished"))
    result = emodir("run", "tiny.toml", "--no-tui")
    assert result.returncode == 0, result.stderr
    (run,) = (emodir.folder / "runs").iterdir()
    return emodir, run.name, result


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """The same with another seed, shared with other users, by a process of its own; (command, the run's id)."""
    emodir = Emodir(tmp_path_factory.mktemp("other"))
    result = emodir.process("run", "tiny.toml", "--no-tui", "--shared", "--set", "seed=1")
    assert result.returncode == 0, result.stderr
    (run,) = (emodir.folder / "runs").iterdir()
    return emodir, run.name
