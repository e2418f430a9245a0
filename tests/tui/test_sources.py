"""Sources: a live run and a replay."""

import time

import pytest

from emodir_tui.runs.event_types import Message
from emodir_tui.tui.sources.event_log import log_line
from emodir_tui.tui.sources.live import LiveSource
from emodir_tui.tui.sources.replay import ReplaySource
from tests.support.events import event as event_of
from tests.tui.recording import RECORDED, recorded_events


def pump(source, until, seconds=120.0):
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        source.pump()
        time.sleep(0.01)
    assert until()


def test_a_live_source_catches_up_and_then_follows(worker):
    source = LiveSource(worker.directory, poll_seconds=0.05, gpus=False)
    try:
        pump(source, lambda: source.caught_up and source.status.word == "running")
        assert source.state.joint.generation == 6
        worker.events.emit(Message(level="warning", text="something"))
        pump(source, lambda: any(line.text == "something" and line.level == "warning" for line in source.lines))
        worker.close("finished")
        pump(source, lambda: source.status.word == "finished")
    finally:
        source.close()


def test_a_torn_line_is_counted_and_the_rest_is_read(worker):
    path = worker.directory.events_folder / "0001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:50], lines[50][:20] + b"\n", *lines[51:]]))
    source = LiveSource(worker.directory, poll_seconds=0.05, gpus=False)
    try:
        pump(source, lambda: source.caught_up)
        assert source.damaged == 1
        assert source.state.joint.generation == 6
    finally:
        source.close()


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def playing():
    clock = Clock()
    source = ReplaySource(RECORDED / "events", speed=2.0, monotonic=clock)
    while not source.caught_up:
        source.pump()
    source.pump()
    return source, clock


def test_a_recording_plays_at_its_speed(playing):
    source, clock = playing
    clock.now += 3
    while source.pump():
        pass
    assert source.playback.position == pytest.approx(6.0)
    begun = recorded_events()[0].time
    assert source.now == pytest.approx(begun + 6.0, abs=0.01)
    assert source.state.updated <= begun + 6.0


def test_a_recording_goes_back_and_on_and_stops_at_its_end(playing):
    source, clock = playing
    source.step(1.0)
    while source.pump():
        pass
    assert source.state.outcome == "finished"
    source.seek(0.0)
    assert source.state.outcome is None
    # It stopped at the end; now it plays, and halts.
    source.toggle()
    source.toggle()
    position = source.playback.position
    clock.now += 5
    source.pump()
    assert source.playback.position == position
    source.faster(1e9)
    assert source.playback.speed <= 100_000


def test_the_same_position_shows_the_same_state_from_either_side(playing):
    source, _ = playing
    source.seek(15.0)
    there = source.state.events
    source.seek(20.0)
    source.seek(15.0)
    assert source.state.events == there


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "epoch"},
        {"kind": "message", "level": 3, "text": None},
        {"kind": "picks_chosen", "picks": 4},
        {"kind": "control_done"},
        {"kind": "no such kind"},
    ],
)
def test_lines_of_damaged_events_never_raise(event):
    line = log_line(1, event_of(**event))
    assert line is None or line.number == 1
