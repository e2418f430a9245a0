"""The header: two lines about the state of the run."""

from emodir_tui.tui.presenters.headline import headline
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.lines import Line


class RunHeader(Line):
    """State, progress, times and hardware of a run."""

    def __init__(self) -> None:
        super().__init__("header")
        self._view: View | None = None

    def show_run(self, view: View) -> None:
        """Draw the header of a run."""
        self._view = view
        if self.size.width:
            self.show(*headline(view, self.size.width))

    def on_resize(self) -> None:
        """Draw for the new width."""
        if self._view is not None:
            self.show_run(self._view)
