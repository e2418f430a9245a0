"""The event log: append-only segments of JSON lines, one segment per attempt and one writer each."""

import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from emodir_tui.runs.directory import file_mode, make_folder

VERSION = 1
Event: TypeAlias = dict[str, Any]

# A reader takes at most this much at one poll, so that catching up never freezes a screen.
POLL_BYTES = 4 << 20
# Seconds since 1970; in the year 33658.
LATEST = 1e12
# On a disk that stays full for days memory must not fill up too.
WAITING_EVENTS = 20_000


class EventWriter:
    """Appends events to one segment. Never raises on a full disk: what can't be written waits until it can."""

    def __init__(self, folder: Path, attempt: int) -> None:
        make_folder(folder)
        self.path = folder / f"{attempt:04d}.jsonl"
        self._lost = 0
        self._seq = 0
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._descriptor, file_mode(folder))
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    @property
    def dropped(self) -> int:
        """Events that are not on the disk: waiting for space, or given up because too many were waiting."""
        return self._lost + len(self._waiting)

    def emit(self, kind: str, **data: Any) -> bool:
        """Append one event; False while it has to wait."""
        with self._lock:
            self._seq += 1
            self._waiting.append(
                encode({"v": VERSION, "seq": self._seq, "time": round(time.time(), 3), "kind": kind, **data})
            )
            if len(self._waiting) > WAITING_EVENTS:
                self._waiting.popleft()
                self._lost += 1
            return self._flush()

    def close(self) -> None:
        """Flush to the disk and close."""
        with self._lock:
            self._flush()
            with suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)

    def _flush(self) -> bool:
        while self._waiting:
            # A failed write may have left half a line: the next one starts on a line of its own.
            payload = b"\n" + self._waiting[0] if self._torn else self._waiting[0]
            try:
                written = os.write(self._descriptor, payload)
            except OSError:
                return False
            self._torn = written < len(payload)
            if written == len(payload) - 1:
                # All but the newline is there, and that is what the next try begins with: the event must not come twice.
                self._waiting[0] = b""
            if self._torn:
                return False
            self._waiting.popleft()
        return True


def encode(event: Event) -> bytes:
    """One event as a line. NaN and infinities become null: JSON has no other word for them."""
    try:
        text = json.dumps(event, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(event), separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


@dataclass(slots=True)
class _Segment:
    offset: int = 0
    tail: bytes = b""
    identity: tuple[int, int] = (0, 0)


class EventReader:
    """Follows the segments of a run by byte offset.

    It holds back an unterminated last line, skips and counts damaged ones, and opens each file anew at each poll
    (which is what makes a run directory on NFS work).

    Args:
        folder: The run's event segments.
        latest_fronts: Leave out the fronts of generations that are overtaken within the same poll. They are most of
            what there is to decode, and the state that the events add up to is the same.
    """

    def __init__(self, folder: Path, *, latest_fronts: bool = False) -> None:
        self.folder = folder
        self._latest_fronts = latest_fronts
        self.damaged = 0
        self._segments: dict[str, _Segment] = {}

    def poll(self, limit: int = POLL_BYTES) -> list[Event]:
        """The events that are new since the last poll, of at most about `limit` bytes; none only where all is read."""
        while True:
            events, at_end = self._some(limit)
            # So much without an event is damaged, and what follows it must not be missed.
            if events or at_end:
                return events

    def _some(self, limit: int) -> tuple[list[Event], bool]:
        """The events in the next bytes, and whether these were all."""
        events: list[Event] = []
        names = self._names()
        for position, name in enumerate(names):
            segment = self._segments.setdefault(name, _Segment())
            data = self._read(name, segment, limit)
            limit -= len(data)
            if data:
                *lines, segment.tail = (segment.tail + data).split(b"\n")
                events.extend(self._decode(lines))
            # A later segment exists, so nobody will ever finish this line.
            if limit > 0 and segment.tail and position < len(names) - 1:
                events.extend(self._decode([segment.tail]))
                segment.tail = b""
            if limit <= 0:
                break
        return events, limit > 0

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.folder.iterdir() if path.suffix == ".jsonl")
        except OSError:
            return []

    def _read(self, name: str, segment: _Segment, limit: int) -> bytes:
        try:
            with (self.folder / name).open("rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if status.st_size < segment.offset or (segment.offset and identity != segment.identity):
                    segment.offset, segment.tail = 0, b""
                segment.identity = identity
                if status.st_size == segment.offset:
                    return b""
                file.seek(segment.offset)
                data = file.read(min(limit, status.st_size - segment.offset))
        except OSError:
            return b""
        segment.offset += len(data)
        return data

    def _decode(self, lines: list[bytes]) -> Iterator[Event]:
        for line in without_old_fronts(lines) if self._latest_fronts else lines:
            stripped = line.strip(b"\0 \r\t")
            if not stripped:
                continue
            event = decode(stripped)
            if event is None:
                self.damaged += 1
            else:
                yield event


_GENERATION = re.compile(rb'"kind":("(?:search|joint)_generation",[^}]*?)"generation":(\d+),')


def without_old_fronts(lines: list[bytes]) -> list[bytes]:
    """The lines, without the front of each generation that a later line of the same search has reached or passed."""
    reached: dict[bytes, int] = {}
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        start = line.find(b',"front":[[')
        found = _GENERATION.search(line, 0, start) if start >= 0 else None
        if found is None:
            continue
        search, generation = found[1], int(found[2])
        stop = line.find(b"]]", start)
        if stop >= 0 and reached.get(search, -1) >= generation:
            lines[index] = line[:start] + line[stop + 2 :]
        reached[search] = max(generation, reached.get(search, -1))
    return lines


# Half the time of json.loads, which looks for encodings and options that no event has.
_SCAN = json.JSONDecoder().raw_decode


def decode(line: bytes) -> Event | None:
    """One line as an event, or None when it is not one."""
    try:
        text = line.decode("utf-8", "surrogatepass").strip()
        event, end = _SCAN(text)
    except (ValueError, RecursionError):
        return None
    if end != len(text) or not isinstance(event, dict) or not isinstance(event.get("kind"), str):
        return None
    time, seq = event.get("time"), event.get("seq")
    # A time that no clock shows (or NaN) can't be reckoned with.
    if not isinstance(time, int | float) or not isinstance(seq, int) or not 0 <= time < LATEST:
        return None
    return event


def read_all(folder: Path, *, latest_fronts: bool = False) -> Iterator[Event]:
    """Every event of a run so far, oldest first; see EventReader for `latest_fronts`."""
    reader = EventReader(folder, latest_fronts=latest_fronts)
    while events := reader.poll():
        yield from events


def read_segment(path: Path) -> list[Event]:
    """The whole events of one segment."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    return [event for line in lines if (event := decode(line.strip(b"\0 \r\t"))) is not None]
