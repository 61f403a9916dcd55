"""Attempts that were told to stop and have not ended: why, and when force comes."""

from __future__ import annotations

from plait._core.timers import Due, Timers


class Group:
    """Those stopped for one reason whose grace ends at one moment: they share their timers, under one number."""

    __slots__ = ("force_at", "number", "tasks", "why")

    def __init__(self, number: int, why: str, force_at: float) -> None:
        self.number = number
        self.why = why
        self.force_at = force_at
        self.tasks: dict[int, None] = {}  # in the order in which they were stopped


class Stops:
    """A run that ends stops thousands at once: what each of them costs here is an entry, not a timer."""

    __slots__ = ("_groups", "_latest", "_number", "_timers", "of")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self.of: dict[int, Group] = {}
        """The group of every task that was told to stop and has not ended."""
        self._groups: dict[int, Group] = {}
        self._latest: Group | None = None
        self._number = -1  # `RUN`: tasks are 0 and above, groups below it

    def add(self, task: int, why: str, force_at: float) -> None:
        """`task` is told to stop; `Due.FORCE` comes at `force_at` for it and those like it."""
        group = self._latest
        if group is None or group.why != why or group.force_at != force_at:
            self._number -= 1
            group = self._latest = self._groups[self._number] = Group(self._number, why, force_at)
            self._timers.arm(Due.FORCE, group.number, force_at)
        group.tasks[task] = None
        self.of[task] = group

    def tasks(self, number: int) -> list[int]:
        """Those of the group `number` that have not ended."""
        return list(self._groups[number].tasks)

    def end(self, task: int) -> str | None:
        """`task` ended, or was given up: why it had been stopped; None if it had not."""
        group = self.of.pop(task, None)
        if group is None:
            return None
        del group.tasks[task]
        if not group.tasks:
            del self._groups[group.number]
            if self._latest is group:
                self._latest = None
            self._timers.disarm(Due.FORCE, group.number)
            self._timers.disarm(Due.GIVE_UP, group.number)
        return group.why
