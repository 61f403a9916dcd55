"""The same program from a script, a running loop, a thread and Jupyter; the handle on a run; Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import plait

PROGRAM = """
import plait
@plait.task
async def double(value):
    return 2 * value
@plait.task
def total(values):
    return sum(values)
answer = plait.run(total.bind([double.bind(number) for number in range(10)]))
"""

SLEEPER = """
import asyncio, plait, time
ended = []
@plait.task
async def sleeper(name):
    try:
        await asyncio.sleep(600)
    finally:
        ended.append(name)
"""


def python(program: str, *, interrupt_when: str | None = None, times: int = 1) -> tuple[int, str, str]:
    """Runs a program; sends SIGINT once it has printed `interrupt_when`."""
    child = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if interrupt_when is not None:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == interrupt_when:
                break
        for _ in range(times):
            child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


@pytest.mark.realtime
class TestPlaces:
    def test_a_script(self) -> None:
        assert python(PROGRAM + "print(answer)") == (0, "90\n", "")

    def test_inside_a_running_loop_by_the_blocking_door_and_by_awaiting(self) -> None:
        program = PROGRAM.replace("answer =", "import asyncio\nasync def main():\n    print(").replace(
            "range(10)]))", "range(10)])))"
        )
        program += "    print(await plait.arun(total.bind([double.bind(1)])))\nasyncio.run(main())\n"
        assert python(program) == (0, "90\n2\n", "")

    def test_a_thread(self) -> None:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(plait.map_(lambda item: item + 1, range(3))))
        thread.start()
        thread.join(20)
        assert answers == [[1, 2, 3]]

    def test_a_jupyter_kernel_runs_the_same_program_and_an_interrupt_stops_it(self) -> None:
        # In a process of its own: the client library leaves event loops open behind it.
        script = Path(__file__).with_name("jupyter_session.py")
        child = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100)
        assert child.stdout.splitlines() == ["90", "KeyboardInterrupt", "['a', 'b']", "[2, 4]"], child.stderr


@pytest.mark.realtime
class TestInterrupts:
    def test_ctrl_c_in_a_script_cancels_the_tasks_and_raises(self) -> None:
        """F09."""
        program = (
            SLEEPER
            + """
@plait.task
async def ready():
    print("ready", flush=True)
try:
    plait.run([sleeper.bind(n) for n in "ab"] + [ready.bind()])
except KeyboardInterrupt:
    print(sorted(ended))
"""
        )
        code, out, err = python(program, interrupt_when="ready")
        assert (code, out, err) == (0, "['a', 'b']\n", "")

    def test_ctrl_c_twice_leaves_at_once(self) -> None:
        """F09."""
        program = """
import asyncio, plait, time
@plait.task
async def deaf():
    print("ready", flush=True)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            print("again", flush=True)
plait.run(deaf.bind(), grace=60)
"""
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "again\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
        assert "KeyboardInterrupt" in err
        assert time.monotonic() - began < 30  # less than the grace

    def test_ctrl_c_twice_leaves_at_once_even_where_a_body_swallows_the_second(self) -> None:
        """F09 F44: a KeyboardInterrupt is raised in whatever code runs, and that may catch it."""
        program = """
import asyncio, os, plait, signal, time
@plait.task
async def greedy():
    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass
            except KeyboardInterrupt:
                pass
began = time.monotonic()
try:
    plait.run(greedy.bind(), grace=60)
