"""Summaries: what lists show of a run. An ended run's is kept beside its event log, so that the log is read once.

A kept summary counts for exactly the log that it was made from, and only for the user who wrote it. Nothing needs it.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from emodir_tui.runs.directory import RunDirectory, write_file
from emodir_tui.runs.eta import eta_seconds
from emodir_tui.runs.names import Outcome, StageName
from emodir_tui.runs.reading import JSON_BYTES, open_regular
from emodir_tui.runs.state import Pick, RunState
from emodir_tui.runs.status import Observer, Status
from emodir_tui.runs.watcher import Watcher

# To be raised whenever the same log gives another summary than before.
SCHEMA = 1


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What lists show of a run, and what its status depends on. Times are Unix seconds.

    `best_pick` and `original_accuracy` are None until they are measured, `eta_seconds` where nothing can be expected.
    """

    pid: int
    host: str
    started: float | None
    opened: float | None
    updated: float | None
    condition: str
    outcome: Outcome | None
    error: str
    stage: StageName | None
    progress: float
    best_pick: Pick | None
    original_accuracy: float | None
    eta_seconds: float | None


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """A segment of an event log as it is on disk. Nobody can choose a file's inode and the time of its last change."""

    name: str
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


Log = tuple[Segment, ...]


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A summary, and the log that it was made from."""

    schema: int
    log: Log
    summary: RunSummary


_DECODER = msgspec.json.Decoder(_Kept)


def summarise(directory: RunDirectory) -> tuple[RunSummary, Status]:
    """The summary and the status of a run; the summary is read from beside the log, or made and kept there."""

    def look() -> tuple[RunState, Status]:
        watcher = Watcher(directory)
        status = watcher.look()
        return watcher.state, status

    return summarise_log(directory, log_of(directory), look)


def summarise_log(
    directory: RunDirectory, log: Log, look: Callable[[], tuple[RunState, Status]]
) -> tuple[RunSummary, Status]:
    """The same of a run whose log was this.

    Args:
        directory: The run.
        log: Its event log, as it was before it is read.
        look: Reads the log, where no summary is kept of it.
    """
    kept = kept_summary(directory, log)
    if kept is not None:
        return kept, Observer(directory).status(kept)
    state, status = look()
    summary = summary_of(state, status)
    keep_summary(directory, log, summary, status)
    return summary, status


def summary_of(state: RunState, status: Status) -> RunSummary:
    """The summary of a run in this state."""
    return RunSummary(
        pid=state.pid,
        host=state.host,
        started=state.started,
        opened=state.opened,
        updated=state.updated,
        condition=state.condition,
        outcome=state.outcome,
        error=state.error,
        stage=state.stage.name if state.stage is not None else None,
        progress=state.progress,
        best_pick=state.best_pick,
        original_accuracy=state.baseline.accuracy if state.baseline is not None else None,
        eta_seconds=eta_seconds(state, status.word, time.time()),
    )


def log_of(directory: RunDirectory) -> Log:
    """The event log as it is on disk now. To be asked before the log is read."""
    found = []
    for path in directory.event_segments():
        # Opened, because a network file system may give an old status of a file that is not.
        with suppress(OSError), open_regular(path) as file:
            status = os.fstat(file.fileno())
            found.append(Segment(path.name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)


def kept_summary(directory: RunDirectory, log: Log) -> RunSummary | None:
    """The summary that this user keeps of exactly this log, or None."""
    try:
        with open_regular(directory.summary_file) as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            kept = _DECODER.decode(file.read(JSON_BYTES))
    except (OSError, msgspec.DecodeError, ValueError, RecursionError):
        return None
    return kept.summary if (kept.schema, kept.log) == (SCHEMA, log) else None


def keep_summary(directory: RunDirectory, log: Log, summary: RunSummary, status: Status) -> None:
    """Keep the summary that was made of this log, if the run has ended, is this user's own, and can be written."""
    if status.is_live or not log:
        return
    kept = _Kept(schema=SCHEMA, log=log, summary=summary)
    with suppress(OSError):
        if directory.path.stat().st_uid == os.geteuid():
            write_file(directory.summary_file, msgspec.json.encode(kept), lasting=False)
