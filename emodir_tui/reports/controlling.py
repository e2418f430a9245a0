"""Asking a worker for something from a script, and waiting for its answer."""

import time

from emodir_tui.errors import ConflictError, WorkerLostError
from emodir_tui.runs.control import send
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.watcher import Watcher

POLL_SECONDS = 0.1
GONE_SECONDS = 2.0


def ask(directory: RunDirectory, command: str, *, wait: bool) -> str:
    """Send a request; the worker's answer as a sentence.

    Raises:
        ConflictError: The run can't do this now, or belongs to somebody else.
        WorkerLostError: There is no worker, or it went away before it answered.
    """
    watcher = Watcher(directory, latest_fronts=True)
    _, status = watcher.look()
    if status.word in ("finished", "stopped", "failed"):
        raise ConflictError(
            f"{directory.id} has {status.word}; there is no worker to {command}", f"emodir show {directory.id}"
        )
    if status.word == "lost":
        raise WorkerLostError(f"the worker of {directory.id} is lost: {status.reason}", f"emodir resume {directory.id}")
    request = send(directory, command)
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
