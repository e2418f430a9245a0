"""Summaries of all runs in a folder, read in a thread; a run whose events have not grown is not read again."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emodir_tui.runs.directory import RunDirectory, list_runs
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.runs.summary import Log, RunSummary, log_of, summarise_log
from emodir_tui.runs.watcher import Watcher

AGAIN_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A run in one line. Accuracy and MACs belong to its best pick; `updated` is the time of the last event."""

    directory: RunDirectory
    word: StatusWord | Literal["", "unreadable"] = ""
    stage: str = ""
    progress: float = 0.0
    accuracy: float | None = None
    accuracy_change: float | None = None
    macs_kept: float | None = None
    updated: float | None = None
    host: str = ""


class Summaries:
    """Reads the runs again and again, newest first, and publishes all summaries as they change, until closed."""

    def __init__(self, runs_dir: Path, publish: Callable[[list[Summary]], None]) -> None:
        self._runs_dir, self._publish = runs_dir, publish
        self._end = threading.Event()
        self._watched: dict[str, _Watched] = {}
        threading.Thread(target=self._read, name="summaries", daemon=True).start()

    def close(self) -> None:
        """Stop reading."""
        self._end.set()

    def _read(self) -> None:
        while not self._end.is_set():
            directories = list_runs(self._runs_dir)
            for directory in directories:
                self._watched.setdefault(directory.id, _Watched(directory))
            self._publish([self._watched[directory.id].summary for directory in directories])
            published = time.monotonic()
            for directory in directories:
                if self._end.is_set():
                    return
                self._watched[directory.id].update_safely()
                if time.monotonic() - published > 0.25:
                    self._publish([self._watched[item.id].summary for item in directories])
                    published = time.monotonic()
            self._publish([self._watched[directory.id].summary for directory in directories])
            self._end.wait(AGAIN_SECONDS)


class _Watched:
    """One run; its whole state is kept only while it is live."""

    def __init__(self, directory: RunDirectory) -> None:
        self.summary = Summary(directory=directory)
        self._watcher = Watcher(directory)
        self._log: Log = ()

    def update_safely(self) -> None:
        """Update the summary; a run that cannot be read must not hide the others."""
        try:
            self.update()
        except (OSError, ValueError, TypeError, KeyError, ArithmeticError, AttributeError):
            self.summary = Summary(directory=self.summary.directory, word="unreadable")

    def update(self) -> None:
        """Update the summary."""
        directory = self.summary.directory
        log = log_of(directory)
        ended = self.summary.word in (StatusWord.FINISHED, StatusWord.FAILED, StatusWord.STOPPED, StatusWord.LOST)
        if ended and log == self._log:
            return
        if ended or _size(log) < _size(self._log):
            self._watcher = Watcher(directory)
        self._log = log
        found, status = summarise_log(directory, log, self._look)
        self.summary = _summarise(directory, found, status)
        if not status.is_live:
            self._watcher = Watcher(directory)

    def _look(self) -> tuple[RunState, Status]:
        """Read all new events, a piece at a time."""
        while True:
            _, status = self._watcher.poll(512 << 10)
            # Let the screen's thread run.
            time.sleep(0.001)
            if status is not None:
                return self._watcher.state, status


def _size(log: Log) -> int:
    return sum(segment.size for segment in log)


def _summarise(directory: RunDirectory, found: RunSummary, status: Status) -> Summary:
    best, original = found.best_pick, found.original_accuracy
    change = best.accuracy - original if best and best.accuracy is not None and original is not None else None
    return Summary(
        directory=directory,
        word=status.word,
        stage=found.stage.numbered if found.stage else "",
        progress=found.progress,
        accuracy=best.accuracy if best is not None else None,
        accuracy_change=change,
        macs_kept=best.macs_kept if best is not None else None,
        updated=found.updated or directory.created or None,
        host=found.host,
    )
