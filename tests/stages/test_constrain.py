import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emodir_tui import snapshot
from emodir_tui.bench import keep_all, open_bench, weights_of
from emodir_tui.nets.division import distillation_cuts, divide_network
from emodir_tui.problems import subnetwork
from emodir_tui.problems.genes import gene_positions
from emodir_tui.problems.members import FrontMembers
from emodir_tui.profile import load
from emodir_tui.results import Front, Importance
from emodir_tui.runs.checkpoint import Results
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.run import Run
from emodir_tui.snapshot import unpack
from emodir_tui.stages.constrain import _measure_all, _MemberSchemes, _remeasured
from emodir_tui.stages.divide import divide as divide_stage
from emodir_tui.stages.search import search
from emodir_tui.stages.support.chain_training import Chain
from emodir_tui.training.loop import TrainingPlan, train
from tests.support.results import original_of

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.fixture(scope="module")
def bench():
    return open_bench(load(Path("profiles/digits.toml")))


@pytest.fixture
def chain_of(bench):
    """A function that makes a chain over fronts of nested masks; (the chain, the network that it trains, its fronts)."""
    torch.manual_seed(0)
    weights = bench.model().state_dict()

    def make(*, feature=1.0, cross=1.0, shares=SHARES):
        graph, trained = bench.graph(weights), bench.graph(weights)
        division = divide_network(graph)
        members = [
            FrontMembers(
                name=part.name, keep_vectors=nested(graph, part, shares), local_impairments=np.zeros(len(shares))
            )
            for part in division.subnetworks
        ]
        settings = bench.profile.constrain.model_copy(update={"feature_weight": feature, "cross_weight": cross})
        weighted = replace(bench, profile=bench.profile.model_copy(update={"constrain": settings}))
        schemes = _MemberSchemes(members, 0)
        chain = Chain(weighted, graph, trained, distillation_cuts(graph), schemes)
        return chain, trained.network.model, members

    return make


def nested(graph, part, shares):
    keep_vectors = keep_all(graph, len(shares))
    draws = np.random.default_rng(0)
    genes = gene_positions(graph, part.groups)
    order = draws.random(len(genes))
    for number in part.groups:
        group = graph.groups[number]
        # The first gene of each group stays.
        order[genes == group.start] = 0
    for row, share in enumerate(shares):
        keep_vectors[row, genes[order > share]] = False
    return keep_vectors


def images(bench):
    return next(iter(bench.data.search.first(50).batches(50)))


def test_an_unpruned_chain_with_the_original_weights_has_no_error(bench, chain_of):
    chain, model, _ = chain_of(shares=(1.0,))
    assert chain(model, *images(bench), 0).item() == pytest.approx(0.0, abs=1e-5)


def test_the_members_of_a_scheme_are_about_equally_pruned_and_schemes_span_the_fronts(chain_of):
    _, _, members = chain_of()
    draw = _MemberSchemes(members, 0)
    own = [~front.keep_vectors.all(axis=0) for front in members]
    positions = []
    for step in range(200):
        keep = draw(step)
        np.testing.assert_array_equal(keep, draw(step))
        same = [
            (front.keep_vectors[:, genes] == keep[genes]).all(axis=1) for front, genes in zip(members, own, strict=True)
        ]
        positions.append([int(np.flatnonzero(found)[0]) for found in same])
    assert np.ptp(positions, axis=1).mean() < 1
    assert {0, len(SHARES) - 1} <= set(np.ravel(positions).tolist())


def test_both_constraints_reach_the_first_subnetwork_and_either_can_be_left_out(bench, chain_of):
    losses = {}
    for feature, cross in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        chain, model, _ = chain_of(feature=feature, cross=cross)
        loss = chain(model, *images(bench), 3)
        loss.backward()
        first = next(weight for weight in model.parameters() if weight.dim() == 4)
        assert float(first.grad.abs().sum()) > 0
        losses[feature, cross] = loss.item()
    assert losses[1.0, 1.0] == pytest.approx(losses[1.0, 0.0] + losses[0.0, 1.0], rel=1e-4)


