"""E8: workers that hold several calls, and give back what they have not begun."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bodies
import plait
from plait.executors import processes, workers
from plait.executors.pace import Pace
from plait.executors.processes import ProcessExecutor
from plait.executors.worker import BOARD_BYTES, WOKEN, Board, Worker

pytestmark = pytest.mark.realtime


@pytest.fixture
def most_held(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """With two workers: how many calls one of them held at once."""
    held: list[int] = []
    dispatch = ProcessExecutor._dispatch

    def watched(self: ProcessExecutor) -> None:
        dispatch(self)
        held.extend(len(worker.held) for worker in self._workers)

    monkeypatch.setattr(ProcessExecutor, "_dispatch", watched)
    monkeypatch.setattr(processes, "_cpus", lambda: 2)
    return lambda: max(held)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "ran").mkdir()
    return str(tmp_path / "ran")


def _executor(run: plait.Run) -> ProcessExecutor:
    found = run._driver._executors["process"]
    assert isinstance(found, ProcessExecutor)
    return found


def runs(folder: str) -> Counter[int]:
    """How often each call ran."""
    return Counter(int(name.partition("-")[0]) for name in os.listdir(folder))


class TestHolding:
    def test_short_tasks_wait_at_their_workers_and_each_runs_once(
        self, most_held: Callable[[], int], folder: str
    ) -> None:
        values = plait.map_(partial(bodies.mark, folder=folder), range(600), executor="process", max_concurrency=64)
        assert values == list(range(600))
        assert runs(folder) == Counter(range(600))
        assert most_held() > 2

    @pytest.mark.parametrize("slots", [1, 2, 6])
    def test_workers_hold_more_than_there_are_slots_and_no_more_run(
        self, most_held: Callable[[], int], folder: str, slots: int
    ) -> None:
        """W10: what waits at a worker is ready, not running."""
        graph = plait.Graph("g")
        body = plait.task(partial(bodies.mark, folder=folder)).options(executor="process")
        for number in range(400):
            graph.add(str(number), body, args=(number,))
        running, most = set[str](), 0

        async def watched() -> None:
            nonlocal most
            run = plait.start(graph, max_concurrency=slots)
            async for event in run.events():
                if event.event == "task_started":
                    running.add(event.task or "")
                    most = max(most, len(running))
                elif event.task is not None:
                    running.discard(event.task)
            await run

        asyncio.run(watched())
        assert runs(folder) == Counter(range(400))
        assert 1 <= most <= slots
        assert most_held() > 1

    def test_a_pause_takes_back_what_has_not_begun(self, most_held: Callable[[], int], folder: str) -> None:
        """A paused run starts nothing; once it goes on all of it runs, once."""
        graph = plait.Graph("g")
        body = plait.task(partial(bodies.mark, folder=folder)).options(executor="process")
        for number in range(3000):
            graph.add(str(number), body, args=(number,))

        async def paused() -> None:
            run = plait.start(graph, max_concurrency=2)
            while not runs(folder):
                await asyncio.sleep(0.005)
            run.pause()
            while any(each.held for each in _executor(run)._workers):
                await asyncio.sleep(0.005)
            assert not run._driver.scheduler.lent
            there = runs(folder)
            assert len(there) < 3000
            await asyncio.sleep(0.05)
            assert runs(folder) == there
            run.resume()
            await run

        asyncio.run(paused())
        assert runs(folder) == Counter(range(3000))

    def test_long_tasks_do_not(self, most_held: Callable[[], int]) -> None:
        """Whose length is not known counts as long."""
        plait.map_(bodies.sleep, [0.2] * 6, executor="process", max_concurrency=8)
        assert most_held() == 1

    def test_towards_the_end_each_has_its_share(self, most_held: Callable[[], int]) -> None:
        """A half of it at most waits at a worker: else all that is left would be with one of them."""
        assert plait.map_(bodies.double, range(400), executor="process") == [2 * number for number in range(400)]
        assert 10 < most_held() <= 1 + 400 // 4

    def test_an_idle_worker_gets_what_another_has_not_begun(self, most_held: Callable[[], int], folder: str) -> None:
        """One call ends only when all others have: those that were given to its worker must run in the other one."""
        Path(f"{folder}.others").write_text("199")
        body = partial(bodies.mark_or, folder=folder, special=60, what="wait for all others")
        assert plait.map_(body, range(200), executor="process", max_concurrency=64) == list(range(200))
        assert runs(folder) == Counter(range(200))
        assert most_held() > 2

    def test_a_worker_that_dies_costs_nobody_but_its_own_task(self, most_held: Callable[[], int], folder: str) -> None:
        """F48: what it held and had not begun runs elsewhere, for the first time."""
        graph = plait.Graph("g")
        body = plait.task(partial(bodies.mark_or, folder=folder, special=60, what="die once")).options(
            executor="process"
        )
        for number in range(200):
            graph.add(str(number), body, args=(number,))
        result = plait.run(graph, max_concurrency=64)
        assert [result[str(number)].attempts for number in range(200)] == [1 + (number == 60) for number in range(200)]
        assert runs(folder) == Counter(range(200))
        assert most_held() > 2

    def test_fail_fast_takes_back_what_has_not_begun(self, most_held: Callable[[], int], folder: str) -> None:
        """What ran is told of: it has succeeded or is cancelled, and nothing else ran."""
        graph = plait.Graph("g")
        body = plait.task(partial(bodies.mark_or, folder=folder, special=60, what="fail")).options(executor="process")
        for number in range(3000):
            graph.add(str(number), body, args=(number,))
        result = plait.run(graph, max_concurrency=4, on_failure="fail_fast", raise_on_failure=False)
        by_status: dict[str, set[int]] = {}
        for key, outcome in result.items():
            by_status.setdefault(str(outcome.status), set()).add(int(key))
        assert by_status["failed"] == {60}
        ran = set(runs(folder))
        assert by_status["succeeded"] <= ran <= by_status["succeeded"] | by_status.get("cancelled", set())
        assert by_status["not_started"]
        assert most_held() > 1

    def test_results_of_any_size_come_in_any_order(self, most_held: Callable[[], int]) -> None:
        """Those that fit on the board, and those that do not."""
        sizes = [3, BOARD_BYTES // 2, BOARD_BYTES, 7, 5 * BOARD_BYTES, 0] * 20
        assert plait.map_(bytes, sizes, executor="process", max_concurrency=64) == [bytes(size) for size in sizes]


class TestStops:
    def test_a_timeout_counts_from_the_start_of_the_code_behind_others(
        self, most_held: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """X2: of a call that its worker holds, too."""
        monkeypatch.setattr(processes, "_cpus", lambda: 1)
        graph = plait.Graph("g")
        task = plait.task(bodies.sleep).options(executor="process", timeout=1.0, grace=0.1)
        for number, seconds in enumerate([*[0.0] * 20, 0.7, 0.5, 60.0, 0.0]):
            graph.add(f"{number:02}", task, args=(seconds,))
        result = plait.run(graph, max_concurrency=64, raise_on_failure=False)
        statuses = [str(outcome.status) for outcome in result.values()]
        assert statuses == [*["succeeded"] * 22, "timed_out", "succeeded"]
        assert most_held() > 2

    def test_what_is_held_and_stopped_is_over_before_the_call_in_front_of_it(
        self, most_held: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The call in front ends only once the stopped one was told to be over."""
        monkeypatch.setattr(processes, "_cpus", lambda: 1)
        go = tmp_path / "go"
        graph = plait.Graph("g")
        short = plait.task(bodies.sleep).options(executor="process")
        for number in range(20):
            graph.add(f"short{number}", short, args=(0.0,))
        graph.add("front", plait.task(bodies.wait_for).options(executor="process"), args=(str(go),))
        late = graph.add("late", short.options(deadline=0.5), args=(0.0,))
        graph.add("opens", plait.task(go.touch).options(join="all_done"), needs=[late])
        result = plait.run(graph, max_concurrency=64, raise_on_failure=False)
        assert str(result["late"].status) == "timed_out"
        assert result["late"].enforced
        assert str(result["front"].status) == "succeeded"

    def test_a_worker_that_cannot_answer_is_not_waited_for(
        self, most_held: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The call in front keeps the whole process busy, and is not harmed: it is said that the other may yet run."""
        monkeypatch.setattr(processes, "_cpus", lambda: 1)
        graph = plait.Graph("g")
        short = plait.task(bodies.sleep).options(executor="process")
        for number in range(20):
            graph.add(f"short{number}", short, args=(0.0,))
        # Ready together, once there is a worker and it is known that calls are short: its deadline finds the late one there.
        warm = [f"short{number}" for number in range(20)]
        graph.add("front", plait.task(bodies.hog).options(executor="process"), args=(2,), needs=warm)
        graph.add("late", short.options(deadline=0.3, grace=0.2), args=(0.0,), needs=warm)
        result = plait.run(graph, max_concurrency=64, raise_on_failure=False)
        assert (str(result["front"].status), str(result["late"].status)) == ("succeeded", "timed_out")
        assert not result["late"].enforced

    def test_what_ended_is_told_before_the_long_call_behind_it_ends(
        self, most_held: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Whoever needs a short call does not wait for a long one, for which nobody of them knew."""
        monkeypatch.setattr(processes, "_cpus", lambda: 1)
        go = tmp_path / "go"
        graph = plait.Graph("g")
        short = plait.task(bodies.sleep).options(executor="process")
        keys = [f"short{number}" for number in range(60)]
        for key in keys:
            graph.add(key, short, args=(0.0,))
        graph.add("long", plait.task(bodies.wait_for).options(executor="process"), args=(str(go),))
        graph.add("opens", go.touch, needs=keys)
        result = plait.run(graph, max_concurrency=64)
        assert str(result.status) == "succeeded"

    def test_a_failure_is_told_at_once(self) -> None:
        """It may end the run; what succeeded waits for others."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        board = Board(workers._shared())
        board.together = 3600.0
        worker = Worker(theirs, -1, board)
        call = pickle.dumps(("bodies:sleep", (0,), None))
        bad = pickle.dumps(("bodies:sleep", ("long",), None))
        worker._said_at = time.monotonic()
        worker._calls = [(number, bad if number == 3 else call) for number in range(1, 8)]
        for number in range(1, 4):
            worker._run(worker._next())
            assert worker._number == number
            with pytest.raises(BlockingIOError):
                ours.recv(100)
        worker._next()
        assert ours.recv(100)[-1] == WOKEN
        ours.close()
        theirs.close()
        board.close()

    def test_results_wait_for_others_only_where_nobody_looks(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[bool] = []
        plan = Pace.plan

        def planning(self: Pace, unfinished: int, workers: int, patient: bool) -> None:
            seen.append(patient)
            plan(self, unfinished, workers, patient)

        monkeypatch.setattr(Pace, "plan", planning)

        def all_seen(run: Callable[[], object]) -> set[bool]:
            seen.clear()
            run()
            return set(seen)

        async def stream() -> None:
            async for _ in plait.as_completed(bodies.double, range(3), executor="process"):
                pass

        double = plait.task(bodies.double).options(executor="process")
        first = double.bind(1)
        assert all_seen(lambda: plait.map_(bodies.double, range(3), executor="process")) == {True}
        assert all_seen(lambda: asyncio.run(stream())) == {False}
        assert all_seen(lambda: plait.run([first, double.bind(first)])) == {
            False,
            True,
        }  # and then nothing waits any more
        # What needs many waits with the many, until what is under way could be the last of them.
        every = [double.bind(number) for number in range(400)]
        assert all_seen(lambda: plait.run(plait.task(sum).bind(every))) == {False, True}
        caplog.set_level(logging.DEBUG, "plait")  # whoever reads moves
        assert all_seen(lambda: plait.map_(bodies.double, range(3), executor="process")) == {False}

    def test_what_the_engine_says_of_a_call_is_not_for_another(self) -> None:
        ours, theirs = socket.socketpair()
        board = Board(workers._shared())
        worker = Worker(theirs, -1, board)
        board.stop = 1
        worker._number = 2
        worker._terminate(15, None)
        assert not worker._told_to_stop
        board.stop = 2
        worker._terminate(15, None)
        assert worker._told_to_stop
        assert worker._give_back(1, 5) == 3  # the one that runs has begun
        assert [worker._is_revoked(number) for number in (3, 5, 6)] == [True, True, False]
        ours.close()
        theirs.close()
        board.close()


@given(st.lists(st.one_of(st.integers(0, 20).map(lambda part: part * 13_107), st.none()), max_size=60))
def test_the_board_gives_what_was_put_there_in_order(steps: list[int | None]) -> None:
    """Numbers are bytes that are put there, None takes all that is there."""
    fd = workers._shared()
    board = Board(fd)
    os.close(fd)
    there: deque[bytes] = deque()
    room = BOARD_BYTES - Board._HEADER
    for number, size in enumerate(steps):
        if size is None:
            assert board.take() == b"".join(there)
            there.clear()
        else:
            data = bytes([number % 251]) * size
            fits = sum(map(len, there)) + size <= room
            assert board.put(data) is fits
            if fits:
                there.append(data)
    assert board.take() == b"".join(there)
    board.close()
