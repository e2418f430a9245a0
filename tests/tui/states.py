"""Every state of the dashboard, made from the recorded run: for the tests of what each says and how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from emodir_tui.runs.event_types import Event
from emodir_tui.runs.status import Status
from emodir_tui.tui.sources.gpus import Gpu
from emodir_tui.tui.sources.source import Playback
from tests.support.events import event
from tests.tui.recording import Still, beat, live, recorded_events, until

SIZES = ((80, 24), (100, 30), (120, 40), (200, 60))
at_each_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))

GPUS = (Gpu(index=0, name="NVIDIA H100", utilisation=93, memory_used=21 << 30, memory_total=80 << 30, temperature=71),)

WAITING = until("epoch", 5)
SEARCHING = until("search_generation", 9, subnetwork="sn2")
MIDDLE = until("joint_generation", generation=6)


def now_at(condition: str, after: Sequence[Event] = MIDDLE) -> list[Event]:
    """The events, and a minute later the worker says what it does now."""
    return [*after, _last(after, 60, kind="condition_changed", condition=condition)]


def closed(outcome: str, error: str = "", hint: str = "") -> list[Event]:
    """A run that ended in the middle of its joint search."""
    return [*MIDDLE, _last(MIDDLE, 1, kind="run_closed", outcome=outcome, error=error, hint=hint)]


def _last(after: Sequence[Event], later: float, kind: str, **values: object) -> Event:
    return event(kind, seq=9999, time=after[-1].time + later, **values)


@dataclass(frozen=True)
class State:
    """A state, and the keys that open the panel which shows it best where only one panel has room."""

    still: Still
    keys: tuple[str, ...] = ()
    read_only: bool = False


def _stalled() -> Still:
    still = Still(MIDDLE, live(), gpus=GPUS)
    still.stalled_seconds = 42.0
    return still


def _catching_up() -> Still:
    still = Still(SEARCHING, Status(word="starting", reason="reading the run's events"))
    still.caught_up = False
    return still


STATES = {
    "starting": State(Still([], live("starting", "the worker is loading"))),
    "catching-up": State(_catching_up()),
    "waiting": State(Still(WAITING, live(), gpus=GPUS), ("2",)),
    "searching": State(Still(SEARCHING, live(), gpus=GPUS)),
    "joint": State(Still(MIDDLE, live(), gpus=GPUS), ("4",)),
    "paused": State(Still(now_at("paused"), live("paused"), gpus=GPUS), ("5",)),
    "stopping": State(Still(now_at("stopping"), live("stopping"), gpus=GPUS), ("5",)),
    "no-progress": State(
        Still(
            MIDDLE,
            Status(word="no-progress", seconds_since_heartbeat=1, seconds_without_progress=192, heartbeat=beat()),
            later=192,
            gpus=GPUS,
        ),
        ("6",),
    ),
    "unsure": State(Still(MIDDLE, live("unsure", "no heartbeat for 9 s (NFS, or an overloaded host?)"), later=9)),
    "lost": State(
        Still(MIDDLE, Status(word="lost", reason="process 4242 on workbench is gone", heartbeat=beat()), later=900),
        ("5",),
    ),
    "failed": State(
        Still(closed("failed", "OutOfMemoryError: no memory", "lower search.batch"), Status(word="failed")), ("6",)
    ),
    "stopped": State(Still(closed("stopped"), Status(word="stopped")), ("5",)),
    "finished": State(Still(recorded_events(), Status(word="finished")), ("3",)),
    "replay": State(
        Still(
            SEARCHING,
            Status(word="running"),
            playback=Playback(position=230.0, length=376.3, speed=20.0, playing=True),
        )
    ),
    "read-only": State(Still(MIDDLE, live(), gpus=GPUS), read_only=True),
    "frozen": State(Still(SEARCHING, live(), gpus=GPUS), ("f",)),
    "damaged-events": State(Still(MIDDLE, live(dropped=2), gpus=GPUS, damaged=3), ("6",)),
    "disk-low": State(Still(MIDDLE, live(disk_free_bytes=900_000_000), gpus=GPUS), ("5",)),
    "stalled": State(_stalled()),
}
