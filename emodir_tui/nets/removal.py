"""Physical removal of channels: an independent, smaller network with the output of the masked one."""

import copy
import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from emodir_tui.arrays import KeepVectors, extended
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, analyse
from emodir_tui.nets.coupling.function_rules import POINTWISE_FUNCTIONS
from emodir_tui.nets.execution.program import CHANNEL_LEAVES
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.modules.channel_modules import ChannelConstant
from emodir_tui.nets.modules.deep_copy import deep_copy
from emodir_tui.nets.modules.layer_sizes import fit_sizes
from emodir_tui.nets.tracing.network import trace
from emodir_tui.nets.tracing.tracer import erase_unused_nodes, operation

__all__ = ["ChannelConstant", "apply_structure", "remove", "structure"]


class NoChannels(nn.Module):
    """Replaces a layer of an emptied branch: returns a view without channels, at no cost."""

    def forward(self, x: Tensor) -> Tensor:
        """x[:, :0]."""
        return x[:, :0]


def remove(graph: ChannelGraph, keep: KeepVectors, *, statistics: str = "running") -> nn.Module:
    """A copy of the model without the channels that a keep vector removes, in evaluation mode.

    It has the user's class if that class works with fewer channels; otherwise it is a GraphModule of the same
    computation.

    Args:
        graph: The network.
        keep: bool[genes].
        statistics: Statistics for the constant of an emptied branch: "running" equals the masked network in evaluation
            mode, "batch" the one on batch statistics.

    Raises:
        ValueError: The keep vector empties a group that must keep a gene.
    """
    emptied = graph.check(keep)
    extended_keep = extended(keep)
    model = deep_copy(graph.network.model, graph.network.model)
    constants = _constants(graph, keep, emptied, statistics)
    _shrink(graph, model, extended_keep)
    as_graph = _as_graph(graph, model, extended_keep, constants).eval()
    if not _fits_user_class(graph, model, extended_keep, emptied):
        return as_graph
    for number in emptied:
        _replace_branch(graph, model, number, constants[number])
    return model.eval() if _computes_the_same(model.eval(), as_graph, graph.network.example) else as_graph


@torch.no_grad()
def _computes_the_same(own: nn.Module, as_graph: nn.Module, example: Tensor) -> bool:
    """Whether the user's code still works with fewer channels; it may, for example, assert a size."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(example.shape, generator=generator, dtype=torch.float32).to(example)
    expected = as_graph(x)
    try:
        found = own(x)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError):
        return False
    largest = max(1.0, float(expected.abs().max()))
    return found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4 * largest, equal_nan=True)


def structure(graph: ChannelGraph, keep: KeepVectors) -> dict[str, Any]:
    """The argument of `apply_structure` as JSON values: for each group the positions of its kept genes."""
    groups = {}
    for group in graph.groups:
        own = keep[group.start : group.stop]
        groups[group.name] = {"of": len(own), "kept": np.flatnonzero(own).tolist()}
    return {"genes": graph.genes, "groups": groups}


def apply_structure(model: nn.Module, example: Tensor, described: dict[str, Any]) -> nn.Module:
    """Prune a fresh instance of the original architecture to a described structure.

    Args:
        model: The original architecture with any weights; not changed.
        example: At least one input.
        described: Result of `structure`.

    Raises:
        ValueError: The structure belongs to another architecture.
    """
    graph = analyse(trace(model, example))
    groups = described["groups"]
    if described["genes"] != graph.genes or list(groups) != [group.name for group in graph.groups]:
        raise ValueError("the channel groups differ from those of this architecture")
    keep = np.zeros(graph.genes, dtype=np.bool_)
    for group in graph.groups:
        kept = np.array(groups[group.name]["kept"], dtype=np.int64)
        if (
            groups[group.name]["of"] != group.stop - group.start
            or (kept < 0).any()
            or (kept >= group.stop - group.start).any()
        ):
            raise ValueError(f"group {group.name} differs in size from this architecture")
        keep[group.start + kept] = True
    return remove(graph, keep)


@torch.no_grad()
def _constants(
    graph: ChannelGraph, keep: KeepVectors, emptied: list[int], statistics: str
) -> dict[int, ChannelConstant]:
    """The constant of each emptied branch, under running and under batch statistics."""
    if not emptied:
        return {}
    values: dict[str, dict[int, Tensor]] = {}
    for kind in ("running", "batch"):
        network = SlicedNetwork(graph, None, None, statistics=kind)
        network.select(keep)
        values[kind] = {number: network.constant(number).clone() for number in emptied}
    return {number: ChannelConstant(values[statistics][number].clone(), values["batch"][number]) for number in emptied}


def _shrink(graph: ChannelGraph, model: nn.Module, extended_keep: np.ndarray) -> None:
    """Cut every tensor to its kept channels, under all of its names, and update the sizes that layers store."""
    modules, originals = _modules(model), _modules(graph.network.model)
    touched: dict[str, None] = {}
    for first, axes in graph.tensors.items():
        if first in _graph_constants(graph):
            continue
        smaller: Tensor | None = None
        for name in graph.aliases.get(first, (first,)):
            owner, _, attribute = name.rpartition(".")
            value = getattr(modules[owner], attribute)
            if smaller is None:
                smaller = _cut(value, axes, extended_keep)
            setattr(modules[owner], attribute, smaller)
            touched[owner] = None
    for owner in dict.fromkeys([*touched, *graph.sized_layers]):
        axis = graph.sized_layers.get(owner)
        fit_sizes(
            modules[owner], originals[owner], None if axis is None else int(np.count_nonzero(extended_keep[axis]))
        )


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module under each of its names."""
    return dict(model.named_modules(remove_duplicate=False))


