"""Disturb runs in every way that happens on a server, resume them, and compare with an undisturbed run.

    python benchmarks/chaos.py [--kills 60] [--seed 0]

Prints the table of docs/reliability.md. Needs scikit-learn's digits, no GPU, and about ten minutes on two cores. Workers are
forked from a process that has already loaded torch, so that hundreds of attempts are affordable. They execute the worker's
own `run_process`.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.crash_points import MOMENTS, CrashPoint, lose_unflushed
from emodir_tui.errors import ConflictError, ExitCode
from emodir_tui.profile import Profile, load, validate
from emodir_tui.runs.control import send
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.event_types import CheckpointSaved, StageFinished
from emodir_tui.runs.events import EventReader, read_all
from emodir_tui.runs.fold import replay
from emodir_tui.runs.launch import prepare
from emodir_tui.runs.names import StageName
from emodir_tui.runs.state import RunState

TINY = {
    "name": "chaos",
    "device": "cpu",
    "data": {"source": "digits", "search_images": 60, "train_images": 240, "test_images": 100, "augment": "crop"},
    "baseline": {"epochs": 2, "batch": 60, "cache": False},
    "search": {
        "population": 8,
        "generations": 6,
        "images": 40,
        "batch": 20,
        "patience": 0,
        "rounds": 2,
        "second_generations": 3,
    },
    "constrain": {"steps": 6, "final_steps": 6, "batch": 20},
    "rank": {"images": 40, "batch": 20},
    "joint": {"population": 8, "generations": 6, "images": 40, "batch": 20, "patience": 0, "polish": 4},
    "pick": {"rules": ["knee", "max_macs=0.5"]},
    "finetune": {"epochs": 2.0, "batch": 60, "recalibration_images": 60},
    "checkpoint": {"seconds": 0.0, "keep": 3},
    "hardware": {"threads": 1},
}
# Of a worker that hangs; a busy machine may take long.
PATIENCE_SECONDS = 1200.0


@dataclass
class Tally:
    """One row of the table."""

    fault: str
    tried: int = 0
    survived: int = 0
    events_lost: int = 0
    different: int = 0
    notes: list[str] = field(default_factory=list)

    def row(self) -> str:
        return f"| {self.fault} | {self.tried} | {self.survived} | {self.events_lost} | {self.different or 'none'} |"


class Chaos:
    """Makes runs in a folder and compares them with an undisturbed one."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder = folder
        self.draws = random.Random(seed)  # noqa: S311  (no secret)
        self.profile: Profile = validate(TINY, "chaos")
        self.reference = self.new()
        assert self.wait(self.fork(self.reference)) == ExitCode.OK, (self.reference.worker_log).read_text()
        self.expected = products(self.reference)
        self.facts = facts_of(replay(read_all(self.reference.events_folder)))
        self.bytes_lost = 0

    @cached_property
    def calls(self) -> int:
        """How many file-system calls the worker of an undisturbed run makes."""
        directory, counting = self.new(), CrashPoint(self.folder / "calls")
        assert self.wait(self.fork(directory, before=lambda: counting.install(directory.path))) == ExitCode.OK
        return counting.count

    def crash(self, directory: RunDirectory, number: int) -> Path:
        """Let a worker die at this file-system call; the record of what was flushed."""
        record = self.folder / f"{directory.id}.flushed"
        record.unlink(missing_ok=True)
        point = CrashPoint(record, number, self.draws.choice(MOMENTS))
        self.wait(self.fork(directory, before=lambda: point.install(directory.path)))
        return record

    def new(self) -> RunDirectory:
        return prepare(self.profile, self.folder, "chaos")

    def fork(
        self, directory: RunDirectory, *, before: Callable[[], None] | None = None, checkpoint: str | None = None
    ) -> int:
        """The process id of a new worker, in a session of its own."""
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            os.setsid()
            log = os.open(directory.worker_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if before is not None:
                before()
            from emodir_tui.worker import run_process

            code = int(run_process(directory, checkpoint))
        finally:
            sys.stderr.flush()
            os._exit(code)

    def wait(self, pid: int, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code; the negative number of the signal if one ended the process."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise TimeoutError(f"worker {pid} did not end")

    def until(self, directory: RunDirectory, pid: int, share: float) -> bool:
        """Wait until the run has written this share of the undisturbed run's events; False if it ended before."""
        wanted = max(1, int(share * sum(1 for _ in read_all(self.reference.events_folder))))
        reader, count = EventReader(directory.events_folder), 0
        while True:
            count += len(reader.poll())
            if count >= wanted:
                time.sleep(self.draws.random() * 0.02)
                return True
            if not alive(pid):
                return False
            time.sleep(0.002)

    def disturbed(self, share: float, disturb: Callable[[int], None]) -> RunDirectory:
        """A run that was disturbed after this share of its events and whose worker has ended."""
        directory = self.new()
        pid = self.fork(directory)
        if self.until(directory, pid, share):
            disturb(pid)
        self.wait(pid)
        return directory

    def finish(self, directory: RunDirectory, tally: Tally) -> None:
        """Resume the run if it has not finished, and count it."""
        code = 0
        if replay(read_all(directory.events_folder)).outcome != "finished":
            code = self.wait(self.fork(directory))
        self.count(directory, tally, code)

    def count(self, directory: RunDirectory, tally: Tally, code: int) -> None:
        state = replay(read_all(directory.events_folder))
        tally.tried += 1
        fine = code == ExitCode.OK and state.outcome == "finished"
        tally.survived += fine
        tally.events_lost += len(self.facts - facts_of(state))
        if not fine or products(directory) != self.expected:
            tally.different += 1
            tally.notes.append(f"{directory.id}: code {code}, {state.outcome}, {state.error}")
        else:
            shutil.rmtree(directory.path)


def alive(pid: int) -> bool:
    """Whether a child still runs; it is not reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def products(directory: RunDirectory) -> dict[str, bytes]:
    """Everything that must be equal byte for byte: fronts, ranking, joint front, and the weights of the pruned networks."""
    from safetensors.torch import load_file, save

    found = {f"fronts/{path.name}": path.read_bytes() for path in sorted(directory.fronts_folder.glob("*.json"))}
    for path in sorted(directory.export_folder.glob("*.safetensors")):
        found[f"export/{path.name}"] = save(load_file(path))
    return found


def facts_of(state: RunState) -> set[tuple[object, ...]]:
    """The facts in the events of a run, as keys."""
    facts: set[tuple[object, ...]] = {("stage", name, stage.state) for name, stage in state.stages.items()}
    for part in state.subnetworks.values():
        facts |= {("hypervolume", part.name, *key, value) for key, value in part.hypervolumes.items()}
        facts.add(("front", part.name, part.front))
    facts |= {("joint", key, value) for key, value in state.joint.hypervolumes.items()}
    facts |= {("epoch", *key) for key in state.epochs}
    facts |= {("ranking", row.rank, row.subnetwork, row.member) for row in state.ranking.values()}
    facts |= {("pick", pick.name, pick.accuracy, pick.macs_kept) for pick in state.picks.values()}
    return facts


# ---- faults


def kill(chaos: Chaos, tally: Tally, share: float, times: int = 1) -> None:
    """SIGKILL at a random moment, once or several times."""
    directory = chaos.disturbed(share, lambda pid: os.kill(pid, signal.SIGKILL))
    for _ in range(times - 1):
        if replay(read_all(directory.events_folder)).outcome == "finished":
            break
        pid = chaos.fork(directory)
        time.sleep(0.3 + chaos.draws.random())
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
        chaos.wait(pid)
    chaos.finish(directory, tally)


def crash_point(chaos: Chaos, tally: Tally, share: float) -> None:
    """Killed before, within or after a file-system call; sometimes again in the first calls of the resume."""
    directory = chaos.new()
    chaos.crash(directory, 1 + int(share * chaos.calls))
    if chaos.draws.random() < 0.4:
        chaos.crash(directory, 1 + chaos.draws.randrange(60))
    chaos.finish(directory, tally)


def power_cut(chaos: Chaos, tally: Tally, share: float) -> None:
    """Killed at a file-system call; then all that was not flushed to the disk is lost."""
    directory = chaos.new()
    record = chaos.crash(directory, 1 + int(share * chaos.calls))
    chaos.bytes_lost += lose_unflushed(directory.path, record)
    chaos.finish(directory, tally)


def polite(chaos: Chaos, tally: Tally, share: float, number: signal.Signals) -> None:
    """TERM or INT: the worker saves and exits with 75, unless it has just finished."""
    directory = chaos.new()
    pid = chaos.fork(directory)
    chaos.until(directory, pid, share)
    if alive(pid):
        os.kill(pid, number)
    code = chaos.wait(pid)
    if code not in (ExitCode.STOPPED, ExitCode.OK):
        tally.notes.append(f"{number.name}: exit code {code}")
    chaos.finish(directory, tally)


def hang_up(chaos: Chaos, tally: Tally, share: float) -> None:
    """HUP: the worker ignores it."""
    directory = chaos.new()
    pid = chaos.fork(directory)
    chaos.until(directory, pid, share)
    if alive(pid):
        os.kill(pid, signal.SIGHUP)
    chaos.count(directory, tally, chaos.wait(pid))


def closed_terminal(chaos: Chaos, tally: Tally) -> None:
    """The terminal of `emodir run` is closed; the run continues."""
    import pty
    import subprocess

    runs = chaos.folder / f"terminal-{tally.tried}"
    profile = chaos.folder / "chaos.toml"
    profile.write_bytes(chaos.reference.profile_file.read_bytes())
    master, slave = pty.openpty()
    command = [
        sys.executable,
        "-c",
        "from emodir_tui.cli import main; main()",
        "run",
        str(profile),
        "--no-tui",
        "--runs-dir",
        str(runs),
    ]
    follower = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(runs.glob("*/events/*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.close(master)
    follower.send_signal(signal.SIGHUP)
    (path,) = runs.iterdir()
    directory = RunDirectory(path)
    while replay(read_all(directory.events_folder)).outcome is None and time.monotonic() < deadline:
        time.sleep(0.1)
    follower.wait()
    chaos.count(directory, tally, 0)


def damage(chaos: Chaos, tally: Tally, share: float, what: str) -> None:
    """Killed; then the newest checkpoint or result is damaged."""
    directory = chaos.disturbed(share, lambda pid: os.kill(pid, signal.SIGKILL))
    folder = directory.results_folder if what == "result" else directory.checkpoints_folder
    files = sorted(folder.glob("*.*"), key=lambda path: path.stat().st_mtime)
    if files:
        content = bytearray(files[-1].read_bytes())
        if what == "truncated":
            content = content[: int(len(content) * chaos.draws.random())]
        else:
            for _ in range(5):
                content[chaos.draws.randrange(len(content))] ^= 1 << chaos.draws.randrange(8)
        files[-1].write_bytes(content)
    chaos.finish(directory, tally)


def torn_event(chaos: Chaos, tally: Tally, share: float) -> None:
    """Killed while writing an event, so its line has no end."""
    directory = chaos.disturbed(share, lambda pid: os.kill(pid, signal.SIGKILL))
    segment = sorted(directory.events_folder.glob("*.jsonl"))[-1]
    with segment.open("ab") as file:
        file.write(b'{"v":1,"seq":999,"time":1.0,"kind":"search_gener')
    chaos.finish(directory, tally)


def full_disk(chaos: Chaos, tally: Tally, share: float) -> None:
    """No file may grow beyond 4 kB, as on a full disk: the run pauses, and continues when there is space again."""
    directory = chaos.new()
    pid = chaos.fork(directory, before=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN) and None)
    chaos.until(directory, pid, share)
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    time.sleep(1.5)
    if alive(pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    chaos.count(directory, tally, chaos.wait(pid))


def small_disk(chaos: Chaos, tally: Tally) -> None:
    """A separate file system (tmpfs) that is full when the search starts; needs root."""
    place = chaos.folder / f"small-{tally.tried}"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o size=24m emodir {place} 2>/dev/null"):  # noqa: S605
        raise PermissionError("mount")
    try:
        directory = prepare(chaos.profile, place, "chaos")
        pid = chaos.fork(directory)
        chaos.until(directory, pid, 0.1)
        filler = place / "filler"
        try:
            with filler.open("wb") as file:
                while True:
                    file.write(b"\0" * 65536)
        except OSError:
            pass
        time.sleep(3.0)
        filler.unlink()
        chaos.count(directory, tally, chaos.wait(pid))
    finally:
        os.system(f"umount -l {place}")  # noqa: S605


def removed_lock(chaos: Chaos, tally: Tally, share: float) -> None:
    """The lock of a live worker is removed; a second worker is still refused."""
    directory = chaos.new()
    pid = chaos.fork(directory)
    chaos.until(directory, pid, share)
    directory.lock_file.unlink(missing_ok=True)
    if alive(pid):
        second = chaos.wait(chaos.fork(directory))
        if second != ExitCode.CONFLICT and replay(read_all(directory.events_folder)).outcome != "finished":
            tally.notes.append(f"a second worker ended with {second}")
    chaos.count(directory, tally, chaos.wait(pid))


def two_resumes(chaos: Chaos, tally: Tally, share: float) -> None:
    """Two resumes at the same time: one continues, the other is refused."""
    directory = chaos.disturbed(share, lambda pid: os.kill(pid, signal.SIGKILL))
    if replay(read_all(directory.events_folder)).outcome == "finished":
        chaos.count(directory, tally, 0)
        return
    codes = sorted(chaos.wait(pid) for pid in [chaos.fork(directory), chaos.fork(directory)])
    if codes != [ExitCode.OK, ExitCode.CONFLICT]:
        tally.notes.append(f"exit codes {codes}")
    chaos.count(directory, tally, min(codes))


def five_watchers(chaos: Chaos, tally: Tally) -> None:
    """Five readers tail the run at different paces; each sees every event."""
    directory = chaos.new()
    pid = chaos.fork(directory)
    readers = [EventReader(directory.events_folder) for _ in range(5)]
    counts = [0] * 5
    turn = 0
    while alive(pid):
        turn += 1
        for number, reader in enumerate(readers):
            if turn % (number + 1) == 0:
                counts[number] += len(reader.poll(limit=1 << (10 + number)))
        time.sleep(0.005)
    code = chaos.wait(pid)
    total = sum(1 for _ in read_all(directory.events_folder))
    for number, reader in enumerate(readers):
        while events := reader.poll():
            counts[number] += len(events)
    if counts != [total] * 5:
        tally.notes.append(f"readers saw {counts} of {total}")
        tally.events_lost += sum(total - count for count in counts)
    chaos.count(directory, tally, code)


def clock_back(chaos: Chaos, tally: Tally, share: float) -> None:
    """The clock is set back by an hour between two attempts."""
    directory = chaos.disturbed(share, lambda pid: os.kill(pid, signal.SIGKILL))
    real = time.time

    def set_back() -> None:
        time.time = lambda: real() - 3600.0

    if replay(read_all(directory.events_folder)).outcome == "finished":
        chaos.count(directory, tally, 0)
        return
    chaos.count(directory, tally, chaos.wait(chaos.fork(directory, before=set_back)))


def controls(chaos: Chaos, tally: Tally, share: float) -> None:
    """Save, pause, continue and stop in turn, then resume."""
    directory = chaos.new()
    pid = chaos.fork(directory)
    chaos.until(directory, pid, share)
    for command in ("save", "pause", "continue", "stop"):
        try:
            send(directory, command)
        except ConflictError as error:
            tally.notes.append(error.message)
        time.sleep(0.1)
    chaos.wait(pid)
    chaos.finish(directory, tally)


def go_back(chaos: Chaos, tally: Tally, share: float) -> None:
    """Killed, then resumed from the oldest checkpoint that is kept; everything after it is moved aside."""
    directory = chaos.disturbed(share, lambda pid: os.kill(pid, signal.SIGKILL))
    checkpoints = sorted(path.stem for path in directory.checkpoints_folder.glob("*.checkpoint"))
    if not checkpoints:
        chaos.finish(directory, tally)
        return
    chaos.count(directory, tally, chaos.wait(chaos.fork(directory, checkpoint=checkpoints[0])))


def shares(chaos: Chaos, count: int) -> Iterator[float]:
    """Jittered moments spread over the whole run, so that every stage is disturbed."""
    for number in range(count):
        yield (number + chaos.draws.random()) / count * 0.97


@contextmanager
def chaos_in(folder: Path | None, seed: int) -> Iterator[Chaos]:
    """Chaos in a folder, or in a temporary one."""
    import torch

    import emodir_tui.stages.finetune
    import emodir_tui.stages.joint
    import emodir_tui.tensorboard  # noqa: F401  (loaded before the workers are forked)

    torch.set_num_threads(1)
    if folder is not None:
        yield Chaos(folder, seed)
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Chaos(Path(temporary), seed)


def all_faults(chaos: Chaos, kills: int, others: int) -> list[Tally]:
    """Try every fault, with `kills` kills and `others` of each other kind; the rows of the table."""
    tallies: list[Tally] = []

    def row(fault: str, attempts: list[Callable[[Tally], None]]) -> None:
        tally = Tally(fault)
        for attempt in attempts:
            try:
                attempt(tally)
            except PermissionError as error:
                tally.notes.append(f"not tried: {error}")
        tallies.append(tally)
        print(tally.row(), *(f"\n    {note}" for note in tally.notes), flush=True)

    row("SIGKILL at a random moment", [lambda t, s=s: kill(chaos, t, s) for s in shares(chaos, kills)])  # type: ignore[misc]
    row("SIGKILL several times", [lambda t, s=s: kill(chaos, t, s, 4) for s in shares(chaos, max(2, kills // 6))])  # type: ignore[misc]
    row("killed in a file-system call", [lambda t, s=s: crash_point(chaos, t, s) for s in shares(chaos, kills)])  # type: ignore[misc]
    row(
        "power cut: what was not flushed is lost", [lambda t, s=s: power_cut(chaos, t, s) for s in shares(chaos, kills)]
    )  # type: ignore[misc]
    row("TERM", [lambda t, s=s: polite(chaos, t, s, signal.SIGTERM) for s in shares(chaos, others)])  # type: ignore[misc]
    row("INT", [lambda t, s=s: polite(chaos, t, s, signal.SIGINT) for s in shares(chaos, others)])  # type: ignore[misc]
    row("HUP", [lambda t, s=s: hang_up(chaos, t, s) for s in shares(chaos, others)])  # type: ignore[misc]
    row("terminal closed", [lambda t: closed_terminal(chaos, t)] * max(1, others // 3))
    row("newest checkpoint truncated", [lambda t, s=s: damage(chaos, t, s, "truncated") for s in shares(chaos, others)])  # type: ignore[misc]
    row(
        "bits flipped in the newest checkpoint",
        [lambda t, s=s: damage(chaos, t, s, "flipped") for s in shares(chaos, others)],
    )  # type: ignore[misc]
    row(
        "bits flipped in the newest result",
        [lambda t, s=s: damage(chaos, t, s, "result") for s in shares(chaos, others)],
    )  # type: ignore[misc]
    row("event line torn", [lambda t, s=s: torn_event(chaos, t, s) for s in shares(chaos, others)])  # type: ignore[misc]
    row("no file may grow (as on a full disk)", [lambda t, s=s: full_disk(chaos, t, s) for s in shares(chaos, others)])  # type: ignore[misc]
    row("file system full", [lambda t: small_disk(chaos, t)] * max(1, others // 3))
    row(
        "lock removed under a live worker",
        [lambda t, s=s: removed_lock(chaos, t, s * 0.6) for s in shares(chaos, others)],
    )  # type: ignore[misc]
    row("two resumes at once", [lambda t, s=s: two_resumes(chaos, t, s) for s in shares(chaos, others)])  # type: ignore[misc]
    row("five watchers", [lambda t: five_watchers(chaos, t)] * max(1, others // 3))
    row("clock set back by an hour", [lambda t, s=s: clock_back(chaos, t, s) for s in shares(chaos, others)])  # type: ignore[misc]
    row("save, pause, continue, stop", [lambda t, s=s: controls(chaos, t, s) for s in shares(chaos, others)])  # type: ignore[misc]
    row("resume from the oldest checkpoint", [lambda t, s=s: go_back(chaos, t, s) for s in shares(chaos, others)])  # type: ignore[misc]
    return tallies


def checkpoint_cost(chaos: Chaos) -> str:
    """The cost of checkpoints in a real search: profiles/digits.toml with a short baseline."""
    path = Path(__file__).parent.parent / "profiles" / "digits.toml"
    directory = prepare(load(path, ["baseline.epochs=1", "checkpoint.seconds=2.0"]), chaos.folder, "digits")
    chaos.wait(chaos.fork(directory), seconds=600)
    spent = total = count = largest = 0.0
    for event in read_all(directory.events_folder):
        if isinstance(event, CheckpointSaved) and event.stage in (StageName.SEARCH, StageName.JOINT):
            spent, count, largest = spent + event.seconds, count + 1, max(largest, event.bytes)
        if isinstance(event, StageFinished) and event.stage in (StageName.SEARCH, StageName.JOINT):
            total += event.seconds
    share = f"{100 * spent / total:.3f} % of the searches' time"
    return f"profiles/digits.toml, a checkpoint each 2 s: {count:.0f} checkpoints of at most {largest / 1e3:.0f} kB took {share}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--others", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with chaos_in(None, arguments.seed) as chaos:
        print("| fault | tried | survived | events lost | difference in results |\n|---|---|---|---|---|")
        tallies = all_faults(chaos, arguments.kills, arguments.others)
        stages = {
            name for name in StageName if replay(read_all(chaos.reference.events_folder)).stages[name].state == "done"
        }
        print(f"\nundisturbed run: {json.dumps(sorted(stages))}, {len(chaos.expected)} products compared byte for byte")
        print(f"power cuts lost {chaos.bytes_lost} bytes that had been written")
        print(checkpoint_cost(chaos))
    sys.exit(any(tally.different or tally.survived < tally.tried for tally in tallies))


if __name__ == "__main__":
    main()
