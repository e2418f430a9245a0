"""State of the propagation of channel labels through a traced graph, which finds coupled channels."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from emodir_tui.nets.coupling.labels import LabelSpace, along, broadcast_along, canonical, compact, varying
from emodir_tui.nets.tracing.network import Network

UNKNOWN = "an operation whose effect on channels is not known"


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A dimension of a parameter or buffer whose positions carry labels.

    Attributes:
        tensor: Qualified name, e.g. `layer1.0.conv1.weight`.
        dim: The dimension.
        labels: int64[size of the dimension].
        node: The name of the graph's node that reads the tensor.
        role: `out` for the new channels of a layer, `in` for those it consumes, `each` for per-channel parameters, `seen`
            for channels of which a part is read and must not be empty.
    """

    tensor: str
    dim: int
    labels: Tensor
    node: str
    role: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelMixingLayer:
    """One call of a convolution or linear layer.

    Attributes:
        node: The name of the graph's node.
        layer: The module's qualified name.
        inputs: Labels of the channels that each output sums over; None for a grouped convolution.
        outputs: Labels of the channels it makes; for a grouped transposed layer those of its inputs, from which its
            MACs are counted.
        dim: The channel dimension of its input.
        macs: Multiply-accumulates for one image, one output and, unless grouped, one input channel.
        weight: The name of its weight; empty if that is computed.
        output_dim: The weight's dimension along the outputs.
    """

    node: str
    layer: str
    inputs: Tensor | None
    outputs: Tensor
    dim: int
    macs: int
    weight: str = ""
    output_dim: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """A parameter or buffer of several dimensions, read by the graph itself."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """How a node moves elements without changing them.

    Attributes:
        kind: `free`, `reshape`, `view`, `expand`, `index`, `split` or `gather`: whether and how it must be rewritten.
        replay: The same movement for any tensor of the input's shape.
    """

    kind: str
    replay: Callable[[Tensor], Any]


class Propagation:
    """One pass of channel labels over a network's graph, with the records of its rules.

    `dispatch.propagate` fills it in execution order: each operation's rule reads the values of the node's inputs and
    records the consequences. Afterwards `rewrites`, `branches`, `protection` and `channel_graph` only read it, except
    that an impossible rewrite protects labels by `protect`.

    Labels:
        space: The labels: which are united, and which must stay and why.
        values: What each node makes: label tensors, tuples of them, weights or plain Python values.

    Parameters and layers:
        slices: The dimensions of parameters and buffers that carry labels, in order of execution.
        mixing_layers: The calls of convolutions and linear layers, in order.
        sized_layers: For layers that store a number of channels in addition to weights, the labels of those channels.
        names: For each parameter and buffer the first name of the same tensor.

    Positions, from which rewrites follow:
        channel_dims: For nodes that need their input's channels in one dimension: the input's node and the dimension.
        movements: The nodes that only move elements.
        pads: Nodes that pad channels: labels of the new ones before and after, and the leaf's other arguments.

    Numbers of channels as values:
        sizes: For nodes that are numbers which depend on a number of channels: the labels of those channels.
        counts: For those of them that equal a number of channels: the labels counted.
    """

    def __init__(self, network: Network) -> None:
        self.module = network.graph_module
        self.space = LabelSpace()
        self.values: dict[fx.Node, Any] = {}
        self.slices: list[Slice] = []
        self.mixing_layers: list[ChannelMixingLayer] = []
        self.channel_dims: dict[fx.Node, tuple[fx.Node, int]] = {}
        self.movements: dict[fx.Node, Movement] = {}
        self.pads: dict[fx.Node, tuple[Tensor, Tensor, dict[str, Any]]] = {}
        self.sizes: dict[fx.Node, list[Tensor]] = {}
        self.counts: dict[fx.Node, Tensor] = {}
        self.sized_layers: dict[str, Tensor] = {}
        self.names = _canonical_names(network.model)
        self._first_labels: dict[tuple[str, int], Tensor] = {}
        self._fully_protected: dict[str, tuple[str, str]] = {}

    def value(self, argument: Any) -> Any:
        """A node's argument with every node in it replaced by that node's output."""
        return fx.node.map_arg(argument, lambda node: self.values[node])

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """The shape of a node's output for a batch of two."""
        return tuple(node.meta["shape"])

    def new_channels(self, node: fx.Node, dim: int) -> tuple[Tensor, Tensor]:
        """New labels for a node's channels along `dim`: the vector, and the vector broadcast over the output."""
        vector = self.space.new(self.shape(node)[dim])
        return vector, broadcast_along(vector, self.shape(node), dim)

    def describe(self, node: fx.Node) -> str:
        """A readable description of a node: its module, or its function and the module whose forward() calls it."""
        if node.op == "call_module":
            return f"{node.target} ({type(self.module.get_submodule(str(node.target))).__name__})"
        called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        owner = node.meta.get("owner", "")
        return f"{owner}: {called}()" if owner else f"{called}()"

    def protect(self, node: fx.Node, value: Any, reason: str) -> None:
        """Fix all labels in a value, because of a node."""
        if isinstance(value, Tensor):
            self.space.fix(value, self.describe(node), reason)
        elif isinstance(value, Weight):
            # This node reads the whole tensor, so all labels of it are protected, whatever other nodes read.
            name = self.names.get(value.name, value.name)
            self._fully_protected[name] = (self.describe(node), reason)
            for (tensor, _), labels in self._first_labels.items():
                if tensor == name:
                    self.space.fix(labels, self.describe(node), reason)
        elif isinstance(value, (tuple, list)):
            for part in value:
                self.protect(node, part, reason)
        elif isinstance(value, dict):
            self.protect(node, list(value.values()), reason)
        elif isinstance(value, slice):
            self.protect(node, [value.start, value.stop, value.step], reason)

    def protect_through(self, node: fx.Node, reason: str) -> Any:
        """Protect the labels of all inputs of a node, and return protected labels for its output."""
        for source in node.all_input_nodes:
            self.protect(node, self.values[source], reason)
            for labels in self.sizes.get(source, ()):
                self.protect(node, labels, reason)
        for layer, macs, channels in node.meta.get("inner", ()):
            self.add_protected_layer(node, layer, channels, macs, reason)
        shapes = node.meta.get("shape")
        if shapes is None:
            return node.meta.get("value")
        if isinstance(shapes, tuple):
            return self._protected(node, shapes, reason)
        return tuple(None if shape is None else self._protected(node, shape, reason) for shape in shapes)

    def add_protected_layer(self, node: fx.Node, layer: str, channels: int, macs: int, reason: str) -> None:
        """Record a layer whose channels are all protected; its MACs count, and it is listed."""
        labels = self.space.new(1).expand(channels)
        self.protect(node, labels, reason)
        self.record_slice(node, f"{layer}.weight", 0, labels, "out")
        counted = labels if macs % channels == 0 else labels[:1]
        self.mixing_layers.append(
            ChannelMixingLayer(
                node=node.name, layer=layer, inputs=None, outputs=counted, dim=1, macs=macs // len(counted)
            )
        )

    def _protected(self, node: fx.Node, shape: tuple[int, ...], reason: str) -> Tensor:
        labels = self.space.new(1)
        self.protect(node, labels, reason)
        return labels.view([1] * len(shape)).expand(shape)

    def record_slice(self, node: fx.Node, tensor: str, dim: int, labels: Tensor, role: str) -> None:
        """Record the labels of a parameter's dimension, united with those of all other readers of the parameter."""
        tensor = self.names.get(tensor, tensor)
        first_labels = self._first_labels.setdefault((tensor, dim), labels)
        if first_labels is not labels:
            self.space.unite(first_labels, labels)
        if tensor in self._fully_protected:
            self.space.fix(labels, *self._fully_protected[tensor])
        self.slices.append(Slice(tensor=tensor, dim=dim, labels=first_labels, node=node.name, role=role))

    def record_per_channel(self, node: fx.Node, prefix: str, module: nn.Module, labels: Tensor, dim: int) -> None:
        """Record a layer's parameters and buffers with one number per channel, and its input's channel dimension."""
        vector = along(labels, dim)
        self.sized_layers[prefix] = vector
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensor = getattr(module, name, None)
            if isinstance(tensor, Tensor) and tensor.dim() == 1:
                self.record_slice(node, f"{prefix}.{name}", 0, vector, "each")
        self.require_channel_dim(node, dim)

    def require_channel_dim(self, node: fx.Node, dim: int) -> None:
        """Record that a node is correct only if the channels of its first input lie along one dimension."""
        source = node.all_input_nodes[0]
        self.channel_dims[node] = (source, dim % len(self.shape(source)))

    def move(self, node: fx.Node, kind: str, replay: Callable[[Tensor], Any]) -> Any:
        """Record a node that only moves elements, and apply the movement to the label tensor."""
        self.movements[node] = Movement(kind=kind, replay=replay)
        made = replay(self.values[node.all_input_nodes[0]])
        return tuple(canonical(part) for part in made) if isinstance(made, (tuple, list)) else canonical(made)

    def combine(self, node: fx.Node, one: Tensor, other: Tensor) -> Tensor:
        """Labels of an element-wise operation on two tensors that broadcast together."""
        shape = torch.broadcast_shapes(one.shape, other.shape)
        one, other = (t.reshape([1] * (len(shape) - t.dim()) + list(t.shape)) for t in (one, other))
        for wide, narrow in ((one, other), (other, one)):
            dims = varying(wide)
            if dims and all(narrow.shape[dim] == 1 for dim in dims):
                self.protect(node, narrow, "one value serves every channel of another tensor")
                return wide.expand(shape)
        self.space.unite(one, other)
        return canonical(one.expand(shape) if varying(one) else other.expand(shape))

    def scale(self, node: fx.Node, labels: Tensor, weight: Weight) -> Tensor:
        """Labels of an element-wise operation on a tensor and a parameter of several dimensions."""
        labels = labels[(None,) * (len(weight.shape) - labels.dim())]
        offset = labels.dim() - len(weight.shape)
        for dim in varying(labels):
            if dim >= offset and weight.shape[dim - offset] > 1:
                self.record_slice(node, weight.name, dim - offset, along(labels, dim), "each")
        return labels.expand(torch.broadcast_shapes(labels.shape, weight.shape))

    def add_mixing_layer(self, node: fx.Node, layer: ChannelMixingLayer) -> None:
        """Record a call of a layer that makes new channels."""
        self.mixing_layers.append(layer)
        self.require_channel_dim(node, layer.dim)


