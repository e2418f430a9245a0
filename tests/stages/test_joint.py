from types import SimpleNamespace

import pytest

from emodir_tui.nets.measures.latency import LatencyTable
from emodir_tui.profile import Complexity, Pick, Profile, budgets
from emodir_tui.stages import joint


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("macs", [0.3, 0.5]), ("params", [0.4]), ("latency", [5, 40])],
)
def test_budgets_are_those_on_the_searched_complexity(kind, expected):
    rules = ["knee", "max_macs=0.5", "max_macs=0.3", "max_params=0.4", "max_latency_ms=5", "max_latency_ms=40"]
    profile = Profile(complexity=Complexity(kind=kind), pick=Pick(rules=rules))
    assert budgets(profile) == expected


def test_limits_are_shares_and_an_estimate_that_is_too_low_by_its_error_holds_them_too():
    rules = Pick(rules=["max_latency_ms=5", "max_latency_ms=40"])
    profile = Profile(complexity=Complexity(kind="latency"), pick=rules)
    network = SimpleNamespace(bench=SimpleNamespace(profile=profile), unpruned_complexity=20.0)
    table = LatencyTable(layers=[], fixed_ms=0.0, error=0.1)
    assert joint._budgets_searched(network, table) == pytest.approx([0.225, 0.25])
