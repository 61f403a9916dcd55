"""Ways into lists and objects: `"a.b.0"`, `"a[0].b"`, `["a", "b", 0]`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait.expressions.faults import TYPE, check_name, fault
from plait.expressions.functions.signature import Lambda
from plait.expressions.values import article, member, shortened, text

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work

_PLACE = re.compile(r"\[(-?[0-9]+)\]")


def steps_of(work: Work, path: Any, of: Any = None) -> list[str | int]:
    """The steps of a path into `of`. Text that is a key of it as it stands is one step.

    Raises:
        ExpressionError: for a name that is closed, and for a step that is neither text nor a whole number.
    """
    if isinstance(path, str):
        if isinstance(of, dict) and path in of:
            check_name(path)
            return [path]
        work.step(path.count(".") + path.count("["))
        found: list[Any] = _PLACE.sub(r".\1", path).removeprefix(".").split(".") if path else []
    else:
        found = list(path) if isinstance(path, (list, tuple)) else [path]
    work.step(len(found))
    return [_step(each) for each in found]


def _step(each: Any) -> str | int:
    if isinstance(each, float):
        each = shortened(each)
    if isinstance(each, bool) or not isinstance(each, (str, int)):
        raise fault(TYPE, None, f"a step of a path is text or a whole number, not {article(each)}")
    check_name(each)
    if isinstance(each, str) and each.startswith("-") and each[1:].isdecimal() and each.isascii() and len(each) < 10:
        return int(each)  # a place from the end
    return each


def found_at(of: Any, steps: list[str | int]) -> Any:
    """What is there; null for nothing."""
    for each in steps:
        of = member(of, each)
    return of


def place_in(size: int, step: str | int) -> int | None:
    """A step as the place of an item in a list of that size, which may be the next one; None for what is none."""
    if isinstance(step, str):
        if not (step.isascii() and step.removeprefix("-").isdigit() and len(step) < 10):
            return None
        step = int(step)
    place = step + size if step < 0 else step
    return place if 0 <= place <= size else None


def name_of(value: Any) -> str:
    """A key of an object: text, or a number as text.

    Raises:
        ExpressionError: for what is neither, and for a name that is closed.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise fault(TYPE, None, f"a key is text or a number, not {article(value)}")
    name = text(value)
    check_name(name)
    return name


def key_of(work: Work, key: str | Lambda | None) -> Callable[[Any, int], Any]:
    """What to look at in an item with its index."""
    if isinstance(key, str):
        path = key
        steps = steps_of(work, path)

        def look(item: Any, index: int) -> Any:
            work.step(len(steps))
            return item[path] if isinstance(item, dict) and path in item else found_at(item, steps)

        return look
    return key if key is not None else lambda item, index: item
