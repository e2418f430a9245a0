"""A run's status: derived each time from heartbeat, process and events, never stored."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from emodir_tui.runs.directory import RunDirectory, seconds_of
from emodir_tui.runs.heartbeat import is_of_copy, read_heartbeat
from emodir_tui.runs.names import Condition, Outcome, StatusWord
from emodir_tui.runs.process import from_json
from emodir_tui.runs.reading import read_json

UNSURE_SECONDS = 5.0
LOST_SECONDS_SAME_HOST = 15.0
LOST_SECONDS_OTHER_HOST = 60.0
NO_PROGRESS_SECONDS = 120.0
START_SECONDS = 60.0
LOOK_SECONDS = 0.5
NEVER_STARTED = "no worker ever started"
_LIVE = (
    StatusWord.STARTING,
    StatusWord.RUNNING,
    StatusWord.PAUSED,
    StatusWord.STOPPING,
    StatusWord.NO_PROGRESS,
    StatusWord.UNSURE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A StatusWord, its reason, and the heartbeat that it is derived from."""

    word: StatusWord
    reason: str = ""
    seconds_since_heartbeat: float | None = None
    seconds_without_progress: float = 0.0
    heartbeat: dict[str, Any] | None = None

    @property
    def is_live(self) -> bool:
        """Whether a worker seems to be alive."""
        return self.word in _LIVE


class Reported(Protocol):
    """What a status needs of the events: a RunState has it, and a summary of one."""

    @property
    def pid(self) -> int:
        """Process of the newest worker."""

    @property
    def opened(self) -> float | None:
        """When it was ready."""

    @property
    def condition(self) -> str:
        """What it does."""

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended."""

    @property
    def error(self) -> str:
        """Why it failed."""


class Observer:
    """Watches one run. Ages are measured by the observer's own clock, so hosts may disagree about the time."""

    def __init__(self, directory: RunDirectory, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.directory = directory
        self._monotonic = monotonic
        self._seq: int | None = None
        self._seen = monotonic()
        self._progress: Any = None
        self._progressed = monotonic()

    def status(self, state: Reported) -> Status:
        """The status now, given what the events add up to."""
        beat = read_heartbeat(self.directory.heartbeat_file)
        if beat is None:
            return self._without_heartbeat(state)
        if is_of_copy(self.directory.heartbeat_file, beat):
            return self._of_copy(state)
        age, still = self._ages(beat)
        process = from_json(beat)
        alive = process.is_alive() if process else False
        if state.outcome and not (alive and process and process.pid != state.pid):
            return Status(
                word=StatusWord(state.outcome), reason=state.error, seconds_since_heartbeat=age, heartbeat=beat
            )
        limit = LOST_SECONDS_OTHER_HOST if alive is None else LOST_SECONDS_SAME_HOST
        if alive is False:
            reason = f"process {beat.get('pid')} on {beat.get('host')} is gone"
            return Status(word=StatusWord.LOST, reason=reason, seconds_since_heartbeat=age, heartbeat=beat)
        if age > limit:
            reason = f"no heartbeat from {beat.get('host')} for {age:.0f} s"
            word = StatusWord.LOST if alive is None else StatusWord.UNSURE
            return Status(word=word, reason=reason, seconds_since_heartbeat=age, heartbeat=beat)
        word, reason = self._live_word(state, age, still, beat)
        return Status(
            word=word,
            reason=reason,
            seconds_since_heartbeat=age,
            seconds_without_progress=still,
            heartbeat=beat,
        )

    def _live_word(self, state: Reported, age: float, still: float, beat: dict[str, Any]) -> tuple[StatusWord, str]:
        if age > UNSURE_SECONDS:
            return StatusWord.UNSURE, f"no heartbeat for {age:.0f} s (NFS, or an overloaded host?)"
        if state.opened is None or state.pid != beat.get("pid"):
            return StatusWord.STARTING, "the worker is loading"
        if state.condition in (Condition.PAUSED, Condition.STOPPING):
            return StatusWord(state.condition), ""
        if still > NO_PROGRESS_SECONDS:
            return StatusWord.NO_PROGRESS, f"the worker is alive but has not moved for {still:.0f} s"
        return StatusWord.RUNNING, ""

    def _ages(self, beat: dict[str, Any]) -> tuple[float, float]:
        now = self._monotonic()
        if beat["seq"] != self._seq:
            first, self._seq = self._seq is None, beat["seq"]
            written = seconds_of(beat.get("time")) if first else None
            # At the first look only the two hosts' clocks give the age.
            self._seen = now - (0.0 if written is None else max(0.0, time.time() - written))
        if beat.get("progress") != self._progress:
            self._progress, self._progressed = beat.get("progress"), now
        return max(0.0, now - self._seen), max(0.0, now - self._progressed)

    def _of_copy(self, state: Reported) -> Status:
        if state.outcome:
            return Status(word=StatusWord(state.outcome), reason=state.error)
        return Status(word=StatusWord.LOST, reason="this is a copy of a run's directory, and no worker writes to it")

    def _without_heartbeat(self, state: Reported) -> Status:
        if state.outcome:
            return Status(word=StatusWord(state.outcome), reason=state.error)
        owner = from_json(read_json(self.directory.lock_file))
        if owner is not None and owner.is_alive() is False:
            return Status(word=StatusWord.LOST, reason="the worker ended before its first sign of life")
        if owner is None and time.time() - self.directory.created > START_SECONDS:
            return Status(word=StatusWord.LOST, reason=NEVER_STARTED)
        return Status(word=StatusWord.STARTING, reason="the worker is loading")


def heartbeat_stalled(directory: RunDirectory, seconds: float) -> bool:
    """Whether a run's heartbeat stands still for this many seconds of this process's clock."""
    first = read_heartbeat(directory.heartbeat_file)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        now = read_heartbeat(directory.heartbeat_file)
        if now is not None and (first is None or now.get("seq") != first.get("seq")):
            return False
    return True
