"""Whole pruned networks: the error, KL divergence and accuracy of their outputs, and the two objectives of joint schemes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from emodir_tui.arrays import Floats, KeepVectors
from emodir_tui.bench import Bench, ComplexityMeasure, keep_all
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import Division, comparison_cut, evaluation_cuts
from emodir_tui.nets.execution.evaluators import FeatureError, NetworkEvaluator
from emodir_tui.nets.measures.error_gradient import ErrorGradient
from emodir_tui.nets.tracing.network import CutPoint
from emodir_tui.problems.capacity import Capacity
from emodir_tui.problems.evaluator_choice import EvaluatedSpan, Evaluator, evaluator_memory
from emodir_tui.problems.genes import gene_positions, prunable_groups
from emodir_tui.problems.subnetwork import gradient_batches
from emodir_tui.runs.names import Complexity
from emodir_tui.training.losses import kl

Check = Callable[[], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalImpairment:
    """Damage to the output of a network: relative error of the last features, KL in nats, accuracy 0 to 1."""

    features: float
    kl: float
    accuracy: float


class NetworkProblem:
    """Whole pruned networks against the original one, all on batch statistics.

    Args:
        bench: The bench.
        original: The original network.
        pruned: The network that is pruned, of the same architecture.
        division: The sub-networks of both.
        complexity_model: The measure of the first objective.
        batches: Images [n, c, h, w] and labels [n].

    Attributes:
        original_accuracy: Of the original network on these images, 0 to 1.
        unpruned_complexity: Of the unpruned network, in the unit of the measure.
    """

    def __init__(
        self,
        bench: Bench,
        original: ChannelGraph,
        pruned: ChannelGraph,
        division: Division,
        complexity_model: ComplexityMeasure,
        batches: list[tuple[Tensor, Tensor]],
    ) -> None:
        self.bench, self.graph, self.division, self.complexity_model = bench, pruned, division, complexity_model
        self._inputs, self._labels = [pixels for pixels, _ in batches], [labels for _, labels in batches]
        memory = int(bench.profile.search.memory * 1e6)
        self._last = comparison_cut(pruned)
        cuts = evaluation_cuts(division, self._last)
        self._evaluator = NetworkEvaluator(pruned, cuts, self._inputs, memory, bench.search_dtype)
        reference = NetworkEvaluator(original, cuts, self._inputs, memory, bench.search_dtype)
        unpruned = keep_all(pruned)
        self._references = reference.run(unpruned[0], self._last)
        self._error = FeatureError(pruned, self._last, self._references)
        self._logits = reference.run(unpruned[0], None)
        self.original_accuracy = float(self._accuracy(self._logits))
        self.unpruned_complexity = float(complexity_model.measure(unpruned)[0])
        settings = bench.profile.joint
        self._by_features = settings.impairment == "features"
        other = Complexity.MACS if bench.complexity_kind == Complexity.PARAMS else Complexity.PARAMS
        self.capacity = Capacity(pruned, other, settings.capacity if self._by_features else 0.0)

    @property
    def groups(self) -> list[int]:
        """The channel groups that joint schemes may prune, as positions in `graph.groups`."""
        return prunable_groups(self.bench.profile, self.division)

    def complexity(self, keep_vectors: KeepVectors) -> Floats:
        """The share of the network's complexity that keep vectors keep, float64[n]."""
        return self.complexity_model.measure(keep_vectors) / self.unpruned_complexity

    def objectives(self, keep_vectors: KeepVectors, check: Check = lambda: None) -> Floats:
        """(complexity kept, joint impairment) of keep vectors bool[n, genes], float64[n, 2].

        The impairment is the profile's `joint.impairment`, to which `joint.capacity` adds where it is the feature error.
        """
        errors = (self._candidates.evaluate if self._by_features else self.divergences)(keep_vectors, check)
        return np.stack([self.complexity(keep_vectors), self.capacity.impairments(errors, keep_vectors)], axis=1)

    def feature_errors(self, keep_vectors: KeepVectors, check: Check = lambda: None) -> Floats:
        """Relative errors of the last features before the classifier, float64[n]."""
        return _Errors(self._evaluator, self._last, self._error).evaluate(keep_vectors, check)

    def divergences(self, keep_vectors: KeepVectors, check: Check = lambda: None) -> Floats:
        """KL divergences of the logits from those of the original in nats, float64[n]."""
        return _numbers(self._evaluator.map(list(keep_vectors), None, lambda _, logits: self._kl(logits), check))

    def global_impairments(self, keep_vectors: KeepVectors, check: Check = lambda: None) -> list[GlobalImpairment]:
        """All three measures of damage, for each keep vector."""
        # The evaluator remembers features, and logits begin where these end.
        errors = self.feature_errors(keep_vectors, check)
        measured = self._evaluator.map(
            list(keep_vectors), None, lambda _, logits: torch.stack([self._kl(logits), self._accuracy(logits)]), check
        )
        outputs = _numbers(measured).reshape(-1, 2)
        return [
            GlobalImpairment(features=float(error), kl=float(divergence), accuracy=float(accuracy))
            for error, (divergence, accuracy) in zip(errors, outputs, strict=True)
        ]

    @cached_property
    def gradient(self) -> ErrorGradient:
        """The predicted effect of each gene on the last features, from a few of the images."""
        few = gradient_batches(self._inputs)
        return ErrorGradient(
            self.graph,
            None,
            self._last,
            self._inputs[:few],
            self._references[:few],
            evaluator_memory(self.bench),
            self.bench.search_dtype,
        )

    @cached_property
    def _candidates(self) -> Evaluator:
        """Measures the feature errors of candidates, stacked where that is faster."""
        varying = np.zeros(self.graph.genes, dtype=np.bool_)
        varying[gene_positions(self.graph, self.groups)] = True
        span = EvaluatedSpan(
            name="joint",
            graph=self.graph,
            start=None,
            stop=self._last,
            inputs=self._inputs,
            impairment=self._error,
            varying=varying,
        )
        errors = _Errors(self._evaluator, self._last, self._error)
        return span.evaluator(self.bench, sliced=lambda: errors)

    def _kl(self, logits: list[Tensor]) -> Tensor:
        pairs = zip(logits, self._logits, strict=True)
        sums = [kl(batch, reference).double() * len(batch) for batch, reference in pairs]
        return torch.stack(sums).sum() / sum(len(batch) for batch in logits)

    def _accuracy(self, logits: list[Tensor]) -> Tensor:
        right = [(batch.argmax(1) == labels).sum() for batch, labels in zip(logits, self._labels, strict=True)]
        return torch.stack(right).sum().double() / sum(len(labels) for labels in self._labels)


@dataclass(frozen=True, slots=True)
class _Errors:
    """The evaluator of feature errors whose candidates share the features of common beginnings."""

    network: NetworkEvaluator
    cut: CutPoint | None
    error: FeatureError

    def evaluate(self, keep_vectors: KeepVectors, check: Check = lambda: None) -> Floats:
        """See `Evaluator`."""
        return _numbers(self.network.map(list(keep_vectors), self.cut, self.error.measure, check))


def _numbers(values: list[Tensor]) -> Floats:
    """Scalars of the device in one transfer, so that it is never waited for in the loop."""
    return torch.stack(values).cpu().numpy() if values else np.zeros(0)
