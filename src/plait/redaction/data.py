"""Secret values in data: lists, mappings and what else is made of parts, and in exceptions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from plait.redaction.forms import MARK

if TYPE_CHECKING:
    from plait.redaction.redactor import Redactor


def redacted(redactor: Redactor, value: Any) -> Any:
    """`value` without secret values: what holds one is made anew, exceptions are changed in place; else it is the same object."""
    if not _holds(redactor, value):
        return value
    try:
        return _Copy(redactor).of(value)
    except RecursionError:
        return MARK  # deeper than anybody can look at


def _holds(redactor: Redactor, value: Any) -> bool:
    """Is there a secret value anywhere in it?"""
    stack, seen = [value], {id(value)}
    while stack:
        each = stack.pop()
        if _leaf(redactor, each) is not each:
            return True
        if isinstance(each, BaseException):
            return True  # whoever copies looks closer
        for inner in _parts(each):
            kind = type(inner)
            if inner is None or kind is bool:
                continue
            if kind is str:
                if redactor.text(inner) is not inner:
                    return True
            elif id(inner) not in seen:
                seen.add(id(inner))
                stack.append(inner)
    return False


def _leaf(redactor: Redactor, value: Any) -> Any:
    """What has no parts, without secret values."""
    if isinstance(value, str):
        clean = redactor.text(value)
        return value if clean == value else clean
    if isinstance(value, (bytes, bytearray)):
        data = redactor.data(bytes(value))
        return value if data == value else type(value)(data) if type(value) in (bytes, bytearray) else data
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return redactor.number(value)
    if isinstance(value, PurePath):
        text = redactor.text(str(value))
        return value if text == str(value) else type(value)(text)
    return value


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from value
    elif fields := _fields(value):
        for name in fields:
            yield getattr(value, name, None)


def _fields(value: Any) -> tuple[str, ...]:
    """The names of its parts, of a dataclass and of what is alike; none of anything else."""
    kind = type(value)
    if isinstance(value, type):
        return ()
    for names in ("__dataclass_fields__", "__struct_fields__", "model_fields"):
        found = getattr(kind, names, None)
        if found is not None and isinstance(found, (dict, tuple)):
            return tuple(found)
    attributes = getattr(kind, "__attrs_attrs__", ())
    return tuple(each.name for each in attributes)


class _Copy:
    """Copies what holds a secret value, and shares the rest."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._made: dict[int, Any] = {}  # by the identity of what it stands for: data may hold itself
        self._kept: list[Any] = []

    def of(self, value: Any) -> Any:
        if id(value) in self._made:
            return self._made[id(value)]
        clean = _leaf(self._redactor, value)
        if clean is not value:
            return clean
        if isinstance(value, BaseException):
            from plait.redaction.exceptions import redacted_error

            return redacted_error(self._redactor, value)
        self._kept.append(value)
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, (list, deque)):
            return self._list(value)
        if isinstance(value, (tuple, set, frozenset)):
            return self._items(value)
        return self._object(value)

    def _mapping(self, value: Mapping[Any, Any]) -> Any:
        made: Any = {}
        if isinstance(value, dict):
            made = copy(value)
            made.clear()  # of others a copy may share what is in them
        self._made[id(value)] = made
        same = True
        for key, each in value.items():
            clean_key, clean = self.of(key), self.of(each)
            same = same and clean_key is key and clean is each
            try:
                made[clean_key] = clean
            except Exception:
                self._made[id(value)] = made = dict(made)
                made[clean_key] = clean
        return self._kept_as_it_is(value, made, same=same)

    def _list(self, value: Any) -> Any:
        made = copy(value)
        self._made[id(value)] = made
        for at, each in enumerate(value):
            made[at] = self.of(each)
        return self._kept_as_it_is(value, made, same=all(map(_is, value, made)))

    def _items(self, value: Any) -> Any:
        items = list(value)
        clean = list(map(self.of, items))
        if all(map(_is, items, clean)):
            return value
        build: Callable[..., Any] = type(value)
        try:
            return build(*clean) if hasattr(value, "_fields") else build(clean)
        except Exception:
            return tuple(clean)

    def _object(self, value: Any) -> Any:
        names = _fields(value)
        if not names:
            return value
        changed = {}
        self._made[id(value)] = value
        for name in names:
            part = getattr(value, name, None)
            clean = self.of(part)
            if clean is not part:
                changed[name] = clean
        if not changed:
            return value
        try:
            made = _replaced(value, changed)
        except Exception:
            made = MARK
        self._made[id(value)] = made
        return made

    def _kept_as_it_is(self, value: Any, made: Any, *, same: bool) -> Any:
        if same:
            self._made[id(value)] = value
            return value
        return made


def _replaced(value: Any, changed: dict[str, Any]) -> Any:
    """The same with other parts."""
    if hasattr(value, "__struct_fields__"):
        from msgspec.structs import replace

        return replace(value, **changed)
    if hasattr(value, "model_copy"):
        return value.model_copy(update=changed)
    made = copy(value)
    for name, part in changed.items():
        object.__setattr__(made, name, part)  # also where it is frozen
    return made


def _is(one: Any, other: Any) -> bool:
    return one is other
