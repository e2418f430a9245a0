"""Makes the evaluator of a span's masks: sliced, or stacked where the device measures so faster."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from statistics import median
from typing import Protocol

import numpy as np
from torch import Tensor

from emodir_tui.arrays import Bools, Floats, KeepVectors
from emodir_tui.bench import Bench
from emodir_tui.errors import ProfileError, first_line
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.execution.evaluators import FeatureError, Impairment, SubnetworkEvaluator
from emodir_tui.nets.execution.stacked import MAX_CANDIDATES, StackedEvaluator, UnstackableError
from emodir_tui.nets.tracing.network import CutPoint
from emodir_tui.training.memory import release_cached_memory

REPEATS = 3
# Both forms round differently, in bfloat16 by about a hundredth; more means that stacking is wrong for this network.
RELATIVE, ABSOLUTE = 0.05, 2e-3


class Evaluator(Protocol):
    """Measures masks."""

    def evaluate(self, keep_vectors: KeepVectors, check: Callable[[], None] = lambda: None) -> Floats:
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

    # Features that no mask changes take memory: they are made for a form that is used or measured only.
    @cache
    def sliced() -> SubnetworkEvaluator:
        memory, dtype = memory_of(bench), bench.search_dtype
        return SubnetworkEvaluator(graph, *span, features, impairment, varying=varying, memory=memory, dtype=dtype)

    if not isinstance(impairment, FeatureError):
        return sliced()
    stacked = stacked_where_faster(
        bench, name, graph, span, features, impairment, varying, lambda masks: sliced().evaluate(masks)
    )
    return stacked or sliced()


def stacked_where_faster(
    bench: Bench,
    name: str,
    graph: ChannelGraph,
    span: tuple[CutPoint | None, CutPoint | None],
    features: list[Tensor],
    impairment: FeatureError,
    varying: Bools,
    sliced: Callable[[Bools], Floats],
) -> StackedEvaluator | None:
    """A stacked evaluator where the profile asks for it, or a short measurement finds it faster than `sliced`.

    On a CPU it is never measured, because masking everything never beat computing half of it.

    Raises:
        ProfileError: The profile asks for it, and this network can't be stacked.
    """
    form = bench.profile.search.evaluator
    if form == "sliced" or (form == "auto" and bench.device.type == "cpu"):
        return None

    def make() -> StackedEvaluator:
        memory, dtype = memory_of(bench), bench.search_dtype
        return StackedEvaluator(graph, *span, features, impairment, varying=varying, memory=memory, dtype=dtype)

    def faster() -> str:
        first, *others = (_probes(graph, varying, number) for number in range(REPEATS + 1))
        try:
            stacked = make()
            found, expected = stacked.evaluate(first), sliced(first)
            if np.allclose(found, expected, rtol=RELATIVE, atol=ABSOLUTE):
                times = {"stacked": _seconds(stacked.evaluate, others), "sliced": _seconds(sliced, others)}
                told = ", ".join(f"{form} {1e3 * seconds / MAX_CANDIDATES:.2f} ms" for form, seconds in times.items())
                bench.log(f"{name}: a mask takes {told}", "info")
                return min(times, key=lambda form: times[form])
            reason = f"its values are off by up to {np.abs(found - expected).max():.2g}"
        except (RuntimeError, UnstackableError) as error:
            # A network of somebody else's may do what can't be recorded or stacked, or take too much memory for it.
            reason = first_line(error)
        bench.log(f"{name}: masks are evaluated sliced, because stacking fails: {reason}", "warning")
        release_cached_memory()
        return "sliced"

    if form == "stacked":
        try:
            return make()
        except UnstackableError as error:
            raise ProfileError(
                f"search.evaluator is 'stacked', but {error}", "Use search.evaluator = 'auto'."
            ) from None
    return make() if bench.once(f"{name}.form", faster) == "stacked" else None


def memory_of(bench: Bench) -> int:
    """Bytes that evaluators may use beside the cached features."""
    return int(bench.profile.search.memory * 1e6 / 2)


def _probes(graph: ChannelGraph, varying: Bools, number: int) -> Bools:
    """Masks that drop about half of the genes that vary; each number gives others, as a search always asks for new ones."""
    draws = np.random.default_rng(number)
    masks = (draws.random((MAX_CANDIDATES, len(varying))) < 0.5) | ~varying
    masks[:, [group.start for group in graph.groups]] = True
    return masks


def _seconds(evaluate: Callable[[Bools], Floats], sets: Sequence[Bools]) -> float:
    """What evaluating one of these sets of masks usually takes; results are waited for."""
    times = []
    for masks in sets:
        began = time.perf_counter()
        evaluate(masks)
        times.append(time.perf_counter() - began)
    return median(times)
