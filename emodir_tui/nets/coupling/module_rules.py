"""Rules of modules: one per module class. `x` is the label tensor of the module's input."""

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


def module_rule(state: Propagation, node: fx.Node) -> Any:
    """Labels of a leaf module's output."""
    module = state.module.get_submodule(str(node.target))
    labels = state.value(node.args[0]) if node.args else None
    if len(node.all_input_nodes) == 1 and isinstance(labels, Tensor) and not parametrize.is_parametrized(module):
        if qualified(type(module)) == NORM_ACT:
            return _norm_act(state, node, module, labels)
        for kinds, rule in _MODULE_RULES:
            if isinstance(module, kinds):
                return rule(state, node, module, labels)
        if qualified(type(module)) in DROPS:
            return labels
    return state.protect_through(node, f"{type(module).__name__} is {UNKNOWN}")


def _plain(module: nn.Module) -> bool:
    """Whether a layer's weight is its own parameter, not computed before each call."""
    return "weight" in module._parameters and not module._forward_pre_hooks


def _conv(state: Propagation, node: fx.Node, module: Any, x: Tensor) -> Any:
    if not _plain(module) or x.dim() != module.weight.dim():
        return state.protect_through(node, "its weight is computed, or its input has no batch dimension")
    bias = None if module.bias is None else f"{node.target}.bias"
    return convolve(
        state, node, x, f"{node.target}.weight", module.weight, bias, module.groups, transposed=module.transposed
    )


def convolve(
    state: Propagation,
    node: fx.Node,
    x: Tensor,
    weight: str,
    tensor: Tensor,
    bias: str | None,
    groups: int,
    *,
    transposed: bool,
) -> Tensor:
    """Labels after a convolution; a transposed one has its input channels in the weight's first dimension."""
    shape, vector = state.shape(node), along(x, 1)
    kernel = tensor[0, 0].numel()
    spots = positions(x.shape if transposed else shape, 1)
    if groups == 1:
        out, made = state.new_channels(node, 1)
        state.record_slice(node, weight, int(transposed), out, "out")
        state.record_slice(node, weight, 1 - int(transposed), vector, "in")
        inputs, counted, macs, dim = vector, out, spots * kernel, int(transposed)
    else:
        out, made = _grouped(state, node, vector, groups, weight, transposed=transposed)
        inputs, counted, macs, dim = None, vector if transposed else out, spots * kernel * tensor.shape[1], 0
    state.add_mixing_layer(
        node,
        ChannelMixingLayer(
            node=node.name,
            layer=owner(weight),
            inputs=inputs,
            outputs=counted,
            dim=1,
            macs=macs,
            weight=weight,
            output_dim=dim,
        ),
    )
    if bias is not None:
        state.record_slice(node, bias, 0, out, "each")
    return made


