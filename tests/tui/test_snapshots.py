"""Pictures of the main states at four sizes. After a wanted change: pytest tests/tui/test_snapshots.py --snapshot-update."""

import pytest

from emodir_tui.runs.status import Status
from emodir_tui.tui.view import Playback
from tests.tui.recording import Still, StillDashboard, beat, live, recorded_events, until
from tests.tui.test_states import GPUS, closed, now_at

SEARCHING = until("search_generation", 9, subnetwork="sn2")
JOINT = until("joint_generation", generation=12)
FINISHED = (recorded_events(), Status(word="finished"))

PICTURES = {
    "starting-120x40": ((120, 40), [], live("starting", "the worker is loading"), ()),
    "searching-80x24": ((80, 24), SEARCHING, live(), ()),
    "searching-120x40": ((120, 40), SEARCHING, live(), ()),
    "joint-100x32": ((100, 32), JOINT, live(), ()),
    "joint-200x60": ((200, 60), JOINT, live(), ()),
    "paused-100x30": ((100, 30), now_at("paused"), live("paused"), ("5",)),
    "lost-80x24": (
        (80, 24),
        JOINT,
        Status(word="lost", reason="process 4242 on workbench is gone", heartbeat=beat()),
        (),
    ),
    "lost-120x40": (
        (120, 40),
        JOINT,
        Status(word="lost", reason="process 4242 on workbench is gone", heartbeat=beat()),
        (),
    ),
    "failed-100x30": (
        (100, 30),
        closed("failed", "OutOfMemoryError: no memory", "lower search.batch"),
        Status(word="failed"),
        ("6",),
    ),
    "finished-120x40": ((120, 40), *FINISHED, ()),
    "finished-200x60": ((200, 60), *FINISHED, ()),
    "front-80x24": ((80, 24), *FINISHED, ("4",)),
    "ranking-80x24": ((80, 24), *FINISHED, ("3", "down", "o", "o")),
    "scheme-120x40": ((120, 40), *FINISHED, ("4", "right", "right", "right", "enter")),
    "member-80x24": ((80, 24), *FINISHED, ("4", "right_square_bracket", "right", "right", "enter")),
    "stop-80x24": ((80, 24), JOINT, live(), ("x",)),
    "help-120x40": ((120, 40), *FINISHED, ("question_mark",)),
    "too-small-58x14": ((58, 14), JOINT, live(), ()),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(snap_compare, recorded, name):
    size, events, status, keys = PICTURES[name]
    app = StillDashboard(recorded, Still(events, status, gpus=GPUS if size[0] >= 120 else ()))

    async def press(pilot):
        await pilot.pause(0.3)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.2)

    assert snap_compare(app, terminal_size=size, run_before=press)


def test_picture_of_a_replay(snap_compare, recorded):
    still = Still(
        SEARCHING, Status(word="running"), playback=Playback(position=6.0, length=20.4, speed=20.0, playing=True)
    )

    async def wait(pilot):
        await pilot.pause(0.3)

    assert snap_compare(StillDashboard(recorded, still), terminal_size=(120, 40), run_before=wait)


def test_picture_in_the_terminal_s_own_colours(snap_compare, recorded, monkeypatch):
    monkeypatch.delenv("COLORTERM")

    async def wait(pilot):
        await pilot.pause(0.3)

    assert snap_compare(StillDashboard(recorded, Still(*FINISHED)), terminal_size=(120, 40), run_before=wait)