def argument(state: Propagation, node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """A positional or named argument's value."""
    if len(node.args) > index:
        return state.value(node.args[index])
    return state.value(node.kwargs.get(name, default))


def first(state: Propagation, node: fx.Node) -> Any:
    """The first argument's value, however it is given."""
    return argument(state, node, 0, "input")


def owner(tensor: str) -> str:
    """The name of the layer that owns a tensor; the tensor's own name if the model owns it directly."""
    return tensor.rpartition(".")[0] or tensor


def unpruned_macs(macs: int, outputs: Sized, inputs: Sized | None) -> int:
    """The MACs of a layer that keeps all channels, from those of one output and one input; `inputs` None: it is grouped."""
    return macs * len(outputs) * (1 if inputs is None else len(inputs))


def positions(shape: Sequence[int], dim: int) -> int:
    """Number of positions per channel and image."""
    return prod(size for d, size in enumerate(shape) if d not in (0, dim % len(shape)))


def spatial(labels: Tensor, shape: Sequence[int], dim: int = 1) -> Tensor:
    """Labels after an operation that changes the sizes of all dimensions but batch and channels."""
    small = compact(labels)
    for other in range(len(shape)):
        if other != dim:
            small = small.narrow(other, 0, 1)
    return small.expand(tuple(shape))


def _canonical_names(model: nn.Module) -> dict[str, str]:
    """For each parameter and buffer the first name of the same tensor."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in tensors:
        names[name] = first.setdefault(id(tensor), name)
    return names
