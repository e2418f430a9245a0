"""Colours and glyphs by meaning. No meaning is shown by colour alone."""

from dataclasses import dataclass

from rich.style import Style

from emodir_tui.runs.names import StageState, StatusWord

THEMES = ("textual-dark", "textual-light", "ansi-dark", "ansi-light")
BLOCKS = "▁▂▃▄▅▆▇█"
BAR_DONE, BAR_LEFT = "━", "╌"
CHANNEL_KEPT, CHANNEL_GONE = "█", "░"
KNEE, PICK, SELECTED, MEMBER = "◆", "▲", "◉", "•"

# The glyph of each status; it is always shown next to the word.
STATUS_GLYPHS: dict[str, str] = {
    StatusWord.STARTING: "○",
    StatusWord.RUNNING: "●",
    StatusWord.PAUSED: "‖",
    StatusWord.STOPPING: "◌",
    StatusWord.NO_PROGRESS: "◍",
    StatusWord.UNSURE: "?",
    StatusWord.LOST: "✗",
    StatusWord.FAILED: "✗",
    StatusWord.STOPPED: "■",
    StatusWord.FINISHED: "✓",
    "replay": "▷",
}
STATUS_WORDS: dict[str, str] = {StatusWord.NO_PROGRESS: "no progress"}
STAGE_GLYPHS = {StageState.DONE: "✓", StageState.RUNNING: "▶", StageState.WAITING: "·"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Palette:
    """Styles by meaning, and one colour per sub-network or run in a plot."""

    good: Style
    warn: Style
    bad: Style
    accent: Style
    dim: Style
    strong: Style
    cursor: Style
    cursor_blurred: Style
    series: tuple[str, ...]

    def status(self, word: str) -> Style:
        """Return the style of a status word."""
        if word in (StatusWord.RUNNING, StatusWord.FINISHED):
            return self.good + self.strong
        if word in (StatusWord.LOST, StatusWord.FAILED):
            return self.bad + self.strong
        if word in (StatusWord.NO_PROGRESS, StatusWord.UNSURE, StatusWord.PAUSED, StatusWord.STOPPING):
            return self.warn + self.strong
        return self.accent + self.strong

    def colour(self, index: int) -> str:
        """Return the colour of a series by its index."""
        return self.series[index % len(self.series)]


_DARK = Palette(
    good=Style(color="#7fd88f"),
    warn=Style(color="#f5c46b"),
    bad=Style(color="#ff7b85"),
    accent=Style(color="#6cb6ff"),
    dim=Style(color="#8a919c"),
    strong=Style(bold=True),
    cursor=Style(bgcolor="#1f4b7a", bold=True),
    cursor_blurred=Style(bgcolor="#2c3340"),
    series=("#5cc8ff", "#ffb454", "#7fd88f", "#ff7b85", "#c792ea", "#f78fb3", "#e5e56a", "#4fd6be"),
)
_LIGHT = Palette(
    good=Style(color="#1a7f37"),
    warn=Style(color="#8a5a00"),
    bad=Style(color="#c11f2e"),
    accent=Style(color="#0b5cad"),
    dim=Style(color="#666c76"),
    strong=Style(bold=True),
    cursor=Style(bgcolor="#b6d7f7", bold=True),
    cursor_blurred=Style(bgcolor="#d8dde4"),
    series=("#0b6fb8", "#b35c00", "#1a7f37", "#c11f2e", "#7a3ea8", "#b0306a", "#7a7000", "#007a6c"),
)
# The sixteen colours of the terminal.
_ANSI = Palette(
    good=Style(color="green"),
    warn=Style(color="yellow"),
    bad=Style(color="red"),
    accent=Style(color="cyan"),
    dim=Style(color="bright_black"),
    strong=Style(bold=True),
    cursor=Style(reverse=True),
    cursor_blurred=Style(bold=True, underline=True),
    series=("cyan", "yellow", "green", "red", "magenta", "bright_blue", "bright_yellow", "bright_cyan"),
)


def palette_of(*, ansi: bool, dark: bool) -> Palette:
    """Return the palette for a theme."""
    return _ANSI if ansi else _DARK if dark else _LIGHT


def sparkline(values: list[float], width: int) -> str:
    """Draw values as blocks of eight heights, the newest at the right."""
    if not values or width < 1:
        return ""
    if len(values) > width:
        step = (len(values) - 1) / max(1, width - 1)
        values = [values[round(index * step)] for index in range(width)]
    low, high = min(values), max(values)
    if high <= low:
        return BLOCKS[0] * len(values)
    return "".join(BLOCKS[int((value - low) / (high - low) * 7.999)] for value in values)


def bar(share: float, width: int, done: str = BAR_DONE, left: str = BAR_LEFT) -> str:
    """Draw a share between 0 and 1 as a bar of `width` cells."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return done * filled + left * (width - filled)
