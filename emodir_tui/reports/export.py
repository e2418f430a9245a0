"""`emodir export`: a pick in a format that other programs load."""

from pathlib import Path

from torch import nn

from emodir_tui.errors import ConflictError, NotFoundError, ProfileError, nearest
from emodir_tui.formatting import percent
from emodir_tui.nets.export.formats import FORMATS, default_file, export_network
from emodir_tui.nets.export.pruned_file import PrunedFile, load_pruned, read_pruned
from emodir_tui.nets.sources.models import load_model
from emodir_tui.profile import load
from emodir_tui.reports.views import look_at
from emodir_tui.runs.directory import RunDirectory, real_path, write_file
from emodir_tui.runs.names import Complexity
from emodir_tui.runs.state import Pick
from emodir_tui.user_code import is_user_model


def export_pick(
    directory: RunDirectory, wanted: str, kind: str, target: Path | None, trusted: Path | None, *, force: bool
) -> tuple[Path, float]:
    """Export a pick of a run; return the file and the largest difference of its outputs to the network's.

    Args:
        directory: The run.
        wanted: The pick, as in `_pick`.
        kind: The format.
        target: The file or folder to write; None: beside the pick.
        trusted: A profile whose code may be run.
        force: Overwrite an existing file.

    Raises:
        ProfileError: The format is unknown, the model's code is not trusted, or the file cannot be written.
        NotFoundError: The run has no such pick.
        ConflictError: The file exists.
    """
    if kind not in FORMATS:
        raise ProfileError(f"unknown format '{kind}'", nearest(kind, FORMATS) or "Formats: " + ", ".join(FORMATS) + ".")
    pick = _pick(directory, wanted)
    source = directory.path / (pick.file or "")
    usual = default_file(source, kind)
    target = usual if target is None else target / usual.name if target.is_dir() else target
    if target.exists() and not force:
        raise ConflictError(f"{target} exists", "--force overwrites it.")
    described, _ = read_pruned(source)
    payload, difference = export_network(
        load_trusted(source, described, trusted, directory.profile_file), described.input_shape, kind
    )
    try:
        write_file(target, payload)
    except OSError as error:
        raise ProfileError(f"cannot write {target} ({error.strerror})") from error
    return target, difference


def _pick(directory: RunDirectory, wanted: str) -> Pick:
    """A finished pick by name, by rule, or by `macs=SHARE`: the most accurate one with at most that share."""
    state, _ = look_at(directory)
    picks = {pick.name: pick for pick in state.picks.values() if _is_export(directory, pick)}
    if not picks:
        raise NotFoundError(f"{directory.id} has no finished pick yet", f"emodir show {directory.id}")
    if wanted in picks:
        return picks[wanted]
    for pick in picks.values():
        if pick.rule == wanted:
            return pick
    key, sign, limit = wanted.partition("=")
    if sign and key == Complexity.MACS:
        try:
            share = float(limit)
        except ValueError:
            raise ProfileError(f"--pick {wanted}: '{limit}' must be a number") from None
        fitting = [pick for pick in picks.values() if (pick.macs_kept or 1.0) <= share]
        if not fitting:
            least = min(pick.macs_kept or 1.0 for pick in picks.values())
            raise NotFoundError(
                f"no pick of {directory.id} keeps at most a share of {share:g} of the MACs",
                f"The smallest keeps {percent(least)}.",
            )
        return max(fitting, key=lambda pick: pick.accuracy or 0.0)
    hint = nearest(wanted, picks) or f"Its picks: {', '.join(picks)}."
    raise NotFoundError(f"{directory.id} has no pick '{wanted}'", hint)


def _is_export(directory: RunDirectory, pick: Pick) -> bool:
    """Whether a pick's file exists inside the run's export folder."""
    path = real_path(directory.path / (pick.file or ""))
    return path.is_file() and path.is_relative_to(real_path(directory.export_folder))


def load_trusted(path: Path, described: PrunedFile, trusted: Path | None, beside: Path | None) -> nn.Module:
    """Load the network of a pruned file.

    A file must not choose which code is run, nor may the profile beside it: both may be a stranger's.

    Args:
        path: The file.
        described: Its metadata.
        trusted: The profile that the user named; it has to name the user code that makes the model, if any does.
        beside: The profile in the file's run, for the hint.

    Raises:
        ProfileError: User code makes the file's model, and no trusted profile names it.
    """
    source = described.source
    if is_user_model(source) and (trusted is None or load(trusted).model.source != source):
        named = beside if beside is not None and trusted is None else "PROFILE"
        raise ProfileError(
            f"the file's model is made by user code, {source}, which would be run",
            f"If you trust it, name a profile whose model.source names it: --profile {named}",
        )
    return load_pruned(path, load_model(source, "", described.classes))
