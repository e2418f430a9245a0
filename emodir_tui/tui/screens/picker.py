"""The list of runs with their states, ages and best picks; opens, resumes, replays and compares them."""

import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Protocol

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.screen import Screen

from emodir_tui.errors import EmodirError
from emodir_tui.formatting import age, literal, literal_lines, percent, plural, points
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.names import StatusWord
from emodir_tui.tui.control.keymap import PICKER, bindings, key_line_commands
from emodir_tui.tui.drawing.palette import STATUS_GLYPHS, STATUS_WORDS, Palette, bar
from emodir_tui.tui.screens.notice import NoticeScreen
from emodir_tui.tui.sources.background import Mailbox, in_background
from emodir_tui.tui.sources.summaries import Summaries, Summary
from emodir_tui.tui.widgets.lines import Line, key_line
from emodir_tui.tui.widgets.rows import Cells, Column, Rows

MOST_COMPARED = 4
_COLUMNS = (
    Column(key="mark", label="", width=1),
    Column(key="run", label="run", width=16, stretch=True),
    Column(key="status", label="status", width=13),
    Column(key="stage", label="stage", width=11, drop=1),
    Column(key="progress", label="progress", width=12),
    Column(key="accuracy", label="accuracy", width=15, right=True),
    Column(key="macs", label="MACs", width=7, right=True),
    Column(key="age", label="age", width=6, right=True),
    Column(key="host", label="host", width=10, drop=2),
)


class Opener(Protocol):
    """The application, as this screen uses it."""

    def open_run(self, directory: RunDirectory, *, replay: bool | None = None) -> None:
        """Open the main screen of a run."""

    def open_comparison(self, directories: list[RunDirectory]) -> None:
        """Open the comparison of runs."""


