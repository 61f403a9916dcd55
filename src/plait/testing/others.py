"""Other runs, for simulations: they want parts of the same limits, hold them for a while, and die with some in their hands."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial

from plait._core.commands import Ask, Forget, Return, Shut, Used
from plait._core.ledger import Ledger, News, Wish, news, trade
from plait._core.limits import Share

RUN = 0
"""The number, as a holder, of the run that is simulated."""


class Others:
    """The exchange of a simulated run, with everybody else who is there. `later` has something happen after a while."""

    def __init__(
        self,
        dice: random.Random,
        later: Callable[[float, Callable[[], None]], None],
        now: Callable[[], float],
        leased: Callable[[int, int, bool, float, float | None, bool], None],
    ) -> None:
        self._dice = dice
        self._later = later
        self._now = now
        self._leased = leased
        self._ledgers: dict[str, Ledger] = {}
        self._shares: dict[str, Share] = {}
        self._dead: set[int] = set()
        self._count = RUN
        self.held: dict[str, int] = {}
        """What others have in their hands, by limit: counted here, not in the ledger."""
        self.used: dict[str, list[tuple[float, int]]] = {}
        """Of rates: when others used how many units."""
        self._wishes: list[Wish] = []
        self._changed: set[str] = set()
        self._mail: deque[list[News]] = deque()
        """Of the run: what it wishes, of what there is news for it, and what is on its way to it."""

    # -- the run that is simulated

    def tell(self, command: Ask | Return | Used | Shut | Forget) -> None:
        """Something is wanted: it is entered a little later, perhaps, and the answer takes its time, too."""
        share = command.share
        path = share.path
        match command:
            case Ask(_, units, most):
                wish = Wish("ask", path, units, share.total, share.interval, share.number, most)
                if path not in self._shares:
                    self._come(share)
                self._shares[path] = share
            case Return(_, units):
                wish = Wish("return", path, units, share.total, share.interval, share.number)
            case Used():
                wish = Wish("used", path, share.gone, share.total, share.interval, share.number)
                share.gone = 0
            case Shut(_, seconds):
                wish = Wish("shut", path, seconds, share.total, share.interval, share.number)
            case Forget():
                wish = Wish("forget", path, 0, share.total, share.interval, share.number)
        self._wishes.append(wish)
        self._later(self._some_time(), self._enter)

    def _some_time(self) -> float:
        return self._dice.choice([0.0, 0.0, self._dice.uniform(0, 0.5), self._dice.uniform(0, 5)])

    def _enter(self) -> None:
        """What the run wishes by now is entered, in order; what is new to it then is on its way to it, in order."""
        wishes, self._wishes = self._wishes, []
        if wishes:
            self._trade(RUN, wishes)
        paths, self._changed = sorted(self._changed), set()
        if paths:
            now = self._now()
            self._mail.append([news(self._ledgers[path], path, self._shares[path].number, RUN, now) for path in paths])
            self._later(self._some_time(), self._deliver)

    def _deliver(self) -> None:
        now = self._now()
        for found in self._mail.popleft() if self._mail else ():
            if found.opens_in is not None:
                self._look_again(RUN, found.path, found.opens_in)
            opens_at = None if found.opens_in is None else now + found.opens_in
            self._leased(found.number, found.units, found.wanted, now, opens_at, found.shut)

    def died(self) -> None:
        """The process of the run was killed: what it held is free, what it had of rates may have been used, and nobody reads its mail."""
        self._wishes, self._changed = [], set()
        self._mail.clear()
        for path, ledger in self._ledgers.items():
            share = self._shares[path]
            ledger.drop(RUN, self._now(), share.interval)
            for waiting in list(ledger.line):
                self._trade(waiting, [Wish("look", path, 0, share.total, share.interval, share.number)])

    def _trade(self, holder: int, wishes: list[Wish]) -> None:
        now = self._now()
        woken = trade(self._ledgers, holder, wishes, now, lambda member: member not in self._dead)
        for other, path in sorted({*woken, *((holder, wish.path) for wish in wishes)}):
            if other == RUN:
                self._changed.add(path)
                self._later(self._some_time(), self._enter)
            else:
                self._later(self._some_time(), partial(self._hear, other, path))

    def _hear(self, holder: int, path: str) -> None:
        """Somebody else is told what is new to them."""
        if holder in self._dead:
            return
        ledger, share, now = self._ledgers[path], self._shares[path], self._now()
        found = news(ledger, path, share.number, holder, now)
        if found.opens_in is not None:
            self._look_again(holder, path, found.opens_in)
        if found.units:
            self._granted(holder, path, found.units, share)

    def _look_again(self, holder: int, path: str, seconds: float) -> None:
        share = self._shares[path]
        self._later(
            seconds, lambda: self._trade(holder, [Wish("look", path, 0, share.total, share.interval, share.number)])
        )

    # -- everybody else

    def _come(self, share: Share) -> None:
        """Some others want of the same limit, now and later."""
        for _ in range(self._dice.choice([0, 1, 1, 2, 3])):
            self._count += 1
            wish = Wish(
                "ask", share.path, self._dice.randint(1, share.total), share.total, share.interval, share.number
            )
            self._later(self._dice.uniform(0, 30), partial(self._trade, self._count, [wish]))

    def _granted(self, holder: int, path: str, units: int, share: Share) -> None:
        self.held[path] = self.held.get(path, 0) + units
        length = self._dice.choice([0.0, self._dice.uniform(0, 15)])
        if self._dice.random() < 0.3:
            self._later(length, lambda: self._die(holder, path, units, share))
        else:
            self._later(length, lambda: self._give_back(holder, path, units, share))

    def _give_back(self, holder: int, path: str, units: int, share: Share) -> None:
        self.held[path] -= units
        if share.interval:
            self.used.setdefault(path, []).append((self._now(), units))
        kind = "used" if share.interval else "return"
        self._trade(holder, [Wish(kind, path, units, share.total, share.interval, share.number)])

    def _die(self, holder: int, path: str, units: int, share: Share) -> None:
        """A holder is gone; whoever waits sees that at once."""
        self._dead.add(holder)
        self.held[path] -= units
        if share.interval:
            self.used.setdefault(path, []).append((self._now(), units))
        ledger = self._ledgers[path]
        for waiting in list(ledger.line):
            self._trade(waiting, [Wish("look", path, 0, share.total, share.interval, share.number)])

    def taken(self, share: Share, now: float) -> int:
        """Units that others have, or used in the window that ends now."""
        used = self.used.get(share.path, ())
        return self.held.get(share.path, 0) + sum(units for at, units in used if at > now - share.interval + 1e-9)
