"""A span of a network between two cut points: its nodes, memory and genes."""

from math import prod

import numpy as np
import numpy.typing as npt
from torch import fx

from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.modules.channel_modules import ChannelGather, ChannelPad, ChannelSplit, ChannelView
from emodir_tui.nets.tracing.network import CutPoint


def span_nodes(graph: ChannelGraph, start: CutPoint | None, stop: CutPoint | None) -> list[fx.Node]:
    """The nodes after `start` (None: the input) up to and including `stop` (None: the last), in order.

    Parameters that the graph reads before the span come first, because several spans may read the same one.
    """
    nodes = [node for node in graph.graph_module.graph.nodes if node.op not in ("placeholder", "output")]
    names = [node.name for node in nodes]
    first = 0 if start is None else names.index(start.node) + 1
    last = len(names) if stop is None else names.index(stop.node) + 1
    span = nodes[first:last]
    read = {source for node in span for source in node.all_input_nodes if source.op == "get_attr"}
    return [*(node for node in nodes[:first] if node in read), *span]


def working_bytes(graph: ChannelGraph, start: CutPoint | None, stop: CutPoint | None, images: int) -> tuple[int, int]:
    """The largest output of the unpruned span's nodes, and the sum of all of them, in bytes for that many images."""
    sizes = []
    for node in span_nodes(graph, start, stop):
        shape = node.meta.get("shape")
        # A node that splits a tensor has several outputs, and one that computes attention may leave out one of two.
        shapes = shape if isinstance(shape, list) else [shape] if shape is not None else []
        sizes.append(sum(4 * images * prod(one[1:]) for one in shapes if one is not None))
    return max(sizes, default=0), sum(sizes)


def genes_used(graph: ChannelGraph, start: CutPoint | None, stop: CutPoint | None) -> npt.NDArray[np.bool_]:
    """The genes that the span's output depends on, bool[genes]."""
    used = np.zeros(graph.genes + 1, dtype=np.bool_)
    first_names = {name: first for first, names in graph.aliases.items() for name in names}
    for node in span_nodes(graph, start, stop):
        if node.op not in ("call_module", "get_attr"):
            continue
        target = str(node.target)
        if node.op == "call_module":
            leaf = graph.graph_module.get_submodule(target)
            if isinstance(leaf, ChannelGather | ChannelPad | ChannelSplit | ChannelView):
                for axis in leaf.genes or ():
                    used[axis] = True
            tensors = [f"{target}.{name}" for name, _ in (*leaf.named_parameters(), *leaf.named_buffers())]
        else:
            tensors = [target]
        for tensor in tensors:
            for axis in graph.tensors.get(first_names.get(tensor, tensor), {}).values():
                used[axis] = True
    return used[:-1]
