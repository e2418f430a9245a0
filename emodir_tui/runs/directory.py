"""The run directory: the only place that knows file names, and how files get there whole.

Everything is written under a temporary name, flushed and renamed, so a reader sees the old file or the new one.
"""

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emodir_tui.errors import ConflictError, EmodirError, NotFoundError, ProfileError, nearest
from emodir_tui.runs.reading import read_json

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SEGMENT, RESULT, CHECKPOINT, REQUEST = ".jsonl", ".result", ".checkpoint", ".json"
TEMPORARY = ".tmp"
_TEMPORARY = re.compile(r"\..+\.(\d+)\.[0-9a-f]{6}\.tmp")
OWNER_ONLY, SHARED = 0o700, 0o755
# Paths of this process's open files and folders.
DESCRIPTORS = Path("/proc/self/fd")
YEAR_5000 = 95_617_584_000


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run on disk."""

    path: Path

    @property
    def id(self) -> str:
        """The run's id: the name of its directory."""
        return self.location.name

    @property
    def location(self) -> Path:
        """Where the directory is now; a pinned one may have been moved."""
        return self.path.readlink() if self.path.parent == DESCRIPTORS else self.path

    @contextmanager
    def pinned(self) -> "Iterator[RunDirectory]":
        """The same directory by its descriptor: whoever holds it reads and writes there, wherever it is moved.

        Where the system has no such paths, it is the directory as it is.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            path = DESCRIPTORS / str(descriptor)
            yield RunDirectory(path) if path.exists() else self
        finally:
            os.close(descriptor)

    @property
    def is_removed(self) -> bool:
        """Whether the directory was deleted."""
        try:
            return self.path.stat().st_nlink == 0
        except OSError:
            return True

    def require_present(self) -> None:
        """Raise an EmodirError if the directory was deleted."""
        if self.is_removed:
            # Linux adds the word to the path.
            place = str(self.location).removesuffix(" (deleted)")
            raise EmodirError(f"{place} was removed while the run was writing to it")

    @property
    def profile_file(self) -> Path:
        """The resolved profile."""
        return self.path / "profile.toml"

    @property
    def run_file(self) -> Path:
        """Versions, host, seed and hashes, written once."""
        return self.path / "run.json"

    @property
    def events_folder(self) -> Path:
        """The event segments."""
        return self.path / "events"

    def event_segments(self) -> list[Path]:
        """The event segments on disk, oldest first."""
        return sorted(self.events_folder.glob(f"*{SEGMENT}"))

    def next_attempt(self) -> int:
        """The number of the next attempt; attempts count from 1."""
        return max((int(path.stem) for path in self.event_segments() if path.stem.isdecimal()), default=0) + 1

    @property
    def heartbeat_file(self) -> Path:
        """Rewritten in place each second by the worker."""
        return self.path / "heartbeat"

    @property
    def control_folder(self) -> Path:
        """Requests to the worker, a file each."""
        return self.path / "control"

    @property
    def lock_file(self) -> Path:
        """Names the one worker that may write."""
        return self.path / "worker.lock"

    @property
    def worker_log(self) -> Path:
        """What the worker printed."""
        return self.path / "worker.log"

    @property
    def checkpoints_folder(self) -> Path:
        """Moments inside a stage."""
        return self.path / "checkpoints"

    @property
    def results_folder(self) -> Path:
        """Results of finished stages."""
        return self.path / "results"

    @property
    def fronts_folder(self) -> Path:
        """Fronts, ranking and joint front as JSON, for other programs."""
        return self.path / "fronts"

    def result_file(self, name: str) -> Path:
        """A stage's result, or that of a part of it."""
        return self.results_folder / f"{name}{RESULT}"

    def result_files(self) -> list[Path]:
        """The results on disk, sorted by name; the name is the file's stem. Raises OSError."""
        return sorted(path for path in self.results_folder.iterdir() if path.suffix == RESULT)

    def damaged_result_file(self, name: str) -> Path:
        """Where a result is put that could not be read."""
        return self.results_folder / f"{name}.damaged"

    def checkpoint_file(self, checkpoint_id: str) -> Path:
        """A checkpoint."""
        return self.checkpoints_folder / f"{checkpoint_id}{CHECKPOINT}"

    def checkpoint_files(self) -> list[Path]:
        """The checkpoints on disk; the id is the file's stem. Raises OSError."""
        return [path for path in self.checkpoints_folder.iterdir() if path.suffix == CHECKPOINT]

    def request_file(self, request_id: str) -> Path:
        """A control request."""
        return self.control_folder / f"{request_id}{REQUEST}"

    def request_names(self) -> list[str]:
        """File names of the waiting control requests, oldest first. Raises OSError."""
        return sorted(name for name in os.listdir(self.control_folder) if name.endswith(REQUEST))  # noqa: PTH208

    def lock_draft(self, token: str) -> Path:
        """A lock before it is linked into place."""
        return self.path / f".lock.{token}"

    def succession_file(self, digest: str) -> Path:
        """Names the one worker that may take over the lock with this digest."""
        return self.path / f".lock.succession-{digest}"

    def succession_files(self) -> list[Path]:
        """The successions on disk."""
        return list(self.path.glob(".lock.succession-*"))

    def export_file(self, pick: str) -> Path:
        """A pick's pruned network."""
        return self.export_folder / f"{pick}.safetensors"

    def front_file(self, name: str) -> Path:
        """A sub-network's front, the `ranking` or the `joint` front."""
        return self.fronts_folder / f"{name}.json"

    @property
    def picks_file(self) -> Path:
        """Schemes to realise in addition to the profile's picks."""
        return self.path / "picks.json"

    @property
    def batches_file(self) -> Path:
        """Batch sizes that stages had to make smaller, because the device's memory ran out."""
        return self.path / "batches.json"

    @property
    def summary_file(self) -> Path:
        """What lists show of the run, made from its event log; may be deleted."""
        return self.path / "summary.json"

    @property
    def tensorboard_folder(self) -> Path:
        """TensorBoard's mirror of the events."""
        return self.path / "tensorboard"

    @property
    def export_folder(self) -> Path:
        """The pruned networks."""
        return self.path / "export"

    def remove_temporary_files(self, is_alive: Callable[[int], bool]) -> None:
        """Remove what processes left that were killed while they wrote.

        Args:
            is_alive: Whether the process of this id lives, so that its file is left alone.
        """
        for folder in (self.results_folder, self.checkpoints_folder, self.fronts_folder, self.export_folder):
            with suppress(OSError):
                for path in folder.iterdir():
                    name = _TEMPORARY.fullmatch(path.name)
                    if name and not is_alive(int(name[1])) and stat.S_ISREG(path.lstat().st_mode):
                        path.unlink()

    def require_no_links(self) -> None:
        """Refuse a run directory in which a link could lead a worker to write elsewhere.

        Raises:
            ConflictError: One of its files or folders is a symbolic link.
        """
        for path in (*sorted(self.path.glob("*")), *sorted(self.path.glob("*/*"))):
            if path.is_symlink():
                raise ConflictError(
                    f"{path} is a symbolic link, and a worker would write where it points",
                    "A run directory holds files and folders of its own: put them in the link's place.",
                )

    @property
    def aside_folder(self) -> Path:
        """What a resume from an older checkpoint left behind; never read again, never deleted."""
        return self.path / "aside"

    def exists(self) -> bool:
        """Whether this is a run directory."""
        # Path.is_file raises where another user's folder may not be entered.
        return os.path.isfile(self.profile_file)  # noqa: PTH113

    def read_run_file(self) -> dict[str, Any]:
        """Content of `run.json`; empty if it is missing or damaged."""
        return read_json(self.run_file) or {}

    @property
    def created(self) -> float:
        """When the run was made, Unix seconds; 0.0 if unknown."""
        if (known := seconds_of(self.read_run_file().get("created"))) is not None:
            return known
        try:
            return self.profile_file.stat().st_mtime
        except OSError:
            return 0.0


