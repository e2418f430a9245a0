"""Saving: results and checkpoints on their way to the disk; when to save, and what to do on a full disk."""

import errno
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from emodir_tui import formatting
from emodir_tui.errors import DamagedFileError
from emodir_tui.runs.checkpoint import Checkpoints, Place, Results, Saved
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.emitter import Emitter
from emodir_tui.runs.event_types import CheckpointDamaged, CheckpointSaved
from emodir_tui.runs.facts import Facts
from emodir_tui.runs.names import Condition
from emodir_tui.runs.ownership import require_ownership
from emodir_tui.runs.request_desk import RequestDesk, Stopped

T = TypeVar("T")
Snapshot = Callable[[], Any]

DISK_RETRY_SECONDS = 2.0
# The next checkpoint needs its own size; as much again is left for events and for others.
DISK_RESERVE = 2.0
DISK_LOW_BYTES = 1 << 30


class Codec(Protocol):
    """Turns values of the stages into bytes and back; knows torch, which this package does not."""

    def pack(self, value: Any) -> bytes:
        """A value as bytes."""

    def unpack(self, payload: bytes, kind: Any) -> Any:
        """The value of this type that the bytes hold."""


@dataclass(slots=True)
class _Moment:
    place: Place
    step: int
    snapshot: Snapshot
    saved: bool = False


class Saving:
    """Loads and saves a run's results and checkpoints.

    Args:
        directory: The run.
        codec: Between values and bytes.
        emitter: Of its events.
        facts: The facts that results and checkpoints hold.
        desk: Its control requests: a run that waits for space can be stopped.
        keep: How many checkpoints stay.
    """

    def __init__(
        self, directory: RunDirectory, codec: Codec, emitter: Emitter, facts: Facts, desk: RequestDesk, *, keep: int
    ) -> None:
        self.results = Results(directory)
        self.checkpoints = Checkpoints(directory, keep=keep)
        self._directory, self._codec, self._emitter, self._facts, self._desk = directory, codec, emitter, facts, desk
        self._moment: _Moment | None = None
        self._last_saved = time.monotonic()
        self._disk_low = False

    def load(self, name: str, kind: Any) -> Any:
        """A result, or None where there is none; a damaged one is set aside and computed again.

        The facts of the result that the log lacks are emitted.
        """
        try:
            saved = self.results.load(name)
            if saved is None:
                return None
            value = self._codec.unpack(saved.payload, kind)
        except DamagedFileError as error:
            self.results.set_aside(name)
            self._emitter.log(f"result '{name}' is damaged and computed again: {error.message}", "warning")
            return None
        self._complete_log(saved)
        return value

    def save_result(self, name: str, value: Any) -> None:
        """Keep a result. The last safe point belongs to the work on it and is dropped."""
        content = Saved(payload=self._codec.pack(value), facts=self._facts.packed())
        self.on_disk(content.size, lambda: self.results.save(name, content))
        self._emitter.flush()
        self._moment = None

    def load_checkpoint(self, place: Place, kind: Any) -> Any:
        """The value of the newest whole checkpoint of a place, or None. Damaged ones are reported and skipped.

        The facts up to the checkpoint that the log lacks are emitted.
        """
        for info in reversed(self.checkpoints.infos()):
            if info.place != place:
                continue
            try:
                saved = self.checkpoints.load(info.id)
                value = self._codec.unpack(saved.payload, kind)
            except DamagedFileError as error:
                text = f"checkpoint {info.id} is damaged and skipped: {error.message}"
                self._emitter.emit(CheckpointDamaged(id=info.id, text=text))
                continue
            subject = f" {place.subject}" if place.subject else ""
            self._emitter.log(f"continues at {place.stage}{subject} step {info.step} from {info.id}")
            self._complete_log(saved)
            return value
        return None

    def remember(self, place: Place, step: int, snapshot: Snapshot, *, due_seconds: float) -> None:
        """Take this moment as the last safe point; save it if the last save is that long ago."""
        self._moment = _Moment(place, step, snapshot)
        if time.monotonic() - self._last_saved >= due_seconds:
            self.save_moment("auto")

    def save_moment(self, reason: str) -> str:
        """Save the last safe point, unless that was done; the checkpoint's id or an empty string."""
        moment = self._moment
        if moment is None or moment.saved:
            return ""
        require_ownership(self._directory, self._emitter)
        started = time.monotonic()
        content = Saved(payload=self._codec.pack(moment.snapshot()), facts=self._facts.packed())

        def save() -> str:
            return self.checkpoints.save(
                moment.place, moment.step, content, time=time.time(), reason=reason, results=self.results.names()
            )

        checkpoint_id = self.on_disk(content.size, save)
        self._emitter.flush()
        moment.saved = True
        self._last_saved = time.monotonic()
        self._emitter.emit(
            CheckpointSaved(
                id=checkpoint_id,
                stage=moment.place.stage,
                subnetwork=moment.place.subject or None,
                step=moment.step,
                bytes=content.size,
                reason=reason,
                seconds=round(time.monotonic() - started, 4),
                removed=tuple(self.checkpoints.thin_out()),
            )
        )
        return checkpoint_id

    def on_disk(self, size: int, write: Callable[[], T]) -> T:
        """Write; on a full disk give up old checkpoints but the newest, then pause until there is space.

        Args:
            size: Bytes that will be written, as far as known.
            write: Writes them; called again after an OSError.

        Raises:
            Stopped: The run was asked to stop while it waited.
        """
        self._warn_of_low_disk(size)
        thinned = paused = False
        while True:
            try:
                value = write()
            except OSError as error:
                self._directory.require_present()
                full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
                if full and not thinned:
                    thinned = True
                    self._give_up_checkpoints(error)
                    continue
                if self._desk.stop_requested():
                    raise Stopped("the run cannot be saved") from error
                if not paused:
                    paused = True
                    self._pause(error, full=full)
                time.sleep(DISK_RETRY_SECONDS)
                continue
            if paused:
                self._desk.set_condition(Condition.RUNNING)
                self._emitter.log("saved; the run continues")
            return value

    def _complete_log(self, saved: Saved) -> None:
        for fact in self._facts.unlogged(saved.facts):
            self._emitter.emit(fact)

    def _give_up_checkpoints(self, error: OSError) -> None:
        gone = ", ".join(self.checkpoints.thin_out(keep=1)) or "(none)"
        self._emitter.log(f"cannot save ({error.strerror}); removed old checkpoints {gone}", "error")

    def _pause(self, error: OSError, *, full: bool) -> None:
        self._desk.set_condition(Condition.PAUSED)
        what = "free some disk space" if full else "check the run's folder"
        self._emitter.log(f"paused: cannot save ({error.strerror}); {what}, then the run continues by itself", "error")

    def _warn_of_low_disk(self, size: int) -> None:
        with suppress(OSError):
            free = shutil.disk_usage(self._directory.path).free
            low = free < max(DISK_RESERVE * size, DISK_LOW_BYTES)
            if low and not self._disk_low:
                text = (
                    f"the disk is nearly full: {formatting.size(free)} free, a checkpoint takes {formatting.size(size)}"
                )
                self._emitter.log(text, "warning")
            self._disk_low = low
