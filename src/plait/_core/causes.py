"""Which failures are tried again: exception classes, or what a file can write of them.

`exit 75`, `exit 64-78` (a command's code), `signal SIGKILL`, `http 503`, `http 500-504`, `http 5xx`, `timeout`, `retryable` (an error that says
so of itself), and an exception's name as `ConnectionError` or `package.module:Name`.
"""

from __future__ import annotations

import re
from signal import Signals
from typing import TypeAlias

from plait.errors import CommandFailed, HttpError, LimitError, RecordedError

Cause: TypeAlias = type[BaseException] | str

# Texts, and compiled when somebody uses them: most programs never do.
CODED = r"(exit|http) ([0-9]{1,3})(?:-([0-9]{1,3}))?|http ([45])xx|signal (SIG[A-Z0-9]+)|(timeout|retryable)"
NAMED = r"(?:[A-Za-z_][\w.]*:)?[A-Z_]\w*(?:\.\w+)*"
_LIMITS = {"exit": (1, 255), "http": (400, 599)}


def causes(name: str, value: object) -> tuple[Cause, ...]:
    """What an option says, checked: one cause, or a list or tuple of them.

    Raises:
        LimitError: for what is no cause.
    """
    found = tuple(value) if isinstance(value, tuple | list) else (value,)
    if value == [] or (value == () and not name.endswith("not_on")):
        raise LimitError(f"{name} is empty, so nothing would be meant: leave it out, or say what is")
    for cause in found:
        if isinstance(cause, type) and issubclass(cause, BaseException):
            continue
        if not isinstance(cause, str) or not (_codes(cause) or re.fullmatch(NAMED, cause)):
            raise LimitError(
                f"{name} is an exception class or its name, 'exit 75', 'exit 64-78', 'signal SIGKILL', 'http 503', 'http 5xx', "
                f"'timeout' or 'retryable', or a list of them, not {cause!r}"
            )
    return found


def is_meant(cause: Cause, error: BaseException) -> bool:
    """Is `error` one that this cause names?"""
    if not isinstance(cause, str):
        return isinstance(error, cause)
    codes = _codes(cause)
    if codes is None:
        names = {
            name for kind in type(error).__mro__ for name in (kind.__name__, f"{kind.__module__}:{kind.__qualname__}")
        }
        if isinstance(error, RecordedError):
            names |= {error.kind, error.kind.rpartition(":")[2]}
        return cause in names
    kind, first, last = codes
    if kind == "timeout":
        return isinstance(error, TimeoutError)
    if kind == "retryable":
        return _says_so(error)
    if kind == "signal":
        # A shell whose command died of a signal exits with 128 and its number.
        return isinstance(error, CommandFailed) and (error.signal == first or error.exit_code == 128 + Signals[first])
    number: int | None = None  # no number is both an exit code and a status of a failure
    if isinstance(error, CommandFailed):
        number = error.exit_code
    elif isinstance(error, HttpError):
        number = error.status
    return number is not None and int(first) <= number <= int(last)


def _says_so(error: BaseException) -> bool:
    """Does an error say of itself, in its `retryable`, that another attempt may help?"""
    try:
        return getattr(error, "retryable", False) is True
    except Exception:  # a property of a user's class
        return False


def is_code(cause: Cause) -> bool:
    """Does it say a code, a status or a signal? Who names one knows better than the error whether to try again."""
    return isinstance(cause, str) and cause not in ("timeout", "retryable") and _codes(cause) is not None


def _codes(cause: str) -> tuple[str, str, str] | None:
    """What is counted, from where and to where; None for a name, and for numbers that cannot be."""
    found = re.fullmatch(CODED, cause)
    if found is None:
        return None
    kind, first, last, hundred, signal, word = found.groups()
    if word:
        return word, "", ""
    if signal:
        return ("signal", signal, "") if signal in Signals.__members__ else None
    if hundred:
        return "http", f"{hundred}00", f"{hundred}99"
    least, most = _LIMITS[kind]
    last = last or first
    return (kind, first, last) if least <= int(first) <= int(last) <= most else None
