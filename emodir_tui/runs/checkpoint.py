"""Checked files: a line of JSON as header, then facts and payload; the header holds their checksum.

Checkpoints are moments inside a stage; results are what finished stages made. Both hold
the facts that their making emitted, so that a log that lost them can be completed. Neither can run code when read.
"""

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from emodir_tui.errors import DamagedFileError, NotFoundError, nearest
from emodir_tui.runs.directory import RunDirectory, write_file
from emodir_tui.runs.names import StageName, split_result_name
from emodir_tui.runs.reading import open_regular

HEADER_BYTES = 1 << 20
_ID = re.compile(r"ck-\d{4,}")


def number_of(checkpoint_id: str) -> int:
    """A checkpoint's number, by which checkpoints are ordered: `ck-10000` comes after `ck-9999`. 0 where it is none's id."""
    return int(checkpoint_id[3:]) if _ID.fullmatch(checkpoint_id) else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where in the method a run is: a stage, inside it a sub-network, pick or training, and a search round."""

    stage: StageName
    subject: str = ""
    round: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointInfo:
    """A checkpoint's header. `results` are the stage results that existed when it was saved."""

    id: str
    place: Place
    step: int
    saved: float
    reason: str
    bytes: int
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """What a checked file holds: packed values, and facts as lines of JSON (`runs/facts.py`)."""

    payload: bytes
    facts: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of both."""
        return len(self.payload) + len(self.facts)


def write_checked(path: Path, header: dict[str, Any], content: Saved) -> None:
    """Put a checked file there, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    body = content.facts + content.payload
    sizes = {"bytes": content.size, "facts": len(content.facts)}
    line = json.dumps({**header, **sizes, "sha256": sha256(body).hexdigest()}, allow_nan=False)
    write_file(path, line.encode() + b"\n" + body)


def read_checked(path: Path) -> Saved:
    """The content of a checked file.

    Raises:
        DamagedFileError: The file cannot be read, or its checksum does not match.
    """
    try:
        with open_regular(path) as file:
            header = _header(file.readline(HEADER_BYTES))
            if header is None:
                raise DamagedFileError(f"{path} is damaged: its first line is not a header")
            size = os.fstat(file.fileno()).st_size - file.tell()
            # Before it is read: a damaged file may have any size.
            if header.get("bytes") != size:
                raise DamagedFileError(f"{path} is damaged: its size does not fit")
            body = file.read(size)
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read ({error.strerror})") from error
    facts = header.get("facts", 0)
    if header.get("sha256") != sha256(body).hexdigest() or type(facts) is not int or not 0 <= facts <= size:
        raise DamagedFileError(f"{path} is damaged: its checksum does not fit")
    return Saved(payload=body[facts:], facts=body[:facts])


def read_header(path: Path) -> dict[str, Any] | None:
    """The header alone, unchecked; None where there is none."""
    try:
        with open_regular(path) as file:
            return _header(file.readline(HEADER_BYTES))
    except OSError:
        return None


def _header(line: bytes) -> dict[str, Any] | None:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) else None


