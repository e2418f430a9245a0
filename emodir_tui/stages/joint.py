"""Step 6: search the joint schemes, one member of each front together, on the whole network; then polish them.

Polishing refines joint schemes gene by gene, free of the sub-network fronts.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from emodir_tui.arrays import Floats
from emodir_tui.bench import Bench
from emodir_tui.emo.guided_nsga2 import GuidedNsga2
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.position_space import PositionSpace
from emodir_tui.emo.space import keys
from emodir_tui.nets.measures.latency import LatencyTable
from emodir_tui.problems.gene_by_gene import GUIDED_PARENTS, GeneByGeneProblem
from emodir_tui.problems.members import FrontMembers, MembersProblem, combine, members_of, nearest_members
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.profile import Joint, budgets
from emodir_tui.results import Adapted, DescentPath, Importance, JointFront, Original, Parts, Ranking, Schemes
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Event, JointFinished, JointGeneration, Progress, Scheme
from emodir_tui.runs.names import ACCURACIES, IMPORTANCE, POLISH, POSITIONS, StageName, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.batch_backoff import with_batch_backoff
from emodir_tui.stages.support.search_loop import (
    Objectives,
    ProgressCounter,
    SearchLimits,
    progress_note,
    published,
    rounded,
    run_search,
)
from emodir_tui.stages.support.search_size import SearchSize, polish_size, positions_size


@step(StageName.JOINT, JointFront)
def joint(run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted, ranking: Ranking) -> JointFront:
    """NSGA-II over the positions in the fronts, seeded by the greedy walk through the ranking; then over genes."""
    work = partial(_joint_in_batches, run, bench, original, parts, adapted, ranking)
    return with_batch_backoff(run, StageName.JOINT, bench.profile.joint.batch, work)


def _joint_in_batches(
    run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted, ranking: Ranking, batch: int
) -> JointFront:
    network = NetworkProblem(
        bench,
        bench.graph(original.weights),
        bench.graph(adapted.weights),
        bench.division(parts.cuts),
        bench.complexity(original.latencies),
        bench.batches(bench.data.search, bench.profile.joint.images, batch),
    )
    importance = run.load_part(result_name(StageName.SEARCH, IMPORTANCE), Importance).values
    members = members_of(bench, network.graph, network.division, adapted.fronts, importance)
    problem = MembersProblem(network=network, members=members)
    search = partial(_search_positions, run, problem, ranking)
    schemes = run.part(result_name(StageName.JOINT, "positions"), Schemes, search)
    if bench.profile.joint.polish:
        limits = _budgets_searched(network, original.latencies)
        schemes = _polish(run, GeneByGeneProblem(network, importance), schemes, limits)
    front = _front(run, schemes, network, members)
    _publish(run, front, members)
    return front


def _search_positions(run: Run, problem: MembersProblem, ranking: Ranking) -> Schemes:
    """The search of the positions in the fronts."""
    profile, settings = problem.network.bench.profile, problem.network.bench.profile.joint
    space = PositionSpace(_walkable(problem.members, ranking))
    nsga2 = Nsga2(space, population=settings.population, seed=derive_seed(profile.seed, "joint"))
    state = run_search(
        run,
        nsga2,
        Place(stage=StageName.JOINT),
        problem,
        _limits(settings, settings.generations),
        _Report(nsga2=nsga2, size=positions_size(profile), generations=settings.generations, polish=settings.polish),
    )
    chosen = nsga2.front(state)
    return Schemes(
        keep_vectors=combine(problem.members, state.seen[chosen]),
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


def _polish(run: Run, problem: GeneByGeneProblem, schemes: Schemes, budgets_searched: list[float]) -> Schemes:
    """The schemes, and those that NSGA-II with guided children makes of them.

    Args:
        run: The run.
        problem: The whole network, gene by gene.
        schemes: To begin with.
        budgets_searched: Shares of the complexity at which the front matters most.
    """
    profile, settings = problem.network.bench.profile, problem.network.bench.profile.joint
    seed = derive_seed(profile.seed, "joint", "polish")
    nsga2 = problem.search(seed, GUIDED_PARENTS if profile.search.guided else 0, budgets_searched)
    state = run_search(
        run,
        nsga2,
        Place(stage=StageName.JOINT, subject="polish"),
        problem,
        _limits(settings, settings.polish),
        _Report(
            nsga2=nsga2,
            size=polish_size(profile, problem.network.graph, tuple(problem.network.groups)),
            generations=len(schemes.hypervolumes) - 1,
            polish=settings.polish,
            before=schemes,
        ),
        partial(_begin_polishing, run, nsga2, problem, schemes),
    )
    chosen = nsga2.front(state)
    return Schemes(
        keep_vectors=problem.keep_vectors(state.seen[chosen]),
        objectives=state.seen_objectives[chosen],
        reference=schemes.reference,
        hypervolumes=_continued(state, schemes).hypervolumes,
        evaluations=schemes.evaluations + len(state.seen) - len(schemes.keep_vectors),
    )


def _begin_polishing(
    run: Run, nsga2: GuidedNsga2, problem: GeneByGeneProblem, schemes: Schemes, objectives: Objectives
) -> SearchState:
    """The schemes, and the masks of a descent where the profile asks for one."""
    keep_vectors, measured = schemes.keep_vectors, schemes.objectives
    if problem.network.bench.profile.search.descent:
        path = run.part(
            result_name(StageName.JOINT, "descent"), DescentPath, partial(_descend, nsga2, problem, objectives)
        )
        known = set(keys(keep_vectors))
        fresh = [key not in known for key in keys(path.keep_vectors)]
        keep_vectors = np.concatenate([keep_vectors, path.keep_vectors[fresh]])
        measured = np.concatenate([measured, path.objectives[fresh]])
    return nsga2.begin(keep_vectors[:, problem.genes], measured, schemes.reference)


def _descend(nsga2: GuidedNsga2, problem: GeneByGeneProblem, objectives: Objectives) -> DescentPath:
    masks, measured = nsga2.descend(objectives)
    return DescentPath(keep_vectors=problem.keep_vectors(masks), objectives=measured)


def _budgets_searched(network: NetworkProblem, latencies: LatencyTable | None) -> list[float]:
    """The shares of the complexity under which the pick rules choose."""
    limits = budgets(network.bench.profile)
    if latencies is not None:
        # Searches estimate latencies and rules measure them: an estimate that is too low by its usual error must fit too.
        shares = [limit / network.unpruned_complexity for limit in limits]
        limits = [share * margin for share in shares for margin in (1.0 - latencies.error, 1.0)]
    return sorted(limit for limit in limits if 0.0 < limit < 1.0)


def _limits(settings: Joint, generations: int) -> SearchLimits:
    return SearchLimits(generations=generations, patience=settings.patience, tolerance=settings.tolerance)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Report:
    """The events of a search of joint schemes; those of polishing continue the search `before` it."""

    nsga2: Nsga2
    size: SearchSize
    generations: int
    polish: int
    before: Schemes | None = None

    def generation(self, state: SearchState, rate: float) -> Event:
        """See `Report`."""
        if self.before is not None:
            state = _continued(state, self.before)
        points = state.seen_objectives[self.nsga2.front(state)]
        return JointGeneration(
            generation=state.generation,
            generations=self.generations + self.polish,
            hypervolume=state.hypervolumes[-1],
            front_size=len(points),
            evaluations=len(state.seen),
            evaluations_per_second=rate,
            front=rounded(points),
        )

    def progress(self, generation: int | None, fresh: int) -> Progress:
        """See `Report`."""
        part, begun, own = POSITIONS, 0, self.generations
        if self.before is not None:
            part, begun, own = POLISH, self.generations, self.polish
        return Progress(
            stage=StageName.JOINT,
            step=begun + (generation or 0),
            steps=self.generations + self.polish,
            unit="generation",
            note=progress_note(part, fresh),
            part=part,
            done=self.size.done(generation, fresh, own),
        )


def _continued(state: SearchState, schemes: Schemes) -> SearchState:
    """The state as the continuation of the search before it, whose last schemes are among the first of this one."""
    return replace(
        state,
        generation=len(schemes.hypervolumes) - 1 + state.generation,
        hypervolumes=(*schemes.hypervolumes[:-1], *state.hypervolumes),
    )


def _accuracies_progress(schemes: int, checks: int) -> Progress:
    """The progress after so many measurements; each scheme has two, of its features and its logits."""
    step = min(schemes, checks // 2)
    return Progress(
        stage=StageName.JOINT,
        step=step,
        steps=schemes,
        unit="scheme",
        note=ACCURACIES,
        part=ACCURACIES,
        done=step / schemes,
    )


def _front(run: Run, schemes: Schemes, network: NetworkProblem, members: list[FrontMembers]) -> JointFront:
    positions, changed = nearest_members(members, schemes.keep_vectors)
    progress = partial(_accuracies_progress, len(schemes.keep_vectors))
    run.emit(progress(0))
    impairments = network.global_impairments(schemes.keep_vectors, ProgressCounter(run, progress).check)
    return JointFront(
        positions=positions,
        changed=changed,
        keep_vectors=schemes.keep_vectors,
        objectives=schemes.objectives,
        accuracies=np.array([impairment.accuracy for impairment in impairments]),
        original_accuracy=network.original_accuracy,
        hypervolumes=schemes.hypervolumes,
        evaluations=schemes.evaluations,
    )


def _publish(run: Run, front: JointFront, members: list[FrontMembers]) -> None:
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
    run.emit(
        JointFinished(
            schemes=schemes,
            fronts=names,
            original_accuracy=front.original_accuracy,
            hypervolume=front.hypervolumes[-1] if front.hypervolumes else None,
        )
    )
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
