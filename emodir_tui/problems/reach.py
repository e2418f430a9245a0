"""The least that pruning can leave of a network, and which pick rules ask for less."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from emodir_tui.bench import keep_all
from emodir_tui.emo.genome import Genome
from emodir_tui.errors import ProfileError
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import Division
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.problems.genes import gene_group, gene_positions, prunable_groups
from emodir_tui.profile import Profile, parse_rule
from emodir_tui.runs.names import Complexity


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Shares of the network's MACs and parameters, each above 0, below which no scheme of the profile's kind can come."""

    macs: float
    params: float


def reach(profile: Profile, graph: ChannelGraph, division: Division) -> Reach:
    """The most pruned scheme: every group at its least count, branches and, where they are pruned, streams too."""
    numbers = prunable_groups(profile, division)
    genes = [gene_group(graph.groups[number], profile.complexity.round_to) for number in numbers]
    emptiest = keep_all(graph)
    if genes:
        genome = Genome(genes, np.zeros(sum(group.size for group in genes)))
        emptiest[:, gene_positions(graph, numbers)] = genome.emptiest
    both = np.concatenate([emptiest, keep_all(graph)])
    macs, params = (ComplexityModel(graph, kind).measure(both) for kind in (Complexity.MACS, Complexity.PARAMS))
    return Reach(macs=float(macs[0] / macs[1]), params=float(params[0] / params[1]))


def unreachable_rules(profile: Profile, least: Reach) -> dict[str, str]:
    """The pick rules that no scheme can satisfy, each with the reason; limits of latency and accuracy need a search."""
    reasons = {}
    for rule in profile.pick.rules:
        name, limit = parse_rule(rule)
        share, what = (least.macs, "MACs") if name == "max_macs" else (least.params, "parameters")
        if name in ("max_macs", "max_params") and limit < share:
            # Rounded up, so that the reported share can be reached.
            reasons[rule] = f"at least {ceil(1e4 * share) / 100:.2f} % of the {what} remain"
    return reasons


def require_some_rule(profile: Profile, out_of_reach: dict[str, str]) -> None:
    """Refuse a profile whose rules would all be left out, before hours of searching.

    Raises:
        ProfileError: No scheme can satisfy any of the pick rules.
    """
    if set(out_of_reach) == set(profile.pick.rules):
        refused = ", ".join(f"{rule} ({reason})" for rule, reason in out_of_reach.items())
        raise ProfileError(f"pick.rules: nothing can satisfy {refused}", "Allow more; 'knee' can always be satisfied.")
