"""Charts: the values that a plot shows, and their drawing as lines of text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from emodir_tui.runs.event_types import Point
from emodir_tui.tui.drawing.canvas import Canvas, Dot

SMALLEST_WIDTH, SMALLEST_HEIGHT = 16, 5
# Thinned out to about the resolution of a plot, a long history costs no more than a short one.
POINTS_PER_SERIES = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Points of one kind. `form`: line, stairs (of a front), dots, or marks (each drawn as `glyph`).

    `label` is written at the last point, so that curves can be distinguished without colour.
    """

    points: tuple[Point, ...]
    style: Style
    form: str = "line"
    glyph: str = "•"
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Series and their axes. `empty` is the sentence shown without points."""

    series: tuple[Series, ...] = ()
    empty: str = "nothing to show yet"
    x_label: str = ""
    y_label: str = ""
    x_range: tuple[float, float] | None = None
    x_percent: bool = False
    log_y: bool = False
    y_floor: float | None = 0.0


def thin_out(points: Sequence[Point], most: int = POINTS_PER_SERIES) -> tuple[Point, ...]:
    """Return at most `most` of the points, evenly spaced and including the last one."""
    if len(points) <= most:
        return tuple(points)
    step = (len(points) - 1) / (most - 1)
    return tuple(points[round(index * step)] for index in range(most))


def draw(chart: Chart, width: int, height: int, axis: Style) -> list[Strip]:
    """Draw the chart as `height` strips of `width` cells."""
    shown = [(series, [point for point in series.points if _drawable(point, chart)]) for series in chart.series]
    if not any(points for _, points in shown):
        return _sentence(chart.empty, width, height, axis)
    if width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT:
        return _sentence("not enough room for the plot", width, height, axis)
    everything = [point for _, points in shown for point in points]
    x_low, x_high = chart.x_range or _range([x for x, _ in everything])
    y_low, y_high = _range([_scaled(y, chart) for _, y in everything], floor=None if chart.log_y else chart.y_floor)
    y_ticks = _y_ticks(chart, y_low, y_high, max(3, height // 4))
    gutter = max(len(label) for _, label in y_ticks) + 1
    canvas = Canvas(width - gutter - 1, height - 2)
    x_scale, y_scale = (canvas.dots_wide - 1) / (x_high - x_low), (canvas.dots_high - 1) / (y_high - y_low)

    def dot(point: Point) -> Dot:
        x, y = point
        return int((x - x_low) * x_scale + 0.5), canvas.dots_high - 1 - int((_scaled(y, chart) - y_low) * y_scale + 0.5)

    for series, points in shown:
        _draw_series(canvas, series, [dot(point) for point in points])
    for series, points in shown:
        if series.label and points:
            canvas.write_near(*dot(points[-1]), series.label, series.style)
    strips = []
    rows = {(canvas.dots_high - 1 - int((value - y_low) * y_scale + 0.5)) >> 2: label for value, label in y_ticks}
    for row in range(canvas.height):
        label = rows.get(row, "").rjust(gutter)
        if row == 0 and chart.y_label:
            strips.append(_with_label(canvas.row(row), label, chart.y_label, width, axis))
            continue
        axis_segment = Segment(label + ("┤" if row in rows else "│"), axis)
        strips.append(Strip([axis_segment, *canvas.row(row)]).adjust_cell_length(width))
    strips.append(Strip([Segment(" " * gutter + "└" + "─" * canvas.width, axis)]).adjust_cell_length(width))
    strips.append(_x_axis(chart, x_low, x_high, gutter + 1, canvas.width, width, axis))
    return strips


def _draw_series(canvas: Canvas, series: Series, dots: list[Dot]) -> None:
    if series.form == "line":
        canvas.lines(dots, series.style)
    elif series.form == "stairs":
        corners = [corner for a, b in pairwise(dots) for corner in (a, (b[0], a[1]))]
        canvas.lines([*corners, *dots[-1:]], series.style)
    elif series.form == "dots":
        for x, y in dots:
            canvas.dot(x, y, series.style)
    else:
        for x, y in dots:
            canvas.mark(x, y, series.glyph, series.style)


def _with_label(row: list[Segment], label: str, y_label: str, width: int, axis: Style) -> Strip:
    """Add the name of the y axis to the top row, at its left or right end where nothing is drawn."""
    text = "".join(segment.text for segment in row)
    tick, cells = Segment(label + ("┤" if label.strip() else "│"), axis), len(y_label) + 1
    if not text[: cells + 1].strip():
        return Strip([tick, Segment(f" {y_label}", axis), *Strip(row).crop(cells)]).adjust_cell_length(width)
    if not text[-cells - 1 :].strip():
        rest = Strip(row).crop(0, len(text) - cells)
        return Strip([tick, *rest, Segment(f"{y_label} ", axis)]).adjust_cell_length(width)
    return Strip([tick, *row]).adjust_cell_length(width)


def _x_axis(chart: Chart, low: float, high: float, start: int, cells: int, width: int, axis: Style) -> Strip:
    line = [" "] * width
    scale = (cells * 2 - 1) / (high - low)
    name = f" {chart.x_label}" if chart.x_label else ""
    free_until = width - len(name)
    last = -1
    for value in ticks(low, high, max(2, cells // 12)):
        label = f"{100 * value:.4g} %" if chart.x_percent else f"{value:.6g}"
        at = max(0, start + (int((value - low) * scale + 0.5) >> 1) - len(label) // 2)
        at = min(at, width - len(label))
        if at > last and at + len(label) <= free_until:
            line[at : at + len(label)] = label
            last = at + len(label)
    line[free_until:] = name
    return Strip([Segment("".join(line)[:width], axis)])


def _y_ticks(chart: Chart, low: float, high: float, most: int) -> list[tuple[float, str]]:
    if not chart.log_y:
        return [(value, f"{value:.4g}") for value in ticks(low, high, most)]
    step = max(1, math.ceil((high - low) / most))
    return [(float(value), f"1e{value}") for value in range(math.ceil(low), math.floor(high) + 1, step)] or [
        (low, f"{10**low:.1g}")
    ]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return about `most` round values between low and high."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, most)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _scaled(y: float, chart: Chart) -> float:
    return math.log10(y) if chart.log_y else y


def _drawable(point: Point, chart: Chart) -> bool:
    x, y = point
    return math.isfinite(x) and math.isfinite(y) and (y > 0 or not chart.log_y)


def _range(values: list[float], floor: float | None = None) -> tuple[float, float]:
    low, high = min(values), max(values)
    if floor is not None and low >= 0:
        low = floor
    return (low, high) if high > low else (low - 0.5, low + 0.5) if low else (0.0, 1.0)


def _sentence(text: str, width: int, height: int, style: Style) -> list[Strip]:
    words = text if len(text) <= width else text[: max(0, width - 1)] + "…"
    blank = Strip.blank(width)
    middle = Strip([Segment(words.center(width), style)]).adjust_cell_length(width)
    return [middle if row == (height - 1) // 2 else blank for row in range(height)]
