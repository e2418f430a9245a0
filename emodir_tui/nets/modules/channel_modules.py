"""Leaf modules that hold the constants of a graph that depend on numbers of channels.

In an analysed graph each module knows the genes of its positions, so pruning only has to call `select`.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emodir_tui.arrays import Axis, KeepVectors
from emodir_tui.nets.modules.transfer import to_device


class ChannelPad(nn.Module):
    """Pads a tensor with constant channels before and after its own, as parameter-free ResNet shortcuts do.

    Args:
        before: Number of channels before.
        after: Number of channels after.
        rest: Paddings of the dimensions after the channels, last first, as `F.pad` takes them.
        value: The constant.
    """

    def __init__(self, before: int, after: int, *, rest: Sequence[int] = (0, 0, 0, 0), value: float = 0.0) -> None:
        super().__init__()
        self.before, self.after, self.rest, self.value = before, after, tuple(rest), value
        self.genes: tuple[Axis, Axis] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.pad(x, (*self.rest, self.before, self.after), value=self.value)

    def select(self, extended_keep: KeepVectors, device: torch.device | None = None) -> None:
        """Adapt to a keep vector, bool[genes + 1]."""
        del device
        if self.genes is not None:
            self.before, self.after = (int(np.count_nonzero(extended_keep[axis])) for axis in self.genes)

    def extra_repr(self) -> str:
        """The arguments shown by print."""
        return f"{self.before}, {self.after}"


class ChannelSplit(nn.Module):
    """Splits a tensor along its channels into a tuple of parts of the given sizes."""

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.sizes, self.dim = list(sizes), dim
        self.genes: tuple[Axis, ...] | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        parts: tuple[Tensor, ...] = x.split(self.sizes, self.dim)
        return parts

    def select(self, extended_keep: KeepVectors, device: torch.device | None = None) -> None:
        """Adapt to a keep vector, bool[genes + 1]."""
        del device
        if self.genes is not None:
            self.sizes = [int(np.count_nonzero(extended_keep[axis])) for axis in self.genes]

    def extra_repr(self) -> str:
        """The arguments shown by print."""
        return f"{self.sizes}, dim={self.dim}"


class ChannelGather(nn.Module):
    """Reorders or selects channels, for channel shuffles and slices.

    Args:
        index: Positions of the output channels in the input, int64[output channels].
        dim: The channel dimension.
    """

    index: Tensor

    def __init__(self, index: Tensor, dim: int) -> None:
        super().__init__()
        self.register_buffer("index", index, persistent=False)
        self.dim = dim
        self.genes: tuple[Axis] | None = None
        self._positions = index.numpy()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x.index_select(self.dim, self.index)

    def select(self, extended_keep: KeepVectors, device: torch.device | None = None) -> None:
        """Adapt to a keep vector, bool[genes + 1]; `genes` is the axis of the tensor gathered from."""
        if self.genes is not None:
            kept = extended_keep[self.genes[0]]
            rank = np.cumsum(kept) - 1
            self.index = to_device(rank[self._positions[kept[self._positions]]], device or self.index.device)

    def extra_repr(self) -> str:
        """The arguments shown by print."""
        return f"{len(self.index)} channels, dim={self.dim}"


class ChannelView(nn.Module):
    """Reshapes to sizes given in the call, except those that depend on channels, which it stores.

    Args:
        sizes: One entry per dimension of the result; None takes the caller's size.
        dim: The dimension whose size is a number of channels.
    """

    def __init__(self, sizes: Sequence[int | None], dim: int) -> None:
        super().__init__()
        self.sizes, self.dim = list(sizes), dim
        self.genes: tuple[Axis] | None = None

    def forward(self, x: Tensor, *sizes: int) -> Tensor:
        """See the class."""
        return x.reshape([theirs if own is None else own for own, theirs in zip(self.sizes, sizes, strict=True)])

    def select(self, extended_keep: KeepVectors, device: torch.device | None = None) -> None:
        """Adapt to a keep vector, bool[genes + 1]."""
        del device
        if self.genes is not None:
            sizes = list(self.sizes)
            sizes[self.dim] = int(np.count_nonzero(extended_keep[self.genes[0]]))
            self.sizes = sizes

    def extra_repr(self) -> str:
        """The arguments shown by print."""
        return f"{self.sizes}"


ChannelLeaf = ChannelPad | ChannelSplit | ChannelGather | ChannelView


class ChannelConstant(nn.Module):
    """The output of an emptied residual branch: one trainable number per channel, the same at every position.

    Args:
        value: The constant under the network's running statistics, shaped to broadcast, (1, C, 1, 1) for images.
        batch_value: The constant under batch statistics, under which a batch normalisation maps a constant to its bias.
    """

    batch_value: Tensor

    def __init__(self, value: Tensor, batch_value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)
        self.register_buffer("batch_value", batch_value)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.value.to(x.dtype)

    def recalibrate(self) -> None:
        """Set the constant to its value under batch statistics, as recalibration does for the remaining layers."""
        with torch.no_grad():
            self.value.copy_(self.batch_value)

    def extra_repr(self) -> str:
        """The arguments shown by print."""
        return f"{tuple(self.value.shape)}"
