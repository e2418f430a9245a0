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
