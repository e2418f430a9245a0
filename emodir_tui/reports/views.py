"""What several reports need of a run: its state now, and a pick as JSON values."""

from typing import Any

from emodir_tui.formatting import NOTHING
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.state import Pick, RunState
from emodir_tui.runs.status import Status
from emodir_tui.runs.watcher import Watcher


def look_at(directory: RunDirectory) -> tuple[RunState, Status]:
    """Read a run's state and status."""
    watcher = Watcher(directory)
    status = watcher.look()
    return watcher.state, status


def input_scaling(mean: list[float] | None, std: list[float] | None) -> str:
    """How pixels become inputs, as a formula."""
    if not mean or not std:
        return NOTHING
    means, deviations = (", ".join(f"{value:.4g}" for value in values) for values in (mean, std))
    return f"(x - [{means}]) / [{deviations}], with x between 0 and 1"


def pick_view(pick: Pick) -> dict[str, Any]:
    """A pick as JSON values."""
    return {
        "name": pick.name,
        "rule": pick.rule,
        "scheme": pick.scheme,
        "macs_kept": pick.macs_kept,
        "params_kept": pick.params_kept,
        "accuracy_recalibrated": pick.accuracy_recalibrated,
        "accuracy": pick.accuracy,
        "removal_max_difference": pick.removal_max_difference,
        "latency_ms": pick.latency_ms,
        "baseline_latency_ms": pick.baseline_latency_ms,
        "file": pick.file,
    }
