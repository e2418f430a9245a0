"""Panel 6: the log, with levels and a filter; it follows while the cursor is on the last line."""

from collections.abc import Hashable

from textual.app import ComposeResult

from emodir_tui.formatting import clock, literal
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.narration import LEVELS
from emodir_tui.tui.control import panels
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.sources.event_log import LogLine
from emodir_tui.tui.widgets.panel import Panel
from emodir_tui.tui.widgets.rows import Cells, Column, Rows

_COLUMNS = (
    Column(key="time", label="", width=8, drop=1),
    Column(key="text", label="", width=10, stretch=True),
)
_PREFIX = {"warning": "WARN ", "error": "ERROR "}


class LogPanel(Panel):
    """The log lines at or above a level that contain the filter."""

    SPEC = panels.LOG

    def __init__(self) -> None:
        super().__init__()
        self._level = "info"
        self._filter = ""
        self._passing: tuple[object, dict[int, LogLine]] = ((), {})

    def compose(self) -> ComposeResult:
        """Create the table of lines."""
        yield Rows(_COLUMNS, show_header=False, follow=True, name="log")

    def level_next(self) -> str:
        """Switch to the next level and return its name."""
        self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
        return self._level

    def filter_by(self, text: str) -> None:
        """Show only lines that contain this text."""
        self._filter = text.strip().lower()

    def line(self, number: int) -> LogLine | None:
        """Return a line by its number."""
        return self._passing[1].get(number)

    def show(self, view: View) -> None:
        """Draw the lines."""
        passing = self._passing_lines(view)

        def cells(key: Hashable) -> Cells:
            line = passing.get(key)  # type: ignore[call-overload]
            return _cells(line, view) if line is not None else ()

        rows = self.query_one(Rows)
        rows.show(tuple(passing), cells, view.palette, empty=self._empty(view))
        words = [
            "following" if rows.is_following else "",
            {"detail": "all levels", "info": "", "warning": "warnings", "error": "errors only"}[self._level],
            f"with '{literal(self._filter, 30)}'" if self._filter else "",
        ]
        self.set_title(" · ".join(word for word in words if word))

    def _passing_lines(self, view: View) -> dict[int, LogLine]:
        """Return the lines at this level with the filter's text, cached until log, level or filter change."""
        ends = (view.lines[0].number, view.lines[-1].number) if view.lines else ()
        criteria = (ends, self._level, self._filter)
        if self._passing[0] != criteria:
            levels = LEVELS[LEVELS.index(self._level) :]
            passing = {
                line.number: line
                for line in view.lines
                if line.level in levels and (not self._filter or self._filter in line.text.lower())
            }
            self._passing = (criteria, passing)
        return self._passing[1]

    def _empty(self, view: View) -> str:
        if view.lines:
            return "no line matches the level and filter"
        return "the worker is loading · l shows its log" if view.word == StatusWord.STARTING else "no messages yet"


def _cells(line: LogLine, view: View) -> Cells:
    palette = view.palette
    style = {"warning": palette.warn, "error": palette.bad, "detail": palette.dim}.get(line.level)
    return ((clock(line.time), palette.dim), (_PREFIX.get(line.level, "") + line.text, style))
