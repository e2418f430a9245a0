"""Legitimate networks that do something unusual: removal stays exact down to one gene a group, or what is unclear stays."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from emodir_tui.nets.execution.masked import MaskedNetwork
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.measures.latency import measure_table
from emodir_tui.nets.removal import remove
from tests.support.models import Middle, disturbed, graph_of, layer, random_keep


class Padded(nn.Conv2d):
    """A convolution that calls the function on its own weights."""

    def forward(self, x):
        return F.conv2d(F.pad(x, [1, 1, 1, 1]), self.weight, self.bias)


def squeezed(net, x):
    return net.head(F.adaptive_avg_pool2d(net.b(net.a(x)), 1).squeeze())


def own_padding(net, x):
    x = net.stem(x)
    x = x + net.second(F.relu(net.first(x)))
    return net.head(F.relu(x).mean((2, 3)))


def smaller_shortcut(net, x):
    x = net.stem(x)
    x = net.second(F.relu(net.first(x))) + F.adaptive_avg_pool2d(x, 1)
    return net.head(net.last(x).mean((2, 3)))


def two_halves(net, x):
    first, second = net.stem(x).chunk(2, 1)
    both = torch.cat([F.max_pool2d(first, 2), F.avg_pool2d(second, 2)], 1)
    return net.head(net.last(both).mean((2, 3)))


def sliced_layers(net, x):
    return net.head(net.layers[1:](net.layers[:1](x)).mean((2, 3)))


def changes_its_input(net, x):
    x -= 0.5
    return net.head(net.b(net.a(x)).mean((2, 3)))


def used_transposed(net, x):
    hidden = F.relu(net.encode(net.b(net.a(x)).mean((2, 3))))
    return net.head(F.linear(hidden, net.encode.weight.t()))


def tracked(net, x):
    return net.head(net.b(F.relu(net.norm(net.a(x)))).mean((2, 3)))


NETWORKS = {
    "squeeze() without a dimension": lambda: Middle(squeezed, a=layer(3, 6), b=layer(6, 8), head=nn.Linear(8, 5)),
    "a branch that ends in F.conv2d": lambda: Middle(
        own_padding, stem=layer(3, 6), first=Padded(6, 8, 3), second=Padded(8, 6, 3), head=nn.Linear(6, 5)
    ),
    "a shortcut of another size": lambda: Middle(
        smaller_shortcut,
        stem=layer(3, 6),
        first=nn.Conv2d(6, 8, 3, padding=1),
        second=nn.Conv2d(8, 6, 3, padding=1),
        last=layer(6, 4),
        head=nn.Linear(4, 5),
    ),
    "halves that are pooled": lambda: Middle(two_halves, stem=layer(3, 8), last=layer(8, 6), head=nn.Linear(6, 5)),
    "a slice of a Sequential": lambda: Middle(
        sliced_layers, layers=nn.Sequential(layer(3, 6), layer(6, 6), layer(6, 4)), head=nn.Linear(4, 5)
    ),
    "an input that is changed": lambda: Middle(changes_its_input, a=layer(3, 6), b=layer(6, 4), head=nn.Linear(4, 5)),
    "a weight that is used transposed too": lambda: Middle(
        used_transposed, a=layer(3, 6), b=layer(6, 8), encode=nn.Linear(8, 7), head=nn.Linear(8, 5)
    ),
    "tracked statistics of instances": lambda: Middle(
        tracked,
        a=nn.Conv2d(3, 8, 3),
        norm=nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
        b=layer(8, 6),
        head=nn.Linear(6, 5),
    ),
}


def single(graph, *, empty):
    """One gene a group; with `empty` no branch at all."""
    keep = np.zeros(graph.genes, dtype=bool)
    keep[[group.start for group in graph.groups]] = True
    for branch in graph.branches if empty else ():
        for number in branch.groups:
            keep[graph.groups[number].start : graph.groups[number].stop] = False
    return keep


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_removal_is_exact_and_slicing_agrees_down_to_one_gene_a_group(name):
    torch.manual_seed(0)
    model, x = disturbed(NETWORKS[name]()), torch.randn(4, 3, 12, 12)
    graph = graph_of(model, x.clone())
    assert graph.groups
    for keep in (
        random_keep(graph, 0),
        random_keep(graph, 1, empty=True),
        single(graph, empty=False),
        single(graph, empty=True),
    ):
        gates = torch.from_numpy(keep).float()
        masked = MaskedNetwork(graph, None, None, statistics="running")(x.clone(), gates)
        torch.testing.assert_close(remove(graph, keep)(x.clone()), masked, rtol=1e-4, atol=1e-5)
        sliced = SlicedNetwork(graph, None, None, statistics="batch")
        sliced.select(keep)
        batch = MaskedNetwork(graph, None, None, statistics="batch")(x.clone(), gates)
        torch.testing.assert_close(sliced(x.clone()), batch, rtol=1e-3, atol=1e-4)


def test_an_input_that_is_named_is_masked_as_one_that_stands_first():
    weights = {"a": layer(3, 6), "c": nn.Conv2d(6, 8, 3), "head": nn.Linear(8, 5)}

    def named(net, x):
        return net.head(F.conv2d(input=net.a(x), weight=net.c.weight, bias=net.c.bias).mean((2, 3)))

    def first(net, x):
        return net.head(F.conv2d(net.a(x), net.c.weight, net.c.bias).mean((2, 3)))

    x, outputs = torch.randn(2, 3, 12, 12), []
    for compute in (named, first):
        graph = graph_of(Middle(compute, **weights).eval(), x)
        keep = torch.from_numpy(random_keep(graph, 0)).float()
        outputs.append(MaskedNetwork(graph, None, None, statistics="running")(x, keep))
    assert torch.equal(*outputs)


def test_the_latency_of_grouped_transposed_and_weight_normalised_layers_is_measured():
    def up(net, x):
        return net.head(net.last(net.up(net.stem(x))).mean((2, 3)))

    model = Middle(
        up,
        stem=layer(3, 8),
        up=nn.ConvTranspose2d(8, 12, 2, 2, groups=4),
        last=nn.utils.parametrizations.weight_norm(nn.Conv2d(12, 6, 3)),
        head=nn.Linear(6, 5),
    ).eval()
    x = torch.randn(2, 3, 12, 12)
    table = measure_table(graph_of(model, x), x, 0)
    assert all(np.isfinite(layer.milliseconds).all() for layer in table.layers)
