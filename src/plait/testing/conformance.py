"""What every executor must do, as checks: a new executor is one line in a list of `Kind`s.

Each check drives the executor through a sink of its own, without any scheduler, and raises AssertionError.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from plait.executors.base import UNDER_WAY, Attempt, Begun, Call, Ended, Interrupted, Output, Report, Ticket
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
    dies: tuple[Any, tuple[Any, ...]] | None = None
    """Kills the process that runs it, where it has one of its own."""
    says: tuple[Any, tuple[Any, ...]] | None = None
    """Writes "said" to its standard output, where that is told."""


@dataclass
class Recorder:
    """A sink that writes down reports and gives out what is queued."""

    reports: list[tuple[Attempt, Report]] = field(default_factory=list)
    queued: list[Attempt] = field(default_factory=list)
    now: float = 0.0
    call: Call = UNDER_WAY
    known: dict[tuple[int, int], Attempt] = field(default_factory=dict)
    executor: Executor | None = None
    pids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.context: Context = copy_context()
        self._change = asyncio.Event()

    clock = staticmethod(time.monotonic)

    def report(self, attempt: Attempt, report: Report) -> None:
        self.reports.append((attempt, report))
        self._change.set()

    def spawned(self, attempt: Attempt, pid: int) -> None:
        self.pids.append(pid)

    id = "conformance"

    def key(self, task: int) -> str:
        return str(task)

    @property
    def adopter(self) -> None:
        return None

    max_tasks_per_worker: int | None = None
    shows_output = False
    redactor = None
    hidden = ()
    used = 0
    patient = False
    unfinished = 0

    def idle_timeout(self, attempt: Attempt) -> float | None:
        """None: for ever."""
        return None

    def memory_limit(self, attempt: Attempt) -> int | None:
        return None

    def output_paths(self, attempt: Attempt) -> tuple[str, str] | None:
        return None

    def look(self) -> float:
        self.now = self.clock()
        return self.now

    def seen(self, attempt: Attempt) -> None: ...

    def began(self, attempt: Attempt, at: float) -> None:
        if attempt.timed:
            attempt.timed = 0
            self.report(attempt, Begun(at))

    def returned(
        self,
        ticket: Ticket,
        value: Any,
        stopped: bool = False,
        at: float | None = None,
        following: Attempt | None = None,
    ) -> None:
        at = self.clock() if at is None else at
        self.report(self.attempt(ticket), Ended(at, value, stopped=stopped))
        if following is not None:
            self.passed(following, at)

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

    def lend(self, executor: str, most: int) -> list[Attempt]:
        return []

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


def attempt_of(
    sink: Recorder, call: tuple[Any, tuple[Any, ...]], task: int = 0, executor: str = "async", number: int = 1
) -> Attempt:
    body, args = call
    attempt = sink.known[task, number] = Attempt.of((sink, task, number, ()), (executor, body, args, None), True)
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


async def reports_come_in_order_and_one_end_each(kind: Kind) -> None:
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    attempts = [attempt_of(sink, (kind.returns, kind.fails)[number % 2], number) for number in range(20)]
    for attempt in attempts:
        executor.start(attempt)
    await sink.until(lambda: all(map(sink.ends, attempts)))
    executor.close()
    await _turns()
    for attempt in attempts:
        order = [type(report) for whose, report in sink.reports if whose is attempt and not isinstance(report, Output)]
        assert order in ([Begun, Ended], [Ended])
        (end,) = sink.ends(attempt)
        assert (end.error is None) is (attempt.task % 2 == 0)
        assert all(begun.at <= end.at for begun in sink.begins(attempt))
    if kind.says is not None:
        sink = Recorder()
        executor = sink.executor = kind.make(sink)
        attempt = attempt_of(sink, kind.says)
        executor.start(attempt)
        await sink.until(lambda: sink.ends(attempt))
        *_, said, last = (report for _, report in sink.reports)
        assert isinstance(said, Output)
        assert said.data == b"said\n"
        assert isinstance(last, Ended)
        executor.close()


async def a_stop_of_one_is_not_for_the_others(kind: Kind) -> None:
    """Those that run, and those that a stop finds waiting for their turn."""
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    running = [attempt_of(sink, kind.sleeps, number) for number in range(kind.at_once)]
    for attempt in running:
        executor.start(attempt)
    await sink.until(lambda: all(map(sink.begins, running)))
    behind = [attempt_of(sink, kind.returns, kind.at_once + number) for number in range(4)]
    for attempt in behind:
        executor.start(attempt)
    stopped = [*running[: len(running) // 2], behind[1]]
    for attempt in stopped:
        attempt.signal_stop(sink.clock())
        executor.stop(attempt)
    for attempt in running[: len(running) // 2]:
        executor.force(attempt)
    if kind.forces or kind.name != "thread":
        await sink.until(lambda: all(map(sink.ends, [*stopped, *behind])))
        assert all(sink.ends(attempt)[0].stopped for attempt in stopped[:-1])
        assert [sink.ends(attempt)[0].value for attempt in (behind[0], *behind[2:])] == [kind.value] * 3
    await _turns()
    assert not any(map(sink.ends, running[len(running) // 2 :]))
    for attempt in running[len(running) // 2 :]:
        attempt.signal_stop(sink.clock())
        executor.stop(attempt)
    await sink.until(lambda: all(map(sink.ends, running)))
    executor.close()


async def what_comes_after_the_end_changes_nothing(kind: Kind) -> None:
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    attempt = attempt_of(sink, kind.returns)
    executor.start(attempt)
    await sink.until(lambda: sink.ends(attempt))
    attempt.signal_stop(sink.clock())
    executor.stop(attempt)
    executor.force(attempt)
    following = attempt_of(sink, kind.returns, 1)
    executor.start(following)
    await sink.until(lambda: sink.ends(following))
    await _turns()
    assert len(sink.ends(attempt)) == 1
    assert sink.ends(following)[0].value == kind.value
    executor.close()


async def a_late_end_is_that_of_its_own_attempt(kind: Kind) -> None:
    """The task was given to another attempt while the first one still ran: each ends as itself."""
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    first = attempt_of(sink, kind.sleeps, number=1)
    executor.start(first)
    await sink.until(lambda: sink.begins(first))
    second = attempt_of(sink, kind.returns, number=2)
    executor.start(second)
    if kind.at_once > 1:
        await sink.until(lambda: sink.ends(second))
    first.signal_stop(sink.clock())
    executor.stop(first)
    await sink.until(lambda: sink.ends(first) and sink.ends(second))
    await _turns()
    assert [end.stopped for end in sink.ends(first)] == [True]
    assert [(end.value, end.stopped) for end in sink.ends(second)] == [(kind.value, False)]
    executor.close()


async def nothing_is_left_behind(kind: Kind) -> None:
    """After a close in the middle of everything: no process, no zombie, no descriptor; nothing is told any more."""
    loop = asyncio.get_running_loop()
    before = _descriptors()
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    running = [attempt_of(sink, kind.sleeps, number) for number in range(kind.at_once)]
    for attempt in running:
        executor.start(attempt)
    await sink.until(lambda: all(map(sink.begins, running)))
    for number in range(4):
        executor.start(attempt_of(sink, kind.returns, kind.at_once + number))
    executor.close()
    told = len(sink.reports)
    if not kind.forces:  # what cannot be ended is told to end, so that the check leaves nothing either
        for attempt in sink.known.values():
            attempt.signal_stop(sink.clock())
            executor.stop(attempt)
        return
    await _turns()
    assert len(sink.reports) == told
    assert not any(map(_is_left, sink.pids))
    assert _descriptors() <= before
    assert loop.is_running()


async def a_death_from_outside_is_told(kind: Kind) -> None:
    """By a process that dies: its attempt ends or is interrupted, once, and the next one runs."""
    if kind.dies is None:
        return
    sink = Recorder()
    executor = sink.executor = kind.make(sink)
    attempt = attempt_of(sink, kind.dies)
    executor.start(attempt)
    await sink.until(lambda: any(isinstance(report, (Ended, Interrupted)) for _, report in sink.reports))
    following = attempt_of(sink, kind.returns, 1)
    executor.start(following)
    await sink.until(lambda: sink.ends(following))
    (told,) = (
        report for whose, report in sink.reports if whose is attempt and isinstance(report, (Ended, Interrupted))
    )
    why = told.why if isinstance(told, Interrupted) else str(told.error)
    assert "SIGKILL" in why
    assert sink.ends(following)[0].value == kind.value
    executor.close()


def _descriptors() -> int:
    """How many are open; 0 where nobody says."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def _is_left(pid: int) -> bool:
    """Is it a child of this process, alive or a zombie?"""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


async def _turns() -> None:
    """The loop had time for whatever was still to be told."""
    for _ in range(20):
        await asyncio.sleep(0.001)


CHECKS = (
    reports_one_end_with_the_value,
    reports_one_end_with_the_error,
    runs_many_at_once,
    begins_before_it_ends_and_a_stop_is_told_apart,
    a_deaf_body_is_forced_or_said_to_go_on,
    a_stop_before_the_start_runs_nothing,
    reports_come_in_order_and_one_end_each,
    a_stop_of_one_is_not_for_the_others,
    what_comes_after_the_end_changes_nothing,
    a_late_end_is_that_of_its_own_attempt,
    nothing_is_left_behind,
    a_death_from_outside_is_told,
)
"""All of them; `asyncio.run(check(kind))` for each."""
