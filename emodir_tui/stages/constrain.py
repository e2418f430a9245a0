"""Step 4: train the sub-networks under cross-network constraints, then measure their fronts again.

All sub-networks are trained as one chain. Each step draws a member of every front, and each sub-network gets the features
that its pruned predecessors make. Its output is pulled to the original's (feature constraint), and the output of the whole
chain to the original network's (cross-network constraint); the gradients of both flow back through all that came before.
One set of weights serves all masks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from emodir_tui.emo.front import hypervolume, non_dominated
from emodir_tui.nets.evaluate import FeatureError
from emodir_tui.nets.graph import CutPoint
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.sliced import SlicedNetwork, kept_channels
from emodir_tui.nets.subnetwork import Division, meeting_points
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.log import Run
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.batches import in_memory
from emodir_tui.stages.bench import Bench, Weights, keep_all
from emodir_tui.stages.guiding import make_guidance
from emodir_tui.stages.results import Adapted, Bits, Floats, Front, Importance, Original, Parts
from emodir_tui.stages.searching import (
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
from emodir_tui.stages.whole import Members, combine, members_of
from emodir_tui.training.loop import Plan, TrainingState, train
from emodir_tui.training.losses import relative_error, softened_kl

EVENTS = 10
# Members of one scheme are about equally pruned: places in their fronts, as shares, differ by about this much.
SPREAD = 0.1
CHAIN = "chain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """The network's weights after the training."""

    weights: Weights


def constrain(run: Run, bench: Bench, original: Original, parts: Parts, fronts: list[Front]) -> Adapted:
    """Train all sub-networks, each behind its pruned predecessors; then measure every front anew."""
    if not bench.profile.constrain.steps:
        return Adapted(weights=original.weights, fronts=fronts)
    fitted = run.part(f"constrain.{CHAIN}", Fitted, partial(_fit, run, bench, original, parts, fronts))
    before = bench.division(original.weights, parts.cuts)
    adapted = bench.division(fitted.weights, parts.cuts)
    measured = in_memory(run, "search", lambda batch: _remeasure(run, bench, before, adapted, fronts, batch))
    return Adapted(weights=fitted.weights, fronts=measured)


def _fit(run: Run, bench: Bench, original: Original, parts: Parts, fronts: list[Front]) -> Fitted:
    settings = bench.profile.constrain
    graph, division = bench.division(original.weights, parts.cuts)
    # A graph of its own: its weights change while it trains.
    live = bench.build(original.weights)
    model = live.network.model
    importance = run.load_part("search.importance", Importance).values
    plan = Plan(
        steps=settings.steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        augmentation=bench.profile.data.augment,
        mixed_precision=bench.mixed_precision,
        seed=derive_seed(bench.profile.seed, "constrain"),
    )
    chain = _Chain(
        bench,
        (graph, live),
        meeting_points(division, graph.network.features),
        members_of(bench, graph, division, fronts, importance),
        plan.seed,
    )
    place = Place(stage="constrain", subject=CHAIN)
    train(
        model,
        bench.data.train,
        chain,
        plan,
        start=run.resume_point(place, TrainingState),
        on_step=follow(run, place, model, plan, max(1, settings.steps // EVENTS)),
    )
    return Fitted(weights={name: value.detach().cpu().clone() for name, value in model.state_dict().items()})


class _Chain:
    """The training's loss: how far the pruned chain is from the original network, at every meeting point and at its end."""

    def __init__(
        self,
        bench: Bench,
        networks: tuple[ChannelGraph, ChannelGraph],
        points: list[CutPoint],
        members: list[Members],
        seed: int,
    ) -> None:
        self._settings, self._temperature = bench.profile.constrain, bench.profile.finetune.temperature
        self._graph, live = networks
        self._points, self._members, self._seed = points, members, seed
        spans = list(zip([None, *points], [*points, None], strict=True))
        self._original = [SlicedNetwork(self._graph, start, stop) for start, stop in spans]
        self._pruned = [SlicedNetwork(live, start, stop) for start, stop in spans]
        for span in self._original:
            span.select(keep_all(self._graph)[0])

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor, step: int) -> Tensor:  # noqa: ARG002
        keep = self.scheme(step)
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

    def scheme(self, step: int) -> Bits:
        """A member of every front, about equally pruned: a function of the step; a keep vector bool[genes]."""
        draws = np.random.default_rng(derive_seed(self._seed, "scheme", step))
        place = draws.random()
        lengths = np.array([len(front.keeps) for front in self._members])
        shares = np.clip(place + draws.normal(0, SPREAD, len(lengths)), 0, 1)
        keeps = combine(self._members, np.rint(shares * (lengths - 1)).astype(np.int64)[None])
        return np.asarray(keeps[0], dtype=np.bool_)


def _feature_error(graph: ChannelGraph, point: CutPoint, output: Tensor, target: Tensor, keep: Bits) -> Tensor:
    """Relative error of the kept channels, as a share of the whole target's energy."""
    if output.shape == target.shape:
        return relative_error(output, target)
    kept = kept_channels(graph, point, keep).to(target.device)
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
