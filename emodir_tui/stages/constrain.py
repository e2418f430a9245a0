"""Step 4: train each sub-network under cross-network constraints, then measure its front again.

A sub-network sees the original features and those that its pruned predecessor makes. Its output is pulled to the
original's (feature constraint), and through the frozen original next sub-network that one's output to the original's
(cross-network constraint). One set of weights serves all masks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.emo.front import hypervolume, non_dominated
from emodir_tui.nets.evaluate import FeatureError
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.sliced import SlicedNetwork, kept_channels
from emodir_tui.nets.span import span_modules
from emodir_tui.nets.subnetwork import Division, SubNetwork
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.log import Run
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.batches import in_memory
from emodir_tui.stages.bench import Bench, Weights, keep_all
from emodir_tui.stages.guiding import make_guidance
from emodir_tui.stages.results import Adapted, Bits, Floats, Front, Importance, Original, Parts
from emodir_tui.stages.searching import (
    expand,
    first_state,
    front_of,
    generation_events,
    make_search,
    measure_masks,
    run_search,
    subnetwork_evaluator,
    tell_front,
)
from emodir_tui.stages.trainings import follow
from emodir_tui.training.loop import Plan, TrainingState, train
from emodir_tui.training.losses import relative_error

EVENTS_PER_TRAINING = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """The weights of one sub-network after its training; names as in the whole network."""

    weights: Weights


def constrain(run: Run, bench: Bench, original: Original, parts: Parts, fronts: list[Front]) -> Adapted:
    """Train the sub-networks in order, each behind its trained predecessor; then measure every front anew."""
    if not bench.profile.constrain.steps:
        return Adapted(weights=original.weights, fronts=fronts)
    graph, division = bench.division(original.weights, parts.cuts)
    weights = dict(original.weights)
    for index, part in enumerate(division.subnetworks):
        fit = partial(_fit, run, bench, original, weights, parts, fronts, index)
        fitted = run.part(f"constrain.{part.name}", Fitted, fit)
        weights = {**weights, **fitted.weights}
    adapted_graph, adapted_division = bench.division(weights, parts.cuts)
    return Adapted(
        weights=weights,
        fronts=in_memory(
            run,
            "search",
            lambda batch: _remeasure(run, bench, (graph, division), (adapted_graph, adapted_division), fronts, batch),
        ),
    )


def _fit(
    run: Run, bench: Bench, original: Original, weights: Weights, parts: Parts, fronts: list[Front], index: int
) -> Fitted:
    """Train sub-network `index` of the network with these weights."""
    settings = bench.profile.constrain
    graph, division = bench.division(original.weights, parts.cuts)
    # A graph of its own: its weights change while it trains.
    live = bench.build(weights)
    part = division.subnetworks[index]
    names = span_modules(live, part.start, part.stop)
    model = nn.ModuleDict({name.replace(".", "/"): live.network.model.get_submodule(name) for name in names})
    plan = Plan(
        steps=settings.steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        augmentation=bench.profile.data.augment,
        mixed_precision=bench.profile.hardware.mixed_precision,
        seed=derive_seed(bench.profile.seed, "constrain", part.name),
    )
    place = Place(stage="constrain", subject=part.name)
    every = max(1, settings.steps // EVENTS_PER_TRAINING)
    train(
        model,
        bench.data.train,
        _Constraints(bench, graph, live, division, fronts, index, plan.seed),
        plan,
        start=run.resume_point(place, TrainingState),
        on_step=follow(run, place, model, plan, every, base=(index, len(division.subnetworks))),
    )
    states = model.state_dict()
    return Fitted(weights={name.replace("/", "."): value.detach().cpu().clone() for name, value in states.items()})


class _Constraints:
    """The loss of one sub-network's training; every draw of masks is a function of the step."""

    def __init__(
        self,
        bench: Bench,
        graph: ChannelGraph,
        live: ChannelGraph,
        division: Division,
        fronts: list[Front],
        index: int,
        seed: int,
    ) -> None:
        self._settings, self._seed = bench.profile.constrain, seed
        self._graph = graph
        parts = division.subnetworks
        self._part, self._front = parts[index], fronts[index]
        self._all = keep_all(graph)[0]
        self._predecessor = _Predecessor(graph, live, parts[index - 1], fronts[index - 1]) if index else None
        self._original = SlicedNetwork(graph, self._part.start, self._part.stop)
        self._student = SlicedNetwork(live, self._part.start, self._part.stop)
        following = parts[index + 1] if index + 1 < len(parts) else None
        self._next = SlicedNetwork(graph, following.start, following.stop) if following else None

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor, step: int) -> Tensor:  # noqa: ARG002
        draws = np.random.default_rng(derive_seed(self._seed, "masks", step))
        own = expand(self._graph, self._part, self._front.masks[draws.integers(len(self._front.masks))][None])[0]
        features, given, behind = inputs, inputs, self._all
        if self._predecessor is not None:
            # Both kinds of input in turn: the original features, and those of the pruned predecessor.
            features, given, behind = self._predecessor.features(inputs, draws, pruned=bool(step % 2))
        with torch.no_grad():
            self._original.select(self._all)
            target = self._original(features)
        self._student.select(own & behind)
        output = self._student(given)
        loss = self._settings.feature_weight * _feature_error(self._graph, self._part, output, target, own)
        if self._next is not None and self._settings.cross_weight > 0:
            loss = loss + self._settings.cross_weight * self._cross_error(self._next, output, target, own)
        return loss

    def _cross_error(self, following: SlicedNetwork, output: Tensor, target: Tensor, own: Bits) -> Tensor:
        with torch.no_grad():
            following.select(self._all)
            further = following(target)
        # The next sub-network is frozen and whole, but it gets only the channels that this mask leaves.
        following.select(own)
        return relative_error(following(output), further)


