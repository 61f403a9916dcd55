"""YAML inside an element of a FlowScript file, where a template may stand wherever a text may."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from plait.flow.problems import Place, Problems
from plait.flow.spans import Lines, Span, Spanning
from plait.flow.templates import closing
from plait.flow.tree import Mapping, Scalar, Sequence, Tree, check_characters, inside, parse


def read_yaml(span: Span, problems: Problems) -> Tree:
    """The tree of a YAML text, with the places of the file; its texts hold their `{{ ... }}` as they are written.

    `tree.inside` gives the places in such a text.

    Raises:
        FlowError: for a text that is no YAML, with the place.
    """
    with problems.under("PARSE_YAML_INVALID"):
        check_characters(span.value, problems, span.place)
        return _Section(span, problems).tree()


@dataclass(frozen=True, slots=True)
class _Hole:
    """A `{{ ... }}`, and where in the section it stands."""

    text: str
    start: int


MOST_HOLES = 100_000
_OPENING = re.compile(r"(\\*)\{\{")


class _Section:
    """A YAML text in which a word stands for each `{{ ... }}`, whose braces, quotes and colons YAML would take for its own."""

    def __init__(self, span: Span, problems: Problems) -> None:
        self._span = span
        self._problems = problems
        self._holes: dict[str, _Hole] = {}
        used = set(span.value)
        free = next((each for each in map(chr, range(0xE000, 0xF900)) if each not in used), "")
        if not free:
            raise problems.stop(span.place(0), "value", "this holds every character that Unicode leaves to private use")
        self._quote = free
        self._words = re.compile(f"{free}[0-9]+{free}")
        self._marked = self._with_words()
        self._text = self._marked.value
        self._lines = self._text.splitlines()
        self._starts = Lines(self._text).starts
        self._local: dict[Place, Place] = {}

    def _with_words(self) -> Span:
        text = self._span.value
        made = Spanning(self._span.lines, self._span)
        taken = at = 0
        while (found := _OPENING.search(text, at)) is not None:
            at = found.end()
            start = at - 2
            slashes = len(found[1])
            if slashes and slashes % 2 == 0:
                continue  # backslashes that stand for themselves, in YAML's quotes
            if slashes:
                start -= 1  # `\\{{` is a literal, and no escape of YAML
            else:
                at = closing(text, at) + 2
            if at < start:
                raise self._problems.stop(
                    self._span.place(start),
                    "template",
                    "`{{` is not closed: write `}}` behind it, or `\\{{` for the characters themselves",
                )
            if len(self._holes) == MOST_HOLES:
                raise self._problems.stop(
                    self._span.place(start), "too-large", f"this holds more than {MOST_HOLES:,} templates"
                )
            word = f"{self._quote}{len(self._holes)}{self._quote}"
            self._holes[word] = _Hole(text[start:at], start)
            made.add(text[taken:start], taken, start)
            made.add(word, start, at)
            taken = at
        made.add(text[taken:], taken, len(text))
        return made.span()

    def tree(self) -> Tree:
        """All of it."""
        tree = parse(self._text, self._problems, self._where)
        return Scalar(None, self._span.place(0)) if tree is None else self._restored(tree)

    def _where(self, mark: Any) -> Place:
        place = self._marked.place(mark.index)
        self._local.setdefault(place, Place(mark.line + 1, mark.column + 1))
        return place

    def _restored(self, tree: Tree) -> Tree:
        match tree:
            case Scalar(str() as value, at, style):
                origin = _Text(self, Scalar(value, self._local[at], style))
                return Scalar(self._whole(value), at, style, origin=origin)
            case Scalar():
                return tree
            case Sequence(items, at):
                found = []
                for item in items:
                    found.append(self._restored(item))
                return Sequence(found, at)
            case Mapping(items, keys, at):
                made = Mapping({}, {}, at)
                for key, item in items.items():
                    name = self._whole(key)
                    if name in made.items:
                        first = made.keys[name]
                        self._problems.add(
                            keys[key], "duplicate-key", f"key {name!r} stands here twice; first in line {first.line}"
                        )
                        continue
                    made.keys[name] = keys[key]
                    made.items[name] = self._restored(item)
                return made

    def _whole(self, text: str) -> str:
        return self._words.sub(lambda word: self._holes[word[0]].text, text) if self._quote in text else text

    def words(self, written: Scalar) -> Iterator[re.Match[str]]:
        """Those in a text."""
        return self._words.finditer(str(written.value))

    def hole(self, word: str) -> _Hole:
        """What a word stands for."""
        return self._holes[word]

    def in_hole(self, hole: _Hole, offset: int) -> Place:
        """The place of an offset in a `{{ ... }}`."""
        return self._span.place(hole.start + offset)

    def in_text(self, written: Scalar, offset: int) -> Place:
        """The place of an offset in a text with words in it."""
        line, column = inside(written, offset, self._lines)
        if line > len(self._starts):  # the line that YAML puts an end to where the section has none
            return self._marked.place(len(self._text))
        return self._marked.place(self._starts[line - 1] + column - 1)


@dataclass(frozen=True, slots=True)
class _Text:
    """Where the characters of a text stand: those of its `{{ ... }}`, and those between them."""

    section: _Section
    written: Scalar
    """With words for its holes, and its place in the section."""
    parts: list[tuple[int, int, _Hole | None]] = field(default_factory=list)
    """Where each part begins in the text and in what was written, and which hole it is, once that was asked for."""

    def place(self, offset: int) -> Place:
        """That of the character at an offset."""
        if not self.parts:
            self._take_apart()
        part = bisect_right(self.parts, offset, key=lambda each: each[0]) - 1
        start, written, hole = self.parts[part]
        if hole is not None:
            return self.section.in_hole(hole, offset - start)
        return self.section.in_text(self.written, written + offset - start)

    def _take_apart(self) -> None:
        self.parts.append((0, 0, None))
        longer = 0
        for word in self.section.words(self.written):
            hole = self.section.hole(word[0])
            self.parts.append((word.start() + longer, word.start(), hole))
            longer += len(hole.text) - len(word[0])
            self.parts.append((word.end() + longer, word.end(), None))
