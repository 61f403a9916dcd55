"""`idle_timeout`: an attempt that gives no sign of life is ended as by a timeout, and one that gave any is not, whoever was busy meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

import bodies
import plait
from plait._core.states import Status
from plait._core.timers import Due
from plait._core.why import asked
from plait._engine import hearing
from plait._engine import records as lines
from plait._engine.replaying import read_json
from plait.executors.base import Attempt, Beat, Output, Progress
from plait.executors.outputs import Pipe
from plait.stores.opening import open_store
from plait.testing import ScriptedExecutor, VirtualClock
from plait.testing.scripted import Scripted
from plait.testing.world import World, graph
from processes import living


def run(target: Any, **options: Any) -> plait.RunResult:
    with VirtualClock():
        return plait.run(target, raise_on_failure=False, **options)  # type: ignore[no-any-return]


def one(call: Any, *args: Any, **options: Any) -> plait.Graph:
    made = plait.Graph("idle")
    made.add("task", call, args=args, **options)
    return made


def real(target: Any, **options: Any) -> plait.Outcome:
    return plait.run(target, raise_on_failure=False, grace=0.3, **options)["task"]  # type: ignore[no-any-return]


TRIES: list[int] = []
SIGNS = {
    "heartbeat": lambda ctx: ctx.heartbeat(),
    "progress": lambda ctx: ctx.progress(0.5),
    "log": lambda ctx: ctx.log.debug("nobody listens"),
    "spend": lambda ctx: ctx.spend(usd=0),
}


async def agent(signs: int = 0, every: float = 4.0, how: str = "heartbeat", then: float = 100.0) -> str:
    """Alive for so many signs, then silent."""
    ctx = plait.current()
    TRIES.append(ctx.attempt)
    for _ in range(signs):
        await asyncio.sleep(every)
        SIGNS[how](ctx)
    await asyncio.sleep(then)
    return "done"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    TRIES.clear()


class TestTheScheduler:
    def world(self, **options: Any) -> World:
        world = World(graph({"a": {"idle_timeout": 5, **options}}, a=[]))
        world.begins("a")
        return world

    def asks(self, world: World) -> bool:
        turns, world.turns = world.turns, []
        return turns == [(4, "a")]

    def test_the_engine_is_asked_once_for_each_silence_and_not_for_each_sign(self) -> None:
        world = self.world()
        world.passes(4.9)
        assert not self.asks(world)
        world.passes(0.1)
        assert self.asks(world)
        world.hears("a", 4.0)  # however many there were before
        world.passes(3.9)
        assert not self.asks(world)
        world.passes(0.1)
        assert self.asks(world)
        world.hears("a", 4.0)
        assert world.stopped == ["a"]

    def test_an_idle_attempt_is_timed_out_and_says_so(self) -> None:
        world = self.world()
        world.passes(5)
        world.hears("a", 0.0)
        world.returns("a", "too late", stopped=True)
        assert world.status("a") is Status.TIMED_OUT
        assert str(world.table.errors[0]) == "task 'a' was idle for 5 s"
        assert world.table.values[0] is None

    def test_what_ended_before_the_stop_reached_it_is_kept(self) -> None:
        """N: a heartbeat that declares live work dead."""
        world = self.world()
        world.passes(5)
        world.hears("a", 0.0)
        world.returns("a", "in time")
        assert world.status("a") is Status.SUCCEEDED

    def test_another_attempt_follows_as_after_a_timeout_with_a_clock_of_its_own(self) -> None:
        world = self.world(retry={"attempts": 2, "delay": 1, "jitter": False, "on": "timeout"})
        world.passes(5)
        world.hears("a", 0.0)
        world.returns("a", stopped=True)
        assert world.status("a") is Status.RETRYING
        world.passes(3)  # it starts again at 6
        world.begins("a")  # at 8
        world.turns.clear()
        world.passes(4.9)
        assert not self.asks(world)
        world.passes(0.1)
        assert self.asks(world)

    def test_an_answer_about_an_earlier_attempt_changes_nothing(self) -> None:
        world = self.world(retries=1)
        world.fails("a", chance=0.0)
        world.passes(20)
        world.begins("a")
        world.passes(4)
        world.scheduler.listened(0, 1, 0.0, world.now)
        assert world.scheduler.commands == []

    def test_it_stands_still_while_a_person_is_asked(self) -> None:
        world = self.world()
        world.passes(4)
        world.asks("a")
        world.passes(100)
        assert not self.asks(world)
        world.answers("a")
        world.passes(4.9)
        assert not self.asks(world)
        world.passes(0.1)
        assert self.asks(world)

    def test_a_task_that_grew_has_no_code_that_could_be_idle(self) -> None:
        world = self.world()
        world.grows("a", graph(x=[]))
        world.passes(100)
        assert not self.asks(world)
        assert world.scheduler.next_wake() is None

    def test_an_end_by_force_and_one_that_cannot_be(self) -> None:
        world = self.world(grace=2)
        world.passes(5)
        world.hears("a", 0.0)
        world.passes(2)
        assert world.forced == ["a"]
        world.abandons("a")
        assert world.status("a") is Status.TIMED_OUT
        assert str(world.table.errors[0]) == "task 'a' was idle for 5 s"
        assert 0 in world.table.unenforced

    def test_why_says_when_it_was_last_heard(self) -> None:
        """X7."""
        world = self.world()
        world.passes(5)
        world.hears("a", 3.0)
        world.passes(1)
        found = asked(world.scheduler, "a", world.now, lambda at: 1000 + at, "r")
        assert found.text == "a runs, last heard of 3 s ago, and may be silent for 5 s, for 6 s now"
        assert found.detail == {"heard_at": 1003.0, "idle_timeout": 5.0}

    def test_nothing_is_left_of_it_in_the_books(self) -> None:
        world = self.world()
        world.passes(5)
        world.hears("a", 4.0)
        world.returns("a")
        assert world.scheduler.heard == {}
        assert not world.scheduler.timers.armed(Due.IDLE, 0)


class TestCoroutines:
    def test_a_silent_one_is_cancelled(self) -> None:
        result = run(one(agent, idle_timeout=10))
        assert result["task"].status == "timed_out"
        assert str(result["task"].error) == "task 'task' was idle for 10 s"
        assert (result["task"].run_s, result["task"].enforced) == (10, True)

    @pytest.mark.parametrize("how", SIGNS)
    def test_every_sign_of_life_counts(self, how: str) -> None:
        """N: a heartbeat that declares live work dead."""
        made = one(agent, 5, 9.0, how, 9.0, idle_timeout=10)
        assert run(made)["task"].value == "done"

    def test_it_is_ended_so_long_after_its_last_sign(self) -> None:
        assert run(one(agent, 3, 4.0, idle_timeout=10))["task"].run_s == 22

    def test_it_is_tried_again_from_a_fresh_clock(self) -> None:
        made = one(agent, idle_timeout=10, retry={"attempts": 3, "delay": 0, "on": "timeout"})
        outcome = run(made)["task"]
        assert (outcome.attempts, TRIES, outcome.status) == (3, [1, 2, 3], "timed_out")

    def test_a_stored_run_ends_it_wherever_on_the_clock_it_began(self, tmp_path: Path) -> None:
        """E11: the run's clock and the loop's round differently, and the answer to the question is told a commit later."""
        dice = random.Random(1)

        async def later(wait: float) -> str:
            await asyncio.sleep(wait)
            made = one(agent, idle_timeout=0.8)
            return str((await plait.arun(made, raise_on_failure=False, store=tmp_path / "p.db"))["task"].status)

        for _ in range(8):
            assert VirtualClock().run(later(dice.uniform(0, 100))) == "timed_out"

    def test_the_timeout_counts_as_well(self) -> None:
        assert str(run(one(agent, 99, 1.0, idle_timeout=2, timeout=7))["task"].error) == (
            "task 'task' passed its timeout of 7 s"
        )

    def test_one_that_suspends_once_and_signs_from_a_thread_lives(self) -> None:
        async def lives() -> str:
            for _ in range(4):
                await asyncio.sleep(1.5)
                signs = threading.Thread(target=copy_context().run, args=(lambda: plait.current().heartbeat(),))
                signs.start()
                signs.join()
            return "done"

        assert run(one(lives, idle_timeout=2))["task"].value == "done"

    def test_a_heartbeat_is_harmless_where_nothing_listens_and_a_million_cost_little(self) -> None:
        def many() -> float:
            ctx = plait.current()
            began = time.thread_time()
            for _ in range(1_000_000):
                ctx.heartbeat()
            return time.thread_time() - began

        assert plait.run(plait.task(many).bind()) < 5
        with pytest.raises(plait.UsageError, match="inside a task, and none runs here"):
            plait.current().heartbeat()


@pytest.mark.realtime
class TestABusyLoop:
    """N: a heartbeat that declares live work dead."""

    def block(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass

    def beside(self, call: Any, blocked: float, after: float = 0.05, **options: Any) -> plait.Outcome:
        """What becomes of a call while something keeps the loop from turning."""

        async def blocks() -> None:
            await asyncio.sleep(after)
            self.block(blocked)

        made = one(call, **options)
        made.add("blocks", blocks)
        return real(made)

    def test_a_coroutine_that_could_not_run_is_not_idle(self) -> None:
        async def lives() -> str:
            for _ in range(14):
                await asyncio.sleep(0.15)
                plait.current().heartbeat()
            return "alive"

        assert self.beside(lives, 1.6, idle_timeout=1.0).value == "alive"

    def test_nor_one_whose_turn_would_come_right_after(self) -> None:
        signed = asyncio.Event()

        async def lives() -> str:
            plait.current().heartbeat()
            signed.set()
            for _ in range(2):
                await asyncio.sleep(0.02)
            plait.current().heartbeat()
            await asyncio.sleep(0.2)
            return "alive"

        async def blocks() -> None:
            await signed.wait()
            self.block(0.99)  # the loop is free again just before the silence is judged

        made = one(lives, idle_timeout=1.0)
        made.add("blocks", blocks)
        assert real(made).value == "alive"

    def test_a_thread_whose_signs_nobody_read_is_not_idle(self) -> None:
        outcome = self.beside(lambda: bodies.beats(2.2, 0.05), 1.6, idle_timeout=1.0)
        assert outcome.value == "alive"

    def test_nor_a_command_whose_output_nobody_read(self) -> None:
        script = plait.shell(
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.2; done; echo alive", output="lines"
        )
        made = plait.Graph("idle")
        made.add("task", script.options(idle_timeout=1.2))

        async def blocks() -> None:
            await asyncio.sleep(0.05)
            self.block(1.8)

        made.add("blocks", blocks)
        assert real(made).value[-1] == "alive"

    def test_where_the_loop_comes_late_others_may_have_been_kept_away_too(self) -> None:
        """A thread that does not let others run; a program that was stopped, and goes on."""
        ears = hearing.Ears(virtual=False)
        attempt = Attempt.of((None, 0, 1, ()), ("thread", None, (), None), 10.0)  # type: ignore[arg-type]
        assert ears.heard(attempt, None, 0.0, 10.0, 15.0, 5.0) == 10.0  # it is asked about again at 20
        assert ears.heard(attempt, None, 0.0, 10.0, 20.0, 0.0) == 0.0
        attempt.heard = 20.0
        assert ears.heard(attempt, None, 0.0, 10.0, 30.0, 0.0) == 20.0

    def test_one_that_is_silent_ends_though_the_loop_is_late_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hearing, "MOST_MOMENTS", 2)
        monkeypatch.setattr(hearing, "MOMENT_S", 1e-6)

        async def blocks() -> None:
            for _ in range(60):
                await asyncio.sleep(0)
                self.block(0.05)

        async def silent() -> None:
            await asyncio.sleep(60)

        made = one(silent, idle_timeout=0.2)
        made.add("blocks", blocks)
        outcome = real(made)
        assert outcome.status == "timed_out"
        assert outcome.run_s < 2


@pytest.mark.realtime
class TestThreads:
    def test_signs_from_a_thread_count(self) -> None:
        assert real(one(bodies.beats, 2.2, 0.05, idle_timeout=1.5)).value == "alive"

    def test_a_silent_one_is_abandoned(self) -> None:
        ended = threading.Event()
        outcome = real(one(lambda: ended.wait(30), idle_timeout=0.2, grace=0.1))
        ended.set()
        assert (outcome.status, outcome.enforced) == ("timed_out", False)
        assert str(outcome.error) == "task 'task' was idle for 0.2 s"


@pytest.mark.realtime
class TestWorkers:
    def test_signs_of_a_worker_count(self) -> None:
        made = one(bodies.beats, 2.2, 0.05, idle_timeout=1.5, executor="process")
        assert real(made).value == "alive"

    def test_so_does_what_it_prints(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
        made = one(bodies.prints, 2.2, 0.05, idle_timeout=1.5, executor="process")
        assert real(made).value == "alive"

    def test_a_silent_one_is_ended_and_the_others_are_not(self) -> None:
        made = one(bodies.beats, 0.3, 0.05, 60.0, idle_timeout=1.0, executor="process")
        made.add("other", bodies.beats, args=(3.0, 0.05), idle_timeout=2.0, executor="process")
        began = time.monotonic()
        result = plait.run(made, raise_on_failure=False, grace=0.3)
        assert (result["task"].status, result["task"].enforced, result["other"].value) == ("timed_out", True, "alive")
        assert time.monotonic() - began < 20

    def test_a_sign_of_the_call_before_is_none_of_the_next(self) -> None:
        made = plait.Graph("idle")
        before = made.add("before", bodies.beats, args=(0.2, 0.05), executor="process")
        made.add("task", bodies.sleep, args=(60.0,), needs=["before"], idle_timeout=0.3, executor="process")
        assert before is not None
        assert real(made).status == "timed_out"

    def test_current_has_a_heartbeat_there_and_says_what_it_has_not(self) -> None:
        made = one(bodies.what_a_worker_knows, executor="process")
        assert real(made).value == (
            "in a worker process plait.current() has heartbeat() alone: the rest is known where the run is driven"
        )


@pytest.mark.realtime
class TestCommands:
    LIVES = "for i in 1 2 3 4 5 6 7 8 9 10 11; do echo $i; sleep 0.2; done"

    @pytest.mark.parametrize("stored", [False, True])
    def test_output_counts(self, tmp_path: Path, stored: bool) -> None:
        options = {"store": tmp_path / "runs.db"} if stored else {}
        made = plait.Graph("idle")
        made.add("task", plait.shell(self.LIVES, idle_timeout=1.5))
        assert real(made, **options).status == "succeeded"

    @pytest.mark.parametrize("stored", [False, True])
    def test_a_silent_one_is_ended_with_all_that_it_started(self, tmp_path: Path, stored: bool) -> None:
        options = {"store": tmp_path / "runs.db"} if stored else {}
        marker = f"plait-idle-{os.getpid()}-{stored}"
        script = f"echo begins; (trap '' TERM; exec -a {marker} sleep 600) & exec -a {marker} sleep 600"
        made = plait.Graph("idle")
        made.add("task", plait.shell(["bash", "-c", script], idle_timeout=0.4, grace=0.3))
        outcome = real(made, **options)
        assert (outcome.status, str(outcome.error)) == ("timed_out", "task 'task' was idle for 0.4 s")
        assert not living(marker)

    def test_what_lies_unread_in_a_pipe_counts(self) -> None:
        pipe = Pipe(100)
        assert pipe.heard_by(7.0) == 0.0
        os.write(pipe.end, b"x")
        assert (pipe.heard_by(8.0), pipe.heard_by(9.0), bytes(pipe.data)) == (8.0, 8.0, b"x")
        pipe.close()

    def test_a_clock_that_is_set_makes_no_live_one_idle(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from plait.executors import outputs

        path = tmp_path / "out"
        wall = [time.time()]
        monkeypatch.setattr(outputs.time, "time", lambda: wall[0])
        monkeypatch.setattr(outputs.time, "monotonic", lambda: 50.0)
        with path.open("w") as file:
            dated = outputs.Dated()
            assert dated.heard_by(file.fileno(), 100.0) == 0.0
            file.write("x")
            file.flush()
            wall[0] += 3600  # an hour that did not pass
            assert dated.heard_by(file.fileno(), 100.0) == 100.0
            assert dated.heard_by(file.fileno(), 107.0) == 100.0


class TestExecutors:
    @pytest.mark.parametrize(
        "report", [Beat(), Progress(0.5), Output("stdout", b"x")], ids=lambda each: type(each).__name__
    )
    def test_a_report_of_an_executor_is_a_sign_of_life(self, report: Any) -> None:
        class Reporting(ScriptedExecutor):
            def start(self, attempt: Attempt) -> None:
                super().start(attempt)
                for seconds in (4, 8):
                    self._sink.loop.call_later(seconds, self._sink.report, attempt, report)

        script = {"task": Scripted(seconds=12)}
        assert Reporting(script).play(one(agent, idle_timeout=5))["task"].status == "succeeded"
        assert ScriptedExecutor(script).play(one(agent, idle_timeout=5))["task"].status == "timed_out"


class TestStoredRuns:
    def test_signs_cost_no_fact_each_and_a_replay_decides_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "runs.db"
        made = plait.Graph("idle")
        made.add("task", agent, args=(100, 1.0), idle_timeout=10, retries=0)
        result = run(made, store=path)
        assert str(result["task"].error) == "task 'task' was idle for 10 s"
        opened = open_store(path, None, create=False)
        try:
            stored = opened.find("last")
            journal = [line for _, data in opened.journal(stored, 1) for line in read_json(data)]
        finally:
            opened.close()
        told = [line for line in journal if line[0] == lines.LISTENED]
        assert len(told) <= 13  # in 110 s with a hundred signs
        again = plait.show_run("last", path)
        assert again["task"].status == "timed_out"
        assert "was idle for 10 s" in plait.why("last", "task", path).text

    def test_an_edit_of_it_makes_nothing_run_again(self, tmp_path: Path) -> None:
        made = one(agent, 1, 1.0, "heartbeat", 1.0, idle_timeout=10)
        made.add("fails", lambda: 1 / 0, needs=["task"])
        run(made, store=tmp_path / "runs.db")
        again = one(agent, 1, 1.0, "heartbeat", 1.0, idle_timeout=20)
        again.add("fails", lambda: 1, needs=["task"])
        with VirtualClock():
            result = plait.resume("last", again, store=tmp_path / "runs.db", accept_changes=True).wait()
        assert (result.status, TRIES) == ("succeeded", [1])


FILE = """
tasks:
  task: {call: "test_idle:agent", with: {signs: 2, every: 4}, idle_timeout: 10s, retries: 1}
