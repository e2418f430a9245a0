"""Panel 2: hypervolume over generations, one curve per sub-network and one for the joint search."""

from rich.style import Style
from textual.app import ComposeResult

from emodir_tui.formatting import literal, number
from emodir_tui.runs.event_types import Point
from emodir_tui.runs.names import StageName, StageState
from emodir_tui.runs.state import RunState, Subnetwork
from emodir_tui.tui.control import panels
from emodir_tui.tui.drawing.chart import Chart, Series, thin_out
from emodir_tui.tui.drawing.palette import Palette
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.panel import Panel
from emodir_tui.tui.widgets.plot import Plot


class HypervolumePanel(Panel):
    """All curves in the colours of panel 1; the curve of the joint search is bold and has no colour."""

    SPEC = panels.HYPERVOLUME

    def __init__(self) -> None:
        super().__init__()
        self._thinned: dict[str, tuple[int, float, tuple[Point, ...]]] = {}

    def compose(self) -> ComposeResult:
        """Create the plot."""
        yield Plot("hypervolume-plot")

    def show(self, view: View) -> None:
        """Draw the curves."""
        if not view.plots:
            return
        joint = view.state.joint.hypervolume
        chart = self._chart(view.state, view.palette)
        training = _baseline_chart(view.state, view.palette) if not chart.series else None
        self.query_one(Plot).show(training or chart, view.palette.dim)
        self.set_title(
            "the baseline is trained first" if training else f"joint {number(joint)}" if joint is not None else ""
        )

    def _chart(self, state: RunState, palette: Palette) -> Chart:
        series = [
            Series(points=self._points(item), style=Style(color=palette.colour(index)), label=literal(item.name, 8))
            for index, item in enumerate(state.subnetworks.values())
            if item.hypervolumes
        ]
        if state.joint.hypervolumes:
            curve = tuple((float(generation), value) for generation, value in state.joint.hypervolumes.items())
            series.append(Series(points=thin_out(curve), style=palette.strong, label="joint"))
        return Chart(
            series=tuple(series), empty=_empty(state), x_label="generation", y_label="hypervolume", y_floor=None
        )

    def _points(self, item: Subnetwork) -> tuple[Point, ...]:
        """Return the thinned curve, cached because a long history takes time."""
        length, newest = len(item.hypervolumes), item.hypervolume or 0.0
        known = self._thinned.get(item.name)
        if known is None or known[:2] != (length, newest):
            known = (length, newest, thin_out(curve(item)))
            self._thinned[item.name] = known
        return known[2]


def curve(item: Subnetwork) -> tuple[Point, ...]:
    """Return (generation, hypervolume) of all rounds; a second round continues after the first."""
    first = max((generation for number_of, generation in item.hypervolumes if number_of == 1), default=0)
    points = [
        (float(generation + (first if number_of > 1 else 0)), value)
        for (number_of, generation), value in item.hypervolumes.items()
    ]
    return tuple(sorted(points))


def _baseline_chart(state: RunState, palette: Palette) -> Chart | None:
    """Return the accuracy curve of the baseline while it is trained, else None."""
    points = tuple(
        (float(epoch.epoch), epoch.accuracy)
        for epoch in state.epochs.values()
        if epoch.stage == StageName.BASELINE and epoch.accuracy is not None
    )
    if not points or state.stages[StageName.BASELINE].state == StageState.DONE:
        return None
    series = Series(points=thin_out(points), style=palette.accent)
    return Chart(series=(series,), x_label="epoch", y_label="accuracy", y_floor=None)


def _empty(state: RunState) -> str:
    return f"waiting for the first generation of {literal(next(iter(state.subnetworks), 'sn1'))}"
