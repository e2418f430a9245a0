"""Channel groups: the channels of a network that can be removed, and those that must stay with the reason."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

from emodir_tui.arrays import Axis, KeepVectors, extended
from emodir_tui.errors import ProfileError, first_line
from emodir_tui.nets.coupling.branches import Branch, find_branches
from emodir_tui.nets.coupling.counted_macs import FixedMacs, corrected
from emodir_tui.nets.coupling.dispatch import propagate
from emodir_tui.nets.coupling.labels import along, varying
from emodir_tui.nets.coupling.propagation import ChannelMixingLayer, Propagation, owner
from emodir_tui.nets.coupling.protection import Coupled, Occurrences, Protected, protected, unused_modules
from emodir_tui.nets.coupling.rewrites import Resolution
from emodir_tui.nets.coupling.rewriting import normalise
from emodir_tui.nets.modules.transfer import to_device
from emodir_tui.nets.tracing.network import CutPoint, Network, evaluating, numbered


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelGroup:
    """Channels of several layers that are coupled, gene by gene.

    Attributes:
        name: The first producer, followed by a number if it produces several groups.
        start: Position of its first gene in the keep vector.
        stop: End of its slice of the keep vector, exclusive.
        channels_per_gene: Channels of the first producer per gene.
        producers: The layers that make the channels.
        consumers: The layers that sum over them.
        branch: Position of the residual branch around the group, whose groups are emptied together; the branch then
            adds its constant. None: at least one gene must stay.
    """

    name: str
    start: int
    stop: int
    channels_per_gene: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    branch: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One call of a convolution or linear layer: MACs = macs × kept outputs × kept inputs (1 for grouped layers).

    Attributes:
        name: The module's qualified name.
        node: The name of the graph's node.
        dim: The channel dimension of its input.
        inputs: Genes of the channels that each output sums over; None for a grouped layer.
        outputs: Genes of the channels it makes.
        macs: Multiply-accumulates for one image, one output and, unless grouped, one input channel.
        weight: The name of its weight; empty if that is computed.
        output_dim: The weight's dimension along the outputs.
    """

    name: str
    node: str
    dim: int
    inputs: Axis | None
    outputs: Axis
    macs: int
    weight: str
    output_dim: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelGraph:
    """A network with its channel groups.

    Attributes:
        network: The traced model.
        graph_module: Its graph with every constant that depends on channels in a module of `channel_modules`.
        groups: The groups; their genes in this order form the keep vector.
        genes: The length of the keep vector.
        protected: The output channels that are in no group, counted by place and reason.
        branches: The branches that may be emptied; a group's `branch` is an index into it.
        layers: The calls of convolutions and linear layers, in order.
        fixed_macs: What nodes compute besides these layers, such as products of attention.
        tensors: For each parameter and buffer, by first name, the genes of each dimension that has any.
        aliases: All names of each parameter and buffer, by its first name.
        readers: For each parameter and buffer the nodes that read it.
        sized_layers: For layers that store a number of channels in addition to weights, the genes of those channels.
        unused_parameters: The model's parameters that nothing reads in evaluation mode.
    """

    network: Network
    graph_module: fx.GraphModule
    groups: tuple[ChannelGroup, ...]
    genes: int
    protected: tuple[Protected, ...]
    branches: tuple[Branch, ...]
    layers: tuple[Layer, ...]
    fixed_macs: tuple[FixedMacs, ...]
    tensors: dict[str, dict[int, Axis]]
    aliases: dict[str, tuple[str, ...]]
    readers: dict[str, tuple[str, ...]]
    sized_layers: dict[str, Axis]
    unused_parameters: tuple[str, ...]
    _labels: dict[str, Tensor] = field(repr=False)
    _gene_of_label: Axis = field(repr=False)
    # Results of `axis`, which every candidate needs.
    _axes: dict[str, tuple[int, Axis]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def counts(self, keep: KeepVectors) -> npt.NDArray[np.int64]:
        """Kept genes of each group, int64[…, groups] from bool[…, genes]."""
        starts = [group.start for group in self.groups]
        return (
            np.add.reduceat(keep, starts, axis=-1, dtype=np.int64) if starts else np.zeros((*keep.shape[:-1], 0), int)
        )

    def check(self, keep: KeepVectors) -> list[int]:
        """The branches that a keep vector, bool[genes], empties.

        Raises:
            ValueError: The length is wrong, a group outside of branches is emptied, or a part of a branch is.
        """
        if keep.shape != (self.genes,):
            raise ValueError(f"the keep vector has shape {keep.shape}; it must be [{self.genes}]")
        counts = self.counts(keep)
        for group, count in zip(self.groups, counts, strict=True):
            if count == 0 and group.branch is None:
                raise ValueError(f"group {group.name} is emptied; outside residual branches one gene must stay")
        emptied = []
        for number, branch in enumerate(self.branches):
            empty = [counts[group] == 0 for group in branch.groups]
            if any(empty):
                emptied.append(number)
            if any(empty) and not all(empty):
                name = self.groups[branch.groups[empty.index(True)]].name
                raise ValueError(f"group {name} is emptied, but others of its branch are not")
        return emptied

    def axis(self, node: str) -> tuple[int, Axis]:
        """The channel dimension of a node's output, and the genes of its channels.

        Raises:
            ValueError: Removable channels lie in more than one dimension.
        """
        if node not in self._axes:
            self._axes[node] = self._axis(node)
        return self._axes[node]

    def _axis(self, node: str) -> tuple[int, Axis]:
        labels = self._labels[node]
        genes = torch.from_numpy(self._gene_of_label)[labels]
        small = [dim for dim in range(genes.dim()) if not bool((genes == genes.narrow(dim, 0, 1)).all())]
        if len(small) > 1:
            raise ValueError(f"the channels at {node} lie in several dimensions")
        # Where every channel is protected, the labels still show the channel dimension.
        small = small or varying(labels)[:1]
        dim = small[0] if small else min(1, labels.dim() - 1)
        return dim, along(genes, dim).numpy()


def analyse(network: Network) -> ChannelGraph:
    """Find the channel groups of a network by propagating channel labels through its graph.

    An unknown operation protects the channels that reach it, so removal is always exact.

    Raises:
        ProfileError: The graph works for the example's batch size only.
    """
    propagation = propagate(network)
    resolution = Resolution(propagation)
    slices_by_label = _slices_by_label(propagation, resolution)
    labels_by_occurrences = _labels_by_occurrences(slices_by_label)
    nodes = [{propagation.slices[i].node for i, _ in occurrences} for occurrences in labels_by_occurrences]
    of_root = {root: number for number, roots in enumerate(labels_by_occurrences.values()) for root in roots}
    group_of_root = np.full(len(resolution.roots), -1)
    group_of_root[list(of_root)] = list(of_root.values())
    branches = find_branches(propagation, group_of_root[resolution.roots], nodes)
    graph = _assemble(network, propagation, resolution, list(labels_by_occurrences.items()), branches)
    _check_other_batches(network, graph.graph_module)
    return graph


@torch.no_grad()
def _check_other_batches(network: Network, module: fx.GraphModule) -> None:
    """Check that the graph, traced with two images, computes the same as the model for three.

    Raises:
        ProfileError: It does not, because the batch size became a constant.
    """
    three = torch.cat([network.example[:2], network.example[:1]])
    reason = "its output differs for three"
    with evaluating(network.model), evaluating(module):
        try:
            expected, found = network.model(three.clone()), module(three)
            scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
            same = found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4 * scale, equal_nan=True)
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:
            same, reason = False, first_line(error)
    if not same:
        raise ProfileError(
            f"{type(network.model).__name__} as traced works for batches of two images only ({reason})",
            "Its forward() may read the batch size with len(x): write x.size(0) or x.shape[0], or -1 in a reshape.",
        )


