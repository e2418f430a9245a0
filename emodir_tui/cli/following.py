"""What follows once a run has started: the dashboard, a line at a time, or the worker in this process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from emodir_tui.cli.app import fail, on_terminal
from emodir_tui.errors import EmodirError, ExitCode, ProfileError
from emodir_tui.reports.lines import answer, note

if TYPE_CHECKING:
    from emodir_tui.runs.directory import RunDirectory


def check_exclusive(*, detach: bool, foreground: bool) -> None:
    """Raise a ProfileError if both are asked for."""
    if detach and foreground:
        raise ProfileError(
            "--detach and --foreground exclude each other", "--detach returns at once, --foreground after the run."
        )


def start_worker(directory: "RunDirectory", checkpoint: str | None = None, *, foreground: bool) -> None:
    """Start a run's worker, detached; or run it in this process, and exit with its code."""
    from emodir_tui.runs.launch import start

    if foreground:
        run_in_foreground(directory, checkpoint)
    start(directory, checkpoint)


def after_start(directory: "RunDirectory", *, detach: bool, no_tui: bool) -> None:
    """Print the id of a started run, follow it line by line, or open it in the dashboard."""
    if detach:
        answer(directory.id)
        return
    if no_tui or not on_terminal():
        follow_run(directory, owns=True)
    open_dashboard(directory, directory.path.parent, from_run=True)


def follow_run(directory: "RunDirectory", *, owns: bool) -> NoReturn:
    """Follow a run line by line to its end, and print its result.

    Args:
        directory: The run.
        owns: Whether this command started the worker, so that a signal to it stops the run.
    """
    from emodir_tui.reports.follow import follow
    from emodir_tui.reports.show import print_result

    result, state = follow(directory, owns=owns)
    if result == ExitCode.OK:
        print_result(state)
    raise typer.Exit(result)


def open_dashboard(
    directory: "RunDirectory | None",
    runs_dir: Path,
    *,
    replay: bool = False,
    speed: float = 20.0,
    read_only: bool = False,
    ascii_only: bool = False,
    refresh: float = 1.0,
    from_run: bool = False,
) -> NoReturn:
    """Open the dashboard; when it is left, exit with the code that says why."""
    from emodir_tui.reports.leaving import leave
    from emodir_tui.tui.app import run_dashboard

    last = run_dashboard(
        directory,
        runs_dir,
        replay=replay,
        speed=speed,
        read_only=read_only,
        ascii_only=ascii_only,
        refresh_seconds=refresh,
    )
    raise typer.Exit(leave(last, from_run=from_run))


def run_in_foreground(directory: "RunDirectory", checkpoint: str | None = None) -> NoReturn:
    """Run the worker in this process: log lines on stderr, the result on stdout, the run's exit code.

    Raises:
        EmodirError: The worker could not start.
    """
    from emodir_tui.reports.follow import how_to_resume
    from emodir_tui.reports.show import print_result
    from emodir_tui.reports.views import look_at
    from emodir_tui.runs.directory import RunDirectory
    from emodir_tui.runs.launch import times_opened
    from emodir_tui.user_code import allow_user_code
    from emodir_tui.worker import run_attempt

    # Running is running the profile's code.
    allow_user_code()
    # The worker changes to the folder where the run was first started.
    directory = RunDirectory(directory.path.resolve())
    before = times_opened(directory)
    try:
        with _stdout_on_stderr():
            code = run_attempt(directory, checkpoint, log=True)
    except EmodirError as error:
        if times_opened(directory) == before:
            raise
        fail(error)
    if code == ExitCode.OK:
        print_result(look_at(directory)[0])
    elif code == ExitCode.STOPPED:
        note(how_to_resume(directory))
    raise typer.Exit(code)


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Redirect stdout to stderr: output of user code is not a result."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
