"""What a run's state says of its picks, its ranking and its sub-networks."""

import pytest

from emodir_tui.runs.fold import replay
from emodir_tui.runs.state import Pick, RankingRow, RunState
from tests.support.events import event


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


@pytest.mark.parametrize(("kept", "impairment", "price"), [(0.8, 0.05, 0.25), (1.0, 0.0, None), (1.2, 0.1, None)])
def test_the_price_of_a_ranked_member_is_its_impairment_per_complexity_saved(kept, impairment, price):
    row = RankingRow(
        rank=1, level=0, complexity_kept=kept, subnetwork="sn1", member=0, local_impairment=0.0,
        global_impairment=impairment, accuracy_change=0.0, kl=0.0,
    )  # fmt: skip
    assert row.price == (price if price is None else pytest.approx(price))


def test_the_hypervolume_of_a_search_stays_when_its_front_is_measured_again_with_trained_weights():
    part = {"layers": [], "groups": [], "channels": 1, "macs": 1, "share": 1.0}
    generation = {"generation": 1, "generations": 1, "front_size": 1, "evaluations": 1}
    state = replay(
        [
            event("network_divided", subnetworks=[{"name": "sn1", **part}]),
            event("search_generation", subnetwork="sn1", round=1, hypervolume=0.41, **generation),
            event("front_finished", subnetwork="sn1", members=[], hypervolume=0.41),
            event("front_finished", subnetwork="sn1", members=[], hypervolume=0.45, stage="constrain"),
        ]
    )
    item = state.subnetworks["sn1"]
    assert (item.hypervolume, item.hypervolume_trained) == (0.41, 0.45)
    assert list(item.hypervolumes.values()) == [0.41]
