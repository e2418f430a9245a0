"""Text from outside, made harmless: nothing in it moves a cursor, changes a colour or turns the direction of writing."""

import os
import sys
import unicodedata

# Bidirectional controls reorder what stands around them; line and paragraph separators break lines.
_TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029}


def locale_is_utf8() -> bool:
    """Whether the terminal shows UTF-8, as the locale says. Python takes UTF-8 even where the locale is C or POSIX."""
    named = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG")
    return "utf" in (named or sys.stderr.encoding or "utf-8").lower()


def printable(text: str) -> str:
    """The text with control characters, bidirectional controls and lone surrogates shown as visible escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "\u2421"
    if code in _TURNING or unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co"):
        return f"\\u{code:04x}"
    return character
