"""Watcher: a run as read so far, for whoever follows it or looks once."""

from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import Event
from emodir_tui.runs.events import EventReader
from emodir_tui.runs.fold import apply
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Observer, Status


class Watcher:
    """Reads a run's events as they come."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.state = RunState()
        self._reader = EventReader(directory.events_folder)
        self._observer = Observer(directory)

    def look(self) -> tuple[list[Event], Status]:
        """All new events, and the status after them."""
        events = self._drain()
        status = self._observer.status(self.state)
        # A worker may close and leave between the two looks; its last events say how it ended.
        if status.word == "lost" and (late := self._drain()):
            events += late
            status = self._observer.status(self.state)
        return events, status

    def _drain(self) -> list[Event]:
        found: list[Event] = []
        # One poll reads a few megabytes at most.
        while events := self._reader.poll():
            for event in events:
                apply(self.state, event)
            found += events
        return found
