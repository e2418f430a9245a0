"""Which process is meant, and whether it is still there.

A process id alone is not enough: ids are used again, a zombie still answers to its id, and after a reboot or on
another host the same number means another process.
"""

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Asked once: a machine that is renamed must not make a worker a stranger to its own lock.
_HOST = socket.gethostname()


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process by id, start time in clock ticks since boot, host and boot id."""

    pid: int
    start: int
    host: str
    boot: str

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @property
    def is_local(self) -> bool:
        """Whether it ran on this host, so that its end can be seen from here."""
        return self.host == _HOST

    def is_alive(self) -> bool | None:
        """True or False on its own host and container; None elsewhere, where only its heartbeat shows it."""
        if not self.is_local:
            return None
        boot, _, space = self.boot.partition("/")
        own_boot, _, own_space = boot_id().partition("/")
        if boot != own_boot:
            return False
        if space and space != own_space:
            return None
        return start_ticks(self.pid) == self.start


def this_process() -> Process:
    """The process that asks."""
    return Process(pid=os.getpid(), start=start_ticks(os.getpid()) or 0, host=_HOST, boot=boot_id())


def from_json(value: Any) -> Process | None:
    """The process that a JSON object names, or None where it names none."""
    if not isinstance(value, dict):
        return None
    pid, start, host, boot = (value.get(key) for key in ("pid", "start", "host", "boot"))
    if not isinstance(pid, int) or not isinstance(start, int) or not isinstance(host, str) or not isinstance(boot, str):
        return None
    return Process(pid=pid, start=start, host=host, boot=boot)


def boot_id() -> str:
    """The kernel's id of this boot, and behind a slash where process ids mean something (containers have their own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def is_own(uid: int) -> bool:
    """Whether files of this user are those of the user of this process."""
    return uid in (os.getuid(), os.geteuid())


def start_ticks(pid: int) -> int | None:
    """When a live process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def has_nvidia_driver() -> bool:
    """Whether this machine runs NVIDIA's driver, whatever torch makes of it."""
    return Path("/proc/driver/nvidia/version").exists()


def let_waiting_threads_sleep() -> None:
    """Leave the cores to other processes while torch's threads wait. To be called before torch is loaded."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
