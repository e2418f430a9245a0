"""Physical removal: an independent, smaller network whose output equals the masked one's."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from emodir_tui.nets.channels import ChannelConstant, Keep
from emodir_tui.nets.graph import trace
from emodir_tui.nets.groups import ChannelGraph, analyse
from emodir_tui.nets.program import CHANNEL_LEAVES
from emodir_tui.nets.sizes import fit_sizes
from emodir_tui.nets.sliced import SlicedNetwork
from emodir_tui.nets.tracing import drop_unused, operation

__all__ = ["ChannelConstant", "apply_structure", "remove", "structure"]

_SHAPELESS = {"relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "hardsigmoid", "hardswish", "tanh"}


class Nothing(nn.Module):
    """Stands where a layer of an emptied branch was: gives a view without channels, which costs nothing."""

    def forward(self, x: Tensor) -> Tensor:
        """x[:, :0]."""
        return x[:, :0]


def remove(graph: ChannelGraph, keep: Keep, *, statistics: str = "running") -> nn.Module:
    """A copy of the model without the channels that a keep vector drops.

    It is of the user's own class where the class's code says nothing about numbers of channels; else a GraphModule of
    the same computation.

    Args:
        graph: The network.
        keep: bool[genes].
        statistics: Under which an emptied branch's constant is taken: "running", exact against the masked network in
            evaluation mode, or "batch".

    Raises:
        ValueError: The keep vector empties a group that must keep a gene.
    """
    emptied = graph.check(keep)
    extended = np.append(keep, True)
    model = copy.deepcopy(graph.network.model)
    constants = {number: _constant(graph, keep, number, statistics) for number in emptied}
    _shrink(graph, model, extended)
    if _fits_own_class(graph, model, extended, emptied):
        own = copy.deepcopy(model) if emptied else model
        for number in emptied:
            _hollow_out(graph, own, number, constants[number])
        if not emptied or _runs(own.eval(), graph.network.example):
            return own.eval()
    return _as_graph(graph, model, extended, constants).eval()


def structure(graph: ChannelGraph, keep: Keep) -> dict[str, Any]:
    """What `apply_structure` needs, as JSON values: for each group the positions of its kept genes."""
    groups = {}
    for group in graph.groups:
        own = keep[group.start : group.stop]
        groups[group.name] = {"of": len(own), "kept": np.flatnonzero(own).tolist()}
    return {"genes": graph.genes, "groups": groups}


def apply_structure(model: nn.Module, example: Tensor, described: dict[str, Any]) -> nn.Module:
    """The architecture that a structure describes, from a fresh instance of the original one.

    Args:
        model: Weights don't matter; it is left unchanged.
        example: At least one input.
        described: From `structure`.

    Raises:
        ValueError: The structure is of another architecture.
    """
    graph = analyse(trace(model, example))
    groups = described["groups"]
    if described["genes"] != graph.genes or list(groups) != [group.name for group in graph.groups]:
        raise ValueError("its channel groups are not those of this architecture")
    keep = np.zeros(graph.genes, dtype=np.bool_)
    for group in graph.groups:
        kept = np.array(groups[group.name]["kept"], dtype=np.int64)
        if (
            groups[group.name]["of"] != group.stop - group.start
            or (kept < 0).any()
            or (kept >= group.stop - group.start).any()
        ):
            raise ValueError(f"group {group.name} has another size")
        keep[group.start + kept] = True
    return remove(graph, keep)


def _constant(graph: ChannelGraph, keep: Keep, number: int, statistics: str) -> ChannelConstant:
    values = {}
    with torch.no_grad():
        for kind in ("running", "batch"):
            network = SlicedNetwork(graph, None, None, statistics=kind)
            network.select(keep)
            values[kind] = network.constant(number).clone()
    return ChannelConstant(values[statistics].clone(), values["batch"])


def _shrink(graph: ChannelGraph, model: nn.Module, extended: np.ndarray) -> None:
    """Every tensor cut to its kept channels, under all of its names; then the numbers beside them."""
    modules, originals = dict(model.named_modules()), dict(graph.network.model.named_modules())
    touched: dict[str, None] = {}
    for first, axes in graph.tensors.items():
        smaller: Tensor | None = None
        for name in graph.aliases.get(first, (first,)):
            owner, _, attribute = name.rpartition(".")
            value = getattr(modules[owner], attribute)
            if smaller is None:
                smaller = _cut(value, axes, extended)
            setattr(modules[owner], attribute, smaller)
            touched[owner] = None
    for owner in touched:
        fit_sizes(modules[owner], originals[owner])


def _cut(value: Tensor, axes: dict[int, np.ndarray], extended: np.ndarray) -> Tensor:
    data = value.detach()
    for dim, axis in axes.items():
        data = data.index_select(dim, torch.from_numpy(np.flatnonzero(extended[axis])).to(data.device))
    data = data.clone()
    return nn.Parameter(data, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else data


def _fits_own_class(graph: ChannelGraph, model: nn.Module, extended: np.ndarray, emptied: list[int]) -> bool:
    """Whether leaves of the model hold every number that changes; those leaves are set on the way."""
    modules = dict(model.named_modules())
    for node in graph.graph_module.graph.nodes:
        if node.op != "call_module":
            continue
        target = str(node.target)
        leaf = graph.graph_module.get_submodule(target)
        if not isinstance(leaf, CHANNEL_LEAVES) or not leaf.genes:
            continue
        own = modules.get(target)
        if isinstance(own, CHANNEL_LEAVES):
            own.genes = leaf.genes  # type: ignore[assignment]
            own.select(extended, _device(model))
        elif any(bool((~extended[axis]).any()) for axis in leaf.genes):
            return False
    calls: dict[str, int] = {}
    for node in graph.graph_module.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    return all(_can_hollow_out(graph, number, calls, modules) for number in emptied)


def _can_hollow_out(graph: ChannelGraph, number: int, calls: dict[str, int], modules: dict[str, nn.Module]) -> bool:
    """Whether a branch of the user's class can be emptied by replacing modules: functions in it must not mind."""
    branch = graph.branches[number]
    nodes = {node.name: node for node in graph.graph_module.graph.nodes}
    if len(branch.hollow) != 1:
        return False
    for name in branch.nodes:
        node = nodes[name]
        if node.op == "call_module":
            if calls[str(node.target)] > 1 or str(node.target) not in modules:
                return False
        elif name in branch.tail or operation(node) not in _SHAPELESS:
            return False
    return True


