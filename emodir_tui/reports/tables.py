"""What the commands print: tables for people, tab-separated lines for pipes, JSON for programs."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emodir_tui.runs.printable import printable

SCHEMA = 1


def print_json(document: dict[str, Any]) -> None:
    """One document with its schema."""
    sys.stdout.write(json.dumps({"schema": SCHEMA, **document}, indent=1) + "\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", optional: Sequence[str] = ()
) -> None:
    """A table on a terminal; lines of tab-separated cells, headed, elsewhere. Cells are shown literally.

    Where a terminal is too narrow for whole cells, `optional` columns are left out, the first of them first, and named.
    """
    clean = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for cells in ([column.lower() for column in columns], *clean):
            sys.stdout.write("\t".join(cells) + "\n")
        return
    console = Console()
    out = _left_out(columns, clean, optional, console.width)
    table = Table(
        title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for number, column in enumerate(columns):
        numeric = bool(clean) and all(_is_number(row[number]) for row in clean)
        if column not in out:
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in clean:
        table.add_row(*(Text(cell) for column, cell in zip(columns, row, strict=True) if column not in out))
    console.print(table)
    if out:
        console.print(Text(f"(too narrow here for {', '.join(out)})"), style="dim")


def _left_out(columns: Sequence[str], rows: list[list[str]], optional: Sequence[str], width: int) -> list[str]:
    """The optional columns without which the others have room for whole cells; as few as possible."""
    widths = {column: max(map(cell_len, (column, *cells))) + 2 for column, *cells in zip(columns, *rows, strict=True)}
    out: list[str] = []
    for column in optional:
        if sum(widths.values()) - 2 > width:
            out.append(column)
            del widths[column]
    return out


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return "—" if share is None else f"{100 * share:.{digits}f} %"


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits."""
    return "—" if value is None else f"{value:.{digits}g}"


def big(value: float | None) -> str:
    """A count with a unit: 1.2 M."""
    if value is None:
        return "—"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """h:mm:ss, or with days."""
    if seconds is None:
        return "—"
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86400)
    text = f"{rest // 3600}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} d {text}" if days else text


def age(then: float | None) -> str:
    """How long ago."""
    if not then:
        return "—"
    seconds = max(0.0, time.time() - then)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _is_number(cell: str) -> bool:
    return (
        cell == "—"
        or cell.rstrip(" %kMGs").replace(".", "").replace("-", "").replace("+", "").replace("e", "").isdigit()
    )
