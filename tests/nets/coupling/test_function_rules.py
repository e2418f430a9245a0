"""Rules of functions: tracing must find each of them by the names that users call."""

import operator
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import torchvision.ops
from torch import fx

from emodir_tui.nets.coupling.function_rules import FUNCTION_RULES
from emodir_tui.nets.tracing.tracer import operation

SPACES = (torch, F, operator, torchvision.ops, SimpleNamespace(getattr=getattr))


@pytest.mark.parametrize("name", FUNCTION_RULES)
def test_tracing_finds_the_rule_by_every_public_name(name):
    graph = fx.Graph()
    x = graph.placeholder("x")
    functions = [getattr(space, name, None) for space in SPACES]
    found = [operation(graph.call_function(function, (x,))) for function in functions if callable(function)]
    if hasattr(torch.Tensor, name):
        found.append(operation(graph.call_method(name, (x,))))
    assert set(found) == {name}
