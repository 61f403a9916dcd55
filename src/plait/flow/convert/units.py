"""A file in its own language, in which every duration has its unit. All else stays as it is, comments too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from plait.flow.keys import BODIES
from plait.flow.problems import Place, Problem
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree

TIMES = ("timeout", "idle_timeout", "deadline", "grace")
PAUSES = ("delay", "max_delay", "pause", "max_pause", "seconds")
"""Of a `retry`, of `health`, of a `budget`."""

_NUMBER = re.compile(r"\s*(['\"]?)\s*([0-9]+(?:\.[0-9]+)?)(?![0-9.A-Za-z])")


def with_units(text: str, places: Iterable[tuple[Place, str]]) -> str:
    """The text with a unit behind the number at each place."""
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    for place, unit in sorted(set(places), reverse=True):
        line = lines[place.line - 1]
        shift = 1 if place.line == 1 and line.startswith("\ufeff") else 0
        found = _NUMBER.match(line, place.column - 1 + shift)
        if found is not None:  # else it is written in another way: by a character reference
            lines[place.line - 1] = line[: found.end(2)] + unit + line[found.end(2) :]
    return "".join(lines)


def in_script(warnings: Iterable[Problem]) -> list[tuple[Place, str]]:
    """Where a FlowScript file has bare numbers, which are milliseconds: it was warned of each."""
    return [(Place(each.line, each.column), "ms") for each in warnings if each.code == "unit"]


def in_yaml(tree: Tree) -> list[tuple[Place, str]]:
    """Where a YAML file has bare numbers, which are seconds."""
    return [(scalar.at, "s") for scalar in _durations(tree) if _is_bare(scalar)]


def _is_bare(tree: Tree) -> bool:
    is_number = isinstance(tree, Scalar) and isinstance(tree.value, (int, float)) and not isinstance(tree.value, bool)
    return is_number and bool(tree.value)  # type: ignore[union-attr]


def _durations(tree: Tree) -> Iterator[Scalar]:
    """Every duration of a file, or of a task."""
    if not isinstance(tree, Map):
        return
    for name, each in tree.items.items():
        if name in TIMES and isinstance(each, Scalar):
            yield each
        elif name in ("retry", "health", "budget") and isinstance(each, Map):
            yield from (each.items[key] for key in PAUSES if isinstance(each.items.get(key), Scalar))  # type: ignore[misc]
        elif name in ("tasks", "finally", "pools") and isinstance(each, Map):
            for inner in each.items.values():
                yield from _durations(inner)
        elif name in ("on_error", "defaults"):
            yield from _durations(each)
        elif name in BODIES and isinstance(each, Sequence) and name != "run":
            for inner in each.items:
                yield from _durations(inner)
