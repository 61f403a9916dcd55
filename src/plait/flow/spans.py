"""A text of a file as it counts, and the place in the file of each of its characters."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from plait.flow.problems import Place

_BLOCK = 1 << 16


class Lines:
    """Where the lines of a text begin, as YAML counts them."""

    __slots__ = ("starts",)

    def __init__(self, text: str) -> None:
        self.starts = array("I", (0,))
        at = 0
        while at < len(text):  # block by block: a list of all lines takes many times the room of the text
            end = text.find("\n", at + _BLOCK) + 1 or len(text)
            lines = text[at:end].splitlines(keepends=True)
            self.starts.pop()
            self.starts.extend(accumulate(map(len, lines), initial=at))
            at = end
        if text and text[-1:].splitlines() != [""]:
            self.starts.pop()  # the last line has no end, so none begins behind it

    def place(self, offset: int) -> Place:
        """The place of an offset in the text."""
        line = bisect_right(self.starts, offset)
        return Place(line, offset - self.starts[line - 1] + 1)


class Origin(Protocol):
    """Where the characters of a text come from."""

    def at(self, offset: int) -> int:
        """The offset in the file of a character, or of what is behind the last one."""


@dataclass(frozen=True, slots=True)
class Span:
    """A text, `value`, in which references are what they stand for."""

    value: str
    lines: Lines = field(repr=False, compare=False)
    origin: Origin = field(repr=False, compare=False)

    def place(self, offset: int) -> Place:
        """Where the character at an offset stands in the file; of the length of the text: where it ends."""
        return self.lines.place(self.at(offset))

    def at(self, offset: int) -> int:
        """The same as an offset in the file, where each line ends in one character."""
        return self.origin.at(min(max(offset, 0), len(self.value)))

    def part(self, start: int, stop: int) -> Span:
        """A part of it, as a text of its own."""
        return Span(self.value[start:stop], self.lines, _Later(self.origin, start))

    def dedented(self) -> Span:
        """Without blank lines before and behind, blanks at its end, and the white space with which all its lines begin.

        Lines with nothing but blanks become empty.
        """
        value = self.value
        end = len(value.rstrip(_WHITE))
        first = len(value) - len(value.lstrip(_WHITE))
        if "\n" not in value[first:end]:
            return Span(value[first:end], self.lines, _Later(self.origin, first))
        start = value.rfind("\n", 0, first) + 1
        whole = value[start:end]
        indents = {found[0] for found in _INDENT.finditer(whole)}
        margin = _common(min(indents), max(indents))
        text = re.sub(rf"(?m)^(?:[ \t]+$|[ \t]{{{margin}}})", "", whole)
        origin = _Later(self.origin, start)
        return Span(text, self.lines, origin if text == whole else _Dedented(origin, whole, text))


_WHITE = " \t\n"
_INDENT = re.compile(r"(?m)^[ \t]*+(?!$)")


def _common(least: str, most: str) -> int:
    """The length of what both begin with, and so all that are between them in order."""
    for length, (one, other) in enumerate(zip(least, most)):
        if one != other:
            return length
    return min(len(least), len(most))


@dataclass(frozen=True, slots=True)
class Beside:
    """All characters stand side by side."""

    start: int

    def at(self, offset: int) -> int:
        """The offset in the file."""
        return self.start + offset


@dataclass(frozen=True, slots=True)
class _Later:
    """What begins further on in another text."""

    origin: Origin
    start: int

    def at(self, offset: int) -> int:
        return self.origin.at(self.start + offset)


@dataclass(frozen=True, slots=True)
class _Dedented:
    """What has the same lines as another text, each with less, or with nothing, before it."""

    origin: Origin
    whole: str
    text: str
    starts: list[array[int]] = field(default_factory=list)
    """Of the lines in both, once that was asked for: most places never are."""

    def at(self, offset: int) -> int:
        if not self.starts:
            self.starts.extend((_starts(self.whole), _starts(self.text)))
        before, now = self.starts
        line = bisect_right(now, offset) - 1
        missing = before[line + 1] - before[line] - (now[line + 1] - now[line])
        return self.origin.at(before[line] + missing + offset - now[line])


def _starts(text: str) -> array[int]:
    """Of each line, and of the one that would be next."""
    return array("I", accumulate((len(line) + 1 for line in text.split("\n")), initial=0))


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of characters that stand side by side: one that begins at `starts[i]` of the text is at `ats[i]`."""

    starts: array[int]
    ats: array[int]
    length: int
    end: int
    within: Span | None

    def at(self, offset: int) -> int:
        if offset >= self.length:
            found = self.end
        else:
            run = bisect_right(self.starts, offset) - 1
            found = self.ats[run] + offset - self.starts[run]
        return found if self.within is None else self.within.at(found)


class Spanning:
    """Puts a span together, from left to right: of what stands in a file, or `within` another span."""

    __slots__ = ("_ats", "_end", "_length", "_lines", "_looked", "_starts", "_texts", "_within")

    def __init__(self, lines: Lines, within: Span | None = None) -> None:
        self._lines = lines
        self._within = within
        self._texts: list[str] = []
        self._starts = array("I")
        self._ats = array("I")
        self._length = 0
        self._looked = 0
        self._end = 0

    @property
    def is_written(self) -> bool:
        """Is there more in it than blanks?"""
        while self._looked < len(self._texts) and not self._texts[self._looked].strip(_WHITE):
            self._looked += 1
        return self._looked < len(self._texts)

    def add(self, text: str, at: int, end: int) -> None:
        """A text that stands from `at` to `end`: as it is, or as something that it stands for."""
        if not text:
            return
        if not self._starts or at != self._ats[-1] + self._length - self._starts[-1]:
            self._starts.append(self._length)
            self._ats.append(at)
        self._texts.append(text)
        self._length += len(text)
        self._end = end

    def span(self) -> Span:
        """All of it."""
        origin = _Runs(self._starts, self._ats, self._length, self._end, self._within)
        return Span("".join(self._texts), self._lines, origin)
