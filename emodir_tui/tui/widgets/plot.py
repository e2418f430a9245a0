"""A plot of a chart that redraws only lines that changed."""

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from emodir_tui.tui.drawing.chart import Chart, draw


class Plot(Widget, can_focus=True):
    """Draws a chart in braille. It takes the focus, so that every panel can be selected and zoomed."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._chart = Chart()
        self._axis = Style()
        self._drawn: tuple[int, int] | None = None
        self._strips: list[Strip] = []

    def show(self, chart: Chart, axis: Style) -> None:
        """Draw this chart, unless it is already shown."""
        if chart == self._chart and axis == self._axis:
            return
        self._chart, self._axis = chart, axis
        before, size = self._strips, (self.size.width, self.size.height)
        if self._drawn != size or not before:
            self._drawn = None
            self.refresh()
            return
        self._strips = draw(chart, *size, axis)
        changed = [row for row, (old, new) in enumerate(zip(before, self._strips, strict=True)) if old != new]
        if changed:
            self.refresh(*(Region(0, row, size[0], 1) for row in changed))

    def render_line(self, y: int) -> Strip:
        """Render one line."""
        size = (self.size.width, self.size.height)
        if self._drawn != size:
            self._strips, self._drawn = draw(self._chart, *size, self._axis), size
        if y >= len(self._strips):
            return Strip.blank(size[0], self.rich_style)
        return self._strips[y].apply_style(self.rich_style)
