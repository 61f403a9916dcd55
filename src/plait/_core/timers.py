"""What time alone will change: one heap, at most one timer of a kind per task or group, stale ones dropped when met."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

RUN = -1
"""Stands in a task's place for the run itself."""


class Due:
    """What is due; at one moment the lower number comes first. Plain numbers: they are made faster than an enum, and compared."""

    RUN_DEADLINE = 0
    DEADLINE = 1
    TIMEOUT = 2
    FORCE = 3  # stopped attempts (a group of `Stops`) did not end within their grace
    GIVE_UP = 4  # nor by force: abandon them
    RETRY = 5
    STUCK = 6  # only abandoned attempts hold what ready tasks need
    OPENS = 7  # a rate (by its number) has room for the first that waits there
    CLAIM = 8  # what a task keeps at one limit while it waits at another is free again
    IDLE = 9  # an attempt may have been silent for too long: the engine is asked
    PROBE = 10  # the pause of something unhealthy (by its number) is over
    ANSWER = 11  # nobody answered in time


class Timers:
    """Times by task and kind. Arming again replaces; disarming is free: the heap is swept when mostly stale."""

    __slots__ = ("_armed", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, int]] = []
        """Time, kind, task; with stale ones in between. Empty: no timer is armed."""
        # By `task * _KINDS + kind`.
        self._armed: dict[int, float] = {}

    def arm(self, kind: int, task: int, at: float) -> None:
        armed = self._armed
        armed[task * _KINDS + kind] = at
        heappush(self.heap, (at, kind, task))
        if len(self.heap) > 64 + 2 * len(armed):
            self.heap = [(when, key % _KINDS, key // _KINDS) for key, when in armed.items()]
            heapify(self.heap)

    def disarm(self, kind: int, task: int) -> None:
        self._armed.pop(task * _KINDS + kind, None)

    def at(self, kind: int, task: int) -> float | None:
        """When it is due; None if it is not armed."""
        return self._armed.get(task * _KINDS + kind)

    def armed(self, kind: int, task: int) -> bool:
        return task * _KINDS + kind in self._armed

    def next(self) -> float | None:
        """When the earliest timer is due; None if there is none."""
        heap, armed = self.heap, self._armed
        while heap:
            at, kind, task = heap[0]
            if armed.get(task * _KINDS + kind) == at:
                return at
            heappop(heap)
        return None

    def pop_due(self, now: float) -> tuple[int, int] | None:
        """The earliest timer that is due at `now`, taken out; None if none is."""
        at = self.next()
        if at is None or at > now:
            return None
        _, kind, task = heappop(self.heap)
        del self._armed[task * _KINDS + kind]
        return kind, task

    def __len__(self) -> int:
        return len(self._armed)


_KINDS = 16
