import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.pruners import bn_scale, l1
from emodir_tui.errors import ProfileError
from emodir_tui.nets.division import comparison_cut, divide_network
from emodir_tui.nets.execution.evaluators import FeatureError, NetworkEvaluator, SubnetworkEvaluator
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.measures.importance import taylor
from emodir_tui.nets.sources.models import load_model, read_weights
from tests.support import models
from tests.support.models import ZOO, graph_of, random_keep, zoo_model


@pytest.mark.parametrize("name", ZOO)
def test_every_group_has_one_owner_and_no_part_is_without_groups(name):
    graph = graph_of(*zoo_model(name))
    division = divide_network(graph)
    owned = [group for part in division.subnetworks for group in part.groups]
    assert sorted([*owned, *division.streams]) == list(range(len(graph.groups)))
    assert all(part.groups for part in division.subnetworks)
    assert sum(part.share for part in division.subnetworks) == pytest.approx(1.0)


def test_parts_are_balanced_and_as_many_as_asked_for():
    division = divide_network(graph_of(*zoo_model("resnet56")), subnetworks=3)
    assert len(division.subnetworks) == 3
    assert max(part.share for part in division.subnetworks) < 0.36


def test_cuts_can_be_named_and_a_mistyped_one_gets_the_nearest():
    graph = graph_of(*zoo_model("resnet20"))
    division = divide_network(graph, cuts=["layer1.2", "layer2.2"])
    assert [part.stop.name if part.stop else None for part in division.subnetworks] == ["layer1.2", "layer2.2", None]
    with pytest.raises(ProfileError) as caught:
        divide_network(graph, cuts=["layer1.22"])
    assert "layer1.2" in caught.value.hint


class OneRelu(nn.Module):
    """One activation and one parameter that all layers use."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(6))
        self.relu, self.scale = nn.ReLU(), nn.Parameter(torch.tensor(1.3))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        for conv in self.layers:
            x = self.relu(conv(x)) * self.scale
        return self.head(x.mean((2, 3)))


def test_calls_of_one_module_make_cuts_with_names_of_their_own():
    torch.manual_seed(0)
    graph = graph_of(OneRelu(), torch.randn(2, 3, 6, 6))
    names = [cut.name for cut in graph.network.cuts]
    assert len(set(names)) == len(names)
    assert {"relu", "relu#2", "relu#6"} <= set(names)
    parts = divide_network(graph, subnetworks=3).subnetworks
    again = divide_network(graph, cuts=[part.stop.name for part in parts if part.stop is not None]).subnetworks
    assert [part.layers for part in again] == [part.layers for part in parts]
    assert len({part.stop for part in parts}) == 3


def test_a_parameter_may_be_read_on_both_sides_of_a_cut():
    torch.manual_seed(0)
    graph = graph_of(OneRelu(), torch.randn(2, 3, 6, 6))
    x = torch.randn(4, 3, 6, 6)
    whole = graph.network.model(x)
    keep = random_keep(graph, 0)
    spans = [SlicedNetwork(graph, part.start, part.stop) for part in divide_network(graph, subnetworks=3).subnetworks]
    for chosen in (np.ones(graph.genes, dtype=bool), keep):
        features = x
        for span in spans:
            span.select(chosen)
            features = span(features)
        alone = SlicedNetwork(graph, None, None)
        alone.select(chosen)
        torch.testing.assert_close(features, alone(x))
        if chosen.all():
            torch.testing.assert_close(features, whole)


class Tokens(nn.Module):
    """Channels in the last dimension."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3 if i == 0 else 8, 8) for i in range(4))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        for linear in self.layers:
            x = torch.nn.functional.gelu(linear(x))
        return self.head(x.mean(1))


