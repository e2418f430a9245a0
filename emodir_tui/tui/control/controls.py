"""Controls: what may be asked of a run now, how it is asked, and what came of it."""

import time
from collections.abc import Callable
from typing import Protocol

from emodir_tui.errors import EmodirError
from emodir_tui.formatting import literal, literal_lines
from emodir_tui.runs.control import can_control, send
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.picks import extra_pick_recorded
from emodir_tui.tui.control.requests import Requests
from emodir_tui.tui.sources.background import in_background
from emodir_tui.tui.sources.source import Source


class Notifier(Protocol):
    """The screen that speaks for the controls."""

    def show_message(self, text: str, level: str = "info") -> None:
        """Say something for a while; an empty text takes back what was said."""

    def ask(self, question: str, explanation: str, yes: str, then: Callable[[], None]) -> None:
        """Ask before something is done."""

    def explain(self, title: str, body: str) -> None:
        """Show a text of several lines."""


class Controls:
    """The controls of one run. Only ending a run and going back in it are asked about first."""

    def __init__(self, directory: RunDirectory, source: Source, notifier: Notifier, *, read_only: bool) -> None:
        self._directory, self._source, self._notifier = directory, source, notifier
        self._requests = Requests()
        self._sending: set[str] = set()
        self.busy = ""
        self.read_only = "the dashboard was opened read-only" if read_only else ""
        if not self.read_only and source.playback is None:
            self.read_only = can_control(directory)

    def status_message(self) -> tuple[str, str]:
        """(sentence, level) about what is under way or has just ended; empty when nothing is."""
        if self.busy:
            return self.busy, "info"
        return self._requests.line(self._source.state, self._source.status, time.monotonic())

    def signature(self) -> tuple[str, ...]:
        """Changes whenever a request gets on."""
        return self._requests.signature(self._source.state)

    def save(self) -> None:
        """Ask for a checkpoint."""
        self._send("save")

    def pause_or_continue(self) -> None:
        """Ask for a pause, or for its end."""
        self._send("continue" if self._source.status.word == "paused" else "pause")

    def stop(self) -> None:
        """Ask for the end of the worker, after a question."""
        if self._may_send("stop"):
            self._notifier.ask(
                f"Stop run {literal(self._directory.id)}?",
                "The evaluation in progress is finished, a checkpoint is written, and the worker ends.\n"
                f"Continue later with:\n    emodir resume {literal(self._directory.id)}",
                "Stop",
                lambda: self._send("stop"),
            )

    def stop_now(self) -> None:
        """End the worker at once, after a question."""
        if self._may_send("stop-now"):
            self._notifier.ask(
                f"End the worker of {literal(self._directory.id)} at once?",
                "Nothing is saved first: what came after the newest checkpoint has to be done again.",
                "End now",
                lambda: self._send("stop-now"),
            )

    def resume(self) -> None:
        """Start a worker again; it goes on where the last one got to."""
        if self._may_resume():
            self._resume(None)

    def resume_from(self, checkpoint: str) -> None:
        """Start a worker again from this checkpoint; from an older one after a question."""
        if not self._may_resume(finished_too=True):
            return
        newest = max(self._source.state.checkpoints.values(), key=lambda item: item.saved, default=None)
        if newest is not None and newest.id == checkpoint and self._source.status.word != "finished":
            self._resume(None)
            return
        self._notifier.ask(
            f"Resume from {literal(checkpoint)}?",
            "What came after it is put aside, not deleted, and is no longer part of this run.",
            "Resume",
            lambda: self._resume(checkpoint),
        )

    def realise(self, scheme: int) -> None:
        """Add a pick: the worker makes a network of this scheme too; a run that has ended is started again for it."""
        if self._refuses() or not self._has_caught_up("realise"):
            return
        if self._source.status.is_live:
            self._send("realise", scheme=scheme)
            return

        def work() -> None:
            from emodir_tui.runs.launch import resume  # it loads the profile's library, which watching does not need

            with extra_pick_recorded(self._directory, scheme):
                resume(self._directory)

        self._notifier.ask(
            f"Realise scheme {scheme}?",
            "The run has ended: a worker is started again for it.",
            "Realise",
            lambda: self._do(
                f"realise: scheme {scheme} is noted down; starting the worker …", work, "the worker is at work on it"
            ),
        )

    def _send(self, command: str, **arguments: int) -> None:
        if not self._may_send(command):
            return
        if command in self._sending or self._requests.is_waiting(command):
            self._notifier.show_message(f"{command} was requested already")
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

    def _may_send(self, command: str) -> bool:
        if self._refuses() or not self._has_caught_up(command):
            return False
        status = self._source.status
        if not status.is_live:
            more = "" if status.word == "finished" else " · r resumes it"
            self._notifier.show_message(f"{command}: no worker is there, the run is {status.word}{more}", "warning")
        return status.is_live

    def _may_resume(self, *, finished_too: bool = False) -> bool:
        if self._refuses() or not self._has_caught_up("resume"):
            return False
        word = self._source.status.word
        if self._source.status.is_live:
            self._notifier.show_message(f"the run is {word}; there is nothing to resume", "warning")
            return False
        if word == "finished" and not finished_too:
            self._notifier.show_message(
                "the run has finished; Enter on a checkpoint (panel 5) offers to go back to it", "warning"
            )
            return False
        return True

    def _has_caught_up(self, command: str) -> bool:
        if not self._source.caught_up:
            self._notifier.show_message(f"{command}: the run's events are still being read; in a moment", "warning")
        return self._source.caught_up

    def _refuses(self) -> bool:
        if self._source.playback is not None:
            self._notifier.show_message("this is a replay: it can be watched, not controlled", "warning")
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
            self._notifier.explain("It did not work", f"{literal(error.message)}\n\n{literal_lines(error.hint)}")
