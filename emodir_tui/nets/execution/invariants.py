"""Activations that no mask changes; computed once and shared by all candidates.

An activation is *invariant* if each of its channels is the same under every mask that keeps the channel. The output of
a sub-network's first layer is invariant: its inputs are complete, so a mask only selects among its outputs. So are the
normalisations and activation functions after it, up to the first layer that sums over channels a mask may remove.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from emodir_tui.arrays import Axis, KeepVectors, extended
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.tracing.tracer import operation

_CHANNELWISE_MODULES = (
    nn.modules.batchnorm._BatchNorm,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Tanh,
    nn.Identity,
    nn.Dropout,
    nn.MaxPool2d,
    nn.AvgPool2d,
)
_CHANNELWISE_FUNCTIONS = {"relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "hardswish", "tanh"}
SUMS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True, kw_only=True, slots=True)
class Invariants:
    """The nodes of a span whose output is invariant.

    Attributes:
        inside: Nodes read by invariant nodes only; they need not run again.
        frontier: Nodes read by others, with the genes of their channels (dimension 1).
    """

    inside: frozenset[str]
    frontier: dict[str, Axis]


def find_invariants(graph: ChannelGraph, nodes: list[fx.Node], varying: KeepVectors, output: str) -> Invariants:
    """Find the invariant nodes of a span whose input has all channels.

    Args:
        graph: The network.
        nodes: Nodes of the span, in order.
        varying: The genes that masks may remove, bool[genes]; all others are always kept.
        output: The span's last node, which is always read.
    """
    varies = extended(varying, value=False)
    names = {node.name for node in nodes}
    layers = {layer.node: layer for layer in graph.layers}
    found: dict[str, Axis] = {}
    for node in nodes:
        sources = [source for source in node.all_input_nodes if source.name in names]
        if not all(source.name in found for source in sources):
            continue
        layer = layers.get(node.name)
        if layer is not None:
            whole = layer.inputs is not None and not varies[layer.inputs].any() and layer.dim == 1
            if not (whole and _is_a(graph, node, SUMS)):
                continue
        elif not _is_channelwise(graph, node):
            continue
        dim, axis = graph.axis(node.name)
        if dim == 1:
            found[node.name] = axis
    read = {
        source.name
        for node in nodes
        if node.name not in found
        for source in node.all_input_nodes
        if source.name in found
    }
    frontier = {name: axis for name, axis in found.items() if name in read or name == output}
    return Invariants(inside=frozenset(found) - frontier.keys(), frontier=frontier)


def pack_channels(value: Tensor) -> Tensor:
    """A tensor [n, c, …] as [n, …, c], contiguous: the layout from which channels are gathered fastest."""
    return value.movedim(1, -1).contiguous()


def gather_channels(packed: Tensor, index: Tensor | None) -> Tensor:
    """Channels of a packed tensor as [n, kept, …]; all of them if the index is None."""
    if index is None:
        return packed.movedim(-1, 1)
    if packed.device.type != "cpu":
        return packed.index_select(packed.dim() - 1, index).movedim(-1, 1)
    # On a CPU the product with a 0/1 matrix is exact too, and 2 to 20 times as fast.
    chosen = torch.zeros(packed.shape[-1], len(index), dtype=packed.dtype)
    chosen[index, torch.arange(len(index))] = 1
    return (packed @ chosen).movedim(-1, 1)


def _is_channelwise(graph: ChannelGraph, node: fx.Node) -> bool:
    """Whether each output channel of a node depends on the same channel of its only input."""
    if len(node.all_input_nodes) != 1:
        return False
    if node.op == "call_module":
        return _is_a(graph, node, _CHANNELWISE_MODULES)
    return node.op in ("call_function", "call_method") and operation(node) in _CHANNELWISE_FUNCTIONS


def _is_a(graph: ChannelGraph, node: fx.Node, kinds: tuple[type[nn.Module], ...]) -> bool:
    if node.op != "call_module":
        return False
    module = graph.graph_module.get_submodule(str(node.target))
    # A subclass may compute anything; only torch's own classes are known.
    return isinstance(module, kinds) and type(module).__module__.startswith("torch.nn.")
