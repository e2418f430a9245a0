"""An ended run's summary is kept beside its log, and believed for exactly this log and this user alone."""

import os
import shutil

import msgspec
import pytest

from emodir_tui.reports.listing import run_row
from emodir_tui.runs import summary as summaries
from emodir_tui.runs.events import EventWriter
from emodir_tui.runs.heartbeat import SLOT_BYTES
from emodir_tui.runs.process import this_process
from emodir_tui.runs.summary import kept_summary, log_of, summarise
from tests.support.events import event
from tests.tui.recording import copy_recording


@pytest.fixture
def ended(tmp_path):
    return copy_recording(tmp_path, "ended-0001")


class Unread(AssertionError):
    """Somebody reads the log."""


@pytest.fixture
def unread(monkeypatch):
    def refuse(_):
        raise Unread

    return lambda: monkeypatch.setattr(summaries, "Watcher", refuse)


def test_an_ended_run_is_read_once_and_listed_as_before(ended, unread):
    first = run_row(ended)
    unread()
    assert run_row(ended) == first
    assert first["state"] == "finished"
    assert first["best_pick"]["name"] == "knee"


def test_the_summary_of_a_recorded_run_stays_the_same(ended):
    """Whoever changes it raises SCHEMA, so that summaries of the same log that are on disk are made anew."""
    assert summaries.SCHEMA == 1
    found = msgspec.to_builtins(summarise(ended)[0])
    assert found["best_pick"].pop("macs_kept") == pytest.approx(0.3886297)
    del found["best_pick"]
    assert found == {
        "pid": 4242,
        "host": "workbench",
        "started": 1795551283.679,
        "opened": 1795551283.679,
        "updated": 1795551659.973,
        "condition": "finished",
        "outcome": "finished",
        "error": "",
        "stage": "finetune",
        "progress": 1.0,
        "original_accuracy": 0.9888579387186629,
        "eta_seconds": None,
    }


def grow(directory):
    with (directory.events_folder / "0001.jsonl").open("ab") as file:
        file.write(b"\n")


def rewrite(directory):
    """The same bytes in another file, with the same times."""
    path = directory.events_folder / "0001.jsonl"
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def change_in_place(directory):
    path = directory.events_folder / "0001.jsonl"
    before = path.stat()
    path.write_bytes(path.read_bytes())
    # A file system counts time in ticks.
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def go_on(directory):
    writer = EventWriter(directory.events_folder, 2)
    writer.emit(event("run_opened", attempt=2, pid=1, host="h"))
    writer.close()


def move_from_another_run(directory):
    other = copy_recording(directory.path.parent, "other-0002")
    summarise(other)
    shutil.copy2(other.summary_file, directory.summary_file)


@pytest.mark.parametrize("change", [grow, rewrite, change_in_place, go_on, move_from_another_run])
def test_a_summary_of_another_log_does_not_count(ended, unread, change):
    summarise(ended)
    change(ended)
    assert kept_summary(ended, log_of(ended)) is None
    unread()
    with pytest.raises(Unread):
        summarise(ended)


def test_a_live_run_keeps_no_summary(tmp_path):
    directory = copy_recording(tmp_path, "live-0001")
    writer = EventWriter(directory.events_folder, 2)
    writer.emit(event("run_opened", attempt=2, pid=1, host="h"))
    writer.close()
    directory.lock_file.write_text(f'{{"pid": {os.getppid()}, "start": 1, "host": "elsewhere", "boot": "b"}}')
    assert summarise(directory)[1].is_live
    assert not directory.summary_file.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\0" * 500, b'{"schema": 1, "log": [], "summary": {}}', b"[" * 100_000],
)
def test_a_damaged_summary_is_made_anew(ended, content):
    good = run_row(ended)
    ended.summary_file.write_bytes(content)
    assert run_row(ended) == good
    assert ended.summary_file.read_bytes() != content


def test_the_file_of_another_user_is_not_believed(ended, monkeypatch):
    summarise(ended)
    assert kept_summary(ended, log_of(ended)) is not None
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert kept_summary(ended, log_of(ended)) is None


def test_nothing_is_written_into_the_run_of_another_user(ended, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert run_row(ended)["state"] == "finished"
    assert not ended.summary_file.exists()


def test_a_run_that_cannot_be_written_is_listed(ended, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(summaries, "write_file", refuse)
    assert run_row(ended)["state"] == "finished"


def test_a_summary_that_is_a_trap_is_replaced(ended):
    os.mkfifo(ended.summary_file)
    assert run_row(ended)["state"] == "finished"
    assert ended.summary_file.is_file()


def test_the_status_is_derived_anew(ended):
    summarise(ended)
    # A worker that has just been started has a heartbeat, and no event yet.
    beat = {"seq": 1, "time": 1e9, **this_process().as_json(), "progress": 0}
    ended.heartbeat_file.write_bytes(msgspec.json.encode(beat).ljust(2 * SLOT_BYTES))
    assert summarise(ended)[1].is_live
