"""Damage every kind of file that emodir reads, and read it with the real command.

    python benchmarks/fuzz.py [--cases 10000] [--seed 0] [--kinds profile weights …]

Prints a table and exits with 1 on any traceback or hang; the files of such cases are kept. Needs scikit-learn's digits, no
GPU, and for 10,000 cases about 20 minutes on one core. Each case is a process, forked from one that has loaded torch. Its
memory is limited, and a hang is more than 5 s of computing, or 30 s without an end.
"""

import argparse
import gc
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import emodir_tui.problems.reach
import emodir_tui.reports.check
import emodir_tui.reports.verify
import emodir_tui.stages.finetune
import emodir_tui.stages.joint
import emodir_tui.tensorboard  # noqa: F401  (loaded before the cases are forked)
from benchmarks.chaos import TINY
from emodir_tui.cli import main as emodir
from emodir_tui.nets.sources.models import load_model
from emodir_tui.profile import dump, validate
from emodir_tui.runs.directory import RunDirectory
from emodir_tui.runs.launch import prepare
from emodir_tui.worker import run_process

MEMORY_BYTES = 2 << 30
COMPUTING_SECONDS = 5.0
WAITING_SECONDS = 30.0
TRACEBACK = 70
NASTY = [
    b"", b"\x00", b"\xff\xfe", b"\n", b"nan", b"-1", b"1e400", b"99999999999999999999", b"null", b"[]", b"{}", b'"', b"[" * 5000,
    b"\x1b[2J", "\u202e".encode(), b"\xed\xa0\x80", b"../../..", b"os:abort", b"/dev/zero", b"true", b"0", b"65536",
]  # fmt: skip


@dataclass
class Row:
    """A row of the table."""

    kind: str
    cases: int = 0
    tracebacks: int = 0
    hangs: int = 0
    peak_bytes: int = 0
    codes: Counter[int] = field(default_factory=Counter)

    def __str__(self) -> str:
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.codes.items()))
        megabytes = f"{self.peak_bytes / 1e6:.0f} MB"
        return f"| {self.kind} | {self.cases} | {self.tracebacks} | {self.hangs} | {megabytes} | {codes} |"


def mutated(content: bytes, draws: random.Random) -> bytes:
    """The content with one to four damages, most of them near the start, where headers are."""
    data = bytearray(content)
    for _ in range(draws.choice([1, 1, 1, 2, 4])):
        size = max(1, len(data))
        at = draws.randrange(min(size, 2000) if draws.random() < 0.7 else size)
        match draws.randrange(7):
            case 0:
                data[at : at + 1] = bytes([draws.randrange(256)])
            case 1:
                if data:
                    data[min(at, len(data) - 1)] ^= 1 << draws.randrange(8)
            case 2:
                del data[at : at + draws.randint(1, 40)]
            case 3:
                data[at:at] = draws.choice(NASTY)
            case 4:
                word = draws.choice(NASTY)
                data[at : at + max(1, len(word))] = word
            case 5:
                data[at:at] = data[at : at + draws.randint(1, 200)]
            case 6:
                if draws.random() < 0.3:
                    del data[at:]
    return bytes(data)


def replaced(path: Path, draws: random.Random) -> None:
    """Put something that is no regular file, or an odd one, in the place of a file."""
    path.unlink()
    match draws.randrange(6):
        case 0:
            os.mkfifo(path)
        case 1:
            path.symlink_to(path.name)
        case 2:
            path.symlink_to("/dev/zero")
        case 3:
            path.mkdir()
        case 4:
            with path.open("wb") as file:
                file.truncate(1 << 33)
        case 5:
            path.write_bytes(b"")


