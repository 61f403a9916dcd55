"""The order of ready tasks: level, then first come, first served."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from plait._core.limits import Limit, Parked
from plait._core.table import NONE


class ReadyQueue:
    """Ready tasks by level (lower first), in the order in which they got ready.

    A level is a deque; the levels in use are a small heap. Tasks that come back from a full limit keep the place that
    they had: they go before all that got ready after them.
    """

    __slots__ = ("_buckets", "_levels", "_stamp", "back", "came_from", "first", "level")

    def __init__(self) -> None:
        self._buckets: dict[int, deque[int]] = {}
        self._levels: list[int] = []
        self.first: deque[int] = deque()  # the bucket of the first level
        self.level = 0
        self.back: list[tuple[Parked, Limit]] = []
        self._stamp = 0
        self.came_from: tuple[Parked, Limit] | None = None
        """Of the task that `pop` gave last: its place and the limit that woke it, if one did."""

    def __bool__(self) -> bool:
        return bool(self.first or self.back or self._levels)

    def push(self, task: int, level: int) -> None:
        """Adds a task at the end of its level."""
        if level == self.level:
            self.first.append(task)
            return
        bucket = self._buckets.get(level)
        if bucket is None:
            self._open(level, deque((task,)))
        else:
            bucket.append(task)

    def extend(self, tasks: range, level: int) -> None:
        """Adds many tasks at the end of one level."""
        if tasks:
            self.push(tasks[0], level)
            bucket = self.first if level == self.level else self._buckets[level]
            bucket.extend(tasks[1:])

    def pop(self) -> int:
        """The first task in order, taken out; NONE if there is none."""
        if self.first and not self.back:
            return self.first.popleft()
        return self._pop_slowly()

    def _pop_slowly(self) -> int:
        self.came_from = None
        while not self.first:
            if not self._levels:
                break
            self.level = heappop(self._levels)
            self.first = self._buckets.pop(self.level)
        if self.back and (not self.first or self.back[0][0].level <= self.level):
            self.came_from = heappop(self.back)
            return self.came_from[0].task
        if not self.first:
            return NONE
        return self.first.popleft()

    def place_of(self, task: int, level: int) -> Parked:
        """The place in the order of the task that `pop` just gave, to be kept while it is parked."""
        if self.came_from is not None and self.came_from[0].task == task:
            return self.came_from[0]
        self._stamp += 1
        return Parked(level, self._stamp, task)

    def come_back(self, place: Parked, limit: Limit) -> None:
        """Adds a task that was parked at `limit`, at the place that it had."""
        heappush(self.back, (place, limit))

    def _open(self, level: int, bucket: deque[int]) -> None:
        if not self.first and not self._levels:
            self.first, self.level = bucket, level
        elif level < self.level:
            # The level in front steps back behind the new one.
            self._buckets[self.level] = self.first
            heappush(self._levels, self.level)
            self.first, self.level = bucket, level
        else:
            self._buckets[level] = bucket
            heappush(self._levels, level)
