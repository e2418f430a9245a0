"""A panel: one of the six parts of the main screen."""

from typing import ClassVar

from textual.containers import Vertical
from textual.content import Content

from emodir_tui.tui.control.panels import PanelSpec
from emodir_tui.tui.presenters.view import View


class Panel(Vertical):
    """Has a number, a title and one widget that takes the focus."""

    SPEC: ClassVar[PanelSpec]

    def __init__(self) -> None:
        super().__init__(id=f"panel-{self.SPEC.number}", classes="panel")
        self._shown_title = ""

    def on_mount(self) -> None:
        """Name it before the first data comes."""
        self.set_title("")

    def show(self, view: View) -> None:
        """Draw what this panel shows of a run."""
        raise NotImplementedError

    def set_title(self, detail: str) -> None:
        """Number, title, and what there is to say beside it, literally."""
        title = self.SPEC.heading + (f"  {detail}" if detail else "")
        if title != self._shown_title:
            self._shown_title = title
            # Content is what keeps a title from being read as markup.
            self.border_title = Content(title)
