import json

import numpy as np
import pytest
import torch
from torch import nn

from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.masked import MaskedNetwork
from emodir_tui.nets.execution.sliced import SlicedNetwork, _KeptPositions
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.removal import ChannelConstant, apply_structure, remove, structure
from emodir_tui.nets.sources.models import load_model
from tests.support.models import (
    NARROW,
    TORCHVISION,
    ZOO,
    InPlace,
    Odd,
    Shared,
    UNet,
    difference,
    disturbed,
    graph_of,
    macs_by_hooks,
    random_keep,
    torchvision_model,
    zoo_model,
)


def masked(graph, x, keep):
    with torch.no_grad():
        return MaskedNetwork(graph, None, None, statistics="running")(x, torch.from_numpy(keep).float())


def removed(graph, x, keep):
    with torch.no_grad():
        return remove(graph, keep)(x)


@pytest.mark.parametrize("name", ZOO)
def test_removed_equals_masked_on_every_model_of_the_zoo(name):
    model, x = zoo_model(name)
    graph = graph_of(model, x)
    for seed in range(3):
        keep = random_keep(graph, seed, empty=seed > 0)
        assert difference(removed(graph, x, keep), masked(graph, x, keep)) < 1e-4


@pytest.mark.parametrize("name", ["vgg16", "resnet20"])
def test_a_removal_that_is_off_by_one_channel_or_forgets_a_bias_is_noticed(name):
    """The negative control: the comparison above must fail where the removal is wrong."""
    model, x = zoo_model(name)
    graph = graph_of(model, x)
    keep = random_keep(graph, 0)
    other = keep.copy()
    group = graph.groups[0]
    dropped, kept = (
        np.flatnonzero(~keep[group.start : group.stop])[0],
        np.flatnonzero(keep[group.start : group.stop])[0],
    )
    other[[group.start + dropped, group.start + kept]] = [True, False]
    assert difference(removed(graph, x, other), masked(graph, x, keep)) > 1e-3
    # Zeroing only the filters leaves the normalisation's bias behind.
    with torch.no_grad():
        weights = model.state_dict()
        producer = group.producers[0] + ".weight"
        weights[producer] = weights[producer] * torch.from_numpy(keep[group.start : group.stop]).view(-1, 1, 1, 1)
        only = np.ones(graph.genes, dtype=bool)
        only[group.start : group.stop] = keep[group.start : group.stop]
        expected = masked(graph, x, only)
        model.load_state_dict(weights)
        assert difference(model(x), expected) > 1e-3


@pytest.mark.parametrize("name", [*NARROW, *(pytest.param(name, marks=pytest.mark.full) for name in TORCHVISION)])
def test_any_cnn_of_torchvision_is_pruned_exactly(name):
    torch.manual_seed(0)
    model = disturbed(torchvision_model(name))
    size = 96 if name == "inception_v3" else 64
    x = torch.randn(2, 3, size, size)
    graph = graph_of(model, x)
    assert graph.groups
    for seed in range(2):
        keep = random_keep(graph, seed, empty=seed > 0)
        assert difference(removed(graph, x, keep), masked(graph, x, keep)) < 1e-4
    made = remove(graph, keep)
    assert macs_by_hooks(made, x) == ComplexityModel(graph).measure(keep[None])[0]
    again = apply_structure(torchvision_model(name), x, json.loads(json.dumps(structure(graph, keep))))
    again.load_state_dict(made.state_dict())
    value = x
    with torch.no_grad():
        assert torch.equal(again(x), made(x))
        for part in divide_network(graph).subnetworks:
            span = SlicedNetwork(graph, part.start, part.stop, statistics="running")
            span.select(np.ones(graph.genes, dtype=bool))
            value = span(value)
        assert torch.equal(value, model(x))


def test_an_emptied_branch_of_a_class_that_adds_in_place_becomes_a_graph():
    torch.manual_seed(0)
    model, x = disturbed(InPlace()), torch.randn(2, 3, 8, 8)
    graph = graph_of(model, x)
    keep = random_keep(graph, 1, empty=True)
    assert not graph.counts(keep).all()
    assert difference(removed(graph, x, keep), masked(graph, x, keep)) < 1e-5
    assert isinstance(remove(graph, keep), torch.fx.GraphModule)
    assert type(remove(graph, random_keep(graph, 1))) is InPlace


@pytest.mark.parametrize("kind", [UNet, Shared])
def test_transposed_convolutions_concatenation_shared_layers_and_group_norm(kind):
    torch.manual_seed(0)
    model = disturbed(kind(4) if kind is UNet else kind())
    x = torch.randn(2, 3, 16, 16)
    graph = graph_of(model, x)
    for seed in range(3):
        keep = random_keep(graph, seed)
        assert not keep.all()
        assert difference(removed(graph, x, keep), masked(graph, x, keep)) < 1e-4
        assert macs_by_hooks(remove(graph, keep), x) == ComplexityModel(graph).measure(keep[None])[0]


def test_an_unknown_operation_protects_the_channels_that_reach_it_and_is_named():
    model, x = Odd().eval(), torch.randn(2, 3, 8, 8)
    graph = graph_of(model, x)
    assert [group.name for group in graph.groups] == ["two", "three"]
    assert any("cumsum" in item.place and item.channels == 8 for item in graph.protected)
    keep = random_keep(graph, 0)
    assert difference(removed(graph, x, keep), masked(graph, x, keep)) < 1e-4


