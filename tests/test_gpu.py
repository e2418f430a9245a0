"""What only a machine with a CUDA device can tell: `pytest -m gpu`."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from emodir_tui.bench import open_bench, weights_of
from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.evaluators import FeatureError, SubnetworkEvaluator
from emodir_tui.nets.execution.masked import MaskedNetwork
from emodir_tui.nets.execution.stacked import StackedEvaluator, _Recorded
from emodir_tui.nets.removal import remove
from emodir_tui.nets.sources.models import load_model
from emodir_tui.profile import load
from tests.support.models import ZOO, difference, disturbed, graph_of, inputs_of, masks_of, random_keep, zoo_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(autouse=True)
def exactly(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def test_a_bench_opens_on_a_gpu():
    bench = open_bench(load(Path("profiles/digits.toml"), ["device=cuda"]))
    assert bench.graph(weights_of(bench.model())).network.example.is_cuda


@pytest.mark.parametrize("name", [*ZOO, "torchvision:shufflenet_v2_x0_5", "torchvision:mobilenet_v3_small"])
def test_masked_and_removed_channels_give_the_same(name):
    if name in ZOO:
        model, example = zoo_model(name)
    else:
        torch.manual_seed(0)
        model, example = disturbed(load_model(name, "", 10)).eval(), torch.randn(3, 3, 64, 64)
    graph = graph_of(model.cuda(), example.cuda())
    keep = random_keep(graph, 0)
    gates = torch.from_numpy(keep).float().cuda().expand(len(example), -1)
    with torch.no_grad():
        masked = MaskedNetwork(graph, None, None, statistics="running")(example.cuda(), gates)
        removed = remove(graph, keep, statistics="running").eval()(example.cuda())
    assert difference(removed, masked) < 1e-4


def test_a_recorded_pass_gives_what_slicing_gives():
    model, example = zoo_model("resnet20")
    graph = graph_of(model.cuda(), example.cuda())
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)).cuda()
    for part in divide_network(graph).subnetworks:
        features, outputs = inputs_of(graph, part, images)
        own, keep_vectors = masks_of(graph, part, 5)
        span = (graph, part.start, part.stop, features, FeatureError(graph, part.stop, outputs))
        expected = SubnetworkEvaluator(*span, varying=own).evaluate(keep_vectors)
        for dtype, tolerance in ((torch.float32, 1e-2), (torch.bfloat16, 5e-2)):
            found = StackedEvaluator(*span, varying=own, candidates=3, dtype=dtype).evaluate(keep_vectors)
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-4)


def test_what_waits_for_the_device_is_not_recorded_and_leaves_no_trace():
    x = torch.ones(4, device="cuda")
    with pytest.raises(RuntimeError):
        _Recorded(lambda x: x * float(x.sum()), [x])
    assert torch.cuda.get_sync_debug_mode() == 0
    torch.cuda.empty_cache()
    assert float(_Recorded(partial(torch.mul, other=3), [x])(2 * x).sum()) == 24


@pytest.mark.parametrize("form", ["sliced", "stacked", "auto"])
def test_a_run_ends_and_its_networks_are_what_it_says(emodir, form):
    settings = ("--set", "device=cuda", "--set", f"search.evaluator={form}")
    done = emodir("run", "tiny.toml", "--no-tui", *settings)
    assert done.returncode == 0, done.stderr
    # Where nothing is asked for, nothing may have gone wrong either.
    assert "stacking fails" not in done.stderr
    (run,) = (emodir.folder / "runs").iterdir()
    picks = json.loads(emodir("show", run.name, "--json").stdout)["picks"]
    assert len(picks) == 2
    for file in sorted((run / "export").glob("*.safetensors")):
        assert emodir("verify", str(file)).returncode == 0
