"""TensorBoard's mirror of the events: scalars per sub-network, of the joint search, and of the trainings."""

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class Scalars:
    """Listens to a run's events. Losing TensorBoard's copy (on a full disk, say) never hurts the run."""

    def __init__(self, folder: Path) -> None:
        self._broken = False
        self._writer: SummaryWriter | None = None
        self._folder = folder

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        """Take one event."""
        values = _scalars(kind, data)
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


def _scalars(kind: str, data: dict[str, Any]) -> dict[str, tuple[Any, int]]:
    if kind == "search_generation":
        name = data["subnetwork"] if data["round"] == 1 else f"{data['subnetwork']}-round{data['round']}"
        return _search_scalars(f"search/{name}", data)
    if kind == "joint_generation":
        return _search_scalars("joint", data)
    if kind == "epoch":
        prefix = "/".join(part for part in (data["stage"], data["subject"]) if part)
        return {f"{prefix}/{key}": (data[key], data["epoch"]) for key in ("loss", "accuracy", "learning_rate")}
    if kind == "pick_finished":
        return {f"picks/{data['pick']}/accuracy": (data["accuracy"], 0)}
    return {}


def _search_scalars(prefix: str, data: dict[str, Any]) -> dict[str, tuple[Any, int]]:
    names = ("hypervolume", "front_size", "evaluations", "evaluations_per_second")
    return {f"{prefix}/{name}": (data[name], data["generation"]) for name in names}
