"""`run_with_concurrency`, `amap`, `map_`, `as_completed`: rows A1-A11, B13, C10 and the faults around them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.errors import JudgedFailed
from plait.testing import VirtualClock


def virtual(make: Callable[[], Any]) -> Any:
    return VirtualClock().run(make())


class Peak:
    """Bodies that count how many of them run at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.order: list[int] = []

    def body(self, number: int, seconds: float = 1.0) -> Callable[[plait.CancelToken], Any]:
        async def run(signal: plait.CancelToken) -> int:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(number)
            await asyncio.sleep(seconds)
            self.now -= 1
            return number

        return run


async def forever(signal: plait.CancelToken) -> None:
    await asyncio.sleep(3600)


async def fail(signal: plait.CancelToken) -> None:
    raise ValueError("boom")


class TestRunWithConcurrency:
    def test_five_tasks_under_two_slots_peak_at_exactly_two(self) -> None:
        """A1 A3."""
        peak = Peak()
        result = virtual(lambda: plait.run_with_concurrency([peak.body(n) for n in range(5)], 2))
        assert peak.most == 2
        assert result.results == [0, 1, 2, 3, 4]
        assert result.first_failure_index is None
        assert result.trigger_index is None
        assert result.aborted is False

    def test_four_agents_under_a_limit_of_two_peak_at_two(self) -> None:
        """A3."""
        peak = Peak()
        virtual(lambda: plait.run_with_concurrency([peak.body(n, 5) for n in range(4)], 2))
        assert peak.most == 2

    def test_results_are_in_input_order_whatever_ends_first_and_a_legal_none_stays(self) -> None:
        """A2."""

        def body(number: int) -> Callable[[plait.CancelToken], Any]:
            async def run(signal: plait.CancelToken) -> int | None:
                await asyncio.sleep(10 - number)
                return None if number == 1 else number

            return run

        result = virtual(lambda: plait.run_with_concurrency([body(n) for n in range(4)], 4))
        assert result.results == [0, None, 2, 3]
        assert [outcome.key for outcome in result.outcomes] == ["task[0]", "task[1]", "task[2]", "task[3]"]

    def test_the_next_task_starts_the_moment_any_slot_frees(self) -> None:
        """A4 F68 N: no batches."""
        starts: dict[int, float] = {}

        def body(number: int, seconds: float) -> Callable[[plait.CancelToken], Any]:
            async def run(signal: plait.CancelToken) -> None:
                starts[number] = asyncio.get_running_loop().time()
                await asyncio.sleep(seconds)

            return run

        virtual(lambda: plait.run_with_concurrency([body(0, 10), body(1, 1), body(2, 1), body(3, 1)], 2))
        assert starts == {0: 0, 1: 0, 2: 1, 3: 2}

    def test_the_first_failure_fires_the_child_signals_cancels_starts_nothing_and_leaves_the_callers_signal_alone(
        self,
    ) -> None:
        """A5 A6 A7 A9 A10."""
        seen: list[bool] = []
        own = plait.CancelToken()

        async def watches(signal: plait.CancelToken) -> None:
            assert signal is not own
            try:
                await asyncio.sleep(3600)
            finally:
                seen.append(signal.cancelled)

        async def fails(signal: plait.CancelToken) -> None:
            await asyncio.sleep(1)
            raise ValueError("boom")

        never: list[int] = []

        async def never_runs(signal: plait.CancelToken) -> None:
            never.append(1)

        result = virtual(lambda: plait.run_with_concurrency([watches, watches, fails, never_runs], 3, own))
        assert seen == [True, True]
        assert never == []
        assert not own.cancelled
        assert [str(each.status) for each in result.outcomes] == ["cancelled", "cancelled", "failed", "not_started"]
        assert result.results == []
        assert len(result.outcomes) == 4
        assert result.first_failure_index == result.trigger_index == 2
        assert str(result.outcomes[2].error) == "boom"
        assert result.aborted is False

    def test_the_callers_abort_reaches_the_children_and_only_then_is_aborted_true(self) -> None:
        """A6."""

        async def main() -> plait.ConcurrencyResult[Any]:
            token = plait.CancelToken()
            asyncio.get_running_loop().call_later(5, token.cancel, "enough")
            return await plait.run_with_concurrency([forever, forever, forever], 2, token)

        result = virtual(main)
        assert result.aborted is True
        assert [str(each.status) for each in result.outcomes] == ["cancelled", "cancelled", "not_started"]
        assert result.first_failure_index is None

    def test_already_aborted_returns_at_once_and_calls_nothing(self) -> None:
        """A6 F66."""
        token = plait.CancelToken()
        token.cancel()
        called: list[int] = []
        result = virtual(lambda: plait.run_with_concurrency([lambda signal: called.append(1)] * 3, 2, token))
        assert called == []
        assert result.results == []
        assert result.aborted is True
        assert [str(each.status) for each in result.outcomes] == ["not_started"] * 3

    def test_a_value_judged_failed_fails_like_one_that_raised_and_is_kept(self) -> None:
        """A6 A7."""

        async def main() -> plait.ConcurrencyResult[Any]:
            async def give(value: int, signal: plait.CancelToken) -> int:
                return value

            bodies = [partial(give, 1), partial(give, -1), partial(give, 2)]
            return await plait.run_with_concurrency(bodies, 1, is_failed=lambda value: value < 0)

        result = virtual(main)
        assert result.results == [1, -1]
        assert isinstance(result.outcomes[1].error, JudgedFailed)
        assert result.outcomes[1].status == "failed"
        assert result.outcomes[2].status == "not_started"

    def test_a_raising_is_failed_is_a_failure_too(self) -> None:
        """A7."""

        async def main() -> plait.ConcurrencyResult[Any]:
            async def give(signal: plait.CancelToken) -> str:
                return "text"

            return await plait.run_with_concurrency([give], is_failed=lambda value: value < 0)

        result = virtual(main)
        assert isinstance(result.outcomes[0].error, TypeError)
        assert result.first_failure_index == 0

    def test_no_tasks_one_task_one_slot_and_more_slots_than_tasks(self) -> None:
        """A8 F65."""
        empty = virtual(lambda: plait.run_with_concurrency([]))
        assert (empty.results, empty.first_failure_index, empty.aborted, len(empty.outcomes)) == ([], None, False, 0)
        peak = Peak()
        assert virtual(lambda: plait.run_with_concurrency([peak.body(0)])).results == [0]
        wide = Peak()
        virtual(lambda: plait.run_with_concurrency([wide.body(n) for n in range(6)], 6))
        assert wide.most == 6
        narrow = Peak()
        virtual(lambda: plait.run_with_concurrency([narrow.body(n) for n in range(6)], 1))
        assert narrow.most == 1
        assert narrow.order == list(range(6))

    def test_of_several_failures_the_lowest_index_and_the_first_in_time_are_reported(self) -> None:
        """A9."""

        def fails_after(seconds: float) -> Callable[[plait.CancelToken], Any]:
            async def run(signal: plait.CancelToken) -> None:
                try:
                    await asyncio.sleep(seconds)
                finally:
                    raise ValueError(seconds)

            return run

        result = virtual(lambda: plait.run_with_concurrency([fails_after(9), fails_after(2), fails_after(5)], 3))
        assert result.trigger_index == 1
        assert result.first_failure_index == 1
        assert [str(each.status) for each in result.outcomes] == ["cancelled", "failed", "cancelled"]

    def test_the_default_limit_is_three(self) -> None:
        """A10."""
        peak = Peak()
        virtual(lambda: plait.run_with_concurrency([peak.body(n) for n in range(9)]))
        assert peak.most == 3

    def test_a_cleanup_is_told_once_and_has_its_grace(self) -> None:
        """F42: a second cancel, of the run or of its caller, does not cut into what the first one set off; `grace` bounds it."""
        said: list[str] = []

        async def cleans(seconds: float) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                try:
                    await asyncio.sleep(seconds)
                    said.append(f"cleaned for {seconds}")
                except asyncio.CancelledError:
                    said.append(f"cut after {asyncio.get_running_loop().time() - 1}")
                    raise

        async def main() -> tuple[float, list[bool]]:
            graph = plait.Graph("g")
            for seconds in (2.0, 9.0):
                graph.add(f"cleans-{seconds:.0f}", cleans, args=(seconds,), grace=3)
            graph.add("late", cleans, args=(2.5,), grace=3, timeout=0.5)  # told by its timeout, before any cancel
            run = plait.start(graph)
            await asyncio.sleep(1)
            for _ in range(3):
                run.cancel()
                await asyncio.sleep(0.25)
            result = await run
            return asyncio.get_running_loop().time(), [each.enforced for each in result.values()]

        at, enforced = plait_loop(main)
        assert said == ["cleaned for 2.0", "cleaned for 2.5", "cut after 3.0"]
        assert (at, enforced) == (4.0, [True, False, True])  # it ended as it was given up

    def test_a_task_that_ignores_the_signal_delays_the_return_by_grace_and_is_reported(self) -> None:
        """A11 F41."""

        async def deaf(signal: plait.CancelToken) -> None:
            while True:
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    pass

        async def main() -> tuple[plait.ConcurrencyResult[Any], float]:
            result = await plait.run_with_concurrency([deaf, fail], 2, grace=3)
            return result, asyncio.get_running_loop().time()

        result, at = plait_loop(main)
        assert at == 3
        assert result.outcomes[0].status == "cancelled"
        assert result.outcomes[0].enforced is False

    @pytest.mark.realtime
    def test_plain_functions_run_in_threads_and_get_the_signal(self) -> None:
        threads: set[int] = set()

        def body(signal: plait.CancelToken) -> bool:
            threads.add(threading.get_ident())
            return signal.cancelled

        result = asyncio.run(plait.run_with_concurrency([body] * 4, 2))
        assert result.results == [False] * 4
        assert threading.get_ident() not in threads

    @pytest.mark.realtime
    def test_an_awaitable_that_a_plain_function_returns_is_awaited_on_the_loop(self) -> None:
        async def later() -> int:
            await asyncio.sleep(0)
            return threading.get_ident()

        result = asyncio.run(plait.run_with_concurrency([lambda signal: later()]))
        assert result.results == [threading.get_ident()]

    @pytest.mark.parametrize("value", [0, -1, 2.5, float("nan"), True, "3"], ids=repr)
    def test_a_limit_that_is_none_is_refused_also_for_no_tasks(self, value: Any) -> None:
        """F64 N: zero turned into a default."""
        with pytest.raises(plait.LimitError, match="max_concurrency"):
            virtual(lambda: plait.run_with_concurrency([], value))

    def test_a_task_that_cannot_be_called_is_refused_before_any_runs(self) -> None:
        called: list[int] = []
        with pytest.raises(plait.UsageError, match="7 is not callable"):
            virtual(lambda: plait.run_with_concurrency([lambda signal: called.append(1), 7]))  # type: ignore[list-item]
        assert called == []

    def test_cancelling_the_caller_cancels_the_children(self) -> None:
        ended: list[str] = []

        async def body(signal: plait.CancelToken) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(1)  # its clean-up is not cut short
                ended.append("cleaned up")

        async def main() -> None:
            task = asyncio.create_task(plait.run_with_concurrency([body, body], 2))
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert ended == ["cleaned up"] * 2

        virtual(main)


