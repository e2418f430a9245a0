"""Requests made from this dashboard, and how far each is: requested, accepted, done or refused."""

from dataclasses import dataclass

from emodir_tui.formatting import duration, literal
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status

SHOWN_SECONDS = 15.0
BUSY_SECONDS = 10.0


@dataclass(kw_only=True, slots=True)
class PendingRequest:
    """One request. Times by the observer's monotonic clock."""

    id: str
    command: str
    at: float
    attempt: int
    ended: float | None = None
    lost: bool = False


class Requests:
    """The requests of one dashboard, newest last."""

    def __init__(self) -> None:
        self._requests: list[PendingRequest] = []

    def add(self, request_id: str, command: str, now: float, attempt: int) -> None:
        """Remember a request that was sent to the worker of this attempt."""
        self._requests.append(PendingRequest(id=request_id, command=command, at=now, attempt=attempt))

    def is_waiting(self, command: str) -> bool:
        """Whether such a request is still on its way."""
        return any(request.command == command and request.ended is None for request in self._requests)

    def signature(self, state: RunState) -> tuple[str, ...]:
        """Changes whenever a request gets on."""
        return tuple(state.controls[request.id].state for request in self._requests if request.id in state.controls)

    def line(self, state: RunState, status: Status, now: float) -> tuple[str, str]:
        """(sentence, level) about the newest request, for a while after its end; empty when there is none."""
        for request in self._requests:
            answer = state.controls.get(request.id)
            if request.ended is None and answer is not None and answer.state in ("done", "refused"):
                request.ended = now
            elif request.ended is None and (not status.is_live or state.attempt != request.attempt):
                # Whoever could have answered is gone.
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
    if request.lost and (answer is None or answer.state == "accepted"):
        return f"{name}: the worker ended before it was done", "warning"
    if answer is None:
        waited = now - request.at
        if waited > BUSY_SECONDS:
            return f"{name}: requested {duration(waited)} ago; the worker has not answered yet (busy?)", "warning"
        return f"{name}: requested …", "info"
    message = literal(answer.message, 200)
    if answer.state == "accepted":
        return f"{name}: requested → accepted … done after the evaluation in progress", "info"
    if answer.state == "refused":
        return f"{name}: requested → refused: {message}", "error"
    return f"{name}: requested → accepted → done{f': {message}' if message else ''}", "good"
