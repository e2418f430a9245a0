"""A recorded run, played at a chosen speed through the same screens."""

import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

from emodir_tui.runs.events import EventReader, decode
from emodir_tui.runs.fold import apply
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.tui.sources.event_log import EventLog, LogLine
from emodir_tui.tui.sources.gpus import Gpu
from emodir_tui.tui.sources.live import FOLD_SECONDS
from emodir_tui.tui.sources.source import Playback

# Longer gaps, such as the time between two attempts, are cut to this length.
LONGEST_GAP_SECONDS = 60.0
SLOWEST, FASTEST = 0.125, 100_000.0


class ReplaySource:
    """Plays the events of a run. Position and length are in recorded seconds, with long gaps cut short."""

    def __init__(
        self, events_folder: Path, *, speed: float = 20.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.state = RunState()
        self.status = Status(word=StatusWord.STARTING, reason="reading the recording")
        self.gpus: tuple[Gpu, ...] = ()
        self.damaged = 0
        self.caught_up = False
        self._reader = EventReader(events_folder)
        self._monotonic = monotonic
        self._speed, self._playing = speed, True
        # As text they take a tenth of the memory.
        self._recorded: list[bytes] = []
        self._times: list[float] = []
        self._offsets: list[float] = []
        self._next = 0
        self._position = 0.0
        self._looked = monotonic()
        self._event_log = EventLog()

    @property
    def now(self) -> float:
        """The recorded time at the current position."""
        if not self._next:
            return self._times[0] if self._times else 0.0
        return self._times[self._next - 1] + self._position - self._offsets[self._next - 1]

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The newest log lines."""
        return self._event_log.lines

    @property
    def stalled_seconds(self) -> float:
        """Always 0.0: a recording is read completely at first."""
        return 0.0

    @property
    def playback(self) -> Playback | None:
        """Position, length and speed."""
        return Playback(position=self._position, length=self._length, speed=self._speed, playing=self._playing)

    def pump(self) -> bool:
        """Play up to the position given by the clock."""
        if not self.caught_up:
            return self._read()
        now = self._monotonic()
        if self._playing:
            self._position = min(self._length, self._position + (now - self._looked) * self._speed)
            self._playing = self._position < self._length
        self._looked = now
        return self._fold()

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def toggle(self) -> None:
        """Play or pause; at the end, play from the beginning."""
        if not self._playing and self._position >= self._length:
            self.seek(0.0)
        self._playing = not self._playing
        self._looked = self._monotonic()

    def faster(self, factor: float) -> None:
        """Multiply the speed by a factor."""
        self._speed = min(FASTEST, max(SLOWEST, self._speed * factor))

    def seek(self, position: float) -> None:
        """Go to a position in seconds; going back folds again from the beginning."""
        self._position = min(self._length, max(0.0, position))
        if self._next and self._offsets[self._next - 1] > self._position:
            self.state, self._event_log, self._next = RunState(), EventLog(), 0
        while self._fold():
            pass

    def step(self, share: float) -> None:
        """Move by a share of the whole recording, forward or back."""
        self.seek(self._position + share * self._length)

    @property
    def _length(self) -> float:
        return self._offsets[-1] if self._offsets else 0.0

    def _read(self) -> bool:
        until = time.monotonic() + FOLD_SECONDS
        while time.monotonic() < until:
            lines = self._reader.poll_lines(1 << 20)
            if not lines:
                self.caught_up, self._looked = True, self._monotonic()
                self.damaged = self._reader.damaged
                return True
            for line, event in lines:
                gap = min(LONGEST_GAP_SECONDS, max(0.0, event.time - (self._times[-1] if self._times else event.time)))
                self._offsets.append(self._length + gap)
                self._times.append(event.time)
                self._recorded.append(line)
        return True

    def _fold(self) -> bool:
        target = bisect_right(self._offsets, self._position)
        until = time.monotonic() + FOLD_SECONDS
        while self._next < target:
            for line in self._recorded[self._next : min(target, self._next + 500)]:
                if (event := decode(line)) is not None:
                    apply(self.state, event)
                    self._event_log.add(event)
                self._next += 1
            if time.monotonic() > until:
                break
        self.status = Status(word=StatusWord(self.state.outcome or self.state.condition), reason=self.state.error)
        return self._next < target
