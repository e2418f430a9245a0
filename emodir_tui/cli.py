"""The command line. The only place where an error becomes an exit code; everything heavy is loaded inside commands."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from emodir_tui.errors import EmodirError, ExitCode, NotFoundError, ProfileError, nearest

if TYPE_CHECKING:
    from emodir_tui.runs.directory import RunDirectory

EPILOG = (
    "Exit codes: 0 ok · 1 run failed · 2 usage or profile · 3 not found or ambiguous · 4 conflict (already running) · "
    "5 worker lost or did not start · 6 left while running · 75 stopped, resumable · 130 interrupted. "
    "Runs live in ./runs, --runs-dir or EMODIR_RUNS."
)
app = typer.Typer(
    name="emodir",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix of one, or @latest.")]
RunsDir = Annotated[Path | None, typer.Option("--runs-dir", help="Where runs live.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the worker's answer.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a key, such as search.population=40."),
]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return as soon as the worker is ready.")]
NoTui = Annotated[bool, typer.Option("--no-tui", help="Follow with a progress bar or plain lines.")]
Foreground = Annotated[bool, typer.Option("--foreground", help="Run the worker in this process.")]
Shared = Annotated[bool, typer.Option("--shared", help="Let other users watch this run (not control it).")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"emodir {version('emodir')}\n")
        raise typer.Exit


@app.callback(epilog=EPILOG)
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Prune convolutional networks by evolutionary multi-objective search."""


@app.command(epilog=EPILOG)
def run(
    profile: Annotated[str, typer.Argument(help="A profile's file, or the name of a shipped one.")],
    sets: Sets = None,
    name: Annotated[str, typer.Option("--name", help="Name of the run; the profile's if not given.")] = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the run's id and return at once.")] = False,
    no_tui: NoTui = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Run the worker in this process (Slurm, systemd).")
    ] = False,
    shared: Shared = False,
    runs_dir: RunsDir = None,
) -> None:
    """Start a pruning run and follow it."""
    from emodir_tui.runs.directory import runs_directory
    from emodir_tui.runs.launch import discard, prepare, start

    _one_way(detach=detach, foreground=foreground)
    settings = _profile(profile, sets or [])
    new = not runs_directory(runs_dir).exists()
    directory = prepare(settings, runs_directory(runs_dir), name or settings.name, shared=shared)
    _note(f"run {directory.id}")
    try:
        if foreground:
            _in_foreground(directory)
        start(directory)
    except ProfileError:
        # Nothing was computed, so nothing is left behind.
        discard(directory, with_folder=new)
        raise
    _after_start(directory, detach=detach, no_tui=no_tui)


@app.command(epilog=EPILOG)
def resume(
    run_name: RunArgument = "@latest",
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="CHECKPOINT", help="Go back to this checkpoint; what came after it is kept aside."
        ),
    ] = None,
    detach: Detach = False,
    no_tui: NoTui = False,
    foreground: Foreground = False,
    runs_dir: RunsDir = None,
) -> None:
    """Continue an interrupted run exactly where it stopped."""
    from emodir_tui.reports.resumption import what_is_lost
    from emodir_tui.runs.launch import check_resumable, start

    _one_way(detach=detach, foreground=foreground)
    directory = _find(run_name, runs_dir)
    check_resumable(directory, checkpoint)
    _note(what_is_lost(directory, checkpoint))
    if foreground:
        _in_foreground(directory, checkpoint)
    start(directory, checkpoint)
    _after_start(directory, detach=detach, no_tui=no_tui)


@app.command(epilog=EPILOG)
def watch(
    run_name: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or @latest; none: choose.")
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Play the run's recording.")] = False,
    speed: Annotated[
        float, typer.Option("--speed", min=0.1, max=100000, help="How many times faster than it was.")
    ] = 20.0,
    read_only: Annotated[bool, typer.Option("--read-only", help="Without controls.")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Without braille and box characters.")] = False,
    refresh: Annotated[
        float, typer.Option("--refresh", min=0.5, max=10, help="Seconds between updates of the screen.")
    ] = 1.0,
    no_tui: NoTui = False,
    runs_dir: RunsDir = None,
) -> None:
    """Attach a dashboard to a run, running or not; leaving it never stops the run."""
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
    now: Annotated[bool, typer.Option("--now", help="At once, without saving what is new.")] = False,
    no_wait: NoWait = False,
    runs_dir: RunsDir = None,
) -> None:
    """Finish the current evaluation, save, and end the run's worker."""
    _control(_find(run_name, runs_dir), "stop-now" if now else "stop", wait=not no_wait)


