"""`ParallelRunner` and `get_independent_tasks`: rows C1-C9."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import plait
from plait.testing import VirtualClock


@dataclass
class Task:
    id: str
    dependencies: list[str] = field(default_factory=list)


def virtual(make: Callable[[], Any]) -> Any:
    from plait._engine.doors import blocking

    with VirtualClock():
        return blocking(make)


def ids(count: int) -> list[Task]:
    return [Task(f"t{number}") for number in range(count)]


class TestRunPhase:
    def test_defaults_are_four_at_once_and_three_hundred_seconds(self) -> None:
        """C1 C9."""
        running = most = 0

        async def executor(task: Task) -> float:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(1000 if task.id == "t3" else 299)
            finally:
                running -= 1
            return 1.0

        results = virtual(lambda: plait.ParallelRunner().run_phase(ids(9), executor))
        assert most == 4
        assert [each.status for each in results] == ["completed"] * 3 + ["timeout"] + ["completed"] * 5
        assert results[3].outcome.run_s == pytest.approx(300)
        assert "timeout of 300 s" in results[3].error

    def test_nothing_gives_nothing(self) -> None:
        """C2."""
        assert virtual(lambda: plait.ParallelRunner().run_phase([], lambda task: None)) == []
        assert virtual(lambda: plait.ParallelRunner().run_sequential([], lambda task: None)) == []

    def test_statuses_ids_and_the_errors_text(self) -> None:
        """C3 C5."""

        async def executor(task: Task) -> str:
            await asyncio.sleep({"a": 3, "b": 2, "c": 1}[task.id])
            if task.id == "b":
                raise ValueError("boom")
            return task.id.upper()

        results = virtual(lambda: plait.ParallelRunner().run_phase([Task("a"), Task("b"), Task("c")], executor))
        assert [(each.task_id, each.status, each.error, each.value) for each in results] == [
            ("a", "completed", None, "A"),
            ("b", "failed", "ValueError: boom", None),
            ("c", "completed", None, "C"),
        ]

    @pytest.mark.parametrize(
        "odd", [SystemExit, KeyboardInterrupt, BaseException, GeneratorExit, asyncio.CancelledError]
    )
    def test_it_never_raises_whatever_a_task_does(self, odd: type[BaseException]) -> None:
        """C4."""

        def executor(task: Task) -> Any:
            if task.id == "t0":
                raise odd("at once")
            return 42 if task.id == "t1" else asyncio.sleep(1, "awaited")

        results = virtual(lambda: plait.ParallelRunner().run_phase(ids(3), executor))
        assert [each.status for each in results] == ["failed", "completed", "completed"]
        assert [each.value for each in results[1:]] == [42, "awaited"]

    @pytest.mark.parametrize("timeout", [2, None])
    def test_the_sequential_path_gives_the_same_results_timeout_included(self, timeout: float | None) -> None:
        """C6."""

        async def executor(task: Task) -> str:
            await asyncio.sleep(int(task.id[1:]))
            if task.id == "t1":
                raise ValueError("boom")
            return task.id

        async def both() -> tuple[list[Any], list[Any]]:
            runner = plait.ParallelRunner(timeout=timeout)
            return await runner.run_phase(ids(5), executor), await runner.run_sequential(ids(5), executor)

        parallel, sequential = virtual(both)
        shown = [
            [(each.task_id, each.status, each.error, each.value) for each in results]
            for results in (parallel, sequential)
        ]
        assert shown[0] == shown[1]
        assert ("timeout" in {each.status for each in parallel}) == (timeout is not None)

    def test_one_independent_task_or_fewer_run_one_after_the_other(self) -> None:
        """C7."""
        order: list[str] = []

        async def executor(task: Task) -> None:
            order.append(f"+{task.id}")
            await asyncio.sleep(1)
            order.append(f"-{task.id}")

        chain = [Task("a"), Task("b", ["a"]), Task("c", ["a"])]
        virtual(lambda: plait.ParallelRunner().run_phase(chain, executor))
        assert order == ["+a", "-a", "+b", "-b", "+c", "-c"]

    def test_a_task_that_needs_another_of_the_phase_starts_after_it_and_fails_with_it(self) -> None:
        async def executor(task: Task) -> None:
            if task.id == "a":
                raise ValueError("boom")

        tasks = [Task("a"), Task("b", ["a"]), Task("c"), Task("d", ["outside"])]
        results = virtual(lambda: plait.ParallelRunner().run_phase(tasks, executor))
        assert [each.status for each in results] == ["failed", "failed", "completed", "completed"]
        assert results[1].error == "task 'b' did not run: it needs 'a', which failed: ValueError: boom"

    @pytest.mark.realtime
    def test_a_timeout_of_a_thread_keeps_its_slot_and_says_so(self) -> None:
        """C9 F46 W10: true concurrency never exceeds the limit, and the call does not wait for ever."""
        import threading

        release = threading.Event()
        running = most = 0
        lock = threading.Lock()

        def executor(task: Task) -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            release.wait(20) if task.id == "t0" else None
            with lock:
                running -= 1

        results = asyncio.run(plait.ParallelRunner(2, timeout=0.2, grace=0.1).run_phase(ids(6), executor))
        release.set()
        assert most <= 2
        assert [each.status for each in results] == ["timeout"] + ["completed"] * 5
        assert results[0].outcome.enforced is False

    @pytest.mark.parametrize(
        ("options", "name"),
        [({"concurrency": 0}, "concurrency"), ({"timeout": -1}, "timeout"), ({"timeout": True}, "timeout")],
    )
    def test_limits_that_cannot_be_are_refused_when_given(self, options: dict[str, Any], name: str) -> None:
        with pytest.raises(plait.LimitError, match=name):
            plait.ParallelRunner(**options)

    def test_an_executor_that_cannot_be_called_is_refused(self) -> None:
        with pytest.raises(plait.UsageError, match="not callable"):
            virtual(lambda: plait.ParallelRunner().run_phase(ids(2), 7))  # type: ignore[arg-type]

    def test_signatures_are_those_of_the_contract(self) -> None:
        assert list(inspect.signature(plait.ParallelRunner.run_phase).parameters) == ["self", "tasks", "executor"]


class TestIndependent:
    """C8."""

    tasks = (Task("a"), Task("b", ["a"]), Task("c", ["outside"]), Task("d", ["a", "outside"]))

    def found(self, **options: Any) -> list[str]:
        return [task.id for task in plait.get_independent_tasks(self.tasks, **options)]

    def test_those_that_need_another_of_the_set_are_dropped_and_needs_outside_count_as_met(self) -> None:
        assert self.found() == ["a", "c"]

    def test_with_done_an_unmet_need_drops_its_task_wherever_it_is(self) -> None:
        assert self.found(done=[]) == ["a"]
        assert self.found(done=["outside"]) == ["a", "c"]
        assert self.found(done={"a"}) == ["a", "b"]
        assert self.found(done=["a", "outside"]) == ["a", "b", "c", "d"]
