"""`emodir runs`: all runs in a folder."""

import time
from typing import Any

from emodir_tui.formatting import age, duration, percent
from emodir_tui.reports.tables import print_table
from emodir_tui.reports.views import look_at, pick_view
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.eta import eta_seconds
from emodir_tui.runs.names import StatusWord


def run_row(directory: RunDirectory) -> dict[str, Any]:
    """A run as one entry of `emodir runs --json`."""
    state, status = look_at(directory)
    stage = state.stage
    return {
        "id": directory.id,
        "name": directory.id.rpartition("-")[0],
        "state": status.word,
        "stage": stage.name if stage else None,
        "progress": 1.0 if status.word == StatusWord.FINISHED else round(state.progress, 4),
        "eta_seconds": eta_seconds(state, status.word, time.time()),
        "profile": str(directory.profile_file),
        "started": state.started or directory.created,
        "updated": state.updated,
        "pid": state.pid or None,
        "host": state.host or None,
        "best_pick": pick_view(state.best_pick) if state.best_pick else None,
    }


def print_runs(runs: list[dict[str, Any]]) -> None:
    """Print runs as a table."""
    rows = []
    for row in runs:
        pick = row["best_pick"] or {}
        rows.append(
            [
                row["id"],
                row["state"],
                row["stage"] or "—",
                percent(row["progress"], 0),
                duration(row["eta_seconds"]),
                percent(pick.get("accuracy"), 2),
                percent(pick.get("macs_kept")),
                age(time.time() - (row["updated"] or row["started"])),
                row["host"] or "—",
            ]
        )
    print_table(["Run", "State", "Stage", "Progress", "ETA", "Accuracy", "MACs kept", "Age", "Host"], rows)
