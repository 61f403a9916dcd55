"""F47: whoever keeps the loop from turning is named; a loop that waits is left alone."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import pytest

import plait
from plait.executors import blocking
from plait.executors.blocking import LATE_S, Watched, watch

pytestmark = pytest.mark.realtime


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> threading.Event:
    """Set once something is logged, and `caplog` has it: who logs is another thread than who looks."""
    found = threading.Event()
    keep = caplog.handler.emit

    def emit(record: logging.LogRecord) -> None:
        keep(record)
        found.set()

    monkeypatch.setattr(caplog.handler, "emit", emit)
    return found


@pytest.mark.parametrize("suspends", [False, True])
def test_a_coroutine_that_blocks_its_loop_is_named(
    told: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, suspends: bool
) -> None:
    """In its first step, and in a later one."""
    monkeypatch.setattr(blocking, "LOOK_S", 0.01)
    blocking._watched.clear()  # of tests whose executors are never closed
    monkeypatch.setattr(blocking, "LATE_S", 0.05)

    @plait.task
    async def fine() -> None:
        await asyncio.sleep(0)

    @plait.task
    async def blocks() -> bool:
        if suspends:
            await asyncio.sleep(0.001)
        return told.wait(30)

    assert plait.run([fine.bind(), blocks.bind()])[1]
    (record,) = caplog.records
    assert "task 'blocks' has kept the loop of run" in record.getMessage()
    assert "in wait)" in record.getMessage()


def elsewhere(call: Callable[[], None]) -> None:
    """In another thread, while this one waits."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_it_is_told_once_for_each_time_and_not_of_one_that_turns(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[int]:
        watched = Watched("r", asyncio.get_running_loop())
        counts = []
        for _ in range(2):
            for now in (0.0, LATE_S / 2, LATE_S, 2 * LATE_S):
                elsewhere(lambda now=now: watched.look(now))  # type: ignore[misc]
                counts.append(len(caplog.records))
            await asyncio.sleep(0)  # the turn that it was asked for
            await asyncio.sleep(0)
        for now in (10.0, 20.0, 30.0):
            elsewhere(lambda now=now: watched.look(now))  # type: ignore[misc]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        counts.append(len(caplog.records))
        return counts

    assert asyncio.run(main()) == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert "something has kept the loop of run r for 1.0 s" in caplog.text


def test_a_loop_that_was_closed_or_stands_still_is_late_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Before the run was over, by whoever owns it."""
    loop = asyncio.new_event_loop()
    watched = watch("r", loop)
    for now in (0.0, 10.0, 20.0):
        watched.look(now)
    assert watched in blocking._watched
    loop.close()
    watched.look(30.0)
    assert watched not in blocking._watched
    assert not caplog.records


def test_a_loop_that_waits_is_not_woken() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        watched = Watched("r", loop)
        ended = asyncio.Event()

        def looks() -> None:
            while not _waits(watched):
                time.sleep(0.001)
            watched.look(0.0)
            assert watched._asked_at is None
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=looks).start()
        await ended.wait()

    asyncio.run(main())


def _waits(watched: Watched) -> bool:
    import sys

    return sys._current_frames()[watched._thread].f_globals["__name__"] == "selectors"


def test_nobody_looks_once_no_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "LOOK_S", 0.001)
    blocking._watched.clear()

    async def body() -> int:
        return len(blocking._watched)

    node = plait.task(body).bind()
    assert plait.run(node) >= 1
    assert blocking._watched == {}
    until = time.monotonic() + 30
    while blocking._looking and time.monotonic() < until:
        time.sleep(0.001)
    assert not blocking._looking
    assert plait.run(node) >= 1  # another thread looks
