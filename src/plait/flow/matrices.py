"""The combinations of a matrix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from plait.calls.shell import word
from plait.errors import UsageError
from plait.expressions.values import same

MOST_PAIRS = 500_000
"""Of a combination and an entry that is put in or left out."""


def combinations(
    axes: Mapping[str, Sequence[Any]],
    include: Sequence[Mapping[str, Any]],
    exclude: Sequence[Mapping[str, Any]],
    most: int,
) -> list[dict[str, Any]]:
    """Every combination, the last axis changing first; then what `include` puts in, in its order.

    The rules of `include` are those of GitHub Actions (its page "Running variations of jobs in a workflow"): an entry is added to
    each combination, none of whose original values it would change; where there is none, it is a combination of its own.

    Raises:
        UsageError: for more than `most`, and where there is too much to put in and to leave out.
    """
    number = math.prod(map(len, axes.values())) if axes else 0
    if number + len(include) > most:
        raise UsageError(f"the matrix has {number + len(include):,} combinations; at most {most:,} are allowed")
    if not is_sparing(number, len(include) + len(exclude)):
        raise UsageError(too_many(number, len(include) + len(exclude)))
    found = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    found = [each for each in found if not any(_has_all(each, entry) for entry in exclude)]
    original = len(found)
    for entry in include:
        fitting = [
            each
            for each in found[:original]
            if all(same(each[name], value) for name, value in entry.items() if name in axes)
        ]
        for each in fitting:
            each.update(entry)
        if not fitting:
            found.append(dict(entry))
    return found


def is_sparing(combinations: int, entries: int) -> bool:
    """Can so many entries be held against so many combinations, each against each?"""
    return combinations * entries <= MOST_PAIRS


def too_many(combinations: int, entries: int) -> str:
    """What is said where they cannot."""
    return (
        f"each of {entries:,} entries of include and exclude would be held against {combinations:,} combinations; "
        f"at most {MOST_PAIRS:,} such pairs are looked at"
    )


def _has_all(combination: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    return all(name in combination and same(combination[name], value) for name, value in entry.items())


def name_of(combination: Mapping[str, Any]) -> str:
    """What a combination is called: its values."""
    return ",".join(word(value) for value in combination.values())
