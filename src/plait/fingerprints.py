"""What a function's code is, so that an edit is seen, and what it says that it returns."""

from __future__ import annotations

import linecache
import types
import typing
from functools import cache, partial
from typing import Any

from plait.references import bare

try:  # hashlib loads a library of many hashes, which the start of a program would wait for; `random` does the same
    from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from hashlib import sha256


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
