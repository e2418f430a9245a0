from pathlib import Path

import numpy as np
import pytest
import torch

from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.evaluators import FeatureError, NetworkEvaluator, SubnetworkEvaluator
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.measures.error_gradient import ErrorGradient
from emodir_tui.nets.modules.precision import CPU_FLAGS, cpu_flags, has_fast_bfloat16
from tests.support.models import graph_of, random_keep, ranks, zoo_model


def outputs_of(graph, part, features, dtype):
    span = SlicedNetwork(graph, part.start, part.stop, dtype=dtype)
    span.select(np.ones(graph.genes, dtype=bool))
    with torch.no_grad():
        return span(features)


@pytest.mark.parametrize("name", ["resnet20", pytest.param("vgg16", marks=pytest.mark.full)])
def test_in_bfloat16_masks_keep_their_order_and_the_unpruned_one_costs_next_to_nothing(name):
    model, _ = zoo_model(name)
    x = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    graph = graph_of(model, x)
    part = divide_network(graph).subnetworks[0]
    whole = np.ones((1, graph.genes), dtype=bool)
    own = np.zeros(graph.genes, dtype=bool)
    for number in part.groups:
        own[graph.groups[number].start : graph.groups[number].stop] = True
    shares = np.linspace(0.05, 0.95, 20)
    keep_vectors = np.concatenate(
        [whole, *(random_keep(graph, i, share)[None] | ~own for i, share in enumerate(shares))]
    )
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        output = outputs_of(graph, part, x, dtype)
        error = FeatureError(graph, part.stop, [output])
        evaluator = SubnetworkEvaluator(graph, part.start, part.stop, [x], error, varying=own, dtype=dtype)
        found[dtype] = evaluator.evaluate(keep_vectors)
    assert found[torch.bfloat16][0] < 1e-5
    np.testing.assert_allclose(found[torch.bfloat16], found[torch.float32], rtol=0.02, atol=1e-4)
    assert np.corrcoef(ranks(found[torch.bfloat16]), ranks(found[torch.float32]))[0, 1] > 0.99


def test_a_whole_network_in_bfloat16_gives_logits_in_full_precision():
    model, x = zoo_model("resnet20")
    graph = graph_of(model, x)
    cuts = [graph.network.features]
    keep = random_keep(graph, 0, 0.5)
    full, reduced = (NetworkEvaluator(graph, cuts, [x], 0, dtype) for dtype in (torch.float32, torch.bfloat16))
    (expected,), (found,) = full.run(keep, None), reduced.run(keep, None)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def test_a_guide_in_bfloat16_orders_genes_as_in_full_precision():
    model, _ = zoo_model("resnet20")
    x = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    graph = graph_of(model, x)
    part = divide_network(graph).subnetworks[0]
    output = outputs_of(graph, part, x, torch.float32)
    keep = random_keep(graph, 1, 0.4)[None]
    own = np.concatenate([np.arange(graph.groups[n].start, graph.groups[n].stop) for n in part.groups])
    (full,), (reduced,) = (
        ErrorGradient(graph, part.start, part.stop, [x], [output], dtype=dtype).effects(keep)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert reduced.error == pytest.approx(full.error, rel=0.05)
    for expected, found in zip(full[1:], reduced[1:], strict=True):
        assert np.corrcoef(ranks(expected[own]), ranks(found[own]))[0, 1] > 0.95


def test_bfloat16_is_chosen_by_what_a_processor_has(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nflags\t\t: fpu avx512f amx_bf16\n\nprocessor : 1\nflags : fpu\n")
    assert cpu_flags(file) == {"fpu", "avx512f", "amx_bf16"}
    assert cpu_flags(tmp_path / "none") == set()
    assert has_fast_bfloat16(torch.device("cpu")) == bool(CPU_FLAGS & cpu_flags(Path("/proc/cpuinfo")))
