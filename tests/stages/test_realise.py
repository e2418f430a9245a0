import numpy as np
import torch

from emodir_tui.runs.checkpoint import Results
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.snapshot import unpack
from emodir_tui.stages.chain import CHAIN, Fitted
from emodir_tui.stages.realise import drawn_from
from emodir_tui.stages.results import Adapted, JointFront, Pruned


def front_of(kept):
    keeps = np.random.default_rng(0).random((len(kept), 60)) < kept[:, None]
    return JointFront(
        positions=np.zeros((len(kept), 1), dtype=np.int64),
        changed=np.zeros(len(kept), dtype=np.int64),
        keeps=keeps,
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
        same = (front.keeps == draw(step)).all(axis=1)
        assert same.any()
        found.append(front.objectives[same, 0].mean())
    return np.array(found)


def test_the_last_training_draws_evenly_over_complexities_however_members_crowd():
    front = front_of(np.concatenate([np.linspace(0.1, 0.2, 80), np.linspace(0.25, 1, 16)]))
    found = places(front, drawn_from(front, seed=0), 400)
    counts, _ = np.histogram(found, bins=3, range=(0.1, 1))
    assert counts.min() > 100
    assert found.min() < 0.12
    assert found.max() == 1


def test_a_step_always_draws_the_same_scheme_and_another_seed_others():
    front = front_of(np.linspace(0.01, 1, 100))
    draws = [[drawn_from(front, seed)(step) for step in range(40)] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_picks_are_cut_from_the_weights_of_the_last_training(finished):
    emodir, run, _ = finished
    results = Results(RunDirectory(emodir.folder / "runs" / run))
    trained = unpack(results.load(f"realise.{CHAIN}"), Fitted).weights
    before = unpack(results.load("constrain"), Adapted).weights
    for made in unpack(results.load("realise"), list[Pruned]):
        filters = {name: weight for name, weight in made.weights.items() if name.endswith("conv1.weight")}
        assert filters
        for name, weight in filters.items():
            assert torch.isin(weight, trained[name]).all()
            assert not torch.isin(weight, before[name]).all()
