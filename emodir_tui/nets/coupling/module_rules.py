"""How each kind of layer treats channels: one rule a module class."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from emodir_tui.nets.coupling.labels import along, broadcast_along, canonical, compact, varying
from emodir_tui.nets.coupling.propagation import (
    UNKNOWN,
    ChannelMixingLayer,
    Propagation,
    Slice,
    owner,
    positions,
    spatial,
)
from emodir_tui.nets.modules import channel_modules as channels
from emodir_tui.nets.tracing.tracer import qualified


def module_rule(p: Propagation, node: fx.Node) -> Any:
    """What a call of a leaf module makes."""
    module = p.module.get_submodule(str(node.target))
    labels = p.value(node.args[0]) if node.args else None
    if len(node.all_input_nodes) == 1 and isinstance(labels, Tensor) and not parametrize.is_parametrized(module):
        if qualified(type(module)) == _NORM_ACT:
            return _norm_act(p, node, module, labels)
        for kinds, rule in _MODULE_RULES:
            if isinstance(module, kinds):
                return rule(p, node, module, labels)
        if qualified(type(module)) in _DROPS:
            return labels
    return p.opaque(node, f"{type(module).__name__} is {UNKNOWN}")


def _plain(module: nn.Module) -> bool:
    """A layer whose weight is its own parameter, not made from others before each call."""
    return "weight" in module._parameters and not module._forward_pre_hooks


def _conv(p: Propagation, node: fx.Node, m: Any, x: Tensor) -> Any:
    if not _plain(m) or x.dim() != m.weight.dim():
        return p.opaque(node, "its weight is computed, or its input has no batch dimension")
    bias = None if m.bias is None else f"{node.target}.bias"
    return convolve(p, node, x, f"{node.target}.weight", m.weight, bias, m.groups, transposed=m.transposed)


def convolve(
    p: Propagation,
    node: fx.Node,
    x: Tensor,
    weight: str,
    tensor: Tensor,
    bias: str | None,
    groups: int,
    *,
    transposed: bool,
) -> Tensor:
    """Labels of a convolution of any kind; a transposed one holds its input channels in the weight's first dimension."""
    shape, vector = p.shape(node), along(x, 1)
    kernel = tensor[0, 0].numel()
    spots = positions(x.shape if transposed else shape, 1)
    if groups == 1:
        out, made = p.fresh(node, 1)
        p.slice(node, weight, int(transposed), out, "out")
        p.slice(node, weight, 1 - int(transposed), vector, "in")
        inputs, counted, macs, dim = vector, out, spots * kernel, int(transposed)
    else:
        out, made = _grouped(p, node, vector, groups, weight, transposed=transposed)
        inputs, counted, macs, dim = None, vector if transposed else out, spots * kernel * tensor.shape[1], 0
    p.mixer(
        node,
        ChannelMixingLayer(
            node=node.name,
            layer=owner(weight),
            inputs=inputs,
            outputs=counted,
            dim=1,
            macs=macs,
            weight=weight,
            made=dim,
        ),
    )
    if bias is not None:
        p.slice(node, bias, 0, out, "each")
    return made


