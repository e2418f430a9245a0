"""The same analysed network with other weights, without tracing and analysing it again."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from emodir_tui.nets.coupling.channel_graph import ChannelGraph, analyse
from emodir_tui.nets.modules.deep_copy import deep_copy
from emodir_tui.nets.sources.models import load_tensors
from emodir_tui.nets.tracing.network import evaluating, trace


def with_weights(graph: ChannelGraph, weights: Mapping[str, Tensor]) -> ChannelGraph:
    """An independent copy of a network with other weights; channel groups depend on the architecture alone.

    Where tracing has turned numbers of a buffer into constants of the graph, the copy is traced and analysed itself.

    Args:
        graph: The analysed network.
        weights: Its parameters and buffers by name.

    Raises:
        RuntimeError: The weights are those of another architecture.
    """
    model = graph.network.model
    own, traced, analysed = deep_copy((model, graph.network.graph_module, graph.graph_module), model)
    load_tensors(own, weights)
    example = graph.network.example
    with torch.no_grad(), evaluating(own), evaluating(analysed):
        expected, found = own(example.clone()), analysed(example)
    scale = max(1.0, float(expected.abs().max()))
    if not torch.allclose(found, expected, atol=1e-5 * scale, equal_nan=True):
        return analyse(trace(own, example))
    return replace(graph, network=replace(graph.network, model=own, graph_module=traced), graph_module=analysed)
