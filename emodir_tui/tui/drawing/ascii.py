"""ASCII output for terminals without UTF-8: replaces each other character by a similar one."""

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_LIKE = {
    **dict.fromkeys("─━╌╴╶╸╺▁▔–", "-"),
    **dict.fromkeys("│┃▏▎▕▌▐┤├", "|"),
    **dict.fromkeys("┌┐└┘┏┓┗┛╭╮╰╯┼┬┴", "+"),
    **dict.fromkeys("█▓▇▆▅", "#"),
    **dict.fromkeys("▄▃▂░▒", "."),
    **dict.fromkeys("●•◉", "*"),
    "○": "o",
    "◌": "o",
    "◍": "o",
    "◆": "#",
    "▲": "^",
    "▶": ">",
    "▷": ">",
    "◀": "<",
    "✓": "+",
    "✗": "x",
    "■": "#",
    "‖": "=",
    "·": ".",
    "…": ".",
    "—": "-",
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
    "×": "x",
    "Δ": "d",
    "‹": "<",
    "›": ">",
    "▾": "v",
    "♥": "*",
    "²": "2",
    "°": " ",
    "’": "'",
}


class AsciiFilter(LineFilter):
    """Line filter that maps all text to ASCII of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  (Textual's signature)
        """Return the segments in ASCII."""
        return [
            Segment(to_ascii(text), style, control) if text else segment
            for segment in segments
            for text, style, control in (segment,)
        ]


@lru_cache(4096)
def to_ascii(text: str) -> str:
    """Return the text in ASCII, with the same number of cells."""
    return text if text.isascii() else "".join(_like(character) for character in text)


def _like(character: str) -> str:
    if character.isascii():
        return character
    if 0x2800 <= ord(character) <= 0x28FF:
        return "*" if ord(character) > 0x2800 else " "
    return _LIKE.get(character, "?" * cell_len(character))
