"""The command line: commands, options and exit codes. Commands import what is slow to load themselves."""

import os
import sys
from typing import NoReturn

import typer

# isort: off
# Commands register when their module is imported; 'emodir --help' lists them in this order.
from emodir_tui.cli import run_commands, control_commands, report_commands, network_commands, setup_commands  # noqa: F401

# isort: on
from emodir_tui.cli.app import app, fail
from emodir_tui.errors import EmodirError, ExitCode, ProfileError
from emodir_tui.user_code import user_code_refused

# Newer releases of Typer contain a copy of click, and export only this subclass of its error.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the command `emodir`: run it and exit with its code."""
    try:
        # Commands whose user has named the profile allow it.
        with user_code_refused("If you trust it, name the profile to allow it: --profile PROFILE."):
            result = app(standalone_mode=False)
    except EmodirError as error:
        fail(error)
    except MemoryError:
        fail(EmodirError("there is not enough memory for this"))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _exit_without_reader()
    except SystemExit as leaving:
        # Typer turns a broken pipe into a SystemExit.
        if isinstance(leaving.__context__, BrokenPipeError):
            _exit_without_reader()
        raise
    except UsageError as error:
        message = error.format_message().strip()  # type: ignore[attr-defined]
        message = message[:1].lower() + message[1:].rstrip(".")
        fail(ProfileError(message, "See 'emodir --help' and 'emodir COMMAND --help'."))
    sys.exit(result if isinstance(result, int) else ExitCode.OK)


def _exit_without_reader() -> NoReturn:
    """Exit quietly when the reader of stdout, such as `head`, has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(ExitCode.OK)
