"""The header in every state; small, growing and ASCII windows."""

import re
from dataclasses import replace

import pytest

from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.status import NEVER_STARTED, Status
from emodir_tui.tui.drawing.palette import palette_of
from emodir_tui.tui.presenters.headline import headline, places
from emodir_tui.tui.presenters.view import View
from tests.support.events import event
from tests.tui.recording import RUN_ID, Still, StillDashboard, live, recorded_events, screen_text
from tests.tui.states import MIDDLE, MORE_SIZES, SIZES, STATES, State, closed


def view_of(state):
    still = state.still
    return View(
        run_id=RUN_ID,
        state=still.state,
        status=still.status,
        now=still.now,
        palette=palette_of(ansi=False, dark=True),
        gpus=still.gpus,
        damaged=still.damaged,
        caught_up=still.caught_up,
        stalled_seconds=still.stalled_seconds,
        read_only="opened read-only" if state.read_only else "",
        playback=still.playback,
    )


@pytest.mark.parametrize("name", STATES)
def test_a_header_is_cut_between_words_at_any_width(name):
    view = view_of(STATES[name])
    without_badges = replace(view, damaged=0, read_only="", status=replace(view.status, heartbeat=None))
    texts = [line.plain for line in (*headline(view, 500), *headline(without_badges, 99))] + places(view.state)
    whole = {word for text in texts for word in re.split("[ ,]+", text)}
    for width in range(80, 240):
        for line in headline(view, width):
            assert line.cell_len <= width
            if "━" not in line.plain and "╌" not in line.plain:
                assert set(re.split("[ ,]+", line.plain.removesuffix("…"))) <= whole, line.plain


@pytest.mark.parametrize("width", [width for width, _ in (*SIZES, *MORE_SIZES)])
def test_a_long_hint_leaves_room_for_the_next_step(width):
    hint = "lower search.batch and baseline.batch, or choose a device with more memory than this one has, " * 2
    view = view_of(State(Still(closed("failed", "OutOfMemoryError", hint), Status(word=StatusWord.FAILED))))
    second = headline(view, width)[1].plain
    assert second.startswith("lower search.batch and")
    assert second.endswith("… · r resume from ck-0005 · l worker's log")


@pytest.mark.parametrize(
    ("reason", "explanation"),
    [
        (NEVER_STARTED, " no worker ever started"),
        ("process 7 on here is gone", " process 7 on here is gone (killed, out of memory, or a reboot?)"),
    ],
)
def test_causes_of_a_loss_are_named_only_where_a_worker_had_started(reason, explanation):
    view = view_of(State(Still([], Status(word=StatusWord.LOST, reason=reason))))
    assert headline(view, 200)[0].plain.partition("  ")[0].rstrip().endswith(explanation)


@pytest.mark.parametrize(
    ("still", "badge"),
    [
        (Still(MIDDLE, live(disk_free_bytes=900_000_000)), "disk low: 900 MB"),
        (Still(MIDDLE, live(), damaged=3), "3 damaged events"),
        (Still(MIDDLE, live(dropped=2)), "2 events dropped"),
    ],
    ids=["disk low", "damaged", "dropped"],
)
async def test_a_problem_apart_from_the_state_is_a_badge(recorded, still, badge):
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


async def test_an_empty_run_explains_each_panel(recorded):
    app = StillDashboard(recorded, Still([], live(StatusWord.STARTING, "the worker is loading")))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        shown = screen_text(app)
        for sentence in ("stage 2", "stage 5", "none yet"):
            assert sentence in shown, shown


async def test_ascii_only_shows_nothing_but_ascii(recorded):
    app = StillDashboard(recorded, Still(recorded_events(), Status(word=StatusWord.FINISHED)), ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        strips = app.screen._compositor.render_strips()
        assert len(strips) == 40
        assert all(segment.text.isascii() for strip in strips for segment in strip)


async def test_ascii_has_a_character_for_every_glyph(recorded):
    app = StillDashboard(recorded, Still(recorded_events(), Status(word=StatusWord.FINISHED)), ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        body = "\n".join(screen_text(app).splitlines()[:-1])
        assert "?" not in body


def test_the_part_of_a_long_search_is_in_the_header_at_any_width():
    polishing = event(
        "progress", seq=9999, time=MIDDLE[-1].time, stage="joint", step=27, steps=35, unit="generation",
        note="polish, evaluation 48", part="polish", done=0.3,
    )  # fmt: skip
    view = view_of(State(Still([*MIDDLE, polishing], live())))
    assert " 6/8 joint · generation 27/35 · polish, evaluation 48 " in headline(view, 160)[0].plain
    assert " 6/8 joint 27/35 · polish, evaluation 48 " in headline(view, 110)[0].plain
    assert " 6/8 joint 27/35 polish " in headline(view, 80)[0].plain
