"""Commands that start runs or follow them."""

from typing import TYPE_CHECKING, Annotated

import typer

from emodir_tui.cli.app import (
    EPILOG,
    Detach,
    Foreground,
    NoTui,
    RunArgument,
    RunsDir,
    Sets,
    Shared,
    app,
    find_run,
    load_profile,
    on_terminal,
)
from emodir_tui.cli.following import after_start, check_exclusive, follow_run, open_dashboard, start_worker
from emodir_tui.errors import ProfileError
from emodir_tui.reports.lines import answer, note

if TYPE_CHECKING:
    from emodir_tui.runs.directory import RunDirectory


@app.command(epilog=EPILOG)
def run(
    profile: Annotated[str, typer.Argument(help="A profile's file, or the name of a shipped profile.")],
    sets: Sets = None,
    name: Annotated[str, typer.Option("--name", help="Name of the run; default: the profile's.")] = "",
    detach: Detach = False,
    no_tui: NoTui = False,
    foreground: Foreground = False,
    shared: Shared = False,
    runs_dir: RunsDir = None,
) -> None:
    """Start a pruning run and follow it."""
    from emodir_tui.runs.directory import runs_directory
    from emodir_tui.runs.launch import discard, prepare

    check_exclusive(detach=detach, foreground=foreground)
    settings = load_profile(profile, sets or [])
    new = not runs_directory(runs_dir).exists()
    directory = prepare(settings, runs_directory(runs_dir), name or settings.name, shared=shared)
    note(f"run {directory.id}")
    try:
        start_worker(directory, foreground=foreground)
    except ProfileError:
        # Nothing was computed, so the run is not worth keeping.
        discard(directory, with_folder=new)
        raise
    after_start(directory, detach=detach, no_tui=no_tui)


@app.command(epilog=EPILOG)
def resume(
    run_name: RunArgument = "@latest",
    checkpoint: Annotated[
        str | None,
        typer.Option("--from", metavar="CHECKPOINT", help="Go back to this checkpoint; later results are moved aside."),
    ] = None,
    detach: Detach = False,
    no_tui: NoTui = False,
    foreground: Foreground = False,
    runs_dir: RunsDir = None,
) -> None:
    """Continue an interrupted run exactly where it stopped.

    It runs the code that the run's profile names, so resume only runs that you trust.
    """
    from emodir_tui.reports.resumption import resumption
    from emodir_tui.runs.launch import check_resumable

    check_exclusive(detach=detach, foreground=foreground)
    directory = find_run(run_name, runs_dir)
    check_resumable(directory, checkpoint)
    note(resumption(directory, checkpoint))
    _note_code(directory)
    start_worker(directory, checkpoint, foreground=foreground)
    after_start(directory, detach=detach, no_tui=no_tui)


@app.command(epilog=EPILOG)
def realise(
    run_name: RunArgument,
    kept: Annotated[
        float | None,
        typer.Option(
            "--kept", min=0.0, max=1.0, help="The best scheme that keeps at most this share of the complexity."
        ),
    ] = None,
    scheme: Annotated[
        int | None, typer.Option("--scheme", help="The scheme with this number in the joint front.")
    ] = None,
    detach: Detach = False,
    no_tui: NoTui = False,
    foreground: Foreground = False,
    runs_dir: RunsDir = None,
) -> None:
    """Build one more pruned network from the joint front.

    A finished run is restarted if needed.
    """
    from emodir_tui.reports.control import ask_for_scheme, find_scheme
    from emodir_tui.reports.views import look_at
    from emodir_tui.runs.launch import check_resumable
    from emodir_tui.runs.picks import extra_pick_recorded

    check_exclusive(detach=detach, foreground=foreground)
    directory = find_run(run_name, runs_dir)
    state, status = look_at(directory)
    number = find_scheme(directory, state, scheme, kept)
    if outcome := ask_for_scheme(directory, state, status, number):
        answer(outcome)
        return
    note(f"realising scheme {number} of {directory.id}")
    _note_code(directory)
    with extra_pick_recorded(directory, number):
        check_resumable(directory)
        start_worker(directory, foreground=foreground)
    after_start(directory, detach=detach, no_tui=no_tui)


@app.command(epilog=EPILOG)
def watch(
    run_name: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="A run's id, a unique prefix of it, or @latest; default: choose from a list."
        ),
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Replay the run's events.")] = False,
    speed: Annotated[
        float, typer.Option("--speed", min=0.1, max=100000, help="Speed of the replay, relative to the run.")
    ] = 20.0,
    read_only: Annotated[bool, typer.Option("--read-only", help="Disable controls.")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")] = False,
    refresh: Annotated[float, typer.Option("--refresh", min=0.5, max=10, help="Seconds between screen updates.")] = 1.0,
    no_tui: NoTui = False,
    runs_dir: RunsDir = None,
) -> None:
    """Open a run in the dashboard.

    Any run can be watched, running or not. Leaving the dashboard never stops the run.
    """
    from emodir_tui.runs.directory import runs_directory

    directory = find_run(run_name, runs_dir) if run_name else None
    if no_tui or not on_terminal():
        follow_run(directory or find_run("@latest", runs_dir), owns=False)
    open_dashboard(
        directory,
        runs_directory(runs_dir),
        replay=replay,
        speed=speed,
        read_only=read_only,
        ascii_only=ascii_only,
        refresh=refresh,
    )


def _note_code(directory: "RunDirectory") -> None:
    """Say which user code a worker of this run will run."""
    from emodir_tui.reports.resumption import code_to_run

    if code := code_to_run(directory):
        note(code)
