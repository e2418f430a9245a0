"""What users write in their own networks: each is pruned exactly, or protected with its reason, or refused in a sentence."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from emodir_tui.errors import ProfileError
from emodir_tui.nets.coupling.channel_graph import analyse
from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.masked import MaskedNetwork
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.modules.channel_modules import ChannelConstant
from emodir_tui.nets.removal import apply_structure, remove, structure
from emodir_tui.nets.tracing.network import trace
from tests.support.models import difference, disturbed, graph_of, layer, macs_by_hooks, random_keep, torchvision_model
from tests.support.user_networks import CASES, Net, conv, shuffle


class Gate(nn.Module):
    """A squeeze-and-excitation gate that takes sizes as `sizes` says."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes, self.reduce, self.expand = sizes, nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x):
        images, channels = self.sizes(x)
        pooled = F.adaptive_avg_pool2d(x, 1).view(images, channels)
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(pooled)))).view(images, channels, 1, 1)


@pytest.mark.parametrize(
    "sizes", [lambda x: x.shape[:2], lambda x: x.size()[:2], lambda x: x.shape[:-2], lambda x: x.shape[:3][:2]]
)
def test_sizes_taken_from_a_part_of_a_shape_follow_the_images_and_the_channels(sizes):
    torch.manual_seed(0)
    graph = graph_of(Net(lambda self, x: self.gate(x), gate=Gate(sizes)).eval(), torch.randn(2, 3, 6, 6))
    assert len(graph.groups) == 3
    x, keep = torch.randn(5, 3, 6, 6), random_keep(graph, 0)
    sliced = SlicedNetwork(graph, None, None, statistics="running")
    sliced.select(keep)
    expected = masked_by_hooks(graph, x, keep)
    with torch.no_grad():
        assert difference(sliced(x), expected) < 1e-5
        assert difference(remove(graph, keep)(x), expected) < 1e-5


def test_a_number_of_images_that_became_a_constant_is_refused_in_a_sentence():
    with pytest.raises(ProfileError, match="works for batches of two images only") as raised:
        graph_of(Net(lambda self, x: x * x.mean((2, 3)).reshape(len(x), 8, 1, 1)), torch.randn(2, 3, 6, 6))
    assert "len(x)" in str(raised.value.hint)


def masked_by_hooks(graph, x, keep):
    """The user's own model, at full size, with zeros where layers consume what was dropped: no graph of ours runs."""
    extended, handles = np.append(keep, True), []
    for item in graph.layers:
        if item.inputs is None:
            continue
        mask = torch.from_numpy(extended[item.inputs]).float()

        def hide(module, args, mask=mask, dim=item.dim):
            shape = [1] * args[0].dim()
            shape[dim] = -1
            return (args[0] * mask.view(shape),)

        module = graph.network.model.get_submodule(item.name)
        handles.append(module.register_forward_pre_hook(hide))
    try:
        with torch.no_grad():
            return graph.network.model(x)
    finally:
        for handle in handles:
            handle.remove()


def check_exact(model, x, *, seeds=3):
    """Removed = the user's own masked model = sliced; rebuilt from its structure bit for bit; trains; MACs are right."""
    graph = graph_of(disturbed(model), x)
    for seed in range(seeds):
        keep = random_keep(graph, seed, empty=seed > 0)
        assert not keep.all()
        made = remove(graph, keep)
        with torch.no_grad():
            found = made(x)
            sliced = SlicedNetwork(graph, None, None, statistics="running")
            sliced.select(keep)
            assert difference(found, masked_by_hooks(graph, x, keep)) < 1e-4
            assert difference(sliced(x), found) < 1e-4
            again = apply_structure(model, x, json.loads(json.dumps(structure(graph, keep))))
            again.load_state_dict(made.state_dict())
            assert torch.equal(again(x), found)
        assert macs_by_hooks(made, x) == ComplexityModel(graph).measure(keep[None])[0]
        assert sum(w.numel() for w in made.parameters()) == ComplexityModel(graph, "params").measure(keep[None])[0]
        made.train()(x).square().mean().backward()
        made.eval()
    value = x
    with torch.no_grad():
        for part in divide_network(graph).subnetworks:
            span = SlicedNetwork(graph, part.start, part.stop, statistics="running")
            span.select(np.ones(graph.genes, dtype=bool))
            value = span(value)
        assert torch.equal(value, model.eval()(x))
    return graph


