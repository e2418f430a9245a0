"""Rules of functions and methods: one per name, whether called as torch.f, F.f, x.f or an operator.

A rule gets the propagation and a node, records the consequences, and returns the node's output; `x` is the label tensor of
the node's input.
"""

from typing import Any

from torch import Tensor, fx

from emodir_tui.nets.coupling.functional_layer_rules import LAYER_FUNCTION_RULES, Rule
from emodir_tui.nets.coupling.labels import along, compact, concatenate, varying
from emodir_tui.nets.coupling.module_rules import padded, pooled
from emodir_tui.nets.coupling.propagation import UNKNOWN, Propagation, Weight, argument, first
from emodir_tui.nets.tracing.tracer import operation


def _pointwise(state: Propagation, node: fx.Node) -> Any:
    x = first(state, node)
    if isinstance(x, Tensor) and len(node.all_input_nodes) == 1:
        return x
    return _plain_value(state, node)


def _plain_value(state: Propagation, node: fx.Node) -> Any:
    """Return the value of arithmetic on sizes; record the channels whose number it depends on."""
    if "value" not in node.meta:
        return state.protect_through(node, UNKNOWN)
    sources = [labels for source in node.all_input_nodes for labels in state.sizes.get(source, ())]
    if sources:
        state.sizes[node] = sources
    return node.meta["value"]


def _binary(state: Propagation, node: fx.Node) -> Any:
    one, other = first(state, node), argument(state, node, 1, "other")
    if not isinstance(one, (Tensor, Weight)) and not isinstance(other, (Tensor, Weight)):
        return _plain_value(state, node)
    for source in node.all_input_nodes:
        for labels in state.sizes.get(source, ()):
            state.protect(node, labels, "a number of channels enters the arithmetic")
    match one, other:
        case Tensor(), Tensor():
            return state.combine(node, one, other)
        case (Tensor(), Weight()):
            return state.scale(node, one, other)
        case (Weight(), Tensor()):
            return state.scale(node, other, one)
        case (Tensor(), _) if not isinstance(other, Weight):
            return one
        case (_, Tensor()) if not isinstance(one, Weight):
            return other
    return state.protect_through(node, "a computed weight")


def _pool(state: Propagation, node: fx.Node) -> Any:
    x = first(state, node)
    return pooled(state, node, x) if isinstance(x, Tensor) else state.protect_through(node, UNKNOWN)


def _pad(state: Propagation, node: fx.Node) -> Any:
    x, pads = first(state, node), argument(state, node, 1, "pad")
    mode, value = argument(state, node, 2, "mode", "constant"), argument(state, node, 3, "value") or 0.0
    if not isinstance(x, Tensor) or not all(isinstance(size, int) for size in pads):
        return state.protect_through(node, UNKNOWN)
    if mode != "constant":
        return pooled(state, node, x)
    return padded(state, node, x, list(pads), value)


def _reduce(state: Propagation, node: fx.Node) -> Any:
    x, dims = first(state, node), argument(state, node, 1, "dim")
    keep = argument(state, node, 2, "keepdim", default=False)
    if not isinstance(x, Tensor) or dims is None or "shape" not in node.meta:
        return state.protect_through(node, "a reduction over all dimensions")
    dims = sorted({dim % x.dim() for dim in ([dims] if isinstance(dims, int) else dims)}, reverse=True)
    wide = varying(x)
    if wide and set(wide) <= set(dims):
        return state.protect_through(node, "a reduction over the channels")
    for dim in set(dims) & set(wide):
        state.space.unite(x, x.narrow(dim, 0, 1))
    for dim in dims:
        x = x.narrow(dim, 0, 1) if keep else x.select(dim, 0)
    return x


def _cat(state: Propagation, node: fx.Node) -> Any:
    parts, dim = argument(state, node, 0, "tensors"), argument(state, node, 1, "dim", 0)
    if not all(isinstance(part, Tensor) for part in parts):
        return state.protect_through(node, UNKNOWN)
    return concatenate(parts, dim)


def _stack(state: Propagation, node: fx.Node) -> Any:
    parts, dim = argument(state, node, 0, "tensors"), argument(state, node, 1, "dim", 0)
    if not all(isinstance(part, Tensor) for part in parts):
        return state.protect_through(node, UNKNOWN)
    dim %= parts[0].dim() + 1
    return concatenate([part.unsqueeze(dim) for part in parts], dim)


