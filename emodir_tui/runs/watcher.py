"""Read a run while it grows: its events, its state, and its status once all events are read."""

from collections.abc import Callable

from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import Event
from emodir_tui.runs.events import POLL_BYTES, EventReader
from emodir_tui.runs.fold import apply
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Observer, Status


class Watcher:
    """Reads a run's events and folds them into its state.

    Args:
        directory: The run.
        folded: Kinds of events to fold. The default is all of them.
    """

    def __init__(self, directory: RunDirectory, folded: tuple[type[Event], ...] = (Event,)) -> None:
        self.directory = directory
        self.state = RunState()
        self._folded = folded
        self._reader = EventReader(directory.events_folder)
        self._observer = Observer(directory)

    @property
    def damaged(self) -> int:
        """Number of lines that are not events."""
        return self._reader.damaged

    def poll(self, limit: int = POLL_BYTES) -> tuple[list[tuple[bytes, Event]], Status | None]:
        """Read at most about `limit` bytes: new events with their lines; without new ones, the status."""
        if events := self._read(limit):
            return events, None
        status = self._observer.status(self.state)
        # The worker may have closed the run and left since the events were read.
        if status.word == StatusWord.LOST and (events := self._read(limit)):
            return events, None
        return [], status

    def look(self, hear: Callable[[Event], object] | None = None) -> Status:
        """Read all new events, and keep none of them; the status after them.

        Args:
            hear: Called with each event.
        """
        while True:
            events, status = self.poll()
            if hear is not None:
                for _, event in events:
                    hear(event)
            if status is not None:
                return status

    def _read(self, limit: int) -> list[tuple[bytes, Event]]:
        events = self._reader.poll_lines(limit)
        for _, event in events:
            if isinstance(event, self._folded):
                apply(self.state, event)
        return events
