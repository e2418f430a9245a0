"""Text from outside is shown literally everywhere and breaks no layout."""

import json

import msgspec
import pytest
from rich.cells import cell_len

from emodir_tui.runs.event_types import ControlDone, RunClosed
from emodir_tui.runs.events import KINDS
from emodir_tui.runs.names import Outcome, StatusWord
from emodir_tui.runs.status import Status
from tests.tui.recording import Still, StillDashboard, at, live, recorded_events, screen_text, until

HOSTILE = {
    "markup": "[bold red]x[/bold red] [link=http://a]y[/link] [@click=app.leave]z[/]",
    "escape": "a\x1b[31mred\x1b[0m\x1b]0;title\x07 \x1b[2Jb\x9b31m",
    "long": "L" * 10_000,
    "right-to-left": "abc \u202egnp.exe\u202c \u2067שלום\u2069 \u200fend",
    "lines": "one\ntwo\r\nthree\tfour\u2028five",
    "wide": "漢字かな交じり文 🚀👩‍👩‍👧‍👦 e\u0301",
    "nothing printable": "\x00\x01\x02\ud800",
}


def hostile_events(text):
    """Return the recording with this text in place of every text."""

    def poison(value, key=""):
        if isinstance(value, dict):
            return {name: poison(item, name) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [poison(item, key) for item in value]
        if isinstance(value, str) and key in (
            "layers",
            "place",
            "reason",
            "text",
            "host",
            "note",
            "unit",
            "rule",
            "file",
            "device",
        ):
            return text
        if isinstance(value, str) and key in ("name", "subnetwork", "pick"):
            return f"{value}{text}"
        return value

    return [
        msgspec.convert(
            {key: value if key in ("kind", "stage") else poison(value, key) for key, value in values.items()},
            KINDS[values["kind"]],
        )
        for values in map(msgspec.to_builtins, recorded_events())
    ]


def check_layout(app):
    """Check that every row is as wide as the window and has no control characters."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    assert len(strips) == height
    for strip in strips:
        assert cell_len("".join(segment.text for segment in strip)) == width
        for segment in strip:
            assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in segment.text)
            assert not any(character in segment.text for character in "\u202e\u2067\u200f\u2028")


@pytest.mark.parametrize("size", [(120, 40), pytest.param((60, 16), marks=pytest.mark.full)], ids=["120x40", "60x16"])
@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_text_in_every_place_breaks_no_screen(recorded, kind, size):
    app = StillDashboard(
        recorded, Still(hostile_events(HOSTILE[kind]), Status(word=StatusWord.FINISHED, reason=HOSTILE[kind]))
    )
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.2)
        check_layout(app)
        for panel in "123456":
            for key in (panel, "enter", "escape"):
                await pilot.press(key)
                await pilot.pause(0.05)
                check_layout(app)
        assert app.is_running


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_errors_and_hints_are_literal_in_the_header(recorded, kind):
    text = HOSTILE[kind]
    events = until("joint_generation", generation=6)
    closed = RunClosed(time=events[-1].time, outcome=Outcome.FAILED, error=text, hint=text)
    app = StillDashboard(recorded, Still([*events, closed], Status(word=StatusWord.FAILED, reason=text)))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        check_layout(app)
        head = screen_text(app).splitlines()[0]
        assert "failed" in head
        if kind == "markup":
            assert "[bold red]x[/bold red]" in head
        if kind == "escape":
            assert "a␛[31mred" in head


async def test_hostile_names_of_requesters_are_literal(recorded):
    events = until("joint_generation", generation=6)
    answer = ControlDone(
        time=events[-1].time,
        id="x",
        command="save",
        by=HOSTILE["markup"],
        message=HOSTILE["escape"],
    )
    app = StillDashboard(recorded, Still([*events, answer], live()))
    async with app.run_test(size=(200, 60)) as pilot:
        shown = await (await at(app, pilot)).press("6", "z")
        assert "[bold red]x[/bold red]" in shown
        check_layout(app)


async def test_the_picker_shows_broken_runs_without_breaking(recorded):
    from emodir_tui.tui.app import Dashboard
    from tests.tui.recording import wait_for

    folder = recorded.path.parent
    for name, line in {
        "empty": "",
        "damaged": "{{{{\n",
        "odd": json.dumps({"v": 1, "seq": 1, "time": 1, "kind": "run_opened"}) + "\n",
    }.items():
        (folder / name / "events").mkdir(parents=True)
        (folder / name / "profile.toml").write_text("")
        (folder / name / "events" / "0001.jsonl").write_text(line)
    app = Dashboard(None, folder)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(
            pilot,
            lambda: all(name in screen_text(app) for name in ("empty", "damaged", "odd", "digits-8322", "98.89 %")),
        )
        check_layout(app)
