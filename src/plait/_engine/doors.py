"""How callers enter: awaiting on their own loop, or blocking, with and without a running loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from plait._core.outcome import RunResult
from plait._engine.driver import Driver
from plait.errors import UsageError
from plait.executors.base import CURRENT

T = TypeVar("T")

loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
"""Makes the loops of blocking doors; a virtual clock puts its own here."""

LEFTOVER_S = 1.0
"""What a user's own background tasks get to end in, once a blocking door has its result."""


async def finish(driver: Driver) -> RunResult:
    """Starts a run and gives its result. Cancelling the caller cancels the run and waits for its end (once)."""
    driver.start()
    try:
        return await asyncio.shield(driver.done)
    except asyncio.CancelledError:
        driver.interrupted = True
        driver.cancel()
        await asyncio.shield(driver.done)
        raise


def refuse_inside(door: str, instead: str) -> None:
    """Nothing, unless the caller is a coroutine that plait runs, whose loop a blocking door would stop.

    Raises:
        UsageError: then.
    """
    attempt = CURRENT.get(None)
    if attempt is not None and running_loop() is attempt.sink.loop:
        raise UsageError(
            f"{door} blocks, and was called inside a coroutine that plait runs: use `await {instead}` there"
        )


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, if one does."""
    return asyncio._get_running_loop()


def blocking(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The value of a coroutine, for a caller that is not one.

    Without a running loop in this thread the coroutine gets a loop of its own here; SIGINT then cancels it, a second
    one raises at once. With one (Jupyter) it runs on plait's background loop while this thread waits.
    """
    if running_loop() is None:
        return _on_own_loop(make)
    return _on_background_loop(make)


def _on_own_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    runner = asyncio.Runner(loop_factory=loop_factory)
    loop = runner.get_loop()
    try:
        return runner.run(make())
    finally:
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Closes a loop of ours. Unlike `asyncio.Runner` it does not wait for ever for a task that swallows its cancellation."""
    try:
        left = [task for task in asyncio.all_tasks(loop) if getattr(task, "_log_destroy_pending", True)]
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LEFTOVER_S))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.run_until_complete(loop.shutdown_asyncgens())
        executor = getattr(loop, "_default_executor", None)
        if executor is not None:
            executor.shutdown(wait=False)  # a user's own to_thread call must not hold the door
    finally:
        loop.close()


_background: tuple[int, asyncio.AbstractEventLoop] | None = None
_background_lock = threading.Lock()


def background_loop() -> asyncio.AbstractEventLoop:
    """The one loop in a daemon thread, started when first needed; a forked child gets its own."""
    global _background
    with _background_lock:
        if _background is None or _background[0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="plait-loop", daemon=True).start()
            _background = (os.getpid(), loop)
        return _background[1]


def _on_background_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop = background_loop()
    finished: concurrent.futures.Future[T] = concurrent.futures.Future()
    context = contextvars.copy_context()
    started: list[asyncio.Task[T]] = []

    def begin() -> None:
        task = loop.create_task(make(), context=context)
        started.append(task)
        task.add_done_callback(settle)

    def settle(task: asyncio.Task[T]) -> None:
        if task.cancelled():
            finished.set_exception(concurrent.futures.CancelledError())
        elif (error := task.exception()) is not None:
            finished.set_exception(error)
        else:
            finished.set_result(task.result())

    loop.call_soon_threadsafe(begin)
    try:
        return finished.result()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in started])
        try:
            finished.result()
        except (Exception, concurrent.futures.CancelledError):
            pass  # the interrupt is what happened
        raise
