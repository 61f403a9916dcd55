"""How plain data behaves in expressions: what is true, equal, smaller, a number, text. JavaScript's rules, where those are not a trap."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from plait.expressions.faults import EVALUATION, TYPE, check_name, fault

MOST_BITS = 1024
"""Of a whole number that is exact; a larger one goes on as a float, as all numbers of JavaScript are."""
MOST_VALUES = 1_000_000
"""Of lists and objects that are looked at as a whole: so many values may be in them."""
DEEPEST_DATA = 200
"""Levels of lists and objects that are looked at as a whole."""


def kind(value: Any) -> str:
    """What a person would call it; `typeof` says the same."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
        case _:
            return "object"


def article(value: Any) -> str:
    """`kind` as it stands in a sentence."""
    match value:
        case None:
            return "null"
        case bool():
            return text(value)
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__} of Python's"


PLAIN = frozenset((type(None), bool, int, float, str, list, dict))
"""Types of plain data; tuples are taken, too, and what is derived from these, as what it is derived from."""


def base_of(value: Any) -> type | None:
    """The type of plain data that a value is of, or is derived from; None where there is none. The value itself is not asked."""
    found = type(value)
    return next((each for each in _BASES if issubclass(found, each)), None)


_BASES: tuple[type, ...] = (str, int, float, list, dict, tuple)


def exact(value: Any) -> Any:
    """What a value is that is derived from plain data, without anything that was added to that; all else as it is.

    What its type says of operators, or of how it is printed, is code, and is not run.
    """
    base = None if type(value) in PLAIN else base_of(value)
    match base:
        case None:
            return value
        case builtins.str:
            return str.__str__(value)
        case builtins.int:
            return int.__int__(value)
        case builtins.float:
            return float.__float__(value)
        case builtins.dict:
            return dict(dict.items(value))
        case builtins.list:
            return list(list.__iter__(value))
        case _:
            return value if type(value) is tuple else list(tuple.__iter__(value))


def plain(value: Any) -> Any:
    """The value as plain data, if it is that: what is in lists and objects is looked at when it is taken out of them.

    Raises:
        ExpressionError: for an object of Python's. Its attributes, its text and whether it can be called are nobody's business here.
    """
    if type(value) in PLAIN:
        return value
    if base_of(value) is not None:
        return exact(value)
    raise fault(
        TYPE,
        None,
        f"a {type(value).__name__} of Python's is no plain data: text, numbers, true, false, null, lists and objects are",
    )


def text(value: Any) -> str:
    """As in a template: null is empty, lists and objects are compact JSON, integral numbers have no `.0`.

    Raises:
        ExpressionError: for what is no plain data, for lists and objects that are larger or deeper than may be.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    return str(value) if isinstance(value, int) else encoded(value)


def _float(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (math.inf, -math.inf):
        return "Infinity" if value > 0 else "-Infinity"
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value).replace("e-0", "e-")


class Weight(NamedTuple):
    """What is in a value: how many values, characters, levels; `odd`: is there something that JSON writes otherwise, or a type of somebody's?"""

    values: int
    characters: int
    depth: int
    odd: bool


def weigh(value: Any, most: int = MOST_VALUES) -> Weight:
    """Looks at all of a value, level by level. Lists that hold themselves end, as all deep ones do.

    Raises:
        ExpressionError: for more values than `most`, more levels than may be, and what is no plain data.
    """
    values = characters = depth = 0
    odd = False
    level = [value]
    while level:
        depth += 1
        if depth > DEEPEST_DATA:
            raise fault(EVALUATION, None, f"this is nested deeper than {DEEPEST_DATA} levels")
        values += len(level)
        deeper: list[Any] = []
        for each in level:
            if type(each) not in PLAIN and type(each) is not tuple:
                each, odd = plain(each), True
            if isinstance(each, str):
                characters += len(each)
            elif isinstance(each, (list, tuple, dict)):
                if values + len(deeper) + len(each) > most:
                    raise fault(
                        EVALUATION,
                        None,
                        "there are too many values in this: work on less data, or in a task of its own",
                    )
                if isinstance(each, dict):
                    characters += sum(len(key) if isinstance(key, str) else 8 for key in each)
                    deeper.extend(each.values())
                else:
                    deeper.extend(each)
            elif isinstance(each, float):
                odd = odd or not math.isfinite(each) or each.is_integer()
        level = deeper
    return Weight(values, characters, depth, odd)


def encoded(value: Any, indent: int | None = None) -> str:
    """JSON, compact or with so many spaces for each level; NaN and Infinity are null there, as in JavaScript.

    Raises:
        ExpressionError: for what is no plain data, for lists and objects that are larger or deeper than may be.
    """
    if weigh(value).odd:
        value = _without_odd(value)
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, separators=None if indent else (",", ":"))
    except TypeError:
        raise fault(TYPE, None, "an object has keys that are no text") from None


