"""How callers enter: awaiting on their own loop, or blocking, with and without a running loop."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from plait._core.policy import limit
from plait._core.result import RunResult
from plait._core.states import RunStatus
from plait._engine.driver import LIVE, Driver
from plait.errors import RunCancelled, RunFailed, TaskCancelled, UsageError
from plait.executors.base import CURRENT

T = TypeVar("T")

loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
"""Makes the loops of blocking doors; a virtual clock puts its own here."""

LEFTOVER_S = 1.0
"""What a user's own background tasks get to end in, once a blocking door has its result."""


class _Default:
    """Says that an option was not given, where None means something."""

    def __repr__(self) -> str:
        return "min(32, cpu + 4)"


DEFAULT: Any = _Default()


def default_slots() -> int:
    """Slots of a front door that names none: `min(32, cpu + 4)`."""
    return min(32, (os.cpu_count() or 1) + 4)


def slots(max_concurrency: Any) -> int | None:
    """A caller's `max_concurrency`, checked, with its default."""
    return default_slots() if max_concurrency is DEFAULT else limit("max_concurrency", max_concurrency)


async def finish(driver: Driver) -> RunResult:
    """Starts a run and gives its result. Cancelling the caller cancels the run and waits for its end (once)."""
    driver.start()
    try:
        return await asyncio.shield(driver.done)
    except asyncio.CancelledError:
        driver.interrupt()
        try:
            await asyncio.shield(driver.done)
        except asyncio.CancelledError:
            driver.kill()  # cancelled once more: out at once, and no command lives on
            raise
        raise


def raise_for(result: RunResult) -> None:
    """Nothing for a run that succeeded.

    Raises:
        BaseException: the first cause's own exception.
        RunFailed, RunCancelled: where no task is to blame.
    """
    if result.status is RunStatus.SUCCEEDED:
        return
    cause = result.first_cause
    if cause is not None and cause.error is not None:
        if isinstance(cause.error, asyncio.CancelledError):
            # Raised as it is, it would look as if the caller had been cancelled.
            raise TaskCancelled(f"task {cause.key!r} was cancelled from within") from cause.error
        raise cause.error
    if result.status is RunStatus.CANCELLED:
        raise RunCancelled(f"run {result.run_id} was cancelled")
    raise RunFailed(f"run {result.run_id} failed: {result.reason}", result)


def refuse_inside(door: str, instead: str) -> None:
    """Nothing, unless the caller is a coroutine that plait runs, whose loop a blocking door would stop.

    Raises:
        UsageError: then.
    """
    ticket = CURRENT.get(None)
    if ticket is not None and running_loop() is ticket[0].loop:
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
    loop = running_loop()
    if loop is None:
        return _on_own_loop(make)
    if _background is not None and loop is _background[1]:
        raise UsageError("a blocking call of plait was made on plait's own background loop, which it would stop")
    return _on_background_loop(make)


def _on_own_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    runner = asyncio.Runner(loop_factory=loop_factory)
    loop = runner.get_loop()
    told = _Told()
    try:
        return runner.run(_interruptible(partial(_terminable, make, told)))
    finally:
        _close(loop)
        told.follow()


class _Told:
    """The signal that ends this process, once its run is over."""

    def __init__(self) -> None:
        self.number = 0

    def follow(self) -> None:
        """Ends the process as the signal would have done, if there was one."""
        if self.number:
            os.kill(os.getpid(), self.number)


async def _terminable(make: Callable[[], Coroutine[Any, Any, T]], told: _Told) -> T:
    """`make()`, cancelled by SIGTERM and SIGHUP where the program leaves these to the system, which would end this process at once and
    leave its commands behind. A second one ends all by force.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def terminated(number: int) -> None:
        if told.number:
            for driver in list(LIVE):
                driver.kill()
            ignored()
            told.follow()
        told.number = number
        task.cancel()

    def ignored() -> None:
        while ours:
            loop.remove_signal_handler(ours.pop())

    ours: list[int] = []
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            try:
                loop.add_signal_handler(number, terminated, number)
            except (ValueError, RuntimeError, NotImplementedError):
                break  # not the main thread, or a loop that knows no signals
            ours.append(number)
    try:
        return await make()
    finally:
        ignored()


async def _interruptible(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`make()`, left at once on a second SIGINT, even where a body swallows the KeyboardInterrupt that it raises.

    `asyncio.Runner` cancels this task on the first one and raises on the second, in whatever code runs at that moment.
    """
    ours = signal.getsignal(signal.SIGINT)
    if (
        threading.current_thread() is not threading.main_thread()
        or not callable(ours)
        or ours is signal.default_int_handler
    ):
        return await make()  # the runner left the signal alone, so do we
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    seen = 0

    def leave() -> None:
        task.uncancel()  # the runner takes one cancellation for its own
        task.cancel()

    def interrupted(number: int, frame: Any) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            loop.call_soon_threadsafe(leave)
        ours(number, frame)

    signal.signal(signal.SIGINT, interrupted)
    try:
        return await make()
    finally:
        if signal.getsignal(signal.SIGINT) is interrupted:
            signal.signal(signal.SIGINT, ours)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Closes a loop of ours. Unlike `asyncio.Runner` it does not wait for ever for a task that swallows its cancellation."""
    try:
        for driver in [each for each in LIVE if each.loop is loop]:
            driver.kill()  # left in a hurry
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
            atexit.register(_end_of_process, os.getpid())
        return _background[1]


def _end_of_process(pid: int) -> None:
    """No command outlives the process that started it; threads and coroutines end with it anyway."""
    if os.getpid() != pid or _background is None or not LIVE:
        return
    ended = threading.Event()

    def end() -> None:
        for driver in list(LIVE):
            driver.kill()
        ended.set()

    # In the loop's own thread: it may be in the middle of starting a command.
    _background[1].call_soon_threadsafe(end)
    if not ended.wait(LEFTOVER_S):
        end()  # some body blocks that loop


def _on_background_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop = background_loop()
    finished: concurrent.futures.Future[T] = concurrent.futures.Future()
    context = contextvars.copy_context()
    started: list[asyncio.Task[None]] = []

    async def settle() -> None:
        try:
            value = await make()
        except BaseException as error:  # SystemExit too: it is the caller's, not that of the thread
            finished.set_exception(error)
        else:
            finished.set_result(value)

    def begin() -> None:
        started.append(loop.create_task(settle(), context=context))

    loop.call_soon_threadsafe(begin)
    try:
        return finished.result()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in started])
        try:
            finished.result()
        except (Exception, asyncio.CancelledError):
            pass  # the interrupt is what happened
        raise
