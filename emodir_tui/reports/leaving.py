"""What is said when somebody leaves the dashboard, and with which exit code."""

import sys

from emodir_tui.errors import ExitCode
from emodir_tui.reports.follow import how_to_return
from emodir_tui.reports.summary import print_result
from emodir_tui.reports.views import look_at
from emodir_tui.runs.directory import RunDirectory


def say_goodbye(directory: RunDirectory | None, *, from_run: bool) -> ExitCode:
    """How to come back. After `emodir run` the exit code is the run's result, or 6 while it goes on."""
    if directory is None:
        return ExitCode.OK
    state, status = look_at(directory)
    if status.is_live:
        sys.stderr.write(how_to_return(directory) + "\n")
        return ExitCode.STILL_RUNNING if from_run else ExitCode.OK
    if status.word == "finished":
        print_result(state)
        return ExitCode.OK
    sys.stderr.write(f"{directory.id} is {status.word} · emodir resume {directory.id} · emodir logs {directory.id}\n")
    codes = {"stopped": ExitCode.STOPPED, "failed": ExitCode.RUN_FAILED, "lost": ExitCode.WORKER_LOST}
    return codes.get(status.word, ExitCode.OK) if from_run else ExitCode.OK
