"""Forms: what a person's answer looks like. A form is given in Python or YAML, kept as one JSON Schema, and checks or reads answers.

What is simple (a type, choices, fields of these) is checked here: the library `jsonschema` takes some 100 ms to load, which only forms
that are written as JSON Schemas wait for. Both ways say the same of every answer.

What is bounded: an answer has at most `MOST_PARTS` parts and `DEEPEST` levels; checking one takes at most `MOST_STEPS` steps; a
`pattern` is tried on at most `LONGEST_MATCHED` characters. What is not: a pattern that takes exponential time, as `(a+)+$` does, takes
it here too, and nothing can end it. A form is code of whoever writes the workflow, like its commands: no pattern of anybody else belongs
into one. Nothing is ever fetched: a `$ref` leads to a place in the same schema, or the form is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from plait.errors import UsageError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

    Place = tuple[str | int, ...]

DEEPEST = 100
"""Levels of lists and objects in an answer."""

MOST_PARTS = 100_000
"""Values in one answer, each counted as often as it occurs."""

DEEPEST_SCHEMA, MOST_SCHEMA_PARTS = 60, 10_000
"""Levels and values in a schema: each level costs several calls within calls."""

MOST_STEPS, STEPS_A_FINDING = 500_000, 20
"""Keywords that are looked at in checking one answer, some seconds; and as how many a finding counts that is handed on."""

LONGEST_CHAIN, MOST_BRANCHES = 40, 10_000
"""Schemas that lead to each other, and that they branch into, for one and the same value: twice each in forty is never done."""

LONGEST_MATCHED = 10_000
"""Characters of a field's name, and of text that a `pattern` is tried on: many patterns take the square of it."""

MOST_BITS = 4096
"""Of a whole number; a store keeps no longer ones, and its digits could not be printed."""

CAN_BE = (
    "a form is None for text, a type (str, int, float, bool, or string, integer, number, boolean), a list of choices, "
    "a mapping from fields to these, or {'schema': a JSON Schema}"
)

DRAFT = "https://json-schema.org/draft/2020-12/schema"

TEXT, INTEGER, NUMBER, BOOLEAN = "string", "integer", "number", "boolean"
CHOICES, FIELDS, SCHEMA = "choices", "fields", "schema"
"""Kinds of forms; the first four are also what JSON Schema calls them."""

_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
NAMES = {
    **{name: name for name in (TEXT, INTEGER, NUMBER, BOOLEAN)},
    "text": TEXT,
    "str": TEXT,
    "int": INTEGER,
    "float": NUMBER,
    "bool": BOOLEAN,
}
_YES, _NO = ("yes", "y", "true", "on"), ("no", "n", "false", "off")
_WHOLE = re.compile(r"[+-]?[0-9]{1,1200}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,1200}(?:\.[0-9]{0,1200})?|\.[0-9]{1,1200})(?:[eE][+-]?[0-9]{1,9})?")

_NOTES = frozenset(("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"))  # fmt: skip
"""Keywords that say something to people and nothing about what fits."""

_HERE_LISTS, _HERE, _HERE_NAMED = ("allOf", "anyOf", "oneOf"), ("not", "if", "then", "else"), ("dependentSchemas",)
"""Keywords whose schemas are for the same value, not for a part of it."""

_KEYWORDS = frozenset((
    *_NOTES, *_HERE_LISTS, *_HERE, *_HERE_NAMED, "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$defs", "definitions",
    "type", "enum", "const", "properties", "required", "additionalProperties", "patternProperties", "propertyNames",
    "minProperties", "maxProperties", "dependentRequired", "unevaluatedProperties", "items", "prefixItems", "contains",
    "minContains", "maxContains", "minItems", "maxItems", "uniqueItems", "unevaluatedItems", "minLength", "maxLength", "pattern",
    "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "contentEncoding", "contentMediaType",
    "contentSchema",
))  # fmt: skip


