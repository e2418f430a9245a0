"""`emodir events`: a run's events as lines of JSON."""

import sys
import time

from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.events import EventReader, ascii_line
from emodir_tui.runs.fold import apply
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Observer

POLL_SECONDS = 0.25


def print_events(directory: RunDirectory, *, follow: bool) -> None:
    """Every event as a line of JSON; with `follow` until the run has ended. Damaged lines are left out."""
    reader, observer, state = EventReader(directory.events_folder), Observer(directory), RunState()
    while True:
        lines = reader.poll_lines()
        for line, event in lines:
            apply(state, event)
            if text := ascii_line(line):
                sys.stdout.write(text + "\n")
        if lines:
            sys.stdout.flush()
            continue
        if not follow or not observer.status(state).is_live:
            return
        time.sleep(POLL_SECONDS)
