"""What a screen needs of a watched run, live or replayed."""

from dataclasses import dataclass
from typing import Protocol

from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.tui.sources.event_log import LogLine
from emodir_tui.tui.sources.gpus import Gpu


@dataclass(frozen=True, kw_only=True, slots=True)
class Playback:
    """Where a replay is. Times in seconds of the recorded run."""

    position: float
    length: float
    speed: float
    playing: bool


class Source(Protocol):
    """What a screen needs of a watched run."""

    state: RunState
    status: Status
    gpus: tuple[Gpu, ...]
    damaged: int
    caught_up: bool

    @property
    def now(self) -> float:
        """The time to which ages refer."""

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The newest log lines."""

    @property
    def stalled_seconds(self) -> float:
        """How long the files could not be read; 0.0 when all is well."""

    @property
    def playback(self) -> Playback | None:
        """Where a replay is; None when the run is watched live."""

    def pump(self) -> bool:
        """Take in what has come, for a short while; whether there is more at once."""

    def close(self) -> None:
        """Stop reading."""
