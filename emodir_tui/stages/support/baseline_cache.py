"""Trained baselines, cached for later runs in files that are named after everything that decides the weights."""

import os
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from emodir_tui.bench import Bench
from emodir_tui.errors import DamagedFileError
from emodir_tui.results import Weights
from emodir_tui.runs.checkpoint import Saved, read_checked, write_checked
from emodir_tui.runs.directory import OWNER_ONLY
from emodir_tui.runs.names import StageName
from emodir_tui.runs.run import Run
from emodir_tui.snapshot import pack, unpack


@dataclass(frozen=True, kw_only=True, slots=True)
class _TrainedBaseline:
    weights: Weights


def read_cached(run: Run, bench: Bench) -> Weights | None:
    """The weights of the baseline, if they were trained before and the file is whole."""
    file = cache_file(bench)
    if not file.exists():
        return None
    with suppress(OSError):
        # Of earlier versions: weights of a private run, readable for everybody.
        _make_private(file.parent)
    try:
        known: _TrainedBaseline = unpack(read_checked(file).payload, _TrainedBaseline)
    except DamagedFileError as error:
        run.log(f"a cached baseline is damaged, so it is trained again: {error.message}", "warning", StageName.BASELINE)
        return None
    run.log(f"uses the cached baseline {file.name}", stage=StageName.BASELINE)
    return known.weights


def write_cached(run: Run, bench: Bench, weights: Weights) -> None:
    """Cache the weights of the baseline; a cache that cannot be written is reported and left out."""
    file = cache_file(bench)
    try:
        _make_private(file.parent)
        write_checked(file, {"result": StageName.BASELINE}, Saved(pack(_TrainedBaseline(weights=weights))))
    except OSError as error:
        run.log(f"the baseline cannot be cached in {file.parent} ({error.strerror})", "warning", StageName.BASELINE)


def _make_private(folder: Path) -> None:
    """Let nobody else read the folder of the cache, whatever the runs allow that use it. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(OWNER_ONLY)
    for path in folder.glob("baseline-*"):
        path.chmod(0o600)


def cache_file(bench: Bench) -> Path:
    """The file of this profile's baseline on this device."""
    profile = bench.profile
    data = profile.data.model_dump(exclude={"root", "download", "workers"})
    settings = profile.baseline.model_dump(exclude={"cache"})
    parts = (
        profile.model.source,
        profile.model.classes,
        data,
        settings,
        profile.seed,
        torch.__version__,
        bench.device.type,
        bench.mixed_precision,
        profile.hardware.deterministic,
        [_identity(name) for name in (profile.data.source, profile.data.classes_file, profile.model.source)],
    )
    digest = sha256(repr((*parts, *_rounding(bench))).encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "emodir" / f"baseline-{digest}.result"


def _rounding(bench: Bench) -> tuple[object, ...]:
    """What decides how a device rounds: the number of threads that share a sum, or the GPU and its precision."""
    if bench.device.type == "cuda":
        return torch.cuda.get_device_name(bench.device), torch.backends.cudnn.allow_tf32
    return (torch.get_num_threads(),)


def _identity(name: str) -> tuple[int, int] | None:
    """Size and time of the file that a setting names (`npz:FILE`, `FILE`, `module.path:factory`), if it names one."""
    head, _, tail = name.partition(":")
    for text in (name, tail, head.replace(".", "/") + ".py"):
        if text and (path := Path(text).expanduser()).is_file():
            known = path.stat()
            return known.st_size, known.st_mtime_ns
    return None
