"""The command line: commands, options and exit codes. Commands import what is slow to load themselves."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from emodir_tui.errors import EmodirError, ExitCode, NotFoundError, ProfileError, nearest
from emodir_tui.runs.names import Command

if TYPE_CHECKING:
    from emodir_tui.runs.directory import RunDirectory

EPILOG = (
    "Exit codes: 0 ok · 1 run failed · 2 usage or profile · 3 not found or ambiguous · 4 conflict (already running) · "
    "5 worker lost or did not start · 6 left while running · 75 stopped, resumable · 130 interrupted. "
    "Runs live in ./runs, --runs-dir or EMODIR_RUNS."
)
# Newer releases of Typer contain a copy of click, and export only this subclass of its error.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class _Commands(TyperGroup):
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            raise ProfileError(
                f"unknown command '{cmd_name}'",
                nearest(cmd_name, self.list_commands(ctx)) or "'emodir --help' lists all commands.",
            )
        return command


app = typer.Typer(
    name="emodir",
    cls=_Commands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix of it, or @latest.")]
RunsDir = Annotated[Path | None, typer.Option("--runs-dir", help="Folder of the runs.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the worker's answer.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a key, such as search.population=40."),
]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Print the run's id and return when the worker is ready.")]
NoTui = Annotated[bool, typer.Option("--no-tui", help="Show a progress bar or plain lines instead of the dashboard.")]
Foreground = Annotated[bool, typer.Option("--foreground", help="Run the worker in this process (Slurm, systemd).")]
Shared = Annotated[bool, typer.Option("--shared", help="Let other users watch this run, but not control it.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"emodir {version('emodir')}\n")
        raise typer.Exit


@app.callback(epilog=EPILOG, invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Prune convolutional networks by evolutionary multi-objective search."""
    if context.invoked_subcommand is None:
        _note(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


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
    from emodir_tui.runs.launch import discard, prepare, start

    _check_exclusive(detach=detach, foreground=foreground)
    settings = _profile(profile, sets or [])
    new = not runs_directory(runs_dir).exists()
    directory = prepare(settings, runs_directory(runs_dir), name or settings.name, shared=shared)
    _note(f"run {directory.id}")
    try:
        if foreground:
            _in_foreground(directory)
        start(directory)
    except ProfileError:
        # Nothing was computed, so the run is not worth keeping.
        discard(directory, with_folder=new)
        raise
    _after_start(directory, detach=detach, no_tui=no_tui)


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
    """Continue an interrupted run exactly where it stopped."""
    from emodir_tui.reports.resumption import resumption
    from emodir_tui.runs.launch import check_resumable, start

    _check_exclusive(detach=detach, foreground=foreground)
    directory = _find(run_name, runs_dir)
    check_resumable(directory, checkpoint)
    _note(resumption(directory, checkpoint))
    if foreground:
        _in_foreground(directory, checkpoint)
    start(directory, checkpoint)
    _after_start(directory, detach=detach, no_tui=no_tui)


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

    directory = _find(run_name, runs_dir) if run_name else None
    if no_tui or not _on_terminal():
        _follow(directory or _find("@latest", runs_dir), owns=False)
    _dashboard(
        directory,
        runs_directory(runs_dir),
        replay=replay,
        speed=speed,
        read_only=read_only,
        ascii_only=ascii_only,
        refresh=refresh,
    )


@app.command(epilog=EPILOG)
def stop(
    run_name: RunArgument,
    now: Annotated[bool, typer.Option("--now", help="Stop at once, without saving.")] = False,
    no_wait: NoWait = False,
    runs_dir: RunsDir = None,
) -> None:
    """Save and stop a run after its current evaluation."""
    _control(_find(run_name, runs_dir), Command.STOP_NOW if now else Command.STOP, wait=not no_wait)


@app.command(epilog=EPILOG)
def pause(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Save and pause a run; its memory is kept."""
    _control(_find(run_name, runs_dir), Command.PAUSE, wait=not no_wait)


@app.command(name="continue", epilog=EPILOG)
def continue_(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Continue a paused run."""
    _control(_find(run_name, runs_dir), Command.CONTINUE, wait=not no_wait)


@app.command(epilog=EPILOG)
def save(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Save a checkpoint of a run now."""
    _control(_find(run_name, runs_dir), Command.SAVE, wait=not no_wait)


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
    from emodir_tui.runs.launch import check_resumable, start
    from emodir_tui.runs.picks import extra_pick_recorded

    _check_exclusive(detach=detach, foreground=foreground)
    directory = _find(run_name, runs_dir)
    state, status = look_at(directory)
    number = find_scheme(directory, state, scheme, kept)
    if answer := ask_for_scheme(directory, state, status, number):
        sys.stdout.write(answer + "\n")
        return
    _note(f"realising scheme {number} of {directory.id}")
    with extra_pick_recorded(directory, number):
        check_resumable(directory)
        if foreground:
            _in_foreground(directory)
        start(directory)
    _after_start(directory, detach=detach, no_tui=no_tui)


@app.command(epilog=EPILOG)
def runs(as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """List all runs, newest first."""
    from emodir_tui.reports.listing import print_runs, run_row
    from emodir_tui.reports.tables import print_json
    from emodir_tui.runs.directory import list_runs, runs_directory

    rows = [run_row(directory) for directory in list_runs(runs_directory(runs_dir))]
    if as_json:
        print_json({"runs": rows})
    elif rows:
        print_runs(rows)
    else:
        _note(f"there are no runs in {runs_directory(runs_dir)}; start one: emodir run digits")


@app.command(epilog=EPILOG)
def show(run_name: RunArgument = "@latest", as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Show a run: state, sub-networks, picks, checkpoints."""
    from emodir_tui.reports.show import print_run, run_view
    from emodir_tui.reports.tables import print_json
    from emodir_tui.reports.views import look_at

    directory = _find(run_name, runs_dir)
    state, status = look_at(directory)
    view = run_view(directory, state, status)
    print_json(view) if as_json else print_run(state, view)


@app.command(epilog=EPILOG)
def ranking(
    run_name: RunArgument = "@latest",
    top: Annotated[int, typer.Option("--top", min=0, help="Number of rows; 0: all.")] = 0,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Show the impairment ranking (GPIR) of a run."""
    from emodir_tui.reports.ranking import print_ranking, ranking_view
    from emodir_tui.reports.tables import print_json

    view = ranking_view(_find(run_name, runs_dir), top)
    print_json(view) if as_json else print_ranking(view)


@app.command(epilog=EPILOG)
def logs(
    run_name: RunArgument = "@latest",
    count: Annotated[int, typer.Option("-n", "--lines", min=1, help="Number of lines.")] = 50,
    worker: Annotated[bool, typer.Option("--worker", help="Print the worker's output instead.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Print the last lines of a run's log."""
    from emodir_tui.reports.logs import print_logs

    print_logs(_find(run_name, runs_dir), count, worker=worker)


@app.command(epilog=EPILOG)
def events(
    run_name: RunArgument = "@latest",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for new events until the run ends.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Print a run's events, one JSON object a line."""
    from emodir_tui.reports.events import print_events

    print_events(_find(run_name, runs_dir), follow=follow)


@app.command(epilog=EPILOG)
def export(
    run_name: RunArgument = "@latest",
    pick: Annotated[
        str,
        typer.Option("--pick", help="A pick's name or rule; or macs=SHARE, the most accurate pick within that share."),
    ] = "knee",
    kind: Annotated[str, typer.Option("--format", help="state, torch-export or onnx.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Target file or folder; default: next to the pruned file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Write a pruned network in a standard format.

    The exported network is compared with the original file before it is written.
    """
    from emodir_tui.formatting import number
    from emodir_tui.reports.export import export_pick

    _see_user_modules()
    path, difference = export_pick(_find(run_name, runs_dir), pick, kind, output, force=force)
    _note(f"largest difference to the network's outputs: {number(difference)}")
    sys.stdout.write(f"{path}\n")


@app.command(epilog=EPILOG)
def verify(
    file: Annotated[Path, typer.Argument(help="A pruned network's file.")],
    profile: Annotated[
        str | None, typer.Option("--profile", help="Profile with the test images; default: the run's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Re-measure a pruned file, compare with its metadata."""
    from emodir_tui.reports.tables import print_json
    from emodir_tui.reports.verify import print_verification
    from emodir_tui.reports.verify import verify as verify_file

    _see_user_modules()
    view = verify_file(file, _profile_file(profile) if profile else None)
    print_json(view) if as_json else print_verification(view)
    if view["agrees"] is False:
        raise typer.Exit(ExitCode.RUN_FAILED)


@app.command(epilog=EPILOG)
def check(
    profile: Annotated[str, typer.Argument(help="A profile's file, or the name of a shipped profile.")],
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Dry-run a profile.

    Shows the division, protected layers, reach, time and memory.
    """
    settings = _profile(profile, sets or [])
    from emodir_tui.problems.reach import require_some_rule
    from emodir_tui.reports.check import check_profile, print_check
    from emodir_tui.reports.tables import print_json

    _see_user_modules()
    view = check_profile(settings)
    print_json(view) if as_json else print_check(view)
    require_some_rule(settings, view["rules_beyond_reach"])


@app.command(epilog=EPILOG)
def compare(
    run_names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, unique prefixes of them, or @latest.")],
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Compare runs, one line for each pick."""
    from emodir_tui.reports.compare import comparison, print_comparison
    from emodir_tui.reports.tables import print_json

    rows = comparison([_find(name, runs_dir) for name in run_names])
    print_json({"rows": rows}) if as_json else print_comparison(rows)


@app.command(epilog=EPILOG)
def doctor(as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Check this machine: torch, GPUs, disk, terminal."""
    from dataclasses import asdict

    from emodir_tui.reports.doctor import examine, print_findings
    from emodir_tui.reports.tables import print_json
    from emodir_tui.runs.directory import runs_directory

    findings = examine(runs_directory(runs_dir))
    print_json({"findings": [asdict(item) for item in findings]}) if as_json else print_findings(findings)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(ExitCode.RUN_FAILED)


@app.command(epilog=EPILOG)
def tensorboard(
    run_names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN...]", help="Runs to show; default: all.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the server.")] = 6006,
    runs_dir: RunsDir = None,
) -> None:
    """Start TensorBoard on the runs' logs."""
    from emodir_tui.runs.directory import list_runs, runs_directory

    directories = [_find(name, runs_dir) for name in run_names or []] or list_runs(runs_directory(runs_dir))
    if not directories:
        raise NotFoundError(f"there are no runs in {runs_directory(runs_dir)}", "Start one: emodir run digits")
    logs = ",".join(f"{directory.id}:{directory.tensorboard_folder}" for directory in directories)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir_spec", logs, "--port", str(port)]
    os.execv(command[0], command)  # noqa: S606


def main() -> None:
    """Entry point of the command `emodir`: run it and exit with its code."""
    try:
        result = app(standalone_mode=False)
    except EmodirError as error:
        _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _exit_without_reader()
    except SystemExit as leaving:
        # Typer turns a broken pipe into a SystemExit.
        if isinstance(leaving.__context__, BrokenPipeError):
            _exit_without_reader()
        raise
    except UsageError as error:
        message = error.format_message().strip()  # type: ignore[attr-defined]
        message = message[:1].lower() + message[1:].rstrip(".")
        _fail(ProfileError(message, "See 'emodir --help' and 'emodir COMMAND --help'."))
    sys.exit(result if isinstance(result, int) else ExitCode.OK)


def _exit_without_reader() -> NoReturn:
    """Exit quietly when the reader of stdout, such as `head`, has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(ExitCode.OK)


def _fail(error: EmodirError) -> NoReturn:
    from emodir_tui.formatting import printable

    hint = "\n".join(printable(line) for line in error.hint.splitlines())
    sys.stderr.write(f"error: {printable(error.message)}\n" + (f"  hint: {hint}\n" if hint else ""))
    sys.exit(error.exit_code)


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _see_user_modules() -> None:
    """Make the user's modules importable from the current folder, after all libraries, as in the worker."""
    with suppress(OSError):
        sys.path.append(str(Path.cwd()))


def _on_terminal() -> bool:
    # Textual draws on stderr and reads from stdin.
    return sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _profile(name: str, sets: list[str]) -> Any:
    from emodir_tui.profile import load

    return load(_profile_file(name), sets)


def _profile_file(name: str) -> Path:
    """The file at this path, or the shipped profile of this name."""
    path = Path(name)
    # Path.is_file raises if a name is too long for a file.
    if not os.path.isfile(path):  # noqa: PTH113
        shipped = {file.stem: file for folder in _profile_folders() for file in sorted(folder.glob("*.toml"))}
        if name.removesuffix(".toml") not in shipped or os.sep in name:
            hint = nearest(path.stem, shipped) or "Shipped profiles: " + ", ".join(sorted(shipped)) + "."
            raise NotFoundError(f"unknown profile '{name}'", hint)
        path = shipped[name.removesuffix(".toml")]
    return path


def _profile_folders() -> list[Path]:
    package = Path(__file__).parent
    # Profiles are inside the installed package, but next to the package in a checkout.
    return [folder for folder in (package / "_profiles", package.parent / "profiles") if folder.is_dir()]


def _find(name: str, runs_dir: Path | None) -> "RunDirectory":
    from emodir_tui.runs.directory import find, runs_directory

    return find(runs_directory(runs_dir), name)


def _check_exclusive(*, detach: bool, foreground: bool) -> None:
    if detach and foreground:
        raise ProfileError(
            "--detach and --foreground exclude each other", "--detach returns at once, --foreground after the run."
        )


def _after_start(directory: "RunDirectory", *, detach: bool, no_tui: bool) -> None:
    if detach:
        sys.stdout.write(directory.id + "\n")
        return
    if no_tui or not _on_terminal():
        _follow(directory, owns=True)
    _dashboard(directory, directory.path.parent, from_run=True)


def _follow(directory: "RunDirectory", *, owns: bool) -> NoReturn:
    from emodir_tui.reports.follow import follow
    from emodir_tui.reports.show import print_result

    result, state = follow(directory, owns=owns)
    if result == ExitCode.OK:
        print_result(state)
    raise typer.Exit(result)


def _dashboard(
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


def _in_foreground(directory: "RunDirectory", checkpoint: str | None = None) -> NoReturn:
    """Run the worker in this process: log lines on stderr, the result on stdout, the run's exit code.

    Raises:
        EmodirError: The worker could not start.
    """
    from emodir_tui.reports.follow import how_to_resume
    from emodir_tui.reports.show import print_result
    from emodir_tui.reports.views import look_at
    from emodir_tui.runs.directory import RunDirectory
    from emodir_tui.runs.launch import times_opened
    from emodir_tui.worker import run_attempt

    # The worker changes to the folder where the run was first started.
    directory = RunDirectory(directory.path.resolve())
    before = times_opened(directory)
    try:
        with _stdout_on_stderr():
            code = run_attempt(directory, checkpoint, log=True)
    except EmodirError as error:
        if times_opened(directory) == before:
            raise
        _fail(error)
    if code == ExitCode.OK:
        print_result(look_at(directory)[0])
    elif code == ExitCode.STOPPED:
        _note(how_to_resume(directory))
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


def _control(directory: "RunDirectory", command: Command, *, wait: bool) -> None:
    from emodir_tui.reports.control import ask

    sys.stdout.write(ask(directory, command, wait=wait) + "\n")
