"""`emodir doctor`: check this machine, with one line of advice for each problem."""

import json
import locale
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from emodir_tui.formatting import locale_is_utf8, size
from emodir_tui.reports.tables import print_table
from emodir_tui.runs.process import has_nvidia_driver

ENOUGH_BYTES = 5 << 30
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "beegfs")
# Counting and naming GPUs may work where computing does not, such as without kernels for the card.
TORCH = """
import json, torch
gpus, name, trouble = 0, "", ""
if torch.cuda.is_available():
    gpus = torch.cuda.device_count()
    try:
        name = torch.cuda.get_device_name(0)
        torch.zeros(1, device="cuda").add_(1).item()
    except RuntimeError as error:
        trouble = str(error).splitlines()[0]
print(json.dumps({"version": torch.__version__, "gpus": gpus, "name": name, "trouble": trouble}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The result of one check; `level` is ok, warning or error."""

    level: str
    what: str
    found: str
    advice: str = ""


def examine(runs_dir: Path) -> list[Finding]:
    """Check everything; torch is loaded in a separate process."""
    return [_python(), *_torch(), _disk(runs_dir), _file_system(runs_dir), _sessions(), _encoding(), _colours()]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(level="ok", what="Python", found=version)


def _torch() -> list[Finding]:
    try:
        result = subprocess.run(
            [sys.executable, "-P", "-c", TORCH], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return [
            Finding(
                level="error", what="torch", found="does not load within two minutes", advice="Is the disk overloaded?"
            )
        ]
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["does not load"])[-1]
        return [Finding(level="error", what="torch", found=reason, advice="Install emodir again: pip install -e .")]
    answer = json.loads(result.stdout.splitlines()[-1])
    findings = [Finding(level="ok", what="torch", found=answer["version"])]
    if answer["trouble"]:
        findings.append(
            Finding(
                level="error",
                what="GPUs",
                found=f"{answer['gpus']} × {answer['name']}, but torch cannot compute there: {answer['trouble']}",
                advice="nvidia-smi shows its users and its driver; pytorch.org has builds for other cards and drivers.",
            )
        )
    elif answer["gpus"]:
        findings.append(Finding(level="ok", what="GPUs", found=f"{answer['gpus']} × {answer['name']}"))
    elif has_nvidia_driver():
        findings.append(
            Finding(
                level="error",
                what="GPUs",
                found="an NVIDIA driver is installed, but torch cannot use a GPU",
                advice="Is the driver too old for this torch? nvidia-smi shows its version; pytorch.org has builds for older drivers.",
            )
        )
    else:
        findings.append(
            Finding(
                level="warning",
                what="GPUs",
                found="none",
                advice="Runs use the CPU, which is slow for all but small networks.",
            )
        )
    return findings


def _disk(runs_dir: Path) -> Finding:
    place = _existing(runs_dir)
    free = shutil.disk_usage(place).free
    found = f"{size(free)} free at {place}"
    if free < ENOUGH_BYTES:
        return Finding(level="warning", what="disk", found=found, advice="A full disk pauses runs; free some space.")
    return Finding(level="ok", what="disk", found=found)


def _file_system(runs_dir: Path) -> Finding:
    place, best, kind = str(_existing(runs_dir).resolve()), "", "unknown"
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, mount, system = line.split()[:3]
        if (place == mount or place.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, system
    if kind in NETWORK_FILE_SYSTEMS:
        advice = "Works, but controls react late; a local --runs-dir is faster."
        return Finding(level="warning", what="file system", found=kind, advice=advice)
    return Finding(level="ok", what="file system", found=kind)


def _sessions() -> Finding:
    """Whether logging out ends background processes."""
    if shutil.which("loginctl") is None:
        return Finding(level="ok", what="logging out", found="no session manager")
    configured = ""
    for path in (Path("/etc/systemd/logind.conf"), *sorted(Path("/etc/systemd/logind.conf.d").glob("*.conf"))):
        try:
            configured += path.read_text()
        except OSError:
            continue
    kills = any(line.strip().lower() == "killuserprocesses=yes" for line in configured.splitlines())
    if not kills:
        return Finding(level="ok", what="logging out", found="does not end background processes")
    return Finding(
        level="error",
        what="logging out",
        found="ends background processes (KillUserProcesses=yes)",
        advice="loginctl enable-linger",
    )


def _encoding() -> Finding:
    encoding = locale.setlocale(locale.LC_CTYPE)
    if locale_is_utf8():
        return Finding(level="ok", what="encoding", found=encoding)
    return Finding(
        level="warning", what="encoding", found=encoding, advice="export LC_ALL=C.UTF-8, or emodir watch --ascii"
    )


def _colours() -> Finding:
    colours = os.environ.get("COLORTERM", "")
    if colours in ("truecolor", "24bit"):
        return Finding(level="ok", what="colours", found=colours)
    found = f"{os.environ.get('TERM', 'no TERM')}, COLORTERM not set"
    return Finding(level="ok", what="colours", found=found, advice="The dashboard uses the terminal's 16 colours.")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)


def print_findings(findings: list[Finding]) -> None:
    """Print findings as a table."""
    marks = {"ok": "✓", "warning": "!", "error": "✗"}
    rows = [[marks[finding.level], finding.what, finding.found, finding.advice] for finding in findings]
    print_table(["", "What", "Found", "Advice"], rows)
