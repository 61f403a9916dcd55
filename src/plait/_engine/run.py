"""What the caller of `start` holds: a handle on a run, usable from any thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from plait._core.result import RunResult
from plait._core.states import RunStatus
from plait._engine.doors import running_loop
from plait._engine.driver import LIVE, Driver
from plait.errors import UsageError
from plait.observe.stream import RunEvent

if TYPE_CHECKING:
    from plait._core.why import Why


class Run:
    """A run that was started: `await run` or `run.wait()` give its RunResult, and raise for no task.

    Every method may be called from any thread. Losing the handle changes nothing for the run.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._finished: concurrent.futures.Future[RunResult] = concurrent.futures.Future()
        driver.done.add_done_callback(self._end)

    def _end(self, done: asyncio.Future[RunResult]) -> None:
        error = done.exception()  # the store's: nothing more can be recorded
        if error is not None:
            self._finished.set_exception(error)
        else:
            self._finished.set_result(done.result())

    @classmethod
    def over(cls, result: RunResult) -> Run:
        """The handle on a stored run that is over."""
        return _Over(result)

    @property
    def id(self) -> str:
        """The run's id, eight hexadecimal digits."""
        return self._driver.id

    @property
    def status(self) -> RunStatus:
        """Where the run stands now. A run with a store is over once that is on record."""
        status = self._driver.scheduler.status()
        return status if status not in _FINAL or self.done else RunStatus.RUNNING

    @property
    def done(self) -> bool:
        """True once the result is there."""
        return self._finished.done()

    def __await__(self) -> Generator[Any, None, RunResult]:
        if running_loop() is self._driver.loop:
            return asyncio.shield(self._driver.done).__await__()
        return asyncio.shield(asyncio.wrap_future(self._finished)).__await__()

    def wait(self, timeout: float | None = None) -> RunResult:
        """Blocks until the run is over, or for `timeout` seconds.

        Raises:
            TimeoutError: after `timeout` seconds; the run goes on.
            UsageError: in the thread whose loop drives the run, which would wait for itself.
        """
        if running_loop() is self._driver.loop and not self._finished.done():
            raise UsageError("run.wait() would block the loop that drives the run: use `await run` there")
        return self._finished.result(timeout)

    def cancel(self) -> None:
        """Ends the run: running tasks are stopped (see the guarantees), the rest never starts."""
        self._tell(self._driver.cancel)

    def pause(self) -> None:
        """Nothing new starts until `resume`; running tasks finish."""
        self._tell(self._driver.pause)

    def resume(self) -> None:
        """Starts go on."""
        self._tell(self._driver.resume)

    def why(self, key: str) -> Why:
        """Why the task `key` stands where it stands: what it waits for and since when, or what made it end, the first cause first.

        Raises:
            UsageError: for a key that is not in the run.
        """
        driver = self._driver
        from plait._core.why import asked  # for those who ask

        answered: concurrent.futures.Future[Why] = concurrent.futures.Future()

        def ask() -> None:
            try:
                answered.set_result(
                    asked(driver.scheduler, key, driver.clock(), driver.unix, driver.id, driver.last_heard)
                )
            except BaseException as error:
                answered.set_exception(error)

        if self._finished.done() or running_loop() is driver.loop:
            ask()
        else:
            self._tell(ask)
            while not answered.done():
                either: tuple[concurrent.futures.Future[Any], ...] = (answered, self._finished)
                concurrent.futures.wait(either, return_when=concurrent.futures.FIRST_COMPLETED)
                if self._finished.done() and not answered.done():
                    ask()  # its loop is over
        return answered.result()

    def _tell(self, what: Callable[[], None]) -> None:
        if running_loop() is self._driver.loop:
            what()
        elif not self._finished.done():
            try:
                self._driver.loop.call_soon_threadsafe(what)
            except RuntimeError:
                pass  # that loop is closed: the run is over

    def events(self, after: int | None = None) -> Events:
        """Every event from this call on, until the run is over: for `for` and, on any loop, `async for`.

        Of a run with a store, `after` gives all events behind that number (0: from the first on), with the numbers that they have
        in every process. A run that began another generation (`retry`, an accepted edit) numbers from 1 there.

        Raises:
            UsageError: for `after` without a store.
        """
        if after is None:
            return Events(self)
        if isinstance(after, bool) or not isinstance(after, int) or after < 0:
            raise UsageError(f"after must be the number of an event, or 0, not {after!r}")
        if not hasattr(self._driver, "telling"):
            raise UsageError("events(after=...) is for runs with a store: others are told from the call on")
        return StoredEvents(self, after)


_FINAL = frozenset((RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED))


