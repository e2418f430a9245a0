"""Taylor importance: the effect of each gene on the loss, to first order."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from emodir_tui.arrays import Floats
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.masked import MaskedNetwork

Loss = Callable[[Tensor, Tensor], Tensor]


def taylor(graph: ChannelGraph, batches: Sequence[tuple[Tensor, Tensor]], loss: Loss) -> Floats:
    """Mean over images of (∂L/∂gate)², float64[genes]: the squared first-order change of the loss by removing a gene.

    Source: Molchanov et al., "Importance estimation for neural network pruning" (2019), equation 8, on gates of
    activations.

    Args:
        graph: The network, in evaluation mode.
        batches: (inputs [n, c, h, w], labels [n]) pairs.
        loss: Maps logits and labels to the mean loss over the images.
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
