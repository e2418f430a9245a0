"""The worker's heartbeat: two fixed slots, rewritten in place each second, which works on a full disk too."""

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from emodir_tui.runs.directory import file_mode
from emodir_tui.runs.process import from_json, this_process
from emodir_tui.runs.reading import open_regular

SLOT_BYTES = 1024
EVERY_SECONDS = 1.0


class Heartbeat:
    """Beats in its own thread until `close`, with what `details()` adds (small JSON values)."""

    def __init__(self, path: Path, details: Callable[[], dict[str, Any]], every_seconds: float = EVERY_SECONDS) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchmod(self._descriptor, file_mode(path.parent))
        if os.fstat(self._descriptor).st_size < 2 * SLOT_BYTES:
            # Both slots are filled now, while there is room: later beats need no new block.
            with suppress(OSError):
                os.pwrite(self._descriptor, b" " * (2 * SLOT_BYTES), 0)
        self._details = details
        self._identity = identity(path)
        self._every_seconds = every_seconds
        before = read_heartbeat(path)
        self._seq = before["seq"] if before else 0
        self._end = threading.Event()
        self.beat()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Write one beat now."""
        self._seq += 1
        value = {"seq": self._seq, "time": round(time.time(), 3), **self._identity, **self._details()}
        data = json.dumps(value, separators=(",", ":")).encode()
        if len(data) >= SLOT_BYTES:
            data = json.dumps({"seq": self._seq, "time": value["time"], **self._identity}).encode()
        with suppress(OSError):
            os.pwrite(self._descriptor, data.ljust(SLOT_BYTES - 1) + b"\n", (self._seq % 2) * SLOT_BYTES)

    def close(self) -> None:
        """Stop beating."""
        self._end.set()
        self._thread.join()
        os.close(self._descriptor)

    def _beat_on(self) -> None:
        while not self._end.wait(self._every_seconds):
            self.beat()


def identity(path: Path) -> dict[str, Any]:
    """This process and the directory of its heartbeat or lock, as plain JSON values."""
    return {**this_process().as_json(), "directory": path.parent.stat().st_ino}


def is_of_copy(path: Path, record: dict[str, Any] | None) -> bool:
    """Whether a heartbeat or lock was copied with its directory, so that its process does not write here.

    It can be known on the process's own host only: another one may number directories differently.
    """
    process, number = from_json(record), (record or {}).get("directory")
    if process is None or type(number) is not int or process.is_alive() is None:
        return False
    try:
        return path.parent.stat().st_ino != number
    except OSError:
        return False


def read_heartbeat(path: Path) -> dict[str, Any] | None:
    """The newest whole beat, or None. A torn slot is skipped: the other one holds the beat before."""
    try:
        with open_regular(path) as file:
            content = file.read(2 * SLOT_BYTES)
    except OSError:
        return None
    newest: dict[str, Any] | None = None
    for offset in (0, SLOT_BYTES):
        try:
            beat = json.loads(content[offset : offset + SLOT_BYTES])
        except (ValueError, RecursionError):
            continue
        if not isinstance(beat, dict) or type(beat.get("seq")) is not int:
            continue
        if newest is None or beat["seq"] > newest["seq"]:
            newest = beat
    return newest