class _Over(Run):
    """A run that was over when it was asked for."""

    def __init__(self, result: RunResult) -> None:
        self._result = result

    @property
    def id(self) -> str:
        return self._result.run_id

    @property
    def status(self) -> RunStatus:
        return self._result.status

    @property
    def done(self) -> bool:
        return True

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._result
        yield

    def wait(self, timeout: float | None = None) -> RunResult:
        return self._result

    def _tell(self, what: Callable[[], None]) -> None:
        """There is nobody to tell."""

    def cancel(self) -> None:
        """Too late."""

    pause = resume = cancel

    def why(self, key: str) -> Why:
        """The journal tells it."""
        raise UsageError(f"the run is over: plait.why({self.id!r}, {key!r}, store=...) reads it from the store")

    def events(self, after: int | None = None) -> Events:
        """None are left to come."""
        raise UsageError("the run is over: `plait show` and `plait logs` tell what it did")


class Events:
    """A stream of `RunEvent`s; either iterated plainly (blocks) or with `async for`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._queue: SimpleQueue[RunEvent | None] = SimpleQueue()
        self._wake: Callable[[], None] | None = None
        ready = threading.Event()

        def subscribe() -> None:
            if run._driver.done.done():
                self._queue.put(None)
            else:
                stream = run._driver.open_stream()
                if run._driver not in LIVE and not stream.told:
                    stream.begin()  # all of the run is still to come: its figures are whole
                stream.subscribe(self._put)
            ready.set()

        if running_loop() is run._driver.loop:
            subscribe()
        elif run.done:
            self._queue.put(None)
        else:
            try:
                run._driver.loop.call_soon_threadsafe(subscribe)
            except RuntimeError:
                self._queue.put(None)
            else:
                while not ready.wait(0.1) and not run.done:
                    pass
                if not ready.is_set():
                    self._queue.put(None)

    def _put(self, event: RunEvent | None) -> None:
        self._queue.put(event)
        if self._wake is not None:
            self._wake()

    def __iter__(self) -> Iterator[RunEvent]:
        self._refuse_on_own_loop()
        try:
            while (event := self._queue.get()) is not None:
                yield event
        finally:
            self._leave()

    def _refuse_on_own_loop(self) -> None:
        if running_loop() is self._run._driver.loop:
            raise UsageError(
                "a plain `for` over run.events() would block the loop that drives the run: use `async for`"
            )

    def _bell(self) -> asyncio.Event:
        """Rings on this loop when there is more."""
        loop = asyncio.get_running_loop()
        bell = asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(bell.set)
            except RuntimeError:
                pass  # the reader's loop is closed

        self._wake = wake
        return bell

    def _leave(self) -> None:
        """Nobody reads on: nothing more is kept for this reader."""

        def forget() -> None:
            stream = self._run._driver.stream
            if stream is not None:
                stream.unsubscribe(self._put)

        self._run._tell(forget)

    async def __aiter__(self) -> AsyncIterator[RunEvent]:
        bell = self._bell()
        try:
            while True:
                bell.clear()
                while not self._queue.empty():
                    event = self._queue.get()
                    if event is None:
                        return
                    yield event
                await bell.wait()
        finally:
            self._leave()


class StoredEvents(Events):
    """The events of a stored run behind a number: replayed from its journal as that grows, in the reader's own time."""

    def __init__(self, run: Run, after: int) -> None:
        self._run = run
        self._after = after
        self._queue: SimpleQueue[RunEvent | None] = SimpleQueue()
        self._wake: Callable[[], None] | None = None
        self._telling = run._driver.telling()  # type: ignore[attr-defined]
        run._tell(lambda: run._driver.on_commit.append(self._heard))  # type: ignore[attr-defined]

    def _heard(self) -> None:
        self._put(None)

    def _leave(self) -> None:
        def forget() -> None:
            hearers: list[Any] = self._run._driver.on_commit  # type: ignore[attr-defined]
            if self._heard in hearers:
                hearers.remove(self._heard)

        self._run._tell(forget)

    def _more(self) -> Iterator[RunEvent]:
        return (event for event in self._telling.more() if event.seq > self._after)

    def __iter__(self) -> Iterator[RunEvent]:
        self._refuse_on_own_loop()
        try:
            while True:
                over = self._run.done
                yield from self._more()
                if over or self._telling.over:
                    return
                try:
                    self._queue.get(timeout=1.0)
                except Empty:
                    pass  # it may have ended before we listened
        finally:
            self._leave()

    async def __aiter__(self) -> AsyncIterator[RunEvent]:
        bell = self._bell()
        try:
            while True:
                bell.clear()
                over = self._run.done
                for event in self._more():
                    yield event
                if over or self._telling.over:
                    return
                try:
                    async with asyncio.timeout(1.0):
                        await bell.wait()
                except TimeoutError:
                    pass  # it may have ended before we listened
        finally:
            self._leave()
