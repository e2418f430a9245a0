"""Schemes to realise in addition to the profile's picks."""

from collections.abc import Iterator
from contextlib import contextmanager

from emodir_tui.errors import ConflictError, EmodirError
from emodir_tui.runs.control import can_control
from emodir_tui.runs.directory import RunDirectory, write_json
from emodir_tui.runs.reading import read_json
from emodir_tui.runs.state import RunState


def extra_picks(directory: RunDirectory) -> list[int]:
    """Numbers of the schemes, in order of asking."""
    schemes = (read_json(directory.picks_file) or {}).get("schemes", [])
    if not isinstance(schemes, list):
        return []
    return [scheme for scheme in schemes if type(scheme) is int]


def add_pick(directory: RunDirectory, scheme: int) -> bool:
    """Add a scheme; False if it was there already. Raises OSError."""
    schemes = extra_picks(directory)
    if scheme in schemes:
        return False
    write_json(directory.picks_file, {"schemes": [*schemes, scheme]})
    return True


def drop_pick(directory: RunDirectory, scheme: int) -> None:
    """Remove a scheme that cannot be realised. Raises OSError."""
    write_json(directory.picks_file, {"schemes": [number for number in extra_picks(directory) if number != scheme]})


@contextmanager
def extra_pick_recorded(directory: RunDirectory, scheme: int) -> Iterator[None]:
    """Add a scheme for the worker that is started inside; remove it if the start fails, unless it was there before.

    Raises:
        ConflictError: This user may not control the run.
        EmodirError: The file cannot be written.
    """
    if refusal := can_control(directory):
        raise ConflictError(refusal)
    try:
        new = add_pick(directory, scheme)
    except OSError as error:
        raise EmodirError(f"{directory.picks_file} cannot be written ({error.strerror})") from error
    try:
        yield
    except EmodirError:
        if new:
            drop_pick(directory, scheme)
        raise


def new_picks(directory: RunDirectory, state: RunState) -> list[int]:
    """Requested schemes that the run has not picked yet."""
    picked = {pick.scheme for pick in state.picks.values()}
    return [scheme for scheme in extra_picks(directory) if scheme not in picked]