@torch.no_grad()
def _runs(model: nn.Module, example: Tensor) -> bool:
    """Whether the user's code accepts a constant where a branch was; one that adds to it in place does not."""
    try:
        model(example[:2])
    except RuntimeError:
        return False
    return True


def _hollow_out(graph: ChannelGraph, model: nn.Module, number: int, constant: ChannelConstant) -> None:
    branch = graph.branches[number]
    nodes = {node.name: node for node in graph.graph_module.graph.nodes}
    for name in branch.nodes:
        node = nodes[name]
        if node.op != "call_module":
            continue
        if name in branch.hollow:
            model.set_submodule(str(node.target), constant)
        elif name in branch.tail:
            model.set_submodule(str(node.target), nn.Identity())
        else:
            model.set_submodule(str(node.target), Nothing())


def _as_graph(
    graph: ChannelGraph, model: nn.Module, extended: np.ndarray, constants: dict[int, ChannelConstant]
) -> fx.GraphModule:
    """The normalised graph on the smaller modules; emptied branches are one constant each."""
    modules = dict(model.named_modules())
    exits = {graph.branches[number].exit: number for number in constants}
    made: dict[fx.Node, fx.Node] = {}
    root: dict[str, Any] = {}
    result = fx.Graph()
    placeholder: fx.Node | None = None
    for node in graph.graph_module.graph.nodes:
        if node.name in exits:
            target = f"constant_{node.name}"
            root[target] = constants[exits[node.name]]
            made[node] = result.call_module(target, (placeholder,))
            continue
        made[node] = result.node_copy(node, lambda source: made[source])
        if node.op == "placeholder":
            placeholder = made[node]
    drop_unused(result)
    for node in result.nodes:
        target = str(node.target)
        if node.op == "call_module" and target not in root:
            root[target] = _module(graph, modules, target, extended, _device(model))
        elif node.op == "get_attr":
            owner, _, name = target.rpartition(".")
            root[target] = (
                getattr(modules[owner], name)
                if owner in modules
                else getattr(graph.graph_module.get_submodule(owner), name)
            )
    result.lint()
    return fx.GraphModule(root, result, type(graph.network.model).__name__)


def _module(
    graph: ChannelGraph, modules: dict[str, nn.Module], target: str, extended: np.ndarray, device: torch.device
) -> nn.Module:
    leaf = graph.graph_module.get_submodule(target)
    if not isinstance(leaf, CHANNEL_LEAVES):
        return modules[target]
    own = copy.deepcopy(leaf)
    own.select(extended, device)
    return own


def _device(model: nn.Module) -> torch.device:
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))
