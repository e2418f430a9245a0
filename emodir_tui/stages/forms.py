"""Which form of evaluator a measurement chose for each span of the network."""

from collections.abc import Callable
from pathlib import Path

from emodir_tui.runs.directory import read_json, write_json

FORMS = ("sliced", "stacked")


class Forms:
    """What was chosen. Kept on disk, because a resumed run must not measure again and choose otherwise.

    Args:
        file: Where; only in memory without one.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, str] = {}

    def get(self, name: str, decide: Callable[[], str]) -> str:
        """The form of this name; decided now if it never was."""
        if self._file is not None:
            self._known = read_json(self._file) or {}
        if self._known.get(name) not in FORMS:
            self._known = {**self._known, name: decide()}
            if self._file is not None:
                write_json(self._file, self._known)
        return self._known[name]
