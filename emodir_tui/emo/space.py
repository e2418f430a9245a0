"""The protocol of a space to search, and keys by which its vectors are compared."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from emodir_tui.arrays import Vectors


class Space(Protocol):
    """How vectors are made and varied. All that it returns must be valid; it is not checked."""

    @property
    def ends(self) -> Vectors:
        """The unpruned vector, then the emptiest one, [2, length]."""

    def sample(self, count: int, generator: np.random.Generator) -> Vectors:
        """`count` vectors spread from the emptiest to the unpruned one, [count, length]; they may repeat."""

    def neighbours(self, vector: Vectors) -> Iterable[Vectors]:
        """Every vector one smallest step away; such steps reach the whole space."""

    def repair(self, vectors: Vectors) -> Vectors:
        """The nearest valid vectors, [n, length]."""

    def vary(self, parents: Vectors, generator: np.random.Generator) -> Vectors:
        """One child for each pair of parents, [n, length] from [n, 2, length]."""


def keys(vectors: Vectors) -> list[bytes]:
    """One hashable key per row; two keys are equal exactly where the rows are."""
    # Eight genes of a mask fit in a byte; positions stay as they are.
    rows = np.packbits(vectors, axis=1) if vectors.dtype == np.bool_ else np.ascontiguousarray(vectors)
    return [row.tobytes() for row in rows]


def distinct(vectors: Vectors) -> Vectors:
    """The rows without repeats, in the order of their first occurrence."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys(vectors)):
        first.setdefault(key, row)
    return vectors[list(first.values())]
