"""The control commands never wait without a limit and a word."""

import os
import signal
import subprocess
import sys

import pytest

from emodir_tui.errors import StillRunningError, WorkerLostError
from emodir_tui.reports import control
from emodir_tui.runs.directory import create
from emodir_tui.runs.names import Command
from tests.support.waiting import wait_for

WORKER = """
import sys, time
from pathlib import Path
from emodir_tui.profile import Profile
from emodir_tui.runs.run import Run
from tests.runs.test_worker_side import CODEC
from emodir_tui.runs.directory import RunDirectory

with Run(RunDirectory(Path(sys.argv[1])), Profile(), CODEC) as run:
    run.open("cpu")
    time.sleep(600)
"""


@pytest.fixture
def directory(tmp_path):
    """A run that nobody has begun."""
    made = create(tmp_path, "test")
    made.profile_file.write_text("")
    return made


@pytest.fixture
def worker(directory):
    """A worker that is busy and never comes to a safe point."""
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(directory.path)])
    wait_for(lambda: any(directory.event_segments()) and b"run_opened" in directory.event_segments()[0].read_bytes())
    yield process
    process.kill()
    process.wait()


def test_a_stopped_worker_is_waited_for_with_a_word_and_a_limit(directory, worker, monkeypatch, capsys):
    os.kill(worker.pid, signal.SIGSTOP)
    monkeypatch.setattr(control, "WORD_SECONDS", 0.1)
    monkeypatch.setattr(control, "SILENT_SECONDS", 6.0)
    with pytest.raises(WorkerLostError, match="gives no sign of life: no heartbeat for") as caught:
        control.ask(directory, Command.SAVE, wait=True)
    assert "waiting for the worker of test-" in capsys.readouterr().err
    assert "it will obey the request to save" in caught.value.hint
    assert len(directory.request_names()) == 1


def test_a_busy_worker_is_told_of_and_not_waited_for_for_ever(directory, worker, monkeypatch, capsys):
    monkeypatch.setattr(control, "WORD_SECONDS", 1.5)
    monkeypatch.setattr(control, "LIMIT_SECONDS", 3.0)
    with pytest.raises(StillRunningError, match="has not obeyed for 0:00:03; the request to stop stays"):
        control.ask(directory, Command.STOP, wait=True)
    assert "accepted; it is obeyed after the current evaluation" in capsys.readouterr().err
