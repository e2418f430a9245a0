"""The lock that makes a worker the only writer of a run. Works on NFS: it needs nothing but atomic links."""

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from emodir_tui.errors import ConflictError
from emodir_tui.runs.directory import RunDirectory, read_json
from emodir_tui.runs.process import Process, from_json, this_process


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
    mine = directory.path / f".lock.{os.getpid()}.{secrets.token_hex(4)}"
    mine.write_text(json.dumps({**this_process().as_json(), "token": secrets.token_hex(8)}))
    try:
        while not _link(mine, directory.lock_file):
            try:
                inherited = directory.lock_file.read_bytes()
                break
            except FileNotFoundError:
                # Given back between the two looks: whoever links first has it.
                continue
            except OSError:
                inherited = b""
                break
        else:
            return
        _refuse_if_alive(directory, directory.lock_file, is_dead)
        while True:
            succession = directory.path / f".lock.succession-{sha256(inherited).hexdigest()[:16]}"
            if _link(mine, succession):
                break
            # Somebody else succeeds this owner; should they have died in between, they are succeeded in turn.
            _refuse_if_alive(directory, succession, is_dead)
            inherited += succession.read_bytes()
        mine.replace(directory.lock_file)
    finally:
        with suppress(OSError):
            mine.unlink()


def holds_lock(directory: RunDirectory) -> bool:
    """Whether this process still is the owner."""
    return from_json(read_json(directory.lock_file)) == this_process()


def release_lock(directory: RunDirectory) -> None:
    """Give it back; only the owner's own lock is removed."""
    if not holds_lock(directory):
        return
    with suppress(OSError):
        directory.lock_file.unlink()
    for path in directory.path.glob(".lock.succession-*"):
        with suppress(OSError):
            path.unlink()


def already_running(directory: RunDirectory, owner: Process) -> ConflictError:
    """What is told to whoever would be a second worker."""
    return ConflictError(
        f"{directory.id} is already running (process {owner.pid} on {owner.host})", f"emodir watch {directory.id}"
    )


def _refuse_if_alive(directory: RunDirectory, path: Path, is_dead: Callable[[Process], bool]) -> None:
    owner = from_json(read_json(path))
    # A lock nobody can read names nobody: a crash of the whole machine can leave one.
    if owner is not None and not is_dead(owner):
        raise already_running(directory, owner)


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True
