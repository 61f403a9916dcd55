"""The order of ready tasks: aged level, then the longest remaining path where one is known, then first come, first served."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from plait._core.limits import Limit, Place, Waiter
from plait._core.table import NONE

NOWHERE = Limit("none", "", 0)
"""At which a task stood that comes from no limit."""

NO_LEVEL = 1 << 62
"""Of no task: `level` while the order is by paths, so that nothing is appended to `first`."""


class ReadyQueue:
    """Ready tasks by level (lower first), in the order in which they got ready.

    A level is a deque; the levels in use are a small heap. Tasks that come back from a full limit keep the place that
    they had. Where the paths behind some tasks are known (`rank`), a level is a heap instead, the longest path first.
    """

    __slots__ = ("_buckets", "_count", "_heap", "_last", "_levels", "_ranks", "back", "came_from", "first", "level")

    def __init__(self) -> None:
        self._buckets: dict[int, deque[int]] = {}
        self._levels: list[int] = []
        self.first: deque[int] = deque()  # the bucket of the first level
        self.level = 0
        self.back: list[tuple[Place, Waiter]] = []
        self._ranks: list[tuple[range, Sequence[float]]] | None = None
        self._heap: list[Place] = []
        self._last: Place | None = None  # of the task that the heap gave last
        self._count = 0
        self.came_from: Waiter | None = None
        """Of the task that `pop` gave last: what it was at the limit that woke it, if one did."""

    def __bool__(self) -> bool:
        return bool(self.first or self.back or self._levels or self._heap)

    def rank(self, rows: range, ranks: Sequence[float]) -> None:
        """The longest path behind each of `rows` is known; to be told before one of them gets ready."""
        if self._ranks is None:
            self._ranks = []
            standing = [(self.level, task) for task in self.first]
            standing += [(level, task) for level in sorted(self._levels) for task in self._buckets[level]]
            self.first = deque()
            self._buckets, self._levels = {}, []
            self.level = NO_LEVEL
            for level, task in standing:
                self.push(task, level)
        self._ranks.append((rows, ranks))

    def _rank_of(self, task: int) -> float:
        return next((ranks[task - rows.start] for rows, ranks in self._ranks or () if task in rows), 0.0)

    def push(self, task: int, level: int) -> None:
        """Adds a task at the end of its level, or where the path behind it says."""
        if self._ranks is not None:
            self._count += 1
            heappush(self._heap, (level, -self._rank_of(task), self._count, task))
            return
        if level == self.level:
            self.first.append(task)
            return
        bucket = self._buckets.get(level)
        if bucket is None:
            self._open(level, deque((task,)))
        else:
            bucket.append(task)

    def put_back(self, task: int, level: int) -> None:
        """Adds a task at the front of its level: it had its turn, which came to nothing."""
        if self._ranks is not None:
            self._count += 1
            heappush(self._heap, (level, -self._rank_of(task), -self._count, task))
        elif level == self.level:
            self.first.appendleft(task)
        elif level in self._buckets:
            self._buckets[level].appendleft(task)
        else:
            self._open(level, deque((task,)))

    def put_first(self, task: int, level: int) -> None:
        """Adds a task before all others of its level, those included that come back from a limit: it ran already."""
        self._count += 1
        rank = -self._rank_of(task) if self._ranks is not None else 0.0
        self.come_back(Waiter((level, rank, -self._count, task), NOWHERE, 0, math.inf))

    def extend(self, tasks: range, level: int) -> None:
        """Adds many tasks at the end of one level."""
        if self._ranks is not None:
            for task in tasks:
                self.push(task, level)
        elif tasks:
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
        if self._ranks is not None:
            if self.back and (not self._heap or self.back[0][0] <= self._heap[0]):
                place, self.came_from = heappop(self.back)
                return place[3]
            self._last = heappop(self._heap) if self._heap else None
            return self._last[3] if self._last is not None else NONE
        if self.back and (not self.first or self.back[0][0][0] <= self.level):
            place, self.came_from = heappop(self.back)
            return place[3]
        if not self.first:
            return NONE
        return self.first.popleft()

    def place_of(self, task: int) -> Place:
        """The place in the order of the task that `pop` just gave, to be kept while it is parked."""
        if self.came_from is not None and self.came_from.place[3] == task:
            return self.came_from.place
        if self._last is not None and self._last[3] == task:
            return self._last
        self._count += 1
        return self.level, 0.0, self._count, task

    def come_back(self, waiter: Waiter) -> None:
        """Adds a task that was parked, at the place that it had."""
        heappush(self.back, (waiter.place, waiter))

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
