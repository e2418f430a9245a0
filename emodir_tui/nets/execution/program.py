"""A span of a network as a list of steps that can run repeatedly with different weights.

Nothing is compiled: a step is a module or function and the sources of its arguments. This costs some microseconds per
step, and in return no candidate needs a new graph, however many channels or branches it lacks.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.span import span_nodes
from emodir_tui.nets.modules.channel_modules import ChannelGather, ChannelPad, ChannelSplit, ChannelView
from emodir_tui.nets.tracing.network import CutPoint
from emodir_tui.nets.tracing.tracer import operation

CHANNEL_LEAVES = (ChannelPad, ChannelSplit, ChannelGather, ChannelView)
BATCH_NORMS = nn.modules.batchnorm._BatchNorm


class Program:
    """The steps between two cut points.

    Args:
        graph: The network.
        start: The span begins after this cut; None for the input.
        stop: The span ends with this cut; None for the output.
        statistics: "batch" normalises by the current batch and leaves running statistics alone; "running" normalises as
            in evaluation mode.

    Attributes:
        nodes: The nodes of the span, in order.
        leaves: Copies of the leaf modules, by their name in the graph; their tensors may be replaced.
        attributes: Tensors used instead of those that the graph reads itself, by name.

    Raises:
        ValueError: A cut goes through a residual branch.
    """

    def __init__(self, graph: ChannelGraph, start: CutPoint | None, stop: CutPoint | None, statistics: str) -> None:
        self.graph = graph
        self.nodes = span_nodes(graph, start, stop)
        self.statistics = statistics
        self.leaves: dict[str, nn.Module] = {}
        placeholder = next(node for node in graph.graph_module.graph.nodes if node.op == "placeholder")
        self._input = placeholder.name if start is None else start.node
        self._output = self.nodes[-1].name if stop is None and self.nodes else stop.node if stop else self._input
        if stop is None:
            (result,) = next(node for node in graph.graph_module.graph.nodes if node.op == "output").args
            self._output = result.name if isinstance(result, fx.Node) else self._output
        for node in self.nodes:
            if node.op == "call_module" and str(node.target) not in self.leaves:
                self.leaves[str(node.target)] = leaf_copy(
                    graph.graph_module.get_submodule(str(node.target)), statistics
                )
        self.attributes: dict[str, Tensor] = {}
        self._last_use = self._last_uses()
        self._overwritten = self._overwritable()
        parameters = {node.name for node in graph.graph_module.graph.nodes if node.op == "get_attr"}
        for branch in graph.branches:
            computed = set(branch.nodes) - parameters
            inside = {node.name for node in self.nodes} & computed
            if inside and inside != computed:
                raise ValueError(f"a cut goes through the residual branch that ends at {branch.exit}")

    def run(
        self,
        x: Tensor,
        skipped: Mapping[str, Tensor | None],
        gate: Callable[[str, Tensor], Tensor] | None = None,
        seen: Callable[[str, Tensor], None] | None = None,
    ) -> Tensor:
        """The span's output for x.

        Args:
            x: The tensor at the start cut.
            skipped: Nodes that do not run, with the values used instead (None for a value that nothing reads).
            gate: Maps a node's name and its first argument to the argument used instead.
            seen: Called with the name and the value of each node.
        """
        values: dict[str, Any] = {self._input: x}
        plain = gate is None and seen is None and not torch.is_grad_enabled()
        for node in self.nodes:
            if node.name in skipped:
                values[node.name] = skipped[node.name]
            elif plain and node.name in self._overwritten and self._overwritten[node.name] not in skipped:
                values[node.name] = self._in_place(node, values)
            else:
                values[node.name] = self._step(node, values, gate)
            if seen is not None:
                seen(node.name, values[node.name])
            for name in self._last_use.get(node.name, ()):
                values.pop(name, None)
        return values[self._output]  # type: ignore[no-any-return]

    def constant(self, number: int) -> Tensor:
        """Output of an emptied branch at one position: its constant tail, with each layer without inputs as its bias."""
        branch = self.graph.branches[number]
        tail = set(branch.constant_tail)
        values: dict[str, Any] = {}
        for node in self.nodes:
            if node.name not in tail:
                continue
            if node.name in branch.zero_input_layers:
                values[node.name] = self._bias(node)
            elif self.statistics == "batch" and isinstance(leaf := self.leaves.get(str(node.target)), BATCH_NORMS):
                # Batch statistics need two images; for a constant they are exactly the constant and 0.
                constant = values[node.all_input_nodes[0].name]
                values[node.name] = leaf(torch.cat([constant, constant]))[:1]
            else:
                values[node.name] = self._step(node, values, None)
        return values[branch.exit]  # type: ignore[no-any-return]

    def _bias(self, node: fx.Node) -> Tensor:
        layer = next(layer for layer in self.graph.layers if layer.node == node.name)
        weight, bias = self._parameters(node)
        bias = weight.new_zeros(weight.shape[layer.output_dim]) if bias is None else bias
        return _along(bias, len(node.meta["shape"]), layer.dim)

    def _parameters(self, node: fx.Node) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a layer that is a module, or a function of parameters."""
        if node.op == "call_module":
            leaf: Any = self.leaves[str(node.target)]
            return leaf.weight, leaf.bias
        places = ((1, "weight"), (2, "bias"))
        given: list[Any] = [node.args[at] if len(node.args) > at else node.kwargs.get(name) for at, name in places]
        weight, bias = (None if part is None else self._step(part, {}, None) for part in given)
        return weight, bias  # type: ignore[return-value]

    def _step(self, node: fx.Node, values: dict[str, Any], gate: Callable[[str, Tensor], Tensor] | None) -> Any:
        if node.op == "get_attr":
            replaced = self.attributes.get(str(node.target))
            return operator.attrgetter(str(node.target))(self.graph.graph_module) if replaced is None else replaced
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda source: values[source.name])
        if gate is not None and args and isinstance(args[0], Tensor):
            args = (gate(node.name, args[0]), *args[1:])
        if node.op == "call_module":
            return self.leaves[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def _in_place(self, node: fx.Node, values: dict[str, Any]) -> Tensor:
        """The step's result, written over an operand that nothing reads any more and that is still in the cache."""
        target: Tensor = values[self._overwritten[node.name]]
        if _kind(self.graph, node) == "relu":
            return target.relu_()
        first, second = (values[source.name] for source in node.all_input_nodes)
        if first.shape != second.shape or first.dtype != second.dtype:
            return torch.add(first, second)
        return target.add_(second if target is first else first)

    def _overwritable(self) -> dict[str, str]:
        """ReLUs and sums of two tensors, each with an operand that only they read and that shares no memory."""
        kinds = {node.name: _kind(self.graph, node) for node in self.nodes}
        found = {}
        for node in self.nodes:
            operands = node.all_input_nodes
            if kinds[node.name] not in ("relu", "add") or len(operands) != (1 if kinds[node.name] == "relu" else 2):
                continue
            for operand in reversed(operands):
                # A second reader could have made a view of it.
                if kinds.get(operand.name) and len(operand.users) == 1 and operand.name != self._output:
                    found[node.name] = operand.name
        return found

    def _last_uses(self) -> dict[str, list[str]]:
        """For each node the values that no later node reads, so that their memory can be freed after it."""
        last: dict[str, str] = {}
        for node in self.nodes:
            for source in node.all_input_nodes:
                last[source.name] = node.name
        uses: dict[str, list[str]] = {}
        for source_name, node_name in last.items():
            if source_name != self._output:
                uses.setdefault(node_name, []).append(source_name)
        return uses


def _kind(graph: ChannelGraph, node: fx.Node) -> str:
    """The kind of a node whose result surely has memory of its own: relu, layer or add; empty for all others."""
    if node.op == "call_module":
        kind = type(graph.graph_module.get_submodule(str(node.target)))
        # Exactly torch's own classes: a subclass may return its input.
        if kind is nn.ReLU:
            return "relu"
        return "layer" if kind in (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d) else ""
    if node.op not in ("call_function", "call_method") or node.kwargs:
        return ""
    name = operation(node)
    if name == "relu" and len(node.args) == 1:
        return "relu"
    tensors = len(node.args) == 2 and all(isinstance(argument, fx.Node) for argument in node.args)
    return "add" if name == "add" and tensors else ""


def set_tensor(leaf: nn.Module, name: str, value: Tensor | None) -> None:
    """Replace a parameter or buffer of a leaf by a plain tensor."""
    leaf._parameters.pop(name, None)
    leaf._buffers.pop(name, None)
    leaf.__dict__[name] = value


def leaf_copy(module: nn.Module, statistics: str) -> nn.Module:
    """A copy of a leaf that shares its weights, in evaluation mode, and changes nothing in place."""
    # Not copy.copy: a layer with a parametrised weight refuses it.
    leaf: nn.Module = object.__new__(type(module))
    leaf.__dict__ = dict(module.__dict__)
    leaf._parameters = dict(module._parameters)
    leaf._buffers = dict(module._buffers)
    leaf._modules = {name: child and leaf_copy(child, statistics) for name, child in module._modules.items()}
    leaf.training = False
    if getattr(leaf, "inplace", False) is True:
        leaf.__dict__["inplace"] = False
    if isinstance(leaf, BATCH_NORMS) and statistics == "batch":
        # Without running statistics a batch normalisation uses those of the batch, in evaluation mode too.
        leaf.track_running_stats = False
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            set_tensor(leaf, name, None)
    return leaf


def _along(vector: Tensor, dims: int, dim: int) -> Tensor:
    sizes = [1] * dims
    sizes[dim] = -1
    return vector.view(sizes)
