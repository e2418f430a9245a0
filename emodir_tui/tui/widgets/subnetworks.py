"""Panel 1: the sub-networks and how far their searches are."""

from collections.abc import Hashable
from itertools import islice

from rich.style import Style
from textual.app import ComposeResult

from emodir_tui.formatting import NOTHING, layer_range, literal, number, rate
from emodir_tui.runs.names import StageName, StageState
from emodir_tui.runs.state import Subnetwork
from emodir_tui.tui.control import panels
from emodir_tui.tui.drawing.palette import STAGE_GLYPHS, sparkline
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.panel import Panel
from emodir_tui.tui.widgets.rows import Cells, Column, Rows

TREND_CELLS = 10
_WORDS = {StageState.DONE: "done", StageState.RUNNING: "run", StageState.WAITING: "wait"}
_COLUMNS = (
    Column(key="name", label="sn", width=4),
    Column(key="layers", label="layers", width=12, stretch=True),
    Column(key="state", label="state", width=6),
    Column(key="generation", label="gen", width=7, right=True),
    Column(key="hypervolume", label="HV", width=6, right=True),
    Column(key="trend", label="trend", width=TREND_CELLS, drop=1),
    Column(key="front", label="front", width=5, right=True, drop=2),
    Column(key="rate", label="ev/s", width=5, right=True, drop=3),
)


class SubnetworksPanel(Panel):
    """Layers, state, generation, hypervolume and its trend, front size, evaluations per second."""

    SPEC = panels.SUBNETWORKS

    def compose(self) -> ComposeResult:
        """The table."""
        yield Rows(_COLUMNS, name="subnetworks")

    def show(self, view: View) -> None:
        """Draw the sub-networks."""
        subnetworks = view.state.subnetworks
        colours = {name: Style(color=view.palette.colour(index)) for index, name in enumerate(subnetworks)}

        def cells(key: Hashable) -> Cells:
            item = subnetworks.get(str(key))
            return _cells(item, colours[item.name], view) if item is not None else ()

        self.query_one(Rows).show(list(subnetworks), cells, view.palette, empty=_empty(view))
        states: list[str] = [item.state for item in subnetworks.values()]
        self.set_title(
            " ".join(f"{states.count(word)}{glyph}" for word, glyph in STAGE_GLYPHS.items() if word in states)
        )


def _cells(item: Subnetwork, colour: Style, view: View) -> Cells:
    palette = view.palette
    state = {StageState.DONE: palette.good, StageState.RUNNING: palette.accent}.get(item.state, palette.dim)
    generation = f"{item.generation}/{item.generations}" if item.generations else NOTHING
    return (
        (literal(item.name), colour),
        literal(layer_range(item.layers)),
        (f"{STAGE_GLYPHS.get(item.state, '?')} {_WORDS.get(item.state, item.state)}", state),
        f"{generation}²" if item.round > 1 else generation,
        number(item.hypervolume),
        (sparkline(_trend(item), TREND_CELLS), colour),
        str(item.front_size) if item.front_size else NOTHING,
        rate(item.evaluations_per_second) if item.state == StageState.RUNNING else NOTHING,
    )


def _trend(item: Subnetwork) -> list[float]:
    """About as many hypervolumes as there are cells, the newest among them; a long history is not copied."""
    history = item.hypervolumes
    if not history:
        return []
    step = max(1, len(history) // (TREND_CELLS * 2))
    return list(islice(history.values(), (len(history) - 1) % step, None, step))


def _empty(view: View) -> str:
    if view.state.stages[StageName.DIVIDE].state == StageState.DONE:
        return "the network was divided into no sub-networks"
    return "appear when the network has been divided (stage 2)"
