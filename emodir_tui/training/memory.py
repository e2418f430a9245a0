"""Going on when the device's memory does not hold a batch: the same work in smaller pieces."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_pieces(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """`function(inputs)`, in halves, quarters, … where the device's memory asks for it; [n, …] to [n, …].

    Only for functions that treat each image on its own.

    Raises:
        torch.OutOfMemoryError: A single image does not fit.
    """
    try:
        return function(inputs)
    except torch.OutOfMemoryError:
        if len(inputs) == 1:
            raise
    free_memory()
    half = len(inputs) // 2
    return torch.cat([in_pieces(function, inputs[:half]), in_pieces(function, inputs[half:])])


def free_memory() -> None:
    """Give cached blocks back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
