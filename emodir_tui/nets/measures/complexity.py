"""MACs and parameters under keep vectors: exact sums over the layers, for many keep vectors at once."""

from collections.abc import Collection, Iterable
from math import prod

import numpy as np
import numpy.typing as npt

from emodir_tui.arrays import Axis, Floats, KeepVectors, extended
from emodir_tui.nets.coupling.channel_graph import ChannelGraph


class ComplexityModel:
    """Counts multiply-accumulates, or parameters.

    Args:
        graph: The network.
        kind: "macs" (for one image) or "params".
    """

    def __init__(self, graph: ChannelGraph, kind: str = "macs") -> None:
        self._graph = graph
        self._terms = _macs_terms(graph) if kind == "macs" else _params_terms(graph)
        self.layers = tuple(dict.fromkeys(layer.name for layer in graph.layers))

    def measure(self, keep: KeepVectors, layers: Collection[str] | None = None) -> Floats:
        """The count for each keep vector, float64[n] from bool[n, genes], of all layers or of the given ones."""
        extended_keep = extended(keep).astype(np.float64)
        emptied = emptied_branches(self._graph, keep)
        total = np.zeros(len(keep))
        for term in self._terms:
            if layers is not None and term.owner not in layers:
                continue
            count = np.full(len(keep), float(term.factor))
            for weights in term.counts:
                count *= extended_keep @ weights
            if term.branch is not None:
                count[emptied[:, term.branch]] = 0.0
            total += count
        return total + (_constants(self._graph, extended_keep, emptied) if self._has_constants(layers) else 0.0)

    def touched(self, groups: Iterable[int]) -> set[str]:
        """Names of the layers whose count depends on these groups."""
        own = np.zeros(self._graph.genes + 1, dtype=np.bool_)
        branches = set()
        for number in groups:
            group = self._graph.groups[number]
            own[group.start : group.stop] = True
            branches.add(group.branch)
        branches.discard(None)
        return {
            term.owner
            for term in self._terms
            if term.branch in branches or any(bool(weights[own].any()) for weights in term.counts)
        }

    def _has_constants(self, layers: Collection[str] | None) -> bool:
        return layers is None and bool(self._terms) and self._terms[0].is_parameter


class _Term:
    """factor × Π (kept channels along an axis); 0 if its branch is emptied."""

    __slots__ = ("branch", "counts", "factor", "is_parameter", "owner")

    def __init__(
        self, owner: str, factor: int, axes: list[Axis], genes: int, branch: int | None, *, is_parameter: bool
    ) -> None:
        self.owner, self.factor, self.branch, self.is_parameter = owner, factor, branch, is_parameter
        self.counts = [np.bincount(axis, minlength=genes + 1).astype(np.float64) for axis in axes]


def _macs_terms(graph: ChannelGraph) -> list[_Term]:
    branch_of = {node: number for number, branch in enumerate(graph.branches) for node in branch.nodes}
    return [
        _Term(
            layer.name,
            layer.macs,
            [layer.outputs] if layer.inputs is None else [layer.outputs, layer.inputs],
            graph.genes,
            branch_of.get(layer.node),
            is_parameter=False,
        )
        for layer in graph.layers
    ] + [
        _Term(fixed.name, fixed.macs, [], graph.genes, branch_of.get(fixed.node), is_parameter=False)
        for fixed in graph.fixed_macs
    ]


def _params_terms(graph: ChannelGraph) -> list[_Term]:
    branch_of = {node: number for number, branch in enumerate(graph.branches) for node in branch.nodes}
    first_names = {name: first for first, names in graph.aliases.items() for name in names}
    terms = []
    for name, parameter in graph.network.model.named_parameters():
        if first_names.get(name, name) != name or name in graph.unused_parameters:
            continue
        axes = graph.tensors.get(name, {})
        rest = prod(size for dim, size in enumerate(parameter.shape) if dim not in axes)
        branches = {branch_of.get(node) for node in graph.readers.get(name, ())}
        branch = branches.pop() if len(branches) == 1 else None
        owner = name.rpartition(".")[0]
        terms.append(_Term(owner, rest, list(axes.values()), graph.genes, branch, is_parameter=True))
    return terms


def emptied_branches(graph: ChannelGraph, keep: KeepVectors) -> npt.NDArray[np.bool_]:
    """Whether keep vectors empty each branch, bool[n, branches] from bool[n, genes]."""
    emptied = np.zeros((len(keep), len(graph.branches)), dtype=np.bool_)
    for number, branch in enumerate(graph.branches):
        group = graph.groups[branch.groups[0]]
        emptied[:, number] = ~keep[:, group.start : group.stop].any(axis=1)
    return emptied


def _constants(graph: ChannelGraph, extended_keep: Floats, emptied: npt.NDArray[np.bool_]) -> Floats:
    """Parameters of the constants of emptied branches: one per channel to which they add."""
    total = np.zeros(len(extended_keep))
    for number, branch in enumerate(graph.branches):
        if emptied[:, number].any():
            _, axis = graph.axis(branch.exit)
            total += emptied[:, number] * extended_keep[:, axis].sum(axis=1)
    return total
