"""The lock that makes a worker the only writer of a run. Works on NFS: it needs atomic links only."""

import json
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from emodir_tui.errors import ConflictError, EmodirError
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.emitter import Emitter
from emodir_tui.runs.heartbeat import identity, is_of_copy, read_heartbeat
from emodir_tui.runs.process import Process, from_json, this_process
from emodir_tui.runs.reading import JSON_BYTES, read_bytes, read_json
from emodir_tui.runs.status import LOST_SECONDS_OTHER_HOST, heartbeat_stalled

LEAVING_SECONDS = 15.0
RETRY_SECONDS = 0.2


def become_owner(directory: RunDirectory, *, leaving: int | None) -> None:
    """Take the lock.

    Args:
        directory: The run.
        leaving: The process of a worker that has closed the run; it gets a moment to end.

    Raises:
        ConflictError: A live worker has the run.
    """
    deadline = time.monotonic() + LEAVING_SECONDS
    while True:
        try:
            _refuse_if_beating(directory)
            take_lock(directory, lambda owner: _is_dead(directory, owner))
        except ConflictError:
            owner = from_json(read_json(directory.lock_file)) or from_json(read_heartbeat(directory.heartbeat_file))
            if owner is None or owner.pid != leaving or time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def require_ownership(directory: RunDirectory, emitter: Emitter) -> None:
    """Make sure that this process still has the lock; a removed lock is taken again.

    Raises:
        EmodirError: Another worker has it.
    """
    owner = from_json(read_json(directory.lock_file))
    if owner == this_process():
        return
    if owner is not None:
        raise EmodirError("another worker has taken this run over", f"emodir watch {directory.id}")
    if directory.lock_file.exists():
        # Unreadable for the moment (a network file system): it does not name another worker.
        return
    take_lock(directory, lambda owner: _is_dead(directory, owner))
    emitter.log("the worker's lock was removed; it was taken again", "warning")


def take_lock(directory: RunDirectory, is_dead: Callable[[Process], bool]) -> None:
    """Become the one writer of this run.

    A dead owner's lock is taken over, and of several that try only one gets it: the right to succeed an owner is
    itself a file that can be made only once.

    Args:
        directory: The run.
        is_dead: Whether an owner is certainly gone.

    Raises:
        ConflictError: A live worker has it, or was faster.
    """
    mine = directory.lock_draft(f"{os.getpid()}.{secrets.token_hex(4)}")
    mine.write_text(json.dumps({**identity(directory.lock_file), "token": secrets.token_hex(8)}))
    try:
        while not _link(mine, directory.lock_file):
            try:
                inherited = read_bytes(directory.lock_file, JSON_BYTES)
                break
            except FileNotFoundError:
                # Released between the two looks: the first link wins.
                continue
            except OSError:
                inherited = b""
                break
        else:
            return
        _refuse_if_alive(directory, directory.lock_file, is_dead)
        while True:
            succession = directory.succession_file(sha256(inherited).hexdigest()[:16])
            if _link(mine, succession):
                break
            # Another process succeeds this owner; if it died in between, it is succeeded in turn.
            _refuse_if_alive(directory, succession, is_dead)
            inherited += read_bytes(succession, JSON_BYTES)
        mine.replace(directory.lock_file)
    finally:
        with suppress(OSError):
            mine.unlink()


def holds_lock(directory: RunDirectory) -> bool:
    """Whether this process still is the owner."""
    return from_json(read_json(directory.lock_file)) == this_process()


def release_lock(directory: RunDirectory) -> None:
    """Release the lock, if this process has it."""
    if not holds_lock(directory):
        return
    with suppress(OSError):
        directory.lock_file.unlink()
    for path in directory.succession_files():
        with suppress(OSError):
            path.unlink()


def already_running(directory: RunDirectory, owner: Process) -> ConflictError:
    """The error of a second worker."""
    return ConflictError(
        f"{directory.id} is already running (process {owner.pid} on {owner.host})", f"emodir watch {directory.id}"
    )


def _refuse_if_alive(directory: RunDirectory, path: Path, is_dead: Callable[[Process], bool]) -> None:
    record = read_json(path)
    owner = from_json(record)
    # An unreadable lock has no owner: a crash of the whole machine can leave one.
    if owner is not None and not is_of_copy(path, record) and not is_dead(owner):
        raise already_running(directory, owner)


def _refuse_if_beating(directory: RunDirectory) -> None:
    """A live worker whose lock was removed is still the only one that may write."""
    beat = read_heartbeat(directory.heartbeat_file)
    owner = None if is_of_copy(directory.heartbeat_file, beat) else from_json(beat)
    if owner is not None and owner != this_process() and owner.is_alive():
        raise already_running(directory, owner)


def _is_dead(directory: RunDirectory, owner: Process) -> bool:
    alive = owner.is_alive()
    if alive is not None:
        return not alive
    # Only the heartbeat shows whether a process of another host lives, and clocks may disagree: watch it for a while.
    return heartbeat_stalled(directory, LOST_SECONDS_OTHER_HOST)


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True