def _grouped(
    state: Propagation, node: fx.Node, vector: Tensor, groups: int, weight: str, *, transposed: bool
) -> tuple[Tensor, Tensor]:
    """Unite the inputs and outputs of each group; in a depthwise convolution the outputs are labelled as the input."""
    count = state.shape(node)[1]
    if groups == len(vector):
        out = vector.repeat_interleave(count // groups)
        state.record_slice(node, weight, 0, vector if transposed else out, "each")
        return out, broadcast_along(out, state.shape(node), 1)
    out, made = state.new_channels(node, 1)
    state.space.unite(vector.view(groups, -1), vector.view(groups, -1)[:, :1])
    state.space.unite(out.view(groups, -1), vector.view(groups, -1)[:, :1])
    state.record_slice(node, weight, 0, vector if transposed else out, "out")
    return out, made


def _linear(state: Propagation, node: fx.Node, module: Any, x: Tensor) -> Any:
    if not _plain(module):
        return state.protect_through(node, "its weight is computed")
    return contract(state, node, x, f"{node.target}.weight", None if module.bias is None else f"{node.target}.bias")


def contract(state: Propagation, node: fx.Node, x: Tensor, weight: str, bias: str | None) -> Tensor:
    """Labels after a linear layer, which acts on the last dimension."""
    dim = x.dim() - 1
    out, made = state.new_channels(node, dim)
    state.record_slice(node, weight, 0, out, "out")
    state.record_slice(node, weight, 1, along(x, dim), "in")
    if bias is not None:
        state.record_slice(node, bias, 0, out, "each")
    macs, inputs = positions(state.shape(node), dim), along(x, dim)
    state.add_mixing_layer(
        node,
        ChannelMixingLayer(
            node=node.name, layer=owner(weight), inputs=inputs, outputs=out, dim=dim, macs=macs, weight=weight
        ),
    )
    return made


def _channel_norm(state: Propagation, node: fx.Node, module: nn.Module, x: Tensor) -> Tensor:
    state.record_per_channel(node, str(node.target), module, x, 1)
    return x


def _norm_act(state: Propagation, node: fx.Node, module: Any, x: Tensor) -> Any:
    parts = [part for part in (getattr(module, "act", None), getattr(module, "drop", None)) if part is not None]
    if all(isinstance(part, POINTWISE_MODULES) for part in parts):
        return _channel_norm(state, node, module, x)
    return state.protect_through(node, f"{type(module).__name__} is {UNKNOWN}")


def _group_norm(state: Propagation, node: fx.Node, module: nn.GroupNorm, x: Tensor) -> Tensor:
    vector = along(x, 1)
    if module.num_groups < len(vector):
        state.space.unite(vector.view(module.num_groups, -1), vector.view(module.num_groups, -1)[:, :1])
    return _channel_norm(state, node, module, x)


def _layer_norm(state: Propagation, node: fx.Node, module: Any, x: Tensor) -> Any:
    dims = range(x.dim() - len(module.normalized_shape), x.dim())
    if "LayerNorm2d" in type(module).__name__:
        dims = range(1, 2)
    if set(dims) & set(varying(x)):
        state.protect(node, x, f"{type(module).__name__} normalises over the channels, so each depends on all")
    return x


def _prelu(state: Propagation, node: fx.Node, module: nn.PReLU, x: Tensor) -> Tensor:
    if module.num_parameters > 1:
        state.record_per_channel(node, str(node.target), module, x, 1)
    return x


def _pointwise(state: Propagation, node: fx.Node, module: nn.Module, x: Tensor) -> Tensor:
    return x


def _pool(state: Propagation, node: fx.Node, module: nn.Module, x: Tensor) -> Any:
    return pooled(state, node, x)


def pooled(state: Propagation, node: fx.Node, x: Tensor) -> Any:
    """Labels after a pooling, interpolation or padding of the dimensions after the channels."""
    shape = node.meta.get("shape")
    if not isinstance(shape, tuple) or len(shape) != x.dim() or shape[1] != x.shape[1]:
        return state.protect_through(node, UNKNOWN)
    state.require_channel_dim(node, 1)
    # The pooled part of a tensor must keep a channel, because pooling no channels is an error.
    state.slices.append(Slice(tensor=node.name, dim=1, labels=along(x, 1), node=node.name, role="seen"))
    return spatial(x, shape)


def _flatten(state: Propagation, node: fx.Node, module: nn.Flatten, x: Tensor) -> Any:
    return state.move(node, "reshape", lambda t: t.flatten(module.start_dim, module.end_dim))


def _unflatten(state: Propagation, node: fx.Node, module: nn.Unflatten, x: Tensor) -> Any:
    shape = state.shape(node)
    return state.move(node, "view", lambda t: t.reshape(shape))


def _shuffle(state: Propagation, node: fx.Node, module: nn.ChannelShuffle, x: Tensor) -> Any:
    return state.move(node, "gather", lambda t: shuffled(t, module.groups))


def shuffled(x: Tensor, groups: int) -> Tensor:
    """A channel shuffle for tensors of any type."""
    parts = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return parts.transpose(1, 2).reshape(x.shape)


def _pixel_shuffle(state: Propagation, node: fx.Node, module: nn.PixelShuffle, x: Tensor) -> Tensor:
    return pixel_shuffled(state, node, x, module.upscale_factor)


def pixel_shuffled(state: Propagation, node: fx.Node, x: Tensor, factor: int) -> Tensor:
    """Labels after a pixel shuffle, which unites the channels that become the pixels of one channel."""
    blocks = along(x, 1).view(-1, factor * factor)
    state.space.unite(blocks, blocks[:, :1])
    state.require_channel_dim(node, 1)
    return broadcast_along(blocks[:, 0], state.shape(node), 1)


def _pixel_unshuffle(state: Propagation, node: fx.Node, module: nn.PixelUnshuffle, x: Tensor) -> Tensor:
    return pixel_unshuffled(state, node, x, module.downscale_factor)


def pixel_unshuffled(state: Propagation, node: fx.Node, x: Tensor, factor: int) -> Tensor:
    """Labels after a pixel unshuffle: each channel becomes several, one for each pixel of a square."""
    state.require_channel_dim(node, 1)
    return broadcast_along(along(x, 1).repeat_interleave(factor * factor), state.shape(node), 1)


def _softmax(state: Propagation, node: fx.Node, module: Any, x: Tensor) -> Any:
    return normalised(state, node, x, 1 if isinstance(module, nn.Softmax2d) else module.dim)


def normalised(state: Propagation, node: fx.Node, x: Tensor, dim: Any) -> Any:
    """Labels after a softmax; one over the channels protects them."""
    if not isinstance(dim, int) or dim % x.dim() in varying(x):
        return state.protect_through(node, "a softmax over the channels")
    return x


def _own_pad(state: Propagation, node: fx.Node, module: channels.ChannelPad, x: Tensor) -> Any:
    return padded(state, node, x, [*module.rest, module.before, module.after], module.value)


def padded(state: Propagation, node: fx.Node, x: Tensor, pads: list[int], value: float) -> Any:
    """Labels after padding with a constant; channels added by padding get new labels."""
    dims = [x.dim() - 1 - index for index in range(len(pads) // 2)]
    wide = [dim for dim in varying(x) if dim in dims and any(pads[2 * dims.index(dim) :][:2])]
    if not wide:
        return canonical(
            compact(x).expand([n if compact(x).shape[d] == 1 else x.shape[d] for d, n in enumerate(state.shape(node))])
        )
    dim = wide[0]
    before, after = pads[2 * dims.index(dim) :][:2]
    if len(wide) > 1 or before < 0 or after < 0 or any(pads[2 * dims.index(dim) + 2 :]):
        return state.protect_through(
            node, "a padding that crops channels, or pads several dimensions that hold channels"
        )
    front, back = state.space.new(before), state.space.new(after)
    state.pads[node] = (front, back, {"rest": tuple(pads[: 2 * dims.index(dim)]), "value": value})
    state.require_channel_dim(node, dim)
    return broadcast_along(torch.cat([front, along(x, dim), back]), state.shape(node), dim)


def _own_gather(state: Propagation, node: fx.Node, module: channels.ChannelGather, x: Tensor) -> Any:
    index = module.index.cpu()
    return state.move(node, "gather", lambda t: t.index_select(module.dim, index))


def _own_split(state: Propagation, node: fx.Node, module: channels.ChannelSplit, x: Tensor) -> Any:
    return state.move(node, "split", lambda t: t.split(module.sizes, module.dim))


_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# All are deterministic in evaluation mode; `branches` relies on that.
POINTWISE_MODULES = (
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
NORM_ACT = "timm.layers.norm_act.BatchNormAct2d"
DROPS = {"torchvision.ops.stochastic_depth.StochasticDepth", "timm.layers.drop.DropPath"}
_MODULE_RULES: list[tuple[Any, Callable[[Propagation, fx.Node, Any, Tensor], Any]]] = [
    (_CONVS, _conv),
    (nn.Linear, _linear),
    (_CHANNEL_NORMS, _channel_norm),
    (nn.GroupNorm, _group_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.PReLU, _prelu),
    (POINTWISE_MODULES, _pointwise),
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
