import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emodir_tui.arrays import Masks
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.mask_space import MaskSpace, Variation, mutation_strength
from tests.support.toys import genomes, genomes_with_masks, is_valid, seeds

# Only one kind of mutation, and no crossover.
ONLY = dict.fromkeys(("exchange", "uniform", "flip", "swap", "grow", "shrink", "branch"), 0.0)


def mutated(genome: Genome, mask: Masks, kind: str, seed: int = 0) -> Masks:
    space = MaskSpace(genome, Variation(**{**ONLY, kind: 1.0}))
    child: Masks = space.vary(np.stack([mask, mask])[None], np.random.default_rng(seed))[0]
    return child


@given(genomes_with_masks(), seeds)
def test_children_are_valid(drawn: tuple[Genome, Masks], seed: int) -> None:
    genome, masks = drawn
    valid = genome.repair(masks)
    space = MaskSpace(genome)
    children = space.vary(np.stack([valid, valid[::-1]], axis=1), np.random.default_rng(seed))
    assert children.shape == masks.shape
    assert all(is_valid(genome, child) for child in children)


@given(genomes_with_masks(), seeds)
def test_parents_stay_what_they_were(drawn: tuple[Genome, Masks], seed: int) -> None:
    genome, masks = drawn
    parents = np.stack([masks, masks[::-1]], axis=1)
    before = parents.copy()
    MaskSpace(genome).vary(parents, np.random.default_rng(seed))
    assert np.array_equal(parents, before)


@given(genomes(), st.integers(1, 20), seeds)
def test_seeded_masks_are_valid(genome: Genome, count: int, seed: int) -> None:
    first = MaskSpace(genome).sample(count, np.random.default_rng(seed))
    assert first.shape == (count, genome.length)
    assert all(is_valid(genome, mask) for mask in first)


def test_seeded_masks_spread_from_the_emptiest_to_the_unpruned() -> None:
    genome = Genome([GeneGroup(size=64)] * 8, np.random.default_rng(0).random(512))
    kept = np.sort(MaskSpace(genome).sample(40, np.random.default_rng(1)).mean(axis=1))
    assert kept[0] < 0.1
    assert kept[-1] > 0.9
    assert np.diff(kept).max() < 0.1


def test_seeded_masks_prefer_the_important_genes_of_the_whole_genome() -> None:
    importance = np.concatenate([np.full(50, 1.0), np.full(50, 9.0)])
    space = MaskSpace(Genome([GeneGroup(size=50)] * 2, importance), Variation(random=0.0, jitter=0.0))
    (mask,) = space.sample(1, np.random.default_rng(0))
    assert space.genome.counts(mask[None]).tolist() == [[1, 50]]


def test_some_seeded_masks_are_jittered_and_some_are_random() -> None:
    genome = Genome([GeneGroup(size=50)] * 4, np.tile(np.arange(50.0), 4))
    first = MaskSpace(genome, Variation(random=0.1)).sample(20, np.random.default_rng(0))
    by_layer = first.reshape(20, 4, 50)
    # Importance alone keeps the last genes of each layer, as many in one layer as in another.
    important = np.array([all((np.diff(layer.astype(int)) >= 0).all() for layer in mask) for mask in by_layer])
    assert important.tolist() == [True] * 18 + [False] * 2
    counts = genome.counts(first[:18])
    assert (np.ptp(counts[1::2], axis=1) <= 1).all()
    assert (np.ptp(counts[::2], axis=1) > 1).any()


def test_equal_importance_prunes_all_layers_alike() -> None:
    space = MaskSpace(Genome([GeneGroup(size=20)] * 3, np.ones(60)), Variation(random=0.0, jitter=0.0))
    (mask,) = space.sample(1, np.random.default_rng(0))
    assert space.genome.counts(mask[None]).tolist() == [[10, 10, 10]]


@pytest.mark.parametrize("seed", range(8))
def test_a_swap_keeps_the_count_of_every_layer(seed: int) -> None:
    genome = Genome([GeneGroup(size=10)] * 3, np.random.default_rng(seed).random(30))
    mask = genome.repair(np.random.default_rng(seed).random((1, 30)) < 0.5)[0]
    child = mutated(genome, mask, "swap", seed)
    assert np.array_equal(genome.counts(child[None]), genome.counts(mask[None]))
    assert not np.array_equal(child, mask)