def _graph_constants(graph: ChannelGraph) -> set[str]:
    """Names of tensors that the graph reads but that are not parameters or buffers of the model."""
    return {name for name in graph.tensors if name not in graph.aliases}


def _cut(value: Tensor, axes: dict[int, np.ndarray], extended_keep: np.ndarray) -> Tensor:
    data = value.detach()
    for dim, axis in axes.items():
        data = data.index_select(dim, torch.from_numpy(np.flatnonzero(extended_keep[axis])).to(data.device))
    # Gathering yields channels-first memory.
    form = torch.channels_last if data.dim() == 4 and _channels_last(value) else torch.contiguous_format
    data = data.clone(memory_format=form)
    return nn.Parameter(data, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else data


def _channels_last(value: Tensor) -> bool:
    """Whether the memory format is channels-last and nothing else; a 1×1 kernel has both formats."""
    return not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last)


def _fits_user_class(graph: ChannelGraph, model: nn.Module, extended_keep: np.ndarray, emptied: list[int]) -> bool:
    """Update the channel leaves of the user's model; return whether they hold every size that changes."""
    if graph.unused_parameters or _graph_constants(graph):
        return False
    modules = _modules(model)
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
            own.select(extended_keep, _device(model))
            own.genes = None
        elif any(bool((~extended_keep[axis]).any()) for axis in leaf.genes):
            return False
    calls: dict[str, int] = {}
    for node in graph.graph_module.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    return all(_can_replace_branch(graph, number, calls, modules) for number in emptied)


def _can_replace_branch(graph: ChannelGraph, number: int, calls: dict[str, int], modules: dict[str, nn.Module]) -> bool:
    """Whether a branch of the user's model can be emptied by replacing modules alone."""
    branch = graph.branches[number]
    nodes = {node.name: node for node in graph.graph_module.graph.nodes}
    if len(branch.zero_input_layers) != 1:
        return False
    for name in branch.nodes:
        node = nodes[name]
        if node.op == "call_module":
            if calls[str(node.target)] > 1 or str(node.target) not in modules:
                return False
        elif name in branch.constant_tail or operation(node) not in POINTWISE_FUNCTIONS:
            return False
    return True


def _replace_branch(graph: ChannelGraph, model: nn.Module, number: int, constant: ChannelConstant) -> None:
    branch = graph.branches[number]
    nodes = {node.name: node for node in graph.graph_module.graph.nodes}
    for name in branch.nodes:
        node = nodes[name]
        if node.op != "call_module":
            continue
        if name in branch.zero_input_layers:
            model.set_submodule(str(node.target), constant)
        elif name in branch.constant_tail:
            model.set_submodule(str(node.target), nn.Identity())
        else:
            model.set_submodule(str(node.target), NoChannels())


def _as_graph(
    graph: ChannelGraph, model: nn.Module, extended_keep: np.ndarray, constants: dict[int, ChannelConstant]
) -> fx.GraphModule:
    """The rewritten graph on the smaller modules, with one constant for each emptied branch."""
    modules = _modules(model)
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
    erase_unused_nodes(result)
    for node in result.nodes:
        target = str(node.target)
        if node.op == "call_module" and target not in root:
            root[target] = _module(graph, modules, target, extended_keep, _device(model))
        elif node.op == "get_attr":
            root[target] = _read(graph, model, target, extended_keep)
    result.lint()
    return fx.GraphModule(root, result, type(graph.network.model).__name__)


def _module(
    graph: ChannelGraph, modules: dict[str, nn.Module], target: str, extended_keep: np.ndarray, device: torch.device
) -> nn.Module:
    leaf = graph.graph_module.get_submodule(target)
    if isinstance(leaf, CHANNEL_LEAVES):
        own = copy.deepcopy(leaf)
        own.select(extended_keep, device)
        own.genes = None
        return own
    return modules[target] if target in modules else copy.deepcopy(leaf)


def _read(graph: ChannelGraph, model: nn.Module, target: str, extended_keep: np.ndarray) -> Tensor:
    """A tensor that the graph reads itself: the smaller model's, or a constant found in tracing."""
    if target in graph.aliases or target in {name for names in graph.aliases.values() for name in names}:
        return operator.attrgetter(target)(model)  # type: ignore[no-any-return]
    value: Tensor = operator.attrgetter(target)(graph.graph_module)
    return _cut(value, graph.tensors.get(target, {}), extended_keep)


def _device(model: nn.Module) -> torch.device:
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))
