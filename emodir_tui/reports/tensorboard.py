"""`emodir tensorboard`: TensorBoard in this process, at an address that only its user knows."""

import secrets
import signal
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tensorboard import program

from emodir_tui.errors import ConflictError
from emodir_tui.formatting import printable
from emodir_tui.reports.lines import note
from emodir_tui.runs.directory import RunDirectory


def serve(directories: list[RunDirectory], port: int) -> None:
    """Serve the runs' curves until INT or TERM.

    TensorBoard asks nobody for a password, and every user of a machine may connect to its ports. So the address has a
    secret part; requests without it find nothing. In this process it is in no command line, and in none of the
    files that TensorBoard's own command leaves for everybody.

    Raises:
        ConflictError: The port is in use.
    """
    with TemporaryDirectory(prefix="emodir-") as folder:
        # Links, because TensorBoard's list of folders has no way to write a comma or a colon.
        for directory in directories:
            (Path(folder) / printable(directory.id)).symlink_to(directory.tensorboard_folder.absolute())
        url = start(Path(folder), port)
        note(f"{url}\nOnly those who have this whole address see the runs. Ctrl+C ends it.")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def start(folder: Path, port: int) -> str:
    """Start TensorBoard on a folder in a thread; its secret address.

    Raises:
        ConflictError: The port is in use.
    """
    server = program.TensorBoard()
    # The faster loader is a second server, which has no secret.
    server.configure(
        argv=[
            "emodir",
            f"--logdir={folder}",
            f"--port={port}",
            f"--path_prefix=/{secrets.token_hex(16)}",
            "--load_fast=false",
        ]
    )
    try:
        return str(server.launch())
    except program.TensorBoardServerException as error:
        raise ConflictError(error.msg, "Give another port: --port 0 takes a free one.") from error
