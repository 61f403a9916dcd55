"""Secret values in exceptions: these are changed in place, for others hold them; what cannot be changed is replaced by what it says."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from plait.errors import RecordedError

if TYPE_CHECKING:
    from plait.redaction.redactor import Redactor

_OF_SYSTEM = ("filename", "filename2", "strerror", "msg", "text", "object", "reason", "name", "path", "value")
"""What exceptions of Python's own keep beside their arguments."""

LONGEST_TRACE = 4000


def redacted_error(redactor: Redactor, error: BaseException) -> BaseException:
    """The exception without secret values, with all that it was raised from: itself, where all of it can be changed."""
    return _Errors(redactor).of(error)


class _Errors:
    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._made: dict[int, BaseException] = {}

    def of(self, error: BaseException) -> BaseException:
        known = self._made.get(id(error))
        if known is not None:
            return known
        self._made[id(error)] = error  # it may be its own cause
        for name in ("__cause__", "__context__"):
            other = getattr(error, name)
            if other is not None and (clean := self.of(other)) is not other:
                hidden = error.__suppress_context__
                setattr(error, name, clean)
                error.__suppress_context__ = hidden
        inner = getattr(error, "exceptions", ()) if isinstance(error, BaseExceptionGroup) else ()
        same = all([self.of(each) is each for each in inner])
        self._change(error)
        if same and not self._shows(error):
            return error
        made = self._made[id(error)] = self._instead_of(error)
        return made

    def _change(self, error: BaseException) -> None:
        clean = self._redactor.redact
        try:
            if (args := clean(tuple(error.args))) != tuple(error.args):
                error.args = args
        except Exception:
            pass  # it is looked at afterwards
        slots = [name for kind in type(error).__mro__ for name in _slots(kind)]
        for name in dict.fromkeys((*getattr(error, "__dict__", ()), *slots, *_OF_SYSTEM)):
            try:
                part = getattr(error, name)
                if isinstance(part, BaseException):
                    changed: Any = self.of(part)
                else:
                    changed = clean(part)
                if changed is not part:
                    setattr(error, name, changed)
            except Exception:
                continue

    def _shows(self, error: BaseException) -> bool:
        """Does it still say one, whatever its class makes of its parts?"""
        for said in (str, repr, _notes):
            try:
                text = said(error)
            except Exception:
                continue
            if self._redactor.text(text) != text:
                return True
        return False

    def _instead_of(self, error: BaseException) -> BaseException:
        text = self._redactor.text
        try:
            says = text(str(error))
        except Exception:
            says = ""
        trace = "".join(traceback.format_tb(error.__traceback__, -20))[-LONGEST_TRACE:]
        made = RecordedError(f"{type(error).__name__}: {says}", type(error).__name__, text(trace))
        made.__cause__, made.__context__ = error.__cause__, error.__context__
        made.__suppress_context__ = error.__suppress_context__
        for note in getattr(error, "__notes__", ()):
            made.add_note(text(str(note)))
        return made.with_traceback(error.__traceback__)


def _slots(kind: type) -> tuple[str, ...]:
    found = vars(kind).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)


def _notes(error: BaseException) -> str:
    return "\n".join(map(str, getattr(error, "__notes__", ())))