class Form:
    """What an answer looks like, and how one is checked and read. Made by `Form.of`, or of what was stored by `Form.from_schema`."""

    __slots__ = ("_choices", "_fields", "_kind", "_validator", "schema")

    schema: Mapping[str, Any]
    """The JSON Schema (draft 2020-12) that stands for the form: plain JSON data of its own."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self._kind = _kind_of(schema)
        self._choices: list[Any] = schema["enum"] if self._kind == CHOICES else []
        self._fields: dict[str, Form] = {}
        self._validator: Any = None
        if self._kind == FIELDS:
            self._fields = {name: Form(schema["properties"][name]) for name in schema["required"]}

    @classmethod
    def of(cls, given: Any) -> Form:
        """The form that `given` stands for.

        - None: text.
        - `str`, `int`, `float`, `bool`, or a name: `string`, `integer`, `number`, `boolean`, also `text`, `str`, `int`, `float`, `bool`.
          1.0 is no integer and true is no number; NaN and infinity are not numbers.
        - A list or tuple of choices (text, numbers, booleans, null): one of them.
        - A mapping from names of fields to any of these, or to a JSON Schema: an object with exactly these fields.
        - `{"schema": {...}}`: a JSON Schema (draft 2020-12) for the whole answer. A form whose only field is called `schema` and has a
          JSON Schema is therefore written as such a schema itself. `format` is not checked.

        Raises:
            UsageError: it is none of these, the JSON Schema is not one, has a `$ref` that leads out of it or round in circles.
        """
        if isinstance(given, Form):
            return given
        if isinstance(given, Mapping):
            whole = given.get("schema")
            if len(given) == 1 and isinstance(whole, Mapping):
                return cls(_checked(_copied(whole, ())))
            schema = _of_fields(given)
            has_schemas = any([isinstance(field, Mapping) for field in given.values()])
            return cls(_checked(schema) if has_schemas else schema)
        return cls(_of_simple(given, "a form"))

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any]) -> Form:
        """The form whose `schema` this was. It is trusted: what was stored had been looked at."""
        return cls(schema)

    def check(self, value: Any, what: str = "the answer") -> None:
        """Returns if `value` fits.

        Raises:
            UsageError: it does not, or is no JSON data (sets, tuples, NaN, keys that are no text, text with half a character); one line
                that says what, where and what would fit.
        """
        if wrong := _no_json(value, DEEPEST, MOST_PARTS) or self._wrong(value, ()):
            raise UsageError(f"{what} does not fit: {wrong}{self._takes}")

    def read(self, text: str) -> Any:
        """The value that a person's `text` stands for, checked.

        Text is taken as it is. True and false are also yes, no, y, n, on and off. A choice is its text or, unless there are numbers
        among the choices, its place from 1. An object is JSON, or `name=value` for each field, with quotes as in a shell; one with a single
        field may also be that field's value alone. What a JSON Schema describes is JSON, or the text itself where that fits.

        Raises:
            UsageError: it stands for nothing that fits, as `check` says it.
        """
        if not isinstance(text, str):
            raise UsageError(f"an answer is read from text, not from type {type(text).__qualname__}")
        if self._kind == FIELDS:
            value = self._object(text)
        elif self._kind == SCHEMA:
            return self._by_schema(text)
        else:
            value = self._simple(text)
        self.check(value)
        return value

    @property
    def shown(self) -> str:
        """What fits, in a few words for people: `true or false`, `one of: low, high`, `ok: true or false, reason: text`."""
        if self._kind == CHOICES:
            return f"one of: {_listed(_spelled(self._choices))}"
        if self._kind == FIELDS:
            return _listed([f"{_name(name)}: {form._as_field}" for name, form in self._fields.items()], 20)
        if self._kind == SCHEMA:
            return ("text" if self.schema.get("type") == "string" else "JSON") + " that fits its schema"
        return _WORDS[self._kind]

    @property
    def fields(self) -> list[tuple[str, Form]]:
        """The fields of an object, in order, where each can be asked for alone and all are required; else nothing."""
        return list(self._fields.items())

    def __repr__(self) -> str:
        return f"Form({self.shown})"

    @property
    def _as_field(self) -> str:
        if self._kind == CHOICES:
            return f"one of ({_listed(_spelled(self._choices))})"  # its commas are not those between fields
        return f"({self.shown})" if self._kind == FIELDS else self.shown

    @property
    def _takes(self) -> str:
        return f" (it takes {self.shown})" if self._kind == FIELDS else ""

    # Checking

    def _wrong(self, value: Any, place: Place) -> str:
        """Why JSON data does not fit, as a sentence; empty if it does."""
        if self._kind == FIELDS and self.schema.get("additionalProperties") is False:
            return self._wrong_fields(value, place)
        if self._kind in (FIELDS, SCHEMA):
            return self._wrong_by_schema(value, place)
        if self._kind == CHOICES:
            fits = any([_same(each, value) for each in self._choices]) and _is(self.schema.get("type"), value)
            return "" if fits else f"{_where(place)} must be {self._as_field}, not {_said(value)}"
        return "" if _is(self._kind, value) else f"{_where(place)} must be {self.shown}, not {_said(value)}"

    def _wrong_fields(self, value: Any, place: Place) -> str:
        if not isinstance(value, dict):
            return f"{_where(place)} must be an object, not {_said(value)}"
        for name in value:
            if name not in self._fields:
                return _unknown(name, self._fields, place)
        for name, form in self._fields.items():
            if name not in value:
                return f"{_where((*place, name))} is missing"
            if wrong := form._wrong(value[name], (*place, name)):
                return wrong
        return ""

    def _wrong_by_schema(self, value: Any, place: Place = ()) -> str:
        """The same, by the library."""
        if self._validator is None:
            self._validator = _validator(self.schema)
        token = _steps.set([MOST_STEPS])
        try:
            error = _worst(self._validator, value)
        except RecursionError:
            return f"{_where(place)} is nested too deep for its schema"
        except _CannotSay as why:
            return f"{_where(place)} {why}"
        except Exception as broken:
            # Arithmetic with huge numbers, a pattern that cannot be compiled: whatever it is, the value does not fit.
            return f"{_where(place)} cannot be held against its schema ({type(broken).__name__}: {_short(str(broken))})"
        finally:
            _steps.reset(token)
        return "" if error is None else _in_words(error, value, place)

    # Reading

    def _simple(self, text: str) -> Any:
        if self._kind == TEXT:
            return text
        if self._kind == CHOICES:
            return _chosen(text, self._choices)
        bare = text.strip()
        if self._kind == BOOLEAN:
            return True if bare.lower() in _YES else False if bare.lower() in _NO else text
        if _WHOLE.fullmatch(bare):
            return int(bare)
        return float(bare) if self._kind == NUMBER and _NUMBER.fullmatch(bare) else text

    def _by_schema(self, text: str) -> Any:
        if self.schema.get("type") == "string":
            self.check(text)
            return text
        try:
            value = _json(text)
        except (ValueError, RecursionError) as error:
            if self._wrong_text(text):
                problem = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
                raise UsageError(f"the answer does not fit: {_said(text)} is no JSON ({_short(problem)})") from None
            return text
        if _no_json(value, DEEPEST, MOST_PARTS) or self._wrong_by_schema(value):
            if not self._wrong_text(text):
                return text
            self.check(value)
        return value

    def _wrong_text(self, text: str) -> str:
        return _no_json(text, DEEPEST, MOST_PARTS) or self._wrong_by_schema(text)

    def _object(self, text: str) -> Any:
        if text.lstrip().startswith("{"):
            try:
                return _json(text)
            except (ValueError, RecursionError) as error:
                problem = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
                raise UsageError(
                    f"the answer does not fit: it begins with {{ and is no JSON ({_short(problem)}){self._takes}"
                ) from None
        if len(self._fields) == 1:
            [(name, form)] = self._fields.items()
            named = text.lstrip().startswith(f"{name}=")
            return {name: self._of_field(name, form, text.lstrip()[len(name) + 1 :] if named else text)}
        return self._pairs(text)

    def _pairs(self, text: str) -> dict[str, Any]:
        import shlex

        try:
            words = shlex.split(text)
        except ValueError:
            raise UsageError(
                f"the answer does not fit: it has a quote that does not end; put \\ before one that is meant{self._takes}"
            ) from None
        found: dict[str, Any] = {}
        for word in words:
            names = [name for name in self._fields if word.startswith(f"{name}=")]
            if len(names) > 1:
                raise UsageError(
                    f"the answer does not fit: {_said(word)} may be for {' or '.join(map(_name, names))}; write it as JSON"
                )
            if not names:
                head, equals, _ = word.partition("=")
                problem = (
                    _unknown(head, self._fields, ())
                    if equals
                    else f"{_said(word)} is not of the form name=value; quote text that has spaces"
                )
                raise UsageError(f"the answer does not fit: {problem}{self._takes}")
            [name] = names
            if name in found:
                raise UsageError(f"the answer does not fit: it has {_name(name)} twice{self._takes}")
            found[name] = self._of_field(name, self._fields[name], word[len(name) + 1 :])
        return found

    def _of_field(self, name: str, form: Form, text: str) -> Any:
        try:
            return form.read(text)
        except UsageError as error:
            before, between, problem = str(error).partition(" does not fit: ")
            problem = problem.removesuffix(form._takes)  # ours says it too
            said = problem.removeprefix("it ") if problem.startswith("it ") else f"is wrong: {problem}"
            raise UsageError(f"{before}{between}{_name(name)} {said}{self._takes}") from None


# What a form is given as


def _of_simple(given: Any, what: str) -> dict[str, Any]:
    if given is None:
        return {"type": TEXT}
    if isinstance(given, type):
        for kind, name in ((str, TEXT), (int, INTEGER), (float, NUMBER), (bool, BOOLEAN)):
            if given is kind:
                return {"type": name}
        raise UsageError(f"{what} cannot be the type {given.__qualname__}; {CAN_BE}")
    if isinstance(given, str):
        if given in NAMES:
            return {"type": NAMES[given]}
        raise UsageError(f"{what} cannot be {_said(given)}; {CAN_BE}{_nearest(given, NAMES)}")
    if isinstance(given, (list, tuple)):
        return {"enum": _of_choices(given, what)}
    raise UsageError(f"{what} cannot be of type {type(given).__qualname__}; {CAN_BE}")


def _of_choices(given: Sequence[Any], what: str) -> list[Any]:
    if not given:
        raise UsageError(f"{what} that is a list of choices needs at least one; {CAN_BE}")
    if len(given) > MOST_SCHEMA_PARTS:
        raise UsageError(f"{what} cannot have more than {MOST_SCHEMA_PARTS:,} choices")
    choices: list[Any] = []
    seen = set()
    for each in given:
        choice = _copied(each, ()) if isinstance(each, (str, int, float)) or each is None else _NO_CHOICE
        if choice is _NO_CHOICE:
            raise UsageError(
                f"{what} cannot have a choice of type {type(each).__qualname__}: choices are text, numbers, true, false and null"
            )
        mark = (isinstance(choice, bool), choice)
        if mark in seen:
            raise UsageError(f"{what} has the choice {_said(choice)} twice")
        seen.add(mark)
        choices.append(choice)
    return choices


_NO_CHOICE = object()


def _of_fields(given: Mapping[Any, Any]) -> dict[str, Any]:
    if not given:
        raise UsageError(f"a form with fields needs at least one; {CAN_BE}")
    properties: dict[str, Any] = {}
    for name, field in given.items():
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise UsageError(f"a field's name is printable text, not {_said(name)}; {CAN_BE}")
        if isinstance(field, Mapping):
            properties[str.__str__(name)] = _of_own_schema(field, name)
        else:
            properties[str.__str__(name)] = _of_simple(field, f"field {name!r}")
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _of_own_schema(field: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """A field's schema. One with no keyword at all would take anything: it is a mistake, as fields within fields are."""
    if field and not any([key in _KEYWORDS for key in field if isinstance(key, str)]):
        first = next(iter(field))
        hint = _nearest(first, [each for each in _KEYWORDS if each[0] != "$"]) if isinstance(first, str) else ""
        raise UsageError(
            f"field {name!r} is a mapping, which must be a JSON Schema, and {_said(first)} is no keyword of one; "
            f"an object within another is {{'type': 'object', 'properties': ...}}{hint}"
        )
    schema: dict[str, Any] = _copied(field, ("properties", name))
    return schema


