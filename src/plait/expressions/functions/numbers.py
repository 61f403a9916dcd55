"""Functions of numbers. What is no number is null, as with `/` by 0, or NaN, as in JavaScript; whole numbers have no fraction."""

from __future__ import annotations

import math
import random as chance
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING, Any

from plait.expressions.faults import TYPE, fault
from plait.expressions.functions.signature import Anything, Number, Whole, function, wrong
from plait.expressions.values import MOST_BITS, article, bounded, is_number, shortened

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work

_EXACT = Context(prec=400, rounding=ROUND_HALF_UP, Emax=9999, Emin=-9999)
"""More digits than any float has in front of its point."""


def _numbers(name: str, work: Work, values: tuple[Any, ...]) -> list[Any]:
    """Several numbers, or one list of them; nulls are left out."""
    given = values[0] if len(values) == 1 and isinstance(values[0], (list, tuple)) else values
    work.step(len(given))
    found = []
    for place, each in enumerate(given):
        if is_number(each):
            found.append(each)
        elif each is not None:
            which = f"item {place}" if given is not values else f"argument {place + 1}"
            hint = "to_number(...) reads a number from text" if isinstance(each, str) else ""
            raise fault(TYPE, None, f"{name}: {which} must be a number, not {article(each)}", hint)
    return found


def _made(value: float) -> float | int:
    """A result as the operators give it."""
    return bounded(value) if isinstance(value, int) else shortened(value) if math.isfinite(value) else value


@function("min")
def min_(work: Work, *numbers: Anything) -> Any:
    """The smallest of several numbers, or of one list. Nulls are left out; null, if there is no number."""
    found = _numbers("min", work, numbers)
    return next((each for each in found if each != each), None if not found else min(found))


@function("max")
def max_(work: Work, *numbers: Anything) -> Any:
    """The largest of several numbers, or of one list. Nulls are left out; null, if there is no number."""
    found = _numbers("max", work, numbers)
    return next((each for each in found if each != each), None if not found else max(found))


@function("sum")
def sum_(work: Work, *numbers: Anything) -> Any:
    """Of several numbers, or of one list. Nulls are left out; 0, if there is no number."""
    return _total(_numbers("sum", work, numbers))


@function("avg")
def avg(work: Work, *numbers: Anything) -> Any:
    """The mean of several numbers, or of one list. Nulls are left out and not counted; 0, if there is no number."""
    found = _numbers("avg", work, numbers)
    return divided(_total(found), len(found)) if found else 0


def _total(found: list[Any]) -> float | int:
    try:
        return _made(sum(found) if all(isinstance(each, int) for each in found) else math.fsum(found))
    except ValueError:  # of infinities with both signs
        return math.nan
    except OverflowError:
        return math.inf if sum(each / 2**60 for each in found) > 0 else -math.inf


@function("round", steps=4)
def round_(work: Work, n: Number, d: Whole = 0) -> float | int:
    """To `d` digits behind the point (before it, if `d` is below 0); a half goes away from zero.

    What counts is the number as it is written: 2.675 is 2.68.
    """
    if not math.isfinite(n):
        return n
    exact = Decimal(n) if isinstance(n, int) else Decimal(repr(n))
    digits = -int(exact.as_tuple().exponent)
    if d >= digits:
        return _made(n)
    if d < -MOST_BITS:
        return 0
    made = exact.quantize(Decimal((0, (1,), -d)), context=_EXACT)
    return _made(int(made) if d <= 0 and isinstance(n, int) else float(made))


@function("floor")
def floor(work: Work, n: Number) -> float | int:
    """The next whole number that is not larger."""
    return _whole(math.floor, n)


@function("ceil")
def ceil(work: Work, n: Number) -> float | int:
    """The next whole number that is not smaller."""
    return _whole(math.ceil, n)


@function("trunc")
def trunc(work: Work, n: Number) -> float | int:
    """Without what is behind the point."""
    return _whole(math.trunc, n)


def _whole(towards: Callable[[float], int], n: float) -> float | int:
    return towards(n) if abs(n) < 2**53 else n  # larger ones have nothing behind the point; NaN is not smaller


@function("abs")
def abs_(work: Work, n: Number) -> float | int:
    """Without its sign."""
    return abs(n)


@function("sign")
def sign(work: Work, n: Number) -> float | int:
    """-1, 0 or 1."""
    return n if n != n else (n > 0) - (n < 0)


@function("pow")
def pow_(work: Work, n: Number, exponent: Number) -> Any:
    """`n` to the power of `exponent`. Null for 0 to a negative one, NaN for a fraction of a negative number."""
    if n == 0 and exponent < 0:
        return None
    if isinstance(n, int) and isinstance(exponent, int) and exponent >= 0 and n.bit_length() * exponent <= MOST_BITS:
        return n**exponent
    try:
        return _made(math.pow(n, exponent))
    except OverflowError:
        return -math.inf if n < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        return math.nan


@function("sqrt")
def sqrt(work: Work, n: Number) -> float | int:
    """The square root; NaN of a negative number."""
    return _made(math.sqrt(n)) if n >= 0 else math.nan


@function("random", pure=False)
def random(work: Work) -> float:
    """From 0 up to 1, which it never is."""
    return chance.random()


@function("random_int", pure=False, steps=2)
def random_int(work: Work, a: Whole, b: Whole) -> int:
    """A whole number from `a` to `b`, both included."""
    if a > b:
        raise wrong("random_int", "b", f"must not be smaller than a, which is {a}")
    return chance.randint(a, b)


@function("clamp")
def clamp(work: Work, n: Number, low: Number | None, high: Number | None) -> float | int:
    """`n`, or the bound that it is beyond; null is no bound."""
    if low is not None and high is not None and low > high:
        raise wrong("clamp", "high", f"must not be smaller than low, which is {low}")
    if low is not None and n < low:
        return low
    return high if high is not None and n > high else n


@function("mod")
def mod(work: Work, a: Number, b: Number) -> Any:
    """What is left when `a` is divided by `b`, with the sign of `b`: `mod(-1, 7)` is 6 (and `-1 % 7` is -1). Null, if `b` is 0."""
    if b == 0:
        return None
    try:
        return _made(a % b) if math.isfinite(a) else math.nan
    except OverflowError:
        return math.nan


@function("percent", steps=4)
def percent(work: Work, v: Number, total: Number, d: Whole = 2) -> Any:
    """How many percent of `total` it is, rounded to `d` digits; 0, if `total` is 0."""
    return round_(work, divided(v, total) * 100, d) if total else 0


@function("add")
def add(work: Work, a: Number | None, b: Number | None) -> Any:
    """`a + b` of numbers; null is 0."""
    return _reckoned(lambda: (a or 0) + (b or 0))


@function("subtract")
def subtract(work: Work, a: Number | None, b: Number | None) -> Any:
    """`a - b` of numbers; null is 0."""
    return _reckoned(lambda: (a or 0) - (b or 0))


@function("multiply")
def multiply(work: Work, a: Number | None, b: Number | None) -> Any:
    """`a * b` of numbers; null is 0."""
    return _reckoned(lambda: (a or 0) * (b or 0))


@function("divide")
def divide(work: Work, a: Number | None, b: Number | None) -> Any:
    """`a / b` of numbers; null by 0, and null is 0."""
    return divided(a or 0, b or 0) if b else None


def _reckoned(reckon: Callable[[], float]) -> float | int:
    try:
        return _made(reckon())
    except OverflowError:
        return math.nan


def divided(a: float, b: float) -> float | int:
    """`a / b` where `b` is not 0."""
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    return _reckoned(lambda: a / b)
