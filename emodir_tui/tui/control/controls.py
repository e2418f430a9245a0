"""Controls of a run: what is possible now, the requests to its worker, and their outcome."""

import time
from collections.abc import Callable
from typing import Protocol

from emodir_tui.errors import EmodirError
from emodir_tui.formatting import literal, literal_lines
from emodir_tui.runs.control import can_control, send
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.names import Command, StatusWord
from emodir_tui.runs.picks import extra_pick_recorded
from emodir_tui.tui.control.requests import Requests
from emodir_tui.tui.sources.background import in_background
from emodir_tui.tui.sources.source import Source


class Notifier(Protocol):
    """A screen that shows the messages and questions of the controls."""

    def show_message(self, text: str, level: str = "info") -> None:
        """Show a message for a while; an empty text clears it."""

    def ask(self, question: str, explanation: str, yes: str, then: Callable[[], None]) -> None:
        """Ask for confirmation and call `then` after a yes."""

    def explain(self, title: str, body: str) -> None:
        """Show a text of several lines."""


class Controls:
    """The controls of one run. Stopping, going back to a checkpoint and restarting an ended run need a confirmation."""

    def __init__(self, directory: RunDirectory, source: Source, notifier: Notifier, *, read_only: bool) -> None:
        self._directory, self._source, self._notifier = directory, source, notifier
        self._requests = Requests()
        self._sending: set[Command] = set()
        self.busy = ""
        self.read_only = "the dashboard was opened read-only" if read_only else ""
        if not self.read_only and source.playback is None:
            self.read_only = can_control(directory)

    def status_message(self) -> tuple[str, str]:
        """Return sentence and level for the request in progress or just ended; both empty without one."""
        if self.busy:
            return self.busy, "info"
        return self._requests.line(self._source.state, self._source.status, time.monotonic())

    def signature(self) -> tuple[str, ...]:
        """Return a value that changes with the progress of the requests."""
        return self._requests.signature(self._source.state)

    def save(self) -> None:
        """Request a checkpoint."""
        self._send(Command.SAVE)

    def pause_or_continue(self) -> None:
        """Request a pause, or the end of the pause."""
        self._send(Command.CONTINUE if self._source.status.word == StatusWord.PAUSED else Command.PAUSE)

    def stop(self) -> None:
        """Request a stop, after a confirmation."""
        if self._may_send(Command.STOP):
            self._notifier.ask(
                f"Stop run {literal(self._directory.id)}?",
                "The worker finishes the current evaluation, saves a checkpoint and exits.\n"
                f"Resume later with:\n    emodir resume {literal(self._directory.id)}",
                "Stop",
                lambda: self._send(Command.STOP),
            )

    def stop_now(self) -> None:
        """Stop the worker without saving, after a confirmation."""
        if self._may_send(Command.STOP_NOW):
            self._notifier.ask(
                f"Stop the worker of {literal(self._directory.id)} without saving?",
                "No checkpoint is saved. A resumed run repeats all work since the newest checkpoint.",
                "Stop now",
                lambda: self._send(Command.STOP_NOW),
            )

    def resume(self) -> None:
        """Start a worker that continues where the run ended."""
        if self._may_resume():
            self._resume(None)

    def resume_from(self, checkpoint: str) -> None:
        """Start a worker that continues from this checkpoint; an older one needs a confirmation."""
        if not self._may_resume(finished_too=True):
            return
        newest = max(self._source.state.checkpoints.values(), key=lambda item: item.saved, default=None)
        if newest is not None and newest.id == checkpoint and self._source.status.word != StatusWord.FINISHED:
            self._resume(None)
            return
        self._notifier.ask(
            f"Resume from {literal(checkpoint)}?",
            "Later results are set aside, not deleted, and no longer belong to this run.",
            "Resume",
            lambda: self._resume(checkpoint),
        )

    def realise(self, scheme: int) -> None:
        """Add a pick: build a network from this scheme too. An ended run is restarted for it."""
        if self._refuses() or not self._has_caught_up(Command.REALISE):
            return
        if self._source.status.is_live:
            self._send(Command.REALISE, scheme=scheme)
            return

        def work() -> None:
            from emodir_tui.runs.launch import resume  # it imports pydantic, which watching does not need

            with extra_pick_recorded(self._directory, scheme):
                resume(self._directory)

        self._notifier.ask(
            f"Realise scheme {scheme}?",
            "The run has ended. A new worker will build this network.",
            "Realise",
            lambda: self._do(
                f"realise: scheme {scheme} is recorded; starting the worker …",
                work,
                f"realise: building scheme {scheme}",
            ),
        )

    def _send(self, command: Command, **arguments: int) -> None:
        if not self._may_send(command):
            return
        if command in self._sending or self._requests.is_waiting(command):
            self._notifier.show_message(f"{command} is already requested")
            return

        def sent(request_id: str) -> None:
            self._sending.discard(command)
            self._requests.add(request_id, command, time.monotonic(), self._source.state.attempt)
            self._notifier.show_message("")

        def failed(error: EmodirError) -> None:
            self._sending.discard(command)
            self._failed(error)

        self._sending.add(command)
        in_background(lambda: send(self._directory, command, **arguments), sent, failed)

    def _may_send(self, command: Command) -> bool:
        if self._refuses() or not self._has_caught_up(command):
            return False
        status = self._source.status
        if not status.is_live:
            more = "" if status.word == StatusWord.FINISHED else " · r resumes it"
            self._notifier.show_message(f"{command}: no worker is running, the run is {status.word}{more}", "warning")
        return status.is_live

    def _may_resume(self, *, finished_too: bool = False) -> bool:
        if self._refuses() or not self._has_caught_up("resume"):
            return False
        word = self._source.status.word
        if self._source.status.is_live:
            self._notifier.show_message(f"cannot resume: the run is {word}", "warning")
            return False
        if word == StatusWord.FINISHED and not finished_too:
            self._notifier.show_message(
                "the run has finished; to go back, press Enter on a checkpoint (panel 5)", "warning"
            )
            return False
        return True

    def _has_caught_up(self, command: str) -> bool:
        if not self._source.caught_up:
            self._notifier.show_message(f"{command}: still reading the run's events; try again in a moment", "warning")
        return self._source.caught_up

    def _refuses(self) -> bool:
        if self._source.playback is not None:
            self._notifier.show_message("a replay can be watched, not controlled", "warning")
            return True
        if self.read_only:
            self._notifier.show_message(f"read-only: {self.read_only}", "warning")
            return True
        return bool(self.busy)

    def _resume(self, checkpoint: str | None) -> None:
        def work() -> None:
            from emodir_tui.runs.launch import resume  # as above

            resume(self._directory, checkpoint)

        origin = f" from {literal(checkpoint)}" if checkpoint else ""
        self._do(f"resume: starting the worker{origin} …", work, f"resumed{origin}")

    def _do(self, doing: str, work: Callable[[], None], done: str) -> None:
        self.busy = doing

        def then(_: None) -> None:
            self.busy = ""
            self._notifier.show_message(done, "good")

        in_background(work, then, self._failed)
        self._notifier.show_message("")

    def _failed(self, error: EmodirError) -> None:
        self.busy = ""
        self._notifier.show_message(error.message, "error")
        if error.hint:
            self._notifier.explain("Request failed", f"{literal(error.message)}\n\n{literal_lines(error.hint)}")
