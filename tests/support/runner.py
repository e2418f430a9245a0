"""The command `emodir` as the tests call it, and the profile of their runs."""

import contextlib
import faulthandler
import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from unittest import mock

from emodir_tui.cli import main

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
COMMAND = [sys.executable, "-m", "emodir_tui"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

Result = subprocess.CompletedProcess[str]


class Emodir:
    """The command in a folder with a profile, a folder of runs and a cache of its own.

    A call runs the command inside the test's process, where torch is loaded already; a worker that it starts is a
    process as ever. `process` is for what only a process can show: exit codes, signals, what is imported.
    """

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

    def __call__(self, *arguments: str) -> Result:
        """Run the command in this process, with files in place of a terminal."""
        # Real files, because the worker's fault handler writes to a descriptor.
        with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as err:
            with (
                self._place(),
                mock.patch.multiple(sys, argv=["emodir", *arguments], stdin=io.StringIO(), stdout=out, stderr=err),
            ):
                try:
                    main()
                except SystemExit as leaving:
                    code = leaving.code
            for file in (out, err):
                file.seek(0)
            return Result(arguments, int(code or 0), out.read(), err.read())

    def process(self, *arguments: str) -> Result:
        """Run the command in a process of its own."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def popen(self, *arguments: str, **options: object) -> "subprocess.Popen[bytes]":
        """Start the command in a process of its own."""
        return subprocess.Popen([*COMMAND, *arguments], cwd=self.folder, env=self.environment, **options)  # type: ignore[call-overload]

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """The folder, environment, import path and signal handlers of a process, and those of the tests afterwards."""
        here, path = Path.cwd(), list(sys.path)
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        os.chdir(self.folder)
        try:
            with mock.patch.dict(os.environ, self.environment, clear=True), warnings.catch_warnings():
                # As in a process, where they are no errors.
                warnings.simplefilter("ignore")
                yield
        finally:
            faulthandler.unregister(signal.SIGQUIT)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            sys.path[:] = path
            os.chdir(here)
