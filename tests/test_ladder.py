"""What is done about failures: `on_error` makes one good, `finally` cleans up however a run or group ended; in Python and in files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import plait
from plait._core.graph import REPAIR, Batch
from plait._core.invariants import check
from plait._core.policy import PLAIN, Rules, policy
from plait._core.scheduler import OF_REPAIR, Scheduler, Turn
from plait.cli import main
from plait.observe.stream import critical_path
from plait.testing import VirtualClock, World, graph
from timed_steps import SEEN, judge, step


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


def run(target: Any, **options: Any) -> plait.RunResult:
    with VirtualClock():
        return plait.run(target, raise_on_failure=False, **options)  # type: ignore[no-any-return]


def from_file(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "flow.yaml"
    path.write_text(text)
    return plait.load(path)


def of_file(tmp_path: Path, text: str, **options: Any) -> plait.RunResult:
    return run(from_file(tmp_path, text), **options)


def command(words: list[str]) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


def statuses(result: plait.RunResult) -> dict[str, str]:
    return {key: str(each.status) for key, each in result.items()}


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(plait.FlowError) as error:
        from_file(tmp_path, text)
    return [line.partition("flow.yaml:")[2] for line in str(error.value).splitlines() if "error[" in line]


async def boom(*needs: Any) -> None:
    await asyncio.sleep(1)
    raise ValueError("boom")


async def other_boom() -> None:
    raise OSError("disk full")


async def say(*words: Any) -> str:
    await asyncio.sleep(0.5)
    return " ".join(map(str, words))


class TestOnError:
    def test_its_value_becomes_the_value_and_dependents_go_on(self, tmp_path: Path) -> None:
        """D8: in both doors the task succeeded, under its own key, with its first error in its history."""
        graph = plait.Graph("python")
        graph.add("a", boom, on_error=lambda error: f"not {error}")
        graph.add("b", say, args=("got", graph._nodes["a"]))
        in_python = run(graph)
        in_file = of_file(
            tmp_path,
            "tasks:\n  a: {run: 'echo boom >&2; exit 7', on_error: {run: 'echo not {{ error.exit_code }}'}}\n"
            "  b: {run: 'echo got {{ tasks.a.output }}'}\n",
        )
        for result, value in ((in_python, "not boom"), (in_file, "not 7")):
            assert result.status == "succeeded"
            assert not result.degraded
            assert result.first_cause is None
            assert result["a"].value == value
            assert result["b"].value == f"got {value}"
            assert result["a"].error is None
            assert [str(each.status) for each in result["a"].history] == ["failed"]
            assert statuses(result) == {"a": "succeeded", "b": "succeeded", "a/on_error": "succeeded"}
        assert isinstance(in_python["a"].history[0].error, ValueError)

    def test_it_runs_after_the_last_try_and_has_its_own_policy(self) -> None:
        """D8 B15: retries first; the handler's own retries and timeout are its own."""
        tries: list[str] = []

        @plait.task(retries=1)
        async def repair() -> str:
            tries.append(plait.current().key)
            if plait.current().attempt == 1:
                raise OSError
            return "mended"

        async def fails() -> None:
            tries.append(plait.current().key)
            raise ValueError

        graph = plait.Graph()
        graph.add("a", fails, retries=2, on_error=repair)
        result = run(graph)
        assert tries == ["a", "a", "a", "a/on_error", "a/on_error"]
        assert (result["a"].value, result["a"].attempts, len(result["a"].history)) == ("mended", 3, 3)

    def test_one_that_fails_leaves_the_first_error_the_cause(self, tmp_path: Path) -> None:
        """D8: and the second is noted beside it, everywhere."""
        graph = plait.Graph("g")
        graph.add("a", boom, on_error=other_boom)
        graph.add("b", say, needs=["a"])
        result = run(graph)
        assert statuses(result) == {"a": "failed", "b": "upstream_failed", "a/on_error": "failed"}
        assert result.first_cause is not None
        assert result.first_cause.key == "a"
        assert result.reason == "task 'a' failed: ValueError: boom"
        assert [each.key for each in result.failures()] == ["a", "a/on_error"]
        assert isinstance(result["a"].error, ValueError)
        assert "its on_error failed, too: OSError: disk full" in result["a"].error.__notes__
        with VirtualClock(), pytest.raises(plait.RunFailed) as raised:
            plait.run(graph)
        assert isinstance(raised.value.__cause__, ValueError)
        assert raised.value.result.first_cause.key == "a"
        path = tmp_path / "flow.yaml"
        path.write_text("tasks:\n  a: {run: exit 3, on_error: {run: exit 4}}\n")
        assert command(["run", str(path), "--store", str(tmp_path / "p.db"), "-q"]) == 1
        assert plait.why("last", "a", tmp_path / "p.db").text.startswith("a failed: exit 3")
        assert plait.show_run("last", tmp_path / "p.db").first_cause.key == "a"  # type: ignore[union-attr]

    def test_a_timeout_is_a_failure_too_also_of_a_thread_that_goes_on(self) -> None:
        """D8: the attempt is given up, and its on_error runs all the same."""

        async def slow() -> None:
            await asyncio.sleep(60)

        graph = plait.Graph()
        graph.add("a", slow, timeout=1, on_error=lambda error: type(error).__name__)
        graph.add("b", slow, deadline=3, on_error=lambda: "late")
        result = run(graph)
        assert (result["a"].value, result["b"].value) == ("TaskTimedOut", "late")
        assert [str(each.status) for each in result["a"].history] == ["timed_out"]

        def deaf() -> None:
            import threading

            threading.Event().wait(6)

        graph = plait.Graph()
        graph.add("a", deaf, timeout=0.05, grace=0.05, on_error=lambda error: "instead")
        result = plait.run(graph)
        assert (result["a"].value, result["a"].enforced) == ("instead", False)

    def test_who_was_given_up_and_would_grow_gives_its_slot_back(self) -> None:
        """D8 E4: too late to grow, for its on_error runs."""
        policy_ = policy(PLAIN, timeout=1.0, grace=1.0)
        scheduler = Scheduler(Rules(max_concurrency=2), 0.0)
        keys = ["a"]
        scheduler.added(Batch(1, calls=keys, keys=keys, policy=policy_, repairs=[0]), 0.0)
        assert scheduler.take(0.0) == 0
        scheduler.began(0, 1, 0.0)
        for at in (1.0, 2.0, 7.0):
            scheduler.ticked(at)
        scheduler.grew(0, Batch(1, calls=["x"], keys=[REPAIR], is_repair=True), 7.0)
        assert scheduler.take(7.0) == 1
        assert scheduler.used == 2
        scheduler.grew(0, Batch(1, calls=["c"], keys=["c"]), 8.0)
        assert scheduler.used == 1
        check(scheduler)
        scheduler.returned(1, 1, "mended", 9.0)
        scheduler.returned(0, 1, "late", 9.0)
        scheduler.returned(0, OF_REPAIR, "mended", 9.0)
        assert (scheduler.status(), scheduler.table.values[0]) == ("succeeded", "mended")

    def test_a_deadline_that_passes_between_two_tries_is_one_too(self) -> None:
        """D8: what never began is not repaired."""
        graph = plait.Graph()
        graph.add(
            "a",
            boom,
            retry={"attempts": 2, "delay": 60, "jitter": False},
            deadline=5,
            on_error=lambda error: str(error),
        )
        graph.add("never", boom, deadline=1, concurrency_key="one", on_error=lambda error: "mended")
        graph.add("holder", step, args=("h", 4.0), concurrency_key="one", priority="high")
        result = run(graph)
        assert (str(result["a"].status), result["a"].value) == ("succeeded", "task 'a' passed its deadline of 5 s")
        assert [str(each.error) for each in result["a"].history] == ["boom"]
        assert (str(result["never"].status), "never/on_error" in result) == ("timed_out", False)

    def test_fail_fast_waits_for_it(self) -> None:
        """D8: what runs beside goes on; without a repair the run ends then."""
        for repair, ends in ((lambda error: "mended", "succeeded"), (other_boom, "cancelled")):
            graph = plait.Graph()
            graph.add("a", boom, on_error=repair)
            graph.add("b", step, args=("b", 5.0))
            result = run(graph, on_failure="fail_fast")
            assert str(result["b"].status) == ends
            assert result.first_cause is None or result.first_cause.key == "a"

    def test_it_does_not_run_in_a_run_that_another_task_or_its_caller_ends(self) -> None:
        """D8: a victim is not repaired, and what was being repaired failed of its own error."""
        graph = plait.Graph()
        graph.add("culprit", boom)
        graph.add("victim", step, args=("v", 9.0), on_error=lambda error: "mended")
        result = run(graph, on_failure="fail_fast")
        assert statuses(result) == {"culprit": "failed", "victim": "cancelled"}
        graph.add("late", judge, args=("boom", 3), on_error=lambda error: "mended")
        result = run(graph, on_failure="finish")
        assert statuses(result) == {"culprit": "failed", "victim": "succeeded", "late": "failed"}

        async def cancelled() -> plait.RunResult:
            graph = plait.Graph()
            graph.add("a", boom, on_error=plait.task(step).bind("long", 60.0))
            handle = plait.start(graph)
            await asyncio.sleep(2)
            handle.cancel()
            return await handle

        result = VirtualClock().run(cancelled())
        assert statuses(result) == {"a": "failed", "a/on_error": "cancelled"}
        assert str(result["a"].error) == "boom"
        assert result.status == "cancelled"

    def test_of_a_group_it_sees_the_child_that_failed_and_its_value_is_the_groups(self, tmp_path: Path) -> None:
        """D8: with the group's own on_failure; what the failure ended stays ended."""
        text = """
tasks:
  g:
    on_failure: fail_fast
    tasks:
      x: {run: exit 3}
      y: {call: 'timed_steps:step', with: {seconds: 60}}
    on_error: {run: 'echo {{ error.message }}'}
  after: {run: 'echo {{ tasks.g.output }}'}
"""
        result = of_file(tmp_path, text, on_failure="fail_fast")
        assert statuses(result) == {
            "g": "succeeded", "after": "succeeded", "g/x": "failed", "g/y": "cancelled", "g/on_error": "succeeded",
        }  # fmt: skip
        assert result.first_cause is None
        assert result["after"].value == "task 'g/x' failed: exit 3"

    def test_a_group_that_is_not_repaired_has_its_childs_failure_as_the_cause(self, tmp_path: Path) -> None:
        """D8: nested groups, each with what it tries."""
        text = """
tasks:
  outer:
    tasks:
      inner:
        tasks: {x: {run: exit 3}}
        on_error: {run: exit 4}
    on_error: {run: exit 5}
"""
        result = of_file(tmp_path, text)
        assert set(statuses(result).values()) == {"failed"}
        assert result.first_cause is not None
        assert result.first_cause.key == "outer/inner/x"
        assert len(result) == 5

    def test_a_group_within_that_ends_the_one_around_it_is_its_failure(self, tmp_path: Path) -> None:
        """D8 E6: the rule of the nearest group around holds, and what ended with the culprit is no cancel of the whole."""
        text = """
tasks:
  outer:
    on_failure: fail_fast
    tasks:
      guarded:
        tasks:
          inner:
            tasks:
              bad: {call: 'timed_steps:judge', with: {verdict: boom, place: 3}}
              after: {needs: [bad], run: echo}
          again: {call: 'timed_steps:judge', with: {verdict: boom}, retry: {attempts: 2, delay: 60, jitter: false}}
          beside: {needs: [inner], run: echo}
        on_error: {run: echo mended}
      slow: {call: 'timed_steps:step', with: {name: slow}}
"""
        result = of_file(tmp_path, text)
        found = statuses(result)
        assert (result.status, result["outer"].value) == ("succeeded", {"guarded": "mended", "slow": "slow"}), result[
            "outer"
        ].error
        assert (found["outer/guarded/inner/bad"], found["outer/guarded/inner"]) == ("failed", "failed")
        assert found["outer/guarded/again"] == "cancelled"
        assert (found["outer/guarded/inner/after"], found["outer/guarded/beside"]) == ("not_started", "not_started")

    def test_items_are_repaired_one_by_one_and_count_as_successes(self, tmp_path: Path) -> None:
        """D8 B16: with max_failures and min_success."""
        text = """
tasks:
  all:
    foreach: [0, 3, 4]
    max_failures: 0
    min_success: 3
    run: 'exit {{ item }}'
    on_error: {run: 'echo {{ item }} {{ error.exit_code }}'}
"""
        result = of_file(tmp_path, text)
        assert result.status == "succeeded"
        assert result["all"].value == ["", "3 3", "4 4"]
        graph = plait.Graph()
        graph.add("all", plait.task(on_error=lambda error: -1)(boom).map([1, 2], max_failures=0))
        assert run(graph)["all"].value == [-1, -1]

    def test_a_command_a_process_and_a_growing_task_may_be_one(self) -> None:
        """D8: a body like any other."""

        @plait.task
        async def several() -> list[Any]:
            assert isinstance(plait.current().error, ValueError)
            return [plait.task(say).bind(each) for each in "xy"]

        graph = plait.Graph()
        graph.add("a", boom, on_error=plait.shell(["echo", "command"]))
        graph.add("b", boom, on_error=several)
        graph.add("c", boom, on_error=plait.task(executor="process")(str))
        result = plait.run(graph)
        assert [result[key].value for key in "abc"] == ["command", ["x", "y"], "boom"]

    def test_what_cannot_be_is_refused(self, tmp_path: Path) -> None:
        """D8: with its place, before anything runs."""
        graph = plait.Graph()
        node = graph.add("n", say)
        for bad in (3, plait.task(say).bind(node), lambda a, b: 1):
            with pytest.raises(plait.UsageError, match="on_error"):
                graph.add("a", boom, on_error=bad)
        with pytest.raises(plait.UsageError, match="belongs to each item"):
            plait.task(boom).map([1], on_error=say)
        text = """
tasks:
  a: {run: echo, on_error: {needs: [b], run: 'echo {{ error.kind }}'}}
  b: {run: 'echo {{ error.type }}'}
  c: {run: echo, on_error: {run: 'echo {{ tasks.c.output }}'}}
  g: {tasks: {on_error: {run: echo}}, on_error: {run: echo}}
  h: {run: echo, on_error: echo}
"""
        found = problems(tmp_path, text)
        assert [each.partition(" ")[0] for each in found] == ["3:29:", "3:55:", "4:21:", "5:18:", "6:15:", "7:28:"]

    def test_in_python_it_sees_the_error_by_current(self) -> None:
        """D8: also in what the handler grows; None elsewhere."""
        seen: list[Any] = []

        async def look() -> None:
            seen.append(plait.current().error)

        graph = plait.Graph()
        graph.add("plain", look)
        graph.add("a", boom, on_error=look)
        run(graph)
        assert seen[0] is None
        assert isinstance(seen[1], ValueError)

    def test_a_spent_budget_of_its_own_does_not_keep_it_from_running(self, tmp_path: Path) -> None:
        """D8 X6: the fallback of a costly call; what it spends counts for what is around."""

        async def costly() -> None:
            plait.current().spend(usd=2)
            raise ValueError("no")

        async def cheap() -> str:
            plait.current().spend(usd=0.25)
            await asyncio.sleep(0)
            return "cheap"

        graph = plait.Graph()
        graph.add("task", plait.task(budget={"usd": 1}, retries=3)(costly), on_error=plait.task(cheap))
        result = run(graph, budget={"usd": 3})
        assert statuses(result) == {"task": "succeeded", "task/on_error": "succeeded"}
        assert (result["task"].value, result["task"].attempts, result.spent) == ("cheap", 1, {"usd": 2.25})

        group = plait.Graph()

        async def both() -> Any:
            return [plait.task(costly).bind().named("x"), plait.task(say).bind("y").named("y")]

        group.add("g", plait.task(budget={"usd": 1}, max_concurrency=1)(both), on_error=plait.task(cheap))
        result = run(group)
        assert statuses(result) == {"g": "succeeded", "g/x": "failed", "g/y": "not_started", "g/on_error": "succeeded"}

    def test_why_a_group_failed_is_said_around_it(self, tmp_path: Path) -> None:
        """B16: also where that is no error of a task, but what its results or its budget came to."""
        result = of_file(
            tmp_path,
            """
tasks:
  outer:
    on_failure: fail_fast
    tasks:
      inner:
        min_success: 2
        tasks:
          a: {run: exit 3, allow_failure: true}
          b: {run: exit 4, allow_failure: true}
          c: {run: echo}
    on_error: {run: 'echo {{ error.message }}'}
""",
        )
        text = str(result["outer"].history[0].error)
        assert text.startswith("task 'outer/inner' failed: ")
        assert text.endswith(" are left: 2 are required")
        assert result["outer"].value == text


