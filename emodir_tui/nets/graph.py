"""The traced network and the places where it can be cut."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from emodir_tui.nets.tracing import operation, record_shapes, symbolic

MIXERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear)
"""Layers that mix channels: their outputs are new channels."""
_POOLS = ("pool", "flatten", "mean", "dropout", "reshape", "view", "squeeze", "permute", "identity")


@dataclass(frozen=True, kw_only=True, slots=True)
class CutPoint:
    """A place where exactly one tensor crosses from what comes before to what comes after.

    Attributes:
        name: The module that makes the tensor, or the graph's node where no module's output is that tensor.
        index: Its position among the nodes of the network's graph.
        shape: The tensor's shape for a batch of one.
        node: The name of the graph's node.
        aliases: Other modules whose output it is; a user may name any of them.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    node: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A traced model.

    Attributes:
        model: The user's model, untouched.
        graph_module: The same computation as a graph, in evaluation mode, sharing the model's leaf modules.
        example: A batch of at least two inputs, on the model's device.
        cuts: Every cut point, in order.
        features: The last features before the pooling or flattening that feeds the classifier.
    """

    model: nn.Module
    graph_module: fx.GraphModule
    example: Tensor
    cuts: list[CutPoint]
    features: CutPoint


def trace(model: nn.Module, example: Tensor) -> Network:
    """Trace a model as it computes in evaluation mode.

    Args:
        model: Takes one tensor, returns one tensor. Neither its weights nor its training mode change.
        example: A batch of inputs, (N, C, H, W) for images, on the model's device; one input is repeated to make two.

    Raises:
        ProfileError: torch.fx can't trace the model's own forward().
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        graph, outputs = symbolic(model)
        graph_module = fx.GraphModule(model, graph, type(model).__name__)
        pair = example[:2] if len(example) > 1 else torch.cat([example, example])
        record_shapes(graph_module, pair)
    finally:
        for module, mode in modes:
            module.training = mode
    cuts = _cut_points(graph_module, outputs)
    return Network(
        model=model,
        graph_module=graph_module,
        example=example if len(example) > 1 else pair,
        cuts=cuts,
        features=_last_features(graph_module, cuts),
    )


def is_mixer(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a convolution or a linear layer."""
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), MIXERS)
    return (operation(node) or "").startswith(("conv", "linear"))


def _cut_points(module: fx.GraphModule, outputs: dict[str, tuple[str, ...]]) -> list[CutPoint]:
    """A sweep over the nodes in order; parameters (get_attr) may be read on both sides of a cut."""
    nodes = [node for node in module.graph.nodes if node.op not in ("get_attr", "output")]
    position = {node: index for index, node in enumerate(nodes)}
    cuts, furthest = [], -1
    for index, node in enumerate(nodes):
        shape = node.meta.get("shape")
        last = max((position.get(user, len(nodes)) for user in node.users), default=index)
        single = furthest <= index and isinstance(shape, tuple)
        if single and node.op != "placeholder" and not any(user.op == "output" for user in node.users):
            name, *aliases = _names(module, node, outputs.get(node.name, ()))
            cuts.append(CutPoint(name=name, index=index, shape=(1, *shape[1:]), node=node.name, aliases=tuple(aliases)))
        furthest = max(furthest, last)
    return cuts


def _names(module: fx.GraphModule, node: fx.Node, paths: tuple[str, ...]) -> list[str]:
    """The block that returns this node's tensor first, then its other names."""
    blocks = [path for path in paths if not (node.op == "call_module" and path == node.target)]
    leaves = [path for path in paths if path not in blocks]
    names = [*blocks, *leaves, node.name]
    del module
    return list(dict.fromkeys(names))


def _last_features(module: fx.GraphModule, cuts: list[CutPoint]) -> CutPoint:
    """The last cut before the last layer that mixes channels, made by no pooling, preferably still an image."""
    names = [node.name for node in module.graph.nodes if node.op not in ("get_attr", "output")]
    nodes = {node.name: node for node in module.graph.nodes}
    last = max((names.index(n.name) for n in nodes.values() if n.name in names and is_mixer(module, n)), default=0)
    before = [cut for cut in cuts if cut.index < last and not _is_pool(module, nodes[cut.node])] or cuts
    images = [cut for cut in before if len(cut.shape) == 4]
    wide = [cut for cut in images if cut.shape[2] * cut.shape[3] > 1]
    return (wide or images or before)[-1]


def _is_pool(module: fx.GraphModule, node: fx.Node) -> bool:
    kind = type(module.get_submodule(str(node.target))).__name__ if node.op == "call_module" else operation(node) or ""
    return any(word in kind.lower() for word in _POOLS)
