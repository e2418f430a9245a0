"""Step 1: the original network, its weights, and what it reaches."""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from emodir_tui.bench import EVALUATION_BATCH, Bench, keep_all, latency_example, weights_of
from emodir_tui.errors import DamagedFileError
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.latency import measure
from emodir_tui.results import Original, Weights
from emodir_tui.runs.checkpoint import Place, read_checked, write_checked
from emodir_tui.runs.event_types import BaselineMeasured
from emodir_tui.runs.names import StageName
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.snapshot import pack, unpack
from emodir_tui.stages.support.training_events import follow
from emodir_tui.training.loop import TrainingPlan, TrainingState, train
from emodir_tui.training.losses import cross_entropy
from emodir_tui.training.metrics import accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """Weights that a baseline training gave."""

    weights: Weights


# Times as often as guessing: a network below this knows nothing of the images.
HARDLY = 2.0


@step(StageName.BASELINE, Original)
def baseline(run: Run, bench: Bench) -> Original:
    """Load or train the network, and measure it on the search and the test split."""
    trained = not bench.profile.model.weights
    weights = _trained(run, bench) if trained else weights_of(bench.model())
    graph = bench.graph(weights)
    model = graph.network.model
    original = Original(
        weights=weights,
        accuracy=accuracy(model, bench.data.test, EVALUATION_BATCH),
        search_accuracy=accuracy(model, bench.data.search, EVALUATION_BATCH),
        macs=round(float(ComplexityModel(graph).measure(keep_all(graph))[0])),
        params=sum(weight.numel() for weight in model.parameters()),
        latency_ms=measure(model, latency_example(bench)),
        trained=trained,
    )
    run.emit(
        BaselineMeasured(
            accuracy=original.accuracy,
            macs=original.macs,
            params=original.params,
            latency_ms=original.latency_ms,
        )
    )
    if not trained and original.accuracy < HARDLY / bench.data.classes:
        run.log(
            f"the original network is right on {original.accuracy:.2%} of the test images, where guessing is on "
            f"{1 / bench.data.classes:.2%}: are the order of classes, data.mean and data.std those that it was trained with?",
            "warning",
            "baseline",
        )
    return original


def _trained(run: Run, bench: Bench) -> Weights:
    settings = bench.profile.baseline
    cache = cache_file(bench)
    if settings.cache and cache.exists():
        try:
            known: Trained = unpack(read_checked(cache)[1], Trained)
        except DamagedFileError as error:
            run.log(f"a cached baseline is damaged and trained anew: {error.message}", "warning", "baseline")
        else:
            run.log(f"uses the cached baseline {cache.name}", stage="baseline")
            return known.weights
    weights = _train(run, bench)
    if settings.cache:
        try:
            write_checked(cache, {"result": "baseline"}, pack(Trained(weights=weights)))
        except OSError as error:
            run.log(f"the baseline can't be cached in {cache.parent} ({error.strerror})", "warning", "baseline")
    return weights


def _train(run: Run, bench: Bench) -> Weights:
    settings = bench.profile.baseline
    torch.manual_seed(derive_seed(bench.profile.seed, "baseline", "weights"))
    model = bench.model()
    per_epoch = max(1, len(bench.data.train) // settings.batch)
    plan = TrainingPlan(
        steps=settings.epochs * per_epoch,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        augmentation=bench.profile.data.augment,
        mixed_precision=bench.mixed_precision,
        seed=derive_seed(bench.profile.seed, "baseline"),
    )
    place = Place(stage=StageName.BASELINE)

    def loss(network: nn.Module, inputs: Tensor, labels: Tensor, step: int) -> Tensor:  # noqa: ARG001
        return cross_entropy(network(inputs), labels)

    train(
        model,
        bench.data.train,
        loss,
        plan,
        start=run.resume_point(place, TrainingState),
        on_step=follow(run, place, model, plan, per_epoch, validation=bench.data.search),
    )
    return weights_of(model)


def cache_file(bench: Bench) -> Path:
    """Named after everything that decides the weights."""
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
    """What decides how a device rounds: how many threads share a sum, or which GPU makes it and how exactly."""
    if bench.device.type == "cuda":
        return torch.cuda.get_device_name(bench.device), torch.backends.cudnn.allow_tf32
    return (torch.get_num_threads(),)


def _identity(name: str) -> tuple[int, int] | None:
    """Size and time of a file that a setting names (`npz:FILE`, `FILE`, `module.path:factory`), so that a changed one is seen."""
    head, _, tail = name.partition(":")
    for text in (name, tail, head.replace(".", "/") + ".py"):
        if text and (path := Path(text).expanduser()).is_file():
            known = path.stat()
            return known.st_size, known.st_mtime_ns
    return None
