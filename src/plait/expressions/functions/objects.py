"""Functions of objects. What they are given is never changed: what they make is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.expressions.faults import TYPE, fault
from plait.expressions.functions.paths import found_at, name_of, place_in, steps_of
from plait.expressions.functions.signature import Anything, Held, List, Object, Path, Sized, function, wrong
from plait.expressions.values import article, exact, text

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work


@function("keys")
def keys(work: Work, o: Object) -> list[str]:
    """Its keys, in their order."""
    work.step(len(o))
    return [text(key) for key in o]


@function("values")
def values(work: Work, o: Object) -> list[Any]:
    """What its keys stand for, in their order."""
    return list(o.values())


@function("entries")
def entries(work: Work, o: Object) -> list[list[Any]]:
    """A list [key, value] for each key, in their order."""
    work.step(2 * len(o))
    return [[text(key), value] for key, value in o.items()]


@function("from_entries")
def from_entries(work: Work, list_: List) -> dict[str, Any]:
    """The object of a list of [key, value]; of two with one key the later one wins."""
    work.step(len(list_))
    found = {}
    for index, each in enumerate(list_):
        if not isinstance(each, (list, tuple)) or len(each) != 2:
            raise fault(TYPE, None, f"from_entries: item {index} must be [key, value], not {_shown(each)}")
        found[name_of(each[0])] = each[1]
    return found


def _shown(value: Any) -> str:
    return f"a list of {len(value)}" if isinstance(value, (list, tuple)) else article(value)


@function("get", charged=True)
def get(work: Work, o: Anything | None, path: Path, default: Anything = None) -> Any:
    """What is at a path, such as "a.b.0", "a[0]" or ["a", "b"]; `default` where that is nothing, or null.

    A key that is the whole path is taken first: `get({"a.b": 1}, "a.b")` is 1.
    """
    steps = steps_of(work, path, o)
    found = found_at(o, steps) if steps else None
    return default if found is None else found


@function("has", charged=True)
def has(work: Work, o: Anything | None, path: Path) -> bool:
    """Is there something at a path? A key whose value is null is there."""
    steps = steps_of(work, path, o)
    if not steps:
        return False
    inner = found_at(o, steps[:-1])
    step = steps[-1]
    if isinstance(inner, dict):
        return step in inner or text(step) in inner
    if isinstance(inner, (list, tuple)):
        place = place_in(len(inner), step)
        return place is not None and place < len(inner)
    return False


@function("merge", charged=True)
def merge(work: Work, *objects: Object) -> dict[str, Any]:
    """One object with the keys of all; of two with one key the later one wins, whatever is in it."""
    work.makes(entries=sum(map(len, objects)))
    found: dict[str, Any] = {}
    for each in objects:
        found.update(each)
    return found


@function("pick")
def pick(work: Work, o: Object, *keys: Anything) -> dict[str, Any]:
    """Only these keys, which may be one list of them; those that are not there are left out."""
    return {name: o[name] for name in _names(work, keys) if name in o}


@function("omit")
def omit(work: Work, o: Object, *keys: Anything) -> dict[str, Any]:
    """All but these keys, which may be one list of them."""
    names = set(_names(work, keys))
    work.step(len(o))
    return {key: value for key, value in o.items() if key not in names}


def _names(work: Work, keys: tuple[Any, ...]) -> list[str]:
    found: list[str] = []
    for each in keys:
        several = each if isinstance(each, (list, tuple)) else [] if each is None else [each]
        work.step(len(several))
        found.extend(map(name_of, several))
    return found


@function("size", nothing=0, charged=True)
def size(work: Work, o: Sized) -> int:
    """How many keys; items of a list and characters of text are counted, too. Null has 0."""
    return len(o)


@function("set", charged=True)
def set_(work: Work, o: Held, path: Path, v: Anything) -> Any:
    """A copy with `v` at a path. Objects that are missing on the way are made; a list takes another item at its end."""
    steps = steps_of(work, path, o)
    if not steps:
        raise wrong("set", "path", "must not be empty")
    copy = made = _copy(work, o)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(made, list):
            place = place_in(len(made), step)
            if place is None:
                raise wrong("set", "path", f"has {step!r}, and the list there has {len(made)} items")
            if place == len(made):
                made.append(None)
            at: Any = place
        else:
            at = _key(made, step)
        if following is None:
            made[at] = v
            return copy
        inner = made[at] if isinstance(made, list) else made.get(at)
        if inner is not None and not isinstance(inner, (list, tuple, dict)):
            raise wrong("set", "path", f"has {following!r} behind {step!r}, which is {article(inner)}")
        made[at] = _copy(work, {} if inner is None else inner)
        made = made[at]
    return copy


@function("delete", charged=True)
def delete(work: Work, o: Held, path: Path) -> Any:
    """A copy without what is at a path; what is behind an item of a list moves up."""
    steps = steps_of(work, path, o)
    if not has(work, o, path):
        return o
    copy = made = _copy(work, o)
    for step in steps[:-1]:
        at = place_in(len(made), step) if isinstance(made, list) else _key(made, step)
        made[at] = _copy(work, made[at])
        made = made[at]
    if isinstance(made, list):
        del made[place_in(len(made), steps[-1])]  # type: ignore[arg-type]
    else:
        del made[_key(made, steps[-1])]
    return copy


def _key(of: dict[Any, Any], step: str | int) -> Any:
    """The key that a step stands for: a number, where that is one."""
    return step if step in of else text(step)


def _copy(work: Work, value: Any) -> Any:
    if isinstance(value, dict):
        work.makes(entries=len(value) + 1)
        return dict(value)
    work.makes(items=len(value) + 1)
    return list(value)


@function("equals")
def equals(work: Work, a: Anything | None, b: Anything | None) -> bool:
    """The same as `===`: equal in type and value, lists and objects by what is in them."""
    return work.same(a, b)


@function("clone", charged=True)
def clone(work: Work, v: Anything) -> Any:
    """A copy, of all that is in it."""
    weight = work.weigh(v)
    work.makes(items=weight.values)
    return _cloned(work, v)


def _cloned(work: Work, value: Any) -> Any:
    value = exact(value)
    if isinstance(value, dict):
        work.makes(entries=len(value))
        return {key: _cloned(work, each) for key, each in value.items()}
    return [_cloned(work, each) for each in value] if isinstance(value, (list, tuple)) else value
