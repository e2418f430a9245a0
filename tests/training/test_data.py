import numpy as np
import pytest
import torch
from PIL import Image

from emodir_tui.errors import ProfileError
from emodir_tui.profile import Data
from emodir_tui.training.augment import augment, resized_crops
from emodir_tui.training.data import decode_image
from emodir_tui.training.sources import load_data

CPU = torch.device("cpu")


def folder(path, classes=("cat", "dog"), count=6, size=10):
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(classes):
            place = path / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 100, (size, size, 3)) + 100 * label
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return path


def test_the_digits_are_there_and_no_image_is_in_two_splits():
    data = load_data(Data(search_images=300), CPU)
    assert (len(data.train), len(data.search), len(data.test)) == (1138, 300, 359)
    assert (data.classes, data.channels, data.size) == (10, 1, 8)
    train = {row.numpy().tobytes() for row in data.train.images.pixels}
    search = {row.numpy().tobytes() for row in data.search.images.pixels}
    assert len(train) == 1138
    assert not train & search


def test_the_search_split_holds_all_classes_in_no_order():
    labels = load_data(Data(search_images=300), CPU).search.images.labels
    assert len(labels[:50].unique()) == 10


def test_a_folder_of_images_is_read_with_its_classes(tmp_path):
    data = load_data(Data(source=f"folder:{folder(tmp_path)}", search_images=4), CPU)
    assert (len(data.train), len(data.search), len(data.test)) == (8, 4, 12)
    inputs, labels = next(data.test.batches(12))
    assert inputs.shape == (12, 3, 10, 10)
    assert labels.tolist() == [0] * 6 + [1] * 6
    assert inputs[labels == 1].mean() > inputs[labels == 0].mean()


def test_large_images_are_decoded_when_asked_for_and_cropped_by_the_generator(tmp_path):
    settings = Data(source=f"folder:{folder(tmp_path)}", search_images=4, augment="resized-crop-flip", image_size=8)
    data = load_data(settings, CPU)
    positions = torch.arange(4)
    batches = [
        data.train.shuffled_batch(positions, torch.Generator().manual_seed(seed), settings.augment)[0]
        for seed in (1, 1, 2)
    ]
    assert batches[0].shape == (4, 3, 8, 8)
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


def test_a_class_list_chooses_folders_and_a_wrong_name_gets_the_nearest(tmp_path):
    folder(tmp_path / "images", ("bird", "cat", "dog"))
    listing = tmp_path / "classes.txt"
    listing.write_text("dog\nbird\n")
    source = f"folder:{tmp_path / 'images'}"
    assert load_data(Data(source=source, search_images=2, classes_file=str(listing)), CPU).classes == 2
    listing.write_text("dgo\n")
    with pytest.raises(ProfileError, match="dgo") as caught:
        load_data(Data(source=source, search_images=2, classes_file=str(listing)), CPU)
    assert "dog" in caught.value.hint


def test_arrays_in_an_npz_file_are_read_without_pickle(tmp_path):
    path = tmp_path / "data.npz"
    images = np.random.default_rng(0).integers(0, 255, (20, 6, 6), dtype=np.uint8)
    labels = np.arange(20) % 3
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    data = load_data(Data(source=f"npz:{path}", search_images=5), CPU)
    assert (data.classes, data.channels, len(data.train)) == (3, 1, 15)
    np.savez(
        path,
        train_images=np.array([{"a": 1}], dtype=object),
        train_labels=labels,
        test_images=images,
        test_labels=labels,
    )
    with pytest.raises(ProfileError, match="cannot be read as"):
        load_data(Data(source=f"npz:{path}", search_images=5), CPU)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Data(source="digit"), "unknown source 'digit'"),
        (Data(source="folder:/nowhere"), "there is no folder /nowhere/train"),
        (Data(source="npz:/nowhere.npz"), "cannot be read as"),
        (Data(source="no.module:factory"), "module 'no.module' cannot be imported"),
        (Data(source="tests.support.models:disturbd"), "'tests.support.models' has no function 'disturbd'"),
        (Data(source="tests.support.models:disturbed"), "disturbed() must return ((images, labels)"),
        (Data(source="digits", search_images=5000), "must be less than the 1438 training images"),
        (Data(source="cifar10", root="/nowhere", download=False), "could not be downloaded"),
    ],
)
def test_sources_that_are_not_there_are_named(settings, sentence):
    with pytest.raises(ProfileError, match="data") as caught:
        load_data(settings, CPU)
    assert sentence in caught.value.message


def test_a_file_that_is_no_image_is_named(tmp_path):
    folder(tmp_path)
    (tmp_path / "train" / "cat" / "3.png").write_bytes(b"not an image")
    with pytest.raises(ProfileError, match=r"3\.png"):
        load_data(Data(source=f"folder:{tmp_path}", search_images=4), CPU)


def test_augmentation_moves_and_mirrors_whole_images_and_only_by_the_generator():
    batch = torch.arange(2 * 64.0).reshape(2, 1, 8, 8) + 1
    moved = [augment(batch, "crop-flip", torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])
    assert torch.equal(augment(batch, "none", torch.Generator()), batch)
    for image, original in zip(moved[0], batch, strict=True):
        kept = image[image > 0]
        assert set(kept.tolist()) <= set(original.flatten().tolist())
        assert len(kept) >= 49


def test_a_size_that_images_in_memory_do_not_have_is_refused():
    assert load_data(Data(search_images=300, image_size=8), CPU).size == 8
    with pytest.raises(ProfileError, match=r"data\.image_size is 16, but only folders of images can be resized"):
        load_data(Data(search_images=300, image_size=16), CPU)


