"""Labels for a whole network: one rule an operation, found by the node's kind, module class or function name."""

import operator
from typing import Any

from torch import Tensor, fx

from emodir_tui.nets.coupling.function_rules import FUNCTION_RULES
from emodir_tui.nets.coupling.labels import broadcast_along
from emodir_tui.nets.coupling.module_rules import module_rule
from emodir_tui.nets.coupling.propagation import UNKNOWN, Propagation, Weight
from emodir_tui.nets.tracing.network import Network
from emodir_tui.nets.tracing.tracer import operation


def propagate(network: Network) -> Propagation:
    """Label what every node of a network makes, in order of execution."""
    p = Propagation(network)
    for node in p.module.graph.nodes:
        p.values[node] = _apply(p, node)
    return p


def _apply(p: Propagation, node: fx.Node) -> Any:
    """What a node makes: labels of its tensor, a tuple of them, a weight, or a plain value."""
    if node.op == "placeholder":
        labels = p.fresh(node, 1)[1] if len(p.shape(node)) > 1 else p.fresh(node, 0)[1]
        p.space.fix(labels, "input", "the network's input")
        return labels
    if node.op == "get_attr":
        return _read_tensor(p, node)
    if node.op == "output":
        for source in node.all_input_nodes:
            p.space.fix(p.values[source], "output", "the network's output")
        return None
    if node.op == "call_module":
        return module_rule(p, node)
    rule = FUNCTION_RULES.get(operation(node) or "")
    return rule(p, node) if rule else p.opaque(node, f"{operation(node) or node.target} is {UNKNOWN}")


def _read_tensor(p: Propagation, node: fx.Node) -> Any:
    tensor = operator.attrgetter(str(node.target))(p.module)
    if not isinstance(tensor, Tensor):
        return node.meta.get("value")
    shape = tuple(tensor.shape)
    wide = [dim for dim, size in enumerate(shape) if size > 1]
    if len(wide) > 1:
        return Weight(name=str(node.target), shape=shape)
    if not wide:
        labels = p.space.new(1)
        p.space.fix(labels, str(node.target), "one number for all channels")
        return labels.view([1] * len(shape))
    vector = p.space.new(shape[wide[0]])
    p.slice(node, str(node.target), wide[0], vector, "each")
    return broadcast_along(vector, shape, wide[0])
