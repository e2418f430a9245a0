"""Members of fronts and of residual streams as keep vectors of the whole network, and the search of their combinations."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emodir_tui.arrays import Floats, Ints, KeepVectors
from emodir_tui.bench import Bench, keep_all
from emodir_tui.emo.genome import nearest_valid_counts
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import Division
from emodir_tui.problems.genes import gene_group, keep_vectors_of
from emodir_tui.problems.network import NetworkProblem
from emodir_tui.results import Front

# Members that a residual stream has at most.
STREAM_LEVELS = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontMembers:
    """The members of one front, most pruned first.

    Attributes:
        name: Of the sub-network or stream.
        keep_vectors: Of the whole network, bool[n, genes].
        local_impairments: float64[n].
    """

    name: str
    keep_vectors: KeepVectors
    local_impairments: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class MembersProblem:
    """What the joint step searches first: one member of every front, by positions int64[n, fronts]."""

    network: NetworkProblem
    members: list[FrontMembers]

    def objectives(self, positions: Ints, check: Callable[[], None] = lambda: None) -> Floats:
        """(complexity kept, joint impairment) of each scheme, float64[n, 2]."""
        return self.network.objectives(combine(self.members, positions), check)


def members_of(
    bench: Bench, graph: ChannelGraph, division: Division, fronts: list[Front], importance: Floats
) -> list[FrontMembers]:
    """The fronts that joint schemes combine: one per sub-network, and one per stream where streams are pruned."""
    found = [
        FrontMembers(
            name=part.name,
            keep_vectors=keep_vectors_of(graph, part.groups, front.masks),
            local_impairments=front.objectives[:, 1],
        )
        for part, front in zip(division.subnetworks, fronts, strict=True)
    ]
    if bench.profile.divide.streams:
        found += [_stream(bench, graph, number, importance) for number in division.streams]
    return found


def combine(members: list[FrontMembers], positions: Ints) -> KeepVectors:
    """Keep vectors of joint schemes, bool[n, genes] of int64[n, fronts]: a gene stays where every front keeps it."""
    keep_vectors = np.ones((len(positions), members[0].keep_vectors.shape[1]), dtype=np.bool_)
    for column, front in enumerate(members):
        keep_vectors &= front.keep_vectors[positions[:, column]]
    return keep_vectors


def nearest_members(members: list[FrontMembers], keep_vectors: KeepVectors) -> tuple[Ints, Ints]:
    """For each scheme its nearest member of every front, int64[n, fronts], and the genes that differ, int64[n]."""
    positions = np.zeros((len(keep_vectors), len(members)), dtype=np.int64)
    together = np.ones_like(keep_vectors)
    for column, front in enumerate(members):
        own = ~front.keep_vectors.all(axis=0)
        differences = (keep_vectors[:, None, own] != front.keep_vectors[None, :, own]).sum(axis=2)
        positions[:, column] = differences.argmin(axis=1)
        together &= front.keep_vectors[positions[:, column]]
    return positions, (together != keep_vectors).sum(axis=1)


def _stream(bench: Bench, graph: ChannelGraph, number: int, importance: Floats) -> FrontMembers:
    """The few members of a residual stream: its most important channels, in evenly spaced numbers."""
    group = graph.groups[number]
    size = group.stop - group.start
    valid = nearest_valid_counts(gene_group(group, bench.profile.complexity.round_to))
    order = np.argsort(-importance[group.start : group.stop], kind="stable")
    counts = sorted({int(valid[round(size * level / STREAM_LEVELS)]) for level in range(1, STREAM_LEVELS + 1)})
    keep_vectors = keep_all(graph, len(counts))
    for row, count in enumerate(counts):
        keep_vectors[row, group.start + order[count:]] = False
    energy = np.clip(importance[group.start : group.stop], 0, None)
    lost = [float(energy[order[count:]].sum() / max(energy.sum(), 1e-300)) for count in counts]
    return FrontMembers(name=f"stream.{group.name}", keep_vectors=keep_vectors, local_impairments=np.array(lost))
