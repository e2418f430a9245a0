"""Functional form of a traced graph: no operation works in place, so edges are the only dependencies."""

import inspect
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

_OPERATORS = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
# Their result may share the memory of their first argument.
_VIEWS = {
    "view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "getitem", "chunk", "split", "tensor_split",
    "unbind", "transpose", "permute", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "squeeze", "unsqueeze",
    "expand", "expand_as", "narrow", "select", "detach", "contiguous", "to", "float", "diagonal", "unfold",
}  # fmt: skip


class AliasError(Exception):
    """An in-place operation that affects other readers of the memory; `owner` is the module whose forward() has it."""

    def __init__(self, owner: str, message: str) -> None:
        super().__init__(message)
        self.owner = owner


def functionalise(graph: fx.Graph) -> None:
    """Replace in-place operations by functional ones whose result all later nodes read.

    Raises:
        AliasError: A part of a tensor, or a view of a tensor that is read later, is changed in place.
    """
    order = {node: position for position, node in enumerate(graph.nodes)}
    family = _families(graph)
    for node in list(graph.nodes):
        changed = _changes(node)
        if changed is None:
            continue
        # Later views are views of the result, which is correct; earlier ones must not be read any more.
        relatives = [other for other in family[changed] if other is not changed and order[other] < order[node]]
        if any(order[user] > order[node] for other in relatives for user in other.users):
            raise AliasError(
                node.meta.get("owner", ""), f"{_name(node)}() changes a view of a tensor that is read later"
            )
        for user in list(changed.users):
            if order[user] > order[node]:
                user.replace_input_with(changed, node)
        _make_pure(node)


def _families(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node the list of all nodes that may share its memory, beginning with the one that allocates it."""
    family: dict[fx.Node, list[fx.Node]] = {}
    for node in graph.nodes:
        first = node.args[0] if node.args else None
        # A node that changes its argument in place returns that argument's memory too.
        shares = _name(node) in _VIEWS or _reads_view(node) or _changes(node) is not None
        if isinstance(first, fx.Node) and shares:
            family[node] = family[first]
            family[node].append(node)
        else:
            family[node] = [node]
    return family


def _name(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def _reads_view(node: fx.Node) -> bool:
    return node.target is getattr and node.args[1] in ("data", "T", "mT")


def _changes(node: fx.Node) -> fx.Node | None:
    """The node whose tensor this one changes in place, if any.

    Raises:
        AliasError: It changes a part of the tensor, or has no functional form.
    """
    first = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(first, fx.Node):
        return None
    name = _name(node)
    if node.op == "call_module":
        return first if node.meta["inplace"] else None
    if node.target is operator.setitem:
        raise AliasError(node.meta.get("owner", ""), "a part of a tensor is assigned to")
    if node.op == "call_method" and name.endswith("_") and not name.endswith("__"):
        if not hasattr(Tensor, name[:-1]):
            raise AliasError(node.meta.get("owner", ""), f"{name}() changes a tensor in place")
        return first
    if node.op != "call_function":
        return None
    if node.target in _OPERATORS or _is_inplace_call(node):
        return first
    return first if name.endswith("_") and getattr(torch, name, None) is node.target else None


def _make_pure(node: fx.Node) -> None:
    """Make a node functional. Modules keep their inplace flag; executors of the graph ignore it."""
    if node.op == "call_method":
        node.target = str(node.target).rstrip("_")
    elif node.op == "call_function":
        if node.target in _OPERATORS:
            node.target = _OPERATORS[node.target]
        elif _is_inplace_call(node):
            node.args, node.kwargs = node.args[:1], _named(node, inplace=False)
        else:
            node.target = getattr(torch, _name(node).rstrip("_"))


def _is_inplace_call(node: fx.Node) -> bool:
    if node.kwargs.get("inplace") is True:
        return True
    if len(node.args) < 2 or getattr(F, _name(node), None) is not node.target:
        return False
    try:
        return _named(node).get("inplace") is True
    except (TypeError, ValueError):
        return False


def _named(node: fx.Node, **replaced: Any) -> dict[str, Any]:
    """The arguments of a call to a Python function by name, without the first."""
    bound = inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments  # type: ignore[arg-type]
    return {**dict(list(bound.items())[1:]), **replaced}
