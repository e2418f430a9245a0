"""The control commands: send a request to a worker and wait for its answer, for a limited time."""

import time

from emodir_tui.errors import ConflictError, NotFoundError, ProfileError, StillRunningError, WorkerLostError
from emodir_tui.formatting import duration, percent
from emodir_tui.reports.lines import note
from emodir_tui.reports.views import look_at
from emodir_tui.runs.control import send
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.names import AnswerState, Command, StatusWord
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.runs.watcher import Watcher

POLL_SECONDS = 0.1
GONE_SECONDS = 2.0
# A worker answers within a second, and obeys after its current evaluation.
WORD_SECONDS = 5.0
# Longer than a machine is suspended by accident; after it, whoever waits has to decide.
SILENT_SECONDS = 30.0
LIMIT_SECONDS = 600.0


def ask(directory: RunDirectory, command: Command, *, wait: bool, **arguments: int) -> str:
    """Send a request and return the worker's answer as a sentence.

    Raises:
        ConflictError: The run cannot do this now, or belongs to another user.
        WorkerLostError: There is no worker, it disappeared before it answered, or it gives no sign of life.
        StillRunningError: It is alive, but has not obeyed for `LIMIT_SECONDS`; the request stays.
    """
    watcher = Watcher(directory)
    status = watcher.look()
    if status.word in (StatusWord.FINISHED, StatusWord.STOPPED, StatusWord.FAILED):
        raise ConflictError(
            f"cannot {command} {directory.id}: the run is {status.word} and has no worker",
            f"emodir show {directory.id}",
        )
    if status.word == StatusWord.LOST:
        raise WorkerLostError(f"the worker of {directory.id} is lost: {status.reason}", f"emodir resume {directory.id}")
    request = send(directory, command, **arguments)
    if not wait:
        return f"{command} requested"
    gone_since: float | None = None
    asked, reported = time.monotonic(), False
    while True:
        status = watcher.look()
        waited = time.monotonic() - asked
        answer = watcher.state.controls.get(request)
        if answer is not None and answer.state == AnswerState.DONE:
            return f"{command} done" + (f": {answer.message}" if answer.message else "")
        if answer is not None and answer.state == AnswerState.REFUSED:
            raise ConflictError(f"{command} refused: {answer.message}")
        gone_since = None if status.is_live else gone_since or time.monotonic()
        # The last events may arrive a moment after the last heartbeat.
        if gone_since is not None and time.monotonic() - gone_since > GONE_SECONDS:
            raise WorkerLostError(
                f"the worker of {directory.id} disappeared before it answered", f"emodir show {directory.id}"
            )
        if waited >= WORD_SECONDS and not reported:
            reported = True
            known = status.reason or ("accepted; it is obeyed after the current evaluation" if answer else status.word)
            note(f"waiting for the worker of {directory.id}: {known}; Ctrl+C ends the waiting")
        silent = status.word == StatusWord.UNSURE and (status.seconds_since_heartbeat or 0.0) >= SILENT_SECONDS
        if silent and waited >= WORD_SECONDS:
            raise WorkerLostError(
                f"the worker of {directory.id} gives no sign of life: {status.reason}",
                f"If it is only stopped or overloaded, it will obey the request to {command}: emodir watch {directory.id}",
            )
        if waited >= LIMIT_SECONDS:
            raise StillRunningError(
                f"the worker of {directory.id} has not obeyed for {duration(waited)}; the request to {command} stays",
                f"emodir watch {directory.id}",
            )
        time.sleep(POLL_SECONDS)


def find_scheme(directory: RunDirectory, state: RunState, number: int | None, kept: float | None) -> int:
    """Find a scheme of the joint front by number, or the least impaired one that keeps at most this share.

    Args:
        directory: The run.
        state: The run's state.
        number: Number of the scheme, or None.
        kept: Share of the searched complexity, 0 to 1, instead of the number.

    Raises:
        ProfileError: Both or none of `number` and `kept` are given.
        ConflictError: The run has no joint front yet.
        NotFoundError: The front has no such scheme.
    """
    if (number is None) == (kept is None):
        raise ProfileError(
            "exactly one of --kept SHARE and --scheme NUMBER must be given", "--kept 0.4 keeps at most 40 %."
        )
    schemes = state.joint.schemes
    if not schemes:
        raise ConflictError(
            f"{directory.id} has no joint front yet",
            f"emodir show {directory.id}",
        )
    if number is not None:
        if not any(scheme.scheme == number for scheme in schemes):
            last = max(scheme.scheme for scheme in schemes)
            raise NotFoundError(f"{directory.id} has no scheme {number}", f"Its joint front has schemes 0 to {last}.")
        return number
    fitting = [scheme for scheme in schemes if scheme.complexity_kept <= (kept or 0.0)]
    if not fitting:
        least = min(scheme.complexity_kept for scheme in schemes)
        raise NotFoundError(
            f"no scheme of {directory.id} keeps at most a share of {kept:g}", f"The smallest keeps {percent(least)}."
        )
    return min(fitting, key=lambda scheme: scheme.impairment).scheme


def ask_for_scheme(directory: RunDirectory, state: RunState, status: Status, scheme: int) -> str | None:
    """Ask a live worker to realise a scheme; return its answer, or None if a worker must be started."""
    for pick in state.picks.values():
        if pick.scheme == scheme and (path := directory.path / (pick.file or "none")).is_file():
            return f"scheme {scheme} is already realised as pick '{pick.name}': {path}"
    if not status.is_live:
        return None
    try:
        return ask(directory, Command.REALISE, wait=True, scheme=scheme)
    except (ConflictError, WorkerLostError):
        # The worker may just have ended; then a new one continues from its results.
        if look_at(directory)[1].is_live:
            raise
        return None