@pytest.mark.parametrize("name", ZOO)
def test_the_parts_of_the_division_compose_to_the_network_exactly(name):
    model, x = zoo_model(name)
    graph = graph_of(model, x)
    value = x
    with torch.no_grad():
        for part in divide_network(graph).subnetworks:
            span = SlicedNetwork(graph, part.start, part.stop, statistics="running")
            span.select(np.ones(graph.genes, dtype=bool))
            value = span(value)
        assert torch.equal(value, model(x))


@pytest.mark.parametrize("name", ["vgg16", "resnet20", "digits-resnet"])
def test_sliced_parts_give_what_the_removed_network_gives(name):
    model, x = zoo_model(name)
    graph = graph_of(model, x)
    keep = random_keep(graph, 1, empty=True)
    value = x
    with torch.no_grad():
        for part in divide_network(graph).subnetworks:
            span = SlicedNetwork(graph, part.start, part.stop, statistics="running")
            span.select(keep)
            value = span(value)
    assert difference(value, removed(graph, x, keep)) < 1e-5


@pytest.mark.parametrize("name", ["vgg16", "resnet20"])
def test_on_batch_statistics_slicing_and_masking_agree_and_leave_the_running_ones_alone(name):
    model, x = zoo_model(name)
    graph = graph_of(model, x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    keep = random_keep(graph, 2, empty=True)
    with torch.no_grad():
        span = SlicedNetwork(graph, None, None)
        span.select(keep)
        found = span(x)
        expected = MaskedNetwork(graph, None, None)(x, torch.from_numpy(keep).float())
    assert difference(found, expected) < 1e-4
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_gradients_of_a_sliced_part_reach_the_kept_weights_only():
    model, x = zoo_model("resnet20")
    graph = graph_of(model, x)
    keep = np.ones(graph.genes, dtype=bool)
    group = next(group for group in graph.groups if group.branch is not None)
    keep[group.start] = False
    span = SlicedNetwork(graph, None, None)
    span.select(keep)
    span(x).square().sum().backward()
    gradient = model.get_submodule(group.producers[0]).weight.grad
    assert gradient[0].abs().sum() == 0
    assert gradient[1].abs().sum() > 0


def test_macs_and_params_are_those_of_the_removed_network():
    for name in ("vgg16", "resnet20", "digits-resnet"):
        model, x = zoo_model(name)
        graph = graph_of(model, x)
        keep = random_keep(graph, 3, empty=True)
        made = remove(graph, keep)
        assert macs_by_hooks(made, x) == ComplexityModel(graph).measure(keep[None])[0]
        assert (
            sum(weight.numel() for weight in made.parameters())
            == ComplexityModel(graph, "params").measure(keep[None])[0]
        )


def test_an_emptied_branch_is_a_constant_that_trains_and_is_recalibrated():
    model, x = zoo_model("digits-resnet")
    graph = graph_of(model, x)
    keep = np.ones(graph.genes, dtype=bool)
    for index in graph.branches[0].groups:
        keep[graph.groups[index].start : graph.groups[index].stop] = False
    made = remove(graph, keep)
    (constant,) = [module for module in made.modules() if isinstance(module, ChannelConstant)]
    made.train()
    made(x[:1].repeat(2, 1, 1, 1)).sum().backward()
    assert constant.value.grad is not None
    constant.recalibrate()
    branch = graph.branches[0]
    bias = model.get_submodule([node for node in branch.constant_tail if "bn" in node][-1].replace("_", ".", 2)).bias
    assert torch.equal(constant.value.flatten(), bias)


def test_a_structure_rebuilds_the_network_bit_for_bit_and_refuses_another_architecture():
    model, x = zoo_model("resnet20")
    graph = graph_of(model, x)
    keep = random_keep(graph, 4, empty=True)
    made = remove(graph, keep)
    described = json.loads(json.dumps(structure(graph, keep)))
    again = apply_structure(zoo_model("resnet20")[0], x, described)
    again.load_state_dict(made.state_dict())
    with torch.no_grad():
        assert torch.equal(again(x), made(x))
    with pytest.raises(ValueError, match="differ from those of this architecture"):
        apply_structure(zoo_model("resnet32")[0], x, described)


def test_the_users_own_class_comes_back_where_it_can():
    model, x = zoo_model("resnet20")
    graph = graph_of(model, x)
    assert type(remove(graph, random_keep(graph, 0, empty=True))) is type(model)


def test_emptying_a_group_that_must_stay_is_refused():
    model, x = zoo_model("vgg16")
    graph = graph_of(model, x)
    with pytest.raises(ValueError, match="one gene must stay"):
        remove(graph, np.zeros(graph.genes, dtype=bool))


def test_a_removed_network_lies_in_memory_as_the_original_does():
    model = load_model("resnet20", "", 10).to(memory_format=torch.channels_last).eval()
    graph = graph_of(model, torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last))
    made = remove(graph, random_keep(graph, 0))
    for original, smaller in zip(model.modules(), made.modules(), strict=True):
        if isinstance(original, nn.Conv2d):
            assert smaller.weight.is_contiguous(memory_format=torch.channels_last)


def test_positions_of_equal_axes_are_sent_once_and_are_those_kept():
    indices = _KeptPositions()
    axes = [np.array([0, 1, 2]), np.array([3, 4, 5]), np.array([0, 1, 2]), np.array([2, 2, 5])]
    numbers = [indices.add(axis) for axis in axes]
    assert numbers == [0, 1, 0, 2]
    found = indices.kept_positions(np.array([True, False, True, True, True, True, True]), torch.device("cpu"))
    assert found[0].tolist() == [0, 2]
    assert found[1] is None
    assert found[2] is None
