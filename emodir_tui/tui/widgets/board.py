"""The board: the six panels, all at once or one at a time; it knows which one is the current one."""

from collections.abc import Hashable

from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from emodir_tui.tui.presenters.subjects import Subject
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.checkpoints import CheckpointsPanel
from emodir_tui.tui.widgets.front import FrontPanel
from emodir_tui.tui.widgets.hypervolume import HypervolumePanel
from emodir_tui.tui.widgets.log import LogPanel
from emodir_tui.tui.widgets.panel import Panel
from emodir_tui.tui.widgets.ranking import RankingPanel
from emodir_tui.tui.widgets.subnetworks import SubnetworksPanel

PANELS: tuple[type[Panel], ...] = (
    SubnetworksPanel,
    HypervolumePanel,
    RankingPanel,
    FrontPanel,
    CheckpointsPanel,
    LogPanel,
)


class Board(Container):
    """Six panels."""

    class CurrentChanged(Message):
        """Another panel has the focus."""

    def __init__(self) -> None:
        super().__init__(id="panels")
        self.current = 1
        self._single = False

    def compose(self) -> ComposeResult:
        """The panels."""
        for panel in PANELS:
            yield panel()

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

    def lay_out(self, *, single: bool) -> None:
        """All panels, or the current one alone."""
        self._single = single
        for panel in self.query(Panel):
            panel.display = not single or self.current == panel.NUMBER

    def go(self, number: int) -> None:
        """Make a panel the current one and give it the focus."""
        self.current = number
        self.lay_out(single=self._single)
        self.panel.query("Rows, Plot").first().focus(scroll_visible=False)

    def show(self, view: View) -> None:
        """Draw the panels that are seen."""
        for panel in self.query(Panel):
            if panel.display and panel.size.width:
                panel.show(view)

    @property
    def filtered(self) -> RankingPanel | LogPanel | None:
        """The current panel, where it is one that can be filtered."""
        panel = self.panel
        return panel if isinstance(panel, RankingPanel | LogPanel) else None

    def subject(self, table: str, key: Hashable) -> Subject | None:
        """What a row of a table stands for."""
        if table == "subnetworks":
            return Subject(kind="subnetwork", name=str(key))
        if table == "ranking" and isinstance(key, int):
            return Subject(kind="row", number=key)
        if table == "checkpoints":
            return Subject(kind="checkpoint", name=str(key))
        line = self.log_panel.line(key) if table == "log" and isinstance(key, int) else None
        return Subject(kind="line", name=line.text) if line is not None else None

    def on_descendant_focus(self) -> None:
        """The panel with the focus is the current one."""
        focused = next((panel.NUMBER for panel in self.query(Panel) if panel.has_focus_within), self.current)
        if focused != self.current:
            self.current = focused
            self.post_message(self.CurrentChanged())
