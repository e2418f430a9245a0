"""Channel groups against those of torch-pruning, an independent implementation, on models that it handles."""

import warnings

import pytest
import torch
from torch import nn

from emodir_tui.nets.sources.models import load_model
from tests.support.models import graph_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch_pruning = pytest.importorskip("torch_pruning")


def groups_of_torch_pruning(model, x):
    """For each of its groups the set of layers whose filters go, the classifier's own left out."""
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=x)
    found = set()
    names = {module: name for name, module in model.named_modules()}
    for group in graph.get_all_groups(ignored_layers=[last], root_module_types=[nn.Conv2d, nn.Linear]):
        layers = set()
        for dependency, _ in group:
            module = dependency.target.module
            made = dependency.handler.__name__ in (
                "prune_out_channels",
                "prune_depthwise_out_channels",
            ) or "out" in str(dependency.handler)
            if (
                made
                and isinstance(module, nn.Conv2d | nn.Linear)
                and not (isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1)
            ):
                layers.add(names[module])
        found.add(frozenset(layers))
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenet_v2",
        *(pytest.param(name, marks=pytest.mark.full) for name in ("vgg16_bn", "resnet50", "densenet121")),
    ],
)
def test_groups_are_those_that_torch_pruning_finds(name):
    torch.manual_seed(0)
    model = load_model(f"torchvision:{name}", "", 10).eval()
    x = torch.randn(1, 3, 64, 64)
    ours = {frozenset(group.producers) for group in graph_of(model, torch.cat([x, x])).groups}
    assert ours == groups_of_torch_pruning(model, x)
