"""What the searches of several stages share: the loop, the genome of a sub-network, and what is told of fronts."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emodir_tui.emo.front import stagnated
from emodir_tui.emo.genome import GeneGroup, Genome
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.operators import MaskSpace
from emodir_tui.emo.space import distinct
from emodir_tui.nets.evaluate import Impairment
from emodir_tui.nets.groups import ChannelGraph, ChannelGroup
from emodir_tui.nets.sliced import SlicedNetwork
from emodir_tui.nets.subnetwork import SubNetwork
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.log import Run
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.bench import Bench, keep_all
from emodir_tui.stages.evaluators import Evaluator, make_evaluator
from emodir_tui.stages.results import Bits, Floats, Front
from emodir_tui.training.memory import give_back

Told = list[tuple[str, dict[str, Any]]]


def run_search(
    run: Run,
    nsga2: Nsga2,
    place: Place,
    objectives: Callable[[Any], Floats],
    *,
    generations: int,
    patience: int,
    tolerance: float,
    tell: Callable[[SearchState, float], Told],
    breed: Callable[[SearchState], Any] | None = None,
    begin: Callable[[], SearchState] | None = None,
) -> SearchState:
    """Ask and tell until the generations are over, nothing is gained any more, or nothing new is found.

    Args:
        run: The run.
        nsga2: The search.
        place: Where it is.
        objectives: Measures vectors, float64[n, 2].
        generations: Most generations.
        patience: Generations without gain after which it ends; 0: never.
        tolerance: Relative gain of hypervolume that counts as none.
        tell: What is told after each generation, of its state and the evaluations per second.
        breed: Makes more children in each generation, none of them seen before.
        begin: Makes the first state; the space's own first vectors unless given.
    """
    began, before = time.monotonic(), 0
    state = run.resume_point(place, SearchState)
    if state is None:
        state = begin() if begin else first_state(nsga2, objectives)
    else:
        before = len(state.seen)
    while True:
        now = state
        rate = (len(now.seen) - before) / max(time.monotonic() - began, 1e-9)
        run.advance(place, now.generation, partial(_same, now), tell(now, rate))
        if now.generation >= generations or (patience and stagnated(now.hypervolumes, patience, tolerance)):
            return now
        offspring = nsga2.ask(now)
        if breed is not None:
            offspring = distinct(np.concatenate([offspring, breed(now)]))
        if not len(offspring):
            return now
        state = nsga2.tell(now, offspring, objectives(offspring))
        give_back()


def first_state(nsga2: Nsga2, objectives: Callable[[Any], Floats], extra: Any = None) -> SearchState:
    """The first population, measured; of it `extra` where given."""
    vectors = nsga2.first(extra)
    return nsga2.begin(vectors, objectives(vectors))


def make_search(bench: Bench, graph: ChannelGraph, part: SubNetwork, importance: Floats, round_number: int) -> Nsga2:
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


def search_images(bench: Bench, parts: Sequence[SubNetwork]) -> int:
    """How many images sub-networks are searched on: fewer than the profile says where their features fill its memory."""
    settings = bench.profile.search
    shapes = [part.start.shape for part in parts if part.start is not None]
    largest = max([bench.example[0].numel(), *(int(np.prod(shape[1:])) for shape in shapes)])
    # Inputs and outputs of one sub-network are held at a time, 4 bytes each.
    return max(2, min(settings.images, int(settings.memory * 1e6 / (8 * largest))))


def search_features(bench: Bench, parts: Sequence[SubNetwork], batch: int) -> list[Tensor]:
    """The images of the search split that sub-networks are searched on, in batches."""
    return [inputs for inputs, _ in bench.batches(bench.data.search, search_images(bench, parts), batch)]


def original_outputs(bench: Bench, graph: ChannelGraph, part: SubNetwork, features: list[Tensor]) -> list[Tensor]:
    """What an unpruned sub-network makes of its input features: its own output features."""
    network = SlicedNetwork(graph, part.start, part.stop, dtype=bench.search_dtype)
    network.select(keep_all(graph)[0])
    with torch.no_grad():
        return [network(batch) for batch in features]


def front_of(nsga2: Nsga2, state: SearchState, name: str, before: int = 0) -> Front:
    """The archive's front as a result; evaluations that were made before this search count too."""
    chosen = nsga2.front(state)
    return Front(
        subnetwork=name,
        masks=state.seen[chosen],
        objectives=state.seen_objectives[chosen],
        reference=state.reference,
        hypervolumes=state.hypervolumes,
        evaluations=before + len(state.seen),
    )