class Seeds:
    """The undamaged files of each kind, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draws = np.random.default_rng(0)
        weights = load_model("digits-resnet", "", 10).state_dict()
        (folder / "weights").mkdir()
        torch.save(weights, folder / "weights" / "x.pt")
        torch.save(weights, folder / "weights" / "old.pt", _use_new_zipfile_serialization=False)
        save_file(weights, folder / "weights" / "x.safetensors")
        pixels, labels = draws.integers(0, 255, (300, 8, 8), dtype=np.uint8), np.arange(300) % 10
        arrays = {"train_images": pixels, "train_labels": labels, "test_images": pixels, "test_labels": labels}
        (folder / "arrays").mkdir()
        np.savez(folder / "arrays" / "plain.npz", **arrays)
        np.savez_compressed(folder / "arrays" / "packed.npz", **arrays)
        for number in range(60):
            place = folder / "images" / ("train", "test")[number % 2] / "abcdefghij"[number // 2 % 10]
            place.mkdir(parents=True, exist_ok=True)
            kind = ("png", "jpg", "bmp", "webp", "ppm", "tif")[number % 6]
            Image.fromarray(draws.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(place / f"{number}.{kind}")
        self.run = prepare(validate(TINY, "fuzz"), folder / "runs", "fuzz")
        (folder / "profile.toml").write_text(dump(validate(TINY, "fuzz")))
        if not (pid := os.fork()):
            os._exit(int(run_process(self.run)))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        self.export = next(self.run.export_folder.glob("*.safetensors"))


def profile(seeds: Seeds, place: Path, draws: random.Random) -> list[str]:
    (place / "x.toml").write_bytes(mutated(seeds.run.profile_file.read_bytes(), draws))
    return ["check", "x.toml"]


def weights(seeds: Seeds, place: Path, draws: random.Random) -> list[str]:
    source = draws.choice(sorted((seeds.folder / "weights").iterdir()))
    (place / source.name).write_bytes(mutated(source.read_bytes(), draws))
    if draws.random() < 0.02:
        replaced(place / source.name, draws)
    return ["check", str(seeds.folder / "profile.toml"), "--set", f"model.weights={place / source.name}"]


def arrays(seeds: Seeds, place: Path, draws: random.Random) -> list[str]:
    source = draws.choice(sorted((seeds.folder / "arrays").iterdir()))
    content = source.read_bytes()
    (place / "x.npz").write_bytes(
        mutated(content[-2000:], draws).join([content[:-2000], b""])
        if draws.random() < 0.3
        else mutated(content, draws)
    )
    if draws.random() < 0.02:
        replaced(place / "x.npz", draws)
    return ["check", str(seeds.folder / "profile.toml"), "--set", f"data.source=npz:{place / 'x.npz'}"]


def images(seeds: Seeds, place: Path, draws: random.Random) -> list[str]:
    shutil.copytree(seeds.folder / "images", place / "images")
    for file in draws.sample(sorted(place.glob("images/*/*/*")), 2):
        file.write_bytes(mutated(file.read_bytes(), draws))
        if draws.random() < 0.1:
            replaced(file, draws)
    size = f"data.image_size={draws.choice([0, 8, 12])}"
    sets = [
        f"data.source=folder:{place / 'images'}",
        size,
        "data.search_images=12",
        "search.images=10",
        "model.source=resnet20",
    ]
    return ["check", str(seeds.folder / "profile.toml"), *(word for text in sets for word in ("--set", text))]


def pruned(seeds: Seeds, place: Path, draws: random.Random) -> list[str]:
    (place / "x.safetensors").write_bytes(mutated(seeds.export.read_bytes(), draws))
    if draws.random() < 0.02:
        replaced(place / "x.safetensors", draws)
    return ["verify", "x.safetensors"]


REPORTS = (["runs"], ["show", "fuzz"], ["logs", "fuzz"], ["logs", "fuzz", "--worker"], ["ranking", "fuzz"],
           ["compare", "fuzz", "fuzz"], ["events", "fuzz"], ["show", "fuzz", "--json"], ["resume", "fuzz", "--from", "ck-0001"],
           ["realise", "fuzz", "--scheme", "99999"], ["export", "fuzz", "--format", "state", "-o", "x", "--force"])  # fmt: skip


def copy_of_run(seeds: Seeds, place: Path) -> RunDirectory:
    shutil.copytree(seeds.run.path, place / "runs" / "fuzz", ignore=shutil.ignore_patterns("results", "tensorboard"))
    return RunDirectory(place / "runs" / "fuzz")


def events(seeds: Seeds, place: Path, draws: random.Random) -> list[str]:
    (segment,) = copy_of_run(seeds, place).event_segments()
    lines = segment.read_bytes().splitlines(keepends=True)
    for _ in range(draws.randint(1, 6)):
        at = draws.randrange(len(lines))
        lines[at] = mutated(lines[at], draws)
    if draws.random() < 0.2:
        draws.shuffle(lines)
    segment.write_bytes(b"".join(lines))
    return draws.choice(REPORTS[:8])


def run_directory(seeds: Seeds, place: Path, draws: random.Random) -> list[str]:
    directory = copy_of_run(seeds, place)
    files = [path for path in sorted(directory.path.rglob("*")) if path.is_file()]
    for path in draws.sample(files, draws.randint(1, 4)):
        if draws.random() < 0.3:
            replaced(path, draws)
        else:
            path.write_bytes(mutated(path.read_bytes(), draws))
    return draws.choice(REPORTS)


KINDS: dict[str, Callable[[Seeds, Path, random.Random], list[str]]] = {
    "profile": profile,
    "weights": weights,
    "arrays": arrays,
    "images": images,
    "pruned file": pruned,
    "event log": events,
    "run directory": run_directory,
}


# A case that reaches a network takes ten times as long as one that only reads.
SHARES = {kind: 1 if kind in ("weights", "images") else 3 for kind in KINDS}


def attempt(seeds: Seeds, kind: str, number: int, seed: int, row: Row, kept: Path) -> str:
    """Try one case and count it; what is wrong with it, or an empty string."""
    place = seeds.folder / f"{kind.replace(' ', '-')}-{seed}-{number}"
    place.mkdir()
    command = KINDS[kind](seeds, place, random.Random(f"{seed} {kind} {number}"))  # noqa: S311  (no secret)
    pid = os.fork()
    if not pid:
        _in_child(place, command)
    deadline, ended = time.monotonic() + WAITING_SECONDS, 0
    while not ended and time.monotonic() < deadline:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        time.sleep(0 if ended else 0.002)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    code, computing = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
    output = (place / "output").read_text(errors="replace")
    crashed = code == TRACEBACK or code < 0 or "Traceback (most recent call last)" in output
    hung = not ended or computing > COMPUTING_SECONDS
    row.cases += 1
    row.codes[code] += 1
    row.hangs += hung
    row.tracebacks += crashed and bool(ended)
    row.peak_bytes = max(row.peak_bytes, usage.ru_maxrss * 1024)
    if not (hung or crashed):
        shutil.rmtree(place)
        return ""
    shutil.move(place, kept)
    reason = f"{computing:.1f} s" if hung else (output.strip().splitlines() or [f"exit code {code}"])[-1][:200]
    return f"{kept / place.name}: emodir {' '.join(command)}: {reason}"


def _in_child(place: Path, command: list[str]) -> None:
    code = TRACEBACK
    gc.disable()
    try:
        os.setsid()
        os.chdir(place)
        output = os.open("output", os.O_WRONLY | os.O_CREAT, 0o600)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(one), "w", errors="backslashreplace") for one in (1, 2))
        sys.argv = ["emodir", *command]
        os.environ.update(EMODIR_RUNS=str(place / "runs"), XDG_CACHE_HOME=str(place / "cache"))
        limit = _address_space() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        emodir()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def load_everything(seeds: Seeds) -> None:
    """Run each kind of command once in this process: what they import is loaded before the cases are forked."""
    runs = ["--runs-dir", str(seeds.run.path.parent)]
    profile = str(seeds.folder / "profile.toml")
    for command in (["check", profile], ["verify", str(seeds.export)], *([*report, *runs] for report in REPORTS[:8])):
        with (
            mock.patch.object(sys, "argv", ["emodir", *command]),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            suppress(SystemExit),
        ):
            emodir()
    # The collector would copy every page that a case shares with this process.
    gc.freeze()


def fuzz(cases: int, seed: int, kinds: list[str], kept: Path) -> tuple[list[Row], list[str]]:
    """The rows of the table, and a line for each case that failed."""
    torch.set_num_threads(1)
    kept.mkdir(parents=True, exist_ok=True)
    rows, failures = [], []
    with tempfile.TemporaryDirectory() as folder:
        seeds = Seeds(Path(folder))
        load_everything(seeds)
        total = sum(SHARES[kind] for kind in kinds)
        for kind in kinds:
            row = Row(kind)
            for number in range(max(1, cases * SHARES[kind] // total)):
                if failure := attempt(seeds, kind, number, seed, row, kept):
                    failures.append(failure)
            rows.append(row)
            print(row, flush=True)
    return rows, failures


def main() -> None:
    """Print the table and the cases that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=140)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--kept", type=Path, default=Path("fuzz-failures"), help="folder for the files of failures")
    arguments = parser.parse_args()
    print("| kind | cases | tracebacks | hangs over 5 s | peak memory | exit codes |\n|---|---|---|---|---|---|")
    began = time.monotonic()
    rows, failures = fuzz(arguments.cases, arguments.seed, arguments.kinds, arguments.kept.absolute())
    print(f"\n{sum(row.cases for row in rows)} cases in {time.monotonic() - began:.0f} s", *failures, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
