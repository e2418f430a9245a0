"""Fast evaluation of masks: the kept weights are gathered, then the pruned part alone runs on cached features.

Batch normalisation runs on batch statistics, so every candidate is recalibrated for free.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emodir_tui.nets.graph import CutPoint
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.sliced import SlicedNetwork, kept_channels
from emodir_tui.nets.span import genes_used

Keep = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Impairment(Protocol):
    """How much an output is damaged, as a quotient of two sums over batches."""

    def select(self, keep: Keep) -> None:
        """The next outputs come from this keep vector, bool[genes]."""

    def of(self, batch: int, output: Tensor) -> tuple[Tensor, float]:
        """(numerator, denominator) of one batch's output, which has the kept channels only."""


class FeatureError:
    """‖S(x, m) − S(x)‖² / ‖S(x)‖² (method: local impairment); a removed channel costs all of its energy."""

    def __init__(self, graph: ChannelGraph, cut: CutPoint | None, references: Sequence[Tensor]) -> None:
        self._graph, self._cut = graph, cut
        self._references = references
        self._energies = [_channel_energy(reference) for reference in references]
        self._totals = [float(energy.sum()) for energy in self._energies]
        self._kept: Tensor | None = None

    def select(self, keep: Keep) -> None:
        """See Impairment."""
        kept = None if self._cut is None else kept_channels(self._graph, self._cut, keep)
        channels = self._references[0].shape[1]
        self._kept = None if kept is None or len(kept) == channels else kept.to(self._references[0].device)

    def of(self, batch: int, output: Tensor) -> tuple[Tensor, float]:
        """See Impairment."""
        reference, total = self._references[batch], self._totals[batch]
        if self._kept is None:
            return (output - reference).square_().sum(), total
        energy = self._energies[batch]
        removed = energy.sum() - energy[self._kept].sum()
        return (output - reference[:, self._kept]).square_().sum() + removed, total


class SubnetworkEvaluator:
    """Evaluates masks of one sub-network on cached features.

    Args:
        network: The sub-network's span.
        inputs: Its original input features, a tensor [n, c, …] a batch.
        impairment: Measures its output.
    """

    def __init__(self, network: SlicedNetwork, inputs: Sequence[Tensor], impairment: Impairment) -> None:
        self.network = network
        self.inputs = inputs
        self.impairment = impairment

    @torch.no_grad()
    def evaluate(self, keeps: Keep, check: Callable[[], None] = lambda: None) -> Floats:
        """The impairment of each keep vector, bool[n, genes] to float64[n]; `check` is called before each one."""
        values: list[Tensor] = []
        for keep in keeps:
            check()
            self.network.select(keep)
            self.impairment.select(keep)
            pairs = [self.impairment.of(batch, self.network(inputs)) for batch, inputs in enumerate(self.inputs)]
            values.append(
                torch.stack([top for top, _ in pairs]).double().sum() / max(sum(low for _, low in pairs), 1e-12)
            )
        # One transfer for all candidates: a device is never waited for in the loop.
        return torch.stack(values).cpu().numpy() if values else np.zeros(0)


class NetworkEvaluator:
    """Runs whole pruned networks part by part, and remembers the features of beginnings that come again.

    Args:
        graph: The network.
        cuts: Where its parts meet, in order; features behind each are remembered.
        inputs: Input batches [n, c, h, w].
        memory: Bytes for remembered features.
    """

    def __init__(self, graph: ChannelGraph, cuts: Sequence[CutPoint], inputs: Sequence[Tensor], memory: int) -> None:
        self.graph = graph
        self.cuts = list(cuts)
        ends: list[CutPoint | None] = [*self.cuts, None]
        starts: list[CutPoint | None] = [None, *self.cuts]
        self._spans = [SlicedNetwork(graph, start, end) for start, end in zip(starts, ends, strict=True)]
        self._genes = [genes_used(graph, start, end) for start, end in zip(starts, ends, strict=True)]
        self._inputs = list(inputs)
        self._memory = memory
        self._used = 0
        self._known: OrderedDict[tuple[int, bytes], list[Tensor]] = OrderedDict()

    @torch.no_grad()
    def run(self, keep: Keep, stop: CutPoint | None) -> list[Tensor]:
        """The features at a cut (None: the logits) with the kept channels only, a tensor a batch."""
        last = len(self._spans) if stop is None else self.cuts.index(stop) + 1
        keys = self._keys(keep, last)
        begun = next((at for at in range(last, 0, -1) if (at, keys[at]) in self._known), 0)
        features = self._recall((begun, keys[begun])) if begun else self._inputs
        for at in range(begun, last):
            span = self._spans[at]
            span.select(keep)
            features = [span(batch) for batch in features]
            self._remember((at + 1, keys[at + 1]), features)
        return features

    def _keys(self, keep: Keep, last: int) -> list[bytes]:
        """One key per beginning: all the genes that any of its parts looks at."""
        keys, used = [b""], np.zeros(len(keep), dtype=np.bool_)
        for genes in self._genes[:last]:
            used = used | genes
            keys.append(np.packbits(keep[used]).tobytes())
        return keys

    def _recall(self, key: tuple[int, bytes]) -> list[Tensor]:
        self._known.move_to_end(key)
        return self._known[key]

    def _remember(self, key: tuple[int, bytes], features: list[Tensor]) -> None:
        size = sum(batch.numel() * batch.element_size() for batch in features)
        if size > self._memory // 4:
            return
        while self._known and self._used + size > self._memory:
            _, old = self._known.popitem(last=False)
            self._used -= sum(batch.numel() * batch.element_size() for batch in old)
        self._known[key] = features
        self._used += size


def _channel_energy(features: Tensor) -> Tensor:
    """‖·‖² per channel, [c] of [n, c, …]."""
    return features.square().transpose(0, 1).flatten(1).sum(1)
