"""Admission: what a task takes beside its slot, where it waits for that, and what wakes it.

One place for pools, keys, rates and the limits of groups. A task takes all that it needs or nothing: it is parked at the first limit
that refuses, and comes back to its place in the order when that very limit has room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

from plait._core.graph import Batch
from plait._core.limits import NOTHING, Asks, Book, Limit, Place, RateLimit, Waiter, Wants
from plait._core.policy import LIMITED
from plait._core.ready import ReadyQueue
from plait._core.states import READY
from plait._core.table import Table
from plait._core.timers import Due, Timers


class Admission:
    """Who may start of those that are next in order. `watch` is called where only abandoned attempts may stand in the way."""

    __slots__ = (
        "_groups",
        "_keyed",
        "_watch",
        "answered",
        "asks",
        "book",
        "claims",
        "parked",
        "parkings",
        "queue",
        "table",
        "timers",
        "unseen",
    )

    def __init__(
        self, table: Table, timers: Timers, pools: Iterable[tuple[str, int]], watch: Callable[[float], None]
    ) -> None:
        self.table = table
        self.timers = timers
        self._watch = watch
        self.queue = ReadyQueue()
        self.book = Book(pools)
        self.asks: list[Asks] = []
        """Of every task, once there is one that takes more than a slot."""
        self.parked: dict[int, Waiter] = {}
        """At which limit a task waits."""
        self.claims: dict[int, list[Limit]] = {}
        """Where a parked task keeps what it was woken for."""
        self.unseen: set[int] = set()
        """Running under a rate, and not yet known to have begun."""
        self.answered: set[int] = set()
        """Ready to go on after an answer."""
        self.parkings = 0
        """How often a task was parked: a `take` that gave nothing changed something, where this did."""
        self._groups: dict[int, tuple[Limit, ...]] = {}  # limits around the tasks of a batch, by its first row
        self._keyed: set[int] = set()  # not final, with a key that was worked out

    # -- what tasks ask for

    def limits_within(self, parent: int) -> tuple[Limit, ...]:
        """What counts the leaf work of the children of `parent`: its own limit and those of every group around it."""
        around = self._groups.get(self.table.first_row(parent), ())
        capacity = self.table.policies[parent].max_concurrency
        return around if capacity is None else (*around, Limit("group", self.table.key(parent), capacity))

    def add(self, rows: range, batch: Batch, limits: tuple[Limit, ...], metered: bool) -> None:
        """What new tasks take beside their slots: of the limits of the groups around them, and what their policies name.

        `metered`: the seconds of their code count for a budget, too.
        """
        if limits and rows:
            self._groups[rows.start] = limits
        around = tuple((limit, 1) for limit in limits)
        made = {number: self.book.asks(each) for number, each in batch.kinds.items()}
        if around:
            made = {number: (around + held, used) for number, (held, used) in made.items()}
        column = self.asks
        if not metered and all(each == NOTHING for each in made.values()):
            if column:
                column.extend([NOTHING] * len(rows))
            return
        column.extend([NOTHING] * (rows.start - len(column)))
        if batch.policies is None:
            column.extend(list(made.values()) * len(rows))
        else:
            column.extend(map(made.__getitem__, map(id, batch.policies)))

    def set_wants(self, task: int, wants: Wants) -> None:
        """Gives a task limits of its own."""
        table, column = self.table, self.asks
        column.extend([NOTHING] * (table.size - len(column)))
        held, used = self.book.asks(table.policies[task])
        around = tuple((limit, 1) for limit in self._groups.get(table.first_row(task), ()))
        column[task] = self.book.own((around + held, used), wants)
        if column[task] != NOTHING:
            table.odd[task] |= LIMITED
        if wants[0] is not None:
            self._keyed.add(task)

    # -- who starts

    def admit(self, task: int, now: float) -> bool:
        """Takes every limit of `task`; where one refuses, parks the task there and takes none."""
        limits, rates = self.asks[task]
        for limit, weight in limits:
            if limit.crowd or limit.used + weight > limit.capacity:
                return self._admit_slowly(task, now)
        for rate, cost in rates:
            if now >= rate.due:
                rate.roll(now)
            if rate.crowd or rate.used + cost > rate.capacity:
                return self._admit_slowly(task, now)
        if task in self.answered:
            return self._admit_slowly(task, now)
        self._enter_all(task)
        return True

    def _admit_slowly(self, task: int, now: float) -> bool:
        """`admit`, where others wait for the same, or for a task that goes on: its call was counted by the rates when it began."""
        limits, rates = self.asks[task]
        place = self.queue.place_of(task)
        asked: tuple[tuple[Limit, int], ...] = limits if task in self.answered else (*limits, *rates)
        for limit, weight in asked:
            if now >= limit.due:
                limit.roll(now)
            if not limit.fits(weight, place) or (limit.crowd and self._stands_behind(place, limit)):
                self._park(task, place, limit, weight, now)
                return False
        self._enter_all(task)
        if task in self.claims:
            self.drop_claims(task, now)
        return True

    def _enter_all(self, task: int) -> None:
        limits, rates = self.asks[task]
        for limit, weight in limits:
            limit.used += weight
        if rates and task not in self.answered:
            for rate, cost in rates:
                rate.used += cost
            self.unseen.add(task)

    def _stands_behind(self, place: Place, limit: Limit) -> bool:
        first = self.first_waiter(limit)
        return first is not None and first.place < place

    def _park(self, task: int, place: Place, limit: Limit, weight: int, now: float) -> None:
        """The task that was taken last from the queue waits at `limit`, and nobody behind it gets in there before."""
        waiter = Waiter(place, limit, weight, now)
        limit.park(waiter)
        self.parked[task] = waiter
        self.parkings += 1
        if limit.abandoned:
            self._watch(now)
        if limit.is_rate and self.first_waiter(limit) is waiter:
            self._await_opening(waiter)
        woken = self.queue.came_from
        if woken is None or woken.limit is limit:
            self.queue.came_from = None
            return
        if now > woken.since:
            # It had its turn there, and would lose it to those behind it again and again. What it keeps stays free for at most as
            # long as it had waited for it: a task that waits for hours elsewhere does not keep for hours what took it a second.
            woken.limit.claim(task, place, woken.weight)
            self.claims.setdefault(task, []).append(woken.limit)
            self.timers.arm(Due.CLAIM, task, now + (now - woken.since))
        self.wake_another(now)

    def drop_claims(self, task: int, now: float) -> None:
        """What a task keeps, where it keeps anything, is free again."""
        self.timers.disarm(Due.CLAIM, task)
        for limit in self.claims.pop(task, ()):
            limit.unclaim(task)
            self.wake(limit, now)

    def leave_line(self, task: int, now: float) -> None:
        """A ready task is final: those that waited behind it may find room."""
        waiter = self.parked.pop(task, None)
        if task in self.claims:
            self.drop_claims(task, now)
        if waiter is not None:
            self.wake(waiter.limit, now)

    def leave(self, task: int, now: float) -> None:
        """A task with limits is final: it waits at none any more, and nobody has its key."""
        if task in self.parked:
            self.leave_line(task, now)
        if task in self._keyed:
            self.forget_key(task)

    def forget_key(self, task: int) -> None:
        """A key that was worked out for `task` is wanted by it no more."""
        if task in self._keyed:
            self._keyed.discard(task)
            self.book.forget(self.asks[task])

    def first_waiter(self, limit: Limit) -> Waiter | None:
        """The first in order of those that still wait at `limit`."""
        while (waiter := limit.first()) is not None:
            task = waiter.place[3]
            if self.parked.get(task) is waiter and self.table.status[task] == READY:
                return waiter
            limit.drop_first()
        return None

    def wake_another(self, now: float) -> None:
        """The task taken last from the queue has had its turn: the limit that woke it may have room for the next."""
        woken = self.queue.came_from
        if woken is not None:
            self.queue.came_from = None
            self.wake(woken.limit, now)

    def wake(self, limit: Limit, now: float) -> None:
        """Sends the first task that waits at `limit` back to its place in the queue, if there is room for it."""
        waiter = self.first_waiter(limit)
        if waiter is None:
            return
        if now >= limit.due:
            limit.roll(now)
        if limit.fits(waiter.weight, waiter.place):
            limit.drop_first()
            del self.parked[waiter.place[3]]
            self.queue.come_back(waiter)
        elif limit.is_rate:
            self._await_opening(waiter)
        elif limit.abandoned:
            self._watch(now)

    def _await_opening(self, waiter: Waiter) -> None:
        """Has the first that waits at a rate woken once time alone has made room for it."""
        limit = waiter.limit
        assert isinstance(limit, RateLimit)
        at = limit.opens(waiter.weight, waiter.place)
        if at is None:
            self.timers.disarm(Due.OPENS, limit.number)  # the units of one that has not begun: that is told
        else:
            self.timers.arm(Due.OPENS, limit.number, at)

    def give_back(self, task: int, now: float, begun: bool = True) -> None:
        """Gives back what a task took of every limit; units of a rate only where its code has not `begun`."""
        limits, rates = self.asks[task]
        for limit, weight in limits:
            limit.used -= weight
            if limit.crowd:
                self.wake(limit, now)
        if rates and task in self.unseen:
            self.count_units(task, now, begun)

    def count_units(self, task: int, now: float, begun: bool = True) -> None:
        """The units of an attempt count from `now`, when its code has surely begun; if it never will, they are free again."""
        self.unseen.discard(task)
        for rate, cost in self.asks[task][1]:
            if begun:
                rate.begun(cost, now)
            else:
                rate.used -= cost
            if rate.crowd:
                self.wake(rate, now)

    def slow_down(self, task: int, seconds: float, now: float) -> None:
        """Somebody who was called says that it is to be called again in so many seconds: nobody calls it before."""
        for rate, _ in self.asks[task][1] if self.asks else ():
            rate.roll(now)
            rate.shut(now + seconds)
            self.wake(rate, now)

    # -- in the course of a run

    def opened(self, number: int, now: float) -> None:
        """Time alone has made room at the rate `number`."""
        self.wake(self.book.numbered[number], now)

    def clear(self, now: float, spared: Set[int] = frozenset()) -> None:
        """Nothing starts any more, but for `spared` tasks: nobody else waits, and nothing is kept."""
        if spared:
            for task in (self.parked.keys() | self.claims.keys()) - spared:
                self.leave_line(task, now)
            return
        self.parked.clear()
        for task in list(self.claims):
            self.drop_claims(task, now)

    def swept(self, rows: range, now: float, spared: Set[int] = frozenset()) -> None:
        """What waited of `rows` is final, but for `spared` tasks."""
        if self.parked or self.claims:
            for task in (self.parked.keys() | self.claims.keys()) & set(rows) - spared:
                self.leave_line(task, now)

    def went_on(self, away: float) -> None:
        """The clock stood still for `away` seconds of real time, in which rates went on."""
        for rate in self.book.rates.values():
            if away > 0:
                rate.went_on(away)

    def wake_rates(self, now: float) -> None:
        """Who waits at a rate may have room, or is to be woken once it does."""
        for rate in self.book.rates.values():
            self.wake(rate, now)

    def abandon(self, task: int, now: float) -> None:
        """An attempt was given up: what it took stays taken until it ends."""
        for limit, weight in self.asks[task][0]:
            limit.abandoned += weight
            if limit.crowd:
                self._watch(now)
        if task in self.unseen:
            self.count_units(task, now)

    def no_longer_abandoned(self, task: int) -> None:
        """An attempt that was given up ended after all."""
        for limit, weight in self.asks[task][0]:
            limit.abandoned -= weight

    def held_by_lost(self, lost: Iterable[int]) -> bool:
        """Does a task wait at a limit of which only the abandoned attempts of `lost` tasks hold anything?"""
        held = {limit for task in lost for limit, _ in (self.asks[task][0] if self.asks else ())}
        return any(
            limit.abandoned and limit.abandoned >= limit.used and self.first_waiter(limit) is not None for limit in held
        )