def tell_front(run: Run, front: Front, graph: ChannelGraph, part: SubNetwork) -> None:
    """Tell a finished front and write it for other programs."""
    groups = [graph.groups[number] for number in part.groups]
    edges = np.concatenate([[0], np.cumsum([group.stop - group.start for group in groups])])
    members = []
    for number, (mask, (complexity, impairment)) in enumerate(zip(front.masks, front.objectives, strict=True)):
        kept = [
            int(mask[low:high].sum()) * group.channels_per_gene
            for low, high, group in zip(edges[:-1], edges[1:], groups, strict=True)
        ]
        members.append({"member": number, "complexity": complexity, "impairment": impairment, "kept": kept})
    hypervolume = front.hypervolumes[-1] if front.hypervolumes else None
    run.emit("front_finished", subnetwork=front.subnetwork, members=members, hypervolume=hypervolume)
    bits = ["".join("1" if bit else "0" for bit in mask) for mask in front.masks]
    run.publish(
        front.subnetwork,
        {
            "schema": 1,
            "subnetwork": front.subnetwork,
            "groups": [group.name for group in groups],
            "reference": list(front.reference),
            "hypervolumes": list(front.hypervolumes),
            "members": [{**member, "mask": mask} for member, mask in zip(members, bits, strict=True)],
        },
    )


def generation_events(
    nsga2: Nsga2, state: SearchState, name: str, round_number: int, generations: int, rate: float, base: tuple[int, int]
) -> Told:
    """What is told after each generation of a sub-network's search."""
    index, count = base
    points = state.seen_objectives[nsga2.front(state)]
    generation = {
        "subnetwork": name,
        "round": round_number,
        "generation": state.generation,
        "generations": generations,
        "hypervolume": state.hypervolumes[-1],
        "front_size": len(points),
        "evaluations": len(state.seen),
        "evaluations_per_second": rate,
        "front": rounded(points),
    }
    progress = {
        "stage": "search" if round_number == 1 else "constrain",
        "step": index * generations + state.generation,
        "steps": count * generations,
        "unit": "generation",
        "note": name,
    }
    return [("search_generation", generation), ("progress", progress)]


def rounded(points: Floats) -> list[list[float]]:
    """Points for the screen: six digits are more than it can show."""
    return [[float(f"{x:.6g}"), float(f"{y:.6g}")] for x, y in points]


def subnetwork_evaluator(
    bench: Bench, graph: ChannelGraph, part: SubNetwork, features: list[Tensor], impairment: Impairment
) -> Evaluator:
    """The evaluator of one sub-network's masks on its original input features."""
    genes = own_genes(graph, part.groups)
    return make_evaluator(bench, part.name, graph, (part.start, part.stop), features, impairment, genes)


def measure_masks(
    run: Run, bench: Bench, graph: ChannelGraph, part: SubNetwork, evaluator: Evaluator, masks: Bits
) -> Floats:
    """Both objectives of a sub-network's masks, float64[n, 2] of bool[n, own genes]."""
    keeps = expand(graph, part, masks)
    return np.stack([kept_share(bench, graph, part, keeps), evaluator.evaluate(keeps, run.check)], axis=1)


def kept_share(bench: Bench, graph: ChannelGraph, part: SubNetwork, keeps: Bits) -> Floats:
    """The sub-network's complexity kept: of its own layers and of those that its genes touch in the next one."""
    model = bench.complexity(graph)
    layers = set(part.layers) | set(model.touched(part.groups))
    return model.measure(keeps, layers) / model.measure(keep_all(graph), layers)


def expand(graph: ChannelGraph, part: SubNetwork, masks: Bits) -> Bits:
    """Keep vectors of the whole network, bool[n, genes], that prune this sub-network alone."""
    keeps = keep_all(graph, len(masks))
    keeps[:, own_genes(graph, part.groups)] = masks
    return keeps


def own_genes(graph: ChannelGraph, numbers: Sequence[int]) -> npt.NDArray[np.int64]:
    """Positions of these groups' genes in the keep vector."""
    ranges = [np.arange(graph.groups[number].start, graph.groups[number].stop) for number in numbers]
    return np.concatenate(ranges) if ranges else np.zeros(0, dtype=np.int64)


def _same(state: SearchState) -> SearchState:
    return state
