"""The least that pruning can leave of a network, and which pick rules ask for less."""

from dataclasses import dataclass

import numpy as np

from emodir_tui.emo.genome import Genome, nearest_counts
from emodir_tui.errors import ProfileError
from emodir_tui.nets.complexity import ComplexityModel
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.subnetwork import Division
from emodir_tui.profile import Profile, parse_rule
from emodir_tui.stages.bench import keep_all
from emodir_tui.stages.searching import expand, gene_group
from emodir_tui.stages.whole import stream_counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Shares of the network's MACs and parameters, each above 0, below which no scheme of the profile's kind can come."""

    macs: float
    params: float


def reach(profile: Profile, graph: ChannelGraph, division: Division) -> Reach:
    """The most pruned scheme: every group at its least count, branches and, where they are pruned, streams too."""
    round_to = profile.complexity.round_to
    emptiest = keep_all(graph)
    for part in division.subnetworks:
        genes = [gene_group(graph.groups[number], round_to) for number in part.groups]
        genome = Genome(genes, np.zeros(sum(group.size for group in genes)))
        emptiest &= expand(graph, part, genome.emptiest[None])
    if profile.divide.streams:
        for number in division.streams:
            group = graph.groups[number]
            least = stream_counts(nearest_counts(gene_group(group, round_to)))[0]
            emptiest[0, group.start + least : group.stop] = False
    both = np.concatenate([emptiest, keep_all(graph)])
    macs, params = (ComplexityModel(graph, kind).measure(both) for kind in ("macs", "params"))
    return Reach(macs=float(macs[0] / macs[1]), params=float(params[0] / params[1]))


def beyond(profile: Profile, least: Reach) -> dict[str, str]:
    """The pick rules that no scheme can satisfy, each with the reason; of latencies and accuracies only a search can tell."""
    reasons = {}
    for rule in profile.pick.rules:
        name, limit = parse_rule(rule)
        share, what = (least.macs, "MACs") if name == "max_macs" else (least.params, "parameters")
        if name in ("max_macs", "max_params") and limit < share:
            reasons[rule] = f"at least {100 * share:.1f} % of the {what} remain"
    return reasons


def require_some_rule(profile: Profile, out_of_reach: dict[str, str]) -> None:
    """Told before hours of searching for nothing.

    Raises:
        ProfileError: No scheme can satisfy any of the pick rules.
    """
    if set(out_of_reach) == set(profile.pick.rules):
        told = ", ".join(f"{rule} ({reason})" for rule, reason in out_of_reach.items())
        raise ProfileError(f"pick.rules: nothing can satisfy {told}", "Allow more; 'knee' can always be satisfied.")
