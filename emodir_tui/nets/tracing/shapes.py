"""Shapes and values of the nodes of a traced graph, recorded by running it on an example."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from emodir_tui.nets.tracing.tracer import erase_unused_nodes, operation

CHANNEL_MIXING_LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear)
"""Layers whose output channels are new ones, computed from several input channels."""


def record(module: fx.GraphModule, x: Tensor) -> Tensor:
    """Run the graph on x and return the result.

    Each node's `meta` then has `shape` (that of a tensor, or a list of shapes) or a plain `value`. Where channel-mixing
    layers ran in it, it also has `inner`: the name of each, its MACs for one image and its output channels.
    """
    inner: list[tuple[str, int, int]] = []
    handles = _watch(module, inner, len(x))

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            inner.clear()
            value = super().run_node(n)
            if inner:
                n.meta["inner"] = tuple(inner)
            if isinstance(value, Tensor):
                n.meta["shape"] = tuple(value.shape)
            elif isinstance(value, (tuple, list)) and any(isinstance(part, Tensor) for part in value):
                n.meta["shape"] = [tuple(part.shape) if isinstance(part, Tensor) else None for part in value]
            else:
                n.meta["value"] = value
            return value

    try:
        with torch.no_grad():
            result: Tensor = Recorder(module).run(x)
    finally:
        for handle in handles:
            handle.remove()
    return result


def _watch(module: fx.GraphModule, seen: list[tuple[str, int, int]], batch: int) -> list[Any]:
    """Add hooks that record each call of a channel-mixing layer that is a leaf of the graph or inside one."""
    handles: list[Any] = []
    for leaf in dict.fromkeys(str(node.target) for node in module.graph.nodes if node.op == "call_module"):
        for name, layer in module.get_submodule(leaf).named_modules(prefix=leaf):
            if isinstance(layer, CHANNEL_MIXING_LAYERS):

                def note(layer: Any, inputs: Any, output: Tensor, name: str = name) -> None:
                    each = layer.weight[0].numel()
                    made = inputs[0] if getattr(layer, "transposed", False) else output
                    channels = (
                        layer.weight.shape[0] if isinstance(layer, nn.Linear | nn.Bilinear) else layer.out_channels
                    )
                    seen.append((name, made.numel() // batch * each, channels))

                handles.append(layer.register_forward_hook(note))
    return handles


def read_sizes_directly(module: fx.GraphModule) -> None:
    """Rewrite x.shape[:2][1] as x.shape[1] in a recorded graph, so that each size is read by itself."""
    for node in module.graph.nodes:
        while operation(node) == "getitem" and isinstance(node.args[1], int):
            part = node.args[0]
            if not (isinstance(part, fx.Node) and operation(part) == "getitem" and isinstance(part.args[1], slice)):
                break
            whole = part.args[0]
            if not (isinstance(whole, fx.Node) and _is_sizes(whole)):
                break
            positions = range(len(whole.meta["value"]))[part.args[1]]
            node.args = (whole, positions[node.args[1]])
    erase_unused_nodes(module.graph)
    module.recompile()


def localise_batch_sizes(module: fx.GraphModule, x: Tensor) -> None:
    """Read the batch size from the nearest tensor; one read far before would cross all cuts in between.

    Args:
        module: A recorded graph, changed in place.
        x: The batch with which it was recorded.
    """
    crossing = [
        (node, user, user.args[0])
        for node in module.graph.nodes
        if _is_batch_size(node)
        for user in list(node.users)
        if user.args and isinstance(user.args[0], fx.Node) and _origin(node) is not user.args[0]
    ]
    order = {node: index for index, node in enumerate(module.graph.nodes)}
    mixing = [order[node] for node in module.graph.nodes if "inner" in node.meta]
    crossing = [
        (node, user, tensor)
        for node, user, tensor in crossing
        if len(tensor.meta.get("shape") or ()) > 1 and any(order[node] < place < order[user] for place in mixing)
    ]
    if not crossing:
        return
    shapes = {node: node.meta.get("shape") for node in module.graph.nodes}
    record(module, torch.cat([x, x[:1]]))
    follows = {node for node, shape in shapes.items() if _grew(shape, node.meta.get("shape"), len(x))}
    for node, user, tensor in crossing:
        if tensor in follows:
            with module.graph.inserting_before(user):
                size = module.graph.call_method("size", (tensor, 0))
            size.meta.update(node.meta)
            user.replace_input_with(node, size)
    erase_unused_nodes(module.graph)
    module.recompile()
    record(module, x)


def _origin(node: fx.Node) -> fx.Node:
    source = node.all_input_nodes[0]
    return source.all_input_nodes[0] if source.op != "placeholder" and _is_shape(source) else source


def _is_shape(node: fx.Node) -> bool:
    reads = node.target is getattr and node.args[1] == "shape"
    return bool(reads or (operation(node) == "size" and len(node.args) == 1 and not node.kwargs))


def _is_sizes(node: fx.Node) -> bool:
    """Whether a node is a tensor's shape or a slice of one."""
    source = node.args[0] if node.args else None
    if operation(node) == "getitem" and isinstance(source, fx.Node) and isinstance(node.args[1], slice):
        return _is_sizes(source)
    return node.op != "placeholder" and _is_shape(node)


def _is_batch_size(node: fx.Node) -> bool:
    if operation(node) == "size" and len(node.args) == 2:
        return bool(node.args[1] == 0)
    source = node.args[0] if node.args else None
    known = operation(node) == "getitem" and isinstance(source, fx.Node) and _is_shape(source)
    return bool(known and node.args[1] == 0)


def _grew(before: Any, after: Any, batch: int) -> bool:
    """Whether the first dimension of a tensor is that of the images alone."""
    return isinstance(before, tuple) and len(before) > 0 and before[0] == batch and after[0] == batch + 1
