"""A torch.fx graph of a user's model in which every node says what it makes and whose module it belongs to."""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from emodir_tui.errors import ProfileError
from emodir_tui.nets.channels import ChannelConstant, ChannelGather, ChannelPad, ChannelSplit, ChannelView

_OWN_LEAVES = (ChannelPad, ChannelSplit, ChannelGather, ChannelView, ChannelConstant)
# Modules of other packages that are known by name, so that those packages need not be installed.
_FOREIGN_LEAVES = {
    "torchvision.ops.stochastic_depth.StochasticDepth",
    "timm.layers.drop.DropPath",
    "timm.layers.norm_act.BatchNormAct2d",
    "timm.layers.conv2d_same.Conv2dSame",
}
_IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
_ASSERTIONS = {"_assert", "_assert_is_none"}


def qualified(kind: type) -> str:
    """The full name of a class: package, module and name."""
    return f"{kind.__module__}.{kind.__qualname__}"


def symbolic(model: nn.Module) -> tuple[fx.Graph, dict[str, tuple[str, ...]]]:
    """The model's graph in evaluation mode, and for each node's name the modules whose output it is, innermost first.

    A module that can't be traced becomes a leaf of the graph: it works, and protects the channels that reach it.

    Raises:
        ProfileError: The model itself can't be traced, takes more than one tensor, or returns anything but a tensor.
    """
    opaque: list[str] = []
    while True:
        tracer = _Tracer(opaque)
        try:
            graph = tracer.trace(model, concrete_args=_defaults(model))
            break
        except Exception as error:
            if not tracer.path:
                raise ProfileError(
                    f"{type(model).__name__} can't be traced by torch.fx: {str(error).splitlines()[0]}",
                    "keep Python branches and loops over tensors out of its own forward(); inside a submodule they "
                    "are allowed, and protect that submodule's channels",
                ) from error
            opaque.append(tracer.path[-1])
    _drop_assertions(graph)
    _functionalise(graph)
    drop_unused(graph)
    _single_input(graph, type(model).__name__)
    alive = {node.name for node in graph.nodes}
    return graph, {name: tuple(paths) for name, paths in tracer.outputs.items() if name in alive}


def record_shapes(module: fx.GraphModule, x: Tensor) -> None:
    """Run the graph on x; each node's `meta` then has `shape` (a tensor's, or a tuple of them) or a plain `value`."""

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor):
                n.meta["shape"] = tuple(value.shape)
            elif isinstance(value, (tuple, list)) and any(isinstance(part, Tensor) for part in value):
                n.meta["shape"] = [tuple(part.shape) if isinstance(part, Tensor) else None for part in value]
            else:
                n.meta["value"] = value
            return value

    with torch.no_grad():
        Recorder(module).run(x)


def drop_unused(graph: fx.Graph) -> None:
    """Erase the nodes whose result nobody reads; right where nothing is changed in place."""
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def operation(node: fx.Node) -> str | None:
    """The name of the function or method a node calls, without marks of being in place; None if it isn't torch's."""
    if node.op == "call_method":
        return str(node.target).rstrip("_")
    if node.op != "call_function" or not callable(node.target):
        return None
    name = getattr(node.target, "__name__", "")
    known = any(getattr(space, name, None) is node.target for space in (torch, F, operator))
    if known or getattr(node.target, "__module__", "") == "torchvision.ops.stochastic_depth":
        return "getattr" if node.target is getattr else name.strip("_")
    return "getattr" if node.target is getattr else None


