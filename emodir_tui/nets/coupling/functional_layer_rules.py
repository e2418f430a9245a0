"""Rules of layers called as functions, such as F.conv2d on a parameter, F.batch_norm and F.softmax."""

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

from torch import Tensor, fx

from emodir_tui.nets.coupling.labels import along, broadcast_along, varying
from emodir_tui.nets.coupling.module_rules import (
    contract,
    convolve,
    normalised,
    pixel_shuffled,
    pixel_unshuffled,
    shuffled,
)
from emodir_tui.nets.coupling.propagation import UNKNOWN, Propagation, argument, first, positions

Rule: TypeAlias = Callable[[Propagation, fx.Node], Any]


def _softmax(state: Propagation, node: fx.Node) -> Any:
    x = first(state, node)
    return (
        normalised(state, node, x, argument(state, node, 1, "dim"))
        if isinstance(x, Tensor)
        else state.protect_through(node, UNKNOWN)
    )


def _tensor_of(state: Propagation, argument_: Any) -> tuple[str, Tensor] | None:
    """The name and the tensor of an argument that reads a parameter or buffer directly."""
    if isinstance(argument_, fx.Node) and argument_.op == "get_attr":
        module, _, name = str(argument_.target).rpartition(".")
        return str(argument_.target), getattr(state.module.get_submodule(module), name)
    return None


def _conv(transposed: bool) -> Rule:
    def rule(state: Propagation, node: fx.Node) -> Any:
        x = first(state, node)
        raw = [node.args[i] if len(node.args) > i else node.kwargs.get(k) for i, k in ((1, "weight"), (2, "bias"))]
        weight, bias = _tensor_of(state, raw[0]), _tensor_of(state, raw[1])
        groups = argument(state, node, 6, "groups", 1)
        known = weight is not None and (raw[1] is None or bias is not None)
        if not known or weight is None or not isinstance(x, Tensor) or groups != 1:
            return _layer_with_computed_weight(
                state, node, raw[0], "a convolution by a computed weight", transposed=transposed
            )
        return convolve(state, node, x, *weight, bias and bias[0], groups, transposed=transposed)

    return rule


def _layer_with_computed_weight(
    state: Propagation, node: fx.Node, weight: Any, reason: str, *, transposed: bool = False
) -> Any:
    """Protect the channels of a layer whose weight is computed, and count its MACs."""
    made = state.protect_through(node, reason)
    if isinstance(weight, fx.Node) and isinstance(weight.meta.get("shape"), tuple) and isinstance(made, Tensor):
        each = weight.meta["shape"][1:]
        dim = 1 if len(each) > 1 else made.dim() - 1
        data = state.shape(node.all_input_nodes[0]) if transposed else state.shape(node)
        macs = positions(data, dim) * data[dim] * prod(each)
        state.add_protected_layer(node, node.meta.get("owner") or node.name, state.shape(node)[dim], macs, reason)
    return made


def _linear(state: Propagation, node: fx.Node) -> Any:
    x = first(state, node)
    raw = [node.args[i] if len(node.args) > i else node.kwargs.get(k) for i, k in ((1, "weight"), (2, "bias"))]
    weight, bias = _tensor_of(state, raw[0]), _tensor_of(state, raw[1])
    known = weight is not None and (raw[1] is None or bias is not None)
    if not known or weight is None or not isinstance(x, Tensor):
        return _layer_with_computed_weight(state, node, raw[0], "a linear layer with a computed weight")
    return contract(state, node, x, weight[0], bias and bias[0])


def _batch_norm(state: Propagation, node: fx.Node) -> Any:
    x = first(state, node)
    rest = list(node.args[1:]) + list(node.kwargs.values())
    tensors = [_tensor_of(state, part) for part in rest if isinstance(part, fx.Node)]
    if not isinstance(x, Tensor) or any(tensor is None for tensor in tensors):
        return state.protect_through(node, "a normalisation with computed parameters")
    vector = along(x, 1)
    for tensor in tensors:
        if tensor is not None:
            state.record_slice(node, tensor[0], 0, vector, "each")
    state.require_channel_dim(node, 1)
    return x


def _layer_norm(state: Propagation, node: fx.Node) -> Any:
    x, shape = first(state, node), argument(state, node, 1, "normalized_shape")
    if not isinstance(x, Tensor):
        return state.protect_through(node, UNKNOWN)
    if set(range(x.dim() - len(shape), x.dim())) & set(varying(x)):
        state.protect(node, x, "layer_norm normalises over the channels, so each depends on all")
    return x


def _channel_shuffle(state: Propagation, node: fx.Node) -> Any:
    x, groups = first(state, node), argument(state, node, 1, "groups")
    if not isinstance(x, Tensor):
        return state.protect_through(node, UNKNOWN)
    return state.move(node, "gather", lambda t: shuffled(t, groups))


def _pixel_shuffle(state: Propagation, node: fx.Node) -> Any:
    x, factor = first(state, node), argument(state, node, 1, "upscale_factor")
    return pixel_shuffled(state, node, x, factor) if isinstance(x, Tensor) else state.protect_through(node, UNKNOWN)


def _pixel_unshuffle(state: Propagation, node: fx.Node) -> Any:
    x, factor = first(state, node), argument(state, node, 1, "downscale_factor")
    return pixel_unshuffled(state, node, x, factor) if isinstance(x, Tensor) else state.protect_through(node, UNKNOWN)


def _glu(state: Propagation, node: fx.Node) -> Any:
    x, dim = first(state, node), argument(state, node, 1, "dim", -1)
    if not isinstance(x, Tensor) or varying(x) != [dim % x.dim()]:
        return state.protect_through(node, UNKNOWN)
    values, gates = along(x, dim).chunk(2)
    state.space.unite(values, gates)
    state.require_channel_dim(node, dim)
    return broadcast_along(values, state.shape(node), dim)


LAYER_FUNCTION_RULES: dict[str, Rule] = {
    "conv1d": _conv(transposed=False),
    "conv2d": _conv(transposed=False),
    "conv3d": _conv(transposed=False),
    "conv_transpose1d": _conv(transposed=True),
    "conv_transpose2d": _conv(transposed=True),
    "conv_transpose3d": _conv(transposed=True),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "channel_shuffle": _channel_shuffle,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "glu": _glu,
}
