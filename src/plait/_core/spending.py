"""What tasks have spent, and which budgets around them that has used up: of a task, of the groups around it, of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING

from plait._core.graph import Batch
from plait._core.policy import CHILD, LIMITED
from plait._core.table import Table
from plait._core.timers import RUN

if TYPE_CHECKING:
    from plait._core.budgets import Budget

SECONDS = "seconds"
"""The unit of a budget that is counted here: from the start of an attempt's code to its end, each attempt for itself."""


class Spending:
    """The budgets of a run and its tasks, with what was reported of their units."""

    __slots__ = ("_all", "_table", "broke", "budgets")

    def __init__(self, table: Table, limits: tuple[tuple[str, float], ...]) -> None:
        self._table = table
        self.budgets: dict[int, Budget] = {RUN: _budget(limits)} if limits else {}
        """By the task whose budget it is, with all that it grows; `RUN`: the run's own."""
        self.broke: set[int] = set()
        """Whose budget is spent: nothing within starts any more."""
        self._all: Budget | None = None  # what was reported in the whole run

    def add(self, rows: range, batch: Batch) -> bool:
        """The budgets that new tasks come with. True where the seconds of their code count for one."""
        table = self._table
        own = any(policy.budget for policy in batch.kinds.values())
        if own:
            for task in rows:
                if table.policies[task].budget:
                    self.budgets[task] = _budget(table.policies[task].budget)
        if not self.budgets or not rows:
            return False
        # What is around one of them is around all; what is its own counts for it alone, and for what it grows.
        around = self._timed(rows.start, own=False)
        metered = False
        for task in rows:
            if around or (own and self._timed(task, own=True)):
                table.odd[task] |= LIMITED
                metered = True
        return metered

    def _timed(self, task: int, *, own: bool) -> bool:
        """Does a budget around a task, with its own or without, count seconds?"""
        return any(
            SECONDS in self.budgets[scope].limits
            for scope in self._scopes(task)
            if scope in self.budgets and (own or scope != task)
        )

    def _scopes(self, task: int) -> Iterator[int]:
        """A task, the groups around it from the inside, the run."""
        scope = task
        while scope != RUN:
            yield scope
            scope = self._table.parent(scope) if self._table.odd[scope] & CHILD else RUN
        yield RUN

    def reported(self, task: int, units: Mapping[str, float]) -> None:
        """A task says what it has used up."""
        if self._all is None:
            self._all = _budget(())
        self._all.add(units)
        self.spend(task, units)

    @property
    def totals(self) -> dict[str, float]:
        """What tasks reported to have used up, by unit."""
        return {} if self._all is None else {unit: float(number) for unit, number in self._all.spent.items()}

    def spend(self, task: int, units: Mapping[str, float]) -> None:
        """Adds to every budget around a task."""
        for scope in self._scopes(task):
            budget = self.budgets.get(scope)
            if budget is not None:
                budget.add(units)
                if scope not in self.broke and budget.over() is not None:
                    self.broke.add(scope)

    def over(self, task: int, cleanups: Set[int]) -> str | None:
        """Why an attempt of `task` cannot start any more; None if it can. What is around `cleanups` does not end them."""
        if self.broke:
            for scope in self._scopes(task):
                if scope in self.broke:
                    return self.budgets[scope].over()
                if scope in cleanups:
                    break
        return None

    def close(self, task: int) -> None:
        """What `task` was given for itself and what it grew is of the past: what is done about its failure spends of what is around."""
        self.budgets.pop(task, None)
        self.broke.discard(task)


def _budget(limits: tuple[tuple[str, float], ...]) -> Budget:
    from plait._core.budgets import Budget  # few runs have one, and exact sums need a module that is slow to come

    return Budget(limits)