def _copied(given: Any, place: Place) -> Any:
    """Plain JSON data of our own, of mappings and lists of any kind."""
    left = MOST_SCHEMA_PARTS

    def copy(each: Any, place: Place) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or len(place) > DEEPEST_SCHEMA:
            raise UsageError(
                f"a form's schema cannot have more than {MOST_SCHEMA_PARTS:,} parts or {DEEPEST_SCHEMA} levels, or be in itself"
            )
        if isinstance(each, Mapping):
            for key in each:
                if not isinstance(key, str):
                    raise UsageError(
                        f"a form's schema is JSON data, and {_where(place)} has the key {_said(key)}, which is no text"
                    )
                if wrong := _wrong_atom(str.__str__(key)):
                    raise UsageError(f"a form's schema is JSON data, and a key of {_where(place)} is {wrong}")
            return {str.__str__(key): copy(value, (*place, key)) for key, value in each.items()}
        if isinstance(each, (list, tuple)):
            return [copy(value, (*place, at)) for at, value in enumerate(each)]
        if isinstance(each, bool) or each is None:
            return each
        plain = next((kind for kind in (str, int, float) if isinstance(each, kind)), None)
        atom = each if plain is None else str.__str__(each) if plain is str else plain(each)
        if wrong := _wrong_atom(atom):
            raise UsageError(f"a form is JSON data, and {_where(place)} is {wrong}")
        return atom

    return copy(given, place)


