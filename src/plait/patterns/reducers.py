"""Many results made one, and who contributed what: merging lists, voting, part of what was wanted.

A reducer takes outcomes, plain results, or a mapping of either by key. An outcome that did not succeed contributes nothing and is named
in `missing`; a contributor's name is the outcome's key, the mapping's, or else its place from 0. Order is that of the input.

Two items or votes are the same if they are equal and either both or none of them is a boolean; lists and dictionaries are compared by what
they hold, at any depth, and NaN is the same as NaN. `key` says it otherwise: `key=str.lower`, `key=lambda issue: issue["id"]`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from plait._core.outcome import Outcome
from plait._core.reducing import SHARE
from plait.errors import LimitError, NotDecided, UsageError

Name: TypeAlias = str | int
"""Of a contributor: a key, or a place from 0."""

Results: TypeAlias = Iterable[Any] | Mapping[str, Any]
"""Outcomes or plain results, in order; or either by key."""

Key: TypeAlias = Callable[[Any], Any] | None

Ties: TypeAlias = Literal["error", "first", "none"]
"""What an even vote gives: an error, the value that was voted for first in input order, or None."""


@dataclass(frozen=True, slots=True)
class Share:
    """An item or a vote: as its first contributor had it, with all of them in order, and their weight (one each where none was given)."""

    value: Any
    sources: tuple[Name, ...]
    weight: Fraction


@dataclass(frozen=True, slots=True)
class Reduced:
    """What results came to. `value` is a list for merged lists, else one result.

    `sources`: for a vote who gave `value`, for a merged list who gave each of its items, in the order of `value`. `shares` holds everything
    that was contributed, in the order in which it came first, also what `value` leaves out. `counted` contributors were heard, `missing` were not:
    tasks that did not succeed.
    """

    value: Any
    sources: tuple[Any, ...]
    shares: tuple[Share, ...]
    counted: int
    missing: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Partial:
    """Part of what was wanted: `values` of what succeeded, in order, and the outcomes of what did not.

    `ok` if at least `required` succeeded; else `reason` says how many did, of how many, and which did not.
    """

    ok: bool
    values: list[Any]
    sources: tuple[Name, ...]
    failed: tuple[Outcome, ...]
    required: int
    reason: str | None

    def unwrap(self) -> list[Any]:
        """The values.

        Raises:
            NotDecided: with `reason`, where too few succeeded.
        """
        if self.reason is not None:
            raise NotDecided(self.reason)
        return self.values


def union(results: Results, *, key: Key = None) -> Reduced:
    """Every item of lists, each once, in the order in which it came first.

    Raises:
        UsageError: a result is no list, tuple or set.
    """
    return _merged(results, key, lambda _share, _counted: True)


def intersection(results: Results, *, key: Key = None) -> Reduced:
    """The items that every counted list has, in the order of the first list; nothing where no list counts.

    Raises:
        UsageError: a result is no list, tuple or set.
    """
    return _merged(results, key, lambda share, counted: len(share.sources) == counted)


def frequency(results: Results, threshold: float | str = 0.4, *, key: Key = None) -> Reduced:
    """The items that at least that share of the counted lists have: a number above 0 and up to 1, or a text such as `"40%"`.

    A list that has an item twice counts once for it. The most frequent come first, equal ones in the order in which they came first.

    Raises:
        LimitError: the threshold is no share.
        UsageError: a result is no list, tuple or set.
    """
    share_wanted = _share("threshold", threshold)
    found = _merged(results, key, lambda share, counted: len(share.sources) >= share_wanted * counted)
    order = sorted(range(len(found.value)), key=lambda at: -len(found.sources[at]))
    value, sources = [found.value[at] for at in order], tuple(found.sources[at] for at in order)
    return Reduced(value, sources, found.shares, found.counted, found.missing)


def majority(results: Results, *, ties: Ties = "error", key: Key = None) -> Reduced:
    """The result that most contributors gave, one vote each; `ties` says what happens where several have as many.

    Raises:
        NotDecided: a tie under `ties="error"`, or nobody voted.
        UsageError: no such tie rule.
    """
    return _elected(results, lambda _name, _place: Fraction(1), ties, key)


def weighted(
    results: Results, weights: Mapping[Name, float] | Iterable[float], *, ties: Ties = "error", key: Key = None
) -> Reduced:
    """`majority` with weights: by the contributor's name, or in input order. Sums are exact in the decimals given: 0.1 + 0.2 ties with 0.3.

    Raises:
        LimitError: a weight is negative or no number, is missing, or belongs to nobody.
        NotDecided: a tie under `ties="error"`, or all votes together weigh nothing.
        UsageError: no such tie rule.
    """
    if not isinstance(results, Mapping):
        results = list(results)
    names = [name for name, _, _ in _contributors(results)]
    if isinstance(weights, Mapping):
        given: list[float | None] = [weights.get(name) for name in names]
        known = set(names)
        unknown = [name for name in weights if name not in known]
    else:
        of_places: list[float | None] = list(weights)
        unknown = list(range(len(names), len(of_places)))
        given = (of_places + [None] * len(names))[: len(names)]
    if unknown:
        raise LimitError(f"weights: {unknown[0]!r} is no contributor: {_named(names)}")
    exact = [_weight(name, weight) for name, weight in zip(names, given, strict=True)]
    return _elected(results, lambda _name, place: exact[place], ties, key)


def quorum(results: Results, least: int | str, *, key: Key = None) -> Reduced:
    """The result on which at least so many agree: a count, or a share such as `"60%"` of all contributors, those that failed included.

    Where several have that many the one that had them first in time wins (in input order for plain results).

    Raises:
        LimitError: a count or share that cannot be one, or that is above the number of contributors.
        NotDecided: no result has so many votes.
    """
    contributors = _contributors(results)
    wanted = count_of("least", least, len(contributors))
    in_time = sorted(
        contributors, key=lambda each: each[2].ended_at or 0.0 if each[2] is not None and each[2].ok else 0.0
    )
    # Who is through first is seen by counting in the order in which they ended; who voted for what is told in input order.
    voted: dict[Any, int] = {}
    winner: Any = None
    for _, value, ended in in_time:
        if ended is None or ended.ok:
            same = sameness(value if key is None else key(value))
            voted[same] = voted.get(same, 0) + 1
            if voted[same] >= wanted:
                winner = same
                break
    shares, counted, missing = _shares(contributors, lambda value: [value], key, lambda _name, _place: Fraction(1))
    if winner is None:
        best = max(map(len, (share.sources for share in shares.values())), default=0)
        raise NotDecided(f"no result has {wanted} votes of {len(contributors)}: the best has {best}{_but(missing)}")
    share = shares[winner]
    return Reduced(share.value, share.sources, tuple(shares.values()), counted, missing)


def first_success(results: Results) -> Reduced:
    """The result that was there first: of the outcome that succeeded earliest, or of plain results the first.

    Raises:
        NotDecided: nothing succeeded.
    """
    contributors = _contributors(results)
    missing = tuple(name for name, _, ended in contributors if ended is not None and not ended.ok)
    there = [each for each in contributors if each[2] is None or each[2].ok]
    if not there:
        raise NotDecided(f"nothing of {len(contributors)} succeeded{_but(missing)}")
    name, value, _ = min(there, key=lambda each: each[2].ended_at or 0.0 if each[2] is not None else 0.0)
    shares = tuple(Share(value, (name,), Fraction(1)) for name, value, _ in there)
    return Reduced(value, (name,), shares, len(there), missing)


def partial(outcomes: Iterable[Outcome] | Mapping[str, Outcome], min_required: int | str = 1) -> Partial:
    """What succeeded, where at least `min_required` did: a count, or a share such as `"50%"` of all, rounded up.

    Raises:
        LimitError: a count or share that cannot be one, or that is above the number of outcomes.
    """
    contributors = _contributors(outcomes)
    required = count_of("min_required", min_required, len(contributors))
    values: list[Any] = []
    sources: list[Name] = []
    failed: list[Outcome] = []
    for name, value, ended in contributors:
        if ended is None or ended.ok:
            values.append(value)
            sources.append(name)
        else:
            failed.append(ended)
    reason = None
    if len(values) < required:
        which = tuple(each.key for each in failed)
        reason = f"{len(values)}/{len(contributors)} succeeded, {required} required{_but(which)}"
    return Partial(reason is None, values, tuple(sources), tuple(failed), required, reason)


# -- what they share

_Contributor: TypeAlias = tuple[Name, Any, Outcome | None]


def _contributors(results: Results) -> list[_Contributor]:
    """Each with its name, its value, and its outcome if it is one."""
    if isinstance(results, str | bytes | Outcome) or not isinstance(results, Iterable):
        raise UsageError(f"results are outcomes or values in a list, or by key, not {_short(results)}")
    named: Iterable[tuple[Name | None, Any]]
    named = results.items() if isinstance(results, Mapping) else ((None, each) for each in results)
    found: list[_Contributor] = []
    for place, (name, each) in enumerate(named):
        if isinstance(each, Outcome):
            found.append((each.key if name is None else name, each.value, each))
        else:
            found.append((place if name is None else name, each, None))
    return found


def _shares(
    contributors: list[_Contributor],
    items: Callable[[Any], Iterable[Any]],
    key: Key,
    weight: Callable[[Name, int], Fraction],
) -> tuple[dict[Any, Share], int, tuple[Name, ...]]:
    """What was contributed, by what makes it the same; how many were heard; who was not."""
    first: dict[Any, Any] = {}
    sources: dict[Any, list[Name]] = {}
    weights: dict[Any, Fraction] = {}
    counted, missing = 0, []
    for place, (name, value, ended) in enumerate(contributors):
        if ended is not None and not ended.ok:
            missing.append(name)
            continue
        counted += 1
        mine: set[Any] = set()
        for item in items(value):
            same = sameness(item if key is None else key(item))
            if same in mine:
                continue  # each result counts once
            mine.add(same)
            first.setdefault(same, item)
            sources.setdefault(same, []).append(name)
            weights[same] = weights.get(same, Fraction(0)) + weight(name, place)
    shares = {same: Share(item, tuple(sources[same]), weights[same]) for same, item in first.items()}
    return shares, counted, tuple(missing)


def _merged(results: Results, key: Key, keeps: Callable[[Share, int], bool]) -> Reduced:
    contributors = _contributors(results)
    for name, value, ended in contributors:
        if (ended is None or ended.ok) and not isinstance(value, list | tuple | set | frozenset):
            raise UsageError(f"the result of {name!r} is of type {_kind(value)}, and not a list of items to merge")
    shares, counted, missing = _shares(contributors, _in_order, key, lambda _name, _place: Fraction(1))
    kept = [share for share in shares.values() if keeps(share, counted)]
    return Reduced(
        [share.value for share in kept],
        tuple(share.sources for share in kept),
        tuple(shares.values()),
        counted,
        missing,
    )


def _in_order(items: Any) -> Iterable[Any]:
    # A set of texts has another order in each process, and a resumed run is to see what the first one saw.
    return sorted(items, key=repr) if isinstance(items, set | frozenset) else items


def _elected(results: Results, weight: Callable[[Name, int], Fraction], ties: Ties, key: Key) -> Reduced:
    if ties not in ("error", "first", "none"):
        raise UsageError(f"ties is 'error', 'first' or 'none', not {ties!r}")
    shares, counted, missing = _shares(_contributors(results), lambda value: [value], key, weight)
    most = max((share.weight for share in shares.values()), default=Fraction(0))
    if not most:
        raise NotDecided(f"nobody voted{_but(missing)}")
    winners = [share for share in shares.values() if share.weight == most]
    every = tuple(shares.values())
    if len(winners) == 1 or ties == "first":
        return Reduced(winners[0].value, winners[0].sources, every, counted, missing)
    if ties == "none":
        return Reduced(None, (), every, counted, missing)
    between = ", ".join(f"{_short(share.value)} ({_named(share.sources)})" for share in winners)
    raise NotDecided(f"a tie of {len(winners)} with {float(most):g} each: {between}{_but(missing)}")


def sameness(value: Any) -> Any:
    """What is equal for two values that are the same, and can be a dictionary's key."""
    if isinstance(value, Mapping):
        return dict, frozenset((sameness(name), sameness(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return list, tuple(map(sameness, value))
    if isinstance(value, set | frozenset):
        return set, frozenset(map(sameness, value))
    if isinstance(value, float) and math.isnan(value):
        return float, "nan"
    try:
        hash(value)
    except TypeError:
        raise UsageError(
            f"values of type {_kind(value)} cannot be compared with others: pass `key`, a function that gives its name"
        ) from None
    return isinstance(value, bool), value


def count_of(name: str, given: int | str, contributors: int) -> int:
    """A count, or a share of the contributors, rounded up."""
    if isinstance(given, str):
        return math.ceil(_share(name, given) * contributors)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise LimitError(f'{name} is a count from 1 on or a share such as "50%", not {given!r}')
    if given > contributors:
        raise LimitError(f"{name} is {given}, and there are {contributors} results only")
    return given


def _share(name: str, given: float | str) -> Fraction:
    """A share, exact in the decimals given."""
    try:
        if isinstance(given, bool):
            raise ValueError
        if isinstance(given, str):
            if not re.fullmatch(SHARE, given):
                raise ValueError
            found = Fraction(given[:-1]) / 100
        else:
            found = exact(given)
    except (ValueError, TypeError):
        found = Fraction(0)
    if not 0 < found <= 1:
        raise LimitError(f'{name} is a share above 0, such as "40%" or 0.4, and at most 1, not {given!r}')
    return found


def exact(given: float) -> Fraction:
    """The number that was written: 0.1, and not the binary fraction next to it.

    Raises:
        TypeError, ValueError: it is none, or not finite.
    """
    return Fraction(given) if isinstance(given, int) else Fraction(repr(float(given)))


def _weight(name: Name, given: float | None) -> Fraction:
    if given is None:
        raise LimitError(f"weights: none for {name!r}")
    try:
        found = Fraction(-1) if isinstance(given, bool) else exact(given)
    except (ValueError, TypeError):
        found = Fraction(-1)
    if found < 0:
        raise LimitError(f"weights: that of {name!r} is a number from 0 on, not {given!r}")
    return found


def _but(missing: tuple[Name, ...]) -> str:
    return f"; {len(missing)} did not succeed: {_named(missing)}" if missing else ""


MOST_NAMES = 5


def _named(names: Iterable[Name]) -> str:
    every = [str(name) for name in names]
    more = f" and {len(every) - MOST_NAMES} more" if len(every) > MOST_NAMES else ""
    return ", ".join(every[:MOST_NAMES]) + more


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    return type(value).__name__
