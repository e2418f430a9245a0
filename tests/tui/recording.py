"""The recording of a real run, and dashboards over any moment of it."""

import inspect
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emodir_tui.runs.control import Request, take
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import (
    ConditionChanged,
    ControlAccepted,
    ControlDone,
    ControlRefused,
    Event,
    RunClosed,
    RunOpened,
)
from emodir_tui.runs.events import EventWriter, read_all
from emodir_tui.runs.fold import replay
from emodir_tui.runs.heartbeat import Heartbeat
from emodir_tui.runs.names import Condition, Outcome, StatusWord
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Status
from emodir_tui.tui.app import Dashboard
from emodir_tui.tui.sources.event_log import EventLog
from emodir_tui.tui.sources.gpus import Gpu
from emodir_tui.tui.sources.source import Playback, Source

RECORDED = Path(__file__).parent.parent / "data" / "recorded-run"
RUN_ID = "digits-8322"


def copy_recording(folder: Path, name: str = RUN_ID) -> RunDirectory:
    """The recorded run as a run directory in `folder`."""
    shutil.copytree(RECORDED, folder / name)
    return RunDirectory(folder / name)


def recorded_events() -> list[Event]:
    return list(read_all(RECORDED / "events"))


def until(kind: str, number: int = 1, **values: object) -> list[Event]:
    """Return the recording up to the nth event of a kind with these values, inclusive."""
    events = recorded_events()
    for index, event in enumerate(events):
        if event.kind == kind and all(getattr(event, key) == value for key, value in values.items()):
            number -= 1
            if not number:
                return events[: index + 1]
    raise ValueError(kind)


class Still:
    """A run at one moment, with a fixed clock."""

    def __init__(
        self,
        events: Sequence[Event],
        status: Status,
        *,
        later: float = 1.0,
        gpus: tuple[Gpu, ...] = (),
        damaged: int = 0,
        playback: Playback | None = None,
    ) -> None:
        self.state: RunState = replay(events)
        self.status, self.gpus, self.damaged, self.playback = status, gpus, damaged, playback
        self.caught_up, self.stalled_seconds = True, 0.0
        self.now = (self.state.updated or 0.0) + later
        event_log = EventLog()
        for event in events:
            event_log.add(event)
        self.lines = event_log.lines

    def pump(self) -> bool:
        return False

    def close(self) -> None:
        pass


class StillDashboard(Dashboard):
    """A dashboard over a fixed source."""

    # Textual looks for it beside the class.
    CSS_PATH = Path(inspect.getfile(Dashboard)).with_name("emodir.tcss")

    def __init__(
        self, directory: RunDirectory, source: Source, *, read_only: bool = False, ascii_only: bool = False
    ) -> None:
        super().__init__(directory, directory.path.parent, read_only=read_only, ascii_only=ascii_only)
        self._still = source

    def open_source(self, directory: RunDirectory, *, replay: bool = False) -> Source:
        return self._still


def beat(**more: object) -> dict[str, object]:
    """Return a heartbeat as part of a status."""
    return {"pid": 4242, "host": "workbench", "seq": 9, "disk_free_bytes": 52_000_000_000, "dropped": 0, **more}


def live(word: StatusWord = StatusWord.RUNNING, reason: str = "", **more: object) -> Status:
    return Status(word=word, reason=reason, seconds_since_heartbeat=0.4, heartbeat=beat(**more))


@dataclass
class HandWorker:
    """A worker played by a test: writes heartbeat, events and answers."""

    directory: RunDirectory

    def __post_init__(self) -> None:
        attempt = len(list(self.directory.events_folder.glob("*.jsonl"))) + 1
        self.events = EventWriter(self.directory.events_folder, attempt)
        self.heartbeat = Heartbeat(self.directory.heartbeat_file, lambda: {"progress": attempt, "dropped": 0}, 0.2)
        self.events.emit(RunOpened(attempt=attempt, pid=os.getpid(), host=socket.gethostname(), device="cpu"))

    def requests(self) -> list[Request]:
        return [request for request in take(self.directory) if isinstance(request, Request)]

    def answer(self, request: Request, state: str, message: str = "") -> None:
        kinds = {kind.state: kind for kind in (ControlAccepted, ControlDone, ControlRefused)}
        self.events.emit(kinds[state](id=request.id, command=request.command, by=request.by, message=message))

    def set_condition(self, word: str) -> None:
        self.events.emit(ConditionChanged(condition=Condition(word)))

    def close(self, outcome: str | None = None, error: str = "", hint: str = "") -> None:
        if outcome is not None:
            self.events.emit(RunClosed(outcome=Outcome(outcome), error=error, hint=hint))
        self.heartbeat.close()
        self.events.close()


def screen_text(app: Dashboard) -> str:
    """Return the text of the screen, one line per row."""
    width, height = app.size
    rows = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).ljust(width)[:width] for strip in rows[:height])


async def wait_for(pilot: object, true: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until a condition is true, or fail with the text of the screen."""
    import time

    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError("the condition never became true; the screen:\n" + screen_text(pilot.app))  # type: ignore[attr-defined]
        await pilot.pause(0.05)  # type: ignore[attr-defined]


class At:
    """A dashboard whose keys are pressed and whose screen is read."""

    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    async def press(self, *keys):
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause(0.15)
        return screen_text(self.app)

    @property
    def message(self):
        return screen_text(self.app).splitlines()[-2]


async def at(app, pilot):
    await pilot.pause(0.2)
    return At(app, pilot)
