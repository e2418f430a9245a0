"""Run: a run opened for writing. The worker's only way to the disk.

Every stage result and checkpoint is saved before the event that tells of it, and control requests are looked at after.
So resuming is starting the same worker on the same directory: there is no other path.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from emodir_tui.errors import ConflictError, DamagedFileError, EmodirError
from emodir_tui.profile import Profile
from emodir_tui.runs.checkpoint import Checkpoints, Place, Results, rewind
from emodir_tui.runs.control import Request, take, waiting
from emodir_tui.runs.directory import RunDirectory, read_json, write_json
from emodir_tui.runs.event_types import (
    CheckpointDamaged,
    CheckpointSaved,
    ConditionChanged,
    ControlAccepted,
    ControlAnswer,
    ControlDone,
    ControlRefused,
    Event,
    Message,
    Rewound,
    RunClosed,
    RunOpened,
    StageFinished,
    StageStarted,
)
from emodir_tui.runs.events import EventWriter, read_all
from emodir_tui.runs.fold import replay
from emodir_tui.runs.heartbeat import Heartbeat, read_heartbeat
from emodir_tui.runs.names import Command, Condition, Outcome, StageName, StageState
from emodir_tui.runs.ownership import already_running, holds_lock, release_lock, take_lock
from emodir_tui.runs.picks import add_pick, new_picks
from emodir_tui.runs.process import Process, from_json, this_process
from emodir_tui.runs.status import LOST_SECONDS_OTHER_HOST, heartbeat_stalled

T = TypeVar("T")
P = ParamSpec("P")
Snapshot = Callable[[], Any]

PAUSE_SECONDS = 0.2
LEAVING_SECONDS = 15.0
DISK_RETRY_SECONDS = 2.0
# The next checkpoint needs its own size; as much again is left for events and for others.
DISK_RESERVE = 2.0
DISK_LOW_BYTES = 1 << 30


class Codec(Protocol):
    """Turns values of the stages into bytes and back; knows torch, which this room does not."""

    def pack(self, value: Any) -> bytes:
        """A value as bytes."""

    def unpack(self, payload: bytes, kind: Any) -> Any:
        """The value of this type that the bytes hold."""


class Stopped(Exception):  # noqa: N818  (it is no error)
    """Somebody asked the run to stop; everything is saved."""


@dataclass(slots=True)
class _Moment:
    place: Place
    step: int
    snapshot: Snapshot
    saved: bool = False


@dataclass(frozen=True)
class Step(Generic[P, T]):
    """A step of the method: what it computes, and the name and the type of its result on disk.

    The name is declared, not the function's: functions may be renamed, runs on disk go on.
    """

    name: StageName
    result: type[T]
    compute: "Callable[Concatenate[Run, P], T]"

    def __call__(self, run: "Run", *inputs: P.args, **options: P.kwargs) -> T:
        """Compute the result, whatever is on disk."""
        return self.compute(run, *inputs, **options)


def step(name: StageName, result: type[T]) -> "Callable[[Callable[Concatenate[Run, P], T]], Step[P, T]]":
    """Declare a function to be a step of the method.

    Args:
        name: Under which its result is kept.
        result: The type of its result.
    """

    def declare(compute: "Callable[Concatenate[Run, P], T]") -> Step[P, T]:
        return Step(name, result, compute)

    return declare


class Run:
    """A run opened by its one worker."""

    def __init__(
        self, directory: RunDirectory, profile: Profile, codec: Codec, *, rewind_to: str | None = None
    ) -> None:
        self._told = replay(read_all(directory.events_folder))
        _become_owner(directory, leaving=self._told.pid if self._told.outcome is not None else None)
        self.directory = directory
        self.profile = profile
        self._codec = codec
        self._results = Results(directory)
        self._checkpoints = Checkpoints(directory, keep=profile.checkpoint.keep)
        self._progress = 0
        self._requests: list[Request] = []
        self._requests_lock = threading.Lock()
        self._stop_reason = ""
        self._save_reason = ""
        self._moment: _Moment | None = None
        self._last_saved = time.monotonic()
        self._disk_low = False
        self._state_word = Condition.STARTING
        self.attempt = _next_attempt(directory)
        self._events = EventWriter(directory.events_folder, self.attempt)
        self.listeners: list[Callable[[Event], None]] = []
        self._refuse_older_requests()
        self._heartbeat = Heartbeat(directory.heartbeat_file, self._beat)
        self._rewind_to = rewind_to

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = Outcome.FINISHED if kind is None else Outcome.STOPPED if kind is Stopped else Outcome.FAILED
        text = "" if error is None or outcome == Outcome.STOPPED else _sentence(error)
        hint = getattr(error, "hint", "") if outcome == Outcome.FAILED else ""
        if holds_lock(self.directory) or not self.directory.lock_file.exists():
            code = error.exit_code if isinstance(error, EmodirError) else None
            self.emit(RunClosed(outcome=outcome, error=text, hint=hint, code=code))
            self._refuse_the_rest(outcome)
        self._heartbeat.close()
        self._events.close()
        release_lock(self.directory)

    def open(self, device: str) -> None:
        """Say that the worker is ready; go back to an older checkpoint if that was asked for."""
        process = this_process()
        self.emit(RunOpened(attempt=self.attempt, pid=process.pid, host=process.host, device=device))
        if self._rewind_to is not None:
            self._rewind(self._rewind_to)
        self._state_word = Condition.RUNNING

    def emit(self, event: Event) -> None:
        """Write an event, and hand it to the listeners."""
        written = self._events.emit(event)
        for listener in self.listeners:
            listener(written)

    def log(self, text: str, level: str = "info", stage: str | None = None) -> None:
        """A line of the log; level is debug, info, warning or error."""
        self.emit(Message(level=level, text=text, stage=stage))

    def once(self, stage: Step[P, T], *inputs: P.args, **options: P.kwargs) -> T:
        """The step's result: from the disk if it is there, else computed and saved."""
        saved = self._load(stage.name, stage.result)
        if saved is not None:
            self._emit_finished(stage.name)
            return saved  # type: ignore[no-any-return]
        self.emit(StageStarted(stage=stage.name))
        started = time.monotonic()
        result = stage(self, *inputs, **options)
        self._save_result(stage.name, result)
        self.emit(StageFinished(stage=stage.name, seconds=round(time.monotonic() - started, 3)))
        return result

    def _emit_finished(self, name: StageName) -> None:
        """A worker that dies between saving a result and emitting its event leaves the event to the next one."""
        if self._told.stages[name].state != StageState.DONE:
            self.emit(StageFinished(stage=name, seconds=0.0))

    def part(self, name: str, kind: type[T], compute: Callable[[], T]) -> T:
        """A finished part of a stage (one sub-network's search, one pick): from the disk, or computed and saved."""
        saved = self._load(name, kind)
        if saved is not None:
            return saved  # type: ignore[no-any-return]
        result = compute()
        self._save_result(name, result)
        return result

    def has_part(self, name: str) -> bool:
        """Whether this result is on disk."""
        return name in self._results.names()

    def load_part(self, name: str, kind: type[T]) -> T:
        """A part that an earlier stage made.

        Raises:
            DamagedFileError: It is gone or damaged.
        """
        saved = self._load(name, kind)
        if saved is None:
            raise DamagedFileError(
                f"the result '{name}' of an earlier stage is gone or damaged",
                f"Go back to an older checkpoint: emodir resume {self.directory.id} --from ck-…",
            )
        return saved  # type: ignore[no-any-return]

    def publish(self, name: str, value: dict[str, Any]) -> None:
        """Write a front or a ranking as JSON for other programs; the same run writes the same bytes."""
        path = self.directory.fronts_folder / f"{name}.json"
        self.on_disk(0, lambda: write_json(path, value))

    def resume_point(self, place: Place, kind: type[T]) -> T | None:
        """The newest whole checkpoint of this place, or None. Damaged ones are named and the one before is taken."""
        for info in reversed(self._checkpoints.infos()):
            if info.place != place:
                continue
            try:
                value = self._codec.unpack(self._checkpoints.load(info.id), kind)
            except DamagedFileError as error:
                text = f"checkpoint {info.id} is damaged and passed over: {error.message}"
                self.emit(CheckpointDamaged(id=info.id, text=text))
                continue
            self.log(f"continues at {place.stage} {place.subject} step {info.step} from {info.id}".replace("  ", " "))
            return value  # type: ignore[no-any-return]
        return None

    def advance(
        self,
        place: Place,
        step: int,
        snapshot: Snapshot,
        events: Sequence[Event] = (),
    ) -> None:
        """A safe point inside a stage: save if due, tell, then look at the control requests.

        Args:
            place: Where the run is.
            step: Steps done at this place.
            snapshot: Makes the value that `resume_point` gives back; called at once or never.
            events: Emitted after saving.

        Raises:
            Stopped: The run was asked to stop; this moment is saved.
        """
        self._progress += 1
        self._moment = _Moment(place, step, snapshot)
        if time.monotonic() - self._last_saved >= self.profile.checkpoint.seconds:
            self._save_moment("auto")
        for event in events:
            self.emit(event)
        self._answer()

    def check(self) -> None:
        """A safe point between evaluations, when nothing has changed since the last `advance` that is worth keeping."""
        self._progress += 1
        self._answer()

    @property
    def stopping(self) -> bool:
        """Whether a signal has asked for a stop already."""
        return bool(self._stop_reason)

    def request_stop(self, reason: str) -> None:
        """Stop at the next safe point (from a signal)."""
        self._stop_reason = self._stop_reason or reason

    def request_save(self, reason: str) -> None:
        """Save at the next safe point (from a signal)."""
        self._save_reason = self._save_reason or reason

    @property
    def new_picks(self) -> list[int]:
        """Schemes that were asked for since the earlier attempts, and that none of these picked."""
        return new_picks(self.directory, self._told)

    def forget(self, *names: StageName) -> None:
        """Make these stages' results anew; their finished parts stay."""
        for name in names:
            self._results.discard(name)

    # ---- control

    def _beat(self) -> dict[str, Any]:
        """Called by the heartbeat's thread: takes requests, so that they are acknowledged while the work goes on."""
        # The very first beat comes before the constructor is done.
        if hasattr(self, "_heartbeat") and waiting(self.directory):
            self._take_requests()
        try:
            free = shutil.disk_usage(self.directory.path).free
        except OSError:
            free = -1
        return {
            "progress": self._progress,
            "condition": self._state_word,
            "dropped": self._events.dropped,
            "disk_free_bytes": free,
            "attempt": self.attempt,
        }

    def _take_requests(self) -> None:
        with self._requests_lock:
            for request in take(self.directory):
                if isinstance(request, str):
                    self.log(request, "warning")
                elif refusal := self._refusal(request):
                    self._tell(request, ControlRefused, refusal)
                elif request.command == Command.STOP_NOW:
                    self._tell(request, ControlAccepted)
                    self._stop_now(request)
                else:
                    self._tell(request, ControlAccepted)
                    self._requests.append(request)

    def _refusal(self, request: Request) -> str:
        if request.command not in list(Command):
            return f"'{request.command}' is no command of this worker"
        if request.command == Command.REALISE and type(request.arguments.get("scheme")) is not int:
            return "'realise' needs the number of a scheme"
        if request.command == Command.CONTINUE and self._state_word != Condition.PAUSED:
            return "the run is not paused"
        if request.command == Command.PAUSE and self._state_word == Condition.PAUSED:
            return "the run is paused already"
        if (
            request.command in (Command.STOP, Command.PAUSE, Command.SAVE, Command.REALISE)
            and self._state_word == Condition.STOPPING
        ):
            return "the run is stopping already"
        return ""

    def _tell(self, request: Request, answer: type[ControlAnswer], message: str = "") -> None:
        self.emit(answer(id=request.id, command=request.command, by=request.by, message=message))

    def _stop_now(self, request: Request) -> None:
        self._tell(request, ControlDone, "stopped at once; resume continues from the last checkpoint")
        self.emit(RunClosed(outcome=Outcome.STOPPED))
        self._events.close()
        release_lock(self.directory)
        # Files are renamed into place whole, so leaving in the middle of anything loses no more than the progress.
        os._exit(75)

    def _answer(self) -> None:
        if waiting(self.directory):
            self._take_requests()
        if self._save_reason:
            self._save_moment(self._save_reason)
            self._save_reason = ""
        while self._requests:
            with self._requests_lock:
                request = self._requests.pop(0)
            self._obey(request)
        if self._stop_reason:
            self._stop(None)

    def _obey(self, request: Request) -> None:
        if request.command == Command.SAVE:
            self._tell(request, ControlDone, self._save_moment("manual") or "nothing new to save")
        elif request.command == Command.STOP:
            self._stop(request)
        elif request.command == Command.REALISE:
            self._realise(request)
        elif request.command == Command.PAUSE:
            self._save_moment("pause")
            self._set_condition(Condition.PAUSED)
            self._tell(request, ControlDone, "paused; memory is kept")
            self._wait_while_paused()
        elif request.command == Command.CONTINUE:
            self._tell(request, ControlDone, "the run is not paused")

    def _wait_while_paused(self) -> None:
        while not self._stop_reason:
            self._take_requests()
            while self._requests:
                with self._requests_lock:
                    request = self._requests.pop(0)
                if request.command == Command.CONTINUE:
                    self._set_condition(Condition.RUNNING)
                    self._tell(request, ControlDone, "continues")
                    return
                if request.command == Command.PAUSE:
                    # Asked for twice before the first was obeyed: one waiting is enough, and one "continue" ends it.
                    self._tell(request, ControlDone, "the run is paused already")
                else:
                    self._obey(request)
            time.sleep(PAUSE_SECONDS)

    def _stop(self, request: Request | None) -> None:
        self._stop_reason = self._stop_reason or "asked for"
        self._set_condition(Condition.STOPPING)
        try:
            saved = self._save_moment("stop")
        except Stopped:
            if request is not None:
                self._tell(request, ControlDone, "stopped; there was no space to save what is new")
            raise
        if request is not None:
            self._tell(request, ControlDone, saved or "nothing new to save")
        raise Stopped(self._stop_reason)

    def _realise(self, request: Request) -> None:
        scheme = int(request.arguments["scheme"])
        try:
            new = add_pick(self.directory, scheme)
        except OSError as error:
            self._tell(request, ControlRefused, f"it can't be noted down ({error.strerror})")
            return
        self._tell(request, ControlDone, f"scheme {scheme} {'will be realised too' if new else 'is a pick already'}")

    def _set_condition(self, condition: Condition) -> None:
        self._state_word = condition
        self.emit(ConditionChanged(condition=condition))

    def _refuse_older_requests(self) -> None:
        """What was asked of a worker that is gone; but schemes that somebody wants are wanted still."""
        for request in take(self.directory):
            if isinstance(request, Request) and request.command == Command.REALISE and not self._refusal(request):
                self._realise(request)
            elif isinstance(request, Request):
                self._tell(request, ControlRefused, "it was asked of an earlier worker")

    def _refuse_the_rest(self, outcome: Outcome) -> None:
        self._take_requests()
        for request in self._requests:
            if request.command == Command.STOP and outcome == Outcome.STOPPED:
                self._tell(request, ControlDone, "stopped")
            else:
                self._tell(
                    request,
                    ControlRefused,
                    f"the run has {outcome}" if outcome != Outcome.STOPPED else "the run stopped",
                )

    # ---- saving

    def _load(self, name: str, kind: Any) -> Any:
        try:
            payload = self._results.load(name)
            return None if payload is None else self._codec.unpack(payload, kind)
        except DamagedFileError as error:
            self._results.discard(name)
            self.log(f"result '{name}' is damaged and made anew: {error.message}", "warning")
            return None

    def _save_result(self, name: str, value: Any) -> None:
        payload = self._codec.pack(value)
        self.on_disk(len(payload), lambda: self._results.save(name, payload))
        self._moment = None

    def _save_moment(self, reason: str) -> str:
        """Save the last safe point, unless that was done; the checkpoint's id or an empty string."""
        moment = self._moment
        if moment is None or moment.saved:
            return ""
        self._require_lock()
        started = time.monotonic()
        payload = self._codec.pack(moment.snapshot())

        def save() -> str:
            return self._checkpoints.save(
                moment.place, moment.step, payload, time=time.time(), reason=reason, results=self._results.names()
            )

        checkpoint_id = self.on_disk(len(payload), save)
        moment.saved = True
        self._last_saved = time.monotonic()
        self.emit(
            CheckpointSaved(
                id=checkpoint_id,
                stage=moment.place.stage,
                subnetwork=moment.place.subject or None,
                step=moment.step,
                bytes=len(payload),
                reason=reason,
                seconds=round(time.monotonic() - started, 4),
                removed=tuple(self._checkpoints.thin_out()),
            )
        )
        return checkpoint_id

    def on_disk(self, size: int, write: Callable[[], T]) -> T:
        """Write; on a full disk give up old checkpoints but the newest, then wait for space rather than lose one."""
        self._warn_of_low_disk(size)
        thinned = waited = False
        while True:
            try:
                value = write()
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
                if full and not thinned:
                    thinned = True
                    gone = self._checkpoints.thin_out(keep=1)
                    self.log(
                        f"can't save ({error.strerror}); gave up old checkpoints {', '.join(gone) or '(none)'}", "error"
                    )
                    continue
                self._take_requests()
                if self._stop_reason or any(request.command == Command.STOP for request in self._requests):
                    raise Stopped("it can't be saved") from error
                if not waited:
                    waited = True
                    self._set_condition(Condition.PAUSED)
                    what = "free some disk space" if full else "see to its folder"
                    self.log(f"paused: can't save ({error.strerror}); {what}, it then goes on by itself", "error")
                time.sleep(DISK_RETRY_SECONDS)
                continue
            if waited:
                self._set_condition(Condition.RUNNING)
                self.log("it can be saved again: goes on")
            return value

    def _warn_of_low_disk(self, size: int) -> None:
        with suppress(OSError):
            free = shutil.disk_usage(self.directory.path).free
            low = free < max(DISK_RESERVE * size, DISK_LOW_BYTES)
            if low and not self._disk_low:
                self.log(
                    f"the disk is nearly full: {free / 1e6:.0f} MB free, a checkpoint takes {size / 1e6:.1f}", "warning"
                )
            self._disk_low = low

    def _require_lock(self) -> None:
        owner = from_json(read_json(self.directory.lock_file))
        if owner == this_process():
            return
        if owner is not None:
            raise EmodirError("another worker has taken this run over", f"emodir watch {self.directory.id}")
        if self.directory.lock_file.exists():
            # Unreadable for the moment (a network file system): it names nobody else.
            return
        take_lock(self.directory, lambda owner: _is_dead(self.directory, owner))
        self.log("somebody removed the worker's lock; it was made anew", "warning")

    def _rewind(self, checkpoint_id: str) -> None:
        info = self._checkpoints.find(checkpoint_id)
        aside = rewind(self.directory, info)
        self.emit(
            Rewound(
                id=info.id,
                stage=StageName(info.place.stage),
                subnetwork=info.place.subject,
                round=info.place.round,
                step=info.step,
                results=info.results,
            )
        )
        self.log(f"goes back to {info.id}; what came after it is kept in {aside.name}")


