"""How each function and method treats channels: one rule a name, whether called as torch.f, F.f, x.f or an operator."""

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, fx

from emodir_tui.nets.labels import along, compact, concatenate, spread, varying
from emodir_tui.nets.module_rules import contract, convolve, padded, pooled, shuffled, unpacked
from emodir_tui.nets.propagation import UNKNOWN, Propagation, Weight

Rule: TypeAlias = Callable[[Propagation, fx.Node], Any]


def argument(p: Propagation, node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """A positional or named argument's value."""
    if len(node.args) > index:
        return p.value(node.args[index])
    return p.value(node.kwargs.get(name, default))


def _first(p: Propagation, node: fx.Node) -> Any:
    return argument(p, node, 0, "input")


def _pointwise(p: Propagation, node: fx.Node) -> Any:
    x = _first(p, node)
    if isinstance(x, Tensor) and len(node.all_input_nodes) == 1:
        return x
    return _plain_value(p, node)


def _plain_value(p: Propagation, node: fx.Node) -> Any:
    """Arithmetic on sizes: the value, and where it depends on a number of channels a note of which."""
    if "value" not in node.meta:
        return p.opaque(node, UNKNOWN)
    sources = [labels for source in node.all_input_nodes for labels in p.sizes.get(source, ())]
    if sources:
        p.sizes[node] = sources
    return node.meta["value"]


def _binary(p: Propagation, node: fx.Node) -> Any:
    one, other = _first(p, node), argument(p, node, 1, "other")
    if not isinstance(one, (Tensor, Weight)) and not isinstance(other, (Tensor, Weight)):
        return _plain_value(p, node)
    for source in node.all_input_nodes:
        for labels in p.sizes.get(source, ()):
            p.protect(node, labels, "a number of channels enters the arithmetic")
    match one, other:
        case Tensor(), Tensor():
            return p.combine(node, one, other)
        case (Tensor(), Weight()):
            return p.scale(node, one, other)
        case (Weight(), Tensor()):
            return p.scale(node, other, one)
        case (Tensor(), _) if not isinstance(other, Weight):
            return one
        case (_, Tensor()) if not isinstance(one, Weight):
            return other
    return p.opaque(node, "a computed weight")


def _pool(p: Propagation, node: fx.Node) -> Any:
    x = _first(p, node)
    return pooled(p, node, x) if isinstance(x, Tensor) else p.opaque(node, UNKNOWN)


def _pad(p: Propagation, node: fx.Node) -> Any:
    x, pads = _first(p, node), argument(p, node, 1, "pad")
    mode, value = argument(p, node, 2, "mode", "constant"), argument(p, node, 3, "value") or 0.0
    if not isinstance(x, Tensor) or not all(isinstance(size, int) for size in pads):
        return p.opaque(node, UNKNOWN)
    if mode != "constant":
        return pooled(p, node, x)
    return padded(p, node, x, list(pads), value)


def _reduce(p: Propagation, node: fx.Node) -> Any:
    x, dims = _first(p, node), argument(p, node, 1, "dim")
    keep = argument(p, node, 2, "keepdim", default=False)
    if not isinstance(x, Tensor) or dims is None or "shape" not in node.meta:
        return p.opaque(node, "a reduction over everything")
    dims = sorted({dim % x.dim() for dim in ([dims] if isinstance(dims, int) else dims)}, reverse=True)
    wide = varying(x)
    if wide and set(wide) <= set(dims):
        return p.opaque(node, "a reduction over the channels")
    for dim in set(dims) & set(wide):
        p.space.unite(x, x.narrow(dim, 0, 1))
    for dim in dims:
        x = x.narrow(dim, 0, 1) if keep else x.select(dim, 0)
    return x


def _cat(p: Propagation, node: fx.Node) -> Any:
    parts, dim = argument(p, node, 0, "tensors"), argument(p, node, 1, "dim", 0)
    if not all(isinstance(part, Tensor) for part in parts):
        return p.opaque(node, UNKNOWN)
    return concatenate(parts, dim)


def _stack(p: Propagation, node: fx.Node) -> Any:
    parts, dim = argument(p, node, 0, "tensors"), argument(p, node, 1, "dim", 0)
    if not all(isinstance(part, Tensor) for part in parts):
        return p.opaque(node, UNKNOWN)
    dim %= parts[0].dim() + 1
    return concatenate([part.unsqueeze(dim) for part in parts], dim)


def _moves(name: str) -> Rule:
    """A movement that the label tensor can make itself, whatever the number of channels."""

    def rule(p: Propagation, node: fx.Node) -> Any:
        x = _first(p, node)
        if not isinstance(x, Tensor) or len([n for n in node.all_input_nodes if n.meta.get("shape")]) != 1:
            return p.opaque(node, UNKNOWN)
        args, kwargs = p.value(node.args[1:]), p.value({k: v for k, v in node.kwargs.items() if k != "input"})
        kind = "reshape" if name in ("flatten", "unflatten") else "free"
        return p.move(node, kind, lambda t: getattr(t, name)(*args, **kwargs))

    return rule


def _unmoved(p: Propagation, node: fx.Node) -> Any:
    """A change of memory layout: the elements stay where they are, in whatever dimensions the channels lie."""
    if not isinstance(_first(p, node), Tensor):
        return p.opaque(node, UNKNOWN)
    return p.move(node, "free", lambda t: t)


def _view(p: Propagation, node: fx.Node) -> Any:
    if not isinstance(_first(p, node), Tensor) or not isinstance(node.meta.get("shape"), tuple):
        return p.opaque(node, UNKNOWN)
    shape = p.shape(node)
    return p.move(node, "view", lambda t: t.reshape(shape))


def _like(p: Propagation, node: fx.Node) -> Any:
    """expand_as, view_as: the other tensor lends its shape only."""
    x, other = _first(p, node), argument(p, node, 1, "other")
    if not isinstance(x, Tensor) or not isinstance(other, Tensor) or x.dim() != other.dim():
        return p.opaque(node, UNKNOWN)
    narrow = [dim for dim in varying(other) if x.shape[dim] == 1]
    if narrow:
        p.protect(node, x, "one value serves every channel of another tensor")
        return p.opaque(node, "one value spread over all channels")
    return compact(x).expand(other.shape) if not varying(x) else p.combine(node, x, other)


def _expand(p: Propagation, node: fx.Node) -> Any:
    x = _first(p, node)
    if not isinstance(x, Tensor) or not isinstance(node.meta.get("shape"), tuple):
        return p.opaque(node, UNKNOWN)
    shape = p.shape(node)
    return p.move(node, "expand", lambda t: t.expand(shape))


def _split(p: Propagation, node: fx.Node) -> Any:
    x, size = _first(p, node), argument(p, node, 1, "split_size_or_sections")
    size = argument(p, node, 1, "split_size") if size is None else size
    dim = argument(p, node, 2, "dim", 0)
    if not isinstance(x, Tensor):
        return p.opaque(node, UNKNOWN)
    return p.move(node, "split", lambda t: t.split(size, dim))


def _chunk(p: Propagation, node: fx.Node) -> Any:
    x, parts, dim = _first(p, node), argument(p, node, 1, "chunks"), argument(p, node, 2, "dim", 0)
    if not isinstance(x, Tensor):
        return p.opaque(node, UNKNOWN)
    return p.move(node, "split", lambda t: t.chunk(parts, dim))


def _getitem(p: Propagation, node: fx.Node) -> Any:
    x, index = p.value(node.args[0]), p.value(node.args[1])
    if isinstance(x, Tensor):
        plain = index if isinstance(index, tuple) else (index,)
        if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in plain):
            return p.move(node, "index", lambda t: t[index])
        return p.opaque(node, "indexing by a tensor")
    if isinstance(x, tuple) and any(isinstance(part, Tensor) for part in x) and isinstance(index, int):
        return x[index]
    source = node.args[0]
    if isinstance(source, fx.Node) and source in p.sizes and isinstance(index, (int, slice)):
        dims = set(range(len(x))[index]) if isinstance(index, slice) else {index % len(x)}
        kept = [labels for labels in p.sizes[source] if labels.dim() != len(x) or dims & set(varying(labels))]
        if kept:
            p.sizes[node] = kept
        return node.meta.get("value")
    return _plain_value(p, node)


