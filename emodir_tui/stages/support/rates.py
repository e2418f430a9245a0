"""How fast this machine does the work of a run: short measurements before the first step."""

import time
from collections.abc import Callable
from dataclasses import dataclass

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
from emodir_tui.stages.support.chain_training import Chain
from emodir_tui.training.loop import precision
from emodir_tui.training.losses import cross_entropy
from emodir_tui.training.memory import release_cached_memory

# Masks that are evaluated, and the shares of genes that they keep.
PROBES, KEPT = 4, (0.2, 0.9)
READ = 256
# A training step is tried on a few images; where a whole batch would take longer than this, that has to do.
FEW, LONGEST = 16, 3.0
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
    with torch.random.fork_rng(devices=[bench.device] if bench.device.type == "cuda" else []):
        candidate, gradient = _search_rates(bench, graph)
        # What cannot be trained here is reported by the stage that trains it.
        training = _tried(lambda: _training_rate(bench)) or candidate * PASSES_OF_STEP
        chain = _tried(lambda: _chain_rate(bench, graph)) or training
    release_cached_memory()
    return Rates(candidate=candidate, gradient=gradient, training=training, chain=chain, reading=reading_seconds(bench))


def reading_seconds(bench: Bench) -> float:
    """Seconds to read one training image, measured on a few hundred."""
    few = bench.data.train.first(READ)
    return _seconds(lambda: [None for _ in few.batches(len(few))]) / len(few)


def _search_rates(bench: Bench, graph: ChannelGraph) -> tuple[float, float]:
    batch = min(bench.profile.search.batch, len(bench.data.search))
    inputs = [pixels for pixels, _ in bench.batches(bench.data.search, batch, batch)]
    features, memory, dtype = graph.network.features, evaluator_memory(bench), bench.search_dtype
    network = SlicedNetwork(graph, None, features)
    network.select(keep_all(graph)[0])
    with torch.no_grad():
        outputs = [network(pixels) for pixels in inputs]
    error = FeatureError(graph, features, outputs)
    evaluator = SubnetworkEvaluator(graph, None, features, inputs, error, memory=memory, dtype=dtype)
    masks = _masks(bench, graph)
    evaluator.evaluate(masks[:1])
    candidate = _seconds(lambda: evaluator.evaluate(masks)) / (len(masks) * batch)
    few = min(batch, GRADIENT_IMAGES)
    images = [(inputs[0][:few], outputs[0][:few])]
    gradient = _tried(lambda: _gradient_rate(graph, images, memory, dtype, masks)) or PASSES_OF_GRADIENT * candidate
    return candidate, gradient * GRADIENT_IMAGES


def _gradient_rate(
    graph: ChannelGraph, pairs: list[tuple[Tensor, Tensor]], memory: int, dtype: torch.dtype, masks: KeepVectors
) -> float:
    inputs, outputs = zip(*pairs, strict=True)
    guide = ErrorGradient(graph, None, graph.network.features, inputs, outputs, memory, dtype)
    guide.effects(masks[:1])
    return _seconds(lambda: guide.effects(masks)) / (len(masks) * sum(map(len, inputs)))


def _training_rate(bench: Bench) -> float:
    model = bench.model().train()

    def step(inputs: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model(inputs), labels)

    return _step_rate(bench, step, bench.profile.baseline.batch)


def _chain_rate(bench: Bench, graph: ChannelGraph) -> float:
    weights = weights_of(graph.network.model)
    trained, masks = bench.graph(weights), _masks(bench, graph)
    chain = Chain(bench, graph, trained, distillation_cuts(graph), lambda step: np.asarray(masks[step % len(masks)]))
    steps = iter(range(1 << 30))

    def step(inputs: Tensor, labels: Tensor) -> Tensor:
        return chain(trained.network.model, inputs, labels, next(steps))

    return _step_rate(bench, step, bench.profile.constrain.batch)


def _step_rate(bench: Bench, loss: Callable[[Tensor, Tensor], Tensor], batch: int) -> float:
    """Seconds of a training step for one image: of the profile's batch, or of a few images where that takes too long."""

    def seconds(images: int) -> float:
        inputs, labels = next(bench.data.train.first(images).batches(images))

        def work() -> None:
            with precision(bench.device, mixed=bench.mixed_precision):
                value = loss(inputs, labels)
            value.backward()  # type: ignore[no-untyped-call]
            value.item()

        work()
        return _seconds(work)

    batch = min(batch, len(bench.data.train))
    few = min(FEW, batch)
    first = seconds(few) / few
    return first if few == batch or first * batch > LONGEST else seconds(batch) / batch


def _masks(bench: Bench, graph: ChannelGraph) -> KeepVectors:
    draws = np.random.default_rng(derive_seed(bench.profile.seed, "rates"))
    masks = draws.random((PROBES, graph.genes)) < np.linspace(*KEPT, PROBES)[:, None]
    masks[:, [group.start for group in graph.groups]] = True
    return masks


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _tried(measure: Callable[[], float]) -> float | None:
    try:
        return measure()
    except RuntimeError:
        return None
