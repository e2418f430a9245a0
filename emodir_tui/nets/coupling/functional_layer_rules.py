"""How layers that are called as functions treat channels: F.conv2d on a parameter, F.batch_norm, F.softmax and so on."""

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


def _softmax(p: Propagation, node: fx.Node) -> Any:
    x = first(p, node)
    return normalised(p, node, x, argument(p, node, 1, "dim")) if isinstance(x, Tensor) else p.opaque(node, UNKNOWN)


def _tensor_of(p: Propagation, argument_: Any) -> tuple[str, Tensor] | None:
    """The name and the tensor of an argument that reads a parameter or buffer directly."""
    if isinstance(argument_, fx.Node) and argument_.op == "get_attr":
        module, _, name = str(argument_.target).rpartition(".")
        return str(argument_.target), getattr(p.module.get_submodule(module), name)
    return None


def _conv(transposed: bool) -> Rule:
    def rule(p: Propagation, node: fx.Node) -> Any:
        x = first(p, node)
        raw = [node.args[i] if len(node.args) > i else node.kwargs.get(k) for i, k in ((1, "weight"), (2, "bias"))]
        weight, bias = _tensor_of(p, raw[0]), _tensor_of(p, raw[1])
        groups = argument(p, node, 6, "groups", 1)
        known = weight is not None and (raw[1] is None or bias is not None)
        if not known or weight is None or not isinstance(x, Tensor) or groups != 1:
            return _computed(p, node, raw[0], "a convolution by a computed weight", transposed=transposed)
        return convolve(p, node, x, *weight, bias and bias[0], groups, transposed=transposed)

    return rule


def _computed(p: Propagation, node: fx.Node, weight: Any, reason: str, *, transposed: bool = False) -> Any:
    """A layer whose weight is not simply a parameter: all its channels stay, and its MACs count."""
    made = p.opaque(node, reason)
    if isinstance(weight, fx.Node) and isinstance(weight.meta.get("shape"), tuple) and isinstance(made, Tensor):
        each = weight.meta["shape"][1:]
        dim = 1 if len(each) > 1 else made.dim() - 1
        data = p.shape(node.all_input_nodes[0]) if transposed else p.shape(node)
        macs = positions(data, dim) * data[dim] * prod(each)
        p.opaque_layer(node, node.meta.get("owner") or node.name, p.shape(node)[dim], macs, reason)
    return made


def _linear(p: Propagation, node: fx.Node) -> Any:
    x = first(p, node)
    raw = [node.args[i] if len(node.args) > i else node.kwargs.get(k) for i, k in ((1, "weight"), (2, "bias"))]
    weight, bias = _tensor_of(p, raw[0]), _tensor_of(p, raw[1])
    known = weight is not None and (raw[1] is None or bias is not None)
    if not known or weight is None or not isinstance(x, Tensor):
        return _computed(p, node, raw[0], "a linear layer with a computed weight")
    return contract(p, node, x, weight[0], bias and bias[0])


def _batch_norm(p: Propagation, node: fx.Node) -> Any:
    x = first(p, node)
    rest = list(node.args[1:]) + list(node.kwargs.values())
    tensors = [_tensor_of(p, part) for part in rest if isinstance(part, fx.Node)]
    if not isinstance(x, Tensor) or any(tensor is None for tensor in tensors):
        return p.opaque(node, "a normalisation with computed numbers")
    vector = along(x, 1)
    for tensor in tensors:
        if tensor is not None:
            p.slice(node, tensor[0], 0, vector, "each")
    p.expect(node, 1)
    return x


def _layer_norm(p: Propagation, node: fx.Node) -> Any:
    x, shape = first(p, node), argument(p, node, 1, "normalized_shape")
    if not isinstance(x, Tensor):
        return p.opaque(node, UNKNOWN)
    if set(range(x.dim() - len(shape), x.dim())) & set(varying(x)):
        p.protect(node, x, "layer_norm normalises over the channels, so each depends on all")
    return x


def _channel_shuffle(p: Propagation, node: fx.Node) -> Any:
    x, groups = first(p, node), argument(p, node, 1, "groups")
    if not isinstance(x, Tensor):
        return p.opaque(node, UNKNOWN)
    return p.move(node, "gather", lambda t: shuffled(t, groups))


def _pixel_shuffle(p: Propagation, node: fx.Node) -> Any:
    x, factor = first(p, node), argument(p, node, 1, "upscale_factor")
    return pixel_shuffled(p, node, x, factor) if isinstance(x, Tensor) else p.opaque(node, UNKNOWN)


def _pixel_unshuffle(p: Propagation, node: fx.Node) -> Any:
    x, factor = first(p, node), argument(p, node, 1, "downscale_factor")
    return pixel_unshuffled(p, node, x, factor) if isinstance(x, Tensor) else p.opaque(node, UNKNOWN)


def _glu(p: Propagation, node: fx.Node) -> Any:
    x, dim = first(p, node), argument(p, node, 1, "dim", -1)
    if not isinstance(x, Tensor) or varying(x) != [dim % x.dim()]:
        return p.opaque(node, UNKNOWN)
    values, gates = along(x, dim).chunk(2)
    p.space.unite(values, gates)
    p.expect(node, dim)
    return broadcast_along(values, p.shape(node), dim)


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