def plait_loop(make: Callable[[], Any]) -> Any:
    """Like `virtual`, on a loop that plait closes: what was abandoned is let go of."""
    from plait._engine.doors import blocking

    with VirtualClock():
        return blocking(make)


class TestBodies:
    @pytest.mark.parametrize(
        "kind",
        [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException, asyncio.CancelledError, StopAsyncIteration],
    )
    @pytest.mark.parametrize("suspends", [False, True])
    def test_whatever_a_body_raises_is_its_own_outcome(self, kind: type[BaseException], suspends: bool) -> None:
        """C4 F44."""

        async def body(item: int) -> int:
            if suspends:
                await asyncio.sleep(0)
            if item == 1:
                raise kind("odd")
            return item

        async def main() -> list[plait.Outcome]:
            async with plait.as_completed(body, range(3), max_concurrency=1) as done:
                return [outcome async for outcome in done]

        outcomes = virtual(main)
        assert [str(each.status) for each in outcomes] == ["succeeded", "failed", "succeeded"]
        assert type(outcomes[1].error) is kind

    def test_contexts_are_isolated_before_and_after_a_suspension(self) -> None:
        variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)

        async def body(item: int) -> tuple[int, int]:
            before = variable.get()
            variable.set(item)
            if item % 2:
                await asyncio.sleep(0)
            return before, variable.get()

        async def main() -> list[tuple[int, int]]:
            variable.set(42)
            return await plait.amap(body, range(10), max_concurrency=3)

        assert virtual(main) == [(42, item) for item in range(10)]

    def test_timeouts_task_groups_and_cancelling_work_inside_a_body(self) -> None:
        """F40."""

        async def body(item: int) -> str:
            try:
                async with asyncio.timeout(1):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(asyncio.sleep(item))
            except TimeoutError:
                return f"timed out, cancelling {asyncio.current_task().cancelling()}"  # type: ignore[union-attr]
            return "in time"

        values = virtual(lambda: plait.amap(body, [0, 5, 0.5], max_concurrency=2))
        assert values == ["in time", "timed out, cancelling 0", "in time"]

    def test_a_body_that_cancels_the_task_it_sees_harms_no_other(self) -> None:
        async def body(item: int) -> int:
            if item == 0:
                asyncio.current_task().cancel()  # type: ignore[union-attr]
            return item

        assert virtual(lambda: plait.amap(body, range(5), max_concurrency=1)) == [0, 1, 2, 3, 4]

    def test_a_long_run_without_suspension_lets_the_loop_breathe(self) -> None:
        """F47: others are delayed by slices, not by the whole."""
        ticks: list[float] = []

        async def busy(item: int) -> int:
            end = asyncio.get_running_loop().time() + 0.001
            while asyncio.get_running_loop().time() < end:
                pass
            return item

        async def main() -> None:
            async def tick() -> None:
                while True:
                    ticks.append(asyncio.get_running_loop().time())
                    await asyncio.sleep(0)

            ticker = asyncio.create_task(tick())
            await plait.amap(busy, range(60), max_concurrency=2)
            ticker.cancel()

        asyncio.run(main())
        assert len(ticks) >= 5

    def test_retries_and_timeouts_on_virtual_time(self) -> None:
        """B15 C9 X10: hours in milliseconds."""
        tries: list[float] = []

        async def flaky(item: int) -> str:
            tries.append(asyncio.get_running_loop().time())
            if len(tries) == 1:
                raise ValueError("first")
            if len(tries) == 2:
                await asyncio.sleep(99999)
            return "third time lucky"

        retry = {"attempts": 3, "delay": 3600, "max_delay": 7200, "jitter": False}
        assert virtual(lambda: plait.amap(flaky, [1], retry=retry, timeout=60)) == ["third time lucky"]
        assert tries == [0, 3600, 3600 + 60 + 7200]

    def test_the_users_exception_passes_through_with_a_note_and_no_engine_frames(self) -> None:
        async def bad(item: int) -> None:
            raise LookupError(item)

        with pytest.raises(LookupError) as caught:
            virtual(lambda: plait.amap(bad, [7], retry={"attempts": 2, "delay": 0}))
        assert caught.value.__notes__[0].startswith("task 'bad[0]', attempt 2 of 2, run ")
        names = [entry.name for entry in caught.traceback]
        assert names[-1] == "bad"
        assert not {"_drive", "_rest", "_work"} & set(names)


