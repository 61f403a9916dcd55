"""What a leaf node is: the fields that a file gives it, and the code that makes a value of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from plait.errors import NodeError, UsageError
from plait.expressions import Budget, Names
from plait.expressions.formula import Formula


class FieldKind(StrEnum):
    """How the text of a field is read."""

    TEXT = "text"  # a template, written out as text
    VALUE = "value"  # a template; one `{{ ... }}` alone keeps the type of its value; in YAML also nested data
    JSON = "json"  # the same, and text that is JSON becomes what it says
    EXPRESSION = "expression"  # an expression, which the node works out itself: a Formula


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a node: an attribute, a child element, or an entry of the YAML element `section`.

    `read` takes the value that the field has (of TEXT: its text) and gives what the node gets; it raises ValueError with what
    is wrong. What is written without a template is read at validation, everything else when the node runs. A field that is not
    given has `default`, unread.
    """

    kind: FieldKind = FieldKind.TEXT
    required: bool = False
    default: Any = None
    read: Callable[[Any], Any] | None = None
    section: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(slots=True)
class At:
    """Where a node runs, and what it may use beside its fields."""

    node: str
    """Its id."""
    names: Names
    """What the names in its expressions stand for."""
    input: Any = None
    """What its `input` leads to; of several ids the list of their outputs."""
    has_input: bool = False
    folder: Path = field(default_factory=Path.cwd)
    """The working directory: relative paths begin here, and stay inside."""
    allowed: tuple[Path, ...] = ()
    """Other folders in which paths may lie (`--allow-path`)."""
    schemas: Mapping[str, Any] = field(default_factory=dict)
    """The schemas of the file, by name."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The declared secrets, by name, with their values."""
    from_data: frozenset[str] = frozenset()
    """The fields whose value was made of data that the file does not say: of inputs, of outputs of other nodes."""
    known: Callable[[Mapping[str, Any], Budget | None], Names] | None = None
    """Makes the same names, and those beside them that it is given, with a budget where one is given."""
    copied: Callable[[Any], Any] | None = None
    """Makes a copy of a value that others have, too. None: for a node that changes nothing that it is given."""

    def worked_out(self, formula: Formula, names: Mapping[str, Any] = {}, budget: Budget | None = None) -> Any:
        """The value of an expression, with these names beside the others."""
        value = formula.value(self.known(names, budget) if self.known is not None else self.names)
        return value if self.copied is None else self.copied(value)


class Node:
    """Base of a type of leaf node. `run` may be a coroutine function or, for blocking code, a plain one, which runs in a thread."""

    fields: ClassVar[Mapping[str, Field]] = {}
    retries: ClassVar[int] = 0
    """Tries after the first, for what may go better then, where the file says nothing of it."""

    @classmethod
    def tries_after(cls, said: Mapping[str, Any], given: frozenset[str] = frozenset()) -> int:
        """`retries`, where that depends on the fields: `said` are those that hold no template, as they were read; `given` are all that stand in the file."""
        return cls.retries

    @classmethod
    def check(cls, said: Mapping[str, Any], given: frozenset[str]) -> list[tuple[str, str]]:
        """What is wrong with the fields together, as (field, message); `said` as in `tries_after`, `given` are all that stand in the file."""
        return []

    def run(self, given: Mapping[str, Any], at: At) -> Any:
        """The output. `given` has every field of `fields`, worked out and read; `timeout` is kept by the engine."""
        raise NotImplementedError


def given(
    made: type[Node], raw: Mapping[str, Any], node: str = "", fields: Mapping[str, Field] | None = None
) -> dict[str, Any]:
    """What `run` gets as `given`: every field of a class (or of `fields` alone), read, from the values that there are; names may be aliases.

    Raises:
        NodeError: for a required field that is missing, and for a value that cannot be read; it names node and field.
        UsageError: for a name that is no field of the class.
    """
    who = f"{node}: " if node else ""
    fields = made.fields if fields is None else fields
    names = {alias: name for name, each in fields.items() for alias in (name, *each.aliases)}
    for name in raw:
        if name not in names:
            raise UsageError(f"{who}{made.__name__} has no field {name!r}: it has {', '.join(sorted(made.fields))}")
    values = {names[name]: value for name, value in raw.items()}
    found: dict[str, Any] = {}
    for name, each in fields.items():
        if name not in values:
            if each.required:
                raise NodeError(f"{who}the field {name!r} is missing")
            found[name] = each.default
            continue
        try:
            found[name] = values[name] if each.read is None else each.read(values[name])
        except ValueError as error:
            raise NodeError(f"{who}{name}: {error}") from None
    return found


def one_of(*words: str) -> Callable[[Any], str]:
    """Reads a field that is one of these words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"it is one of {', '.join(words)}, not {value!r:.60}")
        return str(value)

    return read


_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_ISO = re.compile(
    r"P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(value: Any) -> float:
    """Seconds of `500ms`, `5s`, `1m`, `2h`, `1d`, `1h30m`, ISO 8601 `PT5S`; a bare number is milliseconds.

    Raises:
        ValueError: for anything else, and for what is negative.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value / 1000
    else:
        seconds = _written(str(value).strip().replace(" ", ""))
    if not 0 <= seconds <= 1e9:
        raise ValueError(f"a duration is such as 500ms, 5s, 1m, 2h, 1h30m or PT5S, not {value!r}")
    return seconds


def _written(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text) / 1000
    if text and _PART.sub("", text.lower()) == "":
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text.lower()))
    found = _ISO.fullmatch(text)
    if found is None or not any(found.groups()):
        return -1.0
    sizes = (7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0)
    return sum(float(number) * size for number, size in zip(found.groups(), sizes, strict=True) if number)