def _moves(name: str) -> Rule:
    """Return the rule of a movement that can be applied to the label tensor, for any number of channels."""

    def rule(state: Propagation, node: fx.Node) -> Any:
        x = first(state, node)
        if not isinstance(x, Tensor) or len([n for n in node.all_input_nodes if n.meta.get("shape")]) != 1:
            return state.protect_through(node, UNKNOWN)
        args, kwargs = state.value(node.args[1:]), state.value({k: v for k, v in node.kwargs.items() if k != "input"})
        kind = {"flatten": "reshape", "unflatten": "view"}.get(name, "free")
        return state.move(node, kind, lambda t: getattr(t, name)(*args, **kwargs))

    return rule


def _unmoved(state: Propagation, node: fx.Node) -> Any:
    """A copy or another memory layout: all elements keep their positions."""
    if not isinstance(first(state, node), Tensor):
        return state.protect_through(node, UNKNOWN)
    return state.move(node, "free", lambda t: t)


def _view(state: Propagation, node: fx.Node) -> Any:
    if not isinstance(first(state, node), Tensor) or not isinstance(node.meta.get("shape"), tuple):
        return state.protect_through(node, UNKNOWN)
    shape = state.shape(node)
    return state.move(node, "view", lambda t: t.reshape(shape))


def _like(state: Propagation, node: fx.Node) -> Any:
    """Labels after expand_as, which uses only the shape of the other tensor."""
    x, other = first(state, node), argument(state, node, 1, "other")
    if not isinstance(x, Tensor) or not isinstance(other, Tensor) or x.dim() != other.dim():
        return state.protect_through(node, UNKNOWN)
    narrow = [dim for dim in varying(other) if x.shape[dim] == 1]
    if narrow:
        state.protect(node, x, "one value serves every channel of another tensor")
        return state.protect_through(node, "one value spread over all channels")
    return compact(x).expand(other.shape) if not varying(x) else state.combine(node, x, other)


def _expand(state: Propagation, node: fx.Node) -> Any:
    x = first(state, node)
    if not isinstance(x, Tensor) or not isinstance(node.meta.get("shape"), tuple):
        return state.protect_through(node, UNKNOWN)
    shape = state.shape(node)
    return state.move(node, "expand", lambda t: t.expand(shape))


def _split(state: Propagation, node: fx.Node) -> Any:
    x, size = first(state, node), argument(state, node, 1, "split_size_or_sections")
    size = argument(state, node, 1, "split_size") if size is None else size
    dim = argument(state, node, 2, "dim", 0)
    if not isinstance(x, Tensor):
        return state.protect_through(node, UNKNOWN)
    return state.move(node, "split", lambda t: t.split(size, dim))


def _chunk(state: Propagation, node: fx.Node) -> Any:
    x, parts, dim = first(state, node), argument(state, node, 1, "chunks"), argument(state, node, 2, "dim", 0)
    if not isinstance(x, Tensor):
        return state.protect_through(node, UNKNOWN)
    return state.move(node, "split", lambda t: t.chunk(parts, dim))


def _getitem(state: Propagation, node: fx.Node) -> Any:
    x, index = state.value(node.args[0]), state.value(node.args[1])
    if isinstance(x, Tensor):
        plain = index if isinstance(index, tuple) else (index,)
        if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in plain):
            return state.move(node, "index", lambda t: t[index])
        return state.protect_through(node, "indexing by a tensor")
    if isinstance(x, tuple) and any(isinstance(part, Tensor) for part in x) and isinstance(index, int):
        return x[index]
    source = node.args[0]
    if isinstance(source, fx.Node) and source in state.sizes and isinstance(index, (int, slice)):
        dims = set(range(len(x))[index]) if isinstance(index, slice) else {index % len(x)}
        kept = [labels for labels in state.sizes[source] if labels.dim() != len(x) or dims & set(varying(labels))]
        if kept:
            state.sizes[node] = kept
        if len(kept) == 1 and isinstance(index, int) and operation(source) in ("size", "getattr"):
            state.counts[node] = along(kept[0], index)
        return node.meta.get("value")
    return _plain_value(state, node)


def _size(state: Propagation, node: fx.Node) -> Any:
    x = first(state, node)
    if not isinstance(x, Tensor):
        return _plain_value(state, node)
    dim = argument(state, node, 1, "dim")
    if dim is None or dim % x.dim() in varying(x):
        state.sizes[node] = [x]
    if dim is not None and dim % x.dim() in varying(x):
        state.counts[node] = along(x, dim)
    return node.meta["value"]


