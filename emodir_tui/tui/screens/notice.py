"""A dialog with a text of several lines: an error with its hint, or a copied command."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class NoticeScreen(ModalScreen[None]):
    """The dialog; Esc, Enter, q and Space close it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,space", "dismiss(None)", "Close", show=False)]

    def __init__(self, title: str, body: str) -> None:
        super().__init__()
        self._title_text, self._body = title, body

    def compose(self) -> ComposeResult:
        """Create title and text, both literal."""
        with Vertical(classes="dialog"):
            yield Static(self._title_text, classes="dialog-title", markup=False)
            with VerticalScroll(classes="dialog-body"):
                yield Static(self._body, markup=False)
            yield Static("Esc closes", classes="dialog-hint", markup=False)