def _slices_by_label(propagation: Propagation, resolution: Resolution) -> dict[int, list[tuple[int, int]]]:
    """For each united label that may be removed, the slices that hold it, by position, and how often."""
    slices_by_label: dict[int, list[tuple[int, int]]] = {}
    for number, piece in enumerate(propagation.slices):
        roots, counts = np.unique(resolution.roots[piece.labels.numpy()], return_counts=True)
        for root, count in zip(roots.tolist(), counts.tolist(), strict=True):
            if resolution.free[root]:
                slices_by_label.setdefault(root, []).append((number, count))
    return {
        root: found
        for root, found in slices_by_label.items()
        if any(propagation.slices[i].role == "out" for i, _ in found)
    }


def _labels_by_occurrences(slices_by_label: dict[int, list[tuple[int, int]]]) -> dict[Occurrences, list[int]]:
    """Gather united labels that occur in the same slices equally often as genes of one group, in execution order."""
    labels: dict[Occurrences, list[int]] = {}
    for root, found in slices_by_label.items():
        labels.setdefault(tuple(found), []).append(root)
    return dict(sorted(labels.items(), key=lambda item: (item[0], item[1][0])))


def _assemble(
    network: Network,
    propagation: Propagation,
    resolution: Resolution,
    coupled: list[Coupled],
    branches: list[Branch],
) -> ChannelGraph:
    branch_of = {group: number for number, branch in enumerate(branches) for group in branch.groups}
    kept = [i for i, (_, roots) in enumerate(coupled) if len(roots) > 1 or i in branch_of]
    renumbered = {old: new for new, old in enumerate(kept)}
    groups: list[ChannelGroup] = []
    gene_of_root = np.full(len(resolution.roots), -1)
    names: dict[str, int] = {}
    for old in kept:
        occurrences, roots = coupled[old]
        start = groups[-1].stop if groups else 0
        ordered = _in_channel_order(propagation, resolution, occurrences, roots)
        gene_of_root[ordered] = np.arange(start, start + len(roots))
        groups.append(_group(propagation, occurrences, start, len(roots), branch_of.get(old), names))
    genes = groups[-1].stop if groups else 0
    gene_of_root[gene_of_root < 0] = genes
    gene_of_label = gene_of_root[resolution.roots]
    by_node = {node.name: labels for node, labels in propagation.values.items() if isinstance(labels, Tensor)}
    aliases: dict[str, list[str]] = {}
    for name, first in propagation.names.items():
        aliases.setdefault(first, []).append(name)
    readers = _readers(propagation)
    unused_parameters = tuple(
        name for name, _ in network.model.named_parameters() if propagation.names[name] not in readers
    )
    layers, fixed_macs = corrected(propagation.mixing_layers, network)
    single = [item for number, item in enumerate(coupled) if number not in renumbered]
    return ChannelGraph(
        network=network,
        graph_module=normalise(propagation, resolution, gene_of_label, network.example.device),
        groups=tuple(groups),
        genes=genes,
        protected=(*protected(propagation, resolution, single), *unused_modules(network.model, unused_parameters)),
        branches=tuple(_renumber(branch, renumbered) for branch in branches),
        layers=_layers(layers, gene_of_label),
        fixed_macs=fixed_macs,
        tensors=_tensors(propagation, gene_of_label, genes),
        aliases={first: tuple(all_names) for first, all_names in aliases.items()},
        readers=readers,
        sized_layers={name: gene_of_label[labels.numpy()] for name, labels in propagation.sized_layers.items()},
        unused_parameters=unused_parameters,
        _labels=by_node,
        _gene_of_label=gene_of_label,
    )


