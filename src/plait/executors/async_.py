"""Coroutines, on the run's loop: as cheap as a function call until they suspend, a real asyncio task from then on.

A pool of asyncio tasks, grown when needed and never larger than the run has slots, drives the bodies. A pool task runs
a body's first step inside itself, in that body's own context. A body that never suspends costs no turn of the loop, and
the pool task goes on with the next. One that suspends owns its pool task from then on: `asyncio.timeout`, TaskGroup and
cancellation see an ordinary task, which ends with its body and serves no other.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any

from plait.executors.base import CURRENT, Attempt, Begun, Ended, Sink, awaited

SLICE_S = 0.005
"""After this long without a suspension a pool task lets the rest of the loop have a turn."""


class AsyncExecutor:
    """Runs coroutine functions. Stopping cancels; a body that swallows the cancellation cannot be forced."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._pool: dict[asyncio.Task[None], Attempt] = {}

    def start(self, attempt: Attempt) -> None:
        # The Task class itself: a loop's task factory may wrap, delay or start eagerly what is ours to drive.
        task = asyncio.Task(self._work(attempt), loop=self._sink.loop, context=self._sink.context)
        self._pool[task] = attempt  # the loop holds tasks weakly
        task.add_done_callback(self._left)

    def stop(self, attempt: Attempt) -> None:
        if attempt.handle is not None:
            attempt.handle.cancel()

    def force(self, attempt: Attempt) -> bool:
        self.stop(attempt)
        return False

    def close(self) -> None:
        for task in self._pool:
            # Abandoned bodies: their loop may be closed under them, and the outcome has said so.
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def _left(self, task: asyncio.Task[None]) -> None:
        """A pool task is over; one that was cancelled before its first step has not reported its attempt."""
        attempt = self._pool.pop(task)
        if task.cancelled():
            stopped = self._sink.cancelled_outside()
            error = None if stopped else asyncio.CancelledError()
            self._sink.report(attempt, Ended(self._sink.clock(), error=error, stopped=stopped))
            self._sink.more()

    async def _work(self, attempt: Attempt) -> None:
        try:
            await self._drive(attempt)
        except asyncio.CancelledError:
            pass  # somebody cancelled it between two bodies: others carry on
        more = self._sink.pull()
        if more is not None:
            self.start(more)

    @types.coroutine
    def _drive(self, first: Attempt) -> Generator[Any, Any, None]:
        sink = self._sink
        clock = sink.clock
        task = asyncio.current_task()
        assert task is not None
        began = clock()
        until = began + SLICE_S
        attempt: Attempt | None = first
        while attempt is not None:
            CURRENT.set(attempt)
            run = copy_context().run
            try:
                if attempt.stopped_at is not None:
                    made: Any = _stopped_early()
                elif attempt.kwargs:
                    made = run(attempt.body, *attempt.args, **attempt.kwargs)
                else:
                    made = run(attempt.body, *attempt.args)
            except BaseException as error:
                sink.report(attempt, Ended(clock(), error=error))
            else:
                body = made if type(made) is types.CoroutineType else _as_coroutine(made)
                try:
                    step = run(body.send, None)
                except StopIteration as end:
                    sink.returned(attempt, end.value)
                except BaseException as error:
                    stopped = isinstance(error, _StoppedEarly)
                    sink.report(attempt, Ended(clock(), error=None if stopped else error, stopped=stopped))
                else:
                    self._suspended(attempt, task, began)
                    yield from _rest(attempt, body, run, step)
                    return
            if task.cancelling() or task._must_cancel:  # type: ignore[attr-defined]
                return  # its body cancelled the task that it saw: no other body shall
            if sink.now > until:
                sink.breathe()
                yield
                until = clock() + SLICE_S
            attempt = sink.pull()
            began = sink.now

    def _suspended(self, attempt: Attempt, task: asyncio.Task[Any], began: float) -> None:
        """The pool task is the attempt's own from here on; two others take its place.

        Two, so that many sleepers start in a few turns of the loop and not one by one.
        """
        attempt.handle = task
        self._sink.report(attempt, Begun(began))
        if attempt.stopped_at is not None:
            task.cancel()  # it was told to stop during its first step
        for _ in range(2):
            more = self._sink.pull()
            if more is None:
                break
            self.start(more)


class _StoppedEarly(BaseException):
    """The attempt was told to stop before its code began: it is not called."""


async def _stopped_early() -> None:
    raise _StoppedEarly


def _as_coroutine(made: Any) -> Coroutine[Any, Any, Any]:
    """What a body gave, as a coroutine: an awaitable to await, or the value of a plain function."""
    return awaited(made) if hasattr(type(made), "__await__") else _value(made)


async def _value(value: Any) -> Any:
    return value


def _rest(attempt: Attempt, body: Coroutine[Any, Any, Any], run: Any, step: Any) -> Generator[Any, Any, None]:
    """Drives a suspended body to its end, in its own context, and reports it."""
    sink = attempt.sink
    send, throw = body.send, body.throw
    stopped = closing = False
    try:
        while True:
            try:
                sent = yield step
            except GeneratorExit:
                closing = True  # the loop is gone
                body.close()
                raise
            except BaseException as thrown:
                if not stopped and isinstance(thrown, asyncio.CancelledError):
                    stopped = attempt.stopped_at is not None or sink.cancelled_outside()
                step = run(throw, thrown)
            else:
                step = run(send, sent)
    except StopIteration as end:
        if not stopped:
            sink.returned(attempt, end.value)
        else:
            sink.report(attempt, Ended(sink.clock(), value=end.value, stopped=True))
    except asyncio.CancelledError as error:
        sink.report(attempt, Ended(sink.clock(), error=None if stopped else error, stopped=stopped))
    except GeneratorExit as error:
        if closing:
            raise
        sink.report(attempt, Ended(sink.clock(), error=error, stopped=stopped))
    except BaseException as error:
        sink.report(attempt, Ended(sink.clock(), error=error, stopped=stopped))