@pytest.mark.parametrize("name", CASES)
def test_it_is_pruned_exactly(name):
    torch.manual_seed(0)
    check_exact(CASES[name], torch.randn(3, 3, 12, 12))


class TwoNames(nn.Module):
    """One block under two names, and two linear layers with one weight."""

    def __init__(self):
        super().__init__()
        self.stem = layer(3, 8)
        self.one = layer(8, 8)
        self.two = self.one
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.two(self.one(self.stem(x))).mean((2, 3))
        return self.head(F.relu(self.second(F.relu(self.first(x)))))


def test_shared_modules_and_shared_weights_stay_shared():
    torch.manual_seed(0)
    x = torch.randn(3, 3, 8, 8)
    graph = graph_of(disturbed(TwoNames()), x)
    keep = random_keep(graph, 0)
    made = remove(graph, keep)
    assert made.one is made.two
    assert made.first.weight is made.second.weight
    with torch.no_grad():
        expected = MaskedNetwork(graph, None, None, statistics="running")(x, torch.from_numpy(keep).float())
        assert difference(made(x), expected) < 1e-4


def test_an_emptied_branch_whose_sum_is_made_in_place_needs_a_graph_and_computes_the_same():
    torch.manual_seed(0)
    model = disturbed(CASES["an addition in place"])
    x = torch.randn(3, 3, 8, 8)
    graph = graph_of(model, x)
    keep = np.ones(graph.genes, dtype=bool)
    for group in graph.groups:
        if group.branch is not None:
            keep[group.start : group.stop] = False
    made = remove(graph, keep)
    assert isinstance(made, fx.GraphModule)
    assert any(isinstance(module, ChannelConstant) for module in made.modules())
    with torch.no_grad():
        assert difference(made(x), masked_by_hooks(graph, x, keep)) < 1e-4


@pytest.mark.parametrize(
    ("name", "branches"),
    [
        ("a residual scaled by a parameter", 1),
        ("a residual shifted by a parameter per column", 0),
        ("a residual that ends in softplus", 1),
    ],
)
def test_a_branch_can_be_emptied_if_its_end_is_then_the_same_at_every_position(name, branches):
    assert len(graph_of(disturbed(CASES[name]), torch.randn(3, 3, 12, 12)).branches) == branches


class Auxiliary(nn.Module):
    """A second classifier that only runs in training."""

    def __init__(self):
        super().__init__()
        self.one, self.two = layer(3, 8), layer(8, 8)
        self.aux = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.one(x)
        other = self.aux(x) if self.training else 0
        return self.head(self.two(x).mean((2, 3))) + other


def test_what_only_runs_in_training_is_named_and_left_out_so_that_training_works():
    x = torch.randn(3, 3, 8, 8)
    graph = graph_of(disturbed(Auxiliary()), x)
    assert any(item.place == "aux" and item.channels == 4 for item in graph.protected)
    made = remove(graph, random_keep(graph, 0))
    made.train()(x).sum().backward()
    assert not any("aux" in name for name in made.state_dict())


def test_a_functional_dropout_drops_again_when_the_removed_network_is_trained():
    model = Net(lambda m, x: F.dropout(shuffle(m, x), 0.5, m.training))
    x = torch.randn(3, 3, 8, 8)
    made = remove(graph_of(disturbed(model), x), random_keep(graph_of(model, x), 0))
    assert isinstance(made, fx.GraphModule)
    with torch.no_grad():
        assert torch.equal(made(x), made(x))
        made.train()
        assert not torch.equal(made(x), made(x))