def _getattr(state: Propagation, node: fx.Node) -> Any:
    name = node.args[1]
    x = state.value(node.args[0])
    if name == "shape" and isinstance(x, Tensor):
        state.sizes[node] = [x]
        return node.meta["value"]
    if name in ("device", "dtype", "ndim", "is_cuda", "requires_grad"):
        return node.meta["value"]
    if name == "data":
        return x
    if name in ("T", "mT", "H") and isinstance(x, Tensor):
        return state.move(node, "free", lambda t: getattr(t, str(name)))
    return state.protect_through(node, UNKNOWN)


def _constant(state: Propagation, node: fx.Node) -> Any:
    """Labels of zeros_like and ones_like: those of their argument."""
    x = first(state, node)
    return x if isinstance(x, Tensor) else state.protect_through(node, UNKNOWN)


def _created(state: Propagation, node: fx.Node) -> Any:
    return state.protect_through(node, "a new tensor has a fixed number of channels")


def _where(state: Propagation, node: fx.Node) -> Any:
    parts = [argument(state, node, index, name) for index, name in enumerate(("condition", "input", "other"))]
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if any(part is None or isinstance(part, Weight) for part in parts):
        return state.protect_through(node, UNKNOWN)
    labels = tensors[0]
    for other in tensors[1:]:
        labels = state.combine(node, labels, other)
    return labels


def _extremes(state: Propagation, node: fx.Node) -> Any:
    """Labels after max or min: elementwise, or along a dimension with the indices as a second result."""
    x, other = first(state, node), argument(state, node, 1, "other")
    if isinstance(other, (Tensor, Weight)):
        return _binary(state, node)
    dim = argument(state, node, 1, "dim")
    if not isinstance(x, Tensor) or not isinstance(dim, int) or dim % x.dim() in varying(x):
        return state.protect_through(node, "a reduction over the channels or over all dimensions")
    reduced = x.narrow(dim, 0, 1) if argument(state, node, 2, "keepdim", default=False) else x.select(dim, 0)
    return reduced, reduced


def _rearranged(state: Propagation, node: fx.Node) -> Any:
    """Labels after flip or roll, which reorder elements along some dimensions."""
    x, last = first(state, node), 1 if operation(node) == "flip" else 2
    dims = argument(state, node, last, "dims")
    if not isinstance(x, Tensor) or dims is None:
        return state.protect_through(node, UNKNOWN)
    dims = {dim % x.dim() for dim in ([dims] if isinstance(dims, int) else dims)}
    if not dims & set(varying(x)):
        return x
    args, kwargs = state.value(node.args[1:]), state.value({k: v for k, v in node.kwargs.items() if k != "input"})
    return state.move(node, "gather", lambda t: getattr(t, str(operation(node)))(*args, **kwargs))


def _metadata(state: Propagation, node: fx.Node) -> Any:
    return node.meta.get("value")


_POINTWISE_NAMES = (
    "relu relu6 leaky_relu elu celu selu gelu silu mish sigmoid logsigmoid tanh hardtanh hardsigmoid hardswish softplus "
    "softsign threshold detach float double half bfloat16 abs neg exp log sqrt rsqrt square pow clamp clip floor ceil "
    "round sign erf sin cos to type_as"
)
_BINARY_NAMES = (
    "add sub rsub mul multiply div divide true_divide truediv floordiv mod maximum minimum subtract eq ne lt le gt ge"
)
# Not among the pointwise ones, because they are random in evaluation mode too if called with training=True.
_DROPOUT_NAMES = "dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout stochastic_depth"
_POOL_NAMES = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool2d interpolate upsample"
)
_MOVE_NAMES = "transpose permute swapaxes swapdims movedim moveaxis unsqueeze squeeze t flatten unflatten"
_CREATOR_NAMES = "zeros ones full empty arange rand randn new_zeros new_ones new_full"
# `branches` and `removal` use these two sets as well, so one entry suffices for an element-wise operation.
POINTWISE_FUNCTIONS = frozenset(_POINTWISE_NAMES.split())
BINARY_FUNCTIONS = frozenset(_BINARY_NAMES.split())
FUNCTION_RULES: dict[str, Rule] = {
    **LAYER_FUNCTION_RULES,
    **dict.fromkeys(_POINTWISE_NAMES.split(), _pointwise),
    **dict.fromkeys(_DROPOUT_NAMES.split(), _pointwise),
    **dict.fromkeys(_BINARY_NAMES.split(), _binary),
    **dict.fromkeys(_POOL_NAMES.split(), _pool),
    **{name: _moves(name) for name in _MOVE_NAMES.split()},
    "contiguous": _unmoved,
    "clone": _unmoved,
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
    "max": _extremes,
    "min": _extremes,
    "where": _where,
    "flip": _rearranged,
    "roll": _rearranged,
    **dict.fromkeys(_CREATOR_NAMES.split(), _created),
}
