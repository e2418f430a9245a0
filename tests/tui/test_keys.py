"""Keys of the main screen, and their effect on it."""

import pytest
from textual import events

from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.status import Status
from emodir_tui.tui.control.keymap import COMMANDS, MAIN
from emodir_tui.tui.control.panels import PANELS
from emodir_tui.tui.drawing.palette import THEMES
from tests.tui.recording import Still, StillDashboard, at, live, recorded_events, screen_text, until, wait_for


@pytest.fixture
def app(recorded):
    """A dashboard over a finished run."""
    return StillDashboard(recorded, Still(recorded_events(), Status(word=StatusWord.FINISHED)))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_numbers_go_to_panels(app, size):
    async with app.run_test(size=size) as pilot:
        dashboard = await at(app, pilot)
        for number in (2, 3, 4, 5, 6, 1):
            shown = await dashboard.press(str(number))
            # A heavy rule marks the panel that has the keys.
            assert f"━{number} {PANELS[number - 1].name}" in shown
            others = [panel for panel in PANELS if f"─{panel.number} {panel.name}" in shown]
            assert len(others) == (5 if size[0] > 100 else 0)


async def test_tab_goes_round_the_panels_both_ways(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        assert "━2 Hyper" in await dashboard.press("tab")
        assert "━1 Sub" in await dashboard.press("shift+tab")
        assert "━6 Log" in await dashboard.press("shift+tab")
        assert "━1 Sub" in await dashboard.press("tab")


async def test_zoom_gives_a_panel_the_whole_window_and_back(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        zoomed = await dashboard.press("3", "z")
        assert "3 Ranking" in zoomed
        assert "Hypervolume  " not in zoomed
        assert len([line for line in zoomed.splitlines() if " sn1 " in line or " sn2 " in line]) > 24
        assert "─2 Hypervolume" in await dashboard.press("escape")
        assert "─2 Hypervolume" not in await dashboard.press("z")
        assert "─2 Hypervolume" in await dashboard.press("z")


async def test_brackets_go_through_the_fronts(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        assert "‹ joint ›" in screen_text(app)
        seen = [
            next(line for line in (await dashboard.press("right_square_bracket")).splitlines() if "4 Front" in line)
            for _ in range(5)
        ]
        scopes = [line.split("‹ ")[1].split(" ›")[0] for line in seen]
        assert scopes == ["sn1", "sn2", "sn3", "merged", "joint"]
        assert "‹ merged ›" in await dashboard.press("left_square_bracket")


async def test_points_of_a_front_that_still_changes_say_that_they_have_no_details(recorded):
    app = StillDashboard(recorded, Still(until("joint_generation", generation=6), Status(word=StatusWord.PAUSED)))
    async with app.run_test(size=(80, 24)) as pilot:
        dashboard = await at(app, pilot)
        await dashboard.press("4", "right", "enter")
        assert "details are available once this front is finished" in dashboard.message


async def test_the_cursor_in_the_sub_networks_selects_the_front(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        assert "‹ sn2 ›" in await dashboard.press("1", "down")
        assert "‹ sn3 ›" in await dashboard.press("j")
        assert "‹ sn2 ›" in await dashboard.press("k")


def ranks(shown):
    lines = shown.splitlines()
    start = next(index for index, line in enumerate(lines) if "3 Ranking" in line)
    return [line[1:66] for line in lines[start + 2 : start + 8]]


async def test_the_ranking_is_sorted_by_one_column_after_the_other(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        by_rank = ranks(screen_text(app))
        orders = {}
        while "rank" not in orders:
            rows = ranks(await dashboard.press("o"))
            orders[dashboard.message.strip().removeprefix("ranking sorted by ")] = rows
        assert list(orders) == ["price", "subnetwork", "impairment", "kept", "accuracy", "local", "joint", "rank"]
        assert orders["rank"] == by_rank
        assert len({tuple(rows) for rows in orders.values()}) > 4


@pytest.mark.parametrize(("panel", "words"), [("3", "sn2"), ("6", "pick")])
async def test_a_filter_leaves_the_rows_that_have_the_words(app, panel, words):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        filtered = await dashboard.press(panel, "z", "slash", *words, "enter")
        body = [line for line in filtered.splitlines()[5:-3] if line.strip()]
        assert body
        assert all(words in line for line in body)
        everything = await dashboard.press("slash", "escape", "home")
        assert not all(words in line for line in everything.splitlines()[5:-3])


async def test_a_click_elsewhere_keeps_the_filter_and_each_panel_ends_its_own(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        await dashboard.press("3", "slash", *"sn2")
        await pilot.click("#log", offset=(5, 3))
        shown = await dashboard.press("home")
        assert "━6 Log" in shown
        assert "members with 'sn2'" in shown
        shown = await dashboard.press("slash", *"pick")
        assert "members with 'sn2'" in shown
        assert "with 'pick'" in shown
        shown = await dashboard.press("escape")
        assert "members with 'sn2'" in shown
        assert "with 'pick'" not in shown
        assert "members with" not in await dashboard.press("3", "slash", "escape")


@pytest.mark.parametrize("way", ["tab", "click"])
async def test_a_filter_that_is_left_is_kept_and_its_box_goes(app, way):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        await dashboard.press("3", "slash", *"sn2")
        assert app.screen.query_one("#filter").display
        await (pilot.press("tab") if way == "tab" else pilot.click("#ranking", offset=(5, 2)))
        shown = await dashboard.press("home")
        assert "members with 'sn2'" in shown
        assert not app.screen.query_one("#filter").display
        assert app.screen.query_one("#message").display


@pytest.mark.parametrize("log", [False, True])
async def test_keys_typed_ahead_of_the_filter_are_not_commands(app, log):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        await dashboard.press("l" if log else "3")
        # As a paste comes, or keys over a slow line: all are there before the first is acted on.
        for key in ("slash", "s", "n", "3"):
            app.post_message(events.Key(key, "/" if key == "slash" else key))
        await pilot.pause(0.3)
        box = app.screen.query_one("#filter")
        assert (box.value, app.focused) == ("sn3", box)
        await dashboard.press("7")
        assert box.value == "sn37"


async def test_letters_typed_into_the_filter_are_not_commands(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        await dashboard.press("3", "slash", "q", "x", "z")
        assert app.is_running
        assert "Stop run" not in screen_text(app)
        # Even there Ctrl+C leaves.
        await pilot.press("ctrl+c")
        await pilot.pause(0.2)
        assert not app.is_running


async def test_the_log_shows_fewer_lines_at_higher_levels(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        usual = await dashboard.press("6", "z", "home")
        assert "picks: knee" in usual
        assert " · hypervolume 0." not in usual
        assert "picks: knee" not in await dashboard.press("v")
        assert "picks: knee" not in await dashboard.press("v")
        assert " · hypervolume 0." in await dashboard.press("v", "home", "pagedown")


async def test_the_logarithmic_axis_changes_the_plot_only(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        linear = screen_text(app)
        logarithmic = await dashboard.press("L")
        assert logarithmic != linear
        assert "1e-" in logarithmic
        assert "1e-" not in await dashboard.press("L")


async def test_freeze_stops_the_display_but_not_the_reading(recorded):
    still = Still(until("search_generation", 3, subnetwork="sn1"), live())
    app = StillDashboard(recorded, still)
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        frozen = await dashboard.press("f")
        assert "frozen" in frozen
        still.state = Still(until("search_generation", 9, subnetwork="sn1"), live()).state
        await pilot.pause(2.2)
        assert "2/25" in screen_text(app)
        assert "8/25" not in "\n".join(screen_text(app).splitlines()[2:])
        assert "8/25" in await dashboard.press("f")


async def test_themes_go_round_and_change_no_text(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        before, names = screen_text(app).splitlines()[2:-2], []
        for _ in THEMES:
            after = await dashboard.press("t")
            names.append(app.theme)
            assert after.splitlines()[2:-2] == before
        assert sorted(names) == sorted(THEMES)


async def test_copying_shows_the_text_too(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        await dashboard.press("y")
        assert "emodir watch digits-8322" in dashboard.message


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_leaving(app, key):
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        await pilot.press(key)
        await pilot.pause(0.2)
        assert not app.is_running


@pytest.mark.parametrize("key", ["ctrl+c", pytest.param("ctrl+q", marks=pytest.mark.full)])
@pytest.mark.parametrize("dialog", ["question_mark", "l", "enter", "ctrl+p", "w"])
async def test_leaving_works_from_every_dialog(app, key, dialog):
    async with app.run_test(size=(120, 40)) as pilot:
        await (await at(app, pilot)).press(dialog)
        await pilot.press(key)
        await pilot.pause(0.3)
        assert not app.is_running


async def test_help_shows_every_key_and_every_state(app):
    async with app.run_test(size=(120, 60)) as pilot:
        dashboard = await at(app, pilot)
        shown = await dashboard.press("question_mark")
        for _ in range(6):
            shown += await dashboard.press("pagedown")
        for command in COMMANDS:
            assert command.help[:40] in shown, command.id
        for word in ("starting", "paused", "no progress", "lost", "failed", "stopped", "finished"):
            assert word in shown
        assert "Keys, marks" not in await dashboard.press("escape")


async def test_the_palette_knows_every_command_of_a_live_run(recorded):
    app = StillDashboard(recorded, Still(until("joint_generation", generation=6), live()))
    async with app.run_test(size=(120, 60)) as pilot:
        dashboard = await at(app, pilot)
        offered = {command.title for command in app.get_system_commands(app.screen)}
        for command in COMMANDS:
            known = MAIN in command.screens and command.group != "Move" and command.id not in ("palette", "resume")
            if known:
                assert command.help in offered or command.label in offered, command.id
        await dashboard.press("ctrl+p")
        assert "logarithmic or linear" in await dashboard.press(*"logarithmic")
        await dashboard.press("enter")
        await pilot.pause(0.3)
        assert "1e-" in screen_text(app)


async def test_the_worker_log_is_shown_literally_and_followed(recorded):
    recorded.worker_log.write_text("first\n[bold red]not bold[/]\nesc \x1b[31m red\n" + "long " * 3000 + "\n")
    app = StillDashboard(recorded, Still(recorded_events(), Status(word=StatusWord.FINISHED)))
    async with app.run_test(size=(80, 24)) as pilot:
        dashboard = await at(app, pilot)
        await dashboard.press("l")
        await wait_for(pilot, lambda: "[bold red]not bold[/]" in screen_text(app))
        assert "␛[31m red" in screen_text(app)
        with recorded.worker_log.open("a") as log:
            log.write("the newest line\n")
        await wait_for(pilot, lambda: "the newest line" in screen_text(app))
        assert "not bold" not in await dashboard.press("slash", *"newest", "enter")
        assert "1 Subnets" in await dashboard.press("slash", "escape", "escape")


async def test_every_curve_is_named_where_it_is_drawn(app):
    async with app.run_test(size=(80, 24)) as pilot:
        shown = await (await at(app, pilot)).press("2")
        for name in ("sn1", "sn2", "sn3", "joint"):
            assert name in shown


async def test_the_palette_offers_only_commands_with_an_effect(app):
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        offered = {command.title for command in app.get_system_commands(app.screen)}
        for command in COMMANDS:
            if command.group == "Replay" or command.id in ("save", "pause", "stop", "stop-now"):
                assert command.help not in offered, command.id


async def test_q_closes_details(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        assert "Esc closes" in await dashboard.press("enter")
        assert "Esc closes" not in await dashboard.press("q")
        assert app.is_running