def _without_odd(value: Any) -> Any:
    value = exact(value)
    if isinstance(value, dict):
        return {exact(key): _without_odd(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_odd(each) for each in value]
    if isinstance(value, float):
        return shortened(value) if math.isfinite(value) else None
    return value


def is_number(value: Any) -> bool:
    """Is it a number? true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def truth(value: Any) -> bool:
    """Is a value true? False are false, null, 0, NaN and empty text."""
    value = exact(value)
    if isinstance(value, (bool, str, int)):
        return bool(value)
    if isinstance(value, float):
        return value != 0 and value == value
    return value is not None


def number(value: Any) -> float | int:
    """A value as a number: text by what it says, null 0, true 1; NaN where there is none."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    if value is None:
        return 0
    if isinstance(value, str):
        return numeric(value)
    return math.nan


def numeric(value: str) -> float | int:
    """The number that text says; NaN where it says none. Digits only of ASCII, as JSON has them."""
    said = value.strip()
    if not said or not said.isascii() or said.strip("+-0123456789.eE") or len(said) > 400:
        return math.nan
    try:
        return bounded(int(said)) if said.lstrip("+-").isdigit() else shortened(float(said))
    except ValueError:
        return math.nan


def shortened(value: float) -> float | int:
    """A float that is a whole number, as that: 6 / 2 is 3, and not 3.0."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def bounded(value: int) -> float | int:
    """A whole number, as long as it is not too long to be exact."""
    if -(2**MOST_BITS) < value < 2**MOST_BITS:
        return value
    return math.inf if value > 0 else -math.inf


def same(left: Any, right: Any, step: Callable[[int], None] | None = None) -> bool:
    """`===`: of one type, and equal; lists and objects by what is in them. Numbers are of one type.

    `step` is told how many values are compared, before they are.
    """
    compared = 0
    pairs = [(left, right)]
    while pairs:
        one, other = map(exact, pairs.pop())
        listed = isinstance(one, (list, tuple))
        if not listed and not isinstance(one, dict):
            if not _alike(one, other):
                return False
            continue
        if not isinstance(other, (list, tuple) if listed else dict) or len(one) != len(other):
            return False
        if step is not None:
            step(len(one))
        compared += len(one)
        if compared > MOST_VALUES:
            raise fault(
                EVALUATION, None, "there are too many values in this: work on less data, or in a task of its own"
            )
        if listed:
            pairs.extend(zip(one, other, strict=True))
            continue
        for key, value in one.items():
            if key not in other:
                return False
            pairs.append((value, other[key]))
    return True


def _alike(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return left is right
    if is_number(left):
        return is_number(right) and bool(left == right)
    if isinstance(left, str):
        return isinstance(right, str) and left == right
    plain(left)
    return False


def equal(left: Any, right: Any, step: Callable[[int], None] | None = None) -> bool:
    """`==`: a number is compared with what text or a boolean says as a number, everything else as `===` does."""
    loose = (int, float, str)
    unlike = any(isinstance(left, each) != isinstance(right, each) for each in (str, bool))
    if unlike and isinstance(left, loose) and isinstance(right, loose):
        return bool(number(left) == number(right))
    return same(left, right, step)


def less(left: Any, right: Any) -> bool | None:
    """`<`: two texts by code point, all else as numbers. None where there is no order: null, and what is no number."""
    if left is None or right is None:
        return None
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    one, other = number(left), number(right)
    return None if one != one or other != other else one < other


def member(value: Any, name: Any) -> Any:
    """`value[name]`; null where there is nothing. Of lists and text by place, the last is -1, and `length`.

    Raises:
        ExpressionError: for a name that is closed.
    """
    if isinstance(name, float):
        name = shortened(name)
    check_name(name)
    of: Any = base_of(value)  # whose methods they are: a type that is derived from it may have others
    if of is dict:
        if isinstance(name, str):
            return of.get(value, name)
        found = of.get(value, name) if isinstance(name, int) and not isinstance(name, bool) else None
        return of.get(value, text(name)) if found is None else found
    if of in (list, tuple, str):
        size = of.__len__(value)
        if name == "length":
            return size
        if isinstance(name, str) and name.isascii() and name.isdigit() and len(name) < 10:
            name = int(name)
        if isinstance(name, int) and not isinstance(name, bool) and -size <= name < size:
            return of.__getitem__(value, name)
        return None
    plain(value)  # numbers have no members, and objects of Python's have none here
    return None


def contains(value: Any, whole: Any, step: Callable[[int], None] | None = None) -> bool:
    """`value IN whole`: an item of a list (as `==` has it), a part of text, a key of an object. Null is in no text."""
    if isinstance(whole, str):
        return value is not None and text(value) in whole
    if isinstance(whole, (list, tuple)):
        return any(equal(value, each, step) for each in whole)
    return isinstance(whole, dict) and text(value) in whole
