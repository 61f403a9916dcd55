"""What may stand between `{{` and `}}`: a look-up such as `tasks.list.output[0].name`, or `raw(...)` around one.

This is where the expression language will come in: templates only ask an expression for its `names` and its `value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

ROOTS = ("inputs", "tasks", "item", "index", "env", "error", "feedback")
ERROR = ("type", "message", "status", "exit_code")
"""What an `on_error` may look up of `error`."""
LONGEST = 10_000


class Scope(Protocol):
    """Where names get their values while a flow runs."""

    def root(self, name: str) -> Any:
        """The value of a root."""
        ...

    def task(self, path: tuple[str | int, ...]) -> Any:
        """What follows `tasks.`: `("list", "output", 0)`."""
        ...


@dataclass(frozen=True, slots=True)
class Lookup:
    """A root and the steps from it. `raw`: the value goes into a command as it is, unquoted."""

    root: str
    steps: tuple[str | int, ...]
    raw: bool = False

    def names(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """What it reads, as root and steps: for checks before anything runs."""
        yield self.root, self.steps

    def value(self, scope: Scope) -> Any:
        """What it stands for; null where a step leads nowhere."""
        if self.root == "tasks":
            return scope.task(self.steps)
        return follow(scope.root(self.root), self.steps)


def follow(value: Any, steps: tuple[str | int, ...]) -> Any:
    """`value` after `steps` into plain data; null where one leads nowhere."""
    for step in steps:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, (list, tuple)) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


_NAME = re.compile(r"[^\W\d][\w-]*")
_STEP = re.compile(
    r"""\s*(?:\.\s*(?P<name>[^\W\d][\w-]*)|\[\s*(?:(?P<index>-?[0-9]{1,9})|"(?P<double>[^"\\]*)"|'(?P<single>[^'\\]*)')\s*\])"""
)
_END = re.compile(r"\s*\Z")
_RAW = re.compile(r"raw\s*\((.*)\)\s*", re.DOTALL)


class LookupError_(ValueError):
    """A look-up that is none; `offset` is where in its text."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def parse(text: str, raw_allowed: bool = True) -> Lookup:
    """The look-up in `text`.

    Raises:
        LookupError_: where it is none, with the offset.
    """
    if len(text) > LONGEST:
        raise LookupError_(0, f"longer than {LONGEST} characters")
    start = len(text) - len(text.lstrip())
    raw = _RAW.fullmatch(text, start)
    if raw is not None and raw_allowed:
        inner = parse(raw[1], raw_allowed=False)
        return Lookup(inner.root, inner.steps, raw=True)
    name = _NAME.match(text, start)
    if name is None:
        shown = text.strip()
        raise LookupError_(
            start,
            "an empty template"
            if not shown
            else f"cannot read {shown[:40]!r}: write a look-up such as tasks.list.output[0]",
        )
    at = name.end()
    steps: list[str | int] = []
    while not _END.match(text, at):
        step = _STEP.match(text, at)
        if step is None:
            raise LookupError_(
                at, f"cannot read {text[at:].strip()[:40]!r}: this version reads look-ups such as tasks.list.output[0]"
            )
        steps.append(
            int(step["index"]) if step["index"] is not None else step["name"] or step["double"] or step["single"] or ""
        )
        at = step.end()
    return Lookup(name[0], tuple(steps))
