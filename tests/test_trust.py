"""What is only read runs no code: the user's modules are imported only if a profile on the command line names them."""

import json
import os
import shutil
import sys

import pytest
import torch

from emodir_tui.errors import ConflictError, ProfileError
from emodir_tui.nets.export.pruned_file import save_pruned
from emodir_tui.nets.removal import structure
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.launch import check_resumable
from emodir_tui.user_code import allow_user_code, load_callable, user_code_refused
from tests.support.models import graph_of, zoo_model

OTHER = 12345
EVIL = "import pathlib\npathlib.Path('ran').touch()\n\ndef make(*arguments):\n    pathlib.Path('called').touch()\n"


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """Writes the file of an unpruned network that claims this model source."""
    model, x = zoo_model("digits-resnet")
    graph = graph_of(model, x)
    described = json.dumps(structure(graph, torch.ones(graph.genes, dtype=torch.bool).numpy()))

    def write(path, source="digits-resnet", **details):
        save_pruned(
            path,
            dict(model.state_dict()),
            structure=described,
            source=source,
            classes=10,
            input_shape=(1, 8, 8),
            details={"accuracy": 0.5, **details},
        )
        return path

    return write


@pytest.fixture
def strangers(emodir, pruned):
    """A stranger's run in the current folder, with a module beside it: (the command, its pruned file)."""
    (emodir.folder / "evil.py").write_text(EVIL)
    (emodir.folder / "run").mkdir()

    def make(data="evil:make", model="digits-resnet"):
        (emodir.folder / "run" / "profile.toml").write_text(
            f'[model]\nsource = "{model}"\n[data]\nsource = "{data}"\nsearch_images = 60\n[search]\nimages = 40\n'
        )
        return str(pruned(emodir.folder / "run" / "export" / "knee.safetensors", model))

    return emodir, make


def untouched(emodir):
    return not (emodir.folder / "ran").exists() and not (emodir.folder / "called").exists()


@pytest.mark.parametrize("source", ["evil:make", "os:abort", "http.server:test"])
def test_verify_measures_no_accuracy_with_code_that_the_file_brings(strangers, source):
    emodir, make = strangers
    result = emodir("verify", make(source))
    assert f"not measured: data.source names code, {source}" in result.stdout
    assert "name the profile to allow it: --profile" in result.stdout
    assert untouched(emodir)


@pytest.mark.parametrize("odd", ["text", [], {}, [None], 10**400, True, None])
def test_what_a_file_claims_may_be_anything(emodir, pruned, odd):
    names = ("accuracy", "macs", "params", "macs_kept", "params_kept", "mean", "std", "run", "pick", "rule")
    path = pruned(emodir.folder / "x.safetensors", **dict.fromkeys(names, odd))
    for more in ([], ["--json"]):
        assert emodir("verify", str(path), *more).returncode in (0, 1)


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_model_made_by_code_is_not_built_because_the_profile_beside_it_says_so(strangers, command):
    emodir, make = strangers
    file = make("digits", "evil:make")
    if command == "verify":
        result = emodir("verify", file)
    else:
        chosen = {"name": "knee", "scheme": 0, "rule": "knee", "complexity_kept": 0.5}
        lines = [
            {"kind": "picks_chosen", "picks": [chosen]},
            {"kind": "pick_finished", "pick": "knee", "accuracy": 0.5, "file": "export/knee.safetensors"},
        ]
        (emodir.folder / "run" / "events").mkdir()
        (emodir.folder / "run" / "events" / "0001.jsonl").write_text(
            "".join(json.dumps({"v": 1, "seq": at, "time": 1.0} | line) + "\n" for at, line in enumerate(lines, 1))
        )
        result = emodir("export", "run", "--runs-dir", ".")
    assert result.returncode == 2, result.stderr
    assert "evil:make" in result.stderr
    assert "--profile" in result.stderr
    assert untouched(emodir)


def test_an_owner_who_names_the_profile_allows_its_code(strangers):
    emodir, make = strangers
    result = emodir("verify", make("evil:make"), "--profile", "run/profile.toml")
    assert (emodir.folder / "called").exists()
    assert result.returncode == 2


def test_the_current_folder_is_not_searched_for_modules_unless_a_profile_is_named(strangers, monkeypatch):
    emodir, make = strangers
    seen = []
    monkeypatch.setattr("emodir_tui.reports.verify.read_pruned", lambda path: seen.append(list(sys.path)) or 1 / 0)
    # Libraries try imports of what is not installed, and would find a module of that name.
    for arguments in ([], ["--profile", "run/profile.toml"]):
        with pytest.raises(ZeroDivisionError):
            emodir("verify", make("digits"), *arguments)
    assert [str(emodir.folder) in path for path in seen] == [False, True]


def test_code_is_refused_where_it_would_be_imported_and_allowed_again_afterwards():
    with user_code_refused("Name it."):
        with pytest.raises(ProfileError, match=r"data\.source names code, os:getcwd, which would be run") as caught:
            load_callable("data.source", "os:getcwd")
        assert caught.value.hint == "Name it."
        allow_user_code()
        assert load_callable("data.source", "os:getcwd") is os.getcwd
    assert load_callable("data.source", "os:getcwd") is os.getcwd


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("given", [".", "profile.toml", "run.json"])
def test_a_run_is_not_resumed_if_another_user_says_what_it_runs(tmp_path, given):
    for name in ("profile.toml", "run.json"):
        (tmp_path / name).write_text("{}" if name == "run.json" else "")
    os.chown(tmp_path / given, OTHER, OTHER)
    with pytest.raises(ConflictError, match="another user"):
        check_resumable(RunDirectory(tmp_path))


@pytest.mark.parametrize("command", [["resume"], ["realise", "--scheme"]])
def test_a_resume_says_which_code_it_runs(finished, tmp_path, command):
    emodir, run, _ = finished
    shutil.copytree(emodir.folder / "runs" / run, tmp_path / run)
    directory = RunDirectory(tmp_path / run)
    text = directory.profile_file.read_text()
    directory.profile_file.write_text(text.replace('"digits-resnet"', '"gone:make"'))
    from emodir_tui.runs.events import read_all
    from emodir_tui.runs.fold import replay

    taken = {pick.scheme for pick in replay(read_all(directory.events_folder)).picks.values()}
    free = next(str(number) for number in range(5) if number not in taken)
    if command == ["resume"]:
        from emodir_tui.runs.picks import add_pick

        add_pick(directory, int(free))
    arguments = [command[0], run, *command[1:], *([free] if command[1:] else []), "--runs-dir", str(tmp_path)]
    result = emodir(*arguments, "--detach")
    assert "it runs code: model.source gone:make" in result.stderr
