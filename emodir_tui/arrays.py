"""The array types that searches and networks share, and the constant gene appended to keep vectors."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Over the genes of a whole network, bool[genes] or bool[n, genes]; True keeps a gene.
KeepVectors = Bools
# Over the genes that one search varies, bool[length] or bool[n, length]; True keeps a gene.
Masks = Bools
# The vectors of any search space: masks, or positions in fronts.
Vectors = npt.NDArray[Any]
# The gene of each channel along one axis of a tensor, int64[channels]; the number of genes stands for the constant gene.
Axis = npt.NDArray[np.int64]


class GeneEffects(NamedTuple):
    """Predicted effects of single genes at one mask.

    Attributes:
        error: The error, or impairment, at the mask.
        removal: The growth of it when a gene is removed, float64[genes].
        restoring: The growth of it when a gene is restored, float64[genes].
    """

    error: float
    removal: Floats
    restoring: Floats

    def take(self, genes: Ints) -> "GeneEffects":
        """The effects of these genes, int64[n], only."""
        return GeneEffects(self.error, self.removal[genes], self.restoring[genes])


def extended(keep: Bools, value: bool = True) -> Bools:
    """Keep vectors with one constant gene at the end, bool[…, genes + 1] of bool[…, genes].

    The channels that belong to no gene refer to it: it is kept, or with `value` False never varied.
    """
    return np.concatenate([keep, np.full((*keep.shape[:-1], 1), value)], axis=-1)
