"""What the calls of a batch are to the engine: how to start each, what its value means, what it grows."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, NamedTuple

from plait._core.graph import Batch
from plait._core.table import Table
from plait.executors.base import Call


class Growth(NamedTuple):
    """Children to come under a task, and its value once they are final.

    `join` gets the table and the rows of the children. `vacant`: the rows are to be fed one by one.
    """

    batch: Batch
    join: Callable[[Table, range], Any]
    vacant: bool = False


class Work:
    """The calls of one batch, by place. `first` is the row of place 0, so `table.values[first + p]` is the value of place p."""

    suspects: Container[type] = ()
    """Types of values that are to be shown to `check` before they count."""

    def call(self, place: int, table: Table, first: int) -> Call:
        """The call to start. An exception here is the task's failure."""
        raise NotImplementedError

    def check(self, place: int, value: Any) -> Growth | None:
        """What a returned value grows, if anything. An exception here is the task's failure; the value is kept."""
        return None

    def decide(self, place: int, table: Table, first: int) -> bool:
        """Whether the task's `when` holds."""
        raise NotImplementedError

    def children(self, place: int, table: Table, first: int) -> Growth:
        """What a control task grows."""
        raise NotImplementedError


__all__ = ["Call", "Growth", "Work"]
