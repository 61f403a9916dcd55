"""Limits other than the run's own: objects that are asked, taken and given back, and that keep who waits for them.

A task that needs several takes all of them or none: it is parked at the first that refuses, and woken by that one. Who waits at a
limit is not overtaken there by what comes later in the order, however little that needs: heavy tasks are not starved.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from plait._core.graph import Batch
from plait._core.policy import Policy, count, named, nearest
from plait.errors import LimitError, UsageError

if TYPE_CHECKING:
    from plait._core.health import Health

Place: TypeAlias = tuple[int, float, int, int]
"""Of a ready task in the order: its level, the path behind it (longest first), its number, and it. It stays what it was."""


class Waiter:
    """A task that is parked at a limit."""

    __slots__ = ("limit", "place", "since", "weight")

    def __init__(self, place: Place, limit: Limit, weight: int, since: float) -> None:
        self.place = place
        self.limit = limit
        self.weight = weight
        self.since = since


class Limit:
    """At most `capacity` units at once. Tasks that do not find theirs are parked here and woken by its own release."""

    __slots__ = ("abandoned", "capacity", "claims", "crowd", "due", "early", "kind", "line", "name", "tasks", "used")

    is_rate = False
    is_health = False

    def __init__(self, kind: str, name: str, capacity: int) -> None:
        self.kind = kind  # for people: "group", "pool", "key", "rate"
        self.name = name
        self.capacity = capacity
        self.used = 0
        self.tasks = 0  # that have this key
        self.abandoned = 0  # of `used`: units of attempts given up that may still run
        self.due = math.inf
        """From then on time alone has changed `used`: see `roll`."""
        # Who waits, in order: most come in order and stand in `line`, the others in the heap `early`.
        self.line: deque[tuple[Place, Waiter]] = deque()
        self.early: list[tuple[Place, Waiter]] = []
        self.claims: dict[int, tuple[Place, int]] = {}
        """Units that a task keeps which was woken here and waits elsewhere now, by task: nobody behind it may take them."""
        self.crowd = 0
        """Of `line`, `early` and `claims`: 0 says that whoever comes need not look at the others."""

    def roll(self, now: float) -> None:
        """Draws what time alone has changed."""

    def over(self, now: float) -> int:
        """Units of `used` that time alone has made free, if that was not drawn yet."""
        return 0

    def fits(self, weight: int, place: Place | None) -> bool:
        """Are `weight` units free, but for those that tasks before `place` have a claim to? None: before everybody."""
        return self.used + self.kept_from(place) + weight <= self.capacity

    def kept_from(self, place: Place | None) -> int:
        """Units to which tasks before `place` have a claim."""
        if not self.claims or place is None:
            return 0
        return sum(units for whose, units in self.claims.values() if whose < place)

    def claim(self, task: int, place: Place, weight: int) -> None:
        self.crowd += task not in self.claims
        self.claims[task] = (place, weight)

    def unclaim(self, task: int) -> None:
        if self.claims.pop(task, None) is not None:
            self.crowd -= 1

    def park(self, waiter: Waiter) -> None:
        self.crowd += 1
        entry = (waiter.place, waiter)
        if not self.line or waiter.place > self.line[-1][0]:
            self.line.append(entry)
        else:
            heappush(self.early, entry)

    def first(self) -> Waiter | None:
        """The first in order of those parked; None if nobody is."""
        line, early = self.line, self.early
        if early and (not line or early[0][0] < line[0][0]):
            return early[0][1]
        return line[0][1] if line else None

    def drop_first(self) -> None:
        """Takes out the first in order."""
        self.crowd -= 1
        line, early = self.line, self.early
        if early and (not line or early[0][0] < line[0][0]):
            heappop(early)
        else:
            line.popleft()

    def everybody(self) -> Iterable[Waiter]:
        """All who are parked, in no order, with those that do not wait any more."""
        return (waiter for entries in (self.line, self.early) for _, waiter in entries)


class RateLimit(Limit):
    """At most `capacity` units in any `interval` seconds: a log of when each was used, which slides with the time.

    Units are taken when a task gets its slot, and are in the log from when its code was seen to have begun, which cannot be before it
    did: a window that begins with that moment holds no more than the capacity, whatever lay between the two.
    """

    __slots__ = ("interval", "log", "number", "shut_until")

    is_rate = True

    def __init__(self, name: str, capacity: int, interval: float, number: int) -> None:
        super().__init__("rate", name, capacity)
        self.interval = interval
        self.number = number
        self.log: deque[tuple[float, int]] = deque()  # when units are free again, and how many
        self.shut_until = -math.inf

    def roll(self, now: float) -> None:
        log = self.log
        while log and log[0][0] <= now:
            self.used -= log.popleft()[1]
        self.due = log[0][0] if log else math.inf
        if self.shut_until > now:
            self.due = min(self.due, self.shut_until)
        elif self.shut_until != -math.inf:
            self.shut_until = -math.inf
            self.used -= self.capacity

    def over(self, now: float) -> int:
        return sum(units for until, units in self.log if until <= now)

    def begun(self, weight: int, now: float) -> None:
        """Units that were taken count from `now`."""
        log = self.log
        until = now + self.interval
        if not log or log[-1][0] <= until:
            log.append((until, weight))
        else:  # it was told late
            at = len(log) - 1
            while at and log[at - 1][0] > until:
                at -= 1
            log.insert(at, (until, weight))
        if until < self.due:
            self.due = until

    def shut(self, until: float) -> None:
        """Nobody gets a unit before `until`: whoever is asked for them said so."""
        if until > self.shut_until:
            if self.shut_until == -math.inf:
                self.used += self.capacity
            self.shut_until = until
            self.due = min(self.due, until)

    def opens(self, weight: int, place: Place) -> float | None:
        """When the first in line finds its units, as far as time alone decides; None where it does not."""
        used = self.used + self.kept_from(place)
        if self.shut_until != -math.inf:
            used -= self.capacity
            if used + weight <= self.capacity:
                return self.shut_until
        for until, units in self.log:
            used -= units
            if used + weight <= self.capacity:
                return max(until, self.shut_until)
        return None

    def went_on(self, seconds: float) -> None:
        """The clock stood still for `seconds` of real time: what is in the log is that much older."""
        self.log = deque((until - seconds, units) for until, units in self.log)
        self.due = self.log[0][0] if self.log else math.inf
        if self.shut_until != -math.inf:
            self.shut_until -= seconds
            self.due = min(self.due, self.shut_until)


Asks: TypeAlias = tuple[tuple[tuple[Limit, int], ...], tuple[tuple[RateLimit, int], ...]]
"""What a task takes until it ends, and of which rates; how much of each; in the order in which it asks."""

NOTHING: Asks = ((), ())

Wants: TypeAlias = "tuple[str | None, int, int | None]"
"""Of one task, worked out of its arguments: its key (None: it has none), how many of that key may run at once, and its cost
(None: that of its policy)."""


class Book:
    """The limits of a run by name: pools, keys and rates."""

    __slots__ = ("_asks", "healths", "keys", "numbered", "pools", "rates", "watched")

    def __init__(self, pools: Iterable[tuple[str, int]] = ()) -> None:
        self.pools = {name: Limit("pool", name, capacity) for name, capacity in pools}
        self.keys: dict[str, Limit] = {}
        self.rates: dict[tuple[str, int, float], RateLimit] = {}
        self.numbered: list[RateLimit] = []
        self.healths: list[Health] = []
        self.watched: dict[str | None, Health] = {}
        """By the pool that is watched; None: the run."""
        self._asks: dict[int, tuple[Policy, Asks]] = {}  # by identity: a policy is shared by many tasks

    def asks(self, policy: Policy) -> Asks:
        """What a task with this policy takes beside its slot."""
        known = self._asks.get(id(policy))
        if known is None:
            known = self._asks[id(policy)] = (policy, (tuple(self._held(policy)), tuple(self._used(policy))))
        return known[1]

    def own(self, asks: Asks, wants: Wants) -> Asks:
        """What a task takes whose key or cost was worked out, where others with its policy take `asks`."""
        held, used = asks
        key, most, cost = wants
        if key is not None:
            limit = self.keys.setdefault(key, Limit("key", key, most))
            limit.tasks += 1
            held = (*held, (limit, 1))
        if cost is not None:
            used = tuple((rate, cost) for rate, _ in used)
        return held, used

    def forget(self, asks: Asks) -> None:
        """A task is final whose key was worked out: a key that nobody has any more is forgotten."""
        for limit, _ in asks[0]:
            if limit.kind == "key":
                limit.tasks -= 1
                if not limit.tasks and not limit.used:
                    self.keys.pop(limit.name, None)

    def _held(self, policy: Policy) -> Iterable[tuple[Limit, int]]:
        if self.watched:
            yield from ((self.watched[name], 1) for name, _, _ in policy.pool if name in self.watched)
        if policy.concurrency_key is not None:
            key, most = policy.concurrency_key
            limit = self.keys.setdefault(key, Limit("key", key, most))
            limit.tasks += 1  # for good: many tasks may have this policy
            yield limit, 1
        for name, weight, capacity in policy.pool:
            if name not in self.pools:
                assert capacity is not None, f"pool {name!r} was not declared, and nobody refused that"
                self.pools[name] = Limit("pool", name, capacity)
            yield self.pools[name], weight

    def _used(self, policy: Policy) -> Iterable[tuple[RateLimit, int]]:
        for name, capacity, interval in policy.rate_limit:
            spec = (name, capacity, interval)
            if spec not in self.rates:
                self.rates[spec] = RateLimit(name, capacity, interval, len(self.rates))
                self.numbered.append(self.rates[spec])
            yield self.rates[spec], policy.cost

    def all(self) -> Iterable[Limit]:
        """Every limit."""
        yield from self.pools.values()
        yield from self.keys.values()
        yield from self.rates.values()
        yield from self.healths


def check_batch(batch: Batch, pools: Mapping[str, int]) -> None:
    """Nothing, if every limit that the tasks of `batch` name is there and can ever give what is asked of it.

    `pools` are those that the run has, with their capacities.

    Raises:
        UsageError: otherwise, naming the first task.
    """
    for policy in batch.kinds.values():
        if uses(policy):
            try:
                check_uses((policy,), pools)
            except UsageError as error:
                place = 0 if batch.policies is None else [id(each) for each in batch.policies].index(id(policy))
                raise UsageError(f"task {batch.keys[place]!r}: {error}") from None
    check_uses(batch.kinds.values(), pools)


def check_uses(policies: Iterable[Policy], declared: Mapping[str, int]) -> None:
    """Nothing, if the limits that policies name are there and can ever give what is asked of them.

    Raises:
        UsageError: for a pool that nobody declared, a weight or a cost above the capacity, one name for two things.
    """
    pools = dict(declared)
    keys: dict[str, int] = {}
    rates: dict[str, tuple[int, float]] = {}
    for policy in policies:
        if not uses(policy):
            continue
        for name, weight, capacity in policy.pool:
            if capacity is not None and pools.setdefault(name, capacity) != capacity:
                raise UsageError(f"pool {name!r} is of {pools[name]} and of {capacity}: give it one capacity")
            if name not in pools:
                declare = "" if pools else f": declare it, as in pools={{{name!r}: 2}}, or give plait.Pool({name!r}, 2)"
                raise UsageError(f"pool {name!r} is not declared{nearest(name, pools) or declare}")
            if weight > pools[name]:
                raise UsageError(
                    f"a weight of {weight} in pool {name!r}, which has {pools[name]}: it would wait for ever"
                )
        if policy.concurrency_key is not None:
            key, most = policy.concurrency_key
            if keys.setdefault(key, most) != most:
                raise UsageError(
                    f"concurrency_key {key!r} lets {keys[key]} run at once, and {most}: give it one number"
                )
        for name, capacity, interval in policy.rate_limit:
            if not name.startswith(OWNED) and rates.setdefault(name, (capacity, interval)) != (capacity, interval):
                raise UsageError(f"rate {name!r} is {rate_text(*rates[name])} and {rate_text(capacity, interval)}")
            if policy.cost > capacity:
                raise UsageError(
                    f"a cost of {policy.cost} under a rate of {rate_text(capacity, interval)}: it would wait for ever"
                )


def check_wants(policy: Policy, key: object, most: int, cost: object) -> Wants:
    """A key and a cost that were worked out for one task, checked; a whole number may be a key, and None is none.

    Raises:
        LimitError: for what cannot be one, or a cost that no rate of the task can ever give.
    """
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    checked = None if key is None else named("concurrency_key", key)
    if cost is None:
        return checked, most, None
    units = count("cost", cost)
    for _, capacity, interval in policy.rate_limit:
        if units > capacity:
            raise LimitError(
                f"a cost of {units} under a rate of {rate_text(capacity, interval)}: it would wait for ever"
            )
    return checked, most, units


def uses(policy: Policy) -> bool:
    """Does a task with this policy take more than a slot?"""
    return bool(policy.pool or policy.rate_limit or policy.concurrency_key is not None)


OWNED = "of "
"""Begins the name of a rate that was given as text: it belongs to a task function, or to a key of a file."""


def rate_text(capacity: int, interval: float) -> str:
    """`100/60s`."""
    return f"{capacity}/{interval:g}s"


def owned(policy: Policy, owner: str) -> Policy:
    """`policy`, its rates without a name made those of `owner`."""
    if all(name for name, _, _ in policy.rate_limit):
        return policy
    return policy.but(
        rate_limit=tuple(
            (name or f"{OWNED}{owner}", capacity, interval) for name, capacity, interval in policy.rate_limit
        )
    )