@pytest.mark.parametrize("seed", range(8))
def test_grow_restores_the_most_important_missing_genes_of_one_layer(seed: int) -> None:
    genome = Genome([GeneGroup(size=10)] * 3, np.tile(np.arange(10.0), 3))
    mask = np.zeros(30, dtype=np.bool_)
    mask[[3, 13, 23]] = True
    child = mutated(genome, mask, "grow", seed)
    grown = np.flatnonzero(child & ~mask)
    assert len(set(grown // 10)) == 1
    assert sorted(grown % 10, reverse=True) == [9, 8, 7, 6, 5, 4, 2, 1, 0][: len(grown)]


@pytest.mark.parametrize("seed", range(8))
def test_shrink_removes_the_least_important_kept_genes_of_one_layer_in_steps_of_its_multiple(seed: int) -> None:
    genome = Genome([GeneGroup(size=16, round_to=4)] * 2, np.tile(np.arange(16.0), 2))
    child = mutated(genome, genome.full, "shrink", seed)
    removed = np.flatnonzero(~child)
    assert len(removed) in (4, 8, 12)
    assert sorted(removed % 16) == list(range(len(removed)))


@pytest.mark.parametrize("seed", range(4))
def test_a_branch_is_emptied_and_an_empty_one_restored_whole_in_number_of_groups(seed: int) -> None:
    branch = GeneGroup(size=5, branch=1)
    genome = Genome([branch, branch, GeneGroup(size=5)], np.arange(15.0))
    emptied = mutated(genome, genome.full, "branch", seed)
    assert genome.counts(emptied[None]).tolist() == [[0, 0, 5]]
    restored = genome.counts(mutated(genome, emptied, "branch", seed)[None])[0]
    assert restored[0] == restored[1] > 0


@given(seeds)
def test_an_exchange_takes_whole_layers_from_either_parent(seed: int) -> None:
    genome = Genome([GeneGroup(size=4)] * 4, np.arange(16.0))
    space = MaskSpace(genome, Variation(exchange=1.0, uniform=0.0, mutation=0.0))
    first, second = genome.repair(np.random.default_rng(seed).random((2, 16)) < 0.5)
    child = space.vary(np.stack([first, second])[None], np.random.default_rng(seed))[0]
    for layer in range(4):
        genes = slice(4 * layer, 4 * layer + 4)
        assert child[genes].tolist() in (first[genes].tolist(), second[genes].tolist())


@given(seeds)
def test_a_branch_that_one_parent_emptied_is_inherited_whole(seed: int) -> None:
    branch = GeneGroup(size=3, branch=0)
    genome = Genome([branch, branch, branch], np.arange(9.0))
    space = MaskSpace(genome, Variation(exchange=1.0, uniform=0.0, mutation=0.0))
    child = space.vary(np.stack([genome.full, ~genome.full])[None], np.random.default_rng(seed))[0]
    assert child.all() or not child.any()


def test_variation_of_a_genome_with_one_valid_mask_gives_that_mask() -> None:
    genome = Genome([GeneGroup(size=3, round_to=8)], np.ones(3))
    space = MaskSpace(genome)
    children = space.vary(np.ones((50, 2, 3), dtype=np.bool_), np.random.default_rng(0))
    assert children.all()


@given(genomes())
def test_neighbours_are_valid_and_other_masks(genome: Genome) -> None:
    for mask in MaskSpace(genome).ends:
        for neighbour in MaskSpace(genome).neighbours(mask):
            assert is_valid(genome, neighbour)
            assert not np.array_equal(neighbour, mask)


def test_strength_is_mostly_small_and_never_beyond_its_limit() -> None:
    generator = np.random.default_rng(0)
    drawn = np.array([mutation_strength(100, generator) for _ in range(2000)])
    assert drawn.min() == 1
    assert drawn.max() <= 100
    assert np.median(drawn) <= 3
    assert (drawn > 30).any()


def test_shares_of_the_mutations_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        Variation(flip=0.9)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Variation(jitter=-1.0)
    with pytest.raises(ValueError, match="at most 1"):
        Variation(exchange=0.7, uniform=0.7)
