from pathlib import Path

import pytest
import torch
from torch import nn

from emodir_tui.bench import open_bench
from emodir_tui.profile import load
from emodir_tui.stages.support.recalibration import recalibrate_on_training_images


def statistics_of(*overrides):
    norm = nn.BatchNorm2d(1)
    bench = open_bench(load(Path("profiles/digits.toml"), ["finetune.recalibration_images=600", *overrides]))
    recalibrate_on_training_images(bench, norm)
    return bench, float(norm.running_mean), float(norm.running_var)


def test_statistics_are_those_of_as_many_training_images_as_the_profile_says():
    bench, mean, _ = statistics_of("data.augment=none")
    inputs = torch.cat([inputs for inputs, _ in bench.data.train.first(600).batches(600)])
    assert mean == pytest.approx(float(inputs.mean()), abs=1e-6)


def test_images_are_augmented_as_in_training_and_alike_each_time():
    _, mean, variance = statistics_of("data.augment=none")
    _, cropped, less = statistics_of("data.augment=crop")
    # Crops replace borders, where a digit is black, by the mean.
    assert cropped > mean + 0.01
    assert less < variance
    assert statistics_of("data.augment=crop")[1:] == (cropped, less)
    assert statistics_of("data.augment=crop", "seed=1")[1:] != (cropped, less)
