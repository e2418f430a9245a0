"""GPIR, the global performance impairment ranking of the members of all fronts, and the greedy walk along it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from emodir_tui.arrays import Floats
from emodir_tui.emo.front import Indices, sort_levels


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredMember:
    """One member of one front, measured alone in the otherwise original network.

    Attributes:
        subnetwork: Name of the sub-network.
        member: Position in its front, 0 = most pruned.
        complexity_kept: Share of the whole network's complexity that is kept, 0 to 1.
        local_impairment: Impairment of the sub-network's output features.
        global_impairment: Relative error of the last features before the classifier.
        accuracy_change: Accuracy minus that of the original network, as a share; negative is a loss.
        kl: KL divergence of the logits from the original's, in nats.
    """

    subnetwork: str
    member: int
    complexity_kept: float
    local_impairment: float
    global_impairment: float
    accuracy_change: float
    kl: float


class RankingPlace(NamedTuple):
    """A member with its rank, from 1, and its non-domination level, from 0."""

    rank: int
    level: int
    row: MeasuredMember


def rank_members(rows: Sequence[MeasuredMember]) -> list[RankingPlace]:
    """The merged ranking, best first.

    Members are ordered by non-domination level of (complexity kept, global impairment), then by global impairment per
    complexity saved (infinite if nothing is saved), then in the order in which the sub-networks first appear, then by
    member. Members whose impairment is not finite share the last level.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys(row.subnetwork for row in rows))}
    points = np.array([(row.complexity_kept, row.global_impairment) for row in rows], dtype=np.float64).reshape(-1, 2)
    levels = sort_levels(points).tolist()
    places = sorted(
        range(len(rows)),
        key=lambda at: (levels[at], cost_per_saving(rows[at]), order[rows[at].subnetwork], rows[at].member),
    )
    return [RankingPlace(place, levels[at], rows[at]) for place, at in enumerate(places, start=1)]


def cost_per_saving(row: MeasuredMember) -> float:
    """Global impairment per share of complexity saved; infinite if nothing is saved or the impairment is not finite."""
    saved = 1.0 - row.complexity_kept
    return row.global_impairment / saved if saved > 0 and np.isfinite(row.global_impairment) else float("inf")


def greedy_walk(fronts: Sequence[tuple[Floats, Floats]]) -> Indices:
    """Greedy walk from the unpruned to the most pruned joint scheme, int64[steps, fronts], by GPIR's cheapest steps.

    A step moves one sub-network to the more pruned member whose global impairment grows least per complexity saved;
    ties go to the first sub-network, then to the smaller step. Members that save nothing more, or whose impairment is
    not finite, are skipped. The last scheme is always all zeros.

    Args:
        fronts: Per sub-network (complexity saved, global impairment) of its members, float[members] each, from the most
            pruned to the unpruned one. All fronts use the same unit of complexity.
    """
    position = [len(saved) - 1 for saved, _ in fronts]
    walk = [position]
    while True:
        steps = [
            (cost, k, target)
            for k, (saved, impairment) in enumerate(fronts)
            for cost, target in [cheapest_step(saved, impairment, position[k])]
            if target >= 0
        ]
        if not steps:
            break
        _, k, target = min(steps, key=lambda step: step[:2])
        position = [*position[:k], target, *position[k + 1 :]]
        walk.append(position)
    if any(position):
        walk.append([0] * len(fronts))
    return np.array(walk, dtype=np.int64)


def cheapest_step(saved: Floats, impairment: Floats, position: int) -> tuple[float, int]:
    """Cost and target of one sub-network's cheapest step from `position`; the target is -1 if there is none."""
    gains = saved[:position] - saved[position]
    # A position whose own impairment is not finite must not rule out every step away from it.
    present = impairment[position] if np.isfinite(impairment[position]) else 0.0
    usable = (gains > 0) & np.isfinite(impairment[:position])
    if not usable.any():
        return float("inf"), -1
    costs = np.full(position, np.inf)
    np.divide(impairment[:position] - present, gains, out=costs, where=usable)
    target = position - 1 - int(np.argmin(costs[::-1]))
    return float(costs[target]), target
