"""Functions by name, so that another process finds them again. Worker processes import this, and wait for what it imports."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from plait.errors import NotStorable, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable
    from typing import Any


def bare(function: Any) -> Any:
    """The plain function below what plait's decorator made of it."""
    return getattr(function, "__wrapped__", function) if hasattr(function, "_definition") else function


def reference(function: Any) -> str | None:
    """`module:name` of a function that an import finds, `module:name@file` in the program that was started; None for any other."""
    function = bare(function)
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    home = sys.modules.get(module)
    if home is None or bare(_inside(home, name)) is not function:
        return None
    if module in ("__main__", STARTED):
        file = getattr(home, "__file__", None)  # an interactive session has none: only that very session finds it again
        return f"__main__:{name}@{os.path.abspath(file) if file else ''}"
    return f"{module}:{name}"


STARTED = "__plait_main__"
"""The name under which another process imports the program that started a run: its `if __name__ == "__main__"` part stays asleep."""


def _inside(home: Any, name: str) -> Any:
    for part in name.split("."):
        home = getattr(home, part, None)
    return home


def resolve(name: str) -> Callable[..., Any]:
    """The function again.

    Raises:
        UsageError: where it is not there any more, or its module cannot be imported.
    """
    module, _, rest = name.partition(":")
    path, _, file = rest.partition("@")
    try:
        home = _program(file) if module == "__main__" else import_module(module)
    except Exception as error:
        why = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"the function {module}:{path} cannot be imported: {why}") from None
    found = bare(_inside(home, path))
    if not callable(found):
        raise UsageError(f"the function {module}:{path}{f' of {file}' if file else ''} does not exist any more")
    return found  # type: ignore[no-any-return]


def _program(file: str) -> types.ModuleType:
    main = sys.modules.get("__main__")
    started = getattr(main, "__file__", None)
    if main is not None and (os.path.abspath(started) if started else "") == file:
        return main
    if not file:
        raise UsageError("it was defined in an interactive session")
    known = sys.modules.get(STARTED)
    if known is not None and known.__file__ == file:
        return known
    from importlib import util

    spec = util.spec_from_file_location(STARTED, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is no Python program")
    module = sys.modules[STARTED] = util.module_from_spec(spec)
    folder = os.path.dirname(file)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[STARTED]
        raise
    return module


def named(function: Any, what: str) -> str:
    """`reference(function)`.

    Raises:
        NotStorable: for a function that another process could not find.
    """
    found = reference(function)
    if found is None:
        raise NotStorable(
            f"{what} cannot be found again by another process: put it at the top of a module, under its own name"
        )
    return found
