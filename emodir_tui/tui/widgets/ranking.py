"""Panel 3: the ranking by global performance impairment (GPIR), with sorting and a filter."""

import math
from collections.abc import Callable, Hashable
from typing import Any

from rich.style import Style
from textual.app import ComposeResult

from emodir_tui.formatting import literal, number, percent, points
from emodir_tui.runs.names import StageName, StageState
from emodir_tui.runs.state import RankingRow
from emodir_tui.tui.control import panels
from emodir_tui.tui.drawing.palette import STAGE_GLYPHS
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.panel import Panel
from emodir_tui.tui.widgets.rows import Cells, Column, Rows

_COLUMNS = (
    Column(key="rank", label="#", width=4, right=True),
    Column(key="level", label="level", width=5, right=True),
    Column(key="price", label="price", width=7, right=True),
    Column(key="subnetwork", label="sub", width=5),
    Column(key="member", label="member", width=6, right=True, drop=1),
    Column(key="impairment", label="impair", width=7, right=True),
    Column(key="kept", label="kept", width=7, right=True),
    Column(key="accuracy", label="Δacc", width=7, right=True),
    Column(key="local", label="local", width=7, right=True, drop=2),
    Column(key="joint", label="joint", width=5, right=True),
)
# Columns whose order is that of another one.
_SORTED_AS = {"level": "rank", "member": "subnetwork"}
_SORTS: dict[str, Callable[[RankingRow], Any]] = {
    "rank": lambda row: row.rank,
    "price": lambda row: (math.inf if row.price is None else row.price, row.rank),
    "subnetwork": lambda row: (row.subnetwork, row.member),
    "impairment": lambda row: row.global_impairment,
    "kept": lambda row: row.complexity_kept,
    "accuracy": lambda row: -row.accuracy_change,
    "local": lambda row: row.local_impairment,
    "joint": lambda row: (-row.joint_uses, row.rank),
}


class RankingPanel(Panel):
    """The members of all fronts in one list: their effect on the whole network and their use in joint schemes."""

    SPEC = panels.RANKING

    def __init__(self) -> None:
        super().__init__()
        self._sort = "rank"
        self._filter = ""

    def compose(self) -> ComposeResult:
        """Create the table."""
        yield Rows(_COLUMNS, name="ranking")

    def sort_next(self) -> str:
        """Sort by the next column and return its name."""
        names = list(_SORTS)
        self._sort = names[(names.index(self._sort) + 1) % len(names)]
        return self._sort

    def sort_by(self, column: str) -> None:
        """Sort by this column."""
        self._sort = _SORTED_AS.get(column, column)

    def filter_by(self, text: str) -> None:
        """Show only rows with all these words."""
        self._filter = text.strip().lower()

    def show(self, view: View) -> None:
        """Draw the ranking."""
        ranking = view.state.ranking
        words = self._filter.split()
        rows = [row for row in ranking.values() if all(word in _words(row) for word in words)]
        rows.sort(key=_SORTS[self._sort])
        colours = {name: Style(color=view.palette.colour(index)) for index, name in enumerate(view.state.subnetworks)}

        def cells(key: Hashable) -> Cells:
            row = ranking.get(key)  # type: ignore[call-overload]
            return _cells(row, colours.get(row.subnetwork), view) if row is not None else ()

        empty = f"no row has '{literal(self._filter, 40)}'" if ranking and words else _empty(view)
        self.query_one(Rows).show([row.rank for row in rows], cells, view.palette, empty=empty, sorted_by=self._sort)
        shown = f"{len(rows)} of {len(ranking)}" if words else str(len(ranking))
        count = f"{shown} members" + (f" with '{literal(self._filter, 30)}'" if words else "")
        self.set_title(f"{count} · level, then price · kept: {view.state.complexity.unit}" if ranking else "")


def _words(row: RankingRow) -> str:
    return f"{row.subnetwork.lower()} {row.member} level{row.level}" + (" joint" if row.joint_uses else "")


def _cells(row: RankingRow, colour: Style | None, view: View) -> Cells:
    palette = view.palette
    drop = palette.bad if row.accuracy_change < -0.05 else None
    return (
        str(row.rank),
        str(row.level),
        number(row.price),
        (literal(row.subnetwork), colour),
        str(row.member),
        number(row.global_impairment),
        percent(row.complexity_kept),
        (points(row.accuracy_change), drop),
        number(row.local_impairment),
        (f"✓ {row.joint_uses}", palette.good) if row.joint_uses else "",
    )


def _empty(view: View) -> str:
    states = [item.state for item in view.state.subnetworks.values()]
    if states and view.state.stages[StageName.SEARCH].state != StageState.DONE:
        return f"appears when all are searched and ranked (stage 5): {states.count(StageState.DONE)}{STAGE_GLYPHS[StageState.DONE]} of {len(states)}"
    return "appears when all members have been ranked (stage 5)"
