"""How values and text from outside become text on the screen."""

import re
import time
from math import isfinite

from rich.cells import cell_len, set_cell_size

from emodir_tui.runs.printable import printable

NOTHING = "—"
# Longer texts from outside are cut here; the whole of them is in the files.
LONGEST_TEXT = 2000
# Nearly all texts; the rest is looked at character by character.
_HARMLESS = re.compile(r"[ -~¡-¬®-ɏ–—…·→×✓]*")


def literal(text: str, limit: int = LONGEST_TEXT) -> str:
    """Text from outside in one line: nothing in it acts on the terminal, and it ends somewhere."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return shown if _HARMLESS.fullmatch(shown) else printable(shown)


def literal_lines(text: str, limit: int = LONGEST_TEXT) -> str:
    """Text from outside that may have several lines."""
    return "\n".join(literal(line, limit) for line in text.split("\n")[:200])


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Exactly `width` cells: padded, or cut with an ellipsis."""
    length = cell_len(text)
    if length == width:
        return text
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    padding = " " * (width - length)
    return padding + text if right else text + padding


def duration(seconds: float | None) -> str:
    """As 02:14:07, or 3d 02:14 from a day on."""
    if seconds is None or not isfinite(seconds):
        return NOTHING
    whole = int(max(0.0, seconds))
    days, rest = divmod(whole, 86400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    return f"{days}d {hours:02}:{minutes:02}" if days else f"{hours:02}:{minutes:02}:{rest % 60:02}"


def age(seconds: float) -> str:
    """In short and calm: it changes once a minute at most."""
    minutes = int(max(0.0, seconds) // 60)
    if minutes < 1:
        return "<1m"
    if minutes < 60:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h{minutes % 60:02}" if hours < 24 else f"{hours // 24}d"


def clock(moment: float, *, seconds: bool = True) -> str:
    """A Unix time as local time of day."""
    try:
        return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return "--:--"


def percent(share: float | None, digits: int = 0) -> str:
    """A share between 0 and 1 as percent."""
    return NOTHING if share is None or not isfinite(share) else f"{100 * share:.{digits}f}%"


def points(change: float | None, digits: int = 2) -> str:
    """A change of accuracy in percentage points, with its sign."""
    return NOTHING if change is None or not isfinite(change) else f"{100 * change:+.{digits}f}"


def number(value: float | None) -> str:
    """About four digits, in six or seven characters whatever its size."""
    if value is None or not isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) < 1e-4 or abs(value) >= 1e5:
        return f"{value:.1e}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.0f}"


def rate(value: float | None) -> str:
    """Something per second."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def count(value: float | None) -> str:
    """A large number in short: 41.2M."""
    if value is None or not isfinite(value):
        return NOTHING
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    return f"{value:.0f}"


def size(value: float | None) -> str:
    """Bytes: 61 MB."""
    if value is None or not isfinite(value):
        return NOTHING
    for step, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= step:
            scaled = value / step
            return f"{scaled:.0f} {unit}" if scaled >= 10 else f"{scaled:.1f} {unit}"
    return f"{value:.0f} B"


def plural(number_of: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{number_of} {noun}" if number_of == 1 else f"{number_of} {noun}s"
