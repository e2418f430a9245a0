"""Reading files of a run directory, which may belong to a stranger: no file makes a reader wait or fill its memory."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

# What a run keeps as JSON is a few kilobytes.
JSON_BYTES = 1 << 20


def open_regular(path: Path, *, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading; through links only with `follow`.

    Raises:
        OSError: It cannot be opened, or is a link, FIFO, device, socket or folder.
    """
    # O_NONBLOCK: opening a FIFO would wait for its writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises OSError for any other."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        # It may grow meanwhile.
        return file.read(limit)


def read_json(path: Path, limit: int = JSON_BYTES) -> dict[str, Any] | None:
    """A JSON object, or None where there is none that can be read."""
    try:
        value = json.loads(read_bytes(path, limit))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
