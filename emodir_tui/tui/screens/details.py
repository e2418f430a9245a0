"""Details of a row or point, kept up to date while open, with links to related items."""

from collections.abc import Callable, Hashable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from emodir_tui.tui.control.keymap import DETAILS, bindings
from emodir_tui.tui.presenters.details import Detail, describe
from emodir_tui.tui.presenters.references import Reference
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.rows import Cells, Column, Rows

_LINK_COLUMNS = (Column(key="label", label="", width=20, stretch=True),)


class DetailsScreen(ModalScreen[None]):
    """Shows the details of an item and passes actions to the main screen."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(DETAILS)

    def __init__(
        self,
        reference: Reference,
        current_view: Callable[[], View],
        realise: Callable[[int], None],
        resume_from: Callable[[str], None],
        copy: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._path = [reference]
        self._current_view, self._realise, self._resume_from, self._copy = current_view, realise, resume_from, copy
        self._shown: Detail | None = None

    def compose(self) -> ComposeResult:
        """Create title, text, links and keys."""
        with Vertical(classes="dialog wide-dialog"):
            yield Static("", id="detail-title", classes="dialog-title", markup=False)
            with VerticalScroll(id="detail-body", can_focus=True):
                yield Static("", id="detail-text", markup=False)
            yield Static("", id="detail-links-title", markup=False)
            yield Rows(_LINK_COLUMNS, show_header=False, name="detail-links")
            yield Static("", id="detail-keys", classes="dialog-hint", markup=False)

    def on_mount(self) -> None:
        """Draw, and focus the links if there are any."""
        self.update()
        self._focus()

    def update(self) -> None:
        """Draw again if anything changed."""
        view = self._current_view()
        detail = describe(view, self._path[-1])
        if detail == self._shown:
            return
        self._shown = detail
        self.query_one("#detail-title", Static).update(detail.title)
        self.query_one("#detail-text", Static).update(detail.body)
        links = self.query_one(Rows)
        links.display = bool(detail.links)
        title = self.query_one("#detail-links-title", Static)
        title.display = bool(detail.links)
        title.update(f"{detail.links_title} ({len(detail.links)})")

        def cells(key: Hashable) -> Cells:
            return (detail.links[key].label,) if isinstance(key, int) and key < len(detail.links) else ()

        links.show(range(len(detail.links)), cells, view.palette)
        self.query_one("#detail-keys", Static).update(self._keys(detail))

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Open the selected link."""
        event.stop()
        if self._shown is not None and isinstance(event.key, int) and event.key < len(self._shown.links):
            self._path.append(self._shown.links[event.key].target)
            self._reopen()

    def action_back(self) -> None:
        """Return to the previous item, or close."""
        if len(self._path) > 1:
            self._path.pop()
            self._reopen()
        else:
            self.dismiss()

    def action_realise(self) -> None:
        """Realise the shown scheme if it is not a pick yet."""
        if self._shown is not None and self._shown.scheme is not None:
            self._realise(self._shown.scheme)

    def action_resume_from(self) -> None:
        """Resume from the shown checkpoint."""
        if self._shown is not None and self._shown.checkpoint is not None:
            checkpoint = self._shown.checkpoint
            self.dismiss()
            self._resume_from(checkpoint)

    def action_copy(self) -> None:
        """Copy the command for this item."""
        if self._shown is not None and self._shown.command:
            self._copy(self._shown.command)

    def _reopen(self) -> None:
        self._shown = None
        self.query_one(Rows).action_jump(0)
        self.update()
        self.query_one("#detail-body", VerticalScroll).scroll_home(animate=False)
        self._focus()

    def _focus(self) -> None:
        links = self.query_one(Rows)
        (links if links.display else self.query_one("#detail-body", VerticalScroll)).focus()

    def _keys(self, detail: Detail) -> str:
        words = ["Esc back" if len(self._path) > 1 else "Esc closes"]
        words += ["Enter opens the line · Tab text or list"] if detail.links else []
        words += ["e realise this scheme"] if detail.scheme is not None else []
        words += ["r resume from here"] if detail.checkpoint is not None else []
        words += ["y copy"] if detail.command else []
        return " · ".join(words)
