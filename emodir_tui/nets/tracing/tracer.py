"""Symbolic tracing of a user's model by torch.fx, with the module that each node belongs to."""

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from emodir_tui.errors import ProfileError, first_line
from emodir_tui.nets.modules.channel_modules import (
    ChannelConstant,
    ChannelGather,
    ChannelPad,
    ChannelSplit,
    ChannelView,
)
from emodir_tui.nets.tracing.functionalize import AliasError, functionalise

_OWN_LEAVES = (ChannelPad, ChannelSplit, ChannelGather, ChannelView, ChannelConstant)
# Modules of other packages, recognised by name so that those packages need not be installed.
_FOREIGN_LEAVES = {
    "torchvision.ops.stochastic_depth.StochasticDepth",
    "timm.layers.drop.DropPath",
    "timm.layers.norm_act.BatchNormAct2d",
    "timm.layers.conv2d_same.Conv2dSame",
}
# torch's own name of this function is log_sigmoid, which no module has.
_RENAMED: dict[Any, str] = {F.logsigmoid: "logsigmoid"}
_ASSERTIONS = {"_assert", "_assert_is_none"}
# Functions that make a tensor of given sizes. torch.fx cannot trace their calls when a size is that of a traced tensor.
_CREATORS = ("zeros", "ones", "full", "empty", "arange", "rand", "randn")


def qualified(kind: type) -> str:
    """The qualified name of a class, with its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def symbolic(model: nn.Module, example: Tensor) -> tuple[fx.Graph, dict[str, tuple[str, ...]]]:
    """Trace a model in evaluation mode.

    A module that cannot be traced becomes a leaf of the graph: it works, and protects the channels that reach it.
    Branches that depend on shapes alone are resolved as for the example.

    Args:
        model: In evaluation mode.
        example: A batch of inputs on the model's device.

    Returns:
        The graph, and for each node's name the modules whose output it is, innermost first.

    Raises:
        ProfileError: The model itself cannot be traced, takes more than one tensor, or does not return one tensor.
    """
    opaque: list[str] = []
    while True:
        tracer = _Tracer(opaque, example)
        try:
            graph = _traced(tracer, model)
            _drop_assertions(graph)
            _place_inputs(graph)
            functionalise(graph)
            break
        except AliasError as error:
            place, reason = error.owner, str(error)
        except Exception as error:
            place, reason = (tracer.path[-1] if tracer.path else ""), first_line(error)
        if not place:
            raise ProfileError(
                f"{type(model).__name__} cannot be traced by torch.fx: {reason}",
                "Its own forward() must not branch on tensor values nor assign to parts of tensors. A submodule may, "
                "and its channels are then protected.",
            )
        opaque.append(place)
    erase_unused_nodes(graph)
    _single_input(graph, type(model).__name__)
    names = {node.name for node in graph.nodes}
    return graph, {name: tuple(paths) for name, paths in tracer.outputs.items() if name in names}


def erase_unused_nodes(graph: fx.Graph) -> None:
    """Erase the nodes whose result is never read; correct for graphs that change nothing in place."""
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def operation(node: fx.Node) -> str | None:
    """The name of the function or method a node calls, without in-place underscores; None if it is not torch's."""
    if node.op == "call_method":
        return str(node.target).rstrip("_")
    if node.op != "call_function" or not callable(node.target):
        return None
    name = _RENAMED.get(node.target, getattr(node.target, "__name__", ""))
    known = any(getattr(space, name, None) is node.target for space in (torch, F, operator))
    if known or getattr(node.target, "__module__", "") == "torchvision.ops.stochastic_depth":
        return name.strip("_")
    return "getattr" if node.target is getattr else None


class _Proxy(fx.Proxy):
    """A proxy whose len() is that of the example's value."""

    def __len__(self) -> int:
        return len(self.tracer.concrete(self.node))  # type: ignore[attr-defined]


