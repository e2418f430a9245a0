"""Whether the original network is as accurate as it is known to be: wrong normalisation or classes show here first."""

import math

import torch

from emodir_tui.bench import EVALUATION_BATCH, Bench
from emodir_tui.errors import ProfileError
from emodir_tui.formatting import percent
from emodir_tui.profile import Profile
from emodir_tui.training.metrics import accuracy

# A measured accuracy may differ by this many standard errors, and by what rounding and resizing of images change.
ERRORS, TOLERANCE = 3.0, 0.005
# An accuracy below this multiple of chance is suspicious.
SUSPICIOUS = 2.0
CAUSES = "the usual reasons are data.mean and data.std, the order of the classes, and other weights or images"


def standard_error(share: float, images: int) -> float:
    """The standard error of an accuracy (0 to 1) that is measured on this many images: sqrt(p (1 - p) / n)."""
    return math.sqrt(share * (1.0 - share) / images)


def sample_accuracy(bench: Bench, images: int) -> tuple[float, int]:
    """Accuracy (0 to 1) of the profile's weights on images spread over the test split, and how many these are."""
    count = min(images, len(bench.data.test))
    # Folders are sorted by class, so the first images would be of one class.
    positions = torch.linspace(0, len(bench.data.test) - 1, count).round().long()
    return accuracy(bench.model(), bench.data.test.subset(positions), EVALUATION_BATCH), count


def accuracy_problem(profile: Profile, measured: float, images: int, classes: int) -> str:
    """A sentence if the accuracy of the profile's weights is not what it must be; empty if it may be."""
    expected, found = profile.model.accuracy, f"{percent(measured, 2)} on {images} test images"
    # The error of the expected accuracy: a measured one of 0 or 1 has none.
    if expected and abs(measured - expected) > TOLERANCE + ERRORS * standard_error(expected, images):
        return f"the original network's accuracy is {found}, but model.accuracy is {percent(expected, 2)}"
    if not expected and measured < SUSPICIOUS / classes:
        return f"the original network's accuracy is {found}, where chance is {percent(1 / classes, 2)}"
    return ""


def require_expected_accuracy(profile: Profile, problem: str) -> None:
    """Raise a ProfileError for a problem if the profile says what accuracy is expected."""
    if problem and profile.model.accuracy:
        raise ProfileError(problem, CAUSES[0].upper() + CAUSES[1:] + ".")
