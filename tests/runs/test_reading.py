"""Files that would make a reader wait or fill its memory: no reader of a run opens or reads them."""

import json
import os
import socket
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from emodir_tui.errors import DamagedFileError, ProfileError
from emodir_tui.profile import load
from emodir_tui.reports.listing import run_row
from emodir_tui.runs.checkpoint import Checkpoints, Results, Saved, read_checked
from emodir_tui.runs.control import take
from emodir_tui.runs.directory import RunDirectory, create, find, list_runs, segment_name
from emodir_tui.runs.events import EventWriter, read_all, read_segment
from emodir_tui.runs.heartbeat import read_heartbeat
from emodir_tui.runs.launch import last_lines
from emodir_tui.runs.lines import HOLE_BYTES, LINE_BYTES, LineReader
from emodir_tui.runs.picks import extra_picks
from emodir_tui.runs.reading import open_regular, read_bytes, read_json
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Observer
from emodir_tui.runs.watcher import Watcher
from emodir_tui.tui.screens.worker_log import read_tail
from tests.support.events import event

TERABYTE = 1 << 40


def fifo(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as listening:
        # The path of a socket has at most a hundred bytes.
        listening.bind(str(path.relative_to(Path.cwd())))


def folder(path):
    path.mkdir()


def sparse(path):
    with path.open("wb") as file:
        file.truncate(TERABYTE)


TRAPS = [fifo, device, unix_socket, folder, sparse]


def trap_everything(directory, trap):
    for place in (directory.events_folder, directory.checkpoints_folder, directory.results_folder):
        place.mkdir(exist_ok=True)
    directory.control_folder.mkdir(exist_ok=True)
    for path in (
        directory.run_file,
        directory.heartbeat_file,
        directory.lock_file,
        directory.picks_file,
        directory.batches_file,
        directory.summary_file,
        directory.worker_log,
        directory.events_folder / segment_name(2),
        directory.checkpoint_file("ck-9999"),
        directory.result_file("search"),
        directory.request_file("0-evil"),
    ):
        path.unlink(missing_ok=True)
        trap(path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_time(work):
    """What `work` returns. It has a thread of its own, so that pytest's timeout can end a wait in a system call."""
    found = Future()

    def run():
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found.result()


@pytest.mark.parametrize("trap", TRAPS)
def test_no_file_of_a_run_makes_a_reader_wait_or_fill_its_memory(here, directory, trap):
    writer = EventWriter(directory.events_folder, 1)
    writer.emit(event("run_opened", attempt=1, pid=1, host="h"))
    writer.close()
    trap_everything(directory, trap)

    def read():
        watcher = Watcher(directory)
        watcher.look()
        assert watcher.state.attempt == 1
        assert len(list(read_all(directory.events_folder))) == 1
        assert read_segment(directory.events_folder / segment_name(2)) == []
        assert read_heartbeat(directory.heartbeat_file) is None
        assert Observer(directory).status(RunState()).word
        assert extra_picks(directory) == []
        assert read_json(directory.batches_file) is None
        assert Checkpoints(directory, keep=1).infos() == []
        with pytest.raises(DamagedFileError):
            Results(directory).load("search")
        with pytest.raises(DamagedFileError):
            read_checked(directory.checkpoint_file("ck-9999"))
        assert all(isinstance(request, str) for request in take(directory))
        assert isinstance(last_lines(directory.worker_log), str)

    in_time(read)


@pytest.mark.parametrize("trap", TRAPS)
def test_a_bad_run_hides_no_other(here, trap):
    good, bad = create(here / "runs", "good"), create(here / "runs", "bad")
    for made in (good, bad):
        made.profile_file.write_text("")
    trap_everything(bad, trap)
    (here / "runs" / "loop").symlink_to("loop")
    (here / "runs" / "nowhere").symlink_to("x" * 300)
    trap(here / "runs" / "file")
    no_run = here / "runs" / "no-run"
    no_run.mkdir()
    if trap not in (sparse, device):
        trap(RunDirectory(no_run).profile_file)
    assert {run.id for run in in_time(lambda: list_runs(here / "runs"))} == {good.id, bad.id}
    assert in_time(lambda: find(here / "runs", "good")) == good
    assert [row["id"] for row in in_time(lambda: [run_row(run) for run in (bad, good)])] == [bad.id, good.id]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "run.json").symlink_to("secret")
    assert read_json(tmp_path / "run.json") is None
    with pytest.raises(OSError):
        open_regular(tmp_path / "run.json")


def test_a_file_above_its_limit_is_not_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(OSError):
        read_bytes(path, 4)


def test_a_profile_of_any_size_is_refused(tmp_path):
    path = tmp_path / "large.toml"
    sparse(path)
    with pytest.raises(ProfileError, match="is not a profile"):
        load(path)


def test_a_checkpoint_that_is_longer_than_it_says_is_not_read(directory):
    saved = Results(directory)
    saved.save("search", Saved(b"payload"))
    path = directory.result_file("search")
    assert saved.load("search").payload == b"payload"
    os.truncate(path, TERABYTE)
    with pytest.raises(DamagedFileError, match="size"):
        saved.load("search")


def test_only_the_end_of_a_huge_worker_log_is_read(tmp_path):
    path = tmp_path / "log"
    sparse(path)
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    assert last_lines(path, 1).strip() == "last"
    assert read_tail(path, 0)[1][-1] == "last"


def all_of(reader, limit):
    lines, sizes = [], []
    while True:
        found, size = reader.read(limit)
        if not size:
            return lines, sizes
        lines += found
        sizes.append(size)


@pytest.mark.parametrize("limit", [1 << 16, 4 << 20])
def test_a_line_that_is_too_long_costs_itself_alone(tmp_path, limit):
    path = tmp_path / "lines"
    path.write_bytes(b"one\n" + b"x" * (LINE_BYTES + 1) + b"\ntwo\n" + b"y" * LINE_BYTES + b"\nthree\n")
    reader = LineReader(path)
    lines, sizes = all_of(reader, limit)
    assert [line[:5] for line in lines] == [b"one", b"two", b"yyyyy", b"three"]
    assert reader.skipped == 1
    assert max(sizes) <= limit


def test_a_line_without_an_end_takes_bounded_memory(tmp_path):
    path = tmp_path / "lines"
    reader = LineReader(path)
    for _ in range(6):
        with path.open("ab") as file:
            file.write(b"x" * (4 << 20))
        assert reader.read(4 << 20) == ([], 4 << 20)
    assert reader.skipped == 1
    assert reader.take_tail() == b""


def test_a_hole_is_stepped_over(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\nhalf")
    os.truncate(path, TERABYTE)
    with path.open("ab") as file:
        file.write(b"\ntwo\n")
    lines, sizes = all_of(LineReader(path), 4 << 20)
    assert lines[0] == b"one"
    assert lines[1].rstrip(b"\0") == b"half"
    assert lines[2] == b"two"
    assert sum(sizes) < 4 * HOLE_BYTES


def test_an_event_after_a_hole_is_read_and_a_hole_is_no_damage(directory):
    writer = EventWriter(directory.events_folder, 1)
    writer.close()
    os.truncate(writer.path, TERABYTE)
    line = json.dumps({"v": 1, "seq": 1, "time": 1.0, "kind": "message", "level": "info", "text": "late"})
    with writer.path.open("ab") as file:
        file.write(line.encode() + b"\n")
    watcher = Watcher(directory)
    heard = []
    watcher.look(heard.append)
    assert [item.text for item in heard] == ["late"]
    assert watcher.damaged == 0


def test_a_segment_that_no_worker_named_does_not_count_as_an_attempt(directory):
    EventWriter(directory.events_folder, 3).close()
    (directory.events_folder / "².jsonl").touch()
    assert directory.next_attempt() == 4
