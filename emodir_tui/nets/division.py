"""Division of a network at cut points into sub-networks of balanced MACs."""

from dataclasses import dataclass
from itertools import pairwise

from torch import fx

from emodir_tui.errors import ProfileError, nearest
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.coupling.propagation import unpruned_macs
from emodir_tui.nets.tracing.network import CutPoint, is_channel_mixing

MIN_SUBNETWORKS, MAX_SUBNETWORKS = 2, 8
# The search of a smaller sub-network would decide almost nothing.
SMALLEST_SHARE_OF_MEAN = 0.4
# Segments of the network at whose ends trainings compare features.
DISTILLATION_SEGMENTS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class SubnetworkSpan:
    """A sub-network: the span between two cut points and the channel groups searched in it.

    Attributes:
        name: sn1, sn2, …
        start: The cut before it; None for the input.
        stop: The cut at its end; None for the output.
        layers: What computes in it, in order: convolutions, linear layers, and others such as attention.
        groups: The channel groups with all producers in it, as positions in `ChannelGraph.groups`.
        macs: Its MACs for one image.
        share: Its share of the whole network's MACs.
    """

    name: str
    start: CutPoint | None
    stop: CutPoint | None
    layers: tuple[str, ...]
    groups: tuple[int, ...]
    macs: int
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """The sub-networks of a network.

    Attributes:
        subnetworks: In order.
        streams: Residual streams: the channel groups with producers in several sub-networks.
        kinds: For each channel group `inner` (all consumers in its sub-network), `boundary` or `stream`.
    """

    subnetworks: tuple[SubnetworkSpan, ...]
    streams: tuple[int, ...]
    kinds: dict[int, str]


def divide_network(graph: ChannelGraph, *, subnetworks: int | None = None, cuts: list[str] | None = None) -> Division:
    """Divide a network into sub-networks.

    Args:
        graph: The network.
        subnetworks: Their number; by default it follows from the number of channel groups. There are fewer if the
            network has too few cut points, or if small ones are merged.
        cuts: Names of modules after which to cut, instead of a number.

    Raises:
        ProfileError: Nothing can be pruned, or a name is not that of a cut point before the last features.
    """
    if not graph.groups:
        reasons = "; ".join(f"{item.place}: {item.reason}" for item in graph.protected[:3])
        raise ProfileError(
            f"nothing in this network can be pruned ({reasons})", "'emodir check' lists the protected layers."
        )
    if cuts is not None:
        chosen = _merged(graph, _named_cuts(graph, cuts), smallest=0.0)
    else:
        chosen = _merged(graph, _balanced_cuts(graph, subnetworks), smallest=SMALLEST_SHARE_OF_MEAN)
    return _assemble(graph, chosen)


def candidate_cuts(graph: ChannelGraph) -> list[CutPoint]:
    """The cut points at the ends of blocks that lie before the last features and outside of residual branches."""
    nodes = {node.name: node for node in graph.network.graph_module.graph.nodes}
    names = {cut.node for cut in graph.network.cuts}
    order = [node.name for node in graph.graph_module.graph.nodes]
    inside = {name for branch in graph.branches for name in branch.nodes}
    found = []
    for cut in graph.network.cuts:
        if cut.index >= graph.network.features.index or cut.node not in order or cut.node in inside:
            continue
        users = [user for user in nodes[cut.node].users if user.op != "output"]
        # Of a chain of cuts the last one before the next layer or fork: a normalisation and an activation function stay
        # with the layer before them.
        if len(users) > 1 or is_channel_mixing(graph.network.graph_module, users[0]) or users[0].name not in names:
            found.append(cut)
    return found


def comparison_cut(graph: ChannelGraph) -> CutPoint | None:
    """The cut at which the loss of every group shows: the last features, or None (the output) if a group lies later."""
    place = {node.name: at for at, node in enumerate(graph.graph_module.graph.nodes)}
    end = place.get(graph.network.features.node)
    if end is None:
        return None
    last: dict[str, int] = {}
    for layer in graph.layers:
        last[layer.name] = max(last.get(layer.name, 0), place[layer.node])
    behind = any(min(last.get(name, 0) for name in group.producers) > end for group in graph.groups)
    return None if behind else graph.network.features


def evaluation_cuts(division: Division, features: CutPoint | None) -> list[CutPoint]:
    """The cuts at which pruned networks are compared with the original: each sub-network's end and `comparison_cut`."""
    ends = [*(part.stop for part in division.subnetworks), features]
    return [end for end in ends if end is not None]


def distillation_cuts(graph: ChannelGraph) -> list[CutPoint]:
    """The cuts at which training distils the original's features: block ends, and the last features.

    Of many block ends it takes those that make `DISTILLATION_SEGMENTS` segments of balanced MACs.
    """
    ends = [*_balanced_cuts(graph, DISTILLATION_SEGMENTS), comparison_cut(graph)]
    return [end for end in ends if end is not None]


def _named_cuts(graph: ChannelGraph, names: list[str]) -> list[CutPoint]:
    known: dict[str, CutPoint] = {}
    # A module's name takes precedence: torch.fx names nodes after modules and numbers them.
    for cut in graph.network.cuts:
        known[cut.name] = cut
    for names_of in (lambda cut: cut.aliases, lambda cut: (cut.node,)):
        for cut in graph.network.cuts:
            for name in names_of(cut):
                known.setdefault(name, cut)
    allowed = graph.network.features.index
    for name in names:
        if name not in known:
            hint = nearest(name, known) or f"Known: {', '.join(cut.name for cut in candidate_cuts(graph)[:20])}."
            raise ProfileError(f"divide.cuts: unknown cut point '{name}'", hint)
        if known[name].index >= allowed:
            raise ProfileError(
                f"divide.cuts: '{name}' must lie before the last features ({graph.network.features.name})"
            )
    return sorted({known[name].index: known[name] for name in names}.values(), key=lambda cut: cut.index)


