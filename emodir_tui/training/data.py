"""Images and their splits: train, search (held out from training) and test.

Small data sets are kept on the device as bytes; the images of others are decoded when they are read.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from emodir_tui.errors import ProfileError
from emodir_tui.foreign_files import foreign_file, open_foreign
from emodir_tui.training.augment import augment, crop_box, resized_crops

if TYPE_CHECKING:
    import PIL.Image

# Of one image: a photograph of 50 million pixels takes 300 MB where nothing is compressed.
IMAGE_BYTES = 512 << 20
MOST_PIXELS = 50_000_000


def to_memory_format(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    """The tensor in this memory format, with its canonical strides even where a single channel would allow others."""
    if memory_format == torch.channels_last:
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
    return tensor.contiguous().view(-1).view(tensor.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorImages:
    """Images in memory, uint8 [n, channels, height, width]; labels int64 [n]."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Tensor, generator: torch.Generator | None) -> Tensor:
        """The images at these positions, uint8 [n, c, h, w]; with a generator a random crop of each."""
        pixels = self.pixels[positions.to(self.pixels.device)]
        return pixels if generator is None else resized_crops(pixels.float(), generator).round_().to(torch.uint8)

    def subset(self, positions: Tensor) -> "TensorImages":
        """The images at these positions, in this order."""
        return TensorImages(pixels=self.pixels[positions], labels=self.labels[positions])

    def to(self, device: torch.device) -> "TensorImages":
        """A copy on another device."""
        return TensorImages(pixels=self.pixels.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class FileImages:
    """Images in files, decoded by threads when they are read; `size` is the side in pixels, `channels` is 1 or 3."""

    paths: tuple[str, ...]
    labels: Tensor
    size: int
    channels: int
    threads: int

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, positions: Tensor, generator: torch.Generator | None) -> Tensor:
        """The images at these positions, uint8 [n, c, h, w]: the centre, or with a generator a random crop of each."""
        chosen = [self.paths[int(position)] for position in positions]
        draws: list[list[float] | None] = [None] * len(chosen)
        if generator is not None:
            draws = torch.rand(len(chosen), 4, generator=generator).tolist()
        decode = partial(decode_image, size=self.size, channels=self.channels)
        arrays = list(_decoders(self.threads).map(decode, chosen, draws))
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def subset(self, positions: Tensor) -> "FileImages":
        """The images at these positions, in this order."""
        paths = tuple(self.paths[int(position)] for position in positions)
        return replace(self, paths=paths, labels=self.labels[positions])


Images: TypeAlias = TensorImages | FileImages


