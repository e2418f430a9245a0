"""The end of the worker's log, followed, with a filter."""

import os
from collections.abc import Callable, Hashable
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult

from emodir_tui.errors import EmodirError
from emodir_tui.formatting import literal, literal_lines, plural
from emodir_tui.runs.reading import open_regular
from emodir_tui.tui.control.keymap import LOG, bindings, key_line_commands
from emodir_tui.tui.drawing.palette import Palette
from emodir_tui.tui.screens.notice import NoticeScreen
from emodir_tui.tui.sources.background import in_background
from emodir_tui.tui.widgets.filter_box import FilterBox, FilteredScreen
from emodir_tui.tui.widgets.lines import Line, key_line
from emodir_tui.tui.widgets.rows import Cells, Column, Rows

EVERY_SECONDS = 1.0
TAIL_BYTES = 512 << 10
_COLUMNS = (
    Column(key="number", label="", width=6, right=True, drop=1),
    Column(key="text", label="", width=20, stretch=True),
)


class WorkerLogScreen(FilteredScreen):
    """The worker's standard output and error."""

    SCREENS_OF_COMMANDS: tuple[str, ...] = (LOG,)
    BINDINGS = bindings(LOG)

    def __init__(self, path: Path, run_id: str, palette: Callable[[], Palette]) -> None:
        super().__init__()
        self._path, self._run_id, self._get_palette = path, run_id, palette
        self._lines: list[str] = []
        self._bytes = -1
        self._filter = ""
        self._reading = False
        self._problem = ""

    def compose(self) -> ComposeResult:
        """Create title, lines, filter and key line."""
        yield Line("log-title")
        yield Rows(_COLUMNS, show_header=False, follow=True, name="worker-lines")
        yield Line("message")
        yield FilterBox("a line")
        yield Line("keys")

    def on_mount(self) -> None:
        """Start reading."""
        self.query_one(Rows).focus()
        self.set_interval(EVERY_SECONDS, self._read)
        self._read()
        self.draw()

    def on_resize(self) -> None:
        """Draw for the new width."""
        self.draw()

    def draw(self) -> None:
        """Draw all changes."""
        palette = self._get_palette()
        lines = {number: line for number, line in enumerate(self._lines, start=1) if self._filter in line.lower()}

        def cells(key: Hashable) -> Cells:
            line = lines.get(key, "")  # type: ignore[call-overload]
            return ((str(key), palette.dim), literal(line))

        rows = self.query_one(Rows)
        empty = self._problem or ("no line matches" if self._lines else "the worker has printed nothing, as usual")
        rows.show(tuple(lines), cells, palette, empty=empty)
        facts = [f"{plural(len(lines), 'line')}", "following" if rows.is_following else "End follow"]
        if self._filter:
            facts.append(f"with '{literal(self._filter, 40)}'")
        title = f" worker's log of {literal(self._run_id)} · {' · '.join(facts)}"
        self.query_one("#log-title", Line).show(Text(title, style=palette.strong))
        self.query_one("#message", Line).show(Text(" Enter full line · / filter · Esc back", style=palette.dim))
        self.query_one("#keys", Line).show(key_line(key_line_commands(LOG), self.size.width, palette))

    def action_back(self) -> None:
        """End the filter, or return to the run."""
        if self.query_one(FilterBox).is_open:
            self._close_filter(keep=False)
        else:
            self.app.pop_screen()

    def action_filter(self) -> None:
        """Open the filter."""
        self.query_one("#message", Line).display = False
        super().action_filter()

    @on(FilterBox.Changed)
    def _filter_changed(self, event: FilterBox.Changed) -> None:
        self._filter = event.value.strip().lower()
        self.draw()

    @on(FilterBox.Kept)
    def _filter_kept(self) -> None:
        self._close_filter(keep=True)

    @on(FilterBox.Left)
    def _filter_left(self) -> None:
        self.query_one("#message", Line).display = True

    @on(Rows.Selected, "#worker-lines")
    def _line_selected(self, event: Rows.Selected) -> None:
        if isinstance(event.key, int) and event.key <= len(self._lines):
            self.app.push_screen(NoticeScreen(f"Line {event.key}", literal_lines(self._lines[event.key - 1], 12_000)))

    def _close_filter(self, *, keep: bool) -> None:
        self.query_one(FilterBox).close(keep=keep)
        self.query_one("#message", Line).display = True
        self.query_one(Rows).focus()

    def _read(self) -> None:
        if not self._reading:
            self._reading = True
            in_background(lambda: read_tail(self._path, self._bytes), self._take, self._failed)

    def _take(self, found: tuple[int, list[str]] | None) -> None:
        self._reading = False
        if found is not None and self.is_mounted:
            self._problem = ""
            self._bytes, self._lines = found
            self.draw()

    def _failed(self, error: EmodirError) -> None:
        self._reading = False
        self._problem = f"cannot read the log: {error.message}"
        self.draw()


def read_tail(path: Path, size_before: int) -> tuple[int, list[str]] | None:
    """Return (size, last lines) of a text file, or None if its size is unchanged."""
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size == size_before:
            return None
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read(TAIL_BYTES).decode("utf-8", "replace").split("\n")
    return size, lines[1 if size > TAIL_BYTES else 0 : None if lines[-1] else -1]
