"""The books of a limit that several runs share (X4)."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from plait._core.ledger import EXACT, PARTS, Ledger, Wish, news, trade


def ask(path: str, units: int, capacity: int = 3, interval: float = 0.0) -> Wish:
    return Wish("ask", path, units, capacity, interval, 0)


class World:
    """Holders of one limit, their clock, and who of them is dead."""

    def __init__(self, capacity: int = 3, interval: float = 0.0) -> None:
        self.ledgers: dict[str, Ledger] = {}
        self.capacity = capacity
        self.interval = interval
        self.now = 0.0
        self.dead: set[int] = set()
        self.woken: set[int] = set()

    def tell(self, holder: int, kind: str, units: float = 0) -> int:
        """What `holder` wishes; the units that are granted to it."""
        wish = Wish(kind, "gpu", units, self.capacity, self.interval, 0)
        woken = trade(self.ledgers, holder, [wish], self.now, lambda other: other not in self.dead)
        self.woken = {other for other, _ in woken}
        return self.hear(holder).units

    def hear(self, holder: int):  # type: ignore[no-untyped-def]
        return news(self.ledgers["gpu"], "gpu", 0, holder, self.now)


def test_first_come_first_served_and_nobody_overtakes() -> None:
    """X4: a light wish waits behind a heavy one that came before it."""
    world = World()
    assert world.tell(1, "ask", 2) == 2
    assert world.tell(2, "ask", 2) == 0
    assert world.woken == {1}, "who has what another wants is told"
    assert world.tell(3, "ask", 1) == 0
    assert world.hear(1).wanted
    world.tell(1, "return", 1)
    assert world.woken == {2, 3}, "who is served, and who is first now"
    assert (world.hear(2).units, world.hear(3).units) == (2, 0)
    world.tell(1, "return", 1)
    assert world.hear(3).units == 1
    assert not world.hear(1).wanted


def test_a_wish_is_changed_at_its_place_and_withdrawn() -> None:
    """F77: who waits no more holds nobody up."""
    world = World()
    world.tell(1, "ask", 3)
    world.tell(2, "ask", 3)
    world.tell(3, "ask", 1)
    world.tell(2, "ask", 2)
    world.tell(1, "return", 2)
    assert (world.hear(2).units, world.hear(3).units) == (2, 0)
    world.tell(2, "return", 2)
    assert world.hear(3).units == 1
    world.tell(4, "ask", 3)
    assert world.tell(2, "ask", 1) == 0
    world.tell(4, "ask", 0)
    assert world.hear(2).units == 1


def test_what_the_dead_hold_is_free_when_somebody_wants_it() -> None:
    """X4: and so is their place in the line."""
    world = World()
    world.tell(1, "ask", 3)
    world.tell(2, "ask", 3)
    world.dead = {1, 2}
    assert world.tell(3, "ask", 3) == 3


def test_units_of_a_rate_are_free_again_an_interval_after_they_were_used() -> None:
    """B8: and what the dead had counts as used up to when they were found."""
    world = World(interval=10.0)
    assert world.tell(1, "ask", 2) == 2
    world.now = 5.0
    world.tell(1, "used", 1)
    assert world.tell(2, "ask", 2) == 0
    assert world.hear(2).opens_in == 10.0
    world.dead = {1}
    world.now = 7.0
    assert world.tell(2, "look") == 0
    assert world.hear(2).opens_in == 8.0
    world.now = 15.0
    assert world.tell(2, "look") == 2


def test_nobody_gets_a_unit_of_what_is_shut() -> None:
    """X5."""
    world = World(interval=10.0)
    world.tell(1, "shut", 30)
    assert world.tell(2, "ask", 1) == 0
    assert world.hear(2).opens_in == 30
    world.tell(1, "shut", 5)
    world.now = 29.0
    assert world.tell(2, "look") == 0
    world.now = 30.0
    assert world.tell(2, "look") == 1


def test_what_others_have_in_hand_is_shut_too() -> None:
    """X5: they are told, and until when."""
    world = World(interval=10.0)
    assert world.tell(1, "ask", 2) == 2
    world.tell(2, "shut", 30)
    assert world.woken == {1}
    assert (world.hear(1).shut, world.hear(1).opens_in) == (True, 30)
    world.now = 30.0
    assert not world.hear(1).shut


def test_a_ledger_is_written_and_read() -> None:
    world = World(interval=10.0)
    world.tell(1, "ask", 2)
    world.tell(1, "used", 1)
    world.tell(2, "ask", 2)
    world.tell(1, "shut", 4)
    ledger = world.ledgers["gpu"]
    assert Ledger.of(ledger.data()).data() == ledger.data()
    later = Ledger.of(ledger.data(), later=-3.0)
    assert list(later.log) == [(7.0, 1)]
    assert later.shut_until == 1.0
    clipped = Ledger.of(ledger.data(), later=1e6, latest=12.0)
    assert list(clipped.log) == [(12.0, 1)]
    assert clipped.shut_until == 1e6 + 4, "whoever was asked said so, whatever the interval"


@given(seed=st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_a_long_log_never_frees_a_unit_too_early_and_none_much_too_late(seed: int) -> None:
    """B8: with many entries those of one part of the interval count as of its end."""
    dice = random.Random(seed)
    ledger, exact, now = Ledger(), [], 0.0
    while now < 150:  # long enough that what was counted with its neighbours is free again, too
        now += dice.expovariate(20)
        exact = [entry for entry in exact if entry[0] > now - 2]
        units = dice.randint(1, 3)
        ledger.held[1] = units
        ledger.give_back(1, units, now, 60.0)
        exact.append((now + 60, units))
        taken = ledger.taken(now)
        assert len(ledger.log) <= EXACT + PARTS + 2
        assert taken >= sum(units for until, units in exact if until > now)
        assert taken <= sum(units for until, units in exact if until > now - 60 / PARTS)
    assert ledger.taken(now + 60 + 60 / PARTS) == 0


@given(seed=st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_never_more_than_the_capacity_and_everybody_is_served(seed: int) -> None:
    """X4 E11: random wishes, returns and deaths of holders."""
    dice = random.Random(seed)
    world = World(capacity=dice.randint(1, 5))
    held: dict[int, int] = {}
    waits: dict[int, int] = {}
    number = 0
    for _ in range(60):
        choice = dice.random()
        if choice < 0.45 or not held:
            number += 1
            waits[number] = dice.randint(1, world.capacity)
            world.tell(number, "ask", waits[number])
            world.ledgers["gpu"].granted.clear()
        elif choice < 0.8:
            holder = dice.choice(list(held))
            world.tell(holder, "return", held.pop(holder))
        else:
            world.dead.add(dice.choice([*held, *waits]))
            held = {each: units for each, units in held.items() if each not in world.dead}
            waits = {each: units for each, units in waits.items() if each not in world.dead}
            for each in waits:
                world.tell(each, "look")
        for each, units in world.ledgers["gpu"].held.items():
            if each in waits and each not in world.dead:
                held[each] = units
                del waits[each]
        assert sum(held.values()) <= world.capacity
    while held or waits:
        for holder in list(held):
            world.tell(holder, "return", held.pop(holder))
        served = [each for each in world.ledgers["gpu"].held if each in waits]
        assert served or not waits, "somebody waits, and everything is free"
        for each in served:
            held[each] = waits.pop(each)
