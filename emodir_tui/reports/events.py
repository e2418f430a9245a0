"""`emodir events`: a run's events as lines of JSON."""

import sys
import time

from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.events import ascii_line
from emodir_tui.runs.watcher import Watcher

POLL_SECONDS = 0.25


def print_events(directory: RunDirectory, *, follow: bool) -> None:
    """Print each event as a line of JSON, without damaged lines; with `follow`, until the run has ended."""
    watcher = Watcher(directory)
    while True:
        events, status = watcher.poll()
        for line, _ in events:
            if text := ascii_line(line):
                sys.stdout.write(text + "\n")
        if status is None:
            sys.stdout.flush()
        elif follow and status.is_live:
            time.sleep(POLL_SECONDS)
        else:
            return
