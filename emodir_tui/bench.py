"""The bench: device, data, and networks made live from the weights that stages hand on."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.errors import ProfileError
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, analyse
from emodir_tui.nets.coupling.reweighting import with_weights
from emodir_tui.nets.division import Division, divide_network
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.latency import LatencyModel, LatencyTable
from emodir_tui.nets.modules.precision import has_fast_bfloat16
from emodir_tui.nets.sources.models import load_model, load_tensors, require_source
from emodir_tui.nets.tracing.network import trace
from emodir_tui.profile import Profile
from emodir_tui.results import Weights
from emodir_tui.runs.names import Complexity
from emodir_tui.training.data import ImageData, Split, to_memory_format
from emodir_tui.training.sources import load_data

LATENCY_IMAGES = 32
EVALUATION_BATCH = 500

# Makes a decision by measuring: its name, and the function that measures. A run remembers what was decided.
Decide = Callable[[str, Callable[[], str]], str]
# Takes a sentence for the log of a run, and its level.
Log = Callable[[str, str], None]
# The measure of the first objective.
ComplexityMeasure = ComplexityModel | LatencyModel


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every stage works with; made by `open_bench`.

    Attributes:
        profile: The profile.
        device: Where networks and images are.
        data: The images, in `memory_format`.
        memory_format: Of networks and images.
        decide: Decides by measuring. A resumed run must not measure again and decide otherwise.
        log: Reports to the user.
    """

    profile: Profile
    device: torch.device
    data: ImageData
    memory_format: torch.memory_format
    decide: Decide
    log: Log

    def model(self, weights: Weights | None = None) -> nn.Module:
        """The profile's architecture on the device, in eval mode; with these weights, or with those the profile names.

        Raises:
            ProfileError: There is no such model, or the profile's weights do not fit it.
        """
        settings = self.profile.model
        source = "" if weights is not None else settings.weights
        model = load_model(settings.source, source, settings.classes or self.data.classes)
        if weights is not None:
            load_tensors(model, weights)
        return self.to_memory_format(model.eval())

    def to_memory_format(self, model: nn.Module) -> nn.Module:
        """A network, moved to the device and into the memory format of the images."""
        return _model_to_format(model.to(self.device), self.memory_format)

    @cached_property
    def architecture(self) -> ChannelGraph:
        """The traced and analysed architecture, with the weights that the profile names or random ones.

        Raises:
            ProfileError: The architecture cannot be traced.
        """
        return analyse(trace(self.model(), self.example))

    def graph(self, weights: Weights) -> ChannelGraph:
        """A live network with these weights. It belongs to the caller, and its memory is freed with it."""
        return with_weights(self.architecture, weights)

    def division(self, cuts: tuple[str, ...]) -> Division:
        """The architecture cut after these modules; undivided where there are none."""
        return (
            divide_network(self.architecture, cuts=list(cuts))
            if cuts
            else divide_network(self.architecture, subnetworks=1)
        )

    @property
    def complexity_kind(self) -> Complexity:
        """The measure of the first objective that the profile names."""
        return Complexity(self.profile.complexity.kind)

    def complexity(self, latencies: LatencyTable | None = None) -> ComplexityMeasure:
        """The measure of the first objective: latency where a table is given, else what the profile names."""
        if latencies is not None:
            return LatencyModel(self.architecture, latencies)
        return ComplexityModel(
            self.architecture, Complexity.PARAMS if self.complexity_kind == Complexity.PARAMS else Complexity.MACS
        )

    def try_division(self) -> tuple[ChannelGraph, Division]:
        """The architecture and its division by the profile, checked before anything is trained.

        Raises:
            ProfileError: The network cannot be traced, divided or used with these images.
        """
        settings = self.profile.divide
        division = divide_network(
            self.architecture, subnetworks=settings.subnetworks or None, cuts=settings.cuts or None
        )
        self.check_usable(self.architecture.network.model)
        return self.architecture, division

    def check_usable(self, model: nn.Module) -> None:
        """Check a network with the profile's weights, or with those that it will be trained from.

        Raises:
            ProfileError: It has fewer outputs than the images have classes, or weights that are not finite.
        """
        with torch.no_grad():
            shape = tuple(model.eval()(self.example).shape)
        if len(shape) != 2 or shape[1] < self.data.classes:
            made = f"gives {list(shape[1:])}" if len(shape) != 2 else f"has {shape[1]} classes"
            raise ProfileError(
                f"{self.profile.model.source} {made} for an image, but data.source has {self.data.classes} classes",
                f"Set model.classes to {self.data.classes}, or leave it out; a user's factory is given that number.",
            )
        check_finite(model.state_dict(), "Is model.weights the right file?")

    @property
    def search_dtype(self) -> torch.dtype:
        """The precision in which searches run layers: the profile's; where that is "auto", the device's."""
        wanted = self.profile.search.precision
        reduced = has_fast_bfloat16(self.device) if wanted == "auto" else wanted == "bfloat16"
        return torch.bfloat16 if reduced else torch.float32

    @property
    def mixed_precision(self) -> bool:
        """Whether trainings run in bfloat16: if the profile asks for it and the device has it; emulated, it is very slow."""
        return self.profile.hardware.mixed_precision and has_fast_bfloat16(self.device)

    @property
    def example(self) -> Tensor:
        """Two inputs, [2, c, h, w]."""
        return _first_images(self.data.search, 2)

    @property
    def latency_example(self) -> Tensor:
        """The batch on which latencies are measured, [n, c, h, w] with at most `LATENCY_IMAGES` images."""
        return _first_images(self.data.search, LATENCY_IMAGES)

    def batches(self, split: Split, images: int, batch: int) -> list[tuple[Tensor, Tensor]]:
        """The batches of `stream` as a list."""
        return list(self.stream(split, images, batch))

    def stream(self, split: Split, images: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first images of a split and their labels, in batches of equal size where possible.

        A small last batch would have poor statistics.
        """
        count = min(images, len(split))
        size = -(-count // max(1, round(count / batch)))
        # Normalisations of single numbers, as in a classifier's hidden layer, need more than one image.
        while 0 < count % size < max(2, size // 2):
            size += 1
        return split.first(count).batches(size)


def open_bench(
    profile: Profile,
    *,
    decide: Decide = lambda _, measure: measure(),
    log: Log = lambda text, level: None,  # noqa: ARG005
    model: nn.Module | None = None,
) -> Bench:
    """The bench for a profile.

    Args:
        profile: The profile.
        decide: See `Bench`; nothing is remembered unless given.
        log: See `Bench`; nothing is reported unless given.
        model: The network that decides the memory format, where it is not the profile's.

    Raises:
        ProfileError: The device, the data or the model is not there.
    """
    device = choose_device(profile.device)
    source, classes = profile.model.source, profile.model.classes
    if model is None:
        # Before images are read, which can take minutes.
        require_source(source, profile.model.weights)
        model = load_model(source, "", classes) if classes else None
    data = load_data(profile.data, device)
    if model is None:
        model = load_model(source, "", data.classes)
    form = _fitting_format(model.eval().to(device), _first_images(data.search, 2))
    return Bench(
        profile=profile,
        device=device,
        data=data.to_memory_format(form),
        memory_format=form,
        decide=decide,
        log=log,
    )


def configure_torch(profile: Profile, device: torch.device) -> None:
    """Set torch's state of the whole process as a profile asks: threads, precision, determinism, seed."""
    if profile.hardware.threads:
        torch.set_num_threads(profile.hardware.threads)
    if device.type == "cuda":
        # Streams and recorded passes belong to the current device.
        torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = profile.search.precision != "full"
    if device.type == "cuda" and profile.hardware.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Nothing here reads memory that it has not written, and filling it costs a kernel for each new tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
    torch.manual_seed(profile.seed)


def _first_images(split: Split, count: int) -> Tensor:
    return next(split.first(count).batches(count))[0]


def _model_to_format(model: nn.Module, form: torch.memory_format) -> nn.Module:
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = to_memory_format(tensor.data, form)
    return model


@torch.no_grad()
def _fitting_format(model: nn.Module, example: Tensor) -> torch.memory_format:
    """Channels last, in which convolutions are fastest on CPUs as on GPUs; contiguous where a model needs that.

    The usual reason is `view`, which flattens contiguous tensors only.
    """
    for form in (torch.channels_last, torch.contiguous_format):
        try:
            _model_to_format(model, form)(to_memory_format(example, form))
        except Exception:  # noqa: S112 - a user's code may raise anything
            continue
        return form
    # Tracing reports what is wrong; with contiguous inputs that is an error of the model itself.
    return torch.contiguous_format


def choose_device(name: str) -> torch.device:
    """The device that a profile names; "auto" is a GPU where there is one.

    Raises:
        ProfileError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ProfileError(
            f"device is {name}, but torch sees {torch.cuda.device_count()} CUDA devices", "Use device = 'auto'."
        )
    # torch.cuda.set_device needs an index.
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def check_finite(weights: Weights, hint: str) -> None:
    """Check that weights and statistics are finite.

    Raises:
        ProfileError: Some are infinite or not numbers; names the first.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ProfileError(f"the network's '{name}' holds values that are infinite or not numbers", hint)


def weights_of(model: nn.Module) -> Weights:
    """A copy of a model's weights and statistics, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def keep_all(graph: ChannelGraph, rows: int = 1) -> np.ndarray:
    """The unpruned keep vector, bool[rows, genes]."""
    return np.ones((rows, graph.genes), dtype=np.bool_)
