"""What a run's state says of its picks."""

import pytest

from emodir_tui.runs.state import Pick, RunState


def pick(name, accuracy, complexity, rule="knee", **measured):
    return Pick(name=name, scheme=0, rule=rule, accuracy=accuracy, complexity_kept=complexity, **measured)


@pytest.mark.parametrize(
    ("picks", "best"),
    [
        ([], None),
        ([pick("unfinished", None, 0.3)], None),
        ([pick("worse", 0.90, 0.3), pick("better", 0.91, 0.6)], "better"),
        ([pick("larger", 0.91, 0.6), pick("smaller", 0.91, 0.5)], "smaller"),
        (
            [
                pick("slow", 0.95, 0.6, "max_latency_ms=5", latency_ms=5.2),
                pick("quick", 0.91, 0.5, "max_latency_ms=4", latency_ms=3.9),
            ],
            "quick",
        ),
        ([pick("slow", 0.95, 0.6, "max_latency_ms=5", latency_ms=5.2)], None),
        ([pick("limit", 0.95, 0.5, "max_macs=0.5", macs_kept=0.5)], "limit"),
        ([pick("above", 0.95, 0.6, "max_params=0.5", params_kept=0.6)], None),
        ([pick("unmeasured", 0.95, 0.5, "max_latency_ms=5")], "unmeasured"),
        ([pick("odd", 0.95, 0.5, "max_macs=?", macs_kept=0.5)], None),
    ],
)
def test_the_best_pick_is_the_most_accurate_that_satisfies_its_rule_and_of_equals_the_smallest(picks, best):
    state = RunState(picks={item.name: item for item in picks})
    assert (state.best_pick.name if state.best_pick else None) == best
