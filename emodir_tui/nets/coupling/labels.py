"""Channel labels: an integer for each element of a tensor, equal where elements can only be removed together.

A label tensor has the shape of the activation it describes. Dimensions along which labels do not change are expanded
(stride 0), so an activation of any size costs no more memory than its channels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def broadcast_along(vector: Tensor, shape: Sequence[int], dim: int) -> Tensor:
    """Labels of `shape` that change along `dim` only: vector int64[shape[dim]]."""
    sizes = [1] * len(shape)
    sizes[dim] = len(vector)
    return vector.view(sizes).expand(tuple(shape))


def compact(labels: Tensor) -> Tensor:
    """The same labels with every expanded dimension narrowed to one entry."""
    for dim, (size, stride) in enumerate(zip(labels.shape, labels.stride(), strict=True)):
        if stride == 0 and size > 1:
            labels = labels.narrow(dim, 0, 1)
    return labels


def canonical(labels: Tensor) -> Tensor:
    """The labels in canonical form: every dimension along which they do not change is expanded."""
    shape, small = labels.shape, compact(labels)
    for dim in range(small.dim()):
        first = small.narrow(dim, 0, min(1, small.shape[dim]))
        if small.shape[dim] > 1 and bool((small == first).all()):
            small = first
    return small.expand(shape)


def varying(labels: Tensor) -> list[int]:
    """The dimensions along which labels change."""
    small = compact(canonical(labels))
    return [dim for dim, size in enumerate(small.shape) if size > 1]


def along(labels: Tensor, dim: int) -> Tensor:
    """Labels along `dim` from the tensor's first element, int64[labels.shape[dim]]."""
    for other in range(labels.dim()):
        if other != dim % labels.dim():
            labels = labels.narrow(other, 0, 1)
    return labels.reshape(-1)


def concatenate(parts: Sequence[Tensor], dim: int) -> Tensor:
    """torch.cat for label tensors that does not materialise expanded dimensions."""
    dim %= parts[0].dim()
    shape = list(parts[0].shape)
    shape[dim] = sum(part.shape[dim] for part in parts)
    small = [compact(part) for part in parts]
    sizes = [max(part.shape[d] for part in small) for d in range(len(shape))]
    wide = [
        part.expand([whole.shape[d] if d == dim else size for d, size in enumerate(sizes)])
        for part, whole in zip(small, parts, strict=True)
    ]
    return torch.cat(wide, dim).expand(shape)


class LabelSpace:
    """Creates labels, unites them (union-find) and records which must stay, where and why."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self.fixed: dict[int, tuple[str, str]] = {}

    def new(self, count: int) -> Tensor:
        """New labels, int64[count]."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return torch.arange(start, start + count)

    def find(self, label: int) -> int:
        """The representative of all labels united with `label`: the lowest of them."""
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    def unite(self, one: Tensor, other: Tensor) -> None:
        """Make labels of two tensors equal, element by element; they must broadcast together."""
        left, right = torch.broadcast_tensors(compact(one), compact(other))
        pairs = torch.stack([compact(left).expand_as(left).reshape(-1), right.reshape(-1)], 1).unique(dim=0)
        for a, b in pairs.tolist():
            low, high = sorted((self.find(a), self.find(b)))
            self._parent[high] = low

    def fix(self, labels: Tensor, place: str, reason: str) -> None:
        """Protect these labels; the first reason given for a label is kept."""
        for label in compact(labels).unique().tolist():
            self.fixed.setdefault(label, (place, reason))

    def roots(self) -> np.ndarray:
        """The representative of each label, int64[labels]."""
        return np.array([self.find(label) for label in range(len(self._parent))], dtype=np.int64)

    def fixed_roots(self) -> dict[int, tuple[str, str]]:
        """The protected labels' roots, each with the first place and reason."""
        found: dict[int, tuple[str, str]] = {}
        for label, cause in self.fixed.items():
            found.setdefault(self.find(label), cause)
        return found
