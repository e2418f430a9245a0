"""What a search needs to know of the space it searches, and how its vectors are told apart and packed."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from emodir_tui.arrays import Vectors


class Space(Protocol):
    """What is searched: how vectors are made and varied. Everything it returns is valid, and none of it is checked."""

    @property
    def ends(self) -> Vectors:
        """The unpruned vector, then the emptiest one, [2, length]."""

    def sample(self, count: int, generator: np.random.Generator) -> Vectors:
        """`count` vectors spread from the emptiest to the unpruned one; they may repeat."""

    def neighbours(self, vector: Vectors) -> Iterable[Vectors]:
        """Every vector one smallest step away; by such steps the whole space can be reached."""

    def repair(self, vectors: Vectors) -> Vectors:
        """The nearest valid vectors."""

    def vary(self, parents: Vectors, generator: np.random.Generator) -> Vectors:
        """One child of each pair of parents, [n, length] of [n, 2, length]."""


def keys(vectors: Vectors) -> list[bytes]:
    """One hashable key per row; equal exactly where the rows are."""
    rows = np.ascontiguousarray(packed(vectors))
    return [row.tobytes() for row in rows]


def distinct(vectors: Vectors) -> Vectors:
    """The rows without repeats, each where it first stood."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys(vectors)):
        first.setdefault(key, row)
    return vectors[list(first.values())]


def packed(vectors: Vectors) -> Vectors:
    """Masks as 8 genes a byte, uint8[n, ceil(length / 8)]; positions as they are."""
    return np.packbits(vectors, axis=1) if vectors.dtype == np.bool_ else vectors


def unpacked(rows: Vectors, length: int) -> Vectors:
    """The opposite of `packed`."""
    return np.unpackbits(rows, axis=1, count=length).astype(np.bool_) if rows.dtype == np.uint8 else rows
