"""The log of a watched run: the newest lines made from its events."""

from collections import deque
from dataclasses import dataclass
from heapq import merge

import msgspec

from emodir_tui.runs.event_types import Event, JointGeneration, Progress, SearchGeneration
from emodir_tui.runs.narration import DETAILS, format_event

LINES_KEPT = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One line of the log. `number` rises from line to line."""

    number: int
    time: float
    level: str
    text: str


class EventLog:
    """The newest log lines of a run. A line is formatted only when somebody reads the log."""

    def __init__(self) -> None:
        self._count = 0
        # Kept apart, so that thousands of details cannot displace a warning.
        self._lines: dict[bool, deque[LogLine]] = {True: deque(maxlen=LINES_KEPT), False: deque(maxlen=LINES_KEPT)}
        self._fresh: dict[bool, deque[tuple[int, Event]]] = {
            True: deque(maxlen=LINES_KEPT),
            False: deque(maxlen=LINES_KEPT),
        }
        self._merged: tuple[LogLine, ...] = ()

    def add(self, event: Event) -> None:
        """Add an event."""
        if isinstance(event, Progress):
            return
        self._count += 1
        if isinstance(event, SearchGeneration | JointGeneration):
            # Fronts are a hundred small objects each, and no line shows them.
            event = msgspec.structs.replace(event, front=None)
        self._fresh[isinstance(event, DETAILS)].append((self._count, event))

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The newest lines, oldest first; the same tuple until another event comes."""
        if any(self._fresh.values()):
            for is_detail, fresh in self._fresh.items():
                self._lines[is_detail].extend(line for number, event in fresh if (line := log_line(number, event)))
                fresh.clear()
            self._merged = tuple(merge(*self._lines.values(), key=lambda line: line.number))
        return self._merged


def log_line(number: int, event: Event) -> LogLine | None:
    """The line of this event, or None for an event without one."""
    formatted = format_event(event)
    if formatted is None:
        return None
    level, text = formatted
    return LogLine(number=number, time=event.time, level=level, text=text)