def _in_channel_order(
    propagation: Propagation, resolution: Resolution, occurrences: Occurrences, roots: list[int]
) -> list[int]:
    first = next(propagation.slices[i] for i, _ in occurrences if propagation.slices[i].role == "out")
    wanted = set(roots)
    seen = dict.fromkeys(root for root in resolution.roots[first.labels.numpy()].tolist() if root in wanted)
    return list(seen)


def _group(
    propagation: Propagation,
    occurrences: Occurrences,
    start: int,
    size: int,
    branch: int | None,
    names: dict[str, int],
) -> ChannelGroup:
    pieces = [(propagation.slices[i], count) for i, count in occurrences]
    made = [(owner(piece.tensor), count) for piece, count in pieces if piece.role == "out"]
    return ChannelGroup(
        name=numbered(made[0][0], names),
        start=start,
        stop=start + size,
        channels_per_gene=made[0][1],
        producers=_unique(layer for layer, _ in made),
        consumers=_unique(owner(piece.tensor) for piece, _ in pieces if piece.role == "in"),
        branch=branch,
    )


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _renumber(branch: Branch, renumbered: dict[int, int]) -> Branch:
    return Branch(
        entry=branch.entry,
        exit=branch.exit,
        nodes=branch.nodes,
        zero_input_layers=branch.zero_input_layers,
        constant_tail=branch.constant_tail,
        groups=tuple(renumbered[group] for group in branch.groups),
    )


