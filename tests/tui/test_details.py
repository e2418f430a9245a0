"""Details of each kind of row, and their links."""

import pytest

from emodir_tui.runs.events import decode
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.status import Status
from tests.tui.recording import At, Still, StillDashboard, at, live, recorded_events, screen_text, until, wait_for


@pytest.fixture
def app(recorded):
    return StillDashboard(recorded, Still(recorded_events(), Status(word=StatusWord.FINISHED)))


async def test_a_sub_network_shows_its_groups_and_links_to_its_members(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        shown = await dashboard.press("1", "home", "enter")
        for words in ("sn1", "layer1.0.conv1", "16"):
            assert words in shown
        member = await dashboard.press("enter")
        assert "ember" in member
        assert "█" in member or "░" in member


async def test_a_front_member_shows_its_kept_channels_as_bars(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        await dashboard.press("1", "home", "4", "left", "right", "right", "right", "right")
        assert "▸" in screen_text(app) or "◉" in screen_text(app)
        # The scope is still the joint front: the first sub-network's comes first in the round.
        await dashboard.press("right_square_bracket", "right", "right", "right")
        shown = await dashboard.press("enter")
        assert "Member" in shown
        assert "sn1" in shown
        assert "layer1.0.conv1" in shown
        assert "░" in shown
        assert "/16" in shown or "of 16" in shown


async def test_a_ranking_row_shows_its_sub_network_and_links_to_its_schemes(app):
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = await at(app, pilot)
        # Rank 2 is used by joint schemes.
        shown = await dashboard.press("3", "down", "enter")
        for words in ("sn1", "27", "scheme"):
            assert words in shown
        assert "Joint scheme" in await dashboard.press("end", "enter")
        assert "Joint scheme" not in await dashboard.press("escape")
        assert "━3 Ranking" in await dashboard.press("escape")


async def test_a_joint_scheme_shows_members_macs_and_accuracy(app):
    async with app.run_test(size=(120, 40)) as pilot:
        shown = await (await at(app, pilot)).press("4", "right", "right", "right", "enter")
        for words in ("Joint scheme", "expected accuracy", "kept", "sn1", "sn2", "sn3", "realise this scheme"):
            assert words in shown


async def test_a_pick_shows_its_results(app):
    async with app.run_test(size=(120, 40)) as pilot:
        shown = await (await at(app, pilot)).press("4", "right", "enter")
        for words in ("pick knee", "98.89 %", "38.9 %", "export/knee.safetensors"):
            assert words in shown
        # What is a pick already is not offered again.
        assert "realise this scheme" not in shown


async def test_a_checkpoint_shows_stage_and_size(app):
    async with app.run_test(size=(120, 40)) as pilot:
        shown = await (await at(app, pilot)).press("5", "home", "enter")
        for words in ("ck-0006", "finetune", "680 kB"):
            assert words in shown


async def test_a_log_line_is_shown_whole(recorded):
    text = "a line " + "that is long " * 20 + "END"
    events = [
        *recorded_events(),
        decode(b'{"v":1,"seq":9,"time":1795547999,"kind":"message","level":"warning","text":"' + text.encode() + b'"}'),
    ]
    app = StillDashboard(recorded, Still(events, Status(word=StatusWord.FINISHED)))
    async with app.run_test(size=(80, 24)) as pilot:
        dashboard = await at(app, pilot)
        assert "END" not in await dashboard.press("6")
        assert "END" in await dashboard.press("end", "enter")


async def test_details_follow_the_run(recorded):
    still = Still(until("search_generation", 3, subnetwork="sn1"), live())
    app = StillDashboard(recorded, still)
    async with app.run_test(size=(120, 40)) as pilot:
        dashboard = At(app, pilot)
        await pilot.pause(0.2)
        assert "2/25" in await dashboard.press("1", "enter")
        still.state = Still(until("search_generation", 9, subnetwork="sn1"), live()).state
        await wait_for(pilot, lambda: "8/25" in screen_text(app))


@pytest.mark.parametrize("size", [(60, 16), (80, 24)], ids=["60x16", "80x24"])
async def test_details_fit_into_small_windows(app, size):
    async with app.run_test(size=size) as pilot:
        dashboard = await at(app, pilot)
        for panel in "12345":
            shown = await dashboard.press(panel, "down", "enter")
            assert len(shown.splitlines()) == size[1]
            if panel != "2":
                assert "Esc closes" in shown, panel
            await dashboard.press("escape")
