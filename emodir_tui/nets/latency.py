"""Measured latency of a network."""

import time
from statistics import median

import torch
from torch import Tensor, nn

WARM_UP = 3


@torch.no_grad()
def measure(model: nn.Module, example: Tensor, repeats: int = 15) -> float:
    """Median milliseconds of a forward pass on `example`, on the device that both are on; the model is left in eval mode."""
    model.eval()
    seconds = []
    for attempt in range(WARM_UP + repeats):
        _wait(example.device)
        began = time.perf_counter()
        model(example)
        _wait(example.device)
        if attempt >= WARM_UP:
            seconds.append(time.perf_counter() - began)
    return 1000 * median(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
