"""A run's dealings with others over limits that they share: what its scheduler wants is told, what is granted becomes a fact.

Who keeps the books is an `Exchange`: this process's memory for runs without a store (`Common`), or the store for all processes that
use it. The run's part of each limit is a `Share` of its scheduler.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from plait._core.commands import Ask, Forget, Return, Shut, Used
from plait._core.ledger import Ledger, News, Wish, news, trade
from plait._core.limits import Share
from plait.errors import StoreError
from plait.executors.base import current_attempt

if TYPE_CHECKING:
    from plait._engine.driver import Driver
    from plait.patterns.locks import Queued


class Member(Protocol):
    """One run at an exchange."""

    def trade(self, wishes: list[Wish], told: Callable[[list[News]], None]) -> None:
        """Enters wishes; `told` is called once, perhaps in another thread, with all that is new to this run."""
        ...

    def close(self) -> None:
        """The run is over: what it had is free. What it used of rates stays in their logs."""
        ...


class Exchange(Protocol):
    """Keeps the ledgers of limits that several runs share."""

    def join(
        self, poked: Callable[[], None], failed: Callable[[Exception], None], clock: Callable[[], float]
    ) -> Member:
        """One more run. Both are called in any thread: `poked` when there is news for it, to be fetched by `trade`; `failed` if the
        books can be kept no more."""
        ...


class Sharing:
    """Made and used in the loop's thread of its run."""

    def __init__(self, driver: Driver, exchange: Exchange, clock: Callable[[], float]) -> None:
        self._driver = driver
        self._loop = driver.loop
        self._wishes: list[Wish] = []
        self._used: list[Share] = []
        self._scheduled = False
        self._closed = False
        self._known: dict[str, tuple[Share, News]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._held: dict[int, Queued] = {}
        self._waiting: dict[int, Queued] = {}
        """Locks of the kernel."""
        self.under_way = 0
        """Calls whose answer is still to come."""
        self._member = exchange.join(self._poked, self._failed, clock)
        self._prompt = isinstance(exchange, Common)

    def tell(self, command: Ask | Return | Used | Shut | Forget) -> None:
        """What the scheduler wants: entered together with all else of this turn of the loop."""
        share = command.share
        if share.kind == "lock":
            self._lock(command)
            return
        if isinstance(command, Used):
            self._used.append(share)  # how much it is by then is told when all else is
            self._schedule()
            return
        path = share.path
        match command:
            case Ask(_, units, most):
                wish = Wish("ask", path, units, share.total, share.interval, share.number, most)
                known = self._known.get(path)
                if known is None or known[0] is not share:
                    self._known[path] = share, News(path, share.number, 0, False, None)
            case Return(_, units):
                wish = Wish("return", path, units, share.total, share.interval, share.number)
            case Shut(_, seconds):
                wish = Wish("shut", path, seconds, share.total, share.interval, share.number)
            case Forget():
                wish = Wish("forget", path, 0, share.total, share.interval, share.number)
                if path in self._known and self._known[path][0] is share:
                    self._forget(path)
        self._wish(wish)
        if wish.kind == "ask" and wish.units and self._prompt:
            self._ask_now()

    def _ask_now(self) -> None:
        """Enters all wishes, and makes what is granted facts: in memory that takes no time, and a turn of the loop may be long."""
        wishes, self._wishes = [*self._what_was_used(), *self._wishes], []
        if not self._closed:
            self._member.trade(wishes, self._learn)

    def _lock(self, command: Ask | Return | Used | Shut | Forget) -> None:
        """A lock of the kernel is wanted, or is not any more."""
        from plait.patterns.locks import Queued  # few runs have one

        share = command.share
        of = self._held if isinstance(command, Return) else self._waiting
        before = of.pop(share.number, None)
        if before is not None:
            before.give_up()
        if not isinstance(command, Ask) or not command.units or self._closed:
            return
        mine: list[Queued] = []

        def granted() -> bool:
            try:
                self._loop.call_soon_threadsafe(self._has_lock, share, mine)
            except RuntimeError:
                return False  # the loop was closed under its run
            return True

        def is_here() -> bool:
            attempt = current_attempt()
            if attempt is None or attempt.sink is not self._driver:
                return False
            return (share.name, share.home) in self._driver.scheduler.table.policies[attempt.task].lock

        try:
            mine.append(Queued(share.name, share.home, granted, self._loop.is_closed, is_here))
        except Exception as error:
            self._failed(error)
            return
        self._waiting[share.number] = mine[0]

    def _has_lock(self, share: Share, mine: list[Queued]) -> None:
        (lock,) = mine
        if self._closed or self._waiting.get(share.number) is not lock:
            return  # it was given up meanwhile
        if lock.error is not None:
            self._failed(StoreError(f"lock {share.name!r} cannot be locked: {lock.error.strerror}"))
            return
        self._held[share.number] = self._waiting.pop(share.number)
        driver = self._driver
        driver.scheduler.leased(share.number, 1, True, driver.look(), None, False)
        driver.follow()

    def _forget(self, path: str) -> None:
        del self._known[path]
        timer = self._timers.pop(path, None)
        if timer is not None:
            timer.cancel()

    def _wish(self, wish: Wish) -> None:
        self._wishes.append(wish)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.under_way += 1
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        wishes, self._wishes = [*self._what_was_used(), *self._wishes], []
        if self._closed:
            self.under_way -= 1
        else:
            self._member.trade(wishes, self._told)

    def _what_was_used(self) -> list[Wish]:
        """What starts have used up of rates, and nobody was told yet."""
        used, self._used = self._used, []
        wishes = [Wish("used", each.path, each.gone, each.total, each.interval, each.number) for each in used]
        for each in used:
            each.gone = 0
        return wishes

    def _told(self, found: list[News]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, found)
        except RuntimeError:
            pass  # the loop was closed under its run

    def _poked(self) -> None:
        self._loop.call_soon_threadsafe(self._look)

    def _failed(self, error: Exception) -> None:
        try:
            self._loop.call_soon_threadsafe(self._driver.cannot_share, error)
        except RuntimeError:
            pass

    def _look(self) -> None:
        if not self._closed and not self._scheduled:
            self._scheduled = True
            self.under_way += 1
            self._flush()

    def _deliver(self, found: list[News]) -> None:
        """News become facts, where the scheduler does not know them yet."""
        self.under_way -= 1
        if not self._closed:
            self._learn(found)
            self._driver.follow()

    def _learn(self, found: list[News]) -> None:
        driver = self._driver
        for each in found:
            known = self._known.get(each.path)
            if known is None or known[0].number != each.number:
                continue  # nobody wants it any more, and that it is given back was said
            share, before = known
            self._known[each.path] = share, each
            self._await(each)
            told = (each.wanted, each.opens_in is None, each.shut) != (
                before.wanted,
                before.opens_in is None,
                before.shut,
            )
            if each.units or told:
                now = driver.look()
                opens_at = None if each.opens_in is None else now + each.opens_in
                driver.scheduler.leased(share.number, each.units, each.wanted, now, opens_at, each.shut)

    def _await(self, each: News) -> None:
        """Has the exchange look again once time alone may have changed something."""
        timer = self._timers.pop(each.path, None)
        if timer is not None:
            timer.cancel()
        if each.opens_in is not None:
            self._timers[each.path] = self._loop.call_later(each.opens_in, self._look_at, each.path)

    def _look_at(self, path: str) -> None:
        self._timers.pop(path, None)
        if path in self._known and not self._closed:
            share = self._known[path][0]
            self._wish(Wish("look", path, 0, share.total, share.interval, share.number))

    def close(self) -> None:
        """The run is over."""
        if self._closed:
            return
        self._closed = True
        for lock in (*self._held.values(), *self._waiting.values()):
            lock.give_up()
        for timer in self._timers.values():
            timer.cancel()
        wishes = [*self._what_was_used(), *self._wishes]
        for path, (share, _) in self._known.items():
            if share.is_rate:  # what is in hand was not used: only what a run cannot say any more counts as that
                idle = share.capacity - share.used
                wishes.append(Wish("return", path, idle, share.total, share.interval, share.number))
        if wishes:
            self._member.trade(wishes, lambda found: None)
        self._member.close()


class Common:
    """An exchange in memory, of the runs of this process on one clock."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._ledgers: dict[str, Ledger] = {}
        self._members: dict[int, _Present] = {}
        self._numbers = count(1)

    def join(
        self, poked: Callable[[], None], failed: Callable[[Exception], None], clock: Callable[[], float]
    ) -> Member:
        """One more run."""
        with self._guard:
            number = next(self._numbers)
            member = self._members[number] = _Present(self, number, poked, clock)
        return member

    def trade(self, member: _Present, wishes: list[Wish]) -> list[News]:
        """Enters wishes of one run, and tells it what is new to it."""
        now = member.clock()
        with self._guard:
            pokes = self._enter(member, wishes, now)
            paths = {wish.path for wish in wishes} | member.changed
            member.changed = set()
            found = [
                news(self._ledgers[path], path, member.numbers[path], member.number, now)
                for path in paths
                if path in self._ledgers and path in member.numbers
            ]
            self._drop_empty(paths, now)
        self._poke(pokes)
        return found

    def leave(self, member: _Present) -> None:
        """A run is over."""
        now = member.clock()
        with self._guard:
            if self._members.pop(member.number, None) is None:
                return
            paths = list(member.numbers)
            wishes = [Wish("forget", path, 0, 0, member.intervals.get(path, 0.0)) for path in paths]
            pokes = self._enter(member, wishes, now)
            self._drop_empty(paths, now)
        self._poke(pokes)

    def _enter(self, member: _Present, wishes: list[Wish], now: float) -> list[_Present]:
        """Enters wishes; who has news by them. Under the guard."""
        woken = trade(self._ledgers, member.number, wishes, now, self._members.__contains__)
        for wish in wishes:
            member.enter(wish)
        found: dict[int, _Present] = {}
        for other, path in woken:
            if other in self._members:
                found[other] = self._members[other]
                found[other].changed.add(path)
        return list(found.values())

    def _drop_empty(self, paths: Iterable[str], now: float) -> None:
        for path in paths:
            ledger = self._ledgers.get(path)
            if ledger is not None and not ledger.taken(now) and ledger.empty:
                del self._ledgers[path]

    def _poke(self, members: list[_Present]) -> None:
        for member in members:
            try:
                member.poked()
            except RuntimeError:  # its loop was closed under its run: that has nothing any more
                self.leave(member)


class _Present:
    """A run at the exchange of its process."""

    def __init__(self, common: Common, number: int, poked: Callable[[], None], clock: Callable[[], float]) -> None:
        self._common = common
        self.number = number
        self.poked = poked
        self.clock = clock
        self.changed: set[str] = set()
        """Of what there is news for it."""
        self.numbers: dict[str, int] = {}
        """By what number it knows what it has to do with."""
        self.intervals: dict[str, float] = {}

    def enter(self, wish: Wish) -> None:
        """Keeps in mind what it has to do with."""
        if wish.kind == "forget":
            self.numbers.pop(wish.path, None)
        else:
            self.numbers[wish.path] = wish.number
            if wish.interval:
                self.intervals[wish.path] = wish.interval

    def trade(self, wishes: list[Wish], told: Callable[[list[News]], None]) -> None:
        told(self._common.trade(self, wishes))

    def close(self) -> None:
        self._common.leave(self)


_common = Common()


def common(loop: asyncio.AbstractEventLoop) -> Common:
    """The exchange of this process; of its clock, where a loop has one of its own."""
    own: Common | None = getattr(loop, "plait_common", None)
    return own or _common


_of_stores: WeakKeyDictionary[Any, Common] = WeakKeyDictionary()


def common_of(store: Any) -> Common:
    """The exchange of the runs of a store that has none of its own: one that is this process's alone."""
    return _of_stores.setdefault(store, Common())


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The clock that all runs on loops of this kind share."""
    return getattr(loop, "plait_clock", time.monotonic)


def _in_child() -> None:
    """The runs of a parent are none of a forked child's."""
    global _common
    _common = Common()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
