"""Coroutines, on the run's loop: as cheap as a function call until they suspend, a real asyncio task from then on.

A pool of asyncio tasks, grown when needed and never larger than the run has slots, drives the bodies. A pool task runs
a body's first step inside itself. A body that never suspends costs no turn of the loop, and the pool task goes on with
the next, unless that body left something behind: a cancellation, or a changed context. One that suspends owns its pool
task from then on: `asyncio.timeout`, TaskGroup and cancellation see an ordinary task, which ends with its body and serves
no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, copy_context
from operator import is_not
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from plait.executors.base import CURRENT, UNDER_WAY, Attempt, Ended, Ticket, awaited
from plait.executors.blocking import unwatch, watch

if TYPE_CHECKING:
    from plait.executors.contract import Sink


SLICE_S = 0.005
"""After this long without a suspension a pool task lets the rest of the loop have a turn."""


class AsyncExecutor:
    """Runs coroutine functions. Stopping cancels; a body that swallows the cancellation cannot be forced."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._loop, self._copy = sink.loop, sink.context.copy
        self.spare: Seat | None = None  # one whose pool task has ended: it may serve another
        # Pool tasks that swallowed being stopped. All others are held by the loop, which is to run them, or by their attempt.
        self.deaf: WeakSet[asyncio.Task[None]] = WeakSet()
        # On a virtual clock no loop is late.
        self._watched = None if hasattr(sink.loop, "plait_clock") else watch(sink.id, sink.loop)

    def start(self, attempt: Attempt) -> None:
        seat = self.spare
        if seat is None:
            seat = Seat()
            seat.executor = self
        else:
            self.spare = None
        seat.attempt = attempt
        seat.body = None
        seat.stopped = False
        # The Task class itself: a loop's task factory may wrap, delay or start eagerly what is ours to drive.
        seat.task = asyncio.Task(seat, loop=self._loop, name="plait", context=self._copy())

    def stop(self, attempt: Attempt) -> None:
        if attempt.handle is not None:
            attempt.handle.cancel()

    def force(self, attempt: Attempt) -> bool:
        self.stop(attempt)
        if attempt.handle is not None:
            self.deaf.add(attempt.handle)
        return False

    def close(self) -> None:
        if self._watched is not None:
            unwatch(self._watched)
        for task in self.deaf:
            # Abandoned: their loop may be closed under them, and the outcome has said so.
            task._log_destroy_pending = False  # type: ignore[attr-defined]


