"""Networks for the tests, and measurements of them that do not use the code under test."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import Bottleneck

from emodir_tui.nets.coupling.channel_graph import ChannelGraph, analyse
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.sources import zoo
from emodir_tui.nets.sources.models import load_model
from emodir_tui.nets.tracing.network import trace

ZOO = list(zoo.NAMES)
TORCHVISION = [
    "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "mobilenet_v2", "mobilenet_v3_small",
    "densenet121", "googlenet", "inception_v3", "efficientnet_b0", "regnet_y_400mf", "shufflenet_v2_x1_0",
    "mnasnet1_0", "squeezenet1_1", "convnext_tiny",
]  # fmt: skip


# One of each kind of torchvision's architectures, as narrow and shallow as its constructor allows.
NARROW: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: torchvision.models.ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10, width_per_group=16),
    "mobilenet_v3": lambda: torchvision.models.mobilenet_v3_small(width_mult=0.5, num_classes=10),
    "shufflenet_v2": lambda: torchvision.models.ShuffleNetV2([2, 2, 2], [8, 16, 32, 64, 128], num_classes=10),
    "squeezenet": lambda: torchvision.models.squeezenet1_1(num_classes=10),
    "densenet": lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=10),
    "regnet": lambda: torchvision.models.RegNet(
        BlockParams.from_init_params(depth=4, w_0=16, w_a=16.0, w_m=2.0, group_width=8, se_ratio=0.25), num_classes=10
    ),
    "convnext": lambda: torchvision.models.ConvNeXt(
        [CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 2)], num_classes=10
    ),
}


def torchvision_model(name: str) -> nn.Module:
    """A narrow model of `NARROW`, or one of `TORCHVISION` at full size, for ten classes."""
    return NARROW[name]() if name in NARROW else load_model(f"torchvision:{name}", "", 10)


def disturbed(model: nn.Module) -> nn.Module:
    """The model with statistics as after training: without that, removing a bias would go unnoticed."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                if module.weight is not None:
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.2)
            # Layer scales start at a millionth, where no error of a branch would show.
            if isinstance(getattr(module, "layer_scale", None), nn.Parameter):
                module.layer_scale.uniform_(0.5, 1.5)
    return model.eval()


def zoo_model(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = disturbed(zoo.build(name, 10))
    return model, torch.randn(3, 1, 8, 8) if "digits" in name else torch.randn(3, 3, 32, 32)


class Middle(nn.Module):
    """A forward function (self, x) over named layers."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def graph_of(model: nn.Module, x: Tensor) -> ChannelGraph:
    return analyse(trace(model, x))


def random_keep(graph: ChannelGraph, seed: int, share: float = 0.4, *, empty: bool = False) -> np.ndarray:
    """Drops a share of every group's genes, and with `empty` a third of the branches whole."""
    draws = np.random.default_rng(seed)
    keep = np.ones(graph.genes, dtype=bool)
    for group in graph.groups:
        size = group.stop - group.start
        keep[group.start + draws.permutation(size)[: min(size - 1, int(size * share))]] = False
    if empty and graph.branches:
        for number in draws.permutation(len(graph.branches))[: max(1, len(graph.branches) // 3)]:
            for group in (graph.groups[index] for index in graph.branches[number].groups):
                keep[group.start : group.stop] = False
    return keep


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


class UNet(nn.Module):
    """A small U-Net: skips by concatenation, transposed convolutions, PReLU, and a classifier at the end."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down1 = self._block(3, 8)
        self.down2 = self._block(8, 16)
        self.bottom = self._block(16, 24)
        self.up2 = nn.ConvTranspose2d(24, 16, 2, stride=2)
        self.join2 = self._block(32, 16)
        self.up1 = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.join1 = self._block(16, 8)
        self.head = nn.Linear(8, classes)

    @staticmethod
    def _block(inputs: int, width: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.PReLU(width))

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(nn.functional.max_pool2d(one, 2))
        x = self.bottom(nn.functional.max_pool2d(two, 2))
        x = self.join2(torch.cat([self.up2(x), two], 1))
        x = self.join1(torch.cat([self.up1(x), one], 1))
        return self.head(x.mean((2, 3)))


class Odd(nn.Module):
    """An operation that nobody knows stands between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.three = nn.Conv2d(8, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cumsum(self.one(x), 1)
        x = torch.relu(self.two(x))
        return self.head(self.three(x).mean((2, 3)))


class Shared(nn.Module):
    """One convolution is called twice, and group normalisation ties channels together."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.again(x))
        x = torch.relu(self.norm(self.again(x)))
        return self.head(x.mean((2, 3)))


class InPlace(nn.Module):
    """A residual block whose code adds the shortcut to the branch in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.act(self.stem(x))
        x = self.act(self.bn1(self.one(shortcut)))
        x = self.bn2(self.two(x))
        x += shortcut
        return self.head(self.act(x).mean((2, 3)))


def macs_by_hooks(model, x):
    """Multiply-accumulates of a model, counted while it runs: independent of `ComplexityModel`."""
    total, handles = [0], []

    def count(module, inputs, output):
        per_output = module.in_features if isinstance(module, nn.Linear) else module.weight[0].numel()
        positions = inputs[0].numel() if getattr(module, "transposed", False) else output.numel()
        total[0] += positions * per_output

    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            handles.append(module.register_forward_hook(count))
    with torch.no_grad():
        model(x[:1])
    for handle in handles:
        handle.remove()
    return total[0]


def inputs_of(graph, part, images):
    """Two batches of a sub-network's original inputs, and its outputs for them."""
    whole = np.ones(graph.genes, dtype=bool)
    spans = SlicedNetwork(graph, part.start, part.stop)
    spans.select(whole)
    features = list(images.split(len(images) // 2))
    with torch.no_grad():
        if part.start is not None:
            before = SlicedNetwork(graph, None, part.start)
            before.select(whole)
            features = [before(batch) for batch in features]
        return features, [spans(batch) for batch in features]


def masks_of(graph, part, count):
    """Keep vectors that prune this part alone; the last one empties every branch that lies in it."""
    own = np.zeros(graph.genes, dtype=bool)
    for number in part.groups:
        own[graph.groups[number].start : graph.groups[number].stop] = True
    keep_vectors = np.stack([random_keep(graph, seed, 0.2 + 0.15 * seed) | ~own for seed in range(count)])
    for branch in graph.branches:
        if set(branch.groups) <= set(part.groups):
            for number in branch.groups:
                keep_vectors[-1, graph.groups[number].start : graph.groups[number].stop] = False
    return own, keep_vectors


def ranks(values):
    return np.argsort(np.argsort(values))
