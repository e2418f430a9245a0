"""Measured latency of a network, and of each layer at several widths as a table for fast estimates."""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emodir_tui.arrays import Floats, KeepVectors, extended
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, Layer
from emodir_tui.nets.execution.program import leaf_copy, set_tensor
from emodir_tui.nets.measures.complexity import ComplexityModel, emptied_branches
from emodir_tui.nets.modules.layer_sizes import fit_sizes
from emodir_tui.nets.removal import remove

WARM_UP, REPEATS, TURNS = 3, 15, 5
# A GPU finishes one layer before the next call reaches it. Many calls in a row hide the launch time.
CALLS_ON_GPU = 20
WIDTHS = (0.125, 0.25, 0.5, 0.75, 1.0)
PROBES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTimes:
    """Milliseconds of one layer, float64[input widths, output widths], widths in channels, rising."""

    node: str
    inputs: list[int]
    outputs: list[int]
    milliseconds: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyTable:
    """Measurements on one device with one batch.

    Attributes:
        layers: In the order of `ChannelGraph.layers`.
        fixed_ms: Milliseconds of the whole network beyond the sum of its layers. If it takes less than that sum, the
            layers are scaled down instead.
        error: Mean relative error of the estimate for a few pruned networks measured as a whole.
    """

    layers: list[LayerTimes]
    fixed_ms: float
    error: float


@torch.no_grad()
def measure(model: nn.Module, example: Tensor, repeats: int = REPEATS, calls: int = 1) -> float:
    """Median milliseconds of a forward pass on `example`; leaves the model in evaluation mode.

    Args:
        model: On the example's device.
        example: The batch.
        repeats: Number of measurements.
        calls: Passes per measurement, whose time is divided by this number; a GPU gets the next while it computes one.
    """
    return 1000 * median(_passes(model.eval(), example, repeats, calls))


