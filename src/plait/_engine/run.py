"""What the caller of `start` holds: a handle on a run, usable from any thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from plait._core.result import RunResult
from plait._core.states import RunStatus
from plait._engine.doors import running_loop
from plait._engine.driver import LIVE, Driver
from plait.errors import UsageError
from plait.observe.stream import RunEvent

if TYPE_CHECKING:
    from plait._core.why import Why
    from plait.observe.questions import OpenQuestion

T = TypeVar("T")


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

    def cancel(self, key: str | None = None, *, by: str | None = None) -> None:
        """Ends the run: running tasks are stopped (see the guarantees), the rest never starts. With `key` ends that one task.

        A task that is cancelled did not succeed: what needs it is `upstream_failed`, and the run fails in the end, unless it may
        (`allow_failure`). Everything else goes on.

        Raises:
            UsageError: for a key that is not in the run, or of a task that is over or must not be stopped.
        """
        if key is None:
            self._tell(self._driver.cancel)
        else:
            self._asked(lambda: self._driver.cancel_task(key, by))

    def questions(self) -> list[OpenQuestion]:
        """What waits for a person's answer, in the order in which it was asked."""
        return self._asked(lambda: self._driver.desk.questions())

    def answer(self, key: str | OpenQuestion, value: Any, *, by: str | None = None) -> None:
        """Answers the open question `key` (the path of the task that asked), or the very question that is given; its task goes on as soon as a
        slot is free.

        Exactly one answer counts: of a question that is closed the error says what became of it.

        Raises:
            UsageError: for a question that is not open, a value that does not fit, or a `by` that was not asked; nothing has changed then.
        """
        from plait.observe.questions import OpenQuestion  # for those who answer

        if isinstance(key, OpenQuestion):
            self._asked(lambda: self._driver.desk.answer(key.key, value, by, (key.task, key.number)))
        else:
            self._asked(lambda: self._driver.desk.answer(key, value, by))

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

        return self._asked(
            lambda: asked(driver.scheduler, key, driver.clock(), driver.unix, driver.id, driver.last_heard)
        )

    def _asked(self, what: Callable[[], T]) -> T:
        """What `what` gives, or raises, in the loop's thread."""
        driver = self._driver
        told: concurrent.futures.Future[T] = concurrent.futures.Future()
        first = threading.Lock()

        def ask() -> None:
            if not first.acquire(blocking=False):
                return  # as the run ends, its loop may get to this after all
            try:
                told.set_result(what())
            except BaseException as error:
                told.set_exception(error)

        if self._finished.done() or running_loop() is driver.loop:
            ask()
        else:
            self._tell(ask)
            while not told.done():
                either: tuple[concurrent.futures.Future[Any], ...] = (told, self._finished)
                concurrent.futures.wait(either, return_when=concurrent.futures.FIRST_COMPLETED)
                if self._finished.done() and not told.done():
                    ask()  # its loop may be over
                    break
        return told.result()

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

    def cancel(self, key: str | None = None, *, by: str | None = None) -> None:
        """Too late."""

    def pause(self) -> None:
        """Too late."""

    resume = pause

    def questions(self) -> list[OpenQuestion]:
        """None are open."""
        return []

    def answer(self, key: str | OpenQuestion, value: Any, *, by: str | None = None) -> None:
        """Too late."""
        raise UsageError(f"run {self.id} is over: it takes no answers")

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
