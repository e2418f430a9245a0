"""Start of a worker: detached from the terminal, with a handshake that reports a failed start."""

import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from emodir_tui.errors import ConflictError, EmodirError, ExitCode, ProfileError, WorkerLostError
from emodir_tui.profile import Profile, dump
from emodir_tui.runs.checkpoint import Checkpoints
from emodir_tui.runs.control import can_control
from emodir_tui.runs.directory import RunDirectory, create, file_mode, write_file, write_json
from emodir_tui.runs.event_types import Event, RunClosed, RunOpened
from emodir_tui.runs.events import read_all, read_segment
from emodir_tui.runs.heartbeat import read_heartbeat
from emodir_tui.runs.names import StatusWord
from emodir_tui.runs.ownership import already_running
from emodir_tui.runs.picks import new_picks
from emodir_tui.runs.process import from_json, is_own, start_ticks
from emodir_tui.runs.reading import open_regular, read_json
from emodir_tui.runs.status import heartbeat_stalled
from emodir_tui.runs.watcher import Watcher

POLL_SECONDS = 0.05
START_SECONDS = 180.0
LAST_LINES = 12
# Long enough to see several heartbeats.
BEATS_SECONDS = 3.0
LOG_BYTES = 65536
LIBRARIES = ("emodir", "torch", "torchvision", "numpy", "pymoo", "safetensors")

# A second fork makes init the worker's parent: its starter may end, and no zombie is left under a dashboard.
_STUB = """
import os, sys
child = os.fork()
if child:
    print(child, flush=True)
    os._exit(0)
os.close(1)
os.dup2(2, 1)
os.execv(sys.argv[1], sys.argv[1:])
"""


def prepare(profile: Profile, runs_dir: Path, name: str, *, shared: bool = False) -> RunDirectory:
    """A run directory that holds everything the worker needs.

    Raises:
        ProfileError: The directory cannot be made.
    """
    new = not runs_dir.exists()
    directory = create(runs_dir, name, shared=shared)
    try:
        _fill(directory, profile, shared=shared)
    except (OSError, ValueError) as error:
        discard(directory, with_folder=new)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ProfileError(f"{runs_dir}: cannot write a run ({reason})") from error
    return directory


def _fill(directory: RunDirectory, profile: Profile, *, shared: bool) -> None:
    text = dump(profile)
    write_json(
        directory.run_file,
        {
            "schema": 1,
            "created": round(time.time(), 3),
            "profile_sha256": sha256(text.encode()).hexdigest(),
            "seed": profile.seed,
            "host": platform.node(),
            "python": platform.python_version(),
            "versions": _versions(),
            "working_directory": str(Path.cwd()),
            "shared": shared,
        },
    )
    # Last: a directory without its profile is not listed as a run, so no reader sees one half made.
    write_file(directory.profile_file, text.encode())


def start(directory: RunDirectory, checkpoint: str | None = None) -> None:
    """Start the worker detached and wait until it is ready.

    Args:
        directory: The run, new or interrupted.
        checkpoint: Go back to this checkpoint first.

    Raises:
        ProfileError: Something in the profile cannot work, which only the worker could find out.
        WorkerLostError: It ended before it was ready; the hint has its last lines.
    """
    segments = {path.name for path in directory.event_segments()}
    pid = _spawn(directory, checkpoint)
    began = time.monotonic()
    while time.monotonic() - began < START_SECONDS:
        gone = start_ticks(pid) is None
        if any(isinstance(event, RunOpened) and event.pid == pid for event in _new_events(directory, segments)):
            return
        if gone:
            raise _start_failure(directory, segments, pid)
        time.sleep(POLL_SECONDS)
    if (read_heartbeat(directory.heartbeat_file) or {}).get("pid") == pid:
        # It is at work: data that is downloaded first, or a large folder, takes its time.
        return
    raise WorkerLostError(
        f"the worker of {directory.id} (process {pid}) is not ready after {START_SECONDS:.0f} s",
        f"It may still come: emodir watch {directory.id}",
    )


def times_opened(directory: RunDirectory) -> int:
    """How often a worker was ready in a run."""
    return sum(isinstance(event, RunOpened) for event in read_all(directory.events_folder))


def discard(directory: RunDirectory, *, with_folder: bool) -> None:
    """Remove a run that never began, and the folder of runs if that was made for it and is empty."""
    shutil.rmtree(directory.path, ignore_errors=True)
    if with_folder:
        with suppress(OSError):
            directory.path.parent.rmdir()


