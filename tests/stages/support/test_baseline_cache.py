import stat
from pathlib import Path

import pytest
import torch

from emodir_tui import snapshot
from emodir_tui.bench import open_bench
from emodir_tui.profile import load
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.run import Run
from emodir_tui.stages.support.baseline_cache import cache_file, read_cached, write_cached


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return open_bench(load(Path("profiles/digits.toml")))


def test_a_cached_baseline_is_found_by_the_same_profile_alone_and_trained_again_where_damaged(bench, tmp_path):
    weights = bench.model().state_dict()
    with Run(RunDirectory(tmp_path), bench.profile, snapshot) as run:
        assert read_cached(run, bench) is None
        write_cached(run, bench, weights)
        found = read_cached(run, bench)
        assert found is not None
        assert all(torch.equal(found[name], value) for name, value in weights.items())
        other = open_bench(load(Path("profiles/digits.toml"), ["seed=1"]))
        assert read_cached(run, other) is None
        cache_file(bench).write_bytes(cache_file(bench).read_bytes()[:-40])
        assert read_cached(run, bench) is None


def test_a_cache_that_cannot_be_written_is_reported_and_the_run_continues(bench, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said = []
    with Run(RunDirectory(tmp_path), bench.profile, snapshot) as run:
        monkeypatch.setattr(run, "log", lambda text, *_, **__: said.append(text))
        write_cached(run, bench, bench.model().state_dict())
    assert any("cannot be cached" in text for text in said)


def test_nobody_else_can_read_the_cache_even_one_of_an_earlier_version(bench, tmp_path):
    folder = cache_file(bench).parent
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    old = folder / "baseline-0123456789abcdef.result"
    old.write_bytes(b"")
    old.chmod(0o644)
    with Run(RunDirectory(tmp_path), bench.profile, snapshot) as run:
        write_cached(run, bench, bench.model().state_dict())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, old, cache_file(bench))}
        assert list(modes.values()) == [0o700, 0o600, 0o600]
        # Who only reads it makes it private too.
        folder.chmod(0o755)
        assert read_cached(run, bench) is not None
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
