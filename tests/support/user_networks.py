"""Small networks in the style of users: one construct in the middle of each."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from tests.support.models import Middle, layer


class Net(nn.Module):
    """A stem, something in the middle that the test is about, a head."""

    def __init__(self, middle, *, stem=8, made=8, **modules):
        super().__init__()
        self.stem = layer(3, stem)
        self.body = Middle(middle, **modules)
        self.last = layer(made, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.last(self.body(self.stem(x))).mean((2, 3)))


def squeeze_excite(m, x):
    batch, channels, _, _ = x.size()
    scale = F.relu(m.reduce(x.mean((2, 3)).view(batch, channels)))
    return x * torch.sigmoid(m.expand(scale)).view(batch, channels, 1, 1)


def shuffle(m, x):
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(batch, -1, height, width)


def shuffle_by_batch(m, x):
    batch, channels, height, width = x.size()
    x = x.reshape(batch * channels // 2, 2, height * width).permute(1, 0, 2)
    first, second = x.reshape(2, -1, channels // 2, height, width)
    return torch.cat([m.conv(first), second], 1)


def add_in_place(m, x):
    out = m.two(F.relu(m.one(x)))
    out += x
    return out


def scaled_residual(m, x):
    return x + m.two(F.gelu(m.one(x))) * m.gamma.view(1, -1, 1, 1)


def shifted_residual(m, x):
    return x + (m.two(F.relu(m.one(x))) + m.shift)


def softplus_residual(m, x):
    return x + F.softplus(m.two(F.celu(m.one(x)))) / 2


def halves(m, x):
    first, second = torch.chunk(x, 2, dim=1)
    return torch.cat([m.conv(first), second], 1)


def interleaved(m, x):
    return torch.cat([m.conv(x[:, ::2]), x[:, 1::2]], 1)


def gated(m, x):
    return F.glu(m.conv(x), dim=1)


def select_kernel(m, x):
    both = torch.stack([m.one(x), m.two(x)], dim=1)
    return both.sum(dim=1)


def shape_decides(m, x):
    assert x.shape[1] == 8
    if x.shape[2] > 4:
        x = m.conv(x)
    return torch.cat(list(x.chunk(2, 1)), 1)


def normalised(m, x):
    return F.relu(m.norm(m.conv(x)))


conv = nn.Conv2d
CASES = {
    "squeeze and excitation by views": Net(squeeze_excite, reduce=nn.Linear(8, 4), expand=nn.Linear(4, 8)),
    "a channel shuffle": Net(shuffle),
    "a channel shuffle through the batch dimension": Net(shuffle_by_batch, conv=conv(4, 4, 1)),
    "an addition in place": Net(add_in_place, one=conv(8, 12, 3, padding=1), two=conv(12, 8, 3, padding=1)),
    "a residual scaled by a parameter": Net(
        scaled_residual, one=conv(8, 12, 1), two=conv(12, 8, 1), gamma=nn.Parameter(torch.rand(8))
    ),
    "a residual shifted by a parameter per column": Net(
        shifted_residual, one=conv(8, 12, 1), two=conv(12, 8, 1), shift=nn.Parameter(torch.rand(12))
    ),
    "a residual that ends in softplus": Net(softplus_residual, one=conv(8, 12, 1), two=conv(12, 8, 1)),
    "chunk and concatenation": Net(halves, conv=conv(4, 4, 1)),
    "every second channel": Net(interleaved, conv=conv(4, 4, 1)),
    "a gated linear unit": Net(gated, conv=conv(8, 16, 1)),
    "a pixel shuffle": Net(lambda m, x: F.pixel_shuffle(m.conv(x), 2), conv=conv(8, 32, 1)),
    "a pixel unshuffle": Net(lambda m, x: F.pixel_unshuffle(x, 2), made=32),
    "the sum of a stack": Net(select_kernel, one=conv(8, 8, 1), two=conv(8, 8, 3, padding=1)),
    "the larger of two halves": Net(lambda m, x: torch.max(x[:, :4], x[:, 4:]), made=4),
    "flipped channels": Net(lambda m, x: torch.flip(x, [1])),
    "a function whose own name differs from its public one": Net(
        lambda m, x: F.logsigmoid(m.conv(x)), conv=conv(8, 8, 1)
    ),
    "where": Net(lambda m, x: torch.where(x > 0.2, x, 0.1 * x)),
    "a depthwise layer with a multiplier": Net(lambda m, x: m.conv(x), conv=conv(8, 16, 3, groups=8), made=16),
    "a grouped transposed layer": Net(lambda m, x: m.up(x), up=nn.ConvTranspose2d(8, 12, 2, 2, groups=4), made=12),
    "a depthwise transposed layer": Net(lambda m, x: m.up(x), up=nn.ConvTranspose2d(8, 8, 2, 2, groups=8)),
    "PReLU": Net(lambda m, x: m.act(m.conv(x)), conv=conv(8, 8, 1), act=nn.PReLU(8)),
    "normalisation without weights": Net(normalised, conv=conv(8, 8, 1), norm=nn.BatchNorm2d(8, affine=False)),
    "group normalisation without weights": Net(normalised, conv=conv(8, 8, 1), norm=nn.GroupNorm(4, 8, affine=False)),
    "instance normalisation": Net(normalised, conv=conv(8, 8, 1), norm=nn.InstanceNorm2d(8, affine=True)),
    "a linear layer on channels last": Net(
        lambda m, x: m.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), linear=nn.Linear(8, 8)
    ),
    "a constant made in forward": Net(lambda m, x: x * torch.linspace(0.5, 1.5, 8).view(1, 8, 1, 1)),
    "a shape that decides, and an assertion of channels": Net(shape_decides, conv=conv(8, 8, 1)),
    "a view with fixed sizes": Net(lambda m, x: x.view(-1, 8, 144).view(-1, 8, 12, 12)),
    "a layer called twice": Net(lambda m, x: F.relu(m.conv(F.relu(m.conv(x)))), conv=conv(8, 8, 1)),
    "a weight-normalised layer": Net(
        lambda m, x: m.two(m.one(x)),
        one=parametrizations.weight_norm(conv(8, 8, 1)),
        two=conv(8, 8, 1),
    ),
}
