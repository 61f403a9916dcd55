"""Small things that are done with values of a running flow."""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import Any

from plait._core.states import SUCCEEDED
from plait._core.table import Table
from plait.expressions import Names, truth
from plait.flow.templates import Template


def join_items(table: Table, rows: range) -> list[Any]:
    """The values of items in their order, null for one that failed as it may."""
    return [table.values[row] if table.status[row] == SUCCEEDED else None for row in rows]


def filled(data: Any, scope: Names) -> Any:
    """Data with its templates replaced by their values."""
    if isinstance(data, Template):
        return data.value(scope)
    if isinstance(data, list):
        return [filled(each, scope) for each in data]
    if isinstance(data, dict):
        return {key: filled(each, scope) for key, each in data.items()}
    return data


def detached(data: Any) -> Any:
    """A copy of data, so that code that changes what it is given changes nothing that others see.

    Lists and mappings are copied, also those of other types that are derived from these, tuples, sets and deques; other objects are
    shared.
    """
    if not isinstance(data, CONTAINERS):
        return data
    if type(data) is dict and not any(isinstance(each, CONTAINERS) for each in data.values()):
        return dict(data)  # most arguments are that
    made = [data]
    places: list[tuple[Any, Any]] = [(made, 0)]  # without recursion: what a command prints may be deep
    while places:
        whole, at = places.pop()
        copied = whole[at] = _copied(whole[at])
        if isinstance(copied, list):
            places.extend((copied, place) for place, inner in enumerate(copied) if isinstance(inner, CONTAINERS))
        elif isinstance(copied, dict):
            places.extend((copied, key) for key, inner in copied.items() if isinstance(inner, CONTAINERS))
    return made[0]


CONTAINERS = (list, dict, tuple, set, deque, bytearray)


def _copied(each: Any) -> Any:
    """A new list or mapping with the same things in it; of others a copy, of what is in them, too."""
    match each:
        case list() if type(each) is list:
            return list(each)
        case dict() if type(each) is dict:
            return dict(each)
        case deque():
            return deque(map(detached, each), each.maxlen)
        case tuple():
            if not any(isinstance(inner, CONTAINERS) for inner in each):
                return each
            items = map(detached, each)
            return type(each)(*items) if hasattr(each, "_fields") else tuple(items)
        case _:
            return copy(each)


def holds(when: Template | bool | None, scope: Names) -> bool:
    """Does a condition hold? One that is not there does."""
    if when is None:
        return True
    return truth(when.value(scope) if isinstance(when, Template) else when)


def shown(value: Any) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
