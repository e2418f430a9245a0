import gc
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from emodir_tui.bench import keep_all, open_bench, weights_of
from emodir_tui.nets.measures.latency import LatencyTable
from emodir_tui.problems.gene_by_gene import GeneByGene
from emodir_tui.problems.members import FrontMembers, nearest_members
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.profile import Complexity, Pick, Profile, budgets, load
from emodir_tui.results import Adapted, Parts
from emodir_tui.stages import joint


def front(name, rows):
    keep_vectors = np.array([[digit == "1" for digit in row] for row in rows])
    return FrontMembers(name=name, keep_vectors=keep_vectors, local_impairments=np.zeros(len(rows)))


def test_a_scheme_of_members_is_its_own_and_a_changed_one_tells_how_many_genes_differ():
    members = [front("sn1", ["001111", "011111", "111111"]), front("sn2", ["111001", "111101", "111111"])]
    schemes = np.array([[digit == "1" for digit in row] for row in ("011101", "001001", "101110", "111111")])
    positions, changed = nearest_members(members, schemes)
    assert positions[[0, 1, 3]].tolist() == [[1, 1], [0, 0], [2, 2]]
    assert changed.tolist() == [0, 0, 2, 0]


def test_a_polishing_that_is_over_holds_no_features_even_before_the_collector_looks():
    bench = open_bench(load(Path("profiles/digits.toml")))
    weights = weights_of(bench.model())
    whole = NetworkProblem(bench, weights, Adapted(weights=weights, fronts=[]), Parts(cuts=(), names=()), 40, 20)
    genes = whole.graph.genes
    search = GeneByGene(bench, whole, np.ones(genes), 0, 2)
    np.testing.assert_array_equal(
        search.expand(search.guidance.children.__self__._nsga2.space.ends)[0], keep_all(whole.graph)[0]
    )
    known = weakref.ref(whole)
    gc.disable()
    try:
        del search, whole
        assert known() is None
    finally:
        gc.enable()


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
    bench = SimpleNamespace(profile=profile, latencies=LatencyTable(layers=[], fixed_ms=0.0, error=0.1))
    assert joint._limits(bench, SimpleNamespace(total=20.0)) == pytest.approx([0.225, 0.25])
