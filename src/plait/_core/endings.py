"""What begins when everything else of a run or group is over, however it ended: its cleanups (`finally`)."""

from __future__ import annotations

from plait._core.graph import Batch
from plait._core.policy import CHILD
from plait._core.table import NONE, Table


class Cleanups:
    """The cleanups of a run and its groups. Nothing that ends their run or group ends them, but for `clear`."""

    __slots__ = ("_table", "alive", "waiting")

    def __init__(self, table: Table) -> None:
        self._table = table
        self.waiting: dict[int, list[int]] = {}
        """Those that have not begun, by the task whose group they clean up after; `NONE`: after the run."""
        self.alive: set[int] = set()
        """Those that are not final."""

    def add(self, scope: int, rows: range, batch: Batch) -> int:
        """New rows came for `scope`; how many of them are cleanups."""
        if batch.cleanups:
            last = [rows.start + place for place in sorted(batch.cleanups)]
            self.waiting.setdefault(scope, []).extend(last)
            self.alive.update(last)
        return len(batch.cleanups)

    def left(self, scope: int) -> int:
        """How many have not begun there."""
        return len(self.waiting.get(scope, ()))

    def has_begun(self, task: int) -> bool:
        """False for a cleanup whose time has not come: it is to be there when it comes."""
        return task not in self.alive or not any(task in later for later in self.waiting.values())

    def clear(self) -> None:
        """From here on they are tasks like all others."""
        self.waiting.clear()
        self.alive.clear()

    def spares(self, task: int) -> bool:
        """Is `task` a cleanup, or one that a cleanup grew, at any depth?"""
        if not self.alive:
            return False
        table = self._table
        while task not in self.alive:
            if not table.odd[task] & CHILD:
                return False
            task = table.parent(task)
        return True

    def spared(self, scope: int = NONE) -> set[int]:
        """Every cleanup in the run, or in the group of `scope`, with what it grew."""
        found: set[int] = set()
        stack = [task for task in self.alive if scope == NONE or self._is_in(scope, task)]
        while stack:
            task = stack.pop()
            found.add(task)
            for rows in self._table.grown(task):
                stack.extend(rows)
        return found

    def _is_in(self, scope: int, task: int) -> bool:
        """Did `scope` grow `task`, at any depth?"""
        while self._table.odd[task] & CHILD:
            task = self._table.parent(task)
            if task == scope:
                return True
        return False
