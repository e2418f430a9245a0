from pathlib import Path

import numpy as np
import pytest
import torch

from emodir_tui import snapshot
from emodir_tui.bench import open_bench, weights_of
from emodir_tui.errors import EmodirError
from emodir_tui.profile import load
from emodir_tui.results import Adapted, JointFront, Pruned
from emodir_tui.runs.checkpoint import Results
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.picks import add_pick, extra_picks
from emodir_tui.runs.run import Run
from emodir_tui.snapshot import unpack
from emodir_tui.stages import realise
from emodir_tui.stages.realise import _FrontSchemes
from emodir_tui.stages.support import pick_rules
from emodir_tui.stages.support.chain_training import TrainedWeights
from emodir_tui.stages.support.pick_rules import select_picks
from tests.support.results import original_of


def front_of(kept):
    keep_vectors = np.random.default_rng(0).random((len(kept), 60)) < kept[:, None]
    return JointFront(
        positions=np.zeros((len(kept), 1), dtype=np.int64),
        changed=np.zeros(len(kept), dtype=np.int64),
        keep_vectors=keep_vectors,
        objectives=np.stack([kept, 1 - kept], axis=1),
        accuracies=kept,
        original_accuracy=1.0,
        hypervolumes=(0.5,),
        evaluations=len(kept),
    )


def places(front, draw, steps):
    """The complexity of each step's scheme, which must be one of the front's."""
    found = []
    for step in range(steps):
        same = (front.keep_vectors == draw(step)).all(axis=1)
        assert same.any()
        found.append(front.objectives[same, 0].mean())
    return np.array(found)


def test_the_last_training_draws_evenly_over_complexities_however_members_crowd():
    front = front_of(np.concatenate([np.linspace(0.1, 0.2, 80), np.linspace(0.25, 1, 16)]))
    found = places(front, _FrontSchemes(front, [], seed=0), 400)
    counts, _ = np.histogram(found, bins=3, range=(0.1, 1))
    assert counts.min() > 100
    assert found.min() < 0.12
    assert found.max() == 1


def test_half_of_the_last_training_is_for_the_picks_and_the_rest_for_what_may_be_asked_for():
    front = front_of(np.linspace(0.01, 1, 100))
    found = places(front, _FrontSchemes(front, [29, 49], seed=0), 1000)
    counts = np.bincount(np.rint(100 * found).astype(int), minlength=101)
    assert 200 < counts[30] < 310
    assert 200 < counts[50] < 310
    assert np.count_nonzero(counts) > 90


def test_a_step_always_draws_the_same_scheme_and_another_seed_others():
    front = front_of(np.linspace(0.01, 1, 100))
    draws = [[_FrontSchemes(front, [3], seed)(step) for step in range(40)] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_picks_are_cut_from_the_weights_of_the_last_training(finished):
    emodir, run, _ = finished
    results = Results(RunDirectory(emodir.folder / "runs" / run))
    trained = unpack(results.load("realise.chain").payload, TrainedWeights).weights
    before = unpack(results.load("constrain").payload, Adapted).weights
    for made in unpack(results.load("realise").payload, list[Pruned]):
        filters = {name: weight for name, weight in made.weights.items() if name.endswith("conv1.weight")}
        assert filters
        for name, weight in filters.items():
            assert torch.isin(weight, trained[name]).all()
            assert not torch.isin(weight, before[name]).all()


def test_what_the_rules_chose_stays_though_latencies_vary_and_what_is_not_there_is_forgotten(tmp_path, monkeypatch):
    profile = load(Path("profiles/digits.toml"), ['pick.rules=["max_latency_ms=1", "knee"]'])
    bench = open_bench(profile)
    front = front_of(np.linspace(0.1, 1, 10))
    latencies = [np.linspace(0.1, 2, 10), np.linspace(0.3, 6, 10)]
    monkeypatch.setattr(pick_rules, "_measure", lambda *_: latencies[0].__getitem__)
    with Run(RunDirectory(tmp_path), profile, snapshot) as run:
        before = select_picks(run, bench, front)
        latencies.pop(0)
        add_pick(run.directory, 9)
        add_pick(run.directory, 10)
        after = select_picks(run, bench, front)
        assert extra_picks(run.directory) == [9]
    assert after[:-1] == before
    assert [pick.rule for pick in before] == ["max_latency_ms=1", "knee"]
    assert after[-1].name == "scheme-9"


def test_what_is_asked_for_does_not_change_the_last_training(tmp_path, monkeypatch):
    profile = load(Path("profiles/digits.toml"), ["pick.rules=knee,max_macs=0.4"])
    bench = open_bench(profile)
    weights = weights_of(bench.model())
    front = front_of(np.linspace(0.1, 1, 40))
    monkeypatch.setattr(pick_rules, "_measure", lambda *_: front.objectives[:, 0].__getitem__)
    trained = []

    def fit(*arguments, **_):
        trained.append([arguments[-1](step) for step in range(60)])
        return TrainedWeights(weights=weights)

    monkeypatch.setattr(realise, "fit_chain", fit)
    for asked in ([], [20, 30]):
        folder = tmp_path / str(len(asked))
        folder.mkdir()
        with Run(RunDirectory(folder), profile, snapshot) as run:
            for scheme in asked:
                add_pick(run.directory, scheme)
            picks = select_picks(run, bench, front)
            adapted = Adapted(weights=weights, fronts=[])
            realise._trained_weights(run, bench, original_of(weights), adapted, front, picks)
            assert len(picks) == 2 + len(asked)
    np.testing.assert_array_equal(trained[0], trained[1])
    picked = [any((draw == front.keep_vectors[pick.scheme]).all() for pick in picks[:2]) for draw in trained[0]]
    assert 20 < sum(picked) < 50


def test_rules_that_nothing_satisfies_are_told_before_anything_is_trained(tmp_path, monkeypatch):
    profile = load(Path("profiles/digits.toml"), ['pick.rules=["max_macs=0.05"]'])
    bench = open_bench(profile)
    monkeypatch.setattr(pick_rules, "_measure", lambda *_: np.linspace(0.1, 1, 10).__getitem__)
    monkeypatch.setattr(realise, "fit_chain", None)
    with (
        pytest.raises(EmodirError, match="no pick rule can be satisfied"),
        Run(RunDirectory(tmp_path), profile, snapshot) as run,
    ):
        realise.realise(run, bench, original_of({}), None, front_of(np.linspace(0.1, 1, 10)))
