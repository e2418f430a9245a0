import time

import pytest

from emodir_tui.runs.events import encode
from tests.tui.recording import HandWorker, copy_recording, until


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch):
    """Fix the time zone and the colours."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLORTERM", "truecolor")
    for name in ("TEXTUAL_THEME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def recorded(tmp_path):
    """The finished recorded run, in a folder of runs."""
    return copy_recording(tmp_path / "runs")


@pytest.fixture
def interrupted(recorded):
    """The recorded run, interrupted in its joint search; its worker is gone."""
    events = until("joint_generation", generation=6)
    (recorded.events_folder / "0001.jsonl").write_bytes(b"".join(map(encode, events)))
    return recorded


@pytest.fixture
def worker(interrupted):
    """A worker on the interrupted run, controlled by the test."""
    worker = HandWorker(interrupted)
    yield worker
    if worker.heartbeat._thread.is_alive():
        worker.close()
