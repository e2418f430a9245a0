"""`emodir ranking`: the global performance impairment ranking (GPIR) of a run."""

from typing import Any

from emodir_tui.formatting import number, percent, points
from emodir_tui.reports.lines import note
from emodir_tui.reports.tables import print_table
from emodir_tui.reports.views import look_at
from emodir_tui.runs.directory import RunDirectory


def ranking_view(directory: RunDirectory, top: int = 0) -> dict[str, Any]:
    """The first `top` rows of the ranking (0: all), best first, and the searched complexity, as JSON values."""
    state, _ = look_at(directory)
    rows = [
        {
            "rank": row.rank,
            "level": row.level,
            "price": row.price,
            "subnetwork": row.subnetwork,
            "member": row.member,
            "complexity_kept": row.complexity_kept,
            "local_impairment": row.local_impairment,
            "global_impairment": row.global_impairment,
            "accuracy_change": row.accuracy_change,
            "joint_uses": row.joint_uses,
        }
        for _, row in sorted(state.ranking.items())[: top or None]
    ]
    return {"complexity": state.complexity, "rows": rows}


def print_ranking(view: dict[str, Any]) -> None:
    """Print the ranking as a table."""
    rows = [
        [
            str(row["rank"]),
            str(row["level"]),
            number(row["price"]),
            row["subnetwork"],
            str(row["member"]),
            number(row["global_impairment"]),
            percent(row["complexity_kept"]),
            number(row["local_impairment"]),
            points(row["accuracy_change"]),
            str(row["joint_uses"]),
        ]
        for row in view["rows"]
    ]
    unit = view["complexity"].unit
    kept = f"{unit[0].upper()}{unit[1:]} kept"
    columns = ["Rank", "Level", "Price", "Part", "Member", "Global", kept, "Local", "Change", "Joint uses"]
    print_table(columns, rows, optional=("Local", "Change"))
    order = f"best first: by level, then by price: global impairment per share of {unit} saved"
    note(order)
