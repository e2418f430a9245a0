"""Asking a worker for something from a script, and waiting for its answer."""

import time

from emodir_tui.errors import ConflictError, NotFoundError, ProfileError, WorkerLostError
from emodir_tui.reports.views import look_at
from emodir_tui.runs.control import send
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.runs.watcher import Watcher

POLL_SECONDS = 0.1
GONE_SECONDS = 2.0


def ask(directory: RunDirectory, command: str, *, wait: bool, **arguments: int) -> str:
    """Send a request; the worker's answer as a sentence.

    Raises:
        ConflictError: The run can't do this now, or belongs to somebody else.
        WorkerLostError: There is no worker, or it went away before it answered.
    """
    watcher = Watcher(directory)
    _, status = watcher.look()
    if status.word in ("finished", "stopped", "failed"):
        raise ConflictError(
            f"{directory.id} has {status.word}; there is no worker to {command}", f"emodir show {directory.id}"
        )
    if status.word == "lost":
        raise WorkerLostError(f"the worker of {directory.id} is lost: {status.reason}", f"emodir resume {directory.id}")
    request = send(directory, command, **arguments)
    if not wait:
        return f"{command} requested"
    gone_since: float | None = None
    while True:
        _, status = watcher.look()
        answer = watcher.state.controls.get(request)
        if answer is not None and answer.state == "done":
            return f"{command} done" + (f": {answer.message}" if answer.message else "")
        if answer is not None and answer.state == "refused":
            raise ConflictError(f"{command} refused: {answer.message}")
        gone_since = None if status.is_live else gone_since or time.monotonic()
        # The last events may come a moment after the last sign of life.
        if gone_since is not None and time.monotonic() - gone_since > GONE_SECONDS:
            raise WorkerLostError(
                f"the worker of {directory.id} went away before it answered", f"emodir show {directory.id}"
            )
        time.sleep(POLL_SECONDS)


def find_scheme(directory: RunDirectory, state: RunState, number: int | None, kept: float | None) -> int:
    """A scheme of the joint front: the one of this number, or the least impaired that keeps at most this complexity.

    Args:
        directory: The run.
        state: Its state.
        number: The scheme's.
        kept: A share of the searched complexity, 0 to 1; instead of the number.

    Raises:
        ProfileError: Not exactly one of both is given.
        ConflictError: The run has no joint front yet.
        NotFoundError: The front has no such scheme.
    """
    if (number is None) == (kept is None):
        raise ProfileError("give either --kept SHARE or --scheme NUMBER", "--kept 0.4 keeps 40 % of what was searched")
    schemes = state.joint.schemes
    if not schemes:
        raise ConflictError(
            f"{directory.id} has no joint front yet, of which a scheme could be realised",
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
        raise NotFoundError(f"{directory.id} has no scheme that keeps so little", f"The least keeps {least:.3f}.")
    return min(fitting, key=lambda scheme: scheme.impairment).scheme


def ask_for_scheme(directory: RunDirectory, state: RunState, status: Status, scheme: int) -> str | None:
    """Have a live worker realise a scheme besides the run's picks; a sentence, or None where a worker must be started."""
    for pick in state.picks.values():
        if pick.scheme == scheme and (path := directory.path / (pick.file or "none")).is_file():
            return f"scheme {scheme} is pick '{pick.name}' already: {path}"
    if not status.is_live:
        return None
    try:
        return ask(directory, "realise", wait=True, scheme=scheme)
    except (ConflictError, WorkerLostError):
        # It may just have ended; what it left is then gone on with.
        if look_at(directory)[1].is_live:
            raise
        return None
