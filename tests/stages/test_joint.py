from types import SimpleNamespace

import numpy as np
import pytest

from emodir_tui.nets.measures.latency import LatencyTable
from emodir_tui.problems.members import FrontMembers
from emodir_tui.problems.network import GlobalImpairment
from emodir_tui.profile import Complexity, Pick, Profile, budgets
from emodir_tui.results import Schemes
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


def test_the_accuracies_of_the_joint_front_count_as_progress():
    keep_vectors = np.ones((3, 2), dtype=np.bool_)

    def measure(vectors, check=lambda: None):
        for _ in vectors:
            check()
        return [GlobalImpairment(features=0.0, kl=0.0, accuracy=0.5)] * len(vectors)

    checked = []
    run = SimpleNamespace(check=lambda: checked.append(True), emit=lambda event: None)
    network = SimpleNamespace(global_impairments=measure, original_accuracy=0.9)
    schemes = Schemes(
        keep_vectors=keep_vectors,
        objectives=np.zeros((3, 2)),
        reference=(1.0, 1.0),
        hypervolumes=(0.5,),
        evaluations=3,
    )
    members = [FrontMembers(name="sn1", keep_vectors=keep_vectors[:1], local_impairments=np.zeros(1))]
    front = joint._front(run, schemes, network, members)
    assert len(checked) == 3
    assert front.accuracies.tolist() == [0.5] * 3
