"""A run's raw events on stdout."""

import sys
import time

from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.events import EventReader, encode
from emodir_tui.runs.fold import apply
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Observer

POLL_SECONDS = 0.25


def print_events(directory: RunDirectory, *, follow: bool) -> None:
    """Every event as a line of JSON; with `follow` until the run has ended. Damaged lines are left out."""
    reader, observer, state = EventReader(directory.events_folder), Observer(directory), RunState()
    while True:
        events = reader.poll()
        for event in events:
            apply(state, event)
            sys.stdout.write(encode(event).decode())
        if events:
            sys.stdout.flush()
            continue
        if not follow or not observer.status(state).is_live:
            return
        time.sleep(POLL_SECONDS)
