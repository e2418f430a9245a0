"""The three local impairments of a search: features, detector, downstream."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.arrays import KeepVectors
from emodir_tui.bench import Bench, keep_all
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, channel_dim, kept_channels
from emodir_tui.nets.division import SubnetworkSpan
from emodir_tui.nets.execution.evaluators import FeatureError, Impairment
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.seeds import derive_seed
from emodir_tui.training.losses import cross_entropy, kl

DETECTOR_STEPS = 300
DETECTOR_RATE = 0.05


def build_impairment(bench: Bench, graph: ChannelGraph, part: SubnetworkSpan, outputs: Sequence[Tensor]) -> Impairment:
    """The profile's local impairment for one sub-network.

    Args:
        bench: The bench.
        graph: The original network.
        part: The sub-network.
        outputs: Its original output features, a tensor a batch.
    """
    kind = bench.profile.search.impairment
    if kind == "downstream":
        return Downstream(graph, part, outputs)
    if kind == "detector":
        labels = _labels(bench, outputs)
        return Detector(graph, part, outputs, labels, derive_seed(bench.profile.seed, "detector", part.name))
    return FeatureError(graph, part.stop, outputs)


class Downstream:
    """KL divergence of the logits through the rest of the original network, in nats."""

    def __init__(self, graph: ChannelGraph, part: SubnetworkSpan, outputs: Sequence[Tensor]) -> None:
        self._graph, self._stop = graph, part.stop
        self._count = sum(len(output) for output in outputs)
        unpruned = self._rest(keep_all(graph)[0])
        with torch.no_grad():
            self._references = [unpruned(output.float()) for output in outputs]

    def measure(self, keep: KeepVectors, outputs: Iterable[Tensor]) -> Tensor:
        """See `Impairment`."""
        # A new network for each call, because several threads ask at once; that costs little compared with its forward pass.
        rest = self._rest(keep)
        pairs = zip(outputs, self._references, strict=True)
        return torch.stack([kl(rest(output), wanted) * len(output) for output, wanted in pairs]).double().sum() / (
            self._count
        )

    def _rest(self, keep: KeepVectors) -> nn.Module:
        if self._stop is None:
            return nn.Identity()
        network = SlicedNetwork(self._graph, self._stop, None)
        network.select(keep)
        return network


class Detector:
    """Cross-entropy of a linear head that was trained once on the pooled original features."""

    def __init__(
        self, graph: ChannelGraph, part: SubnetworkSpan, outputs: Sequence[Tensor], labels: Sequence[Tensor], seed: int
    ) -> None:
        self._graph, self._cut = graph, part.stop
        self._labels = labels
        self._dim = channel_dim(graph, part.stop)
        pooled = [_pool(output.float(), self._dim) for output in outputs]
        self._channels = pooled[0].shape[1]
        self._head = _train_head(torch.cat(pooled), torch.cat(list(labels)), seed)

    def measure(self, keep: KeepVectors, outputs: Iterable[Tensor]) -> Tensor:
        """See `Impairment`."""
        kept = None if self._cut is None else kept_channels(self._graph, self._cut, keep)
        losses = []
        for output, labels in zip(outputs, self._labels, strict=True):
            pooled = _pool(output, self._dim)
            if kept is not None and pooled.shape[1] < self._channels:
                full = pooled.new_zeros(len(pooled), self._channels)
                full[:, kept] = pooled
                pooled = full
            losses.append(cross_entropy(self._head(pooled), labels) * len(output))
        return torch.stack(losses).double().sum() / sum(len(labels) for labels in self._labels)


def _pool(output: Tensor, dim: int) -> Tensor:
    """Means over everything but images and channels, which lie in this dimension: [n, c]."""
    return output.movedim(dim, 1).flatten(2).mean(2) if output.dim() > 2 else output


def _train_head(features: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """A linear classifier on standardised features; full batches, so that its seed alone decides the outcome."""
    generator = torch.Generator().manual_seed(seed)
    mean, std = features.mean(0), features.std(0).clamp_min(1e-4)
    linear = nn.Linear(features.shape[1], int(labels.max()) + 1).to(features.device)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator) * 0.01)
        linear.bias.zero_()
    optimiser = torch.optim.Adam(linear.parameters(), lr=DETECTOR_RATE, weight_decay=1e-4)
    standard = (features - mean) / std
    for _ in range(DETECTOR_STEPS):
        optimiser.zero_grad()
        cross_entropy(linear(standard), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return nn.Sequential(_Standardise(mean, std), linear).requires_grad_(False)


class _Standardise(nn.Module):
    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def _labels(bench: Bench, outputs: Sequence[Tensor]) -> list[Tensor]:
    counts = np.cumsum([0, *(len(output) for output in outputs)])
    split = bench.data.search.first(int(counts[-1]))
    labels = torch.cat([labels for _, labels in split.batches(int(counts[-1]))])
    return [labels[low:high] for low, high in pairwise(counts.tolist())]