@pytest.mark.parametrize(
    ("middle", "modules", "place", "channels", "reason"),
    [
        (lambda m, x: torch.cumsum(x, 1), {}, "body: cumsum()", 8, "not known"),
        (lambda m, x: F.softmax(x, 1), {}, "body: softmax()", 8, "softmax over the channels"),
        (lambda m, x: x / x.shape[1], {}, "body: truediv()", 8, "a number of channels enters"),
        (lambda m, x: x + torch.zeros(x.size(0), 8, 1, 1), {}, "body: zeros()", 8, "fixed number of channels"),
        (lambda m, x: m.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), {"norm": nn.LayerNorm(8)}, "body.norm", 8, "normalises over the channels"),
        (lambda m, x: m.one(m.two(x)) if x.sum() > 0 else x, {"one": conv(8, 8, 1), "two": conv(8, 8, 1)}, "body (Middle)", 24, "not known"),
        (lambda m, x: F.conv2d(x, m.weight.tanh()), {"weight": nn.Parameter(torch.rand(8, 8, 1, 1))}, "body: conv2d()", 8 + 8, "computed weight"),
    ],
)  # fmt: skip
def test_what_is_not_known_protects_the_channels_that_reach_it_and_is_listed(middle, modules, place, channels, reason):
    torch.manual_seed(0)
    model, x = disturbed(Net(middle, **modules)), torch.randn(3, 3, 8, 8)
    graph = graph_of(model, x)
    (item,) = [item for item in graph.protected if item.place.startswith(place)]
    assert item.channels == channels
    assert reason in item.reason
    keep = random_keep(graph, 0)
    made = remove(graph, keep)
    with torch.no_grad():
        expected = MaskedNetwork(graph, None, None, statistics="running")(x, torch.from_numpy(keep).float())
        assert difference(made(x), expected) < 1e-4


def test_every_output_channel_is_in_a_group_or_protected():
    for name in ("convnext", "regnet", "shufflenet_v2", "squeezenet"):
        model, x = torchvision_model(name).eval(), torch.randn(2, 3, 64, 64)
        graph = graph_of(model, x)
        depthwise = (m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1)
        made = sum(m.weight.shape[0] for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        made -= sum(m.weight.shape[0] for m in depthwise)
        grouped = sum(
            int((item.outputs < graph.genes).sum()) for item in graph.layers if not _is_depthwise(model, item)
        )
        assert grouped + sum(item.channels for item in graph.protected) == made


def _is_depthwise(model, item):
    module = model.get_submodule(item.name)
    return getattr(module, "groups", 1) == getattr(module, "in_channels", 0) > 1


def changes_a_view(m, x):
    x = m.conv(x)
    F.relu_(x.view(x.size(0), -1))
    return x


def test_a_change_in_place_of_a_view_protects_its_module_and_changes_nothing():
    torch.manual_seed(0)
    model, x = disturbed(Net(changes_a_view, conv=conv(8, 8, 1))), torch.randn(3, 3, 8, 8)
    graph = graph_of(model, x)
    assert any(item.place == "body (Middle)" for item in graph.protected)
    with torch.no_grad():
        assert torch.equal(graph.network.graph_module(x), model(x))


class Wild(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.one, self.head = conv(3, 4, 1), nn.Linear(4, 2)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize(
    ("forward", "sentence"),
    [
        (lambda m, x: m.one(x) if x.sum() > 0 else x, "cannot be traced by torch.fx"),
        (lambda m, x: (m.one(x), x), "returns tuple, not one tensor"),
        (lambda m, x: (F.relu_((y := m.one(x)).view(-1)), m.head(y.mean((2, 3))))[1], "changes a view of a tensor"),
        (lambda m, x: m.head(m.one(x).mean((2, 3)) + torch.rand(1)), "computes something else than its graph"),
        (lambda m, x: m.head(m.one(x).flatten(1)), r"cannot process a batch of shape \(2, 3, 8, 8\)"),
    ],
)
def test_a_forward_that_cannot_be_traced_is_refused_in_a_sentence(forward, sentence):
    with pytest.raises(ProfileError, match=sentence):
        trace(Wild(forward), torch.randn(2, 3, 8, 8))


def test_tracing_leaves_the_model_as_it_was():
    model = CASES["a constant made in forward"]
    model.train()
    before, state = set(vars(model)), {name: value.clone() for name, value in model.state_dict().items()}
    analyse(trace(model, torch.randn(2, 3, 8, 8)))
    assert model.training
    assert set(vars(model)) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_batch_size_read_at_the_top_leaves_the_network_divisible():
    def top(m, x):
        batch = x.shape[0]
        return m.two(F.relu(m.one(x))).mean((2, 3)).view(batch, -1)

    class Top(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = layer(3, 8), layer(8, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(top(self, x))

    graph = check_exact(Top(), torch.randn(3, 3, 8, 8))
    assert len(divide_network(graph, subnetworks=2).subnetworks) == 2
