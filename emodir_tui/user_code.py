"""Modules of the user's own, which a profile names."""

import importlib
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from emodir_tui.errors import ProfileError, first_line, nearest


def load_callable(key: str, source: str) -> Callable[..., Any]:
    """The function or class that the profile's `key` names as `module.path:name`.

    Raises:
        ProfileError: Its module can't be imported, or has none of that name.
    """
    module_name, _, name = source.partition(":")
    module = import_user_module(key, module_name)
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    if hasattr(module, name):
        raise ProfileError(f"{key}: '{name}' of '{module_name}' is a {type(found).__name__}, not a function")
    public = [word for word in dir(module) if not word.startswith("_")]
    raise ProfileError(f"{key}: '{module_name}' has no function '{name}'", nearest(name, public))


def import_user_module(key: str, name: str) -> ModuleType:
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
