"""A flat list of work: `run_with_concurrency`, `amap`, `map_`, `as_completed`. A graph without needs, each of them."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from plait._core.graph import Batch, Numbered
from plait._core.outcome import Outcome, Outcomes, RunResult, outcome
from plait._core.policy import PLAIN, OnFailure, Policy, Rules, limit, policy
from plait._core.states import RunStatus, Status
from plait._core.table import NONE, Table
from plait._engine.doors import blocking, finish, refuse_inside, running_loop
from plait._engine.driver import Driver
from plait._engine.work import Call, Growth, Work
from plait.errors import JudgedFailed, RunCancelled, RunFailed, TaskCancelled, UsageError
from plait.executors.base import CURRENT, CancelToken

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["AsCompleted", "ConcurrencyResult", "amap", "as_completed", "map_", "run_with_concurrency"]

EXECUTOR_NAMES = ("async", "thread")
"""What a callable may run on; commands choose `shell` by what they are."""


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


def executor_for(function: Any, executor: str | None = None) -> str:
    """Where a callable runs: on the loop if it is a coroutine function (partials and `__call__` unwrapped), else in a thread.

    Raises:
        UsageError: for what cannot be called, an unknown executor, or a coroutine function that is to run in a thread.
    """
    if not callable(function):
        raise UsageError(f"{function!r} is not callable: give a function, a coroutine function or a callable object")
    bare = function
    while isinstance(bare, partial):
        bare = bare.func
    is_coroutine = inspect.iscoroutinefunction(bare) or (
        not inspect.isfunction(bare)
        and not isinstance(bare, type)
        and inspect.iscoroutinefunction(getattr(bare, "__call__", None))  # noqa: B004
    )
    if executor is None:
        return "async" if is_coroutine else "thread"
    if executor not in EXECUTOR_NAMES:
        raise UsageError(f"unknown executor {executor!r}; there are {', '.join(EXECUTOR_NAMES)}")
    if executor == "thread" and is_coroutine:
        raise UsageError(f"{name_of(function)} is a coroutine function: it runs on executor 'async'")
    return executor


def name_of(function: Any) -> str:
    """A callable's name, for keys: of the function below partials, else of the object's class."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


class _Flat(Work):
    """The same call for every item."""

    def __init__(self, function: Callable[..., Any], items: Sequence[Any], executor: str) -> None:
        self._function = function
        self._items = items
        self._executor = executor

    def call(self, place: int, table: Table, first: int) -> Call:
        return self._executor, self._function, (self._items[place],), None


class _Bodies(Work):
    """A different body for every place, each given the child signal of its attempt."""

    def __init__(self, bodies: Sequence[Callable[..., Any]], is_failed: Callable[[Any], object] | None) -> None:
        self._bodies = bodies
        self._executors = [executor_for(body) for body in bodies]
        self._is_failed = is_failed
        self.checks = is_failed is not None

    def call(self, place: int, table: Table, first: int) -> Call:
        body = self._bodies[place]
        return self._executors[place], partial(_with_signal, body), (), None

    def check(self, place: int, value: Any) -> Growth | None:
        assert self._is_failed is not None
        if self._is_failed(value):
            raise JudgedFailed(value)
        return None


def _with_signal(body: Callable[[CancelToken], Any]) -> Any:
    return body(CURRENT.get().signal)


class ConcurrencyResult(Generic[T]):
    """What `run_with_concurrency` came to."""

    def __init__(self, outcomes: Sequence[Outcome], aborted: bool, trigger_index: int | None) -> None:
        self.outcomes = outcomes
        """One per task, in input order, also for tasks that never started."""
        self.aborted = aborted
        """True only when the caller's own signal fired before all tasks were final."""
        self.trigger_index = trigger_index
        """The task that failed first in time; None if none did."""

    @property
    def results(self) -> list[T]:
        """The values of bodies that returned, also of those judged failed, in input order; may be shorter than the input."""
        return [
            each.value
            for each in self.outcomes
            if each.status is Status.SUCCEEDED or isinstance(each.error, JudgedFailed)
        ]

    @property
    def first_failure_index(self) -> int | None:
        """The lowest index that failed by itself, victims apart; None if none did."""
        failed = (Status.FAILED, Status.TIMED_OUT)
        return next((at for at, each in enumerate(self.outcomes) if each.status in failed), None)

    def __repr__(self) -> str:
        return f"<ConcurrencyResult: {len(self.results)} results of {len(self.outcomes)} tasks, aborted={self.aborted}>"