class _Tracer(fx.Tracer):
    """Keeps modules whole that have one meaning, and notes where it is and what each module returns."""

    def __init__(self, opaque: list[str]) -> None:
        super().__init__()
        self.opaque = opaque
        self.path: list[str] = []
        self.outputs: dict[str, list[str]] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.opaque or isinstance(m, _OWN_LEAVES):
            return True
        if qualified(type(m)) in _FOREIGN_LEAVES:
            return True
        return super().is_leaf_module(m, module_qualified_name) or _inherits_forward(m)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        path = self.path_of_module(m)
        leaf = self.is_leaf_module(m, path)
        if not leaf:
            self.path.append(path)
        result = super().call_module(m, forward, args, kwargs)
        if not leaf:
            self.path.pop()
        if isinstance(result, fx.Proxy):
            self.outputs.setdefault(result.node.name, []).append(path)
            if leaf:
                result.node.meta["inplace"] = getattr(m, "inplace", False) is True
        return result

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["owner"] = self.path[-1] if self.path else ""
        return node


def _inherits_forward(module: nn.Module) -> bool:
    """A subclass of one of torch's layers that computes what its base computes."""
    bases = (base for base in type(module).__mro__ if base.__module__.startswith("torch.nn.modules"))
    base = next(bases, nn.Module)
    containers = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
    same = all(
        getattr(type(module), name, None) is getattr(base, name, None)
        for name in ("forward", "_conv_forward", "_check_input_dim")
    )
    return base not in containers and same


def _defaults(model: nn.Module) -> dict[str, Any] | None:
    """The values of all arguments of forward() but the first, where it has defaults."""
    parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    plain = [p for p in parameters if p.default is not p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in plain} or None


def _drop_assertions(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if node.op == "call_function" and getattr(node.target, "__name__", "") in _ASSERTIONS:
            graph.erase_node(node)


def _functionalise(graph: fx.Graph) -> None:
    """Let every later reader of a tensor that is changed in place read the result instead, so edges tell the truth."""
    order = {node: position for position, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        changed = _changes_in_place(node)
        if changed is None:
            continue
        for user in list(changed.users):
            if order[user] > order[node]:
                user.replace_input_with(changed, node)
        if node.op == "call_function" and node.target in _IN_PLACE:
            node.target = _IN_PLACE[node.target]
        elif node.op == "call_method":
            node.target = str(node.target).rstrip("_")
        elif node.op == "call_function" and _asks_in_place(node):
            node.args, node.kwargs = node.args[:1], _named(node, inplace=False)
        elif node.op == "call_function":
            node.target = getattr(torch, node.target.__name__.rstrip("_"))


def _named(node: fx.Node, **replaced: Any) -> dict[str, Any]:
    """The arguments of a call to a Python function, but the first, by their names."""
    bound = inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments  # type: ignore[arg-type]
    return {**dict(list(bound.items())[1:]), **replaced}


def _asks_in_place(node: fx.Node) -> bool:
    if node.kwargs.get("inplace") is True:
        return True
    if len(node.args) < 2 or getattr(F, getattr(node.target, "__name__", ""), None) is not node.target:
        return False
    try:
        return _named(node).get("inplace") is True
    except (TypeError, ValueError):
        return False


def _changes_in_place(node: fx.Node) -> fx.Node | None:
    """The node whose tensor this one changes, if it changes one."""
    first = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(first, fx.Node):
        return None
    if node.op == "call_module":
        return first if node.meta["inplace"] else None
    if node.op == "call_method":
        name = str(node.target)
        return first if name.endswith("_") and not name.endswith("__") else None
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        marked = node.target in _IN_PLACE or _asks_in_place(node)
        return first if marked or (name.endswith("_") and hasattr(torch, name)) else None
    return None


def _single_input(graph: fx.Graph, name: str) -> None:
    places = [node for node in graph.nodes if node.op == "placeholder"]
    for extra in places[1:]:
        if not extra.users:
            graph.erase_node(extra)
        else:
            raise ProfileError(
                f"{name}.forward() reads more than one input", "wrap it in a module that takes one image"
            )
    output = next(node for node in graph.nodes if node.op == "output")
    if not isinstance(output.args[0], fx.Node):
        raise ProfileError(
            f"{name}.forward() returns {type(output.args[0]).__name__}, not one tensor",
            "wrap it in a module that returns the tensor to be kept",
        )
