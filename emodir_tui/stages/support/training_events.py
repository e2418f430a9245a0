"""What every training of the stages does after a step: save, report, answer requests."""

import time

from torch import nn

from emodir_tui.runs.checkpoint import Place
from emodir_tui.runs.event_types import Epoch, Event, Progress
from emodir_tui.runs.run import Run
from emodir_tui.training.data import Split
from emodir_tui.training.loop import StepReport, TrainingPlan
from emodir_tui.training.memory import trim_heap
from emodir_tui.training.metrics import accuracy

VALIDATION_BATCH = 500
# An epoch of a large network takes minutes; viewers see its steps every few seconds.
PROGRESS_SECONDS = 5.0


class TrainingReport:
    """Saves a training, emits its events and answers requests; called after each step.

    Args:
        run: The run.
        place: Of the training in the run.
        model: Is measured on `validation` after each epoch, if that is given.
        plan: The training's plan.
        per_epoch: Steps between two epoch events.
        validation: Images to measure on.
        base: (trainings of this stage done before, trainings in all), for the stage's progress.
    """

    def __init__(
        self,
        run: Run,
        place: Place,
        model: nn.Module,
        plan: TrainingPlan,
        per_epoch: int,
        *,
        validation: Split | None = None,
        base: tuple[int, int] = (0, 1),
    ) -> None:
        self._run, self._place, self._model, self._plan = run, place, model, plan
        self._per_epoch, self._validation = per_epoch, validation
        self._done, self._trainings = base
        self._reported = time.monotonic()

    def __call__(self, report: StepReport) -> None:
        """Handle one step.

        Raises:
            Stopped: The run was asked to stop; this moment is saved.
        """
        if report.trouble:
            self._run.log(report.trouble, "warning", self._place.stage)
        ends = report.step % self._per_epoch == 0 or report.step == self._plan.steps
        events: list[Event] = []
        if ends:
            events.append(self._epoch(report))
            # Pruned layers of many sizes come and go in a training of many schemes.
            trim_heap()
        if ends or time.monotonic() - self._reported >= PROGRESS_SECONDS:
            self._reported = time.monotonic()
            events.append(self._progress(report))
        self._run.advance(self._place, report.step, report.state, events)

    def _epoch(self, report: StepReport) -> Epoch:
        measured = None
        if self._validation is not None:
            measured = accuracy(self._model, self._validation, VALIDATION_BATCH)
        return Epoch(
            stage=self._place.stage,
            subject=self._place.subject,
            epoch=-(-report.step // self._per_epoch),
            epochs=max(1, -(-self._plan.steps // self._per_epoch)),
            step=report.step,
            loss=report.loss,
            accuracy=measured,
            learning_rate=report.learning_rate,
        )

    def _progress(self, report: StepReport) -> Progress:
        return Progress(
            stage=self._place.stage,
            step=self._done * self._plan.steps + report.step,
            steps=self._trainings * self._plan.steps,
            unit="step",
            note=self._place.subject,
            part=self._place.subject,
            done=report.step / self._plan.steps,
        )
