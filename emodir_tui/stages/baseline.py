"""Step 1: the original network, its weights, and its measured accuracy, complexity and latency."""

import torch
from torch import Tensor, nn

from emodir_tui.bench import EVALUATION_BATCH, Bench, keep_all, weights_of
from emodir_tui.formatting import percent
from emodir_tui.nets.measures.complexity import ComplexityModel
from emodir_tui.nets.measures.latency import LatencyTable, measure, measure_table
from emodir_tui.results import Original, Weights
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import BaselineMeasured
from emodir_tui.runs.names import Complexity, StageName
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.baseline_cache import read_cached, write_cached
from emodir_tui.stages.support.original_accuracy import CAUSES, accuracy_problem, require_expected_accuracy
from emodir_tui.stages.support.training_events import TrainingReport
from emodir_tui.training.loop import TrainingPlan, TrainingState, train
from emodir_tui.training.losses import cross_entropy
from emodir_tui.training.metrics import accuracy


@step(StageName.BASELINE, Original)
def baseline(run: Run, bench: Bench) -> Original:
    """Load or train the network, and measure it on the test split."""
    trained = not bench.profile.model.weights
    weights = _trained_weights(run, bench) if trained else weights_of(bench.model())
    model = bench.model(weights)
    original = Original(
        weights=weights,
        accuracy=accuracy(model, bench.data.test, EVALUATION_BATCH, run.check),
        macs=round(float(ComplexityModel(bench.architecture).measure(keep_all(bench.architecture))[0])),
        params=sum(weight.numel() for weight in model.parameters()),
        latency_ms=measure(model, bench.latency_example),
        latencies=_latencies(run, bench, weights) if bench.complexity_kind == Complexity.LATENCY else None,
    )
    run.emit(
        BaselineMeasured(
            accuracy=original.accuracy,
            macs=original.macs,
            params=original.params,
            latency_ms=original.latency_ms,
        )
    )
    if not trained:
        problem = accuracy_problem(bench.profile, original.accuracy, len(bench.data.test), bench.data.classes)
        require_expected_accuracy(bench.profile, problem)
        if problem:
            run.log(f"{problem}; {CAUSES}", "warning", StageName.BASELINE)
    return original


def _latencies(run: Run, bench: Bench, weights: Weights) -> LatencyTable:
    """The measured latency of each layer: its numbers decide the fronts, so a run keeps them."""
    seed = derive_seed(bench.profile.seed, "latency")
    table = measure_table(bench.graph(weights), bench.latency_example, seed)
    run.log(
        f"latency of each layer measured at several widths; on whole pruned networks the estimate is off by "
        f"{percent(table.error, 0)} on average"
    )
    return table


def _trained_weights(run: Run, bench: Bench) -> Weights:
    cached = read_cached(run, bench) if bench.profile.baseline.cache else None
    if cached is not None:
        return cached
    weights = _train(run, bench)
    if bench.profile.baseline.cache:
        write_cached(run, bench, weights)
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
    train(
        model,
        bench.data.train,
        _loss,
        plan,
        start=run.resume_point(place, TrainingState),
        on_step=TrainingReport(run, place, model, plan, per_epoch, validation=bench.data.search),
    )
    return weights_of(model)


def _loss(network: nn.Module, inputs: Tensor, labels: Tensor, step: int) -> Tensor:  # noqa: ARG001
    return cross_entropy(network(inputs), labels)
