import json
import multiprocessing
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodir_tui.errors import ConflictError, DamagedFileError, NotFoundError, ProfileError
from emodir_tui.runs.checkpoint import Checkpoints, Place, Results, Saved, rewind, write_checked
from emodir_tui.runs.control import Request, can_control, send, take
from emodir_tui.runs.directory import RunDirectory, create, find, list_runs, write_file
from emodir_tui.runs.heartbeat import SLOT_BYTES, Heartbeat, read_heartbeat
from emodir_tui.runs.names import Condition, Outcome
from emodir_tui.runs.ownership import holds_lock, release_lock, take_lock
from emodir_tui.runs.process import Process, this_process
from emodir_tui.runs.state import RunState
from emodir_tui.runs.status import Observer


def test_a_run_directory_is_its_owners(tmp_path):
    assert create(tmp_path, "mine").path.stat().st_mode & 0o777 == 0o700
    assert create(tmp_path, "ours", shared=True).path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["../evil", "", ".hidden", "a/b", "a\nb"])
def test_names_that_are_no_folder_names_are_refused(tmp_path, name):
    with pytest.raises(ProfileError):
        create(tmp_path, name)


def test_runs_are_found_by_id_prefix_latest_and_path(tmp_path, directory):
    other = create(tmp_path, "other")
    other.profile_file.write_text("")
    assert find(tmp_path, directory.id) == directory
    assert find(tmp_path, "tes") == directory
    assert find(tmp_path, str(directory.path)) == directory
    assert find(tmp_path, "@latest") in (directory, other)
    assert len(list_runs(tmp_path)) == 2


def test_an_ambiguous_prefix_names_the_runs_that_it_fits(tmp_path, directory):
    second = create(tmp_path, "test")
    second.profile_file.write_text("")
    with pytest.raises(NotFoundError, match="fits 2 runs"):
        find(tmp_path, "test")


def test_a_mistyped_run_names_the_nearest(tmp_path, directory):
    with pytest.raises(NotFoundError) as caught:
        find(tmp_path, directory.id.replace("test", "tset"))
    assert directory.id in caught.value.hint


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_file(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def checkpoints_of(directory, count, keep=3):
    checkpoints = Checkpoints(directory, keep=keep)
    for step in range(count):
        checkpoints.save(
            Place(stage="search", subject="sn1"),
            step,
            Saved(b"state%d" % step),
            time=step,
            reason="auto",
            results=("baseline",),
        )
    return checkpoints


def test_only_the_last_checkpoints_are_kept_and_numbers_never_come_again(directory):
    checkpoints = checkpoints_of(directory, 5)
    assert checkpoints.thin_out() == ["ck-0001", "ck-0002"]
    assert [info.id for info in checkpoints.infos()] == ["ck-0003", "ck-0004", "ck-0005"]
    assert checkpoints.load("ck-0005").payload == b"state4"
    assert checkpoints.save(Place(stage="joint"), 1, Saved(b"x"), time=1, reason="auto", results=()) == "ck-0006"


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:20], lambda b: b"", lambda b: b[:-3] + bytes([b[-3] ^ 1]) + b[-2:]]
)
def test_a_damaged_checkpoint_is_noticed(directory, damage):
    checkpoints = checkpoints_of(directory, 1)
    path = next(directory.checkpoints_folder.iterdir())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError):
        checkpoints.load("ck-0001")


@settings(max_examples=200)
@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_no_bytes_however_wrong_make_reading_checkpoints_raise_anything_else(tmp_path_factory, data, cut):
    folder = RunDirectory(tmp_path_factory.mktemp("run"))
    checkpoints = checkpoints_of(folder, 1)
    path = folder.checkpoints_folder / "ck-0001.checkpoint"
    path.write_bytes(path.read_bytes()[:cut] + data)
    assert len(checkpoints.infos()) <= 1
    try:
        assert checkpoints.load("ck-0001").payload == b"state0"
    except DamagedFileError:
        pass


def test_going_back_keeps_the_old_future_aside(directory):
    checkpoints = checkpoints_of(directory, 4, keep=9)
    results = Results(directory)
    results.save("baseline", Saved(b"kept"))
    results.save("search", Saved(b"later"))
    write_file(directory.fronts_folder / "search.json", b"{}")
    aside = rewind(directory, checkpoints.find("ck-0002"))
    assert [info.id for info in checkpoints.infos()] == ["ck-0001", "ck-0002"]
    assert results.names() == ("baseline",)
    moved = sorted(str(path.relative_to(aside)) for path in aside.rglob("*") if path.is_file())
    assert moved == [
        "checkpoints/ck-0003.checkpoint",
        "checkpoints/ck-0004.checkpoint",
        "fronts/search.json",
        "results/search.result",
    ]


def test_an_unknown_checkpoint_names_the_nearest(directory):
    with pytest.raises(NotFoundError) as caught:
        checkpoints_of(directory, 2).find("ck-001")
    assert "ck-0001" in caught.value.hint


def test_requests_are_taken_once_and_in_order(directory):
    send(directory, "save")
    send(directory, "realise", scheme=3)
    taken = [request for request in take(directory) if isinstance(request, Request)]
    assert [request.command for request in taken] == ["save", "realise"]
    assert taken[1].arguments == {"scheme": 3}
    assert list(take(directory)) == []


@settings(max_examples=150)
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=50).map(lambda text: json.dumps({"id": text, "command": text, "by": 3}).encode())
)
def test_files_that_are_no_requests_are_named_and_gone(tmp_path_factory, content):
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    write_file(directory.request_file(f"{1:020d}-0123abcd"), content)
    assert all(isinstance(item, str) for item in take(directory))
    assert not list(directory.control_folder.iterdir())


