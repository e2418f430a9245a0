"""The base class of the six panels of the main screen."""

from typing import ClassVar

from textual.containers import Vertical
from textual.content import Content

from emodir_tui.tui.control.panels import PanelSpec
from emodir_tui.tui.presenters.view import View


class Panel(Vertical):
    """A panel with a number, a title and one widget that takes the focus."""

    SPEC: ClassVar[PanelSpec]

    def __init__(self) -> None:
        super().__init__(id=f"panel-{self.SPEC.number}", classes="panel")
        self._shown_title = ""

    def on_mount(self) -> None:
        """Show the title before the first data."""
        self.set_title("")

    def show(self, view: View) -> None:
        """Draw this panel for a run."""
        raise NotImplementedError

    def set_title(self, detail: str) -> None:
        """Set the title: the heading and a literal detail after it."""
        title = self.SPEC.heading + (f"  {detail}" if detail else "")
        if title != self._shown_title:
            self._shown_title = title
            # Content keeps a title from being parsed as markup.
            self.border_title = Content(title)