@torch.no_grad()
def test_channels_in_another_dimension_cost_their_energy_too():
    torch.manual_seed(0)
    graph = graph_of(Tokens(), torch.randn(2, 3, 4, 4))
    part = divide_network(graph, subnetworks=2).subnetworks[0]
    assert graph.axis(part.stop.node)[0] == 2
    x = torch.randn(6, 3, 4, 4)
    span = SlicedNetwork(graph, None, part.stop)
    span.select(np.ones(graph.genes, dtype=bool))
    reference = span(x)
    keep = np.ones(graph.genes, dtype=bool)
    group = graph.groups[part.groups[-1]]
    keep[group.start + 2] = False
    span.select(keep)
    error = FeatureError(graph, part.stop, [reference]).measure(keep, [span(x)])
    lost = reference[:, :, 2].square().sum() / reference.square().sum()
    assert float(error) == pytest.approx(float(lost), rel=1e-5)


class Hidden(nn.Module):
    """Hidden linear layers behind the last image; with `parallel` two of them side by side up to the output."""

    def __init__(self, *, parallel):
        super().__init__()
        self.conv, self.parallel = nn.Conv2d(3, 8, 3, padding=1), parallel
        self.first, self.second = nn.Linear(8, 16), nn.Linear(8 if parallel else 16, 12)
        self.head, self.other = nn.Linear(16 if parallel else 12, 5), nn.Linear(12, 5)

    def forward(self, x):
        x = torch.relu(self.conv(x)).mean((2, 3))
        first = torch.relu(self.first(x))
        if self.parallel:
            return self.head(first) + self.other(torch.relu(self.second(x)))
        return self.head(torch.relu(self.second(first)))


@torch.no_grad()
@pytest.mark.parametrize(("parallel", "expected"), [(False, "relu_2"), (True, None)])
def test_what_a_hidden_layer_of_the_classifier_loses_shows_where_networks_are_compared(parallel, expected):
    torch.manual_seed(0)
    graph = graph_of(Hidden(parallel=parallel), torch.randn(2, 3, 6, 6))
    point = comparison_cut(graph)
    assert (point and point.node) == expected
    evaluator = NetworkEvaluator(graph, [point] if point else [], [torch.randn(6, 3, 6, 6)], 1 << 20)
    error = FeatureError(graph, point, evaluator.run(np.ones(graph.genes, dtype=bool), point))
    assert len(graph.groups) == 3
    for group in graph.groups:
        keep = np.ones(graph.genes, dtype=bool)
        keep[group.start + 1 : group.stop] = False
        assert float(error.measure(keep, evaluator.run(keep, point))) > 1e-3


def test_inner_boundary_and_stream_groups_are_told_apart():
    resnet, vgg = (set(divide_network(graph_of(*zoo_model(name))).kinds.values()) for name in ("resnet20", "vgg16"))
    assert resnet >= {"inner", "stream"}
    assert vgg == {"inner", "boundary"}


def test_nothing_to_prune_is_said_with_the_reason():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(ProfileError, match="nothing in this network can be pruned"):
        divide_network(graph_of(model, torch.randn(2, 3, 2, 2)))


def test_the_unpruned_mask_has_no_impairment_and_a_removed_channel_costs_its_energy():
    model, x = zoo_model("vgg16")
    graph = graph_of(model, x)
    part = divide_network(graph).subnetworks[0]
    span = SlicedNetwork(graph, part.start, part.stop)
    whole = torch.ones(graph.genes, dtype=torch.bool).numpy()
    span.select(whole)
    with torch.no_grad():
        output = span(x)
    evaluator = SubnetworkEvaluator(graph, part.start, part.stop, [x], FeatureError(graph, part.stop, [output]))
    boundary = graph.groups[part.groups[-1]]
    pruned = whole.copy()
    pruned[boundary.start] = False
    none, some = evaluator.evaluate(torch.tensor([whole.tolist(), pruned.tolist()]).numpy())
    assert none == pytest.approx(0.0, abs=1e-10)
    assert some == pytest.approx(float(output[:, 0].square().sum() / output.square().sum()), rel=1e-4)