async def run_with_concurrency(
    tasks: Iterable[Callable[[CancelToken], Awaitable[T] | T]],
    max_concurrency: int | None = 3,
    signal: CancelToken | None = None,
    is_failed: Callable[[T], object] | None = None,
    *,
    grace: float | str = 5.0,
) -> ConcurrencyResult[T]:
    """Runs each of `tasks`, at most `max_concurrency` at once (None: no limit), and stops at the first failure.

    Each body is called with a child signal. The first that raises, or whose value `is_failed` judges failed (or on which
    `is_failed` itself raises), has the signal fired in every other running body, coroutines cancelled, and nothing new
    started. `signal` is the caller's: when it fires, all are stopped; it is never fired here. A body that does not stop
    delays the return by `grace` seconds at most and is reported with `enforced=False`.

    Returns outcomes in input order; no task's exception escapes.

    Raises:
        LimitError: for a limit that is not a whole number of at least 1, also with no tasks.
        UsageError: for a task that cannot be called; nothing has run then.
    """
    rules = Rules.of(max_concurrency=max_concurrency, on_failure=OnFailure.FAIL_FAST, grace=grace)
    if is_failed is not None and (not callable(is_failed) or executor_for(is_failed) == "async"):
        raise UsageError(f"is_failed must be a plain function of a value, not {is_failed!r}")
    if signal is not None and not isinstance(signal, CancelToken):
        raise UsageError(f"signal must be a plait.CancelToken, not {signal!r}")
    bodies = listed("tasks", tasks)
    work = _Bodies(bodies, is_failed)
    batch = Batch(len(bodies), calls=work, keys=Numbered("task", len(bodies)), policy=policy(PLAIN, grace=grace))  # type: ignore[arg-type]
    driver = Driver(batch, rules, name="run_with_concurrency")
    aborted: list[bool] = []

    def abort() -> None:
        if not driver.done.done():
            aborted.append(True)
            driver.cancel()

    def fired() -> None:
        if running_loop() is driver.loop:
            abort()  # at once: a body on this very loop fired it
            return
        try:
            driver.loop.call_soon_threadsafe(abort)
        except RuntimeError:
            pass  # the loop is closed: the run is over

    if signal is not None and not signal.listen(fired):
        return ConcurrencyResult(_never_started(driver), True, None)
    try:
        result = await finish(driver)
    finally:
        if signal is not None:
            signal.unlisten(fired)
    first = driver.scheduler.first_cause
    return ConcurrencyResult(
        Outcomes(result.table, range(len(bodies)), result.wall_offset), bool(aborted), None if first == NONE else first
    )


def _never_started(driver: Driver) -> Sequence[Outcome]:
    """The outcomes of a run that was over before it began."""
    table = Table()
    rows = table.add(driver._batch, NONE, 0)
    table.sweep(driver.now)
    return Outcomes(table, rows, driver.wall_offset)


def listed(name: str, items: Any) -> list[Any]:
    """The items of an iterable.

    Raises:
        UsageError: for what is none, by name; what iterating it raises passes through.
    """
    if isinstance(items, AsyncIterable):
        raise UsageError(f"{name} are async: read them through plait.as_completed")
    if not isinstance(items, Iterable):
        raise UsageError(f"{name} must be iterable, not {items!r}")
    return list(items)


def _flat_driver(
    function: Callable[..., Any],
    items: Sequence[Any],
    executor: str | None,
    max_concurrency: Any,
    options: dict[str, Any],
) -> Driver:
    work = _Flat(function, items, executor_for(function, executor))
    deadline = options.pop("deadline", None)
    rules = Rules.of(
        max_concurrency=slots(max_concurrency),
        on_failure=options.pop("on_failure", OnFailure.FAIL_FAST),
        deadline=deadline,
        grace=options.get("grace", 5.0),
    )
    name = name_of(function)
    batch = Batch(len(items), calls=work, keys=Numbered(name, len(items)), policy=policy(PLAIN, **options))  # type: ignore[arg-type]
    return Driver(batch, rules, name=name)


@overload
async def amap(
    function: Callable[[T], Awaitable[R]],
    items: Iterable[T],
    *,
    max_concurrency: int | None = ...,
    executor: str | None = ...,
    **options: Any,
) -> list[R]: ...
@overload
async def amap(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    max_concurrency: int | None = ...,
    executor: str | None = ...,
    **options: Any,
) -> list[R]: ...
async def amap(
    function: Callable[[T], Any],
    items: Iterable[T],
    *,
    max_concurrency: int | None = DEFAULT,
    executor: str | None = None,
    **options: Any,
) -> list[Any]:
    """The values of `function(item)` in the order of `items`, at most `max_concurrency` at once (None: no limit).

    Coroutine functions run on this loop, others in threads. `options` are those of a task (`retries=2`, `timeout=30`,
    `priority`, `grace`, ...); `deadline`, in seconds, is that of the whole call. With `on_failure="continue"` or
    `"finish"` the others go on after a failure; it is raised in the end all the same.

    Raises:
        BaseException: the first failure in time, the function's own exception with notes; the rest was cancelled.
        RunFailed: where no task's exception is the cause (the deadline passed, abandoned attempts hold every slot).
        LimitError, UsageError: for options that cannot be, before anything runs.
    """
    driver = _flat_driver(function, listed("items", items), executor, max_concurrency, options)
    result = await finish(driver)
    raise_for(result)
    return values_of(result.table, range(len(result)))


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


