"""Commands that control a live run."""

from typing import TYPE_CHECKING, Annotated

import typer

from emodir_tui.cli.app import EPILOG, NoWait, RunArgument, RunsDir, app, find_run
from emodir_tui.reports.lines import answer
from emodir_tui.runs.names import Command

if TYPE_CHECKING:
    from emodir_tui.runs.directory import RunDirectory


@app.command(epilog=EPILOG)
def stop(
    run_name: RunArgument,
    now: Annotated[bool, typer.Option("--now", help="Stop at once, without saving.")] = False,
    no_wait: NoWait = False,
    runs_dir: RunsDir = None,
) -> None:
    """Save and stop a run after its current evaluation."""
    _control(find_run(run_name, runs_dir), Command.STOP_NOW if now else Command.STOP, wait=not no_wait)


@app.command(epilog=EPILOG)
def pause(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Save and pause a run; its memory is kept."""
    _control(find_run(run_name, runs_dir), Command.PAUSE, wait=not no_wait)


@app.command(name="continue", epilog=EPILOG)
def continue_(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Continue a paused run."""
    _control(find_run(run_name, runs_dir), Command.CONTINUE, wait=not no_wait)


@app.command(epilog=EPILOG)
def save(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Save a checkpoint of a run now."""
    _control(find_run(run_name, runs_dir), Command.SAVE, wait=not no_wait)


def _control(directory: "RunDirectory", command: Command, *, wait: bool) -> None:
    from emodir_tui.reports.control import ask

    answer(ask(directory, command, wait=wait))
