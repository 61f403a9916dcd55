"""Values as they are stored: typed JSON or bytes, and refused where they would not come back as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from plait.errors import NotStorable
from plait.stores.base import Blob
from plait.stores.encoding import fast, reader

PLAIN, BYTES, TYPED, JOINED = 0, 1, 2, 3
"""How a value stands in the journal: as JSON; as bytes; as JSON that its declared type reads; not at all, for a join makes it again."""

BLOB_BYTES = 32 * 1024
"""A value of more encoded bytes is kept in a file of its own."""

DEEPEST = 200
"""Levels of lists and dicts."""

MOST_PARTS = 2_000_000
"""Lists and dicts in one value: of fifty that each hold the next one twice the end would never be reached."""

SMALL = 1 << 62
"""Whole numbers smaller than this need no second look."""

_MOST_BITS = 4096


def encoded(value: Any, declared: Callable[[], Any] = lambda: None) -> tuple[int, Any]:
    """How `value` is stored: its form, and what stands in the journal (plain data, Raw JSON, or a Blob).

    `declared` gives the type that its task says it returns, None if it says none; asked only where it matters.

    Raises:
        NotStorable: for what would come back as something else.
    """
    kind = type(value)
    if _is_atom(kind):
        wrong = wrong_atom(value)
        if not wrong:
            # A character takes six bytes at most.
            return (PLAIN, _large(fast()(value))) if kind is str and len(value) * 6 > BLOB_BYTES else (PLAIN, value)
    elif kind is bytes:
        return BYTES, Blob(value) if len(value) > BLOB_BYTES else value
    else:
        wrong = _wrong(value)
        if not wrong:
            return PLAIN, _large(fast()(value))
    wanted = declared()
    if wanted is None:
        raise NotStorable(
            f"{wrong}: it would not come back as it is; return plain JSON data or bytes, or declare its type"
        )
    return TYPED, _large(_as_declared(value, wanted, wrong))


def _large(data: bytes) -> Any:
    from msgspec import Raw

    return Blob(data) if len(data) > BLOB_BYTES else Raw(data)


def decoded(form: int, data: bytes | Any, declared: Callable[[], Any] = lambda: None) -> Any:
    """The value again: `data` is JSON or bytes as they were stored, or what plain JSON was read as.

    Raises:
        NotStorable: for a value of a declared type that is not declared any more.
    """
    if form == PLAIN:
        return reader()(data) if isinstance(data, bytes) else data
    if form == BYTES:
        return data
    wanted = declared()
    if wanted is None:
        raise NotStorable("it was stored under a declared type that its task does not declare any more")
    return _read_as(data if isinstance(data, bytes) else fast()(data), wanted)


def _as_declared(value: Any, wanted: Any, wrong: str) -> bytes:
    try:
        data = value.model_dump_json().encode() if hasattr(wanted, "model_validate_json") else fast()(value)
        again = _read_as(data, wanted)
        same = bool(again == value) and _alike(again, value)
    except Exception as error:
        raise NotStorable(f"{wrong}, and cannot be stored as the declared {wanted}: {error}") from None
    if not same:
        raise NotStorable(f"{wrong}, and would come back as something else under the declared {wanted}")
    return data


def _read_as(data: bytes, wanted: Any) -> Any:
    if hasattr(wanted, "model_validate_json"):
        return wanted.model_validate_json(data)
    from msgspec.json import decode

    return decode(data, type=wanted)


def read_declared(value: Any, wanted: Any) -> Any:
    """Plain JSON data as a value of a declared type."""
    return _read_as(fast()(value), wanted)


def _is_atom(kind: type) -> bool:
    # No set: a class may have no hash.
    return kind is str or kind is int or kind is float or kind is bool or kind is type(None)


def wrong_atom(value: Any) -> str:
    """Why a value of a plain type cannot be stored as it is; empty if it can."""
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return "text with a lone surrogate"
    elif isinstance(value, float):
        if not isfinite(value):
            return f"the number {value}"
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"a whole number of {value.bit_length()} bits"
    return ""


def _wrong(value: Any) -> str:
    """What in `value` JSON does not give back as it is, with its place; empty if there is nothing.

    Raises:
        NotStorable: for what no declared type would make fit: an encoder would follow it without end.
    """
    stack: list[tuple[Any, str, int]] = [(value, "", 0)]
    parts = 0
    while stack:
        parts += 1
        if parts > MOST_PARTS:
            raise NotStorable(
                f"data of more than {MOST_PARTS:,} lists and dicts, each counted as often as it occurs: keep it in a file"
            )
        value, place, depth = stack.pop()
        kind = type(value)
        if depth > DEEPEST:
            raise NotStorable(f"data nested deeper than {DEEPEST} levels, or in itself: keep it in a file")
        if kind is list:
            items: Any = enumerate(value)
            inner = value
        elif kind is dict:
            for key in value:
                wrong = wrong_atom(key) if type(key) is str else f"type {type(key).__qualname__}"
                if wrong:
                    return f"a dict with a key of {wrong}{place and f' at {place}'}"
            items = value.items()
            inner = value.values()
        else:
            return f"a value of type {kind.__qualname__}{place and f' at {place}'}"
        if _all_right(inner):
            continue
        for key, item in items:
            if not _is_atom(type(item)):
                stack.append((item, f"{place}[{key!r}]", depth + 1))
            elif wrong := wrong_atom(item):
                return f"{wrong} at {place}[{key!r}]"
    return ""


def _all_right(items: Any) -> bool:
    """Are these of one plain type, and nothing wrong with any? Said without a look at each from Python, for they may be many."""
    kinds = _kinds(items)
    if kinds == {float}:
        return all(map(isfinite, items))
    if kinds == {str}:
        return all(map(str.isascii, items))
    return kinds <= {int, bool, type(None)} and all(abs(each or 0) < 1 << 63 for each in items)


def _kinds(items: Any) -> set[type]:
    try:
        return set(map(type, items))
    except TypeError:
        return {object}  # a class without a hash


def _alike(one: Any, other: Any) -> bool:
    """Are two equal values of the same types all through? A whole number where a float was declared is one."""
    stack = [(one, other)]
    while stack:
        one, other = stack.pop()
        kind = type(one)
        if kind is not type(other):
            if (kind, type(other)) != (float, int):
                return False
        elif issubclass(kind, (list, tuple)):
            stack.extend(zip(one, other))
        elif issubclass(kind, dict):
            stack.extend(zip(one.items(), other.items()))
        elif issubclass(kind, (set, frozenset)):
            same = {each: each for each in other}
            stack.extend((each, same[each]) for each in one)
        elif names := _names_of(kind):
            stack.extend((getattr(one, name), getattr(other, name)) for name in names)
        elif one != other:
            return False  # what its class leaves out when it compares
    return True


def _names_of(kind: type) -> Sequence[str]:
    """The fields of a dataclass or a Struct."""
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields

        return [each.name for each in fields(kind)]
    return getattr(kind, "__struct_fields__", ())
