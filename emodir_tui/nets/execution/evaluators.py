"""Fast evaluation of keep vectors: kept weights are gathered, and the pruned span alone runs on cached features.

Batch normalisation uses batch statistics, so every candidate is recalibrated at no extra cost.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from emodir_tui.arrays import Floats, KeepVectors
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, channel_dim, kept_channels, take_channels
from emodir_tui.nets.execution.parallel import map_parallel, workers_for
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.execution.span import genes_used, working_bytes
from emodir_tui.nets.tracing.network import CutPoint

Result = TypeVar("Result")

# Largest outputs held at the same time: a layer's input and output, a shortcut's, and a normalisation's.
LIVE_OUTPUTS = 4


class Impairment(Protocol):
    """A measure of how far an output is from the original one."""

    def measure(self, keep: KeepVectors, outputs: Iterable[Tensor]) -> Tensor:
        """The impairment as a scalar tensor, float64 on the device. Must be thread-safe.

        Args:
            keep: The keep vector that made the outputs, bool[genes].
            outputs: One float32 tensor per batch, with the kept channels only.
        """


class FeatureError:
    """Relative squared error ‖S(x, m) − S(x)‖² / ‖S(x)‖² of a span S under a mask m, the local impairment.

    A removed channel counts as 0, so its whole energy is an error.

    Args:
        graph: The network.
        cut: The cut point of the outputs; None for the logits.
        references: S(x), one tensor per batch.

    Attributes:
        references: S(x) in float32, one tensor per batch.
        total: ‖S(x)‖² over all batches.
    """

    def __init__(self, graph: ChannelGraph, cut: CutPoint | None, references: Sequence[Tensor]) -> None:
        self._graph, self._cut = graph, cut
        self.references = [reference.float() for reference in references]
        self._dim = channel_dim(graph, cut)
        self._energies = [_channel_energy(reference, self._dim) for reference in self.references]
        self.total = max(sum(float(energy.sum()) for energy in self._energies), 1e-12)

    def measure(self, keep: KeepVectors, outputs: Iterable[Tensor]) -> Tensor:
        """See Impairment."""
        channels = self.references[0].shape[self._dim]
        kept = None if self._cut is None else kept_channels(self._graph, self._cut, keep)
        index = None if kept is None or len(kept) == channels else kept
        errors = []
        for output, reference, energy in zip(outputs, self.references, self._energies, strict=True):
            if index is None:
                errors.append((output - reference).square_().sum())
            else:
                removed = energy.sum() - energy[index].sum()
                errors.append((output - take_channels(reference, self._dim, index)).square_().sum() + removed)
        return torch.stack(errors).double().sum() / self.total


class SubnetworkEvaluator:
    """Evaluates keep vectors of one sub-network on cached features.

    Args:
        graph: The network.
        start: Where the sub-network begins; None at the input.
        stop: Where it ends; None at the logits.
        inputs: Its original input features, one tensor [n, c, …] per batch.
        impairment: Measures its output.
        varying: The genes that the keep vectors may remove, bool[genes]; all by default. Activations that do not depend
            on them are precomputed.
        memory: Bytes for the precomputed activations, and again for the candidates evaluated in parallel. Activations
            that do not fit are computed for each candidate.
        dtype: Precision of the layers; see `SlicedNetwork`. Impairments are measured in float32.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        start: CutPoint | None,
        stop: CutPoint | None,
        inputs: Sequence[Tensor],
        impairment: Impairment,
        *,
        varying: KeepVectors | None = None,
        memory: int = 1 << 30,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        each = LIVE_OUTPUTS * working_bytes(graph, start, stop, len(inputs[0]))[0]
        workers = workers_for(graph.network.example.device, each, memory)
        self._networks = [SlicedNetwork(graph, start, stop, varying=varying, dtype=dtype) for _ in range(workers)]
        self._impairment = impairment
        self._inputs = [batch.to(dtype) for batch in inputs]
        self._precomputed = self._precompute(memory)

    def evaluate(self, keep_vectors: KeepVectors, check: Callable[[], None] = lambda: None) -> Floats:
        """The impairment of each keep vector, bool[n, genes] to float64[n]; `check` is called before each."""
        values = map_parallel(self._one, list(keep_vectors), self._networks, check)
        # One transfer for all candidates, so that the loop never waits for the device.
        return torch.stack(values).cpu().numpy() if values else np.zeros(0)

    @torch.no_grad()
    def _one(self, network: SlicedNetwork, keep: KeepVectors) -> Tensor:
        network.select(keep)
        pairs = zip(self._inputs, self._precomputed, strict=True)
        return self._impairment.measure(keep, (network(inputs, precomputed).float() for inputs, precomputed in pairs))

    def _precompute(self, memory: int) -> list[dict[str, Tensor] | None]:
        """The activations that no mask changes, per batch; None for each if the first batch shows they will not fit."""

        @torch.no_grad()
        def one(network: SlicedNetwork, inputs: Tensor) -> dict[str, Tensor]:
            return network.precompute(inputs)

        first = map_parallel(one, self._inputs[:1], self._networks)
        if sum(bytes_of(precomputed.values()) for precomputed in first) * len(self._inputs) > memory:
            return [None] * len(self._inputs)
        return [*first, *map_parallel(one, self._inputs[1:], self._networks)]


