"""Functions of what a value is, and of choosing between values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from plait.expressions.functions.signature import Anything, Object, function
from plait.expressions.values import is_number, kind, number, shortened, truth

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work

_NO = ("", "false", "no", "off", "0", "null")


@function("typeof", charged=True)
def typeof(work: Work, v: Anything) -> str:
    """What it is: null, boolean, number, string, array or object; the operator `typeof` says the same."""
    return kind(v)


@function("is_null", charged=True)
def is_null(work: Work, v: Anything) -> bool:
    """Is it null?"""
    return v is None


@function("is_array", charged=True)
def is_array(work: Work, v: Anything) -> bool:
    """Is it a list?"""
    return isinstance(v, (list, tuple))


@function("is_object", charged=True)
def is_object(work: Work, v: Anything) -> bool:
    """Is it an object? Lists and null are none."""
    return isinstance(v, dict)


@function("is_string", charged=True)
def is_string(work: Work, v: Anything) -> bool:
    """Is it text?"""
    return isinstance(v, str)


@function("is_number", charged=True)
def is_number_(work: Work, v: Anything) -> bool:
    """Is it a number? NaN is one, true is none, and neither is text."""
    return is_number(v)


@function("is_boolean", charged=True)
def is_boolean(work: Work, v: Anything) -> bool:
    """Is it true or false?"""
    return isinstance(v, bool)


@function("is_empty", charged=True)
def is_empty(work: Work, v: Anything) -> bool:
    """Is it null, empty text, a list or an object with nothing in it? Numbers and booleans never are."""
    return v is None or (isinstance(v, (str, list, tuple, dict)) and not v)


@function("is_finite", charged=True)
def is_finite(work: Work, v: Anything) -> bool:
    """Is it a number, and neither NaN nor infinite?"""
    return is_number(v) and math.isfinite(v)


@function("is_integer", charged=True)
def is_integer(work: Work, v: Anything) -> bool:
    """Is it a whole number? 3.0 is one."""
    return is_number(v) and math.isfinite(v) and v == int(v)


@function("is_nan", charged=True)
def is_nan(work: Work, v: Anything) -> bool:
    """Is it NaN? Text never is."""
    return isinstance(v, float) and v != v


@function("is_truthy", charged=True)
def is_truthy(work: Work, v: Anything) -> bool:
    """Does it count as true? Everything does but null, false, 0, NaN and empty text."""
    return truth(v)


@function("is_falsy", charged=True)
def is_falsy(work: Work, v: Anything) -> bool:
    """Does it count as false? Null, false, 0, NaN and empty text do."""
    return not truth(v)


@function("not", charged=True)
def not_(work: Work, v: Anything) -> bool:
    """`!v`."""
    return not truth(v)


@function("to_string", charged=True)
def to_string(work: Work, v: Anything) -> str:
    """As text, as in a template: null is empty, lists and objects are JSON."""
    return work.text(v)


@function("to_number")
def to_number(work: Work, v: Anything) -> float | int:
    """As a number: what text says, 1 for true; 0 for everything that says none."""
    found = number(v)
    return (
        shortened(found)
        if isinstance(found, float) and math.isfinite(found)
        else found
        if isinstance(found, int)
        else 0
    )


@function("to_boolean")
def to_boolean(work: Work, v: Anything) -> bool:
    """As true or false: text by what it says ("false", "no", "off", "0", "null" and "" are false), all else as conditions do."""
    return v.strip().lower() not in _NO if isinstance(v, str) and len(v) < 20 else truth(v)


@function("to_array", charged=True)
def to_array(work: Work, v: Anything) -> list[Any]:
    """A list as it is, nothing for null, a list of one for all else."""
    return list(v) if isinstance(v, tuple) else v if isinstance(v, list) else [] if v is None else [v]


@function("coalesce", charged=True)
def coalesce(work: Work, *values: Anything) -> Any:
    """The first value that is not null."""
    return next((each for each in values if each is not None), None)


@function("default", charged=True)
def default(work: Work, v: Anything, d: Anything) -> Any:
    """`v`, or `d` where `v` is null; empty text, 0 and false are not null."""
    return d if v is None else v


@function("if_else", charged=True)
def if_else(work: Work, condition: Anything, then: Anything, otherwise: Anything = None) -> Any:
    """`then` if the condition is true, else `otherwise`. Both are worked out; of `c ? a : b` only one is."""
    return then if truth(condition) else otherwise


@function("switch", charged=True)
def switch(work: Work, v: Anything, cases: Object, default: Anything = None) -> Any:
    """What the object `cases` has under `v` as text; `default` where it has nothing."""
    return cases.get(work.text(v), default)
