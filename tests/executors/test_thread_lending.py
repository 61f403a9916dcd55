"""Threads that go on by themselves: never more at once than slots, each call once, and what has not begun can be had back."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plait
from plait.executors.threads import ThreadExecutor

pytestmark = pytest.mark.realtime


class Seen:
    """What ran, how often, and how many at once."""

    def __init__(self, bad: int = -1, slow: int = 0) -> None:
        self.ran: Counter[int] = Counter()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._bad = bad
        self._slow = slow

    def __call__(self, number: int) -> int:
        with self._lock:
            self.ran[number] += 1
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if self._slow and number % self._slow == 0:
                threading.Event().wait(0.002)
            if number == self._bad:
                raise ValueError(number)
            return number
        finally:
            with self._lock:
                self._now -= 1


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were lent: a test in which none was has shown nothing."""
    found: list[int] = []
    borrow = ThreadExecutor._borrow

    def counted(self: ThreadExecutor) -> None:
        before = len(self._lent)
        borrow(self)
        found.append(len(self._lent) - before)

    monkeypatch.setattr(ThreadExecutor, "_borrow", counted)
    return found


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_short_calls_run_once_each_and_no_more_of_them_than_slots(slots: int, lent: list[int]) -> None:
    """E8 C9."""
    seen = Seen(slow=50)
    assert plait.map_(seen, range(3000), max_concurrency=slots, executor="thread") == list(range(3000))
    assert seen.ran == Counter(range(3000))
    assert 1 <= seen.most <= slots
    assert sum(lent) > 500


def test_other_work_has_its_slots(lent: list[int]) -> None:
    """Calls of threads and coroutines share them; the one that ends passes its slot on to no more than one."""
    now = most = 0
    lock = threading.Lock()

    def enter(by: int) -> None:
        nonlocal now, most
        with lock:
            now += by
            most = max(most, now)

    @plait.task
    def in_thread(number: int) -> int:
        enter(1)
        enter(-1)
        return number

    @plait.task
    async def on_loop(number: int) -> int:
        enter(1)
        await asyncio.sleep(0)
        enter(-1)
        return number

    @plait.task
    def goes_on(number: int) -> Any:
        """Its awaitable keeps its slot."""
        enter(1)

        async def rest() -> int:
            await asyncio.sleep(0)
            enter(-1)
            return number

        return rest()

    kinds = (in_thread, in_thread, in_thread, on_loop, goes_on)
    rows = random.Random(7).choices(kinds, k=2000)
    assert plait.run([kind.bind(at) for at, kind in enumerate(rows)], max_concurrency=3) == list(range(2000))
    assert 1 <= most <= 3
    assert sum(lent) > 50


@settings(max_examples=40, deadline=None)
@given(bad=st.integers(0, 400), slots=st.integers(1, 4), slow=st.integers(0, 30))
def test_a_failure_starts_nothing_else_and_what_began_is_told(bad: int, slots: int, slow: int) -> None:
    """Fail-fast: what has not begun never does, however far ahead it stood."""
    seen = Seen(bad, slow)
    task = plait.task(seen)
    graph = plait.Graph("g")
    for number in range(401):
        graph.add(f"n{number}", task.bind(number))
    result = plait.run(graph, max_concurrency=slots, raise_on_failure=False)
    assert result.status == "failed"
    assert set(seen.ran.values()) == {1}
    for number in range(401):
        status = str(result[f"n{number}"].status)
        if status == "succeeded":
            assert seen.ran[number] == 1
        elif status == "not_started":
            assert seen.ran[number] == 0
        else:
            assert status == ("failed" if number == bad else "cancelled")
    assert sum(seen.ran.values()) <= 401
    assert seen.most <= slots


def test_a_run_that_is_paused_has_them_back(lent: list[int]) -> None:
    """And goes on with them later, each once."""
    seen = Seen()
    held = threading.Event()

    def body(number: int) -> int:
        if number == 1500:
            held.set()
            threading.Event().wait(0.05)
        return seen(number)

    graph = plait.Graph("g")
    task = plait.task(body)
    for number in range(3000):
        graph.add(f"n{number}", task.bind(number))
    run = plait.start(graph, max_concurrency=2)
    assert held.wait(30)
    run.pause()
    run.resume()
    result = run.wait(60)
    assert result.status == "succeeded"
    assert seen.ran == Counter(range(3000))
    assert seen.most <= 2
    assert sum(lent) > 100


def test_a_cancelled_run_leaves_none_that_begins_later() -> None:
    seen = Seen()
    held = threading.Event()

    def body(number: int) -> int:
        if number == 700:
            held.set()
            threading.Event().wait(0.05)
        return seen(number)

    graph = plait.Graph("g")
    task = plait.task(body)
    for number in range(3000):
        graph.add(f"n{number}", task.bind(number))
    run = plait.start(graph, max_concurrency=2)
    assert held.wait(30)
    run.cancel()
    result = run.wait(60)
    ran = sum(seen.ran.values())
    assert result.status == "cancelled"
    assert ran < 3000
    assert all(str(result[f"n{number}"].status) != "not_started" for number in seen.ran)
    assert sum(seen.ran.values()) == ran


def test_nothing_waits_behind_a_long_call_while_a_slot_is_free(lent: list[int]) -> None:
    """It is lent while calls are short, and stands behind the long one when other slots come free."""
    over = threading.Event()
    rest = threading.Event()
    done: list[int] = []

    @plait.task
    def body(number: int) -> int:
        if number == 600:
            over.wait(30)  # for all that come after it
        done.append(number)
        if len(done) == 629:
            over.set()
        return number

    @plait.task
    async def holds() -> None:
        while not rest.is_set():
            await asyncio.sleep(0.001)
            if len(done) == 600:
                rest.set()

    nodes = [holds.bind(), holds.bind(), *(body.bind(number) for number in range(630))]
    assert plait.run(nodes, max_concurrency=3)[2:] == list(range(630))
    assert done[-1] == 600
    assert sum(lent) > 100
