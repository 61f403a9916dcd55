"""Limits other than the run's own: objects that are asked, taken and given back, and that keep who waits for them.

A task that needs several takes all of them or none: it is parked at the first that refuses, and woken by that one. Who waits at a
limit is not overtaken there by what comes later in the order, however little that needs: heavy tasks are not starved.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, TypeAlias

from plait._core.graph import Batch
from plait._core.paths import Files, enclosing
from plait._core.policy import Policy, count, in_turn, named, nearest
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
    shared = False
    wanted = False
    is_health = False

    def __init__(self, kind: str, name: str, capacity: int) -> None:
        self.kind = kind  # for people: "group", "pool", "key", "path", "rate"
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

    @property
    def most(self) -> int:
        """Units that a task may ever get of it."""
        return self.capacity

    def roll(self, now: float) -> None:
        """Draws what time alone has changed."""

    def over(self, now: float) -> int:
        """Units of `used` that time alone has made free, if that was not drawn yet."""
        return 0

    def fits(self, weight: int, place: Place | None) -> bool:
        """Are `weight` units free, but for those that tasks before `place` have a claim to? None: before everybody."""
        return self.used + self.kept_from(place) + weight <= self.capacity

    @property
    def sound(self) -> bool:
        """May those who hold it do so together?"""
        return self.used <= self.capacity

    def kept_from(self, place: Place | None) -> int:
        """Units to which tasks before `place` have a claim."""
        if not self.claims or place is None:
            return 0
        return sum(units for whose, units in self.claims.values() if whose < place)

    def claim(self, task: int, place: Place, weight: int) -> None:
        self.crowd += task not in self.claims
        self.claims[task] = (place, weight)

    def unclaim(self, task: int) -> bool:
        """Gives up what is kept for a task; False if nothing was."""
        if self.claims.pop(task, None) is None:
            return False
        self.crowd -= 1
        return True

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


READS_WITHIN, WRITES_WITHIN, READS, WRITES = 1, 1 << 32, 1 << 64, 1 << 96
"""What a task takes of a path: the digits of one number, so that a sum says how many are there of each."""


class PathLimit(Limit):
    """A path that tasks read and write. Many may read it, or work within it; who writes it is alone.

    Who reads a folder as a whole and who writes within it keep each other out; those that write different things within it do not.
    """

    __slots__ = ()

    def __init__(self, name: str) -> None:
        # So that a look is enough for who works within a folder that nobody has as a whole.
        capacity = READS - 1
        super().__init__("path", name, capacity)

    def fits(self, weight: int, place: Place | None) -> bool:
        return goes_with(weight, self.used + self.kept_from(place))

    @property
    def sound(self) -> bool:
        """Is who writes alone, and does nobody write within what is read as a whole?"""
        if self.used >= WRITES:
            return self.used == WRITES
        reads, within = self.used // READS, self.used % READS // WRITES_WITHIN
        return not (reads and within) or reads == within == 1  # one task may do both


def goes_with(weight: int, used: int) -> bool:
    """May somebody take `weight` of a path of which others have `used`?"""
    if used >= WRITES:
        return False
    if weight >= WRITES:
        return not used
    reads, writes_within = weight >= READS, weight % READS >= WRITES_WITHIN
    return not (reads and used % READS >= WRITES_WITHIN) and not (writes_within and used >= READS)


def taken(files: Files) -> dict[str, int]:
    """What a task takes of each path that it names, and of each folder around: the outermost first, as all do."""
    reads, writes = files
    found: dict[str, int] = {}
    for paths, whole, within in ((reads, READS, READS_WITHIN), (writes, WRITES, WRITES_WITHIN)):
        for path in paths:
            for folder in enclosing(path):
                found[folder] = _with(found.get(folder, 0), within)
            found[path] = _with(found.get(path, 0), whole)
    return {path: found[path] for path in sorted(found, key=_depth)}


def _depth(path: str) -> tuple[int, str]:
    return sum(1 for _ in enclosing(path)), path


def _with(weight: int, more: int) -> int:
    """Both of them, for one task: each once, and writing is all."""
    if WRITES in (weight, more):
        return WRITES
    return weight if weight // more % WRITES_WITHIN else weight + more


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


class Share(Limit):
    """What a run has of a limit that other runs, perhaps of other processes, have parts of, too.

    `capacity` are the units that the run holds, of `total`. They were granted to it as a recorded fact, and stay with it until others
    want them: a run that is alone asks once. A task that finds too few is parked here; the first of those asks for all that it
    needs, and what is idle goes back before, so that no two runs wait for each other with a part in their hands.

    Of a rate each granted unit is good for one start, and `gone` with it: the log is with whoever grants.
    """

    __slots__ = (
        "ahead",
        "asked",
        "gone",
        "home",
        "interval",
        "number",
        "opens_at",
        "sent",
        "shut_until",
        "total",
        "wanted",
    )

    shared = True

    def __init__(self, kind: str, name: str, total: int, interval: float, number: int) -> None:
        super().__init__(kind, name, 0)
        self.total = total
        self.interval = interval  # 0: of no rate
        self.number = number
        self.home = ""  # of a lock: the folder that it was given
        self.ahead = False  # is `asked` for those to come?
        self.asked = 0  # units, for the first that waits here
        self.wanted = False  # do other runs wait for it?
        self.sent = 0  # tasks that were woken here and did not have their turn yet
        self.gone = 0  # units of a rate that were used up, and nobody was told yet
        self.opens_at: float | None = None  # as far as is known
        self.shut_until = 0.0  # by what a task was told here, until whoever grants has heard of it

    @property
    def is_rate(self) -> bool:  # type: ignore[override]
        """Are its units used up by a start?"""
        return self.interval > 0

    @property
    def most(self) -> int:
        return self.total

    @property
    def path(self) -> str:
        """What all who share it call it."""
        if not self.is_rate:
            return f"{self.kind} {self.home}{'/' if self.home else ''}{self.name}"
        own = f" {self.total}" if self.name.startswith(OWNED) else ""
        return f"rate {self.name}{own} per {self.interval!r}s"

    @property
    def idle(self) -> int:
        """Units that nobody uses, and that no task has a claim to."""
        return max(0, self.capacity - self.used - sum(units for _, units in self.claims.values()))

    def begun(self, weight: int) -> None:
        """Units of a rate are used up."""
        self.used -= weight
        self.capacity -= weight
        self.gone += weight


Asks: TypeAlias = "tuple[tuple[tuple[Limit, int], ...], tuple[tuple[RateLimit | Share, int], ...]]"
"""What a task takes until it ends, and of which rates; how much of each; in the order in which it asks."""

NOTHING: Asks = ((), ())

Wants: TypeAlias = "tuple[str | None, int, int | None, Files | None]"
"""Of one task, worked out of its arguments: its key (None: it has none), how many of that key may run at once, its cost
(None: that of its policy), and what it reads and writes (None: that is known already)."""


class Book:
    """The limits of a run by name: pools, keys and rates."""

    __slots__ = (
        "_asks", "_number", "_sharing", "healths", "keys", "locks", "numbered", "paths", "pools", "rates", "shares", "watched",
    )  # fmt: skip

    def __init__(self, pools: Iterable[tuple[str, int]] = (), sharing: tuple[str, ...] | None = None) -> None:
        self._sharing = sharing
        self._number = 0
        self.shares: dict[int, Share] = {}
        """What others have parts of, too, by number."""
        self.pools = {name: self._limit("pool", name, capacity, name in (sharing or ())) for name, capacity in pools}
        self.keys: dict[str, Limit] = {}
        self.locks: dict[tuple[str, str], Limit] = {}
        self.paths: dict[str, PathLimit] = {}
        self.rates: dict[tuple[str, int, float], RateLimit | Share] = {}
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

    def _limit(self, kind: str, name: str, capacity: int, given: bool) -> Limit:
        """A new limit: shared where all are, or where those are that were `given` as objects."""
        return self._share(kind, name, capacity, 0.0) if self._shares(given) else Limit(kind, name, capacity)

    def _shares(self, given: bool) -> bool:
        return self._sharing is not None and (given or ALL in self._sharing)

    def _share(self, kind: str, name: str, capacity: int, interval: float) -> Share:
        share = self.shares[self._number] = Share(kind, name, capacity, interval, self._number)
        self._number += 1
        return share

    def own(self, asks: Asks, wants: Wants) -> Asks:
        """What a task takes whose key or cost was worked out, where others with its policy take `asks`; its paths come on top."""
        held, used = asks
        key, most, cost, _ = wants
        if key is not None:
            limit = self._key(key, most)
            limit.tasks += 1
            held = (*held, (limit, 1))
        if cost is not None:
            used = tuple((rate, cost) for rate, _ in used)
        return held, used

    def _key(self, key: str, most: int) -> Limit:
        limit = self.keys.get(key)
        if limit is None:
            limit = self.keys[key] = self._limit("key", key, most, False)
        return limit

    def files(self, asks: Asks, files: Files) -> Asks:
        """`asks`, and what a task takes of the paths that it reads and writes."""
        held, used = asks
        paths: list[tuple[Limit, int]] = []
        for path, weight in taken(files).items():
            limit = self.paths.get(path)
            if limit is None:
                limit = self.paths[path] = PathLimit(path)
            limit.tasks += 1
            paths.append((limit, weight))
        return (*held, *paths), used

    def forget(self, held: Iterable[tuple[Limit, int]]) -> list[Share]:
        """A task is final whose key or paths were worked out: those of them that nobody has any more are forgotten.

        Those that were shared are given back: others are to be told.
        """
        shares: list[Share] = []
        for limit, _ in held:
            limit.tasks -= 1
            if not limit.tasks and not limit.used:
                known: dict[str, Any] = self.keys if limit.kind == "key" else self.paths
                known.pop(limit.name, None)
                if isinstance(limit, Share):
                    del self.shares[limit.number]
                    shares.append(limit)
        return shares

    def _held(self, policy: Policy) -> Iterable[tuple[Limit, int]]:
        if self.watched:
            yield from ((self.watched[name], 1) for name, _, _ in policy.pool if name in self.watched)
        if policy.concurrency_key is not None:
            key, most = policy.concurrency_key
            limit = self._key(key, most)
            limit.tasks += 1  # for good: many tasks may have this policy
            yield limit, 1
        for lock in policy.lock:
            if lock not in self.locks:
                self.locks[lock] = self._lock(*lock)
            yield self.locks[lock], 1
        for name, weight, capacity in policy.pool:
            if name not in self.pools:
                assert capacity is not None, f"pool {name!r} was not declared, and nobody refused that"
                self.pools[name] = self._limit("pool", name, capacity, True)
            yield self.pools[name], weight

    def _lock(self, name: str, home: str) -> Limit:
        """A lock is shared with all who want it, blocks of code included: how many these are is not known."""
        limit = self._limit("lock", name, 1, True)
        if isinstance(limit, Share):
            limit.home = home
            limit.wanted = True
        return limit

    def _used(self, policy: Policy) -> Iterable[tuple[RateLimit | Share, int]]:
        for name, capacity, interval in policy.rate_limit:
            spec = (name, capacity, interval)
            if spec not in self.rates:
                if self._shares(not name.startswith(OWNED)):
                    self.rates[spec] = self._share("rate", name, capacity, interval)
                else:
                    self.numbered.append(RateLimit(name, capacity, interval, len(self.numbered)))
                    self.rates[spec] = self.numbered[-1]
            yield self.rates[spec], policy.cost

    def all(self) -> Iterable[Limit]:
        """Every limit."""
        yield from self.pools.values()
        yield from self.keys.values()
        yield from self.locks.values()
        yield from self.paths.values()
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


def check_wants(policy: Policy, key: object, most: int, cost: object, files: Files | None = None) -> Wants:
    """A key and a cost that were worked out for one task, checked; a whole number may be a key, and None is none. Its files beside.

    Raises:
        LimitError: for what cannot be one, or a cost that no rate of the task can ever give.
    """
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    checked = None if key is None else named("concurrency_key", key)
    if cost is None:
        return checked, most, None, files
    units = count("cost", cost)
    for _, capacity, interval in policy.rate_limit:
        if units > capacity:
            raise LimitError(
                f"a cost of {units} under a rate of {rate_text(capacity, interval)}: it would wait for ever"
            )
    return checked, most, units, files


def uses(policy: Policy) -> bool:
    """Does a task with this policy take more than a slot?"""
    return bool(policy.pool or policy.rate_limit or policy.concurrency_key is not None or policy.lock)


ALL = "*"
"""Among the names of pools that a run shares: it shares every limit."""

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
            sorted(
                ((name or f"{OWNED}{owner}", capacity, interval) for name, capacity, interval in policy.rate_limit),
                key=in_turn,
            )
        )
    )
