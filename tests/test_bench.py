import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from emodir_tui import bench as benches
from emodir_tui.errors import ProfileError
from emodir_tui.nets.sources.models import load_model
from emodir_tui.profile import load
from emodir_tui.stages.support.baseline_cache import cache_file


@pytest.mark.parametrize(
    ("wanted", "native", "expected"), [("true", True, True), ("true", False, False), ("false", True, False)]
)
def test_trainings_are_mixed_only_where_asked_for_and_native(monkeypatch, wanted, native, expected):
    monkeypatch.setattr(benches, "has_fast_bfloat16", lambda device: native)
    settings = load(Path("profiles/digits.toml"), [f"hardware.mixed_precision={wanted}"])
    assert benches.open_bench(settings).mixed_precision is expected


@pytest.mark.parametrize(("name", "expected"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")])
def test_a_gpu_is_chosen_with_its_number_which_torch_wants(monkeypatch, name, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(benches.choose_device(name)) == expected


def test_another_precision_has_another_cached_baseline(monkeypatch):
    monkeypatch.setattr(benches, "has_fast_bfloat16", lambda device: True)
    opened = [
        benches.open_bench(load(Path("profiles/digits.toml"), [f"hardware.mixed_precision={wanted}"]))
        for wanted in ("true", "false")
    ]
    assert cache_file(opened[0]) != cache_file(opened[1])


def test_a_gpu_that_rounds_otherwise_has_another_cached_baseline(monkeypatch):
    bench = benches.open_bench(load(Path("profiles/digits.toml"), ["hardware.mixed_precision=false"]))
    bench = replace(bench, device=torch.device("cuda", 0))
    card = {"name": "A"}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: card["name"])
    first = cache_file(bench)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not torch.backends.cudnn.allow_tf32)
    second = cache_file(bench)
    card["name"] = "B"
    third = cache_file(bench)
    assert len({first, second, third}) == 3
    # Its host's threads make none of its sums.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    assert cache_file(bench) == third


@pytest.mark.parametrize(("images", "batch"), [(273, 16), (300, 125), (299, 20), (7, 20), (7, 2)])
def test_no_batch_is_so_small_that_it_has_no_statistics(images, batch):
    bench = benches.open_bench(load(Path("profiles/digits.toml")))
    sizes = [len(inputs) for inputs, _ in bench.stream(bench.data.train, images, batch)]
    assert sum(sizes) == images
    assert min(sizes) >= max(2, max(sizes) // 2)


class Flattens(nn.Module):
    """Flattens with `view`, as in many a tutorial."""

    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3))
        self.head = nn.Linear(6 * 16, classes)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).view(x.size(0), -1))


class TwoInputs(nn.Module):
    """Takes more than an image."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)

    def forward(self, x, mask):
        return self.head((x * mask).flatten(1))


def test_a_model_that_can_not_take_the_images_is_told_in_a_sentence():
    bench = benches.open_bench(load(Path("profiles/digits.toml"), [f"model.source={__name__}:TwoInputs"]))
    with pytest.raises(ProfileError, match="TwoInputs cannot process a batch of shape"):
        bench.try_division()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model.classes=4"], "has 4 classes for an image, but data.source has 10 classes"),
        (["model.weights={}"], r"'linear\.bias' holds values that are infinite or not numbers"),
    ],
)
def test_networks_that_can_not_be_used_are_told_before_anything_is_trained(tmp_path, overrides, sentence):
    weights = load_model("digits-resnet", "", 10).state_dict()
    weights["linear.bias"][3] = float("nan")
    file = tmp_path / "weights.pt"
    torch.save(weights, file)
    bench = benches.open_bench(load(Path("profiles/digits.toml"), [text.format(file) for text in overrides]))
    with pytest.raises(ProfileError, match=sentence):
        bench.try_division()


def test_a_model_that_flattens_with_view_gets_its_inputs_in_order_and_others_channels_last():
    usual = benches.open_bench(load(Path("profiles/digits.toml")))
    assert next(usual.model().parameters()).is_contiguous(memory_format=torch.channels_last)
    assert usual.memory_format == torch.channels_last
    own = load(Path("profiles/digits.toml"), [f"model.source={__name__}:Flattens"])
    bench = benches.open_bench(own)
    weights = benches.weights_of(bench.model())
    graph = bench.graph(weights)
    generator = torch.Generator().manual_seed(0)
    inputs, _ = bench.data.train.shuffled_batch(torch.arange(5), generator, "crop")
    assert inputs.stride() == (64, 64, 8, 1)
    logits = graph.network.model(inputs)
    # Searches may meet the channels last all the same.
    other = inputs.clone().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(graph.graph_module(other), logits)


def test_a_bench_remembers_decisions_through_its_run_and_is_not_changed_afterwards():
    kept = {}

    def decide(name, measure):
        return kept.setdefault(name, measure())

    bench = benches.open_bench(load(Path("profiles/digits.toml")), decide=decide)
    assert [bench.decide("form", lambda: "sliced"), bench.decide("form", lambda: "stacked")] == ["sliced", "sliced"]
    with pytest.raises(AttributeError):
        bench.memory_format = torch.contiguous_format


def test_an_architecture_is_analysed_once_and_its_networks_belong_to_those_who_ask(monkeypatch):
    analysed = []
    analyse = benches.analyse
    monkeypatch.setattr(benches, "analyse", lambda network: analysed.append(network) or analyse(network))
    bench = benches.open_bench(load(Path("profiles/digits.toml")))
    weights = benches.weights_of(bench.model())
    first, second = bench.graph(weights), bench.graph(weights)
    bench.try_division()
    bench.complexity()
    assert len(analysed) == 1
    assert first.groups is second.groups
    with torch.no_grad():
        next(first.network.model.parameters()).zero_()
    assert not torch.equal(*(next(graph.network.model.parameters()) for graph in (first, second)))
    # As a finished stage leaves it; traced networks are cycles, so it is the collector that frees them.
    gone = weakref.ref(first.network.model)
    del first
    gc.collect()
    assert gone() is None


def test_torch_is_set_by_the_profile_only_where_that_is_asked_for(monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    profile = load(Path("profiles/digits.toml"), ["hardware.threads=3", "seed=5"])
    bench = benches.open_bench(profile)
    assert threads == []
    draws = []
    for _ in range(2):
        benches.configure_torch(profile, bench.device)
        draws.append(torch.rand(3))
    assert threads == [3, 3]
    torch.testing.assert_close(*draws, rtol=0, atol=0)
