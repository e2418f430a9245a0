"""Waiting for what another process or thread does."""

import time
from collections.abc import Callable

POLL_SECONDS = 0.05


def wait_for(condition: Callable[[], object]) -> None:
    """Return when the condition holds. A busy machine may take long, so only pytest's own timeout ends this."""
    while not condition():
        time.sleep(POLL_SECONDS)