# JSON Schemas


def _kind_of(schema: Mapping[str, Any]) -> str:
    """Which of the simple forms this schema says, however it was given; SCHEMA if none."""
    says = {key: value for key, value in schema.items() if key not in _NOTES}
    kind = says.get("type")
    if "enum" in says and says.keys() <= {"enum", "type"}:
        return CHOICES if _are_choices(says["enum"], kind) else SCHEMA
    if says.keys() == {"type"} and kind in (TEXT, INTEGER, NUMBER, BOOLEAN):
        return str(kind)
    return FIELDS if kind == "object" and _are_fields(says) else SCHEMA


def _are_choices(choices: Any, kind: Any) -> bool:
    """Choices that people can pick from, where what is said of their type says nothing more."""
    if not choices or kind not in (None, TEXT, INTEGER, NUMBER, BOOLEAN):
        return False
    return all([(each is None or isinstance(each, (str, int, float))) and _is(kind, each) for each in choices])


def _are_fields(says: dict[str, Any]) -> bool:
    """An object whose fields can each be asked for alone: all are required, and none refers to anything else."""
    properties, required = says.get("properties"), says.get("required")
    if not says.keys() <= {"type", "properties", "required", "additionalProperties"} or not properties or not required:
        return False
    return (
        set(required) == set(properties)
        and all([isinstance(each, dict) for each in properties.values()])
        and not _refers(list(properties.values()))
    )


