"""Step 4: train the sub-networks under cross-network constraints, then measure their fronts again.

All sub-networks are trained together, as one chain (`stages/support/chain_training.py`); each step draws a member of every front.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from emodir_tui.arrays import Bools, Floats
from emodir_tui.bench import Bench
from emodir_tui.emo.front import hypervolume, non_dominated
from emodir_tui.problems.members import FrontMembers, combine, members_of
from emodir_tui.problems.subnetwork import SubnetworkProblem, subnetwork_problems
from emodir_tui.results import Adapted, Front, Importance, Original, Parts, Weights
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Progress
from emodir_tui.runs.names import CHAIN, FRONTS, IMPORTANCE, StageName, front_name, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.batch_backoff import with_batch_backoff
from emodir_tui.stages.support.chain_training import TrainedWeights, fit_chain
from emodir_tui.stages.support.search_loop import (
    SearchLimits,
    SubnetworkReport,
    first_state,
    front_of,
    publish_front,
    run_search,
)
from emodir_tui.stages.support.search_size import subnetwork_size

# Spread of the places, as shares of the fronts, of the members that one scheme combines.
SPREAD = 0.1


@step(StageName.CONSTRAIN, Adapted)
def constrain(run: Run, bench: Bench, original: Original, parts: Parts, fronts: list[Front]) -> Adapted:
    """Train all sub-networks, each behind its pruned predecessors; then measure every front again."""
    steps = bench.profile.constrain.steps
    if not steps:
        return Adapted(weights=original.weights, fronts=fronts)
    importance = run.load_part(result_name(StageName.SEARCH, IMPORTANCE), Importance).values
    members = members_of(bench, bench.architecture, bench.division(parts.cuts), fronts, importance)
    schemes = _MemberSchemes(members, derive_seed(bench.profile.seed, "constrain"))
    fit = partial(fit_chain, run, bench, original, original.weights, schemes, stage=StageName.CONSTRAIN, steps=steps)
    weights = run.part(result_name(StageName.CONSTRAIN, CHAIN), TrainedWeights, fit).weights
    measure = partial(_measure_all, run, bench, original, weights, parts, fronts, importance)
    measured = with_batch_backoff(run, StageName.SEARCH, bench.profile.search.batch, measure)
    return Adapted(weights=weights, fronts=measured)


@dataclass(frozen=True, slots=True)
class _MemberSchemes:
    """The scheme of each training step: a member of every front, about equally pruned."""

    fronts: list[FrontMembers]
    seed: int

    def __call__(self, step: int) -> Bools:
        lengths = np.array([len(front.keep_vectors) for front in self.fronts])
        draws = np.random.default_rng(derive_seed(self.seed, "scheme", step))
        shares = np.clip(draws.random() + draws.normal(0, SPREAD, len(lengths)), 0, 1)
        keep_vectors = combine(self.fronts, np.rint(shares * (lengths - 1)).astype(np.int64)[None])
        return np.asarray(keep_vectors[0], dtype=np.bool_)


def _measure_all(
    run: Run,
    bench: Bench,
    original: Original,
    weights: Weights,
    parts: Parts,
    fronts: list[Front],
    importance: Floats,
    batch: int,
) -> list[Front]:
    """Every front with the trained weights against the original features; a second, shorter search if asked for."""
    trained = bench.graph(weights)
    measured: list[Front] = []
    # zip would keep a reference to the problem while the next one is made.
    for problem in subnetwork_problems(bench, original, trained, parts, importance, batch):
        front = fronts[len(measured)]
        if bench.profile.search.rounds > 1:
            measure = partial(_search_again, run, problem, front, len(measured), len(fronts))
        else:
            measure = partial(_measure_again, run, problem, front)
        measured.append(run.part(front_name(StageName.CONSTRAIN, front.subnetwork), Front, measure))
        publish_front(run, StageName.CONSTRAIN, measured[-1], problem.original, problem.part)
        run.emit(_progress(problem.part.name, len(measured), len(fronts)))
        del problem, measure
    return measured


def _progress(name: str, done: int, count: int) -> Progress:
    share = done / count
    return Progress(stage=StageName.CONSTRAIN, step=done, steps=count, unit="front", note=name, part=FRONTS, done=share)


def _measure_again(run: Run, problem: SubnetworkProblem, front: Front) -> Front:
    return _remeasured(front, problem.objectives(front.masks, run.check))


def _remeasured(front: Front, objectives: Floats) -> Front:
    """The front with objectives float64[n, 2] under other weights, whose hypervolumes cannot be compared with earlier ones."""
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


def _search_again(run: Run, problem: SubnetworkProblem, front: Front, index: int, count: int) -> Front:
    """A search that begins with the whole front of the first."""
    settings, name = problem.bench.profile.search, problem.part.name
    generations = settings.second_generations
    nsga2 = problem.search(round_number=2)
    state = run_search(
        run,
        nsga2,
        Place(stage=StageName.CONSTRAIN, subject=name, round=2),
        problem,
        SearchLimits(generations=generations, patience=settings.patience, tolerance=settings.tolerance),
        SubnetworkReport(
            nsga2=nsga2,
            size=replace(subnetwork_size(problem.bench.profile, problem.graph, ()), first=len(front.masks)),
            subnetwork=name,
            round=2,
            generations=generations,
            index=index,
            count=count,
        ),
        partial(first_state, nsga2, extra=front.masks),
    )
    return front_of(nsga2, state, name, front.evaluations)