def values_of(table: Table, rows: range) -> list[Any]:
    """The values of `rows`, in order; None for a failure that was allowed."""
    return table.values[rows.start : rows.stop]


@overload
def map_(
    function: Callable[[T], Awaitable[R]],
    items: Iterable[T],
    *,
    max_concurrency: int | None = ...,
    executor: str | None = ...,
    **options: Any,
) -> list[R]: ...
@overload
def map_(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    max_concurrency: int | None = ...,
    executor: str | None = ...,
    **options: Any,
) -> list[R]: ...
def map_(
    function: Callable[[T], Any],
    items: Iterable[T],
    *,
    max_concurrency: int | None = DEFAULT,
    executor: str | None = None,
    **options: Any,
) -> list[Any]:
    """`amap`, blocking: from a script, a thread, or beside a running loop (Jupyter).

    Raises:
        UsageError: inside a coroutine that plait runs; and everything that `amap` raises.
        KeyboardInterrupt: after Ctrl-C, once running tasks were stopped (a second one raises at once).
    """
    refuse_inside("plait.map_", "plait.amap(...)")
    return blocking(partial(amap, function, items, max_concurrency=max_concurrency, executor=executor, **options))


class _Streamed(Work):
    """The items of a stream, by row: put there when the row is fed."""

    def __init__(self, function: Callable[..., Any], executor: str) -> None:
        self._function = function
        self._executor = executor
        self.items: dict[int, Any] = {}

    def call(self, place: int, table: Table, first: int) -> Call:
        return self._executor, self._function, (self.items[first + place],), None

    def children(self, place: int, table: Table, first: int) -> Growth:
        """The rows of the stream's one control task: none yet."""
        return Growth(Batch(0, calls=self, keys=()), lambda table, rows: None, vacant=True)  # type: ignore[arg-type]


class _StreamKeys(Sequence[str]):
    """The keys of a stream's rows: the number of the item that a row holds now."""

    def __init__(self, size: int) -> None:
        self.numbers = [0] * size

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, at: Any) -> Any:
        return f"[{self.numbers[at]}]"


