"""Step 4: train the sub-networks under cross-network constraints, then measure their fronts again.

All sub-networks are trained together, as one chain (`stages/support/chain_training.py`); each step draws a member of every front.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from torch import Tensor

from emodir_tui.arrays import Bools, Floats
from emodir_tui.bench import Bench
from emodir_tui.emo.front import hypervolume, non_dominated
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import Division
from emodir_tui.problems.guidance import make_guidance
from emodir_tui.problems.impairments import build_impairment
from emodir_tui.problems.members import FrontMembers, combine, members_of
from emodir_tui.problems.subnetwork import (
    make_search,
    measure_masks,
    original_outputs,
    search_features,
    subnetwork_evaluator,
)
from emodir_tui.results import Adapted, Front, Importance, Original, Parts
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.names import CHAIN, IMPORTANCE, StageName, front_name, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.batch_backoff import with_batch_backoff
from emodir_tui.stages.support.chain_training import Draw, TrainedWeights, fit_chain
from emodir_tui.stages.support.search_loop import first_state, front_of, generation_events, run_search, tell_front

# Members of one scheme are about equally pruned: places in their fronts, as shares, differ by about this much.
SPREAD = 0.1


@step(StageName.CONSTRAIN, Adapted)
def constrain(run: Run, bench: Bench, original: Original, parts: Parts, fronts: list[Front]) -> Adapted:
    """Train all sub-networks, each behind its pruned predecessors; then measure every front anew."""
    steps = bench.profile.constrain.steps
    if not steps:
        return Adapted(weights=original.weights, fronts=fronts)
    before = bench.division(original.weights, parts.cuts)
    importance = run.load_part(result_name(StageName.SEARCH, IMPORTANCE), Importance).values
    draw = drawn_from(members_of(bench, *before, fronts, importance), derive_seed(bench.profile.seed, "constrain"))
    fit = partial(fit_chain, run, bench, original, original.weights, draw, stage=StageName.CONSTRAIN, steps=steps)
    fitted = run.part(result_name(StageName.CONSTRAIN, CHAIN), TrainedWeights, fit)
    adapted = bench.division(fitted.weights, parts.cuts)
    measured = with_batch_backoff(run, "search", lambda batch: _remeasure(run, bench, before, adapted, fronts, batch))
    return Adapted(weights=fitted.weights, fronts=measured)


def drawn_from(fronts: list[FrontMembers], seed: int) -> Draw:
    """Schemes of a member of every front, about equally pruned."""
    lengths = np.array([len(front.keep_vectors) for front in fronts])

    def draw(step: int) -> Bools:
        draws = np.random.default_rng(derive_seed(seed, "scheme", step))
        shares = np.clip(draws.random() + draws.normal(0, SPREAD, len(lengths)), 0, 1)
        keep_vectors = combine(fronts, np.rint(shares * (lengths - 1)).astype(np.int64)[None])
        return np.asarray(keep_vectors[0], dtype=np.bool_)

    return draw


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
    features = search_features(bench, division.subnetworks, batch)
    measured = []
    for index, (part, front) in enumerate(zip(division.subnetworks, fronts, strict=True)):
        outputs = original_outputs(bench, graph, part, features)
        # Trained weights are judged as the search judged: by the original network, its features or what follows.
        impairment = build_impairment(bench, graph, part, outputs)
        evaluator = subnetwork_evaluator(bench, adapted[0], part, features, impairment)
        objectives = partial(measure_masks, run, bench, graph, part, evaluator)
        if bench.profile.search.rounds > 1:
            measure = partial(_second_round, run, bench, adapted, index, front, objectives, features, outputs)
        else:
            measure = partial(_again, front, objectives)
        again = run.part(front_name(StageName.CONSTRAIN, part.name), Front, measure)
        tell_front(run, again, graph, part)
        measured.append(again)
        features = outputs
    return measured


def _again(front: Front, measure: Callable[[Bools], Floats]) -> Front:
    """The front as measured now. Its hypervolumes begin anew: other weights' can't be compared with these."""
    objectives = measure(front.masks)
    chosen = non_dominated(objectives)
    finite = objectives[np.isfinite(objectives[:, 1]), 1]
    reference = (1.0, max(front.reference[1], float(finite.max(initial=0.0))))
    return Front(
        subnetwork=front.subnetwork,
        masks=front.masks[chosen],
        objectives=objectives[chosen],
        reference=reference,
        hypervolumes=(hypervolume(objectives, reference),),
        evaluations=front.evaluations + len(objectives),
    )


def _second_round(
    run: Run,
    bench: Bench,
    adapted: tuple[ChannelGraph, Division],
    index: int,
    front: Front,
    objectives: Callable[[Bools], Floats],
    features: list[Tensor],
    outputs: list[Tensor],
) -> Front:
    """A search that begins with the whole front of the first."""
    graph, division = adapted
    part, settings = division.subnetworks[index], bench.profile.search
    importance = run.load_part(result_name(StageName.SEARCH, IMPORTANCE), Importance).values
    nsga2 = make_search(bench, graph, part, importance, 2)
    count = len(division.subnetworks)
    state = run_search(
        run,
        nsga2,
        Place(stage=StageName.CONSTRAIN, subject=part.name, round=2),
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
    return front_of(nsga2, state, part.name, front.evaluations)
