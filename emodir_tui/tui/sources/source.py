"""The interface between screens and watched runs, live or replayed."""

from dataclasses import dataclass
from typing import Protocol

from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.tui.sources.event_log import LogLine
from emodir_tui.tui.sources.gpus import Gpu


@dataclass(frozen=True, kw_only=True, slots=True)
class Playback:
    """Position, length and speed of a replay, in seconds of the recorded run."""

    position: float
    length: float
    speed: float
    playing: bool


class Source(Protocol):
    """A watched run, live or replayed."""

    state: RunState
    status: Status
    gpus: tuple[Gpu, ...]
    damaged: int
    caught_up: bool

    @property
    def now(self) -> float:
        """The time that ages refer to."""

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The newest log lines."""

    @property
    def stalled_seconds(self) -> float:
        """Seconds since the files could last be read; 0.0 while that is usual."""

    @property
    def playback(self) -> Playback | None:
        """Position of a replay; None for a live run."""

    def pump(self) -> bool:
        """Process new events for a short time; return whether more are waiting."""

    def close(self) -> None:
        """Stop reading."""
