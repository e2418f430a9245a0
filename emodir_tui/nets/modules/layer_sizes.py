"""The sizes that layers store in addition to their weights: channels, groups, features."""

from typing import Any

from torch import nn


def fit_sizes(layer: nn.Module, original: nn.Module, channels: int | None = None) -> None:
    """Set the sizes stored by a layer to those of its already pruned weights.

    Args:
        layer: A convolution, linear layer, normalisation or PReLU; others are not changed.
        original: The same layer before pruning.
        channels: Number of channels of a normalisation, which may have no weights to read it from.
    """
    one: Any = layer
    old: Any = original
    if isinstance(layer, nn.modules.conv._ConvNd):
        _fit_convolution(one, old)
    elif isinstance(layer, nn.Linear):
        one.out_features, one.in_features = one.weight.shape
    elif isinstance(layer, nn.GroupNorm) and channels is not None:
        one.num_groups = old.num_groups * channels // old.num_channels
        one.num_channels = channels
    elif isinstance(layer, nn.modules.batchnorm._NormBase) and channels is not None:
        one.num_features = channels
    elif isinstance(layer, nn.PReLU):
        one.num_parameters = one.weight.shape[0]


def _fit_convolution(one: Any, old: Any) -> None:
    first, second = one.weight.shape[:2]
    if old.groups > 1:
        # Whole groups are removed, so each remaining one keeps its inputs and outputs.
        per_group = (old.in_channels if old.transposed else old.out_channels) // old.groups
        one.groups = max(1, first // per_group)
    if old.transposed:
        one.in_channels, one.out_channels = first, second * one.groups
    else:
        one.out_channels, one.in_channels = first, second * one.groups
