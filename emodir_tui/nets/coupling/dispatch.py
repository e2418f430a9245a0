"""Label propagation through a network: one rule per operation, found by node kind, module class or function name."""

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
    """Label the outputs of all nodes of a network, in execution order."""
    state = Propagation(network)
    for node in state.module.graph.nodes:
        state.values[node] = _apply(state, node)
    return state


def _apply(state: Propagation, node: fx.Node) -> Any:
    """A node's output: labels of its tensor, a tuple of them, a weight, or a plain value."""
    if node.op == "placeholder":
        labels = state.new_channels(node, 1)[1] if len(state.shape(node)) > 1 else state.new_channels(node, 0)[1]
        state.space.fix(labels, "input", "the network's input")
        return labels
    if node.op == "get_attr":
        return _read_tensor(state, node)
    if node.op == "output":
        for source in node.all_input_nodes:
            state.space.fix(state.values[source], "output", "the network's output")
        return None
    if node.op == "call_module":
        return module_rule(state, node)
    rule = FUNCTION_RULES.get(operation(node) or "")
    return rule(state, node) if rule else state.protect_through(node, f"{operation(node) or node.target} is {UNKNOWN}")


def _read_tensor(state: Propagation, node: fx.Node) -> Any:
    tensor = operator.attrgetter(str(node.target))(state.module)
    if not isinstance(tensor, Tensor):
        return node.meta.get("value")
    shape = tuple(tensor.shape)
    wide = [dim for dim, size in enumerate(shape) if size > 1]
    if len(wide) > 1:
        return Weight(name=str(node.target), shape=shape)
    if not wide:
        labels = state.space.new(1)
        state.space.fix(labels, str(node.target), "one number for all channels")
        return labels.view([1] * len(shape))
    vector = state.space.new(shape[wide[0]])
    state.record_slice(node, str(node.target), wide[0], vector, "each")
    return broadcast_along(vector, shape, wide[0])
