"""The schema language of FlowScript: what a value must look like, in few words. `{id: integer, tags: string[], note?: string}`

An object may have more keys than a schema names: what others send grows. What a model is asked for has no others: so `json_schema` has it.
`{}` is any object. A key with `?` may be missing; null it is only where its type says so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

from plait.expressions.values import exact

LONGEST, DEEPEST = 20_000, 60
"""Characters of a schema, and levels of it."""

MOST_MESSAGES = 20
"""Of one value; what else is wrong with it is not looked for."""

WORDS = ("string", "number", "integer", "boolean", "null", "any", "object", "array")


class SchemaError(ValueError):
    """A schema that cannot be read; `offset` says where in its text, and is None where it has none."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Word:
    """One of `WORDS`."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """`T[]`."""

    item: Type


@dataclass(frozen=True, slots=True)
class Fields:
    """`{key: T, opt?: T}`, each as (name, type, must it be there?)."""

    fields: tuple[tuple[str, Type, bool], ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """`A | B`; `T?` is `T | null`."""

    types: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Enum:
    """`enum[a, b]`: text, or what else is a JSON scalar."""

    values: tuple[str | int | float | bool | None, ...]


Type: TypeAlias = Word | ListOf | Fields | OneOf | Enum


@dataclass(frozen=True, slots=True)
class Schema:
    """What a value must look like."""

    type: Type

    def __str__(self) -> str:
        return _printed(self.type)

    def check(self, value: Any) -> list[str]:
        """What is wrong with a value, each with its place (`$.items[2].name: must be a string, not 3`); empty where nothing is."""
        return [f"{at}: {what}" for at, what in _check(self.type, value, "$")[:MOST_MESSAGES]]

    def fits(self, value: Any) -> bool:
        """Is nothing wrong with a value?"""
        return not _check(self.type, value, "$")

    def json_schema(self) -> dict[str, Any]:
        """The same as JSON Schema, 2020-12. Objects have no other keys there than those that are named."""
        return _json_schema(self.type)


def parse(text: str) -> Schema:
    """The schema that a text is.

    Raises:
        SchemaError: for what is none.
    """
    if len(text) > LONGEST:
        raise SchemaError(f"a schema has at most {LONGEST:,} characters", LONGEST)
    return Schema(_Parser(text).whole())


def from_data(data: Any) -> Schema:
    """The schema of a YAML value: text, a mapping from `key` or `key?` to these, a list of one, which is that of each item.

    Raises:
        SchemaError: for what is none.
    """
    return Schema(_of_data(data, "", 0))


def _of_data(data: Any, at: str, depth: int) -> Type:
    if depth > DEEPEST:
        raise SchemaError(f"{at}: a schema is at most {DEEPEST} levels deep")
    match data:
        case Schema(found):
            return found
        case None:
            return Word("null")
        case str():
            try:
                return parse(data).type
            except SchemaError as error:
                raise SchemaError(f"{at}: {error}" if at else str(error), None if at else error.offset) from None
        case Mapping():
            fields = []
            for name, each in data.items():
                key = str(name)
                inner = _of_data(each, f"{at}.{key}" if at else key, depth + 1)
                fields.append((key.removesuffix("?"), inner, not key.endswith("?")))
            names = [name for name, _, _ in fields]
            for name in names:
                if names.count(name) > 1:
                    raise SchemaError(f"{f'{at}: ' if at else ''}the key {name!r} stands here twice")
            return Fields(tuple(fields))
        case [only]:
            return ListOf(_of_data(only, f"{at}[]", depth + 1))
        case _:
            raise SchemaError(
                f"{f'{at}: ' if at else ''}a schema is text such as {{id: number}}, a mapping of these, or a list of one, not {data!r:.60}"
            )


# -- reading

_TOKEN = re.compile(
    r"""\s*(?:(?P<name>[A-Za-z_$][\w$-]*)|(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign>\[\s*\]|[{}()\[\],:?|])|(?P<end>\Z))""",
    re.DOTALL,
)
_WORD_OF_ENUM = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<bare>[^\[\],'"{}]+))\s*""", re.DOTALL
)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,300})(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._next()

    def _next(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            rest = re.compile(r"\s*").match(self._text, self._at)
            start = self._at if rest is None else rest.end()
            raise SchemaError(f"{self._text[start]!r} does not belong here", start)
        self._kind = str(found.lastgroup)
        self._token = found[self._kind]
        self._start, self._at = found.start(self._kind), found.end()

    def _take(self, sign: str) -> bool:
        if self._kind == "sign" and self._token == sign:
            self._next()
            return True
        return False

    def _wrong(self, wanted: str) -> SchemaError:
        there = "the end" if self._kind == "end" else repr(self._token)
        return SchemaError(f"{wanted} belongs here, not {there:.60}", self._start)

    def whole(self) -> Type:
        found, _ = self._union(0)
        if self._kind != "end":
            raise self._wrong("the end")
        return found

    def _union(self, depth: int) -> tuple[Type, int]:
        """A type, and its levels."""
        self._take("|")
        found, levels = self._postfix(depth)
        types = [found]
        while self._take("|"):
            found, more = self._postfix(depth)
            types.append(found)
            levels = max(levels, more)
        return _one_of(types), levels

    def _postfix(self, depth: int) -> tuple[Type, int]:
        found, levels = self._primary(depth)
        while self._kind == "sign":
            if self._token.startswith("[") and self._token.endswith("]"):
                found, levels = ListOf(found), levels + 1
                if depth + levels > DEEPEST:
                    raise SchemaError(f"a schema is at most {DEEPEST} levels deep", self._start)
            elif self._token == "?":
                found = _one_of([found, Word("null")])
            else:
                break
            self._next()
        return found, levels

    def _primary(self, depth: int) -> tuple[Type, int]:
        if depth >= DEEPEST:
            raise SchemaError(f"a schema is at most {DEEPEST} levels deep", self._start)
        if self._take("("):
            found, levels = self._union(depth + 1)
            if not self._take(")"):
                raise self._wrong("`)`")
            return found, levels
        if self._kind == "sign" and self._token == "{":
            self._next()
            return self._fields(depth)
        if self._kind != "name":
            raise self._wrong(f"a type ({', '.join(WORDS[:6])}, enum[...], {{...}})")
        name, start = self._token, self._start
        if name == "enum":
            return self._enum(), 1
        if name not in WORDS:
            near = get_close_matches(name, WORDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(WORDS[:6])}, enum[...], {{...}}"
            raise SchemaError(f"there is no type {name!r:.60}: {hint}", start)
        self._next()
        return Word(name), 1

    def _fields(self, depth: int) -> tuple[Type, int]:
        """What stands between braces, of which the first is taken."""
        fields: dict[str, tuple[str, Type, bool]] = {}
        levels = 0
        while not self._take("}"):
            if self._kind not in ("name", "quoted"):
                raise self._wrong("a key, or `}`,")
            name = self._token if self._kind == "name" else self._unquoted(self._token)
            if name in fields:
                raise SchemaError(f"the key {name!r:.60} stands here twice", self._start)
            self._next()
            optional = self._take("?")
            if not self._take(":"):
                raise self._wrong("`:`")
            found, more = self._union(depth + 1)
            fields[name] = (name, found, not optional)
            levels = max(levels, more)
            if not self._take(",") and not (self._kind == "sign" and self._token == "}"):
                raise self._wrong("`,` or `}`")
        return Fields(tuple(fields.values())), levels + 1

    def _enum(self) -> Type:
        """What follows `enum`, where the tokens are others."""
        opening = re.compile(r"\s*\[").match(self._text, self._at)
        if opening is None:
            raise SchemaError("`[` belongs behind enum: enum[a, b]", self._at)
        at = opening.end()
        values: list[str | int | float | bool | None] = []
        while True:
            found = _WORD_OF_ENUM.match(self._text, at)
            if found is None or not found[0].strip():
                break
            value = self._unquoted(found["quoted"]) if found["quoted"] else _bare(found["bare"].strip())
            if any(_same(value, each) for each in values):
                raise SchemaError(f"{value!r:.60} stands here twice", found.start())
            values.append(value)
            at = found.end()
            if not self._text.startswith(",", at):
                break
            at += 1
        rest = re.compile(r"\s*").match(self._text, at)
        at = at if rest is None else rest.end()
        if not values or not self._text.startswith("]", at):
            there = repr(self._text[at]) if at < len(self._text) else "the end"
            raise SchemaError(f"{'`,` or `]`' if values else 'a word'} belongs here, not {there}", at)
        self._at = at + 1
        self._next()
        return Enum(tuple(values))

    def _unquoted(self, text: str) -> str:
        inner = text[1:-1]
        if text[0] == "'":
            inner = inner.replace("\\'", "'").replace('"', '\\"')
        try:
            return str(json.loads(f'"{inner}"', strict=False))
        except ValueError:
            raise SchemaError(f"{text:.60} has an escape that JSON does not know", self._start) from None


def _bare(word: str) -> str | int | float | bool | None:
    """A word without quotes: a JSON scalar, or text."""
    if word in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[word]
    if _NUMBER.fullmatch(word):
        return float(word) if any(each in word for each in ".eE") else int(word)
    return word


def _one_of(types: list[Type]) -> Type:
    flat: list[Type] = []
    for each in types:
        flat.extend(each.types if isinstance(each, OneOf) else (each,))
    kept = list({repr(each): each for each in flat}.values())  # not as they are: enum[true] equals enum[1]
    return kept[0] if len(kept) == 1 else OneOf(tuple(kept))


# -- printing

_NAME = re.compile(r"[A-Za-z_$][\w$-]*", re.ASCII)
_PLAIN_WORD = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def _printed(found: Type) -> str:
    match found:
        case Word(name):
            return name
        case ListOf(OneOf() as item):
            return f"({_printed(item)})[]"
        case ListOf(item):
            return f"{_printed(item)}[]"
        case Fields(fields):
            parts = (
                f"{name if _NAME.fullmatch(name) else json.dumps(name)}{'' if needed else '?'}: {_printed(each)}"
                for name, each, needed in fields
            )
            return f"{{{', '.join(parts)}}}"
        case OneOf(types):
            return " | ".join(map(_printed, types))
        case Enum(values):
            return f"enum[{', '.join(map(_printed_word, values))}]"


def _printed_word(value: str | int | float | bool | None) -> str:
    is_plain = isinstance(value, str) and _PLAIN_WORD.fullmatch(value) and value not in ("true", "false", "null")
    return str(value) if is_plain else json.dumps(value)


# -- checking

Found: TypeAlias = list[tuple[str, str]]

_SORTS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: _is_number(value),
    "integer": lambda value: _is_number(value) and value == math.floor(value),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "any": lambda value: True,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, (list, tuple)),
}
_ARTICLES = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "a boolean",
    "null": "null",
    "any": "anything",
    "object": "an object",
    "array": "a list",
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check(found: Type, value: Any, at: str) -> Found:
    """What is wrong, as (place, message); no more than are wanted. Goes as deep as the schema does."""
    value = exact(value)
    match found:
        case Word(name):
            return [] if _SORTS[name](value) else [_must(found, value, at)]
        case ListOf(item):
            if not isinstance(value, (list, tuple)):
                return [_must(found, value, at)]
            return _gathered(_check(item, each, f"{at}[{place}]") for place, each in enumerate(value))
        case Fields(fields):
            if not isinstance(value, dict):
                return [_must(found, value, at)]
            return _gathered(_check_field(each, value, at) for each in fields)
        case Enum(values):
            return [] if any(_same(value, each) for each in values) else [_must(found, value, at)]
        case OneOf(types):
            results = [_check(each, value, at) for each in types]
            if not all(results):
                return []
            alike = [result for each, result in zip(types, results, strict=True) if _is_of_sort(each, value)]
            return alike[0] if len(alike) == 1 else [_must(found, value, at)]


