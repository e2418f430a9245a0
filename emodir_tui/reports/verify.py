"""`emodir verify`: a pruned file's claims, measured again."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emodir_tui.bench import EVALUATION_BATCH, Bench, configure_torch, open_bench
from emodir_tui.errors import EmodirError, ProfileError
from emodir_tui.formatting import milliseconds, percent
from emodir_tui.nets.coupling.channel_graph import analyse
from emodir_tui.nets.export.pruned_file import PrunedFile, read_pruned
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.latency import measure
from emodir_tui.nets.tracing.network import trace
from emodir_tui.profile import Profile, load
from emodir_tui.reports.export import load_trusted
from emodir_tui.reports.tables import print_table
from emodir_tui.reports.views import input_scaling
from emodir_tui.runs.directory import RunDirectory, real_path
from emodir_tui.training.metrics import accuracy
from emodir_tui.user_code import is_user_data

ACCURACY_SLACK_IMAGES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A claim of a file, what was measured now, and whether both agree (None: not measured)."""

    what: str
    says: str
    measured: str
    agrees: bool | None


def verify(path: Path, profile: Path | None) -> dict[str, Any]:
    """Measure a pruned file again and compare with its metadata, as JSON values.

    Args:
        path: The file.
        profile: The profile whose test split is used and whose code may be run; None: the profile of the run that
            contains the file, whose code is not run.

    Raises:
        NotFoundError: The file does not exist.
        ProfileError: The file is damaged or not from emodir, or its code is not trusted.
    """
    described, _ = read_pruned(path)
    beside = _own_profile(path)
    model = load_trusted(path, described, profile, beside)
    says = described.details
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
    checks.append(_accuracy(model, described, profile, beside))
    found = {check.agrees for check in checks}
    return {
        "file": str(path),
        "source": described.source,
        "classes": described.classes,
        "input_shape": list(described.input_shape),
        "latency_ms": measure(model, example.repeat(16, 1, 1, 1)),
        "details": says,
        "checks": [asdict(check) for check in checks],
        "agrees": False if False in found else None if None in found else True,
    }


def print_verification(view: dict[str, Any]) -> None:
    """Print a file's claims and what was measured."""
    details = view["details"]
    lines = [
        ["model", f"{view['source']}, {view['classes']} classes, input {view['input_shape']}"],
        ["from", f"run {details.get('run')}, pick {details.get('pick')} ({details.get('rule')})"],
        [
            "kept",
            f"{percent(_number(details.get('macs_kept')))} of the MACs, {percent(_number(details.get('params_kept')))} of the parameters",
        ],
        ["input scaling", input_scaling(_numbers(details.get("mean")), _numbers(details.get("std")))],
        ["latency", f"{milliseconds(view['latency_ms'])} for 32 images on this machine"],
    ]
    print_table(["What", "Value"], lines)
    words = {True: "yes", False: "NO", None: "—"}
    rows = [[item["what"], item["says"], item["measured"], words[item["agrees"]]] for item in view["checks"]]
    print_table(["Claim", "File says", "Measured", "Agrees"], rows)


def _number(value: Any) -> float | None:
    """A share or a statistic in a file that may hold anything else."""
    return value if isinstance(value, float) else None


def _numbers(value: Any) -> list[float] | None:
    numbers = [_number(item) for item in value] if isinstance(value, list) else []
    return [number for number in numbers if number is not None]


def _own_profile(path: Path) -> Path | None:
    candidate = RunDirectory(real_path(path).parent.parent).profile_file
    return candidate if candidate.is_file() else None


def _accuracy(model: Any, described: PrunedFile, named: Path | None, beside: Path | None) -> Check:
    """Compare the claimed accuracy with that on a profile's test images.

    Raises:
        ProfileError: The profile that the user `named` cannot be used.
    """
    claimed = described.details.get("accuracy")
    claim = f"{claimed:.4f}" if isinstance(claimed, float) else "—"
    try:
        settings, bench = _test_bench(model, described, named or beside, named=named is not None)
    except EmodirError as error:
        if named is not None:
            raise
        return Check(what="accuracy", says=claim, measured=f"not measured: {error.message}", agrees=None)
    configure_torch(settings, bench.device)
    measured = accuracy(bench.to_memory_format(model), bench.data.test, EVALUATION_BATCH)
    # Another machine rounds differently, which may change the class of an image or two.
    slack = ACCURACY_SLACK_IMAGES / len(bench.data.test)
    agrees = isinstance(claimed, float) and abs(measured - claimed) <= slack
    return Check(what="accuracy", says=claim, measured=f"{measured:.4f}", agrees=agrees)


def _test_bench(model: Any, described: PrunedFile, profile: Path | None, *, named: bool) -> tuple[Profile, Bench]:
    """A profile and its bench, with test images that the network takes.

    Raises:
        ProfileError: There is no such profile, its data do not fit, or its user has not named it and it names code.
    """
    if profile is None:
        raise ProfileError("the file is not in a run; give --profile with a profile that has the test images")
    settings = load(profile)
    if not named:
        source = settings.data.source
        if is_user_data(source):
            raise ProfileError(
                f"data.source names code, {source}; name the profile to allow it: --profile {profile}",
            )
        # A stranger's profile must not choose where something is written.
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"download": False})})
    bench = open_bench(settings, model=model)
    if bench.example.shape[1:] != described.input_shape or bench.data.classes != described.classes:
        raise ProfileError(
            f"{profile} has {bench.data.classes} classes and images of shape {list(bench.example.shape[1:])}, "
            f"but the file's network has {described.classes} and takes {list(described.input_shape)}"
        )
    return settings, bench