def test_remembered_beginnings_change_no_result():
    model, x = zoo_model("resnet20")
    graph = graph_of(model, x)
    cuts = [part.stop for part in divide_network(graph).subnetworks if part.stop]
    fresh, remembering = NetworkEvaluator(graph, cuts, [x], 0), NetworkEvaluator(graph, cuts, [x], 1 << 30)
    keep_vectors = [random_keep(graph, seed, empty=True) for seed in range(3)]
    mixed = keep_vectors[0].copy()
    last = graph.groups[divide_network(graph).subnetworks[-1].groups[0]]
    mixed[last.start : last.stop] = keep_vectors[1][last.start : last.stop]
    for keep in (*keep_vectors, mixed, keep_vectors[0]):
        assert torch.equal(fresh.run(keep, None)[0], remembering.run(keep, None)[0])


def test_importances_are_one_finite_number_a_gene_and_see_what_matters():
    model, x = zoo_model("resnet20")
    graph = graph_of(model, x)
    labels = torch.tensor([0, 1, 2])
    group = next(group for group in graph.groups if group.branch is not None)
    consumer = model.get_submodule(group.consumers[0])
    with torch.no_grad():
        consumer.weight[:, 0] = 0
    for values in (taylor(graph, [(x, labels)], nn.functional.cross_entropy), l1(graph), bn_scale(graph)):
        assert values.shape == (graph.genes,)
        assert (values >= 0).all()
    importance = taylor(graph, [(x, labels)], nn.functional.cross_entropy)
    assert importance[group.start] == 0
    assert importance[group.start + 1] > 0


@pytest.mark.parametrize(
    ("source", "sentence", "hint"),
    [
        ("resnet21", "is not in the zoo", "resnet20"),
        ("torchvision:resnet5", "no classification model", "resnet50"),
        ("no.such.module:f", "cannot be imported", ""),
        ("tests.support.models:Unet", "has no function", "UNet"),
        ("tests.support.models:graph_of", "fails: TypeError", ""),
    ],
)
def test_models_that_are_not_there_are_named_with_the_nearest(source, sentence, hint):
    with pytest.raises(ProfileError) as caught:
        load_model(source, "", 10)
    assert sentence in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "make",
    [
        lambda outputs, depth=1: nn.Linear(8, outputs),
        lambda depth=8, num_classes=10: nn.Linear(depth, num_classes),
        lambda depth=8, *, n_classes: nn.Linear(depth, n_classes),
        lambda *sizes: nn.Linear(8, *sizes),
        lambda: nn.Linear(8, 7),
    ],
    ids=["first", "by name", "by its name only", "anything", "nothing"],
)
def test_a_users_own_factory_is_given_the_number_of_classes_as_it_takes_it(monkeypatch, make):
    monkeypatch.setattr(models, "make", make, raising=False)
    model = load_model("tests.support.models:make", "", 7)
    assert (model.in_features, model.out_features) == (8, 7)


def test_how_a_users_own_factory_was_called_is_told_where_it_fails(monkeypatch):
    monkeypatch.setattr(models, "make", lambda width, num_classes=10: None, raising=False)
    with pytest.raises(ProfileError, match=r"models:make\(num_classes=7\) fails: TypeError"):
        load_model("tests.support.models:make", "", 7)


def test_weights_with_prefixes_load_and_others_are_refused_by_name(tmp_path):
    model = zoo_model("digits-resnet")[0]
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}, path)
    loaded = load_model("digits-resnet", str(path), 10)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    with pytest.raises(ProfileError, match="instead of"):
        load_model("digits-resnet", str(path), 11)
    torch.save({name: value for name, value in model.state_dict().items() if name != "conv1.weight"}, path)
    with pytest.raises(ProfileError, match=r"lacks 'conv1\.weight'"):
        load_model("digits-resnet", str(path), 10)


class Bomb:
    def __reduce__(self):
        import os

        return (os.mkdir, ("bomb-went-off",))


def test_a_file_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Bomb()}, "bomb.pt")
    with pytest.raises(ProfileError, match="can be read safely"):
        read_weights(tmp_path / "bomb.pt")
    assert not (tmp_path / "bomb-went-off").exists()