@torch.no_grad()
def measure_alternating(models: Sequence[nn.Module], example: Tensor) -> list[float]:
    """`measure` of several models in turns, so that a busy machine slows all of them alike."""
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(TURNS):
        for model, own in zip(models, seconds, strict=True):
            own += _passes(model.eval(), example, REPEATS // TURNS)
    return [1000 * median(own) for own in seconds]


def _passes(model: nn.Module, example: Tensor, repeats: int, calls: int = 1) -> list[float]:
    """Seconds per pass in each measurement, after some warm-up measurements that are dropped."""
    seconds = []
    for attempt in range(WARM_UP + repeats):
        _synchronise(example.device)
        began = time.perf_counter()
        for _ in range(calls):
            model(example)
        _synchronise(example.device)
        if attempt >= WARM_UP:
            seconds.append((time.perf_counter() - began) / calls)
    return seconds


def measure_table(graph: ChannelGraph, example: Tensor, seed: int) -> LatencyTable:
    """Measure every layer at several widths, and check the sum against whole pruned networks.

    Args:
        graph: The network.
        example: The batch to measure with.
        seed: Seed of the pruned networks on which the estimate is checked.
    """
    layers = [_measure_layer(graph, layer, len(example)) for layer in graph.layers]
    whole = np.ones((1, graph.genes), dtype=np.bool_)
    table = LatencyTable(layers=layers, fixed_ms=0.0, error=0.0)
    total, summed = measure(graph.network.model, example), float(LatencyModel(graph, table).measure(whole)[0])
    if summed > total:
        layers = [replace(times, milliseconds=times.milliseconds * (total / summed)) for times in layers]
    table = LatencyTable(layers=layers, fixed_ms=max(0.0, total - summed), error=0.0)
    model = LatencyModel(graph, table)
    draws = np.random.default_rng(seed)
    errors = []
    for share in np.linspace(0.3, 0.8, PROBES):
        keep = draws.random((1, graph.genes)) < share
        keep[0, [group.start for group in graph.groups]] = True
        truth = measure(remove(graph, keep[0]), example)
        errors.append(abs(float(model.measure(keep)[0]) - truth) / truth)
    return replace(table, error=float(np.mean(errors)))


class LatencyModel:
    """Estimated latency in milliseconds, the sum of table entries; same interface as `ComplexityModel`."""

    def __init__(self, graph: ChannelGraph, table: LatencyTable) -> None:
        self._graph, self._table = graph, table
        self._macs = ComplexityModel(graph)
        self._branch_of = {node: number for number, branch in enumerate(graph.branches) for node in branch.nodes}

    def measure(self, keep: KeepVectors, layers: Collection[str] | None = None) -> Floats:
        """The estimate for each keep vector, float64[n] from bool[n, genes], of all layers or of the given ones."""
        extended_keep = extended(keep)
        emptied = emptied_branches(self._graph, keep)
        total = np.full(len(keep), self._table.fixed_ms if layers is None else 0.0)
        for layer, times in zip(self._graph.layers, self._table.layers, strict=True):
            if layers is not None and layer.name not in layers:
                continue
            outputs = extended_keep[:, layer.outputs].sum(axis=1)
            inputs = outputs if layer.inputs is None else extended_keep[:, layer.inputs].sum(axis=1)
            cost = _interpolate(times, inputs, outputs)
            branch = self._branch_of.get(layer.node)
            if branch is not None:
                cost[emptied[:, branch]] = 0.0
            total += cost
        return total

    def touched(self, groups: Iterable[int]) -> set[str]:
        """Names of the layers whose latency depends on these groups."""
        return self._macs.touched(groups)


def _measure_layer(graph: ChannelGraph, layer: Layer, batch: int) -> LayerTimes:
    node = next(node for node in graph.graph_module.graph.nodes if node.name == layer.node)
    module = graph.graph_module.get_submodule(layer.name) if node.op == "call_module" and layer.weight else None
    outputs = _widths(len(layer.outputs), getattr(module, "groups", 1) if layer.inputs is None else 1)
    inputs = outputs if layer.inputs is None else _widths(len(layer.inputs), 1)
    grid = np.zeros((len(inputs), len(outputs)))
    shape = [batch, *node.all_input_nodes[0].meta["shape"][1:]]
    for row, input_width in enumerate(inputs):
        for column, output_width in enumerate(outputs):
            if module is None or (layer.inputs is None and row != column):
                continue
            leaf = _narrow(module, layer, input_width, output_width)
            # A grouped layer's input shrinks with its output.
            share = output_width / len(layer.outputs)
            shape[layer.dim] = round(len(_input_axis(module, layer)) * share) if layer.inputs is None else input_width
            x = _channels_last(torch.randn(shape, device=graph.network.example.device))
            grid[row, column] = measure(leaf, x, repeats=5, calls=CALLS_ON_GPU if x.is_cuda else 1)
    if layer.inputs is None:
        grid[:] = np.diag(grid)[None, :]
    return LayerTimes(node=layer.node, inputs=inputs, outputs=outputs, milliseconds=grid)


def _input_axis(module: nn.Module, layer: Layer) -> range:
    return range(getattr(module, "in_channels", len(layer.outputs)))


def _narrow(module: nn.Module, layer: Layer, input_width: int, output_width: int) -> nn.Module:
    leaf = leaf_copy(module, "running")
    weight: Tensor = module.weight  # type: ignore[assignment]
    first, second = (input_width, output_width) if getattr(module, "transposed", False) else (output_width, input_width)
    sliced = weight[:first] if layer.inputs is None else weight[:first, :second]
    set_tensor(leaf, "weight", _channels_last(sliced.detach().contiguous()))
    if getattr(module, "bias", None) is not None:
        # The outputs of a grouped transposed layer are counted by its inputs, each of which has several.
        bias: Tensor = module.bias  # type: ignore[assignment]
        set_tensor(leaf, "bias", bias[: output_width * len(bias) // len(layer.outputs)].detach())
    fit_sizes(leaf, module)
    return leaf


def _channels_last(value: Tensor) -> Tensor:
    """The tensor in channels-last format, as in all networks here."""
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def _widths(channels: int, groups: int) -> list[int]:
    step = channels // groups if groups > 1 else 1
    return sorted({min(channels, max(step, round(channels * share / step) * step)) for share in WIDTHS})


def _interpolate(times: LayerTimes, inputs: npt.NDArray[np.int64], outputs: npt.NDArray[np.int64]) -> Floats:
    """Bilinear interpolation; below the smallest widths proportional to the width, so 0 if no channel is left."""
    rows, low_rows = _position(times.inputs, inputs)
    columns, low_columns = _position(times.outputs, outputs)
    r0, c0 = np.floor(rows).astype(int), np.floor(columns).astype(int)
    r1, c1 = np.minimum(r0 + 1, len(times.inputs) - 1), np.minimum(c0 + 1, len(times.outputs) - 1)
    fr, fc = rows - r0, columns - c0
    grid = times.milliseconds
    upper = grid[r0, c0] * (1 - fc) + grid[r0, c1] * fc
    lower = grid[r1, c0] * (1 - fc) + grid[r1, c1] * fc
    cost: Floats = (upper * (1 - fr) + lower * fr) * np.minimum(low_rows, low_columns)
    return cost


def _position(widths: list[int], wanted: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Fractional positions in the grid, and the factor for widths below its smallest."""
    position = np.interp(wanted, widths, np.arange(len(widths)))
    return position, np.minimum(1.0, wanted / widths[0])


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
