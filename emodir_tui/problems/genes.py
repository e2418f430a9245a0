"""Genes of channel groups: where they stand in a keep vector, and the genome that a search of them has."""

from collections.abc import Sequence
from math import gcd

import numpy as np

from emodir_tui.arrays import Floats, Ints, KeepVectors, Masks
from emodir_tui.bench import ComplexityMeasure, keep_all
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, ChannelGroup
from emodir_tui.nets.division import Division
from emodir_tui.profile import Profile


def gene_positions(graph: ChannelGraph, groups: Sequence[int]) -> Ints:
    """Where the genes of these channel groups stand in a keep vector, int64[their number]."""
    ranges = [np.arange(graph.groups[number].start, graph.groups[number].stop) for number in groups]
    return np.concatenate(ranges) if ranges else np.zeros(0, dtype=np.int64)


def keep_vectors_of(graph: ChannelGraph, groups: Sequence[int], masks: Masks) -> KeepVectors:
    """Keep vectors bool[n, genes] that prune these channel groups alone, by masks bool[n, their genes]."""
    keep_vectors = keep_all(graph, len(masks))
    keep_vectors[:, gene_positions(graph, groups)] = masks
    return keep_vectors


def gene_group(group: ChannelGroup, round_to: int) -> GeneGroup:
    """A channel group as part of a genome; genes go and stay in numbers that make a multiple of `round_to` channels."""
    return GeneGroup(
        size=group.stop - group.start,
        branch=group.branch,
        round_to=round_to // gcd(round_to, group.channels_per_gene),
    )


def genome_of(
    graph: ChannelGraph, groups: Sequence[int], importance: Floats, complexity: ComplexityMeasure, round_to: int
) -> Genome:
    """The genome of channel groups, with the importance of each gene per complexity that its removal saves.

    Args:
        graph: The network.
        groups: Positions of the groups in `graph.groups`.
        importance: Of every gene of the network, float64[genes].
        complexity: The measure that is searched.
        round_to: Channel counts are multiples of this.
    """
    genes = [gene_group(graph.groups[number], round_to) for number in groups]
    return Genome(genes, _importance_per_saving(graph, groups, importance, complexity))


def _importance_per_saving(
    graph: ChannelGraph, groups: Sequence[int], importance: Floats, complexity: ComplexityMeasure
) -> Floats:
    """Relative to the largest, float64[genes of the groups]: comparable between groups."""
    unpruned = complexity.measure(keep_all(graph))[0]
    values = []
    for number in groups:
        group = graph.groups[number]
        without = keep_all(graph)
        without[0, group.start] = False
        saved = max(float(unpruned - complexity.measure(without)[0]), 1e-9)
        values.append(importance[group.start : group.stop] / saved)
    joined = np.concatenate(values)
    return np.asarray(joined / max(float(joined.max()), 1e-300), dtype=np.float64)


def prunable_groups(profile: Profile, division: Division) -> list[int]:
    """The channel groups that joint schemes may prune: of all sub-networks, and the streams where these are pruned."""
    numbers = [number for part in division.subnetworks for number in part.groups]
    return numbers + list(division.streams) if profile.divide.streams else numbers
