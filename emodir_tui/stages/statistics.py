"""Running statistics of normalisations, which removal and training make stale."""

from torch import nn

from emodir_tui.stages.bench import Bench
from emodir_tui.training.metrics import recalibrate

RECALIBRATION_BATCH = 250


def recalibrate_on_training_images(bench: Bench, model: nn.Module) -> None:
    """Set a network's running statistics to those of training images as they are, `finetune.recalibration_images` of them."""
    images = bench.profile.finetune.recalibration_images
    recalibrate(model, (inputs for inputs, _ in bench.stream(bench.data.train, images, RECALIBRATION_BATCH)))
