"""The board: the six panels, shown all at once or one at a time."""

from collections.abc import Hashable

from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from emodir_tui.tui.presenters.references import Reference
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.checkpoints import CheckpointsPanel
from emodir_tui.tui.widgets.front import FrontPanel
from emodir_tui.tui.widgets.hypervolume import HypervolumePanel
from emodir_tui.tui.widgets.log import LogPanel
from emodir_tui.tui.widgets.panel import Panel
from emodir_tui.tui.widgets.ranking import RankingPanel
from emodir_tui.tui.widgets.subnetworks import SubnetworksPanel


class Board(Container):
    """The six panels, one of which is current."""

    class CurrentChanged(Message):
        """Another panel has the focus."""

    def __init__(self) -> None:
        super().__init__(id="panels")
        self.current = 1
        self._single = False

    def compose(self) -> ComposeResult:
        """Create the panels."""
        yield SubnetworksPanel()
        yield HypervolumePanel()
        yield RankingPanel()
        yield FrontPanel()
        yield CheckpointsPanel()
        yield LogPanel()

    @property
    def panel(self) -> Panel:
        """The current panel."""
        return self.query_one(f"#panel-{self.current}", Panel)

    @property
    def ranking(self) -> RankingPanel:
        """Panel 3."""
        return self.query_one(RankingPanel)

    @property
    def front(self) -> FrontPanel:
        """Panel 4."""
        return self.query_one(FrontPanel)

    @property
    def log_panel(self) -> LogPanel:
        """Panel 6."""
        return self.query_one(LogPanel)

    def apply_layout(self, *, single: bool) -> None:
        """Show all panels, or the current one alone."""
        self._single = single
        for panel in self.query(Panel):
            panel.display = not single or self.current == panel.SPEC.number

    def focus_panel(self, number: int) -> None:
        """Make a panel current and focus it."""
        self.current = number
        self.apply_layout(single=self._single)
        self.panel.query("Rows, Plot").first().focus(scroll_visible=False)

    def show(self, view: View) -> None:
        """Draw the visible panels."""
        for panel in self.query(Panel):
            if panel.display and panel.size.width:
                panel.show(view)

    @property
    def filterable(self) -> RankingPanel | LogPanel | None:
        """The current panel if it can be filtered, else None."""
        panel = self.panel
        return panel if isinstance(panel, RankingPanel | LogPanel) else None

    def reference_of(self, table: str, key: Hashable) -> Reference | None:
        """Return the reference to the item behind a row."""
        if table == "subnetworks":
            return Reference(kind="subnetwork", name=str(key))
        if table == "ranking" and isinstance(key, int):
            return Reference(kind="row", number=key)
        if table == "checkpoints":
            return Reference(kind="checkpoint", name=str(key))
        line = self.log_panel.line(key) if table == "log" and isinstance(key, int) else None
        return Reference(kind="line", name=line.text) if line is not None else None

    def on_descendant_focus(self) -> None:
        """Make the focused panel current."""
        focused = next((panel.SPEC.number for panel in self.query(Panel) if panel.has_focus_within), self.current)
        if focused != self.current:
            self.current = focused
            self.post_message(self.CurrentChanged())
