"""Readers that somebody gives: whatever they do, the run goes on as without them."""

from __future__ import annotations

import asyncio
import copy
import json
import operator
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import plait
from plait.observe import readers
from plait.observe.readers import Apart


class Stuck:
    """A reader that blocks at its first event until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.seen: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.entered.set()
        self.go.wait(30)
        self.seen.append(event)


def warnings(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def event(number: int) -> plait.RunEvent:
    return plait.RunEvent("r", number, 0.0, "task_ready", "t", kind="t")


@pytest.mark.realtime
class TestInTheWay:
    def test_a_reader_that_blocks_holds_up_nobody(self) -> None:
        """F79: the run is over while its reader still stands at the first event; the others have seen all."""
        stuck, metrics = Stuck(), plait.Metrics()
        assert plait.run([plait.task(abs).bind(-1)], readers=[stuck, metrics]) == [1]
        assert stuck.entered.wait(30)
        assert stuck.seen == []
        assert metrics.total.counts == {"succeeded": 1}
        assert plait.flush_readers(timeout=0.01) is False
        stuck.go.set()
        assert plait.flush_readers(timeout=30)
        assert [each and each.event for each in stuck.seen] == [
            "run_started",
            "task_ready",
            "task_started",
            "task_succeeded",
            "run_finished",
            None,
        ]

    def test_what_one_is_shown_it_cannot_change_for_the_others(self) -> None:
        """F79: nor for another run. An event is still a value: it is equal to a copy, goes to JSON and to another process."""
        seen: list[plait.RunEvent] = []
        graph = plait.Graph("g", pools={"p": 1})
        graph.add("a", abs, args=(1,), pool="p")
        graph.add("b", abs, args=(1,), needs=["a"])
        plait.run(graph, readers=[lambda event: event and seen.append(event)])
        assert plait.flush_readers(timeout=30)
        ended = seen[-1].detail
        shown = [each for event in seen for each in (event.pool, event.detail)]
        shown += [ended["counts"], ended["pools"], ended["metrics"], ended["metrics"]["kinds"]["abs"]["run_s"]]
        changes: list[Any] = [
            lambda one: operator.setitem(one, "x", 1),
            lambda one: operator.delitem(one, "x"),
            lambda one: operator.ior(one, {"x": 1}),
            lambda one: one.update(x=1),
            lambda one: one.setdefault("x", 1),
            lambda one: one.pop("x", 1),
            lambda one: one.popitem(),
            lambda one: one.clear(),
        ]
        for one in shown:
            for change in changes:
                with pytest.raises(TypeError, match="stays as it is"):
                    change(one)
        assert [pickle.loads(pickle.dumps(event)) for event in seen] == seen == copy.deepcopy(seen)
        assert json.loads(json.dumps(ended)) == dict(ended)

    @pytest.mark.parametrize(
        ("ours", "given"),
        [(plait.Metrics, ()), (plait.PrometheusExporter, (CollectorRegistry(),)), (readers.Reader, ())],
    )
    def test_one_that_is_made_of_ours_holds_up_nobody_either(
        self, ours: Any, given: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """F79: what its class adds may block, or want to end the program."""

        class Own(ours):  # type: ignore[misc]
            def __call__(self, event: Any) -> None:
                super().__call__(event)
                stuck(event)
                raise SystemExit(3)

        stuck, own = Stuck(), Own(*given)
        assert plait.run([plait.task(abs).bind(-1)], readers=[own]) == [1]
        assert stuck.entered.wait(30)
        assert stuck.seen == []
        stuck.go.set()
        assert plait.flush_readers(timeout=30)
        assert len(stuck.seen) == 6
        if ours is plait.Metrics:
            assert own.total.counts == {"succeeded": 1}
        assert len(warnings(caplog, "raised; the run goes on")) == 1

    def test_what_it_does_where_it_enters_a_run_holds_up_nobody_either(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """F79: of a run that is taken over, and of one that is over."""
        go, entered = threading.Event(), threading.Event()

        class Own(plait.Metrics):
            def enter(self, run: str, name: str, metrics: plait.Metrics) -> None:
                entered.set()
                go.wait(30)
                super().enter(run, name, metrics)
                raise ValueError("enter")

        async def leave() -> None:
            if plait.current().attempt == 1:
                handles[0]._driver.interrupt()
                await asyncio.sleep(60)

        graph = plait.Graph("g")
        graph.add("a", abs, args=(-1,))
        graph.add("b", leave, needs=["a"])
        handles: list[Any] = []

        async def first() -> plait.RunResult:
            handles.append(plait.start(graph, store=tmp_path / "p.db"))
            return await handles[0]  # type: ignore[no-any-return]

        assert asyncio.run(first()).interrupted
        for counts in ({"succeeded": 2}, {"succeeded": 2}):
            own = Own()
            assert plait.resume("last", graph, store=tmp_path / "p.db", readers=[own]).wait(30).status == "succeeded"
            assert entered.wait(30)
            go.set()
            assert plait.flush_readers(timeout=30)
            assert own.total.counts == counts
            go.clear()
            entered.clear()
        assert len(warnings(caplog, "raised; the run goes on")) == 2

    def test_what_too_many_events_wait_for_is_dropped_counted_and_logged_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """F79: the queue is bounded; the end is told all the same."""
        stuck = Stuck()
        apart = Apart(stuck, "r", most=3)
        with caplog.at_level("INFO", logger="plait"):
            apart(event(1))
            assert stuck.entered.wait(30)
            for number in range(2, 10):
                apart(event(number))
            assert apart.waiting == 3
            apart(plait.RunEvent("r", 10, 0.0, "run_finished"))
            apart(None)
        assert apart.lost == 5
        assert len(warnings(caplog, "is too slow: 3 events wait for it")) == 1
        assert warnings(caplog, "was not shown 5 events")
        stuck.go.set()
        assert apart.done.wait(30)
        assert [each and each.seq for each in stuck.seen] == [1, 2, 3, 4, 10, None]

    def test_a_reader_that_raises_is_logged_once_and_shown_more(self, caplog: pytest.LogCaptureFixture) -> None:
        """F79: also what is no Exception."""
        seen: list[Any] = []

        def raises(event: Any) -> None:
            seen.append(event)
            raise SystemExit("no")

        plain = plait.run([plait.task(abs).bind(-1) for _ in range(3)])
        assert plait.run([plait.task(abs).bind(-1) for _ in range(3)], readers=[raises]) == plain
        assert plait.flush_readers()
        assert len(seen) == 12
        assert len(warnings(caplog, "raised; the run goes on")) == 1
        assert warnings(caplog, "raised 12 times")

    def test_a_reader_in_the_runs_own_thread_that_raises_spoils_it_for_nobody(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """F79."""

        class Prompt(readers.Reader):
            prompt = True

            def __call__(self, event: Any) -> None:
                raise ZeroDivisionError

        metrics = plait.Metrics()
        assert plait.run([plait.task(abs).bind(-1)], readers=[Prompt(), metrics]) == [1]
        assert metrics.whole
        assert metrics.total.counts == {"succeeded": 1}
        assert len(warnings(caplog, "raised; the run goes on")) == 1

    def test_readers_of_stored_events_raise_for_who_called(self, tmp_path: Any) -> None:
        plait.run(plait.task(abs).bind(-1), store=tmp_path / "runs.db")
        with pytest.raises(ZeroDivisionError):
            plait.retell("last", tmp_path / "runs.db", [lambda event: 1 / 0])

    def test_a_run_has_the_same_outcomes_with_any_reader(self) -> None:
        """F79."""

        def fails(number: int) -> int:
            return 12 // number

        def outcomes(**options: Any) -> Any:
            graph = plait.Graph("g")
            for number in (0, 3, 4):
                graph.add(str(number), fails, args=(number,))
            result = plait.run(graph, raise_on_failure=False, **options)
            return result.status, [(each.key, each.status, each.value) for each in result.values()]

        stuck = Stuck()
        assert outcomes(readers=[lambda event: 1 / 0, plait.Metrics(), stuck]) == outcomes()
        stuck.go.set()
        assert plait.flush_readers(timeout=30)

    def test_before_a_program_ends_readers_see_the_rest_but_not_for_ever(self) -> None:
        """F79: a slow reader gets its time, one that is stuck keeps no program from ending."""
        program = """
