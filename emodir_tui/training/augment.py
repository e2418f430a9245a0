"""Augmentation of a whole batch at once; every draw comes from the generator that is given."""

import torch
from torch import Tensor

PADDING_SHARE = 0.125


def augment(inputs: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """A batch [n, c, h, w], moved by up to an eighth of its side and mirrored as `kind` says.

    Draws are made on the CPU, so that every device sees the same ones.
    """
    if kind == "none":
        return inputs
    if kind in ("crop", "crop-flip"):
        inputs = _shift(inputs, generator)
    if kind in ("crop-flip", "resized-crop-flip"):
        mirrored = torch.rand(len(inputs), generator=generator).lt(0.5).to(inputs.device)
        inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
    return inputs


def _shift(inputs: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = inputs.shape
    padding = max(1, round(min(height, width) * PADDING_SHARE))
    padded = torch.nn.functional.pad(inputs, [padding] * 4)
    offsets = torch.randint(0, 2 * padding + 1, (count, 2), generator=generator).to(inputs.device)
    rows = offsets[:, :1] + torch.arange(height, device=inputs.device)
    columns = offsets[:, 1:] + torch.arange(width, device=inputs.device)
    image = torch.arange(count, device=inputs.device)[:, None, None]
    # Advanced indices around a slice put the channels last.
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
