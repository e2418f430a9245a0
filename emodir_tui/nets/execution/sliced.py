"""A span of the network that runs with the kept channels only; weights are gathered for each keep vector."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.arrays import Axis, KeepVectors, extended
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.invariants import SUMS, find_invariants, gather_channels, pack_channels
from emodir_tui.nets.execution.program import BATCH_NORMS, CHANNEL_LEAVES, Program, set_tensor
from emodir_tui.nets.modules.layer_sizes import fit_sizes
from emodir_tui.nets.modules.precision import autocast
from emodir_tui.nets.modules.transfer import to_device
from emodir_tui.nets.tracing.network import CutPoint


@dataclass(frozen=True, slots=True)
class _Gathered:
    """A tensor of a leaf, its source module, and the (dimension, axis number) pairs along which it is gathered."""

    leaf: str
    name: str
    source: nn.Module
    axes: tuple[tuple[int, int], ...]


class SlicedNetwork(nn.Module):
    """A span [start, stop] of a network, run with the kept channels only.

    Args:
        graph: The network. Its weights are read at each `select`, so they may be trained in between.
        start: The span begins after this cut; None for the input.
        stop: The span ends with this cut; None for the output.
        statistics: "batch" or "running"; see `Program`.
        varying: The genes that keep vectors may remove, bool[genes]; `precompute` then returns the activations that do
            not depend on them. None for all genes.
        dtype: Precision of convolutions and linear layers; bfloat16 is for searches, not for training. torch.autocast
            decides which operations stay in float32.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        start: CutPoint | None,
        stop: CutPoint | None,
        *,
        statistics: str = "batch",
        varying: KeepVectors | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self._graph = graph
        self._dtype = dtype
        self._program = Program(graph, start, stop, statistics)
        self._indices = _KeptPositions()
        self._gathered = _gathered_tensors(self._program, graph, self._indices)
        self._attributes = _gathered_attributes(self._program, graph, self._indices)
        self._skipped: dict[str, Tensor | None] = {}
        output = self._program.nodes[-1].name if self._program.nodes else ""
        self._invariants = None if varying is None else find_invariants(graph, self._program.nodes, varying, output)
        frontier = self._invariants.frontier if self._invariants else {}
        self._frontier_axes = {name: self._indices.add(axis) for name, axis in frontier.items()}
        self._frontier: dict[str, Tensor | None] = {}
        self._inside = [
            number
            for number, branch in enumerate(graph.branches)
            if any(node.name == branch.exit for node in self._program.nodes)
        ]

    def select(self, keep: KeepVectors) -> None:
        """Gather the kept channels of every weight. Gradients flow back to the network's own weights.

        Args:
            keep: bool[genes].

        Raises:
            ValueError: The keep vector empties a group that must keep a gene.
        """
        emptied = [number for number in self._graph.check(keep) if number in self._inside]
        extended_keep = extended(keep)
        device = self._graph.network.example.device
        indices = self._indices.kept_positions(extended_keep, device)
        emptied_nodes = {node for number in emptied for node in self._graph.branches[number].nodes}
        for item in self._gathered:
            value = getattr(item.source, item.name)
            if value is not None:
                value = _take(value, item.axes, indices)
                if self._reduced and isinstance(item.source, SUMS):
                    # Cast once here instead of at every batch.
                    value = value.to(self._dtype)
                if value.dim() == 4 and device.type != "cpu":
                    # Gathering yields channels-first memory, which an accelerator would convert at every batch.
                    value = value.contiguous(memory_format=torch.channels_last)
            set_tensor(self._program.leaves[item.leaf], item.name, value)
        for item in self._attributes:
            value = getattr(item.source, item.name)
            self._program.attributes[item.leaf] = _take(value, item.axes, indices)
        for name, leaf in self._program.leaves.items():
            if isinstance(leaf, CHANNEL_LEAVES):
                leaf.select(extended_keep, device)
            else:
                axis = self._graph.sized_layers.get(name)
                channels = None if axis is None else int(np.count_nonzero(extended_keep[axis]))
                fit_sizes(leaf, self._graph.graph_module.get_submodule(name), channels)
        self._skipped = dict.fromkeys(emptied_nodes)
        for number in emptied:
            self._skipped[self._graph.branches[number].exit] = self.constant(number)
        self._frontier = {name: indices[number] for name, number in self._frontier_axes.items()}

    def forward(self, x: Tensor, precomputed: Mapping[str, Tensor] | None = None) -> Tensor:
        """The span's output with the kept channels of its stop cut, for x with the kept channels of its start cut.

        Args:
            x: [n, c, …].
            precomputed: Result of `precompute` for this x, if it was called.
        """
        with self._precision():
            return self._forward(x.to(self._dtype) if self._reduced else x, precomputed)

    def _forward(self, x: Tensor, precomputed: Mapping[str, Tensor] | None) -> Tensor:
        if self._invariants is None or precomputed is None:
            return self._program.run(x, self._skipped)
        skipped: dict[str, Tensor | None] = dict.fromkeys(self._invariants.inside)
        for name, packed in precomputed.items():
            if name not in self._skipped:
                skipped[name] = gather_channels(packed, self._frontier[name])
        return self._program.run(x, {**skipped, **self._skipped})

    def precompute(self, x: Tensor) -> dict[str, Tensor]:
        """Activations of x [n, c, …] that no keep vector changes, packed, by node name. Selects all genes."""
        found: dict[str, Tensor] = {}
        if self._invariants is None or not self._invariants.frontier:
            return found
        frontier = self._invariants.frontier

        def seen(name: str, value: Tensor) -> None:
            if name in frontier:
                found[name] = pack_channels(value)

        self.select(np.ones(self._graph.genes, dtype=np.bool_))
        with self._precision():
            self._program.run(x.to(self._dtype) if self._reduced else x, self._skipped, seen=seen)
        return found

    def constant(self, number: int) -> Tensor:
        """Output of an emptied branch under this span's statistics, for the selected keep vector."""
        with self._precision():
            value = self._program.constant(number)
        return value.to(self._dtype) if self._reduced else value

    @property
    def _reduced(self) -> bool:
        return self._dtype != torch.float32

    def _precision(self) -> AbstractContextManager[object]:
        return autocast(self._graph.network.example.device, self._dtype)


