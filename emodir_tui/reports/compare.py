"""`emodir compare`: runs side by side."""

from typing import Any

from emodir_tui.formatting import duration, number, percent, points
from emodir_tui.reports.tables import print_table
from emodir_tui.reports.views import look_at
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.state import Pick


def comparison(directories: list[RunDirectory]) -> list[dict[str, Any]]:
    """One row for each pick of each run; a run without picks has one row."""
    rows = []
    for directory in directories:
        state, status = look_at(directory)
        baseline = state.baseline.accuracy if state.baseline else None
        shared = {
            "run": directory.id,
            "state": status.word,
            "seconds": state.elapsed_seconds(state.updated or 0.0),
            "evaluations": sum(part.evaluations for part in state.subnetworks.values()) + state.joint.evaluations,
            "joint_hypervolume": state.joint.hypervolume,
            "baseline_accuracy": baseline,
        }
        picks: list[Pick | None] = [*state.picks.values()] or [None]
        for pick in picks:
            accuracy = pick.accuracy if pick else None
            rows.append(
                {
                    **shared,
                    "pick": pick.name if pick else None,
                    "macs_kept": pick.macs_kept if pick else None,
                    "params_kept": pick.params_kept if pick else None,
                    "accuracy": accuracy,
                    "accuracy_change": None if accuracy is None or baseline is None else accuracy - baseline,
                }
            )
    return rows


def print_comparison(rows: list[dict[str, Any]]) -> None:
    """Print runs as a table."""
    cells = [
        [
            row["run"],
            row["state"],
            row["pick"] or "—",
            percent(row["macs_kept"]),
            percent(row["params_kept"]),
            percent(row["accuracy"], 2),
            points(row["accuracy_change"]),
            number(row["joint_hypervolume"]),
            str(row["evaluations"]),
            duration(row["seconds"]),
        ]
        for row in rows
    ]
    columns = [
        "Run",
        "State",
        "Pick",
        "MACs kept",
        "Params kept",
        "Accuracy",
        "Change",
        "Joint HV",
        "Evaluations",
        "Time",
    ]
    print_table(columns, cells, optional=("Evaluations", "Joint HV", "Params kept", "Time"))
