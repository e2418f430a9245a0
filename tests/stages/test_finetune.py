from dataclasses import replace
from pathlib import Path

import pytest

from emodir_tui import snapshot
from emodir_tui.bench import open_bench
from emodir_tui.profile import load
from emodir_tui.results import Pick, Pruned
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.run import Run
from emodir_tui.stages import finetune as stage
from emodir_tui.stages.finetune import Finished, finetune
from tests.support.results import original_of


def said_of(tmp_path, monkeypatch, rule, **measured):
    """What the stage says of one pick."""
    profile = load(Path("profiles/digits.toml"), [])
    bench = open_bench(profile)
    pick = Pick(name="knee", scheme=0, rule=rule, complexity=0.5)
    made = Pruned(
        pick=pick, structure="{}", weights={}, macs=1, params=1, macs_kept=0.5, params_kept=0.5,
        removal_max_difference=0.0, accuracy_recalibrated=0.9,
    )  # fmt: skip
    finished = Finished(
        name="knee", weights={}, **{"accuracy": 0.9, "latency_ms": 6.0, "baseline_latency_ms": 9.0, **measured}
    )
    monkeypatch.setattr(stage, "_finish", lambda *_: replace(finished))
    monkeypatch.setattr(stage, "save_pruned", lambda *_, **__: None)
    said = []
    with Run(RunDirectory(tmp_path), profile, snapshot) as run:
        monkeypatch.setattr(run, "log", lambda text, *_: said.append(text))
        finetune(run, bench, original_of({}), [made])
    return said


@pytest.mark.parametrize(("after", "reported"), [(0.75, True), (0.895, False), (0.95, False)])
def test_a_pick_that_fine_tuning_made_worse_is_told_with_what_to_try(tmp_path, monkeypatch, after, reported):
    said = said_of(tmp_path, monkeypatch, "knee", accuracy=after)
    assert any("fine-tuning made 'knee' worse (90.00 % before, 75.00 % after)" in text for text in said) is reported


@pytest.mark.parametrize(
    ("rule", "reported"),
    [("max_latency_ms=5", True), ("max_latency_ms=6", False), ("asked for", False), ("max_macs=0.5", False)],
)
def test_a_pick_that_is_slower_than_its_rule_allows_is_told(tmp_path, monkeypatch, rule, reported):
    said = said_of(tmp_path, monkeypatch, rule)
    assert (
        any("takes 6.00 ms now, more than its rule allows, and the original 9.00 ms" in text for text in said)
        is reported
    )
