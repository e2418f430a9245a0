"""A panel: one of the six rooms of the main screen."""

from textual.containers import Vertical
from textual.content import Content

from emodir_tui.tui.presenters.view import View


class Panel(Vertical):
    """Has a number, a title and one widget that takes the focus."""

    NUMBER = 0
    TITLE = ""
    SHORT = ""
    HINT = ""

    def __init__(self) -> None:
        super().__init__(id=f"panel-{self.NUMBER}", classes="panel")
        self._shown_title = ""

    def on_mount(self) -> None:
        """Name it before the first data comes."""
        self.set_title("")

    def show(self, view: View) -> None:
        """Draw what this panel shows of a run."""
        raise NotImplementedError

    def set_title(self, detail: str) -> None:
        """Number, title, and what there is to say beside it, literally."""
        title = f"{self.NUMBER} {self.TITLE}" + (f"  {detail}" if detail else "")
        if title != self._shown_title:
            self._shown_title = title
            # Content is what keeps a title from being read as markup.
            self.border_title = Content(title)