class Seat(Coroutine[Any, Any, None]):
    """What one pool task runs: first steps of bodies until one suspends, then that body to its end.

    A coroutine written out as an object: asyncio sends to it and throws into it as into any other. A generator would add
    frames to every step, and would not be asked at all where it is cancelled before it began.
    """

    __slots__ = ("attempt", "body", "executor", "stopped", "task")
    __name__ = "plait"  # what asyncio prints of a task

    # Set where it is made: `__init__` would be a call more for each.
    executor: AsyncExecutor
    task: asyncio.Task[None]
    attempt: Attempt | None
    """What it is to run, or what has suspended; None between two bodies."""

    body: Coroutine[Any, Any, Any] | None
    """Once it has suspended."""

    stopped: bool
    """Once it has suspended: had the attempt been told to stop when something was thrown into it?"""

    def send(self, value: Any) -> Any:
        """One step, as asyncio asks for it."""
        if self.body is None:
            return self._first_steps()
        try:
            return self.body.send(value)
        except StopIteration as end:
            self.executor.sink.returned(self.attempt.ticket, end.value, self.stopped)  # type: ignore[union-attr]
        except BaseException as error:
            self._raised(error)
        self._leave()
        raise StopIteration

    def throw(self, error: Any, value: Any = None, trace: TracebackType | None = None, /) -> Any:
        """A cancellation, as asyncio delivers it."""
        if isinstance(error, type):
            error = error() if value is None else value
        attempt = self.attempt
        if attempt is not None and not self.stopped and isinstance(error, asyncio.CancelledError):
            self.stopped = attempt.stopped_at is not None or self.executor.sink.cancelled_outside()
        if self.body is None:
            if attempt is not None:  # cancelled before it began; else between two bodies, and others carry on
                self._raised(error)
        else:
            try:
                return self.body.throw(error)
            except StopIteration as end:
                self.executor.sink.returned(attempt.ticket, end.value, self.stopped)  # type: ignore[union-attr]
            except BaseException as raised:
                self._raised(raised)
        self._leave()
        raise StopIteration

    def close(self) -> None:
        """The loop is gone: ends the body where it stands."""
        if self.body is not None:
            self.body.close()

    def __await__(self) -> Any:
        raise NotImplementedError  # asyncio's Task is the only one that drives it

    def _first_steps(self) -> Any:
        """Runs bodies one after another until one suspends: what that one waits for. None lets the loop have a turn."""
        sink, task = self.executor.sink, self.task
        until = began = 0.0
        attempt = self.attempt
        ticket: Ticket | None
        if attempt is None:
            began = sink.look()
            ticket, work = sink.pull(), sink.call
        elif attempt.stopped_at is not None:  # told to stop before its code began: it is not called
            sink.returned(attempt.ticket, None, True)
            ticket, work, attempt = sink.pull(), sink.call, None
            began = sink.now
        else:
            ticket, work = attempt.ticket, attempt.call
            if attempt.timed:
                began = sink.look()
                sink.began(attempt, began)
        while ticket is not None:
            CURRENT.set(ticket)
            before = copy_context()
            _, call, args, kwargs = work
            try:
                body = call(*args, **kwargs) if kwargs else call(*args)
            except BaseException as error:
                sink.report(sink.attempt(ticket), Ended(sink.clock(), error=error))
            else:
                if type(body) is not CoroutineType:
                    body = _as_coroutine(body)
                try:
                    step = body.send(None)
                except StopIteration as end:
                    sink.returned(ticket, end.value)
                except BaseException as error:
                    sink.report(sink.attempt(ticket), Ended(sink.clock(), error=error))
                else:
                    self.body = body
                    if attempt is None:
                        attempt = self.attempt = sink.attempt(ticket)
                        attempt.ticket = ticket
                    attempt.handle = task
                    attempt.call = UNDER_WAY
                    if attempt.timed:
                        sink.began(attempt, began)
                    if attempt.rated:
                        sink.seen(attempt)
                    if attempt.stopped_at is not None:
                        task.cancel()  # it was told to stop during its first step
                    if sink.suspended():
                        self._start_others()
                    return step
            # No other body shall see what this one did to the task or the context that it saw. Alone in it is `CURRENT`.
            after = copy_context()
            if task.cancelling() or task._must_cancel or (len(after) > 1 and _differ(before, after)):  # type: ignore[attr-defined]
                break
            if sink.now > until:
                if until:
                    self.attempt = None
                    sink.breathe()
                    return None
                until = sink.now + SLICE_S
            ticket, work, attempt = sink.pull(), sink.call, None
            began = sink.now
        self._leave()
        raise StopIteration

    def _start_others(self) -> None:
        """The pool task is its attempt's own from here on; two others take its place.

        Two, so that many sleepers start in a few turns of the loop and not one by one.
        """
        sink = self.executor.sink
        sink.look()
        sink.more()
        sink.more()

    def _raised(self, error: BaseException) -> None:
        """The body, or what was thrown into it before it began, ended with an error; a plain end by cancellation has none."""
        sink, attempt = self.executor.sink, self.attempt
        assert attempt is not None
        if self.stopped and isinstance(error, asyncio.CancelledError):
            sink.returned(attempt.ticket, None, True)
        else:
            sink.report(attempt, Ended(sink.clock(), error=error, stopped=self.stopped))

    def _leave(self) -> None:
        """The pool task ends here; whatever may start now gets another."""
        executor = self.executor
        # The task holds its context, in which stands the attempt: nothing may hold the task.
        if self.attempt is not None:
            self.attempt.handle = None
        self.attempt = self.body = None
        del self.task
        executor.spare = self
        executor.sink.more()


def _differ(before: Context, after: Context) -> bool:
    """Has some variable another value? By identity: a new value that is equal to the old one is not the same one."""
    return len(before) != len(after) or any(map(is_not, before.values(), after.values()))


def _as_coroutine(made: Any) -> Coroutine[Any, Any, Any]:
    """What a body gave, as a coroutine: an awaitable to await, or the value of a plain function."""
    return awaited(made) if hasattr(type(made), "__await__") else _value(made)


async def _value(value: Any) -> Any:
    return value
