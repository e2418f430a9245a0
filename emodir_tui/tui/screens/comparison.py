"""Comparison of two to four runs: hypervolume curves, fronts and results."""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.css.query import NoMatches
from textual.screen import Screen

from emodir_tui.formatting import NOTHING, duration, literal, number, percent, points
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import Point
from emodir_tui.runs.state import RunState
from emodir_tui.tui.control.keymap import COMPARISON, bindings, key_line_commands
from emodir_tui.tui.drawing.chart import Chart, Series, thin_out
from emodir_tui.tui.drawing.palette import MEMBER, STATUS_GLYPHS, STATUS_WORDS, Palette
from emodir_tui.tui.presenters.scopes import JOINT, front_points
from emodir_tui.tui.sources.live import LiveSource
from emodir_tui.tui.sources.source import Source
from emodir_tui.tui.widgets.hypervolume import curve
from emodir_tui.tui.widgets.lines import Line, key_line
from emodir_tui.tui.widgets.plot import Plot
from emodir_tui.tui.widgets.rows import Cells, Column, Rows

EVERY_SECONDS = 2.0
# Runs can be distinguished without colour too.
_GLYPHS = (MEMBER, "◆", "▲", "■")
_COLUMNS = (
    Column(key="glyph", label="", width=1),
    Column(key="run", label="run", width=14, stretch=True),
    Column(key="status", label="status", width=12),
    Column(key="original", label="original", width=8, right=True, drop=2),
    Column(key="accuracy", label="best pick", width=15, right=True),
    Column(key="macs", label="MACs", width=7, right=True),
    Column(key="hypervolume", label="joint HV", width=8, right=True),
    Column(key="evaluations", label="evals", width=6, right=True, drop=1),
    Column(key="elapsed", label="elapsed", width=9, right=True, drop=3),
)


