"""CSV as RFC 4180 has it: objects by the names of the header row, values as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from plait.errors import NodeError
from plait.expressions import text as written

MOST_VALUES = 2_000_000
"""In one table: each is an object of Python's."""

_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n][^,\r\n]*|))(,|\r\n|\n|\r|\Z)')
_SPECIAL = re.compile(r'[",\r\n]')


def read_csv(text: str, look: Callable[[], None]) -> list[dict[str, str]]:
    """The rows, as objects from the names in the first one. Empty lines count for nothing; `look` is called now and then.

    Raises:
        ValueError: for what is no table, with the line.
    """
    found: list[dict[str, str]] = []
    names: list[str] | None = None
    values = 0
    for line, row in _rows(text):
        if names is None:
            names = row
            twice = next((name for place, name in enumerate(row) if name in row[:place]), None)
            if twice is not None:
                raise ValueError(f"line {line}: two columns are named {twice!r}")
            continue
        if len(row) != len(names):
            raise ValueError(f"line {line}: it has {len(row)} fields, and the header row has {len(names)}")
        values += len(row)
        if values > MOST_VALUES:
            raise ValueError(f"line {line}: there are more than {MOST_VALUES:,} values")
        if len(found) % 1024 == 0:
            look()
        found.append(dict(zip(names, row, strict=True)))
    return found


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the number of the line in which it begins."""
    at, line, end = 0, 1, len(text)
    while at < end:
        row: list[str] = []
        began = line
        is_empty = text[at] in "\r\n"
        while True:
            match = _FIELD.match(text, at)
            if match is None:
                raise ValueError(f"line {line}: {_wrong(text, at)}")
            quoted, bare, ending = match.groups()
            row.append(bare if quoted is None else quoted.replace('""', '"'))
            if quoted is not None:
                line += _breaks(quoted)
            at = match.end()
            if ending != ",":
                break
        line += 1
        if not is_empty:
            yield began, row


def _breaks(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _wrong(text: str, at: int) -> str:
    """What keeps a field from being one: it begins with a quote."""
    if re.compile(r'"[^"]*(?:""[^"]*)*"').match(text, at):
        return 'there is text behind the closing quote of a field: write quotes in a field as ""'
    return "the quote that opens here is not closed"


def write_csv(rows: Sequence[Any], look: Callable[[], None]) -> str:
    """A table of objects, with a column for each key in the order in which they come first. Null is empty.

    Raises:
        NodeError: for a row that is no object.
    """
    columns: dict[str, None] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise NodeError(f"row {number} is no object: csv needs a list of objects")
        columns.update(dict.fromkeys(map(str, row)))
    if not columns:
        return ""
    lines = [_line(columns)]
    for number, row in enumerate(rows):
        if number % 1024 == 0:
            look()
        lines.append(_line(row.get(name) for name in columns))
    return "".join(lines)


def _line(values: Any) -> str:
    fields = [_quoted(written(value)) for value in values]
    # A line without a character would be no row.
    return (",".join(fields) if fields != [""] else '""') + "\r\n"


def _quoted(field: str) -> str:
    if _SPECIAL.search(field) is None:
        return field
    return '"' + field.replace('"', '""') + '"'