def _layers(layers: Iterable[ChannelMixingLayer], gene_of_label: Axis) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            name=layer.layer,
            node=layer.node,
            dim=layer.dim,
            inputs=None if layer.inputs is None else gene_of_label[layer.inputs.numpy()],
            outputs=gene_of_label[layer.outputs.numpy()],
            macs=layer.macs,
            weight=layer.weight,
            output_dim=layer.output_dim,
        )
        for layer in layers
    )


def _tensors(propagation: Propagation, gene_of_label: Axis, genes: int) -> dict[str, dict[int, Axis]]:
    found: dict[str, dict[int, Axis]] = {}
    for piece in propagation.slices:
        if piece.role == "seen":
            continue
        axis = gene_of_label[piece.labels.numpy()]
        if piece.dim not in found.get(piece.tensor, {}) and bool((axis < genes).any()):
            found.setdefault(piece.tensor, {})[piece.dim] = axis
    return found


def _readers(propagation: Propagation) -> dict[str, tuple[str, ...]]:
    """The nodes that read each parameter and buffer."""
    found: dict[str, list[str]] = {}
    for node in propagation.module.graph.nodes:
        if node.op == "call_module":
            module = propagation.module.get_submodule(str(node.target))
            tensors = [*module.named_parameters(), *module.named_buffers()]
            for name, _ in tensors:
                found.setdefault(propagation.names.get(f"{node.target}.{name}", f"{node.target}.{name}"), []).append(
                    node.name
                )
        elif node.op == "get_attr":
            found.setdefault(propagation.names.get(str(node.target), str(node.target)), []).append(node.name)
    return {name: tuple(nodes) for name, nodes in found.items()}


def channel_dim(graph: ChannelGraph, cut: CutPoint | None) -> int:
    """The dimension of the channels at a cut; None for the logits."""
    return 1 if cut is None else graph.axis(cut.node)[0]


def kept_channels(graph: ChannelGraph, cut: CutPoint, keep: KeepVectors) -> Tensor:
    """Positions that a keep vector keeps along a cut's `channel_dim`, int64[kept] on the network's device."""
    positions = np.flatnonzero(extended(keep)[graph.axis(cut.node)[1]])
    return to_device(positions, graph.network.example.device)


def take_channels(tensor: Tensor, dim: int, positions: Tensor) -> Tensor:
    """Select positions along a dimension by advanced indexing, which keeps channels-last memory."""
    index: tuple[slice | Tensor, ...] = (*[slice(None)] * dim, positions)
    return tensor[index]