class _KeptPositions:
    """The positions that a keep vector keeps along each of several axes, copied to the device together.

    Each copy waits for the device, and a network of twenty layers has some eighty tensors along a dozen axes.
    """

    def __init__(self) -> None:
        self._axes: list[Axis] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, axis: Axis) -> int:
        """The number of an axis; equal axes share one."""
        number = self._numbers.setdefault(axis.tobytes(), len(self._axes))
        if number == len(self._axes):
            self._axes.append(axis)
        return number

    def kept_positions(self, extended_keep: KeepVectors, device: torch.device) -> list[Tensor | None]:
        """For each axis the kept positions, int64[kept], or None if all are, for a keep vector bool[genes + 1]."""
        kept_channels = [extended_keep[axis] for axis in self._axes]
        found = [None if kept.all() else np.flatnonzero(kept) for kept in kept_channels]
        some = [positions for positions in found if positions is not None]
        if not some:
            return [None] * len(found)
        parts = iter(to_device(np.concatenate(some), device).split([len(positions) for positions in some]))
        return [None if positions is None else next(parts) for positions in found]


def _take(value: Tensor, axes: tuple[tuple[int, int], ...], indices: list[Tensor | None]) -> Tensor:
    for dim, axis in axes:
        index = indices[axis]
        if index is not None:
            value = value.index_select(dim, index)
    return value


def _gathered_tensors(program: Program, graph: ChannelGraph, indices: _KeptPositions) -> list[_Gathered]:
    found = []
    for target, leaf in program.leaves.items():
        if isinstance(leaf, CHANNEL_LEAVES):
            continue
        source = graph.graph_module.get_submodule(target)
        names = [*source._parameters, *source._buffers]
        for name in names:
            axes = graph.tensors.get(_first_name(graph, f"{target}.{name}"), {})
            if name in leaf.__dict__ and not axes:
                continue
            found.append(_Gathered(target, name, source, _numbered(axes, indices)))
    # A batch normalisation on batch statistics has no running statistics to gather.
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    batch = program.statistics == "batch"
    return [
        item
        for item in found
        if not (batch and item.name in statistics and isinstance(program.leaves[item.leaf], BATCH_NORMS))
    ]


def _gathered_attributes(program: Program, graph: ChannelGraph, indices: _KeptPositions) -> list[_Gathered]:
    """Tensors that the graph reads itself, by their qualified names."""
    found = []
    for target in dict.fromkeys(str(node.target) for node in program.nodes if node.op == "get_attr"):
        axes = graph.tensors.get(_first_name(graph, target))
        if axes:
            owner, _, name = target.rpartition(".")
            found.append(_Gathered(target, name, graph.graph_module.get_submodule(owner), _numbered(axes, indices)))
    return found


def _numbered(axes: Mapping[int, Axis], indices: _KeptPositions) -> tuple[tuple[int, int], ...]:
    return tuple((dim, indices.add(axis)) for dim, axis in axes.items())


def _first_name(graph: ChannelGraph, name: str) -> str:
    return next((first for first, names in graph.aliases.items() if name in names), name)
