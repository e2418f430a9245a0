"""Trainings of the pruned network as one chain, each part behind its pruned predecessors, for many schemes at once.

Each step prunes by one scheme. The features at the ends of blocks are pulled to the original's (feature constraint), and
the output of the whole chain to the original network's (cross-network constraint); the gradients of both flow back through
all that came before. One set of weights serves all schemes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emodir_tui.arrays import Bools
from emodir_tui.bench import Bench, keep_all, weights_of
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, channel_dim, kept_channels, take_channels
from emodir_tui.nets.division import distillation_cuts
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.tracing.network import CutPoint
from emodir_tui.results import Original, Weights
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.names import CHAIN, StageName
from emodir_tui.runs.run import Run
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.training_events import TrainingReport
from emodir_tui.training.loop import TrainingPlan, TrainingState, train
from emodir_tui.training.losses import relative_error, softened_kl

# Epoch events of one training.
EVENTS = 10

# From the number of a step to its scheme, a keep vector bool[genes].
Draw = Callable[[int], Bools]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedWeights:
    """The network's weights after the training."""

    weights: Weights


def fit_chain(
    run: Run,
    bench: Bench,
    original: Original,
    weights: Weights,
    draw: Draw,
    *,
    stage: StageName,
    steps: int,
) -> TrainedWeights:
    """Train a network for the schemes that `draw` gives.

    Args:
        run: The run; the training is saved in it.
        bench: The bench.
        original: Its features and output are the targets.
        weights: To begin with.
        draw: The scheme of each step.
        stage: The stage to which the training belongs.
        steps: Number of steps.
    """
    settings = bench.profile.constrain
    graph, trained = bench.graph(original.weights), bench.graph(weights)
    model = trained.network.model
    plan = TrainingPlan(
        steps=steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        augmentation=bench.profile.data.augment,
        mixed_precision=bench.mixed_precision,
        seed=derive_seed(bench.profile.seed, stage),
    )
    chain = Chain(bench, graph, trained, distillation_cuts(graph), draw)
    place = Place(stage=stage, subject=CHAIN)
    train(
        model,
        bench.data.train,
        chain,
        plan,
        start=run.resume_point(place, TrainingState),
        on_step=TrainingReport(run, place, model, plan, max(1, steps // EVENTS)),
    )
    return TrainedWeights(weights=weights_of(model))


class Chain:
    """The training's loss: the distance of the pruned chain from the original network, at every fitting point and at its end.

    Args:
        bench: The bench.
        original: The original network.
        trained: The network that is trained.
        points: Where features are compared.
        draw: The scheme of each step.
    """

    def __init__(
        self,
        bench: Bench,
        original: ChannelGraph,
        trained: ChannelGraph,
        points: list[CutPoint],
        draw: Draw,
    ) -> None:
        self._settings, self._temperature = bench.profile.constrain, bench.profile.finetune.temperature
        self._graph, self._points, self._draw = original, points, draw
        spans = list(zip([None, *points], [*points, None], strict=True))
        self._original = [SlicedNetwork(original, start, stop) for start, stop in spans]
        self._pruned = [SlicedNetwork(trained, start, stop) for start, stop in spans]
        for span in self._original:
            span.select(keep_all(original)[0])

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor, step: int) -> Tensor:  # noqa: ARG002
        """The loss of a step: a weighted sum of the two constraints."""
        keep = self._draw(step)
        target = output = inputs
        error = inputs.new_zeros(())
        for original, pruned, point in zip(self._original, self._pruned, [*self._points, None], strict=True):
            with torch.no_grad():
                target = original(target)
            pruned.select(keep)
            output = pruned(output)
            if point is not None:
                error = error + _feature_error(self._graph, point, output, target, keep)
        softened = softened_kl(output.float(), target.float(), self._temperature)
        return self._settings.feature_weight * error + self._settings.cross_weight * softened


def _feature_error(graph: ChannelGraph, point: CutPoint, output: Tensor, target: Tensor, keep: Bools) -> Tensor:
    """Relative error of the kept channels, as a share of the whole target's energy."""
    if output.shape == target.shape:
        return relative_error(output, target)
    kept = kept_channels(graph, point, keep)
    missed = output - take_channels(target, channel_dim(graph, point), kept)
    return missed.square().sum() / target.square().sum().clamp_min(1e-12)
