"""Step 6: search the joint schemes, one member of each front together, on the whole network; then polish them."""

from collections.abc import Callable
from functools import partial

import numpy as np

from emodir_tui.arrays import Bools, Floats
from emodir_tui.bench import Bench
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.position_space import PositionSpace
from emodir_tui.problems.capacity import Capacity
from emodir_tui.problems.members import FrontMembers, combine, members_of, nearest_members
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.profile import budgets
from emodir_tui.results import Adapted, Importance, JointFront, Original, Parts, Ranking, Schemes
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Event, JointFinished, JointGeneration, Progress, Scheme
from emodir_tui.runs.names import IMPORTANCE, StageName, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.batch_backoff import with_batch_backoff
from emodir_tui.stages.support.polishing import polish
from emodir_tui.stages.support.search_loop import published, rounded, run_search


@step(StageName.JOINT, JointFront)
def joint(run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted, ranking: Ranking) -> JointFront:
    """NSGA-II over the positions in the fronts, seeded by the greedy walk through the ranking."""
    return with_batch_backoff(
        run, "joint", lambda batch: _joint_in_batches(run, bench, original, parts, adapted, ranking, batch)
    )


def _joint_in_batches(
    run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted, ranking: Ranking, batch: int
) -> JointFront:
    settings = bench.profile.joint
    whole = NetworkProblem(bench, original.weights, adapted, parts, settings.images, batch)
    importance = run.load_part(result_name(StageName.SEARCH, IMPORTANCE), Importance).values
    members = members_of(bench, whole.graph, whole.division, adapted.fronts, importance)
    features = settings.impairment == "features"
    if features:
        whole.stack()
    capacity = Capacity(bench, whole.graph, settings.capacity if features else 0.0)

    def objectives(keep_vectors: Bools) -> Floats:
        damages = (
            whole.feature_errors(keep_vectors, run.check) if features else whole.divergences(keep_vectors, run.check)
        )
        return np.stack([whole.complexity(keep_vectors), capacity.impairments(damages, keep_vectors)], axis=1)

    schemes = run.part(
        result_name(StageName.JOINT, "positions"), Schemes, partial(_search, run, bench, members, ranking, objectives)
    )
    if settings.polish:
        tell = partial(_events, generations=len(schemes.hypervolumes) - 1 + settings.polish)
        limits = _limits(bench, whole)
        schemes = polish(run, bench, whole, schemes, importance, objectives, capacity, limits, tell)
    front = _front(schemes, whole, members)
    _tell(run, front, members)
    return front


def _limits(bench: Bench, whole: NetworkProblem) -> list[float]:
    """The shares of the complexity under which the pick rules choose."""
    limits = budgets(bench.profile)
    if bench.latencies is not None:
        # Rules measure what is searched by an estimate: one that is too low by its usual error must hold the limit too.
        shares = [limit / whole.total for limit in limits]
        limits = [share * margin for share in shares for margin in (1.0 - bench.latencies.error, 1.0)]
    return sorted(limit for limit in limits if 0.0 < limit < 1.0)


def _search(
    run: Run, bench: Bench, members: list[FrontMembers], ranking: Ranking, objectives: Callable[[Bools], Floats]
) -> Schemes:
    """The search of the positions in the fronts."""
    settings = bench.profile.joint
    space = PositionSpace(_walkable(members, ranking))
    nsga2 = Nsga2(space, population=settings.population, seed=derive_seed(bench.profile.seed, "joint"))
    state = run_search(
        run,
        nsga2,
        Place(stage=StageName.JOINT),
        lambda positions: objectives(combine(members, positions)),
        generations=settings.generations,
        patience=settings.patience,
        tolerance=settings.tolerance,
        tell=partial(_events, nsga2, generations=settings.generations + settings.polish),
    )
    chosen = nsga2.front(state)
    return Schemes(
        keep_vectors=combine(members, state.seen[chosen]),
        objectives=state.seen_objectives[chosen],
        reference=state.reference,
        hypervolumes=state.hypervolumes,
        evaluations=len(state.seen),
    )


def _walkable(members: list[FrontMembers], ranking: Ranking) -> list[tuple[Floats, Floats]]:
    """Per front (complexity saved, global impairment) of its members, as the ranking measured them."""
    fronts = []
    for front in members:
        rows = sorted((row for row in ranking.rows if row.subnetwork == front.name), key=lambda row: row.member)
        fronts.append(
            (np.array([1 - row.complexity_kept for row in rows]), np.array([row.global_impairment for row in rows]))
        )
    return fronts


def _events(nsga2: Nsga2, state: SearchState, rate: float, *, generations: int) -> list[Event]:
    points = state.seen_objectives[nsga2.front(state)]
    generation = JointGeneration(
        generation=state.generation,
        generations=generations,
        hypervolume=state.hypervolumes[-1],
        front_size=len(points),
        evaluations=len(state.seen),
        evaluations_per_second=rate,
        front=rounded(points),
    )
    progress = Progress(stage=StageName.JOINT, step=state.generation, steps=generations, unit="generation")
    return [generation, progress]


def _front(schemes: Schemes, whole: NetworkProblem, members: list[FrontMembers]) -> JointFront:
    positions, changed = nearest_members(members, schemes.keep_vectors)
    return JointFront(
        positions=positions,
        changed=changed,
        keep_vectors=schemes.keep_vectors,
        objectives=schemes.objectives,
        accuracies=np.array([damage.accuracy for damage in whole.global_impairments(schemes.keep_vectors)]),
        original_accuracy=whole.original_accuracy,
        hypervolumes=schemes.hypervolumes,
        evaluations=schemes.evaluations,
    )


def _tell(run: Run, front: JointFront, members: list[FrontMembers]) -> None:
    schemes = tuple(
        Scheme(
            scheme=number,
            complexity_kept=float(front.objectives[number, 0]),
            impairment=float(front.objectives[number, 1]),
            members=tuple(front.positions[number].tolist()),
            changed=int(front.changed[number]),
            accuracy=float(front.accuracies[number]),
        )
        for number in range(len(front.positions))
    )
    names = tuple(front.name for front in members)
    run.emit(JointFinished(schemes=schemes, fronts=names, original_accuracy=front.original_accuracy))
    run.publish(
        "joint",
        {
            "schema": 1,
            "fronts": list(names),
            "hypervolumes": list(front.hypervolumes),
            "original_accuracy": front.original_accuracy,
            "schemes": [published(scheme) for scheme in schemes],
        },
    )
