"""The errors that users see, each with its exit code."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `emodir`; documented in `emodir --help` and the README."""

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
    """An error with one sentence for the user and a hint.

    Args:
        message: One sentence that names the problem and its place.
        hint: The next step for the user; may be empty.
    """

    exit_code = ExitCode.RUN_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ProfileError(EmodirError):
    """A profile, an argument or an input file is not valid."""

    exit_code = ExitCode.USAGE


class NotFoundError(EmodirError):
    """A run, a checkpoint or a file does not exist, or its name is ambiguous."""

    exit_code = ExitCode.NOT_FOUND


class ConflictError(EmodirError):
    """The request does not fit the current state of the run."""

    exit_code = ExitCode.CONFLICT


class WorkerLostError(EmodirError):
    """The worker did not start, or has disappeared."""

    exit_code = ExitCode.WORKER_LOST


class StillRunningError(EmodirError):
    """The command ends although what it waited for goes on."""

    exit_code = ExitCode.STILL_RUNNING


class DamagedFileError(EmodirError):
    """A file of emodir has changed since it was written."""


def nearest(word: str, words: Iterable[str]) -> str:
    """The sentence 'Did you mean …?' with the most similar of `words`, or an empty string."""
    close = get_close_matches(word, list(words), n=5, cutoff=0.55)
    # Ties go to the longest common prefix: typing errors are more frequent at the end of a word.
    best = max(close, key=lambda other: (_similarity(word, other), _prefix_length(word, other)), default=None)
    return f"Did you mean '{best}'?" if best else ""


def _similarity(word: str, other: str) -> float:
    return SequenceMatcher(None, other, word).ratio()


def _prefix_length(word: str, other: str) -> int:
    """Length of the common prefix."""
    return next(
        (at for at, (one, two) in enumerate(zip(word, other, strict=False)) if one != two), min(len(word), len(other))
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters; its type if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
