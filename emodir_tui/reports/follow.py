"""Follow a run without the dashboard: a progress bar on a terminal, plain lines elsewhere, always on stderr."""

import signal
import sys
import time
from types import FrameType

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from emodir_tui.errors import EmodirError, ExitCode
from emodir_tui.formatting import clock, duration, number, percent, printable
from emodir_tui.reports.lines import note
from emodir_tui.runs.control import send
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.eta import eta_seconds
from emodir_tui.runs.event_types import Event
from emodir_tui.runs.names import Command, StageName, StatusWord
from emodir_tui.runs.narration import EventFormatter
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.runs.watcher import Watcher

POLL_SECONDS = 0.25
LINE_SECONDS = 60.0
LINE_SHARE = 0.1


def follow(directory: RunDirectory, *, owns: bool) -> tuple[ExitCode, RunState]:
    """Follow a run until it ends or the user leaves; return the exit code and the run's last state.

    On a terminal Ctrl+C leaves and the run continues. Elsewhere, as in a job script, INT and TERM stop the run if this
    command started it.

    Args:
        directory: The run.
        owns: Whether this command started the worker.
    """
    watcher = Watcher(directory)
    if sys.stderr.isatty():
        return _on_terminal(watcher), watcher.state
    return _in_lines(watcher, owns=owns), watcher.state


class _LeavingError(Exception):
    """A signal ends this command, but not the run."""


def how_to_return(directory: RunDirectory) -> str:
    """The line that is printed on leaving."""
    return f"{directory.id} is still running · emodir watch {directory.id} · emodir stop {directory.id}"


def how_to_resume(directory: RunDirectory) -> str:
    """The line that is printed when a run was stopped."""
    return f"stopped and saved · emodir resume {directory.id}"


def result_of(status: Status) -> ExitCode | None:
    """The exit code of a run that has ended, else None."""
    words = {
        StatusWord.FINISHED: ExitCode.OK,
        StatusWord.STOPPED: ExitCode.STOPPED,
        StatusWord.FAILED: ExitCode.RUN_FAILED,
        StatusWord.LOST: ExitCode.WORKER_LOST,
    }
    return words.get(status.word)


def _on_terminal(watcher: Watcher) -> ExitCode:
    console, formatter = Console(stderr=True), EventFormatter()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        auto_refresh=False,
        expand=True,
    )
    task = progress.add_task(StatusWord.STARTING, total=1.0)

    def print_line(event: Event) -> None:
        if line := formatter.line(event):
            console.print(Text(line))

    try:
        with Live(progress, console=console, auto_refresh=False, transient=True) as live:
            while True:
                status = watcher.look(print_line)
                progress.update(task, completed=watcher.state.progress, description=_headline(watcher.state, status))
                live.refresh()
                if (result := result_of(status)) is not None:
                    break
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        console.print(Text(printable(how_to_return(watcher.directory))))
        return ExitCode.STILL_RUNNING
    _print_end(watcher, status)
    return result


def _in_lines(watcher: Watcher, *, owns: bool) -> ExitCode:
    asked: list[str] = []

    def stop(number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not owns:
            raise _LeavingError
        if not asked:
            try:
                asked.append(send(watcher.directory, Command.STOP))
            except EmodirError as error:
                note(f"{name}: cannot stop the run ({printable(error.message)})")
                raise _LeavingError from error
        note(f"{name}: stopping the run; it can be resumed")

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _lines_until_end(watcher)
    except _LeavingError:
        note(how_to_return(watcher.directory))
        return ExitCode.STILL_RUNNING
    finally:
        for which, handler in old.items():
            signal.signal(which, handler)


def _lines_until_end(watcher: Watcher) -> ExitCode:
    printed, printed_at, formatter = 0.0, time.monotonic(), EventFormatter()

    def print_line(event: Event) -> None:
        if line := formatter.line(event):
            note(line)

    while True:
        before = watcher.state.events
        status = watcher.look(print_line)
        share, now = watcher.state.progress, time.monotonic()
        if watcher.state.events > before and (share - printed >= LINE_SHARE or now - printed_at >= LINE_SECONDS):
            printed, printed_at = share, now
            note(f"{percent(share, 0):>5}  {_headline(watcher.state, status)}")
        if (result := result_of(status)) is not None:
            _print_end(watcher, status)
            return result
        time.sleep(POLL_SECONDS)


def _headline(state: RunState, status: Status) -> str:
    now = time.time()
    stage = state.stage
    if stage is None:
        return status.word if status.word != StatusWord.RUNNING else "loading"
    words = [status.word if status.word != StatusWord.RUNNING else "", stage.name]
    if stage.steps:
        # Steps count the whole stage; the note names its current part.
        words += [f"{stage.unit} {stage.step}/{stage.steps}", *filter(None, [stage.note])]
    hypervolume = _hypervolume(state)
    if hypervolume is not None:
        words.append(f"hypervolume {number(hypervolume)}")
    eta = eta_seconds(state, status.word, now)
    words.append(f"elapsed {duration(state.elapsed_seconds(now))}")
    if eta is not None:
        words.append(f"ETA {duration(eta)} ({clock(now + eta, seconds=False)})")
    return printable(" · ".join(word for word in words if word))


def _hypervolume(state: RunState) -> float | None:
    stage = state.stage
    if stage is None or stage.name not in (StageName.SEARCH, StageName.CONSTRAIN, StageName.JOINT):
        return None
    if stage.name == StageName.JOINT:
        return state.joint.hypervolume
    running = [item for item in state.subnetworks.values() if item.hypervolume is not None]
    return running[-1].hypervolume if running else None


def _print_end(watcher: Watcher, status: Status) -> None:
    directory, state = watcher.directory, watcher.state
    if status.word == StatusWord.FAILED:
        note(f"error: {printable(state.error)}")
        note(
            f"  hint: {printable(state.hint)}"
            if state.hint
            else f"  hint: see {directory.worker_log} for the traceback"
        )
    elif status.word == StatusWord.LOST:
        note(f"error: the worker is lost: {printable(status.reason)}")
        note(f"  hint: emodir resume {directory.id} · emodir logs {directory.id}")
    elif status.word == StatusWord.STOPPED:
        note(how_to_resume(directory))
