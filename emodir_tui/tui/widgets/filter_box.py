"""The line in which a filter is typed; it takes the place of the message line while it is open."""

from textual import events
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input


class FilterBox(Input):
    """Tells each change; Enter and leaving keep the filter, Esc (which the screen hears) ends it."""

    class Kept(Message):
        """Enter was pressed."""

    class Left(Message):
        """The focus went elsewhere."""

    def __init__(self, what: str) -> None:
        placeholder = f"words that {what} must have · Enter keeps · Esc ends"
        super().__init__(id="filter", placeholder=placeholder, compact=True, select_on_focus=False)
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
        # At once, which focus() is not.
        self.screen.set_focus(self)

    def take(self, event: events.Key) -> None:
        """A key that went to what had the focus when it was pressed."""
        if event.is_printable and event.character:
            event.stop()
            self.insert_text_at_cursor(event.character)

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


class FilteredScreen(Screen[None]):
    """A screen with a filter box. What is typed ahead of it, as in a paste or over a slow line, goes there.

    Keys come here on their way to the application, which acts on them: there the letters of a filter that is not open yet
    would save, pause and stop the run.
    """

    def on_key(self, event: events.Key) -> None:
        """Open the filter on its way, and give it what follows."""
        box = self.query_one(FilterBox)
        if box.is_open:
            box.take(event)
        elif event.key == "slash":
            event.stop()
            self.action_filter()

    def action_filter(self) -> None:
        """Open the filter."""
        self.query_one(FilterBox).open()
