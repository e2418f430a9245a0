import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_small

from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.evaluators import FeatureError, SubnetworkEvaluator
from emodir_tui.nets.execution.stacked import StackedEvaluator, UnstackableError
from tests.support.models import disturbed, graph_of, inputs_of, masks_of, zoo_model


def torchvision_model():
    """With squeeze and excitation, depthwise convolutions and blocks that have no shortcut."""
    torch.manual_seed(0)
    return disturbed(mobilenet_v3_small(num_classes=10)), torch.randn(3, 3, 64, 64)


@pytest.mark.parametrize("name", ["resnet20", "vgg16", "mobilenet_v3_small"])
def test_stacked_candidates_have_the_values_of_sliced_ones(name):
    model, example = torchvision_model() if name == "mobilenet_v3_small" else zoo_model(name)
    images = torch.randn(12, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    graph = graph_of(model, example)
    for part in divide_network(graph).subnetworks:
        features, outputs = inputs_of(graph, part, images)
        own, keep_vectors = masks_of(graph, part, 5)
        error = FeatureError(graph, part.stop, outputs)
        span = (graph, part.start, part.stop, features, error)
        expected = SubnetworkEvaluator(*span, varying=own).evaluate(keep_vectors)
        # Five candidates in passes of three: the last pass is padded.
        stacked = StackedEvaluator(*span, varying=own, candidates=3)
        np.testing.assert_allclose(stacked.evaluate(keep_vectors), expected, rtol=1e-3, atol=1e-6)
        np.testing.assert_array_equal(stacked.evaluate(keep_vectors[:1]), stacked.evaluate(keep_vectors)[:1])


def test_without_memory_nothing_is_kept_and_the_values_are_the_same():
    model, example = zoo_model("resnet20")
    graph = graph_of(model, example)
    part = divide_network(graph).subnetworks[1]
    features, outputs = inputs_of(graph, part, torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    own, keep_vectors = masks_of(graph, part, 4)
    error = FeatureError(graph, part.stop, outputs)
    span = (graph, part.start, part.stop, features, error)
    rich, poor = (StackedEvaluator(*span, varying=own, memory=memory) for memory in (1 << 30, 0))
    assert rich.candidates > 1
    assert poor.candidates == 1
    np.testing.assert_allclose(poor.evaluate(keep_vectors), rich.evaluate(keep_vectors), rtol=1e-4)
    assert poor.evaluate(keep_vectors[:0]).shape == (0,)


def test_a_stacked_candidate_does_not_depend_on_those_beside_it():
    model, example = zoo_model("resnet20")
    graph = graph_of(model, example)
    part = divide_network(graph).subnetworks[0]
    features, outputs = inputs_of(graph, part, torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    own, keep_vectors = masks_of(graph, part, 4)
    evaluator = StackedEvaluator(
        graph, part.start, part.stop, features, FeatureError(graph, part.stop, outputs), varying=own, candidates=2
    )
    together = evaluator.evaluate(keep_vectors)
    np.testing.assert_allclose(evaluator.evaluate(keep_vectors[::-1])[::-1], together, rtol=1e-6)


class Moody(nn.Module):
    """What it does depends on values, so it can't be traced, and nobody knows what its normalisation sees."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.norm(x)
        return x.relu() if x.mean() > 0 else x


def test_a_normalisation_inside_what_nobody_can_look_into_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), Moody(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 10))
    example = torch.randn(2, 3, 8, 8)
    graph = graph_of(model.eval(), example)
    with pytest.raises(UnstackableError, match="Moody normalises over its batch"):
        StackedEvaluator(graph, None, None, [example], FeatureError(graph, None, [torch.zeros(2, 10)]))
