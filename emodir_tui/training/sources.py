"""Sources of images: each returns train and test images, which are then split in the same way."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emodir_tui.errors import ProfileError, first_line, nearest
from emodir_tui.foreign_files import foreign_file, open_foreign
from emodir_tui.profile import LARGEST_SIDE, Data
from emodir_tui.seeds import derive_seed
from emodir_tui.training.array_files import Pair, as_pair, read_npz
from emodir_tui.training.data import (
    FileImages,
    ImageData,
    Images,
    Split,
    TensorImages,
    list_folder,
    load_files,
    open_image,
)
from emodir_tui.user_code import load_callable

SOURCES = ("digits", "cifar10", "cifar100", "folder:PATH", "npz:FILE", "module.path:factory")
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DIGITS_MEAN, DIGITS_STD = (0.3053,), (0.3760,)
# Folders with fewer bytes of decoded images are read into memory.
MEMORY_BYTES = 1 << 30
# Images of a folder that are opened to check that they have the same size.
LOOKED_AT = 32
# A list of classes is a few lines.
CLASSES_BYTES = 16 << 20


def load_data(settings: Data, device: torch.device) -> ImageData:
    """Load the splits that the profile describes, on the device if they are in memory.

    Raises:
        ProfileError: The source is unknown, missing or malformed.
    """
    train, test, mean, std = _source(settings)
    if not len(train) or not len(test):
        raise ProfileError(f"data.source: the {'test' if len(train) else 'training'} split has no images")
    classes = int(max(train.labels.max().item(), test.labels.max().item())) + 1
    shape = train.take(torch.zeros(1, dtype=torch.int64), None).shape
    if settings.image_size and tuple(shape[2:]) != (settings.image_size,) * 2:
        raise ProfileError(
            f"data.image_size is {settings.image_size}, but only folders of images can be resized; these images are {shape[2]}x{shape[3]}",
            "Leave it out.",
        )
    if settings.channels not in (0, shape[1]):
        raise ProfileError(
            f"data.channels is {settings.channels}, but only folders of images can be converted; these images have {shape[1]}",
            "Leave it out.",
        )
    if settings.search_images >= len(train):
        few = max(1, len(train) // 10)
        raise ProfileError(
            f"data.search_images is {settings.search_images}; it must be less than the {len(train)} training images",
            f"Keep most images for training, for example --set data.search_images={few}, and search on no more: "
            f"--set search.images={few}",
        )
    generator = torch.Generator().manual_seed(derive_seed(settings.split_seed, "split"))
    order = torch.randperm(len(train), generator=generator)
    held_out, rest = order[: settings.search_images], order[settings.search_images :]
    if settings.train_images:
        rest = rest[: settings.train_images]
    kept_test = torch.randperm(len(test), generator=generator)[: settings.test_images or len(test)].sort().values
    mean, std = tuple(settings.mean) or mean, tuple(settings.std) or std
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, shape[1]):
            raise ProfileError(f"data.{name} has {len(values)} values, and images have {shape[1]} channels")
    test_shape = test.take(torch.zeros(1, dtype=torch.int64), None).shape
    if test_shape[1:] != shape[1:]:
        raise ProfileError(
            f"data.source: training images are {tuple(shape[1:])} and test images {tuple(test_shape[1:])}; they must agree"
        )

    def split(images: Images, positions: Tensor) -> Split:
        chosen = images.subset(positions)
        if isinstance(chosen, TensorImages):
            chosen = chosen.to(device)
        return Split(images=chosen, mean=_per_channel(mean, device), std=_per_channel(std, device), device=device)

    return ImageData(
        train=split(train, rest),
        search=split(train, held_out),
        test=split(test, kept_test),
        classes=classes,
        classes_seen=len(train.labels.unique()),
        channels=shape[1],
        size=shape[2],
    )


def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, -1, 1, 1)


def _source(settings: Data) -> Pair:
    kind, _, rest = settings.source.partition(":")
    if settings.source == "digits":
        return _digits()
    if settings.source in ("cifar10", "cifar100"):
        return _cifar(settings)
    if kind == "folder" and rest:
        return _folder(settings, Path(rest).expanduser())
    if kind == "npz" and rest:
        return read_npz(Path(rest).expanduser())
    if rest:
        return _factory(settings.source)
    near = nearest(settings.source, ["digits", "cifar10", "cifar100"])
    raise ProfileError(f"data.source: unknown source '{settings.source}'", near or "Known: " + ", ".join(SOURCES) + ".")


def _digits() -> Pair:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy((digits.images * (255 / 16)).round().astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    # Every fifth image is in the test split. Images are ordered by writer, so both splits have all writers.
    is_test = torch.arange(len(labels)) % 5 == 4
    train = TensorImages(pixels=pixels[~is_test], labels=labels[~is_test])
    return train, TensorImages(pixels=pixels[is_test], labels=labels[is_test]), DIGITS_MEAN, DIGITS_STD


def _cifar(settings: Data) -> Pair:
    from torchvision import datasets

    kind = datasets.CIFAR10 if settings.source == "cifar10" else datasets.CIFAR100

    root = Path(settings.root).expanduser()

    def images(train: bool) -> TensorImages:
        try:
            data = kind(root, train=train, download=settings.download)
        except (OSError, RuntimeError) as error:
            raise ProfileError(
                f"data.source: {settings.source} is not in {root.absolute()} and could not be downloaded ({first_line(error)})",
                "Put the extracted archive there, or use a folder: --set data.source=folder:PATH",
            ) from error
        pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        return TensorImages(pixels=pixels, labels=torch.tensor(data.targets))

    return images(True), images(False), CIFAR_MEAN, CIFAR_STD


def _folder(settings: Data, folder: Path) -> Pair:
    train = folder / "train"
    test = folder / "test" if (folder / "test").is_dir() else folder / "val"
    for place in (train, test):
        if not place.is_dir():
            raise ProfileError(
                f"data.source: there is no folder {place}", "It needs train/CLASS/* and test/CLASS/* (or val/CLASS/*)."
            )
    classes = _classes(settings, train)
    missing = [place / name for name in classes for place in (train, test) if not (place / name).is_dir()]
    if missing:
        raise ProfileError(f"data.source: there is no folder {missing[0]} for class '{missing[0].name}'")
    first, second = (_files(settings, place, classes) for place in (train, test))
    # Test images have the size of the training images.
    pair = [first, replace(second, size=first.size)]
    size = pair[0].size
    colours = (CIFAR_MEAN, CIFAR_STD) if size <= 64 else (IMAGENET_MEAN, IMAGENET_STD)
    mean, std = colours if first.channels == 3 else ((sum(values) / 3,) for values in colours)
    if (
        sum(len(images) for images in pair) * first.channels * size * size <= MEMORY_BYTES
        and settings.augment != "resized-crop-flip"
    ):
        return load_files(pair[0]), load_files(pair[1]), mean, std
    return pair[0], pair[1], mean, std


def _classes(settings: Data, train: Path) -> list[str]:
    with foreign_file(train, "a folder of classes"), os.scandir(train) as entries:
        # Hidden folders are other programs' notes.
        there = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not settings.classes_file:
        return there
    place = f"data.classes_file: {settings.classes_file}"
    with foreign_file(place, "a list of classes"):
        with open_foreign(Path(settings.classes_file).expanduser(), CLASSES_BYTES) as file:
            lines = file.read().decode().splitlines()
        wanted = [line.strip() for line in lines if line.strip()]
    unknown = [name for name in wanted if name not in there]
    if unknown or not wanted:
        name = unknown[0] if unknown else ""
        raise ProfileError(
            f"data.classes_file: unknown class '{name}' in {settings.classes_file}; {train} has no such folder",
            nearest(name, there),
        )
    return wanted


def _files(settings: Data, folder: Path, classes: list[str]) -> FileImages:
    with foreign_file(folder, "a folder of classes"):
        paths, labels = list_folder(folder, classes)
    if not paths:
        raise ProfileError(f"data.source: there are no images in the class folders of {folder}")
    # Only the headers of a few images spread over the folder are read.
    sizes = {}
    for path in paths[:: -(-len(paths) // LOOKED_AT)]:
        with open_image(path) as image:
            sizes[image.size] = path
    if len(sizes) > 1 and not settings.image_size:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise ProfileError(
            f"data.source: images differ in size ({first} is {one[0]}x{one[1]}, {second} is {other[0]}x{other[1]}), and "
            "data.image_size is 0",
            "Set it to the input size of the network, for example --set data.image_size=224",
        )
    own_size = min(next(iter(sizes)))
    if not settings.image_size and own_size > LARGEST_SIDE:
        (width, height), path = next(iter(sizes.items()))
        raise ProfileError(
            f"{path} is {width}x{height}, and inputs have at most {LARGEST_SIDE} pixels a side; set data.image_size",
            "Set it to the input size of the network, for example --set data.image_size=224",
        )
    threads = settings.workers if settings.workers > 0 else min(16, os.cpu_count() or 1)
    return FileImages(
        paths=tuple(paths),
        labels=torch.tensor(labels),
        size=settings.image_size or own_size,
        channels=settings.channels or 3,
        threads=threads,
    )


def _factory(source: str) -> Pair:
    """The user's function () -> ((train_images, train_labels), (test_images, test_labels)), arrays as for npz."""
    factory = load_callable("data.source", source)
    try:
        train, test = factory()
        (train_images, train_labels), (test_images, test_labels) = (map(np.asarray, pair) for pair in (train, test))
    # User code may raise anything.
    except Exception as error:
        raise ProfileError(
            f"data.source: {source}() must return ((images, labels), (images, labels)): {type(error).__name__}: "
            f"{first_line(error)}",
            "The training and the test split, as arrays.",
        ) from error
    return as_pair(train_images, train_labels, test_images, test_labels, Path(source))
