"""How fast this machine does the work of a run: short measurements before the first step."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from emodir_tui.arrays import KeepVectors
from emodir_tui.bench import Bench, keep_all, weights_of
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import distillation_cuts
from emodir_tui.nets.execution.evaluators import FeatureError, SubnetworkEvaluator
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.measures.error_gradient import ErrorGradient
from emodir_tui.problems.evaluator_choice import evaluator_memory
from emodir_tui.problems.subnetwork import GRADIENT_IMAGES
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.batch_backoff import SMALLEST
from emodir_tui.stages.support.chain_training import Chain
from emodir_tui.training.loop import precision
from emodir_tui.training.losses import cross_entropy
from emodir_tui.training.memory import is_out_of_memory, release_cached_memory

# Masks that are evaluated, and the shares of genes that they keep; masks at which gradients are taken.
PROBES, KEPT, GRADIENTS = 8, (0.2, 0.9), 2
READ = 256
# A training step is tried on a few images; where a whole batch would take longer than this, that has to do.
FEW, LONGEST = 16, 3.0
# A measurement is repeated, in this time at most, and the least counts: the start of a dashboard is no lasting load.
REPEATS, ENOUGH = 3, 0.5
# A training step takes about as long as three forward passes, a gradient as five.
PASSES_OF_STEP, PASSES_OF_GRADIENT = 3.0, 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Seconds on this machine, as it is loaded now.

    Attributes:
        candidate: To evaluate a mask of the whole network on one image.
        gradient: To predict the effects of all genes at one mask of the whole network.
        training: Of a step of the original network's training, for one image.
        chain: Of a step of the constrained training, for one image.
        reading: To read one training image.
    """

    candidate: float
    gradient: float
    training: float
    chain: float
    reading: float

    @property
    def passing(self) -> float:
        """Seconds of a forward pass of the original network on one image."""
        return self.training / PASSES_OF_STEP


def measure_rates(bench: Bench, graph: ChannelGraph) -> Rates:
    """Measure the rates; draws nothing from the process's random generator."""
    profile, train = bench.profile, len(bench.data.train)
    images = min(profile.search.batch, len(bench.data.search))
    with torch.random.fork_rng(devices=[bench.device] if bench.device.type == "cuda" else []):
        candidate = _where_it_fits(partial(_candidate_rate, bench, graph), images)
        gradient = _tried(partial(_gradient_rate, bench, graph), min(images, GRADIENT_IMAGES))
        # What cannot be trained here is reported by the stage that trains it.
        training = _tried(partial(_training_rate, bench), min(profile.baseline.batch, train))
        chain = _tried(partial(_chain_rate, bench, graph), min(profile.constrain.batch, train))
    if training is None:
        training = PASSES_OF_STEP * candidate
    if gradient is None:
        gradient = PASSES_OF_GRADIENT * candidate
    release_cached_memory()
    return Rates(
        candidate=candidate,
        gradient=GRADIENT_IMAGES * gradient,
        training=training,
        chain=training if chain is None else chain,
        reading=reading_seconds(bench),
    )


def reading_seconds(bench: Bench) -> float:
    """Seconds to read one training image, measured on a few hundred."""
    few = bench.data.train.first(READ)
    return _seconds(lambda: [None for _ in few.batches(len(few))]) / len(few)


def _candidate_rate(bench: Bench, graph: ChannelGraph, images: int) -> float:
    inputs, outputs = _unpruned(bench, graph, images)
    features = graph.network.features
    error = FeatureError(graph, features, [outputs])
    evaluator = SubnetworkEvaluator(
        graph, None, features, [inputs], error, memory=evaluator_memory(bench), dtype=bench.search_dtype
    )
    masks = _masks(bench, graph)
    evaluator.evaluate(masks[:1])
    return _seconds(lambda: evaluator.evaluate(masks)) / (len(masks) * images)


def _gradient_rate(bench: Bench, graph: ChannelGraph, images: int) -> float:
    inputs, outputs = _unpruned(bench, graph, images)
    guide = ErrorGradient(
        graph, None, graph.network.features, [inputs], [outputs], evaluator_memory(bench), bench.search_dtype
    )
    masks = _masks(bench, graph)[:: PROBES // GRADIENTS]
    guide.effects(masks[:1])
    return _seconds(lambda: guide.effects(masks)) / (len(masks) * images)


def _unpruned(bench: Bench, graph: ChannelGraph, images: int) -> tuple[Tensor, Tensor]:
    """Images of the search split and their last features."""
    ((inputs, _),) = bench.batches(bench.data.search, images, images)
    network = SlicedNetwork(graph, None, graph.network.features)
    network.select(keep_all(graph)[0])
    with torch.no_grad():
        return inputs, network(inputs)


def _training_rate(bench: Bench, images: int) -> float:
    model = bench.model().train()
    return _step_rate(bench, lambda inputs, labels: cross_entropy(model(inputs), labels), images)


def _chain_rate(bench: Bench, graph: ChannelGraph, images: int) -> float:
    trained, masks = bench.graph(weights_of(graph.network.model)), _masks(bench, graph)
    chain = Chain(bench, graph, trained, distillation_cuts(graph), lambda step: np.asarray(masks[step % len(masks)]))
    steps = iter(range(1 << 30))
    return _step_rate(bench, lambda inputs, labels: chain(trained.network.model, inputs, labels, next(steps)), images)


def _step_rate(bench: Bench, loss: Callable[[Tensor, Tensor], Tensor], batch: int) -> float:
    """Seconds of a training step for one image: of a whole batch, or of a few images where that takes too long."""

    def seconds(images: int) -> float:
        inputs, labels = next(bench.data.train.first(images).batches(images))

        def work() -> None:
            with precision(bench.device, mixed=bench.mixed_precision):
                value = loss(inputs, labels)
            value.backward()  # type: ignore[no-untyped-call]
            value.item()

        work()
        return _seconds(work) / images

    few = min(FEW, batch)
    first = seconds(few)
    return first if few == batch or first * batch > LONGEST else seconds(batch)


def _where_it_fits(rate: Callable[[int], float], images: int) -> float:
    """The rate, measured on so many images, or on fewer where the memory does not hold what they need."""
    while True:
        try:
            return rate(images)
        except RuntimeError as error:
            if not is_out_of_memory(error) or images // 2 < SMALLEST:
                raise
        images //= 2
        release_cached_memory()


def _masks(bench: Bench, graph: ChannelGraph) -> KeepVectors:
    draws = np.random.default_rng(derive_seed(bench.profile.seed, "rates"))
    masks = draws.random((PROBES, graph.genes)) < np.linspace(*KEPT, PROBES)[:, None]
    masks[:, [group.start for group in graph.groups]] = True
    return masks


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of the work: the least of a few times."""
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _tried(rate: Callable[[int], float], images: int) -> float | None:
    try:
        return _where_it_fits(rate, images)
    except RuntimeError:
        return None
