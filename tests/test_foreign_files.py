"""Files from elsewhere: one sentence and an exit code, never a traceback, never silently taken, never without bound."""

import io
import json
import os
import pickle
import random
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import hypothesis
import hypothesis.strategies
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.fuzz import mutated
from emodir_tui import profile as profiles
from emodir_tui.errors import EmodirError, ExitCode, NotFoundError, ProfileError
from emodir_tui.foreign_files import foreign_file
from emodir_tui.nets.export.pruned_file import load_pruned, save_pruned
from emodir_tui.nets.removal import structure
from emodir_tui.nets.sources.models import load_model, read_weights
from emodir_tui.profile import Data, validate
from emodir_tui.training.data import decode_image
from emodir_tui.training.sources import load_data
from tests.support.models import graph_of, zoo_model
from tests.training.test_data import folder

CPU = torch.device("cpu")


def digits(**changes):
    return {**load_model("digits-resnet", "", 10).state_dict(), **changes}


def fits(path):
    return load_model("digits-resnet", str(path), 10)


# ---- the principle


@pytest.mark.parametrize(
    "error", [ValueError("x"), zlib.error("x"), AssertionError(), TypeError("x"), MemoryError(), RecursionError("x")]
)
def test_whatever_a_parser_raises_becomes_one_sentence(tmp_path, error):
    with pytest.raises(ProfileError, match="cannot be read as a thing") as caught, foreign_file(tmp_path, "a thing"):
        raise error
    assert "\n" not in caught.value.message


def test_sentences_and_interrupts_pass_through(tmp_path):
    for error in (NotFoundError("there is none"), KeyboardInterrupt()):
        with pytest.raises(type(error)), foreign_file(tmp_path, "a thing"):
            raise error


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo.pt")
    os.mkfifo(tmp_path / "fifo.safetensors")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    with (tmp_path / "large.pt").open("wb") as file:
        file.truncate(1 << 40)
    for path in tmp_path.iterdir():
        with pytest.raises(ProfileError):
            read_weights(path)
        with pytest.raises(EmodirError):
            load_pruned(path)
        with pytest.raises(ProfileError):
            load_data(Data(source=f"npz:{path}"), CPU)
        with pytest.raises(ProfileError):
            decode_image(str(path), None, 8, 3)