class NetworkEvaluator:
    """Runs whole pruned networks span by span, and caches features by the genes that they depend on.

    Args:
        graph: The network.
        cuts: The cut points between the spans, in order; the features at each are cached.
        inputs: Input batches, [n, c, h, w] each.
        memory: Bytes for cached features.
        dtype: Precision of the layers before the last cut; see `SlicedNetwork`.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        cuts: Sequence[CutPoint],
        inputs: Sequence[Tensor],
        memory: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.graph = graph
        self.cuts = list(cuts)
        ends: list[CutPoint | None] = [*self.cuts, None]
        starts: list[CutPoint | None] = [None, *self.cuts]
        each = LIVE_OUTPUTS * working_bytes(graph, None, None, len(inputs[0]))[0]
        self._workers = [
            [
                SlicedNetwork(graph, start, end, dtype=torch.float32 if end is None else dtype)
                for start, end in zip(starts, ends, strict=True)
            ]
            for _ in range(workers_for(graph.network.example.device, each, memory))
        ]
        self._genes = [genes_used(graph, start, end) for start, end in zip(starts, ends, strict=True)]
        self._inputs = [batch.to(dtype) for batch in inputs] if self.cuts else list(inputs)
        self._memory = memory
        self._used = 0
        self._cache: OrderedDict[tuple[int, bytes], list[Tensor]] = OrderedDict()
        self._lock = Lock()

    def run(self, keep: KeepVectors, stop: CutPoint | None) -> list[Tensor]:
        """The features at a cut (None: the logits) with the kept channels only, one float32 tensor per batch."""
        return self.map([keep], stop, lambda _, features: features)[0]

    def map(
        self,
        keep_vectors: Sequence[KeepVectors],
        stop: CutPoint | None,
        use: Callable[[KeepVectors, list[Tensor]], Result],
        check: Callable[[], None] = lambda: None,
    ) -> list[Result]:
        """Call `use(keep, features)` for each keep vector, several in parallel, and return the results in order.

        Args:
            keep_vectors: Keep vectors, bool[genes] each.
            stop: The cut of the features; None for the logits.
            use: Called from several threads.
            check: Called before waiting for each result.
        """
        last = len(self.cuts) + 1 if stop is None else self.cuts.index(stop) + 1

        @torch.no_grad()
        def one(spans: list[SlicedNetwork], keep: KeepVectors) -> Result:
            return use(keep, [batch.float() for batch in self._run(spans, keep, last)])

        return map_parallel(one, list(keep_vectors), self._workers, check)

    def _run(self, spans: list[SlicedNetwork], keep: KeepVectors, last: int) -> list[Tensor]:
        keys = self._keys(keep, last)
        begun, features = self._recall(keys, last)
        for at in range(begun, last):
            span = spans[at]
            span.select(keep)
            # The classifier is cheap, and logits need full precision.
            features = [span(batch.float() if at == len(self.cuts) else batch) for batch in features]
            self._remember((at + 1, keys[at + 1]), features)
        return features

    def _keys(self, keep: KeepVectors, last: int) -> list[bytes]:
        """A key for the features at each cut: the kept state of all genes that they depend on."""
        keys, used = [b""], np.zeros(len(keep), dtype=np.bool_)
        for genes in self._genes[:last]:
            used = used | genes
            keys.append(np.packbits(keep[used]).tobytes())
        return keys

    def _recall(self, keys: list[bytes], last: int) -> tuple[int, list[Tensor]]:
        """The last cut whose features are cached, and these features."""
        with self._lock:
            for at in range(last, 0, -1):
                if (at, keys[at]) in self._cache:
                    self._cache.move_to_end((at, keys[at]))
                    return at, self._cache[at, keys[at]]
        return 0, self._inputs

    def _remember(self, key: tuple[int, bytes], features: list[Tensor]) -> None:
        size = bytes_of(features)
        with self._lock:
            if size > self._memory // 4 or key in self._cache:
                return
            while self._cache and self._used + size > self._memory:
                _, old = self._cache.popitem(last=False)
                self._used -= bytes_of(old)
            self._cache[key] = features
            self._used += size


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Memory of the tensors' elements in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _channel_energy(features: Tensor, dim: int) -> Tensor:
    """‖·‖² per channel, [c], of a tensor with its channels in this dimension."""
    return features.square().transpose(0, dim).flatten(1).sum(1)
