"""The real program in a real (pseudo-)terminal: from `emodir run` to the end, with controls, loss and resume between."""

import os
import signal
import time

import pytest
from msgspec.structs import replace

from benchmarks.dashboard import PATIENCE_SECONDS, Terminal
from emodir_tui.runs.directory import list_runs
from emodir_tui.runs.events import encode, read_all
from emodir_tui.runs.fold import replay
from emodir_tui.runs.process import start_ticks
from tests.tui.recording import copy_recording

# Long enough that a person has time to press keys.
SLOWER = ("--set", "joint.generations=400", "--set", "joint.images=60", "--set", "checkpoint.seconds=0.5")


@pytest.fixture
def terminals(emodir):
    opened = []

    def open_terminal(*arguments, **options):
        environment = {**emodir.environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        opened.append(Terminal(*arguments, folder=emodir.folder, environment=environment, **options))
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        terminal.end()


def pressed(terminal, keys):
    """Press keys; return the position in the output before them."""
    start = len(terminal.output)
    terminal.press(keys)
    return start


def make_older(directory, end):
    """Shift the events of a run in time so that the last one is at `end`."""
    events = list(read_all(directory.events_folder))
    shift = end - events[-1].time
    (path,) = directory.events_folder.iterdir()
    path.write_bytes(b"".join(encode(replace(event, time=event.time + shift)) for event in events))


def state_of(directory):
    return replay(read_all(directory.events_folder))


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + PATIENCE_SECONDS
    while start_ticks(pid) is not None and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.full
def test_a_run_is_started_watched_controlled_lost_resumed_and_finished(emodir, terminals):
    terminal = terminals("run", "tiny.toml", *SLOWER)
    terminal.wait_for("Sub-networks", "running")
    (directory,) = list_runs(emodir.folder / "runs")
    terminal.wait_for("6/8 joint")

    for _ in range(20):
        start = pressed(terminal, "s")
        terminal.wait_for("save: requested → accepted → done: ", start=start)
        # The last automatic checkpoint may have everything already.
        if "done: nothing new to save" not in terminal.text(start):
            break
    terminal.wait_for("save: requested → accepted → done: ck-", start=start)
    start = pressed(terminal, "p")
    terminal.wait_for("paused", "p continues", start=start)
    assert state_of(directory).condition == "paused"
    start = pressed(terminal, "p")
    terminal.wait_for("continue: requested → accepted → done", start=start)

    start = len(terminal.output)
    kill(state_of(directory).pid)
    terminal.wait_for("lost", "is gone", "r resume", start=start)
    start = pressed(terminal, "r")
    terminal.wait_for("resumed", start=start)
    terminal.wait_for("✓ finished", "knee", start=start)
    assert state_of(directory).attempt == 2

    terminal.press("q")
    # After `run` the exit code is the run's result.
    assert terminal.wait() == 0


@pytest.mark.full
def test_leaving_never_stops_the_run_and_says_how_to_come_back(emodir, terminals):
    terminal = terminals("run", "tiny.toml", "--set", "joint.generations=4000", width=80, height=24)
    terminal.wait_for("running")
    (directory,) = list_runs(emodir.folder / "runs")
    terminal.press("\x03")
    assert terminal.wait() == 6
    assert f"emodir watch {directory.id}" in terminal.text()
    pid = state_of(directory).pid
    assert start_ticks(pid) is not None

    # Its terminal is taken away from a second one: that ends, the worker goes on.
    second = terminals("watch", directory.id)
    second.wait_for("running")
    second.hang_up()
    end = time.monotonic() + PATIENCE_SECONDS
    while start_ticks(second.pid) is not None and time.monotonic() < end:
        time.sleep(0.05)
    assert start_ticks(second.pid) is None
    assert start_ticks(pid) is not None
    kill(pid)


def test_a_recording_is_played_and_stepped_through(emodir, terminals):
    copy_recording(emodir.folder / "runs")
    terminal = terminals("watch", "digits-8322", "--replay", "--speed", "4")
    terminal.wait_for("replay", "×4", "/ 0:0")
    start = pressed(terminal, ">")
    terminal.wait_for("×8", start=start)
    start = pressed(terminal, " ")
    terminal.wait_for("paused at", start=start)
    start = pressed(terminal, "." * 60)
    terminal.wait_for("127 points", start=start)
    terminal.press("q")
    assert terminal.wait() == 0


@pytest.mark.full
def test_the_picker_opens_and_compares_runs(emodir, terminals):
    for name in ("digits-8322", "digits-b200", "other-0001"):
        copy_recording(emodir.folder / "runs", name)
    terminal = terminals("watch")
    terminal.wait_for("3 runs", "other-0001", "98.89 %")
    start = pressed(terminal, "  m")
    terminal.wait_for("comparison", "2 runs", "hypervolume", start=start)
    start = pressed(terminal, "\x1b")
    terminal.wait_for("3 runs", start=start)
    start = pressed(terminal, "\r")
    terminal.wait_for("Sub-networks", "✓ finished", start=start)
    terminal.press("q")
    assert terminal.wait() == 0


@pytest.mark.full
def test_nothing_is_written_when_nothing_happens(emodir, terminals):
    directory = copy_recording(emodir.folder / "runs")
    # Every age on the screen is ten days and some hours, so none of them can change while the test looks.
    make_older(directory, time.time() - 10.5 * 86_400)
    terminal = terminals("watch", "digits-8322")
    terminal.wait_for("✓ finished", "127 points", "10 d")
    # A busy machine may still be drawing the first screen.
    end = time.monotonic() + PATIENCE_SECONDS
    written = -1
    while written != len(terminal.output) and time.monotonic() < end:
        written = len(terminal.output)
        time.sleep(2.5)
    written = len(terminal.output)
    time.sleep(4.5)
    assert terminal.text(written) == ""
    assert len(terminal.output) == written


def test_neither_torch_nor_numpy_is_loaded_by_the_dashboard(emodir):
    import subprocess
    import sys

    code = (
        "import sys, emodir_tui.cli, emodir_tui.tui.app, emodir_tui.tui.screens.picker, emodir_tui.tui.screens.comparison\n"
        "print([name for name in ('torch', 'numpy', 'pymoo', 'pydantic') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
