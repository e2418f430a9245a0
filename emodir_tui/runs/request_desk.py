"""Request desk: takes control requests, answers them, and carries out pause and stop."""

import threading
import time
from collections import deque
from collections.abc import Callable

from emodir_tui.runs.control import Request, take, waiting
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.emitter import Emitter
from emodir_tui.runs.event_types import ConditionChanged, ControlAccepted, ControlAnswer, ControlDone, ControlRefused
from emodir_tui.runs.names import Command, Condition, Outcome
from emodir_tui.runs.picks import add_pick

PAUSE_SECONDS = 0.2

# Saves the last safe point for a reason; the checkpoint's id, or an empty string where nothing is new.
Save = Callable[[str], str]

_STOPPING = {Condition.STOPPING: "the run is stopping already"}
# Why a command is refused in a condition.
_REFUSALS: dict[str, dict[Condition, str]] = {
    Command.SAVE: _STOPPING,
    Command.PAUSE: {**_STOPPING, Condition.PAUSED: "the run is paused already"},
    Command.CONTINUE: {condition: "the run is not paused" for condition in Condition if condition != Condition.PAUSED},
    Command.STOP: _STOPPING,
    Command.STOP_NOW: {},
    Command.REALISE: _STOPPING,
}


class Stopped(Exception):  # noqa: N818  (it is no error)
    """Somebody asked the run to stop; everything is saved."""


