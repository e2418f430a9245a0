"""From NumPy to a device that is not waited for."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """An array on a device. The copy to a GPU is queued behind earlier work, and the caller continues at once."""
    tensor = torch.from_numpy(values)
    # Only of pinned memory is a copy queued; of other memory it waits for the queue to be empty.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
