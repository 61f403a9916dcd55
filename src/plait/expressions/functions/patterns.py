"""Regular expressions that nobody waits for: `regex` is imported where one is used, and ends in time."""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING, Any

from plait.expressions.faults import EVALUATION, fault
from plait.expressions.functions.signature import wrong

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work

LONGEST = 1_000
"""Characters of a regular expression."""
MOST_LOOKED_AT = 1_000_000
"""Characters of the text, times the groups and one: what a group held before is kept while the search may go back to it."""
MOST_REPEATED = 50_000
"""What `{1000}` repeats is written out so often before anything is searched."""

_RECURSION = re.compile(r"\(\?(?:R|[+-]?[0-9]|&|P>)")
_UNUSUAL = re.compile(r"\(\?(?:#|[a-zA-Z0-9]*[xV])|\[\[|\[\^\[|\[:")
"""Where what looks like a bracket may be none: comments, sets in sets."""
_SET = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_COUNTS = re.compile(r"\{\s*([0-9]+)")


def search(name: str, work: Work, text: str, pattern: str) -> Any:
    """The first match, or None."""
    compiled = _compiled(name, work, text, pattern)
    with _Timed(name, work) as timed:
        return compiled.search(text, timeout=timed.left)


def search_all(name: str, work: Work, text: str, pattern: str) -> list[Any]:
    """All matches."""
    compiled = _compiled(name, work, text, pattern)
    matches = []
    with _Timed(name, work) as timed:
        for found in compiled.finditer(text, timeout=timed.left):
            work.step(2 + compiled.groups)
            work.makes(sum(len(each) for each in (found[0], *found.groups()) if each))
            matches.append(found)
    return matches


def groups_of(name: str, work: Work, pattern: str) -> int:
    """How many groups it has."""
    return int(_compiled(name, work, "", pattern).groups)


def _compiled(name: str, work: Work, text: str, pattern: str) -> Any:
    if len(pattern) > LONGEST:
        raise wrong(name, "re", f"has more than {LONGEST:,} characters")
    if _RECURSION.search(pattern):
        raise wrong(name, "re", "calls itself or a part of itself, which takes memory without end")
    if _written_out(pattern) > MOST_REPEATED:
        raise wrong(name, "re", f"repeats more than {MOST_REPEATED:,} characters", "+ and * have no such limit")
    import regex  # type: ignore[import-not-found, import-untyped, unused-ignore]  # nobody pays for it who does not use it

    with _Timed(name, work):
        try:
            compiled = regex.compile(pattern)
        except (regex.error, ValueError, OverflowError) as error:
            raise wrong(name, "re", f"is no regular expression: {error}") from None
        except RecursionError:
            raise wrong(name, "re", "is nested too deep") from None
    if len(text) * (compiled.groups + 1) > MOST_LOOKED_AT:
        raise wrong(
            name, "s", f"is too long for a regular expression with {compiled.groups} groups: {len(text):,} characters",
            f"{MOST_LOOKED_AT:,} are the most, for each group and the whole",
        )  # fmt: skip
    return compiled


def _written_out(pattern: str) -> int:
    """How long a regular expression is with its counted repeats written out; more, where that is not easily said."""
    if _UNUSUAL.search(pattern):
        return _product(pattern)
    sizes, last, place = [0], 0, 0  # of each group that is open; of what a count would repeat
    while place < len(pattern):
        each = pattern[place]
        count = _COUNTS.match(pattern, place)
        if count is not None:
            more = last * (max(1, int(count[1])) - 1)  # it is in the sum once
            sizes[-1] += more
            last, place = last + more, count.end()
            continue
        chars = _SET.match(pattern, place)
        place = chars.end() if chars is not None else place + (2 if each == "\\" else 1)
        if each == "(":
            sizes.append(0)
        elif each == ")" and len(sizes) == 1:
            return _product(pattern)
        else:
            last = sizes.pop() + 1 if each == ")" else 1
            sizes[-1] += last
    return sum(sizes)


def _product(pattern: str) -> int:
    found = len(pattern)
    for count in _COUNTS.findall(pattern):
        found *= max(1, int(count))
    return found


class _Timed:
    """Takes from the time of an evaluation what its regular expressions use."""

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self.work = work
        self.left = work.regex_seconds
        if self.left <= 0:
            raise self._over()

    def __enter__(self) -> _Timed:
        self.began = perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.work.regex_seconds -= perf_counter() - self.began
        if isinstance(error, (TimeoutError, MemoryError)):
            raise self._over() from None

    def _over(self) -> Exception:
        return fault(
            EVALUATION,
            None,
            f"{self.name}: the regular expressions of one evaluation take more than a second, or too much memory",
            "nested repeats such as (a+)+ try out every way to divide a text",
        )
