"""View: a run at one moment, as the widgets draw it. They keep nothing of it."""

from dataclasses import dataclass
from typing import Literal

from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.tui.drawing.palette import Palette
from emodir_tui.tui.sources.event_log import LogLine
from emodir_tui.tui.sources.gpus import Gpu
from emodir_tui.tui.sources.source import Playback


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """All data that a widget may use."""

    run_id: str
    state: RunState
    status: Status
    now: float
    palette: Palette
    lines: tuple[LogLine, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    damaged: int = 0
    caught_up: bool = True
    stalled_seconds: float = 0.0
    read_only: str = ""
    frozen: bool = False
    playback: Playback | None = None
    plots: bool = True
    scope: str = "joint"

    @property
    def word(self) -> StatusWord | Literal["replay"]:
        """The status word that the header shows."""
        return "replay" if self.playback is not None else self.status.word

    @property
    def disk_free(self) -> int | None:
        """Free bytes on the file system of the run, by the last heartbeat."""
        value = (self.status.heartbeat or {}).get("disk_free_bytes")
        return value if isinstance(value, int) and value >= 0 else None

    @property
    def dropped(self) -> int:
        """Number of events that the worker could not write."""
        value = (self.status.heartbeat or {}).get("dropped")
        return value if isinstance(value, int) else 0
