"""Text with `{{ ... }}` in it: parsed once, filled while a flow runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from plait.errors import ExpressionError
from plait.expressions import Names, Reference, parse
from plait.expressions.faults import PARSE
from plait.expressions.formula import Formula
from plait.expressions.tree import Arrow, Call


class TemplateError(ValueError):
    """A template that cannot be read; `offset` is where in its text."""

    def __init__(self, offset: int, message: str, code: str = "template", hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Hole:
    """One `{{ ... }}`; `offset` is where its expression starts in the text. `raw`: the value goes into a command as it is, unquoted."""

    formula: Formula
    offset: int
    raw: bool = False


Part: TypeAlias = str | Hole


@dataclass(frozen=True, slots=True)
class Template:
    """The parts of a text, in order."""

    parts: tuple[Part, ...]

    @property
    def holes(self) -> Iterator[Hole]:
        """Every `{{ ... }}`."""
        return (part for part in self.parts if isinstance(part, Hole))

    @property
    def references(self) -> Iterator[Reference]:
        """Every name that is read, from left to right."""
        return (each for hole in self.holes for each in hole.formula.references)

    @property
    def is_pure(self) -> bool:
        """Does it stand for the same whenever its names do?"""
        return all(hole.formula.is_pure for hole in self.holes)

    @property
    def alone(self) -> Hole | None:
        """The one `{{ ... }}` that the text is, whose value keeps its type."""
        part = self.parts[0] if len(self.parts) == 1 else None
        return part if isinstance(part, Hole) else None

    def value(self, names: Names) -> Any:
        """A text that is exactly one `{{ ... }}` keeps the value's type; otherwise values become text in it."""
        hole = self.alone
        return self.text(names) if hole is None else hole.formula.value(names)

    def text(self, names: Names) -> str:
        """As text: null is empty, lists and objects are compact JSON, integral numbers have no `.0`."""
        return "".join(part if isinstance(part, str) else part.formula.written(names) for part in self.parts)

    def script(self, names: Names) -> tuple[str, dict[str, str]]:
        """As a shell script, and the variables that it reads: a value is `"$PLAIT_VALUE_0"`, one word whatever it holds.

        No value ever becomes a part of the script's text, so none can be taken for code; `raw(...)` is the exception.
        """
        values: dict[str, str] = {}
        texts: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                texts.append(part)
            elif part.raw:
                texts.append(part.formula.written(names))
            else:
                name = f"PLAIT_VALUE_{len(values)}"
                values[name] = part.formula.written(names)
                texts.append(f'"${name}"')
        return "".join(texts), values


def holds_template(data: Any) -> bool:
    """Is there something to fill in, in plain data?"""
    if isinstance(data, (list, dict)):
        return any(map(holds_template, data.values() if isinstance(data, dict) else data))
    return isinstance(data, Template)


def templates_of(data: Any) -> Iterator[Template]:
    """Every template in plain data."""
    if isinstance(data, Template):
        yield data
    elif isinstance(data, (list, dict)):
        for each in data.values() if isinstance(data, dict) else data:
            yield from templates_of(each)


def parse_template(
    text: str, names: Collection[str] = (), locate: Callable[[int], str] = lambda offset: ""
) -> Template:
    r"""The template in `text`; `\{{` is a literal `{{`.

    The closing `}}` is the first one outside strings and outside brackets opened in the expression. `names` are those with
    hyphens; `locate` says where in a file an offset in the text is, for errors that come when the template is filled.

    Raises:
        TemplateError: for an unclosed `{{`, or an expression that cannot be read, with the offset.
    """
    parts: list[Part] = []
    literal: list[str] = []
    at = 0
    while True:
        start = text.find("{{", at)
        if start < 0:
            literal.append(text[at:])
            break
        if start > at and text[start - 1] == "\\":
            literal.append(text[at : start - 1] + "{{")
            at = start + 2
            continue
        literal.append(text[at:start])
        end = closing(text, start + 2)
        if end < 0:
            raise TemplateError(
                start, "`{{` is not closed: write `}}` behind it, or `\\{{` for the characters themselves"
            )
        hole = _hole(text[start + 2 : end], start + 2, names, locate)
        if joined := "".join(literal):
            parts.append(joined)
        literal = []
        parts.append(hole)
        at = end + 2
    if joined := "".join(literal):
        parts.append(joined)
    return Template(tuple(parts))


def _hole(text: str, offset: int, names: Collection[str], locate: Callable[[int], str]) -> Hole:
    try:
        tree = parse(text, names)
    except ExpressionError as error:
        raise TemplateError(offset + (error.offset or 0), str(error), error.code, error.hint) from None
    raw = isinstance(tree, Call) and tree.function == "raw" and len(tree.arguments) == 1
    if raw:
        assert isinstance(tree, Call)
        if isinstance(tree.arguments[0], Arrow):
            at = tree.arguments[0].at
            raise TemplateError(offset + at, "raw(...) takes a value, not a function", PARSE)
        tree = tree.arguments[0]
    return Hole(Formula(tree, text.strip(), locate(offset)), offset, raw)


def closing(text: str, at: int) -> int:
    """Where the `}}` of a `{{` stands; -1 if nowhere."""
    depth = 0
    quote = ""
    while at < len(text):
        each = text[at]
        if quote:
            if each == "\\":
                at += 1
            elif each == quote:
                quote = ""
        elif each in "\"'":
            quote = each
        elif each == "}" and depth == 0:
            return at if text.startswith("}}", at) else -1
        elif each in "{[(":
            depth += 1
        elif each in "}])":
            depth -= 1
        at += 1
    return -1