def _refers(data: Any) -> bool:
    """Does a schema refer to another, or is there anything in it that looks so?"""
    stack = [data]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            if not each.keys().isdisjoint(("$ref", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor")):
                return True
            stack.extend(each.values())
        elif isinstance(each, list):
            stack.extend(each)
    return False


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, if it is one, and can be checked against without looking anywhere else."""
    _check_one(schema)
    try:
        _refuse_circles(_references(schema))
    except (RecursionError, ValueError) as error:  # an `$id` that is no address
        raise UsageError(f"a form's JSON Schema cannot be one: {_short(str(error))}; {CAN_BE}") from error
    return schema


def _check_one(schema: Any) -> None:
    """Raises UsageError where a schema breaks the rules for schemas."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    of_schemas = Draft202012Validator.META_SCHEMA
    rules = Draft202012Validator(of_schemas, format_checker=Draft202012Validator.FORMAT_CHECKER, registry=Registry())
    try:
        error = _worst(rules, schema)
        problem = "" if error is None else _in_words(error, schema)
    except RecursionError:
        problem = "it is nested too deep"
    except Exception as broken:  # what only the compiler of patterns knows
        problem = f"{type(broken).__name__}: {_short(str(broken))}"
    if problem:
        raise UsageError(f"a form's JSON Schema cannot be one: {problem}; {CAN_BE}")


def _references(root: dict[str, Any]) -> dict[int, list[int]]:
    """Which schemas within this one look at the same value with which others, by their ids.

    Raises:
        UsageError: a reference leads to nothing in the schema, or to what is no schema; a part is of another draft.
    """
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    edges: dict[int, list[int]] = {}
    registry: Registry[Any] = Registry()  # one that retrieves nothing
    stack: list[tuple[Any, Any]] = [(root, registry.resolver_with_root(DRAFT202012.create_resource(root)))]
    targets: dict[int, Any] = {}
    while stack:
        schema, resolver = stack.pop()
        if not isinstance(schema, dict) or id(schema) in edges:
            continue
        if schema.get("$schema", DRAFT).rstrip("#") != DRAFT:
            raise UsageError(f"a form's JSON Schema is of draft 2020-12, not {_said(schema['$schema'])}")
        schema.pop("$schema", None)  # where it stands the library would leave our rules for its own
        edges[id(schema)] = here = [id(each) for each in _here(schema)]
        inner = DRAFT202012.create_resource(schema).subresources()
        stack.extend([(each.contents, resolver.in_subresource(each)) for each in inner])
        for keyword in ("$ref", "$dynamicRef"):
            if keyword in schema:
                found = _followed(keyword, schema[keyword], resolver)
                if id(found.contents) not in targets:
                    targets[id(found.contents)] = found.contents
                    _check_one(found.contents)  # a pointer may lead to where no schema was looked for
                here.append(id(found.contents))
                stack.append((found.contents, found.resolver))
    return edges


def _followed(keyword: str, reference: str, resolver: Any) -> Any:
    from referencing.exceptions import Unresolvable

    try:
        return resolver.lookup(reference)
    except (Unresolvable, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"a form's JSON Schema has the {keyword} {_said(reference)}, which leads to nothing in it, and nothing is fetched from "
            "elsewhere; put what is meant under $defs of {'schema': ...}"
        ) from error


def _refuse_circles(edges: dict[int, list[int]]) -> None:
    """Raises UsageError where one value would be looked at for ever, or nearly."""
    from graphlib import CycleError, TopologicalSorter

    try:
        order = list(TopologicalSorter(edges).static_order())
    except CycleError:
        raise UsageError(
            "a form's JSON Schema has a $ref that leads back to itself without looking at any part of the value"
        ) from None
    chain: dict[int, int] = {}
    branches: dict[int, int] = {}
    for each in order:
        others = edges.get(each, [])
        chain[each] = 1 + max([chain[other] for other in others], default=0)
        branches[each] = 1 + sum([branches[other] for other in others])
        if chain[each] > LONGEST_CHAIN or branches[each] > MOST_BRANCHES:
            raise UsageError(
                f"a form's JSON Schema leads through more than {LONGEST_CHAIN} schemas in a row, or {MOST_BRANCHES:,} in all, for one value"
            )


def _here(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas beside each other that one value must look at."""
    for keyword in _HERE_LISTS:
        yield from (each for each in schema.get(keyword, ()) if isinstance(each, dict))
    for keyword in _HERE:
        if isinstance(schema.get(keyword), dict):
            yield schema[keyword]
    for keyword in _HERE_NAMED:
        yield from (each for each in schema.get(keyword, {}).values() if isinstance(each, dict))


class _CannotSay(Exception):
    """Whether a value fits is too much to find out."""


_steps: ContextVar[list[int]] = ContextVar("steps left")


def _step(many: int) -> None:
    """So much more is done; raises where it is too much."""
    left = _steps.get()
    left[0] -= many
    if left[0] < 0:
        raise _CannotSay(f"takes more than {MOST_STEPS:,} steps to hold against its schema")


@cache
def _rules() -> Any:
    """The library's rules with ours for what an integer is, each step counted, texts for patterns of bounded length."""
    from jsonschema import Draft202012Validator, validators

    def counted(rule: Callable[..., Any]) -> Callable[..., Any]:
        def look(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
            each = len(wanted) // 4 if isinstance(wanted, (list, dict)) else 0  # a look at each of many choices
            _step(1 + each)
            for finding in rule(validator, wanted, value, schema) or ():
                _step(STEPS_A_FINDING)
                yield finding

        return look

    def matched(validator: Any, pattern: Any, value: Any, schema: Any) -> Any:
        if isinstance(value, str) and len(value) > LONGEST_MATCHED:
            raise _CannotSay(
                f"has text of more than {LONGEST_MATCHED:,} characters, too many for a pattern: {_said(value)}"
            )
        return plain["pattern"](validator, pattern, value, schema)

    def unique(validator: Any, wanted: Any, value: Any, schema: Any) -> Any:
        from jsonschema.exceptions import ValidationError

        # Theirs holds each against each where they cannot be sorted.
        if wanted and isinstance(value, list) and len({_frozen(each) for each in value}) < len(value):
            yield ValidationError("holds something twice")

    plain: Mapping[str, Callable[..., Any]] = Draft202012Validator.VALIDATORS
    ours = {**plain, "pattern": matched, "uniqueItems": unique}
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: _is(INTEGER, value))
    return validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {name: counted(rule) for name, rule in ours.items()}, type_checker=types
    )


def _validator(schema: Mapping[str, Any]) -> Any:
    from referencing import Registry

    return _rules()(schema, registry=Registry())  # without one it would fetch what a `$ref` names


def _frozen(value: Any) -> Any:
    """What is equal for two values where JSON Schema calls them equal."""
    if isinstance(value, list):
        return "list", tuple([_frozen(each) for each in value])
    if isinstance(value, dict):
        return "dict", frozenset([(name, _frozen(each)) for name, each in value.items()])
    return isinstance(value, bool), value


# Words for what is wrong


def _worst(validator: Any, value: Any) -> ValidationError | None:
    """The most telling of the findings, of the first hundred; None if the value fits."""
    from itertools import islice

    from jsonschema.exceptions import best_match

    error: Any = best_match(islice(validator.iter_errors(value), 100))
    while error is not None and error.context:
        # Where the library saw no difference, kinds of another type were not meant.
        ways: dict[Any, list[Any]] = {}
        for each in error.context:
            ways.setdefault(each.relative_schema_path[0], []).append(each)
        meant = [way for way in ways.values() if not any([_is_of_other_type(each) for each in way])]
        if len(meant) != 1:
            return error  # type: ignore[no-any-return]
        error = best_match(meant[0])
    return error  # type: ignore[no-any-return]


def _is_of_other_type(error: ValidationError) -> bool:
    return error.validator == "type" and not error.relative_path


def _in_words(error: ValidationError, value: Any, around: Place = ()) -> str:
    """The library's finding in words of ours."""
    inner: Place = tuple(error.absolute_path)
    place = (*around, *inner)
    where = _where(place)
    if (
        "propertyNames" in error.absolute_schema_path
        and isinstance(error.instance, str)
        and _at(value, inner) is not error.instance
    ):
        where = f"the name {_said(error.instance)}" + (f" in {where}" if place else "")
    wanted: Any = error.validator_value
    if error.context and all([_is_of_other_type(each) for each in error.context]):
        types = dict.fromkeys([_types(each.validator_value) for each in error.context])
        return f"{where} must be {' or '.join(types)}, not {_said(error.instance)}"
    rule = _RULES.get(str(error.validator))
    if rule is not None:
        return f"{where} {rule(wanted, error.instance)}"
    extra = _extra(error)
    if extra is not None:
        return _unknown(extra, error.schema.get("properties", {}), place)  # type: ignore[union-attr]
    if error.validator is None:
        within = f" in {where}" if place else ""  # the library does not say where
        return f"{_said(error.instance)} must not be there{within}"
    return f"{where} does not fit {error.validator!r} of its schema"


def _extra(error: ValidationError) -> str | None:
    """The first field that a schema leaves no room for."""
    schema, value = error.schema, error.instance
    if error.validator != "additionalProperties" or not isinstance(schema, dict) or not isinstance(value, dict):
        return None
    patterns = schema.get("patternProperties", {})
    known = schema.get("properties", {})
    return next(
        (name for name in value if name not in known and not any(re.search(each, name) for each in patterns)), None
    )


def _at(value: Any, place: Place) -> Any:
    for step in place:
        value = value[step]
    return value


def _types(wanted: Any) -> str:
    return " or ".join([_WORDS.get(each, str(each)) for each in ([wanted] if isinstance(wanted, str) else wanted)])


def _missing(wanted: Any, value: Any) -> str:
    return f"lacks {_listed([_name(name) for name in wanted if name not in value])}"


def _dependent(wanted: Any, value: Any) -> str:
    for name, others in wanted.items():
        lacking = [each for each in others if name in value and each not in value]
        if lacking:
            return f"has {_name(name)}, and lacks {_listed([_name(each) for each in lacking])}, which belongs to it"
    return "lacks a field"


_RULES: dict[str, Callable[[Any, Any], str]] = {
    "type": lambda wanted, value: f"must be {_types(wanted)}, not {_said(value)}",
    "enum": lambda wanted, value: f"must be one of ({_listed([_said(each) for each in wanted])}), not {_said(value)}",
    "const": lambda wanted, value: f"must be {_said(wanted)}, not {_said(value)}",
    "required": _missing,
    "dependentRequired": _dependent,
    "minLength": lambda wanted, value: f"must have at least {_many(wanted, 'character')}, not {len(value)}",
    "maxLength": lambda wanted, value: f"must have at most {_many(wanted, 'character')}, not {len(value)}",
    "minItems": lambda wanted, value: f"must hold at least {_many(wanted, 'value')}, not {len(value)}",
    "maxItems": lambda wanted, value: f"must hold at most {_many(wanted, 'value')}, not {len(value)}",
    "minProperties": lambda wanted, value: f"must have at least {_many(wanted, 'field')}, not {len(value)}",
    "maxProperties": lambda wanted, value: f"must have at most {_many(wanted, 'field')}, not {len(value)}",
    "minimum": lambda wanted, value: f"must be at least {_said(wanted)}, not {_said(value)}",
    "maximum": lambda wanted, value: f"must be at most {_said(wanted)}, not {_said(value)}",
    "exclusiveMinimum": lambda wanted, value: f"must be more than {_said(wanted)}, not {_said(value)}",
    "exclusiveMaximum": lambda wanted, value: f"must be less than {_said(wanted)}, not {_said(value)}",
    "multipleOf": lambda wanted, value: f"must be a multiple of {_said(wanted)}, not {_said(value)}",
    "pattern": lambda wanted, value: f"must match the pattern {_said(wanted)}, not {_said(value)}",
    "format": lambda wanted, value: f"must be a {wanted}, not {_said(value)}",
    "uniqueItems": lambda wanted, value: "must not hold the same value twice",
    "items": lambda wanted, value: "holds too many values",
    "contains": lambda wanted, value: "does not hold what it must",
    "minContains": lambda wanted, value: f"must hold at least {wanted} of what it must",
    "maxContains": lambda wanted, value: f"must hold at most {wanted} of what it may",
    "unevaluatedItems": lambda wanted, value: "holds values that it may not",
    "unevaluatedProperties": lambda wanted, value: "has fields that it may not have",
    "not": lambda wanted, value: f"must not be what it is, {_said(value)}",
    "anyOf": lambda wanted, value: f"fits none of the {_many(len(wanted), 'kind')} that it may be: {_said(value)}",
    "oneOf": lambda wanted, value: (
        f"must fit one, and only one, of the {_many(len(wanted), 'kind')} that it may be: {_said(value)}"
    ),
}


def _many(count: Any, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _no_json(value: Any, deepest: int, most: int) -> str:
    """What in `value` is no JSON data, as a sentence; empty if there is nothing."""
    stack: list[tuple[Any, Place]] = [(value, ())]
    left = most
    while stack:
        each, place = stack.pop()
        left -= 1
        kind = type(each)
        if kind is not dict and kind is not list:
            if wrong := _wrong_atom(each):
                return f"{_where(place)} is {wrong}"
            continue
        if len(place) >= deepest:
            return f"it is nested more than {deepest} levels deep, or in itself"
        if len(each) + len(stack) > left:
            return f"it has more than {most:,} parts"
        if kind is list:
            stack.extend([(item, (*place, at)) for at, item in enumerate(each)][::-1])
            continue
        for name in each:
            if type(name) is not str:
                return f"{_where(place)} has the key {_said(name)}, and keys are text"
            if wrong := _wrong_atom(name):
                return f"{_where(place)} has a key that is {wrong}"
            if len(name) > LONGEST_MATCHED:
                return f"{_where(place)} has a key of more than {LONGEST_MATCHED:,} characters"
        stack.extend([(item, (*place, name)) for name, item in each.items()][::-1])
    return ""


def _wrong_atom(value: Any) -> str:
    """Why this, which is no list and no dict, is no JSON; empty if it is."""
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"text with half a character (a lone surrogate), {_said(value)}"
    elif kind is float:
        if not math.isfinite(value):
            return f"{value}, which is no number of JSON"
    elif kind is int:
        if value.bit_length() > MOST_BITS:
            return f"a whole number of more than {MOST_BITS:,} bits"
    elif kind is not bool and value is not None:
        return f"of type {kind.__qualname__}, which is no JSON data"
    return ""


def _is(kind: str | None, value: Any) -> bool:
    """Is it of that type of JSON Schema? 1.0 is no integer to us, and everything is of no type in particular."""
    if kind is None:
        return True
    if kind == BOOLEAN or isinstance(value, bool):
        return kind == BOOLEAN and isinstance(value, bool)
    return isinstance(value, str if kind == TEXT else int if kind == INTEGER else (int, float))


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1, and 1.0 is."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


# Text for people, and from them


def _said(value: Any) -> str:
    """A value in one short line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return _short(repr(value[:200]))  # no more than can be seen of it
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        return "a huge number"
    if isinstance(value, (int, float)):
        return _short(repr(value))
    if isinstance(value, (list, tuple)):
        return f"a list of {_many(len(value), 'value')}" if value else "an empty list"
    if isinstance(value, Mapping):
        names = [_name(each) if isinstance(each, str) else _said(each) for each, _ in zip(value, range(5))]
        return f"an object with {_listed(names, 4)}" if value else "an empty object"
    return f"something of type {type(value).__qualname__}"


def _short(text: str, longest: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 20]}...{text[-17:]}"


def _listed(texts: Sequence[str], most: int = 12) -> str:
    texts = [each if len(each) <= 200 else _short(each, 200) for each in texts]
    return (
        ", ".join(texts) if len(texts) <= most else f"{', '.join(texts[: most - 1])} and {len(texts) - most + 1} more"
    )


def _name(name: str) -> str:
    """A field's name as it is, where it reads as one."""
    return name if name.isprintable() and len(name) <= 60 and name.strip() == name != "" else _said(name)


def _where(place: Place) -> str:
    if not place:
        return "it"
    if len(place) > 12:
        return f"{_where(place[:6])}...{_where(place[-3:])}"
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{_name(step)}" if text else _name(step)
    return text


def _unknown(name: str, known: Mapping[str, Any], place: Place) -> str:
    within = f" in {_where(place)}" if place else ""
    return f"there is no field {_said(name)}{within}{_nearest(name, known)}"


def _nearest(name: str, known: object) -> str:
    from plait._core.policy import nearest  # only on the way to an error

    return nearest(name, known)


def _spelled(choices: Sequence[Any]) -> list[str]:
    """Each choice as it is shown and typed: text as it is, unless it would be taken for another choice or cannot be seen."""
    import json

    others = {json.dumps(each) for each in choices if not isinstance(each, str)}
    return [
        each
        if isinstance(each, str)
        and each not in others
        and each.isprintable()
        and each.strip() == each != ""
        and each[0] != '"'
        else json.dumps(each, ensure_ascii=isinstance(each, str) and not each.isprintable())
        for each in choices
    ]


def _chosen(text: str, choices: Sequence[Any]) -> Any:
    """The choice that is meant, else the text."""
    spelled = _spelled(choices)
    for typed in (text, text.strip()):
        if typed in spelled:
            return choices[spelled.index(typed)]
        if typed in choices:  # shown with quotes, and typed without
            return typed
    bare = text.strip()
    for value, words in ((True, _YES), (False, _NO)):
        if bare.lower() in words and any([each is value for each in choices]):
            return value
    if any([_NUMBER.fullmatch(each) for each in spelled]):
        return text  # who types 2 where there are 10, 20 and 30 does not mean the second
    if bare.isascii() and bare.isdigit() and len(bare) < 9 and 1 <= int(bare) <= len(choices):
        return choices[int(bare) - 1]
    return text


def _json(text: str) -> Any:
    """What JSON text stands for; no NaN, no infinity, and no name twice, of which one would be lost."""
    import json

    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_names)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {_said(twice)} occurs twice")
    return found