@lru_cache(maxsize=1)
def _decoders(threads: int) -> ThreadPoolExecutor:
    """The threads that decode images, kept for all batches."""
    return ThreadPoolExecutor(threads)


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """One split, with the normalisation, device and memory format of the inputs made from its bytes."""

    images: Images
    mean: Tensor
    std: Tensor
    device: torch.device
    # Convolutions are fastest in channels-last format.
    memory_format: torch.memory_format = torch.channels_last

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> "Split":
        """Its first `count` images."""
        return self.subset(torch.arange(min(count, len(self))))

    def subset(self, positions: Tensor) -> "Split":
        """Its images at these positions, int64[n]."""
        return replace(self, images=self.images.subset(positions))

    def batches(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, in batches of (inputs float [n, c, h, w], labels int64 [n])."""
        for start in range(0, len(self), batch):
            positions = torch.arange(start, min(start + batch, len(self)))
            yield self._inputs(self.images.take(positions, None)), self._labels(positions)

    def shuffled_batch(self, positions: Tensor, generator: torch.Generator, augmentation: str) -> tuple[Tensor, Tensor]:
        """One augmented training batch; all random draws come from the generator."""
        cropping = augmentation == "resized-crop-flip"
        pixels = self.images.take(positions, generator if cropping else None)
        inputs = augment(self._inputs(pixels), augmentation, generator)
        return to_memory_format(inputs, self.memory_format), self._labels(positions)

    def _inputs(self, pixels: Tensor) -> Tensor:
        if self.device.type == "cuda" and not pixels.is_cuda:
            # Copies from pinned memory overlap with computation.
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        values = pixels.to(self.device).float().div_(255).sub_(self.mean).div_(self.std)
        return to_memory_format(values, self.memory_format)

    def _labels(self, positions: Tensor) -> Tensor:
        labels = self.images.labels
        return labels[positions.to(labels.device)].to(self.device)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageData:
    """The three splits. `test` is used at the start and at the end of a run only.

    `classes_seen` is the number of classes with images outside of the test split.
    """

    train: Split
    search: Split
    test: Split
    classes: int
    classes_seen: int
    channels: int
    size: int

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """(mean, std) per channel: inputs are (pixels / 255 - mean) / std."""
        mean, std = self.train.mean.flatten().tolist(), self.train.std.flatten().tolist()
        return [round(value, 6) for value in mean], [round(value, 6) for value in std]

    def to_memory_format(self, memory_format: torch.memory_format) -> "ImageData":
        """A copy whose inputs have this memory format."""
        train, search, test = (
            replace(split, memory_format=memory_format) for split in (self.train, self.search, self.test)
        )
        return replace(self, train=train, search=search, test=test)


@contextmanager
def open_image(path: str) -> "Iterator[PIL.Image.Image]":
    """An image whose pixels are not decoded yet.

    Raises:
        ProfileError: The file cannot be read as an image, or has too many pixels; also if that is found inside.
    """
    from PIL import Image

    with foreign_file(path, "an image"), open_foreign(Path(path), IMAGE_BYTES) as file, Image.open(file) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ProfileError(
                f"{path} has {image.width}x{image.height} pixels, more than {MOST_PIXELS // 10**6} million"
            )
        yield image


def decode_image(path: str, draw: list[float] | None, size: int, channels: int) -> np.ndarray:
    """Decode one file to uint8 [size, size, channels].

    Args:
        path: The file.
        draw: Four numbers in 0..1 that choose a crop by `crop_box`; None takes the centre.
        size: Side in pixels.
        channels: 3, or 1 for greyscale.

    Raises:
        ProfileError: The file cannot be read as an image.
    """
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    with open_image(path) as file:
        if file.mode.startswith("I;16"):
            # Pillow would clip 16-bit values to 8 bits.
            image = Image.fromarray((np.asarray(file) >> 8).astype(np.uint8)).convert(mode)
        elif file.mode in ("I", "F"):
            raise ProfileError(f"{path} has pixels of type {file.mode}", "Convert it to 8 bits per channel.")
        else:
            image = file.convert(mode)
    width, height = image.size
    if draw is not None:
        box = crop_box(width, height, draw)
    else:
        # Images larger than the size lose an eighth of their side, as is usual in evaluation.
        side = min(width, height) * (0.875 if min(width, height) > size else 1.0)
        box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    if (width, height) != (size, size) or draw is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def load_files(images: FileImages) -> TensorImages:
    """Decode all images into memory."""
    pixels = torch.empty((len(images), images.channels, images.size, images.size), dtype=torch.uint8)
    for start in range(0, len(images), 1000):
        positions = torch.arange(start, min(start + 1000, len(images)))
        pixels[start : start + len(positions)] = images.take(positions, None)
    return TensorImages(pixels=pixels, labels=images.labels)


def list_folder(folder: Path, classes: list[str]) -> tuple[list[str], list[int]]:
    """The image files of a folder of class folders, in the order of classes and names."""
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        # Hidden files are other programs' notes on images.
        there = (file for file in os.listdir(folder / name) if not file.startswith("."))  # noqa: PTH208
        names = sorted(file for file in there if file.lower().endswith(SUFFIXES))
        paths += [str(folder / name / file) for file in names]
        labels += [label] * len(names)
    return paths, labels


SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
