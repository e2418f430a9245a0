"""A canvas of braille dots and one-cell marks, used by every plot."""

from collections.abc import Sequence
from itertools import pairwise

from rich.segment import Segment
from rich.style import Style

Dot = tuple[int, int]

# Bit of a dot in its braille cell, by [row 0-3][column 0-1].
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Canvas:
    """`width` × `height` cells of 2 × 4 dots; dot (0, 0) is the upper left one. Later drawing covers earlier drawing."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.dots_wide, self.dots_high = 2 * width, 4 * height
        self._bits = [[0] * width for _ in range(height)]
        self._styles: list[list[Style | None]] = [[None] * width for _ in range(height)]
        self._marks: dict[tuple[int, int], tuple[str, Style]] = {}

    def dot(self, x: int, y: int, style: Style) -> None:
        """Draw one dot, if it lies on the canvas."""
        if 0 <= x < self.dots_wide and 0 <= y < self.dots_high:
            self._bits[y >> 2][x >> 1] |= _BITS[y & 3][x & 1]
            self._styles[y >> 2][x >> 1] = style

    def line(self, start: Dot, stop: Dot, style: Style) -> None:
        """Draw a straight line."""
        (x0, y0), (x1, y1) = start, stop
        steps = max(abs(x1 - x0), abs(y1 - y0))
        if not steps:
            self.dot(x0, y0, style)
            return
        for step in range(steps + 1):
            self.dot(x0 + (x1 - x0) * step // steps, y0 + (y1 - y0) * step // steps, style)

    def lines(self, dots: Sequence[Dot], style: Style) -> None:
        """Draw a line through all these dots."""
        if len(dots) == 1:
            self.dot(*dots[0], style)
        for start, stop in pairwise(dots):
            self.line(start, stop, style)

    def mark(self, x: int, y: int, glyph: str, style: Style) -> None:
        """Put a one-cell character at the cell of a dot."""
        if 0 <= x < self.dots_wide and 0 <= y < self.dots_high:
            self._marks[y >> 2, x >> 1] = (glyph, style)

    def write_near(self, x: int, y: int, text: str, style: Style) -> None:
        """Write a word that ends at the cell of a dot, up to two rows off where other marks are in the way."""
        row, column = y >> 2, x >> 1
        first = max(0, min(self.width, column + 1) - len(text))
        for shift in (0, -1, 1, -2, 2):
            cells = [(row + shift, first + offset) for offset in range(len(text))]
            if 0 <= row + shift < self.height and not any(cell in self._marks for cell in cells):
                self._marks.update({cell: (character, style) for cell, character in zip(cells, text, strict=True)})
                return

    def row(self, index: int) -> list[Segment]:
        """Return a row of cells; neighbours of equal style share a segment."""
        segments: list[Segment] = []
        run, current = "", None
        bits, styles, marks = self._bits[index], self._styles[index], self._marks
        for column in range(self.width):
            mark = marks.get((index, column))
            if mark is not None:
                glyph, style = mark
            elif bits[column]:
                glyph, style = chr(0x2800 + bits[column]), styles[column]  # type: ignore[assignment]
            else:
                run += " "
                continue
            if style is not current and run:
                segments.append(Segment(run, current))
                run = ""
            current = style
            run += glyph
        segments.append(Segment(run, current))
        return segments
