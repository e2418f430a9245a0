"""Controls from the keyboard, answered by a worker that the test plays."""

import os

import pytest

from emodir_tui.tui.app import Dashboard
from tests.tui.recording import HandWorker, screen_text, wait_for

SIZE = (120, 40)


def open_dashboard(directory, **options):
    return Dashboard(directory, directory.path.parent, refresh_seconds=0.5, **options)


def shows(app, *words):
    return lambda: all(word in screen_text(app) for word in words)


async def requested(pilot, worker):
    """Return the request written by the dashboard."""
    found = []
    await wait_for(pilot, lambda: bool(found.extend(worker.requests()) or found))
    return found[0]


@pytest.mark.parametrize(("key", "command"), [("s", "save"), ("p", "pause")])
async def test_a_control_shows_its_progress(worker, key, command):
    app = open_dashboard(worker.directory)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "running"))
        await pilot.press(key)
        await wait_for(pilot, shows(app, f"{command}: requested"))
        request = await requested(pilot, worker)
        assert request.command == command
        worker.answer(request, "accepted")
        await wait_for(pilot, shows(app, f"{command}: requested → accepted"))
        worker.answer(request, "done", "ck-0007")
        await wait_for(pilot, shows(app, f"{command}: requested → accepted → done: ck-0007"))


async def test_a_refusal_is_shown_with_its_reason(worker):
    app = open_dashboard(worker.directory)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "running"))
        await pilot.press("s")
        worker.answer(await requested(pilot, worker), "refused", "the run is stopping already")
        await wait_for(pilot, shows(app, "refused: the run is stopping already"))


async def test_the_pause_key_continues_a_paused_run(worker):
    worker.set_condition("paused")
    app = open_dashboard(worker.directory)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "paused", "p continues"))
        await pilot.press("p")
        assert (await requested(pilot, worker)).command == "continue"


async def test_stop_asks_first_and_cancel_has_the_focus(worker):
    app = open_dashboard(worker.directory)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "running"))
        for answer in ("enter", "n", "escape"):
            await pilot.press("x")
            await wait_for(pilot, shows(app, "Stop run", f"emodir resume {worker.directory.id}"))
            await pilot.press(answer)
            await pilot.pause(0.1)
            assert "Stop run" not in screen_text(app)
        assert worker.requests() == []
        await pilot.press("x", "y")
        assert (await requested(pilot, worker)).command == "stop"


async def test_the_same_request_twice_is_one_request(worker):
    app = open_dashboard(worker.directory)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "running"))
        await pilot.press("s")
        await requested(pilot, worker)
        await pilot.press("s")
        await pilot.pause(0.3)
        assert worker.requests() == []


async def test_two_dashboards_at_once_see_one_another_s_requests(worker):
    one, other = open_dashboard(worker.directory), open_dashboard(worker.directory)
    async with one.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(one, "running"))
        await pilot.press("s")
        request = await requested(pilot, worker)
        worker.answer(request, "accepted")
        worker.answer(request, "done", "ck-0009")
        await wait_for(pilot, shows(one, "done: ck-0009"))
    async with other.run_test(size=SIZE) as pilot:
        # Not its own request, so it is in the log, with who asked.
        await wait_for(pilot, shows(other, "save done ("))


async def test_controls_of_a_finished_run_say_that_there_is_nothing_to_control(recorded):
    app = open_dashboard(recorded)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "✓ finished"))
        for key, words in (("s", "finished"), ("p", "finished"), ("x", "finished"), ("r", "has finished")):
            await pilot.press(key)
            await pilot.pause(0.1)
            assert words in screen_text(app).splitlines()[-2], key
        assert not recorded.control_folder.exists()


async def test_a_lost_run_names_its_checkpoint_and_offers_to_resume(worker):
    worker.close()
    # A process that is gone: this one's number with another start.
    beat = worker.directory.heartbeat_file
    beat.write_bytes(beat.read_bytes().replace(b'"start":', b'"start":1'))
    app = open_dashboard(worker.directory)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "✗ lost", "is gone", "r resume from ck-0005"))


async def test_a_resume_that_fails_shows_why(recorded):
    """The recording names checkpoints whose files it does not have."""
    app = open_dashboard(recorded)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "✓ finished"))
        await pilot.press("c", "end", "enter")
        await wait_for(pilot, shows(app, "r resume from here"))
        await pilot.press("r")
        await wait_for(pilot, shows(app, "Resume from ck-0002?"))
        await pilot.press("y")
        await wait_for(pilot, shows(app, "unknown checkpoint"))


async def test_going_back_to_an_older_checkpoint_asks_first(recorded):
    app = open_dashboard(recorded)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "✓ finished"))
        await pilot.press("c", "end", "enter")
        await wait_for(pilot, shows(app, "ck-0002", "r resume from here"))
        await pilot.press("r")
        await wait_for(pilot, shows(app, "Resume from ck-0002?", "set aside"))
        await pilot.press("escape")
        await pilot.pause(0.1)
        assert "Resume from" not in screen_text(app)


async def test_realising_a_scheme_of_a_live_run_asks_the_worker(recorded):
    worker = HandWorker(recorded)
    try:
        app = open_dashboard(recorded)
        async with app.run_test(size=SIZE) as pilot:
            await wait_for(pilot, shows(app, "running", "joint"))
            await pilot.press("4", "left", "left", "left", "enter")
            await wait_for(pilot, shows(app, "e realise this scheme"))
            await pilot.press("e")
            request = await requested(pilot, worker)
            assert request.command == "realise"
            assert isinstance(request.arguments["scheme"], int)
    finally:
        worker.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
async def test_a_run_of_another_user_can_only_be_watched(worker):
    os.chown(worker.directory.path, 12345, -1)
    app = open_dashboard(worker.directory)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for(pilot, shows(app, "read-only"))
        await pilot.press("s")
        await wait_for(pilot, shows(app, "belongs to another user"))
