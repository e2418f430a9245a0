"""The list of runs: states, ages, best picks; opening, replaying, comparing."""

import pytest

from emodir_tui.runs.events import encode
from emodir_tui.tui.app import Dashboard
from tests.tui.recording import copy_recording, screen_text, until, wait_for


@pytest.fixture
def runs(tmp_path):
    """Three finished runs and one whose worker is gone."""
    folder = tmp_path / "runs"
    for name in ("one-0001", "two-0002", "three-0003"):
        copy_recording(folder, name)
    lost = copy_recording(folder, "lost-0004")
    events = until("joint_generation", generation=6)
    (lost.events_folder / "0001.jsonl").write_bytes(b"".join(map(encode, events)))
    return folder


def shows(app, *words):
    return lambda: all(word in screen_text(app) for word in words)


async def open_picker(runs, pilot):
    def read():
        shown = screen_text(pilot.app)
        lost = next((line for line in shown.splitlines() if "lost-0004" in line), "…")
        # Runs are read one after the other; … stands for what is still to be read.
        return "4 runs" in shown and shown.count("✓ finished") == 3 and "…" not in lost

    await wait_for(pilot, read)


async def test_every_run_has_its_state_and_the_best_pick(runs):
    app = Dashboard(None, runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_picker(runs, pilot)
        shown = screen_text(app)
        assert shown.count("✓ finished") == 3
        assert shown.count("98.89 %") >= 3
        line = next(line for line in shown.splitlines() if "lost-0004" in line)
        assert "lost" in line
        assert "joint" in line


async def test_enter_opens_a_run_and_w_comes_back(runs):
    app = Dashboard(None, runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_picker(runs, pilot)
        await pilot.press("enter")
        await wait_for(pilot, shows(app, "1 Sub-networks", "2 Hypervolume"))
        opened = app.last_open
        assert opened is not None
        assert opened.path.parent == runs
        await pilot.press("w")
        await wait_for(pilot, shows(app, "4 runs"))


async def test_a_run_is_replayed_from_the_list(runs):
    app = Dashboard(None, runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_picker(runs, pilot)
        await pilot.press("v")
        await wait_for(pilot, shows(app, "▷ replay"))


async def test_two_to_four_marked_runs_are_compared(runs):
    app = Dashboard(None, runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_picker(runs, pilot)
        await pilot.press("m")
        assert "two to four" in screen_text(app)
        await pilot.press("space", "space", "space", "m")
        await wait_for(pilot, shows(app, "comparison", "3 runs", "Hypervolume", "Front"))
        await pilot.press("right_square_bracket")
        await wait_for(pilot, shows(app, "‹ sn1 ›"))
        await pilot.press("escape")
        await wait_for(pilot, shows(app, "4 runs"))


async def test_resuming_a_finished_run_from_the_list_says_that_there_is_nothing_to_resume(runs):
    app = Dashboard(None, runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_picker(runs, pilot)
        names = [line for line in screen_text(app).splitlines() if "-000" in line]
        for _ in range(next(index for index, line in enumerate(names) if "finished" in line)):
            await pilot.press("down")
        await pilot.press("r")
        await wait_for(pilot, shows(app, "has finished"))


async def test_an_empty_folder_says_how_to_start(tmp_path):
    app = Dashboard(None, tmp_path / "nothing")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, shows(app, "no runs", "emodir run digits"))


async def test_a_run_that_is_new_appears_by_itself(runs):
    app = Dashboard(None, runs)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_picker(runs, pilot)
        copy_recording(runs, "new-0005")
        await wait_for(pilot, shows(app, "5 runs", "new-0005"))


async def test_a_read_only_list_resumes_nothing(runs):
    app = Dashboard(None, runs, read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_picker(runs, pilot)
        assert "r resumes" not in screen_text(app)
        await pilot.press("r")
        await wait_for(pilot, shows(app, "opened read-only"))
    assert not list(runs.glob("*/worker.lock"))
