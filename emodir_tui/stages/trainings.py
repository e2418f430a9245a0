"""What all trainings of the stages tell while they go on, and where they save."""

from collections.abc import Callable

from torch import nn

from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.log import Run
from emodir_tui.training.data import Split
from emodir_tui.training.loop import Moment, Plan
from emodir_tui.training.memory import give_back
from emodir_tui.training.metrics import accuracy

VALIDATION_BATCH = 500


def follow(
    run: Run,
    place: Place,
    model: nn.Module,
    plan: Plan,
    per_epoch: int,
    *,
    validation: Split | None = None,
    base: tuple[int, int] = (0, 1),
) -> Callable[[Moment], None]:
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

    def on_step(moment: Moment) -> None:
        if moment.trouble:
            run.say(moment.trouble, "warning", place.stage)
        events = []
        if moment.step % per_epoch == 0 or moment.step == plan.steps:
            done, trainings = base
            measured = accuracy(model, validation, VALIDATION_BATCH) if validation is not None else None
            epoch = {
                "stage": place.stage,
                "subject": place.subject,
                "epoch": -(-moment.step // per_epoch),
                "epochs": epochs,
                "step": moment.step,
                "loss": moment.loss,
                "accuracy": measured,
                "learning_rate": moment.learning_rate,
            }
            progress = {
                "stage": place.stage,
                "step": done * plan.steps + moment.step,
                "steps": trainings * plan.steps,
                "unit": "step",
                "note": place.subject,
            }
            events = [("epoch", epoch), ("progress", progress)]
            # Pruned layers of many sizes come and go in a training of many schemes.
            give_back()
        run.advance(place, moment.step, moment.state, events)

    return on_step
