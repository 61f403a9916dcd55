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
from contextvars import copy_context
from types import CoroutineType, TracebackType
from typing import Any

from plait.executors.base import CURRENT, Attempt, Call, Ended, Sink, awaited

UNDER_WAY: Call = ("async", None, (), None)
"""Stands for the call of an attempt whose body exists: nothing of the call is kept beside it."""

SLICE_S = 0.005
"""After this long without a suspension a pool task lets the rest of the loop have a turn."""


class AsyncExecutor:
    """Runs coroutine functions. Stopping cancels; a body that swallows the cancellation cannot be forced."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.pool: set[asyncio.Task[None]] = set()  # the loop holds tasks weakly

    def start(self, attempt: Attempt) -> None:
        seat = Seat(self, attempt)
        # The Task class itself: a loop's task factory may wrap, delay or start eagerly what is ours to drive.
        task = seat.task = asyncio.Task(seat, loop=self.sink.loop, name="plait", context=self.sink.context.copy())
        self.pool.add(task)

    def stop(self, attempt: Attempt) -> None:
        if attempt.handle is not None:
            attempt.handle.cancel()

    def force(self, attempt: Attempt) -> bool:
        self.stop(attempt)
        return False

    def close(self) -> None:
        for task in self.pool:
            # Abandoned bodies: their loop may be closed under them, and the outcome has said so.
            task._log_destroy_pending = False  # type: ignore[attr-defined]


class Seat(Coroutine[Any, Any, None]):
    """What one pool task runs: first steps of bodies until one suspends, then that body to its end.

    A coroutine written out as an object: asyncio sends to it and throws into it as into any other. A generator would add
    frames to every step, and would not be asked at all where it is cancelled before it began.
    """

    __slots__ = ("_attempt", "_body", "_executor", "_sink", "_stopped", "task")
    __name__ = "plait"  # what asyncio prints of a task

    task: asyncio.Task[None]

    def __init__(self, executor: AsyncExecutor, attempt: Attempt) -> None:
        self._executor = executor
        self._sink = executor.sink
        self._attempt: Attempt | None = attempt  # None between two bodies
        self._body: Any = None  # once it has suspended
        self._stopped = False

    def send(self, value: Any) -> Any:
        """One step, as asyncio asks for it."""
        body = self._body
        if body is None:
            return self._first_steps()
        try:
            return body.send(value)
        except StopIteration as end:
            returned = end.value
        except BaseException as error:
            self._raised(error)
            raise StopIteration from None
        self._ended(returned)
        raise StopIteration

    def throw(self, error: Any, value: Any = None, trace: TracebackType | None = None, /) -> Any:
        """A cancellation, as asyncio delivers it."""
        if isinstance(error, type):
            error = error() if value is None else value
        cancelled = isinstance(error, asyncio.CancelledError)
        if cancelled and not self._stopped and self._attempt is not None:
            self._stopped = self._attempt.stopped_at is not None or self._sink.cancelled_outside()
        if self._body is None:
            if self._attempt is not None:  # cancelled before it began
                self._raised(error)
            else:
                self._leave()  # somebody cancelled the task between two bodies: others carry on
            raise StopIteration
        try:
            return self._body.throw(error)
        except StopIteration as end:
            self._ended(end.value)
        except BaseException as raised:
            self._raised(raised)
        raise StopIteration

    def close(self) -> None:
        """The loop is gone: ends the body where it stands."""
        if self._body is not None:
            self._body.close()

    def __await__(self) -> Any:
        raise NotImplementedError  # asyncio's Task is the only one that drives it

    def _first_steps(self) -> Any:
        """Runs bodies one after another until one suspends: what that one waits for. None lets the loop have a turn."""
        sink, task = self._sink, self.task
        until = began = 0.0
        attempt = self._attempt
        if attempt is None:
            sink.look()
            attempt = sink.pull()
        elif attempt.stopped_at is not None:  # told to stop before its code began: it is not called
            sink.report(attempt, Ended(sink.clock(), stopped=True))
            attempt = sink.pull()
        elif attempt.timed:
            began = sink.look()
            sink.began(attempt, began)
        while attempt is not None:
            self._attempt = attempt
            CURRENT.set(attempt)
            before = copy_context()
            _, call, args, kwargs = attempt.call
            try:
                body = call(*args, **kwargs) if kwargs else call(*args)
            except BaseException as error:
                sink.report(attempt, Ended(sink.clock(), error=error))
            else:
                if type(body) is not CoroutineType:
                    body = _as_coroutine(body)
                try:
                    step = body.send(None)
                except StopIteration as end:
                    sink.returned(attempt, end.value)
                except BaseException as error:
                    sink.report(attempt, Ended(sink.clock(), error=error))
                else:
                    self._body = body
                    self._suspended(attempt, began)
                    return step
            try:
                # No other body shall see what this one did to the task or the context that it saw.
                if task.cancelling() or task._must_cancel or copy_context() != before:  # type: ignore[attr-defined]
                    break
            except Exception:  # it changed the context, to values that do not compare
                break
            if sink.now > until:
                if until:
                    self._attempt = None
                    sink.breathe()
                    return None
                until = sink.now + SLICE_S
            attempt = sink.pull()
            began = sink.now
        self._leave()
        raise StopIteration

    def _suspended(self, attempt: Attempt, began: float) -> None:
        """The pool task is the attempt's own from here on; two others take its place.

        Two, so that many sleepers start in a few turns of the loop and not one by one.
        """
        sink = self._sink
        attempt.handle = self.task
        attempt.call = UNDER_WAY
        if attempt.timed:
            sink.began(attempt, began)
        if attempt.stopped_at is not None:
            self.task.cancel()  # it was told to stop during its first step
        if sink.startable:
            sink.look()
            for _ in range(2):
                more = sink.pull()
                if more is None:
                    break
                self._executor.start(more)

    def _raised(self, error: BaseException) -> None:
        """The body, or what was thrown into it before it began, ended with an error; a plain end by cancellation has none."""
        if self._stopped and isinstance(error, asyncio.CancelledError):
            self._ended(None)
            return
        assert self._attempt is not None
        self._sink.report(self._attempt, Ended(self._sink.clock(), error=error, stopped=self._stopped))
        self._leave()

    def _ended(self, value: Any) -> None:
        assert self._attempt is not None
        self._sink.returned(self._attempt, value, self._stopped)
        self._leave()

    def _leave(self) -> None:
        """The pool task ends here; whatever may start now gets another."""
        self._executor.pool.discard(self.task)
        # The task holds its context, in which stands the attempt: nothing may hold the task.
        if self._attempt is not None:
            self._attempt.handle = None
        self._attempt = self._body = None
        del self.task
        more = self._sink.pull()
        if more is not None:
            self._executor.start(more)


def _as_coroutine(made: Any) -> Coroutine[Any, Any, Any]:
    """What a body gave, as a coroutine: an awaitable to await, or the value of a plain function."""
    return awaited(made) if hasattr(type(made), "__await__") else _value(made)


async def _value(value: Any) -> Any:
    return value
