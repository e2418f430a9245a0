"""The machine and the versions that made a benchmark; recorded in every file of measurements."""

import importlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from emodir_tui.bench import choose_device


def made_on(*libraries: str, device: str = "auto", threads: int = 0) -> dict[str, Any]:
    """Commit, machine, device, and the versions of PyTorch and these libraries; device and threads as in a profile."""
    chosen = choose_device(device)
    versions = {name: importlib.import_module(name.replace("-", "_")).__version__ for name in ("torch", *libraries)}
    machine = platform.machine()
    if chosen.type == "cuda":
        machine = torch.cuda.get_device_name(chosen)
        versions["cuDNN"] = str(torch.backends.cudnn.version())
    return {
        "revision": revision(),
        "machine": f"{machine}, {threads or torch.get_num_threads()} threads",
        "device": chosen.type,
        "versions": versions,
    }


def revision() -> str:
    """The commit of this code, with a mark if files differ from it; empty if unknown."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
