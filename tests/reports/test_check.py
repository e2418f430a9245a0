"""`emodir check`'s estimates."""

from pathlib import Path

import pytest

from emodir_tui.profile import load
from emodir_tui.reports import check as checking


def test_where_reading_images_takes_longer_than_computing_it_decides_the_time(monkeypatch):
    profile = load(Path("profiles/digits.toml"), ["finetune.epochs=2", "pick.rules=knee,max_macs=0.4"])
    fast = checking.check_profile(profile)
    monkeypatch.setattr(checking, "_reading_seconds", lambda _: 10.0)
    slow = checking.check_profile(profile)
    read = 2 * 2 * slow["images"]["train"]
    assert slow["estimated_seconds"]["finetune"] == pytest.approx(10.0 * read)
    assert slow["estimated_seconds"]["constrain"] == pytest.approx(10.0 * 180 * 64)
    assert fast["estimated_seconds"]["finetune"] < 10.0 * read
    # Searches read their few images once.
    assert slow["estimated_seconds"]["search"] < slow["estimated_seconds"]["constrain"] / 100


def test_reading_is_measured_on_the_training_images():
    bench = checking.open_bench(load(Path("profiles/digits.toml"), []))
    assert 0 < checking._reading_seconds(bench) < 0.01
