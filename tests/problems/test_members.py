from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emodir_tui.bench import open_bench
from emodir_tui.nets.coupling.channel_graph import ChannelGroup
from emodir_tui.nets.division import divide_network
from emodir_tui.problems.genes import gene_group
from emodir_tui.problems.members import FrontMembers, members_of, nearest_members
from emodir_tui.profile import load


@pytest.mark.parametrize(("round_to", "expected"), [(8, [8, 16]), (12, [12, 16]), (16, [16])])
def test_a_stream_has_its_unpruned_member_whatever_the_rounding(round_to, expected):
    overrides = ["divide.streams=true", f"complexity.round_to={round_to}"]
    bench = open_bench(load(Path("profiles/digits.toml"), overrides))
    graph = bench.architecture
    division = divide_network(graph)
    streams = members_of(bench, graph, replace(division, subnetworks=()), [], np.arange(graph.genes, dtype=float))
    group = graph.groups[division.streams[0]]
    assert group.stop - group.start == 16
    assert streams[0].keep_vectors[:, group.start : group.stop].sum(axis=1).tolist() == expected
    assert streams[0].keep_vectors[-1].all()


@pytest.mark.parametrize(("channels", "round_to", "expected"), [(1, 8, 8), (24, 16, 2), (8, 16, 2), (32, 16, 1)])
def test_genes_of_several_channels_make_multiples_of_what_is_asked_for(channels, round_to, expected):
    group = ChannelGroup(
        name="conv", start=3, stop=9, channels_per_gene=channels, producers=(), consumers=(), branch=None
    )
    found = gene_group(group, round_to)
    assert (found.size, found.round_to) == (6, expected)
    assert found.round_to * channels % round_to == 0


def front(name, rows):
    keep_vectors = np.array([[digit == "1" for digit in row] for row in rows])
    return FrontMembers(name=name, keep_vectors=keep_vectors, local_impairments=np.zeros(len(rows)))


def test_a_scheme_of_members_is_its_own_and_a_changed_one_tells_how_many_genes_differ():
    members = [front("sn1", ["001111", "011111", "111111"]), front("sn2", ["111001", "111101", "111111"])]
    schemes = np.array([[digit == "1" for digit in row] for row in ("011101", "001001", "101110", "111111")])
    positions, changed = nearest_members(members, schemes)
    assert positions[[0, 1, 3]].tolist() == [[1, 1], [0, 0], [2, 2]]
    assert changed.tolist() == [0, 0, 2, 0]