class PickerScreen(Screen[None]):
    """The runs of a folder, newest first."""

    SCREENS_OF_COMMANDS: tuple[str, ...] = (PICKER,)
    BINDINGS = bindings(PICKER)

    def __init__(
        self, runs_dir: Path, palette: Callable[[], Palette], opener: Opener, *, read_only: bool = False
    ) -> None:
        super().__init__()
        self._read_only = read_only
        self._starting: set[str] = set()
        self._runs_dir, self._get_palette, self._opener = runs_dir, palette, opener
        self._summaries: list[Summary] = []
        self._has_read = False
        self._marked: list[str] = []
        self._message: tuple[str, str] = ("", "")
        self._reading: Summaries | None = None

    def compose(self) -> ComposeResult:
        """Create title, table, message line and key line."""
        yield Line("picker-title")
        yield Rows(_COLUMNS, name="runs")
        yield Line("message")
        yield Line("keys")

    def on_mount(self) -> None:
        """Start reading."""
        self._mailbox = Mailbox()
        self._reading = Summaries(self._runs_dir, self._receive)
        self.query_one(Rows).focus()
        self.draw()

    def on_unmount(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.close()

    def on_screen_resume(self) -> None:
        """Draw after the return from a run."""
        self.draw()

    def on_resize(self) -> None:
        """Draw for the new width."""
        self.draw()

    def draw(self) -> None:
        """Draw all changes."""
        palette, rows = self._get_palette(), self.query_one(Rows)
        by_id = {summary.directory.id: summary for summary in self._summaries}
        now = time.time()

        def cells(key: Hashable) -> Cells:
            summary = by_id.get(str(key))
            return _cells(summary, palette, now, marked=str(key) in self._marked) if summary is not None else ()

        running = sum(summary.word in (StatusWord.RUNNING, StatusWord.STARTING) for summary in self._summaries)
        found = f"{plural(len(by_id), 'run')} · {running} running" if self._has_read else "reading …"
        self.query_one("#picker-title", Line).show(
            Text(f" emodir runs in {literal(str(self._runs_dir))} · {found}", style=palette.strong)
        )
        empty = "no runs here yet · start one: emodir run digits" if self._has_read else "reading …"
        rows.show(list(by_id), cells, palette, empty=empty)
        text, level = self._message
        hint = f"Enter opens · Space marks, m compares{'' if self._read_only else ' · r resumes'} · v replays"
        style = {"error": palette.bad, "warning": palette.warn, "good": palette.good}.get(level, palette.dim)
        self.query_one("#message", Line).show(Text(f" {text or hint}", style=style))
        self.query_one("#keys", Line).show(key_line(key_line_commands(PICKER), self.size.width, palette))

    def show_message(self, text: str, level: str) -> None:
        """Show a message until the next one."""
        self._message = (literal(text, 300), level)
        self.draw()

    @on(Rows.Selected, "#runs")
    def _run_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Open the run under the cursor."""
        if (directory := self._directory()) is not None:
            self._opener.open_run(directory)

    def action_replay(self) -> None:
        """Replay the run under the cursor."""
        if (directory := self._directory()) is not None:
            self._opener.open_run(directory, replay=True)

    def action_mark(self) -> None:
        """Mark the run under the cursor, or unmark it."""
        key = self.query_one(Rows).key
        if key is None:
            return
        if str(key) in self._marked:
            self._marked.remove(str(key))
        elif len(self._marked) >= MOST_COMPARED:
            self.show_message(f"at most {MOST_COMPARED} runs can be compared", "warning")
            return
        else:
            self._marked.append(str(key))
        self._message = (f"{plural(len(self._marked), 'run')} marked · m compares them" if self._marked else "", "")
        self.query_one(Rows).action_move(1)
        self.draw()

    def action_compare(self) -> None:
        """Compare the marked runs."""
        chosen = [summary.directory for summary in self._summaries if summary.directory.id in self._marked]
        if len(chosen) < 2:
            self.show_message("first mark two to four runs with Space", "warning")
            return
        self._opener.open_comparison(chosen)

    def action_resume(self) -> None:
        """Start a worker that resumes the run under the cursor."""
        directory = self._directory()
        if directory is None:
            return
        if self._read_only:
            self.show_message("the dashboard was opened read-only", "warning")
            return
        if directory.id in self._starting:
            self.show_message(f"the worker of {directory.id} is already starting", "warning")
            return

        def work() -> None:
            from emodir_tui.runs.launch import resume

            resume(directory)

        def resumed(_: object) -> None:
            self._starting.discard(directory.id)
            self.show_message(f"{directory.id} is resumed", "good")

        def failed(error: EmodirError) -> None:
            self._starting.discard(directory.id)
            self._failed(error)

        self._starting.add(directory.id)
        self.show_message(f"starting the worker of {directory.id} …", "")
        in_background(work, resumed, failed)

    def action_back(self) -> None:
        """Do nothing: this is the first screen."""

    def _failed(self, error: EmodirError) -> None:
        self.show_message(error.message, "error")
        if error.hint:
            self.app.push_screen(
                NoticeScreen("Resume failed", f"{literal(error.message)}\n\n{literal_lines(error.hint)}")
            )

    def _directory(self) -> RunDirectory | None:
        key = self.query_one(Rows).key
        return next((summary.directory for summary in self._summaries if summary.directory.id == key), None)

    def _receive(self, summaries: list[Summary]) -> None:
        """Receive the summaries from the reading thread."""

        def take() -> None:
            self._summaries, self._has_read = summaries, True
            if self.is_current:
                self.draw()

        self._mailbox.post(take)


def _cells(summary: Summary, palette: Palette, now: float, *, marked: bool) -> Cells:
    word = summary.word
    glyph = STATUS_GLYPHS.get(word, " ")
    accuracy = percent(summary.accuracy, 2) if summary.accuracy is not None else "—"
    if summary.accuracy_change is not None:
        accuracy += f" {points(summary.accuracy_change)}"
    return (
        ("+" if marked else " ", palette.accent + palette.strong),
        literal(summary.directory.id, 100),
        (f"{glyph} {STATUS_WORDS.get(word, word)}", palette.status(word)) if word else "…",
        literal(summary.stage),
        f"{bar(summary.progress, 6)} {percent(summary.progress, 0)}" if word else "",
        accuracy,
        percent(summary.macs_kept),
        age(now - summary.updated) if summary.updated is not None else "—",
        literal(summary.host, 40),
    )
