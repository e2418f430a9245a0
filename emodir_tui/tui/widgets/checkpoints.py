"""Panel 5: the checkpoints of a run."""

from collections.abc import Hashable

from textual.app import ComposeResult

from emodir_tui.formatting import NOTHING, age, literal, size
from emodir_tui.runs.state import Checkpoint
from emodir_tui.tui.control import panels
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.panel import Panel
from emodir_tui.tui.widgets.rows import Cells, Column, Rows

_COLUMNS = (
    Column(key="id", label="checkpoint", width=10),
    Column(key="stage", label="stage", width=9),
    Column(key="subnetwork", label="part", width=6, stretch=True, drop=1),
    Column(key="step", label="step", width=5, right=True),
    Column(key="size", label="size", width=7, right=True, drop=2),
    Column(key="age", label="age", width=6, right=True),
    Column(key="why", label="why", width=7),
)


class CheckpointsPanel(Panel):
    """Checkpoints, the newest first; Enter offers to resume from one."""

    SPEC = panels.CHECKPOINTS

    def compose(self) -> ComposeResult:
        """Create the table."""
        yield Rows(_COLUMNS, newest_first=True, name="checkpoints")

    def show(self, view: View) -> None:
        """Draw the checkpoints."""
        checkpoints = view.state.checkpoints
        keys = sorted(checkpoints, key=lambda key: (checkpoints[key].saved, key), reverse=True)

        def cells(key: Hashable) -> Cells:
            item = checkpoints.get(str(key))
            return _cells(item, view, newest=bool(keys) and key == keys[0]) if item is not None else ()

        empty = "none yet · s saves one" if view.status.is_live else "no checkpoint was saved"
        self.query_one(Rows).show(keys, cells, view.palette, empty=empty)
        facts = [f"last {age(view.now - checkpoints[keys[0]].saved)} ago"] if keys else []
        if view.disk_free is not None and view.status.is_live:
            facts.append(f"{size(view.disk_free)} free")
        self.set_title(" · ".join(facts))


def _cells(item: Checkpoint, view: View, *, newest: bool) -> Cells:
    palette = view.palette
    name = literal(item.id) + (" ◀" if newest else "")
    return (
        (name, palette.bad if item.damaged else palette.strong if newest else None),
        literal(item.stage),
        literal(item.subnetwork) if item.subnetwork else NOTHING,
        str(item.generation),
        size(item.bytes),
        age(view.now - item.saved),
        ("damaged", palette.bad) if item.damaged else literal(item.reason),
    )
