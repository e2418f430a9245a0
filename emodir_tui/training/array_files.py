"""Images and labels from arrays: those of an .npz file, or those that the user's code returns."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import torch

from emodir_tui.errors import ProfileError
from emodir_tui.foreign_files import check_archive, foreign_file, open_foreign
from emodir_tui.profile import LARGEST_SIDE, MOST_CLASSES
from emodir_tui.training.data import Images, TensorImages

# They are read into memory.
ARRAYS_BYTES = 64 << 30

# Training and test images, mean and standard deviation per channel.
Pair = tuple[Images, Images, tuple[float, ...], tuple[float, ...]]


def read_npz(path: Path) -> Pair:
    """Read the images and labels of an .npz file.

    Raises:
        ProfileError: It cannot be read, or its arrays are no images and labels.
    """
    names = ("train_images", "train_labels", "test_images", "test_labels")
    place = f"data.source: {path}"
    with foreign_file(place, "an .npz file"), open_foreign(path, ARRAYS_BYTES) as content:
        with zipfile.ZipFile(content) as archive:
            there = {entry.filename: entry.file_size for entry in archive.infolist()}
            missing = [name for name in names if f"{name}.npy" not in there]
            check_archive(archive, place, ARRAYS_BYTES)
            if missing:
                raise ProfileError(f"{place} has no array '{missing[0]}'", "It needs " + ", ".join(names) + ".")
            for name in names:
                with archive.open(f"{name}.npy") as member:
                    _check_array_size(member, there[f"{name}.npy"])
        content.seek(0)
        with np.load(content, allow_pickle=False) as file:
            train_images, train_labels, test_images, test_labels = (file[name] for name in names)
    return as_pair(train_images, train_labels, test_images, test_labels, path)


def _check_array_size(member: IO[bytes], there: int) -> None:
    """Check that an .npy file has the bytes that its header claims, because numpy makes the array first.

    Raises:
        ValueError: It has not, or its header is none.
    """
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    if dtype.hasobject:
        raise ValueError("arrays of objects are pickled")
    if math.prod(shape) * dtype.itemsize > there:
        raise ValueError(f"an array of shape {list(shape)} in {there} bytes")


def as_pair(
    train_images: np.ndarray, train_labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray, place: Path
) -> Pair:
    """Training and test images, with their mean and deviation per channel; `place` says in errors where they are from.

    Raises:
        ProfileError: The arrays are no images and labels.
    """
    train = _array_images(train_images, train_labels, place, "training")
    test = _array_images(test_images, test_labels, place, "test")
    mean = train.pixels.float().div(255).mean((0, 2, 3))
    std = train.pixels.float().div(255).std((0, 2, 3)).clamp_min(1e-3)
    return train, test, tuple(mean.tolist()), tuple(std.tolist())


def _array_images(images: np.ndarray, labels: np.ndarray, place: Path, split: str) -> TensorImages:
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ProfileError(
            f"data.source: {place} has {split} images of type {images.dtype} and shape {list(images.shape)}",
            "Images must be uint8 [n, h, w], [n, h, w, c] or [n, c, h, w].",
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images),):
        raise ProfileError(
            f"data.source: {place} has {split} labels of type {labels.dtype} and shape {list(labels.shape)} for "
            f"{len(images)} images",
            "Labels must be integers from 0, one per image.",
        )
    for label in (labels.min(), labels.max()) if len(labels) else ():
        if not 0 <= int(label) < MOST_CLASSES:
            raise ProfileError(
                f"data.source: {place} has the {split} label {label}",
                f"Labels must be integers from 0, below {MOST_CLASSES}.",
            )
    if not all(0 < side <= LARGEST_SIDE for side in images.shape[1:]):
        raise ProfileError(f"data.source: {place} has {split} images of shape {list(images.shape[1:])}")
    pixels = torch.from_numpy(images)
    if pixels.dim() == 3:
        pixels = pixels[:, None]
    elif pixels.shape[1] not in (1, 3) and pixels.shape[3] in (1, 3):
        pixels = pixels.permute(0, 3, 1, 2).contiguous()
    return TensorImages(pixels=pixels, labels=torch.from_numpy(labels.astype(np.int64)))
