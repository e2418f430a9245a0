"""Format values and untrusted text for people: one spelling of each, in the CLI, the logs and the dashboard."""

import os
import re
import sys
import time
import unicodedata
from collections.abc import Sequence
from math import isfinite

NOTHING = "—"
# Longer texts from outside are cut here; the files hold all of it.
LONGEST_TEXT = 2000
LONGEST_LINES = 200
# Matches nearly all texts; the others are checked character by character.
_HARMLESS = re.compile(r"[ -~¡-¬®-ɏ–—…·→×✓]*")
# Bidirectional controls reorder the text around them; line and paragraph separators break lines.
_REORDERING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029}


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage: 85.0 %."""
    return NOTHING if share is None or not isfinite(share) else f"{100 * share:.{digits}f} %"


def points(change: float | None, digits: int = 2) -> str:
    """A change of a share in percentage points, signed: +0.32."""
    return NOTHING if change is None or not isfinite(change) else f"{100 * change:+.{digits}f}"


def number(value: float | None) -> str:
    """An objective, a loss or a hypervolume, in at most seven characters: 0.4321, 1.2e-06."""
    if value is None or not isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) < 1e-4 or abs(value) >= 1e5:
        return f"{value:.1e}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.0f}"


def rate(value: float | None) -> str:
    """Something per second, with three significant digits: 12.3."""
    return NOTHING if value is None or not isfinite(value) else _three_digits(value)


def milliseconds(value: float | None) -> str:
    """A latency, with three significant digits: 9.17 ms."""
    return NOTHING if value is None or not isfinite(value) else f"{_three_digits(value)} ms"


def count(value: float | None) -> str:
    """A large number, with three significant digits: 1.63M."""
    return _scaled(value, ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (0.0, "")))


def size(value: float | None) -> str:
    """Bytes, with three significant digits: 61.2 MB."""
    return _scaled(value, ((1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (0.0, " B")))


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds: 2:14:07; from a day on days, hours and minutes: 3 d 02:14."""
    if seconds is None or not isfinite(seconds):
        return NOTHING
    days, rest = divmod(round(max(0.0, seconds)), 86400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    return f"{days} d {hours:02}:{minutes:02}" if days else f"{hours}:{minutes:02}:{rest % 60:02}"


def age(seconds: float | None) -> str:
    """How long ago, in one unit: <1 min, 5 min, 2 h, 3 d. It changes at most once a minute."""
    if seconds is None or not isfinite(seconds):
        return NOTHING
    minutes = int(max(0.0, seconds) // 60)
    if minutes < 1:
        return "<1 min"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 1440 else f"{minutes // 1440} d"


def clock(moment: float, *, date: bool = False, seconds: bool = True) -> str:
    """A Unix time as local time of day: 14:02:11, with the date in front if wanted."""
    form = ("%Y-%m-%d " if date else "") + ("%H:%M:%S" if seconds else "%H:%M")
    try:
        return time.strftime(form, time.localtime(moment))
    except (TypeError, OverflowError, ValueError, OSError):
        return "--:--"


def plural(quantity: int, noun: str) -> str:
    """A quantity with its noun: 1 run, 2 runs."""
    return f"{quantity} {noun}" if quantity == 1 else f"{quantity} {noun}s"


def layer_range(layers: Sequence[str]) -> str:
    """A sub-network's layers in short: layer2.0–1 for layer2.0.conv1 to layer2.1.conv2."""
    if len(layers) < 2:
        return layers[0] if layers else NOTHING
    first, last = layers[0].split("."), layers[-1].split(".")
    for position, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return ".".join(first[: position + 1]) + f"–{other}"
    return f"{layers[0]}–{layers[-1]}"


def printable(text: str) -> str:
    """The text with control characters, bidirectional controls and lone surrogates shown as visible escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def literal(text: str, limit: int = LONGEST_TEXT) -> str:
    """Text from outside as one printable line of at most `limit` characters."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return shown if _HARMLESS.fullmatch(shown) else printable(shown)


def literal_lines(text: str, limit: int = LONGEST_TEXT) -> str:
    """Text from outside as printable lines of at most `limit` characters each."""
    return "\n".join(literal(line, limit) for line in text.split("\n")[:LONGEST_LINES])


def locale_is_utf8() -> bool:
    """Whether the locale says that the terminal shows UTF-8. Python itself uses UTF-8 even in the C locale."""
    named = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG")
    return "utf" in (named or sys.stderr.encoding or "utf-8").lower()


def _three_digits(value: float) -> str:
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


def _scaled(value: float | None, units: Sequence[tuple[float, str]]) -> str:
    if value is None or not isfinite(value):
        return NOTHING
    # What rounds up to a thousand takes the next unit.
    step, unit = next((step, unit) for step, unit in units if abs(value) >= 0.9995 * step)
    return (_three_digits(value / step) if step else f"{value:.0f}") + unit


def _visible(character: str) -> str:
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "\u2421"
    if code in _REORDERING or unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co"):
        return f"\\u{code:04x}"
    return character
