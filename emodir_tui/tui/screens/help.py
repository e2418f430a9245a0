"""Help: all keys from the one table, and how to read the screens."""

from collections.abc import Callable
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from emodir_tui.tui.control.keymap import COMMANDS
from emodir_tui.tui.drawing.palette import KNEE, MEMBER, PICK, SELECTED, STATUS_GLYPHS, STATUS_WORDS, Palette

_MARKS = (
    (MEMBER, "a member of a front; the line through them is what they dominate"),
    (KNEE, "the knee: where less complexity begins to cost much more impairment"),
    (PICK, "a pick: a joint scheme that becomes a network"),
    (SELECTED, "the selected point (← → in panel 4)"),
    ("HV", "hypervolume: the area that a front dominates; it never falls, and larger is better"),
    ("kept", "complexity kept, as a share of the original"),
    ("impair", "global impairment: relative error of the last features, the member placed alone"),
    ("Δacc", "change of accuracy in points, the member placed alone"),
    ("joint", "in how many joint schemes a member is used"),
    ("♥", "the worker's heartbeat, with its age once it is late"),
)
_STATES = {
    "starting": "the worker is loading",
    "running": "the worker is at work",
    "paused": "memory is kept; p continues",
    "stopping": "a checkpoint is written, then the worker ends",
    "no-progress": "alive, but nothing has moved for two minutes",
    "unsure": "no heartbeat for some seconds",
    "lost": "the worker is gone without a word; r resumes",
    "failed": "an error ended it; r resumes",
    "stopped": "somebody stopped it; r resumes",
    "finished": "all is done",
}


class HelpScreen(ModalScreen[None]):
    """Any of the usual keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss(None)", "Close", show=False),
    ]

    def __init__(self, palette: Callable[[], Palette]) -> None:
        super().__init__()
        self._get_palette = palette

    def compose(self) -> ComposeResult:
        """A long text."""
        with Vertical(classes="dialog wide-dialog"):
            yield Static("Keys, and how to read the screens", classes="dialog-title", markup=False)
            with VerticalScroll(id="help-body"):
                yield Static(help_text(self._get_palette()), markup=False)
            yield Static("↑ ↓ move · Esc closes", classes="dialog-hint", markup=False)

    def on_mount(self) -> None:
        """The arrows scroll."""
        self.query_one(VerticalScroll).focus()


def help_text(palette: Palette) -> Table:
    """The whole help, in two columns."""
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
    title("Marks and words")
    for mark, meaning in _MARKS:
        table.add_row(Text(f"  {mark}", palette.strong), Text(meaning))
    title("States")
    for word, meaning in _STATES.items():
        shown = Text(f"  {STATUS_GLYPHS[word]} {STATUS_WORDS.get(word, word)}", palette.status(word))
        table.add_row(shown, Text(meaning))
    table.add_row("", "")
    table.add_row("", Text("Leaving never stops a run. Any number of dashboards can watch one.", palette.dim))
    return table