def test_training_brings_schemes_nearer_to_the_original(bench, chain_of):
    chain, model, _ = chain_of()

    def distance():
        with torch.no_grad():
            return np.mean([float(chain(model, *images(bench), step)) for step in range(1000, 1010)])

    before = distance()
    train(model, bench.data.train, chain, TrainingPlan(steps=40, batch=50, learning_rate=0.02), on_step=lambda _: None)
    assert distance() < 0.8 * before


def searched_and_measured_again(folder, bench):
    """The fronts of a short search, and these measured again with the same weights."""
    with Run(RunDirectory(folder), bench.profile, snapshot) as run:
        weights = weights_of(bench.model())
        original = original_of(weights)
        parts = divide_stage(run, bench)
        fronts = search(run, bench, original, parts)
        importance = run.load_part("search.importance", Importance).values
        return fronts, _measure_all(
            run, bench, original, weights, parts, fronts, importance, bench.profile.search.batch
        )


SMALL = {"population": 8, "generations": 1, "images": 60, "batch": 20}


@pytest.mark.parametrize(
    "setting", [{"impairment": "features"}, {"impairment": "detector"}, {"impairment": "downstream"}, {"memory": 0.4}]
)
def test_unchanged_weights_measured_again_give_what_the_search_measured(tmp_path, setting):
    profile = load(Path("profiles/digits.toml"))
    profile = profile.model_copy(update={"search": profile.search.model_copy(update={**SMALL, **setting})})
    fronts, again = searched_and_measured_again(tmp_path, open_bench(profile))
    for front, other in zip(fronts, again, strict=True):
        np.testing.assert_array_equal(front.masks, other.masks)
        np.testing.assert_allclose(front.objectives, other.objectives, rtol=1e-5)
        assert len(other.hypervolumes) == 1
        assert other.hypervolumes[0] == pytest.approx(front.hypervolumes[-1], rel=1e-5)


def test_the_caches_of_one_sub_network_are_freed_before_the_next_features_are_computed(tmp_path, monkeypatch):
    profile = load(Path("profiles/digits.toml"))
    profile = profile.model_copy(update={"search": profile.search.model_copy(update=SMALL)})
    bench = open_bench(profile)
    problems, alive = weakref.WeakSet(), []
    make, features = subnetwork.SubnetworkProblem, subnetwork.unpruned_outputs

    def made(**fields):
        problem = make(**fields)
        problems.add(problem)
        return problem

    def computed(*arguments):
        alive.append(len(problems))
        return features(*arguments)

    monkeypatch.setattr(subnetwork, "SubnetworkProblem", made)
    monkeypatch.setattr(subnetwork, "unpruned_outputs", computed)
    fronts, _ = searched_and_measured_again(tmp_path, bench)
    assert alive == [0] * (2 * len(fronts))


def test_a_second_round_begins_with_the_whole_front_of_the_first(finished):
    emodir, run, _ = finished
    results = Results(RunDirectory(emodir.folder / "runs" / run))
    first = unpack(results.load("search.sn1").payload, Front)
    second = unpack(results.load("constrain.front.sn1").payload, Front)
    # As many again as were measured anew, and two generations of eight.
    assert second.evaluations >= first.evaluations + len(first.masks) + 2


def test_a_member_that_breaks_under_other_weights_leaves_hypervolumes_finite():
    front = Front(
        subnetwork="sn1",
        masks=np.eye(3, dtype=bool),
        objectives=np.array([[0.2, 0.9], [0.5, 0.5], [1.0, 0.0]]),
        reference=(1.0, 0.9),
        hypervolumes=(0.3,),
        evaluations=3,
    )
    broken = _remeasured(front, np.array([[0.2, np.inf], [0.5, 0.6], [1.0, 0.1]]))
    assert np.isfinite(broken.objectives).all()
    assert np.isfinite(broken.hypervolumes).all()
    assert broken.reference == (1.0, 0.9)