except KeyboardInterrupt:
    print("left", time.monotonic() - began < 30, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
        assert python(program) == (0, "left True True\n", "")

    def test_ctrl_c_inside_the_users_own_loop(self) -> None:
        program = (
            SLEEPER
            + """
async def ready():
    await asyncio.sleep(0)
    print("ready", flush=True)
async def main():
    await plait.arun([sleeper.bind(n) for n in "ab"] + [plait.task(ready).bind()])
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print(sorted(ended))
"""
        )
        code, out, _ = python(program, interrupt_when="ready")
        assert (code, out) == (0, "['a', 'b']\n")

    def test_a_thread_that_cannot_be_stopped_delays_nobody_beyond_grace(self) -> None:
        """F46."""
        program = """
import plait, time
@plait.task(grace=0.3)
def stuck():
    print("ready", flush=True)
    time.sleep(600)
try:
    plait.run(stuck.bind())
except KeyboardInterrupt:
    print("out")
"""
        began = time.monotonic()
        code, out, err = python(program, interrupt_when="ready")
        assert (code, out, err) == (0, "out\n", "")
        assert time.monotonic() - began < 10

    def test_the_default_handler_is_back_after_a_run(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        plait.map_(abs, [1])
        assert signal.getsignal(signal.SIGINT) is before


class TestRunHandle:
    @pytest.mark.realtime
    def test_start_outside_a_loop_waits_and_tells_events(self) -> None:
        go = threading.Event()
        graph = plait.Graph("g")
        graph.add("a", lambda: go.wait(20))
        graph.add("b", lambda: 1 / 0, needs=["a"], allow_failure=True)
        run = plait.start(graph)
        with pytest.raises(TimeoutError):
            run.wait(0.01)
        events = run.events()
        go.set()
        seen = [event.as_dict() for event in events]
        result = run.wait(20)
        assert result.status == run.status == "succeeded"
        assert result.degraded
        assert run.done
        names = [event["event"] for event in seen]
        assert names[-5:] == ["task_succeeded", "task_ready", "task_started", "task_failed", "run_finished"]
        assert [event["seq"] for event in seen] == sorted(event["seq"] for event in seen)
        assert seen[-1]["counts"] == {"succeeded": 1, "failed": 1}
        assert seen[-2]["error"] == "ZeroDivisionError: division by zero"
        assert list(run.events()) == []

    def test_start_inside_a_loop_is_awaited_and_events_are_read_asynchronously(self) -> None:
        async def main() -> None:
            run = plait.start(plait.task(asyncio.sleep).bind(0))
            names = [event.event async for event in run.events()]
            assert names == ["task_ready", "task_started", "task_succeeded", "run_finished"]
            assert (await run).status == "succeeded"
            assert (await run).status == "succeeded"

        asyncio.run(main())

    def test_pause_starts_nothing_and_resume_goes_on(self) -> None:
        async def main() -> None:
            started: list[int] = []

            @plait.task
            async def note(number: int) -> None:
                started.append(number)
                if number == 0:
                    run.pause()
                await asyncio.sleep(0)

            run = plait.start([note.bind(number) for number in range(4)], max_concurrency=1)
            while run.status != "paused":
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            assert started == [0]
            run.resume()
            await run
            assert started == [0, 1, 2, 3]

        asyncio.run(main())

    @pytest.mark.realtime
    def test_cancel_from_another_thread(self) -> None:
        run = plait.start(plait.task(asyncio.sleep).bind(600))
        run.cancel()
        result = run.wait(20)
        assert result.status == "cancelled"
        assert result.reason == "the run was cancelled"

    def test_waiting_on_the_loop_that_drives_the_run_is_refused(self) -> None:
        async def main() -> None:
            run = plait.start(plait.task(asyncio.sleep).bind(0))
            with pytest.raises(plait.UsageError, match="use `await run`"):
                run.wait()
            with pytest.raises(plait.UsageError, match="use `async for`"):
                list(run.events())
            await run

        asyncio.run(main())

    def test_a_reader_that_raises_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """F79."""

        async def main() -> plait.RunResult:
            run = plait.start(plait.Graph("g"))
            graph = plait.Graph("h")
            graph.add("a", lambda: 1)
            other = plait.start(graph)
            other._driver.read(lambda driver, move: 1 / 0)
            await run
            return await other

        assert asyncio.run(main()).status == "succeeded"
        assert "a reader of run" in caplog.text

    def test_an_awaiting_caller_that_is_cancelled_leaves_a_started_run_alone(self) -> None:
        async def main() -> str:
            run = plait.start(plait.task(asyncio.sleep).bind(0.01))

            async def wait() -> None:
                await run

            waiter = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiter.cancel()
            return str((await run).status)

        assert asyncio.run(main()) == "succeeded"


class TestResults:
    def test_a_node_raises_its_first_causes_own_exception_a_graph_run_failed_from_it(self) -> None:
        def fails() -> None:
            raise LookupError("boom")

        with pytest.raises(LookupError, match="boom"):
            plait.run(plait.task(fails).bind())
        graph = plait.Graph("g")
        graph.add("a", fails)
        with pytest.raises(plait.RunFailed, match="task 'a' failed: LookupError: boom") as caught:
            plait.run(graph)
        assert isinstance(caught.value.__cause__, LookupError)
        assert plait.run(graph, raise_on_failure=False).status == "failed"

    def test_a_run_inside_a_task_is_a_run_of_its_own(self) -> None:
        @plait.task
        async def outer() -> list[int]:
            return await plait.amap(asyncio.sleep, [0, 0], max_concurrency=1)

        assert plait.run(outer.bind(), max_concurrency=1) == [None, None]


@pytest.mark.realtime
@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run on Windows")
def test_on_uvloop() -> None:
    import uvloop

    async def main() -> list[Any]:
        graph = plait.Graph("g")
        graph.add("a", plait.shell("echo x"))
        result = await plait.arun(graph)
        slow = await plait.arun(
            plait.task(
                asyncio.sleep,
            )
            .options(timeout=0.05, allow_failure=True)
            .bind(60)
        )
        return [result["a"].value, slow, await plait.amap(asyncio.sleep, [0.001] * 200, max_concurrency=50)]

    values = uvloop.run(main())
    assert values == ["x", None, [None] * 200]


@pytest.mark.realtime
def test_nothing_is_left_pending_in_debug_mode() -> None:
    """PYTHONASYNCIODEBUG shows no task destroyed while pending, no unretrieved exception, no resource left open."""
    program = (
        PROGRAM
        + SLEEPER
        + """
for seconds in (0, 0.01):
    try:
        plait.map_(asyncio.sleep, [seconds, "bad"], grace=0.1)
    except TypeError:
        pass
plait.run([plait.shell("true"), plait.shell("exit 1", allow_failure=True)])
async def deaf(item):
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
try:
    plait.map_(deaf, [1], timeout=0.05, grace=0.05)
except plait.TaskTimedOut:
    print("done")
"""
    )
    env = {**os.environ, "PYTHONASYNCIODEBUG": "1"}
    child = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, text=True, env=env, timeout=60
    )
    assert child.stdout == "done\n"
    assert "pending" not in child.stderr
    assert "never" not in child.stderr
    assert "unclosed" not in child.stderr
