"""Who has how much of a limit that several runs share, and who waits for it: first come, first served.

One ledger for each limit. Whoever keeps it (this process's memory, or a file that several processes write) sees to it that one call
is over before the next begins, and says who is dead. Times are those of one clock that all who share the limit read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, MutableMapping
from math import floor, inf
from typing import Any, NamedTuple

EXACT, PARTS = 256, 256
"""With more than so many entries in a log, new ones count as of the end of the 256th part of the interval that they are in: a window never
gets more than its capacity."""


class Ledger:
    """What holders have, and who waits. A holder is a run; it waits for one number of units at a time."""

    __slots__ = ("granted", "held", "line", "log", "shut_until")

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.granted: dict[int, int] = {}
        """Units of `held` that their holders have not been told of yet."""
        self.line: dict[int, tuple[int, int, int]] = {}
        """Who waits, in order: for how many units, how many are of use to it, and how many there are, as that holder says."""
        self.log: deque[tuple[float, int]] = deque()
        """Of a rate: when units are free again that were used, and how many."""
        self.shut_until = 0.0

    def ask(self, holder: int, units: int, capacity: int, most: int = 0) -> None:
        """A holder waits for `units` more, at the place in the line that it has; with 0 it waits no more.

        Where nobody else waits it is given up to `most`.
        """
        if units:
            self.line[holder] = (units, max(units, most), capacity)
        else:
            self.line.pop(holder, None)

    def give_back(self, holder: int, units: int, now: float = 0.0, interval: float = 0.0) -> None:
        """A holder has so many units less; those that it used up of a rate are free again an `interval` after `now`."""
        left = self.held.get(holder, 0) - units
        if left > 0:
            self.held[holder] = left
        else:
            self.held.pop(holder, None)
        if interval:
            self._enter(now, interval, units)

    def drop(self, holder: int, now: float = 0.0, interval: float = 0.0) -> None:
        """A holder is gone. Of a rate what it had may have been used up to `now`: it is free again an `interval` later."""
        self.line.pop(holder, None)
        self.granted.pop(holder, None)
        units = self.held.pop(holder, 0)
        if units and interval:
            self._enter(now, interval, units)

    def _enter(self, now: float, interval: float, units: int) -> None:
        log, until = self.log, now + interval
        if len(log) >= EXACT:
            until = (floor(until / interval * PARTS) + 1) * (interval / PARTS)
            if log[-1][0] == until:
                log[-1] = until, log[-1][1] + units
                return
        log.append((until, units))
        if len(log) > 1 and log[-2][0] > until:
            self.log = log = deque(sorted(log))

    def shut(self, until: float) -> None:
        """Nobody gets a unit before `until`."""
        self.shut_until = max(self.shut_until, until)

    def taken(self, now: float) -> int:
        """Units that nobody else may have now."""
        log = self.log
        while log and log[0][0] <= now:
            log.popleft()
        return sum(self.held.values()) + sum(units for _, units in log)

    def serve(self, now: float) -> list[int]:
        """Grants what is there to those who wait, in order; nobody is overtaken. To whom something was granted."""
        served: list[int] = []
        if now >= self.shut_until:
            self.shut_until = 0.0
        if not self.line or self.shut_until:
            return served
        taken = self.taken(now)
        for holder, (least, most, capacity) in list(self.line.items()):
            if taken + least > capacity:
                break
            del self.line[holder]
            units = least if self.line else min(most, capacity - taken)
            self.held[holder] = self.held.get(holder, 0) + units
            self.granted[holder] = self.granted.get(holder, 0) + units
            taken += units
            served.append(holder)
        return served

    def opens_at(self, now: float) -> float | None:
        """When time alone brings the first in line its units (`now`: it has, and `serve` is to be called); None where it does not."""
        if not self.line:
            return None
        units, _, capacity = next(iter(self.line.values()))
        taken = self.taken(now)
        at = max(self.shut_until, now)
        for until, free in self.log:
            if taken + units <= capacity:
                break
            taken -= free
            at = max(at, until)
        return at if taken + units <= capacity else None

    def wanted(self, holder: int) -> bool:
        """Does anybody else wait?"""
        return len(self.line) > (holder in self.line)

    def told(self, holder: int) -> int:
        """Units that were granted to `holder`, which is told of them now."""
        return self.granted.pop(holder, 0)

    @property
    def empty(self) -> bool:
        """Is there nothing to be known of it?"""
        return not (self.held or self.line or self.log or self.shut_until)

    def members(self) -> set[int]:
        """All who have something of it or wait."""
        return self.held.keys() | self.line.keys()

    # -- as plain data

    def data(self) -> list[Any]:
        """What JSON can keep."""
        return [
            [[holder, units, self.granted.get(holder, 0)] for holder, units in self.held.items()],
            [[holder, *wish] for holder, wish in self.line.items()],
            [list(entry) for entry in self.log],
            self.shut_until,
        ]

    @classmethod
    def of(cls, data: list[Any], later: float = 0.0, latest: float = inf) -> Ledger:
        """The ledger again. Where it was written by another clock, its times are put `later` by so much, and at `latest` there."""
        held, line, log, shut_until = data
        made = cls()
        made.held = {holder: units for holder, units, _ in held}
        made.granted = {holder: granted for holder, _, granted in held if granted}
        made.line = {holder: (units, most, capacity) for holder, units, most, capacity in line}
        made.log = deque((min(until + later, latest), units) for until, units in log)
        made.shut_until = shut_until + later if shut_until else 0.0
        return made


class Wish(NamedTuple):
    """One thing that a holder tells of a limit: `units` of `capacity`, in an `interval` where it is a rate.

    `number` tells what the holder has by this name now from what it had by it before, and has forgotten.
    """

    kind: str  # "ask", "return", "used", "shut" (for `units` seconds), "forget", "look"
    path: str
    units: float = 0
    capacity: int = 0
    interval: float = 0.0
    number: int = -1
    most: int = 0


class News(NamedTuple):
    """What a holder is told of a limit: units that it has from now on; do others wait; seconds until time alone may bring more."""

    path: str
    number: int
    units: int
    wanted: bool
    opens_in: float | None
    shut: bool = False


def trade(
    ledgers: MutableMapping[str, Ledger],
    holder: int,
    wishes: list[Wish],
    now: float,
    alive: Callable[[int], bool],
) -> set[tuple[int, str]]:
    """Enters what `holder` wishes, and grants what is there. Which others have news, and of what."""
    touched: dict[str, Wish] = {}
    woken: set[tuple[int, str]] = set()
    for wish in wishes:
        ledger = ledgers.get(wish.path)
        if ledger is None:
            ledger = ledgers[wish.path] = Ledger()
        touched[wish.path] = wish
        units = int(wish.units)
        match wish.kind:
            case "ask":
                ledger.ask(holder, units, wish.capacity, wish.most)
            case "return":
                ledger.give_back(holder, units)
            case "used":
                ledger.give_back(holder, units, now, wish.interval)
            case "forget":
                ledger.drop(holder, now, wish.interval)
            case "shut":
                ledger.shut(now + wish.units)
                woken.update((other, wish.path) for other in ledger.members())
    for path, wish in touched.items():
        ledger = ledgers[path]
        served = ledger.serve(now)
        if ledger.line:
            # Who has what the next one wants may be dead, and so may those who stand before it.
            gone = [member for member in ledger.members() if member != holder and not alive(member)]
            for member in gone:
                ledger.drop(member, now, wish.interval)
            if gone:
                served += ledger.serve(now)
        woken.update((other, path) for other in served)
        if ledger.line:
            woken.update((other, path) for other in ledger.held if ledger.wanted(other))
            woken.add((next(iter(ledger.line)), path))  # of a rate: when time brings its units may have changed
    return {(other, path) for other, path in woken if other != holder}


def news(ledger: Ledger, path: str, number: int, holder: int, now: float) -> News:
    """What `holder` is to know now of a limit, which it knows by `number`."""
    shut = ledger.shut_until > now
    opens_at = ledger.opens_at(now) if holder in ledger.line else ledger.shut_until if shut else None
    opens_in = None if opens_at is None else max(0.0, opens_at - now)
    return News(path, number, ledger.told(holder), ledger.wanted(holder), opens_in, shut)