def _size(p: Propagation, node: fx.Node) -> Any:
    x = _first(p, node)
    if not isinstance(x, Tensor):
        return _plain_value(p, node)
    dim = argument(p, node, 1, "dim")
    if dim is None or dim % x.dim() in varying(x):
        p.sizes[node] = [x]
    return node.meta["value"]


def _getattr(p: Propagation, node: fx.Node) -> Any:
    name = node.args[1]
    x = p.value(node.args[0])
    if name == "shape" and isinstance(x, Tensor):
        p.sizes[node] = [x]
        return node.meta["value"]
    if name in ("device", "dtype", "ndim", "is_cuda", "requires_grad"):
        return node.meta["value"]
    if name == "data":
        return x
    if name in ("T", "mT", "H") and isinstance(x, Tensor):
        return p.move(node, "free", lambda t: getattr(t, str(name)))
    return p.opaque(node, UNKNOWN)


def _constant(p: Propagation, node: fx.Node) -> Any:
    """zeros_like and its kind keep their model's labels."""
    x = _first(p, node)
    return x if isinstance(x, Tensor) else p.opaque(node, UNKNOWN)


def _metadata(p: Propagation, node: fx.Node) -> Any:
    return node.meta.get("value")


def _tensor_of(p: Propagation, argument_: Any) -> tuple[str, Tensor] | None:
    """The name and the tensor of an argument that reads a parameter or buffer directly."""
    if isinstance(argument_, fx.Node) and argument_.op == "get_attr":
        module, _, name = str(argument_.target).rpartition(".")
        return str(argument_.target), getattr(p.module.get_submodule(module), name)
    return None