@app.command(epilog=EPILOG)
def pause(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Save and pause; memory is kept."""
    _control(_find(run_name, runs_dir), "pause", wait=not no_wait)


@app.command(name="continue", epilog=EPILOG)
def continue_(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Go on after a pause."""
    _control(_find(run_name, runs_dir), "continue", wait=not no_wait)


@app.command(epilog=EPILOG)
def save(run_name: RunArgument, no_wait: NoWait = False, runs_dir: RunsDir = None) -> None:
    """Save a checkpoint now."""
    _control(_find(run_name, runs_dir), "save", wait=not no_wait)


@app.command(epilog=EPILOG)
def realise(
    run_name: RunArgument,
    kept: Annotated[
        float | None,
        typer.Option(
            "--kept", min=0.0, max=1.0, help="The best scheme that keeps at most this share of what was searched."
        ),
    ] = None,
    scheme: Annotated[
        int | None, typer.Option("--scheme", help="The scheme of this number in the joint front.")
    ] = None,
    detach: Detach = False,
    no_tui: NoTui = False,
    foreground: Foreground = False,
    runs_dir: RunsDir = None,
) -> None:
    """Make a network of one more scheme; a run that has ended is started again for it."""
    from emodir_tui.reports.control import ask_for_scheme, find_scheme
    from emodir_tui.reports.views import look_at
    from emodir_tui.runs.launch import check_resumable, start
    from emodir_tui.runs.picks import extra_pick_recorded

    _one_way(detach=detach, foreground=foreground)
    directory = _find(run_name, runs_dir)
    state, status = look_at(directory)
    number = find_scheme(directory, state, scheme, kept)
    if told := ask_for_scheme(directory, state, status, number):
        sys.stdout.write(told + "\n")
        return
    _note(f"realises scheme {number} of {directory.id}")
    with extra_pick_recorded(directory, number):
        check_resumable(directory)
        if foreground:
            _in_foreground(directory)
        start(directory)
    _after_start(directory, detach=detach, no_tui=no_tui)


@app.command(epilog=EPILOG)
def runs(as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """List all runs, newest first."""
    from emodir_tui.reports.summary import print_runs
    from emodir_tui.reports.tables import print_json
    from emodir_tui.reports.views import run_row
    from emodir_tui.runs.directory import list_runs, runs_directory

    directories = list_runs(runs_directory(runs_dir))
    if as_json:
        print_json({"runs": [run_row(directory) for directory in directories]})
    elif directories:
        print_runs(directories)
    else:
        _note(f"there are no runs in {runs_directory(runs_dir)}; start one: emodir run digits")


@app.command(epilog=EPILOG)
def show(run_name: RunArgument = "@latest", as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Show a run: state, sub-networks, joint front, picks, checkpoints."""
    from emodir_tui.reports.summary import print_run
    from emodir_tui.reports.tables import print_json
    from emodir_tui.reports.views import look_at, run_view

    directory = _find(run_name, runs_dir)
    state, status = look_at(directory)
    view = run_view(directory, state, status)
    print_json(view) if as_json else print_run(state, view)


@app.command(epilog=EPILOG)
def ranking(
    run_name: RunArgument = "@latest",
    top: Annotated[int, typer.Option("--top", min=0, help="Only so many rows; 0 for all.")] = 0,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Show the global performance impairment ranking (GPIR) of a run."""
    from emodir_tui.reports.summary import print_ranking
    from emodir_tui.reports.tables import print_json
    from emodir_tui.reports.views import ranking_view

    directory = _find(run_name, runs_dir)
    if as_json:
        print_json(ranking_view(directory, top))
    else:
        print_ranking(directory, top)


@app.command(epilog=EPILOG)
def logs(
    run_name: RunArgument = "@latest",
    count: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many lines.")] = 50,
    worker: Annotated[
        bool, typer.Option("--worker", help="What the worker printed, instead of the run's log.")
    ] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Print the last lines of a run's log."""
    from emodir_tui.reports.summary import print_logs

    print_logs(_find(run_name, runs_dir), count, worker=worker)


@app.command(epilog=EPILOG)
def events(
    run_name: RunArgument = "@latest",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the run ends.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Print a run's events, a JSON object a line."""
    from emodir_tui.reports.events import print_events

    print_events(_find(run_name, runs_dir), follow=follow)


@app.command(epilog=EPILOG)
def export(
    run_name: RunArgument = "@latest",
    pick: Annotated[
        str, typer.Option("--pick", help="A pick's name or rule, or macs=SHARE: the most accurate within it.")
    ] = "knee",
    kind: Annotated[str, typer.Option("--format", help="state, torch-export or onnx.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; beside the pruned file if not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Write a pruned network as a file that other programs load; it is checked before it is written."""
    from emodir_tui.reports.export import export_pick

    _see_own_modules()
    path, difference = export_pick(_find(run_name, runs_dir), pick, kind, output, force=force)
    _note(f"largest difference to the network {difference:.1e}")
    sys.stdout.write(f"{path}\n")


@app.command(epilog=EPILOG)
def verify(
    file: Annotated[Path, typer.Argument(help="A pruned network's file.")],
    profile: Annotated[
        str | None, typer.Option("--profile", help="Whose test images to use; the run's own if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a pruned file holds, measure it again, and compare."""
    from emodir_tui.reports.export import verify as verify_file
    from emodir_tui.reports.summary import print_verification

    _see_own_modules()
    facts, checks = verify_file(file, _profile_file(profile) if profile else None)
    print_verification(facts, checks, as_json=as_json)
    if any(check.agrees is False for check in checks):
        raise typer.Exit(ExitCode.RUN_FAILED)


@app.command(epilog=EPILOG)
def check(
    profile: Annotated[str, typer.Argument(help="A profile's file, or the name of a shipped one.")],
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Try a profile without a run: the division, what can't be pruned and why, the reach, time and memory."""
    settings = _profile(profile, sets or [])
    from emodir_tui.problems.reach import require_some_rule
    from emodir_tui.reports.check import check_profile
    from emodir_tui.reports.summary import print_check
    from emodir_tui.reports.tables import print_json

    _see_own_modules()
    view = check_profile(settings)
    print_json(view) if as_json else print_check(view)
    require_some_rule(settings, view["rules_beyond_reach"])


@app.command(epilog=EPILOG)
def compare(
    run_names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, unique prefixes, or @latest.")],
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Show runs side by side, a line for each pick."""
    from emodir_tui.reports.compare import comparison
    from emodir_tui.reports.summary import print_comparison
    from emodir_tui.reports.tables import print_json

    rows = comparison([_find(name, runs_dir) for name in run_names])
    print_json({"rows": rows}) if as_json else print_comparison(rows)


@app.command(epilog=EPILOG)
def doctor(as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Look at this machine: torch, GPUs, disk, file system, sessions, terminal."""
    from emodir_tui.reports.doctor import examine
    from emodir_tui.reports.summary import print_findings
    from emodir_tui.runs.directory import runs_directory

    findings = examine(runs_directory(runs_dir))
    print_findings(findings, as_json=as_json)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(ExitCode.RUN_FAILED)


@app.command(epilog=EPILOG)
def tensorboard(
    run_names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN...]", help="Which runs; all if none is named.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen.")] = 6006,
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
    """Entry point of the command `emodir`."""
    try:
        result = app(standalone_mode=False)
    except EmodirError as error:
        _fail(error)
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _leave_without_reader()
    except SystemExit as leaving:
        # What typer makes of the same.
        if isinstance(leaving.__context__, BrokenPipeError):
            _leave_without_reader()
        raise
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            # Its message is the whole help.
            _note(str(error))
            sys.exit(ExitCode.USAGE)
        _fail(_usage_error(error))
    sys.exit(result if isinstance(result, int) else ExitCode.OK)


def _leave_without_reader() -> NoReturn:
    """Who read went away (head, say); nothing is left to tell, and nobody to tell it to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(ExitCode.OK)


def _usage_error(error: Any) -> ProfileError:
    """What the command-line parser found, in one sentence with the nearest right name."""
    message, hint = str(error.format_message()).strip(), ""
    word = getattr(error, "option_name", None) or ""
    if message.startswith("No such command"):
        word = message.split("'")[1] if "'" in message else ""
        hint = nearest(
            word, [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
        )
        message = f"there is no command '{word}'"
    return ProfileError(
        message[:1].lower() + message[1:].rstrip("."), hint or "'emodir --help' and 'emodir COMMAND --help' tell more."
    )


def _fail(error: EmodirError) -> NoReturn:
    from emodir_tui.formatting import printable

    hint = "\n".join(printable(line) for line in error.hint.splitlines())
    sys.stderr.write(f"error: {printable(error.message)}\n" + (f"  hint: {hint}\n" if hint else ""))
    sys.exit(error.exit_code)


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _see_own_modules() -> None:
    """Modules of the user's own are found where emodir is started, behind all libraries, as the worker finds them."""
    with suppress(OSError):
        sys.path.append(str(Path.cwd()))


def _on_terminal() -> bool:
    # Textual draws on stderr and reads from stdin.
    return sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _profile(name: str, sets: list[str]) -> Any:
    from emodir_tui.profile import load

    return load(_profile_file(name), sets)


def _profile_file(name: str) -> Path:
    """A profile's file, of this path or of this name among the shipped ones."""
    path = Path(name)
    # Path.is_file raises where a name is too long for a file.
    if not os.path.isfile(path):  # noqa: PTH113
        shipped = {file.stem: file for folder in _profile_folders() for file in sorted(folder.glob("*.toml"))}
        if name.removesuffix(".toml") not in shipped or os.sep in name:
            hint = nearest(path.stem, shipped) or "Shipped profiles: " + ", ".join(sorted(shipped)) + "."
            raise NotFoundError(f"there is no profile '{name}'", hint)
        path = shipped[name.removesuffix(".toml")]
    return path


def _profile_folders() -> list[Path]:
    package = Path(__file__).parent
    # Installed, the profiles lie in the package; in a checkout beside it.
    return [folder for folder in (package / "_profiles", package.parent / "profiles") if folder.is_dir()]


def _find(name: str, runs_dir: Path | None) -> "RunDirectory":
    from emodir_tui.runs.directory import find, runs_directory

    return find(runs_directory(runs_dir), name)


def _one_way(*, detach: bool, foreground: bool) -> None:
    if detach and foreground:
        raise ProfileError(
            "--detach returns at once and --foreground when the run has ended", "Give one of them, or neither."
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
    from emodir_tui.reports.summary import print_result

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
    from emodir_tui.reports.leaving import say_goodbye
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
    raise typer.Exit(say_goodbye(last, from_run=from_run))


def _in_foreground(directory: "RunDirectory", checkpoint: str | None = None) -> NoReturn:
    """The worker in this process; its lines go to stderr, the result to stdout, and its exit code is the run's.

    Raises:
        EmodirError: It could not begin.
    """
    from emodir_tui.reports.follow import how_to_resume
    from emodir_tui.reports.summary import print_result
    from emodir_tui.reports.views import look_at
    from emodir_tui.runs.directory import RunDirectory
    from emodir_tui.runs.launch import times_opened
    from emodir_tui.worker import run_attempt

    # The worker changes to the folder where the run was started first.
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
    """What a user's own code prints is no result."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _control(directory: "RunDirectory", command: str, *, wait: bool) -> None:
    from emodir_tui.reports.control import ask

    sys.stdout.write(ask(directory, command, wait=wait) + "\n")