class RequestDesk:
    """The control requests of one attempt. `take` may be called from any thread, the rest from the main thread.

    Args:
        directory: The run.
        emitter: Of its events.
        leave: Ends the worker at once.
    """

    def __init__(self, directory: RunDirectory, emitter: Emitter, leave: Callable[[], None]) -> None:
        self._directory, self._emitter, self._leave = directory, emitter, leave
        self._accepted: deque[Request] = deque()
        self._taking = threading.Lock()
        self._ignored: set[str] = set()
        self._stop_reason = ""
        self._save_reason = ""
        self.condition = Condition.STARTING
        # All pauses together; time that no stage worked.
        self.paused_seconds = 0.0
        self._changed = time.monotonic()
        self._obey: dict[str, Callable[[Request, Save], None]] = {
            Command.SAVE: self._save,
            Command.PAUSE: self._pause,
            Command.CONTINUE: self._continue,
            Command.STOP: self._stop,
            Command.REALISE: lambda request, _: self._realise(request),
        }

    # ---- signals

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested by a signal, or is being carried out."""
        return bool(self._stop_reason)

    def request_stop(self, reason: str) -> None:
        """Stop at the next safe point."""
        self._stop_reason = self._stop_reason or reason

    def request_save(self, reason: str) -> None:
        """Save at the next safe point."""
        self._save_reason = self._save_reason or reason

    # ---- requests

    def set_condition(self, condition: Condition) -> None:
        """Change the worker's condition and emit the change."""
        now = time.monotonic()
        if self.condition == Condition.PAUSED:
            self.paused_seconds += now - self._changed
        self._changed = now
        self.condition = condition
        self._emitter.emit(ConditionChanged(condition=condition))

    def take(self) -> None:
        """Accept or refuse the requests that wait; `stop-now` ends the worker here, whatever the main thread does."""
        if not waiting(self._directory):
            return
        with self._taking:
            for request in take(self._directory, self._ignored):
                if isinstance(request, str):
                    self._emitter.log(request, "warning")
                elif refusal := self._refusal(request):
                    self._answer(request, ControlRefused, refusal)
                else:
                    self._accept(request)

    def stop_requested(self) -> bool:
        """Whether a signal or an accepted request asks for a stop."""
        self.take()
        return self.stopping or any(request.command == Command.STOP for request in tuple(self._accepted))

    def obey(self, save: Save) -> None:
        """Carry out what was accepted, at a safe point.

        Args:
            save: Saves this moment.

        Raises:
            Stopped: The run was asked to stop; this moment is saved.
        """
        self.take()
        if self._save_reason:
            save(self._save_reason)
            self._save_reason = ""
        while self._accepted:
            self._obey_one(self._accepted.popleft(), save)
        if self._stop_reason:
            self._stop(None, save)

    def refuse_older(self) -> None:
        """Refuse requests to an earlier worker, but add the schemes that were requested."""
        for request in take(self._directory):
            if isinstance(request, Request) and request.command == Command.REALISE and not self._refusal(request):
                self._realise(request)
            elif isinstance(request, Request):
                self._answer(request, ControlRefused, "it was sent to an earlier worker")

    def refuse_rest(self, outcome: Outcome) -> None:
        """Answer the remaining requests when the attempt has ended."""
        self.take()
        ended = "the run stopped" if outcome == Outcome.STOPPED else f"the run has {outcome}"
        while self._accepted:
            request = self._accepted.popleft()
            if request.command == Command.STOP and outcome == Outcome.STOPPED:
                self._answer(request, ControlDone, "stopped")
            else:
                self._answer(request, ControlRefused, ended)

    def _refusal(self, request: Request) -> str:
        if request.command not in _REFUSALS:
            return f"unknown command '{request.command}'"
        if request.command == Command.REALISE and type(request.arguments.get("scheme")) is not int:
            return "'realise' needs the number of a scheme"
        return _REFUSALS[request.command].get(self.condition, "")

    def _accept(self, request: Request) -> None:
        self._answer(request, ControlAccepted)
        if request.command == Command.STOP_NOW:
            self._answer(request, ControlDone, "stopped at once; resume continues from the last checkpoint")
            self._leave()
        else:
            self._accepted.append(request)

    def _answer(self, request: Request, answer: type[ControlAnswer], message: str = "") -> None:
        self._emitter.emit(answer(id=request.id, command=request.command, by=request.by, message=message))

    # ---- commands

    def _obey_one(self, request: Request, save: Save) -> None:
        self._obey[request.command](request, save)

    def _is_paused(self) -> bool:
        return self.condition == Condition.PAUSED

    def _save(self, request: Request, save: Save) -> None:
        self._answer(request, ControlDone, save("manual") or "nothing new to save")

    def _pause(self, request: Request, save: Save) -> None:
        """Pause until a request to continue or to stop."""
        if self._is_paused():
            # Requested twice before the first was carried out: one "continue" ends both.
            self._answer(request, ControlDone, "the run is paused already")
            return
        save("pause")
        self.set_condition(Condition.PAUSED)
        self._answer(request, ControlDone, "paused; memory is kept")
        while self._is_paused() and not self._stop_reason:
            self.take()
            while self._accepted and self._is_paused():
                self._obey_one(self._accepted.popleft(), save)
            if self._is_paused():
                time.sleep(PAUSE_SECONDS)

    def _continue(self, request: Request, save: Save) -> None:  # noqa: ARG002
        if self._is_paused():
            self.set_condition(Condition.RUNNING)
            self._answer(request, ControlDone, "continues")
        else:
            self._answer(request, ControlDone, "the run is not paused")

    def _stop(self, request: Request | None, save: Save) -> None:
        self._stop_reason = self._stop_reason or "asked for"
        self.set_condition(Condition.STOPPING)
        try:
            saved = save("stop")
        except Stopped:
            if request is not None:
                self._answer(request, ControlDone, "stopped; there was no space to save the last progress")
            raise
        if request is not None:
            self._answer(request, ControlDone, saved or "nothing new to save")
        raise Stopped(self._stop_reason)

    def _realise(self, request: Request) -> None:
        scheme = int(request.arguments["scheme"])
        try:
            new = add_pick(self._directory, scheme)
        except OSError as error:
            self._answer(request, ControlRefused, f"the scheme cannot be added ({error.strerror})")
            return
        self._answer(request, ControlDone, f"scheme {scheme} {'will be realised too' if new else 'is a pick already'}")
