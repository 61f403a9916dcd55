"""Functions of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.expressions.functions.patterns import groups_of, search, search_all
from plait.expressions.functions.signature import Anything, Items, List, Text, Whole, function, wrong
from plait.expressions.values import same

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work


@function("upper")
def upper(work: Work, s: Text) -> str:
    """In capitals."""
    return s.upper()


@function("lower")
def lower(work: Work, s: Text) -> str:
    """In small letters."""
    return s.lower()


@function("trim")
def trim(work: Work, s: Text) -> str:
    """Without white space at its ends."""
    return s.strip()


@function("replace", charged=True)
def replace(work: Work, s: Text, old: Text, new: Text) -> str:
    """With `new` for every `old`; empty `old` is nowhere."""
    work.step(len(s) // 256)
    found = s.count(old) if old else 0
    if not found:
        return s
    work.makes(len(s) + found * (len(new) - len(old)))
    return s.replace(old, new)


@function("split", nothing=[])
def split(work: Work, s: Text, sep: Text | None = None) -> list[str]:
    """The parts between `sep`, all characters for an empty one, and the words where none is given. Null has no parts."""
    if sep is None:
        work.step(len(s) // 2)  # more words there cannot be
        return s.split()
    work.step(len(s) if sep == "" else s.count(sep) + 1)
    return s.split(sep) if sep else list(s)


@function("join", charged=True)
def join(work: Work, list_: List, sep: Text = ",") -> str:
    """The items as text, with `sep` between them. Null is empty text; a list in the list is JSON."""
    work.step(len(list_))
    words = [work.text(each) for each in list_]
    work.makes(sum(map(len, words)) + len(sep) * len(words))
    return sep.join(words)


@function("truncate")
def truncate(work: Work, s: Text, n: Whole, end: Text = "...") -> str:
    """At most `n` characters, the last of which are `end` where something was cut off."""
    return s if len(s) <= n else s[: max(0, n - len(end))] + end[: max(0, n)]


@function("includes", nothing=False)
def includes(work: Work, of: Items, value: Anything) -> bool:
    """Is it an item of the list (as `===` has it), or a part of the text? Null has none, and is no part of text."""
    return _find("includes", work, of, value) >= 0


@function("contains", nothing=False)
def contains(work: Work, of: Items, value: Anything) -> bool:
    """The same as includes."""
    return _find("contains", work, of, value) >= 0


@function("index_of", nothing=-1)
def index_of(work: Work, of: Items, value: Anything) -> int:
    """The place of the first such item (as `===` has it), or of the first such part of text; -1 where there is none."""
    return _find("index_of", work, of, value)


def _find(name: str, work: Work, of: list[Any] | str, value: Any) -> int:
    if isinstance(of, str):
        if value is None:
            return -1
        if not isinstance(value, str):
            raise wrong(name, "value", "must be text where it is looked for in text", "to_string(...) makes text of it")
        return of.find(value)
    work.step(len(of))
    return next((place for place, each in enumerate(of) if same(each, value, work.step)), -1)


@function("starts_with", nothing=False)
def starts_with(work: Work, s: Text, start: Text | None) -> bool:
    """Does it begin with `start`? Null begins with nothing, and nothing begins with null."""
    return start is not None and s.startswith(start)


@function("ends_with", nothing=False)
def ends_with(work: Work, s: Text, end: Text | None) -> bool:
    """Does it end with `end`? Null ends with nothing, and nothing ends with null."""
    return end is not None and s.endswith(end)


@function("substring")
def substring(work: Work, s: Text, a: Whole, b: Whole | None = None) -> str:
    """From `a` up to `b`, or to the end. As in JavaScript: what is below 0 is 0, and the smaller of both is the first."""
    first, last = max(0, a), len(s) if b is None else max(0, b)
    return s[min(first, last) : max(first, last)]


@function("pad_start", charged=True)
def pad_start(work: Work, s: Text, n: Whole, fill: Text = " ") -> str:
    """At least `n` characters: `fill` goes in front, as often as it takes."""
    return _padding(work, s, n, fill) + s


@function("pad_end", charged=True)
def pad_end(work: Work, s: Text, n: Whole, fill: Text = " ") -> str:
    """At least `n` characters: `fill` goes behind, as often as it takes."""
    return s + _padding(work, s, n, fill)


def _padding(work: Work, s: str, n: int, fill: str) -> str:
    missing = n - len(s)
    if missing <= 0 or not fill:
        return ""
    work.makes(2 * n)
    return (fill * (missing // len(fill) + 1))[:missing]


@function("repeat", charged=True)
def repeat(work: Work, s: Text, n: Whole) -> str:
    """So many times, one behind the other; nothing for 0 and less."""
    work.makes(len(s) * max(0, n))
    return s * n if s else ""


@function("char_at")
def char_at(work: Work, s: Text, n: Whole) -> str:
    """The character at a place, from 0; empty text where there is none. at() counts from the end, too."""
    return s[n] if 0 <= n < len(s) else ""


@function("match", steps=8)
def match(work: Work, s: Text, re: Text) -> list[str | None] | None:
    """The first place where the regular expression fits: [the whole, group 1, ...], null for a group without a part; null for none."""
    found = search("match", work, s, re)
    return None if found is None else [found[0], *found.groups()]


@function("match_all", nothing=[], steps=8)
def match_all(work: Work, s: Text, re: Text) -> list[Any]:
    """All places where the regular expression fits: texts, or lists as `match` gives them where it has groups."""
    grouped = groups_of("match_all", work, re) > 0
    return [[found[0], *found.groups()] if grouped else found[0] for found in search_all("match_all", work, s, re)]


@function("test", nothing=False, steps=8)
def test(work: Work, s: Text, re: Text) -> bool:
    """Does the regular expression fit anywhere?"""
    return search("test", work, s, re) is not None


@function("concat", charged=True)
def concat(work: Work, *values: Anything) -> str | list[Any]:
    """One list, if the first value that is not null is a list (what is no list is an item), else one text."""
    first = next((each for each in values if each is not None), "")
    if isinstance(first, (list, tuple)):
        return _joined(
            work, [each if isinstance(each, (list, tuple)) else [each] for each in values if each is not None]
        )
    words = [work.text(each) for each in values]
    work.makes(sum(map(len, words)))
    return "".join(words)


@function("array_concat", charged=True)
def array_concat(work: Work, *lists: List) -> list[Any]:
    """One list of all the lists."""
    return _joined(work, lists)


def _joined(work: Work, lists: Any) -> list[Any]:
    work.makes(items=sum(map(len, lists)))
    found: list[Any] = []
    for each in lists:
        found.extend(each)
    return found
