"""What the searches of several stages share: the loop, the genome of a sub-network, and what is told of fronts."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from msgspec import structs

from emodir_tui.arrays import Floats
from emodir_tui.emo.front import stagnated
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.emo.space import distinct
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import SubnetworkSpan
from emodir_tui.results import Front
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Event, FrontFinished, Member, Point, Progress, Scheme, SearchGeneration
from emodir_tui.runs.names import StageName
from emodir_tui.runs.run import Run
from emodir_tui.training.memory import trim_heap


def run_search(
    run: Run,
    nsga2: Nsga2,
    place: Place,
    objectives: Callable[[Any], Floats],
    *,
    generations: int,
    patience: int,
    tolerance: float,
    tell: Callable[[SearchState, float], list[Event]],
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
        trim_heap()


def first_state(nsga2: Nsga2, objectives: Callable[[Any], Floats], extra: Any = None) -> SearchState:
    """The first population, measured; of it `extra` where given."""
    vectors = nsga2.initial_vectors(extra)
    return nsga2.begin(vectors, objectives(vectors))


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


def tell_front(run: Run, front: Front, graph: ChannelGraph, part: SubnetworkSpan) -> None:
    """Tell a finished front and write it for other programs."""
    groups = [graph.groups[number] for number in part.groups]
    edges = np.concatenate([[0], np.cumsum([group.stop - group.start for group in groups])])
    members = []
    for number, (mask, (complexity, impairment)) in enumerate(zip(front.masks, front.objectives, strict=True)):
        kept = [
            int(mask[low:high].sum()) * group.channels_per_gene
            for low, high, group in zip(edges[:-1], edges[1:], groups, strict=True)
        ]
        members.append(
            Member(member=number, complexity_kept=float(complexity), impairment=float(impairment), kept=tuple(kept))
        )
    hypervolume = front.hypervolumes[-1] if front.hypervolumes else None
    run.emit(FrontFinished(subnetwork=front.subnetwork, members=tuple(members), hypervolume=hypervolume))
    bits = ["".join("1" if bit else "0" for bit in mask) for mask in front.masks]
    run.publish(
        front.subnetwork,
        {
            "schema": 1,
            "subnetwork": front.subnetwork,
            "groups": [group.name for group in groups],
            "reference": list(front.reference),
            "hypervolumes": list(front.hypervolumes),
            "members": [{**published(member), "mask": mask} for member, mask in zip(members, bits, strict=True)],
        },
    )


def published(record: Member | Scheme) -> dict[str, Any]:
    """A record as JSON for other programs, where the share of the complexity is called `complexity`."""
    return {name.removesuffix("_kept"): value for name, value in structs.asdict(record).items()}


def generation_events(
    nsga2: Nsga2, state: SearchState, name: str, round_number: int, generations: int, rate: float, base: tuple[int, int]
) -> list[Event]:
    """What is told after each generation of a sub-network's search."""
    index, count = base
    points = state.seen_objectives[nsga2.front(state)]
    generation = SearchGeneration(
        subnetwork=name,
        round=round_number,
        generation=state.generation,
        generations=generations,
        hypervolume=state.hypervolumes[-1],
        front_size=len(points),
        evaluations=len(state.seen),
        evaluations_per_second=rate,
        front=rounded(points),
    )
    progress = Progress(
        stage=StageName.SEARCH if round_number == 1 else StageName.CONSTRAIN,
        step=index * generations + state.generation,
        steps=count * generations,
        unit="generation",
        note=name,
    )
    return [generation, progress]


def rounded(points: Floats) -> tuple[Point, ...]:
    """Points for the screen: six digits are more than it can show."""
    return tuple((float(f"{x:.6g}"), float(f"{y:.6g}")) for x, y in points)


def _same(state: SearchState) -> SearchState:
    return state
