"""The traced network and its cut points."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from emodir_tui.errors import ProfileError, first_line
from emodir_tui.nets.tracing.shapes import CHANNEL_MIXING_LAYERS, localise_batch_sizes, read_sizes_directly, record
from emodir_tui.nets.tracing.tracer import operation, symbolic

_POOLS = ("pool", "flatten", "mean", "dropout", "reshape", "view", "squeeze", "permute", "identity")


@dataclass(frozen=True, kw_only=True, slots=True)
class CutPoint:
    """A place in the graph that exactly one tensor crosses.

    Attributes:
        name: The module whose output the tensor is, or the graph's node if there is none.
        index: Its position among the nodes of the network's graph.
        shape: The tensor's shape for a batch of one.
        node: The name of the graph's node.
        aliases: Other modules whose output it is; users may name any of them.
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
        example: A batch of at least two inputs on the model's device.
        cuts: Every cut point, in order.
        features: The last features before the pooling or flattening that feeds the classifier.
    """

    model: nn.Module
    graph_module: fx.GraphModule
    example: Tensor
    cuts: list[CutPoint]
    features: CutPoint


def trace(model: nn.Module, example: Tensor) -> Network:
    """Trace a model in evaluation mode.

    Args:
        model: Takes one tensor, returns one tensor. Neither its weights nor its training mode change.
        example: A batch of inputs, (N, C, H, W) for images, on the model's device; one input is repeated to make two.

    Raises:
        ProfileError: The model cannot process the example, or torch.fx cannot trace its forward().
    """
    pair = example[:2] if len(example) > 1 else torch.cat([example, example])
    known = set(vars(model))
    try:
        with evaluating(model):
            graph_module, outputs = _graph_module(model, pair)
    finally:
        # torch.fx stores constants on the model; the graph has its own reference by now.
        for name in [name for name in vars(model) if name not in known]:
            delattr(model, name)
    cuts = _cut_points(graph_module, outputs)
    if not cuts:
        raise ProfileError(
            f"{type(model).__name__} has no cut point that a single tensor crosses, so it cannot be divided"
        )
    return Network(
        model=model,
        graph_module=graph_module,
        example=example if len(example) > 1 else pair,
        cuts=cuts,
        features=_last_features(graph_module, cuts),
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode; restores the mode of every module at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _graph_module(model: nn.Module, pair: Tensor) -> tuple[fx.GraphModule, dict[str, tuple[str, ...]]]:
    """The traced graph with shapes, checked to compute what the model computes."""
    name, shape = type(model).__name__, tuple(pair.shape)
    try:
        with torch.no_grad():
            expected = model(pair.clone())
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        raise ProfileError(
            f"{name} cannot process a batch of shape {shape}: {first_line(error)}",
            "Does the model fit the images' size and channels (data.image_size and data.channels set those of folders)?",
        ) from error
    graph, outputs = symbolic(model, pair)
    graph_module = fx.GraphModule(model, graph, name)
    found = record(graph_module, pair)
    _name_squeezed(graph_module)
    read_sizes_directly(graph_module)
    localise_batch_sizes(graph_module, pair)
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    if not torch.allclose(found, expected, atol=1e-5 * max(1.0, scale), equal_nan=True):
        raise ProfileError(
            f"{name} computes something else than its graph as traced by torch.fx",
            "Its forward() may draw random numbers in evaluation mode, or change tensors in place.",
        )
    return graph_module, outputs


def _name_squeezed(module: fx.GraphModule) -> None:
    """Name the dimensions of squeeze(), which would otherwise remove the channels once a single one is left."""
    for node in module.graph.nodes:
        if operation(node) == "squeeze" and len(node.args) == 1 and "dim" not in node.kwargs:
            shape = node.all_input_nodes[0].meta["shape"]
            node.args = (node.args[0], tuple(dim for dim, size in enumerate(shape) if size == 1))
    module.recompile()


def is_channel_mixing(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a convolution or a linear layer."""
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), CHANNEL_MIXING_LAYERS)
    return (operation(node) or "").startswith(("conv", "linear"))


def _cut_points(module: fx.GraphModule, outputs: dict[str, tuple[str, ...]]) -> list[CutPoint]:
    """Cut points, by a sweep over the nodes in order; parameters (get_attr) may be read on both sides of a cut."""
    nodes = [node for node in module.graph.nodes if node.op not in ("get_attr", "output")]
    position = {node: index for index, node in enumerate(nodes)}
    cuts: list[CutPoint] = []
    furthest, taken = -1, dict[str, int]()
    for index, node in enumerate(nodes):
        shape = node.meta.get("shape")
        last = max((position.get(user, len(nodes)) for user in node.users), default=index)
        single = furthest <= index and isinstance(shape, tuple)
        if single and node.op != "placeholder" and not any(user.op == "output" for user in node.users):
            name, *aliases = [numbered(name, taken) for name in _names(node, outputs.get(node.name, ()))]
            cuts.append(CutPoint(name=name, index=index, shape=(1, *shape[1:]), node=node.name, aliases=tuple(aliases)))
        furthest = max(furthest, last)
    return cuts


def numbered(name: str, taken: dict[str, int]) -> str:
    """A unique name: relu, then relu#2 and so on; `taken` counts how often each was requested."""
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}#{taken[name]}"


def _names(node: fx.Node, paths: tuple[str, ...]) -> list[str]:
    """The names of a node's tensor: blocks that return it, then leaf modules, then the node."""
    blocks = [path for path in paths if not (node.op == "call_module" and path == node.target)]
    leaves = [path for path in paths if path not in blocks]
    names = [*blocks, *leaves, node.name]
    return list(dict.fromkeys(names))


def _last_features(module: fx.GraphModule, cuts: list[CutPoint]) -> CutPoint:
    """The last cut before the last channel-mixing layer that is not a pooling: an image, unless layers follow it.

    The loss of a hidden linear layer of the classifier must show here, so its output is then the last features.
    """
    order = [node for node in module.graph.nodes if node.op not in ("get_attr", "output")]
    nodes = {node.name: node for node in order}
    mixing_positions = [index for index, node in enumerate(order) if is_channel_mixing(module, node)]
    last = max(mixing_positions, default=0)
    before = [cut for cut in cuts if cut.index < last and not _is_pool(module, nodes[cut.node])] or cuts
    images = [cut for cut in before if len(cut.shape) == 4]
    wide = [cut for cut in images if cut.shape[2] * cut.shape[3] > 1]
    image = (wide or images or before)[-1]
    hidden = [cut for cut in before if any(image.index < position <= cut.index for position in mixing_positions)]
    return hidden[-1] if hidden else image


def _is_pool(module: fx.GraphModule, node: fx.Node) -> bool:
    kind = type(module.get_submodule(str(node.target))).__name__ if node.op == "call_module" else operation(node) or ""
    return any(word in kind.lower() for word in _POOLS)
