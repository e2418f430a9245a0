"""Modules of the user's own, which a profile names."""

import importlib
import traceback
from types import ModuleType

from emodir_tui.errors import ProfileError, first_line


def own_module(key: str, name: str) -> ModuleType:
    """A module of somebody's own, which the profile's `key` names.

    Raises:
        ProfileError: It can't be imported; says why, and in which line.
    """
    if not name.strip(".") or name.startswith(".") or "/" in name or name.endswith(".py"):
        plain = name.removesuffix(".py").strip("./").replace("/", ".") or "package.module"
        raise ProfileError(f"{key}: '{name}' is no name of a module", f"Write {plain}:FUNCTION, as for import.")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ProfileError(
            f"{key}: module '{name}' can't be imported ({error})",
            "It is looked for where emodir is started, and in the environment.",
        ) from error
    # A module may do and raise whatever it likes when it is imported, as any program.
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}, line {frames[-1].lineno}"
        if isinstance(error, SyntaxError):
            place = f"{error.filename}, line {error.lineno}"
        raise ProfileError(
            f"{key}: module '{name}' can't be imported: {type(error).__name__}: {first_line(error)} ({place})"
        ) from error
