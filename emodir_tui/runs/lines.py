"""The lines of a file that grows, read by byte offset."""

import errno
import os
from pathlib import Path
from typing import BinaryIO

from emodir_tui.runs.reading import open_regular

# The longest events are joint fronts and rankings: a hundred bytes for each of some thousand rows.
LINE_BYTES = 16 << 20
# A hole as long as this is no network file system's delay: nobody will fill it.
HOLE_BYTES = 4 << 20


class LineReader:
    """Follows one file. It holds back a last line without its end, and skips lines of more than LINE_BYTES.

    The file is opened at each read, which makes a run directory on NFS work.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._identity = (0, 0)
        self._tail = bytearray()
        self._skipping = False
        self.skipped = 0

    def read(self, limit: int) -> tuple[list[bytes], int]:
        """The lines that end in the next bytes, and the number of bytes read: `limit`, or fewer at the end."""
        try:
            with open_regular(self._path) as file:
                data = self._next_bytes(file, limit)
        except OSError:
            return [], 0
        if not data:
            return [], 0
        first, *others = data.split(b"\n")
        self._extend(first)
        if not others:
            return [], len(data)
        lines = [] if self._skipping else [bytes(self._tail)]
        *whole, rest = others
        self._start_line()
        self._extend(rest)
        return lines + whole, len(data)

    def take_tail(self) -> bytes:
        """The last line, which nobody will end any more; empty if there is none."""
        tail = bytes(self._tail)
        self._start_line()
        return tail

    def _start_line(self) -> None:
        self._tail, self._skipping = bytearray(), False

    def _extend(self, data: bytes) -> None:
        if not self._skipping:
            self._tail += data
            if len(self._tail) > LINE_BYTES:
                self._tail, self._skipping = bytearray(), True
                self.skipped += 1

    def _next_bytes(self, file: BinaryIO, limit: int) -> bytes:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino)
        if status.st_size < self._offset or (self._offset and identity != self._identity):
            self._offset = 0
            self._start_line()
        self._identity = identity
        if status.st_size == self._offset:
            return b""
        start = _next_data(file, self._offset, status.st_size)
        if start - self._offset < HOLE_BYTES:
            start = self._offset
        else:
            # A hole reads as zero bytes; one of them says as much.
            self._extend(b"\0")
        file.seek(start)
        data = file.read(min(limit, status.st_size - start))
        self._offset = start + len(data)
        return data


def _next_data(file: BinaryIO, offset: int, size: int) -> int:
    """Where the next bytes that are not in a hole begin: a file that takes no space may have any size."""
    try:
        return min(size, os.lseek(file.fileno(), offset, os.SEEK_DATA))
    except OSError as error:
        # ENXIO: the rest is a hole.
        return size if error.errno == errno.ENXIO else offset
