"""A span of the network at full size with channels masked where they are consumed: the reference for removal."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.arrays import KeepVectors
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.invariants import find_invariants
from emodir_tui.nets.execution.program import CHANNEL_LEAVES, Program
from emodir_tui.nets.tracing.network import CutPoint


class MaskedNetwork(nn.Module):
    """A span with a gate on the input of every layer that consumes channels, and on the span's output.

    Masking at the consumer is exact whatever lies between, such as a normalisation's bias or an activation that is not
    0 at 0.

    Args:
        graph: The network.
        start: The span begins after this cut; None for the input.
        stop: The span ends with this cut; None for the output.
        statistics: "batch" or "running"; see `Program`.
        varying: The genes whose gates may close, bool[genes]; `precompute` then returns the activations that do not
            depend on them. None for all genes.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        start: CutPoint | None,
        stop: CutPoint | None,
        *,
        statistics: str = "batch",
        varying: KeepVectors | None = None,
    ) -> None:
        super().__init__()
        self._program = Program(graph, start, stop, statistics)
        output = self._program.nodes[-1].name if self._program.nodes else ""
        self._invariants = None if varying is None else find_invariants(graph, self._program.nodes, varying, output)
        self._genes = graph.genes
        self._gates: dict[str, tuple[int, Tensor]] = {}
        device = graph.network.example.device
        for layer in graph.layers:
            if layer.inputs is not None and bool((layer.inputs < graph.genes).any()):
                self._gates[layer.node] = (layer.dim, torch.from_numpy(layer.inputs).to(device))
        for leaf in self._program.leaves.values():
            if isinstance(leaf, CHANNEL_LEAVES):
                leaf.select(np.ones(graph.genes + 1, dtype=np.bool_), device)
        self._end: tuple[int, Tensor] | None = None
        if stop is not None:
            dim, axis = graph.axis(stop.node)
            self._end = (dim, torch.from_numpy(axis).to(device))

    def replace(self, make: Callable[[nn.Module], nn.Module]) -> None:
        """Replace each leaf module by what `make` returns for it."""
        self._program.leaves.update({name: make(leaf) for name, leaf in self._program.leaves.items()})

    def precompute(self, x: Tensor) -> dict[str, Tensor]:
        """Activations of x [n, c, …] that no gate changes, by node name, for `forward`."""
        found: dict[str, Tensor] = {}
        if self._invariants is not None and self._invariants.frontier:
            frontier = self._invariants.frontier
            self._program.run(x, {}, seen=lambda name, value: found.update({name: value} if name in frontier else {}))
        return found

    def forward(self, x: Tensor, gates: Tensor, precomputed: Mapping[str, Tensor] | None = None) -> Tensor:
        """The span's output for x; differentiable in x and the gates.

        Args:
            x: [n, c, …].
            gates: float[genes], or float[n, genes] for gates per image; 1 keeps a gene's channels, 0 masks them.
            precomputed: Result of `precompute` for this x, if it was called.
        """
        extended_gates = torch.cat([gates, gates.new_ones(*gates.shape[:-1], 1)], dim=-1)

        def gate(node: str, value: Tensor) -> Tensor:
            place = self._gates.get(node)
            return value if place is None else _apply(value, extended_gates, *place)

        skipped: dict[str, Tensor | None] = {}
        if self._invariants is not None and precomputed:
            skipped = {**dict.fromkeys(self._invariants.inside), **precomputed}
        result = self._program.run(x, skipped, gate)
        return result if self._end is None else _apply(result, extended_gates, *self._end)


def _apply(value: Tensor, gates: Tensor, dim: int, axis: Tensor) -> Tensor:
    shape = [1] * value.dim()
    shape[dim] = len(axis)
    chosen = gates[..., axis]
    if chosen.dim() == 2:
        shape[0] = len(chosen)
    return value * chosen.reshape(shape)