def _next_attempt(directory: RunDirectory) -> int:
    numbers = [int(path.stem) for path in directory.events_folder.glob("*.jsonl") if path.stem.isdigit()]
    return max(numbers, default=0) + 1


def _become_owner(directory: RunDirectory, *, leaving: int | None) -> None:
    """Take the lock; a worker (process `leaving`) that has said its last word is given a moment to leave."""
    deadline = time.monotonic() + LEAVING_SECONDS
    while True:
        try:
            _refuse_if_beating(directory)
            take_lock(directory, lambda owner: _is_dead(directory, owner))
        except ConflictError:
            owner = from_json(read_json(directory.lock_file)) or from_json(read_heartbeat(directory.heartbeat_file))
            if owner is None or owner.pid != leaving or time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _refuse_if_beating(directory: RunDirectory) -> None:
    """A live worker whose lock somebody removed is still the only one that may write."""
    owner = from_json(read_heartbeat(directory.heartbeat_file))
    if owner is not None and owner != this_process() and owner.is_alive():
        raise already_running(directory, owner)


def _is_dead(directory: RunDirectory, owner: Process) -> bool:
    alive = owner.is_alive()
    if alive is not None:
        return not alive
    # From another host only its heartbeat tells, and that it stands still takes time to see: clocks may disagree.
    return heartbeat_stalled(directory, LOST_SECONDS_OTHER_HOST)


def _sentence(error: BaseException) -> str:
    return error.message if isinstance(error, EmodirError) else f"{type(error).__name__}: {error}"
