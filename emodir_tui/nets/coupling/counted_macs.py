"""Multiply-accumulates of each node, counted by PyTorch while the network runs.

The layers that emodir knows are counted by formula, so that pruned ones can be counted too. What PyTorch counts besides,
such as the products of attention, is a fixed part: nothing that is pruned changes it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from emodir_tui.nets.coupling.propagation import ChannelMixingLayer, unpruned_macs
from emodir_tui.nets.tracing.network import Network, evaluating


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedMacs:
    """What a node computes besides the layers that emodir knows.

    Attributes:
        name: Under which it is counted: the module's name, or the node's where it calls none.
        node: The name of the graph's node.
        macs: Multiply-accumulates for one image, which pruning does not change unless it empties the node's branch.
    """

    name: str
    node: str
    macs: int


@torch.no_grad()
def counted_macs(network: Network) -> dict[str, int]:
    """The MACs of each node of the graph for one image, by the node's name; nodes without any are left out."""
    images = network.example[:1]
    with evaluating(network.model), evaluating(network.graph_module):
        try:
            return _Counting(network.graph_module).count(images)
        except (RuntimeError, ValueError, IndexError, AssertionError):
            # Some networks cannot process a single image.
            return {
                name: macs // len(network.example)
                for name, macs in _Counting(network.graph_module).count(network.example).items()
            }


@contextmanager
def decomposed_attention() -> Iterator[None]:
    """Compute attention by matrix products, which PyTorch's counter knows; it knows few of the fused forms."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def corrected(
    layers: Sequence[ChannelMixingLayer], network: Network
) -> tuple[list[ChannelMixingLayer], tuple[FixedMacs, ...]]:
    """The layers with the MACs that PyTorch counts, and what it counts besides.

    A formula takes the first dimension for the images. Where windows or patches are folded into it, a layer runs a
    multiple of what the formula says.
    """
    counted = counted_macs(network)
    found, fixed = [], dict(counted)
    for layer in layers:
        known = unpruned_macs(layer.macs, layer.outputs, layer.inputs)
        true = counted.get(layer.node, 0)
        if known and true and layer.macs * true % known == 0:
            layer = replace(layer, macs=layer.macs * true // known)
            known = true
        fixed[layer.node] = max(0, fixed.get(layer.node, 0) - known)
        found.append(layer)
    nodes = [node for node in network.graph_module.graph.nodes if fixed.get(node.name)]
    return found, tuple(
        FixedMacs(
            name=str(node.target) if node.op == "call_module" else node.name, node=node.name, macs=fixed[node.name]
        )
        for node in nodes
    )


class _Counting(fx.Interpreter):
    """Runs a graph and counts the multiply-accumulates of each node."""

    def count(self, images: Tensor) -> dict[str, int]:
        self._found: dict[str, int] = {}
        with decomposed_attention(), FlopCounterMode(display=False) as self._counter:
            self.run(images)
        return self._found

    def run_node(self, n: fx.Node) -> Any:
        before = self._counter.get_total_flops()
        value = super().run_node(n)
        if flops := self._counter.get_total_flops() - before:
            # PyTorch counts a multiplication and an addition as two.
            self._found[n.name] = flops // 2
        return value
