"""Fronts of two objectives, both minimised: non-dominated sorting, hypervolume, stagnation, knee.

Everywhere in this package objective 0 is the complexity kept and objective 1 the impairment. A point with a NaN or an
infinite objective (its evaluation failed) counts as worse than every finite point and is never on a front.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emodir_tui.arrays import Floats

Indices = npt.NDArray[np.int64]


def non_dominated(objectives: Floats) -> Indices:
    """Indices of the front, int[k], by rising complexity; of points with equal objectives only the first.

    Args:
        objectives: float[n, 2].
    """
    finite = np.flatnonzero(np.isfinite(objectives).all(axis=1))
    complexity, impairment = objectives[finite, 0], objectives[finite, 1]
    order = np.lexsort((finite, impairment, complexity))
    impairment = impairment[order]
    best_before = np.concatenate(([np.inf], np.minimum.accumulate(impairment)[:-1])) if len(order) else impairment
    front: Indices = finite[order[impairment < best_before]]
    return front


def sort_levels(objectives: Floats) -> Indices:
    """Non-domination level of each point, int[n]: 0 is the front, 1 the front of the rest without it, and so on.

    Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002), in O(n log n) by the sweep for
    two objectives of Jensen (2003). Equal points share a level; points that are not finite share the last one.

    Args:
        objectives: float[n, 2].
    """
    levels = np.zeros(len(objectives), dtype=np.int64)
    finite = np.isfinite(objectives).all(axis=1)
    tails: list[float] = []  # The smallest impairment of each level so far; never falls from one level to the next.
    if finite.any():
        distinct, which = np.unique(objectives[finite], axis=0, return_inverse=True)
        level_of = np.empty(len(distinct), dtype=np.int64)
        for point, impairment in enumerate(distinct[:, 1].tolist()):
            level_of[point] = level = bisect_right(tails, impairment)
            tails[level : level + 1] = [impairment]
        levels[finite] = level_of[which.reshape(-1)]
    levels[~finite] = len(tails)
    return levels


def hypervolume(objectives: Floats, reference: tuple[float, float]) -> float:
    """The area that the points dominate below the reference point, exact, by one sweep over the front.

    Zitzler and Thiele, "Multiobjective evolutionary algorithms: a comparative case study and the strength Pareto
    approach" (1999): the sum over the front, by rising complexity, of (r_c - c_i) * (p_{i-1} - p_i), where p_0 is the
    reference's impairment. It has the units of the objectives and is not normalised. Points at or beyond the
    reference add nothing.

    Args:
        objectives: float[n, 2].
        reference: Reference point (r_c, r_p), complexity and impairment.
    """
    inside = objectives[(objectives < np.asarray(reference)).all(axis=1)]
    front = inside[non_dominated(inside)]
    ceilings = np.concatenate(([reference[1]], front[:-1, 1]))
    return float(np.sum((reference[0] - front[:, 0]) * (ceilings - front[:, 1])))


def stagnated(hypervolumes: Sequence[float], patience: int, tolerance: float) -> bool:
    """Whether the last `patience` generations gained less than `tolerance` of the current hypervolume.

    False while there are not yet that many generations; a tolerance of 0 never stops a search.

    Args:
        hypervolumes: One value per generation, the initial population's first.
        patience: Number of generations, at least 1.
        tolerance: Share of the last hypervolume, such as 0.001.

    Raises:
        ValueError: The patience is below 1.
    """
    if patience < 1:
        raise ValueError(f"patience is {patience}; it must be at least 1 generation")
    if tolerance <= 0 or len(hypervolumes) <= patience:
        return False
    current = hypervolumes[-1]
    return current <= 0 or current - hypervolumes[-1 - patience] < tolerance * current


def knee(objectives: Floats) -> int:
    """Index of the knee: the front's point farthest below the line between the front's two ends.

    Das, "On characterizing the 'knee' of the Pareto curve based on normal-boundary intersection" (1999), after both
    objectives are scaled to the unit box of the front, so that units do not matter. Of equally distant points the one
    of least complexity; so too where the front has fewer than three points, or none below the line.

    Args:
        objectives: float[n, 2].

    Raises:
        ValueError: No point is finite.
    """
    front = non_dominated(objectives)
    if not len(front):
        raise ValueError("cannot find the knee: no point is finite")
    points = objectives[front]
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    # The line runs from (0, 1) to (1, 0). Rounding keeps noise from choosing a knee on a straight front.
    distances = np.round((1.0 - scaled.sum(axis=1)) / np.sqrt(2.0), 12)
    return int(front[np.argmax(distances)]) if len(front) > 2 else int(front[0])