def _gathered(results: Iterator[Found]) -> Found:
    found: Found = []
    for each in results:
        found += each
        if len(found) >= MOST_MESSAGES:
            break
    return found


def _check_field(field: tuple[str, Type, bool], value: dict[Any, Any], at: str) -> Found:
    name, inner, needed = field
    where = f"{at}.{name}" if _NAME.fullmatch(name) else f"{at}[{json.dumps(name, ensure_ascii=False)}]"
    if name not in value:
        return [(where, f"is missing, and must be {_wanted(inner)}")] if needed else []
    return _check(inner, value[name], where)


def _is_of_sort(found: Type, value: Any) -> bool:
    """Is a value a list, or an object, where the type is one of these?"""
    match found:
        case ListOf():
            return isinstance(value, (list, tuple))
        case Fields():
            return isinstance(value, dict)
        case _:
            return False


def _same(left: Any, right: Any) -> bool:
    """Are two scalars equal? true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _must(found: Type, value: Any, at: str) -> tuple[str, str]:
    return at, f"must be {_wanted(found)}, not {_shown(value)}"


def _wanted(found: Type) -> str:
    match found:
        case Word(name):
            return _ARTICLES[name]
        case ListOf():
            return "a list"
        case Fields():
            return "an object"
        case Enum(values):
            return f"one of {', '.join(map(_printed_word, values))}"[:200]
        case OneOf(types):
            return " or ".join(dict.fromkeys(map(_wanted, types)))[:300]


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case str():
            return json.dumps(value[:40], ensure_ascii=False)
        case None | bool() | int() | float():
            return f"{json.dumps(value):.40}" if not isinstance(value, int) or abs(value) < 1 << 128 else "that number"
        case _:
            return f"a {type(value).__name__} of Python's"


# -- JSON Schema


def _json_schema(found: Type) -> dict[str, Any]:
    match found:
        case Word("any"):
            return {}
        case Word(name):
            return {"type": name}
        case ListOf(item):
            return {"type": "array", "items": _json_schema(item)}
        case Fields(()):
            return {"type": "object"}
        case Fields(fields):
            return {
                "type": "object",
                "properties": {name: _json_schema(each) for name, each, _ in fields},
                "required": [name for name, _, needed in fields if needed],
                "additionalProperties": False,
            }
        case Enum(values):
            typed = {"type": "string"} if all(isinstance(each, str) for each in values) else {}
            return {**typed, "enum": list(values)}
        case OneOf(types):
            if all(isinstance(each, Word) and each.name != "any" for each in types):
                return {"type": [each.name for each in types if isinstance(each, Word)]}
            return {"anyOf": [_json_schema(each) for each in types]}