class Results:
    """What finished stages (and finished sub-networks inside them) made, a checked file each."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory

    def names(self) -> tuple[str, ...]:
        """Names of the results on disk, sorted."""
        try:
            return tuple(path.stem for path in self._directory.result_files())
        except OSError:
            return ()

    def save(self, name: str, content: Saved) -> None:
        """Write a result. Raises OSError."""
        write_checked(self._directory.result_file(name), {"result": name}, content)

    def load(self, name: str) -> Saved | None:
        """A result, or None where there is none.

        Raises:
            DamagedFileError: It is on disk but damaged.
        """
        path = self._directory.result_file(name)
        return read_checked(path) if path.exists() else None

    def remove(self, name: str) -> None:
        """Delete a result that is to be computed again."""
        with suppress(OSError):
            self._directory.result_file(name).unlink()

    def set_aside(self, name: str) -> None:
        """Put a damaged result under another name, where it can be inspected."""
        with suppress(OSError):
            self._directory.result_file(name).replace(self._directory.damaged_result_file(name))


class Checkpoints:
    """The last `keep` checkpoints of a run."""

    def __init__(self, directory: RunDirectory, keep: int) -> None:
        self._directory = directory
        self.keep = keep

    def infos(self) -> list[CheckpointInfo]:
        """Headers of the checkpoints on disk, oldest first; files without a readable header are left out."""
        try:
            paths = sorted(self._directory.checkpoint_files(), key=lambda path: number_of(path.stem))
        except OSError:
            return []
        return [info for path in paths if (info := self._info(path)) is not None]

    def save(
        self, place: Place, step: int, content: Saved, *, time: float, reason: str, results: tuple[str, ...]
    ) -> str:
        """Write a checkpoint and return its id. Raises OSError; then no earlier checkpoint is lost."""
        checkpoint_id = f"ck-{self._next_number():04d}"
        header = {
            "id": checkpoint_id,
            "stage": place.stage,
            "subject": place.subject,
            "round": place.round,
            "step": step,
            "saved": round(time, 3),
            "reason": reason,
            "results": results,
        }
        write_checked(self._directory.checkpoint_file(checkpoint_id), header, content)
        return checkpoint_id

    def load(self, checkpoint_id: str) -> Saved:
        """What a checkpoint holds. Raises DamagedFileError."""
        return read_checked(self._directory.checkpoint_file(checkpoint_id))

    def thin_out(self, keep: int | None = None) -> list[str]:
        """Delete the oldest beyond `keep`, never the newest; the ids that went."""
        infos = self.infos()
        gone = [info.id for info in infos[: max(0, len(infos) - max(1, keep or self.keep))]]
        for checkpoint_id in gone:
            with suppress(OSError):
                self._directory.checkpoint_file(checkpoint_id).unlink()
        return gone

    def find(self, checkpoint_id: str) -> CheckpointInfo:
        """The checkpoint with this id. Raises NotFoundError."""
        infos = self.infos()
        for info in infos:
            if info.id == checkpoint_id:
                return info
        names = [info.id for info in infos]
        hint = nearest(checkpoint_id, names) or ("There are: " + ", ".join(names) if names else "There are none yet.")
        raise NotFoundError(f"unknown checkpoint '{checkpoint_id}'", hint)

    def _next_number(self) -> int:
        try:
            names = [path.name.partition(".")[0] for path in self._directory.checkpoints_folder.iterdir()]
        except OSError:
            names = []
        return max((number_of(name) for name in names), default=0) + 1

    def _info(self, path: Path) -> CheckpointInfo | None:
        header = read_header(path)
        if header is None or header.get("id") != path.stem:
            return None
        try:
            return CheckpointInfo(
                id=path.stem,
                place=Place(
                    stage=StageName(header["stage"]), subject=str(header["subject"]), round=int(header["round"])
                ),
                step=int(header["step"]),
                saved=float(header["saved"]),
                reason=str(header["reason"]),
                bytes=int(header["bytes"]),
                results=tuple(str(name) for name in header["results"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None


def rewind(directory: RunDirectory, checkpoint: CheckpointInfo) -> Path:
    """Go back to a checkpoint: later results and checkpoints are moved aside, to the returned folder.

    Raises:
        DamagedFileError: The checkpoint is damaged; nothing is moved then.
    """
    checkpoints = Checkpoints(directory, keep=1)
    checkpoints.load(checkpoint.id)
    number = len(list(directory.aside_folder.glob("*"))) + 1
    aside = directory.aside_folder / f"{number:04d}-from-{checkpoint.id}"
    later = [directory.checkpoint_file(info.id) for info in checkpoints.infos()]
    moved = [path for path in later if number_of(path.stem) > number_of(checkpoint.id)]
    names = [directory.result_file(name) for name in Results(directory).names() if name not in checkpoint.results]
    moved += names
    for path in moved + _made_from([path.stem for path in names], directory):
        target = aside / path.relative_to(directory.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    return aside


def _made_from(results: list[str], directory: RunDirectory) -> list[Path]:
    """The files for other programs that were written with these results."""
    files: list[Path] = []
    for name in results:
        stage, subject = split_result_name(name)
        files.append(directory.front_file(subject or stage))
        if stage == StageName.FINETUNE:
            # All that was exported of the pick, or of all picks with the stage's own result.
            files += directory.export_folder.glob(f"{subject or '*'}.*")
    return sorted(path for path in set(files) if path.exists())
