"""Losses of trainings and searches; means over the images unless stated otherwise."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy; logits [n, classes], labels int64 [n]."""
    return F.cross_entropy(logits, labels)


def kl(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(reference ‖ logits) of the two softmax distributions, in nats; both [n, classes]."""
    return F.kl_div(F.log_softmax(logits, 1), F.log_softmax(reference, 1), log_target=True, reduction="batchmean")


def softened_kl(logits: Tensor, reference: Tensor, temperature: float) -> Tensor:
    """`kl` of both logits divided by the temperature, times its square, as in `distillation`."""
    return kl(logits / temperature, reference / temperature) * temperature**2


def distillation(logits: Tensor, reference: Tensor, labels: Tensor, weight: float, temperature: float) -> Tensor:
    """Knowledge distillation (Hinton, Vinyals & Dean 2015, equation 1 and the T² factor below it).

    Args:
        logits: Of the network in training, [n, classes].
        reference: Of the original network, [n, classes].
        labels: int64 [n].
        weight: Weight of the soft labels, 0..1; the hard labels have the rest.
        temperature: Divides both logits.
    """
    soft = softened_kl(logits, reference, temperature)
    return weight * soft + (1 - weight) * cross_entropy(logits, labels)


def relative_error(features: Tensor, reference: Tensor) -> Tensor:
    """‖features − reference‖² / ‖reference‖² over the whole batch, the local impairment; same shapes."""
    return (features - reference).square().sum() / reference.square().sum().clamp_min(1e-12)
