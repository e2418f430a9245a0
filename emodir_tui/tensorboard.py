"""TensorBoard's mirror of the events: scalars per sub-network, of the joint search, and of the trainings."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from emodir_tui.runs.event_types import Epoch, Event, JointGeneration, PickFinished, SearchGeneration

# Tag to value and step.
Values = dict[str, tuple[float | None, int]]


class Scalars:
    """Listens to a run's events. Losing TensorBoard's copy (on a full disk, say) never hurts the run."""

    def __init__(self, folder: Path) -> None:
        self._broken = False
        self._writer: SummaryWriter | None = None
        self._folder = folder

    def __call__(self, event: Event) -> None:
        """Take one event."""
        values = _scalars(event)
        if self._broken or not values:
            return
        try:
            if self._writer is None:
                self._writer = SummaryWriter(str(self._folder), max_queue=100, flush_secs=30)
            for tag, (value, step) in values.items():
                if value is not None:
                    self._writer.add_scalar(tag, value, step)
        except (OSError, ValueError):
            self._broken = True

    def close(self) -> None:
        """Write what is left."""
        if self._writer is None or self._broken:
            return
        try:
            self._writer.close()
        except OSError:
            self._broken = True


def _scalars(event: Event) -> Values:
    match event:
        case SearchGeneration():
            name = event.subnetwork if event.round == 1 else f"{event.subnetwork}-round{event.round}"
            return _search_scalars(f"search/{name}", event)
        case JointGeneration():
            return _search_scalars("joint", event)
        case Epoch():
            prefix = "/".join(part for part in (event.stage, event.subject) if part)
            values = {"loss": event.loss, "accuracy": event.accuracy, "learning_rate": event.learning_rate}
            return {f"{prefix}/{name}": (value, event.epoch) for name, value in values.items()}
        case PickFinished():
            return {f"picks/{event.pick}/accuracy": (event.accuracy, 0)}
    return {}


def _search_scalars(prefix: str, event: SearchGeneration | JointGeneration) -> Values:
    values = {
        "hypervolume": event.hypervolume,
        "front_size": event.front_size,
        "evaluations": event.evaluations,
        "evaluations_per_second": event.evaluations_per_second,
    }
    return {f"{prefix}/{name}": (value, event.generation) for name, value in values.items()}
