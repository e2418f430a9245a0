"""How much each gene matters: by gradient, by weight, by normalisation."""

import operator
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.arrays import Floats
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.masked import MaskedNetwork

Loss = Callable[[Tensor, Tensor], Tensor]


def taylor(graph: ChannelGraph, batches: Sequence[tuple[Tensor, Tensor]], loss: Loss) -> Floats:
    """Mean over images of (∂L/∂gate)², float64[genes]: the squared first-order change of the loss without a gene.

    Source: Molchanov et al., "Importance estimation for neural network pruning" (2019), equation 8, on gates of
    activations.

    Args:
        graph: The network, in evaluation mode.
        batches: (inputs, labels).
        loss: A mean over the images.
    """
    network = MaskedNetwork(graph, None, None, statistics="running")
    total = np.zeros(graph.genes)
    images = 0
    for inputs, labels in batches:
        count = len(inputs)
        gates = torch.ones(count, graph.genes, device=inputs.device, requires_grad=True)
        value = loss(network(inputs, gates), labels)
        (gradient,) = torch.autograd.grad(value, gates)
        # The loss is a mean, so each image's own gradient is `count` times larger.
        total += (gradient * count).double().square().sum(0).cpu().numpy()
        images += count
    return total / max(1, images)


def l1(graph: ChannelGraph) -> Floats:
    """Mean absolute weight of the filters that make a gene, float64[genes] (Li et al. 2017), summed over its layers."""
    values = np.zeros(graph.genes + 1)
    seen: dict[str, None] = {}
    for layer in graph.layers:
        if layer.weight and layer.weight not in seen:
            seen[layer.weight] = None
            weight = operator.attrgetter(layer.weight)(graph.network.model).detach()
            norms = weight.abs().transpose(0, layer.made).flatten(1).mean(1).double().cpu().numpy()
            np.add.at(values, layer.outputs, norms)
    return values[:-1]


def bn_scale(graph: ChannelGraph) -> Floats:
    """Absolute scale of the batch normalisations on a gene, float64[genes] (Liu et al. 2017); 0 where there is none."""
    values = np.zeros(graph.genes + 1)
    for name, module in graph.graph_module.named_modules():
        axes = graph.tensors.get(f"{name}.weight", {})
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and 0 in axes:
            np.add.at(values, axes[0], module.weight.detach().abs().double().cpu().numpy())
    return values[:-1]