def segment_name(attempt: int) -> str:
    """The file name of an attempt's event segment."""
    return f"{attempt:04d}{SEGMENT}"


def seconds_of(value: Any) -> float | None:
    """A time in a file as a float; None if it is not a number between the years 1970 and 5000."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < YEAR_5000 else None


def runs_directory(given: Path | None = None) -> Path:
    """Where runs live: the given folder, else EMODIR_RUNS, else ./runs."""
    return given if given is not None else Path(os.environ.get("EMODIR_RUNS") or "runs")


def create(runs_dir: Path, name: str, *, shared: bool = False) -> RunDirectory:
    """A new run directory with an id that starts with `name`.

    Raises:
        ProfileError: The name is not allowed, or the folder cannot be made.
    """
    if not NAME.fullmatch(name):
        raise ProfileError(
            f"'{name}' cannot be a run's name",
            "Use letters, digits, '.', '_' and '-'; begin with a letter or digit.",
        )
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        while True:
            path = runs_dir / f"{name}-{secrets.token_hex(2)}"
            try:
                path.mkdir(mode=OWNER_ONLY)
            except FileExistsError:
                continue
            break
        path.chmod(SHARED if shared else OWNER_ONLY)
    except OSError as error:
        raise ProfileError(f"{runs_dir}: cannot make a run directory ({error.strerror})") from error
    return RunDirectory(path.resolve())


def list_runs(runs_dir: Path) -> list[RunDirectory]:
    """All runs in a folder, newest first."""
    try:
        # A link to a run is the run.
        found = {RunDirectory(real_path(path)) for path in runs_dir.iterdir()}
    except OSError:
        return []
    return sorted((run for run in found if run.exists()), key=lambda run: (run.created, run.id), reverse=True)


def find(runs_dir: Path, name: str) -> RunDirectory:
    """The run that goes by an id, a unique prefix of one, '@latest', or a path.

    Raises:
        NotFoundError: There is none, or there are several.
    """
    direct = RunDirectory(real_path(Path(name) if os.sep in name else runs_dir / name))
    if name and name not in (".", "..") and direct.exists():
        return direct
    runs = list_runs(runs_dir)
    if not runs:
        raise NotFoundError(f"there are no runs in {runs_dir}", "Start one: emodir run digits")
    if name == "@latest":
        return runs[0]
    matches = [run for run in runs if run.id.startswith(name)]
    if not matches:
        hint = nearest(name, [run.id for run in runs]) or "'emodir runs' lists them."
        raise NotFoundError(f"no run in {runs_dir} is called '{name}'", hint)
    if len(matches) > 1:
        names = ", ".join(run.id for run in matches[:5]) + (", …" if len(matches) > 5 else "")
        raise NotFoundError(f"'{name}' fits {len(matches)} runs: {names}", "Give more of the id.")
    return matches[0]


def real_path(path: Path) -> Path:
    """A path without links; Path.resolve raises where links form a loop."""
    return Path(os.path.realpath(path))


def write_file(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Put a file there whole or not at all: temporary name, flush, rename, flush the folder.

    Args:
        path: The file.
        data: Its content.
        lasting: Whether it must survive a power cut; otherwise nothing is flushed.

    Raises:
        OSError: The file cannot be written; then the old file is untouched and nothing is left behind.
    """
    make_folder(path.parent)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}{TEMPORARY}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, file_mode(path.parent))
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if lasting:
        with open_folder(path.parent) as folder, suppress(OSError):
            os.fsync(folder)


def make_folder(path: Path) -> None:
    """A folder with the permissions of the one it is in: a shared run is shared in all its parts."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    path.chmod(stat.S_IMODE(path.parent.stat().st_mode) & 0o755)


def file_mode(folder: Path) -> int:
    """The permissions of a file in this folder: others may read it if they may enter the folder."""
    return 0o644 if stat.S_IMODE(folder.stat().st_mode) & 0o004 else 0o600


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """A descriptor of a folder, to flush it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """A JSON file, whole or not at all; the same value gives the same bytes."""
    write_file(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
