"""Whole pruned networks: how the ranking and the joint search place members and measure what they do to the output."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emodir_tui.emo.genome import nearest_counts
from emodir_tui.nets.evaluate import FeatureError, Keep, NetworkEvaluator
from emodir_tui.nets.groups import ChannelGraph
from emodir_tui.nets.guide import ErrorGuide
from emodir_tui.nets.stacked import StackedEvaluator
from emodir_tui.nets.subnetwork import Division, compared_at, meeting_points
from emodir_tui.profile import Profile
from emodir_tui.stages.bench import Bench, Weights, keep_all
from emodir_tui.stages.evaluators import memory_of, stacked_where_faster
from emodir_tui.stages.guiding import batches_for_guide
from emodir_tui.stages.results import Adapted, Bits, Floats, Front, Parts
from emodir_tui.stages.searching import expand, gene_group, own_genes
from emodir_tui.training.losses import kl

STREAM_LEVELS = 9
Check = Callable[[], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Members:
    """One front's members as keep vectors of the whole network, most pruned first; bool[n, genes]."""

    name: str
    keeps: Bits
    local_impairments: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """What a pruned network does to the output: relative error of the last features, KL in nats, accuracy 0 to 1."""

    features: float
    kl: float
    accuracy: float


class Whole:
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
        self._features = compared_at(self.graph)
        cuts = meeting_points(self.division, self._features)
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

    def complexity(self, keeps: Keep) -> Floats:
        """The share of the whole network's complexity that keep vectors keep, float64[n]."""
        return self._model.measure(keeps) / self.total

    def feature_errors(self, keeps: Keep, check: Check = lambda: None) -> Floats:
        """Relative errors of the last features before the classifier, float64[n]."""
        if self._stacked is not None:
            return self._stacked.evaluate(keeps, check)
        errors = self._evaluator.map(list(keeps), self._features, self._error.of, check)
        return _numbers(errors)

    def divergences(self, keeps: Keep, check: Check = lambda: None) -> Floats:
        """KL divergences of the logits from the original's in nats, float64[n]."""
        return _numbers(self._evaluator.map(list(keeps), None, lambda _, logits: self._kl(logits), check))

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

    def damages(self, keeps: Keep, check: Check = lambda: None) -> list[Damage]:
        """All three at once, for each keep vector."""
        # Of the beginnings that are remembered: logits begin where features end.
        features = _numbers(self._evaluator.map(list(keeps), self._features, self._error.of, check))
        measured = self._evaluator.map(
            list(keeps), None, lambda _, logits: torch.stack([self._kl(logits), self._accuracy(logits)]), check
        )
        outputs = _numbers(measured).reshape(-1, 2)
        return [
            Damage(features=float(error), kl=float(divergence), accuracy=float(accuracy))
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


def members_of(
    bench: Bench, graph: ChannelGraph, division: Division, fronts: list[Front], importance: Floats
) -> list[Members]:
    """The fronts that the joint step chooses from: one per sub-network, and one per stream where streams are pruned."""
    found = [
        Members(
            name=part.name,
            keeps=expand(graph, part, front.masks),
            local_impairments=front.objectives[:, 1],
        )
        for part, front in zip(division.subnetworks, fronts, strict=True)
    ]
    if bench.profile.divide.streams:
        found += [_stream(bench, graph, number, importance) for number in division.streams]
    return found


def prunable(profile: Profile, division: Division) -> list[int]:
    """The channel groups that joint schemes may prune: of all sub-networks, and the streams where these are pruned."""
    numbers = [number for part in division.subnetworks for number in part.groups]
    return numbers + list(division.streams) if profile.divide.streams else numbers


def combine(members: list[Members], positions: np.ndarray) -> Bits:
    """Keep vectors of joint schemes, bool[n, genes] of int[n, fronts]: a gene stays where every front keeps it."""
    keeps = np.ones((len(positions), members[0].keeps.shape[1]), dtype=np.bool_)
    for column, front in enumerate(members):
        keeps &= front.keeps[positions[:, column]]
    return keeps


def _stream(bench: Bench, graph: ChannelGraph, number: int, importance: Floats) -> Members:
    """A stream's few members: its most important channels, in evenly spaced numbers."""
    group = graph.groups[number]
    size = group.stop - group.start
    valid = nearest_counts(gene_group(group, bench.profile.complexity.round_to))
    order = np.argsort(-importance[group.start : group.stop], kind="stable")
    counts = sorted({int(valid[round(size * level / STREAM_LEVELS)]) for level in range(1, STREAM_LEVELS + 1)})
    keeps = keep_all(graph, len(counts))
    for row, count in enumerate(counts):
        keeps[row, group.start + order[count:]] = False
    energy = np.clip(importance[group.start : group.stop], 0, None)
    lost = [float(energy[order[count:]].sum() / max(energy.sum(), 1e-300)) for count in counts]
    return Members(name=f"stream.{group.name}", keeps=keeps, local_impairments=np.array(lost))