class _Tracer(fx.Tracer):
    """Keeps known modules as leaves, and records the module being traced and what each module returns."""

    def __init__(self, opaque: list[str], example: Tensor) -> None:
        super().__init__()
        self.opaque = opaque
        self.path: list[str] = []
        self.outputs: dict[str, list[str]] = {}
        self._values: dict[fx.Node, Any] = {}
        self._example = example
        self._plain_methods = {name: getattr(nn.Module, name) for name in ("__call__", "__getattr__")}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.opaque or isinstance(m, _OWN_LEAVES):
            return True
        if qualified(type(m)) in _FOREIGN_LEAVES:
            return True
        return super().is_leaf_module(m, module_qualified_name) or _inherits_forward(m)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            path = self.path_of_module(m)
        except NameError:
            # A container made in forward(), such as a slice of a Sequential, has no path; its layers have.
            return forward(*args, **kwargs)
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

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        value = self.concrete(obj.node)
        return super().to_bool(obj) if isinstance(value, Tensor) else bool(value)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        value = self.concrete(obj.node)
        return super().iter(obj) if isinstance(value, Tensor) else iter([obj[i] for i in range(len(value))])  # type: ignore[index]

    def concrete(self, wanted: fx.Node) -> Any:
        """A node's value for the example."""
        # While torch.fx traces, it has its own methods on nn.Module, which would record these calls too.
        with torch.no_grad(), _replaced(nn.Module, self._plain_methods):
            for node in self.graph.nodes:
                if node not in self._values:
                    self._values[node] = self._run(node)
        return self._values[wanted]

    def _run(self, node: fx.Node) -> Any:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: self._values[n])
        match node.op:
            case "placeholder":
                return args[0] if args else self._example
            case "get_attr":
                return operator.attrgetter(str(node.target))(self.root)
            case "call_module":
                return self.root.get_submodule(str(node.target))(*args, **kwargs)
            case "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _traced(tracer: _Tracer, model: nn.Module) -> fx.Graph:
    """The raw graph. torch.fx stores constants on the model on the way; the caller removes them.

    In torch.zeros(x.size(1)) the size is a proxy. Such a function refuses it while it parses its arguments, before it
    would consult __torch_function__ or a TorchFunctionMode. These functions are therefore replaced while torch.fx
    traces, by ones that record the call.
    """

    def recording(function: Callable[..., Any]) -> Callable[..., Any]:
        def create(*args: Any, **kwargs: Any) -> Any:
            proxies: list[fx.Proxy] = []
            fx.node.map_aggregate((args, kwargs), lambda a: proxies.append(a) if isinstance(a, fx.Proxy) else None)
            return (
                tracer.create_proxy("call_function", function, args, kwargs) if proxies else function(*args, **kwargs)
            )

        return create

    with _replaced(torch, {name: recording(getattr(torch, name)) for name in _CREATORS}):
        return tracer.trace(model, concrete_args=_defaults(model))


@contextmanager
def _replaced(owner: Any, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Give a module or class other attributes, and its own back at the end."""
    originals = {name: getattr(owner, name) for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in originals.items():
            setattr(owner, name, value)


def _inherits_forward(module: nn.Module) -> bool:
    """Whether a module's class derives from one of torch's layers and overrides nothing of its computation."""
    bases = (base for base in type(module).__mro__ if base.__module__.startswith("torch.nn.modules"))
    base = next(bases, nn.Module)
    containers = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
    same = all(
        getattr(type(module), name, None) is getattr(base, name, None)
        for name in ("forward", "_conv_forward", "_check_input_dim")
    )
    return base not in containers and same


def _defaults(model: nn.Module) -> dict[str, Any] | None:
    """The default values of the arguments of forward() after the first."""
    parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    plain = [p for p in parameters if p.default is not p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in plain} or None


def _place_inputs(graph: fx.Graph) -> None:
    """Rewrite f(input=x) as f(x), so that a function's first argument is its input."""
    for node in graph.nodes:
        if node.op == "call_function" and not node.args and isinstance(node.kwargs.get("input"), fx.Node):
            node.args = (node.kwargs["input"],)
            node.kwargs = {name: value for name, value in node.kwargs.items() if name != "input"}


def _drop_assertions(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if node.op == "call_function" and getattr(node.target, "__name__", "") in _ASSERTIONS:
            graph.erase_node(node)


def _single_input(graph: fx.Graph, name: str) -> None:
    places = [node for node in graph.nodes if node.op == "placeholder"]
    for extra in places[1:]:
        if not extra.users:
            graph.erase_node(extra)
        else:
            raise ProfileError(
                f"{name}.forward() reads more than one input", "Wrap it in a module that takes one image."
            )
    output = next(node for node in graph.nodes if node.op == "output")
    if not isinstance(output.args[0], fx.Node):
        raise ProfileError(
            f"{name}.forward() returns {type(output.args[0]).__name__}, not one tensor",
            "Wrap it in a module that returns that tensor.",
        )
