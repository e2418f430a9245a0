"""`emodir export` and `emodir verify`: the only reports that load torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from emodir_tui.bench import EVALUATION_BATCH, open_bench
from emodir_tui.errors import ConflictError, EmodirError, NotFoundError, ProfileError, nearest
from emodir_tui.nets.coupling.channel_graph import analyse
from emodir_tui.nets.export.formats import FORMATS, default_file, export_network
from emodir_tui.nets.export.pruned_file import PrunedFile, load_pruned, read_pruned
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.latency import measure
from emodir_tui.nets.sources.models import is_user_code, load_model
from emodir_tui.nets.tracing.network import trace
from emodir_tui.profile import load
from emodir_tui.reports.views import look_at
from emodir_tui.runs.directory import RunDirectory, write_file
from emodir_tui.runs.state import Pick
from emodir_tui.training.metrics import accuracy

ACCURACY_SLACK_IMAGES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of `emodir verify`: what the file says, what was measured now, and whether they agree (None: not measured)."""

    what: str
    says: str
    measured: str
    agrees: bool | None


def export_pick(
    directory: RunDirectory, wanted: str, kind: str, target: Path | None, *, force: bool
) -> tuple[Path, float]:
    """Write a pick of a run in another format; (its file, the largest difference found).

    Raises:
        ProfileError: The format is none.
        NotFoundError: The run has no such pick.
        ConflictError: The file is there already.
    """
    if kind not in FORMATS:
        raise ProfileError(f"'{kind}' is no format", nearest(kind, FORMATS) or "There are: " + ", ".join(FORMATS) + ".")
    pick = _pick(directory, wanted)
    source = directory.path / (pick.file or "")
    usual = default_file(source, kind)
    target = usual if target is None else target / usual.name if target.is_dir() else target
    if target.exists() and not force:
        raise ConflictError(f"{target} is there already", "--force writes over it.")
    described, _ = read_pruned(source)
    _require_trust(described.source, directory.profile_file)
    payload, difference = export_network(_load(source, described), described.input_shape, kind)
    try:
        write_file(target, payload)
    except OSError as error:
        raise ProfileError(f"{target} can't be written ({error.strerror})") from error
    return target, difference


def _pick(directory: RunDirectory, wanted: str) -> Pick:
    """A finished pick by name, by rule, or by `macs=SHARE`: the most accurate with at most that share."""
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
    if sign and key == "macs":
        try:
            share = float(limit)
        except ValueError:
            raise ProfileError(f"--pick {wanted}: '{limit}' is no number") from None
        fitting = [pick for pick in picks.values() if (pick.macs_kept or 1.0) <= share]
        if not fitting:
            least = min(pick.macs_kept or 1.0 for pick in picks.values())
            raise NotFoundError(
                f"no pick of {directory.id} keeps at most {share:g} of the MACs (the least is {least:.3f})"
            )
        return max(fitting, key=lambda pick: pick.accuracy or 0.0)
    hint = nearest(wanted, picks) or f"There are: {', '.join(picks)}."
    raise NotFoundError(f"{directory.id} has no pick '{wanted}'", hint)


def _is_export(directory: RunDirectory, pick: Pick) -> bool:
    """Whether a pick's file is there, and where the run keeps such files."""
    path = (directory.path / (pick.file or "")).resolve()
    return path.is_file() and path.is_relative_to(directory.export_folder.resolve())


def verify(path: Path, profile: Path | None) -> tuple[dict[str, Any], list[Check]]:
    """What a pruned file holds, and its claims measured again.

    Args:
        path: The file.
        profile: The profile whose test split is used; the run's own where the file lies in a run.

    Raises:
        NotFoundError: There is no such file.
        ProfileError: It is not whole, or was not written by emodir.
    """
    described, _ = read_pruned(path)
    named, profile = profile is not None, profile or _own_profile(path)
    _require_trust(described.source, profile)
    model = _load(path, described)
    says = described.details
    import torch

    example = torch.zeros(2, *described.input_shape)
    graph = analyse(trace(model, example))
    macs = round(float(ComplexityModel(graph).measure(np.ones((1, graph.genes), dtype=np.bool_))[0]))
    params = sum(weight.numel() for weight in model.parameters())
    checks = [
        Check(what="MACs", says=str(says.get("macs")), measured=str(macs), agrees=macs == says.get("macs")),
        Check(
            what="parameters", says=str(says.get("params")), measured=str(params), agrees=params == says.get("params")
        ),
    ]
    checks.append(_accuracy(model, described, profile, named=named))
    facts = {
        "file": str(path),
        "source": described.source,
        "classes": described.classes,
        "input_shape": list(described.input_shape),
        "latency_ms": measure(model, example.repeat(16, 1, 1, 1)),
        "details": says,
    }
    return facts, checks


def _load(path: Path, described: PrunedFile) -> nn.Module:
    """The network in a file whose source is trusted."""
    return load_pruned(path, load_model(described.source, "", described.classes))


def _require_trust(source: str, profile: Path | None) -> None:
    """A file must not choose whose code is run: code that is not emodir's or torchvision's is named by a profile.

    Raises:
        ProfileError: The file names such code, and the profile does not.
    """
    if is_user_code(source) and (profile is None or load(profile).model.source != source):
        raise ProfileError(
            f"the file's model is made by {source}, which would be run",
            "If you trust it, give --profile with a profile whose model.source names it.",
        )


def _own_profile(path: Path) -> Path | None:
    candidate = path.resolve().parent.parent / "profile.toml"
    return candidate if candidate.is_file() else None


def _accuracy(model: Any, described: PrunedFile, profile: Path | None, *, named: bool) -> Check:
    """The claimed accuracy against that on the profile's test images.

    Raises:
        ProfileError: The user `named` the profile, and it can't be used.
    """
    claimed = described.details.get("accuracy")
    told = f"{claimed:.4f}" if isinstance(claimed, float) else "—"
    try:
        if profile is None:
            raise ProfileError("the file lies in no run; --profile names a profile with the test images")
        bench = open_bench(load(profile))
        if bench.example.shape[1:] != described.input_shape or bench.data.classes != described.classes:
            raise ProfileError(
                f"{profile} has {bench.data.classes} classes of images {list(bench.example.shape[1:])}, the file's network "
                f"takes {list(described.input_shape)} and has {described.classes}"
            )
    except EmodirError as error:
        if named:
            raise
        return Check(what="accuracy", says=told, measured=f"not measured: {error.message}", agrees=None)
    measured = accuracy(bench.to_memory_format(model), bench.data.test, EVALUATION_BATCH)
    # Another machine rounds differently, which may turn an image or two that lie on the border.
    slack = ACCURACY_SLACK_IMAGES / len(bench.data.test)
    agrees = isinstance(claimed, float) and abs(measured - claimed) <= slack
    return Check(what="accuracy", says=told, measured=f"{measured:.4f}", agrees=agrees)
