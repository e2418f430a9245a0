"""Control requests: a file each, written by rename; the worker takes them away and answers by an event."""

import getpass
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from emodir_tui.errors import ConflictError, EmodirError
from emodir_tui.runs.directory import RunDirectory, write_json
from emodir_tui.runs.names import Command
from emodir_tui.runs.process import is_own
from emodir_tui.runs.reading import read_json

_REQUEST_NAME = re.compile(r"\d{20}-[0-9a-f]{8}\.json")
# A request is a few hundred bytes; a larger file in that folder is not one.
REQUEST_BYTES = 65536


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A control request."""

    id: str
    command: str
    by: str
    arguments: dict[str, Any] = field(default_factory=dict)


def requester() -> str:
    """Who sends requests from this process, for people to read: user@host:process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}:{os.getpid()}"


def send(directory: RunDirectory, command: Command, **arguments: Any) -> str:
    """Leave a request for the worker; its id. Answers are the events control_accepted, _done and _refused.

    Raises:
        ConflictError: This user may not control the run.
        EmodirError: The request cannot be written.
    """
    if refusal := can_control(directory):
        raise ConflictError(refusal)
    # Ids sort by the time of asking, so requests are answered in order.
    request_id = f"{time.time_ns():020d}-{uuid4().hex[:8]}"
    value = {"id": request_id, "command": command, "by": requester(), "arguments": arguments}
    try:
        write_json(directory.request_file(request_id), value)
    except OSError as error:
        raise EmodirError(f"{directory.control_folder}: the request cannot be written ({error.strerror})") from error
    return request_id


def can_control(directory: RunDirectory) -> str:
    """Why this user may not control the run; empty when they may."""
    try:
        owner = directory.path.stat().st_uid
    except OSError as error:
        return f"{directory.path} cannot be read ({error.strerror})"
    if not is_own(owner):
        return f"{directory.id} belongs to another user (uid {owner}); it can be watched, not controlled"
    if not os.access(directory.path, os.W_OK):
        return f"{directory.path} cannot be written to; the run can be watched, not controlled"
    return ""


def waiting(directory: RunDirectory) -> bool:
    """Whether any request waits (cheap: one listing)."""
    try:
        return bool(directory.request_names())
    except OSError:
        return False


def take(directory: RunDirectory, ignored: set[str] | None = None) -> Iterator[Request | str]:
    """Remove and yield the waiting requests, oldest first; a sentence for each file that is not a request.

    Args:
        directory: The run.
        ignored: Names of files that are none by their name: such a file stays, and is added when it is first reported.
    """
    try:
        names = directory.request_names()
    except OSError:
        return
    for name in names:
        if not _REQUEST_NAME.fullmatch(name):
            if ignored is not None and name not in ignored:
                ignored.add(name)
                yield f"control/{name} is not a request and is left alone"
            continue
        path = directory.control_folder / name
        try:
            uid = path.lstat().st_uid
            value = read_json(path, REQUEST_BYTES)
        except OSError:
            continue
        try:
            path.unlink()
        except OSError:
            # A request that cannot be removed is not obeyed: it would be obeyed again at every look.
            continue
        yield _request(name, value, uid)


def _request(name: str, value: dict[str, Any] | None, uid: int) -> Request | str:
    if uid not in (os.getuid(), 0):
        return f"a request by another user (uid {uid}) was ignored"
    if value is None:
        return f"control/{name} is not a request and was ignored"
    request_id, command, by = value.get("id"), value.get("command"), value.get("by")
    arguments = value.get("arguments", {})
    if not (isinstance(request_id, str) and isinstance(command, str) and isinstance(by, str)):
        return f"control/{name} is not a request and was ignored"
    if not isinstance(arguments, dict):
        return f"control/{name} is not a request and was ignored"
    return Request(id=request_id[:80], command=command[:40], by=by[:120], arguments=arguments)
