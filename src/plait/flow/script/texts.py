"""Reads the texts of a FlowScript file: expressions, templates, durations, numbers, and notes every name in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from plait.calls.shell import strict_json
from plait.errors import ExpressionError, FlowError
from plait.expressions import check_calls, parse
from plait.expressions.faults import PARSE
from plait.expressions.formula import Formula
from plait.expressions.tree import Node
from plait.flow.markup import Element, Span, read_yaml
from plait.flow.problems import Place, Problems
from plait.flow.script.options import MOST
from plait.flow.script.syntax import Use
from plait.flow.templates import Hole, Template, TemplateError, closing, parse_template
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree
from plait.nodes import duration

TYPE = "VALID_INVALID_FIELD_TYPE"
MISSING = "VALID_MISSING_REQUIRED_FIELD"
UNKNOWN = "VALID_UNKNOWN_NODE_TYPE"
NO_NODE = "VALID_UNDEFINED_NODE_REF"
NO_SECRET = "VALID_UNDEFINED_SECRET_REF"
TWICE = "VALID_DUPLICATE_NODE_ID"
CYCLE = "VALID_CIRCULAR_DEPENDENCY"
SCHEMA = "VALID_INVALID_SCHEMA"
MISMATCH = "VALID_TYPE_MISMATCH"
NO_NAME = "EXPR_UNDEFINED_VARIABLE"

Text: TypeAlias = Span | Scalar
"""A text with the place of each character."""

ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Texts:
    """What all elements read with."""

    def __init__(self, path: Path, problems: Problems, hyphens: frozenset[str]) -> None:
        self.path = path
        self.problems = problems
        self.hyphens = hyphens
        self._uses: list[list[Use]] = [[]]
        self._local: list[frozenset[str]] = [frozenset()]

    def bad(self, at: Place, code: str, message: str, hint: str = "") -> None:
        """Notes a problem."""
        self.problems.add(at, code, message, hint)

    @contextmanager
    def collecting(self) -> Iterator[list[Use]]:
        """What is named inside goes into the list."""
        uses: list[Use] = []
        self._uses.append(uses)
        try:
            yield uses
        finally:
            self._uses.pop()

    @contextmanager
    def knowing(self, *names: str) -> Iterator[None]:
        """Inside, these names stand for what only the node itself knows."""
        self._local.append(self._local[-1] | {*names, *(f"${name}" for name in names)})
        try:
            yield
        finally:
            self._local.pop()

    @contextmanager
    def afterwards(self) -> Iterator[None]:
        """What is named inside is read once the node is done, so nodes within it may be named."""
        with self.collecting() as uses:
            yield
        for use in uses:
            self.note(replace(use, after=True))

    def note(self, use: Use) -> None:
        """Notes a name, unless only the node itself knows it."""
        if use.is_id or use.name not in self._local[-1]:
            self._uses[-1].append(use)

    # -- expressions

    def formula(self, text: Text, what: str, *, arrow: bool = False) -> Formula | None:
        """An expression; one that stands alone in `{{ }}` is taken, too."""
        said = str(text.value)
        start = len(said) - len(said.lstrip())
        body = said.strip()
        if body.startswith("{{") and closing(body, 2) == len(body) - 2:
            start, body = start + 2, body[2:-2]
        if not body.strip():
            self.bad(place(text, 0), PARSE, f"{what} is empty: an expression belongs there, such as `length(rows) > 0`")
            return None
        try:
            tree = parse(_without_braces(body), self.hyphens, arrow=arrow)
        except ExpressionError as error:
            self.bad(place(text, start + (error.offset or 0)), error.code, f"{what}: {error}", error.hint)
            return None
        return self._noted(tree, body.strip(), text, start)

    def _noted(self, tree: Node, body: str, text: Text, start: int) -> Formula:
        for error in check_calls(tree, self.problems.nearest) if "(" in body else ():
            self.bad(place(text, start + (error.offset or 0)), error.code, str(error), error.hint)
        formula = Formula(tree, body, self._where(place(text, start)))
        for each in formula.references:
            self.note(Use(each.root, each.steps, place(text, start + each.at)))
        return formula

    def expression(self, text: Text, what: str, *, arrow: bool = False) -> Template | None:
        """The same, as what has a value."""
        formula = self.formula(text, what, arrow=arrow)
        return None if formula is None else Template((Hole(formula, 0),))

    def _where(self, at: Place) -> str:
        return f"{self.path}:{at.line}:{at.column}"

    # -- templates

    def template(self, text: Text) -> Template | None:
        """Text with `{{ }}` in it."""
        said = "" if text.value is None else str(text.value)
        try:
            found = parse_template(said, self.hyphens, lambda offset: self._where(place(text, offset)))
        except TemplateError as error:
            code = PARSE if error.code == "template" else error.code
            self.bad(place(text, error.offset), code, str(error), error.hint)
            return None
        for hole in found.holes:
            for each in check_calls(hole.formula.tree, self.problems.nearest):
                self.bad(place(text, hole.offset + (each.offset or 0)), each.code, str(each), each.hint)
            for name in hole.formula.references:
                self.note(Use(name.root, name.steps, place(text, hole.offset + name.at)))
        return found

    def data(self, tree: Tree) -> Any:
        """YAML with the templates in its texts; plain where there are none."""
        match tree:
            case Scalar(str()):
                found = self.template(tree)
                return None if found is None else constant(found)
            case Scalar(value):
                return value
            case Sequence(items):
                return [self.data(each) for each in items]
            case Map(items):
                return {key: self.data(each) for key, each in items.items()}

    def yaml(self, span: Span) -> Tree | None:
        """The YAML in an element."""
        try:
            return read_yaml(span, self.problems)
        except FlowError:  # it is among the problems already
            return None

    # -- attributes

    def attribute(self, element: Element, *names: str) -> Span | None:
        """What an attribute says that has one of these names."""
        for name in names:
            if name in element.attributes:
                return element.attributes[name].value
        return None

    def fixed(self, element: Element, name: str, words: tuple[str, ...] = ()) -> str:
        """An attribute that is no template: one of `words`, where there are some; empty where it is not given."""
        span = self.attribute(element, name)
        if span is None:
            return ""
        if words and span.value.strip() not in words:
            shown = f"{name} is one of {', '.join(words)}, not {span.value!r:.60}"
            self.bad(span.place(0), TYPE, shown + self.problems.nearest(span.value, words))
            return ""
        return span.value.strip()

    def word(self, element: Element, name: str, words: tuple[str, ...]) -> str | Template:
        """An attribute that is one of `words`, or the template that gives one."""
        made = self._open(element, name)
        return self.fixed(element, name, words) if made is None else made

    def switch(self, element: Element, name: str, default: bool) -> bool | Template:
        """`true` or `false`, or the template that gives one of these."""
        made = self._open(element, name)
        return self.flag(element, name, default) if made is None else made

    def _open(self, element: Element, name: str) -> Template | None:
        """What an attribute says that holds a template."""
        span = self.attribute(element, name)
        return self.template(span) if span is not None and "{{" in span.value else None

    def duration(self, text: Text, what: str) -> float | Template | None:
        """Seconds, or the template that gives a duration."""
        found = self.template(text)
        if found is None or not isinstance(said := constant(found), str):
            return found
        look_for_unit(self.problems, place(text, 0), what, said)
        try:
            return duration(said)
        except ValueError as error:
            self.bad(place(text, 0), TYPE, f"{what}: {error}")
            return None

    def count(self, text: Text, what: str, least: int = 1) -> int | Template | None:
        """A whole number, or the template that gives one."""
        found = self.template(text)
        if found is None or not isinstance(said := constant(found), str):
            return found
        number = int(said) if re.fullmatch(r"\s*\d{1,9}\s*", said) else -1
        if not least <= number <= MOST:
            self.bad(place(text, 0), TYPE, f"{what} must be a whole number from {least} to {MOST:,}, not {said!r:.60}")
            return None
        return number

    def flag(self, element: Element, name: str, default: bool) -> bool:
        """`true` or `false`."""
        span = self.attribute(element, name)
        if span is None:
            return default
        if span.value.strip() not in ("true", "false"):
            self.bad(span.place(0), TYPE, f"{name} is true or false, not {span.value!r:.60}")
            return default
        return span.value.strip() == "true"


def _without_braces(text: str) -> str:
    """An expression with brackets in the place of `{{ }}`, which mean nothing else there: `{{a}} > 1`. Every character stays where it is."""
    at, quote = 0, ""
    while at < len(text):
        each = text[at]
        if quote:
            at += each == "\\"
            quote = "" if each == quote else quote
        elif each in "\"'":
            quote = each
        elif text.startswith("{{", at) and (end := closing(text, at + 2)) > 0:
            text = f"{text[:at]} ({text[at + 2 : end]}) {text[end + 2 :]}"
            at += 1
        at += 1
    return text


def pieces(text: str) -> list[str]:
    """What stands between the commas of a text, those in `{{ }}` and in brackets apart."""
    found, depth, quote, start = [], 0, "", 0
    for at, each in enumerate(text):
        if quote:
            quote = "" if each == quote else quote
        elif each in "\"'":
            quote = each
        elif each in "{[(":
            depth += 1
        elif each in "}])":
            depth -= 1
        elif each == "," and depth <= 0:
            found.append(text[start:at])
            start = at + 1
    return [*found, text[start:]]


def place(text: Text, offset: int) -> Place:
    """Where a character stands."""
    if isinstance(text, Span):
        return text.place(offset)
    if text.origin is not None:
        return text.origin.place(offset)
    return text.at


def look_for_unit(problems: Problems, at: Place, what: str, said: object) -> None:
    """Warns of a duration that is a bare number."""
    text = str(said).strip()
    if not isinstance(said, bool) and re.fullmatch(r"\d+(\.\d+)?", text) and float(text):
        problems.warn(at, "unit", f"{what} is {text} milliseconds: a bare number is", f"write the unit: {text}ms")


def constant(template: Template) -> Any:
    """The text of a template without `{{ }}`; else the template."""
    if not template.parts:
        return ""
    return template.parts[0] if len(template.parts) == 1 and isinstance(template.parts[0], str) else template


def scalar(text: str) -> Any:
    """What text says as JSON, where that is a scalar; else the text."""
    try:
        value = strict_json(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, (list, dict)) else value


def json_or_text(text: str) -> Any:
    """What text says as JSON; else the text."""
    try:
        return strict_json(text)
    except (ValueError, RecursionError):
        return text


__all__ = [
    "CYCLE", "ID", "MISMATCH", "MISSING", "NO_NAME", "NO_NODE", "NO_SECRET", "SCHEMA", "TWICE", "TYPE", "UNKNOWN",
    "Text", "Texts", "constant", "json_or_text", "look_for_unit", "pieces", "place", "scalar",
]  # fmt: skip
