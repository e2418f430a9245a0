"""A run directory that is moved, removed, emptied or copied while its worker runs."""

import shutil

import pytest

from emodir_tui.errors import ConflictError, EmodirError, WorkerLostError
from emodir_tui.profile import Profile
from emodir_tui.reports.control import ask
from emodir_tui.runs.control import send
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.events import read_all
from emodir_tui.runs.fold import replay
from emodir_tui.runs.launch import check_resumable
from emodir_tui.runs.names import Command, Outcome
from emodir_tui.runs.run import Run
from emodir_tui.runs.watcher import Watcher
from tests.runs.test_worker_side import CODEC


def state_of(directory):
    return replay(read_all(directory.events_folder))


@pytest.fixture
def run(directory):
    """A run that is being written."""
    with Run(directory, Profile(), CODEC) as run:
        run.open("cpu")
        run.part("baseline", bytes, lambda: b"before")
        yield run


def test_a_moved_run_goes_on_where_it_is(directory, run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = RunDirectory(directory.path.rename(tmp_path / "elsewhere" / "renamed"))
    send(moved, Command.SAVE)
    run._beat()
    run.part("divide", bytes, lambda: b"after")
    run.publish("sn1", {"schema": 1})
    run.check()
    assert run.directory.id == "renamed"
    assert {path.name for path in moved.result_files()} == {"baseline.result", "divide.result"}
    assert moved.front_file("sn1").exists()
    assert not directory.path.exists()
    state = state_of(moved)
    assert [control.state for control in state.controls.values()] == ["done"]
    assert f"the run's directory was moved to {moved.path}; the run goes on there" in [m.text for m in state.messages]
    assert Watcher(moved).look().is_live


def test_a_moved_run_ends_where_it_is(directory):
    with Run(directory, Profile(), CODEC) as run:
        run.open("cpu")
        moved = RunDirectory(directory.path.rename(directory.path.with_name("moved")))
    assert state_of(moved).outcome == Outcome.FINISHED
    assert not moved.lock_file.exists()
    assert not directory.path.exists()


def test_a_removed_run_stops_and_is_not_made_again(directory, run):
    shutil.rmtree(directory.path)
    with pytest.raises(EmodirError, match="was removed while the run was writing to it"):
        run.part("divide", bytes, lambda: b"after")
    run._beat()
    with pytest.raises(EmodirError, match=f"{directory.path} was removed while the run was writing to it"):
        run.check()
    assert not directory.path.exists()


@pytest.mark.parametrize("what", ["folder", "segment"])
def test_a_deleted_log_begins_anew_with_a_warning(directory, run, what):
    shutil.rmtree(directory.events_folder) if what == "folder" else directory.event_segments()[0].unlink()
    run._beat()
    run.log("goes on")
    state = state_of(directory)
    assert state.attempt == 1
    assert state.pid == Watcher(directory).look().heartbeat["pid"]
    assert ["the event log was deleted" in message.text for message in state.messages] == [True, False]
    assert state.messages[-1].text == "goes on"


def test_a_log_that_cannot_be_made_anew_yet_is_made_later_and_no_other_file_is_written(directory, run, tmp_path):
    shutil.rmtree(directory.events_folder)
    directory.events_folder.write_text("in the way")
    with (tmp_path / "other").open("w+b") as other:
        run._beat()
        run.log("lost")
        run._beat()
        other.seek(0)
        assert other.read() == b""
    directory.events_folder.unlink()
    run._beat()
    run.log("goes on")
    assert state_of(directory).messages[-1].text == "goes on"


def test_a_copy_of_a_live_run_is_resumed_and_has_no_worker_to_stop(directory, run, tmp_path):
    copy = RunDirectory(tmp_path / "copy")
    shutil.copytree(directory.path, copy.path)
    with pytest.raises(ConflictError, match="already running"):
        check_resumable(directory)
    check_resumable(copy)
    with pytest.raises(WorkerLostError, match="this is a copy of a run's directory"):
        ask(copy, Command.STOP, wait=True)
    with Run(copy, Profile(), CODEC) as other:
        other.open("cpu")
        assert Watcher(copy).look().is_live
        assert other.part("baseline", bytes, lambda: b"again") == b"before"
    assert not directory.control_folder.exists()
    assert Watcher(directory).look().is_live
