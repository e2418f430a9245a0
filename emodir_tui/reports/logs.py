"""`emodir logs`: the last lines of a run's log."""

from collections import deque

from emodir_tui.reports.lines import answer
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.events import read_all
from emodir_tui.runs.launch import last_lines
from emodir_tui.runs.narration import EventFormatter


def print_logs(directory: RunDirectory, count: int, *, worker: bool) -> None:
    """Print the last lines of the run's log, or of the worker's output."""
    if worker:
        for line in last_lines(directory.worker_log, count).splitlines():
            answer(line.removeprefix("    "))
        return
    formatter = EventFormatter(date=True, outcomes=True)
    lines = (formatter.line(event) for event in read_all(directory.events_folder))
    for line in deque(filter(None, lines), maxlen=count):
        answer(line)
