"""`emodir runs`: all runs in a folder."""

import time
from typing import Any

from emodir_tui.formatting import age, duration, percent
from emodir_tui.reports.tables import print_table
from emodir_tui.reports.views import pick_view
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.summary import summarise


def run_row(directory: RunDirectory) -> dict[str, Any]:
    """A run as one entry of `emodir runs --json`."""
    summary, status = summarise(directory)
    return {
        "id": directory.id,
        "name": directory.id.rpartition("-")[0],
        "state": status.word,
        "stage": summary.stage,
        "progress": 1.0 if status.word == StatusWord.FINISHED else round(summary.progress, 4),
        "eta_seconds": summary.eta_seconds,
        "profile": str(directory.profile_file),
        "started": summary.started or directory.created,
        "updated": summary.updated,
        "pid": summary.pid or None,
        "host": summary.host or None,
        "best_pick": pick_view(summary.best_pick) if summary.best_pick else None,
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
