"""Progress and the expected time to the end."""

from pathlib import Path

import pytest

from emodir_tui.runs.eta import eta_seconds
from emodir_tui.runs.events import read_all
from emodir_tui.runs.fold import apply, replay
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.state import RunState
from tests.support.events import event

RECORDED = Path(__file__).parent.parent / "data" / "recorded-run" / "events"
COSTS = {"search.sn1": 60.0, "search.sn2": 40.0, "joint": 100.0}


def run(*later, costs=COSTS, seconds=True):
    """The state of a run that began at 1000 with its search, after these events."""
    first = [
        event("run_opened", time=1000.0, attempt=1, pid=1, host="here"),
        event("plan_made", time=1000.0, costs=costs, complexity="macs", seconds=seconds),
        event("stage_started", time=1000.0, stage="search"),
    ]
    return replay([*first, *later])


def progress(time, part, done, stage="search"):
    return event("progress", time=time, stage=stage, step=0, steps=1, part=part, done=done)


def eta(state, now, word=StatusWord.RUNNING):
    return eta_seconds(state, word, now)


def test_work_as_fast_as_planned_leaves_the_rest_of_the_plan():
    state = run(progress(1030.0, "sn1", 0.5))
    assert eta(state, 1030.0) == pytest.approx(170.0)


def test_work_slower_than_planned_leaves_more_but_not_beyond_its_own_speed():
    state = run(progress(1060.0, "sn1", 0.5))
    assert 170.0 < eta(state, 1060.0) < 340.0
    # The stage's own speed counts more than the run's for what is left of it.
    state.stages["joint"].parts = {"": 0.0}
    assert 1.6 * 70.0 < eta(state, 1060.0) < 2 * 70.0


def test_between_two_reports_the_time_runs_down_to_what_comes_after_the_stage():
    state = run(progress(1030.0, "sn1", 0.5))
    assert eta(state, 1040.0) == pytest.approx(160.0)
    assert eta(state, 2000.0) == pytest.approx(100.0)


def test_no_time_is_told_before_it_means_something():
    assert eta(run(), 1000.0) is None
    assert eta(run(progress(1001.0, "sn1", 0.01)), 1001.0) is None
    # Costs of another unit than seconds are scaled by the work done.
    passes = {name: 1000.0 * cost for name, cost in COSTS.items()}
    assert eta(run(progress(1030.0, "sn1", 0.5), costs=passes, seconds=False), 1030.0) == pytest.approx(170.0)


@pytest.mark.parametrize("word", [StatusWord.PAUSED, StatusWord.LOST, StatusWord.STOPPED, StatusWord.FINISHED])
def test_a_run_that_does_not_advance_has_no_end_in_sight(word):
    assert eta(run(progress(1030.0, "sn1", 0.5)), 1030.0, word) is None


def test_a_pause_is_no_work():
    pause = [
        event("condition_changed", time=1020.0, condition="paused"),
        event("condition_changed", time=1920.0, condition="running"),
    ]
    state = run(progress(1018.0, "sn1", 0.3), *pause, progress(1930.0, "sn1", 0.5))
    assert eta(state, 1930.0) == pytest.approx(170.0)
    assert state.elapsed_seconds(1930.0) == 30.0
    paused = run(progress(1018.0, "sn1", 0.3), pause[0])
    assert eta(paused, 1500.0) is None
    assert paused.elapsed_seconds(1500.0) == 20.0


def test_a_stage_that_continues_at_a_checkpoint_did_not_do_the_first_part_in_no_time():
    state = run(
        progress(1030.0, "sn1", 0.5),
        event("run_opened", time=5000.0, attempt=2, pid=2, host="here"),
        event("plan_made", time=5000.0, costs=COSTS, complexity="macs", seconds=True),
        event("stage_started", time=5000.0, stage="search"),
        progress(5001.0, "sn1", 0.5),
        progress(5007.0, "sn1", 0.6),
    )
    assert (state.stages["search"].worked_seconds, state.stages["search"].worked_cost) == pytest.approx((36.0, 36.0))
    assert eta(state, 5007.0) == pytest.approx(164.0)


def test_parts_that_end_early_count_as_done_but_not_as_work():
    state = run(progress(1030.0, "sn1", 0.5), progress(1040.0, "sn2", 0.25))
    assert state.stages["search"].share == pytest.approx(0.7)
    assert state.stages["search"].worked_cost == pytest.approx(40.0)
    # What is left of the stage probably ends early too; of other stages nothing is known.
    assert 100.0 < eta(state, 1040.0) < 130.0


def test_progress_never_falls_within_an_attempt():
    state, before = RunState(), 0.0
    for item in read_all(RECORDED):
        apply(state, item)
        assert state.progress >= before
        before = state.progress
    assert before == pytest.approx(1.0)
    again = [event("stage_started", stage="finetune"), progress(2.0, "", 0.1, stage="finetune")]
    assert replay(again, state).progress == before


def test_progress_begins_anew_with_an_attempt_that_repeats_work():
    more = [
        event("run_opened", attempt=2, pid=2, host="here"),
        event("stage_started", stage="finetune"),
        progress(2.0, "", 0.1, stage="finetune"),
    ]
    state = replay([*read_all(RECORDED), *more])
    assert 0.5 < state.progress < 1.0


def test_fine_tuning_is_planned_for_each_pick_once_they_are_chosen():
    costs = {"search.sn1": 100.0, "finetune.knee": 50.0, "finetune.max_macs-0.4": 50.0}
    picks = [
        {"name": name, "scheme": scheme, "rule": name, "complexity_kept": 0.4} for scheme, name in enumerate(["knee"])
    ]
    state = run(event("picks_chosen", picks=picks), costs=costs)
    assert state.stages["finetune"].parts == {"knee": 50.0}
    assert run(event("picks_chosen", picks=[]), costs=costs).stages["finetune"].cost == 100.0
    more = [*picks, {"name": "scheme-7", "scheme": 7, "rule": "asked for", "complexity_kept": 0.2}]
    assert run(event("picks_chosen", picks=more), costs=costs).stages["finetune"].cost == 100.0
