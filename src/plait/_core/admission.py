"""Admission: what a task takes beside its slot, where it waits for that, and what wakes it.

One place for pools, keys, rates and the limits of groups. A task takes all that it needs or nothing: it is parked at the first limit
that refuses, and comes back to its place in the order when that very limit has room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import TYPE_CHECKING

from plait._core.commands import Ask, Command, Diagnosed, Forget, Return, Shut, Used
from plait._core.graph import Batch
from plait._core.limits import NOTHING, Asks, Book, Limit, Place, RateLimit, Share, Waiter, Wants
from plait._core.paths import serialises
from plait._core.policy import LIMITED, Rules
from plait._core.ready import ReadyQueue
from plait._core.states import READY
from plait._core.table import Table
from plait._core.timers import Due, Timers

if TYPE_CHECKING:
    from plait._core.health import Health, Monitors
CLAIM_S = 1.0
"""For so long, at least, a task keeps what was granted to it of a shared limit until it has a slot, too."""


AHEAD = 100
"""This part of a rate's units, 1%, a run may have ahead of need, where nobody else wants them: so much of them is lost for an interval
when its process is killed."""


ROUNDING_S = 1e-6
"""What the clock of a run and that of those who grant may differ by in the last digits."""


class Admission:
    """Who may start of those that are next in order.

    `watch` is called where only abandoned attempts may stand in the way, `tell` with what is wanted of limits that are shared; `free` says
    how many slots nobody has.
    """

    __slots__ = (
        "_free",
        "_groups",
        "_keyed",
        "_on_conflict",
        "_tell",
        "_watch",
        "answered",
        "around",
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
        self,
        table: Table,
        timers: Timers,
        rules: Rules,
        watch: Callable[[float], None],
        tell: Callable[[Command], None],
        free: Callable[[], int],
    ) -> None:
        self.table = table
        self.timers = timers
        self._watch = watch
        self._tell = tell
        self._free = free
        self.queue = ReadyQueue()
        self.book = Book(rules.pools, rules.sharing)
        self.around: tuple[Limit, ...] = ()
        """What counts all leaf work of the run beside its slots: its health."""
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
        self._keyed: dict[int, tuple[tuple[Limit, int], ...]] = {}
        """What was worked out for tasks that are not final: their keys and paths."""
        self._on_conflict = rules.on_conflict

    def watch_over(self, monitors: Monitors) -> None:
        """The health of the run, and of pools."""
        from plait._core.health import Health  # few runs are watched

        for pool, monitor in monitors:
            health = Health(pool, monitor, len(self.book.healths))
            self.book.healths.append(health)
            self.book.watched[pool] = health
            if pool is None:
                self.around = (health,)

    # -- what tasks ask for

    def limits_within(self, parent: int) -> tuple[Limit, ...]:
        """What counts the leaf work of the children of `parent`: its own limit and those of every group around it."""
        around = self._groups.get(self.table.first_row(parent), ())
        capacity = self.table.policies[parent].max_concurrency
        return around if capacity is None else (*around, Limit("group", self.table.key(parent), capacity))

    def add(
        self, rows: range, batch: Batch, limits: tuple[Limit, ...], metered: bool, *, cleaning: bool = False
    ) -> None:
        """What new tasks take beside their slots: of the limits of the groups around them, and what their policies name.

        `metered`: the seconds of their code count for a budget, too. `cleaning`: a cleanup grew them.
        """
        if limits and rows:
            self._groups[rows.start] = limits
        self._add_held(rows, batch, limits, metered)
        if self.book.healths:
            for task in rows if cleaning else (rows.start + place for place in batch.cleanups):
                self._let_pass(task)
        for place in batch.files:
            self._add_files(rows.start + place)

    def _let_pass(self, task: int) -> None:
        """What cleans up is not held back by anybody's health, which it may well be there to restore."""
        if task < len(self.asks):
            held, used = self.asks[task]
            self.asks[task] = tuple(each for each in held if not each[0].is_health), used

    def _add_files(self, task: int) -> None:
        """What a task reads and writes it takes as it takes a pool, where it waits for those that it conflicts with."""
        table, column = self.table, self.asks
        files = table.files.get(task)
        if files is None or not serialises(table.policies[task], self._on_conflict):
            return
        column.extend([NOTHING] * (table.size - len(column)))
        column[task] = self.book.files(column[task], files)
        table.odd[task] |= LIMITED

    def _add_held(self, rows: range, batch: Batch, limits: tuple[Limit, ...], metered: bool) -> None:
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
        watched = any(True for _ in self._healths_of(task))
        held, used = self.book.asks(table.policies[task])
        around = tuple((limit, 1) for limit in self._groups.get(table.first_row(task), ()))
        column[task] = self.book.own((around + held, used), wants)
        if not watched:
            self._let_pass(task)
        if column[task] != NOTHING:
            table.odd[task] |= LIMITED
        if wants[3] is not None:
            table.file(task, wants[3])
        self._add_files(task)
        own = column[task][0][len(around) + len(held) :]
        if own:
            self._keyed[task] = own

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
        if self.book.healths:
            for health in self._healths_of(task):
                health.enter(task)
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
        first = self.first_waiter(limit) is waiter
        if isinstance(limit, Share):
            if limit.unclaim(task) or first:  # nobody waits for a whole with a part in its hands
                self._settle(limit, now)
        elif first and limit.is_rate:
            self._await_opening(waiter)
        woken = self.queue.came_from
        if task in self.claims:
            self._let_go_of_later(task, limit, now)
        if woken is None or woken.limit is limit:
            self.queue.came_from = None
            if woken is not None and isinstance(limit, Share):
                limit.sent -= 1
                self._settle(limit, now)
            return
        if now > woken.since and (not woken.limit.shared or self._comes_before(task, woken.limit, limit)):
            # It had its turn there, and would lose it to those behind it again and again. What it keeps stays free for at most as
            # long as it had waited for it: a task that waits for hours elsewhere does not keep for hours what took it a second.
            woken.limit.claim(task, place, woken.weight)
            self.claims.setdefault(task, []).append(woken.limit)
            self.timers.arm(Due.CLAIM, task, now + (now - woken.since))
        self.wake_another(now)

    def _comes_before(self, task: int, one: Limit, other: Limit) -> bool:
        """Is `one` asked before `other`? All tasks of all runs ask in one order."""
        limits, rates = self.asks[task]
        asked = [limit for limit, _ in (*limits, *rates)]
        return asked.index(one) < asked.index(other)

    def _let_go_of_later(self, task: int, limit: Limit, now: float) -> None:
        """Who waits at `limit` keeps nothing of shares that are asked after it: else two runs could wait for each other."""
        for each in self.claims[task]:
            if each.shared and each is not limit and not self._comes_before(task, each, limit) and each.unclaim(task):
                self.wake(each, now)

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
        if task in self.parked or task in self.claims:
            self.leave_line(task, now)
        self.forget_key(task)
        if self.book.healths:
            for health in self._healths_of(task):
                health.epochs.pop(task, None)

    def forget_key(self, task: int) -> None:
        """A key that was worked out for `task` is wanted by it no more."""
        if task in self._keyed:
            for share in self.book.forget(self._keyed.pop(task)):
                self._tell(Forget(share))

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
            if isinstance(woken.limit, Share):
                woken.limit.sent -= 1
            self.wake(woken.limit, now)

    def wake(self, limit: Limit, now: float) -> None:
        """Sends the first task that waits at `limit` back to its place in the queue, if there is room for it."""
        waiter = self.first_waiter(limit)
        if isinstance(limit, Share):
            if waiter is not None and not limit.wanted and limit.fits(waiter.weight, waiter.place):
                self._send(waiter, limit, now)
            self._settle(limit, now)
            return
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
        if self.book.healths:
            for health in self._healths_of(task):
                health.leave(task)
        for limit, weight in limits:
            limit.used -= weight
            if limit.crowd or limit.wanted:
                self.wake(limit, now)
        if rates and task in self.unseen:
            self.count_units(task, now, begun)

    def count_units(self, task: int, now: float, begun: bool = True) -> None:
        """The units of an attempt count from `now`, when its code has surely begun; if it never will, they are free again."""
        self.unseen.discard(task)
        for rate, cost in self.asks[task][1]:
            if not begun:
                rate.used -= cost
            elif isinstance(rate, Share):
                if not rate.gone:
                    self._tell(Used(rate))
                rate.begun(cost)
                if not (rate.asked or rate.wanted) and rate.capacity - rate.used < rate.total // (2 * AHEAD):
                    rate.asked, rate.ahead = 1, True  # before all that is ready finds nothing, and has to be parked
                    self._tell(Ask(rate, 1, rate.total // AHEAD))
            else:
                rate.begun(cost, now)
            if rate.crowd or rate.wanted:
                self.wake(rate, now)

    def slow_down(self, task: int, seconds: float, now: float) -> None:
        """Somebody who was called says that it is to be called again in so many seconds: nobody calls it before."""
        for rate, _ in self.asks[task][1] if self.asks else ():
            if isinstance(rate, Share):
                rate.opens_at = rate.shut_until = now + seconds
                self._shut(rate)
                self._tell(Shut(rate, seconds))
            else:
                rate.roll(now)
                rate.shut(now + seconds)
            self.wake(rate, now)

    # -- limits that other runs have parts of, too

    def leased(self, share: Share, units: int, wanted: bool, opens_at: float | None, shut: bool, now: float) -> None:
        """So many units more are granted; whether other runs wait for the same; when time alone may bring more; is it `shut` until then?"""
        share.capacity += units
        if wanted and share.sent and not share.wanted:
            # Who was woken before others wanted it is to have its turn all the same.
            for (*_, task), woken in self.queue.back:
                if woken.limit is share and self.table.status[task] == READY:
                    self._keep(woken, share, now)
        share.wanted = wanted
        share.opens_at = opens_at
        if shut:
            share.shut_until = 0.0
            self._shut(share)
        elif units and now < share.shut_until - ROUNDING_S:
            self._shut(share)  # it was granted before that was said, and was on its way
        elif units:
            share.asked, share.ahead = 0, False
            sent = 0
            while (waiter := self.first_waiter(share)) is not None and share.fits(sent + waiter.weight, waiter.place):
                self._send(waiter, share, now)
                sent += 0 if share.wanted else waiter.weight  # else it is kept for the task, which `fits` knows
        self._settle(share, now)

    def _send(self, waiter: Waiter, share: Share, now: float) -> None:
        """The first that waits at `share` goes back to its place in the queue, its units kept for it where others want them."""
        task = waiter.place[3]
        share.drop_first()
        share.sent += 1
        del self.parked[task]
        self.queue.come_back(waiter)
        if share.wanted:
            self._keep(waiter, share, now)

    def _keep(self, waiter: Waiter, share: Share, now: float) -> None:
        """Units stay with a task that was woken, also where others want them: a slot may be long in coming. See `_park` for the measure."""
        task = waiter.place[3]
        share.claim(task, waiter.place, waiter.weight)
        self.claims.setdefault(task, []).append(share)
        self.timers.arm(Due.CLAIM, task, now + max(now - waiter.since, CLAIM_S))

    def _settle(self, share: Share, now: float) -> None:
        """Asks for what the first that waits needs, and returns what nobody here is to use."""
        waiter = self.first_waiter(share)
        units = 0
        if waiter is not None:
            if share.sent and not share.wanted:
                return  # those that were woken before it are to have their turn first
            if share.wanted or not share.fits(waiter.weight, waiter.place):
                units = 0 if share.sent else waiter.weight
                if share.abandoned:
                    self._watch(now)
        if share.wanted or units:
            self._return_idle(share)
        if units != share.asked:
            if share.ahead and not units and not share.wanted:
                return  # what was asked for is for those to come
            share.asked, share.ahead = units, False
            behind = min(len(share.line) + len(share.early), self._free()) - 1
            ahead = share.total // AHEAD if share.is_rate else 0
            self._tell(Ask(share, units, units + max(0, behind, ahead)))

    def _shut(self, share: Share) -> None:
        """Nobody is to start with what is in hand: it goes back."""
        share.asked, share.ahead = 0, False
        for each in list(share.claims):
            share.unclaim(each)
        self._return_idle(share)

    def _return_idle(self, share: Share) -> None:
        idle = share.idle
        if idle:
            share.capacity -= idle
            self._tell(Return(share, idle))

    # -- health

    def _healths_of(self, task: int) -> Iterable[Health]:
        """Who watches over a task that takes more than a slot."""
        return (limit for limit, _ in self.asks[task][0] if limit.is_health)  # type: ignore[misc]

    def judge(self, task: int, good: bool | None, now: float, held: bool) -> Iterable[Diagnosed]:
        """What an attempt came to, for those who watch over it; what they find out by it. It has given back its units, unless `held`."""
        for health in list(self._healths_of(task)):
            well = health.judge(task, good, held)
            if well is False:
                self.timers.arm(Due.PROBE, health.number, now + health.pause)
            if well is not None:
                errors, outcomes = health.judged
                yield Diagnosed(health.name or None, well, errors, outcomes, None if well else now + health.pause)
            self.wake(health, now)

    def probe(self, number: int, now: float) -> None:
        """The pause of an unhealthy pool or run is over."""
        health = self.book.healths[number]
        health.probe()
        self.wake(health, now)

    # -- in the course of a run

    def opened(self, number: int, now: float) -> None:
        """Time alone has made room at the rate `number`."""
        self.wake(self.book.numbered[number], now)

    def clear(self, now: float, spared: Set[int] = frozenset()) -> None:
        """Nothing starts any more, but for `spared` tasks: nobody else waits, and nothing is kept."""
        if spared:
            for task in (self.parked.keys() | self.claims.keys()) - spared:
                self.leave_line(task, now)
        else:
            self.parked.clear()
            for task in list(self.claims):
                self.drop_claims(task, now)
        for share in self.book.shares.values():
            self._settle(share, now)
            self._return_idle(share)

    def swept(self, rows: range, now: float, spared: Set[int] = frozenset()) -> None:
        """What waited of `rows` is final, but for `spared` tasks."""
        if self.parked or self.claims:
            for task in (self.parked.keys() | self.claims.keys()) & set(rows) - spared:
                self.leave_line(task, now)

    def taken_over(self, away: float, now: float) -> None:
        """Another process has the run. Rates went on while the clock stood still; what was granted to the one before is gone."""
        for rate in self.book.numbered:
            if away > 0:
                rate.went_on(away)
        for share in self.book.shares.values():
            share.capacity = share.asked = share.gone = 0
            if share.is_rate:
                share.used = 0  # whoever had it in hand is dead, and the log has it as used
            share.ahead = False
            share.wanted = True
            share.opens_at = None
        if self.book.shares:  # a stored run shares all that it counts
            self.unseen.clear()
            for task in list(self.claims):
                self.drop_claims(task, now)
        for health in self.book.healths:
            at = self.timers.at(Due.PROBE, health.number)
            if at is not None:
                self.timers.arm(Due.PROBE, health.number, at - away)

    def wake_all(self, now: float) -> None:
        """Who waits at a rate, or at a limit that is shared, may have room, or is to be woken once it does."""
        for limit in (*self.book.numbered, *self.book.shares.values()):
            self.wake(limit, now)

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
            limit.abandoned and limit.abandoned >= limit.used and self._waits_for_ever(limit)
            for limit in held
            if not limit.is_health  # time opens that
        )

    def _waits_for_ever(self, limit: Limit) -> bool:
        """Does somebody wait at `limit`, who gets nothing as long as its abandoned units stay taken?"""
        waiter = self.first_waiter(limit)
        return waiter is not None and (not limit.shared or limit.abandoned + waiter.weight > limit.most)
