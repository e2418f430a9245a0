import threading

import numpy as np
import pytest
import torch
import torchvision

from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.evaluators import FeatureError, SubnetworkEvaluator
from emodir_tui.nets.execution.parallel import map_parallel, workers_for
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.execution.span import working_bytes
from tests.support.models import graph_of, random_keep, zoo_model


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items_and_no_state_is_used_twice_at_once():
    busy = [0, 0, 0]

    def work(lane, item):
        busy[lane] += 1
        assert busy[lane] == 1
        threading.Event().wait(0.001 * (item % 3))
        busy[lane] -= 1
        return item**2

    assert map_parallel(work, range(40), [0, 1, 2]) == [item**2 for item in range(40)]


def test_what_check_raises_ends_the_work():
    done = []

    def check():
        if len(done) > 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        map_parallel(lambda _, item: done.append(item) or threading.Event().wait(0.01), range(1000), [0, 1], check)
    assert len(done) < 20


def test_an_error_of_a_lane_reaches_the_caller():
    def work(_, item):
        if item == 5:
            raise ValueError("five")

    with pytest.raises(ValueError, match="five"):
        map_parallel(work, range(10), [0, 1])


@pytest.mark.parametrize("name", ["resnet20", "vgg16"])
def test_neither_lanes_nor_what_is_computed_once_change_an_impairment(name, threads):
    model, x = zoo_model(name)
    graph = graph_of(model, x)
    features = x
    for part in divide_network(graph).subnetworks:
        span = SlicedNetwork(graph, part.start, part.stop)
        span.select(np.ones(graph.genes, dtype=bool))
        with torch.no_grad():
            output = span(features)
        own = np.zeros(graph.genes, dtype=bool)
        for number in part.groups:
            own[graph.groups[number].start : graph.groups[number].stop] = True
        keep_vectors = np.stack([random_keep(graph, seed, empty=True) | ~own for seed in range(5)])
        values = []
        for count, varying, memory in ((1, None, 0), (3, own, 1 << 30), (1, own, 1 << 30), (1, own, 0)):
            threads(count)
            error = FeatureError(graph, part.stop, [output])
            evaluator = SubnetworkEvaluator(
                graph, part.start, part.stop, [features], error, varying=varying, memory=memory
            )
            values.append(evaluator.evaluate(keep_vectors))
            with torch.no_grad():
                # What is written over is the network's own, never what was computed once or came in.
                assert torch.equal(output, span(features))
        for other in values[1:]:
            np.testing.assert_allclose(other, values[0], rtol=1e-5, atol=1e-9)
        np.testing.assert_array_equal(values[1], values[2])
        features = output


def test_the_first_layer_of_a_sub_network_is_computed_once():
    model, x = zoo_model("resnet20")
    graph = graph_of(model, x)
    part = divide_network(graph).subnetworks[1]
    own = np.zeros(graph.genes, dtype=bool)
    for number in part.groups:
        own[graph.groups[number].start : graph.groups[number].stop] = True
    span = SlicedNetwork(graph, part.start, part.stop, varying=own)
    with torch.no_grad():
        precomputed = span.precompute(torch.randn(2, *part.start.shape[1:]))
        # Neither the layer nor the normalisation and activation behind it run again.
        first = graph.graph_module.get_submodule(part.layers[0])
        assert len(precomputed) == 1
        assert next(iter(precomputed.values())).shape[-1] == first.out_channels
        span.select(random_keep(graph, 0, empty=False) | ~own)
        wrong = {name: torch.zeros_like(value) for name, value in precomputed.items()}
        inputs = torch.randn(2, *part.start.shape[1:])
        assert not torch.equal(span(inputs, wrong), span(inputs))


def test_lanes_are_as_many_as_memory_holds_and_at_least_one(threads):
    threads(4)
    cpu = torch.device("cpu")
    assert workers_for(cpu) == 4
    assert workers_for(cpu, each=10, memory=40) == 4
    assert workers_for(cpu, each=10, memory=25) == 2
    assert workers_for(cpu, each=10, memory=5) == 1
    assert workers_for(torch.device("meta"), each=10, memory=100) == 1


def test_fewer_lanes_share_the_threads(threads):
    threads(4)
    assert map_parallel(lambda *_: torch.get_num_threads(), range(4), [0, 1]) == [2] * 4
    assert torch.get_num_threads() == 4


def test_the_largest_output_of_a_span_is_counted_for_all_images():
    model, x = zoo_model("resnet20")
    largest, together = working_bytes(graph_of(model, x), None, None, 125)
    # 16 channels of 32 × 32 in 32 bits.
    assert largest == 125 * 16 * 32 * 32 * 4
    assert together > 19 * largest / 4


def test_a_network_that_splits_its_tensors_has_working_bytes_too():
    model = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    largest, together = working_bytes(graph_of(model, torch.randn(2, 3, 64, 64)), None, None, 10)
    # 24 channels of 32 × 32 behind the first layer.
    assert together > largest == 10 * 24 * 32 * 32 * 4
