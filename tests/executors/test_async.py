"""What one pool task leaves to the next, and what becomes of it where somebody else interferes (A10, X10)."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import plait
from plait._engine.doors import finish
from plait._engine.driver import Driver
from plait._engine.run import Run
from plait.concurrency import _flat_driver, values_of
from plait.executors.async_ import AsyncExecutor
from plait.testing.conformance import Recorder, attempt_of

VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default=None)


class Incomparable:
    """A value, such as an array, that cannot be compared as a whole."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of this comparison is ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_a_value_that_is_replaced_by_an_equal_one_is_not_seen_by_the_next() -> None:
    async def body(number: int) -> int:
        found: dict[str, int] = VARIABLE.get()
        VARIABLE.set({})
        return id(found)

    async def main() -> tuple[int, list[int]]:
        mine: dict[str, int] = {}
        VARIABLE.set(mine)
        return id(mine), await plait.amap(body, range(5), max_concurrency=1)

    mine, seen = asyncio.run(main())
    assert seen == [mine] * 5


def test_a_timeout_counts_from_the_start_also_after_the_loop_had_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """C9: the third body is the first after a slice."""
    monkeypatch.setattr("plait.executors.async_.SLICE_S", 0.0)

    async def body(number: int) -> int:
        if number % 2:
            await asyncio.sleep(0.01)
        return number

    assert asyncio.run(plait.amap(body, range(9), max_concurrency=1, timeout=60)) == list(range(9))


def test_readers_see_a_task_running_while_it_sleeps() -> None:
    """E3: not only once something else happens."""

    async def main() -> None:
        go_on = asyncio.Event()

        async def body() -> None:
            await go_on.wait()

        graph = plait.Graph("seen")
        graph.add("sleeper", body)
        run = plait.start(graph)
        async for event in run.events():
            if event.event == "task_started":
                go_on.set()  # without the event this would wait for ever
        assert (await run)["sleeper"].ok

    asyncio.run(asyncio.wait_for(main(), 30))


def test_whoever_asks_first_all_get_the_same_attempt() -> None:
    signals: list[object] = []

    async def body(number: int) -> None:
        context = contextvars.copy_context()
        with ThreadPoolExecutor(8) as threads:
            asked = [threads.submit(context.copy().run, lambda: plait.current().signal) for _ in range(8)]
        await asyncio.sleep(0)
        signals.append({*[each.result() for each in asked], plait.current().signal})

    asyncio.run(plait.amap(body, range(20), max_concurrency=4))
    assert [len(each) for each in signals] == [1] * 20  # type: ignore[arg-type]


