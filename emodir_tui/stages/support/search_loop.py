"""The loop that the searches of several stages share, and the events and files of the fronts it finds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from msgspec import structs

from emodir_tui.arrays import Floats
from emodir_tui.emo.front import stagnated
from emodir_tui.emo.nsga2 import Nsga2, SearchState
from emodir_tui.nets.coupling.channel_graph import ChannelGraph
from emodir_tui.nets.division import SubnetworkSpan
from emodir_tui.results import Front
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Event, FrontFinished, Member, Point, Progress, Scheme, SearchGeneration
from emodir_tui.runs.names import FRONTS, StageName
from emodir_tui.runs.run import Run
from emodir_tui.stages.support.search_size import SearchSize
from emodir_tui.stages.support.training_events import PROGRESS_SECONDS
from emodir_tui.training.memory import trim_heap


class Problem(Protocol):
    """What a search needs of its problem."""

    def objectives(self, vectors: Any, check: Callable[[], None]) -> Floats:
        """The objectives of vectors [n, length], float64[n, 2]; `check` is called between evaluations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchLimits:
    """When a search ends.

    Attributes:
        generations: At most.
        patience: Generations without gain after which it ends; 0: never.
        tolerance: Relative gain of hypervolume that counts as none.
    """

    generations: int
    patience: int
    tolerance: float

    def reached(self, state: SearchState) -> bool:
        """Whether a search at this state is over."""
        stalled = self.patience and stagnated(state.hypervolumes, self.patience, self.tolerance)
        return bool(state.generation >= self.generations or stalled)


class Report(Protocol):
    """The events of a search."""

    def generation(self, state: SearchState, rate: float) -> Event:
        """The event after a generation, with the evaluations per second."""

    def progress(self, generation: int | None, fresh: int) -> Progress:
        """The progress when `fresh` candidates are measured after this generation; None: of the first population."""


Objectives = Callable[[Any], Floats]


def run_search(
    run: Run,
    nsga2: Nsga2,
    place: Place,
    problem: Problem,
    limits: SearchLimits,
    report: Report,
    begin: Callable[[Objectives], SearchState] | None = None,
) -> SearchState:
    """Ask, evaluate and tell until the limits are reached, or nothing new is found.

    Args:
        run: The run; the search is saved in it.
        nsga2: The algorithm.
        place: Of this search in the run.
        problem: What is searched.
        limits: When it ends.
        report: Makes the events of each generation.
        begin: Makes the first state with what measures objectives; by default from the first vectors of the algorithm.
    """
    began, before = run.worked_seconds, 0
    counter = ProgressCounter(run, partial(report.progress, None))
    objectives = partial(problem.objectives, check=counter.check)
    state = run.resume_point(place, SearchState)
    if state is None:
        state = (begin or partial(first_state, nsga2))(objectives)
    else:
        before = len(state.seen)
    while True:
        rate = (len(state.seen) - before) / max(run.worked_seconds - began, 1e-9)
        _advance(run, place, state, [report.generation(state, rate), report.progress(state.generation, 0)])
        counter.begin(partial(report.progress, state.generation))
        if limits.reached(state):
            return state
        offspring = nsga2.ask(state)
        if not len(offspring):
            return state
        state = nsga2.tell(state, offspring, objectives(offspring))
        trim_heap()


class ProgressCounter:
    """Counts the evaluations since it was begun, and reports them every few seconds.

    Args:
        run: The run.
        progress: The progress after so many evaluations.
    """

    def __init__(self, run: Run, progress: Callable[[int], Progress]) -> None:
        self._run = run
        self.begin(progress)

    def begin(self, progress: Callable[[int], Progress]) -> None:
        """Count from here on."""
        self._progress, self._count = progress, 0
        self._reported = time.monotonic()

    def check(self) -> None:
        """To be called between evaluations."""
        self._run.check()
        self._count += 1
        if time.monotonic() - self._reported >= PROGRESS_SECONDS:
            self._reported = time.monotonic()
            self._run.emit(self._progress(self._count))


def _advance(run: Run, place: Place, state: SearchState, events: list[Event]) -> None:
    run.advance(place, state.generation, lambda: state, events)


def first_state(nsga2: Nsga2, objectives: Objectives, extra: Any = None) -> SearchState:
    """The measured first population; `extra` vectors [k, length] are part of it where given."""
    vectors = nsga2.initial_vectors(extra)
    return nsga2.begin(vectors, objectives(vectors))


def front_of(nsga2: Nsga2, state: SearchState, name: str, before: int = 0) -> Front:
    """The archive's front as a result; `before` evaluations of an earlier search are added."""
    chosen = nsga2.front(state)
    return Front(
        subnetwork=name,
        masks=state.seen[chosen],
        objectives=state.seen_objectives[chosen],
        reference=state.reference,
        hypervolumes=state.hypervolumes,
        evaluations=before + len(state.seen),
    )


def publish_front(run: Run, stage: StageName, front: Front, graph: ChannelGraph, part: SubnetworkSpan) -> None:
    """Emit a finished front and write it as JSON for other programs."""
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
    run.emit(
        FrontFinished(
            subnetwork=front.subnetwork,
            members=tuple(members),
            hypervolume=hypervolume,
            stage=stage,
            evaluations=front.evaluations,
        )
    )
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


@dataclass(frozen=True, kw_only=True, slots=True)
class SubnetworkReport:
    """The events of a sub-network's search.

    Attributes:
        nsga2: The algorithm.
        size: Of the search.
        subnetwork: The sub-network's name.
        round: 1, or 2 after the constrained training.
        generations: Of one search, at most.
        index: Of the sub-network.
        count: Of all sub-networks.
    """

    nsga2: Nsga2
    size: SearchSize
    subnetwork: str
    round: int
    generations: int
    index: int
    count: int

    def generation(self, state: SearchState, rate: float) -> Event:
        """See `Report`."""
        points = state.seen_objectives[self.nsga2.front(state)]
        return SearchGeneration(
            subnetwork=self.subnetwork,
            round=self.round,
            generation=state.generation,
            generations=self.generations,
            hypervolume=state.hypervolumes[-1],
            front_size=len(points),
            evaluations=len(state.seen),
            evaluations_per_second=rate,
            front=rounded(points),
        )

    def progress(self, generation: int | None, fresh: int) -> Progress:
        """See `Report`."""
        done = self.size.done(generation, fresh, self.generations)
        first = self.round == 1
        return Progress(
            stage=StageName.SEARCH if first else StageName.CONSTRAIN,
            step=self.index * self.generations + (generation or 0),
            steps=self.count * self.generations,
            unit="generation",
            note=progress_note(self.subnetwork, fresh),
            # The fronts of the second round are one part of their stage.
            part=self.subnetwork if first else FRONTS,
            done=done if first else (self.index + done) / self.count,
        )


def progress_note(name: str, fresh: int) -> str:
    """What a search works on, with the candidates measured since the last generation."""
    return f"{name}, evaluation {fresh}" if fresh else name


def rounded(points: Floats) -> tuple[Point, ...]:
    """Points for the screen, which cannot show more than six digits."""
    return tuple((float(f"{x:.6g}"), float(f"{y:.6g}")) for x, y in points)
