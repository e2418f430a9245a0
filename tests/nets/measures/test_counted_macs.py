"""MACs are those that PyTorch counts, of whole networks and of pruned ones, attention and folded windows included."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import convnext_tiny, maxvit_t, swin_t, swin_v2_t, vit_b_16
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from emodir_tui.bench import keep_all
from emodir_tui.nets.coupling.counted_macs import decomposed_attention
from emodir_tui.nets.division import divide_network
from emodir_tui.nets.execution.span import working_bytes
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.removal import remove
from tests.support.models import (
    NARROW,
    TORCHVISION,
    ZOO,
    disturbed,
    graph_of,
    random_keep,
    torchvision_model,
    zoo_model,
)


class Folded(nn.Module):
    """A network whose linear layers see windows as images, with a product of features besides."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.narrow, self.wide = nn.Linear(8, 16), nn.Linear(16, 8)
        self.last = nn.Conv2d(8, 12, 3)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        b, c, h, w = x.shape
        windows = x.reshape(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        mixed = windows + self.wide(F.relu(self.narrow(windows)))
        mixed = mixed + torch.softmax(mixed @ mixed.transpose(1, 2), -1) @ mixed
        x = mixed.reshape(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        return self.fc(F.relu(self.last(x)).mean((2, 3)))


def small_vit():
    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )


def small_swin():
    return SwinTransformer(
        patch_size=[2, 2], embed_dim=12, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=5
    )


SMALL = {"windows": Folded, "vit": small_vit, "swin": small_swin}
LARGE = [vit_b_16, swin_t, swin_v2_t, maxvit_t, convnext_tiny]


def counted(model, x):
    """What PyTorch counts for one image."""
    with torch.no_grad(), decomposed_attention(), FlopCounterMode(display=False) as counter:
        model.eval()(x[:1])
    return counter.get_total_flops() / 2


def check(model, x):
    graph = graph_of(model, x)
    macs, keep = ComplexityModel(graph), random_keep(graph, 0)
    assert float(macs.measure(keep_all(graph))[0]) == pytest.approx(counted(model, x), rel=1e-3)
    assert float(macs.measure(keep[None])[0]) == pytest.approx(counted(remove(graph, keep), x), rel=1e-3)
    return graph


@pytest.mark.parametrize("name", SMALL)
def test_attention_and_folded_windows_are_counted(name):
    model, x = disturbed(SMALL[name]()), torch.randn(2, 3, 32, 32)
    graph = check(model, x)
    assert graph.fixed_macs
    known = float(ComplexityModel(graph).measure(keep_all(graph))[0]) - sum(item.macs for item in graph.fixed_macs)
    assert 0 < known < counted(model, x)


@pytest.mark.parametrize("name", ZOO)
def test_macs_of_the_zoo_are_those_that_pytorch_counts(name):
    graph = check(*zoo_model(name))
    assert not graph.fixed_macs


@pytest.mark.parametrize("name", [*NARROW, *(pytest.param(name, marks=pytest.mark.full) for name in TORCHVISION)])
def test_macs_of_torchvision_are_those_that_pytorch_counts(name):
    check(disturbed(torchvision_model(name)), torch.randn(2, 3, 96, 96))


@pytest.mark.full
@pytest.mark.parametrize("build", LARGE)
def test_macs_of_large_networks_with_attention_are_those_that_pytorch_counts(build):
    check(build().eval(), torch.randn(2, 3, 224, 224))


def test_the_parts_of_a_division_share_what_no_layer_computes():
    graph = graph_of(disturbed(Folded()), torch.randn(2, 3, 32, 32))
    division = divide_network(graph, subnetworks=2)
    macs = ComplexityModel(graph)
    whole = float(macs.measure(keep_all(graph))[0])
    assert sum(part.macs for part in division.subnetworks) == whole
    for part in division.subnetworks:
        assert float(macs.measure(keep_all(graph), part.layers)[0]) == part.macs


def test_counting_changes_neither_model_nor_its_attention():
    model = small_vit().eval()
    before = copy.deepcopy(model.state_dict())
    graph = graph_of(model, torch.randn(2, 3, 32, 32))
    assert torch.backends.mha.get_fastpath_enabled()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    # Attention gives (values, None), which has no second size.
    assert working_bytes(graph, None, None, 4)[0] > 0
