import numpy as np
import pytest
from hypothesis import given

from emodir_tui.arrays import Masks
from emodir_tui.emo.genome import GeneGroup, Genome
from tests.support.toys import genomes_with_masks, is_valid


def mask(text: str) -> Masks:
    """'1010 11' → one mask, bool[1, length]."""
    return np.array([[bit == "1" for bit in text.replace(" ", "")]])


def repaired(genome: Genome, text: str) -> str:
    return "".join("01"[int(bit)] for bit in genome.repair(mask(text))[0])


def genome_of(*groups: GeneGroup, importance: list[float] | None = None) -> Genome:
    length = sum(group.size for group in groups)
    # Importance falls from the first gene to the last unless given.
    return Genome(groups, np.array(importance or range(length, 0, -1), dtype=np.float64))


@given(genomes_with_masks())
def test_repaired_masks_are_valid_and_repairing_them_again_changes_nothing(drawn: tuple[Genome, Masks]) -> None:
    genome, masks = drawn
    once = genome.repair(masks)
    assert all(is_valid(genome, row) for row in once)
    assert np.array_equal(genome.repair(once), once)


@given(genomes_with_masks())
def test_a_valid_mask_is_not_changed(drawn: tuple[Genome, Masks]) -> None:
    genome, masks = drawn
    valid = np.array([is_valid(genome, row) for row in masks])
    assert np.array_equal(genome.repair(masks)[valid], masks[valid])


@given(genomes_with_masks())
def test_a_mask_is_repaired_alike_alone_and_among_others_and_stays_what_it_was(drawn: tuple[Genome, Masks]) -> None:
    genome, masks = drawn
    before = masks.copy()
    together = genome.repair(masks)
    assert np.array_equal(masks, before)
    assert np.array_equal(together, np.concatenate([genome.repair(row[None]) for row in masks]))


@given(genomes_with_masks())
def test_the_unpruned_and_the_emptiest_mask_are_valid_and_bound_every_count(drawn: tuple[Genome, Masks]) -> None:
    genome, masks = drawn
    assert is_valid(genome, genome.full)
    assert is_valid(genome, genome.emptiest)
    counts = genome.counts(genome.repair(masks))
    assert (counts >= genome.counts(genome.emptiest[None])).all()
    assert (counts <= genome.sizes).all()


@given(genomes_with_masks())
def test_counts_are_the_kept_genes_of_each_group(drawn: tuple[Genome, Masks]) -> None:
    genome, masks = drawn
    expected = [[part.sum() for part in np.split(row, np.cumsum(genome.sizes)[:-1])] for row in masks]
    assert genome.counts(masks).tolist() == expected


def test_an_empty_group_gets_its_most_important_gene_back() -> None:
    genome = genome_of(GeneGroup(size=3), GeneGroup(size=2), importance=[1, 5, 2, 3, 4])
    assert repaired(genome, "000 10") == "01010"


def test_equally_important_genes_return_in_their_order() -> None:
    assert repaired(genome_of(GeneGroup(size=3), importance=[1, 1, 1]), "000") == "100"


def test_a_branch_is_emptied_as_a_whole_or_not_at_all() -> None:
    branch = GeneGroup(size=2, branch=7)
    genome = genome_of(branch, GeneGroup(size=2), branch)
    assert repaired(genome, "00 01 11") == "000100"
    assert repaired(genome, "10 01 01") == "100101"


def test_kept_counts_go_to_the_nearest_multiple_and_ties_upwards() -> None:
    genome = genome_of(GeneGroup(size=12, round_to=4))
    assert repaired(genome, "000000000001") == "111000000001"
    assert repaired(genome, "000000011111") == "000000011110"
    assert repaired(genome, "000000111111") == "110000111111"


def test_a_whole_group_is_valid_though_its_size_is_no_multiple() -> None:
    genome = genome_of(GeneGroup(size=10, round_to=4))
    assert repaired(genome, "1111111111") == "1111111111"
    assert repaired(genome, "1111111110") == "1111111111"
    assert genome.valid_counts(0).tolist() == [4, 8, 10]


def test_a_group_smaller_than_its_multiple_is_kept_whole_or_emptied_with_its_branch() -> None:
    assert repaired(genome_of(GeneGroup(size=3, round_to=8)), "000") == "111"
    assert repaired(genome_of(GeneGroup(size=3, round_to=8, branch=0)), "010") == "111"
    assert repaired(genome_of(GeneGroup(size=3, round_to=8, branch=0)), "000") == "000"


def test_a_genome_without_genes_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to prune"):
        Genome([], np.array([]))


def test_importance_must_be_one_finite_number_per_gene() -> None:
    with pytest.raises(ValueError, match="must be 3 finite numbers"):
        Genome([GeneGroup(size=3)], np.ones(2))
    with pytest.raises(ValueError, match="finite"):
        Genome([GeneGroup(size=2)], np.array([1.0, np.nan]))


def test_a_group_has_at_least_one_gene() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        GeneGroup(size=0)


def test_a_branch_is_toggled_with_all_its_groups() -> None:
    branch = GeneGroup(size=4, branch=7)
    genome = genome_of(branch, GeneGroup(size=2), branch, importance=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    emptied = genome.toggled(genome.full, 0, 0.5)
    np.testing.assert_array_equal(np.flatnonzero(emptied), [4, 5])
    # To half of the genes, the most important ones; never to none.
    np.testing.assert_array_equal(np.flatnonzero(genome.toggled(emptied, 0, 0.5)), [2, 3, 4, 5, 8, 9])
    np.testing.assert_array_equal(np.flatnonzero(genome.toggled(emptied, 0, 0.0)), [3, 4, 5, 9])