class ComparisonScreen(Screen[None]):
    """Two to four runs in common plots and a table."""

    SCREENS_OF_COMMANDS: tuple[str, ...] = (COMPARISON,)
    BINDINGS = bindings(COMPARISON)

    def __init__(
        self,
        directories: Sequence[RunDirectory],
        palette: Callable[[], Palette],
        open_source: Callable[[RunDirectory], Source] = LiveSource,
    ) -> None:
        super().__init__()
        self._directories, self._get_palette = tuple(directories), palette
        self._sources = [open_source(directory) for directory in directories]
        self._scope = JOINT
        self._drawn = float("-inf")

    def compose(self) -> ComposeResult:
        """Create title, plots, table and key line."""
        yield Line("comparison-title")
        with Container(id="comparison-plots"):
            yield Plot("comparison-hypervolume")
            yield Plot("comparison-front")
        yield Rows(_COLUMNS, name="comparison-runs")
        yield Line("message")
        yield Line("keys")

    def on_mount(self) -> None:
        """Start reading."""
        self.query_one("#comparison-hypervolume", Plot).border_title = "Hypervolume"
        self.query_one("#comparison-front", Plot).border_title = "Front"
        rows = self.query_one(Rows)
        # Border, header, and a line per run.
        rows.styles.height = 2 + len(self._sources)
        rows.focus()
        self.run_worker(self._watch(), exclusive=True)

    def on_unmount(self) -> None:
        """Stop reading."""
        for source in self._sources:
            source.close()

    def on_resize(self) -> None:
        """Put the plots side by side in a wide window."""
        self.set_class(self.size.width < 100, "-single")
        self.call_after_refresh(self.draw)

    async def _watch(self) -> None:
        while True:
            more = [source.pump() for source in self._sources]
            if time.monotonic() - self._drawn >= EVERY_SECONDS:
                # When the application ends, the widgets are removed before the screen.
                with suppress(NoMatches):
                    self.draw()
            await asyncio.sleep(0.0 if any(more) else 0.25)

    def draw(self) -> None:
        """Draw all changes."""
        self._drawn = time.monotonic()
        if not self.is_mounted or not self.is_current:
            return
        palette = self._get_palette()
        self.query_one("#comparison-title", Line).show(
            Text(f" emodir comparison · {len(self._sources)} runs · ‹ {literal(self._scope)} ›", style=palette.strong)
        )
        self.query_one("#comparison-hypervolume", Plot).show(self._curves(palette), palette.dim)
        self.query_one("#comparison-front", Plot).show(self._fronts(palette), palette.dim)
        by_id = {
            directory.id: (index, source)
            for index, (directory, source) in enumerate(zip(self._directories, self._sources, strict=True))
        }

        def cells(key: Hashable) -> Cells:
            index, source = by_id[str(key)]
            return _cells(str(key), index, source, palette)

        self.query_one(Rows).show(list(by_id), cells, palette)
        hint = "[ ] joint front or a sub-network · Esc back"
        self.query_one("#message", Line).show(Text(f" {hint}", style=palette.dim))
        self.query_one("#keys", Line).show(key_line(key_line_commands(COMPARISON), self.size.width, palette))

    def action_scope(self, by: int) -> None:
        """Switch to another sub-network or the joint front."""
        names = [*dict.fromkeys(name for source in self._sources for name in source.state.subnetworks), JOINT]
        at = names.index(self._scope) if self._scope in names else -1
        self._scope = names[(at + by) % len(names)]
        self.draw()

    def action_back(self) -> None:
        """Return to the previous screen."""
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()

    def _curves(self, palette: Palette) -> Chart:
        series = tuple(
            Series(points=thin_out(_curve(source.state, self._scope)), style=Style(color=palette.colour(index)))
            for index, source in enumerate(self._sources)
        )
        return Chart(series=series, empty=self._empty(), x_label="generation", y_label="hypervolume", y_floor=None)

    def _fronts(self, palette: Palette) -> Chart:
        series: list[Series] = []
        for index, source in enumerate(self._sources):
            front = tuple(point.position for point in front_points(source.state, self._scope) if point.on_front)
            style = Style(color=palette.colour(index))
            series.append(Series(points=front, style=style, form="stairs"))
            series.append(Series(points=front, style=style, form="marks", glyph=_GLYPHS[index % len(_GLYPHS)]))
        return Chart(series=tuple(series), empty=self._empty(), x_label="kept", y_label="impairment", x_percent=True)

    def _empty(self) -> str:
        if not all(source.caught_up for source in self._sources):
            return "reading …"
        return (
            "no run has reached its joint search · [ ] sub-networks"
            if self._scope == JOINT
            else "no run has reached this search"
        )


def _curve(state: RunState, scope: str) -> tuple[Point, ...]:
    if scope == JOINT:
        return tuple((float(generation), value) for generation, value in state.joint.hypervolumes.items())
    item = state.subnetworks.get(scope)
    return curve(item) if item is not None else ()


def _cells(name: str, index: int, source: Source, palette: Palette) -> Cells:
    state, word = source.state, source.status.word
    original = state.baseline.accuracy if state.baseline is not None else None
    best = state.best_pick
    accuracy = percent(best.accuracy, 2) if best is not None else NOTHING
    if best is not None and best.accuracy is not None and original is not None:
        accuracy += f" {points(best.accuracy - original)}"
    evaluations = state.joint.evaluations + sum(item.evaluations for item in state.subnetworks.values())
    last = source.now if source.status.is_live else state.updated or 0.0
    return (
        (_GLYPHS[index % len(_GLYPHS)], Style(color=palette.colour(index), bold=True)),
        (literal(name, 100), Style(color=palette.colour(index))),
        (f"{STATUS_GLYPHS.get(word, '?')} {STATUS_WORDS.get(word, word)}", palette.status(word)),
        percent(original, 2),
        accuracy,
        percent(best.macs_kept) if best is not None else NOTHING,
        number(state.joint.hypervolume),
        str(evaluations),
        duration(state.elapsed_seconds(last)),
    )
