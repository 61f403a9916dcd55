"""Functions by name, so that another process finds them again, and what their code is, so that an edit is seen."""

from __future__ import annotations

import os
import sys
import types
import typing
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any

from plait.errors import NotStorable, UsageError

try:  # hashlib loads a library of many hashes, which the start of a program would wait for; `random` does the same
    from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from hashlib import sha256


def bare(function: Any) -> Any:
    """The plain function below what plait's decorator made of it."""
    return getattr(function, "__wrapped__", function) if hasattr(function, "_definition") else function


def reference(function: Any) -> str | None:
    """`module:name` of a function that an import finds, `module:name@file` in the program that was started; None for any other."""
    function = bare(function)
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name or isinstance(function, partial):
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


def fingerprint(function: Any) -> str:
    """A hash of a function's source without comments at its ends and without its decorators; of its bytecode where there is none."""
    return _fingerprint(_below(function))


def _below(function: Any) -> Any:
    function = bare(function)
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__func__", function)


@cache
def _fingerprint(function: Any) -> str:
    import textwrap

    try:
        lines = textwrap.dedent(_source(function)).splitlines()
        start = next((at for at, line in enumerate(lines) if line.startswith(("def ", "async def ", "class "))), 0)
        text = "\n".join(line.rstrip() for line in lines[start:] if line.strip() and not line.strip().startswith("#"))
        data = text.encode()
    except (OSError, TypeError, IndentationError):
        code = getattr(function, "__code__", None)
        data = (
            repr((function.__qualname__, *_of_code(code))).encode()
            if code is not None
            else repr(type(function)).encode()
        )
    return str(sha256(data).hexdigest()[:16])


def _source(function: Any) -> str:
    """The lines of a function, from its first to the last that has code: reading tokens to find the end costs milliseconds."""
    # Here, and not at the top: workers only look functions up, and tasks wait for each worker.
    import linecache

    code = getattr(function, "__code__", None)
    lines = linecache.getlines(code.co_filename) if isinstance(code, types.CodeType) else []
    if not isinstance(code, types.CodeType) or not lines:
        import inspect

        return inspect.getsource(function)
    return "".join(lines[code.co_firstlineno - 1 : _last_line(code)])


def _last_line(code: types.CodeType) -> int:
    own = max((line for _, _, line in code.co_lines() if line is not None), default=code.co_firstlineno)
    return max([own, *(_last_line(each) for each in code.co_consts if isinstance(each, types.CodeType))])


def _of_code(code: types.CodeType) -> tuple[Any, ...]:
    constants = tuple(_of_code(each) if isinstance(each, types.CodeType) else each for each in code.co_consts)
    return code.co_code, code.co_names, constants


@cache
def declared_type(function: Any) -> Any:
    """What a function says that it returns; None if it says nothing, or nothing that can be found."""
    try:
        found = typing.get_type_hints(_below(function)).get("return")
    except Exception:
        return None  # a name that only a type checker knows
    return None if found in (Any, None, type(None)) else found


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
