"""The array types that searches and networks share, and the one constant gene that every keep vector is extended by."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Over the genes of a whole network, bool[genes] or bool[n, genes]; True keeps a gene.
KeepVectors = Bools
# Over the genes that one search varies, bool[own genes] or bool[n, own genes].
Masks = Bools
# Whatever a search space consists of: masks, or positions in fronts.
Vectors = npt.NDArray[Any]
# The gene that each channel of one tensor axis belongs to, int64[channels].
Axis = npt.NDArray[np.int64]


def extended(keep: Bools, value: bool = True) -> Bools:
    """A keep vector bool[genes] with one more gene at its end, to which all channels without a gene of their own belong."""
    return np.append(keep, value)
