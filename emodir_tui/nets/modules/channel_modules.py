"""Small leaf modules that hold every constant of a graph which depends on how many channels there are.

In an analysed graph each of them knows the genes its positions belong to, so `select` is all that pruning has to call.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emodir_tui.arrays import Axis, KeepVectors
from emodir_tui.nets.modules.transfer import to_device

"""int64[positions]: the gene of each position; the number of genes (the last entry of `keep`) means: always kept."""
"""bool[genes] or, where said, bool[genes + 1] with True at the end: what is kept."""


class ChannelPad(nn.Module):
    """Pads `before` and `after` constant channels around a tensor's own, as option-A shortcuts do.

    Args:
        before: Channels put in front.
        after: Channels put behind.
        rest: Paddings of the dimensions behind the channels, last first, as `F.pad` takes them.
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
        """Fit to a keep vector of bool[genes + 1]."""
        del device
        if self.genes is not None:
            self.before, self.after = (int(np.count_nonzero(extended_keep[axis])) for axis in self.genes)

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{self.before}, {self.after}"


class ChannelSplit(nn.Module):
    """Splits a tensor along its channels into parts of the given sizes; returns a tuple."""

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.sizes, self.dim = list(sizes), dim
        self.genes: tuple[Axis, ...] | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        parts: tuple[Tensor, ...] = x.split(self.sizes, self.dim)
        return parts

    def select(self, extended_keep: KeepVectors, device: torch.device | None = None) -> None:
        """Fit to a keep vector of bool[genes + 1]."""
        del device
        if self.genes is not None:
            self.sizes = [int(np.count_nonzero(extended_keep[axis])) for axis in self.genes]

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{self.sizes}, dim={self.dim}"


class ChannelGather(nn.Module):
    """Takes channels in another order, or some of them: channel shuffles and slices.

    Args:
        index: int64[channels out], the positions taken.
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
        """Fit to a keep vector of bool[genes + 1]; `genes` holds the axis of the tensor that is gathered from."""
        if self.genes is not None:
            kept = extended_keep[self.genes[0]]
            rank = np.cumsum(kept) - 1
            self.index = to_device(rank[self._positions[kept[self._positions]]], device or self.index.device)

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{len(self.index)} channels, dim={self.dim}"


class ChannelView(nn.Module):
    """Reshapes to the sizes it is called with, but for those that depend on channels, which it knows itself.

    Args:
        sizes: One entry a dimension of the result; None where the caller's size holds.
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
        """Fit to a keep vector of bool[genes + 1]."""
        del device
        if self.genes is not None:
            sizes = list(self.sizes)
            sizes[self.dim] = int(np.count_nonzero(extended_keep[self.genes[0]]))
            self.sizes = sizes

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{self.sizes}"


ChannelLeaf = ChannelPad | ChannelSplit | ChannelGather | ChannelView


class ChannelConstant(nn.Module):
    """What an emptied residual branch still adds: one trainable number a channel, the same at every position.

    Args:
        value: The constant under the network's running statistics, shaped to broadcast, (1, C, 1, 1) for images.
        batch_value: The same under batch statistics: what batch normalisation makes of a constant, its bias.
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
        """Set the constant to its value under batch statistics, as recalibration does to the layers that remain."""
        with torch.no_grad():
            self.value.copy_(self.batch_value)

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{tuple(self.value.shape)}"
