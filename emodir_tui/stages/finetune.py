"""Step 8: fine-tune each pruned network, measure it on the test split, and write its file."""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from emodir_tui.bench import EVALUATION_BATCH, Bench, weights_of
from emodir_tui.formatting import milliseconds, percent
from emodir_tui.nets.export.pruned_file import save_pruned
from emodir_tui.nets.measures.latency import measure_alternating
from emodir_tui.nets.removal import apply_structure
from emodir_tui.nets.sources.models import load_tensors
from emodir_tui.profile import parse_rule
from emodir_tui.results import Original, Pruned, Weights
from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import PickFinished
from emodir_tui.runs.names import StageName, result_name
from emodir_tui.runs.run import Run, step
from emodir_tui.seeds import derive_seed
from emodir_tui.stages.support.recalibration import recalibrate_on_training_images
from emodir_tui.stages.support.training_events import TrainingReport
from emodir_tui.training.loop import TrainingPlan, TrainingState, train
from emodir_tui.training.losses import cross_entropy, distillation
from emodir_tui.training.metrics import accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A pruned network ready for use. Accuracies 0 to 1 on the test split, latencies in ms."""

    name: str
    weights: Weights
    accuracy: float
    latency_ms: float
    baseline_latency_ms: float


# A drop of accuracy, 0 to 1, that exceeds the noise of a test split.
WORSE = 0.01


@step(StageName.FINETUNE, list[str])
def finetune(run: Run, bench: Bench, original: Original, pruned: list[Pruned]) -> list[str]:
    """Fine-tune every pick with the original network as its teacher, and write its file; the names of the files."""
    files = []
    for index, made in enumerate(pruned):
        name = made.pick.name
        base = (index, len(pruned))
        result = result_name(StageName.FINETUNE, name)
        known = run.has_part(result)
        finished = run.part(result, Finished, partial(_finish, run, bench, original, made, base))
        file = run.directory.export_file(name)
        write = partial(
            save_pruned,
            file,
            finished.weights,
            structure=made.structure,
            source=bench.profile.model.source,
            classes=bench.profile.model.classes or bench.data.classes,
            input_shape=tuple(bench.example.shape[1:]),
            details=_details(run, bench, original, made, finished),
        )
        run.on_disk(sum(weight.nbytes for weight in finished.weights.values()), write)
        run.emit(
            PickFinished(
                pick=name,
                accuracy=finished.accuracy,
                macs_kept=made.macs_kept,
                latency_ms=finished.latency_ms,
                baseline_latency_ms=finished.baseline_latency_ms,
                file=str(file.relative_to(run.directory.path)),
            )
        )
        for warning in [] if known else _warnings(made, finished):
            run.log(warning, "warning", StageName.FINETUNE)
        files.append(file.name)
        run.check()
    return files


def _warnings(made: Pruned, finished: Finished) -> list[str]:
    """Sentences on outcomes that are worse than a user may expect."""
    found = []
    if finished.accuracy < made.accuracy_recalibrated - WORSE:
        found.append(
            f"fine-tuning made '{finished.name}' worse ({percent(made.accuracy_recalibrated, 2)} before, {percent(finished.accuracy, 2)} "
            "after): lower finetune.learning_rate, or give it more epochs, or none; an under-trained original is a poor "
            "teacher; set finetune.distillation = 0 to train without it"
        )
    rule = made.pick.rule
    if rule.startswith("max_latency_ms=") and finished.latency_ms > parse_rule(rule)[1]:
        found.append(
            f"'{finished.name}' takes {milliseconds(finished.latency_ms)} now, more than its rule allows, and the original "
            f"{milliseconds(finished.baseline_latency_ms)}; other work on the machine slows both"
        )
    return found


def _finish(run: Run, bench: Bench, original: Original, made: Pruned, base: tuple[int, int]) -> Finished:
    model = apply_structure(bench.model(), bench.example, json.loads(made.structure))
    load_tensors(model, made.weights)
    bench.to_memory_format(model)
    unpruned = bench.model(original.weights)
    if bench.profile.finetune.epochs > 0:
        _train(run, bench, unpruned, model, made.pick.name, base)
        # Running statistics follow the weights over some dozens of steps, and a short fine-tuning has no more than these.
        recalibrate_on_training_images(bench, model)
    latencies = measure_alternating([model, unpruned], bench.latency_example)
    return Finished(
        name=made.pick.name,
        weights=weights_of(model),
        accuracy=accuracy(model, bench.data.test, EVALUATION_BATCH, run.check),
        latency_ms=latencies[0],
        baseline_latency_ms=latencies[1],
    )


def _train(run: Run, bench: Bench, teacher: nn.Module, model: nn.Module, name: str, base: tuple[int, int]) -> None:
    settings = bench.profile.finetune
    per_epoch = max(1, len(bench.data.train) // settings.batch)
    plan = TrainingPlan(
        steps=max(1, round(settings.epochs * per_epoch)),
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        augmentation=bench.profile.data.augment,
        mixed_precision=bench.mixed_precision,
        seed=derive_seed(bench.profile.seed, "finetune", name),
    )
    place = Place(stage=StageName.FINETUNE, subject=name)
    train(
        model,
        bench.data.train,
        _DistillationLoss(teacher, settings.distillation, settings.temperature),
        plan,
        start=run.resume_point(place, TrainingState),
        on_step=TrainingReport(run, place, model, plan, per_epoch, validation=bench.data.search, base=base),
    )


@dataclass(frozen=True, slots=True)
class _DistillationLoss:
    """The loss of a fine-tuning with the soft labels of `teacher`, by weight; hard labels only at weight 0."""

    teacher: nn.Module
    weight: float
    temperature: float

    def __call__(self, network: nn.Module, inputs: Tensor, labels: Tensor, step: int) -> Tensor:  # noqa: ARG002
        if self.weight == 0:
            return cross_entropy(network(inputs), labels)
        with torch.no_grad():
            reference = self.teacher.eval()(inputs)
        return distillation(network(inputs), reference, labels, self.weight, self.temperature)


def _details(run: Run, bench: Bench, original: Original, made: Pruned, finished: Finished) -> dict[str, Any]:
    """The metadata of a pruned file. Without times and paths: the same run writes the same bytes."""
    mean, std = bench.data.normalisation
    return {
        "run": run.directory.id,
        "pick": made.pick.name,
        "rule": made.pick.rule,
        "scheme": made.pick.scheme,
        "macs": made.macs,
        "params": made.params,
        "macs_kept": made.macs_kept,
        "params_kept": made.params_kept,
        "removal_max_difference": made.removal_max_difference,
        "accuracy": finished.accuracy,
        "accuracy_recalibrated": made.accuracy_recalibrated,
        "baseline_accuracy": original.accuracy,
        "mean": mean,
        "std": std,
    }
