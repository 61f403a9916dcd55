"""A line of a file as a terminal may show it: nothing in it moves the cursor, and what is too long is cut around a place."""

from __future__ import annotations

from typing import NamedTuple

WIDTH = 100
"""Cells of a line that are shown."""

BEFORE = 60
"""Those before the place, where what follows is long, too."""

TAB = "    "
CUT = "..."


class Excerpt(NamedTuple):
    """What is shown of a line, and how many cells are before its place."""

    text: str
    caret: int


def excerpt(line: str, column: int) -> Excerpt:
    """The line, harmless, cut around a column (from 1) where it is longer than fits."""
    at = min(max(column - 1, 0), len(line))
    before = [_shown(each) for each in line[max(at - WIDTH, 0) : at]]
    after = [_shown(each) for each in line[at : at + WIDTH]]
    kept = _fitting(before[::-1], max(BEFORE, WIDTH - _cells(after)))[::-1]
    rest = _fitting(after, WIDTH - _cells(kept))
    start = CUT if len(kept) < at else ""
    end = CUT if at + len(rest) < len(line) else ""
    text = "".join(text for text, _ in (*kept, *rest))
    return Excerpt(start + text + end, len(start) + _cells(kept))


def _fitting(shown: list[tuple[str, int]], room: int) -> list[tuple[str, int]]:
    """As many from the first as fit."""
    for at, (_, cells) in enumerate(shown):
        room -= cells
        if room < 0:
            return shown[:at]
    return shown


def _cells(shown: list[tuple[str, int]]) -> int:
    return sum(cells for _, cells in shown)


def _shown(each: str) -> tuple[str, int]:
    """A character as it is shown, and the cells that it takes."""
    if each == "\t":
        return TAB, len(TAB)
    if each.isascii() or not each.isprintable():
        return (each if each.isprintable() else "?"), 1
    from unicodedata import category, east_asian_width  # few files need it

    if category(each) in ("Mn", "Me"):
        return each, 0
    return each, 2 if east_asian_width(each) in "WF" else 1
