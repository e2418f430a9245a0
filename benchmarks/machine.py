"""Where and by what a benchmark was made: what every file of measurements records."""

import importlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch


def made_on(*libraries: str, threads: int = 0) -> dict[str, Any]:
    """Commit, machine, device, and the versions of PyTorch and these libraries; `threads` where a profile sets them."""
    return {
        "revision": revision(),
        "machine": f"{platform.machine()}, {threads or torch.get_num_threads()} threads",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "versions": {
            name: importlib.import_module(name.replace("-", "_")).__version__ for name in ("torch", *libraries)
        },
    }


def revision() -> str:
    """The commit that this code is, with a mark where files differ from it; empty where that can't be told."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
