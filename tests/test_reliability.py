"""Runs that nothing can lose: each fault once or a few times; `benchmarks/chaos.py` does the same at length."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import chaos as faults
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.events import read_all
from emodir_tui.runs.fold import replay
from emodir_tui.runs.picks import add_pick, extra_picks
from emodir_tui.runs.status import Observer
from tests.support.runner import Emodir
from tests.support.waiting import wait_for

full = pytest.mark.full


@pytest.fixture(scope="module")
def chaos(tmp_path_factory):
    with faults.chaos_in(tmp_path_factory.mktemp("chaos"), seed=7) as made:
        yield made


def check(tally, lost=0):
    assert (tally.survived, tally.different, tally.notes) == (tally.tried, 0, [])
    assert tally.events_lost <= lost


@pytest.mark.parametrize(
    "share", [0.35, *(pytest.param(share, marks=full) for share in (0.02, 0.2, 0.5, 0.6, 0.7, 0.8, 0.93))]
)
def test_a_killed_and_resumed_run_ends_byte_for_byte_as_if_never_interrupted(chaos, share):
    tally = faults.Tally("kill")
    faults.kill(chaos, tally, share)
    check(tally)


@full
def test_a_run_killed_again_and_again_ends_the_same(chaos):
    tally = faults.Tally("kill")
    faults.kill(chaos, tally, 0.3, times=3)
    check(tally)


FAULTS = {
    "TERM": lambda chaos, tally: faults.polite(chaos, tally, 0.3, signal.SIGTERM),
    "INT": lambda chaos, tally: faults.polite(chaos, tally, 0.6, signal.SIGINT),
    "crash point": lambda chaos, tally: faults.crash_point(chaos, tally, 0.5),
    "power cut": lambda chaos, tally: faults.power_cut(chaos, tally, 0.8),
    "HUP": lambda chaos, tally: faults.hang_up(chaos, tally, 0.2),
    "truncated": lambda chaos, tally: faults.damage(chaos, tally, 0.5, "truncated"),
    "flipped": lambda chaos, tally: faults.damage(chaos, tally, 0.3, "flipped"),
    "result": lambda chaos, tally: faults.damage(chaos, tally, 0.7, "result"),
    "torn event": lambda chaos, tally: faults.torn_event(chaos, tally, 0.4),
    "full disk": lambda chaos, tally: faults.full_disk(chaos, tally, 0.3),
    "lock removed": lambda chaos, tally: faults.removed_lock(chaos, tally, 0.1),
    "two resumes": lambda chaos, tally: faults.two_resumes(chaos, tally, 0.4),
    "five watchers": lambda chaos, tally: faults.five_watchers(chaos, tally),
    "clock back": lambda chaos, tally: faults.clock_back(chaos, tally, 0.5),
    "go back": lambda chaos, tally: faults.go_back(chaos, tally, 0.5),
}


@pytest.mark.parametrize("fault", [pytest.param(name, marks=[] if name == "truncated" else full) for name in FAULTS])
def test_every_fault_is_survived_with_the_same_results(chaos, fault):
    tally = faults.Tally(fault)
    FAULTS[fault](chaos, tally)
    check(tally)


def long_run(emodir, *more):
    """A run whose first search takes long enough to talk to it; its directory."""
    result = emodir(
        "run", "tiny.toml", "--detach", "--set", "search.generations=100000", "--set", "checkpoint.seconds=1000", *more
    )
    assert result.returncode == 0, result.stderr
    return RunDirectory(emodir.folder / "runs" / result.stdout.strip())


def state_of(directory):
    return replay(read_all(directory.events_folder))


def generation_of(directory):
    parts = state_of(directory).subnetworks
    return parts["sn1"].generation if parts else 0


@contextmanager
def searching(emodir):
    """A run in its first search; its worker is gone afterwards."""
    directory = long_run(emodir)
    wait_for(lambda: generation_of(directory) > 0)
    yield emodir, directory
    if Observer(directory).status(state_of(directory)).is_live:
        os.kill(state_of(directory).pid, signal.SIGKILL)


@pytest.fixture
def running(emodir):
    with searching(emodir) as made:
        yield made


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """The same for tests that leave it running."""
    with searching(Emodir(tmp_path_factory.mktemp("live"))) as made:
        yield made


def test_a_watcher_without_a_terminal_is_told_to_leave_and_the_run_goes_on(live):
    emodir, directory = live
    watcher = emodir.popen("watch", directory.id, "--no-tui", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert watcher.stderr is not None
    with watcher.stderr as said:
        said.readline()
        watcher.send_signal(signal.SIGINT)
        reported = said.read().decode()
    assert watcher.wait() == 6
    assert "is still running" in reported
    stood = generation_of(directory)
    wait_for(lambda: generation_of(directory) > stood)


@full
def test_a_scheme_is_asked_of_a_live_worker_and_a_stopped_run_goes_on_for_it(emodir):
    long = ("--set", "finetune.epochs=100000", "--set", "pick.rules=knee")
    result = emodir("run", "tiny.toml", "--detach", *long)
    directory = RunDirectory(emodir.folder / "runs" / result.stdout.strip())
    try:
        assert emodir("realise", directory.id, "--kept", "0.5").returncode == 4
        wait_for(lambda: state_of(directory).picks)
        picked = {pick.scheme for pick in state_of(directory).picks.values()}
        first, second = [s.scheme for s in state_of(directory).joint.schemes if s.scheme not in picked][:2]
        asked = emodir("realise", directory.id, "--scheme", str(first))
        assert asked.returncode == 0, asked.stderr
        assert f"scheme {first} will be realised too" in asked.stdout
        assert emodir("stop", directory.id, "--now").returncode == 0
        wait_for(lambda: not Observer(directory).status(state_of(directory)).is_live)
        again = emodir("realise", directory.id, "--scheme", str(second), "--detach")
        assert again.returncode == 0, again.stderr
        wait_for(lambda: {first, second} <= {pick.scheme for pick in state_of(directory).picks.values()})
    finally:
        if Observer(directory).status(state_of(directory)).is_live:
            os.kill(state_of(directory).pid, signal.SIGKILL)


def test_save_pause_continue_stop_and_resume_are_each_answered(running):
    emodir, directory = running
    run = directory.id
    saved = emodir("save", run)
    assert saved.stdout.startswith("save done: ck-"), saved.stderr
    assert emodir("continue", run).returncode == 4
    assert emodir("pause", run).stdout.startswith("pause done")
    assert json.loads(emodir("show", run, "--json").stdout)["state"] == "paused"
    stood = generation_of(directory)
    time.sleep(0.5)
    assert generation_of(directory) == stood
    assert emodir("pause", run).returncode == 4
    assert emodir("continue", run).stdout.startswith("continue done")
    wait_for(lambda: generation_of(directory) > stood)
    assert emodir("resume", run).returncode == 4
    stopped = emodir("stop", run)
    assert stopped.stdout.startswith("stop done: ck-")
    wait_for(lambda: json.loads(emodir("show", run, "--json").stdout)["state"] == "stopped")
    before = generation_of(directory)
    assert emodir("save", run).returncode == 4
    resumed = emodir("resume", run, "--detach")
    assert resumed.returncode == 0
    assert f"step {before}" in resumed.stderr
    wait_for(lambda: generation_of(directory) > before)
    assert emodir("stop", run, "--now").stdout.startswith("stop-now done")
    wait_for(lambda: state_of(directory).outcome == "stopped")


def test_a_killed_worker_is_seen_as_lost_and_what_a_resume_starts_from_is_said(running):
    emodir, directory = running
    emodir("save", directory.id)
    os.kill(state_of(directory).pid, signal.SIGKILL)
    wait_for(lambda: json.loads(emodir("runs", "--json").stdout)["runs"][0]["state"] == "lost")
    assert emodir("stop", directory.id).returncode == 5
    resumed = emodir("resume", directory.id, "--detach")
    assert "from ck-" in resumed.stderr
    assert "of work is repeated" in resumed.stderr
    assert emodir("resume", directory.id, "--from", "ck-9999").returncode in (3, 4)


def test_usr1_saves_and_a_paused_run_can_be_terminated(running):
    emodir, directory = running
    pid = state_of(directory).pid
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: any(item.reason == "SIGUSR1" for item in state_of(directory).checkpoints.values()))
    emodir("pause", directory.id)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: state_of(directory).outcome == "stopped")


def test_requests_that_are_no_requests_are_refused_or_named_and_change_nothing(live):
    _, directory = live
    from emodir_tui.runs.control import send

    bad = send(directory, "explode")
    odd = send(directory, "realise", scheme="all")
    (directory.control_folder / "x.json").write_text("[1, 2")
    wait_for(lambda: {bad, odd} <= set(state_of(directory).controls))
    assert {state_of(directory).controls[item].state for item in (bad, odd)} == {"refused"}
    wait_for(lambda: any("x.json is not a request" in message.text for message in state_of(directory).messages))


def test_a_job_that_is_terminated_stops_its_run_and_says_so_by_exit_code(emodir):
    follower = emodir.popen(
        "run",
        "tiny.toml",
        "--no-tui",
        "--set",
        "search.generations=100000",
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_for(
        lambda: list((emodir.folder / "runs").glob("*/fronts")) or list((emodir.folder / "runs").glob("*/checkpoints"))
    )
    follower.terminate()
    _, said = follower.communicate()
    assert follower.returncode == 75, said
    assert b"emodir resume" in said


def copy_of(finished, folder):
    """The finished run in a folder of runs of its own; (its directory, the arguments that name it)."""
    emodir, run, _ = finished
    shutil.copytree(emodir.folder / "runs" / run, folder / run)
    return RunDirectory(folder / run), (run, "--runs-dir", str(folder))


def free_scheme(directory):
    """A scheme of the joint front that no pick has."""
    taken = {pick.scheme for pick in state_of(directory).picks.values()}
    return next(number for number in range(5) if number not in taken)


def test_in_the_foreground_own_code_prints_beside_the_result_and_a_start_that_fails_leaves_nothing(finished, tmp_path):
    emodir, _, _ = finished
    directory, names = copy_of(finished, tmp_path)
    (emodir.folder / "own.py").write_text(
        "from emodir_tui.nets.sources.models import load_model\n\n"
        "def make(classes):\n    print('OWN')\n    return load_model('digits-resnet', '', classes)\n"
    )
    text, scheme = directory.profile_file.read_text(), free_scheme(directory)
    directory.profile_file.write_text(text.replace('"digits-resnet"', '"gone:make"'))
    # Both in processes that end: a worker whose process lives on would be a live run.
    failed = emodir.process("realise", *names, "--scheme", str(scheme), "--foreground")
    assert failed.returncode == 2, failed.stderr
    assert "module 'gone' cannot be imported" in failed.stderr
    assert extra_picks(directory) == []
    directory.profile_file.write_text(text.replace('"digits-resnet"', '"own:make"'))
    made = emodir.process("realise", *names, "--scheme", str(scheme), "--foreground")
    assert made.returncode == 0, made.stderr
    assert "OWN" in made.stderr
    assert "OWN" not in made.stdout
    assert f"scheme-{scheme}" in made.stdout
    assert extra_picks(directory) == [scheme]


def test_a_worker_that_dies_at_its_start_is_shown_with_its_last_lines(emodir, monkeypatch):
    folder = emodir.folder / "broken"
    folder.mkdir()
    (folder / "torch.py").write_text("raise SystemExit('no torch here')")
    emodir.environment["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    result = emodir("run", "tiny.toml", "--detach")
    assert result.returncode == 5
    assert "no torch here" in result.stderr
    assert result.stdout == ""


def test_one_more_scheme_of_a_finished_run_is_realised_by_a_resume_and_the_others_stay(finished, tmp_path):
    emodir, _, _ = finished
    directory, names = copy_of(finished, tmp_path)
    before = (directory.export_folder / "knee.safetensors").read_bytes()
    scheme = free_scheme(directory)
    assert add_pick(directory, scheme)
    result = emodir("resume", *names, "--no-tui")
    assert result.returncode == 0, result.stderr
    assert (directory.export_folder / f"scheme-{scheme}.safetensors").is_file()
    assert (directory.export_folder / "knee.safetensors").read_bytes() == before
    assert f"scheme-{scheme}" in result.stdout


def test_a_scheme_asked_for_until_the_very_end_is_realised_by_the_same_worker(emodir, monkeypatch):
    from emodir_tui import snapshot, worker
    from emodir_tui.profile import Profile
    from emodir_tui.runs.control import send
    from emodir_tui.runs.run import Run

    directory = RunDirectory(emodir.folder)
    asked = []

    def prune(run, bench):
        # As the last thing that this pass does: no safe point follows.
        if len(asked) < 2:
            asked.append(send(directory, "realise", scheme=len(asked)))

    monkeypatch.setattr(worker, "prune", prune)
    forgotten = []
    with Run(directory, Profile(), snapshot) as run:
        monkeypatch.setattr(run, "forget", lambda *names: forgotten.append(names))
        worker._prune_for_all_picks(run, None)
    assert forgotten == [("realise", "finetune")] * 2
    assert [state_of(directory).controls[request].state for request in asked] == ["done", "done"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_another_users_request_is_ignored_and_logged(live):
    emodir, directory = live
    from emodir_tui.runs.control import send

    hidden = Path(emodir.folder / "elsewhere")
    hidden.mkdir()
    request = send(RunDirectory(hidden), "stop")
    path = next((hidden / "control").iterdir())
    os.chown(path, 12345, 12345)
    directory.control_folder.mkdir(exist_ok=True)
    path.rename(directory.control_folder / path.name)
    wait_for(lambda: any("another user" in message.text for message in state_of(directory).messages))
    assert request not in state_of(directory).controls
    assert Observer(directory).status(state_of(directory)).is_live
