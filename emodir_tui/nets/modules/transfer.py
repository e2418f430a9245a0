"""Asynchronous transfer of NumPy arrays to a device."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a device. On a GPU the copy is queued, and the caller does not wait."""
    tensor = torch.from_numpy(values)
    # Only copies from pinned memory are asynchronous; others wait until the queue is empty.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
