"""The least that pruning can leave, and which pick rules ask for less."""

import re
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from emodir_tui.bench import keep_all, open_bench
from emodir_tui.errors import ProfileError
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.problems.genes import gene_positions, genome_of, prunable_groups
from emodir_tui.problems.reach import reach, require_some_rule, unreachable_rules
from emodir_tui.profile import load

DIGITS = Path("profiles/digits.toml")


def chain(classes):
    """Two convolutions of eight channels, without anything beside them."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def reached(*overrides):
    profile = load(DIGITS, list(overrides))
    return profile, reach(profile, *open_bench(profile).try_division())


def costs(width):
    """(MACs for an image of 8×8, parameters) of the chain with so many channels."""
    macs = 64 * 9 * width + 64 * 9 * width * width + 64 * width * 10
    return macs, 9 * width + width + 9 * width * width + width + 64 * width * 10 + 10


@pytest.mark.parametrize(("round_to", "width"), [(1, 1), (4, 4), (3, 3), (16, 8)])
def test_each_layer_of_a_plain_network_comes_down_to_a_multiple_of_round_to(round_to, width):
    _, least = reached(f"model.source={__name__}:chain", f"complexity.round_to={round_to}")
    assert least.macs == pytest.approx(costs(width)[0] / costs(8)[0])
    assert least.params == pytest.approx(costs(width)[1] / costs(8)[1])


@pytest.mark.parametrize("streams", ["true", "false"])
@pytest.mark.parametrize("round_to", [1, 8])
def test_the_emptiest_mask_that_polishing_can_make_is_the_least(streams, round_to):
    profile = load(DIGITS, [f"divide.streams={streams}", f"complexity.round_to={round_to}"])
    bench = open_bench(profile)
    graph, division = bench.try_division()
    groups = prunable_groups(profile, division)
    genome = genome_of(graph, groups, np.ones(graph.genes), bench.complexity(), round_to)
    keep_vectors = keep_all(graph, 200)
    masks = np.random.default_rng(0).random((200, genome.length)) < np.linspace(0, 0.5, 200)[:, None]
    keep_vectors[:, gene_positions(graph, groups)] = genome.repair(masks)
    least = reach(profile, graph, division)
    for kind, share in (("macs", least.macs), ("params", least.params)):
        model = ComplexityModel(graph, kind)
        shares = model.measure(keep_vectors) / model.measure(keep_all(graph))
        assert shares[0] == pytest.approx(share)
        assert (shares >= share).all()


def test_rules_that_ask_for_less_are_told_and_refused_where_there_is_no_other():
    profile, least = reached("pick.rules=knee,max_macs=0.001,max_params=0.5,max_latency_ms=0.001")
    reasons = unreachable_rules(profile, least)
    reported = re.fullmatch(r"at least (.+) % of the MACs remain", reasons.pop("max_macs=0.001"))
    assert least.macs <= float(reported[1]) / 100 < least.macs + 1e-4
    assert reasons == {}
    reasons = unreachable_rules(profile, least)
    require_some_rule(profile, reasons)
    profile, least = reached("pick.rules=max_macs=0.001,max_params=0.001")
    with pytest.raises(ProfileError, match=r"max_macs=0\.001 \(at least .* of the MACs remain\), max_params=0\.001"):
        require_some_rule(profile, unreachable_rules(profile, least))
