import numpy as np
import pytest
import torch

from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.evaluators import FeatureError, SubnetworkEvaluator
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.measures.error_gradient import ErrorGradient
from tests.support.models import graph_of, random_keep, ranks, zoo_model


@pytest.mark.parametrize("name", ["resnet20", pytest.param("vgg16", marks=pytest.mark.full)])
def test_predictions_order_genes_as_measurements_do(name):
    model, _ = zoo_model(name)
    x = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    graph = graph_of(model, x)
    part = divide_network(graph).subnetworks[0]
    whole = np.ones(graph.genes, dtype=bool)
    span = SlicedNetwork(graph, part.start, part.stop)
    span.select(whole)
    with torch.no_grad():
        output = span(x)
    own = np.concatenate([np.arange(graph.groups[n].start, graph.groups[n].stop) for n in part.groups])
    evaluator = SubnetworkEvaluator(graph, part.start, part.stop, [x], FeatureError(graph, part.stop, [output]))
    keep = whole.copy()
    keep[own] = random_keep(graph, 1, 0.4)[own]
    ((error, removal, restoring),) = ErrorGradient(graph, part.start, part.stop, [x], [output]).effects(keep[None])
    assert error == pytest.approx(evaluator.evaluate(keep[None])[0], rel=1e-4)
    flips = np.repeat(keep[None], len(own), axis=0)
    flips[np.arange(len(own)), own] ^= True
    change = evaluator.evaluate(flips) - evaluator.evaluate(keep[None])[0]
    for here, predicted in ((keep[own], removal[own]), (~keep[own], restoring[own])):
        assert np.corrcoef(ranks(change[here]), ranks(predicted[here]))[0, 1] > 0.6


def test_at_the_unpruned_mask_the_slope_is_zero_and_the_curvature_tells():
    model, x = zoo_model("resnet20")
    graph = graph_of(model, x)
    part = divide_network(graph).subnetworks[1]
    features = torch.randn(4, *part.start.shape[1:])
    span = SlicedNetwork(graph, part.start, part.stop)
    span.select(np.ones(graph.genes, dtype=bool))
    with torch.no_grad():
        output = span(features)
    guide = ErrorGradient(graph, part.start, part.stop, [features], [output])
    ((error, removal, restoring),) = guide.effects(np.ones((1, graph.genes), dtype=bool))
    assert error == pytest.approx(0.0, abs=1e-9)
    group = graph.groups[part.groups[0]]
    np.testing.assert_allclose(restoring, 0.0, atol=1e-5)
    assert (removal[group.start : group.stop] > 0).all()
    elsewhere = graph.groups[divide_network(graph).subnetworks[0].groups[0]]
    assert (removal[elsewhere.start : elsewhere.stop] == 0).all()