def _balanced_cuts(graph: ChannelGraph, wanted: int | None) -> list[CutPoint]:
    """The cuts that minimise the largest part's MACs, then the sum of squared MACs, by dynamic programming."""
    possible = candidate_cuts(graph)
    number = wanted or min(MAX_SUBNETWORKS, max(MIN_SUBNETWORKS, round(len(graph.groups) ** 0.5)))
    number = min(number, len(possible) + 1)
    weights = [_macs(graph, nodes) for nodes in _segments(graph, possible)]
    sums = [0]
    for weight in weights:
        sums.append(sums[-1] + weight)
    count = len(weights)
    best: list[list[tuple[int, int, int]]] = [[(sums[end], sums[end] ** 2, 0) for end in range(count + 1)]]
    for parts in range(1, number):
        row = [(sums[-1] + 1, 0, 0)] * (parts + 1)
        for end in range(parts + 1, count + 1):
            row.append(
                min(
                    (max(best[-1][at][0], sums[end] - sums[at]), best[-1][at][1] + (sums[end] - sums[at]) ** 2, at)
                    for at in range(parts, end)
                )
            )
        best.append(row)
    chosen, end = [], count
    for parts in range(number - 1, 0, -1):
        end = best[parts][end][2]
        chosen.append(possible[end - 1])
    return chosen[::-1]


def _segments(graph: ChannelGraph, cuts: list[CutPoint]) -> list[list[fx.Node]]:
    nodes = [node for node in graph.graph_module.graph.nodes if node.op not in ("placeholder", "output")]
    names = [node.name for node in nodes]
    edges = [0, *(names.index(cut.node) + 1 for cut in cuts), len(nodes)]
    return [nodes[low:high] for low, high in pairwise(edges)]


def _macs(graph: ChannelGraph, nodes: list[fx.Node]) -> int:
    names = {node.name for node in nodes}
    layers = sum(
        unpruned_macs(layer.macs, layer.outputs, layer.inputs) for layer in graph.layers if layer.node in names
    )
    return layers + sum(fixed.macs for fixed in graph.fixed_macs if fixed.node in names)


def _owners(graph: ChannelGraph, cuts: list[CutPoint]) -> list[int | None]:
    """For each group the part with all of its producers; None if they lie in several parts."""
    part_of: dict[str, set[int]] = {}
    for part, nodes in enumerate(_segments(graph, cuts)):
        names = {node.name for node in nodes}
        for layer in graph.layers:
            if layer.node in names:
                part_of.setdefault(layer.name, set()).add(part)
    owners: list[int | None] = []
    for group in graph.groups:
        parts = {part for name in group.producers for part in part_of.get(name, set())}
        owners.append(parts.pop() if len(parts) == 1 else None)
    return owners


def _merged(graph: ChannelGraph, cuts: list[CutPoint], *, smallest: float) -> list[CutPoint]:
    """Merge each part that owns no group, or is much smaller than the mean, with the smaller of its neighbours."""
    while cuts:
        owners = set(_owners(graph, cuts))
        sizes = [_macs(graph, nodes) for nodes in _segments(graph, cuts)]
        limit = smallest * sum(sizes) / len(sizes)
        poor = [part for part, size in enumerate(sizes) if part not in owners or size < limit]
        if not poor:
            return cuts
        part = min(poor, key=lambda at: sizes[at])
        before = sizes[part - 1] if part else float("inf")
        after = sizes[part + 1] if part + 1 < len(sizes) else float("inf")
        gone = part - 1 if before <= after else part
        cuts = [cut for position, cut in enumerate(cuts) if position != gone]
    return cuts


def _assemble(graph: ChannelGraph, cuts: list[CutPoint]) -> Division:
    owners = _owners(graph, cuts)
    segments = _segments(graph, cuts)
    total = sum(_macs(graph, nodes) for nodes in segments)
    computing = {fixed.node: fixed.name for fixed in graph.fixed_macs}
    computing |= {layer.node: layer.name for layer in graph.layers}
    kinds: dict[int, str] = {}
    parts = []
    for part, nodes in enumerate(segments):
        names = {node.name for node in nodes}
        layers = tuple(dict.fromkeys(layer.name for layer in graph.layers if layer.node in names))
        own = tuple(number for number, owner in enumerate(owners) if owner == part)
        for number in own:
            group = graph.groups[number]
            kinds[number] = "inner" if set(group.consumers) <= set(layers) else "boundary"
        macs = _macs(graph, nodes)
        parts.append(
            SubnetworkSpan(
                name=f"sn{part + 1}",
                start=cuts[part - 1] if part else None,
                stop=cuts[part] if part < len(cuts) else None,
                layers=tuple(dict.fromkeys(computing[node.name] for node in nodes if node.name in computing)),
                groups=own,
                macs=macs,
                share=macs / max(1, total),
            )
        )
    streams = tuple(number for number, owner in enumerate(owners) if owner is None)
    kinds.update(dict.fromkeys(streams, "stream"))
    return Division(subnetworks=tuple(parts), streams=streams, kinds=kinds)
