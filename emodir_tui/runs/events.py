"""The event log: append-only segments of JSON lines, one segment per attempt and one writer each."""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Union

import msgspec

from emodir_tui.runs.directory import SEGMENT, file_mode, make_folder, segment_name
from emodir_tui.runs.event_types import Event, Time, Undeclared
from emodir_tui.runs.lines import LineReader

# A reader takes at most this much at one poll, so that catching up never freezes a screen.
POLL_BYTES = 4 << 20
# On a disk that stays full for days memory must not fill up too.
WAITING_EVENTS = 20_000
# Blanks, and the zero blocks that NFS leaves.
PADDING = b"\0 \r\t"


class EventWriter:
    """Appends events to one segment. Never raises on a full disk: events wait until they can be written."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self.path = folder / segment_name(attempt)
        self._lost = self._dropped = 0
        self._seq = 0
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._open()

    @property
    def dropped(self) -> int:
        """Events that are not on the disk: waiting for space, or given up because too many were waiting."""
        return self._dropped

    def emit(self, event: Event) -> Event:
        """Append one event; the event with its number and time. `dropped` says whether it has to wait."""
        with self._lock:
            self._seq += 1
            stamped = msgspec.structs.replace(event, seq=self._seq, time=round(time.time(), 3))
            self._waiting.append(encode(stamped))
            if len(self._waiting) > WAITING_EVENTS:
                self._waiting.popleft()
                self._lost += 1
            self._flush()
        return stamped

    def reopen_if_deleted(self) -> bool:
        """Make the segment again if it was deleted; whether that was so. Raises OSError if it cannot be made."""
        if self.path.exists():
            return False
        with self._lock:
            # Closed last: where no segment can be made, events must not go to a file that got its number.
            deleted = self._descriptor
            self._open()
            os.close(deleted)
        return True

    def flush(self) -> None:
        """Have on the disk what was emitted, unless the disk is full."""
        with self._lock:
            self._flush()
            with suppress(OSError):
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Flush to the disk and close."""
        self.flush()
        os.close(self._descriptor)

    def _open(self) -> None:
        make_folder(self.path.parent)
        mode = file_mode(self.path.parent)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        os.fchmod(self._descriptor, mode)
        size = os.fstat(self._descriptor).st_size
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def _flush(self) -> None:
        self._write_waiting()
        # Another thread must not count an event that is being written.
        self._dropped = self._lost + len(self._waiting)

    def _write_waiting(self) -> None:
        while self._waiting:
            # A failed write may have left half a line: the next one starts on a line of its own.
            payload = b"\n" + self._waiting[0] if self._torn else self._waiting[0]
            try:
                written = os.write(self._descriptor, payload)
            except OSError:
                return
            self._torn = written < len(payload)
            if written == len(payload) - 1:
                # Only the newline is missing, and the next try begins with one: the event must not come twice.
                self._waiting[0] = b""
            if self._torn:
                return
            self._waiting.popleft()


def encode(event: Event) -> bytes:
    """One event as a line. NaN and infinities become null: JSON has no other word for them."""
    try:
        return _ENCODER.encode(event) + b"\n"
    except UnicodeEncodeError:
        # Names of files need not be valid text.
        return _ENCODER.encode(_valid_text(msgspec.to_builtins(event, enc_hook=_plain_number))) + b"\n"


def _plain_number(value: Any) -> Any:
    """An array's number as a plain one."""
    item: Callable[[], Any] = value.item
    return item()


def _valid_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_valid_text(key): _valid_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid_text(item) for item in value]
    return value


class EventReader:
    """Follows the segments of a run by byte offset.

    It holds back an unterminated last line, and skips and counts damaged ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._not_events = 0
        self._segments: dict[str, LineReader] = {}

    @property
    def damaged(self) -> int:
        """Number of lines that are not events."""
        return self._not_events + sum(segment.skipped for segment in self._segments.values())

    def poll(self, limit: int = POLL_BYTES) -> list[Event]:
        """The events that are new since the last poll, of at most about `limit` bytes; none only where all is read."""
        return [event for _, event in self.poll_lines(limit)]

    def poll_lines(self, limit: int = POLL_BYTES) -> list[tuple[bytes, Event]]:
        """The same, each event with the line that it was read from."""
        while True:
            events, at_end = self._some(limit)
            # A whole piece without an event is damaged; read on, so that what follows it is not missed.
            if events or at_end:
                return events

    def _some(self, limit: int) -> tuple[list[tuple[bytes, Event]], bool]:
        """The events in the next bytes, and whether these were all."""
        events: list[tuple[bytes, Event]] = []
        names = self._names()
        for name in names:
            segment = self._segments.setdefault(name, LineReader(self.folder / name))
            lines, size = segment.read(limit)
            limit -= size
            events.extend(self._decode(lines))
            if limit <= 0:
                break
            # A later segment exists, so no writer will finish this line.
            if name != names[-1]:
                events.extend(self._decode([segment.take_tail()]))
        return events, limit > 0

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.folder.iterdir() if path.suffix == SEGMENT)
        except OSError:
            return []

    def _decode(self, lines: list[bytes]) -> Iterator[tuple[bytes, Event]]:
        for line in lines:
            stripped = line.strip(PADDING)
            if not stripped:
                continue
            event = decode(stripped)
            if event is None:
                self._not_events += 1
            else:
                yield stripped, event


class _Envelope(msgspec.Struct):
    """What every event has, whatever its kind."""

    kind: str
    seq: int
    time: Time


def _records(kind: type[Event] = Event) -> Iterator[type[Event]]:
    """The declared kinds of events."""
    for record in kind.__subclasses__():
        if record is not Undeclared:
            yield from _records(record) if record.__subclasses__() else (record,)


KINDS = {str(record.__struct_config__.tag): record for record in _records()}
_ENCODER = msgspec.json.Encoder(enc_hook=_plain_number)
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Union[tuple(KINDS.values())])  # noqa: UP007
_ENVELOPE = msgspec.json.Decoder(_Envelope)


def decode(line: bytes) -> Event | None:
    """One line as an event, or None when it is not one."""
    try:
        event = _DECODER.decode(line)
    except msgspec.ValidationError:
        return _undeclared(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return event if event.seq >= 0 and event.time >= 0 else None


def _undeclared(line: bytes) -> Undeclared | None:
    try:
        found = _ENVELOPE.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return Undeclared(seq=found.seq, time=found.time, name=found.kind, damaged=found.kind in KINDS)


def ascii_line(line: bytes) -> str | None:
    """A line for a terminal: the same JSON in ASCII, where nothing acts on the terminal. None for a damaged line."""
    try:
        return json.dumps(msgspec.json.decode(line), separators=(",", ":"))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def read_all(folder: Path) -> Iterator[Event]:
    """Every event of a run so far, oldest first."""
    reader = EventReader(folder)
    while events := reader.poll():
        yield from events


def read_segment(path: Path) -> list[Event]:
    """The whole events of one segment."""
    segment, events = LineReader(path), list[Event]()
    while True:
        lines, size = segment.read(POLL_BYTES)
        if not size:
            return events
        events += [event for line in lines if (event := decode(line.strip(PADDING))) is not None]
