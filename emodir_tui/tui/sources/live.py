"""A live run: a thread reads its files, and the screen's thread folds the events.

A file system that hangs stalls only the reading thread. RunState belongs to one thread, so it needs no lock.
"""

import queue
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass

from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import ConditionChanged, Event, RunClosed, RunOpened
from emodir_tui.runs.fold import apply
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.runs.watcher import Watcher
from emodir_tui.tui.sources.event_log import EventLog, LogLine
from emodir_tui.tui.sources.gpus import Gpu, GpuReader
from emodir_tui.tui.sources.source import Playback

POLL_SECONDS = 0.5
GPU_SECONDS = 2.0
STALLED_SECONDS = 10.0
# Reading and folding proceed in small pieces, so that keys are answered while a long run is loaded.
PIECE_BYTES = 256 << 10
FOLD_SECONDS = 0.03
_LIFE = (RunOpened, RunClosed, ConditionChanged)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    events: list[Event]
    status: Status | None
    damaged: int
    gpus: tuple[Gpu, ...]


class LiveSource:
    """A run that is followed live: its events, heartbeat and process."""

    def __init__(self, directory: RunDirectory, *, poll_seconds: float = POLL_SECONDS, gpus: bool = True) -> None:
        self.state = RunState()
        self.status = Status(word=StatusWord.STARTING, reason="reading the run's events")
        self.gpus: tuple[Gpu, ...] = ()
        self.damaged = 0
        self.caught_up = False
        self._event_log = EventLog()
        self._pending: deque[Event] = deque()
        self._after: _Piece | None = None
        self._pieces: queue.Queue[_Piece] = queue.Queue(maxsize=8)
        self._heard = time.monotonic()
        reading = _Reading(directory, self._pieces, poll_seconds, gpus)
        self._end = reading.end
        # A daemon thread, so that leaving never waits for a file system that hangs.
        threading.Thread(target=reading.run, name="feed", daemon=True).start()

    @property
    def now(self) -> float:
        """The wall clock."""
        return time.time()

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The newest log lines."""
        return self._event_log.lines

    @property
    def stalled_seconds(self) -> float:
        """Seconds since the reading thread last answered; 0.0 while that is usual."""
        silent = time.monotonic() - self._heard
        return silent if silent > STALLED_SECONDS else 0.0

    @property
    def playback(self) -> Playback | None:
        """None: a live run is not played."""
        return None

    def pump(self) -> bool:
        """Fold what the thread has read, for at most FOLD_SECONDS."""
        until = time.monotonic() + FOLD_SECONDS
        while time.monotonic() < until:
            if not self._pending and not self._next_piece():
                return False
            for _ in range(min(len(self._pending), 500)):
                event = self._pending.popleft()
                apply(self.state, event)
                self._event_log.add(event)
            if not self._pending:
                self._conclude()
        return bool(self._pending) or not self._pieces.empty()

    def close(self) -> None:
        """Stop the reading thread."""
        self._end.set()

    def _next_piece(self) -> bool:
        try:
            piece = self._pieces.get_nowait()
        except queue.Empty:
            return False
        self._heard = time.monotonic()
        self._pending.extend(piece.events)
        self._after = piece
        return True

    def _conclude(self) -> None:
        """Adopt the status and GPU readings of the piece just folded."""
        piece, self._after = self._after, None
        if piece is None:
            return
        self.damaged, self.gpus = piece.damaged, piece.gpus
        if piece.status is not None:
            self.status, self.caught_up = piece.status, True


class _Reading:
    """The reading thread: pieces of the events and, once it has caught up, status and GPUs."""

    def __init__(self, directory: RunDirectory, pieces: "queue.Queue[_Piece]", poll_seconds: float, gpus: bool) -> None:
        self.end = threading.Event()
        self._pieces = pieces
        self._poll_seconds = poll_seconds
        # Only the part of the state that the status needs; the screen's thread folds the whole.
        self._watcher = Watcher(directory, _LIFE)
        self._gpu_reader = GpuReader() if gpus else None
        self._gpus: tuple[Gpu, ...] = ()
        self._gpus_read = 0.0

    def run(self) -> None:
        while not self.end.is_set():
            lines, status = self._watcher.poll(PIECE_BYTES)
            if status is not None:
                self._read_gpus()
            events = [event for _, event in lines]
            piece = _Piece(events=events, status=status, damaged=self._watcher.damaged, gpus=self._gpus)
            while not self.end.is_set():
                try:
                    self._pieces.put(piece, timeout=0.5)
                    break
                except queue.Full:
                    continue
            if status is not None:
                self.end.wait(self._poll_seconds)

    def _read_gpus(self) -> None:
        state = self._watcher.state
        here = state.host == socket.gethostname() and state.outcome is None
        if self._gpu_reader is None or not here:
            self._gpus = ()
        elif time.monotonic() - self._gpus_read >= GPU_SECONDS:
            self._gpus_read = time.monotonic()
            self._gpus = self._gpu_reader.read()
