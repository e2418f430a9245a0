import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

# No test may fail because the machine is busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

TINY = """
name = "tiny"
device = "cpu"
[data]
source = "digits"
search_images = 60
train_images = 240
test_images = 100
augment = "crop"
[baseline]
epochs = 1
batch = 60
cache = false
[search]
population = 8
generations = 3
images = 40
batch = 20
patience = 0
rounds = 2
second_generations = 2
[constrain]
steps = 4
final_steps = 3
batch = 20
[rank]
images = 40
batch = 20
[joint]
population = 8
generations = 3
polish = 2
images = 40
batch = 20
patience = 0
[pick]
rules = ["knee", "max_macs=0.5"]
[finetune]
epochs = 1
batch = 60
recalibration_images = 60
[checkpoint]
seconds = 0.0
[hardware]
threads = 1
"""


class Emodir:
    """The command as a user calls it, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.profile = folder / "tiny.toml"
        self.profile.write_text(TINY)
        self.environment = {
            **os.environ,
            "EMODIR_RUNS": str(folder / "runs"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "COLUMNS": "200",
        }

    def __call__(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from emodir_tui.cli import main; main()", *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def popen(self, *arguments: str, **options: object) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", "from emodir_tui.cli import main; main()", *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **options)  # type: ignore[call-overload]


@pytest.fixture
def emodir(tmp_path):
    return Emodir(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run of the tiny profile, made once; (command, the run's id, what following it said)."""
    emodir = Emodir(tmp_path_factory.mktemp("finished"))
    result = emodir("run", "tiny.toml", "--no-tui")
    assert result.returncode == 0, result.stderr
    (run,) = (emodir.folder / "runs").iterdir()
    return emodir, run.name, result
