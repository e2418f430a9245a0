"""Whole pruned networks: how the ranking and the joint search place members and measure what they do to the output."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emodir_tui.arrays import Floats, KeepVectors
from emodir_tui.bench import Bench, keep_all
from emodir_tui.nets.division import comparison_cut, evaluation_cuts
from emodir_tui.nets.execution.evaluators import FeatureError, NetworkEvaluator
from emodir_tui.nets.execution.stacked import StackedEvaluator
from emodir_tui.nets.measures.error_gradient import ErrorGuide
from emodir_tui.problems.evaluator_choice import memory_of, stacked_where_faster
from emodir_tui.problems.guidance import batches_for_guide
from emodir_tui.problems.members import prunable
from emodir_tui.problems.subnetwork import own_genes
from emodir_tui.results import Adapted, Parts, Weights
from emodir_tui.training.losses import kl

Check = Callable[[], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalImpairment:
    """What a pruned network does to the output: relative error of the last features, KL in nats, accuracy 0 to 1."""

    features: float
    kl: float
    accuracy: float


class NetworkProblem:
    """Measures whole pruned networks against the original one, all on batch statistics.

    Args:
        bench: The bench.
        original: Weights of the original network.
        adapted: The network that is pruned.
        parts: Its cuts.
        images: How many images of the search split.
        batch: Images per forward pass.

    Attributes:
        graph: The network that is pruned.
        division: Its sub-networks.
        original_accuracy: Of the original network, 0 to 1.
        total: The unpruned network's complexity, in the unit of its measure.
    """

    def __init__(
        self, bench: Bench, original: Weights, adapted: Adapted, parts: Parts, images: int, batch: int
    ) -> None:
        self.bench = bench
        self.graph, self.division = bench.division(adapted.weights, parts.cuts)
        reference_graph = bench.graph(original)
        batches = bench.batches(bench.data.search, images, batch)
        inputs = [pixels for pixels, _ in batches]
        self._inputs, self._labels = inputs, [labels for _, labels in batches]
        memory = int(bench.profile.search.memory * 1e6)
        self._features = comparison_cut(self.graph)
        cuts = evaluation_cuts(self.division, self._features)
        self._evaluator = NetworkEvaluator(self.graph, cuts, inputs, memory, bench.search_dtype)
        reference = NetworkEvaluator(reference_graph, cuts, inputs, memory, bench.search_dtype)
        whole = keep_all(self.graph)[0]
        self._references = reference.run(whole, self._features)
        self._error = FeatureError(self.graph, self._features, self._references)
        self._stacked: StackedEvaluator | None = None
        self._logits = reference.run(whole, None)
        self.original_accuracy = float(self._accuracy(self._logits))
        self._model = bench.complexity(self.graph)
        self.total = float(self._model.measure(keep_all(self.graph))[0])

    def complexity(self, keep_vectors: KeepVectors) -> Floats:
        """The share of the whole network's complexity that keep vectors keep, float64[n]."""
        return self._model.measure(keep_vectors) / self.total

    def feature_errors(self, keep_vectors: KeepVectors, check: Check = lambda: None) -> Floats:
        """Relative errors of the last features before the classifier, float64[n]."""
        if self._stacked is not None:
            return self._stacked.evaluate(keep_vectors, check)
        errors = self._evaluator.map(list(keep_vectors), self._features, self._error.measure, check)
        return _numbers(errors)

    def divergences(self, keep_vectors: KeepVectors, check: Check = lambda: None) -> Floats:
        """KL divergences of the logits from the original's in nats, float64[n]."""
        return _numbers(self._evaluator.map(list(keep_vectors), None, lambda _, logits: self._kl(logits), check))

    @property
    def groups(self) -> list[int]:
        """The channel groups that joint schemes may prune."""
        return prunable(self.bench.profile, self.division)

    def stack(self) -> None:
        """Measure feature errors of stacked candidates from now on, where that is faster."""
        varying = np.zeros(self.graph.genes, dtype=np.bool_)
        varying[own_genes(self.graph, self.groups)] = True
        self._stacked = stacked_where_faster(
            self.bench,
            "joint",
            self.graph,
            (None, self._features),
            self._inputs,
            self._error,
            varying,
            self.feature_errors,
        )

    def guide(self) -> ErrorGuide:
        """Predicts what each gene does to the last features, on a few of the images."""
        few = batches_for_guide(self._inputs)
        memory = memory_of(self.bench)
        return ErrorGuide(
            self.graph,
            None,
            self._features,
            self._inputs[:few],
            self._references[:few],
            memory,
            self.bench.search_dtype,
        )

    def global_impairments(self, keep_vectors: KeepVectors, check: Check = lambda: None) -> list[GlobalImpairment]:
        """All three at once, for each keep vector."""
        # Of the beginnings that are remembered: logits begin where features end.
        features = _numbers(self._evaluator.map(list(keep_vectors), self._features, self._error.measure, check))
        measured = self._evaluator.map(
            list(keep_vectors), None, lambda _, logits: torch.stack([self._kl(logits), self._accuracy(logits)]), check
        )
        outputs = _numbers(measured).reshape(-1, 2)
        return [
            GlobalImpairment(features=float(error), kl=float(divergence), accuracy=float(accuracy))
            for error, (divergence, accuracy) in zip(features, outputs, strict=True)
        ]

    def _kl(self, logits: list[Tensor]) -> Tensor:
        pairs = zip(logits, self._logits, strict=True)
        sums = [kl(batch, reference).double() * len(batch) for batch, reference in pairs]
        return torch.stack(sums).sum() / sum(len(batch) for batch in logits)

    def _accuracy(self, logits: list[Tensor]) -> Tensor:
        right = [(batch.argmax(1) == labels).sum() for batch, labels in zip(logits, self._labels, strict=True)]
        return torch.stack(right).sum().double() / sum(len(labels) for labels in self._labels)


def _numbers(values: list[Tensor]) -> Floats:
    """Scalars of the device in one transfer, so that it is never waited for in the loop."""
    return torch.stack(values).cpu().numpy() if values else np.zeros(0)
