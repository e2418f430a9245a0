"""The few kinds of error a user can meet, each with its exit code."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """What `emodir` leaves with; documented in `emodir --help` and the README."""

    OK = 0
    RUN_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    WORKER_LOST = 5
    STILL_RUNNING = 6
    STOPPED = 75
    INTERRUPTED = 130


class EmodirError(Exception):
    """An error that has one clear sentence for the user and a hint what to do.

    Args:
        message: What is wrong and where, one sentence.
        hint: What to do about it; may be empty.
    """

    exit_code = ExitCode.RUN_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ProfileError(EmodirError):
    """A profile, an argument or an input file can't be used as it is."""

    exit_code = ExitCode.USAGE


class NotFoundError(EmodirError):
    """No run, checkpoint or file goes by this name, or several do."""

    exit_code = ExitCode.NOT_FOUND


class ConflictError(EmodirError):
    """What is asked for does not fit the present state of the run."""

    exit_code = ExitCode.CONFLICT


class WorkerLostError(EmodirError):
    """The worker did not start, or is gone."""

    exit_code = ExitCode.WORKER_LOST


class DamagedFileError(EmodirError):
    """A file that emodir wrote is not what it was when written."""


def nearest(word: str, words: Iterable[str]) -> str:
    """The sentence 'Did you mean …?' for the word nearest to `word`, or an empty string."""
    close = get_close_matches(word, list(words), n=5, cutoff=0.55)
    # Of equally close ones the one that begins alike: people mistype endings more often than beginnings.
    best = max(close, key=lambda other: (_likeness(word, other), _common(word, other)), default=None)
    return f"Did you mean '{best}'?" if best else ""


def _likeness(word: str, other: str) -> float:
    return SequenceMatcher(None, other, word).ratio()


def _common(word: str, other: str) -> int:
    """How many letters they begin with alike."""
    return next(
        (at for at, (one, two) in enumerate(zip(word, other, strict=False)) if one != two), min(len(word), len(other))
    )


def first_line(error: BaseException) -> str:
    """What an error says, in one line that is not too long; what it is, where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
