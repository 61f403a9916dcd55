"""Functions of lists, and of text where that is a list of characters."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from plait.expressions.faults import TYPE, check_name, fault
from plait.expressions.functions.paths import key_of
from plait.expressions.functions.signature import (
    MISSING,
    Anything,
    Arrow,
    Items,
    Key,
    Lambda,
    List,
    Sized,
    Text,
    Whole,
    function,
    wrong,
)  # fmt: skip
from plait.expressions.values import article, exact, is_number, number, plain, truth

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work


@function("length", "len", nothing=0, charged=True)
def length(work: Work, of: Sized) -> int:
    """How many items, characters or keys; null has 0."""
    return len(of)


@function("first", charged=True)
def first(work: Work, list_: Items) -> Any:
    """The first item, or character; null where there is none."""
    return list_[0] if list_ else None


@function("last", charged=True)
def last(work: Work, list_: Items) -> Any:
    """The last item, or character; null where there is none."""
    return list_[-1] if list_ else None


@function("at", charged=True)
def at(work: Work, list_: Items, n: Whole) -> Any:
    """The item, or character, at a place; -1 is the last. Null where there is none."""
    return list_[n] if -len(list_) <= n < len(list_) else None


@function("slice", nothing=[])
def slice_(work: Work, list_: Items, a: Whole = 0, b: Whole | None = None) -> list[Any] | str:
    """From `a` up to `b`, or to the end; what is below 0 counts from the end."""
    return list_[a:b]


@function("take", nothing=[])
def take(work: Work, list_: Items, n: Whole) -> list[Any] | str:
    """The first `n` items, or characters; none for 0 and less."""
    return list_[: max(0, n)]


@function("skip", nothing=[])
def skip(work: Work, list_: Items, n: Whole) -> list[Any] | str:
    """All but the first `n` items, or characters; all for 0 and less."""
    return list_[max(0, n) :]


@function("reverse", nothing=[])
def reverse(work: Work, list_: Items) -> list[Any] | str:
    """The last item first; a new list, or text."""
    return list_[::-1]


@function("flatten", charged=True)
def flatten(work: Work, list_: List) -> list[Any]:
    """With the items of the lists in it instead of these; one level."""
    work.step(len(list_))
    work.makes(items=sum(len(each) if isinstance(each, (list, tuple)) else 1 for each in list_))
    found: list[Any] = []
    for each in list_:
        if isinstance(each, (list, tuple)):
            found.extend(each)
        else:
            found.append(each)
    return found


@function("unique")
def unique(work: Work, list_: List) -> list[Any]:
    """Each item once, where it is first; what is equal for `===` is one, lists and objects by what is in them. NaN is one, too."""
    work.step(len(list_))
    seen: set[Any] = set()
    found = []
    for each in list_:
        mark = _mark(work, each)
        if mark not in seen:
            seen.add(mark)
            found.append(each)
    return found


def _mark(work: Work, value: Any) -> Any:
    """Something that can be looked up, the same for what is equal for `===`."""
    if isinstance(value, (str, bool, type(None))):
        return value if isinstance(value, str) else (value,)
    if is_number(value):
        if value != value:
            return ("NaN",)
        # Numbers that are equal have one hash; large ones could be chosen so that all have the same.
        return ("number", str(int(value)) if abs(value) >= 2**53 and math.isfinite(value) else value)
    work.weigh(value)
    return _deep_mark(work, value)


def _deep_mark(work: Work, value: Any) -> Any:
    value = exact(value)
    if isinstance(value, dict):
        return ("object", frozenset((key, _deep_mark(work, each)) for key, each in value.items()))
    if isinstance(value, (list, tuple)):
        return ("array", tuple(_deep_mark(work, each) for each in value))
    return _mark(work, value)


@function("compact")
def compact(work: Work, list_: List) -> list[Any]:
    """Without what is false: null, false, 0, NaN and empty text. Empty lists and objects stay."""
    work.step(len(list_))
    return [each for each in list_ if truth(each)]


@function("sort")
def sort(work: Work, list_: List, key: Key = None, order: Text = "asc") -> list[Any]:
    """A new list, "asc" or "desc", by the items, by a member (`"a.b"`), or by what an arrow makes of each item.

    What is equal stays as it was, in both directions; null (and NaN) is last in both. Booleans are before numbers, and these
    before text, which is by code point; lists and objects have no order. An arrow of two parameters compares, as in JavaScript:
    `sort(list, (a, b) => a - b)`.
    """
    if order not in ("asc", "desc"):
        raise wrong("sort", "order", f'must be "asc" or "desc", not {order[:40]!r}')
    work.step(len(list_) * max(1, len(list_).bit_length() // 4))
    if isinstance(key, Lambda) and key.width > 1:
        return sorted(list_, key=cmp_to_key(_comparing(key)), reverse=order == "desc")
    of = key_of(work, key)
    placed, nothing = [], []
    for index, each in enumerate(list_):
        found = plain(of(each, index))
        if found is None or found != found:
            nothing.append(each)
        else:
            placed.append((_rank(found, index), each))
    placed.sort(key=lambda pair: pair[0], reverse=order == "desc")
    return [each for _, each in placed] + nothing


def _rank(value: Any, index: int) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 0, value
    if is_number(value):
        return 1, value
    if isinstance(value, str):
        return 2, value
    raise fault(TYPE, None, f"sort: the key of item {index} must be text or a number, not {article(value)}")


def _comparing(p: Lambda) -> Callable[[Any, Any], int]:
    def compare(one: Any, other: Any) -> int:
        found = number(p(one, other))
        return (found > 0) - (found < 0)

    return compare


@function("count", charged=True)
def count(work: Work, list_: List, p: Arrow | None = None) -> int:
    """For how many items `p` is true; all where it is left out."""
    work.step(len(list_))
    return len(list_) if p is None else sum(truth(p(each, index)) for index, each in enumerate(list_))


@function("every")
def every(work: Work, list_: List, p: Arrow) -> bool:
    """Is `p` true for all items? For no items it is."""
    work.step(len(list_))
    return all(truth(p(each, index)) for index, each in enumerate(list_))


@function("some")
def some(work: Work, list_: List, p: Arrow) -> bool:
    """Is `p` true for an item?"""
    work.step(len(list_))
    return any(truth(p(each, index)) for index, each in enumerate(list_))


@function("find", charged=True)
def find(work: Work, list_: List, p: Arrow) -> Any:
    """The first item for which `p` is true; null where there is none."""
    work.step(len(list_))
    return next((each for index, each in enumerate(list_) if truth(p(each, index))), None)


@function("filter")
def filter_(work: Work, list_: List, p: Arrow) -> list[Any]:
    """The items for which `p` is true; it is given the item and its index."""
    work.step(len(list_))
    return [each for index, each in enumerate(list_) if truth(p(each, index))]


@function("map")
def map_(work: Work, list_: List, p: Arrow) -> list[Any]:
    """What `p` makes of each item and its index."""
    work.step(len(list_))
    return [p(each, index) for index, each in enumerate(list_)]


@function("reduce", charged=True)
def reduce(work: Work, list_: List, p: Arrow, init: Anything | None = MISSING) -> Any:
    """What `p` makes of what was made before and of each item (and its index), beginning with `init`.

    Without `init` the first item is what was made before, as in JavaScript; an empty list gives null then.
    """
    work.step(len(list_))
    items = list(enumerate(list_))
    if init is MISSING:
        made = items.pop(0)[1] if items else None
    else:
        made = init
    for index, each in items:
        made = p(made, each, index)
    return made


@function("range", nothing=[])
def range_(work: Work, a: Whole, b: Whole | None = None, step: Whole = 1) -> list[int]:
    """The whole numbers from `a` up to `b`, which is not among them, `step` apart; of one number those from 0 up to it."""
    if step == 0:
        raise wrong("range", "step", "must not be 0")
    first, last = (0, a) if b is None else (a, b)
    size = max(0, -(-(last - first) // step))
    work.step(size)
    work.makes(items=size)
    return list(range(first, last, step))


@function("group_by")
def group_by(work: Work, list_: List, key: Key) -> dict[str, list[Any]]:
    """An object with a list of items for each key, as text: a member (`"a.b"`), or what an arrow makes of the item. The key of null is "".

    The keys are in the order in which they first appear.
    """
    work.step(len(list_))
    work.makes(items=len(list_))
    of = key_of(work, key)
    found: dict[str, list[Any]] = {}
    for index, each in enumerate(list_):
        name = work.text(of(each, index))
        check_name(name)
        found.setdefault(name, []).append(each)
    work.makes(entries=len(found))
    return found
