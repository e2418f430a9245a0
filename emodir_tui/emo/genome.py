"""The genome of a sub-network: one bit per gene, in groups of genes of one layer each.

A mask is *valid* when every group keeps

- a positive multiple of its `round_to` genes, or all of its genes. The unpruned mask is therefore always valid, and a
  group smaller than `round_to` is never pruned;
- or no gene, which is possible for a group in a branch only, and only if every group of that branch keeps none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emodir_tui.arrays import Floats, Masks

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneGroup:
    """Consecutive genes of one layer.

    Attributes:
        size: Number of genes, at least 1.
        branch: Groups with the same number are emptied together or not at all; None keeps at least one gene.
        round_to: The kept count, in genes, is a multiple of it, or the whole group.

    Raises:
        ValueError: A size or `round_to` below 1.
    """

    size: int
    branch: int | None = None
    round_to: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.round_to < 1:
            raise ValueError(f"{self}: size and round_to must be at least 1 gene")


class Genome:
    """The layout of a mask's genes, and the repair that makes any mask valid.

    Args:
        groups: In the order of their genes.
        importance: float[length], finite; comparable across the whole genome: importance of a gene per complexity saved.

    Attributes:
        length: Number of genes.
        starts: int[groups]; the first gene of each group.
        sizes: int[groups]; genes of each group.
        branches: The groups of each branch, as index arrays, by branch number.
        least: int[groups]; the smallest kept count of each group that is not emptied.
        group_of: int[length]; the group of each gene.
        order: int[length]; the genes, group by group, the most important of each group first.

    Raises:
        ValueError: There are no groups, or the importance is not one finite number per gene.
    """

    def __init__(self, groups: Sequence[GeneGroup], importance: Floats) -> None:
        self.groups = tuple(groups)
        self.sizes: Counts = np.array([group.size for group in groups], dtype=np.int64)
        self.length = int(self.sizes.sum())
        self.importance = np.asarray(importance, dtype=np.float64)
        if not self.groups:
            raise ValueError("a genome must have at least one group of genes; this sub-network has nothing to prune")
        if self.importance.shape != (self.length,) or not np.isfinite(self.importance).all():
            raise ValueError(
                f"importance has the shape {self.importance.shape}; it must be {self.length} finite numbers, one per gene"
            )
        self.starts: Counts = np.concatenate(([0], np.cumsum(self.sizes)[:-1]))
        self.group_of: Counts = np.repeat(np.arange(len(self.groups)), self.sizes)
        self.order: Counts = np.lexsort((-self.importance, self.group_of))
        numbers = sorted({group.branch for group in groups if group.branch is not None})
        self.branches: tuple[Counts, ...] = tuple(
            np.array([g for g, group in enumerate(groups) if group.branch == number]) for number in numbers
        )
        self._nearest = np.concatenate([nearest_valid_counts(group) for group in self.groups])
        self._nearest_starts = self.starts + np.arange(len(self.groups))
        self.least: Counts = self._nearest[self._nearest_starts]

    @property
    def full(self) -> Masks:
        """The unpruned mask, bool[length]."""
        return np.ones(self.length, dtype=np.bool_)

    @property
    def emptiest(self) -> Masks:
        """The valid mask that keeps the fewest genes, bool[length]."""
        mask: Masks = self.repair(np.zeros((1, self.length), dtype=np.bool_))[0]
        return mask

    def counts(self, masks: Masks) -> Counts:
        """Kept genes of each group, int[n, groups] from bool[n, length]."""
        return np.add.reduceat(masks, self.starts, axis=1, dtype=np.int64)

    def repair(self, masks: Masks) -> Masks:
        """The nearest valid masks, bool[n, length]; a new array. A valid mask is returned unchanged.

        A group with too few genes gets its most important missing ones back; a group with too many loses its least
        important ones. Of equally important genes the first counts as the more important. Halfway between two multiples
        the larger count wins. Deterministic and idempotent.
        """
        repaired = masks.astype(np.bool_)
        counts = self.counts(repaired)
        wanted = self._wanted(counts)
        rows = np.flatnonzero((wanted != counts).any(axis=1))
        if len(rows):
            repaired[rows] = self._keep(repaired[rows], counts[rows], wanted[rows])
        return repaired

    def by_importance(self, group: int) -> Counts:
        """The genes of a group, int[size], the most important first."""
        start = self.starts[group]
        return self.order[start : start + self.sizes[group]]

    def toggled(self, mask: Masks, branch: int, share: float) -> Masks:
        """The mask with a branch emptied, or an empty branch restored to a share of its most important genes."""
        groups = self.branches[branch]
        restored = not mask[self.group_of == groups[0]].any()
        result = mask.copy()
        for group in groups:
            inside = self.by_importance(int(group))
            result[inside] = restored and np.arange(len(inside)) < max(1, np.ceil(share * len(inside)))
        return result

    def valid_counts(self, group: int) -> Counts:
        """The valid kept counts of a group, rising, without the 0 of an emptied branch."""
        start = self._nearest_starts[group]
        return np.unique(self._nearest[start : start + self.sizes[group] + 1])

    def _wanted(self, counts: Counts) -> Counts:
        wanted: Counts = self._nearest[counts + self._nearest_starts]
        for branch in self.branches:
            emptied = (counts[:, branch] == 0).any(axis=1)
            wanted[np.ix_(emptied, branch)] = 0
        return wanted

    def _keep(self, masks: Masks, counts: Counts, wanted: Counts) -> Masks:
        """Masks with the wanted counts: kept genes come before missing ones, each in order of falling importance."""
        by_importance = masks[:, self.order]
        kept_up_to = np.cumsum(by_importance, axis=1, dtype=np.int64)
        first = np.maximum(self.starts - 1, 0)
        kept_before = np.where(self.starts > 0, kept_up_to[:, first], 0)
        kept_up_to -= kept_before[:, self.group_of]
        missing_up_to = (np.arange(self.length) - self.starts[self.group_of] + 1) - kept_up_to
        rank = np.where(by_importance, kept_up_to, counts[:, self.group_of] + missing_up_to)
        result = np.empty_like(masks)
        result[:, self.order] = rank <= wanted[:, self.group_of]
        return result


def nearest_valid_counts(group: GeneGroup) -> Counts:
    """For each kept count 0 … size the nearest valid one, int[size + 1]; of a group that is not emptied."""
    valid = np.append(np.arange(group.round_to, group.size, group.round_to), group.size)
    counts = np.arange(group.size + 1)
    place = np.searchsorted(valid, counts)
    above, below = valid[place], valid[np.maximum(place - 1, 0)]
    nearest: Counts = np.where(counts - below < above - counts, below, above)
    return nearest