import sys, threading, logging
import plait
from plait.observe import readers
logging.basicConfig(level="WARNING", format="%(message)s")
readers.EXIT_S = float(sys.argv[1])
last = threading.Event()
def slow(event):
    last.wait(0.005)
    if event is None:
        print("all seen", flush=True)
def stuck(event):
    last.wait(600)
plait.run([plait.task(abs).bind(-1)], readers=[slow] if sys.argv[2] == "slow" else [stuck])
"""

        def ends(seconds: str, which: str) -> subprocess.CompletedProcess[str]:
            words = [sys.executable, "-c", program, seconds, which]
            return subprocess.run(words, capture_output=True, text=True, timeout=50)

        slow, stuck = ends("20", "slow"), ends("0.1", "stuck")
        assert (slow.stdout, slow.returncode) == ("all seen\n", 0)
        assert (stuck.stdout, stuck.returncode) == ("", 0)
        assert "has not seen 5 events: the program ends" in stuck.stderr


class TestGiven:
    @pytest.mark.parametrize("wrong", [print, "abc", 3, [3]])
    def test_what_cannot_be_called_is_refused_before_anything_runs(self, wrong: Any) -> None:
        started: list[int] = []
        with pytest.raises(plait.UsageError, match=r"readers must be a list of callables|cannot be called"):
            plait.run(plait.task(started.append).bind(1), readers=wrong)
        with pytest.raises(plait.UsageError, match=r"readers must be a list of callables|cannot be called"):
            plait.map_(started.append, [1], readers=wrong)
        assert started == []

    def test_a_coroutine_function_is_refused(self) -> None:
        async def read(event: Any) -> None: ...

        with pytest.raises(plait.UsageError, match=r"use `async for event in run\.events"):
            plait.run(plait.task(abs).bind(1), readers=[read])

    def test_wrong_readers_leave_no_stored_run_behind(self, tmp_path: Any) -> None:
        with pytest.raises(plait.UsageError, match="cannot be called"):
            plait.run(plait.task(abs).bind(1), readers=[3], store=tmp_path / "runs.db")
        assert not (tmp_path / "runs.db").exists()

    def test_a_run_without_readers_makes_no_events(self) -> None:
        """B18: what nobody reads costs nothing: no move is kept, no stream is made, no module is loaded."""
        program = (
            "import sys, plait\nplait.run(plait.task(abs).bind(-1)); plait.map_(abs, [1])\n"
            "print([m for m in sys.modules if m.startswith('plait.observe')])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.stdout == "[]\n", done.stderr
