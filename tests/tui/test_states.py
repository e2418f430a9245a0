"""Every state has its own words and names the next step, at each size."""

import pytest

from emodir_tui.runs.status import Status
from emodir_tui.tui.gpus import Gpu
from emodir_tui.tui.view import Playback
from tests.tui.recording import Still, StillDashboard, beat, live, recorded_events, screen_text, until

MIDDLE = until("joint_generation", generation=6)
GPUS = (Gpu(index=0, name="NVIDIA H100", utilisation=93, memory_used=21 << 30, memory_total=80 << 30, temperature=71),)


def now_at(condition, after=MIDDLE):
    return [
        *after,
        {"v": 1, "seq": 9999, "time": after[-1]["time"] + 60, "kind": "condition_changed", "condition": condition},
    ]


def closed(outcome, error="", hint=""):
    time = MIDDLE[-1]["time"] + 1
    return [
        *MIDDLE,
        {"v": 1, "seq": 9999, "time": time, "kind": "run_closed", "outcome": outcome, "error": error, "hint": hint},
    ]


STATES = {
    "starting": (Still([], live("starting", "the worker is loading")), ["starting", "the worker is loading"]),
    "running": (Still(MIDDLE, live(), gpus=GPUS), ["running", "6/8 joint", "ETA ~", "♥", "93%", "71°C"]),
    "paused": (Still(now_at("paused"), live("paused")), ["paused", "since ", "p continues"]),
    "stopping": (Still(now_at("stopping"), live("stopping")), ["stopping", "sav"]),
    "no-progress": (
        Still(
            MIDDLE,
            Status(word="no-progress", seconds_since_heartbeat=1, seconds_without_progress=192, heartbeat=beat()),
        ),
        ["no progress", "03:12", "alive"],
    ),
    "unsure": (Still(MIDDLE, live("unsure", "no heartbeat for 9 s")), ["unsure", "no heartbeat for 9 s"]),
    "lost": (
        Still(MIDDLE, Status(word="lost", reason="process 4242 on workbench is gone", heartbeat=beat())),
        ["lost", "process 4242 on workbench is gone", "r resume", "ck-0005"],
    ),
    "failed": (
        Still(closed("failed", "OutOfMemoryError: no memory", "lower search.batch"), Status(word="failed")),
        ["failed", "OutOfMemoryError: no memory", "lower search.batch", "r resume"],
    ),
    "stopped": (Still(closed("stopped"), Status(word="stopped")), ["stopped", "r resume"]),
    "finished": (Still(recorded_events(), Status(word="finished")), ["finished", "knee", "98.89%", "emodir export"]),
    "replay": (
        Still(MIDDLE, Status(word="running"), playback=Playback(position=60, length=300, speed=20, playing=True)),
        ["replay", "00:01:00", "00:05:00", "×20"],
    ),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("word", STATES)
async def test_a_state_says_what_is_so_and_what_to_do(recorded, word, size):
    source, words = STATES[word]
    app = StillDashboard(recorded, source)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.2)
        shown = screen_text(app)
        # A narrow window may cut the end of a sentence; the state and its first words are always there.
        for expected in words if size[0] > 100 else words[:2]:
            assert expected in shown, shown


@pytest.mark.parametrize(
    ("still", "badge"),
    [
        (Still(MIDDLE, live(disk_free_bytes=900_000_000)), "disk low: 900 MB"),
        (Still(MIDDLE, live(), damaged=3), "3 damaged events"),
        (Still(MIDDLE, live(dropped=2)), "2 events dropped"),
    ],
    ids=["disk low", "damaged", "dropped"],
)
async def test_what_is_wrong_beside_the_state_is_a_badge(recorded, still, badge):
    app = StillDashboard(recorded, still)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        assert badge in screen_text(app)


async def test_a_run_opened_read_only_says_so_and_refuses_controls(recorded):
    app = StillDashboard(recorded, Still(MIDDLE, live()), read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        assert "read-only" in screen_text(app)
        await pilot.press("s")
        await pilot.pause(0.1)
        assert "read-only" in screen_text(app).splitlines()[-2]
        assert list(recorded.control_folder.glob("*")) == []


@pytest.mark.parametrize("size", [(59, 24), (80, 15), (58, 14), (20, 5)])
async def test_a_window_too_small_gets_a_sentence_and_the_state(recorded, size):
    app = StillDashboard(recorded, Still(MIDDLE, live()))
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.2)
        shown = screen_text(app)
        assert "too small" in shown
        if size[0] > 50:
            assert f"{size[0]}×{size[1]}" in shown
            assert "running" in shown


async def test_growing_windows_change_the_layout_at_once(recorded):
    app = StillDashboard(recorded, Still(MIDDLE, live()))
    async with app.run_test(size=(58, 14)) as pilot:
        await pilot.pause(0.2)
        await pilot.resize_terminal(80, 24)
        await pilot.pause(0.2)
        assert "2 HV" in screen_text(app)
        assert "Log  following" not in screen_text(app)
        await pilot.resize_terminal(120, 40)
        await pilot.pause(0.2)
        shown = screen_text(app)
        assert all(
            f"{number} {name}" in shown for number, name in enumerate(["Sub-networks", "Hypervolume", "Ranking"], 1)
        )
        assert "6 Log" in shown


async def test_an_empty_run_says_in_each_panel_what_will_come(recorded):
    app = StillDashboard(recorded, Still([], live("starting", "the worker is loading")))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        shown = screen_text(app)
        for sentence in ("stage 2", "stage 5", "none yet"):
            assert sentence in shown, shown


async def test_ascii_only_shows_nothing_but_ascii(recorded):
    app = StillDashboard(recorded, Still(recorded_events(), Status(word="finished")), ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        strips = app.screen._compositor.render_strips()
        assert len(strips) == 40
        assert all(segment.text.isascii() for strip in strips for segment in strip)


async def test_in_ascii_nothing_has_to_be_guessed(recorded):
    app = StillDashboard(recorded, Still(recorded_events(), Status(word="finished")), ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        body = "\n".join(screen_text(app).splitlines()[:-1])
        assert "?" not in body
