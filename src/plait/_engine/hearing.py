"""When an attempt gave its last sign of life: asked once its silence may have been too long, never told line by line.

Threads, worker processes and commands give signs while the loop is busy, and are judged by the last one. A coroutine cannot: one that is
silent gets another moment before it is ended, in which runs what was due. And where the loop comes late to ask everybody gets as long as that was:
what kept it away (a thread that does not let others run, a program that was stopped) may have kept them away, too.
"""

from __future__ import annotations

from typing import cast

from plait.executors.base import Attempt
from plait.executors.contract import Executor, Hearing

MOMENT_S = 0.1
"""A silent coroutine gets this long, or a tenth of its idle_timeout: what was due while the loop was busy runs first."""

MOST_MOMENTS = 20
"""So often it does in one silence, where the loop is late each time: one that is late for ever keeps nobody alive for ever."""


class Ears:
    """Those of one run. With `virtual` time no loop is late."""

    __slots__ = ("_moments", "_virtual")

    def __init__(self, virtual: bool) -> None:
        self._virtual = virtual
        self._moments: dict[int, tuple[int, float, int]] = {}
        """By task: the attempt and the sign of life after which it is silent, and how often it was given a moment."""

    def heard(
        self, attempt: Attempt, executor: Executor | None, began: float, idle: float, now: float, late: float
    ) -> float:
        """From when on the silence of an attempt that began at `began` counts; the loop came `late` seconds late to ask."""
        last = max(attempt.heard, began)
        if hasattr(executor, "heard"):
            last = max(last, cast("Hearing", executor).heard(attempt))
        if last + idle > now or self._virtual:
            self._moments.pop(attempt.task, None)
            return min(last, now)
        moment = min(MOMENT_S, idle / 10)
        number, silent_since, times = self._moments.get(attempt.task, (0, 0.0, 0))
        if (number, silent_since) != (attempt.number, last):
            times = 0
        held_up = late > moment and times < MOST_MOMENTS
        if not held_up and (times or attempt.executor != "async"):
            self._moments.pop(attempt.task, None)
            return last
        self._moments[attempt.task] = (attempt.number, last, times + 1)
        return now - idle + min(idle, max(moment, late))
