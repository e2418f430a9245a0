"""Events for tests, made as a reader gets them: from a line."""

import json
from typing import Any

from emodir_tui.runs.event_types import Event
from emodir_tui.runs.events import decode


def line(values: dict[str, Any]) -> bytes:
    """A line of the log with these values; number and time are 1 where not given."""
    return json.dumps({"v": 1, "seq": 1, "time": 1.0, **values}).encode()


def event(kind: str, **values: Any) -> Event:
    """The event that such a line holds."""
    found = decode(line({"kind": kind, **values}))
    assert found is not None, values
    return found
