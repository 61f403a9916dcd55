"""Outcomes as they end, of a source that may be endless: `as_completed`. One control task, whose rows are used again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from plait._core.graph import Batch, Numbered
from plait._core.limits import check_uses, owned
from plait._core.outcome import Outcome, outcome
from plait._core.policy import PLAIN, OnFailure, Policy, Rules, policy
from plait._core.result import RunResult
from plait._core.table import NONE, Table
from plait._engine.doors import DEFAULT, slots
from plait._engine.driver import Driver
from plait._engine.files import check_files
from plait._engine.reading import readers_of, show
from plait._engine.work import Call, Growth, Wanted, Work
from plait.concurrency import refuse_of_groups
from plait.errors import RunFailed, UsageError
from plait.executors.base import Wanting, check_memory, executor_for, name_of, wanting

T = TypeVar("T")

__all__ = ["AsCompleted", "as_completed"]


class _Streamed(Work):
    """The items of a stream, by row: put there when the row is fed."""

    def __init__(self, function: Callable[..., Any], executor: str, wants: Wanting | None) -> None:
        self._function = function
        self._executor = executor
        self.wanting = wants
        self.items: dict[int, Any] = {}

    def call(self, place: int, table: Table, first: int) -> Call:
        return self._executor, self._function, (self.items[first + place],), None

    def decide(self, place: int, table: Table, first: int) -> bool:
        return True

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        return None if self.wanting is None else self.wanting.of((self.items[first + place],), None)

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
            max_tasks_per_worker=options.pop("max_tasks_per_worker", None),
            budget=options.pop("budget", None),
            health=options.pop("health", None),
        )
        refuse_of_groups(options)
        self._readers = readers_of(options.pop("readers", ()))
        wants = wanting(options)
        self._policy: Policy = owned(policy(PLAIN, **options), self._name)
        check_uses((self._policy,), {})
        if self._rules.health:
            from plait._core.health import check_monitored  # few runs are watched

            check_monitored(self._rules.health, (), (self._policy,))
        executor = executor_for(function, executor)
        check_memory(self._policy, executor)
        self._work = _Streamed(function, executor, wants)
        pair = Batch(2, calls=self._work, keys=Numbered(self._name, 2), policy=self._policy)  # type: ignore[arg-type]
        check_files(pair, self._rules.on_conflict)  # each of the items may run beside another one
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
        show(driver, self._readers)
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
        # Without a limit, rows that abandoned attempts hold must not use up the window.
        if driver.table.vacancies == 0 and (self._rows < self._window or self._slots is None):
            size = min(max(16, self._window - self._rows), max(16, self._rows))
            self._rows += size
            conditional = range(size) if self._work.wanting is not None else ()
            batch = Batch(
                size,
                calls=self._work,  # type: ignore[arg-type]
                keys=_StreamKeys(size),
                policy=self._policy,
                conditional=conditional,
            )
            driver.grow_stream(0, batch)
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
        self._ready.append(outcome(driver.table, task, driver.unix))
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
            if result is not None and result.halt_reason in ("deadline", "stuck", "budget"):
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
