"""`reduce` at work: what the results of a group come to, and whether that is decided before all are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from plait._core.outcome import Outcome
from plait._core.reducing import EARLY, parse
from plait._core.states import FINAL, SUCCEEDED
from plait._core.table import Table
from plait.errors import LimitError
from plait.patterns import reducers
from plait.patterns.reducers import Partial, Reduced, count_of, exact, sameness

__all__ = ["Vote"]


class Vote:
    """One `reduce`, as its text says it."""

    def __init__(self, text: str) -> None:
        self.name, self.options = parse(text)
        self._counted: set[int] = set()
        self._votes: dict[Any, Fraction] = {}
        self._weighed: list[Fraction] | None = None

    @property
    def early(self) -> bool:
        """May it be decided before all are there?"""
        return self.name in EARLY

    def check(self, keys: Sequence[str]) -> None:
        """Nothing, if tasks with these keys can come to a result.

        Raises:
            LimitError: for more votes than there are tasks, or weights of nobody.
        """
        for option in ("least", "min_required"):
            given = self.options.get(option)
            if isinstance(given, int) and given > len(keys):
                raise LimitError(f"reduce: {self.name} wants {given} of {len(keys)} tasks")
        if not keys and self.early:
            raise LimitError(f"reduce: {self.name} of no tasks, so that nobody has a vote")
        if "weights" in self.options:
            self._weights(keys)

    def value(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """What the outcomes come to, as plain data: the `value`, and who contributed it.

        Raises:
            NotDecided: where they come to nothing.
        """
        options = dict(self.options)
        named = {each.key: each for each in outcomes}
        if "weights" in options:
            options["weights"] = self._weights(list(named))
        found = getattr(reducers, self.name)(named, **options)
        return _partial_data(found) if isinstance(found, Partial) else _reduced_data(found)

    def decided(self, table: Table, rows: range) -> bool | None:
        """True: however those vote that have not, the winner stays. False: nobody can win any more. None: it is open.

        Asked again and again, it counts only who is new.
        """
        weights = self._of_rows(table, rows)
        for task in table.within(SUCCEEDED, rows):
            if task not in self._counted:
                self._counted.add(task)
                vote = sameness(table.values[task])
                self._votes[vote] = self._votes.get(vote, Fraction(0)) + weights[task - rows.start]
        absent = [task for task in rows if table.status[task] < FINAL]
        if self.name == "first_success":
            return True if self._votes else None if absent else False
        best, second = (*sorted(self._votes.values(), reverse=True)[:2], Fraction(0), Fraction(0))[:2]
        still = sum((weights[task - rows.start] for task in absent), Fraction(0))
        if self.name == "quorum":
            wanted = count_of("least", self.options["least"], len(rows))
            return True if best >= wanted else False if best + still < wanted else None
        return True if best > second + still else None

    def _of_rows(self, table: Table, rows: range) -> list[Fraction]:
        if self._weighed is None:
            keys = [table.key(task) for task in rows]
            if "weights" in self.options:
                given = self._weights(keys)
                self._weighed = [exact(given[key]) for key in keys]
            else:
                self._weighed = [Fraction(1)] * len(keys)
        return self._weighed

    def _weights(self, keys: Sequence[str]) -> dict[str, float]:
        """Weights by the tasks' keys: given in order, by whole keys, or by what of them is the group's own."""
        given = self.options["weights"]
        if not isinstance(given, Mapping):
            if len(given) != len(keys):
                raise LimitError(f"reduce: {len(given)} weights for {len(keys)} tasks")
            return dict(zip(keys, given, strict=True))
        found: dict[str, float] = {}
        unknown = dict(given)
        for key in keys:
            own = key.rpartition("/")[2]
            index = own.rpartition("[")[2].rstrip("]") if own.endswith("]") else own
            # A file is checked before it is known around which groups this one stands.
            whole = next((each for each in given if str(each).endswith(f"/{key}")), None)
            name = next((each for each in (key, own, index) if each in given), whole)
            if name is None:
                raise LimitError(f"reduce: no weight for task {key!r}")
            found[key] = given[name]
            unknown.pop(name, None)
        if unknown:
            raise LimitError(f"reduce: a weight for {next(iter(unknown))!r}, which is none of the tasks")
        return found


def _reduced_data(found: Reduced) -> dict[str, Any]:
    return {
        "value": found.value,
        "sources": _listed(found.sources),
        "shares": [
            {"value": each.value, "sources": _listed(each.sources), "weight": _number(each.weight)}
            for each in found.shares
        ],
        "counted": found.counted,
        "missing": _listed(found.missing),
    }


def _partial_data(found: Partial) -> dict[str, Any]:
    return {
        "ok": found.ok,
        "values": list(found.values),
        "sources": _listed(found.sources),
        "failed": [each.key for each in found.failed],
        "required": found.required,
        "reason": found.reason,
    }


def _listed(names: Sequence[Any]) -> list[Any]:
    return [_listed(each) if isinstance(each, tuple) else each for each in names]


def _number(weight: Fraction) -> int | float:
    return int(weight) if weight.denominator == 1 else float(weight)
