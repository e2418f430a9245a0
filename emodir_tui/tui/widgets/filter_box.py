"""The line in which a filter is typed; it takes the place of the message line while it is open."""

from textual.message import Message
from textual.widgets import Input


class FilterBox(Input):
    """Tells each change; Enter and leaving keep the filter, Esc (which the screen hears) ends it."""

    class Kept(Message):
        """Enter was pressed."""

    class Left(Message):
        """The focus went elsewhere."""

    def __init__(self, what: str) -> None:
        placeholder = f"words that {what} must have · Enter keeps · Esc ends"
        super().__init__(id="filter", placeholder=placeholder, compact=True)
        self.display = False
        # A cursor that blinks is written twice a second.
        self.cursor_blink = False

    @property
    def is_open(self) -> bool:
        """Whether something can be typed."""
        return bool(self.display)

    def open(self) -> None:
        """Begin a new filter."""
        self.value, self.display = "", True
        # At once, which focus() is not: what is typed ahead would be keys that save, pause and stop.
        self.screen.set_focus(self)

    def close(self, *, keep: bool) -> None:
        """Put it away; what was typed goes on to count, or not."""
        if not keep:
            self.value = ""
        self.display = False

    def on_blur(self) -> None:
        """Whoever goes elsewhere keeps what was typed."""
        if self.is_open:
            self.close(keep=True)
            self.post_message(self.Left())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.post_message(self.Kept())
