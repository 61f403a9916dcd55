"""Defects that were found by trying: each stays found."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import plait
from plait._engine.doors import blocking
from plait.testing import VirtualClock
from processes import living


def virtual(make: Callable[[], Any]) -> Any:
    with VirtualClock():
        return blocking(make)


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("unbound")


@pytest.mark.parametrize("error", [Frozen(1), Unprintable()], ids=["frozen", "unprintable"])
def test_an_exception_that_takes_no_note_or_has_no_text_costs_only_its_own_outcome(error: Exception) -> None:
    """F44 C4."""

    def body(item: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        plait.map_(body, [1])
    task = type("T", (), {"id": 1, "dependencies": ()})()
    (result,) = asyncio.run(plait.ParallelRunner().run_phase([task], body))
    assert result.status == "failed"


def test_a_value_that_answers_nothing_is_a_value() -> None:
    assert len(plait.map_(lambda item: Hostile(), [1, 2])) == 2


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, SystemExit, KeyboardInterrupt])
def test_whatever_is_failed_raises_is_a_failure(kind: type[BaseException]) -> None:
    """A7."""

    def judge(value: Any) -> bool:
        raise kind("odd")

    async def body(token: plait.CancelToken) -> int:
        return 1

    result = virtual(lambda: plait.run_with_concurrency([body], is_failed=judge))
    assert result.outcomes[0].status == "failed"


def test_a_condition_that_raises_fails_its_task() -> None:
    def condition() -> bool:
        raise SystemExit(3)

    graph = plait.Graph("g")
    graph.add("a", lambda: 1, when=condition)
    graph.add("b", lambda: 2)
    result = plait.run(graph, raise_on_failure=False)
    assert (result["a"].status, result["b"].status) == ("failed", "succeeded")


def test_an_async_source_that_was_cancelled_from_within_is_heard() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    async def main() -> int:
        seen = 0
        with pytest.raises(asyncio.CancelledError):
            async for _ in plait.as_completed(asyncio.sleep, source()):
                seen += 1
        return seen

    assert virtual(main) == 1


async def deaf_for(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(end - loop.time())


def test_a_stream_goes_on_once_abandoned_attempts_end() -> None:
    """W13 C10: no item is lost, no row stays taken."""

    async def main() -> int:
        done = plait.as_completed(deaf_for, [5] * 20, max_concurrency=2, timeout=1, grace=3)
        return len([outcome async for outcome in done])

    assert virtual(main) == 20


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"timeout": 1, "grace": 2}, "abandoned attempts"), ({"deadline": 5, "grace": 1}, "deadline")],
)
def test_a_stream_whose_run_failed_says_so(options: dict[str, Any], reason: str) -> None:
    async def main() -> int:
        seen = 0
        with pytest.raises(plait.RunFailed, match=reason):
            async for _ in plait.as_completed(deaf_for, [100] * 20, max_concurrency=2, **options):
                seen += 1
        return seen

    assert virtual(main) >= 2


@pytest.mark.realtime
def test_a_system_exit_beside_a_running_loop_leaves_the_background_loop_alive() -> None:
    async def leave(item: int) -> None:
        raise SystemExit(3)

    async def main() -> None:
        with pytest.raises(SystemExit):
            plait.map_(leave, [1])
        assert plait.map_(abs, [-1]) == [1]

    asyncio.run(main())


@pytest.mark.realtime
def test_a_blocking_door_in_a_condition_on_the_background_loop_is_refused() -> None:
    graph = plait.Graph("g")
    graph.add("a", lambda: 1, when=lambda: bool(plait.map_(abs, [1])))
    result = plait.start(graph).wait(20)
    assert isinstance(result["a"].error, plait.UsageError)


def test_nodes_that_come_to_need_each_other_through_a_changed_list_are_a_cycle() -> None:
    """F63."""

    @plait.task
    def join(*parts: Any) -> None: ...

    x = join.bind()
    first, second = [x], [x]
    a, b = join.bind(first).named("a"), join.bind(second).named("b")
    first.append(b)
    second.append(a)
    with pytest.raises(plait.GraphError, match="cycle: b -> a -> b"):
        plait.run(a)


def test_a_loop_that_is_shut_down_cancels_its_runs_and_blames_nobody() -> None:
    runs: list[plait.Run] = []

    async def main() -> None:
        @plait.task
        async def sleeper() -> None:
            await asyncio.sleep(3600)

        runs.append(plait.start([sleeper.bind() for _ in range(5)], max_concurrency=3, grace=60))
        asyncio.get_running_loop().create_task(plait.amap(asyncio.sleep, [3600] * 9, max_concurrency=4, grace=60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 30  # less than the grace
    result = runs[0].wait(1)
    assert result.status == "cancelled"
    assert result.first_cause is None
    assert set(result.counts) <= {"cancelled", "not_started"}


def test_nothing_starts_after_the_first_failure_not_even_what_had_its_slot() -> None:
    """A5."""
    ran: list[str] = []

    async def sleeps(token: plait.CancelToken) -> None:
        await asyncio.sleep(1)

    async def fails(token: plait.CancelToken) -> None:
        raise ValueError

    async def late(token: plait.CancelToken) -> None:
        ran.append("late")

    result = virtual(lambda: plait.run_with_concurrency([sleeps, fails, late], 3))
    assert ran == []
    assert [str(each.status) for each in result.outcomes] == ["cancelled", "failed", "cancelled"]


def test_a_token_fired_by_a_body_on_the_loop_is_heard_at_once() -> None:
    """A6."""
    token = plait.CancelToken()

    async def fires(child: plait.CancelToken) -> None:
        token.cancel()

    async def other(child: plait.CancelToken) -> None: ...

    result = virtual(lambda: plait.run_with_concurrency([fires, other, other], 1, token))
    assert result.aborted
    assert [str(each.status) for each in result.outcomes[1:]] == ["not_started"] * 2


ENDLESS = "trap '' TERM; while :; do sleep 1; done # "


@pytest.mark.realtime
@pytest.mark.parametrize("how", ["twice", "start"])
def test_no_command_outlives_the_process_that_started_it(how: str) -> None:
    """W9."""
    marker = f"plait-marker-{how}-{os.getpid()}"
    door = "plait.run" if how == "twice" else "plait.start"
    program = f"import plait, sys, time\nnode = plait.shell({ENDLESS + marker!r})\n"
    program += (
        f"{door}(node)\n"
        if how == "twice"
        else f"import psutil\nrun = {door}(node)\nwhile not psutil.Process().children():\n    pass\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    if how == "twice":
        deadline = time.monotonic() + 20
        while not living(marker + "") or len(living(marker)) < 2:
            assert time.monotonic() < deadline
        child.send_signal(signal.SIGINT)
        while child.poll() is None and time.monotonic() < deadline:
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.2)
    child.communicate(timeout=20)
    assert living(marker) == []


def test_tasks_may_be_methods() -> None:
    class Scale:
        factor = 3

        @plait.task
        def times(self, value: int) -> int:
            return self.factor * value

    assert plait.run(Scale().times.bind(2)) == 6
    assert Scale().times(2) == 6


@pytest.mark.realtime
def test_a_token_may_be_fired_in_a_signal_handler_while_its_thread_listens() -> None:
    token = plait.CancelToken()
    signal.signal(signal.SIGUSR1, lambda *_: token.cancel())
    try:
        while not token.cancelled:
            for _ in range(200):
                token.listen(print)
                token.unlisten(print)
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_what_comes_too_late_is_no_value() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return "too late"
        return "in time"

    graph = plait.Graph("g")
    late = graph.add("late", stubborn, timeout=1, allow_failure=True)
    graph.add("use", lambda value: value, args=(late,))

    result = virtual(lambda: plait.arun(graph))
    assert result["late"].status == "timed_out"
    assert result["late"].value is None
    assert result["use"].value is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: plait.map_(abs, 7),
        lambda: plait.shell(None),
        lambda: plait.shell("true", env=5),
        lambda: plait.shell("true", cwd=5),
        lambda: plait.Graph("g").add("a", abs, needs=None),
        lambda: plait.Graph("g").add("a", abs, needs="ab"),
        lambda: plait.Graph("g").add("a", abs, args=5),
        lambda: plait.Graph("g").add("a", 5),
        lambda: plait.get_independent_tasks(5),
        lambda: plait.get_independent_tasks([object()]),
        lambda: plait.task(retry=plait.Retry(attempts=0)),
        lambda: plait.task(lambda one: one).map([1], [2]),
        lambda: plait.task(lambda one: one).map([1], retries=2),
        lambda: plait.run(5),
        lambda: plait.run(lambda: 5),
        lambda: plait.run(plait.shell("true"), wat=1),
        lambda: plait.current(),
        lambda: plait.task(lambda one: one).bind(plait.task(abs)),
        lambda: plait.task(lambda one: one).bind([plait.task(abs)]),
        lambda: f"{plait.shell('true')}",
    ],
)
def test_input_that_cannot_be_is_one_clear_error(call: Callable[[], Any]) -> None:
    with pytest.raises(plait.UsageError):
        outcome = call()
        if callable(outcome):
            outcome(abs)


def test_a_wide_limit_costs_nothing_for_few_items() -> None:
    async def main() -> int:
        return len([each async for each in plait.as_completed(asyncio.sleep, [0] * 5, max_concurrency=10**9)])

    assert virtual(main) == 5


def test_a_deep_recursion_that_fails_is_told_by_its_root() -> None:
    @plait.task
    def down(depth: int) -> Any:
        if depth == 0:
            raise ValueError("the bottom")
        return down.bind(depth - 1)

    with pytest.raises(ValueError, match="the bottom"):
        plait.run(down.bind(300))


def test_a_callable_object_keeps_its_own_attributes() -> None:
    class Call:
        def __init__(self) -> None:
            self.bind = self.map = self.options = "mine"

        def __call__(self) -> int:
            return 5

    graph = plait.Graph("g")
    graph.add("a", Call(), timeout=3)
    assert plait.run(graph)["a"].value == 5


def test_a_node_that_was_added_is_the_added_task() -> None:
    """N: each task once."""
    calls: list[int] = []

    @plait.task
    def once() -> int:
        calls.append(1)
        return 1

    node = once.bind()
    graph = plait.Graph("g")
    graph.add("a", node)
    graph.add("b", lambda value: value, args=(node,))
    assert len(plait.run(graph)) == 2
    assert calls == [1]


def test_a_body_that_raises_cancelled_does_not_cancel_its_caller() -> None:
    async def odd(item: int) -> None:
        raise asyncio.CancelledError

    with pytest.raises(plait.TaskCancelled):
        virtual(lambda: plait.amap(odd, [1]))


def test_a_cancellation_that_the_caller_swallowed_before_is_not_the_runs() -> None:
    async def odd(item: int) -> int:
        await asyncio.sleep(0)
        if item == 0:
            raise asyncio.CancelledError
        return item

    async def main() -> list[str]:
        me = asyncio.current_task()
        assert me is not None
        me.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        return [str(each.status) async for each in plait.as_completed(odd, [0, 1], max_concurrency=1)]

    assert virtual(main) == ["failed", "succeeded"]


def test_a_listener_that_raises_changes_nothing_for_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """F79 A5."""

    async def listens(token: plait.CancelToken) -> None:
        token.listen(lambda: 1 / 0)
        await asyncio.sleep(100)

    async def fails(token: plait.CancelToken) -> None:
        await asyncio.sleep(1)
        raise ValueError

    async def main() -> tuple[list[str], float]:
        result = await plait.run_with_concurrency([listens, listens, fails], None)
        return [str(each.status) for each in result.outcomes], asyncio.get_running_loop().time()

    assert virtual(main) == (["cancelled", "cancelled", "failed"], 1)
    assert "a listener of a cancel token raised" in caplog.text


def test_a_condition_does_not_change_what_a_join_decided() -> None:
    """W12."""

    def fails() -> None:
        raise ValueError

    graph = plait.Graph("g")
    graph.add("a", fails, allow_failure=True)
    graph.add("s", lambda: 1, needs=["a"], join="one_success")
    graph.add("j", lambda: 1, needs=["a", "s"], join="one_failed", when=lambda: True)
    assert plait.run(graph)["j"].status == "succeeded"


@pytest.mark.parametrize("options", [{"deadline": 5, "grace": 1}, {"on_failure": "fail_fast"}])
def test_a_stream_tells_what_was_waiting_for_another_attempt(options: dict[str, Any]) -> None:
    async def body(item: int) -> None:
        await asyncio.sleep(0.1)
        if item == 0:
            raise ValueError
        await asyncio.sleep(1 if "on_failure" in options else 100)
        raise KeyboardInterrupt

    async def main() -> dict[str, str]:
        seen = {}
        done = plait.as_completed(body, range(3), max_concurrency=1, retry={"attempts": 3, "delay": 0}, **options)
        with contextlib.suppress(plait.RunFailed):
            async for each in done:
                seen[each.key] = str(each.status)
        return seen

    seen = virtual(main)
    assert seen["body[0]"] == "cancelled"
    assert set(seen) >= {"body[0]", "body[1]"}


def test_a_tasks_deadline_counts_from_its_first_readiness() -> None:
    tries: list[int] = []

    async def slow() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        clock.now += 4  # blocks the loop: no timer is served meanwhile
        return "late"

    graph = plait.Graph("g")
    graph.add("t", slow, deadline=5, retry={"attempts": 2, "delay": 3, "jitter": False})
    with VirtualClock() as clock:
        assert plait.run(graph, raise_on_failure=False)["t"].status == "timed_out"


def test_a_stream_without_a_limit_goes_on_however_many_attempts_are_abandoned() -> None:
    """W13."""

    async def body(item: int) -> int:
        if item < 1000:
            await deaf_for(1e6)
        return item

    async def main() -> int:
        async with plait.as_completed(body, range(1003), max_concurrency=None, timeout=1, grace=1) as done:
            return len([each async for each in done])

    assert virtual(main) == 1003


def test_a_reader_that_left_keeps_nothing() -> None:
    async def main() -> bool:
        graph = plait.Graph("g")
        graph.add("m", plait.task(asyncio.sleep).map([0] * 5000))
        run = plait.start(graph)
        events = run.events()
        reading = aiter(events)
        await anext(reading)
        await reading.aclose()  # type: ignore[attr-defined]
        kept = events._queue.qsize()
        await run
        return events._queue.qsize() == kept

    assert asyncio.run(main())


def test_a_key_that_a_map_will_use_is_refused() -> None:
    """E12: keys are the identity."""
    graph = plait.Graph("g")
    graph.add("p", plait.task(abs).map([10]))
    graph.add("p[0]", abs, args=(99,))
    with pytest.raises(plait.GraphError, match=r"key 'p\[0\]' is that of a task which the map 'p' grows"):
        plait.run(graph)


def test_deep_growth_costs_what_it_costs() -> None:
    @plait.task
    async def step(depth: int) -> Any:
        return step.bind(depth - 1) if depth else 0

    began = time.process_time()
    assert plait.run(step.bind(2000)) == 0
    assert time.process_time() - began < 5