def resume(directory: RunDirectory, checkpoint: str | None = None) -> None:
    """Start a worker again on an interrupted run.

    Raises:
        ConflictError: A worker is there already, the run has finished, or it belongs to somebody else.
        NotFoundError: There is no such checkpoint.
        DamagedFileError: The checkpoint is damaged.
        WorkerLostError: The worker did not start.
    """
    check_resumable(directory, checkpoint)
    start(directory, checkpoint)


def check_resumable(directory: RunDirectory, checkpoint: str | None = None) -> None:
    """Raise what `resume` would raise before it starts a worker."""
    if refusal := can_control(directory) or _foreign_code(directory):
        raise ConflictError(refusal)
    directory.require_no_links()
    watcher = Watcher(directory)
    status = watcher.look()
    owner = from_json(status.heartbeat)
    # Another host's clock may be wrong: its heartbeat is looked at twice, and the worker looks for longer.
    elsewhere = owner is not None and owner.is_alive() is None and heartbeat_stalled(directory, BEATS_SECONDS)
    if status.is_live and not elsewhere and (status.heartbeat is not None or status.word != StatusWord.STARTING):
        raise ConflictError(
            f"{directory.id} is already running (process {(status.heartbeat or {}).get('pid')})",
            f"emodir watch {directory.id}",
        )
    if checkpoint is not None:
        checkpoints = Checkpoints(directory, keep=1)
        checkpoints.load(checkpoints.find(checkpoint).id)
    elif status.word == StatusWord.FINISHED and not (new_picks(directory, watcher.state) or _lacks_results(watcher)):
        raise ConflictError(
            f"{directory.id} has finished; there is nothing to resume",
            f"Show it with 'emodir show {directory.id}', or go back with 'emodir resume {directory.id} --from ck-…'.",
        )


def _foreign_code(directory: RunDirectory) -> str:
    """Why the run's code is not this user's to run; empty where it is. Its profile and run.json say what is run."""
    for path in (directory.profile_file, directory.run_file):
        with suppress(OSError):
            owner = path.stat().st_uid
            if not is_own(owner):
                return f"{path} belongs to another user (uid {owner}), and a worker would run the code that it names"
    return ""


def _lacks_results(watcher: Watcher) -> bool:
    """Whether the log of a finished run lacks facts that a worker can emit again from the results."""
    return bool(watcher.damaged or not watcher.state.has_all_results)


def worker_command(directory: RunDirectory, checkpoint: str | None = None) -> list[str]:
    """The command line that runs the worker of a run."""
    # -P: the folder where it is started must not stand before the libraries.
    command = [sys.executable, "-P", "-m", "emodir_tui.worker", str(directory.path)]
    return command if checkpoint is None else [*command, "--from", checkpoint]


def last_lines(path: Path, count: int = LAST_LINES) -> str:
    """The last lines of a text file; a sentence where there are none."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "(it left no log)"
    return "\n".join(f"    {line}" for line in lines[-count:]) or "(its log is empty)"


def _spawn(directory: RunDirectory, checkpoint: str | None) -> int:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    log = os.open(directory.worker_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(log, file_mode(directory.path))
    try:
        stub = subprocess.run(
            [sys.executable, "-c", _STUB, *worker_command(directory, checkpoint)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=environment,
            check=False,
        )
    finally:
        os.close(log)
    try:
        return int(stub.stdout)
    except ValueError:
        raise WorkerLostError(
            f"the worker of {directory.id} cannot be started", last_lines(directory.worker_log)
        ) from None


def _new_events(directory: RunDirectory, old_segments: set[str]) -> list[Event]:
    paths = [path for path in directory.event_segments() if path.name not in old_segments]
    return [event for path in paths for event in read_segment(path)]


def _start_failure(directory: RunDirectory, old_segments: set[str], pid: int) -> EmodirError:
    """The error of a worker that ended before it was ready."""
    owner = from_json(read_json(directory.lock_file))
    if owner is not None and owner.pid != pid and owner.is_alive() is not False:
        return already_running(directory, owner)
    for event in _new_events(directory, old_segments):
        if isinstance(event, RunClosed) and event.code == ExitCode.USAGE:
            return ProfileError(event.error, event.hint)
    return WorkerLostError(
        f"the worker of {directory.id} ended during its start", "Its last lines:\n" + last_lines(directory.worker_log)
    )


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
