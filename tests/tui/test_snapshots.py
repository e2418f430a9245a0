"""Words and picture of every state. After an intended change: pytest tests/tui/test_snapshots.py -m "" --snapshot-update."""

import asyncio
import re
from pathlib import Path

import pytest

from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.status import Status
from emodir_tui.tui.app import Dashboard
from tests.tui.recording import Still, StillDashboard, live, recorded_events, screen_text, wait_for
from tests.tui.states import MIDDLE, STATES, at_each_size

FINISHED = Still(recorded_events(), Status(word=StatusWord.FINISHED))

SPECIAL = {
    "front": ((80, 24), FINISHED, ("4",)),
    "ranking": ((80, 24), FINISHED, ("3", "down", "o", "o")),
    "scheme": ((120, 40), FINISHED, ("4", "right", "right", "right", "enter")),
    "member": ((80, 24), FINISHED, ("4", "right_square_bracket", "right", "right", "enter")),
    "stop": ((80, 24), Still(MIDDLE, live()), ("x",)),
    "help": ((120, 40), FINISHED, ("question_mark",)),
    "too-small": ((58, 14), Still(MIDDLE, live()), ()),
}


class Lean:
    """A screenshot without blanks as entities and clip paths, which double the size of its file."""

    def export_screenshot(self, **options):
        svg = super().export_screenshot(**options).replace("&#160;", "\N{NO-BREAK SPACE}")
        svg = re.sub(r'<clipPath id="[\w-]+-line-\d+">.*?</clipPath>\n?', "", svg, flags=re.DOTALL)
        svg = re.sub(r' clip-path="url\(#[\w-]+-line-\d+\)"| shape-rendering="crispEdges"', "", svg)
        return svg.replace("</style>", "rect { shape-rendering: crispEdges }\n    </style>", 1)


class Pictured(Lean, StillDashboard):
    pass


class PicturedPicker(Lean, Dashboard):
    CSS_PATH = StillDashboard.CSS_PATH


async def settle(pilot):
    """Wait until the screen no longer changes."""
    before = None
    while before != (before := screen_text(pilot.app)):
        await asyncio.sleep(0.03)
        await pilot.pause()


def then(*keys):
    async def press(pilot):
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    return press


@at_each_size
@pytest.mark.parametrize("name", STATES)
def test_state(snap_compare, recorded, name, size):
    state = STATES[name]
    app = Pictured(recorded, state.still, read_only=state.read_only)
    shown = ""

    async def press(pilot):
        nonlocal shown
        await then(*state.keys)(pilot)
        shown = screen_text(app)

    is_same = snap_compare(app, terminal_size=size, run_before=press)
    for words in state.words:
        assert words in shown, shown
    assert is_same


@at_each_size
def test_no_run_yet(snap_compare, tmp_path, monkeypatch, size):
    monkeypatch.chdir(tmp_path)

    async def read(pilot):
        await wait_for(pilot, lambda: "no runs here yet" in screen_text(pilot.app))

    assert snap_compare(PicturedPicker(None, Path("runs")), terminal_size=size, run_before=read)


@pytest.mark.parametrize("name", SPECIAL)
def test_special(snap_compare, recorded, name):
    size, still, keys = SPECIAL[name]
    assert snap_compare(Pictured(recorded, still), terminal_size=size, run_before=then(*keys))


def test_the_terminal_s_own_colours(snap_compare, recorded, monkeypatch):
    monkeypatch.delenv("COLORTERM")
    assert snap_compare(Pictured(recorded, FINISHED), terminal_size=(120, 40), run_before=then())
