"""The header: two lines that say how the run is."""

from emodir_tui.tui.presenters.headline import headline
from emodir_tui.tui.presenters.view import View
from emodir_tui.tui.widgets.lines import Line


class RunHeader(Line):
    """State, progress, times, hardware."""

    def __init__(self) -> None:
        super().__init__("header")
        self._view: View | None = None

    def show_run(self, view: View) -> None:
        """Draw it."""
        self._view = view
        if self.size.width:
            self.show(*headline(view, self.size.width))

    def on_resize(self) -> None:
        """Another width, other words."""
        if self._view is not None:
            self.show_run(self._view)
