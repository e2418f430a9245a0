"""The input line for a filter; it replaces the message line while it is open."""

from textual import events
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input


class FilterBox(Input):
    """Posts each change. Enter and leaving keep the filter; Esc, handled by the screen, ends it."""

    class Kept(Message):
        """The user pressed Enter."""

    class Left(Message):
        """The box lost the focus."""

    def __init__(self, what: str) -> None:
        placeholder = f"words in {what} · Enter keep · Esc end"
        super().__init__(id="filter", placeholder=placeholder, compact=True, select_on_focus=False)
        self.display = False
        # A blinking cursor would be written to the terminal twice a second.
        self.cursor_blink = False

    @property
    def is_open(self) -> bool:
        """Whether the box accepts input."""
        return bool(self.display)

    def open(self) -> None:
        """Open the box for a new filter."""
        self.value, self.display = "", True
        # Unlike focus(), this takes effect at once.
        self.screen.set_focus(self)

    def take(self, event: events.Key) -> None:
        """Insert a key that was pressed before the box had the focus."""
        if event.is_printable and event.character:
            event.stop()
            self.insert_text_at_cursor(event.character)

    def close(self, *, keep: bool) -> None:
        """Close the box and keep or clear the filter."""
        if not keep:
            self.value = ""
        self.display = False

    def on_blur(self) -> None:
        """Close the box and keep the filter."""
        if self.is_open:
            self.close(keep=True)
            self.post_message(self.Left())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Post Kept."""
        event.stop()
        self.post_message(self.Kept())


class FilteredScreen(Screen[None]):
    """A screen with a filter box. Keys typed ahead of the box, as in a paste or over a slow line, go to it.

    The screen handles keys before the application does, where the letters of a filter that is not open yet would save,
    pause and stop the run.
    """

    def on_key(self, event: events.Key) -> None:
        """Open the filter on a slash and pass the following keys to it."""
        box = self.query_one(FilterBox)
        if box.is_open:
            box.take(event)
        elif event.key == "slash":
            event.stop()
            self.action_filter()

    def action_filter(self) -> None:
        """Open the filter."""
        self.query_one(FilterBox).open()
