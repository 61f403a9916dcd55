"""Reads YAML into a tree with places, strictly: no tags, no duplicate keys, bounded depth and size, YAML 1.2 scalars."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import yaml

from plait.flow.problems import START, Place, Problems
from plait.scalars import NOT_YAML, scalar

LARGEST_BYTES = 5_000_000
DEEPEST = 450
"""Levels, an alias counted with what it stands for: reading needs a frame of the stack for each."""
MOST_NODES = 100_000
"""Nodes of a file, each alias counted with all that it stands for."""

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Origin(Protocol):
    """Where a text comes from that does not stand in the file as it counts."""

    def place(self, offset: int) -> Place:
        """The place in the file of one of its characters."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text, a number, true, false or null."""

    value: str | int | float | bool | None
    at: Place
    style: str = ""  # the quote, | or > that it was written with
    columns: list[int] = field(default_factory=list, compare=False, repr=False)
    """Where each character stands in its line, once that was asked for and is not plain to see."""
    origin: Origin | None = field(default=None, compare=False, repr=False)
    """Knows the places, where the text was taken out of another one."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: list[Tree]
    at: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping from text; `keys` holds the place of each key."""

    items: dict[str, Tree]
    keys: dict[str, Place]
    at: Place


Tree: TypeAlias = Scalar | Sequence | Mapping


def read(path: Path, problems: Problems, text: str | None = None) -> tuple[Tree, str]:
    """The tree of a file, or of `text` in its place, and the text.

    Raises:
        FlowError: for a file that cannot be read or is not YAML, with the place.
    """
    given, text = text, file_text(path, problems) if text is None else text
    problems.text = text
    if given is None:
        check_characters(text, problems)
    tree = parse(text, problems)
    if tree is None:
        raise problems.stop(START, "empty", "the file is empty: it needs `tasks:`")
    return tree, text


Where: TypeAlias = Callable[[Any], Place]
"""The place in the file of one of the parser's marks."""