"""


class TestDoors:
    @pytest.mark.parametrize("door", ["file", "python"])
    def test_the_same_in_python_and_in_a_file(self, tmp_path: Path, door: str) -> None:
        if door == "file":
            (tmp_path / "flow.yaml").write_text(FILE)
            target: Any = plait.load(tmp_path / "flow.yaml")
        else:
            target = one(agent, 2, 4, idle_timeout="10s", retries=1)
        outcome = run(target)["task"]
        assert (outcome.status, outcome.attempts, outcome.run_s) == ("timed_out", 2, 18)

    def test_decorated_functions_options_and_maps(self) -> None:
        limited = plait.task(idle_timeout=3)(agent)
        assert run([limited.bind(), limited.options(idle_timeout=None).bind()]) == [None, "done"]
        mapped = plait.Graph("idle")
        mapped.add("all", limited.map([0, 1], on_failure="continue"))
        assert {str(each.status) for each in run(mapped).children("all")} == {"timed_out"}
        with pytest.raises(plait.UsageError, match=r"idle_timeout belongs to each item: agent\.options"):
            limited.map([0], idle_timeout=3)

    def test_flat_lists_streams_and_phases(self) -> None:
        clock = VirtualClock()

        async def flat() -> Any:
            with pytest.raises(plait.TaskTimedOut, match="was idle for 3 s"):
                await plait.amap(agent, [0], idle_timeout=3)
            statuses = [each.status async for each in plait.as_completed(agent, [0, 1], idle_timeout=3)]
            phase = type("T", (), {"id": "a", "dependencies": ()})()
            runner = plait.ParallelRunner(timeout=None, idle_timeout="3s")
            (result,) = await runner.run_phase([phase], lambda task: agent())
            return statuses, result.status, result.error

        assert clock.run(flat()) == (["timed_out"] * 2, "timeout", "task 'a' was idle for 3 s")

    @pytest.mark.parametrize("value", [0, -1, True, float("nan"), float("inf"), "soon", "0s"])
    def test_bad_values_are_refused_when_given(self, tmp_path: Path, value: Any) -> None:
        with pytest.raises(plait.LimitError, match="idle_timeout"):
            plait.task(idle_timeout=value)(agent)
        with pytest.raises(plait.LimitError, match="idle_timeout"):
            plait.ParallelRunner(idle_timeout=value)
        (tmp_path / "flow.yaml").write_text(f"tasks:\n  a: {{run: 'true', idle_timeout: {str(value).lower()}}}\n")
        with pytest.raises(plait.FlowError, match="idle_timeout"):
            plait.load(tmp_path / "flow.yaml")

    def test_a_group_has_no_code(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text("tasks:\n  g: {idle_timeout: 3s, tasks: {a: {run: 'true'}}}\n")
        with pytest.raises(plait.FlowError, match="idle_timeout belongs to what runs, not to a group"):
            plait.load(tmp_path / "flow.yaml")

    def test_a_default_of_a_file_is_for_what_runs(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(
            "defaults: {idle_timeout: 3s}\ntasks:\n  g: {tasks: {a: {call: 'test_idle:agent'}}}\n"
        )
        assert run(plait.load(tmp_path / "flow.yaml"))["g/a"].status == "timed_out"


@pytest.mark.realtime
def test_why_of_a_living_run_knows_signs_of_which_nothing_was_told() -> None:
    """X7."""
    begun, go_on = threading.Event(), threading.Event()

    def waits() -> None:
        plait.current().heartbeat()
        begun.set()
        go_on.wait(30)

    handle = plait.start(one(waits))
    begun.wait(30)
    answer = handle.why("task")
    go_on.set()
    handle.wait()
    assert "runs, last heard of " in answer.text
    assert answer.detail["heard_at"] <= time.time()


def test_a_log_record_names_the_place_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    async def logs() -> None:
        plait.current().log.info("here")

    with caplog.at_level(logging.INFO, logger="plait.task"):
        run(one(logs))
    assert caplog.records[0].pathname == __file__
