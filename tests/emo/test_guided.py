import numpy as np
from hypothesis import given, settings

from emodir_tui.emo.front import hypervolume
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.guided import Hints, breed, descend, savings

from .toys import ToyTask, genomes, is_valid, seeds, toy_task


class ExactGuide:
    """Knows the toy task's derivative by trying each gene."""

    def __init__(self, task):
        self.task = task
        self.asked = 0

    def hints(self, masks):
        found = []
        for mask in masks:
            self.asked += 1
            flipped = np.repeat(mask[None], len(mask), axis=0)
            flipped[np.arange(len(mask)), np.arange(len(mask))] ^= True
            change = self.task(flipped)[:, 1] - self.task(mask[None])[0, 1]
            found.append(Hints(removal=np.where(mask, change, -change), restoring=np.where(mask, -change, change)))
        return found


def descended(task):
    return descend(task.genome, ExactGuide(task), lambda masks: task(masks)[:, 0], task)


@given(genomes(), seeds)
@settings(max_examples=30)
def test_a_descent_is_valid_and_goes_from_one_end_to_the_other(genome: Genome, seed: int) -> None:
    masks, objectives = descended(ToyTask(genome, seed))
    assert np.array_equal(masks[0], genome.full)
    # The fewest genes; which ones stay is the guide's choice.
    assert (genome.counts(masks) == genome.counts(genome.emptiest[None])).all(axis=1).any()
    assert all(is_valid(genome, mask) for mask in masks)
    assert len({mask.tobytes() for mask in masks}) == len(masks)
    np.testing.assert_allclose(objectives, ToyTask(genome, seed)(masks))


def test_a_descent_beats_as_many_seeds_by_a_fixed_importance() -> None:
    task = toy_task(3)
    masks, objectives = descended(task)
    # What a fixed importance can't know: layers suffer when they get thin.
    by_importance = np.array([task.genome.importance >= level for level in np.sort(task.genome.importance)])
    fixed = task(task.genome.repair(by_importance))
    reference = (1.0, 2.0)
    assert len(masks) < 2 * len(fixed)
    assert hypervolume(objectives, reference) > hypervolume(fixed, reference)


def test_children_follow_the_hints() -> None:
    genome = Genome([GeneGroup(size=40)], np.ones(40))
    parent = np.arange(40) < 20
    worth = np.arange(40.0)
    hints = [Hints(removal=worth, restoring=worth)]
    children = breed(genome, parent[None], hints, lambda masks: masks.mean(axis=1), 400, seed=0)
    removed = (parent & ~children).sum(axis=0)
    restored = (~parent & children).sum(axis=0)
    assert removed[:5].sum() > 3 * removed[15:20].sum()
    assert restored[20:25].sum() > 3 * restored[35:].sum()


@given(genomes(), seeds)
@settings(max_examples=30)
def test_children_are_valid_and_the_same_seed_gives_the_same(genome: Genome, seed: int) -> None:
    task = ToyTask(genome, seed)
    parents = genome.repair(np.random.default_rng(seed).random((3, genome.length)) < 0.5)
    hints = ExactGuide(task).hints(parents)
    first, again = (breed(genome, parents, hints, lambda masks: task(masks)[:, 0], 4, seed) for _ in range(2))
    assert first.shape == (12, genome.length)
    assert all(is_valid(genome, child) for child in first)
    np.testing.assert_array_equal(first, again)


@given(genomes(), seeds)
@settings(max_examples=30)
def test_savings_are_what_one_gene_costs(genome: Genome, seed: int) -> None:
    sizes = genome.sizes[genome.group_of]

    def complexity(masks):
        return (masks / sizes).sum(axis=1)

    mask = genome.repair(np.random.default_rng(seed).random((1, genome.length)) < 0.5)[0]
    np.testing.assert_allclose(savings(genome, complexity, mask), 1 / sizes)
