"""Augmentation of whole batches; all random draws come from the given generator."""

import torch
from torch import Tensor

PADDING_SHARE = 0.125


def augment(inputs: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Augment a batch [n, c, h, w].

    Random numbers are drawn on the CPU, so that they are the same for every device.

    Args:
        inputs: The batch.
        kind: "crop" shifts by up to an eighth of the side, "crop-flip" also mirrors half of the images,
            "resized-crop-flip" mirrors only (`Images.take` has cropped), "none" does nothing.
        generator: Source of the random numbers, on the CPU.
    """
    if kind == "none":
        return inputs
    if kind in ("crop", "crop-flip"):
        inputs = _shift(inputs, generator)
    if kind in ("crop-flip", "resized-crop-flip"):
        mirrored = torch.rand(len(inputs), generator=generator).lt(0.5).to(inputs.device)
        inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
    return inputs


def crop_box(width: int, height: int, draw: list[float]) -> tuple[float, float, float, float]:
    """A crop as (left, top, right, bottom): 8 to 100 % of the area, aspect ratio 3:4 to 4:3, from four numbers in 0..1."""
    area, ratio = 0.08 + 0.92 * draw[0], (3 / 4) * (16 / 9) ** draw[1]
    crop_width = min(width, max(1, round((width * height * area * ratio) ** 0.5)))
    crop_height = min(height, max(1, round((width * height * area / ratio) ** 0.5)))
    left, top = draw[2] * (width - crop_width), draw[3] * (height - crop_height)
    return left, top, left + crop_width, top + crop_height


def resized_crops(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """A random crop of each image [n, c, h, w], resized to the full size by bilinear interpolation."""
    count, _, height, width = inputs.shape
    draws = torch.rand(count, 4, generator=generator).tolist()
    boxes = torch.tensor([crop_box(width, height, draw) for draw in draws]).to(inputs)
    left, top, right, bottom = boxes.unbind(1)
    affine = inputs.new_zeros(count, 2, 3)
    # In coordinates from -1 to 1: the crop's size and its centre.
    affine[:, 0, 0], affine[:, 0, 2] = (right - left) / width, (left + right) / width - 1
    affine[:, 1, 1], affine[:, 1, 2] = (bottom - top) / height, (top + bottom) / height - 1
    grid = torch.nn.functional.affine_grid(affine, list(inputs.shape), align_corners=False)
    return torch.nn.functional.grid_sample(inputs, grid, padding_mode="border", align_corners=False)


def _shift(inputs: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = inputs.shape
    padding = max(1, round(min(height, width) * PADDING_SHARE))
    padded = torch.nn.functional.pad(inputs, [padding] * 4)
    offsets = torch.randint(0, 2 * padding + 1, (count, 2), generator=generator).to(inputs.device)
    rows = offsets[:, :1] + torch.arange(height, device=inputs.device)
    columns = offsets[:, 1:] + torch.arange(width, device=inputs.device)
    image = torch.arange(count, device=inputs.device)[:, None, None]
    # Advanced indices around a slice put the channel dimension last.
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
