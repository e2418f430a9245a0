"""Whole networks, gene by gene and as schemes of members."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from emodir_tui.bench import keep_all, open_bench
from emodir_tui.problems.gene_by_gene import GeneByGeneProblem
from emodir_tui.problems.members import FrontMembers, MembersProblem
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.profile import load


def network_of(*overrides):
    torch.manual_seed(0)
    bench = open_bench(load(Path("profiles/digits.toml"), list(overrides)))
    graph, division = bench.try_division()
    batches = bench.batches(bench.data.search, 40, 20)
    return NetworkProblem(bench, graph, graph, division, bench.complexity(), batches)


def test_a_search_that_is_over_holds_no_features_even_before_the_collector_looks():
    network = network_of()
    problem = GeneByGeneProblem(network, np.ones(network.graph.genes))
    nsga2 = problem.search(seed=0, parents=2)
    np.testing.assert_array_equal(problem.keep_vectors(nsga2.space.ends)[0], keep_all(network.graph)[0])
    problem.objectives(nsga2.space.ends)
    problem.effects(nsga2.space.ends)
    known = weakref.ref(network)
    gc.disable()
    try:
        del nsga2, problem, network
        assert known() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_objectives_are_the_complexity_and_the_error_with_the_capacity_in_its_odds(weight):
    network = network_of(f"joint.capacity={weight}")
    problem = GeneByGeneProblem(network, np.ones(network.graph.genes))
    masks = problem.genome.repair(np.random.default_rng(0).random((5, problem.genome.length)) < 0.7)
    keep_vectors = problem.keep_vectors(masks)
    found, errors = problem.objectives(masks), network.feature_errors(keep_vectors)
    np.testing.assert_allclose(found[:, 0], problem.complexity(masks))
    odds = errors / (1 - errors) * np.exp(weight * (1 - network.capacity.kept(keep_vectors)))
    np.testing.assert_allclose(found[:, 1], odds / (1 + odds), rtol=1e-6)


def test_by_kl_the_impairment_is_the_divergence_alone():
    network = network_of("joint.impairment=kl")
    keep_vectors = keep_all(network.graph, 2)
    keep_vectors[1, network.graph.groups[0].start] = False
    found = network.objectives(keep_vectors)[:, 1]
    np.testing.assert_allclose(found, network.divergences(keep_vectors))
    assert found[1] > found[0] == pytest.approx(0, abs=1e-6)


def test_a_scheme_of_members_keeps_what_every_member_keeps():
    network = network_of()
    members = []
    for part in network.division.subnetworks:
        keep_vectors = keep_all(network.graph, 2)
        keep_vectors[0, [network.graph.groups[number].start for number in part.groups]] = False
        members.append(FrontMembers(name=part.name, keep_vectors=keep_vectors, local_impairments=np.zeros(2)))
    problem = MembersProblem(network=network, members=members)
    positions = np.array([[0] * len(members), [1] * len(members)])
    together = np.logical_and.reduce([front.keep_vectors[0] for front in members])
    expected = network.objectives(np.stack([together, keep_all(network.graph)[0]]))
    np.testing.assert_array_equal(problem.objectives(positions), expected)
