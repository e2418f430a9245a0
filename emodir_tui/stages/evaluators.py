"""Makes the evaluator of a span's masks: sliced, or stacked where the device measures so faster."""

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from torch import Tensor

from emodir_tui.nets.evaluate import FeatureError, Impairment, Keep, SubnetworkEvaluator
from emodir_tui.nets.graph import CutPoint
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.stacked import MOST, StackedEvaluator
from emodir_tui.stages.bench import Bench
from emodir_tui.stages.results import Bits, Floats

REPEATS = 3


class Evaluator(Protocol):
    """Measures masks."""

    def evaluate(self, keeps: Keep, check: Callable[[], None] = lambda: None) -> Floats:
        """The impairment of each keep vector, bool[n, genes] to float64[n]."""


def make_evaluator(
    bench: Bench,
    name: str,
    graph: ChannelGraph,
    span: tuple[CutPoint | None, CutPoint | None],
    features: list[Tensor],
    impairment: Impairment,
    genes: np.ndarray,
) -> Evaluator:
    """The evaluator of a span's masks on these features, in the profile's form or the one that is faster here.

    Args:
        bench: The bench.
        name: Under which the choice is remembered.
        graph: The network.
        span: Where it begins and ends.
        features: Its original input features, a tensor a batch.
        impairment: Measures its output; stacked candidates know the feature error alone.
        genes: Those that masks may drop, int64[their number].
    """
    varying = np.zeros(graph.genes, dtype=np.bool_)
    varying[genes] = True
    memory, dtype = memory_of(bench), bench.search_dtype

    def sliced() -> Evaluator:
        return SubnetworkEvaluator(graph, *span, features, impairment, varying=varying, memory=memory, dtype=dtype)

    def stacked() -> Evaluator:
        if not isinstance(impairment, FeatureError):
            raise TypeError(f"{type(impairment).__name__} can't be measured of stacked candidates")
        return StackedEvaluator(graph, *span, features, impairment, varying=varying, memory=memory, dtype=dtype)

    def faster() -> str:
        masks = _halves(graph, varying)
        return "stacked" if _seconds(stacked(), masks) < _seconds(sliced(), masks) else "sliced"

    if not isinstance(impairment, FeatureError) or not may_stack(bench):
        return sliced()
    form = bench.forms.get(name, faster) if bench.profile.search.evaluator == "auto" else "stacked"
    return stacked() if form == "stacked" else sliced()


def may_stack(bench: Bench) -> bool:
    """Whether candidates may be stacked: on a CPU only if asked for, because masking all never beat computing half."""
    form = bench.profile.search.evaluator
    return form == "stacked" or (form == "auto" and bench.device.type != "cpu")


def memory_of(bench: Bench) -> int:
    """Bytes that evaluators may use beside the cached features."""
    return int(bench.profile.search.memory * 1e6 / 2)


def _halves(graph: ChannelGraph, varying: Bits) -> Bits:
    """Masks that drop every second gene of each group that varies, the even or the odd ones in turns."""
    masks = np.ones((MOST, len(varying)), dtype=np.bool_)
    for group in graph.groups:
        genes = group.start + np.flatnonzero(varying[group.start : group.stop])
        if len(genes) > 1:
            masks[::2, genes[::2]] = False
            masks[1::2, genes[1::2]] = False
    return masks


def _seconds(evaluator: Evaluator, masks: Bits) -> float:
    """The fastest of some evaluations; their results are waited for."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        evaluator.evaluate(masks)
        times.append(time.perf_counter() - began)
    return min(times)
