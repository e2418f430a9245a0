"""What all trainings of the stages tell while they go on, and where they save."""

import time
from collections.abc import Callable

from torch import nn

from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Epoch, Event, Progress
from emodir_tui.runs.run import Run
from emodir_tui.training.data import Split
from emodir_tui.training.loop import StepReport, TrainingPlan
from emodir_tui.training.memory import trim_heap
from emodir_tui.training.metrics import accuracy

VALIDATION_BATCH = 500
# An epoch of a large network takes minutes; who watches sees its steps every few seconds.
PROGRESS_SECONDS = 5.0


def follow(
    run: Run,
    place: Place,
    model: nn.Module,
    plan: TrainingPlan,
    per_epoch: int,
    *,
    validation: Split | None = None,
    base: tuple[int, int] = (0, 1),
) -> Callable[[StepReport], None]:
    """A function that saves, tells and listens after each step of a training.

    Args:
        run: The run.
        place: Where it is.
        model: Is measured on `validation` after each epoch, if that is given.
        plan: The training's plan.
        per_epoch: Steps between two epoch events.
        validation: Images to measure on.
        base: (trainings of this stage done before, trainings in all), for the stage's progress.
    """
    epochs = max(1, -(-plan.steps // per_epoch))
    done, trainings = base
    told = time.monotonic()

    def on_step(moment: StepReport) -> None:
        nonlocal told
        if moment.trouble:
            run.log(moment.trouble, "warning", place.stage)
        ends = moment.step % per_epoch == 0 or moment.step == plan.steps
        events: list[Event] = []
        if ends:
            measured = accuracy(model, validation, VALIDATION_BATCH) if validation is not None else None
            epoch = Epoch(
                stage=place.stage,
                subject=place.subject,
                epoch=-(-moment.step // per_epoch),
                epochs=epochs,
                step=moment.step,
                loss=moment.loss,
                accuracy=measured,
                learning_rate=moment.learning_rate,
            )
            events.append(epoch)
            # Pruned layers of many sizes come and go in a training of many schemes.
            trim_heap()
        if ends or time.monotonic() - told >= PROGRESS_SECONDS:
            told = time.monotonic()
            progress = Progress(
                stage=place.stage,
                step=done * plan.steps + moment.step,
                steps=trainings * plan.steps,
                unit="step",
                note=place.subject,
            )
            events.append(progress)
        run.advance(place, moment.step, moment.state, events)

    return on_step
