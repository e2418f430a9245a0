"""Construction of the graph in which every constant that depends on channels is in a channel module."""

from typing import Any

import torch
from torch import fx, nn

from emodir_tui.arrays import Axis
from emodir_tui.nets.coupling.propagation import Propagation
from emodir_tui.nets.coupling.rewrites import Resolution, Rewrite
from emodir_tui.nets.modules.channel_modules import ChannelGather, ChannelLeaf, ChannelPad, ChannelSplit, ChannelView
from emodir_tui.nets.tracing.tracer import erase_unused_nodes, operation

_DROPOUTS: dict[str, type[nn.Dropout | nn.Dropout2d | nn.Dropout3d]] = {
    "dropout": nn.Dropout,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
}


def normalise(
    propagation: Propagation, resolution: Resolution, gene_of_label: Axis, device: torch.device
) -> fx.GraphModule:
    """A copy of the labelled graph with channel modules on this device; it shares the model's modules and node names."""
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    leaves: dict[str, nn.Module] = {}
    for node in propagation.module.graph.nodes:
        rewrite = resolution.rewrites.get(node)
        if rewrite is None and _is_disabled_dropout(node):
            target = f"dropout_{node.name}"
            leaves[target] = _DROPOUTS[operation(node) or ""](_probability(node))
            made[node] = graph.create_node("call_module", target, (made[node.all_input_nodes[0]],), name=node.name)
        elif rewrite is None:
            made[node] = graph.node_copy(node, lambda n: made[n])
            if node.op == "call_method" and node.target == "view" and _is_sizes(node.args[1:]):
                # Equal for contiguous tensors, and correct for others too.
                made[node].target = "reshape"
        elif rewrite.kind == "expand":
            made[node] = _expand(graph, made, node, rewrite)
        else:
            target = str(node.target) if node.op == "call_module" else f"channels_{node.name}"
            leaves[target] = _leaf(rewrite, gene_of_label).to(device)
            sizes = _runtime_sizes(node, rewrite)
            args = fx.node.map_arg((rewrite.source, *sizes), lambda n: made[n])
            made[node] = graph.create_node("call_module", target, args, name=node.name)
        made[node].meta = dict(node.meta)
    erase_unused_nodes(graph)
    root: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            root[str(node.target)] = leaves.get(str(node.target)) or propagation.module.get_submodule(str(node.target))
        elif node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            root[str(node.target)] = getattr(propagation.module.get_submodule(owner), name)
    return fx.GraphModule(root, graph, "ChannelGraph")


def _is_sizes(arguments: tuple[Any, ...]) -> bool:
    """Whether the arguments of a view are sizes, not a dtype."""
    return bool(arguments) and not isinstance(arguments[0], torch.dtype)


def _is_disabled_dropout(node: fx.Node) -> bool:
    """Whether a node is a functional dropout traced in evaluation mode; as a module it is active in training again."""
    training = node.args[2] if len(node.args) > 2 else node.kwargs.get("training", True)
    return node.op == "call_function" and operation(node) in _DROPOUTS and training is False


def _probability(node: fx.Node) -> float:
    given = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
    return float(given) if isinstance(given, float | int) else 0.5


def _leaf(rewrite: Rewrite, gene_of_label: Axis) -> ChannelLeaf:
    genes = tuple(gene_of_label[labels.numpy()] for labels in rewrite.labels)
    leaf: Any
    if rewrite.kind == "pad":
        leaf = ChannelPad(len(genes[0]), len(genes[1]), **rewrite.options)
    elif rewrite.kind == "split":
        leaf = ChannelSplit([len(axis) for axis in genes], rewrite.dim)
    elif rewrite.kind == "gather":
        leaf = ChannelGather(rewrite.options["index"], rewrite.dim)
    else:
        leaf = ChannelView(rewrite.options["sizes"], rewrite.dim)
    leaf.genes = genes
    return leaf  # type: ignore[no-any-return]


def _runtime_sizes(node: fx.Node, rewrite: Rewrite) -> list[Any]:
    """The size arguments of a view; 0 replaces those that the channel module stores."""
    if rewrite.kind != "view":
        return []
    known = rewrite.options["sizes"]
    given = list(node.args[1:])
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = list(given[0])
    if len(given) != len(known):
        return [0] * len(known)
    return [0 if own is not None else size for own, size in zip(known, given, strict=True)]


def _expand(graph: fx.Graph, made: dict[fx.Node, fx.Node], node: fx.Node, rewrite: Rewrite) -> fx.Node:
    """An expand() with -1 as the size of its channel dimension."""
    sizes = list(node.args[1:])
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = list(sizes[0])
    sizes[rewrite.dim] = -1
    args = fx.node.map_arg((rewrite.source, *sizes), lambda n: made[n])
    return graph.create_node("call_method", "expand", args, name=node.name)
