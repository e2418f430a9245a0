"""Workers that die inside a file-system call, and disks that lose what was not flushed when the power went.

`CrashPoint.install` is called in a forked worker. It replaces the calls of `os` that change files, counts them, and
kills the process at one of them. What was flushed is written to a record, from which `lose_unflushed` makes the run
directory as a power cut would leave it at worst: a file that was never flushed, or whose folder was not flushed after
the file got its name, is gone, and a file ends where it was flushed last.
"""

import functools
import json
import mmap
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = ("open", "write", "fsync", "replace", "rename", "link", "unlink", "mkdir", "close")
MOMENTS = ("before", "within", "after")


class CrashPoint:
    """The moment at which a worker dies.

    Args:
        record: The file to which every flush is written.
        number: The call at which the worker dies, counted from 1; 0: never.
        moment: Before or after the call, or within it: half of a write.
    """

    def __init__(self, record: Path, number: int = 0, moment: str = "before") -> None:
        self._number, self._moment = number, moment
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # Shared with the parent, which reads the count after the worker's death.
        self._count = mmap.mmap(-1, 8)
        self._write, self._fsync = os.write, os.fsync

    @property
    def count(self) -> int:
        """How many calls there were."""
        return int.from_bytes(self._count[:8], "little")

    def install(self, directory: Path) -> None:
        """Replace the calls in this process; what is in the directory already counts as flushed."""
        for path in (path for path in directory.rglob("*") if path.is_file()):
            self._note({"file": path.stat().st_ino, "size": path.stat().st_size})
            self._note({"folder": str(path.parent), "names": _names(path.parent)})
        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def counted(*arguments: Any, **options: Any) -> Any:
            self._count[:8] = (self.count + 1).to_bytes(8, "little")
            here = self.count == self._number
            if here and self._moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if here and self._moment == "within" and name == "write":
                self._write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            value = call(*arguments, **options)
            if name == "fsync":
                self._record_flush(arguments[0])
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return counted

    def _record_flush(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            folder = Path(f"/proc/self/fd/{descriptor}").readlink()
            self._note({"folder": str(folder), "names": _names(folder)})
        else:
            self._note({"file": status.st_ino, "size": status.st_size})

    def _note(self, value: dict[str, Any]) -> None:
        self._write(self._record, json.dumps(value).encode() + b"\n")


def _names(folder: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_ino for path in folder.iterdir()}


def lose_unflushed(directory: Path, record: Path) -> int:
    """Take from a run directory what a power cut would have lost; the number of bytes that went."""
    sizes: dict[int, int] = {}
    folders: dict[str, dict[str, int]] = {}
    for line in record.read_text().splitlines():
        value = json.loads(line)
        if "file" in value:
            sizes[value["file"]] = value["size"]
        else:
            folders[value["folder"]] = value["names"]
    lost = 0
    for path in (path for path in sorted(directory.rglob("*")) if path.is_file()):
        number, size = path.stat().st_ino, path.stat().st_size
        named = folders.get(str(path.parent.resolve()), {}).get(path.name) == number
        flushed = sizes.get(number, 0) if named else 0
        lost += size - min(size, flushed)
        if not named:
            path.unlink()
        elif flushed < size:
            os.truncate(path, flushed)
    return lost
