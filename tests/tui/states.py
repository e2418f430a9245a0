"""Every state of the dashboard, made from the recorded run, with the words that must be on its screen."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from emodir_tui.runs.event_types import Event
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.status import Status
from emodir_tui.tui.sources.gpus import Gpu
from emodir_tui.tui.sources.source import Playback
from tests.support.events import event
from tests.tui.recording import Still, beat, live, recorded_events, until

# The narrow and the wide layout at their usual sizes; the other two repeat them.
SIZES = ((80, 24), (120, 40))
MORE_SIZES = ((100, 30), (200, 60))
at_each_size = pytest.mark.parametrize(
    "size",
    [*SIZES, *(pytest.param(size, marks=pytest.mark.full) for size in MORE_SIZES)],
    ids=lambda size: "{}x{}".format(*size),
)

GPUS = (Gpu(index=0, name="NVIDIA H100", utilisation=93, memory_used=21 << 30, memory_total=80 << 30, temperature=71),)

WAITING = until("epoch", 5)
SEARCHING = until("search_generation", 9, subnetwork="sn2")
MIDDLE = until("joint_generation", generation=6)


def now_at(condition: str, after: Sequence[Event] = MIDDLE) -> list[Event]:
    """Return the events and, a minute later, a change of condition."""
    return [*after, _last(after, 60, kind="condition_changed", condition=condition)]


def closed(outcome: str, error: str = "", hint: str = "") -> list[Event]:
    """A run that ended in the middle of its joint search."""
    return [*MIDDLE, _last(MIDDLE, 1, kind="run_closed", outcome=outcome, error=error, hint=hint)]


def _last(after: Sequence[Event], later: float, kind: str, **values: object) -> Event:
    return event(kind, seq=9999, time=after[-1].time + later, **values)


@dataclass(frozen=True)
class State:
    """A state, words on its screen at any size, and keys to the panel that shows it best in a small window."""

    still: Still
    words: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    read_only: bool = False


def _stalled() -> Still:
    still = Still(MIDDLE, live(), gpus=GPUS)
    still.stalled_seconds = 42.0
    return still


def _catching_up() -> Still:
    still = Still(SEARCHING, Status(word=StatusWord.STARTING, reason="reading the run's events"))
    still.caught_up = False
    return still


STATES = {
    "starting": State(
        Still([], live(StatusWord.STARTING, "the worker is loading")),
        ("starting", "the worker is loading", "l worker's log"),
    ),
    "catching-up": State(_catching_up(), ("starting", "reading…", "reading the run's events")),
    "waiting": State(Still(WAITING, live(), gpus=GPUS), ("running", "1/8 baseline", "ETA ~", "♥"), ("2",)),
    "searching": State(Still(SEARCHING, live(), gpus=GPUS), ("running", "3/8 search", "ETA ~", "♥", "93 %", "71°C")),
    "joint": State(Still(MIDDLE, live(), gpus=GPUS), ("running", "6/8 joint", "ETA ~", "♥", "93 %", "71°C"), ("4",)),
    "paused": State(
        Still(now_at("paused"), live(StatusWord.PAUSED), gpus=GPUS),
        ("paused", "since 20:21", "memory is kept", "p continues"),
        ("5",),
    ),
    "stopping": State(
        Still(now_at("stopping"), live(StatusWord.STOPPING), gpus=GPUS),
        ("stopping", "saving a checkpoint", "♥"),
        ("5",),
    ),
    "no-progress": State(
        Still(
            MIDDLE,
            Status(
                word=StatusWord.NO_PROGRESS, seconds_since_heartbeat=1, seconds_without_progress=192, heartbeat=beat()
            ),
            later=192,
            gpus=GPUS,
        ),
        ("no progress", "03:12", "alive", "l worker's log", "kill -QUIT 4242"),
        ("6",),
    ),
    "unsure": State(
        Still(MIDDLE, live(StatusWord.UNSURE, "no heartbeat for 9 s (NFS, or an overloaded host?)"), later=9),
        ("unsure", "no heartbeat for 9 s", "l worker's log", "counts as lost"),
    ),
    "lost": State(
        Still(
            MIDDLE,
            Status(word=StatusWord.LOST, reason="process 4242 on workbench is gone", heartbeat=beat()),
            later=900,
        ),
        ("lost", "15 min ago", "process 4242 on workbench is gone", "r resume from ck-0005", "l worker's log"),
        ("5",),
    ),
    "failed": State(
        Still(closed("failed", "OutOfMemoryError: no memory", "lower search.batch"), Status(word=StatusWord.FAILED)),
        ("failed", "OutOfMemoryError: no memory", "lower search.batch", "r resume", "l worker's log"),
        ("6",),
    ),
    "stopped": State(
        Still(closed("stopped"), Status(word=StatusWord.STOPPED)),
        ("stopped", "61 %", "r resume from ck-0005", "emodir resume digits-8322"),
        ("5",),
    ),
    "finished": State(
        Still(recorded_events(), Status(word=StatusWord.FINISHED)),
        ("finished", "knee", "98.89 %", "MACs -61.1 %", "emodir export", "emodir show"),
        ("3",),
    ),
    "replay": State(
        Still(
            SEARCHING,
            Status(word=StatusWord.RUNNING),
            playback=Playback(position=230.0, length=376.3, speed=20.0, playing=True),
        ),
        ("replay", "0:03:50", "0:06:16", "×20", "Space Play"),
    ),
    "read-only": State(
        Still(MIDDLE, live(), gpus=GPUS), ("running", "read-only", "6/8 joint", "ETA ~"), read_only=True
    ),
    "frozen": State(Still(SEARCHING, live(), gpus=GPUS), ("running", "frozen", "f Unfreeze", "3/8 search"), ("f",)),
    "damaged-events": State(
        Still(MIDDLE, live(dropped=2), gpus=GPUS, damaged=3),
        ("running", "3 damaged events", "2 events dropped", "6/8 joint"),
        ("6",),
    ),
    "disk-low": State(
        Still(MIDDLE, live(disk_free_bytes=900_000_000), gpus=GPUS),
        ("running", "disk low: 900 MB", "6/8 joint", "0:05:38"),
        ("5",),
    ),
    "stalled": State(_stalled(), ("the run directory has not answered for 0:00:42", "does its file system hang?")),
}
