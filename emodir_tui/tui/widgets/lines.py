"""Lines of text that are redrawn only when they change: header, tabs, message line, key line."""

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from emodir_tui.tui.drawing.palette import Palette


class Line(Widget):
    """One or a few lines of styled text."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._lines: list[Text] = []

    def show(self, *lines: Text) -> None:
        """Show these lines; redraw only those that changed."""
        before, self._lines = self._lines, list(lines)
        rows = range(max(len(before), len(lines)))
        changed = [
            row for row in rows if before[row : row + 1] != self._lines[row : row + 1] or not _same(before, lines, row)
        ]
        if changed:
            self.refresh(*(Region(0, row, self.size.width, 1) for row in changed))

    @property
    def plain(self) -> str:
        """The text without styles."""
        return "\n".join(line.plain for line in self._lines)

    def render_line(self, y: int) -> Strip:
        """Render one line."""
        width = self.size.width
        if y >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[y]
        # Rich omits the style of the whole text where no part has a style.
        whole = line.style if isinstance(line.style, Style) else Style()
        strip = Strip(line.render(self.app.console)).apply_style(whole)
        return strip.adjust_cell_length(width).apply_style(self.rich_style)


def _same(before: Sequence[Text], after: Sequence[Text], row: int) -> bool:
    """Return whether the style of a row is unchanged; Rich ignores it when it compares texts."""
    return row < len(before) and row < len(after) and before[row].style == after[row].style


def tabs(names: Sequence[str], current: int, palette: Palette) -> Text:
    """Return the tabs of the narrow layout; each can be clicked."""
    text = Text(no_wrap=True, end="")
    for number, name in enumerate(names, start=1):
        style = palette.cursor if number == current else palette.dim
        text.append(f" {number} {name} ", style + Style(meta={"@click": f"screen.panel({number})"}))
        text.append(" ")
    return text


def key_line(keys: Sequence[tuple[str, str, str]], width: int, palette: Palette, *, always: int = 2) -> Text:
    """Return the key line: as many keys as fit, always with the last `always`; each can be clicked."""
    shown = [(name.replace("Ctrl+", "^"), label, action) for name, label, action in keys]
    first, last = shown[: len(shown) - always], shown[len(shown) - always :]
    room = width - sum(_key_width(item) for item in last)
    text = Text(no_wrap=True, end="")
    for item in first:
        if text.cell_len + _key_width(item) > room:
            break
        _append_key(text, item, palette)
    for item in last:
        _append_key(text, item, palette)
    return text


def _key_width(item: tuple[str, str, str]) -> int:
    key, label, _ = item
    return len(key) + len(label) + 3


def _append_key(text: Text, item: tuple[str, str, str], palette: Palette) -> None:
    key, label, action = item
    target = action if "." in action else f"screen.{action}"
    click = Style(meta={"@click": target if "(" in target else f"{target}()"})
    text.append(f" {key}", palette.accent + palette.strong + click)
    text.append(f" {label} ", click)