# ---- weights


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: torch.quantize_per_tensor(torch.zeros(10), 0.1, 0, torch.qint8), "quantized"),
        (lambda: torch.zeros(10).to_sparse(), "sparse"),
        (lambda: torch.zeros(10, device="meta"), "meta"),
        (lambda: torch.zeros(10, dtype=torch.complex64), "complex64"),
        (lambda: torch.zeros(10, dtype=torch.int8), "int8"),
        (lambda: torch.zeros(10, dtype=torch.bool), "bool"),
    ],
)
def test_weights_that_are_no_plain_floats_are_refused_by_name(tmp_path, make, word):
    torch.save(digits(**{"linear.bias": make()}), tmp_path / "x.pt")
    with pytest.raises(ProfileError, match=rf"'linear\.bias' .*{word}"):
        fits(tmp_path / "x.pt")


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_taken(tmp_path, kind):
    torch.save({name: v.to(kind) if v.is_floating_point() else v for name, v in digits().items()}, tmp_path / "x.pt")
    assert fits(tmp_path / "x.pt")


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_of_any_format_is_one_sentence(tmp_path):
    draws = np.random.default_rng(0)
    torch.save(digits(), tmp_path / "zip.pt")
    torch.save(digits(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(digits(), tmp_path / "x.safetensors")
    for name in ("zip.pt", "old.pt", "x.safetensors"):
        content = (tmp_path / name).read_bytes()
        for _ in range(40):
            damaged = bytearray(content)
            for place in draws.integers(0, min(len(content), 3000), 3):
                damaged[place] = draws.integers(256)
            path = tmp_path / f"damaged-{name}"
            path.write_bytes(damaged[: draws.integers(len(damaged))] if draws.random() < 0.3 else damaged)
            try:
                fits(path)
            except EmodirError as error:
                assert "\n" not in error.message


def test_nested_lists_are_refused_before_they_are_built(tmp_path):
    def archive(path, data):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
            for name, content in {"data.pkl": data, "byteorder": b"little", "version": b"3\n"}.items():
                file.writestr(f"x/{name}", content)

    archive(tmp_path / "x.pt", b"\x80\x02" + b"]" * 9_000_000 + b"a" * 8_999_999 + b".")
    with pytest.raises(ProfileError, match="more than"):
        read_weights(tmp_path / "x.pt")


# ---- arrays


def arrays(**changes):
    return {
        "train_images": np.zeros((20, 6, 6), np.uint8),
        "train_labels": np.arange(20) % 2,
        "test_images": np.zeros((10, 6, 6), np.uint8),
        "test_labels": np.arange(10) % 2,
    } | changes


def read_npz(path):
    return load_data(Data(source=f"npz:{path}", search_images=4), CPU)


@pytest.mark.parametrize("label", [10**12, 10**7, np.uint64(2**64 - 1)])
def test_labels_beyond_all_sense_are_refused(tmp_path, label):
    labels = np.zeros(20, np.asarray(label).dtype)
    labels[3] = label
    np.savez(tmp_path / "x.npz", **arrays(train_labels=labels))
    with pytest.raises(ProfileError, match=f"has the training label {label}"):
        read_npz(tmp_path / "x.npz")


def test_damaged_archives_of_arrays_are_one_sentence(tmp_path):
    draws = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "x.npz", **arrays(train_images=draws.integers(0, 255, (20, 6, 6), dtype=np.uint8)))
    content = (tmp_path / "x.npz").read_bytes()
    for number in range(80):
        damaged = bytearray(content)
        for place in draws.integers(0, len(content), 3):
            damaged[place] = draws.integers(256)
        (tmp_path / "y.npz").write_bytes(damaged[: draws.integers(len(damaged))] if number % 4 == 0 else damaged)
        try:
            read_npz(tmp_path / "y.npz")
        except ProfileError as error:
            assert "\n" not in error.message
    np.save(tmp_path / "z.npy", np.zeros(3))
    (tmp_path / "z.npy").rename(tmp_path / "z.npz")
    with pytest.raises(ProfileError, match="cannot be read as an"):
        read_npz(tmp_path / "z.npz")


def test_arrays_that_claim_more_than_the_file_holds_are_refused_before_they_are_made(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**15, 8, 8)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        for name, value in arrays().items():
            content = io.BytesIO()
            np.save(content, value)
            file.writestr(f"{name}.npy", header.getvalue() if name == "train_images" else content.getvalue())
    with pytest.raises(ProfileError, match="cannot be read as an"):
        read_npz(tmp_path / "x.npz")


def test_an_archive_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("train_images.npy", "w") as one,
    ):
        for _ in range(300):
            one.write(bytes(1 << 20))
    with pytest.raises(ProfileError, match="unpacks to"):
        read_npz(tmp_path / "x.npz")


# ---- folders of images


def read_folder(path, **settings):
    return load_data(Data(source=f"folder:{path}", search_images=2, **settings), CPU)


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 13_000, 100_000])
@pytest.mark.filterwarnings("ignore")
def test_images_of_absurd_size_are_refused_before_they_are_decoded(tmp_path, side):
    folder(tmp_path)
    (tmp_path / "train" / "cat" / "0.png").write_bytes(png(side, side))
    for size in (0, 10):
        with pytest.raises(ProfileError, match=r"0\.png"):
            read_folder(tmp_path, image_size=size)
    with pytest.raises(ProfileError, match=r"0\.png"):
        decode_image(str(tmp_path / "train" / "cat" / "0.png"), None, 8, 3)


