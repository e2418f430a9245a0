import numpy as np
from hypothesis import given, settings

from emodir_tui.arrays import GeneEffects
from emodir_tui.emo.front import hypervolume
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.gradient_moves import breed, descend, fill, niches, savings
from tests.support.toys import ToyTask, genomes, is_valid, seeds, toy_task


class ExactGuide:
    """Knows the toy task's derivative by trying each gene."""

    def __init__(self, task):
        self.task = task
        self.asked = 0

    def effects(self, masks):
        found = []
        for mask in masks:
            self.asked += 1
            flipped = np.repeat(mask[None], len(mask), axis=0)
            flipped[np.arange(len(mask)), np.arange(len(mask))] ^= True
            change = self.task(flipped)[:, 1] - self.task(mask[None])[0, 1]
            error = self.task(mask[None])[0, 1]
            found.append(GeneEffects(error, np.where(mask, change, -change), np.where(mask, -change, change)))
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


def test_children_follow_the_effects() -> None:
    genome = Genome([GeneGroup(size=40)], np.ones(40))
    parent = np.arange(40) < 20
    worth = np.arange(40.0)
    effects = [GeneEffects(0.0, worth, worth)]
    children = breed(genome, parent[None], effects, lambda masks: masks.mean(axis=1), 400, seed=0)
    removed = (parent & ~children).sum(axis=0)
    restored = (~parent & children).sum(axis=0)
    assert removed[:5].sum() > 3 * removed[15:20].sum()
    assert restored[20:25].sum() > 3 * restored[35:].sum()


@given(genomes(), seeds)
@settings(max_examples=30)
def test_children_are_valid_and_the_same_seed_gives_the_same(genome: Genome, seed: int) -> None:
    task = ToyTask(genome, seed)
    parents = genome.repair(np.random.default_rng(seed).random((3, genome.length)) < 0.5)
    effects = ExactGuide(task).effects(parents)
    first, again = (breed(genome, parents, effects, lambda masks: task(masks)[:, 0], 4, seed) for _ in range(2))
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


@given(genomes(), seeds)
@settings(max_examples=50)
def test_a_filled_mask_has_as_much_as_the_limit_allows(genome: Genome, seed: int) -> None:
    draws = np.random.default_rng(seed)
    cost = draws.random(len(genome.groups)) + 0.1

    def complexity(masks):
        return (masks * cost[genome.group_of]).sum(axis=1) / (cost * genome.sizes).sum()

    mask = genome.repair(draws.random((1, genome.length)) < draws.random())[0]
    limit = draws.random()
    worth = draws.random(genome.length)
    effects = GeneEffects(0.0, worth, -worth)
    filled = fill(genome, mask, effects, savings(genome, complexity, mask), complexity, limit)
    assert is_valid(genome, filled)
    counts, before = genome.counts(filled[None])[0], genome.counts(mask[None])[0]
    np.testing.assert_array_equal(counts > 0, before > 0)
    share = complexity(filled[None])[0]
    if share > limit:
        assert (counts[counts > 0] == genome.least[counts > 0]).all()
        return
    for group in np.flatnonzero(counts > 0):
        above = genome.valid_counts(int(group))
        above = above[above > counts[group]]
        if len(above):
            more = (above[0] - counts[group]) * cost[group] / (cost * genome.sizes).sum()
            assert share + more > limit - 1e-12


def test_a_filled_mask_lost_the_cheapest_and_got_the_dearest() -> None:
    genome = Genome([GeneGroup(size=10), GeneGroup(size=10)], np.ones(20))
    worth = np.arange(20.0)
    effects = GeneEffects(0.0, worth, -worth)
    saved = np.full(20, 0.05)
    smaller = fill(genome, genome.full, effects, saved, lambda masks: masks.mean(axis=1), 0.7)
    np.testing.assert_array_equal(np.flatnonzero(~smaller), np.arange(6))
    few = np.isin(np.arange(20), [3, 13])
    larger = fill(genome, few, effects, saved, lambda masks: masks.mean(axis=1), 0.25)
    np.testing.assert_array_equal(np.flatnonzero(larger), [3, 13, 17, 18, 19])


def test_children_of_a_limited_parent_stay_below_it() -> None:
    task = toy_task(1)

    def complexity(masks):
        return task(masks)[:, 0]

    parents = task.genome.repair(np.random.default_rng(0).random((2, task.genome.length)) < 0.5)
    effects = ExactGuide(task).effects(parents)
    children = breed(task.genome, parents, effects, complexity, 6, 0, [0.4, None])
    assert (complexity(children[:6]) <= 0.4).all()
    assert complexity(children[:6]).max() > 0.35
    assert len(np.unique(children[:6], axis=0)) > 1


def test_a_niche_is_the_best_mask_of_each_set_of_emptied_branches_near_below_the_limit() -> None:
    genome = Genome([GeneGroup(size=4), GeneGroup(size=4, branch=0), GeneGroup(size=4, branch=1)], np.ones(12))
    full, first, second = genome.full, genome.toggled(genome.full, 0, 1.0), genome.toggled(genome.full, 1, 1.0)
    thinner = np.arange(12) != 0
    masks = np.array([full, first, second, first & thinner, second & thinner, full & thinner])
    objectives = np.array([[0.5, 0.3], [0.49, 0.2], [0.49, 0.25], [0.495, 0.1], [0.4, 0.05], [0.51, 0.01]])
    # The fifth lies too far below the limit, the last above it.
    assert niches(genome, masks, objectives, 0.5) == [3, 2, 0]
    assert niches(genome, masks, objectives, 0.3) == []