class _Predecessor:
    """The sub-network before: whole with its original weights, or pruned with the trained ones."""

    def __init__(self, graph: ChannelGraph, live: ChannelGraph, part: SubNetwork, front: Front) -> None:
        self._graph, self._part, self._front = graph, part, front
        self._all = keep_all(graph)[0]
        self._head = None if part.start is None else SlicedNetwork(graph, None, part.start)
        self._whole = SlicedNetwork(graph, part.start, part.stop)
        self._pruned = SlicedNetwork(live, part.start, part.stop)

    @torch.no_grad()
    def features(self, inputs: Tensor, draws: np.random.Generator, *, pruned: bool) -> tuple[Tensor, Tensor, Bits]:
        """(original features, features that the next sub-network gets, keep vector of the mask behind them)."""
        early = inputs
        if self._head is not None:
            self._head.select(self._all)
            early = self._head(inputs)
        self._whole.select(self._all)
        features = self._whole(early)
        if not pruned:
            return features, features, self._all
        mask = self._front.masks[draws.integers(len(self._front.masks))]
        keep = expand(self._graph, self._part, mask[None])[0]
        self._pruned.select(keep)
        return features, self._pruned(early), keep


def _feature_error(graph: ChannelGraph, part: SubNetwork, output: Tensor, target: Tensor, keep: Bits) -> Tensor:
    """Relative error of the kept channels, as a share of the whole target's energy."""
    if part.stop is None or output.shape == target.shape:
        return relative_error(output, target)
    kept = kept_channels(graph, part.stop, keep).to(target.device)
    return (output - target[:, kept]).square().sum() / target.square().sum().clamp_min(1e-12)


def _remeasure(
    run: Run,
    bench: Bench,
    before: tuple[ChannelGraph, Division],
    adapted: tuple[ChannelGraph, Division],
    fronts: list[Front],
    batch: int,
) -> list[Front]:
    """Every front with the trained weights against the original features; a second, shorter search if asked for."""
    graph, division = before
    settings = bench.profile.search
    features = [inputs for inputs, _ in bench.batches(bench.data.search, settings.images, batch)]
    measured = []
    for index, (part, front) in enumerate(zip(division.subnetworks, fronts, strict=True)):
        network = SlicedNetwork(graph, part.start, part.stop, dtype=bench.search_dtype)
        network.select(keep_all(graph)[0])
        with torch.no_grad():
            outputs = [network(batch) for batch in features]
        impairment = FeatureError(adapted[0], part.stop, outputs)
        evaluator = subnetwork_evaluator(bench, adapted[0], part, features, impairment)
        objectives = partial(measure_masks, run, bench, graph, part, evaluator)
        if settings.rounds > 1:
            measure = partial(_second_round, run, bench, adapted, index, front, objectives, features, outputs)
        else:
            measure = partial(_again, front, objectives)
        again = run.part(f"constrain.front.{part.name}", Front, measure)
        tell_front(run, again, graph, part)
        measured.append(again)
        features = outputs
    return measured


def _again(front: Front, measure: Callable[[Bits], Floats]) -> Front:
    objectives = measure(front.masks)
    chosen = non_dominated(objectives)
    reference = (1.0, max(front.reference[1], float(objectives[:, 1].max())))
    return Front(
        subnetwork=front.subnetwork,
        masks=front.masks[chosen],
        objectives=objectives[chosen],
        reference=reference,
        hypervolumes=(*front.hypervolumes, hypervolume(objectives, reference)),
        evaluations=front.evaluations + len(objectives),
    )


def _second_round(
    run: Run,
    bench: Bench,
    adapted: tuple[ChannelGraph, Division],
    index: int,
    front: Front,
    objectives: Callable[[Bits], Floats],
    features: list[Tensor],
    outputs: list[Tensor],
) -> Front:
    graph, division = adapted
    part, settings = division.subnetworks[index], bench.profile.search
    importance = run.load_part("search.importance", Importance).values
    nsga2 = make_search(bench, graph, part, importance, 2)
    count = len(division.subnetworks)
    state = run_search(
        run,
        nsga2,
        Place(stage="constrain", subject=part.name, round=2),
        objectives,
        generations=settings.second_generations,
        patience=settings.patience,
        tolerance=settings.tolerance,
        tell=lambda s, rate: generation_events(
            nsga2, s, part.name, 2, settings.second_generations, rate, (index, count)
        ),
        breed=make_guidance(bench, graph, part, nsga2, features, outputs).children,
        begin=partial(first_state, nsga2, objectives, front.masks),
    )
    return front_of(nsga2, state, part.name)