def _mark(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def parse(text: str, problems: Problems, where: Where = _mark) -> Tree | None:
    """The tree of a text, or of a part of a file if `where` says what stands at which place of it; None for nothing but comments.

    Raises:
        FlowError: for a text that is not YAML, with the place.
    """
    _measure(text, problems, where)
    try:
        node = yaml.compose(text, Loader)
    except yaml.YAMLError as error:
        raise _syntax(error, text, problems, where) from None
    return None if node is None else _Walker(text, problems, where).tree(node)


def file_text(path: Path, problems: Problems) -> str:
    """What a file holds, without its byte order mark.

    Raises:
        FlowError: for a file that cannot be read, is too large or is not UTF-8, with the place.
    """
    try:
        if path.is_dir():
            raise problems.stop(START, "file", "this is a folder, not a workflow file")
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise problems.stop(START, "file", f"the file cannot be read: {error.strerror or error}") from None
    if len(data) > LARGEST_BYTES:
        raise problems.stop(START, "too-large", f"the file has more than {LARGEST_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.text = data.decode("utf-8-sig", "replace")
        before = data[: error.start].decode("utf-8-sig")
        raise problems.stop(_place(before), "not-text", "the file is not UTF-8 text") from None
    return text


def check_characters(text: str, problems: Problems, place: Callable[[int], Place] | None = None) -> None:
    """Refuses a character that no YAML may hold; `place` says where in a file it is, where the text is but a part of that.

    Raises:
        FlowError: for the first one, with its place.
    """
    strange = NOT_YAML.search(text)
    if strange is not None:
        at = _place(text[: strange.start()]) if place is None else place(strange.start())
        raise problems.stop(
            at, "not-text", f"the file holds the character U+{ord(strange[0]):04X}, which YAML does not allow"
        )


def _place(before: str) -> Place:
    lines = f"{before}x".splitlines()
    return Place(len(lines), len(lines[-1]))


def _measure(text: str, problems: Problems, where: Where) -> None:
    """Refuses what would take the composer too deep or too long, tags, and a second document, before anything is composed."""
    depth = documents = nodes = 0
    try:
        for event in yaml.parse(text, Loader):
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEEPEST:
                    raise problems.stop(where(event.start_mark), "too-deep", f"nested deeper than {DEEPEST} levels")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise problems.stop(
                        where(event.start_mark),
                        "second-document",
                        "a workflow file holds one document; this is a second one",
                    )
            tag = getattr(event, "tag", None)
            if tag is not None and not (tag == "!" and isinstance(event, yaml.ScalarEvent)):
                raise problems.stop(
                    where(event.start_mark), "tag", f"the tag {tag} is not allowed: a workflow file is plain data"
                )
            if nodes > MOST_NODES:
                raise problems.stop(
                    where(event.start_mark), "too-large", f"the file has more than {MOST_NODES:,} nodes"
                )
    except yaml.YAMLError as error:
        raise _syntax(error, text, problems, where) from None


def _syntax(error: yaml.YAMLError, text: str, problems: Problems, where: Where) -> Exception:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    at = START if mark is None else where(mark)
    lines = text.splitlines()
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if _BARE_TEMPLATE.search(line):
        column = line.index("{{") + 1
        return problems.stop(Place(at.line, column), "unquoted-template", UNQUOTED, QUOTE_IT)
    what = getattr(error, "problem", None) or str(error)
    return problems.stop(at, "yaml", f"not YAML: {what}", _hint(what, line))


def _hint(what: str, line: str) -> str:
    """What most often is behind one of the parser's sentences."""
    if "mapping values are not allowed" in what:
        return "quote a text that holds `: `, and give a key a line of its own"
    if "cannot start any token" in what and "\t" in line:
        return "YAML is indented with spaces; this line has a tab"
    if "did not find expected key" in what or "expected <block end>" in what:
        return "is this line indented like those beside it, and is every quote closed?"
    return ""


_BARE_TEMPLATE = re.compile(r"(:|-|,|\[)\s+\{\{")
UNQUOTED = "a value that starts with a template is not quoted: YAML reads a bare `{` as the start of a mapping"
QUOTE_IT = 'quote the whole value: "{{ ... }}"'


class _Walker:
    def __init__(self, text: str, problems: Problems, where: Where) -> None:
        self._lines = text.splitlines()
        self._where = where
        self._problems = problems
        self._open: set[int] = set()
        self._count = 0

    def tree(self, node: Any) -> Tree:
        at = self._where(node.start_mark)
        if len(self._open) > DEEPEST:
            raise self._problems.stop(at, "too-deep", f"with its aliases nested deeper than {DEEPEST} levels")
        self._count += 1
        if self._count > MOST_NODES:
            raise self._problems.stop(at, "too-large", f"with its aliases the file has more than {MOST_NODES:,} nodes")
        if isinstance(node, yaml.ScalarNode):
            return Scalar(_scalar(node), at, node.style or "")
        if id(node) in self._open:
            raise self._problems.stop(at, "alias-loop", "an alias stands inside what it names")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                items = []
                for item in node.value:
                    items.append(self.tree(item))
                return Sequence(items, at)
            found = Mapping({}, {}, at)
            for key, value in node.value:
                name = self._key(found, key, node.start_mark)
                if name is not None:
                    found.items[name] = self.tree(value)
            return found
        finally:
            self._open.discard(id(node))

    def _key(self, found: Mapping, key: Any, start: Any) -> str | None:
        """The key of an entry, with its place noted; None, and a problem, where it cannot be one."""
        at = self._where(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            line = self._lines[start.line] if start.line < len(self._lines) else ""
            bare = line[start.column : start.column + 2] == "{{"
            if bare:
                self._problems.add_unread(found.at, "unquoted-template", UNQUOTED, QUOTE_IT)
            else:
                self._problems.add(at, "key", "a key must be text")
            return None
        name = _scalar(key)
        if key.value == "<<" and not key.style:
            self._problems.add(at, "merge", "merge keys (`<<`) are not supported: write the entries out")
            return None
        if not isinstance(name, str):
            self._problems.add(at, "key", f'a key must be text: quote it, "{key.value}"')
            name = str(key.value)
        if name in found.items:
            first = found.keys[name]
            self._problems.add(at, "duplicate-key", f"key {name!r} stands here twice; first in line {first.line}")
            return None
        found.keys[name] = at
        return name


def _scalar(node: Any) -> str | int | float | bool | None:
    return scalar(node.value, plain=not (node.style or node.tag == "!"))


def plain(tree: Tree) -> Any:
    """The data of a tree, without places."""
    match tree:
        case Scalar(value):
            return value
        case Sequence(items):
            return [plain(item) for item in items]
        case Mapping(items):
            return {key: plain(item) for key, item in items.items()}


def inside(tree: Scalar, offset: int, lines: list[str]) -> Place:
    """The place of an offset in a text; `lines` are those of the file, where escapes and folds make it longer than it means."""
    text, at = tree.value, tree.at
    if not isinstance(text, str):
        return at
    if tree.origin is not None:
        return tree.origin.place(offset)
    if tree.style == "|":
        return _in_block(text, at, offset, lines)
    if tree.style != ">" and at.line <= len(lines) and ("\n" not in text or tree.style == '"'):
        column = _behind_escapes(tree, lines[at.line - 1], offset)
        if column is not None:
            return Place(at.line, column + 1)
    column = at.column + offset + bool(tree.style)
    first = at.line if tree.style != ">" else at.line + 1
    sample = text[offset : offset + _SAMPLE].partition("\n")[0]
    for number in range(first, min(first + _MOST_LINES, len(lines) + 1)):
        line = lines[number - 1]
        found = line.find(sample, column - 1 if number == at.line else 0)
        if found >= 0:
            return Place(number, found + 1)
        if number == at.line and column <= len(line):
            break  # an escape in the sample itself
    end = len(lines[at.line - 1]) + 1 if at.line <= len(lines) else 0
    return at if tree.style == ">" or "\n" in text or column > end else Place(at.line, column)


_ESCAPES = {"x": 4, "u": 6, "U": 10}


def _behind_escapes(tree: Scalar, line: str, offset: int) -> int | None:
    """The column of an offset in a text that stands in one line; None where it does not."""
    style = tree.style
    column = tree.at.column - 1 + bool(style)
    if (style == '"' and "\\" in line) or (style == "'" and "''" in line):
        if not tree.columns:
            tree.columns.extend(_columns(line, column, style, len(str(tree.value))))
        if "\n" in str(tree.value) and not line.startswith('"', tree.columns[-1]):
            return None  # it goes on in the next line
        column = tree.columns[min(offset, len(tree.columns) - 1)]
    elif "\n" in str(tree.value):
        return None
    else:
        column += offset
    return column if column <= len(line) else None


def _columns(line: str, column: int, style: str, length: int) -> Iterator[int]:
    yield column
    for _ in range(length):
        if style == '"' and line.startswith("\\", column):
            column += _ESCAPES.get(line[column + 1 : column + 2], 2)
        else:
            column += 2 if style == "'" and line.startswith("''", column) else 1
        yield column


def _in_block(text: str, at: Place, offset: int, lines: list[str]) -> Place:
    number = at.line + 1 + text.count("\n", 0, offset)
    start = text.rfind("\n", 0, offset) + 1
    own = text[start:].partition("\n")[0]
    line = lines[number - 1] if number <= len(lines) else ""
    return Place(number, len(line) - len(own) + offset - start + 1 if line.endswith(own) else 1)


_SAMPLE = 20
"""Characters that are looked for where an offset is."""

_MOST_LINES = 100
"""Lines of a text in which it is looked for."""


def kind(tree: Tree) -> str:
    """What a person would call it."""
    match tree:
        case Scalar(None):
            return "nothing"
        case Scalar(bool()):
            return "true or false"
        case Scalar(str()):
            return "text"
        case Scalar():
            return "a number"
        case Sequence():
            return "a list"
        case Mapping():
            return "a mapping"
