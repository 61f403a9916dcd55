"""Runs with a store: resumed, retried, forked, edited; what is kept, what runs again, what is refused."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import plait
from plait._engine.keeping import KeptDriver
from plait._engine.replaying import Replay
from plait.errors import NotStorable, OwnershipLost, RunChanged, RunNotFound, RunOwned, TaskInterrupted, UsageError
from plait.stores.contract import Store
from plait.stores.memory import MemoryStore
from plait.stores.opening import open_store
from plait.testing import VirtualClock

CALLS: list[str] = []
FAILING: set[str] = set()
GATE = threading.Event()


@dataclass
class Point:
    at: int


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    CALLS.clear()
    FAILING.clear()
    GATE.clear()
    yield
    GATE.set()


def called(key: str) -> None:
    CALLS.append(key)
    if key in FAILING:
        raise ValueError(f"{key} is to fail")


@plait.task
async def one() -> int:
    called("one")
    return 1


@plait.task
def double(value: int) -> int:
    called(f"double {value}")
    return 2 * value


@plait.task
def point(at: int) -> Point:
    called(f"point {at}")
    return Point(at)


@plait.task
def add(left: Any, right: Any) -> Any:
    called("add")
    return left + right


@plait.task
def numbers(size: int) -> list[int]:
    called("numbers")
    return list(range(size))


@plait.task
def grows(size: int) -> list[Any]:
    called("grows")
    return [double.bind(number) for number in range(size)]


@plait.task
async def hangs() -> None:
    called("hangs")
    await asyncio.sleep(600)


@plait.task(on_interrupt="fail")
async def hangs_once() -> None:
    called("hangs_once")
    await asyncio.sleep(600)


@plait.task(grace=0.1)
def waits() -> str:
    called("waits")
    assert GATE.wait(30)
    return "done"


def graph(*, right: int = 5) -> plait.Graph:
    made = plait.Graph("sums")
    left = made.add("left", double, args=(made.add("one", one),))
    made.add("sum", add, args=(left, made.add("right", double, args=(right,))))
    made.add("alone", double, args=(100,))
    return made


def stored(store: Any) -> tuple[Any, ...]:
    """Statuses by key."""
    found = plait.resume("last", store=store).wait()
    return {key: str(each.status) for key, each in found.items()}, found


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryStore() if request.param == "memory" else str(tmp_path / "kept" / "plait.db")


def leave(target: Any, store: Any, until: Callable[[], bool], **options: Any) -> str:
    """Starts a run and leaves it, as a signal does, once `until` holds; its id."""

    async def left() -> str:
        run = plait.start(target, store=store, **options)
        while not until():
            await asyncio.sleep(0)
        run._driver.interrupt()
        result = await run
        assert result.interrupted
        return run.id

    return asyncio.run(left())


class TestResume:
    def test_a_run_that_was_left_goes_on_where_it_was_and_runs_nothing_again(self, store: Any) -> None:
        """X1 W3 W14 F71: what ended is there, what ran runs again, what had not started starts."""
        made = plait.Graph("g")
        first = made.add("one", one)
        made.add("hangs", hangs, needs=["one"])
        made.add("double", double, args=(first,), needs=["hangs"])
        left = leave(made, store, lambda: "hangs" in CALLS)
        assert CALLS == ["one", "hangs"]
        CALLS.clear()
        again = leave_resumed(store, lambda: "hangs" in CALLS)
        assert again == left
        assert CALLS == ["hangs"]
        opened = open_store(store) if isinstance(store, str) else store
        assert opened.find(left).status == "running"

    def test_a_run_that_is_over_is_not_touched(self, store: Any) -> None:
        """W14."""
        value = plait.run(add.bind(one.bind(), double.bind(4)), store=store)
        assert value == 9
        CALLS.clear()
        for _ in range(2):
            run = plait.resume("last", store=store)
            assert run.done
            assert run.wait().value == 9
        assert CALLS == []

    def test_maps_and_returned_nodes_are_made_again_of_what_is_stored(self, store: Any) -> None:
        """W1: what a task grew is on record with it; its code is not run again for that."""
        target = add.bind(double.map(numbers.bind(3)), add.bind(grows.bind(2), after_hanging(GATE)))
        run_id = leave(target, store, lambda: CALLS.count("waits") == 1 and len(CALLS) == 8)
        assert sorted(CALLS) == [
            "double 0",
            "double 0",
            "double 1",
            "double 1",
            "double 2",
            "grows",
            "numbers",
            "waits",
        ]
        CALLS.clear()
        GATE.set()
        result = plait.resume(run_id, store=store).wait()
        assert result.status == "succeeded"
        assert result.value == [0, 2, 4, 0, 2, "done"]
        assert CALLS == ["waits", "add", "add"]

    def test_a_graph_with_a_lambda_needs_to_be_given(self, store: Any) -> None:
        made = plait.Graph("g")
        made.add("lambda", lambda: 1)
        made.add("hangs", hangs, needs=["lambda"])
        run_id = leave(made, store, lambda: "hangs" in CALLS)
        with pytest.raises(UsageError, match=r"cannot find the function of lambda again.*Give the graph"):
            plait.resume(run_id, store=store)
        CALLS.clear()
        assert leave_resumed(store, lambda: "hangs" in CALLS, target=made) == run_id

    def test_the_same_values_errors_and_times_are_seen_as_by_the_first_process(self, store: Any) -> None:
        FAILING.add("double 5")
        first = plait.run(graph(), store=store, raise_on_failure=False)
        _, again = stored(store)
        assert again.status == first.status == "failed"
        for key, outcome in first.items():
            other = again[key]
            assert (other.status, other.value, other.attempts) == (outcome.status, outcome.value, outcome.attempts)
            assert other.started_at == outcome.started_at
            assert other.ended_at == outcome.ended_at
            assert repr(other.error) == repr(outcome.error)
        assert again.first_cause.key == first.first_cause.key
        assert again["right"].error.__notes__ == first["right"].error.__notes__

    def test_a_living_owner_is_not_disturbed(self, tmp_path: Path) -> None:
        """W7 F13."""
        path = tmp_path / "plait.db"

        async def both() -> None:
            run = plait.start(waits.bind(), store=path)
            while not CALLS:
                await asyncio.sleep(0)
            with pytest.raises(RunOwned) as refused:
                plait.resume(run.id, store=path)
            assert refused.value.pid == os.getpid()
            GATE.set()
            assert (await run).value == "done"

        asyncio.run(both())

    def test_unknown_ambiguous_and_impossible_ids(self, store: Any) -> None:
        for name in ("aa1", "aa2"):
            plait.run(one.bind(), store=store, run_id=name)
        with pytest.raises(RunNotFound, match="2 runs begin with 'aa'"):
            plait.resume("aa", store=store)
        with pytest.raises(RunNotFound, match="there is no run 'zz'"):
            plait.resume("zz", store=store)
        with pytest.raises(UsageError, match="there is a run aa1 already"):
            plait.run(one.bind(), store=store, run_id="aa1")
        for wrong in ("", "last", "../x", "a b", "x" * 65, 7):
            with pytest.raises(UsageError, match="a run's id"):
                plait.run(one.bind(), store=store, run_id=wrong)

    def test_a_task_whose_code_must_not_start_twice_fails(self, store: Any) -> None:
        """W5."""
        made = plait.Graph("g")
        made.add("hangs_once", hangs_once)
        made.add("alone", double, args=(1,))
        run = plait.start(made, store=store)
        while len(CALLS) < 2:
            pass
        run._tell(run._driver.interrupt)
        assert not run.wait().interrupted  # nothing is left that could run again
        CALLS.clear()
        statuses, result = stored(store)
        assert statuses == {"hangs_once": "failed", "alone": "succeeded"}
        assert isinstance(result["hangs_once"].error, TaskInterrupted)
        assert CALLS == []


def after_hanging(gate: threading.Event) -> Any:
    return as_list.bind(waits.bind())


@plait.task
def as_list(value: Any) -> list[Any]:
    return [value]


def leave_resumed(store: Any, until: Callable[[], bool], target: Any = None) -> str:
    async def left() -> str:
        run = plait.resume("last", target, store=store)
        while not until():
            await asyncio.sleep(0)
        run._driver.interrupt()
        assert (await run).interrupted
        return run.id

    return asyncio.run(left())


class TestEdits:
    def test_an_edit_is_refused_with_what_changed_or_runs_again_only_what_it_touches(self, store: Any) -> None:
        """X11 F35."""
        plait.run(graph(), store=store)
        CALLS.clear()
        with pytest.raises(RunChanged, match="task 'right' changed") as refused:
            plait.resume("last", graph(right=6), store=store)
        assert refused.value.changes == ["task 'right' changed"]
        assert CALLS == []
        result = plait.resume("last", graph(right=6), store=store, accept_changes=True).wait()
        assert sorted(CALLS) == ["add", "double 6"]
        assert result["sum"].value == 14
        assert stored(store)[1]["sum"].value == 14

    def test_new_and_removed_tasks_and_options_are_named(self, store: Any) -> None:
        plait.run(graph(), store=store)
        edited = graph()
        edited.add("new", double, args=(7,))
        with pytest.raises(RunChanged, match="task 'new' is new"):
            plait.resume("last", edited, store=store)
        smaller = plait.Graph("sums")
        smaller.add("one", one, timeout=9)
        with pytest.raises(RunChanged) as refused:
            plait.resume("last", smaller, store=store)
        assert refused.value.changes[0] == "options of task 'one' changed"
        assert set(refused.value.changes[1:]) == {f"task '{key}' is gone" for key in ("left", "right", "sum", "alone")}
        CALLS.clear()
        plait.resume("last", edited, store=store, accept_changes=True).wait()
        assert CALLS == ["double 7"]

    def test_an_unedited_graph_is_no_edit(self, store: Any) -> None:
        plait.run(graph(), store=store)
        CALLS.clear()
        assert plait.resume("last", graph(), store=store).wait()["sum"].value == 12
        assert CALLS == []


RUNS: list[plait.Run] = []


@plait.task
async def a_second() -> None:
    await asyncio.sleep(1)


@plait.task
async def leaves() -> None:
    """Has its process leave the run at once, the first time."""
    if plait.current().attempt == 1:
        RUNS[-1]._driver.interrupt()
    await asyncio.sleep(1)


class TestTimes:
    def test_what_ended_before_a_run_was_left_ended_then(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """W1 E11: hours lie between; who goes on with the run, and whoever looks at it later, say the same."""
        path = tmp_path / "p.db"

        async def first() -> plait.RunResult:
            made = plait.Graph("g")
            made.add("a", a_second)
            made.add("b", leaves, needs=["a"])
            RUNS.append(plait.start(made, store=path))
            return await RUNS[-1]

        async def again() -> plait.RunResult:
            return await plait.resume("last", store=path)

        before = VirtualClock().run(first())
        later = time.time() + 7200
        monkeypatch.setattr("plait.resuming.time.time", lambda: later)
        result = VirtualClock().run(again())
        shown = plait.show_run("last", path)
        for each in (result, shown):
            assert each["a"].ended_at == pytest.approx(before["a"].ended_at, abs=1e-3)
            assert each["b"].history[0].ended_at == pytest.approx(before["a"].ended_at, abs=1e-3)
            assert each["b"].ended_at == pytest.approx(later + 1, abs=0.5)


class TestRetry:
    def test_what_failed_runs_again_with_what_needs_it_and_nothing_else(self, store: Any) -> None:
        """W14: a new generation, the history kept."""
        FAILING.add("double 5")
        first = plait.run(graph(), store=store, raise_on_failure=False)
        assert first.status == "failed"
        CALLS.clear()
        FAILING.clear()
        run = plait.retry(first.run_id, store=store)
        assert run.id == first.run_id
        result = run.wait()
        assert sorted(CALLS) == ["add", "double 5"]
        assert result.status == "succeeded"
        assert result["sum"].value == 12
        assert result["one"].value == 1
        assert result["one"].started_at == pytest.approx(first["one"].started_at, abs=1e-3)
        opened: Store = open_store(store) if isinstance(store, str) else store
        assert opened.find(run.id).generation == 2
        assert opened.generation(opened.find(run.id), 1).number == 1

    def test_children_that_succeeded_are_kept(self, store: Any) -> None:
        """W3: by path, through maps and returned nodes, also when the retry itself is interrupted and resumed."""
        FAILING.update(("double 1",))
        target = add.bind(double.map(numbers.bind(4)), grows.bind(3))
        with pytest.raises(ValueError, match="double 1 is to fail"):
            plait.run(target, store=store)
        counted = {
            name: CALLS.count(name) for name in ("double 0", "double 1", "double 2", "double 3", "numbers", "grows")
        }
        assert counted == {"double 0": 2, "double 1": 2, "double 2": 2, "double 3": 1, "numbers": 1, "grows": 1}
        CALLS.clear()
        FAILING.clear()
        result = plait.retry("last", store=store).wait()
        assert result.status == "succeeded"
        assert result.value == [0, 2, 4, 6, 0, 2, 4]
        # The task that returned nodes failed with its child: it is a failed part, its finished children are not.
        assert sorted(CALLS) == ["add", "double 1", "double 1", "grows"]

    def test_items_of_a_declared_type_are_kept(self, store: Any) -> None:
        """W3 W14: their values are read as what the function says that it returns."""
        FAILING.add("point 2")
        with pytest.raises(ValueError, match="point 2 is to fail"):
            plait.run(point.map(numbers.bind(3)), store=store)
        CALLS.clear()
        FAILING.clear()
        result = plait.retry("last", store=store).wait()
        assert result.value == [Point(0), Point(1), Point(2)]
        assert CALLS == ["point 2"]

    def test_a_run_that_succeeded_or_is_not_over_is_not_retried(self, store: Any) -> None:
        plait.run(one.bind(), store=store)
        with pytest.raises(UsageError, match="there is nothing to retry"):
            plait.retry("last", store=store)
        leave(hangs.bind(), store, lambda: "hangs" in CALLS)
        with pytest.raises(UsageError, match="is not over"):
            plait.retry("last", store=store)


class TestFork:
    def test_a_fork_runs_one_task_again_and_what_needs_it(self, store: Any) -> None:
        """X11."""
        first = plait.run(graph(), store=store)
        CALLS.clear()
        run = plait.fork(first.run_id, "left", store=store, run_id="forked")
        assert run.wait()["sum"].value == 12
        assert run.id == "forked"
        assert sorted(CALLS) == ["add", "double 1"]
        opened: Store = open_store(store) if isinstance(store, str) else store
        assert opened.find("forked").forked_from == first.run_id
        assert [each.status for each in opened.runs()] == ["succeeded", "succeeded"]

    def test_a_fork_from_a_task_that_another_one_grew(self, store: Any) -> None:
        plait.run(add.bind(double.map(numbers.bind(3)), grows.bind(2)), store=store)
        CALLS.clear()
        plait.fork("last", "double[1]", store=store).wait()
        assert sorted(CALLS) == ["add", "double 1"]

    def test_a_task_that_is_not_there(self, store: Any) -> None:
        plait.run(graph(), store=store)
        with pytest.raises(UsageError, match=r"has no task 'lef'. Did you mean 'left'\?"):
            plait.fork("last", "lef", store=store)


class TestValues:
    @pytest.mark.parametrize(
        ("value", "why"),
        [
            ((1, 2), "tuple"),
            ({1}, "set"),
            (float("nan"), "nan"),
            ({1: 2}, "key of type int"),
            ([{"a": (1,)}], r"tuple at \[0\]\['a'\]"),
        ],
    )
    def test_a_value_that_would_not_come_back_fails_its_task_by_name(self, store: Any, value: Any, why: str) -> None:
        made = plait.Graph("g")
        made.add("odd", lambda: value, retries=3)
        result = plait.run(made, store=store, raise_on_failure=False)
        error = result["odd"].error
        assert isinstance(error, NotStorable)
        assert "task 'odd': its value cannot be stored" in str(error)
        assert why.replace("\\", "") in str(error)
        assert result["odd"].attempts == 1

    def test_a_declared_type_says_how_it_comes_back(self, store: Any) -> None:
        value = plait.run(pair.bind(), store=store)
        assert value == (1, "a")
        assert stored(store)[1]["pair"].value == (1, "a")

    def test_large_values_are_kept_beside(self, tmp_path: Path) -> None:
        path = tmp_path / "plait.db"
        plait.run(large.bind(), store=path)
        files = [file for file in (tmp_path / "values").rglob("*") if file.is_file()]
        assert len(files) == 1
        assert files[0].stat().st_size > 100_000
        assert oct(files[0].stat().st_mode & 0o777) == "0o600"
        assert plait.resume("last", store=path).wait().value == "x" * 100_000


@plait.task
def pair() -> tuple[int, str]:
    return (1, "a")


@plait.task
def large() -> str:
    return "x" * 100_000


class TestEvents:
    def test_all_events_have_the_same_numbers_whoever_asks_and_when(self, store: Any) -> None:
        """W3: an event is told once its fact is on record; a replay tells the same ones."""

        async def told() -> tuple[list[Any], list[Any], str]:
            run = plait.start(graph(), store=store)
            late: list[Any] = []
            early = [event async for event in run.events(after=0)]
            late = [event async for event in run.events(after=early[-3].seq)]
            await run
            return early, late, run.id

        early, late, _ = asyncio.run(told())
        assert [event.seq for event in early] == list(range(1, len(early) + 1))
        assert early[0].event == "run_started"
        assert early[-1].event == "run_finished"
        assert late == early[-2:]
        assert [event.event for event in early].count("task_succeeded") == 5

    def test_blocking_readers_see_every_event_too(self, store: Any) -> None:
        run = plait.start(graph(), store=store)
        assert [event.seq for event in run.events(after=2)][:2] == [3, 4]
        assert run.wait().status == "succeeded"

    def test_numbers_go_on_in_the_process_that_resumes(self, tmp_path: Path) -> None:
        path = tmp_path / "plait.db"
        made = plait.Graph("g")
        made.add("one", one)
        made.add("waits", waits, needs=["one"])
        leave(made, path, lambda: "waits" in CALLS)
        GATE.set()
        run = plait.resume("last", store=path)
        events = list(run.events(after=0))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.task for event in events if event.event == "task_succeeded"] == ["one", "waits"]

    def test_numbers_are_for_runs_with_a_store(self) -> None:
        run = plait.start(one.bind())
        with pytest.raises(UsageError, match="for runs with a store"):
            run.events(after=0)
        run.wait()


class TestOrder:
    def test_a_store_that_knows_durations_starts_the_longest_path_first(self, tmp_path: Path) -> None:
        """X9: list scheduling by the longest remaining path, once an earlier run has shown it."""
        path = tmp_path / "plait.db"

        def made() -> plait.Graph:
            made = plait.Graph("order")
            for name in ("a", "b", "c"):
                made.add(name, timed, args=(name, 0.0))
            made.add("slow", timed, args=("slow", 0.05))
            made.add("behind", timed, args=("behind", 0.0), needs=["c"])
            return made

        plait.run(made(), store=path, max_concurrency=1)
        assert CALLS == ["a", "b", "c", "slow", "behind"]
        CALLS.clear()
        plait.run(made(), store=path, max_concurrency=1)
        assert CALLS[0] == "slow"
        assert CALLS.index("c") < CALLS.index("behind")


@plait.task
async def timed(name: str, seconds: float) -> None:
    called(name)
    await asyncio.sleep(seconds)


class TestPromises:
    def test_when_start_returns_the_run_and_all_its_tasks_are_stored(self, tmp_path: Path) -> None:
        """W1: in one transaction, before anything starts."""

        async def begun() -> None:
            run = plait.start(graph(), store=tmp_path / "plait.db")
            seen = plait.show_run(run.id, tmp_path / "plait.db")
            assert {key: str(each.status) for key, each in seen.items()} == {
                "one": "ready", "left": "pending", "sum": "pending", "right": "ready", "alone": "ready",
            }  # fmt: skip
            assert CALLS == []
            await run

        asyncio.run(begun())

    def test_an_attempt_is_on_record_before_its_code_starts_and_its_needs_ends_before_that(
        self, tmp_path: Path
    ) -> None:
        """W2 W6: what the store says, asked from within each task."""
        path = tmp_path / "plait.db"
        seen: list[tuple[str, dict[str, str], bool]] = []

        def looks(*needs: Any) -> int:
            me = plait.current()
            store = open_store(path)
            run = store.find(me.run_id)
            replay = Replay(store, run, store.generation(run, 1))
            replay.catch_up()
            table = replay.table
            row = table.find(me.key)
            noted = str(replay.result()[me.key].status) == "running" or row in replay.ahead
            seen.append((me.key, {key: str(each.status) for key, each in replay.result().items()}, noted))
            store.close()
            return 1

        made = plait.Graph("g")
        before: list[Any] = []
        for layer in range(4):
            before = [made.add(f"{layer}-{at}", looks, args=tuple(before[at : at + 2])) for at in range(4)]
        plait.run(made, store=path, max_concurrency=3)
        assert len(seen) == 16
        for key, statuses, noted in seen:
            assert noted, f"{key} runs and is not on record"
            layer, at = map(int, key.split("-"))
            for need in range(at, min(4, at + 2)) if layer else ():
                assert statuses[f"{layer - 1}-{need}"] == "succeeded"

    def test_readers_never_see_half_a_transition_nor_hold_up_the_writer(self, tmp_path: Path) -> None:
        """W3: whole transactions only, while the run goes on; one that holds an old snapshot blocks nothing."""
        path = tmp_path / "plait.db"
        made = plait.Graph("g")
        before = made.add("0", double, args=(0,))
        for number in range(1, 150):
            before = made.add(
                str(number), double.options(priority="low" if number % 2 else "normal"), args=(1,), needs=[before]
            )
        run = plait.start(made, store=path, max_concurrency=2)
        old = sqlite3.connect(path)
        old.execute("BEGIN")
        old.execute("SELECT count(*) FROM journal").fetchone()
        looks = 0
        last = 0
        while not run.done:
            result = plait.show_run(run.id, path)
            ended = [str(each.status) for each in result.values()]
            done = ended.count("succeeded")
            assert ended[:done] == ["succeeded"] * done  # a chain: nothing behind what has not ended
            assert ended.count("running") + ended.count("ready") <= 1
            assert done >= last
            last = done
            looks += 1
            assert plait.list_runs(path)[0].tasks == 150
        assert run.wait().status == "succeeded"
        assert looks > 1
        old.close()

    @pytest.mark.damages
    def test_a_new_attempt_of_a_task_that_was_running_ten_times_at_a_crash_is_not_made(self) -> None:
        """F82: the crash budget, of crashes alone; retries have their own."""
        for budget in (0, 2):
            made = plait.Graph("g")
            made.add("kills", hangs, retries=1)
            store = MemoryStore()
            leave(made, store, lambda: bool(CALLS), crash_budget=budget)
            # As if each process had died: the line that says that it left is taken away.
            for crash in range(budget + 1):
                CALLS.clear()
                (kept,) = store._runs.values()
                journal = kept.journal[1]
                kept.journal[1] = [batch for batch in journal if not batch.startswith((b"[[14,", b"[[2,0,"))]
                if crash < budget:
                    leave_resumed(store, lambda: bool(CALLS))
            result = plait.resume("last", store=store).wait()
            assert str(result["kills"].status) == "failed"
            assert f"was running {budget + 1} times when its process died" in str(result["kills"].error)

    def test_losing_the_run_ends_the_process_that_slept(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """W7 F16: another owner has the run: nothing more is recorded, and the handle says why."""
        path = tmp_path / "plait.db"

        async def both() -> None:
            run = plait.start(waits.bind(), store=path)
            while not CALLS:
                await asyncio.sleep(0)
            with closing(sqlite3.connect(path)) as db, db:  # what a takeover does
                db.execute("UPDATE runs SET epoch = epoch + 1")
            GATE.set()
            with pytest.raises(OwnershipLost, match=r"took run .* over"):
                await run

        asyncio.run(both())
        gc.collect()
        assert not caplog.records  # nobody is told twice
        assert plait.show_run("last", path)["waits"].status == "running"


class TestExceptions:
    def test_users_own_exceptions_come_back_as_text_and_decide_no_retry_anew(self, store: Any) -> None:
        class Odd(Exception):
            def __init__(self, left: object, right: object) -> None:
                super().__init__(left, right)

            def __str__(self) -> str:
                return "odd it is"

        tries: list[int] = []

        def raises() -> None:
            tries.append(1)
            raise Odd(object(), 2)

        made = plait.Graph("g")
        made.add("a", raises, retry={"attempts": 3, "delay": 0, "on": Odd})
        made.add("b", raises, retry={"attempts": 3, "delay": 0, "not_on": Odd})
        plait.run(made, store=store, raise_on_failure=False)
        assert len(tries) == 4
        result = stored(store)[1]
        for key in "ab":
            assert str(result[key].error) == "Odd: odd it is"
            assert isinstance(result[key].error, plait.RecordedError)
        assert (result["a"].attempts, result["b"].attempts) == (3, 1)
        assert [str(each.error) for each in result["a"].history] == ["Odd: odd it is"] * 3


class TestOddThings:
    """What a review found: each hung, lost or broke a run."""

    def test_looking_at_a_store_does_not_free_the_locks_of_whoever_writes_to_it(self, tmp_path: Path) -> None:
        """W3 W8: to close any handle of a file frees all locks that SQLite has on it in this process; the log was taken away then."""
        path = tmp_path / "plait.db"
        (tmp_path / "other.py").write_text(
            "import plait, sys\n@plait.task\ndef f(): return 1\nif __name__ == '__main__': plait.run(f.bind(), store=sys.argv[1])\n"
        )
        for durability in ("normal", "full"):
            CALLS.clear()
            GATE.clear()
            run = plait.start(waits.bind(), store=path, durability=durability)
            while not CALLS:
                pass
            for _ in range(2):
                assert plait.list_runs(path)[-1].status in ("running", "succeeded")
                plait.show_run(run.id, path)
                os.link(path, tmp_path / f"link-{durability}-{_}.db")
                with pytest.raises((plait.StoreError, RunNotFound)):
                    plait.show_run("nobody", tmp_path / f"link-{durability}-{_}.db")
                subprocess.run([sys.executable, "other.py", str(path)], cwd=tmp_path, check=True, timeout=60)
            assert os.path.exists(f"{path}-wal")
            GATE.set()
            assert run.wait().value == "done"
            assert plait.show_run(run.id, path).status == "succeeded"

    @pytest.mark.parametrize("kind", ["args", "notes", "note", "tail", "code", "long", "surrogate", "name"])
    def test_exceptions_of_any_make_fail_their_task_and_nothing_else(self, store: Any, kind: str) -> None:
        class NoArgs(Exception):
            args = None  # type: ignore[assignment]

        class Unspeakable:
            def __str__(self) -> str:
                raise RuntimeError

        def odd() -> BaseException:
            error: BaseException = ValueError("x")
            match kind:
                case "args":
                    return NoArgs("x")
                case "notes":
                    error.__notes__ = 5  # type: ignore[assignment]
                case "note":
                    error.__notes__ = [Unspeakable()]  # type: ignore[list-item]
                case "tail":
                    return plait.CommandFailed("c", tail=5)  # type: ignore[arg-type]
                case "code":
                    return plait.CommandFailed("c", exit_code=object())  # type: ignore[arg-type]
                case "long":
                    return ValueError(10**5000)
                case "surrogate":
                    return ValueError("cannot read caf\udce9.txt")
                case "name":
                    return type("O\udce9dd", (Exception,), {"__module__": "m\udce9"})("x")
            return error

        def raises() -> None:
            raise odd()

        async def raises_too() -> None:
            raise odd()

        made = plait.Graph("g")
        made.add("thread", raises)
        made.add("loop", raises_too)
        made.add("fine", one)
        result = plait.run(made, store=store, raise_on_failure=False)
        assert {key: str(each.status) for key, each in result.items()} == {
            "thread": "failed",
            "loop": "failed",
            "fine": "succeeded",
        }
        assert stored(store)[0] == {"thread": "failed", "loop": "failed", "fine": "succeeded"}

    @pytest.mark.parametrize("name", ["_see_ahead", "_end_of", "_learned"])
    def test_a_bug_of_ours_ends_a_run_that_would_wait_for_nothing(
        self, store: Any, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: Any) -> Any:
            raise RuntimeError("a bug")

        monkeypatch.setattr(KeptDriver, name, broken)
        with pytest.raises(plait.StoreError, match="cannot be recorded any further: RuntimeError: a bug"):
            plait.start(add.bind(one.bind(), one.bind()), store=store).wait(30)

    def test_what_a_fork_still_needs_is_not_collected(self, tmp_path: Path) -> None:
        path = tmp_path / "plait.db"
        FAILING.add("double 1")
        target = add.bind(
            larges.map(numbers.bind(2)), add.bind(as_list.bind(waits.bind()), double.map(numbers.bind(2)))
        )
        GATE.set()
        with pytest.raises(ValueError, match="double 1 is to fail"):
            plait.run(target, store=path, run_id="first")
        FAILING.clear()
        GATE.clear()
        CALLS.clear()
        run = plait.fork("first", "waits", store=path, run_id="second")
        while "waits" not in CALLS:
            pass
        forgotten, _ = plait.collect_garbage(path, 0)
        assert forgotten == []
        GATE.set()
        assert run.wait().value == ["0" * 50_000, "1" * 50_000, "done", 0, 2]
        assert sorted(CALLS) == ["add", "add", "double 1", "waits"]
        assert [each.id for each in plait.collect_garbage(path, 0)[0]] == ["first", "second"]

    def test_a_log_without_its_store_is_not_taken_over(self, tmp_path: Path) -> None:
        path = tmp_path / "plait.db"
        (tmp_path / "plait.db-wal").write_bytes(b"of a store that was removed")
        with pytest.raises(plait.StoreError, match=r"its log .* is still there"):
            plait.run(one.bind(), store=path)
        assert (tmp_path / "plait.db-wal").read_bytes() == b"of a store that was removed"
        assert not path.exists()

    def test_what_was_taken_and_never_began_may_run_later_whatever_its_policy(self) -> None:
        """W5: `on_interrupt: fail` is for code that began."""
        store = MemoryStore()

        async def left() -> None:
            run = plait.start(hangs_once.bind(), store=store)
            await asyncio.sleep(0)
            run._driver.interrupt()  # before the first batch is committed
            assert (await run).interrupted

        asyncio.run(left())
        assert CALLS == []
        assert plait.show_run("last", store)["hangs_once"].status == "ready"


@plait.task
def larges(number: int) -> str:
    called(f"large {number}")
    return str(number) * 50_000