def _conv(transposed: bool) -> Rule:
    def rule(p: Propagation, node: fx.Node) -> Any:
        x = _first(p, node)
        raw = [node.args[i] if len(node.args) > i else node.kwargs.get(k) for i, k in ((1, "weight"), (2, "bias"))]
        weight, bias = _tensor_of(p, raw[0]), _tensor_of(p, raw[1])
        groups = argument(p, node, 6, "groups", 1)
        known = weight is not None and (raw[1] is None or bias is not None)
        if not known or weight is None or not isinstance(x, Tensor) or groups != 1:
            return p.opaque(node, "a convolution by a computed weight")
        return convolve(p, node, x, *weight, bias and bias[0], groups, transposed=transposed)

    return rule


def _linear(p: Propagation, node: fx.Node) -> Any:
    x = _first(p, node)
    raw = [node.args[i] if len(node.args) > i else node.kwargs.get(k) for i, k in ((1, "weight"), (2, "bias"))]
    weight, bias = _tensor_of(p, raw[0]), _tensor_of(p, raw[1])
    known = weight is not None and (raw[1] is None or bias is not None)
    if not known or weight is None or not isinstance(x, Tensor):
        return p.opaque(node, "a linear layer with a computed weight")
    return contract(p, node, x, weight[0], bias and bias[0])


def _batch_norm(p: Propagation, node: fx.Node) -> Any:
    x = _first(p, node)
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
    x, shape = _first(p, node), argument(p, node, 1, "normalized_shape")
    if not isinstance(x, Tensor):
        return p.opaque(node, UNKNOWN)
    if set(range(x.dim() - len(shape), x.dim())) & set(varying(x)):
        p.protect(node, x, "layer_norm normalises over the channels, so each depends on all")
    return x


def _channel_shuffle(p: Propagation, node: fx.Node) -> Any:
    x, groups = _first(p, node), argument(p, node, 1, "groups")
    if not isinstance(x, Tensor):
        return p.opaque(node, UNKNOWN)
    return p.move(node, "gather", lambda t: shuffled(t, groups))


def _pixel_shuffle(p: Propagation, node: fx.Node) -> Any:
    x, factor = _first(p, node), argument(p, node, 1, "upscale_factor")
    return unpacked(p, node, x, factor) if isinstance(x, Tensor) else p.opaque(node, UNKNOWN)


def _glu(p: Propagation, node: fx.Node) -> Any:
    x, dim = _first(p, node), argument(p, node, 1, "dim", -1)
    if not isinstance(x, Tensor) or varying(x) != [dim % x.dim()]:
        return p.opaque(node, UNKNOWN)
    first, second = along(x, dim).chunk(2)
    p.space.unite(first, second)
    p.expect(node, dim)
    return spread(first, p.shape(node), dim)


_POINTWISE_NAMES = (
    "relu relu6 leaky_relu elu celu selu gelu silu mish sigmoid logsigmoid tanh hardtanh hardsigmoid hardswish softplus "
    "softsign threshold dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout stochastic_depth "
    "clone detach float double half bfloat16 abs neg exp log sqrt rsqrt square pow clamp clip floor ceil "
    "round sign erf sin cos identity to type_as alias"
)
_BINARY_NAMES = (
    "add sub rsub mul multiply div divide true_divide truediv floordiv mod maximum minimum subtract eq ne lt le gt ge"
)
_POOL_NAMES = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool2d interpolate upsample"
)
_MOVE_NAMES = "transpose permute swapaxes swapdims movedim moveaxis unsqueeze squeeze t flatten unflatten"
FUNCTION_RULES: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE_NAMES.split(), _pointwise),
    **dict.fromkeys(_BINARY_NAMES.split(), _binary),
    **dict.fromkeys(_POOL_NAMES.split(), _pool),
    **{name: _moves(name) for name in _MOVE_NAMES.split()},
    "contiguous": _unmoved,
    "view": _view,
    "reshape": _view,
    "expand": _expand,
    "expand_as": _like,
    "pad": _pad,
    "mean": _reduce,
    "sum": _reduce,
    "amax": _reduce,
    "amin": _reduce,
    "cat": _cat,
    "concat": _cat,
    "concatenate": _cat,
    "stack": _stack,
    "split": _split,
    "chunk": _chunk,
    "getitem": _getitem,
    "size": _size,
    "getattr": _getattr,
    "dim": _metadata,
    "zeros_like": _constant,
    "ones_like": _constant,
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
    "glu": _glu,
}
