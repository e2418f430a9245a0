"""Scopes of the front panel: the front of each sub-network, the merged front and the joint front."""

from dataclasses import dataclass

from emodir_tui.runs.event_types import Point
from emodir_tui.runs.names import StageName, StageState
from emodir_tui.runs.state import RunState
from emodir_tui.tui.presenters.references import Reference

MERGED, JOINT = "merged", "joint"


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontPoint:
    """A point of a front and the item behind it. `reference` is None until the front is finished."""

    position: Point
    reference: Reference | None
    on_front: bool = True
    subnetwork: str = ""


def scopes(state: RunState) -> list[str]:
    """Return all scopes in the order of the keys [ and ]."""
    return [*state.subnetworks, MERGED, JOINT]


def default_scope(state: RunState) -> str:
    """Return the scope shown by default: the search in progress, later the merged and the joint front."""
    if state.joint.front or state.stages[StageName.JOINT].state != StageState.WAITING:
        return JOINT
    if state.ranking:
        return MERGED
    running = [item.name for item in state.subnetworks.values() if item.state == StageState.RUNNING]
    begun = [item.name for item in state.subnetworks.values() if item.front]
    return running[-1] if running else begun[-1] if begun else next(iter(state.subnetworks), JOINT)


def front_points(state: RunState, scope: str) -> list[FrontPoint]:
    """Return the points of a scope by rising complexity."""
    if scope == JOINT:
        if state.joint.schemes:
            found = [
                FrontPoint(
                    position=(item.complexity_kept, item.impairment),
                    reference=Reference(kind="scheme", number=item.scheme),
                )
                for item in state.joint.schemes
            ]
        else:
            found = [FrontPoint(position=position, reference=None) for position in state.joint.front]
    elif scope == MERGED:
        found = [
            FrontPoint(
                position=(row.complexity_kept, row.global_impairment),
                reference=Reference(kind="row", number=row.rank),
                on_front=row.level == 0,
                subnetwork=row.subnetwork,
            )
            for row in state.ranking.values()
        ]
    else:
        item = state.subnetworks.get(scope)
        if item is None:
            return []
        if item.members:
            found = [
                FrontPoint(
                    position=(member.complexity_kept, member.impairment),
                    reference=Reference(kind="member", name=scope, number=member.member),
                    subnetwork=scope,
                )
                for member in item.members
            ]
        else:
            found = [FrontPoint(position=position, reference=None, subnetwork=scope) for position in item.front]
    return sorted(found, key=lambda item: item.position)


def knee(points: list[Point]) -> int | None:
    """Return the index of the point farthest below the line between the ends of the front.

    The same as emo.front.knee, without numpy.

    Args:
        points: A front by rising complexity.
    """
    if len(points) < 3:
        return 0 if points else None
    (x0, y0), (x1, y1) = points[0], points[-1]
    width, height = (x1 - x0) or 1.0, (y0 - y1) or 1.0
    depths = [round(1.0 - (x - x0) / width - (y - y1) / height, 12) for x, y in points]
    return depths.index(max(depths))