def test_images_too_large_to_be_used_unscaled_need_a_size(tmp_path):
    folder(tmp_path, classes=("cat", "dog"))
    for place in tmp_path.glob("*/*/*.png"):
        place.write_bytes(png(5000, 5000))
    with pytest.raises(ProfileError, match=r"5000x5000.*data\.image_size"):
        read_folder(tmp_path)


def test_links_that_form_a_loop_and_fifos_are_named(tmp_path):
    folder(tmp_path)
    (tmp_path / "train" / "loop").symlink_to("loop")
    with pytest.raises(ProfileError, match="train cannot be read as a folder of classes"):
        read_folder(tmp_path)
    (tmp_path / "train" / "loop").unlink()
    os.mkfifo(tmp_path / "train" / "cat" / "9.png")
    with pytest.raises(ProfileError, match=r"9\.png .*regular file"):
        read_folder(tmp_path)


def test_hidden_folders_are_no_classes_and_hidden_files_no_images(tmp_path):
    folder(tmp_path)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "train" / "cat" / "._0.png").write_bytes(b"a resource fork")
    data = read_folder(tmp_path)
    assert (data.classes, len(data.train) + len(data.search)) == (2, 12)


@pytest.mark.parametrize(
    "values",
    [
        {"data": {"image_size": 100_000}},
        {"model": {"classes": 10**12}},
        {"hardware": {"threads": 10**9}},
    ],
)
def test_sizes_beyond_all_sense_are_refused_by_the_profile(values):
    with pytest.raises(ProfileError, match="must be less than or equal to"):
        validate(values, "here")


def test_a_pickle_that_is_no_archive_is_refused_too(tmp_path):
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"a": [1, 2]}))
    with pytest.raises(ProfileError):
        read_weights(tmp_path / "x.pt")


# ---- fuzzing


@pytest.fixture
def little_memory():
    """At most 1.5 GB more than the process has now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (3 << 29), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


READERS = {
    "x.pt": fits,
    "old.pt": fits,
    "x.safetensors": fits,
    "pruned.safetensors": load_pruned,
    "x.npz": read_npz,
    "x.toml": profiles.load,
    **{f"x.{kind}": lambda path: decode_image(str(path), None, 8, 3) for kind in ("png", "jpg", "webp", "tif", "ppm")},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undamaged file for each reader, as bytes."""
    place = tmp_path_factory.mktemp("whole")
    torch.save(digits(), place / "x.pt")
    torch.save(digits(), place / "old.pt", _use_new_zipfile_serialization=False)
    save_file(digits(), place / "x.safetensors")
    model, x = zoo_model("digits-resnet")
    graph = graph_of(model, x)
    described = json.dumps(structure(graph, np.ones(graph.genes, dtype=np.bool_)))
    save_pruned(
        place / "pruned.safetensors",
        dict(model.state_dict()),
        structure=described,
        source="digits-resnet",
        classes=10,
        input_shape=(1, 8, 8),
        details={},
    )
    np.savez_compressed(place / "x.npz", **arrays())
    (place / "x.toml").write_text(profiles.dump(profiles.Profile()))
    for kind in ("png", "jpg", "webp", "tif", "ppm"):
        Image.effect_noise((16, 16), 50).convert("RGB").save(place / f"x.{kind}")
    for name, read in READERS.items():
        read(place / name)
    return {name: (place / name).read_bytes() for name in READERS}


def fuzz(name, whole, folder, examples):
    @hypothesis.settings(max_examples=examples, derandomize=True, database=None)
    @hypothesis.given(hypothesis.strategies.integers(0, 2**32))
    def attempt(seed):
        path = folder / name
        path.write_bytes(mutated(whole[name], random.Random(seed)))  # noqa: S311
        try:
            READERS[name](path)
        except EmodirError as error:
            assert error.exit_code in (ExitCode.USAGE, ExitCode.NOT_FOUND)
            assert error.message
            assert "\n" not in error.message

    attempt()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("examples", [25, pytest.param(1000, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", READERS)
def test_no_damage_of_any_file_is_more_than_a_sentence(whole, tmp_path, name, examples):
    fuzz(name, whole, tmp_path, examples)
