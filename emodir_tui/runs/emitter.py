"""Emitter: writes a worker's events and hands them to the worker's listeners."""

import threading
from collections import deque
from collections.abc import Callable

from emodir_tui.runs.event_types import Event, Message
from emodir_tui.runs.events import EventWriter
from emodir_tui.runs.facts import Facts
from emodir_tui.runs.names import StageName

Listener = Callable[[Event], None]


class Emitter:
    """Writes events at once, from any thread; calls listeners only in the thread that made the emitter.

    An event of another thread waits for the listeners until the next event of the emitter's own thread.

    Args:
        writer: Of the event log.
        facts: Takes note of the events.

    Attributes:
        listeners: Called with each event, in the order of the log.
    """

    def __init__(self, writer: EventWriter, facts: Facts) -> None:
        self.listeners: list[Listener] = []
        self._writer, self._facts = writer, facts
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._pending: deque[Event] = deque()

    def emit(self, event: Event) -> None:
        """Write an event; in the emitter's own thread also call the listeners."""
        with self._lock:
            self._pending.append(self._writer.emit(event))
        if threading.get_ident() == self._thread:
            self._facts.note(event)
            while self._pending:
                pending = self._pending.popleft()
                for listener in self.listeners:
                    listener(pending)

    def flush(self) -> None:
        """Have the log on the disk, as far as the disk has space for it."""
        self._writer.flush()

    def log(self, text: str, level: str = "info", stage: StageName | None = None) -> None:
        """Emit a line of the log; level is debug, info, warning or error."""
        self.emit(Message(level=level, text=text, stage=stage))
