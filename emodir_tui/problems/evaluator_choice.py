"""The evaluator of a span's masks: sliced, or stacked where a measurement finds that faster."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
        """The impairment of each keep vector, bool[n, genes] to float64[n]; `check` is called between evaluations."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedSpan:
    """A span of a network whose masks are evaluated on cached features.

    Attributes:
        name: Names the choice of the form, which a run remembers.
        graph: The network.
        start: Where the span begins; None at the input.
        stop: Where it ends; None at the logits.
        inputs: Original input features, a tensor [n, c, …] a batch.
        impairment: Measures the output.
        varying: The genes that masks may drop, bool[genes].
    """

    name: str
    graph: ChannelGraph
    start: CutPoint | None
    stop: CutPoint | None
    inputs: list[Tensor]
    impairment: Impairment
    varying: Bools

    def evaluator(self, bench: Bench, sliced: Callable[[], Evaluator] | None = None) -> Evaluator:
        """The evaluator in the form that the profile names, or in the faster one where it leaves the choice open.

        A CPU always slices: there, masking everything never beat computing half of it. So does an impairment other than
        the feature error, the only one that stacked candidates know.

        Args:
            bench: The bench.
            sliced: Makes the evaluator that slices, where it is not a `SubnetworkEvaluator`.

        Raises:
            ProfileError: The profile names the stacked form, and this network cannot be stacked.
        """
        slice_it = sliced or (lambda: self._sliced(bench))
        stack_it = partial(self._stacked, bench)
        form = bench.profile.search.evaluator
        if not isinstance(self.impairment, FeatureError) or form == "sliced":
            return slice_it()
        if form == "stacked":
            try:
                return stack_it()
            except UnstackableError as error:
                hint = "Use search.evaluator = 'auto'."
                raise ProfileError(f"search.evaluator is 'stacked', but {error}", hint) from None
        if bench.device.type == "cpu":
            return slice_it()
        faster = bench.decide(f"{self.name}.form", partial(self._faster, bench, slice_it, stack_it))
        return stack_it() if faster == "stacked" else slice_it()

    def _sliced(self, bench: Bench) -> SubnetworkEvaluator:
        return SubnetworkEvaluator(
            self.graph, self.start, self.stop, self.inputs, self.impairment,
            varying=self.varying, memory=evaluator_memory(bench), dtype=bench.search_dtype,
        )  # fmt: skip

    def _stacked(self, bench: Bench) -> StackedEvaluator:
        if not isinstance(self.impairment, FeatureError):
            raise TypeError("stacked candidates know the feature error only")
        return StackedEvaluator(
            self.graph, self.start, self.stop, self.inputs, self.impairment,
            varying=self.varying, memory=evaluator_memory(bench), dtype=bench.search_dtype,
        )  # fmt: skip

    def _faster(self, bench: Bench, slice_it: Callable[[], Evaluator], stack_it: Callable[[], Evaluator]) -> str:
        """The name of the faster form; "sliced" where stacking fails or gives other values."""
        try:
            times = self._times(stack_it(), slice_it())
        except (RuntimeError, UnstackableError) as failure:
            # Some networks cannot be recorded or stacked, or need too much memory for it.
            reason = first_line(failure)
        else:
            measured = ", ".join(f"{form} {1e3 * seconds / MAX_CANDIDATES:.2f} ms" for form, seconds in times.items())
            bench.log(f"{self.name}: a mask takes {measured}", "info")
            return min(times, key=lambda form: times[form])
        bench.log(f"{self.name}: masks are evaluated sliced, because stacking fails: {reason}", "warning")
        release_cached_memory()
        return "sliced"

    def _times(self, stacked: Evaluator, sliced: Evaluator) -> dict[str, float]:
        """Seconds that each form takes for the same sets of masks.

        Raises:
            UnstackableError: The stacked form gives other values.
        """
        first, *others = (self._probes(number) for number in range(REPEATS + 1))
        found, expected = stacked.evaluate(first), sliced.evaluate(first)
        if not np.allclose(found, expected, rtol=RELATIVE, atol=ABSOLUTE):
            raise UnstackableError(f"its values are off by up to {np.abs(found - expected).max():.2g}")
        return {"stacked": _seconds(stacked, others), "sliced": _seconds(sliced, others)}

    def _probes(self, seed: int) -> Bools:
        """Masks that drop about half of the varying genes; other ones for each seed, because searches ask for new ones."""
        draws = np.random.default_rng(seed)
        masks = (draws.random((MAX_CANDIDATES, len(self.varying))) < 0.5) | ~self.varying
        masks[:, [group.start for group in self.graph.groups]] = True
        return masks


def evaluator_memory(bench: Bench) -> int:
    """Bytes that evaluators may use besides the cached features."""
    return int(bench.profile.search.memory * 1e6 / 2)


def _seconds(evaluator: Evaluator, sets: Sequence[Bools]) -> float:
    """The median time of evaluating one of these sets of masks, up to the results."""
    times = []
    for masks in sets:
        began = time.perf_counter()
        evaluator.evaluate(masks)
        times.append(time.perf_counter() - began)
    return median(times)
