"""Leave the dashboard: what is printed then, and the exit code."""

from emodir_tui.errors import ExitCode
from emodir_tui.reports.follow import how_to_return, result_of
from emodir_tui.reports.lines import note
from emodir_tui.reports.show import print_result
from emodir_tui.reports.views import look_at
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.names import StatusWord


def leave(directory: RunDirectory | None, *, from_run: bool) -> ExitCode:
    """Print how to return to a run. After `emodir run` the exit code is the run's result, or 6 while it is running."""
    if directory is None:
        return ExitCode.OK
    state, status = look_at(directory)
    if status.is_live:
        note(how_to_return(directory))
        return ExitCode.STILL_RUNNING if from_run else ExitCode.OK
    if status.word == StatusWord.FINISHED:
        print_result(state)
        return ExitCode.OK
    note(f"{directory.id} is {status.word} · emodir resume {directory.id} · emodir logs {directory.id}")
    return result_of(status) or ExitCode.OK if from_run else ExitCode.OK