class TestMaps:
    @pytest.mark.realtime
    def test_map_blocks_and_gives_values_in_order_for_functions_of_both_kinds(self) -> None:
        async def double(item: int) -> int:
            await asyncio.sleep(0)
            return 2 * item

        assert plait.map_(double, range(5), max_concurrency=2) == [0, 2, 4, 6, 8]
        assert plait.map_(lambda item: 2 * item, range(5)) == [0, 2, 4, 6, 8]
        assert plait.map_(double, []) == []

    def test_a_blocking_door_inside_a_coroutine_that_plait_runs_is_refused(self) -> None:
        async def inner(item: int) -> list[int]:
            return plait.map_(abs, [item])

        with pytest.raises(plait.UsageError, match=r"await plait\.amap"):
            plait.map_(inner, [1])

    @pytest.mark.realtime
    def test_a_blocking_door_inside_a_thread_body_is_fine(self) -> None:
        assert plait.map_(lambda item: plait.map_(abs, [item, -item]), [1, 2]) == [[1, 1], [2, 2]]

    @pytest.mark.parametrize(
        "options", [{"timeout": 0}, {"retries": True}, {"max_concurrency": 0}, {"wat": 1}, {"deadline": "soon"}]
    )
    def test_bad_options_are_refused_before_anything_runs_also_for_nothing(self, options: dict[str, Any]) -> None:
        with pytest.raises(plait.UsageError):
            plait.map_(abs, [], **options)

    def test_the_deadline_of_a_whole_map(self) -> None:
        with pytest.raises(plait.RunFailed, match="deadline"):
            virtual(lambda: plait.amap(asyncio.sleep, [1, 100], deadline=5))

    def test_a_hundred_thousand_items_in_order(self) -> None:
        """A2."""

        async def same(item: int) -> int:
            return item

        assert plait.map_(same, range(100_000), max_concurrency=100) == list(range(100_000))


