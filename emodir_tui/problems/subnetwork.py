"""What the search of one sub-network is about: its genome, its features, its two objectives."""

from collections.abc import Sequence
from math import gcd

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emodir_tui.arrays import Bools, Floats
from emodir_tui.bench import Bench, keep_all
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.mask_space import MaskSpace
from emodir_tui.emo.nsga2 import Nsga2
from emodir_tui.nets.coupling.channel_graph import ChannelGraph, ChannelGroup
from emodir_tui.nets.division import SubnetworkSpan
from emodir_tui.nets.execution.evaluators import Impairment
from emodir_tui.nets.execution.sliced import SlicedNetwork
from emodir_tui.problems.evaluator_choice import Evaluator, make_evaluator
from emodir_tui.runs.run import Run
from emodir_tui.seeds import derive_seed


def make_search(
    bench: Bench, graph: ChannelGraph, part: SubnetworkSpan, importance: Floats, round_number: int
) -> Nsga2:
    """The NSGA-II of one sub-network; its seed depends on the sub-network and the round only."""
    seed = derive_seed(bench.profile.seed, "search", part.name, round_number)
    genome = genome_of(bench, graph, part.groups, importance)
    return Nsga2(MaskSpace(genome), population=bench.profile.search.population, seed=seed)


def genome_of(bench: Bench, graph: ChannelGraph, numbers: Sequence[int], importance: Floats) -> Genome:
    """The genome of these channel groups."""
    genes = [gene_group(graph.groups[number], bench.profile.complexity.round_to) for number in numbers]
    return Genome(genes, importance_per_saving(bench, graph, numbers, importance))


def gene_group(group: ChannelGroup, round_to: int) -> GeneGroup:
    """A channel group as part of a genome; as many genes as make a multiple of `round_to` channels go or stay together."""
    return GeneGroup(
        size=group.stop - group.start,
        branch=group.branch,
        round_to=round_to // gcd(round_to, group.channels_per_gene),
    )


def importance_per_saving(bench: Bench, graph: ChannelGraph, numbers: Sequence[int], importance: Floats) -> Floats:
    """Importance per complexity that a gene's removal saves, float64[their genes]: comparable in the whole genome."""
    model = bench.complexity(graph)
    whole = model.measure(keep_all(graph))[0]
    values = []
    for number in numbers:
        group = graph.groups[number]
        without = keep_all(graph)
        without[0, group.start] = False
        saved = max(float(whole - model.measure(without)[0]), 1e-9)
        values.append(importance[group.start : group.stop] / saved)
    joined = np.concatenate(values)
    return np.asarray(joined / max(float(joined.max()), 1e-300), dtype=np.float64)


def search_images(bench: Bench, parts: Sequence[SubnetworkSpan]) -> int:
    """How many images sub-networks are searched on: fewer than the profile says where their features fill its memory."""
    settings = bench.profile.search
    shapes = [part.start.shape for part in parts if part.start is not None]
    largest = max([bench.example[0].numel(), *(int(np.prod(shape[1:])) for shape in shapes)])
    # Inputs and outputs of one sub-network are held at a time, 4 bytes each.
    return max(2, min(settings.images, int(settings.memory * 1e6 / (8 * largest))))


def search_features(bench: Bench, parts: Sequence[SubnetworkSpan], batch: int) -> list[Tensor]:
    """The images of the search split that sub-networks are searched on, in batches."""
    return [inputs for inputs, _ in bench.batches(bench.data.search, search_images(bench, parts), batch)]


def original_outputs(bench: Bench, graph: ChannelGraph, part: SubnetworkSpan, features: list[Tensor]) -> list[Tensor]:
    """What an unpruned sub-network makes of its input features: its own output features."""
    network = SlicedNetwork(graph, part.start, part.stop, dtype=bench.search_dtype)
    network.select(keep_all(graph)[0])
    with torch.no_grad():
        return [network(batch) for batch in features]


def subnetwork_evaluator(
    bench: Bench, graph: ChannelGraph, part: SubnetworkSpan, features: list[Tensor], impairment: Impairment
) -> Evaluator:
    """The evaluator of one sub-network's masks on its original input features."""
    genes = own_genes(graph, part.groups)
    return make_evaluator(bench, part.name, graph, (part.start, part.stop), features, impairment, genes)


def measure_masks(
    run: Run, bench: Bench, graph: ChannelGraph, part: SubnetworkSpan, evaluator: Evaluator, masks: Bools
) -> Floats:
    """Both objectives of a sub-network's masks, float64[n, 2] of bool[n, own genes]."""
    keep_vectors = expand(graph, part, masks)
    return np.stack([kept_share(bench, graph, part, keep_vectors), evaluator.evaluate(keep_vectors, run.check)], axis=1)


def kept_share(bench: Bench, graph: ChannelGraph, part: SubnetworkSpan, keep_vectors: Bools) -> Floats:
    """The sub-network's complexity kept: of its own layers and of those that its genes touch in the next one."""
    model = bench.complexity(graph)
    layers = set(part.layers) | set(model.touched(part.groups))
    return model.measure(keep_vectors, layers) / model.measure(keep_all(graph), layers)


def expand(graph: ChannelGraph, part: SubnetworkSpan, masks: Bools) -> Bools:
    """Keep vectors of the whole network, bool[n, genes], that prune this sub-network alone."""
    keep_vectors = keep_all(graph, len(masks))
    keep_vectors[:, own_genes(graph, part.groups)] = masks
    return keep_vectors


def own_genes(graph: ChannelGraph, numbers: Sequence[int]) -> npt.NDArray[np.int64]:
    """Positions of these groups' genes in the keep vector."""
    ranges = [np.arange(graph.groups[number].start, graph.groups[number].stop) for number in numbers]
    return np.concatenate(ranges) if ranges else np.zeros(0, dtype=np.int64)
