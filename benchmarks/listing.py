"""Cost of the commands that read runs: CPU time and peak memory of whole processes.

    python benchmarks/listing.py [--runs 200] [--events 1000000] [--line 400]

`emodir runs` over copies of a finished run, and `emodir show` and `emodir runs` on one long log, each at first and again:
at first the log is read and a summary is kept, later the summary is read. Then a log with one line of many megabytes, and
one that is a hole of as many gigabytes. Each figure is also given as a ratio to the same command over no runs.
Targets: under 0.5 s of CPU for 200 finished runs that were listed before, memory that does not grow with the log.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dashboard import write_run

# About as many as a quick run of the digits has.
EVENTS_OF_A_RUN = 700


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a process took: seconds of CPU time, and peak resident memory in MB."""

    cpu: float
    memory: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--line", type=int, default=400, help="Megabytes of the long line, gigabytes of the hole.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "none").mkdir()
        # The first process also compiles what is not compiled yet.
        cost_of(work / "none", "runs")
        base = cost_of(work / "none", "runs")
        report("no runs", base, base)
        measure_many(work / "many", arguments.runs, base)
        measure_long(work / "long", arguments.events, base)
        measure_hostile(work / "hostile", arguments.line, base)


def measure_many(folder: Path, runs: int, base: Cost) -> None:
    """Finished runs in one folder."""
    finished_run(folder / "run-0000", EVENTS_OF_A_RUN)
    for number in range(1, runs):
        shutil.copytree(folder / "run-0000", folder / f"run-{number:04d}")
    report(f"{runs:,} runs, at first", cost_of(folder, "runs"), base)
    report(f"{runs:,} runs, again", cost_of(folder, "runs"), base)


def measure_long(folder: Path, events: int, base: Cost) -> None:
    """One finished run with many events."""
    size = finished_run(folder / "run-0000", events)
    print(f"one run of {events:,} events, {size / 1e6:.0f} MB:")
    report("  show", cost_of(folder, "show", "run-0000"), base)
    report("  runs, at first", cost_of(folder, "runs"), base)
    report("  runs, again", cost_of(folder, "runs"), base)


def measure_hostile(folder: Path, size: int, base: Cost) -> None:
    """A line without an event, and a segment without anything."""
    for name in ("line", "hole"):
        finished_run(folder / name / "run-0000", EVENTS_OF_A_RUN)
        with (folder / name / "run-0000" / "events" / "0003.jsonl").open("wb") as file:
            if name == "line":
                for _ in range(size):
                    file.write(b"x" * 1_000_000)
            else:
                file.truncate(size * 10**9)
    report(f"a line of {size} MB", cost_of(folder / "line", "show", "run-0000"), base)
    report(f"a hole of {size} GB", cost_of(folder / "hole", "show", "run-0000"), base)


def finished_run(run: Path, events: int) -> int:
    """Write a run that has finished; the size of its events in bytes."""
    size = write_run(run, events)
    opened = {"kind": "run_opened", "attempt": 2, "pid": 1, "host": "host", "device": "cpu"}
    closed = {"kind": "run_closed", "outcome": "finished"}
    with (run / "events" / "0002.jsonl").open("w") as file:
        for seq, event in enumerate((opened, closed), 1):
            file.write(json.dumps({"v": 1, "seq": seq, "time": 1.8e9 + seq, **event}) + "\n")
    return size


def cost_of(folder: Path, *arguments: str) -> Cost:
    """What a command takes that reads the runs in this folder."""
    command = [sys.executable, "-m", "emodir_tui", *arguments, "--runs-dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} exits with {process.returncode}")
    return Cost(cpu=usage.ru_utime + usage.ru_stime, memory=usage.ru_maxrss / 1024)


def report(name: str, cost: Cost, base: Cost) -> None:
    """Print one line."""
    print(f"{name:<26} {cost.cpu:6.2f} s of CPU, {cost.cpu / base.cpu:6.1f} times none, {cost.memory:5.0f} MB at most")


if __name__ == "__main__":
    main()
