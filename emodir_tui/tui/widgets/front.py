"""Panel 4: a front as a scatter plot with staircase, knee and picks; its points can be selected."""

from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from emodir_tui.formatting import literal, number, percent, plural
from emodir_tui.runs.state import RunState
from emodir_tui.tui.control import panels
from emodir_tui.tui.drawing.chart import Chart, Series
from emodir_tui.tui.drawing.palette import KNEE, MEMBER, PICK, SELECTED
from emodir_tui.tui.presenters.references import Reference
from emodir_tui.tui.presenters.scopes import JOINT, MERGED, FrontPoint, front_points, knee
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.lines import Line
from emodir_tui.tui.widgets.panel import Panel
from emodir_tui.tui.widgets.plot import Plot


class FrontPlot(Plot):
    """The scatter plot; left and right select a point."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Less kept", show=False),
        Binding("right", "move(1)", "More kept", show=False),
        Binding("home", "move(-100000)", "First", show=False),
        Binding("end", "move(100000)", "Last", show=False),
        Binding("enter", "select", "Details", show=False),
    ]

    class Moved(Message):
        """The selection moves `by` points to the right."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class Opened(Message):
        """The user pressed Enter."""

    def action_move(self, by: int) -> None:
        """Move the selection along the front."""
        self.post_message(self.Moved(by))

    def action_select(self) -> None:
        """Open the selected point."""
        self.post_message(self.Opened())


class FrontPanel(Panel):
    """The front of a sub-network, the merged front or the joint front."""

    SPEC = panels.FRONT

    class Selected(Message):
        """The user opened a point with details."""

        def __init__(self, reference: Reference) -> None:
            super().__init__()
            self.reference = reference

    class HasNoDetails(Message):
        """The user opened a point without details."""

    def __init__(self) -> None:
        super().__init__()
        self._selected: int | None = None
        self._scope = ""
        self._points: list[FrontPoint] = []
        self.logarithmic = False

    def compose(self) -> ComposeResult:
        """Create the plot and the line about the selected point."""
        yield FrontPlot("front-plot")
        yield Line("front-line")

    @property
    def reference(self) -> Reference | None:
        """The item behind the selected point."""
        if self._selected is None or self._selected >= len(self._points):
            return None
        return self._points[self._selected].reference

    def move(self, by: int) -> None:
        """Select another point; without a selection, the knee."""
        if not self._points:
            return
        if self._selected is None:
            self._selected = self._knee() or 0
            by = 0 if abs(by) <= 1 else by
        self._selected = max(0, min(len(self._points) - 1, self._selected + by))

    def on_front_plot_opened(self, event: FrontPlot.Opened) -> None:
        """Post the selected point, or the knee without a selection."""
        event.stop()
        if self._selected is None:
            self.move(0)
        if self.reference is not None:
            self.post_message(self.Selected(self.reference))
        elif self._selected is not None:
            self.post_message(self.HasNoDetails())

    def show(self, view: View) -> None:
        """Draw the front."""
        if view.scope != self._scope:
            self._scope, self._selected = view.scope, None
        if not view.plots:
            return
        self._points = front_points(view.state, view.scope)
        if self._selected is not None and self._selected >= len(self._points):
            self._selected = None
        self.query_one(FrontPlot).show(self._chart(view), view.palette.dim)
        self.query_one(Line).show(Text(self._line(view.state), style=view.palette.dim))
        count = f"  {plural(len(self._points), 'point')}" if self._points else ""
        self.set_title(f"‹ {literal(view.scope)} ›{count}")

    def _knee(self) -> int | None:
        on_front = [index for index, point in enumerate(self._points) if point.on_front]
        found = knee([self._points[index].position for index in on_front])
        return None if found is None else on_front[found]

    def _chart(self, view: View) -> Chart:
        palette = view.palette
        names = list(view.state.subnetworks)
        series: list[Series] = []
        front = tuple(point.position for point in self._points if point.on_front)
        series.append(Series(points=front, style=palette.dim, form="stairs"))
        for index, name in enumerate([*names, ""]):
            style = Style(color=palette.colour(index)) if name else palette.accent
            behind = tuple(point.position for point in self._points if point.subnetwork == name and not point.on_front)
            members = tuple(point.position for point in self._points if point.subnetwork == name and point.on_front)
            series.append(Series(points=behind, style=style, form="dots"))
            series.append(Series(points=members, style=style, form="marks", glyph=MEMBER))
        knee_index = self._knee()
        if knee_index is not None:
            series.append(_mark(self._points[knee_index], KNEE, palette.warn + palette.strong))
        if view.scope == JOINT:
            series.extend(_mark(point, PICK, palette.good + palette.strong) for point in self._picked(view.state))
        if self._selected is not None:
            series.append(_mark(self._points[self._selected], SELECTED, palette.strong))
        return Chart(
            series=tuple(item for item in series if item.points),
            empty=_empty(view),
            x_label=f"{view.state.complexity.unit} kept",
            y_label="impairment",
            x_percent=True,
            log_y=self.logarithmic,
        )

    def _picked(self, state: RunState) -> list[FrontPoint]:
        schemes = {pick.scheme for pick in state.picks.values()}
        return [point for point in self._points if point.reference is not None and point.reference.number in schemes]

    def _line(self, state: RunState) -> str:
        """Describe the selected point, or the marks without a selection."""
        if not self._points:
            return ""
        if self._selected is None:
            picks = f"   {PICK} pick" if self._scope == JOINT and state.picks else ""
            return f" {KNEE} knee{picks}   ← → select"
        point = self._points[self._selected]
        complexity, impairment = point.position
        return f" {SELECTED} {_name(point)} kept {percent(complexity)}  impairment {number(impairment)}"


def _name(point: FrontPoint) -> str:
    if point.reference is None:
        return ""
    if point.reference.kind == "row":
        return f"#{point.reference.number} {literal(point.subnetwork)}"
    return f"{point.reference.kind} {point.reference.number}"


def _mark(point: FrontPoint, glyph: str, style: Style) -> Series:
    return Series(points=(point.position,), style=style, form="marks", glyph=glyph)


def _empty(view: View) -> str:
    if view.scope == JOINT:
        return "the joint front appears in stage 6"
    if view.scope == MERGED:
        return "appears when all members have been ranked (stage 5)"
    return f"waiting for the first front of {literal(view.scope)}"
