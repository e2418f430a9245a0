"""The application: commands register with it; options and helpers that several commands share."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from emodir_tui.errors import EmodirError, ExitCode, NotFoundError, ProfileError, nearest
from emodir_tui.formatting import printable
from emodir_tui.reports.lines import note

if TYPE_CHECKING:
    from emodir_tui.profile import Profile
    from emodir_tui.runs.directory import RunDirectory

EPILOG = (
    "Exit codes: 0 ok · 1 run failed · 2 usage or profile · 3 not found or ambiguous · 4 conflict (already running) · "
    "5 worker lost or did not start · 6 left while running · 75 stopped, resumable · 130 interrupted. "
    "Runs live in ./runs, --runs-dir or EMODIR_RUNS."
)


class _Commands(TyperGroup):
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            raise ProfileError(
                f"unknown command '{cmd_name}'",
                nearest(cmd_name, self.list_commands(ctx)) or "'emodir --help' lists all commands.",
            )
        return command


app = typer.Typer(
    name="emodir",
    cls=_Commands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix of it, or @latest.")]
RunsDir = Annotated[Path | None, typer.Option("--runs-dir", help="Folder of the runs.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the worker's answer.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a key, such as search.population=40."),
]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Print the run's id and return when the worker is ready.")]
NoTui = Annotated[bool, typer.Option("--no-tui", help="Show a progress bar or plain lines instead of the dashboard.")]
Foreground = Annotated[bool, typer.Option("--foreground", help="Run the worker in this process (Slurm, systemd).")]
Shared = Annotated[bool, typer.Option("--shared", help="Let other users watch this run, but not control it.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"emodir {version('emodir')}\n")
        raise typer.Exit


@app.callback(epilog=EPILOG, invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Prune convolutional networks by evolutionary multi-objective search."""
    if context.invoked_subcommand is None:
        note(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


def trust_user_modules() -> None:
    """Allow the code that a profile on the command line names; look for it in the current folder, after all libraries."""
    from emodir_tui.user_code import allow_user_code

    allow_user_code()
    with suppress(OSError):
        sys.path.append(str(Path.cwd()))


def on_terminal() -> bool:
    """Whether the dashboard can be drawn here."""
    # Textual draws on stderr and reads from stdin.
    return sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def load_profile(name: str, sets: list[str]) -> "Profile":
    """The profile of this file or of this shipped name, with overrides KEY=VALUE.

    Raises:
        NotFoundError: There is none.
        ProfileError: It is wrong.
    """
    from emodir_tui.profile import load

    return load(profile_file(name), sets)


def profile_file(name: str) -> Path:
    """The file at this path, or the shipped profile of this name."""
    path = Path(name)
    # Path.is_file raises if a name is too long for a file.
    if not os.path.isfile(path):  # noqa: PTH113
        shipped = {file.stem: file for folder in _profile_folders() for file in sorted(folder.glob("*.toml"))}
        if name.removesuffix(".toml") not in shipped or os.sep in name:
            hint = nearest(path.stem, shipped) or "Shipped profiles: " + ", ".join(sorted(shipped)) + "."
            raise NotFoundError(f"unknown profile '{name}'", hint)
        path = shipped[name.removesuffix(".toml")]
    return path


def _profile_folders() -> list[Path]:
    package = Path(__file__).parent.parent
    # Profiles are inside the installed package, but next to the package in a checkout.
    return [folder for folder in (package / "_profiles", package.parent / "profiles") if folder.is_dir()]


def find_run(name: str, runs_dir: Path | None) -> "RunDirectory":
    """The run that goes by this name; see `runs.directory.find`."""
    from emodir_tui.runs.directory import find, runs_directory

    return find(runs_directory(runs_dir), name)


def fail(error: EmodirError) -> NoReturn:
    """Print an error with its hint on stderr, and exit with its code."""
    note(f"error: {printable(error.message)}" + (f"\n  hint: {error.hint}" if error.hint else ""))
    sys.exit(error.exit_code)
