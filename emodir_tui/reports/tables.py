"""Print tables for people, tab-separated lines for pipes, JSON for programs."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emodir_tui.formatting import printable

SCHEMA = 1
_NUMBER = re.compile(r"—|[<+-]?[0-9][0-9.:]*(e[+-][0-9]+)?( ?(%|[kMGT]?B|[kMGT]|ms|s|min|h|d))?")


def print_json(document: dict[str, Any]) -> None:
    """Print one document with its schema number."""
    sys.stdout.write(json.dumps({"schema": SCHEMA, **document}, indent=1) + "\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", optional: Sequence[str] = ()
) -> None:
    """Print a table on a terminal, tab-separated lines with a header elsewhere. Cells are printed literally.

    If the terminal is too narrow, columns in `optional` are omitted, the first ones first, and named below the table.
    """
    clean = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for cells in ([column.lower() for column in columns], *clean):
            sys.stdout.write("\t".join(cells) + "\n")
        return
    console = Console()
    omitted = _omitted(columns, clean, optional, console.width)
    table = Table(
        title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for number, column in enumerate(columns):
        numeric = bool(clean) and all(_is_number(row[number]) for row in clean)
        if column not in omitted:
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in clean:
        table.add_row(*(Text(cell) for column, cell in zip(columns, row, strict=True) if column not in omitted))
    console.print(table)
    if omitted:
        console.print(Text(f"(too narrow for {', '.join(omitted)})"), style="dim")


def _omitted(columns: Sequence[str], rows: list[list[str]], optional: Sequence[str], width: int) -> list[str]:
    """The fewest optional columns to omit so that all other cells fit into the width."""
    widths = {column: max(map(cell_len, (column, *cells))) + 2 for column, *cells in zip(columns, *rows, strict=True)}
    out: list[str] = []
    for column in optional:
        if sum(widths.values()) - 2 > width:
            out.append(column)
            del widths[column]
    return out


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell))
