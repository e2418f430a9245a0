"""The problem of one sub-network: which of its genes to keep, for little complexity and a small local impairment."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from emodir_tui.arrays import Floats, GeneEffects, Ints, KeepVectors, Masks
from emodir_tui.bench import Bench, ComplexityMeasure, keep_all
from emodir_tui.emo.genome import Genome
from emodir_tui.emo.guided_nsga2 import GuidedNsga2
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import Division, SubnetworkSpan
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.nets.measures.error_gradient import ErrorGradient
from emodir_tui.problems.evaluator_choice import EvaluatedSpan, Evaluator, evaluator_memory
from emodir_tui.problems.genes import gene_positions, genome_of, keep_vectors_of
from emodir_tui.problems.impairments import build_impairment
from emodir_tui.results import Original, Parts
from emodir_tui.seeds import derive_seed

# Few images suffice to rank genes by gradient.
GRADIENT_IMAGES = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class SubnetworkProblem:
    """The problem of one sub-network: masks bool[n, own genes] with two objectives to minimise.

    Attributes:
        bench: The bench.
        graph: The network whose masks are measured.
        part: The sub-network.
        importance: Of every gene of the network, float64[genes].
        complexity_model: The measure of the first objective.
        inputs: Its original input features, a tensor [n, c, …] a batch.
        outputs: Its original output features, likewise.
        original: The original network, the reference of the impairment.
    """

    bench: Bench
    graph: ChannelGraph
    part: SubnetworkSpan
    importance: Floats
    complexity_model: ComplexityMeasure
    inputs: list[Tensor]
    outputs: list[Tensor]
    original: ChannelGraph

    @cached_property
    def genes(self) -> Ints:
        """Where the masks' genes stand in a keep vector, int64[own genes]."""
        return gene_positions(self.graph, self.part.groups)

    @cached_property
    def genome(self) -> Genome:
        """The genome of the sub-network's channel groups."""
        round_to = self.bench.profile.complexity.round_to
        return genome_of(self.graph, self.part.groups, self.importance, self.complexity_model, round_to)

    def keep_vectors(self, masks: Masks) -> KeepVectors:
        """Keep vectors of the whole network, bool[n, genes], that prune this sub-network alone."""
        return keep_vectors_of(self.graph, self.part.groups, masks)

    def complexity(self, masks: Masks) -> Floats:
        """The share of complexity kept, float64[n]: of the own layers and of those that own genes touch in the next part."""
        layers = self._layers
        unpruned = self.complexity_model.measure(keep_all(self.graph), layers)
        return self.complexity_model.measure(self.keep_vectors(masks), layers) / unpruned

    def objectives(self, masks: Masks, check: Callable[[], None] = lambda: None) -> Floats:
        """(complexity kept, local impairment) of each mask, float64[n, 2]; `check` is called between evaluations."""
        impairments = self._evaluator.evaluate(self.keep_vectors(masks), check)
        return np.stack([self.complexity(masks), impairments], axis=1)

    def effects(self, masks: Masks) -> list[GeneEffects]:
        """The predicted effect of each own gene on the feature error, at each mask."""
        return [effects.take(self.genes) for effects in self._gradient.effects(self.keep_vectors(masks))]

    def search(self, round_number: int = 1) -> GuidedNsga2:
        """The NSGA-II of this problem; its seed depends on the sub-network and the round only."""
        settings = self.bench.profile.search
        seed = derive_seed(self.bench.profile.seed, "search", self.part.name, round_number)
        return GuidedNsga2(self.genome, self, population=settings.population, seed=seed, parents=settings.guided)

    @cached_property
    def _layers(self) -> set[str]:
        return set(self.part.layers) | set(self.complexity_model.touched(self.part.groups))

    # Made on first use, because their caches take memory.
    @cached_property
    def _evaluator(self) -> Evaluator:
        varying = np.zeros(self.graph.genes, dtype=np.bool_)
        varying[self.genes] = True
        span = EvaluatedSpan(
            name=self.part.name,
            graph=self.graph,
            start=self.part.start,
            stop=self.part.stop,
            inputs=self.inputs,
            impairment=build_impairment(self.bench, self.original, self.part, self.outputs),
            varying=varying,
        )
        return span.evaluator(self.bench)

    @cached_property
    def _gradient(self) -> ErrorGradient:
        batches = gradient_batches(self.inputs)
        return ErrorGradient(
            self.graph,
            self.part.start,
            self.part.stop,
            self.inputs[:batches],
            self.outputs[:batches],
            evaluator_memory(self.bench),
            self.bench.search_dtype,
        )


def subnetwork_problems(
    bench: Bench, original: Original, graph: ChannelGraph, parts: Parts, importance: Floats, batch: int
) -> Iterator[SubnetworkProblem]:
    """The problems of all sub-networks in order, each with its original features, which the one before hands on.

    Delete each problem before the next is taken: its caches make room for the next one's features.

    Args:
        bench: The bench.
        original: The original network.
        graph: The network whose masks are measured.
        parts: The division.
        importance: Of every gene of the network, float64[genes].
        batch: Images a batch.
    """
    reference, division = bench.graph(original.weights), bench.division(parts.cuts)
    complexity_model = bench.complexity(original.latencies)
    inputs = search_batches(bench, division, batch)
    for part in division.subnetworks:
        outputs = unpruned_outputs(bench, reference, part, inputs)
        yield SubnetworkProblem(
            bench=bench,
            original=reference,
            graph=graph,
            part=part,
            importance=importance,
            complexity_model=complexity_model,
            inputs=inputs,
            outputs=outputs,
        )
        inputs = outputs


def unpruned_outputs(bench: Bench, graph: ChannelGraph, part: SubnetworkSpan, inputs: list[Tensor]) -> list[Tensor]:
    """The output features of an unpruned sub-network, in the precision of searches."""
    network = SlicedNetwork(graph, part.start, part.stop, dtype=bench.search_dtype)
    network.select(keep_all(graph)[0])
    with torch.no_grad():
        return [network(batch) for batch in inputs]


def search_images(bench: Bench, division: Division) -> int:
    """How many images sub-networks are searched on: fewer than the profile asks for where features exceed its memory."""
    settings = bench.profile.search
    return max(2, min(settings.images, int(settings.memory * 1e6 / held_bytes(bench, division))))


def held_bytes(bench: Bench, division: Division) -> int:
    """Bytes of features held for an image while a sub-network is searched, at most: its inputs and outputs in float32."""
    return 8 * max([bench.example[0].numel(), *cut_sizes(division)])


def cut_sizes(division: Division) -> list[int]:
    """Values of an image's features at each cut."""
    return [int(np.prod(part.start.shape[1:])) for part in division.subnetworks if part.start is not None]


def search_batches(bench: Bench, division: Division, batch: int) -> list[Tensor]:
    """The images of the search split that sub-networks are searched on, a tensor [n, c, h, w] a batch."""
    return [inputs for inputs, _ in bench.batches(bench.data.search, search_images(bench, division), batch)]


def gradient_batches(inputs: Sequence[Tensor]) -> int:
    """How many batches make about `GRADIENT_IMAGES` images; at least one."""
    return max(1, round(GRADIENT_IMAGES / len(inputs[0])))
