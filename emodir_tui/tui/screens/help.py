"""Help: all keys, marks and states."""

from collections.abc import Callable
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from emodir_tui.runs.names import StatusWord
from emodir_tui.tui.control.keymap import COMMANDS
from emodir_tui.tui.drawing.palette import KNEE, MEMBER, PICK, SELECTED, STATUS_GLYPHS, STATUS_WORDS, Palette

_MARKS = (
    (MEMBER, "a member of a front; the staircase bounds the area they dominate"),
    (KNEE, "the knee: beyond it, saving complexity costs much more impairment"),
    (PICK, "a pick: a joint scheme that becomes a network"),
    (SELECTED, "the selected point (← → in panel 4)"),
    ("HV", "hypervolume: the area that a front dominates; larger is better, and it never falls within a search"),
    ("kept", "complexity kept, as a share of the original"),
    (
        "level",
        "how many fronts of the ranking must be removed before a member is on one; the ranking goes by level, then price",
    ),
    ("price", "global impairment per share of complexity saved with this member alone"),
    ("impair", "global impairment: relative error of the last features with this member alone"),
    ("Δacc", "change of accuracy in percentage points with this member alone"),
    ("joint", "number of joint schemes that use a member"),
    ("♥", "the worker's heartbeat; shows its age when late"),
)
_STATES = {
    StatusWord.STARTING: "the worker is loading",
    StatusWord.RUNNING: "the worker is running",
    StatusWord.PAUSED: "the worker waits and keeps its memory; p continues",
    StatusWord.STOPPING: "the worker saves a checkpoint and exits",
    StatusWord.NO_PROGRESS: "the worker is alive, but without progress for two minutes",
    StatusWord.UNSURE: "no heartbeat for some seconds",
    StatusWord.LOST: "the worker ended without a message; r resumes",
    StatusWord.FAILED: "an error ended the run; r resumes",
    StatusWord.STOPPED: "the run was stopped on request; r resumes",
    StatusWord.FINISHED: "all stages are done",
}


class HelpScreen(ModalScreen[None]):
    """The help dialog; Esc, q and ? close it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss(None)", "Close", show=False),
    ]

    def __init__(self, palette: Callable[[], Palette]) -> None:
        super().__init__()
        self._get_palette = palette

    def compose(self) -> ComposeResult:
        """Create title, text and hint."""
        with Vertical(classes="dialog wide-dialog"):
            yield Static("Keys, marks and states", classes="dialog-title", markup=False)
            with VerticalScroll(id="help-body"):
                yield Static(help_text(self._get_palette()), markup=False)
            yield Static("↑ ↓ move · Esc closes", classes="dialog-hint", markup=False)

    def on_mount(self) -> None:
        """Focus the text, so that the arrows scroll it."""
        self.query_one(VerticalScroll).focus()


def help_text(palette: Palette) -> Table:
    """Return the help text in two columns."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=12)
    table.add_column()

    def title(text: str) -> None:
        table.add_row("", "")
        table.add_row(Text(text, palette.strong + palette.accent), "")

    for group in dict.fromkeys(command.group for command in COMMANDS):
        title(group)
        for command in COMMANDS:
            if command.group == group:
                table.add_row(
                    Text("  " + (" ".join(command.key_names) or "(palette)"), palette.strong), Text(command.help)
                )
    title("Marks and columns")
    for mark, meaning in _MARKS:
        table.add_row(Text(f"  {mark}", palette.strong), Text(meaning))
    title("States")
    for word, meaning in _STATES.items():
        shown = Text(f"  {STATUS_GLYPHS[word]} {STATUS_WORDS.get(word, word)}", palette.status(word))
        table.add_row(shown, Text(meaning))
    table.add_row("", "")
    table.add_row("", Text("Leaving never stops a run. Any number of dashboards can watch one.", palette.dim))
    return table
