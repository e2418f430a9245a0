import json
from pathlib import Path

import pytest
import torch

from emodir_tui import bench as benches
from emodir_tui.bench import open_bench
from emodir_tui.errors import ProfileError
from emodir_tui.profile import Model, Profile, load
from emodir_tui.stages.support.original_accuracy import (
    accuracy_problem,
    require_expected_accuracy,
    sample_accuracy,
    standard_error,
)


def profile_with(expected):
    return Profile(model=Model(weights="weights.pt", accuracy=expected))


@pytest.mark.parametrize(
    ("expected", "measured", "images", "sentence"),
    [
        (0.926, 0.926, 10_000, ""),
        # Three standard errors of 10,000 images are 0.79 points, and half a point is allowed besides.
        (0.926, 0.9145, 10_000, ""),
        (0.926, 0.909, 10_000, "is 90.90 % on 10000 test images, but model.accuracy is 92.60 %"),
        (0.926, 0.945, 10_000, "is 94.50 % on 10000 test images, but model.accuracy is 92.60 %"),
        (0.926, 0.909, 500, ""),
        (0.926, 0.1, 500, "but model.accuracy is 92.60 %"),
        (0, 0.3, 500, ""),
        (0, 0.19, 500, "is 19.00 % on 500 test images, where chance is 10.00 %"),
    ],
)
def test_an_accuracy_that_is_not_what_it_must_be_is_told(expected, measured, images, sentence):
    problem = accuracy_problem(profile_with(expected), measured, images, 10)
    assert bool(problem) == bool(sentence)
    assert sentence in problem
    if expected and problem:
        with pytest.raises(ProfileError) as caught:
            require_expected_accuracy(profile_with(expected), problem)
        assert caught.value.hint.startswith("The usual reasons are data.mean and data.std")
    else:
        require_expected_accuracy(profile_with(expected), problem)


def test_the_standard_error_is_that_of_a_share():
    assert standard_error(0.5, 100) == pytest.approx(0.05)
    assert standard_error(1.0, 100) == 0


def test_an_expected_accuracy_needs_weights():
    with pytest.raises(ValueError, match=r"model\.accuracy needs model\.weights"):
        Profile(model=Model(accuracy=0.9))


def test_the_sample_is_spread_over_the_test_images(monkeypatch):
    bench = open_bench(load(Path("profiles/digits.toml")))
    seen = []
    monkeypatch.setattr(
        "emodir_tui.stages.support.original_accuracy.accuracy", lambda model, split, batch: seen.append(split) or 0.5
    )
    assert sample_accuracy(bench, 50) == (0.5, 50)
    labels = seen[0].images.labels
    whole = bench.data.test.images.labels
    assert torch.equal(labels, whole[torch.linspace(0, len(whole) - 1, 50).round().long()])
    assert sample_accuracy(bench, 10**6) == (0.5, len(whole))


@pytest.mark.parametrize("model", [{"source": "resnet21"}, {"source": "no_module:build"}, {"weights": "none.pt"}])
def test_a_model_that_is_not_there_is_told_before_images_are_read(monkeypatch, model):
    monkeypatch.setattr(benches, "load_data", lambda *_: pytest.fail("images were read"))
    with pytest.raises(ProfileError, match="model"):
        open_bench(Profile(model=Model(**model)))


@pytest.fixture
def weights(emodir):
    """Weights that were never trained."""
    torch.manual_seed(0)
    torch.save(open_bench(load(Path("profiles/digits.toml"))).model().state_dict(), emodir.folder / "weights.pt")
    return ("--set", "model.weights=weights.pt")


def test_check_measures_the_original_and_names_the_usual_reasons(emodir, weights):
    view = json.loads(emodir("check", "tiny.toml", *weights, "--json").stdout)
    original = view["original"]
    assert original["images"] == 100
    assert original["standard_error"] == pytest.approx(standard_error(original["accuracy"], 100))
    assert "where chance is" in original["problem"]
    printed = emodir("check", "tiny.toml", *weights).stdout
    assert "on 100 test images: the usual reasons are data.mean and data.std, the order of the classes" in printed
    assert json.loads(emodir("check", "tiny.toml", "--json").stdout)["original"] is None


def test_check_and_a_run_fail_where_the_accuracy_is_not_the_expected_one(emodir, weights):
    expected = (*weights, "--set", "model.accuracy=0.9")
    checked = emodir("check", "tiny.toml", *expected)
    assert checked.returncode == 2
    assert "but model.accuracy is 90.00 %" in checked.stderr
    assert "sn1" in checked.stdout
    ran = emodir("run", "tiny.toml", *expected, "--foreground")
    assert ran.returncode == 2
    assert "but model.accuracy is 90.00 %" in ran.stderr
    assert "divide started" not in ran.stderr
