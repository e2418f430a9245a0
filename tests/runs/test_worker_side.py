"""What a worker does about requests, pauses and a disk that refuses, without anything that computes."""

import errno
import multiprocessing
import os
import threading
import time
from types import SimpleNamespace

import pytest

from emodir_tui.profile import Hardware, Profile
from emodir_tui.runs import request_desk, saving
from emodir_tui.runs import run as runs
from emodir_tui.runs.checkpoint import Place, Saved
from emodir_tui.runs.control import send
from emodir_tui.runs.events import read_all
from emodir_tui.runs.fold import replay
from emodir_tui.runs.names import Condition, StageName, front_name, result_name, split_result_name
from emodir_tui.runs.process import Process, this_process
from emodir_tui.runs.request_desk import Stopped
from emodir_tui.runs.run import Run, step
from emodir_tui.worker import _compute_as_before
from tests.support.waiting import wait_for

CODEC = SimpleNamespace(pack=lambda value: value, unpack=lambda payload, _: payload)


def state_of(directory):
    return replay(read_all(directory.events_folder))


@pytest.mark.parametrize(("device", "asked", "reported"), [("cpu", 0, 1), ("cpu", 3, 0), ("cuda", 0, 0)])
def test_a_resumed_run_goes_on_with_its_threads(directory, monkeypatch, device, asked, reported):
    torch = pytest.importorskip("torch")
    now = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: now.__setitem__(0, threads))
    kept = {}
    bench = SimpleNamespace(
        device=SimpleNamespace(type=device), decide=lambda name, measure: kept.setdefault(name, measure())
    )
    profile = Profile(hardware=Hardware(threads=asked))
    with Run(directory, profile, CODEC) as run:
        said = []
        monkeypatch.setattr(run, "log", said.append)
        _compute_as_before(run, bench)
        assert not said
        now[0] = 2
        _compute_as_before(run, bench)
    assert len(said) == reported
    assert now[0] == (4 if reported else 2)


@pytest.mark.parametrize(("began", "now"), [("1 thread,", 2), ("4 threads,", 1)])
def test_a_number_of_threads_has_its_noun(directory, monkeypatch, began, now):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "get_num_threads", lambda: now)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    bench = SimpleNamespace(device=SimpleNamespace(type="cpu"), decide=lambda name, measure: began.split()[0])
    with Run(directory, Profile(), CODEC) as run:
        said = []
        monkeypatch.setattr(run, "log", said.append)
        _compute_as_before(run, bench)
    assert said == [f"continues with {began} as it began, instead of {now}"]


def test_a_forgotten_result_is_gone_and_nothing_is_called_damaged(directory):
    with Run(directory, Profile(), CODEC) as run:
        run.part(StageName.REALISE, bytes, lambda: b"made")
        run.forget(StageName.REALISE, StageName.FINETUNE)
        assert not run.has_part(StageName.REALISE)
    assert list(directory.results_folder.iterdir()) == []


def test_listeners_are_called_in_the_workers_own_thread_only_and_in_the_order_of_the_log(directory):
    heard = []
    with Run(directory, Profile(), CODEC) as run:
        run.listeners.append(lambda event: heard.append((threading.get_ident(), event)))
        save = send(directory, "save")
        # The main thread is busy; the heartbeat's takes the request, and that is on the disk at once.
        wait_for(lambda: save in state_of(directory).controls)
        assert heard == []
        run.check()
    assert {thread for thread, _ in heard} == {threading.get_ident()}
    assert [event for _, event in heard] == list(read_all(directory.events_folder))
    assert state_of(directory).controls[save].state == "done"


def _busy_worker(directory):
    with Run(directory, Profile(), CODEC) as run:
        run.open("cpu")
        threading.Event().wait()


def test_stop_now_ends_a_worker_whose_main_thread_is_busy(directory):
    child = multiprocessing.get_context("fork").Process(target=_busy_worker, args=(directory,), daemon=True)
    child.start()
    wait_for(lambda: state_of(directory).opened is not None)
    stop = send(directory, "stop-now")
    child.join()
    assert child.exitcode == 75
    state = state_of(directory)
    assert (state.controls[stop].state, state.outcome) == ("done", "stopped")
    assert not directory.lock_file.exists()


def test_one_continue_ends_a_pause_that_was_asked_for_twice(directory):
    with Run(directory, Profile(), CODEC) as run:
        asked = [send(directory, "pause"), send(directory, "pause")]

        def go_on():
            while state_of(directory).condition != "paused":
                time.sleep(0.05)
            asked.append(send(directory, "continue"))

        thread = threading.Thread(target=go_on)
        thread.start()
        run.check()
        thread.join()
        assert state_of(directory).condition == "running"
    assert [state_of(directory).controls[request].state for request in asked] == ["done"] * 3


