"""Run: a run opened for writing. The worker's only way to the disk.

Every stage result and checkpoint is saved before its event is emitted, and control requests are looked at after.
So resuming is starting the same worker on the same directory: there is no other path.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from emodir_tui.errors import DamagedFileError, EmodirError, ExitCode
from emodir_tui.profile import Profile
from emodir_tui.runs.checkpoint import Place, rewind
from emodir_tui.runs.directory import RunDirectory, write_json
from emodir_tui.runs.emitter import Emitter, Listener
from emodir_tui.runs.event_types import Event, Rewound, RunClosed, RunOpened, StageFinished, StageStarted
from emodir_tui.runs.events import EventWriter, read_all
from emodir_tui.runs.facts import Facts
from emodir_tui.runs.fold import replay
from emodir_tui.runs.heartbeat import Heartbeat
from emodir_tui.runs.names import Condition, Outcome, StageName, StageState
from emodir_tui.runs.ownership import become_owner, holds_lock, release_lock
from emodir_tui.runs.picks import new_picks
from emodir_tui.runs.process import start_ticks, this_process
from emodir_tui.runs.request_desk import RequestDesk, Stopped
from emodir_tui.runs.saving import Codec, Saving, Snapshot

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Step(Generic[P, T]):
    """A step of the method: what it computes, and the name and the type of its result on disk.

    The name is declared and not taken from the function, so that renaming a function keeps runs on disk resumable.
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
    """A run opened by its one worker; the worker lives as long as the `with` block.

    Args:
        directory: The run.
        profile: Its profile.
        codec: Between values and bytes.
        rewind_to: Go back to this checkpoint when the run is opened.

    Raises:
        ConflictError: A live worker has the run.
    """

    def __init__(
        self, directory: RunDirectory, profile: Profile, codec: Codec, *, rewind_to: str | None = None
    ) -> None:
        with ExitStack() as opened:
            # Whoever moves the directory takes the run along.
            directory = opened.enter_context(directory.pinned())
            self._begin(directory, profile, codec)
            self._opened = opened.pop_all()
        self._rewind_to = rewind_to

    def _begin(self, directory: RunDirectory, profile: Profile, codec: Codec) -> None:
        self._facts = Facts()
        self._before = replay(self._facts.read_log(read_all(directory.events_folder)))
        become_owner(directory, leaving=self._before.pid if self._before.outcome is not None else None)
        directory.remove_temporary_files(lambda pid: start_ticks(pid) is not None)
        self.directory = directory
        self.profile = profile
        self.attempt = directory.next_attempt()
        self._writer = EventWriter(directory.events_folder, self.attempt)
        self._emitter = Emitter(self._writer, self._facts)
        self._desk = RequestDesk(directory, self._emitter, self._leave_at_once)
        self._saving = Saving(directory, codec, self._emitter, self._facts, self._desk, keep=profile.checkpoint.keep)
        self._progress = 0
        self._location = directory.location
        self._device = ""
        self._desk.refuse_older()

    def __enter__(self) -> Self:
        self._heartbeat = Heartbeat(self.directory.heartbeat_file, self._beat)
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
            self._desk.refuse_rest(outcome)
        self._heartbeat.close()
        self._writer.close()
        release_lock(self.directory)
        self._opened.close()

    def open(self, device: str) -> None:
        """Emit that the worker is ready; go back to an older checkpoint if that was asked for."""
        self._device = device
        self._emit_opened()
        if self._rewind_to is not None:
            self._rewind(self._rewind_to)
        self._desk.condition = Condition.RUNNING

    # ---- events

    @property
    def listeners(self) -> list[Listener]:
        """Called with each event, in the main thread."""
        return self._emitter.listeners

    def emit(self, event: Event) -> None:
        """Write an event, and hand it to the listeners."""
        self._emitter.emit(event)

    def log(self, text: str, level: str = "info", stage: StageName | None = None) -> None:
        """A line of the log; level is debug, info, warning or error."""
        self._emitter.log(text, level, stage)

    # ---- results

    def once(self, stage: Step[P, T], *inputs: P.args, **options: P.kwargs) -> T:
        """The step's result: from the disk if it is there, else computed and saved."""
        saved = self._saving.load(stage.name, stage.result)
        if saved is not None:
            self._emit_finished(stage.name)
            return saved  # type: ignore[no-any-return]
        self.emit(StageStarted(stage=stage.name))
        started = self.worked_seconds
        with self._facts.collected():
            result = stage(self, *inputs, **options)
            self._saving.save_result(stage.name, result)
        self.emit(StageFinished(stage=stage.name, seconds=round(self.worked_seconds - started, 3)))
        return result

    def part(self, name: str, kind: type[T], compute: Callable[[], T]) -> T:
        """A finished part of a stage (one sub-network's search, one pick): from the disk, or computed and saved."""
        saved = self._saving.load(name, kind)
        if saved is not None:
            return saved  # type: ignore[no-any-return]
        with self._facts.collected():
            result = compute()
            self._saving.save_result(name, result)
        return result

    def has_part(self, name: str) -> bool:
        """Whether this result is on disk."""
        return name in self._saving.results.names()

    def load_part(self, name: str, kind: type[T]) -> T:
        """A part that an earlier stage made.

        Raises:
            DamagedFileError: It is gone or damaged.
        """
        saved = self._saving.load(name, kind)
        if saved is None:
            raise DamagedFileError(
                f"the result '{name}' of an earlier stage is gone or damaged",
                f"Go back to an older checkpoint: emodir resume {self.directory.id} --from ck-…",
            )
        return saved  # type: ignore[no-any-return]

    def forget(self, *names: StageName) -> None:
        """Discard these stages' results, so that they are computed again; their finished parts stay."""
        for name in names:
            self._saving.results.remove(name)

    def publish(self, name: str, value: dict[str, Any]) -> None:
        """Write a front or a ranking as JSON for other programs; the same run writes the same bytes."""
        self.on_disk(0, lambda: write_json(self.directory.front_file(name), value))

    def on_disk(self, size: int, write: Callable[[], T]) -> T:
        """Write; on a full disk give up old checkpoints but the newest, then pause until there is space.

        Args:
            size: Bytes that will be written, as far as known.
            write: Writes them; called again after an OSError.

        Raises:
            Stopped: The run was asked to stop while it waited.
        """
        return self._saving.on_disk(size, write)

    # ---- safe points

    def resume_point(self, place: Place, kind: type[T]) -> T | None:
        """The newest whole checkpoint of this place, or None. Damaged ones are reported and skipped."""
        return self._saving.load_checkpoint(place, kind)  # type: ignore[no-any-return]

    def advance(self, place: Place, step: int, snapshot: Snapshot, events: Sequence[Event] = ()) -> None:
        """A safe point inside a stage: save if due, emit, then carry out the control requests.

        Args:
            place: Where the run is.
            step: Steps done at this place.
            snapshot: Makes the value that `resume_point` gives back; called before the next `advance` or never.
            events: Emitted after saving.

        Raises:
            Stopped: The run was asked to stop; this moment is saved.
        """
        self.directory.require_present()
        self._progress += 1
        self._saving.remember(place, step, snapshot, due_seconds=self.profile.checkpoint.seconds)
        for event in events:
            self.emit(event)
        self._desk.obey(self._saving.save_moment)

    def check(self) -> None:
        """A safe point between evaluations, when nothing has changed since the last `advance` that is worth keeping."""
        self.directory.require_present()
        self._progress += 1
        self._desk.obey(self._saving.save_moment)

    @property
    def worked_seconds(self) -> float:
        """A clock that stands still in pauses."""
        return time.monotonic() - self._desk.paused_seconds

    @property
    def stopping(self) -> bool:
        """Whether a signal has asked for a stop already."""
        return self._desk.stopping

    def request_stop(self, reason: str) -> None:
        """Stop at the next safe point (from a signal)."""
        self._desk.request_stop(reason)

    def request_save(self, reason: str) -> None:
        """Save at the next safe point (from a signal)."""
        self._desk.request_save(reason)

    @property
    def new_picks(self) -> list[int]:
        """Schemes that were asked for since the earlier attempts and that none of these picked."""
        return new_picks(self.directory, self._before)

    def _emit_opened(self) -> None:
        process = this_process()
        self.emit(RunOpened(attempt=self.attempt, pid=process.pid, host=process.host, device=self._device))

    def _watch_directory(self) -> None:
        """Notice, in the heartbeat's thread, what somebody did to the directory."""
        if self.directory.is_removed:
            return
        if (location := self.directory.location) != self._location:
            self._location = location
            self.log(f"the run's directory was moved to {location}; the run goes on there", "warning")
        with suppress(OSError):
            if self._writer.reopen_if_deleted():
                self._emit_opened()
                text = (
                    "the event log was deleted and starts again; once the run has ended, 'emodir resume' completes it"
                )
                self.log(text, "warning")

    def _emit_finished(self, name: StageName) -> None:
        """A worker that dies between saving a result and emitting its event leaves the event to the next one."""
        if self._before.stages[name].state != StageState.DONE:
            self.emit(StageFinished(stage=name, seconds=0.0))

    def _beat(self) -> dict[str, Any]:
        """Called by the heartbeat's thread: takes requests, so that they are acknowledged while the work continues."""
        self._watch_directory()
        self._desk.take()
        try:
            free = shutil.disk_usage(self.directory.path).free
        except OSError:
            free = -1
        return {
            "progress": self._progress,
            "condition": self._desk.condition,
            "dropped": self._writer.dropped,
            "disk_free_bytes": free,
            "attempt": self.attempt,
        }

    def _leave_at_once(self) -> None:
        """End the process, from whatever thread: the main one may be in the middle of a long computation."""
        self.emit(RunClosed(outcome=Outcome.STOPPED))
        self._writer.close()
        release_lock(self.directory)
        # Files are renamed into place whole, so leaving in the middle of anything loses no more than the progress.
        os._exit(ExitCode.STOPPED)

    def _rewind(self, checkpoint_id: str) -> None:
        info = self._saving.checkpoints.find(checkpoint_id)
        aside = rewind(self.directory, info)
        self.emit(
            Rewound(
                id=info.id,
                stage=info.place.stage,
                subnetwork=info.place.subject,
                round=info.place.round,
                step=info.step,
                results=info.results,
            )
        )
        self._facts.rewind(info.place.stage)
        self.log(f"went back to {info.id}; what came after it is kept in {aside.name}")


def _sentence(error: BaseException) -> str:
    return error.message if isinstance(error, EmodirError) else f"{type(error).__name__}: {error}"