class TestAsCompleted:
    def test_outcomes_come_in_the_order_of_their_ends(self) -> None:
        async def main() -> list[Any]:
            async with plait.as_completed(asyncio.sleep, [3, 1, 2], max_concurrency=3) as done:
                return [outcome.key async for outcome in done]

        assert virtual(main) == ["sleep[1]", "sleep[2]", "sleep[0]"]

    def test_an_endless_source_is_read_no_further_than_the_window_and_memory_stays_bounded(self) -> None:
        """C10."""
        read = 0
        alive: weakref.WeakSet[Any] = weakref.WeakSet()

        class Item:
            pass

        def source() -> Iterator[Item]:
            nonlocal read
            while True:
                read += 1
                item = Item()
                alive.add(item)
                yield item

        async def body(item: Item) -> Item:
            return item

        async def main() -> int:
            taken = most = 0
            async with plait.as_completed(body, source(), max_concurrency=4) as done:
                async for outcome in done:
                    assert outcome.ok
                    taken += 1
                    assert read <= taken + 8
                    del outcome
                    if taken % 1000 == 0:
                        gc.collect()
                        most = max(most, len(alive))
                    if taken == 5000:
                        break
                assert done._driver is not None
                return max(most, done._driver.table.size)

        assert virtual(main) <= 20

    def test_leaving_the_block_cancels_the_rest(self) -> None:
        ended: list[int] = []

        async def body(item: int) -> int:
            try:
                await asyncio.sleep(item)
            finally:
                ended.append(item)
            return item

        async def main() -> float:
            async with plait.as_completed(body, [1, 50, 60, 70], max_concurrency=3) as done:
                async for outcome in done:
                    assert outcome.value == 1
                    break
            return asyncio.get_running_loop().time()

        assert virtual(main) == 1
        assert sorted(ended) == [1, 50, 60]

    def test_an_async_source_and_a_plain_async_for(self) -> None:
        async def source() -> AsyncIterator[int]:
            for number in range(10):
                await asyncio.sleep(1)
                yield number

        async def same(item: int) -> int:
            return item

        async def main() -> list[int]:
            return [outcome.value async for outcome in plait.as_completed(same, source(), max_concurrency=2)]

        assert virtual(main) == list(range(10))

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_source_that_raises_is_heard_after_what_was_under_way(self, is_async: bool) -> None:
        def source() -> Iterator[int]:
            yield 1
            yield 2
            raise RuntimeError("no more")

        async def async_source() -> AsyncIterator[int]:
            for item in source():
                yield item

        async def main() -> list[str]:
            seen = []
            with pytest.raises(RuntimeError, match="no more"):
                async for outcome in plait.as_completed(asyncio.sleep, async_source() if is_async else source()):
                    seen.append(outcome.key)
            return seen

        assert virtual(main) == ["sleep[0]", "sleep[1]"]

    def test_failures_are_outcomes_and_others_go_on(self) -> None:
        async def body(item: int) -> float:
            return 1 / item

        async def main() -> list[str]:
            return [str(outcome.status) async for outcome in plait.as_completed(body, [1, 0, 2], max_concurrency=1)]

        assert virtual(main) == ["succeeded", "failed", "succeeded"]

    def test_what_is_not_iterable_is_refused(self) -> None:
        with pytest.raises(plait.UsageError, match="items must be iterable"):
            plait.as_completed(abs, 7)  # type: ignore[call-overload]