def test_a_pause_does_not_count_as_time_of_a_stage(directory, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(runs, "time", clock)
    monkeypatch.setattr(request_desk, "time", clock)

    @step(StageName.DIVIDE, bytes)
    def divide(run):
        for condition, seconds in (("running", 3.0), ("paused", 100.0), ("running", 4.0), ("paused", 50.0)):
            run._desk.set_condition(Condition(condition))
            clock.now += seconds
        run._desk.set_condition(Condition.RUNNING)
        return b"made"

    with Run(directory, Profile(), CODEC) as run:
        run.once(divide)
    assert state_of(directory).stages["divide"].seconds == 7.0


def test_what_was_asked_of_an_earlier_worker_does_not_end_the_next_but_schemes_are_wanted_still(directory):
    stop, wanted = send(directory, "stop"), send(directory, "realise", scheme=3)
    with Run(directory, Profile(), CODEC) as run:
        run.check()
        assert run.new_picks == [3]
    controls = state_of(directory).controls
    assert controls[stop].state == "refused"
    assert controls[wanted].state == "done"


@pytest.mark.parametrize(("number", "kept"), [(errno.EIO, 3), (errno.ENOSPC, 1)])
def test_old_checkpoints_are_given_up_for_space_only(directory, monkeypatch, number, kept):
    monkeypatch.setattr(saving, "DISK_RETRY_SECONDS", 0.01)
    with Run(directory, Profile(), CODEC) as run:
        for step in range(3):
            run._saving.checkpoints.save(Place(stage="search"), step, Saved(b"x"), time=step, reason="auto", results=())
        tries = []

        def write():
            tries.append(1)
            if len(tries) < 3:
                raise OSError(number, os.strerror(number))
            return "written"

        assert run.on_disk(1, write) == "written"
        assert len(run._saving.checkpoints.infos()) == kept
        assert state_of(directory).condition == "running"


def test_a_stop_is_answered_even_if_nothing_can_be_saved(directory, monkeypatch):
    monkeypatch.setattr(saving, "DISK_RETRY_SECONDS", 0.01)

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Run(directory, Profile(), CODEC) as run:
        run.advance(Place(stage="search"), 1, lambda: b"state")
        monkeypatch.setattr(run._saving.checkpoints, "save", refuse)
        stop = send(directory, "stop")
        with pytest.raises(Stopped):
            run.check()
    assert state_of(directory).controls[stop].state == "done"


def test_checkpoints_are_ordered_by_number_beyond_four_digits(directory):
    with Run(directory, Profile(), CODEC) as run:
        directory.checkpoints_folder.mkdir()
        (directory.checkpoints_folder / "ck-9998.checkpoint").write_text("")
        ids = [
            run._saving.checkpoints.save(Place(stage="search"), step, Saved(b"x"), time=step, reason="auto", results=())
            for step in range(4)
        ]
        assert ids == ["ck-9999", "ck-10000", "ck-10001", "ck-10002"]
        assert [info.id for info in run._saving.checkpoints.infos()] == ids
        assert run._saving.checkpoints.thin_out(keep=2) == ids[:2]


def test_a_process_in_another_container_is_neither_seen_nor_declared_dead():
    here = this_process()
    boot, _, space = here.boot.partition("/")
    assert here.is_alive() is True
    elsewhere = Process(pid=here.pid, start=here.start, host=here.host, boot=f"{boot}/pid:[1]")
    assert elsewhere.is_alive() is None
    rebooted = Process(pid=here.pid, start=here.start, host=here.host, boot=f"other/{space}")
    assert rebooted.is_alive() is False


def test_a_renamed_function_goes_on_with_the_run_on_disk(directory):
    computed = []

    def first(run, value):
        computed.append("first")
        return value

    def renamed(run, value):
        computed.append("renamed")
        return value

    with Run(directory, Profile(), CODEC) as run:
        assert run.once(step(StageName.RANK, bytes)(first), b"result") == b"result"
    with Run(directory, Profile(), CODEC) as run:
        assert run.once(step(StageName.RANK, bytes)(renamed), b"other") == b"result"
    assert computed == ["first"]
    assert state_of(directory).stages["rank"].state == "done"


def test_the_steps_keep_their_results_under_these_names():
    pytest.importorskip("torch")
    from emodir_tui.stages import baseline, constrain, divide, finetune, joint, rank, realise, search

    steps = [
        baseline.baseline,
        divide.divide,
        search.search,
        constrain.constrain,
        rank.rank,
        joint.joint,
        realise.realise,
        finetune.finetune,
    ]
    assert [step.name for step in steps] == list(StageName)
    assert list(StageName) == ["baseline", "divide", "search", "constrain", "rank", "joint", "realise", "finetune"]


@pytest.mark.parametrize(
    ("name", "stage", "subject"),
    [
        (result_name(StageName.SEARCH), "search", ""),
        (result_name(StageName.FINETUNE, "max_macs-0.5"), "finetune", "max_macs-0.5"),
        (front_name(StageName.SEARCH, "sn1"), "search", "sn1"),
        (front_name(StageName.CONSTRAIN, "sn1"), "constrain", "sn1"),
    ],
)
def test_names_of_results_are_split_as_they_were_made(name, stage, subject):
    assert split_result_name(name) == (stage, subject)
