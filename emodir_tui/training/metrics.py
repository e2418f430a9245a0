"""Measurements of a whole network: accuracy, and the batch statistics that pruning made stale."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from emodir_tui.training.data import Split
from emodir_tui.training.memory import in_chunks


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, batch: int, check: Callable[[], None] = lambda: None) -> float:
    """Share of a split's images whose class has the largest logit, 0 to 1. Leaves the model in evaluation mode.

    `check` is called before each batch.
    """
    model.eval()
    right = 0
    for inputs, labels in split.batches(batch):
        check()
        logits = in_chunks(model, inputs)
        right += int((logits.argmax(1) == labels).sum())
    return right / len(split)


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every batch normalisation to the plain mean over the batches.

    Args:
        model: Left in evaluation mode.
        batches: Inputs [n, c, h, w], of equal size.
    """
    # Instance normalisations may have running statistics too.
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
    norms = [module for module in model.modules() if isinstance(module, kinds) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    for number, inputs in enumerate(batches, 1):
        # The cumulative mean, in which every batch counts the same. Momentum None would mean it for batch normalisations, which
        # then wait for a GPU, but nothing at all for those of instances.
        for norm in norms:
            norm.momentum = 1 / number
        model(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