def test_images_in_memory_are_cropped_too_where_a_profile_asks_for_it():
    split = load_data(Data(search_images=300), CPU).train
    draws = [
        split.shuffled_batch(torch.tensor([3]), torch.Generator().manual_seed(seed), "resized-crop-flip")[0]
        for seed in range(20)
    ]
    assert len({draw.numpy().tobytes() for draw in draws}) > 15
    # A ramp stays one: rising from left to right, and within its own values.
    ramp = torch.linspace(0, 1, 16).expand(64, 1, 16, 16)
    cropped = resized_crops(ramp, torch.Generator().manual_seed(0))
    assert cropped.shape == ramp.shape
    assert bool((cropped.diff(dim=3) >= -1e-6).all())
    assert float(cropped.min()) >= 0
    assert float(cropped.max()) <= 1
    widths = cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0]
    assert float(widths.min()) < 0.5 < float(widths.max())


def test_test_images_are_read_at_the_size_of_the_training_images(tmp_path):
    folder(tmp_path, size=10)
    for place in (tmp_path / "test").iterdir():
        for file in place.iterdir():
            Image.open(file).resize((22, 22)).save(file)
    data = load_data(Data(source=f"folder:{tmp_path}", search_images=2), CPU)
    assert next(data.test.batches(3))[0].shape == next(data.train.batches(3))[0].shape == (3, 3, 10, 10)


def test_folders_are_read_as_grey_where_the_profile_says_so(tmp_path):
    folder(tmp_path, size=10)
    grey = load_data(Data(source=f"folder:{tmp_path}", channels=1, search_images=2), CPU)
    colour = load_data(Data(source=f"folder:{tmp_path}", search_images=2), CPU)
    assert (grey.channels, colour.channels) == (1, 3)
    inputs, _ = next(grey.test.batches(3))
    assert inputs.shape == (3, 1, 10, 10)
    # Of a picture in grey both say the same, each normalised by its own numbers.
    for place in (tmp_path / "test").iterdir():
        for file in place.iterdir():
            Image.open(file).convert("L").save(file)
    single, double = (
        data.test.images.take(torch.arange(3), None)
        for data in (
            load_data(Data(source=f"folder:{tmp_path}", channels=1, search_images=2), CPU),
            load_data(Data(source=f"folder:{tmp_path}", search_images=2), CPU),
        )
    )
    assert torch.equal(single.expand(-1, 3, -1, -1), double)
    with pytest.raises(ProfileError, match=r"data\.channels is 3, but only folders .* these images have 1"):
        load_data(Data(search_images=300, channels=3), CPU)


def test_images_of_several_sizes_need_a_size(tmp_path):
    folder(tmp_path, size=10)
    odd = tmp_path / "train" / "cat" / "1.png"
    Image.open(odd).resize((20, 12)).save(odd)
    with pytest.raises(ProfileError, match=r"images differ in size \(.* is 10x10, .*1\.png is 20x12\)"):
        load_data(Data(source=f"folder:{tmp_path}", search_images=2), CPU)
    assert load_data(Data(source=f"folder:{tmp_path}", image_size=8, search_images=2), CPU).size == 8


def test_sixteen_bits_keep_their_greys_and_floats_are_refused(tmp_path):
    folder(tmp_path, size=16)
    greys = np.linspace(0, 65535, 256).reshape(16, 16)
    place = tmp_path / "train" / "cat" / "0.png"
    Image.fromarray(greys.astype(np.uint16)).save(place)
    data = decode_image(str(place), None, 16, 3)
    np.testing.assert_array_equal(data[..., 0], (greys.astype(np.uint16) >> 8).astype(np.uint8))
    Image.fromarray(greys.astype(np.float32)).save(tmp_path / "0.tif")
    with pytest.raises(ProfileError, match="pixels of type F"):
        decode_image(str(tmp_path / "0.tif"), None, 16, 3)


def test_a_class_list_has_a_name_a_line_even_with_blanks(tmp_path):
    folder(tmp_path, classes=("cat", "golden retriever", "wolf"))
    (tmp_path / "classes.txt").write_text("golden retriever\n\n  cat\n")
    settings = Data(source=f"folder:{tmp_path}", classes_file=str(tmp_path / "classes.txt"), search_images=2)
    assert load_data(settings, CPU).classes == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"train_labels": np.full(20, -1)}, "has the training label -1"),
        ({"train_labels": np.zeros(20)}, "training labels of type float64"),
        ({"test_labels": np.zeros((10, 1), np.int64)}, r"test labels of type int64 and shape \[10, 1\] for 10 images"),
        ({"test_labels": np.zeros(9, np.int64)}, r"shape \[9\] for 10 images"),
        ({"test_images": np.zeros((10, 6, 6))}, r"test images of type float64 and shape \[10, 6, 6\]"),
        ({"test_images": np.zeros((10, 8, 8), np.uint8)}, "they must agree"),
        (
            {"test_images": np.zeros((0, 6, 6), np.uint8), "test_labels": np.zeros(0, np.int64)},
            "the test split has no images",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path, change, sentence):
    arrays = {
        "train_images": np.zeros((20, 6, 6), np.uint8),
        "train_labels": np.arange(20) % 2,
        "test_images": np.zeros((10, 6, 6), np.uint8),
        "test_labels": np.arange(10) % 2,
    }
    np.savez(tmp_path / "data.npz", **{**arrays, **change})
    with pytest.raises(ProfileError, match=sentence):
        load_data(Data(source=f"npz:{tmp_path / 'data.npz'}", search_images=4), CPU)


def test_means_for_other_channels_are_told():
    with pytest.raises(ProfileError, match=r"data\.mean has 3 values, and images have 1 channels"):
        load_data(Data(search_images=300, mean=[0.5, 0.5, 0.5]), CPU)
