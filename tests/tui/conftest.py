import time

import pytest

from emodir_tui.runs.events import encode
from tests.tui.recording import HandWorker, copy_recording, until


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch):
    """Clock zone and colours do not depend on who runs the tests."""
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
    """The recorded run as it was in the middle of its joint search, its worker gone."""
    events = until("joint_generation", generation=6)
    (recorded.events_folder / "0001.jsonl").write_bytes(b"".join(map(encode, events)))
    return recorded


@pytest.fixture
def worker(interrupted):
    """A worker on the interrupted run that does what the test says."""
    worker = HandWorker(interrupted)
    yield worker
    if worker.heartbeat._thread.is_alive():
        worker.close()
