"""Work in daemon threads, so that leaving never waits for a file system that hangs."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from emodir_tui.errors import EmodirError

T = TypeVar("T")


class Mailbox:
    """Calls from other threads into the screen's thread, where this is made."""

    def __init__(self) -> None:
        self._loop, self._context = asyncio.get_running_loop(), contextvars.copy_context()

    def post(self, call: Callable[[], None]) -> None:
        """Call something in the screen's thread; does nothing once the application has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, context=self._context)


def in_background(work: Callable[[], T], then: Callable[[T], None], failed: Callable[[EmodirError], None]) -> None:
    """Do `work` in a thread, then call `then` or `failed` in the screen's thread."""
    mailbox = Mailbox()

    def run() -> None:
        try:
            result = work()
        except EmodirError as error:
            problem = error
        except OSError as error:
            problem = EmodirError(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
        else:
            mailbox.post(lambda: then(result))
            return
        mailbox.post(lambda: failed(problem))

    threading.Thread(target=run, name="background", daemon=True).start()
