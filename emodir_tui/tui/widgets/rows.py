"""Rows: a table that formats only visible rows and redraws only lines that changed.

Refilling Textual's DataTable takes time in proportion to all rows, and its fixed widths do not fit a narrow terminal.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from emodir_tui.tui.drawing.cells import fit
from emodir_tui.tui.drawing.palette import Palette

Cell = tuple[str, Style | None]
Cells = Sequence[str | Cell]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column. `width` is in cells, `stretch` takes the remaining space, and the highest `drop` is left out first."""

    key: str
    label: str
    width: int
    right: bool = False
    stretch: bool = False
    drop: int = 0


class Rows(ScrollView, can_focus=True):
    """Rows with keys under a header line; the cursor stays on its key when rows move."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "jump(0)", "First row", show=False),
        Binding("end", "jump(1)", "Last row", show=False),
        Binding("enter", "select", "Details", show=False),
    ]

    class Moved(Message):
        """The cursor moved to another key."""

        def __init__(self, rows: "Rows", key: Hashable) -> None:
            super().__init__()
            self.rows, self.key = rows, key

        @property
        def control(self) -> "Rows":
            """The table that posted the message."""
            return self.rows

    class Selected(Moved):
        """The user pressed Enter or double-clicked on a row."""

    class HeaderClicked(Message):
        """The user clicked on the header of a column."""

        def __init__(self, rows: "Rows", column: str) -> None:
            super().__init__()
            self.rows, self.column = rows, column

        @property
        def control(self) -> "Rows":
            """The table that posted the message."""
            return self.rows

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        show_header: bool = True,
        follow: bool = False,
        newest_first: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(id=name)
        self._columns = tuple(columns)
        self._header_height = 1 if show_header else 0
        # As long as the cursor is on the first row it stays there, whatever comes before that.
        self._newest_first = newest_first
        # Following: a cursor on the last row stays on the last row.
        self._follow = follow
        self._keys: Sequence[Hashable] = ()
        self._cells: Callable[[Hashable], Cells] = lambda _: ()
        self._palette: Palette | None = None
        self._empty = ""
        self._sorted = ""
        self._cursor = 0
        self._on_last = follow
        self._rendered: dict[int, Strip] = {}

    @property
    def key(self) -> Hashable | None:
        """The key under the cursor."""
        return self._keys[self._cursor] if self._cursor < len(self._keys) else None

    @property
    def is_following(self) -> bool:
        """Whether the newest row is kept visible."""
        return self._follow and self._on_last

    def show(
        self,
        keys: Sequence[Hashable],
        cells: Callable[[Hashable], Cells],
        palette: Palette,
        *,
        empty: str = "",
        sorted_by: str = "",
    ) -> None:
        """Show these rows.

        `cells` is called for visible rows only. It returns one cell per column, in order, or none for a vanished row.
        """
        before = self.key
        rows_before = len(self._keys)
        self._keys, self._cells, self._palette = keys, cells, palette
        self._empty, self._sorted = empty, sorted_by
        self._keep_cursor(before)
        if len(keys) != rows_before:
            self.virtual_size = Size(1, len(keys) + self._header_height)
        if self.is_following and not self._cursor_is_visible:
            # The scroll range is known only after the next layout.
            self.call_after_refresh(self._scroll_to_cursor)
        self._refresh_changes()

    def select(self, key: Hashable) -> None:
        """Move the cursor to a key, if it is there."""
        if key in self._keys:
            self._move_to(self._keys.index(key))

    def action_move(self, rows: int) -> None:
        """Move the cursor up or down."""
        self._move_to(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        self._move_to(self._cursor + pages * max(1, self.size.height - self._header_height - 1))

    def action_jump(self, to_end: int) -> None:
        """Move the cursor to the first or the last row."""
        self._move_to(len(self._keys) - 1 if to_end else 0)

    def action_select(self) -> None:
        """Post Selected for the row under the cursor."""
        if self.key is not None:
            self.post_message(self.Selected(self, self.key))

    def on_click(self, event: events.Click) -> None:
        """Post HeaderClicked, move the cursor, or select on a double click."""
        if self._header_height and event.y == 0:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.HeaderClicked(self, column.key))
            return
        index = self.scroll_offset.y + event.y - self._header_height
        if not 0 <= index < len(self._keys):
            return
        if index == self._cursor and event.chain > 1:
            self.action_select()
        else:
            self._move_to(index)

    def on_mouse_scroll_up(self) -> None:
        """Stop following."""
        self._on_last = False

    def on_focus(self) -> None:
        """Redraw the cursor, which looks different with the focus."""
        self._refresh_changes()

    def on_blur(self) -> None:
        """Redraw the cursor, which looks different without the focus."""
        self._refresh_changes()

    def on_resize(self) -> None:
        """Keep the cursor visible."""
        if self.is_following or self._cursor:
            self.call_after_refresh(self._scroll_to_cursor)

    def render_line(self, y: int) -> Strip:
        """Render one line."""
        strip = self._line(y)
        self._rendered[y] = strip
        return strip.apply_style(self.rich_style)

    def _refresh_changes(self) -> None:
        """Redraw the lines whose text or style changed."""
        width, height = self.size
        changed = [y for y in range(height) if self._rendered.get(y) != self._line(y)]
        if len(changed) == height:
            self.refresh()
        elif changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def _line(self, y: int) -> Strip:
        width = self.size.width
        if self._palette is None:
            return Strip.blank(width)
        if not self._keys:
            text = self._empty if y == self._header_height else ""
            return Strip([Segment(fit(f" {text}", width), self._palette.dim)])
        if self._header_height and y == 0:
            return self._header_line(width, self._palette)
        index = self.scroll_offset.y + y - self._header_height
        if index >= len(self._keys):
            return Strip.blank(width)
        return self._row_line(index, width, self._palette)

    def _header_line(self, width: int, palette: Palette) -> Strip:
        segments = [Segment(" ")]
        for column, cells in self._layout(width):
            label = column.label + ("▾" if column.key == self._sorted else "")
            segments.append(Segment(fit(label, cells, right=column.right) + " ", palette.dim))
        return Strip(segments).adjust_cell_length(width)

    def _row_line(self, index: int, width: int, palette: Palette) -> Strip:
        # A row that has vanished since the keys were read has no cells.
        cells_of_row = self._cells(self._keys[index]) or ("",) * len(self._columns)
        values = {column.key: value for column, value in zip(self._columns, cells_of_row, strict=True)}
        segments = [Segment(" ")]
        for column, cells in self._layout(width):
            value = values[column.key]
            text, style = (value, None) if isinstance(value, str) else value
            segments.append(Segment(fit(text, cells, right=column.right) + " ", style))
        strip = Strip(segments).adjust_cell_length(width)
        if index == self._cursor and (self.has_focus or not self._follow):
            strip = strip.apply_style(palette.cursor if self.has_focus else palette.cursor_blurred)
        return strip

    def _layout(self, width: int) -> list[tuple[Column, int]]:
        """Return the columns that fit, and their widths."""
        kept = list(self._columns)

        def needed() -> int:
            return 1 + sum(column.width + 1 for column in kept)

        while needed() > width and any(column.drop for column in kept):
            kept.remove(max(kept, key=lambda column: column.drop))
        spare = max(0, width - needed())
        stretching = [column for column in kept if column.stretch]
        extra = spare // len(stretching) if stretching else 0
        return [(column, column.width + (extra if column.stretch else 0)) for column in kept]

    def _column_at(self, x: int) -> Column | None:
        at = 1
        for column, cells in self._layout(self.size.width):
            if at <= x <= at + cells:
                return column
            at += cells + 1
        return None

    def _keep_cursor(self, before: Hashable | None) -> None:
        last = max(0, len(self._keys) - 1)
        if self.is_following:
            self._cursor = last
        elif self._newest_first and not self._cursor:
            return
        elif before is not None and self.key != before and before in self._keys:
            self._cursor = self._keys.index(before)
        self._cursor = min(self._cursor, last)

    def _move_to(self, index: int) -> None:
        index = max(0, min(len(self._keys) - 1, index))
        self._on_last = self._follow and index >= len(self._keys) - 1
        if index == self._cursor or not self._keys:
            return
        self._cursor = index
        self._scroll_to_cursor()
        self._refresh_changes()
        self.post_message(self.Moved(self, self._keys[index]))

    @property
    def _cursor_is_visible(self) -> bool:
        room = max(1, self.size.height - self._header_height)
        return self.scroll_offset.y <= self._cursor < self.scroll_offset.y + room

    def _scroll_to_cursor(self) -> None:
        room = max(1, self.size.height - self._header_height)
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif self._cursor >= top + room:
            self.scroll_to(y=self._cursor - room + 1, animate=False)
