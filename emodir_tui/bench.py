"""The bench: what every stage works with. Device, data, and networks made live from the weights that stages hand on."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.errors import ProfileError
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, analyse
from emodir_tui.nets.division import Division, divide_network
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.latency import LatencyModel, LatencyTable
from emodir_tui.nets.modules.precision import has_fast_bfloat16
from emodir_tui.nets.sources.models import load_model, load_tensors
from emodir_tui.nets.tracing.network import trace
from emodir_tui.profile import Profile
from emodir_tui.results import Weights
from emodir_tui.training.data import ImageData, Split, to_memory_format
from emodir_tui.training.sources import load_data

LATENCY_IMAGES = 32
EVALUATION_BATCH = 500


@dataclass(kw_only=True, slots=True)
class Bench:
    """Opened once by the worker. Networks are rebuilt from weights and remembered."""

    profile: Profile
    device: torch.device
    data: ImageData
    latencies: LatencyTable | None = None
    # What a measurement decides; a run keeps it, because a resumed one must not measure again and decide otherwise.
    once: Callable[[str, Callable[[], str]], str] = lambda _, decide: decide()
    # Tells whoever follows the run: a sentence, and how grave it is.
    log: Callable[[str, str], None] = lambda text, level: None  # noqa: ARG005
    # Of the network and its inputs; None until a network was built.
    memory_format: torch.memory_format | None = None
    _graphs: dict[int, tuple[Weights, ChannelGraph]] = field(default_factory=dict)

    def model(self, weights: Weights | None = None) -> nn.Module:
        """The profile's architecture on the device, in eval mode; with its own weights or these."""
        settings = self.profile.model
        classes = settings.classes or self.data.classes
        model = load_model(settings.source, "" if weights is not None else settings.weights, classes)
        if weights is not None:
            load_tensors(model, weights)
        return self.to_memory_format(model.eval())

    def to_memory_format(self, model: nn.Module) -> nn.Module:
        """A network in eval mode, on the device and in the form that inputs have; the first one decides which."""
        model.to(self.device)
        if self.memory_format is None:
            self.memory_format = _fitting_format(model, self.example)
            self.data = self.data.to_memory_format(self.memory_format)
        return _model_to_format(model, self.memory_format)

    def graph(self, weights: Weights) -> ChannelGraph:
        """The traced and analysed network with these weights."""
        known = self._graphs.get(id(weights))
        if known is None:
            known = (weights, self.build(weights))
            self._graphs[id(weights)] = known
        return known[1]

    def forget_graphs(self) -> None:
        """Let go of the networks that `graph` remembers; their memory goes with them."""
        self._graphs.clear()

    def build(self, weights: Weights) -> ChannelGraph:
        """The same, but the caller's own: its weights may be trained, and its memory goes with it."""
        return analyse(trace(self.model(weights), self.example))

    def division(self, weights: Weights, cuts: tuple[str, ...]) -> tuple[ChannelGraph, Division]:
        """The network with these weights, cut after these modules."""
        graph = self.graph(weights)
        if not cuts:
            return graph, divide_network(graph, subnetworks=1)
        return graph, divide_network(graph, cuts=list(cuts))

    def complexity(self, graph: ChannelGraph) -> ComplexityModel | LatencyModel:
        """The first objective's measure."""
        if self.latencies is not None:
            return LatencyModel(graph, self.latencies)
        return ComplexityModel(graph, "params" if self.profile.complexity.kind == "params" else "macs")

    def try_division(self) -> tuple[ChannelGraph, Division]:
        """Build, trace and divide the network with whatever weights: what can't work is told before anything is trained.

        Raises:
            ProfileError: It can't work.
        """
        settings = self.profile.divide
        graph = analyse(trace(self.model(), self.example))
        division = divide_network(graph, subnetworks=settings.subnetworks or None, cuts=settings.cuts or None)
        self.check_usable(graph.network.model)
        return graph, division

    def check_usable(self, model: nn.Module) -> None:
        """A network with the profile's weights, or with those that it will be trained from.

        Raises:
            ProfileError: It tells fewer classes apart than the images have, or has weights that are no numbers.
        """
        with torch.no_grad():
            shape = tuple(model.eval()(self.example).shape)
        if len(shape) != 2 or shape[1] < self.data.classes:
            made = f"gives {list(shape[1:])}" if len(shape) != 2 else f"tells {shape[1]} classes apart"
            raise ProfileError(
                f"{self.profile.model.source} {made} for an image, but data.source has {self.data.classes} classes",
                f"Set model.classes to {self.data.classes}, or leave it out; a factory of your own is given that number.",
            )
        check_finite(model.state_dict(), "Is model.weights the right file?")

    @property
    def search_dtype(self) -> torch.dtype:
        """The precision in which searches run layers: by the profile, and where that leaves it open by the device."""
        wanted = self.profile.search.precision
        reduced = has_fast_bfloat16(self.device) if wanted == "auto" else wanted == "bfloat16"
        return torch.bfloat16 if reduced else torch.float32

    @property
    def mixed_precision(self) -> bool:
        """Whether trainings run in bfloat16: where the profile wants it and the device has it; emulated it is many times slower."""
        return self.profile.hardware.mixed_precision and has_fast_bfloat16(self.device)

    @property
    def example(self) -> Tensor:
        """Two inputs."""
        return next(self.data.search.first(2).batches(2))[0]

    def batches(self, split: Split, images: int, batch: int) -> list[tuple[Tensor, Tensor]]:
        """What `stream` gives, all at once."""
        return list(self.stream(split, images, batch))

    def stream(self, split: Split, images: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first images of a split, in batches of equal size where possible: a small rest would have poor statistics."""
        count = min(images, len(split))
        size = -(-count // max(1, round(count / batch)))
        # Normalisations of single numbers, as in a classifier's hidden layer, can't be taken over one image.
        while 0 < count % size < max(2, size // 2):
            size += 1
        return split.first(count).batches(size)


def open_bench(profile: Profile) -> Bench:
    """The bench for a profile.

    Raises:
        ProfileError: The device or the data is not there.
    """
    device = choose_device(profile.device)
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
    return Bench(profile=profile, device=device, data=load_data(profile.data, device))


def _model_to_format(model: nn.Module, form: torch.memory_format) -> nn.Module:
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = to_memory_format(tensor.data, form)
    return model


@torch.no_grad()
def _fitting_format(model: nn.Module, example: Tensor) -> torch.memory_format:
    """Channels last, in which convolutions are fastest on CPUs as on GPUs; contiguous for a model that works so only.

    The usual reason is `view`, which flattens only what lies in order.
    """
    for form in (torch.channels_last, torch.contiguous_format):
        try:
            _model_to_format(model, form)(to_memory_format(example, form))
        except Exception:  # noqa: S112 - a user's own code may raise whatever it likes
            continue
        return form
    # What is wrong with it is told where it is traced, and of inputs that lie in order it is the model's own fault.
    return torch.contiguous_format


def choose_device(name: str) -> torch.device:
    """The device that a profile names.

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
    # torch.cuda.set_device wants an index.
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def check_finite(weights: Weights, hint: str) -> None:
    """Weights and statistics that can be computed with.

    Raises:
        ProfileError: Some are infinite or no numbers; says which.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ProfileError(f"the network's '{name}' holds values that are infinite or no numbers", hint)


def weights_of(model: nn.Module) -> Weights:
    """A copy of a model's weights and statistics, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def keep_all(graph: ChannelGraph, rows: int = 1) -> np.ndarray:
    """The unpruned keep vector, bool[rows, genes]."""
    return np.ones((rows, graph.genes), dtype=np.bool_)


def latency_example(bench: Bench) -> Tensor:
    """The batch on which latencies are measured."""
    return next(bench.data.search.first(LATENCY_IMAGES).batches(LATENCY_IMAGES))[0]
