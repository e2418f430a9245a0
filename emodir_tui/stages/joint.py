"""Step 6: search the joint schemes, one member of each front together, on the whole network."""

from typing import Any

import numpy as np
import numpy.typing as npt

from emodir_tui.emo.joint import PositionSpace
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.log import Run
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.batches import in_memory
from emodir_tui.stages.bench import Bench
from emodir_tui.stages.results import Adapted, Floats, Importance, JointFront, Original, Parts, Ranking
from emodir_tui.stages.searching import rounded, run_search
from emodir_tui.stages.whole import Members, Whole, combine, members_of


def joint(run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted, ranking: Ranking) -> JointFront:
    """NSGA-II over the positions in the fronts, seeded by the greedy walk through the ranking."""
    return in_memory(
        run, "joint", lambda batch: _joint_in_batches(run, bench, original, parts, adapted, ranking, batch)
    )


def _joint_in_batches(
    run: Run, bench: Bench, original: Original, parts: Parts, adapted: Adapted, ranking: Ranking, batch: int
) -> JointFront:
    settings = bench.profile.joint
    whole = Whole(bench, original.weights, adapted, parts, settings.images, batch)
    importance = run.load_part("search.importance", Importance).values
    members = members_of(bench, whole.graph, whole.division, adapted.fronts, importance)
    space = PositionSpace(_walkable(members, ranking))
    nsga2 = Nsga2(space, population=settings.population, seed=derive_seed(bench.profile.seed, "joint"))
    measure = whole.feature_errors if settings.impairment == "features" else whole.divergences

    def objectives(positions: npt.NDArray[np.int64]) -> Floats:
        keeps = combine(members, positions)
        return np.stack([whole.complexity(keeps), measure(keeps, run.check)], axis=1)

    state = run_search(
        run,
        nsga2,
        Place(stage="joint"),
        objectives,
        generations=settings.generations,
        patience=settings.patience,
        tolerance=settings.tolerance,
        tell=lambda s, rate: _events(nsga2, s, settings.generations, rate),
    )
    front = _front(nsga2, state, whole, members)
    _tell(run, front, members)
    return front


def _walkable(members: list[Members], ranking: Ranking) -> list[tuple[Floats, Floats]]:
    """Per front (complexity saved, global impairment) of its members, as the ranking measured them."""
    fronts = []
    for front in members:
        rows = sorted((row for row in ranking.rows if row.subnetwork == front.name), key=lambda row: row.member)
        fronts.append((np.array([1 - row.kept for row in rows]), np.array([row.global_impairment for row in rows])))
    return fronts


def _events(nsga2: Nsga2, state: SearchState, generations: int, rate: float) -> list[tuple[str, dict[str, Any]]]:
    points = state.seen_objectives[nsga2.front(state)]
    generation = {
        "generation": state.generation,
        "generations": generations,
        "hypervolume": state.hypervolumes[-1],
        "front_size": len(points),
        "evaluations": len(state.seen),
        "evaluations_per_second": rate,
        "front": rounded(points),
    }
    progress = {"stage": "joint", "step": state.generation, "steps": generations, "unit": "generation"}
    return [("joint_generation", generation), ("progress", progress)]


def _front(nsga2: Nsga2, state: SearchState, whole: Whole, members: list[Members]) -> JointFront:
    chosen = nsga2.front(state)
    positions = np.asarray(state.seen[chosen], dtype=np.int64)
    keeps = combine(members, positions)
    return JointFront(
        positions=positions,
        keeps=keeps,
        objectives=state.seen_objectives[chosen],
        accuracies=np.array([damage.accuracy for damage in whole.damages(keeps)]),
        original_accuracy=whole.original_accuracy,
        hypervolumes=state.hypervolumes,
        evaluations=len(state.seen),
    )


def _tell(run: Run, front: JointFront, members: list[Members]) -> None:
    schemes = [
        {
            "scheme": number,
            "complexity": float(front.objectives[number, 0]),
            "impairment": float(front.objectives[number, 1]),
            "members": front.positions[number].tolist(),
            "accuracy": float(front.accuracies[number]),
        }
        for number in range(len(front.positions))
    ]
    names = [front.name for front in members]
    run.emit("joint_finished", schemes=schemes, fronts=names, original_accuracy=front.original_accuracy)
    run.publish(
        "joint",
        {
            "schema": 1,
            "fronts": names,
            "hypervolumes": list(front.hypervolumes),
            "original_accuracy": front.original_accuracy,
            "schemes": schemes,
        },
    )