class AsCompleted:
    """Outcomes in the order in which tasks end. Leaving its `async with` block cancels the rest."""

    def __init__(
        self,
        function: Callable[..., Any],
        items: Iterable[Any] | AsyncIterable[Any],
        max_concurrency: int | None,
        executor: str | None,
        options: dict[str, Any],
    ) -> None:
        self._slots = max_concurrency
        # Running, plus finished and not yet taken: nothing more is read from `items` meanwhile.
        self._window = 2 * max_concurrency if max_concurrency is not None else UNLIMITED_WINDOW
        self._name = name_of(function)
        self._rules = Rules.of(
            max_concurrency=max_concurrency,
            on_failure=options.pop("on_failure", OnFailure.CONTINUE),
            deadline=options.pop("deadline", None),
            grace=options.get("grace", 5.0),
        )
        self._policy: Policy = policy(PLAIN, **options)
        self._work = _Streamed(function, executor_for(function, executor))
        self._rows = 0
        self._async_items: AsyncIterator[Any] | None = None
        self._items: Iterator[Any] | None = None
        if isinstance(items, AsyncIterable):
            self._async_items = aiter(items)
        else:
            self._items = iter(items)
        self._driver: Driver | None = None
        self._ready: deque[Outcome] = deque()
        self._bell = asyncio.Event()
        self._room = asyncio.Event()
        self._feeder: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._fed = 0
        self._over = False
        self._source_error: BaseException | None = None

    def _start(self) -> Driver:
        source = Batch(1, calls=self._work, keys=[self._name], controls=(0,))  # type: ignore[arg-type]
        driver = self._driver = Driver(
            source, self._rules, name=self._name, on_settled=self._settled, on_vacated=self._vacated
        )
        driver.start()
        driver.done.add_done_callback(self._end)
        if self._async_items is not None:
            self._feeder = asyncio.ensure_future(self._feed_async(self._async_items))
        else:
            self._feed()
        return driver

    def _room_for_one(self) -> bool:
        """May one more item be read? Grows rows as they are needed, up to the window."""
        driver = self._driver
        assert driver is not None
        if self._over or self._in_flight + len(self._ready) >= self._window:
            return False
        if driver.table.vacancies == 0 and self._rows < self._window:
            size = min(self._window - self._rows, max(16, self._rows))
            self._rows += size
            driver.grow_stream(0, Batch(size, calls=self._work, keys=_StreamKeys(size), policy=self._policy))  # type: ignore[arg-type]
        return driver.table.vacancies > 0

    def _put(self, item: Any) -> None:
        """Gives one item a row; lets go of it if the run has ended meanwhile."""
        driver = self._driver
        assert driver is not None
        row = driver.feed(0)
        if row == NONE:
            return
        self._work.items[row] = item
        batch, place = driver.table.batch_of(row)
        batch.keys.numbers[place] = self._fed  # type: ignore[attr-defined]
        self._fed += 1
        self._in_flight += 1
        driver.more()

    def _feed(self) -> None:
        """Reads items while there is room for them."""
        driver = self._driver
        assert driver is not None
        while self._items is not None and self._room_for_one():
            try:
                item = next(self._items)
            except StopIteration:
                self._items = None
                driver.close_stream(0)
            except BaseException as error:
                self._items = None
                self._fail(error)
            else:
                self._put(item)

    async def _feed_async(self, items: AsyncIterator[Any]) -> None:
        driver = self._driver
        assert driver is not None
        try:
            while not self._over:
                while not self._room_for_one() and not self._over:
                    self._room.clear()
                    await self._room.wait()
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    driver.close_stream(0)
                    return
                self._put(item)
        except BaseException as error:
            if not self._over:  # else it is the end of the run that cancels this
                self._fail(error)

    def _vacated(self) -> None:
        """An abandoned attempt ended after all: its row is free."""
        self._room.set()
        self._feed()

    def _fail(self, error: BaseException) -> None:
        """The source of items raised: what is under way is delivered first, then this is raised."""
        assert self._driver is not None
        self._source_error = error
        self._driver.close_stream(0)

    def _settled(self, task: int) -> None:
        driver = self._driver
        assert driver is not None
        self._ready.append(outcome(driver.table, task, driver.wall_offset))
        driver.scheduler.forgot(task)
        self._work.items.pop(task, None)
        self._in_flight -= 1
        self._bell.set()

    def _end(self, done: asyncio.Future[RunResult]) -> None:
        self._over = True
        self._bell.set()
        self._room.set()
        if self._feeder is not None:
            self._feeder.cancel()

    async def __aenter__(self) -> AsCompleted:
        if self._driver is not None:
            raise UsageError("this as_completed is in use already: make another one")
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancels what is under way and waits for its end, `grace` at most."""
        driver = self._driver
        if driver is None:
            return
        driver.cancel()
        try:
            await asyncio.shield(driver.done)
        finally:
            if self._async_items is not None and hasattr(self._async_items, "aclose"):
                if self._feeder is not None:
                    self._feeder.cancel()
                    await asyncio.wait([self._feeder])
                await self._async_items.aclose()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Outcome]:
        own = self._driver is None
        if own:
            self._start()
        try:
            while True:
                if self._ready:
                    yield self._ready.popleft()
                    if self._items is not None:
                        self._feed()
                    self._room.set()
                elif self._over:
                    break
                else:
                    self._bell.clear()
                    await self._bell.wait()
            if self._source_error is not None:
                raise self._source_error
            result = self._driver.done.result() if self._driver is not None and self._driver.done.done() else None
            if result is not None and result.halt_reason in ("deadline", "stuck"):
                raise RunFailed(f"run {result.run_id} failed: {result.reason}", result)
        finally:
            if own:
                await self.aclose()


UNLIMITED_WINDOW = 1000
"""Tasks in flight where `as_completed` is given no limit: even then an endless source is not read without end."""


def as_completed(
    function: Callable[[T], Any],
    items: Iterable[T] | AsyncIterable[T],
    *,
    max_concurrency: int | None = DEFAULT,
    executor: str | None = None,
    **options: Any,
) -> AsCompleted:
    """Outcomes of `function(item)` as they end: `async with ... as done: async for outcome in done`, or plain `async for`.

    `items` may be endless, and async. At most `max_concurrency` calls run at once; items are read only while fewer than
    twice that many are running or ended and not yet taken, and what was taken is forgotten: memory is bounded. Failures
    are outcomes; `options` are those of a task. Leaving the block cancels the rest. An exception of `items` itself is
    raised after what was under way.

    Raises:
        LimitError, UsageError: for options that cannot be, before anything runs.
        RunFailed: at the end, where the whole `deadline` passed, or abandoned attempts held every slot.
    """
    if not isinstance(items, (Iterable, AsyncIterable)):
        raise UsageError(f"items must be iterable, not {items!r}")
    return AsCompleted(function, items, slots(max_concurrency), executor, options)
