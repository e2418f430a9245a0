"""Residual branches: the nodes between a fork and the addition that joins a shortcut."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx, nn

from emodir_tui.nets.coupling.function_rules import BINARY_FUNCTIONS, POINTWISE_FUNCTIONS
from emodir_tui.nets.coupling.labels import compact, varying
from emodir_tui.nets.coupling.module_rules import DROPS, NORM_ACT, POINTWISE_MODULES
from emodir_tui.nets.coupling.propagation import ChannelMixingLayer, Propagation
from emodir_tui.nets.tracing.tracer import operation, qualified

_ADDITIONS = {"add", "iadd"}
# What maps one number per channel, the same at every position, to such a tensor.
_CONSTANT_MODULES = (
    *POINTWISE_MODULES, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.PReLU, nn.AdaptiveAvgPool2d,
)  # fmt: skip
_CONSTANT_FOREIGN = {NORM_ACT, *DROPS}
_CONSTANT_FUNCTIONS = {
    *POINTWISE_FUNCTIONS, *BINARY_FUNCTIONS, "stochastic_depth", "contiguous", "mean", "permute", "transpose",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """One residual branch that becomes a constant when its groups are emptied.

    Attributes:
        entry: The node before the fork.
        exit: Its last node, which the addition reads.
        nodes: All its nodes, in order, the exit included.
        zero_input_layers: Its layers without any input channel once the branch is emptied: their output is the bias.
        constant_tail: The nodes that compute the constant from these outputs, in order, the exit included.
        groups: The groups inside it.
    """

    entry: str
    exit: str
    nodes: tuple[str, ...]
    zero_input_layers: tuple[str, ...]
    constant_tail: tuple[str, ...]
    groups: tuple[int, ...]


def find_branches(propagation: Propagation, group_of_label: np.ndarray, group_nodes: list[set[str]]) -> list[Branch]:
    """Find the branches that may be emptied, in order of execution.

    Args:
        propagation: The labelled graph.
        group_of_label: int64[labels], -1 where a label is in no group.
        group_nodes: For each group the names of all nodes that read a tensor with its channels.
    """
    order = list(propagation.module.graph.nodes)
    position = {node: index for index, node in enumerate(order)}
    ancestors = _ancestors(order, position)
    layers_by_node = {layer.node: layer for layer in propagation.mixing_layers}
    found: list[Branch] = []
    taken = 0
    for node in order:
        sides = list(node.all_input_nodes)
        if operation(node) not in _ADDITIONS or len(sides) != 2:
            continue
        regions = [_region(order, position, ancestors, sides[i], sides[1 - i]) for i in (0, 1)]
        inside = [_groups_in(region, group_nodes) for region in regions]
        for i in (0, 1):
            region, other = regions[i], inside[1 - i]
            bits = sum(1 << position[n] for n in region)
            # The constant broadcasts to the size of the other summand.
            same_size = sides[1 - i].meta.get("shape") == node.meta.get("shape")
            if not region or not inside[i] or other or bits & taken or not same_size:
                continue
            branch = _branch(propagation, region, inside[i], group_of_label, layers_by_node)
            if branch is not None:
                found.append(branch)
                taken |= bits
    return found


def _ancestors(order: list[fx.Node], position: dict[fx.Node, int]) -> list[int]:
    """For each node a bit set of the positions of itself and of all nodes that it depends on."""
    ancestors: list[int] = []
    for index, node in enumerate(order):
        bits = 1 << index
        for source in node.all_input_nodes:
            bits |= ancestors[position[source]]
        ancestors.append(bits)
    return ancestors


def _region(
    order: list[fx.Node], position: dict[fx.Node, int], ancestors: list[int], end: fx.Node, other: fx.Node
) -> list[fx.Node]:
    """The nodes that `end` depends on and `other` does not, if one tensor enters and only `end` leaves; else none."""
    bits = ancestors[position[end]] & ~ancestors[position[other]]
    region: list[fx.Node] = []
    while bits:
        low = bits & -bits
        region.append(order[low.bit_length() - 1])
        bits ^= low
    members = set(region)
    entries = {s for n in region for s in n.all_input_nodes if s not in members and s.op != "get_attr"}
    leaks = any(user not in members for n in region if n is not end for user in n.users)
    return region if len(entries) == 1 and not leaks and len(end.users) == 1 else []


def _groups_in(region: list[fx.Node], group_nodes: list[set[str]]) -> list[int]:
    names = {node.name for node in region}
    return [group for group, nodes in enumerate(group_nodes) if nodes and nodes <= names]


def _branch(
    propagation: Propagation,
    region: list[fx.Node],
    groups: list[int],
    group_of_label: np.ndarray,
    layers_by_node: dict[str, ChannelMixingLayer],
) -> Branch | None:
    """The region as a branch, if its last node is the same at every position once the groups are emptied."""
    end = region[-1]
    members = set(region)
    entry = next(s for n in region for s in n.all_input_nodes if s not in members and s.op != "get_attr")
    if set(_groups_of(propagation.values[end], group_of_label)) & set(groups):
        return None
    zero_input_layers: list[str] = []
    constant: set[fx.Node] = set()
    fixed: set[fx.Node] = set()
    for node in region:
        # A value computed from parameters alone is fixed. With one dimension it may hold one number per channel.
        if node.op == "get_attr" or (node.all_input_nodes and set(node.all_input_nodes) <= fixed):
            fixed.add(node)
            shape = node.meta.get("shape", ())
            if isinstance(shape, tuple) and sum(size > 1 for size in shape) <= 1:
                constant.add(node)
            continue
        layer = layers_by_node.get(node.name)
        if (
            layer is not None
            and layer.inputs is not None
            and set(_groups_of(layer.inputs, group_of_label)) <= set(groups)
        ):
            zero_input_layers.append(node.name)
            constant.add(node)
        elif (
            _keeps_constant(propagation, node)
            and set(node.all_input_nodes) <= constant
            and _fixed_along_channels(propagation, node, fixed)
        ):
            constant.add(node)
    if end not in constant:
        return None
    tail, pending = set[fx.Node](), [end]
    while pending:
        node = pending.pop()
        tail.add(node)
        if node.name not in zero_input_layers:
            pending.extend(source for source in node.all_input_nodes if source not in tail)
    return Branch(
        entry=entry.name,
        exit=end.name,
        nodes=tuple(node.name for node in region),
        zero_input_layers=tuple(name for name in zero_input_layers if any(node.name == name for node in tail)),
        constant_tail=tuple(node.name for node in region if node in tail),
        groups=tuple(groups),
    )


def _groups_of(labels: Tensor, group_of_label: np.ndarray) -> list[int]:
    groups: list[int] = np.unique(group_of_label[compact(labels).numpy()]).tolist()
    return groups


def _fixed_along_channels(propagation: Propagation, node: fx.Node, fixed: set[fx.Node]) -> bool:
    """Whether the fixed inputs of a node change along its channels only, never from position to position."""
    labels = propagation.values[node]
    shapes = [source.meta.get("shape", ()) for source in node.all_input_nodes if source in fixed]
    if not isinstance(labels, Tensor):
        return not shapes
    channels = varying(labels)
    return all(
        size == 1 or labels.dim() - len(shape) + dim in channels for shape in shapes for dim, size in enumerate(shape)
    )


def _keeps_constant(propagation: Propagation, node: fx.Node) -> bool:
    """Whether a node maps inputs that are the same at every position to such an output."""
    if node.op != "call_module":
        return operation(node) in _CONSTANT_FUNCTIONS
    module = propagation.module.get_submodule(str(node.target))
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.padding == (0, 0) and module.groups == 1
    return isinstance(module, _CONSTANT_MODULES) or qualified(type(module)) in _CONSTANT_FOREIGN
