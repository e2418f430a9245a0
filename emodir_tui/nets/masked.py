"""A span of the network at full size, whose channels are masked where they are consumed: the reference for removal."""

import torch
from torch import Tensor, nn

from emodir_tui.nets.graph import CutPoint
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.program import Program


class MaskedNetwork(nn.Module):
    """A span with a gate on every consumer's input, and on the span's output.

    Masking at the consumer is exact whatever lies between: a normalisation's bias, an activation that is not 0 at 0.

    Args:
        graph: The network.
        start: Behind this cut; None from the input.
        stop: Up to and with this cut; None to the end.
        statistics: "batch" or "running"; see `Program`.
    """

    def __init__(
        self, graph: ChannelGraph, start: CutPoint | None, stop: CutPoint | None, *, statistics: str = "batch"
    ) -> None:
        super().__init__()
        self._program = Program(graph, start, stop, statistics)
        self._genes = graph.genes
        self._gates: dict[str, tuple[int, Tensor]] = {}
        device = graph.network.example.device
        for layer in graph.layers:
            if layer.inputs is not None and bool((layer.inputs < graph.genes).any()):
                self._gates[layer.node] = (layer.dim, torch.from_numpy(layer.inputs).to(device))
        self._end: tuple[int, Tensor] | None = None
        if stop is not None:
            dim, axis = graph.axis(stop.node)
            self._end = (dim, torch.from_numpy(axis).to(device))

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        """What the span makes of x [n, c, …] under gates float[genes] or float[n, genes]; differentiable in both."""
        extended = torch.cat([gates, gates.new_ones(*gates.shape[:-1], 1)], dim=-1)

        def gate(node: str, value: Tensor) -> Tensor:
            known = self._gates.get(node)
            return value if known is None else _apply(value, extended, *known)

        result = self._program.run(x, {}, gate)
        return result if self._end is None else _apply(result, extended, *self._end)


def _apply(value: Tensor, gates: Tensor, dim: int, axis: Tensor) -> Tensor:
    shape = [1] * value.dim()
    shape[dim] = len(axis)
    chosen = gates[..., axis]
    if chosen.dim() == 2:
        shape[0] = len(chosen)
    return value * chosen.reshape(shape)