def cleaned(tmp_path: Path, door: str, first: str, **options: Any) -> plait.RunResult:
    """A run of two tasks, the first of which may fail, and two that clean up, one after the other."""
    if door == "file":
        text = f"""
tasks:
  a: {{call: 'timed_steps:judge', with: {{verdict: {first}}}}}
  b: {{call: 'timed_steps:step', with: {{name: b, seconds: 5}}}}
  c: {{needs: [a], call: 'timed_steps:step', with: {{name: c}}}}
finally:
  stop: {{needs: [b], call: 'timed_steps:step', with: {{name: stop}}}}
  tell: {{needs: [stop], call: 'timed_steps:step', with: {{name: tell}}}}
"""
        return of_file(tmp_path, text, **options)
    graph = plait.Graph("g")
    graph.add("a", judge, args=(first,))
    graph.add("b", step, args=("b", 5.0))
    graph.add("c", step, args=("c",), needs=["a"])
    graph.add("stop", step, args=("stop",), needs=["b"], finally_=True)
    graph.add("tell", step, args=("tell",), needs=["stop"], finally_=True)
    return run(graph, **options)


DOORS = pytest.mark.parametrize("door", ["file", "python"])


class TestFinally:
    def test_nobodys_health_holds_it_back(self) -> None:
        """D8 B17: it may be there to restore it, and its five minutes would pass while nothing starts."""

        async def steps(word: str) -> Any:
            return [plait.task(say, pool="db").bind(word).named("inner")]

        graph = plait.Graph("g", pools={"db": 1})
        for at in range(3):
            graph.add(f"a{at}", plait.task(boom, pool="db"))
        graph.add("clean", plait.task(say, pool="db"), args=("clean",), finally_=True)
        graph.add("keyed", plait.task(say, pool="db", concurrency_key=str), args=("keyed",), finally_=True)
        graph.add("grows", plait.task(steps), args=("grown",), finally_=True)
        monitor = plait.HealthMonitor(0.1, 2, pause=4000, max_pause=4000)
        for health in (monitor, {"db": monitor}):
            with VirtualClock() as clock:
                result = plait.run(graph, health=health, deadline=60, raise_on_failure=False)
                assert clock.now < 120
            found = statuses(result)
            assert [found[f"a{at}"] for at in range(3)] == ["failed", "failed", "not_started"]
            assert {found[key] for key in ("clean", "keyed", "grows", "grows/inner")} == {"succeeded"}

    @pytest.mark.parametrize("around", ["run", "group"])
    def test_it_comes_also_where_what_was_to_repair_its_group_never_does(self, around: str) -> None:
        """D8 W13: the run, or a group around, ends between the failure of a group and its on_error."""
        group = graph(a=[], clean=[])
        group.cleanups = (1,)
        inner = graph({"g": {"timeout": 8}}, g=[])
        inner.repairs = (0,)
        outer = graph({"around": {"timeout": 9}, "other": {"critical": True}}, around=[], other=[])
        world = World(outer)
        world.grows("around", inner)
        world.grows("around/g", group)
        world.passes(8)
        world.returns("around/g/a", stopped=True)
        assert world.turns[-1] == (Turn.REPAIR, "around/g")
        if around == "run":
            world.fails("other")
        else:
            world.passes(1)
        assert world.status("around/g/clean") == "running"
        world.returns("around/g/clean")
        assert world.status("around/g") == "timed_out"

    def test_it_is_tried_again_where_the_runs_budget_is_spent(self) -> None:
        """D8 X6: nothing that ends its run ends it."""

        async def spends() -> None:
            plait.current().spend(usd=2)
            await asyncio.sleep(1)

        async def second_time() -> str:
            await asyncio.sleep(1)
            if plait.current().attempt == 1:
                raise OSError("not yet")
            return "clean"

        graph = plait.Graph()
        graph.add("a", spends)
        graph.add("b", say, needs=["a"])
        graph.add("clean", plait.task(retries=2)(second_time), finally_=True)
        result = run(graph, budget={"usd": 1})
        assert (result["clean"].value, result["clean"].attempts) == ("clean", 2)
        assert result.reason == "the run's budget is spent"

    @DOORS
    @pytest.mark.parametrize(
        ("first", "options", "ends"),
        [
            ("fine", {}, ["succeeded"] * 3),
            ("boom", {}, ["failed", "succeeded", "upstream_failed"]),
            ("boom", {"on_failure": "fail_fast"}, ["failed", "cancelled", "not_started"]),
            ("boom", {"on_failure": "finish"}, ["failed", "succeeded", "not_started"]),
            ("fine", {"deadline": 1.5}, ["succeeded", "cancelled", "cancelled"]),
        ],
    )
    def test_it_runs_once_everything_else_is_over_however_the_run_went(
        self, tmp_path: Path, door: str, first: str, options: Any, ends: list[str]
    ) -> None:
        """D8: succeeded, failed, ended by the first failure, past its deadline."""
        result = cleaned(tmp_path, door, first, **options)
        found = statuses(result)
        assert [found[key] for key in "abc"] == ends
        assert (found["stop"], found["tell"]) == ("succeeded", "succeeded")
        assert [name for name, *_ in SEEN][-2:] == ["stop", "tell"]
        began = {name: at for name, at, _ in SEEN}
        assert all(began["stop"] >= over for name, _, over in SEEN if name not in ("stop", "tell"))
        assert (result.status == "succeeded") == (ends == ["succeeded"] * 3)
        if first == "boom":
            assert result.first_cause is not None
            assert result.first_cause.key == "a"

    def test_it_runs_after_a_cancel_and_a_second_one_ends_it(self) -> None:
        """D8: what was told to stop has stopped before."""

        async def cancelled(times: int) -> plait.RunResult:
            graph = plait.Graph()
            graph.add("work", step, args=("work", 60.0))
            graph.add("clean", step, args=("clean", 10.0), finally_=True)
            handle = plait.start(graph)
            for _ in range(times):
                await asyncio.sleep(2)
                handle.cancel()
            return await handle

        once = VirtualClock().run(cancelled(1))
        assert statuses(once) == {"work": "cancelled", "clean": "succeeded"}
        assert (once.status, once.wall_s) == ("cancelled", 12.0)
        twice = VirtualClock().run(cancelled(2))
        assert statuses(twice) == {"work": "cancelled", "clean": "cancelled"}
        assert twice.wall_s == 4.0

    def test_one_that_fails_after_a_cancel_is_told_after_it(self) -> None:
        """D8 B16: the run is cancelled all the same."""

        async def cancelled() -> plait.RunResult:
            graph = plait.Graph()
            graph.add("work", step, args=("work", 60.0))
            graph.add("clean", boom, finally_=True)
            handle = plait.start(graph)
            await asyncio.sleep(2)
            handle.cancel()
            return await handle

        result = VirtualClock().run(cancelled())
        assert result.status == "cancelled"
        assert result.reason == "the run was cancelled, and then task 'clean' failed: ValueError: boom"

    def test_the_callers_cancelled_task_is_one_cancel_only(self) -> None:
        """D8: whoever else hears of it, such as a coroutine that is cancelled with its loop, does not insist."""

        async def awaited() -> list[str]:
            graph = plait.Graph()
            for at in range(5):
                graph.add(f"work{at}", step, args=("work", 60.0))
            graph.add("clean", step, args=("clean",), finally_=True)
            waiting = asyncio.ensure_future(plait.arun(graph))
            await asyncio.sleep(2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            handle = plait.start(graph)
            await asyncio.sleep(2)
            for _ in range(3):
                handle._driver.interrupt()
                await asyncio.sleep(0)
            await handle
            return [name for name, *_ in SEEN]

        assert VirtualClock().run(awaited()) == ["clean", "clean"]

    def test_it_is_bounded_by_a_deadline_of_its_own(self, tmp_path: Path) -> None:
        """D8: five minutes, unless it says; the run's deadline does not cut it."""
        graph = plait.Graph()
        graph.add("work", step, args=("work", 60.0))
        graph.add("clean", step, args=("clean", 1e6), finally_=True)
        graph.add("own", step, args=("own", 1000.0), timeout=2000, finally_=True)
        result = run(graph, deadline=10)
        assert statuses(result) == {"work": "cancelled", "clean": "timed_out", "own": "succeeded"}
        assert result.wall_s == 1010.0
        assert result.halt_reason == "deadline"
        assert result.reason == "the run's deadline passed"
        text = (
            "tasks: {a: {run: echo}}\nfinally:\n  e: {foreach: [1], call: 'timed_steps:step', with: {seconds: 1000}}\n"
        )
        result = of_file(tmp_path, text)
        assert (str(result["e"].status), result.status) == ("timed_out", "failed")

    def test_its_failure_fails_a_run_that_had_succeeded_and_hides_no_first_cause(self, tmp_path: Path) -> None:
        """D8 B16: and each of several runs, whatever the others do."""
        text = "tasks: {a: {run: exit %s}}\nfinally: {x: {run: exit 4}, y: {needs: [x], run: echo}, z: {run: echo}}\n"
        result = of_file(tmp_path, text % 0, on_failure="fail_fast")
        assert statuses(result) == {"a": "succeeded", "x": "failed", "y": "succeeded", "z": "succeeded"}
        assert (result.status, result.first_cause.key) == ("failed", "x")  # type: ignore[union-attr]
        result = of_file(tmp_path, text % 3)
        assert result.first_cause is not None
        assert result.first_cause.key == "a"
        assert result.reason == "task 'a' failed: exit 3"

    def test_a_join_chooses_when_it_is_wanted(self, tmp_path: Path) -> None:
        """D8: an alarm for failures only; by default it runs whatever its needs came to."""
        text = """
tasks: {a: {run: exit %s}, b: {needs: [a], run: echo}}
finally:
  alarm: {needs: [a, b], join: one_failed, run: echo}
  praise: {needs: [a, b], join: all_success, run: echo}
  always: {run: 'echo {{ tasks.a.status }} {{ tasks.b.status }}'}
"""
        good, bad = (of_file(tmp_path, text % code, on_failure="fail_fast") for code in (0, 3))
        assert [statuses(good)[key] for key in ("alarm", "praise")] == ["skipped", "succeeded"]
        assert [statuses(bad)[key] for key in ("alarm", "praise")] == ["succeeded", "upstream_failed"]
        assert bad["always"].value == "failed not_started"

    def test_of_a_group_it_runs_before_the_group_ends(self, tmp_path: Path) -> None:
        """D8: within foreach, with on_error (which comes first) and an on_failure of its own; its result is no part of the value."""
        text = """
tasks:
  all:
    foreach: [0, 3]
    on_failure: continue
    tasks:
      a: {run: 'exit {{ item }}'}
      b: {call: 'timed_steps:step', with: {name: b}}
    on_failure: fail_fast
    finally:
      c: {call: 'timed_steps:step', with: {name: '{{ index }} {{ tasks.a.status }} {{ tasks.b.status }}'}}
    on_error: {call: 'timed_steps:step', with: {name: repair}}
  after: {run: 'echo {{ tasks.all.output }}'}
""".replace("    on_failure: continue\n", "")
        result = of_file(tmp_path, text)
        assert result.status == "succeeded"
        assert result["all"].value == [{"a": "", "b": "b"}, "repair"]
        names = [name for name, *_ in SEEN]
        assert sorted(names) == ["0 succeeded succeeded", "1 failed cancelled", "b", "repair"]
        assert names.index("repair") < names.index("1 failed cancelled")
        assert str(result["all[1]/c"].status) == "succeeded"

    def test_of_a_group_it_fails_the_group_and_survives_its_cancel_and_its_timeout(self, tmp_path: Path) -> None:
        """D8: also where the group counts its successes."""
        text = """
tasks:
  late: {timeout: 2, tasks: {x: {call: 'timed_steps:step', with: {seconds: 9}}}, finally: {c: {run: echo}}}
  counts: {min_success: 1, max_failures: 0, tasks: {x: {run: echo}}, finally: {c: {run: exit 4}}}
  fails:
    on_failure: fail_fast
    tasks: {bad: {run: exit 3}, deep: {tasks: {x: {call: 'timed_steps:step', with: {seconds: 60}}}, finally: {c: {run: echo}}}}
"""
        found = statuses(of_file(tmp_path, text))
        assert found["late"] == "timed_out"
        assert found["late/c"] == "succeeded"
        assert (found["counts"], found["counts/x"], found["counts/c"]) == ("failed", "succeeded", "failed")
        assert (found["fails/deep"], found["fails/deep/x"], found["fails/deep/c"]) == (
            "cancelled",
            "cancelled",
            "succeeded",
        )

    def test_a_spent_budget_does_not_stop_it(self) -> None:
        """D8 X6."""

        async def spends() -> None:
            plait.current().spend(usd=2)

        graph = plait.Graph()
        graph.add("a", spends)
        graph.add("b", say, needs=["a"])
        graph.add("clean", say, finally_=True)
        result = run(graph, budget={"usd": 1})
        assert statuses(result) == {"a": "succeeded", "b": "not_started", "clean": "succeeded"}
        graph = plait.Graph()
        graph.add("a", spends)
        graph.add("clean", say, finally_=True)
        assert run(graph, budget={"usd": 1}).status == "succeeded"  # nothing was left to start

        @plait.task(budget={"usd": 1})
        async def spends_and_grows() -> Any:
            plait.current().spend(usd=1)
            return [plait.task(say).bind("never")]

        graph.add("own", spends_and_grows, finally_=True)
        result = run(graph, budget={"usd": 1})
        assert (str(result["own"].status), result["own/say"].started_at) == ("failed", None)

    def test_who_returns_tasks_may_have_it_for_them(self) -> None:
        """D8: its value stands in its place, as that of any other."""

        @plait.task
        async def grows() -> Any:
            clean = plait.task(step).options(finally_=True).bind("clean")
            return {"work": plait.task(say).bind("x"), "clean": clean}

        with VirtualClock():
            assert plait.run(grows.bind()) == {"work": "x", "clean": "clean"}

    def test_needs_on_it_are_refused_with_the_place(self, tmp_path: Path) -> None:
        """D8: whoever would wait for what comes last, and names that are not there."""
        graph = plait.Graph()
        graph.add("clean", say, finally_=True)
        graph.add("a", say, needs=["clean"])
        with pytest.raises(plait.GraphError, match="task 'a' needs 'clean', which is a finally_ task"):
            plait.run(graph)
        with pytest.raises(plait.LimitError, match="finally_ must be true or false"):
            plait.Graph().add("a", say, finally_=1)
        text = """
tasks:
  a: {needs: [clean], run: echo}
  b: {run: 'echo {{ tasks.clean.output }}'}
  g: {tasks: {x: {run: 'echo {{ tasks.y.output }}'}}, finally: {y: {run: echo}, x: {run: echo}}}
  s: {run: echo, finally: {z: {run: echo}}}
finally:
  clean: {needs: [nobody], run: 'echo {{ tasks.g.y.status }}'}
  empty: {}
"""
        found = problems(tmp_path, text)
        assert [(each.partition(" ")[0], each.partition("error[")[2].partition("]")[0]) for each in found] == [
            ("3:15:", "finally"), ("4:21:", "finally"), ("5:33:", "finally"), ("5:81:", "key"), ("6:18:", "misplaced"),
            ("8:19:", "unknown-task"), ("9:3:", "body"),
        ]  # fmt: skip

    def test_pictures_show_it(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """D8: `plait graph`, `inspect` and `run -n`."""
        path = tmp_path / "flow.yaml"
        path.write_text(
            "tasks:\n  a: {run: echo, on_error: {run: echo mended}}\n"
            "  g: {tasks: {x: {run: echo}}, finally: {y: {run: echo}}}\nfinally: {z: {needs: [a], run: echo bye}}\n"
        )
        assert command(["graph", str(path)]) == 0
        shown = capsys.readouterr().out
        assert shown.splitlines() == [
            "a (run)", "    on_error (run)", "g (group)", "    x (run)", "    y (finally run)", "z (finally run)  <- a",
        ]  # fmt: skip
        for how in ("mermaid", "dot", "json"):
            assert command(["graph", str(path), "--format", how]) == 0
            assert "on_error" in capsys.readouterr().out
        assert command(["run", str(path), "-n"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "  z after a, in the end: echo bye"

    def test_the_longest_chain_goes_through_it(self) -> None:
        """D8: a cleanup comes after everything else, whatever it names."""
        graph = plait.Graph()
        for key, seconds, options in (
            ("a", 2.0, {}), ("b", 3.0, {}), ("c", 1.5, {"needs": ["a"]}),
            ("x", 4.0, {"finally_": True}), ("y", 1.0, {"needs": ["x", "b"], "finally_": True}),
        ):  # fmt: skip
            graph.add(key, step, args=(key, seconds), **options)
        result = run(graph)
        assert critical_path(result.table) == result.wall_s == 8.5

    def test_why_says_what_it_waits_for_and_what_was_repaired(self) -> None:
        """D8: while it waits, and after."""

        async def asked() -> list[str]:
            graph = plait.Graph()
            graph.add("a", boom, on_error=plait.task(step).bind("mend", 3.0))
            graph.add("clean", step, args=("clean",), finally_=True)
            handle = plait.start(graph)
            await asyncio.sleep(2)
            said = [handle.why(key).text for key in ("a", "clean")]
            await handle
            return [*said, handle.why("a").text]

        during, waiting, after = VirtualClock().run(asked())
        assert during.startswith("a failed (ValueError: boom), and its on_error runs")
        assert waiting.startswith("clean waits until everything else of the run is over")
        assert after == "a succeeded by its on_error, after ValueError: boom"


class TestStored:
    def stored(self, tmp_path: Path, made: Callable[[], Any], **options: Any) -> plait.RunResult:
        async def play() -> Any:
            return await plait.arun(made(), store=tmp_path / "p.db", raise_on_failure=False, **options)

        return VirtualClock().run(play())  # type: ignore[no-any-return]

    def test_a_stored_run_tells_it_again(self, tmp_path: Path) -> None:
        """D8 W12: values, first errors and statuses as they were."""

        def made() -> plait.Graph:
            graph = plait.Graph("g")
            graph.add("a", boom, on_error=mend)
            graph.add("b", boom, on_error=other_boom)
            graph.add("clean", say, args=("bye",), finally_=True)
            return graph

        result = self.stored(tmp_path, made)
        again = plait.show_run("last", tmp_path / "p.db")
        assert statuses(again) == statuses(result)
        assert again.first_cause is not None
        assert again.first_cause.key == "b"
        over = plait.resume("last", store=tmp_path / "p.db").wait()
        assert (over["a"].value, over["clean"].value) == ("mended boom", "bye")

    def test_left_by_its_process_it_does_not_run_and_after_a_resume_it_does(self, tmp_path: Path) -> None:
        """D8 F71: the run is not over before."""

        def made() -> plait.Graph:
            graph = plait.Graph("g")
            graph.add("work", step, args=("work", 5.0))
            graph.add("clean", step, args=("clean",), finally_=True)
            return graph

        async def left() -> plait.RunResult:
            handle = plait.start(made(), store=tmp_path / "p.db")
            await asyncio.sleep(2)
            handle._driver.interrupt()
            return await handle

        result = VirtualClock().run(left())
        assert result.interrupted
        assert (SEEN, str(result["clean"].status)) == ([], "pending")

        async def resumed() -> plait.RunResult:
            return await plait.resume("last", store=tmp_path / "p.db")

        assert statuses(VirtualClock().run(resumed())) == {"work": "succeeded", "clean": "succeeded"}
        assert [name for name, *_ in SEEN] == ["work", "clean"]

    def test_a_retry_cleans_up_again_and_repairs_again_what_failed(self, tmp_path: Path) -> None:
        """D8: a repaired task stays, cleanups run in each generation."""
        path = tmp_path / "flow.yaml"
        path.write_text(
            "tasks:\n  a: {run: exit 3, on_error: {run: 'echo mended'}}\n  b: {run: test -e there}\n"
            "  g: {tasks: {x: {run: echo x >> x}, y: {run: test -e there}}, finally: {z: {run: echo z >> z}}, on_error: {run: 'echo g'}}\n"
            "  h: {needs: [g], run: 'echo {{ tasks.g.output }}'}\nfinally: {end: {run: echo end >> end}}\n"
        )
        store = str(tmp_path / "p.db")
        assert command(["run", str(path), "--store", store, "-q", "-C", str(tmp_path)]) == 1
        (tmp_path / "there").touch()
        assert command(["retry", "last", "--store", store, "-q"]) == 0
        result = plait.show_run("last", store)
        assert str(result["a"].status) == "succeeded"
        assert (tmp_path / "end").read_text() == "end\nend\n"
        assert (tmp_path / "z").read_text() == "z\nz\n"
        assert (tmp_path / "x").read_text() == "x\n"
        assert plait.resume("last", store=store).wait()["h"].value == '{"x":"","y":""}'

    def test_a_retry_keeps_what_an_on_error_of_an_item_came_to(self, tmp_path: Path) -> None:
        """D8 W14: also where that was a group with a list of its own, which nobody can make again without the error."""
        path = tmp_path / "flow.yaml"
        path.write_text(
            "tasks:\n"
            "  a:\n    foreach: [{parts: [p, q]}, {parts: [r]}]\n    run: exit 3\n    on_error:\n      tasks:\n"
            "        each: {foreach: '{{ item.parts }}', run: 'echo {{ item }} >> calls; echo {{ item }}'}\n"
            "  b: {run: test -e there}\n  c: {needs: [a, b], run: 'echo {{ tasks.a.output }}'}\n"
        )
        store = str(tmp_path / "p.db")
        assert command(["run", str(path), "--store", store, "-q", "-C", str(tmp_path)]) == 1
        (tmp_path / "there").touch()
        before = sorted((tmp_path / "calls").read_text().split())
        assert before == ["p", "q", "r"]
        assert command(["retry", "last", "--store", store, "-q"]) == 0
        assert sorted((tmp_path / "calls").read_text().split()) == before
        made = plait.resume("last", store=store).wait()
        assert json.loads(made["c"].value) == [{"each": ["p", "q"]}, {"each": ["r"]}]

    def test_one_that_could_not_begin_is_told_of_everywhere(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """D8 E5 B19: there is no task to ask about, so that the error of the first says it."""
        path, store = tmp_path / "flow.yaml", str(tmp_path / "p.db")
        path.write_text(
            "tasks:\n  a: {run: exit 3, on_error: {run: echo, writes: 'log-{{ error.exit_code }}'}}\n  b: {run: echo, reads: log-3}\n"
        )
        assert command(["run", str(path), "--store", store]) == 1
        said = "a failed: exit 3; its on_error could not begin: ConflictError: "
        assert said in capsys.readouterr().err
        assert command(["why", "last", "a", "--store", store]) == 0
        assert capsys.readouterr().out.startswith(said)

    def test_json_and_the_end_text_name_the_first_cause(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """D8 B16: apart from its victims, and from what failed when it was to be repaired or cleaned up."""
        path = tmp_path / "flow.yaml"
        path.write_text(
            "tasks:\n  a: {run: exit 3, on_error: {run: exit 4}}\n  b: {needs: [a], run: echo}\nfinally: {c: {run: exit 5}}\n"
        )
        assert command(["run", str(path), "--store", "none", "--json", "--fail-fast"]) == 1
        document = json.loads(capsys.readouterr().out)
        assert (document["first_cause"], document["reason"]) == ("a", "task 'a' failed: exit 3")
        assert document["tasks"]["b"]["status"] == "not_started"
        assert command(["run", str(path), "--store", "none"]) == 1
        said = capsys.readouterr().err.splitlines()
        last = [line for line in said if line.startswith(("first cause", "a failed", "a/on_error failed", "c failed"))]
        assert "a" in last[0]


def mend(error: BaseException) -> str:
    return f"mended {error}"
