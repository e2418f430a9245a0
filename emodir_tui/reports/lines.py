"""Lines on stdout and stderr: names and texts from outside are shown, never obeyed by the terminal."""

import sys

from emodir_tui.formatting import printable


def answer(text: str) -> None:
    """Print lines on stdout: data."""
    sys.stdout.write(_harmless(text) + "\n")


def note(text: str) -> None:
    """Print lines on stderr: what a person reads and a program does not."""
    sys.stderr.write(_harmless(text) + "\n")
    sys.stderr.flush()


def _harmless(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))
