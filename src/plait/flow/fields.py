"""The fields of a leaf node as a file has them: each read as far as that can be, the rest worked out when the node runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol, TypeAlias

from plait.expressions import Reference
from plait.expressions import text as written
from plait.expressions.formula import Formula
from plait.flow.problems import Place, Problems
from plait.flow.script.texts import MISSING, SCHEMA, TYPE, UNKNOWN, constant, json_or_text, look_for_unit, place
from plait.flow.spans import Span
from plait.flow.templates import Template, holds_template, templates_of
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Tree
from plait.nodes import Field, FieldKind, Node, duration
from plait.nodes.registry import OWN


@dataclass(frozen=True, slots=True)
class Said:
    """What the file says of a field: text, or YAML."""

    raw: Span | Tree
    at: Place
    nested: bool = False
    """Is it made of elements?"""


class Reading(Protocol):
    """What reads texts of a file, and tells what is wrong with them."""

    problems: Problems

    def bad(self, at: Place, code: str, message: str, hint: str = "") -> None:
        """Notes a problem."""

    def knowing(self, *names: str) -> AbstractContextManager[None]:
        """Inside, these names stand for what only the node itself knows."""

    def formula(self, text: Span | Scalar, what: str, *, arrow: bool = False) -> Formula | None:
        """An expression."""

    def template(self, text: Span | Scalar) -> Template | None:
        """Text with `{{ }}` in it."""

    def data(self, tree: Tree) -> Any:
        """YAML with the templates in its texts."""


EACH = ("item", "index", "first", "last", "items", "acc")
"""What the expressions of leaf nodes know of the items that they are worked out for."""


class Fields:
    """Reads the fields of one node."""

    def __init__(
        self,
        reader: Reading,
        at: Place,
        shown: str,
        name: str,
        fields: Mapping[str, Field],
        open: bool,
        iterates: bool = True,
    ) -> None:
        self._reader = reader
        self._at = at
        self._shown = shown
        self._iterates = iterates  # are its expressions of items?
        self._name = name
        self._fields = fields
        self.said: dict[str, Any] = {}
        """What was given, by the names of the fields, before it is read."""
        self._open = open  # of a package: which fields it has is known when it is loaded
        self._of_alias = {alias: name for name, each in fields.items() for alias in each.aliases}

    def all(self, given: Mapping[str, Said], fixed: dict[str, Any], filled: dict[str, Any]) -> None:
        """Sorts what is given into what is read already and what is worked out for each call."""
        seen: set[str] = set()
        for said_name, said in given.items():
            name = self._of_alias.get(said_name, said_name)
            field = self._fields.get(name, Field(FieldKind.VALUE) if self._open else None)
            if name == "" or field is None:
                self._unknown(said_name, said)
                continue
            if name in seen:
                self._reader.bad(said.at, TYPE, f"{said_name!r} says the same as {name!r}, which is given, too")
                continue
            seen.add(name)
            self._one(name, field, said, fixed, filled)
        for name, field in self._fields.items():
            if field.required and name not in seen:
                self._reader.bad(
                    self._at,
                    MISSING,
                    f"{self._shown} of type {self._name.partition(':')[2]} needs {name}",
                    self._write(name),
                )

    def _write(self, name: str) -> str:
        return (
            f"write <{name}>...</{name}> into it"
            if self._shown.startswith("<")
            else f"write it under `with:`, as `{name}: ...`"
        )

    def _unknown(self, name: str, said: Said) -> None:
        if name == "":
            self._reader.bad(
                said.at,
                TYPE,
                f"text does not belong into {self._shown} itself",
                f"put it into one of {', '.join(f'<{each}>' for each in self._fields) or 'its fields'}",
            )
            return
        known = [*self._fields, *self._of_alias]
        kind = self._name.partition(":")[2]
        self._reader.bad(
            said.at,
            TYPE,
            f"a {self._name.partition(':')[0]} of type {kind} has no {name!r}{self._reader.problems.nearest(name, known)}",
            f"it has {', '.join(self._fields)}",
        )

    def _one(self, name: str, field: Field, said: Said, fixed: dict[str, Any], filled: dict[str, Any]) -> None:
        reader, raw = self._reader, said.raw
        if said.nested and not (field.kind is FieldKind.VALUE and (field.section or self._name not in OWN)):
            tag = next(iter(raw.items), "") if isinstance(raw, Map) else ""
            hint = "text with tags in it stands in <![CDATA[ ... ]]>"
            reader.bad(said.at, UNKNOWN, f"<{tag}> does not belong into <{name}>, which holds text", hint)
            return
        if field.kind is FieldKind.EXPRESSION:
            if isinstance(raw, (Span, Scalar)):
                with reader.knowing(*EACH) if self._iterates else nullcontext():
                    formula = reader.formula(raw, name, arrow=True)
                if formula is not None:
                    fixed[name] = self.said[name] = formula
            else:
                reader.bad(raw.at, TYPE, f"{name} must be an expression, not a list or a mapping")
            return
        if isinstance(raw, (Span, Scalar)) and (isinstance(raw, Span) or isinstance(raw.value, str)):
            template = reader.template(raw)
            if template is None:
                return
            value: Any = constant(template)
        else:
            value = reader.data(raw)
        self.said[name] = value
        if holds_template(value):
            filled[name] = value
            return
        at = said.raw if isinstance(said.raw, (Span, Scalar)) else None
        where = said.at if at is None else place(at, 0)
        if field.kind is FieldKind.JSON and isinstance(value, str):
            value = json_or_text(value)
        elif field.kind is FieldKind.TEXT and not isinstance(value, (str, list, dict)) and field.read is None:
            value = written(value)
        if field.read is None:
            fixed[name] = value
            return
        if field.read is duration:
            look_for_unit(reader.problems, where, name, value)
        try:
            fixed[name] = field.read(value)
        except ValueError as error:
            code = SCHEMA if "schema" in name else TYPE
            reader.bad(where, code, f"{name}: {error}")

    def check(self, found: type[Node], fixed: Mapping[str, Any], given: Mapping[str, Said]) -> None:
        """Tells what is wrong with the fields together."""
        names = frozenset(self._of_alias.get(name, name) for name in given)
        for name, message in found.check(fixed, names):
            said = given.get(name)
            self._reader.bad(self._at if said is None else said.at, TYPE, message)


Trust: TypeAlias = Callable[[Reference], bool]
"""Is that name one that who runs a flow says?"""

TRUSTED = ("$config", "$secrets", "$env", "$run")
"""What who runs a flow says; all else is data."""


def of_data(filled: Mapping[str, Any], is_trusted: Trust) -> Iterator[str]:
    """The fields that lead where data says: of a URL only what stands before its path counts."""
    for name, value in filled.items():
        if any(_leads(each, is_trusted) for each in templates_of(value)):
            yield name


def _leads(template: Template, is_trusted: Trust) -> bool:
    before = ""
    for part in template.parts:
        if isinstance(part, str):
            before += part
        elif all(map(is_trusted, part.formula.references)):
            before += "\0"
        else:
            return not re.match(r"(https?://[^/?#]+|\0[^/?#]*)[/?#]", before)
    return False


def server_of(url: Any, is_trusted: Trust) -> Template | None:
    """What stands before the first part of a URL that is data, where that may be a server."""
    if not isinstance(url, Template):
        return None
    own = tuple(
        takewhile(lambda part: isinstance(part, str) or all(map(is_trusted, part.formula.references)), url.parts)
    )
    return Template(own) if own else None
