"""Figures of a run, from its events alone: exact under a virtual clock, the same from a store, for files and for Python."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import plait
from plait.observe.metrics import ACCURACY, MOST_KINDS, OTHER, Metrics, Names, Spread
from plait.testing import Scripted, ScriptedExecutor, VirtualClock


def played(target: Any, script: Any, **options: Any) -> Metrics:
    """The figures of a scripted run on virtual time."""
    metrics = Metrics()
    ScriptedExecutor(script).play(target, readers=[metrics], **options)
    return metrics


class Own(Metrics):
    """A reader that somebody made of ours."""


def told(store: Path) -> list[plait.RunEvent]:
    """What a store tells of its latest run."""
    seen: list[plait.RunEvent | None] = []
    plait.retell("last", store, [seen.append])
    assert seen.pop() is None
    return [event for event in seen if event is not None]


def fetch(item: Any = None) -> Any:
    return item


def parse(item: Any = None) -> Any:
    return item


class TestFigures:
    def test_b18_counts_attempts_and_times_are_exact(self) -> None:
        """B18: two slots, a pool of one, a retry after 10 s: every figure by hand."""
        graph = plait.Graph("g", pools={"db": 1})
        graph.add("a", fetch, pool="db")
        graph.add("b", fetch, pool="db")
        graph.add("c", parse, needs=["a"], retry={"attempts": 2, "delay": 10, "jitter": False}, allow_failure=True)
        graph.add("d", parse, when=False)
        script = {
            "a": Scripted(3),
            "b": Scripted(5),
            "c": [Scripted(1, error=ValueError("x")), Scripted(2, error=ValueError("y"))],
        }
        found = played(graph, script, max_concurrency=2)
        fetched, parsed, total = found.kinds["fetch"], found.kinds["parse"], found.total
        assert (fetched.counts, fetched.attempts, fetched.retries) == ({"succeeded": 2}, 2, 0)
        assert (fetched.run_s.total, fetched.run_s.mean, fetched.run_s.most) == (8, 4, 5)
        assert (fetched.queue_s.total, fetched.queue_s.least, fetched.queue_s.most) == (3, 0, 3)  # b waits for a's pool
        assert fetched.overhead_s.count == 0  # who waits for a pool may not be kept waiting by us
        assert (parsed.counts, parsed.attempts, parsed.retries) == ({"failed": 1, "skipped": 1}, 2, 1)
        assert (parsed.run_s.count, parsed.run_s.total) == (2, 3)  # both attempts; the pause of 10 s in neither
        assert (parsed.queue_s.count, parsed.queue_s.total, parsed.overhead_s.count) == (2, 0, 2)
        assert (total.counts, total.attempts) == ({"succeeded": 2, "failed": 1, "skipped": 1}, 4)
        assert (found.busy_s, found.wall_s, found.slots, found.peak) == (11, 16, 2, 2)
        assert found.efficiency == 11 / (16 * 2)
        assert found.critical_path_s == 5  # a and c's last attempt, or b alone
        pool = found.as_dict()["pools"]["db"]
        assert (pool["capacity"], pool["run_s"]["total"], pool["efficiency"]) == (1, 8, 0.5)
        assert (total.ready, total.running) == (0, 0)

    def test_overhead_is_time_with_a_free_slot_and_a_ready_task(self) -> None:
        """B18: `start - max(ready, slot free since)`: here somebody blocks the loop for 2 s."""
        clock = VirtualClock()

        async def block() -> None:
            clock.now += 2

        async def quick() -> None:
            await asyncio.sleep(1)

        graph = plait.Graph("g")
        graph.add("block", block)
        graph.add("quick", quick)
        graph.add("last", quick)
        metrics = Metrics()
        with clock:
            plait.run(graph, max_concurrency=2, readers=[metrics])
        quicks = metrics.kinds["quick"]
        assert metrics.kinds["block"].overhead_s.total == 0
        assert quicks.queue_s.total == 4
        assert (quicks.overhead_s.count, quicks.overhead_s.most) == (2, 2)
        assert quicks.overhead_s.total == 2  # for the third one no slot was free until then

    def test_a_full_house_and_a_pause_are_no_overhead(self) -> None:
        """B18: with all slots taken, or the run paused, a ready task waits for good reasons."""

        async def main() -> Metrics:
            metrics = Metrics()
            run = plait.start(
                [plait.task(asyncio.sleep).bind(5) for _ in range(3)], max_concurrency=1, readers=[metrics]
            )
            await asyncio.sleep(7)
            run.pause()
            await asyncio.sleep(13)
            run.resume()
            await run
            return metrics

        found = VirtualClock().run(main())
        assert found.kinds["sleep"].queue_s.total == 5 + 20
        assert found.kinds["sleep"].overhead_s.total == 0
        assert found.wall_s == 25

    def test_who_holds_an_abandoned_slot_is_not_known_and_nothing_is_said_of_it(self) -> None:
        """B18: the slot is taken, though the task is over; what starts from then on has no overhead, neither a wrong one."""
        graph = plait.Graph("g")
        graph.add("deaf", fetch, timeout=1, grace=1, allow_failure=True)
        graph.add("first", fetch)
        graph.add("second", parse, needs=["first"])
        script = {"deaf": Scripted(50, deaf=True), "first": Scripted(5), "second": Scripted(60)}
        found = played(graph, script, max_concurrency=2)
        assert found.kinds["fetch"].counts == {"timed_out": 1, "succeeded": 1}
        assert (found.kinds["fetch"].overhead_s.count, found.kinds["parse"].overhead_s.count) == (2, 0)

    def test_what_was_ready_is_not_ready_once_the_run_is_over(self) -> None:
        """B18."""

        async def main() -> Metrics:
            metrics = Metrics()
            run = plait.start(
                [plait.task(asyncio.sleep).bind(5) for _ in range(3)], max_concurrency=1, readers=[metrics]
            )
            await asyncio.sleep(1)
            assert (metrics.total.ready, metrics.total.running) == (2, 1)
            run.cancel()
            await run
            return metrics

        found = VirtualClock().run(main()).total
        assert (found.ready, found.running, found.counts) == (0, 0, {"cancelled": 1, "not_started": 2})

    def test_who_reads_from_half_way_on_is_told_no_figures_of_a_part(self) -> None:
        """B18: what the table knows is said all the same."""

        async def main() -> plait.RunEvent:
            run = plait.start([plait.task(asyncio.sleep).bind(5) for _ in range(4)], max_concurrency=2)
            await asyncio.sleep(7)
            events = [event async for event in run.events()]
            assert all("overhead_s" not in event.detail for event in events)
            return events[-1]

        last = VirtualClock().run(main())
        assert "metrics" not in last.detail
        assert (last.detail["efficiency"], last.detail["wall_s"], last.detail["counts"]) == (1.0, 10, {"succeeded": 4})

    def test_events_that_are_read_from_the_start_end_with_the_figures(self) -> None:
        """B18: numbered as a store would, where `run_started` is the first."""

        async def main() -> list[plait.RunEvent]:
            run = plait.start(plait.task(asyncio.sleep).bind(5))
            return [event async for event in run.events()]

        events = VirtualClock().run(main())
        assert [event.seq for event in events] == [2, 3, 4, 5]
        assert events[-1].detail["metrics"]["kinds"]["sleep"]["run_s"]["total"] == 5

    def test_a_task_that_grew_gave_its_slot_back_then(self) -> None:
        """B18: it runs on without a slot, and the figures know how long it had one."""

        @plait.task
        def grow() -> Any:
            return None

        inner = [plait.task(fetch).bind(number) for number in range(2)]
        graph = plait.Graph("g")
        graph.add("grow", grow)
        seen: list[plait.RunEvent] = []
        metrics = Metrics()
        script = {"grow": Scripted(4, value=inner), "grow/fetch": Scripted(3), "grow/fetch#2": Scripted(5)}
        ScriptedExecutor(script).play(graph, max_concurrency=1, readers=[metrics, lambda event: seen.append(event)])
        assert plait.flush_readers()
        assert {name: each.run_s.total for name, each in metrics.kinds.items()} == {"grow": 4, "grow/fetch": 8}
        assert (metrics.busy_s, metrics.wall_s, metrics.peak, metrics.efficiency) == (12, 12, 1, 1.0)
        assert metrics.critical_path_s == 9
        last = next(event for event in seen if event and event.event == "task_succeeded" and event.task == "grow")
        assert (last.detail["run_s"], last.detail["slot_s"], last.slot) == (12, 4, None)
        assert {event.slot for event in seen if event and event.event == "task_started"} == {1}

    def test_an_on_error_is_no_start_of_its_task(self, tmp_path: Path) -> None:
        """B18 D8: also where it begins between two attempts."""

        async def fails() -> None:
            await asyncio.sleep(1)
            raise ValueError("x")

        graph = plait.Graph("g")
        options = {"retry": {"attempts": 5, "delay": 10, "jitter": False}, "deadline": 3}
        graph.add("a", fails, on_error=plait.task(fetch).bind("instead"), **options)
        metrics, events = Metrics(), []
        with VirtualClock():
            result = plait.run(graph, readers=[metrics, events.append], store=tmp_path / "plait.db")
        assert result["a"].value == "instead"
        total = metrics.total
        assert (total.attempts, total.ready, total.running) == (2, 0, 0)  # one of each
        assert (total.run_s.count, total.run_s.most, metrics.busy_s, total.queue_s.total) == (2, 1, 1, 0)
        plait.flush_readers()
        names = [(event.event, event.task) for event in events if event and event.task == "a"]
        assert [name for name, _ in names] == ["task_ready", "task_started", "task_retrying", "task_succeeded"]
        assert next(event for event in events if event.event == "task_succeeded" and event.task == "a").detail == {
            "was": "retrying"
        }
        retold = Metrics()
        plait.retell("last", tmp_path / "plait.db", [retold])
        assert retold.as_dict() == metrics.as_dict()

    def test_figures_may_be_looked_at_while_the_run_goes_on(self) -> None:
        """B18."""

        async def main() -> None:
            metrics = Metrics()
            run = plait.start(
                [plait.task(asyncio.sleep).bind(5) for _ in range(4)], max_concurrency=2, readers=[metrics]
            )
            await asyncio.sleep(7)
            total = metrics.total
            assert (total.counts, total.running, total.ready) == ({"succeeded": 2}, 2, 0)
            assert (metrics.whole, metrics.run, metrics.critical_path_s) == (True, run.id, None)
            await run
            assert metrics.total.counts == {"succeeded": 4}
            assert metrics.efficiency == 1

        VirtualClock().run(main())

    def test_a_run_without_a_limit_has_as_many_slots_as_it_took(self) -> None:
        """B18."""
        script = {f"fetch#{number}": Scripted(number) for number in (2, 3)} | {"fetch": Scripted(1)}
        found = played([plait.task(fetch).bind(number) for number in range(3)], script, max_concurrency=None)
        assert (found.slots, found.peak, found.efficiency) == (None, 3, 6 / 9)
        assert played(plait.Graph("empty"), {}).efficiency is None

    def test_two_readers_of_figures_see_the_same_and_one_given_twice_counts_once(self) -> None:
        """B18."""
        one, two = Metrics(), Metrics()
        plait.run([plait.task(fetch).bind(number) for number in range(3)], readers=[one, two, one])
        assert one.as_dict() == two.as_dict()
        assert one.total.counts == {"succeeded": 3}

    def test_the_figures_of_two_runs_are_not_mixed(self) -> None:
        metrics = played(plait.task(fetch).bind(), {})
        with pytest.raises(plait.UsageError, match=r"give each run a plait\.Metrics\(\) of its own"):
            plait.run(plait.task(fetch).bind(), readers=[metrics])
        assert metrics.total.counts == {"succeeded": 1}
        with pytest.raises(ValueError, match=r"give run other a plait\.Metrics\(\) of its own"):
            metrics(plait.RunEvent("other", 1, 0.0, "run_started", detail={"slots": 1, "pools": {}}))


class TestKinds:
    def test_a_kind_is_the_function_whatever_the_keys(self) -> None:
        """B18: keys that a loop makes up are no kinds; items, and what tasks return, go by their path."""
        graph = plait.Graph("g")
        for number in range(3):
            graph.add(f"page {number}", fetch, args=(number,))
        graph.add("words", plait.shell(["printf", "x"]))
        graph.add("all", plait.task(parse).map([1, 2]))
        graph.add("odd[7]", plait.task(lambda: [plait.task(fetch).bind()]))
        metrics = Metrics()
        plait.run(graph, readers=[metrics])
        assert {name: each.counts for name, each in metrics.kinds.items()} == {
            "fetch": {"succeeded": 3}, "printf": {"succeeded": 1}, "parse": {"succeeded": 2}, "lambda": {"succeeded": 1},
            "lambda/fetch": {"succeeded": 1},
        }  # fmt: skip

    def test_flat_lists_and_streams_are_of_one_kind(self) -> None:
        """B18."""
        flat, streamed = Metrics(), Metrics()

        async def main() -> None:
            await plait.amap(fetch, range(4), readers=[flat])
            async for _ in plait.as_completed(fetch, range(5), max_concurrency=1, readers=[streamed]):
                pass

        asyncio.run(main())
        assert {name: each.counts for name, each in flat.kinds.items()} == {"fetch": {"succeeded": 4}}
        assert {name: each.counts for name, each in streamed.kinds.items()} == {"fetch": {"succeeded": 5}}

    def test_groups_hold_no_slot_and_are_not_counted(self) -> None:
        """B18: `run_finished` counts them among the tasks, the figures count what did the work."""
        seen: list[Any] = []
        metrics = Metrics()
        plait.run(plait.task(fetch).map([1, 2, 3]), readers=[metrics, seen.append])
        assert plait.flush_readers()
        assert metrics.total.counts == {"succeeded": 3}
        assert seen[-2].detail["counts"] == {"succeeded": 4}
        assert {event.task for event in seen[:-1] if "group" in event.detail} == {"fetch"}

    def test_a_file_and_python_have_the_same_figures(self, tmp_path: Path) -> None:
        """B18 D12."""
        (tmp_path / "f.yaml").write_text(
            "name: f\npools: {db: 1}\ntasks:\n"
            "  fetch: {foreach: [1, 2], run: [fetch, '{{ item }}'], pool: {db: 1}}\n"
            "  parse: {needs: [fetch], run: parse, retry: {attempts: 2, delay: 3, jitter: false}}\n"
        )
        graph = plait.Graph("f", pools={"db": 1})
        graph.add("fetch", plait.task(fetch, pool={"db": 1}).map([1, 2]))
        graph.add("parse", parse, needs=["fetch"], retry={"attempts": 2, "delay": 3, "jitter": False})
        script = {
            "fetch[0]": Scripted(2),
            "fetch[1]": Scripted(3),
            "parse": [Scripted(1, error=plait.CommandFailed("no", exit_code=1)), Scripted(4)],
        }
        file, python = (
            played(target, script, max_concurrency=4) for target in (plait.load(tmp_path / "f.yaml"), graph)
        )
        assert file.as_dict() == python.as_dict()
        assert file.kinds["fetch"].queue_s.total == 2
        assert (file.efficiency, file.critical_path_s) == (python.efficiency, python.critical_path_s) == (10 / 52, 7)

    def test_kinds_that_somebody_makes_up_cost_no_memory(self) -> None:
        """B18: what comes after a thousand kinds is counted together."""
        metrics = Metrics()
        for number in range(MOST_KINDS + 50):
            metrics(plait.RunEvent("r", number, 0.0, "task_skipped", f"k{number}", kind=f"k{number}"))
        assert len(metrics.kinds) == MOST_KINDS + 1
        assert metrics.kinds[OTHER].counts == {"skipped": 50}
        names = Names(1)
        assert [names["a"], names["b"], names["a"]] == ["a", OTHER, "a"]


class TestStoredRuns:
    def graph(self) -> plait.Graph:
        graph = plait.Graph("kept", pools={"db": 2})
        graph.add("first", fetch, args=([1, 2, 3],), pool={"db": 2})
        graph.add("each", plait.task(parse).map([4, 5]), needs=["first"])
        graph.add("other", fetch, needs=["each"])
        retry = {"attempts": 3, "delay": 0.0001, "jitter": False}
        graph.add("again", FAILS_TWICE, needs=["first"], retry=retry, allow_failure=True)
        return graph

    @pytest.mark.realtime
    def test_a_store_tells_the_same_figures_as_the_run_did(self, tmp_path: Path) -> None:
        """B18: the same reader over the same events: equal to the last digit."""
        live, seen = Metrics(), []
        plait.run(self.graph(), store=tmp_path / "runs.db", readers=[live, seen.append])
        assert plait.flush_readers()
        again = Metrics()
        plait.retell("last", tmp_path / "runs.db", [again])
        assert again.as_dict() == live.as_dict()
        assert (again.efficiency, again.wall_s, again.critical_path_s) == (
            live.efficiency,
            live.wall_s,
            live.critical_path_s,
        )
        assert again.whole
        assert set(again.kinds) == {"fetch", "parse", "FAILS_TWICE"}
        errors = [event.detail["error"] for event in seen[:-1] if event.event == "task_retrying"]
        assert errors == [f"ValueError: {number}" for number in (TRIED[0], TRIED[1])]
        assert [event.as_dict() for event in told(tmp_path / "runs.db")] == [event.as_dict() for event in seen[:-1]]
        assert seen[-2].detail["metrics"] == live.as_dict()

    @pytest.mark.realtime
    def test_who_resumes_a_run_goes_on_from_its_figures(self, tmp_path: Path) -> None:
        """B18: what this process does is added to what an earlier one did, and the store tells both."""
        store = tmp_path / "runs.db"

        async def leave() -> str:
            graph = plait.Graph("left")
            graph.add("done", fetch)
            graph.add("long", LONG, needs=["done"])
            run = plait.start(graph, store=store)
            async for event in run.events():
                if event.event == "task_started" and event.task == "long":
                    run._driver.interrupt()
            await run
            return run.id

        run_id = asyncio.run(leave())
        QUICK.append(True)
        metrics = Metrics()
        seen: list[Any] = []
        result = plait.resume(run_id, store=store, readers=[metrics, seen.append]).wait(30)
        assert plait.flush_readers()
        assert result.status == "succeeded"
        assert metrics.total.counts == {"succeeded": 2}
        assert (metrics.kinds["fetch"].attempts, metrics.kinds["long"].attempts) == (1, 2)
        assert metrics.kinds["long"].interrupted == 1
        assert metrics.whole
        again = Metrics()
        plait.retell(run_id, store, [again])
        assert again.as_dict() == metrics.as_dict() == seen[-2].detail["metrics"]
        assert "run_started" not in [event.event for event in seen[:-1]]
        assert [event.as_dict() for event in told(store)][-len(seen[:-1]) :] == [event.as_dict() for event in seen[:-1]]

    def test_who_resumes_a_run_that_is_over_has_its_figures(self, tmp_path: Path) -> None:
        """B18: nobody knows before whether the process that died had come to the end."""
        store, first, metrics, own, seen = tmp_path / "runs.db", Metrics(), Metrics(), Own(), []
        plait.run(plait.task(fetch).map([1, 2, 3]), store=store, readers=[first])
        result = plait.resume("last", store=store, readers=[metrics, own, seen.append]).wait()
        assert plait.flush_readers()
        assert result.status == "succeeded"
        for each in (metrics, own):
            assert each.as_dict() == first.as_dict()
            assert (each.run, each.wall_s, each.critical_path_s) == (first.run, first.wall_s, first.critical_path_s)
        assert seen == [None]

    @pytest.mark.realtime
    def test_events_of_a_run_that_is_over_are_none_whoever_asks(self, tmp_path: Path) -> None:
        async def main() -> list[plait.RunEvent]:
            run = plait.start(plait.task(fetch).bind(), store=tmp_path / "runs.db")
            await run
            return [event async for event in run.events()]

        assert asyncio.run(main()) == []

    @pytest.mark.realtime
    def test_what_an_earlier_generation_did_is_kept_apart(self, tmp_path: Path) -> None:
        """B18."""
        store = tmp_path / "runs.db"
        graph = plait.Graph("twice")
        graph.add("good", fetch)
        graph.add("bad", FAILS_ONCE, needs=["good"])
        run = plait.start(graph, store=store)
        assert run.wait(30).status == "failed"
        metrics = Metrics()
        assert plait.retry(run.id, store=store, readers=[metrics]).wait(30).status == "succeeded"
        good, bad = metrics.kinds["fetch"], metrics.kinds["FAILS_ONCE"]
        assert (good.counts, good.kept, good.attempts) == ({"succeeded": 1}, 1, 0)
        assert (bad.counts, bad.kept, bad.attempts) == ({"succeeded": 1}, 0, 1)

    def test_what_an_earlier_generation_did_took_none_of_this_ones_time(self, tmp_path: Path) -> None:
        """B18."""

        async def works(seconds: float) -> None:
            await asyncio.sleep(seconds)
            if seconds == 1 and not tried:
                tried.append(seconds)
                raise ValueError("once")

        async def main() -> None:
            metrics, store = Metrics(), tmp_path / "runs.db"
            run = plait.start(graph, store=store)
            await run
            await plait.retry(run.id, graph, store=store, readers=[metrics])
            assert (metrics.wall_s, metrics.critical_path_s, metrics.efficiency) == (1, 1, 1 / metrics.slots)

        tried: list[float] = []
        graph = plait.Graph("twice")
        graph.add("good", works, args=(5,))
        graph.add("bad", works, args=(1,), needs=["good"])
        VirtualClock().run(main())


QUICK: list[bool] = []
FAILED: list[bool] = []


async def long() -> None:
    if not QUICK:
        await asyncio.sleep(600)


TRIED: list[int] = []


async def FAILS_TWICE() -> None:
    TRIED.append(len(TRIED))
    if len(TRIED) % 3:
        raise ValueError(len(TRIED) - 1)


async def FAILS_ONCE() -> None:
    if not FAILED:
        FAILED.append(True)
        raise ValueError("once")


LONG = long


class TestSpread:
    @given(
        st.lists(st.floats(0, 1e9, allow_nan=False), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.95, 1.0])
    )
    def test_sums_are_exact_and_a_quantile_is_one_percent_off_at_most(self, times: list[float], share: float) -> None:
        """B18."""
        spread = Spread()
        for each in times:
            spread.add(each)
        assert (spread.count, spread.least, spread.most) == (len(times), min(times), max(times))
        assert spread.mean == pytest.approx(math.fsum(times) / len(times))
        exact = sorted(times)[max(1, math.ceil(share * len(times))) - 1]
        found = spread.quantile(share)
        assert found == pytest.approx(exact, rel=ACCURACY * 1.0001, abs=1e-9)

    @given(st.lists(st.floats(0, 1e6), max_size=50), st.lists(st.floats(0, 1e6), max_size=50))
    def test_two_merged_are_all_of_both(self, some: list[float], others: list[float]) -> None:
        left, right, whole = Spread(), Spread(), Spread()
        for spread, times in ((left, some), (right, others), (whole, some + others)):
            for each in times:
                spread.add(each)
        left.merge(right)
        assert (left.count, left.least, left.most) == (whole.count, whole.least, whole.most)
        assert [left.quantile(share) for share in (0.1, 0.5, 0.9)] == [
            whole.quantile(share) for share in (0.1, 0.5, 0.9)
        ]

    def test_a_million_times_take_a_few_buckets(self) -> None:
        """B18: nothing is kept but how many fell into each: from a microsecond to a day that is less than 1,300."""
        spread = Spread()
        for number in range(100_000):
            spread.add(1e-6 * (86_400e6 ** (number / 100_000)))
        assert len(spread._buckets) < 1300
        assert spread.as_dict()["count"] == 100_000
        assert Spread().as_dict() == {"count": 0, "total": 0.0, "mean": None, "p50": None, "p95": None, "max": None}
