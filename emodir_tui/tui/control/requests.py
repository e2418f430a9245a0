"""Requests from this dashboard and the progress of each: requested, accepted, done or refused."""

from dataclasses import dataclass

from emodir_tui.formatting import duration, literal
from emodir_tui.runs.names import AnswerState, Command
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status

SHOWN_SECONDS = 15.0
BUSY_SECONDS = 10.0


@dataclass(kw_only=True, slots=True)
class PendingRequest:
    """One request. Times are seconds of the monotonic clock."""

    id: str
    command: Command
    at: float
    attempt: int
    ended: float | None = None
    lost: bool = False


class Requests:
    """The requests of one dashboard, newest last."""

    def __init__(self) -> None:
        self._requests: list[PendingRequest] = []

    def add(self, request_id: str, command: Command, now: float, attempt: int) -> None:
        """Record a request sent to the worker of this attempt."""
        self._requests.append(PendingRequest(id=request_id, command=command, at=now, attempt=attempt))

    def is_waiting(self, command: Command) -> bool:
        """Whether a request with this command is unanswered."""
        return any(request.command == command and request.ended is None for request in self._requests)

    def signature(self, state: RunState) -> tuple[str, ...]:
        """Return a value that changes with the progress of the requests."""
        return tuple(state.controls[request.id].state for request in self._requests if request.id in state.controls)

    def line(self, state: RunState, status: Status, now: float) -> tuple[str, str]:
        """Return sentence and level for the newest request until SHOWN_SECONDS after its end; both empty without one."""
        for request in self._requests:
            answer = state.controls.get(request.id)
            if request.ended is None and answer is not None and answer.state in (AnswerState.DONE, AnswerState.REFUSED):
                request.ended = now
            elif request.ended is None and (not status.is_live or state.attempt != request.attempt):
                # The worker that could have answered is gone.
                request.ended, request.lost = now, True
        self._requests = [
            request for request in self._requests if request.ended is None or now - request.ended < SHOWN_SECONDS
        ]
        if not self._requests:
            return "", ""
        return _sentence(self._requests[-1], state, now)


def _sentence(request: PendingRequest, state: RunState, now: float) -> tuple[str, str]:
    answer = state.controls.get(request.id)
    name = request.command
    if request.lost and (answer is None or answer.state == AnswerState.ACCEPTED):
        return f"{name}: the worker ended before completing it", "warning"
    if answer is None:
        waited = now - request.at
        if waited > BUSY_SECONDS:
            return f"{name}: requested {duration(waited)} ago; the worker has not answered yet (busy?)", "warning"
        return f"{name}: requested …", "info"
    message = literal(answer.message, 200)
    if answer.state == AnswerState.ACCEPTED:
        return f"{name}: requested → accepted … waiting for the current evaluation", "info"
    if answer.state == AnswerState.REFUSED:
        return f"{name}: requested → refused: {message}", "error"
    return f"{name}: requested → accepted → done{f': {message}' if message else ''}", "good"
