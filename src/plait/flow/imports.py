"""The functions that a flow calls, imported before anything runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from plait._core.policy import nearest
from plait.errors import FlowError, UsageError
from plait.flow.model import FlowTask, PythonCall
from plait.flow.problems import Problems


def import_calls(
    tasks: Iterable[FlowTask], texts: Mapping[Path, str]
) -> dict[tuple[str, str, str], Callable[..., Any]]:
    """Every function that these tasks and all within them call, by folder, module and name; `texts` are those of the files.

    Raises:
        FlowError: for those that cannot be imported or do not take their arguments, with their places.
    """
    problems: dict[Path, Problems] = {}
    found: dict[tuple[str, str, str], Callable[..., Any]] = {}
    stack = list(tasks)[::-1]
    seen: set[int] = set()  # a file that is named twice is looked at once
    while stack:
        task = stack.pop()
        if id(task) in seen:
            continue
        seen.add(id(task))
        stack.extend(task.inner[::-1])
        if isinstance(task.body, PythonCall):
            call = task.body
            try:
                function = found.get(call.target) or _import(call)
                found[call.target] = function
                _check_arguments(function, call)
            except UsageError as error:
                problems.setdefault(call.file, Problems(str(call.file), texts.get(call.file))).add(
                    call.at, "call", str(error)
                )
    if problems:
        raise FlowError([each for file in problems.values() for each in file.error().problems])
    return found


def _import(call: PythonCall) -> Callable[..., Any]:
    folder = call.file.resolve().parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    top = call.module.split(".")[0]
    beside = folder / f"{top}.py"
    loaded = sys.modules.get(top)
    if beside.exists() and loaded is not None and getattr(loaded, "__file__", None) != str(beside):
        sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
        del sys.modules[top]  # of another file's folder
    try:
        module = import_module(call.module)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(f"module {call.module!r} cannot be imported: {type(error).__name__}: {error}") from None
    function = getattr(module, call.name, None)
    if function is None:
        raise UsageError(f"module {call.module!r} has no function {call.name!r}{nearest(call.name, vars(module))}")
    if not callable(function):
        raise UsageError(f"{call.module}:{call.name} is not callable")
    return function  # type: ignore[no-any-return]


def _check_arguments(function: Callable[..., Any], call: PythonCall) -> None:
    try:
        inspect.signature(function).bind(**call.arguments)
    except TypeError as error:
        raise UsageError(f"{call.module}:{call.name}: {error}") from None
    except ValueError:
        pass  # a built-in without a signature
