import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from emodir_tui.nets.measures import latency
from emodir_tui.nets.measures.latency import LatencyModel, LatencyTable, LayerTimes, measure_alternating, measure_table
from emodir_tui.nets.sources.models import load_model
from tests.support.models import graph_of, random_keep, zoo_model


def table_of_macs(graph):
    """A table whose times are the layers' MACs, so that the estimate is known exactly."""
    layers = []
    for layer in graph.layers:
        outputs = sorted({1, len(layer.outputs)})
        inputs = outputs if layer.inputs is None else sorted({1, len(layer.inputs)})
        grid = np.array([[layer.macs * i * o for o in outputs] for i in inputs], dtype=float)
        layers.append(LayerTimes(node=layer.node, inputs=inputs, outputs=outputs, milliseconds=grid))
    return LatencyTable(layers=layers, fixed_ms=5.0, error=0.0)


def test_the_estimate_interpolates_between_widths_and_adds_up():
    graph = graph_of(*zoo_model("digits-resnet"))
    model = LatencyModel(graph, table_of_macs(graph))
    from emodir_tui.nets.measures.complexity import ComplexityModel

    keep = random_keep(graph, 1, empty=True)
    expected = 5.0 + ComplexityModel(graph).measure(keep[None])[0]
    np.testing.assert_allclose(model.measure(keep[None])[0], expected, rtol=1e-9)


def operations(model, example, repeats=0, calls=1):
    """In place of times, which a busy machine stretches: what convolutions and linear layers multiply."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(example)
    return float(counter.get_total_flops())


def test_layers_that_take_longer_alone_than_together_are_in_proportion(monkeypatch):
    graph = graph_of(*zoo_model("digits-resnet"))

    def slow_alone(model, example, repeats=0, calls=1):
        return operations(model, example) * (1 if isinstance(model, type(graph.network.model)) else 3)

    monkeypatch.setattr(latency, "measure", slow_alone)
    table = measure_table(graph, graph.network.example, seed=0)
    whole = LatencyModel(graph, table).measure(np.ones((1, graph.genes), dtype=bool))[0]
    assert whole == pytest.approx(operations(graph.network.model, graph.network.example))
    assert table.fixed_ms == 0.0
    assert table.error < 1e-6


def test_a_measured_table_knows_every_layer_and_its_own_error(monkeypatch):
    monkeypatch.setattr(latency, "measure", operations)
    graph = graph_of(*zoo_model("digits-resnet"))
    table = measure_table(graph, graph.network.example, seed=0)
    assert [times.node for times in table.layers] == [layer.node for layer in graph.layers]
    assert all((times.milliseconds > 0).all() for times in table.layers)
    # They grow with the product of both widths, which is what lies between the table's numbers.
    assert table.error < 1e-6
    assert table.fixed_ms < 1e-6


def test_depthwise_and_grouped_layers_are_measured_too():
    graph = graph_of(load_model("torchvision:mobilenet_v3_small", "", 10).eval(), torch.randn(2, 3, 32, 32))
    table = measure_table(graph, graph.network.example, seed=0)
    assert all((times.milliseconds > 0).all() for times in table.layers)


def test_of_models_measured_beside_one_another_a_busy_while_slows_all(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])

    class Slow(nn.Module):
        """Takes so many seconds, and twice as many in the first four."""

        def __init__(self, seconds):
            super().__init__()
            self.seconds = seconds

        def forward(self, x):
            now[0] += self.seconds * (2 if now[0] < 4 else 1)
            return x

    fast, slow = measure_alternating([Slow(0.01), Slow(0.25)], torch.zeros(1))
    # One after the other all passes of the fast one would fall into the busy while.
    assert (fast, slow) == pytest.approx((10.0, 250.0))