class TestCancelToken:
    def test_fires_once_with_the_first_reason_and_tells_its_listeners(self) -> None:
        token = plait.CancelToken()
        calls: list[int] = []
        assert token.listen(lambda: calls.append(1))
        assert not token.cancelled
        token.raise_if_cancelled()
        token.cancel("first")
        token.cancel("second")
        assert (token.cancelled, token.reason, calls) == (True, "first", [1])
        assert not token.listen(lambda: calls.append(2))
        with pytest.raises(plait.TaskCancelled, match="first"):
            token.raise_if_cancelled()

    @pytest.mark.realtime
    def test_a_coroutine_may_wait_for_one_fired_in_another_thread(self) -> None:
        async def main() -> None:
            token = plait.CancelToken()
            waiting = asyncio.create_task(token.wait())
            await asyncio.sleep(0)
            threading.Thread(target=token.cancel).start()
            async with asyncio.timeout(10):
                await waiting
            await token.wait()

        asyncio.run(main())


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stored", [False, True])
class TestSlotsFullOfCoroutines:
    """C9 N: a timeout that does not stop anything. Nobody asks for another task then, and time passes all the same."""

    @staticmethod
    async def nap(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    def run(
        self, target: Any, slots: int, stored: bool, tmp_path: Path, **options: Any
    ) -> tuple[plait.RunResult, float]:
        with VirtualClock() as clock:
            store = {"store": tmp_path / "p.db"} if stored else {}
            result = plait.run(target, max_concurrency=slots, raise_on_failure=False, **store, **options)
            return result, clock.now

    def test_a_runs_deadline(self, slots: int, stored: bool, tmp_path: Path) -> None:
        """C9: whatever else is due, or nothing is."""
        graph = plait.Graph()
        for at in range(slots):
            graph.add(f"t{at}", self.nap, args=(50,))
        result, now = self.run(graph, slots, stored, tmp_path, deadline=3)
        assert result.status == "failed"
        assert now == pytest.approx(3)

    def test_a_tasks_deadline_at_work_and_in_the_queue(self, slots: int, stored: bool, tmp_path: Path) -> None:
        """C9: `on_error` is for what began."""
        graph = plait.Graph()
        for at in range(slots):
            graph.add(f"t{at}", plait.task(deadline=20)(self.nap), args=(50,))
        graph.add("queued", plait.task(deadline=2)(self.nap), args=(1,), on_error=lambda: "repaired")
        result, now = self.run(graph, slots, stored, tmp_path)
        assert {str(result[f"t{at}"].status) for at in range(slots)} == {"timed_out"}
        assert (str(result["queued"].status), result["queued"].attempts) == ("timed_out", 0)
        assert "queued/on_error" not in result
        assert now == pytest.approx(20)

    def test_the_timeout_of_a_map(self, slots: int, stored: bool, tmp_path: Path) -> None:
        """C9: of what it grew, none is left at work."""
        graph = plait.Graph()
        graph.add("map", plait.task(self.nap).map([50] * slots, timeout=3))
        result, now = self.run(graph, slots, stored, tmp_path)
        assert {str(each.status) for key, each in result.items() if key != "map"} == {"cancelled"}
        assert (str(result["map"].status), now) == ("timed_out", pytest.approx(3))
