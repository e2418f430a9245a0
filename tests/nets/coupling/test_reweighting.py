"""One analysis of an architecture serves networks with other weights."""

import pytest
import torch
from torch import nn

from emodir_tui.nets.coupling.channel_graph import analyse
from emodir_tui.nets.coupling.reweighting import with_weights
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.sources.models import load_model
from emodir_tui.nets.tracing.network import trace


class OwnNormalisation(nn.Module):
    """Computes with a buffer alone, which tracing turns into a constant."""

    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3))
        self.head = nn.Linear(6, 4)
        self.register_buffer("variance", torch.ones(()))

    def forward(self, x):
        return self.head(self.convs(x).mean((2, 3)) / torch.sqrt(self.variance + 1e-5))


class Computed(nn.Module):
    """Has a weight that a hook computes before each call."""

    def __init__(self):
        super().__init__()
        self.first = nn.utils.weight_norm(nn.Conv2d(3, 6, 3))
        self.second = nn.Conv2d(6, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


def other_weights(model):
    """The weights of a network with other random numbers; statistics are positive."""
    return {
        name: torch.rand_like(value) + 0.5 if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }


def both(model):
    """The copy with other weights, and what a fresh analysis of a model with these makes."""
    torch.manual_seed(0)
    example = torch.randn(2, 3, 32, 32)
    first = analyse(trace(model.eval(), example))
    weights = other_weights(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copied = with_weights(first, weights)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    model.load_state_dict(weights)
    return copied, analyse(trace(model, example)), example


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "model",
    [
        lambda: load_model("resnet20", "", 10),
        lambda: load_model("torchvision:shufflenet_v2_x0_5", "", 10),
        lambda: load_model("torchvision:mobilenet_v3_small", "", 10),
        OwnNormalisation,
        Computed,
    ],
    ids=["resnet20", "shufflenet", "mobilenet", "own normalisation", "computed weight"],
)
def test_a_copy_computes_what_a_fresh_analysis_computes(model):
    copied, fresh, example = both(model())
    assert copied.groups == fresh.groups
    assert copied.protected == fresh.protected
    assert [node.name for node in copied.graph_module.graph.nodes] == [
        node.name for node in fresh.graph_module.graph.nodes
    ]
    keep = torch.rand(fresh.genes, generator=torch.Generator().manual_seed(1)).numpy() < 0.7
    keep[[group.start for group in fresh.groups]] = True
    outputs = []
    for graph in (copied, fresh):
        network = SlicedNetwork(graph, None, None)
        network.select(keep)
        with torch.no_grad():
            outputs.append((network(example), graph.network.model.eval()(example)))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)


def test_layers_of_a_copy_are_shared_between_its_model_and_its_graph():
    copied, _, _ = both(load_model("resnet20", "", 10))
    for name, module in copied.network.model.named_modules():
        if isinstance(module, nn.Conv2d):
            assert copied.graph_module.get_submodule(name) is module
            assert copied.network.graph_module.get_submodule(name) is module