def _grouped(
    p: Propagation, node: fx.Node, vector: Tensor, groups: int, weight: str, *, transposed: bool
) -> tuple[Tensor, Tensor]:
    """A group's inputs and outputs go together; where each group has one input (depthwise), outputs are that channel."""
    count = p.shape(node)[1]
    if groups == len(vector):
        out = vector.repeat_interleave(count // groups)
        p.slice(node, weight, 0, vector if transposed else out, "each")
        return out, broadcast_along(out, p.shape(node), 1)
    out, made = p.fresh(node, 1)
    p.space.unite(vector.view(groups, -1), vector.view(groups, -1)[:, :1])
    p.space.unite(out.view(groups, -1), vector.view(groups, -1)[:, :1])
    p.slice(node, weight, 0, vector if transposed else out, "out")
    return out, made


def _linear(p: Propagation, node: fx.Node, m: Any, x: Tensor) -> Any:
    if not _plain(m):
        return p.opaque(node, "its weight is computed")
    return contract(p, node, x, f"{node.target}.weight", None if m.bias is None else f"{node.target}.bias")


def contract(p: Propagation, node: fx.Node, x: Tensor, weight: str, bias: str | None) -> Tensor:
    """Labels of a linear layer on the last dimension."""
    dim = x.dim() - 1
    out, made = p.fresh(node, dim)
    p.slice(node, weight, 0, out, "out")
    p.slice(node, weight, 1, along(x, dim), "in")
    if bias is not None:
        p.slice(node, bias, 0, out, "each")
    macs, inputs = positions(p.shape(node), dim), along(x, dim)
    p.mixer(
        node,
        ChannelMixingLayer(
            node=node.name, layer=owner(weight), inputs=inputs, outputs=out, dim=dim, macs=macs, weight=weight
        ),
    )
    return made


def _channel_norm(p: Propagation, node: fx.Node, m: nn.Module, x: Tensor) -> Tensor:
    p.per_channel(node, str(node.target), m, x, 1)
    return x


def _norm_act(p: Propagation, node: fx.Node, m: Any, x: Tensor) -> Any:
    parts = [part for part in (getattr(m, "act", None), getattr(m, "drop", None)) if part is not None]
    if all(isinstance(part, _POINTWISE) for part in parts):
        return _channel_norm(p, node, m, x)
    return p.opaque(node, f"{type(m).__name__} is {UNKNOWN}")


def _group_norm(p: Propagation, node: fx.Node, m: nn.GroupNorm, x: Tensor) -> Tensor:
    vector = along(x, 1)
    if m.num_groups < len(vector):
        p.space.unite(vector.view(m.num_groups, -1), vector.view(m.num_groups, -1)[:, :1])
    return _channel_norm(p, node, m, x)


def _layer_norm(p: Propagation, node: fx.Node, m: Any, x: Tensor) -> Any:
    dims = range(x.dim() - len(m.normalized_shape), x.dim())
    if "LayerNorm2d" in type(m).__name__:
        dims = range(1, 2)
    if set(dims) & set(varying(x)):
        p.protect(node, x, f"{type(m).__name__} normalises over the channels, so each depends on all")
    return x


def _prelu(p: Propagation, node: fx.Node, m: nn.PReLU, x: Tensor) -> Tensor:
    if m.num_parameters > 1:
        p.per_channel(node, str(node.target), m, x, 1)
    return x


def _pointwise(p: Propagation, node: fx.Node, m: nn.Module, x: Tensor) -> Tensor:
    return x


def _pool(p: Propagation, node: fx.Node, m: nn.Module, x: Tensor) -> Any:
    return pooled(p, node, x)


def pooled(p: Propagation, node: fx.Node, x: Tensor) -> Any:
    """Labels after a pooling, interpolation or padding of the dimensions behind the channels."""
    shape = node.meta.get("shape")
    if not isinstance(shape, tuple) or len(shape) != x.dim() or shape[1] != x.shape[1]:
        return p.opaque(node, UNKNOWN)
    p.expect(node, 1)
    # A part of a tensor that is pooled must keep a channel, as one that a layer reads does: none would be an error.
    p.slices.append(Slice(tensor=node.name, dim=1, labels=along(x, 1), node=node.name, role="seen"))
    return spatial(x, shape)


def _flatten(p: Propagation, node: fx.Node, m: nn.Flatten, x: Tensor) -> Any:
    return p.move(node, "reshape", lambda t: t.flatten(m.start_dim, m.end_dim))


def _unflatten(p: Propagation, node: fx.Node, m: nn.Unflatten, x: Tensor) -> Any:
    shape = p.shape(node)
    return p.move(node, "view", lambda t: t.reshape(shape))


def _shuffle(p: Propagation, node: fx.Node, m: nn.ChannelShuffle, x: Tensor) -> Any:
    return p.move(node, "gather", lambda t: shuffled(t, m.groups))


def shuffled(x: Tensor, groups: int) -> Tensor:
    """A channel shuffle for tensors of any type."""
    parts = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return parts.transpose(1, 2).reshape(x.shape)


def _pixel_shuffle(p: Propagation, node: fx.Node, m: nn.PixelShuffle, x: Tensor) -> Tensor:
    return pixel_shuffled(p, node, x, m.upscale_factor)


def pixel_shuffled(p: Propagation, node: fx.Node, x: Tensor, factor: int) -> Tensor:
    """Labels after a pixel shuffle: the channels that become one channel's pixels go together."""
    blocks = along(x, 1).view(-1, factor * factor)
    p.space.unite(blocks, blocks[:, :1])
    p.expect(node, 1)
    return broadcast_along(blocks[:, 0], p.shape(node), 1)


def _pixel_unshuffle(p: Propagation, node: fx.Node, m: nn.PixelUnshuffle, x: Tensor) -> Tensor:
    return pixel_unshuffled(p, node, x, m.downscale_factor)


def pixel_unshuffled(p: Propagation, node: fx.Node, x: Tensor, factor: int) -> Tensor:
    """Labels after the reverse of a pixel shuffle: each channel becomes several, one for each pixel of a square."""
    p.expect(node, 1)
    return broadcast_along(along(x, 1).repeat_interleave(factor * factor), p.shape(node), 1)


def _softmax(p: Propagation, node: fx.Node, m: Any, x: Tensor) -> Any:
    return normalised(p, node, x, 1 if isinstance(m, nn.Softmax2d) else m.dim)


def normalised(p: Propagation, node: fx.Node, x: Tensor, dim: Any) -> Any:
    """Labels after a softmax, which may run over anything but channels."""
    if not isinstance(dim, int) or dim % x.dim() in varying(x):
        return p.opaque(node, "a softmax over the channels")
    return x


def _own_pad(p: Propagation, node: fx.Node, m: channels.ChannelPad, x: Tensor) -> Any:
    return padded(p, node, x, [*m.rest, m.before, m.after], m.value)


def padded(p: Propagation, node: fx.Node, x: Tensor, pads: list[int], value: float) -> Any:
    """Labels after padding with a constant; padded channels are new ones."""
    dims = [x.dim() - 1 - index for index in range(len(pads) // 2)]
    wide = [dim for dim in varying(x) if dim in dims and any(pads[2 * dims.index(dim) :][:2])]
    if not wide:
        return canonical(
            compact(x).expand([n if compact(x).shape[d] == 1 else x.shape[d] for d, n in enumerate(p.shape(node))])
        )
    dim = wide[0]
    before, after = pads[2 * dims.index(dim) :][:2]
    if len(wide) > 1 or before < 0 or after < 0 or any(pads[2 * dims.index(dim) + 2 :]):
        return p.opaque(node, "a padding that crops channels, or pads several dimensions that hold channels")
    front, back = p.space.new(before), p.space.new(after)
    p.pads[node] = (front, back, {"rest": tuple(pads[: 2 * dims.index(dim)]), "value": value})
    p.expect(node, dim)
    return broadcast_along(torch.cat([front, along(x, dim), back]), p.shape(node), dim)


def _own_gather(p: Propagation, node: fx.Node, m: channels.ChannelGather, x: Tensor) -> Any:
    index = m.index.cpu()
    return p.move(node, "gather", lambda t: t.index_select(m.dim, index))


def _own_split(p: Propagation, node: fx.Node, m: channels.ChannelSplit, x: Tensor) -> Any:
    return p.move(node, "split", lambda t: t.split(m.sizes, m.dim))


_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.LogSigmoid,
    nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.Softsign, nn.Threshold, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
_POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.LPPool1d, nn.LPPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d,
    nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d, nn.CircularPad1d, nn.CircularPad2d,
    nn.CircularPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d,
)  # fmt: skip
_CHANNEL_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
_NORM_ACT = "timm.layers.norm_act.BatchNormAct2d"
_DROPS = {"torchvision.ops.stochastic_depth.StochasticDepth", "timm.layers.drop.DropPath"}
_MODULE_RULES: list[tuple[Any, Callable[[Propagation, fx.Node, Any, Tensor], Any]]] = [
    (_CONVS, _conv),
    (nn.Linear, _linear),
    (_CHANNEL_NORMS, _channel_norm),
    (nn.GroupNorm, _group_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.PReLU, _prelu),
    (_POINTWISE, _pointwise),
    (_POOLS, _pool),
    (nn.Flatten, _flatten),
    (nn.Unflatten, _unflatten),
    (nn.ChannelShuffle, _shuffle),
    (nn.PixelShuffle, _pixel_shuffle),
    (nn.PixelUnshuffle, _pixel_unshuffle),
    ((nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d), _softmax),
    (channels.ChannelPad, _own_pad),
    (channels.ChannelGather, _own_gather),
    (channels.ChannelSplit, _own_split),
]
