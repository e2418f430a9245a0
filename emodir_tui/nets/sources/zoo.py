"""Networks included in emodir: those of the CIFAR benchmarks, and a small one for scikit-learn's digits."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from emodir_tui.errors import ProfileError, nearest
from emodir_tui.nets.modules.channel_modules import ChannelPad


def build(name: str, classes: int) -> nn.Module:
    """Build a network of the zoo with random weights from torch's generator.

    Args:
        name: One of `NAMES`.
        classes: The number of outputs.

    Raises:
        ProfileError: The name is unknown.
    """
    if name not in _BUILDERS:
        hint = nearest(name, _BUILDERS) or f"the zoo has {', '.join(_BUILDERS)}"
        raise ProfileError(f"'{name}' is not in the zoo", hint)
    return _BUILDERS[name](classes)


class Vgg(nn.Module):
    """VGG-16 with batch normalisation for 32×32 images: thirteen 3×3 convolutions, five poolings, one linear layer.

    Source: Simonyan and Zisserman, 2015, in the CIFAR form of Li et al., 2017 (Pruning filters for efficient convnets).
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.classifier(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a parameter-free shortcut: every second pixel, zeros for the new channels (option A)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.shortcut = ChannelPad((width - inputs) // 2, width - inputs - (width - inputs) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        shortcut = x if self.stride == 1 else self.shortcut(x[:, :, :: self.stride, :: self.stride])
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet(nn.Module):
    """A residual network for small images: one convolution, stages of basic blocks, global average, linear layer.

    Args:
        blocks: Basic blocks per stage.
        classes: The number of outputs.
        widths: Channels of each stage; each stage but the first halves the image.
        channels: Channels of the image.

    Source: He et al., 2016 (Deep residual learning), section 4.2: ResNet-20 has three blocks per stage, ResNet-56 nine.
    """

    def __init__(self, blocks: int, classes: int, widths: tuple[int, ...] = (16, 32, 64), channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages = len(widths)
        inputs = widths[0]
        for stage, width in enumerate(widths, start=1):
            layers = [BasicBlock(inputs, width, 1 if stage == 1 else 2)]
            layers += [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
            inputs = width
        self.linear = nn.Linear(inputs, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


def _initialise(model: nn.Module) -> None:
    """Initialise weights as in He et al., 2015 (Delving deep into rectifiers), equation 10."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)


def _resnet(blocks: int) -> Callable[[int], nn.Module]:
    return lambda classes: ResNet(blocks, classes)


_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "vgg16": Vgg,
    "resnet20": _resnet(3),
    "resnet32": _resnet(5),
    "resnet44": _resnet(7),
    "resnet56": _resnet(9),
    "resnet110": _resnet(18),
    "digits-resnet": lambda classes: ResNet(2, classes, widths=(16, 32, 64), channels=1),
}
NAMES = tuple(_BUILDERS)
