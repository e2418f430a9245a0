"""The least that pruning can leave, and which pick rules ask for less."""

from pathlib import Path

import pytest
from torch import nn

from emodir_tui.errors import ProfileError
from emodir_tui.profile import load
from emodir_tui.stages.bench import open_bench
from emodir_tui.stages.reach import beyond, reach, require_some_rule

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


def test_pruned_streams_come_down_to_their_smallest_member():
    _, whole = reached("divide.streams=false")
    _, pruned = reached("divide.streams=true")
    _, rounded = reached("divide.streams=true", "complexity.round_to=8")
    assert pruned.macs < rounded.macs < whole.macs
    assert pruned.params < rounded.params < whole.params


def test_rules_that_ask_for_less_are_told_and_refused_where_there_is_no_other():
    profile, least = reached("pick.rules=knee,max_macs=0.001,max_params=0.5,max_latency_ms=0.001")
    reasons = beyond(profile, least)
    assert reasons == {"max_macs=0.001": f"at least {100 * least.macs:.1f} % of the MACs remain"}
    require_some_rule(profile, reasons)
    profile, least = reached("pick.rules=max_macs=0.001,max_params=0.001")
    with pytest.raises(ProfileError, match=r"max_macs=0\.001 \(at least .* of the MACs remain\), max_params=0\.001"):
        require_some_rule(profile, beyond(profile, least))
