"""Cost of the dashboard, measured from outside: it runs in a pseudo-terminal as a user would run it.

    python benchmarks/dashboard.py [--events 100000] [--seconds 20]

The run has 12 sub-networks, 100,000 events in the proportions of a real run (a third of them generations with a front of 30
points), and a ranking of 2,000 rows. Then a worker emits five events a second. Targets: first screen under 1.5 s from the
shell, over 100,000 events/s when catching up, at most 5 % of a core and 20 kB/s at 120x40 while live, no output when
nothing changes, and under 120 MB.
"""

import argparse
import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUBNETWORKS, RANKING_ROWS, POINTS = 12, 2000, 30
SETTLE_SECONDS = 4.0
# A guard against hanging alone: a busy machine may take many times as long as a quiet one.
PATIENCE_SECONDS = 300.0
WIDTH, HEIGHT = 120, 40
_ESCAPES = re.compile(
    rb"\x1b\[[0-9;?<>=]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP[^\x1b]*\x1b\\|\x1b[=>()][0-9A-Za-z]?"
)
_MAIN = "from emodir_tui.cli import main; main()"


class Terminal:
    """A command in a pseudo-terminal, whose output is read continuously, as by a terminal."""

    def __init__(
        self, *arguments: str, folder: Path, environment: dict[str, str], width: int = WIDTH, height: int = HEIGHT
    ) -> None:
        self.output = bytearray()
        # The program would take the size from these two instead of the terminal.
        environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
        self.started = time.monotonic()
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, "-c", _MAIN, *arguments], environment)  # noqa: S606
        self.resize(width, height)
        self._closed = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: str) -> None:
        """Type these characters."""
        os.write(self._master, keys.encode())

    def text(self, start: int = 0) -> str:
        """Output since `start`, without escape sequences."""
        return _ESCAPES.sub(b"", bytes(self.output[start:])).decode("utf-8", "replace")

    def wait_for(self, *words: str, start: int = 0, seconds: float = PATIENCE_SECONDS) -> float:
        """Wait for all words in the output since `start`; the seconds it took. A failure shows the end of the output."""
        begun = time.monotonic()
        while not all(word in self.text(start) for word in words):
            if time.monotonic() - begun > seconds:
                raise AssertionError(f"{words} never came; the end of the output:\n{self.text(start)[-3000:]}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._closed.set()
                time.sleep(0.1)
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError(f"it did not end; the end of the output:\n{self.text()[-2000:]}")

    def hang_up(self) -> None:
        """Close the terminal, as when a connection breaks."""
        self._closed.set()
        time.sleep(0.3)
        os.close(self._master)

    def end(self) -> None:
        """End the process if it still runs."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except OSError:
            pass

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_megabytes(self) -> float:
        """Peak resident memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def _read(self) -> None:
        while not self._closed.is_set():
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if ready:
                try:
                    data = os.read(self._master, 65536)
                except OSError:
                    return
                if not data:
                    return
                self.output += data


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        long, short = Path(folder) / "runs" / "long-run", Path(folder) / "runs" / "short-run"
        size, few = write_run(long, arguments.events), max(200, arguments.events // 100)
        write_run(short, few)
        print(
            f"run              {arguments.events:,} events, {size / 1e6:.0f} MB, {SUBNETWORKS} sub-networks, {RANKING_ROWS:,} rows"
        )
        print(f"machine          {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
        with opened(short) as (terminal, worker, begun):
            terminal.press("q")
            terminal.wait(60)
        with opened(long) as (terminal, worker, took):
            print(f"first screen     {took.screen:.2f} s from the shell")
            # A short run measures start-up; the difference is the time to catch up.
            seconds, cpu = max(took.all - begun.all, 1e-3), max(took.cpu - begun.cpu, 1e-3)
            print(
                f"caught up        {took.all:.2f} s from the shell: {(arguments.events - few) / seconds:,.0f} events/s"
            )
            print(
                f"                 {cpu:.2f} s of CPU time: {(arguments.events - few) / cpu:,.0f} events/s if nothing else uses the cores"
            )
            measure(terminal, worker, arguments.seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """Seconds from the shell to the first screen and to the newest event, and the CPU time until then."""

    screen: float
    all: float
    cpu: float


@contextmanager
def opened(run: Path) -> Iterator[tuple[Terminal, "subprocess.Popen[bytes]", Opening]]:
    """A dashboard on a run with a live worker, from the moment at which it has caught up."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "EMODIR_RUNS": str(run.parent)}
    worker = subprocess.Popen([sys.executable, __file__, "--write-to", str(run)], stdin=subprocess.PIPE)
    terminal = None
    try:
        while not (run / "heartbeat").exists():
            time.sleep(0.05)
        time.sleep(0.5)
        terminal = Terminal("watch", run.name, folder=run.parent, environment=environment)
        screen = terminal.wait_for("Sub-networks")
        terminal.wait_for(f"{RANKING_ROWS} members", seconds=120)
        yield (
            terminal,
            worker,
            Opening(screen=screen, all=time.monotonic() - terminal.started, cpu=terminal.cpu_seconds()),
        )
    finally:
        worker.kill()
        worker.wait()
        if terminal is not None:
            terminal.end()


def measure(terminal: Terminal, worker: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Measure the dashboard while it is open."""
    time.sleep(SETTLE_SECONDS)
    report("live", terminal, seconds)
    print(f"memory           {terminal.memory_megabytes():.0f} MB at most")
    worker.communicate(timeout=10)
    terminal.wait_for("✓ finished")
    time.sleep(SETTLE_SECONDS)
    report("nothing new", terminal, seconds / 2)
    pressed = time.monotonic()
    terminal.press("q")
    terminal.wait(60)
    print(f"leaving          {time.monotonic() - pressed:.2f} s until the prompt is back")


def report(name: str, terminal: Terminal, seconds: float) -> None:
    cpu, sent, begun = terminal.cpu_seconds(), len(terminal.output), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    share, rate = (terminal.cpu_seconds() - cpu) / took, (len(terminal.output) - sent) / took
    print(f"{name:<16} {100 * share:.1f} % of a core, {rate / 1000:.2f} kB/s at {WIDTH}x{HEIGHT}")


def write_run(run: Path, events: int) -> int:
    """Write a run directory with this many events; the size of the events in bytes."""
    (run / "events").mkdir(parents=True)
    (run / "profile.toml").write_text('name = "long-run"\n')
    (run / "run.json").write_text(json.dumps({"schema": 1, "created": time.time()}))
    path = run / "events" / "0001.jsonl"
    with path.open("w") as file:
        for seq, event in enumerate(story(events), 1):
            file.write(
                json.dumps({"v": 1, "seq": seq, "time": round(time.time(), 3), **event}, separators=(",", ":")) + "\n"
            )
    return path.stat().st_size


def story(events: int) -> Iterator[dict[str, Any]]:
    """The events: opening, division, generations with progress and epochs between them, then the ranking."""
    yield {"kind": "run_opened", "attempt": 1, "pid": 1, "host": "host", "device": "cpu"}
    yield {"kind": "plan_made", "costs": {"search": 1000.0, "joint": 100.0}, "complexity": "macs"}
    yield {"kind": "network_divided", "subnetworks": [part(number) for number in range(1, SUBNETWORKS + 1)]}
    yield {"kind": "stage_started", "stage": "search"}
    written, generation = 5, 0
    generations = events // 3 // SUBNETWORKS
    while written < events:
        name = f"sn{generation % SUBNETWORKS + 1}"
        step = generation // SUBNETWORKS
        yield searched(name, step, generations)
        progress = {"kind": "progress", "stage": "search", "step": generation, "steps": generations * SUBNETWORKS}
        yield {**progress, "unit": "generation", "note": name}
        last = (
            {
                "kind": "epoch",
                "stage": "baseline",
                "subject": "",
                "epoch": generation % 300,
                "epochs": 300,
                "loss": 0.5,
                "accuracy": 0.9,
                "learning_rate": 0.1,
            }
            if generation % 3 == 0
            else {**progress, "unit": "generation", "note": name}
        )
        yield last
        written += 3
        generation += 1
    yield {"kind": "ranking_rows", "rows": [row(rank) for rank in range(1, RANKING_ROWS + 1)]}


def part(number: int) -> dict[str, Any]:
    groups = [{"name": f"conv{number}.{group}", "channels": 64, "kind": "inner"} for group in range(4)]
    return {
        "name": f"sn{number}",
        "layers": [group["name"] for group in groups],
        "groups": groups,
        "channels": 256,
        "macs": 10**8,
        "share": 0.08,
    }


def searched(name: str, generation: int, generations: int) -> dict[str, Any]:
    draw = random.Random(f"{name}.{generation}")  # noqa: S311  (it is no secret)
    front = [
        [round((point + draw.random()) / POINTS, 6), round((1 - point / POINTS) ** 2, 6)] for point in range(POINTS)
    ]
    return {
        "kind": "search_generation", "subnetwork": name, "round": 1, "generation": generation, "generations": generations,
        "hypervolume": 0.9 - 0.5 / (generation + 1), "front_size": POINTS, "evaluations": 32 * generation,
        "evaluations_per_second": 120.5, "front": front,
    }  # fmt: skip


def row(rank: int) -> dict[str, Any]:
    return {
        "rank": rank, "level": rank // 50, "subnetwork": f"sn{rank % SUBNETWORKS + 1}", "member": rank // SUBNETWORKS,
        "complexity_kept": 0.9, "local_impairment": rank / 4000, "global_impairment": rank / 4000, "accuracy_change": -rank / 9000, "kl": 0.01,
    }  # fmt: skip


def be_the_worker(run: Path) -> None:
    """Emit five events a second until standard input ends, then finish the run."""
    import socket

    import msgspec

    from emodir_tui.runs.event_types import Progress, RunClosed, RunOpened, SearchGeneration
    from emodir_tui.runs.events import EventWriter
    from emodir_tui.runs.heartbeat import Heartbeat
    from emodir_tui.runs.names import Outcome, StageName

    writer = EventWriter(run / "events", 2)
    tick = 0
    heartbeat = Heartbeat(run / "heartbeat", lambda: {"progress": tick, "dropped": 0, "disk_free_bytes": 10**12})
    writer.emit(RunOpened(attempt=2, pid=os.getpid(), host=socket.gethostname(), device="cpu"))
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        tick += 1
        if tick % 3 == 0:
            event = searched(f"sn{SUBNETWORKS}", 50_000 + tick // 3, 60_000)
            # More of the front changes between updates than in a real search, so the plot is always redrawn.
            event["front"] = [[x, y * (0.5 + random.random())] for x, y in event["front"]]  # noqa: S311
            event["hypervolume"] = 0.5 + 0.4 * random.random()  # noqa: S311
            writer.emit(msgspec.convert(event, SearchGeneration))
        else:
            writer.emit(
                Progress(stage=StageName.SEARCH, step=tick, steps=100_000, unit="generation", note=f"sn{SUBNETWORKS}")
            )
    writer.emit(RunClosed(outcome=Outcome.FINISHED))
    heartbeat.close()
    writer.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write-to"]:
        be_the_worker(Path(sys.argv[2]))
    else:
        main()