def test_a_file_that_is_not_named_like_a_request_stays_and_is_reported_once(directory):
    for name in ("settings.json", "1.json", "notes.txt"):
        write_file(directory.control_folder / name, b"{}")
    ignored = set()
    assert list(take(directory, ignored)) == [
        f"control/{name} is not a request and is left alone" for name in ("1.json", "settings.json")
    ]
    assert list(take(directory, ignored)) == []
    assert len(list(directory.control_folder.iterdir())) == 3


def test_a_link_in_the_control_folder_is_not_followed(directory, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"id": "1", "command": "stop", "by": "x"}))
    directory.control_folder.mkdir()
    directory.request_file(f"{1:020d}-0123abcd").symlink_to(secret)
    assert [type(item) for item in take(directory)] == [str]
    assert secret.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_another_users_request_is_ignored_and_named(directory):
    send(directory, "stop")
    for path in directory.control_folder.iterdir():
        os.chown(path, 12345, 12345)
    (sentence,) = take(directory)
    assert "another user (uid 12345)" in sentence


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_another_users_run_can_be_watched_only(directory):
    os.chown(directory.path, 12345, 12345)
    assert "another user" in can_control(directory)
    with pytest.raises(ConflictError):
        send(directory, "stop")


def test_a_torn_heartbeat_slot_gives_the_beat_before(tmp_path):
    path = tmp_path / "heartbeat"
    heart = Heartbeat(path, dict, every_seconds=60)
    heart.beat()
    heart.close()
    assert read_heartbeat(path)["seq"] == 2
    content = bytearray(path.read_bytes())
    content[0:SLOT_BYTES] = b"x" * SLOT_BYTES
    path.write_bytes(content)
    assert read_heartbeat(path)["seq"] == 1


def test_a_live_owner_keeps_the_lock(directory):
    take_lock(directory, lambda _: False)
    assert holds_lock(directory)
    with pytest.raises(ConflictError, match="already running"):
        take_lock(directory, lambda owner: owner.is_alive() is False)
    release_lock(directory)
    take_lock(directory, lambda _: False)


def dead_owner(directory):
    owner = Process(pid=2**22 + 1, start=1, host=this_process().host, boot=this_process().boot)
    directory.lock_file.write_text(json.dumps(owner.as_json()))


def test_a_dead_owners_lock_is_taken_over(directory):
    dead_owner(directory)
    take_lock(directory, lambda owner: owner.is_alive() is False)
    assert holds_lock(directory)


def _try(path, start, answered, results):
    start.wait()
    try:
        take_lock(RunDirectory(path), lambda owner: owner.is_alive() is False)
        results.put("got it")
        # Whoever ends gives the lock free.
        answered.wait()
    except ConflictError:
        results.put("refused")


def test_of_several_that_take_over_at_once_exactly_one_gets_the_lock(directory):
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        for path in directory.path.glob(".lock*"):
            path.unlink()
        dead_owner(directory)
        start, answered, results = context.Event(), context.Event(), context.Queue()
        racers = [context.Process(target=_try, args=(directory.path, start, answered, results)) for _ in range(6)]
        for racer in racers:
            racer.start()
        start.set()
        outcomes = sorted(results.get() for _ in racers)
        answered.set()
        for racer in racers:
            racer.join()
        assert outcomes == ["got it"] + ["refused"] * 5


def status_of(directory, state=None, **beat):
    value = {"seq": 1, "time": 0.0, "progress": 1, **this_process().as_json(), **beat}
    directory.heartbeat_file.write_bytes(json.dumps(value).encode().ljust(SLOT_BYTES) + b" " * SLOT_BYTES)
    return Observer(directory).status(state or RunState())


def test_a_reused_process_id_is_not_a_live_worker(directory):
    assert status_of(directory, start=1).word == "lost"


def test_a_worker_from_before_a_reboot_is_lost(directory):
    assert status_of(directory, boot="another").word == "lost"


def test_a_heartbeat_from_another_host_counts_by_the_observers_clock(directory):
    now = [1000.0]
    observer = Observer(directory, monotonic=lambda: now[0])
    import time

    status_of(directory, host="elsewhere", time=time.time())
    state = RunState(opened=1.0, pid=os.getpid(), condition=Condition.RUNNING)
    assert observer.status(state).word == "running"
    now[0] += 30
    assert observer.status(state).word == "unsure"
    now[0] += 40
    assert observer.status(state).word == "lost"


def test_a_worker_that_is_alive_but_stands_still_is_shown_as_such(directory):
    import time

    now = [1000.0]
    observer = Observer(directory, monotonic=lambda: now[0])
    state = RunState(opened=1.0, pid=os.getpid(), condition=Condition.RUNNING)
    for beat in range(1, 40):
        status_of(directory, seq=beat, time=time.time())
        status = observer.status(state)
        now[0] += 4
    assert status.word == "no-progress"


def test_a_finished_run_stays_finished_when_its_process_id_is_used_again(directory):
    state = RunState(outcome=Outcome.FINISHED, pid=os.getpid())
    assert status_of(directory, state, start=1).word == "finished"


def test_checked_files_say_what_they_are_in_their_first_line(tmp_path):
    write_checked(tmp_path / "file", {"result": "x"}, Saved(b"payload"))
    header = json.loads((tmp_path / "file").read_bytes().split(b"\n")[0])
    assert header["result"] == "x"
    assert header["bytes"] == 7
