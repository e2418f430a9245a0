"""Import of the functions and modules that a user's profile names."""

import importlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from emodir_tui.errors import ProfileError, first_line, nearest

# The hint of whoever refuses; empty where user code may run.
_refusals: list[str] = []


@contextmanager
def user_code_refused(hint: str) -> Iterator[None]:
    """Refuse to import user code inside, until `allow_user_code`: a command that only reads must not run what it reads.

    Args:
        hint: How the user allows it.
    """
    before = list(_refusals)
    _refusals.append(hint)
    try:
        yield
    finally:
        _refusals[:] = before


def allow_user_code() -> None:
    """Allow it: the user has named the profile whose code runs."""
    _refusals.clear()


def is_user_model(source: str) -> bool:
    """Whether a model.source is user code, `module.path:factory`, which building the model would run."""
    return ":" in source and not source.startswith(("torchvision:", "timm:"))


def is_user_data(source: str) -> bool:
    """Whether a data.source is user code, `module.path:factory`, which loading the data would run."""
    return ":" in source and not source.startswith(("folder:", "npz:"))


def load_callable(key: str, source: str) -> Callable[..., Any]:
    """Import the function or class named by the profile's `key` as `module.path:name`.

    Raises:
        ProfileError: User code is refused here, the module cannot be imported, or it has no callable of that name.
    """
    if _refusals:
        raise ProfileError(f"{key} names code, {source}, which would be run", _refusals[-1])
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
    """Import the user's module that the profile's `key` names.

    Raises:
        ProfileError: The name is not a module's, or the import fails; the message gives the reason and the line.
    """
    if not name.strip(".") or name.startswith(".") or "/" in name or name.endswith(".py"):
        plain = name.removesuffix(".py").strip("./").replace("/", ".") or "package.module"
        raise ProfileError(f"{key}: '{name}' is not a valid module name", f"Write {plain}:FUNCTION, as for import.")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ProfileError(
            f"{key}: module '{name}' cannot be imported ({error})",
            "Python looks for it in the folder where emodir was started and in its environment.",
        ) from error
    # Importing a module runs it, and a program may raise anything.
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}, line {frames[-1].lineno}"
        if isinstance(error, SyntaxError):
            place = f"{error.filename}, line {error.lineno}"
        raise ProfileError(
            f"{key}: module '{name}' cannot be imported: {type(error).__name__}: {first_line(error)} ({place})"
        ) from error