def test_a_value_whose_class_has_no_hash_is_a_value() -> None:
    class Odd(type):
        def __eq__(cls, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    class Value(metaclass=Odd):
        pass

    @plait.task
    async def body(given: object) -> object:
        return given

    assert isinstance(plait.run(body.bind(Value())), Value)
    assert isinstance(plait.run(body.bind([body.bind(Value())]))[0], Value)


@pytest.mark.parametrize("value", [1, Incomparable()], ids=["plain", "incomparable"])
def test_what_a_body_sets_without_suspending_is_not_seen_by_the_next(value: object) -> None:
    seen: list[object] = []

    async def body(number: int) -> int:
        seen.append(VARIABLE.get())
        VARIABLE.set(value)
        return number

    assert asyncio.run(plait.amap(body, range(20), max_concurrency=1)) == list(range(20))
    assert seen == [None] * 20


def test_a_variable_that_was_set_before_the_run_is_seen_by_every_body_and_kept_by_the_caller() -> None:
    async def body(number: int) -> object:
        found = VARIABLE.get()
        VARIABLE.set(number)
        if number % 2:
            await asyncio.sleep(0)
        return found, VARIABLE.get()

    async def main() -> None:
        VARIABLE.set("caller's")
        found = await plait.amap(body, range(10), max_concurrency=3)
        assert found == [("caller's", number) for number in range(10)]
        assert VARIABLE.get() == "caller's"

    asyncio.run(main())


def test_what_a_body_leaves_running_knows_whose_it_is_when_others_run_in_its_place() -> None:
    keys: dict[int, str] = {}
    left: list[asyncio.Task[None]] = []

    async def later(number: int) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        keys[number] = plait.current().key

    async def body(number: int) -> None:
        left.append(asyncio.ensure_future(later(number)))  # and ends without suspending

    async def main() -> None:
        await plait.amap(body, range(6), max_concurrency=1)
        await asyncio.gather(*left)

    asyncio.run(main())
    assert keys == {number: f"body[{number}]" for number in range(6)}


def test_a_pool_task_that_somebody_cancels_before_it_began_fails_its_own_task_only() -> None:
    ran: list[int] = []

    async def body(number: int) -> int:
        ran.append(number)
        if number == 0:
            me = asyncio.current_task()

            def cancel_others() -> None:
                for task in asyncio.all_tasks():
                    if task.get_name() == "plait" and task is not me:
                        task.cancel()

            # It comes before the first steps of those that take this one's place when it suspends.
            asyncio.get_running_loop().call_soon(cancel_others)
            await asyncio.sleep(0.01)
        return number

    graph = plait.Graph("cancelled")
    for number in range(6):
        graph.add(f"t{number}", body, (number,))
    result = plait.run(graph, max_concurrency=3, raise_on_failure=False)
    assert {key: str(outcome.status) for key, outcome in result.items()} == {
        "t0": "succeeded",
        "t1": "failed",
        "t2": "failed",
        "t3": "succeeded",
        "t4": "succeeded",
        "t5": "succeeded",
    }
    assert isinstance(result["t1"].error, asyncio.CancelledError)
    assert sorted(ran) == [0, 3, 4, 5]


def test_a_body_that_stops_its_own_run_in_its_first_step_is_cancelled_where_it_suspends() -> None:
    reached: list[str] = []

    async def body(run: list[Run]) -> None:
        run[0].cancel()
        reached.append("cancelled the run")
        await asyncio.sleep(3600)
        reached.append("slept")

    async def main() -> None:
        runs: list[Run] = []
        graph = plait.Graph("own")
        graph.add("first", body, (runs,))
        graph.add("second", body, (runs,))
        runs.append(plait.start(graph, max_concurrency=1))
        result = await runs[0]
        assert str(result["first"].status) == "cancelled"
        assert result["first"].enforced
        assert str(result["second"].status) == "not_started"

    asyncio.run(main())
    assert reached == ["cancelled the run"]


def test_the_one_after_an_attempt_that_was_stopped_before_it_began_is_an_attempt_of_its_own() -> None:
    async def main() -> None:
        sink = Recorder()
        executor = sink.executor = AsyncExecutor(sink)
        first = attempt_of(sink, (asyncio.sleep, (3600,)), 1)
        second = attempt_of(sink, (asyncio.sleep, (0, "slept")), 2)
        executor.start(first)
        first.signal_stop(sink.clock())
        sink.queued.append(second)
        await sink.until(lambda: sink.ends(second))
        assert [(end.value, end.stopped) for end in sink.ends(first)] == [(None, True)]
        assert [(end.value, end.stopped) for end in sink.ends(second)] == [("slept", False)]

    asyncio.run(main())


def test_bodies_that_do_not_suspend_share_a_pool_task_and_nobody_makes_an_attempt_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []
    start = AsyncExecutor.start

    def counting(executor: AsyncExecutor, attempt: Any) -> None:
        started.append(attempt.task)
        start(executor, attempt)

    held: list[int] = []
    drivers: list[Driver] = []

    async def body(number: int) -> int:
        held.append(len(drivers[0]._attempts))
        return number

    async def main() -> list[int]:
        drivers.append(_flat_driver(body, range(50), None, 4, {}))
        result = await finish(drivers[0])
        return values_of(result.table, range(50))

    monkeypatch.setattr("plait.executors.async_.SLICE_S", 3600.0)
    monkeypatch.setattr(AsyncExecutor, "start", counting)
    assert asyncio.run(main()) == list(range(50))
    assert started == [0]  # the first took all that followed along
    assert held == [1] + [0] * 49
