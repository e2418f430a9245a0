from emodir_tui.runs.checkpoint import Place
from emodir_tui.stages.support import training_events as trainings
from emodir_tui.training.loop import StepReport, TrainingPlan


class Listener:
    """A run that records what is reported to it."""

    def __init__(self):
        self.reported = []

    def advance(self, place, step, snapshot, events):
        self.reported.append((step, [event.kind for event in events], [event.step for event in events]))


def told_by(steps, per_epoch):
    run = Listener()
    plan = TrainingPlan(steps=steps, batch=1, learning_rate=0.1, seed=0)
    on_step = trainings.TrainingReport(run, Place(stage="baseline"), None, plan, per_epoch)
    for step in range(1, steps + 1):
        on_step(StepReport(step=step, loss=1.0, learning_rate=0.1, state=None))
    return run.reported


def test_epochs_are_told_at_their_ends_with_the_steps_done(monkeypatch):
    monkeypatch.setattr(trainings, "PROGRESS_SECONDS", float("inf"))
    both = ["epoch", "progress"]
    assert told_by(5, 2) == [(1, [], []), (2, both, [2, 2]), (3, [], []), (4, both, [4, 4]), (5, both, [5, 5])]


def test_in_a_long_epoch_the_steps_are_told_too(monkeypatch):
    monkeypatch.setattr(trainings, "PROGRESS_SECONDS", 0.0)
    kinds = [kinds for _, kinds, _ in told_by(4, 3)]
    assert kinds == [["progress"], ["progress"], ["epoch", "progress"], ["epoch", "progress"]]
