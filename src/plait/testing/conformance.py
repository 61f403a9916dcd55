"""What every executor must do, as checks: a new executor is one line in a list of `Kind`s.

Each check drives the executor through a sink of its own, without any scheduler, and raises AssertionError.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from plait.executors.base import UNDER_WAY, Attempt, Begun, Call, Ended, Report, Ticket
from plait.executors.contract import Executor


@dataclass(frozen=True, slots=True)
class Kind:
    """An executor, and bodies for it: `(body, args)` pairs that return "value", raise, sleep, and ignore being stopped."""

    name: str
    make: Callable[[Any], Executor]
    returns: tuple[Any, tuple[Any, ...]]
    fails: tuple[Any, tuple[Any, ...]]
    sleeps: tuple[Any, tuple[Any, ...]]
    deaf: tuple[Any, tuple[Any, ...]]
    odd_ends: tuple[tuple[Any, tuple[Any, ...]], ...] = ()
    value: Any = "value"
    forces: bool = False
    at_once: int = 8
    """So many are seen to run at once."""


@dataclass
class Recorder:
    """A sink that writes down reports and gives out what is queued."""

    reports: list[tuple[Attempt, Report]] = field(default_factory=list)
    queued: list[Attempt] = field(default_factory=list)
    now: float = 0.0
    call: Call = UNDER_WAY
    known: dict[tuple[int, int], Attempt] = field(default_factory=dict)
    executor: Executor | None = None

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.context: Context = copy_context()
        self._change = asyncio.Event()

    clock = staticmethod(time.monotonic)

    def report(self, attempt: Attempt, report: Report) -> None:
        self.reports.append((attempt, report))
        self._change.set()

    def spawned(self, attempt: Attempt, pid: int) -> None: ...

    @property
    def adopter(self) -> None:
        return None

    max_tasks_per_worker: int | None = None

    def memory_limit(self, attempt: Attempt) -> int | None:
        return None

    def output_paths(self, attempt: Attempt) -> tuple[str, str] | None:
        return None

    def look(self) -> float:
        self.now = self.clock()
        return self.now

    def began(self, attempt: Attempt, at: float) -> None:
        if attempt.timed:
            attempt.timed = 0
            self.report(attempt, Begun(at))

    def returned(self, ticket: Ticket, value: Any, stopped: bool = False, at: float | None = None) -> None:
        self.report(self.attempt(ticket), Ended(self.clock() if at is None else at, value, stopped=stopped))

    def suspended(self) -> bool:
        return bool(self.queued)

    def pull(self) -> Ticket | None:
        if not self.queued:
            return None
        attempt = self.queued.pop(0)
        self.call = attempt.call
        return attempt.ticket

    def attempt(self, ticket: Ticket) -> Attempt:
        return self.known[ticket[1:3]]

    def more(self) -> None:
        ticket = self.pull()
        if ticket is not None:
            assert self.executor is not None
            self.executor.start(self.attempt(ticket))

    def lend(self, executor: str) -> Attempt | None:
        return None

    def passed(self, attempt: Attempt, at: float) -> None: ...

    def came_back(self, attempt: Attempt) -> None: ...

    def cancelled_outside(self) -> bool:
        return False

    def breathe(self) -> None:
        pass

    def environment(self, attempt: Attempt) -> dict[str, str]:
        return {"PLAIT_TASK": str(attempt.task)}

    def ends(self, attempt: Attempt) -> list[Ended]:
        return [report for whose, report in self.reports if whose is attempt and isinstance(report, Ended)]

    def begins(self, attempt: Attempt) -> list[Begun]:
        return [report for whose, report in self.reports if whose is attempt and isinstance(report, Begun)]

    async def until(self, holds: Callable[[], Any]) -> None:
        """Returns once `holds()` is true; looks again after every report."""
        async with asyncio.timeout(30):
            while not holds():
                self._change.clear()
                await self._change.wait()


def attempt_of(sink: Recorder, call: tuple[Any, tuple[Any, ...]], task: int = 0, executor: str = "async") -> Attempt:
    body, args = call
    attempt = sink.known[task, 1] = Attempt.of((sink, task, 1, ()), (executor, body, args, None), True)
    return attempt


async def reports_one_end_with_the_value(kind: Kind) -> None:
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    attempt = attempt_of(sink, kind.returns)
    before = sink.clock()
    executor.start(attempt)
    await sink.until(lambda: sink.ends(attempt))
    (end,) = sink.ends(attempt)
    assert (end.value, end.error, end.stopped) == (kind.value, None, False)
    assert before <= end.at <= sink.clock()
    executor.close()


async def reports_one_end_with_the_error(kind: Kind) -> None:
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    for call in (kind.fails, *kind.odd_ends):
        attempt = attempt_of(sink, call)
        executor.start(attempt)
        await sink.until(partial(sink.ends, attempt))
        (end,) = sink.ends(attempt)
        assert end.error is not None
        assert not end.stopped
    executor.close()


async def runs_many_at_once(kind: Kind) -> None:
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    attempts = [attempt_of(sink, kind.sleeps, number) for number in range(kind.at_once)]
    for attempt in attempts:
        executor.start(attempt)
    await sink.until(lambda: all(sink.begins(attempt) for attempt in attempts))
    for attempt in attempts:
        attempt.signal_stop(sink.clock())
        executor.stop(attempt)
        executor.force(attempt)
    if kind.forces or kind.name == "async":
        await sink.until(lambda: all(sink.ends(attempt) for attempt in attempts))
    executor.close()


async def begins_before_it_ends_and_a_stop_is_told_apart(kind: Kind) -> None:
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    attempt = attempt_of(sink, kind.sleeps)
    executor.start(attempt)
    await sink.until(lambda: sink.begins(attempt))
    assert not sink.ends(attempt)
    attempt.signal_stop(sink.clock())
    executor.stop(attempt)
    executor.stop(attempt)
    await sink.until(lambda: sink.ends(attempt))
    (end,) = sink.ends(attempt)
    assert end.stopped
    executor.close()


async def a_deaf_body_is_forced_or_said_to_go_on(kind: Kind) -> None:
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    attempt = attempt_of(sink, kind.deaf)
    executor.start(attempt)
    await sink.until(lambda: sink.begins(attempt))
    attempt.signal_stop(sink.clock())
    executor.stop(attempt)
    assert executor.force(attempt) is kind.forces
    if kind.forces:
        await sink.until(lambda: sink.ends(attempt))
        assert sink.ends(attempt)[0].stopped
    began = sink.clock()
    executor.close()
    assert sink.clock() - began < 2.0  # it waits for nobody


async def a_stop_before_the_start_runs_nothing(kind: Kind) -> None:
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    attempt = attempt_of(sink, kind.sleeps)
    attempt.signal_stop(sink.clock())
    executor.start(attempt)
    executor.stop(attempt)
    await sink.until(lambda: sink.ends(attempt))
    assert sink.ends(attempt)[0].stopped
    executor.close()


CHECKS = (
    reports_one_end_with_the_value,
    reports_one_end_with_the_error,
    runs_many_at_once,
    begins_before_it_ends_and_a_stop_is_told_apart,
    a_deaf_body_is_forced_or_said_to_go_on,
    a_stop_before_the_start_runs_nothing,
)
"""All of them; `asyncio.run(check(kind))` for each."""
