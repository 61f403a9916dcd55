"""Worker processes: what runs in them, how it is stopped, and what is left behind."""

from __future__ import annotations

import asyncio
import copy
import errno
import os
import pickle
import py_compile
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import bodies
import plait
from plait.executors import pace, processes, shortage, workers
from plait.executors.worker import Board, Worker

pytestmark = pytest.mark.realtime


def living_workers() -> list[psutil.Process]:
    """Living worker processes of this one."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "plait.executors.worker" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def until(holds: Callable[[], Any]) -> Any:
    """What `holds` gives as soon as it is true."""
    for _ in range(2000):
        found = holds()
        if found:
            return found
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def long_enough(begun: Callable[[], bool]) -> Iterator[float]:
    """Timeouts, each twice as long, until there is one within which the code had begun: how long that takes is the machine's affair."""
    timeout = 0.3
    yield timeout
    while not begun():
        timeout *= 2
        assert timeout < 60
        yield timeout


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Any:
    """X2 W9: no process, no zombie, no descriptor, no thread."""
    plait.map_(len, ["a"], executor="thread")  # what is made once for a process is there
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    yield
    assert living_workers() == []
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []
    until(lambda: (len(os.listdir("/proc/self/fd")), threading.active_count()) <= before)


class TestCalls:
    def test_functions_run_in_other_processes_as_many_as_there_are_cpus(self) -> None:
        """E9: values in order, and no more workers than CPUs."""
        pids = plait.map_(bodies.pid, range(40), executor="process")
        assert os.getpid() not in pids
        assert 1 <= len(set(pids)) <= processes._cpus()
        assert plait.map_(bodies.double, range(100), executor="process") == [2 * n for n in range(100)]

    def test_a_decorated_function_and_a_bound_graph(self) -> None:
        graph = plait.Graph("g")
        first = graph.add("first", bodies.tripled, args=(2,))
        graph.add("second", bodies.tripled, args=(first,))
        assert plait.run(graph)["second"].value == 18

    def test_keyword_arguments_and_an_option_of_a_call(self) -> None:
        assert plait.run(plait.task(int).options(executor="process").bind("ff", base=16)) == 255

    def test_a_workflow_file_names_it(self, tmp_path: Path) -> None:
        path = tmp_path / "flow.yaml"
        path.write_text("name: f\ntasks:\n  a: {call: 'bodies:pid', executor: process}\n  b: {call: 'bodies:pid'}\n")
        result = plait.run(plait.load(path))
        assert result["a"].value != os.getpid()
        assert result["b"].value == os.getpid()

    def test_a_coroutine_function_is_refused(self) -> None:
        async def coroutine(_: int) -> None: ...

        with pytest.raises(plait.UsageError, match="is a coroutine function: it runs on executor 'async'"):
            plait.map_(coroutine, [1], executor="process")

    def test_large_arguments_and_results_travel(self) -> None:
        """Bad input: 100 MB."""
        assert plait.map_(bodies.size, [b"x" * 100_000_000], executor="process") == [100_000_000]
        assert plait.map_(bytes, [50_000_000], executor="process") == [bytes(50_000_000)]

    def test_what_a_task_writes_is_its_own(self) -> None:
        written: list[tuple[str, str, bytes]] = []

        async def both() -> None:
            from plait.runs import make_driver

            graph = plait.Graph("g")
            for key in ("a", "b", "c"):
                graph.add(key, plait.task(bodies.write).options(executor="process"), args=(key * 3, key))
            driver = make_driver(graph, None, 3, {})
            driver.listen(
                lambda driver, task, report: written.append((driver.table.key(task), report.stream, report.data))
            )
            driver.start()
            await driver.done

        asyncio.run(both())
        assert sorted(written) == [
            (key, stream, data)
            for key in "abc"
            for stream, data in (("stderr", f"{key}\n".encode()), ("stdout", f"{key * 3}\nraw\n".encode()))
        ]

    def test_logs_of_a_stored_run_hold_it(self, tmp_path: Path) -> None:
        plait.run(
            plait.task(bodies.write).options(executor="process").bind("hello"), store=tmp_path / "plait.db", run_id="r"
        )
        assert [part.data for part in plait.read_logs("r", store=tmp_path / "plait.db") if part.stream == "stdout"] == [
            b"hello\nraw\n"
        ]


class TestBadCalls:
    """F49 F50: unpicklable things are the failure of their task, by type, and the others go on."""

    @pytest.mark.parametrize(
        ("body", "args", "kind", "text"),
        [
            (len, (threading.Lock(),), plait.NotPicklable, "argument 1, of type _thread.lock, cannot be sent to a worker process"),
            (lambda: 1, (), plait.MissingExtra, r"install plait\[process\]"),
            (bodies.unsendable, (), plait.NotPicklable, "its result cannot be sent back: a value of type builtins.dict: it does not travel"),
            (bodies.liar, (), plait.NotPicklable, "its result cannot be read: SystemExit: what a result does"),
            (bodies.picky, (), bodies.Picky, "odd thing"),
            (bodies.nameless, (), plait.RecordedError, "Nameless: odd thing"),
            (bodies.touchy, (), plait.RecordedError, "Touchy: odd thing"),
            (bodies.coded, (), bodies.Coded, "code 3"),
            (bodies.throw, (bodies.Device, "disk"), bodies.Device, r"\[Errno 5\] disk is gone"),
            (bodies.throw, (bodies.Number, "odd"), bodies.Number, "odd"),
            (bodies.throw, (bodies.Row, "odd"), bodies.Row, "odd"),
            (bodies.throw, (bodies.Turncoat, "odd"), plait.NotPicklable, "what it raised cannot be read, and comes as tuple"),
            (bodies.throw, (SystemExit, 3), SystemExit, "3"),
            (bodies.throw, (KeyboardInterrupt, "now"), KeyboardInterrupt, "now"),
            (bodies.throw, (ValueError, "odd"), ValueError, "odd"),
        ],
        ids=["argument", "closure", "result", "liar", "exception", "nameless", "touchy", "coded", "device", "number", "row", "turncoat", "exit", "interrupt", "plain"],
    )  # fmt: skip
    def test_it_fails_by_name_and_the_others_go_on(
        self, body: Any, args: Any, kind: Any, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
        graph = plait.Graph("g")
        for key in ("before", "after"):
            graph.add(key, plait.task(bodies.double).options(executor="process"), args=(4,))
        graph.add(
            "bad",
            plait.task(body).options(executor="process"),
            args=args,
        )
        result = plait.run(graph, raise_on_failure=False)
        assert (result["before"].value, result["after"].value) == (8, 8)
        error = result["bad"].error
        assert type(error) is kind
        with pytest.raises(kind, match=text):
            raise error

    @pytest.mark.parametrize("kind", ["busy", "picky", "nameless", "later"])
    def test_what_cannot_travel_whole_is_tried_again_all_the_same(self, tmp_path: Path, kind: str) -> None:
        """F49 X5 B15: exceptions of clients, that cannot be made of their text alone; `plait.RetryAfter`, which counts no try."""
        retry = {"attempts": 1} if kind == "later" else {"attempts": 3, "delay": 0, "on": [Exception]}
        graph = plait.Graph("g")
        graph.add(
            "task",
            plait.task(bodies.at_last).options(executor="process", retry=retry, rate_limit="100/1s"),
            args=(str(tmp_path / "calls"), kind),
        )
        outcome = plait.run(graph, raise_on_failure=False)["task"]
        assert (outcome.value, outcome.attempts) == ("done", 3)
        first = outcome.history[0].error
        assert getattr(first, "retry_after", 0) == (0 if kind == "picky" else 0.02)
        if kind == "busy":
            assert isinstance(first, bodies.Busy)
            assert first.status == 429
            assert str(first.args[0]).startswith("<function")

    @pytest.mark.parametrize("error", [
        plait.RetryAfter(3), plait.RunFailed("failed", None), plait.RunInterrupted("left", "r1"), plait.RunOwned("owned", 7),
        plait.RunChanged("changed", ["a"]), plait.LockTimeout("late"), plait.HttpError("429", status=429, retry_after=2),
        plait.FlowError(["one"]), plait.ChildFailed("child", ValueError("root")),
    ], ids=lambda error: type(error).__name__)  # fmt: skip
    def test_errors_of_plait_travel_and_are_copied(self, error: plait.PlaitError) -> None:
        """F49."""
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(again) is type(error)
            assert (str(again), again.args, vars(again).keys()) == (str(error), error.args, vars(error).keys())

    def test_so_do_errors_made_of_them_with_slots_or_a_state_of_their_own(self) -> None:
        """F49."""
        slotted, stateful = bodies.Slotted("text"), bodies.Stateful("text")
        slotted.place, stateful.place = 3, 4
        for error in (slotted, stateful):
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), str(again), again.place) == (type(error), "text", error.place)

    def test_closures_and_lambdas_travel_where_their_library_is(self) -> None:
        pytest.importorskip("cloudpickle", reason="the extra `process` is not installed")
        factor = 7
        assert plait.map_(lambda number: factor * number, [1, 2], executor="process") == [7, 14]

    def test_a_traceback_from_the_worker_is_kept(self) -> None:
        with pytest.raises(ValueError, match=r"task 'throw\[0\]'") as raised:
            plait.map_(bodies.throw, [ValueError], executor="process")
        assert "in throw\n    raise kind" in str(raised.value.__cause__)

    def test_a_function_that_the_worker_cannot_import(self, tmp_path: Path) -> None:
        """Bad input: it was there when the run started."""
        module = tmp_path / "vanishing.py"
        module.write_text("def f(): return 1\n")
        sys.path.insert(0, str(tmp_path))
        try:
            import vanishing  # type: ignore[import-not-found]

            module.unlink()
            with pytest.raises(plait.WorkerFailed, match="the function vanishing:f cannot be imported"):
                plait.run(plait.task(vanishing.f).options(executor="process").bind())
        finally:
            sys.path.remove(str(tmp_path))
            sys.modules.pop("vanishing", None)

    def test_workers_that_cannot_start_are_not_tried_for_ever(self, tmp_path: Path) -> None:
        """A program whose main module cannot be imported again: every task fails with the cause, soon."""
        program = tmp_path / "program.py"
        program.write_text(
            "import sys, plait\n"
            "if __name__ != '__main__': raise RuntimeError('not twice')\n"
            "result = plait.run(plait.task(abs).options(executor='process').map(range(1000)), raise_on_failure=False)\n"
            "try: plait.map_(abs, range(1000), executor='process')\n"
            "except plait.WorkerFailed as error: print(error)\n"
        )
        done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60)
        assert "no worker process can be started: RuntimeError: not twice" in done.stdout, done.stderr

    def test_a_run_without_a_guard_is_refused_in_the_worker(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text("import plait\nprint(plait.map_(abs, [-1], executor='process'))\n")
        done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "start it under `if __name__ == '__main__':`" in done.stderr

    def test_functions_of_the_program_that_was_started(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "import plait\nclass Box:\n    def __init__(self, n): self.n = n\n"
            "def opened(box): return Box(box.n + 1)\n"
            "if __name__ == '__main__': print([b.n for b in plait.map_(opened, [Box(1), Box(2)], executor='process')])\n"
        )
        done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60)
        assert done.stdout == "[2, 3]\n", done.stderr

    @pytest.mark.parametrize("how", ["path", "name", "compiled", "package"])
    def test_however_the_program_was_started(self, tmp_path: Path, how: str) -> None:
        """And no file of the folder that it was started in comes before the library's modules."""
        (tmp_path / "app").mkdir()
        program = tmp_path / "app" / "program.py"
        program.write_text(
            "import operator, plait, sys\ndef twice(n): return 2 * n, __name__, sys.argv[1:]\n"
            "def go(what): print(plait.map_(what, [1], executor='process'))\n"
            "if __name__ == '__main__': go(twice)\n"
        )
        (tmp_path / "app" / "__main__.py").write_text("from app import program\nprogram.go(program.operator.neg)\n")
        compiled = py_compile.compile(str(program), cfile=str(tmp_path / "program.pyc"))
        (tmp_path / "bad").mkdir()
        for name in ("struct", "mmap", "select", "operator"):
            (tmp_path / "bad" / f"{name}.py").write_text("raise ImportError('not this one')\n")
        ways = {
            "path": [str(program)],
            "name": ["-m", "app.program"],
            "compiled": [str(compiled)],
            "package": ["-m", "app"],
        }
        path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            [sys.executable, *(["-P"] if how in ("name", "package") else []), *ways[how], "given"],
            cwd=tmp_path / "bad",
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout == ("[-1]\n" if how == "package" else "[(2, '__mp_main__', ['given'])]\n"), done.stderr


class TestStops:
    """E9 C9: a timeout, a cancel and fail-fast end the process, and no other task notices."""

    def test_a_timeout_kills_what_spins_and_the_others_go_on(self, tmp_path: Path) -> None:
        for timeout in long_enough((tmp_path / "pid").exists):
            graph = plait.Graph("g")
            spins = plait.task(bodies.spin).options(executor="process", timeout=timeout, grace=0.2)
            graph.add("spins", spins, args=(str(tmp_path / "pid"),))
            for number in range(6):
                graph.add(f"other{number}", plait.task(bodies.double).options(executor="process"), args=(number,))
            result = plait.run(graph, raise_on_failure=False)
            assert str(result["spins"].status) == "timed_out"
            assert result["spins"].enforced
            assert [result[f"other{number}"].value for number in range(6)] == [0, 2, 4, 6, 8, 10]
        assert not alive(int((tmp_path / "pid").read_text()))

    def test_a_timeout_counts_from_the_start_of_the_code(self) -> None:
        """What waits for a worker is not timed."""
        task = plait.task(bodies.sleep).options(executor="process", timeout=5)
        result = plait.run([task.bind(0.05) for _ in range(8)], raise_on_failure=False, max_concurrency=8)
        assert result == [None] * 8

    def test_term_lets_the_code_tidy_up(self, tmp_path: Path) -> None:
        path = tmp_path / "said"
        for timeout in long_enough(path.exists):
            task = plait.task(bodies.tidy).options(executor="process", timeout=timeout, grace=20)
            began = time.monotonic()
            with pytest.raises(plait.TaskTimedOut):
                plait.run(task.bind(str(path)))
        assert path.read_text() == "tidy"
        assert time.monotonic() - began < 15

    def test_fail_fast_ends_those_that_run_and_starts_nothing_else(self, tmp_path: Path) -> None:
        paths = [str(tmp_path / f"{number}") for number in range(20)]

        async def both() -> None:
            run = asyncio.ensure_future(plait.amap(bodies.tidy, paths, executor="process", max_concurrency=8))
            while not any(map(os.path.exists, paths)):
                await asyncio.sleep(0.01)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        asyncio.run(both())
        began = [path for path in paths if os.path.exists(path)]
        assert 1 <= len(began) <= processes._cpus()
        assert {Path(path).read_text() for path in began} == {"tidy"}

    def test_children_of_the_task_end_with_it_also_those_in_a_session_of_their_own(self, tmp_path: Path) -> None:
        """W9: while the run goes on."""
        path = tmp_path / "pids"

        def both() -> bool:
            return path.exists() and len(path.read_text().split()) == 2

        def gone() -> bool:
            return both() and bool(until(lambda: not any(alive(int(pid)) for pid in path.read_text().split())))

        for timeout in long_enough(both):
            graph = plait.Graph("g")
            family = plait.task(bodies.family).options(executor="process", timeout=timeout, grace=0.1)
            graph.add("family", family, args=(str(path),))
            graph.add("gone", gone, needs=["family"], join="all_done")
            result = plait.run(graph, raise_on_failure=False)
            assert str(result["family"].status) == "timed_out"
        assert result["gone"].value is True

    @pytest.mark.parametrize("how", ["exit", "kill", "segfault"])
    def test_a_worker_that_dies_interrupts_its_own_task_alone(self, how: str, tmp_path: Path) -> None:
        """F48 F30 F82: it runs again, in a new worker."""
        graph = plait.Graph("g")
        graph.add("dies", plait.task(bodies.die_once).options(executor="process"), args=(str(tmp_path / "once"), how))
        for number in range(8):
            graph.add(f"other{number}", plait.task(bodies.double).options(executor="process"), args=(number,))
        result = plait.run(graph)
        assert result["dies"].value == "alive"
        assert [each.number for each in result["dies"].history] == [1, 2]
        assert "died: " in str(result["dies"].history[0].error)
        assert all(result[f"other{number}"].attempts == 1 for number in range(8))

    def test_a_stored_run_tells_of_the_interruption(self, tmp_path: Path) -> None:
        """X1: it is a fact of the journal, and a replay comes to the same."""
        task = plait.task(bodies.die_once).options(executor="process")
        path = tmp_path / "plait.db"
        assert plait.run(task.bind(str(tmp_path / "once"), "kill"), store=path) == "alive"
        (outcome,) = plait.show_run("last", path).values()
        assert (str(outcome.status), outcome.attempts) == ("succeeded", 2)
        assert "died: killed by SIGKILL" in str(outcome.history[0].error)

    def test_a_task_that_kills_each_of_its_workers_is_given_up(self) -> None:
        """F82: the budget of crashes."""
        with pytest.raises(
            plait.TaskInterrupted, match="was running 3 times when its process died: killed by SIGKILL: given up"
        ):
            plait.run(plait.task(bodies.die).options(executor="process").bind("kill"), crash_budget=2)
        with pytest.raises(plait.TaskInterrupted, match=r"is not run again \(on_interrupt: fail\): exit 3"):
            plait.run(plait.task(bodies.die).options(executor="process", on_interrupt="fail").bind("exit"))

    def test_when_the_engine_is_killed_so_are_its_workers(self, tmp_path: Path) -> None:
        """F06 W9: SIGKILL of plait itself."""
        program = tmp_path / "program.py"
        program.write_text(
            "import sys, plait, bodies\n"
            "if __name__ == '__main__': plait.map_(bodies.spin, sys.argv[1:], executor='process')\n"
        )
        paths = [tmp_path / name for name in ("one", "two")][: processes._cpus()]
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(bodies.__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }
        engine = subprocess.Popen([sys.executable, str(program), *map(str, paths)], env=env)
        pids: list[int] = []
        try:
            until(lambda: all(path.exists() and path.read_text() for path in paths))
            pids += [int(path.read_text()) for path in paths]
            assert all(map(alive, pids))
            engine.send_signal(signal.SIGKILL)
            engine.wait(10)
            until(lambda: not any(map(alive, pids)))
        finally:
            engine.kill()
            engine.wait(10)
            for pid in filter(alive, pids):
                os.kill(pid, signal.SIGKILL)


class TestOdd:
    def test_a_task_that_closes_its_output_fails_nobody(self) -> None:
        assert plait.map_(bodies.close_output, [1], executor="process") == [1]
        close = plait.task(bodies.close_output).options(executor="process")
        write = plait.task(bodies.take).options(executor="process")
        first = close.bind(1)
        assert plait.run([first, write.bind(2).after(first)]) == [1, 2]

    def test_output_that_cannot_be_kept_costs_no_result(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nor does one that ends with its worker."""
        graph = plait.Graph("g")
        graph.add("says", bodies.say, args=("x",), executor="process")
        graph.add("dies", bodies.say_and_die, args=("x",), executor="process", on_interrupt="fail", needs=["says"])
        store = tmp_path / "store"  # a folder
        plait.run(plait.task(bodies.take).bind(1), store=store, run_id="first")
        logs = store / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        logs.write_text("a file stands where the folder is to be")
        result = plait.run(graph, store=store, raise_on_failure=False, run_id="second")
        assert [str(result[key].status) for key in ("says", "dies")] == ["succeeded", "failed"]
        assert "is not kept" in caplog.text

    def test_a_stop_without_descriptors_stops(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """F28: psutil finds none to look into /proc."""

        def nothing(pid: int) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(psutil, "Process", nothing)
        spin = plait.task(bodies.spin).options(executor="process", timeout=0.2, grace=0.2)
        with pytest.raises(plait.TaskTimedOut):
            plait.run(spin.bind())
        monkeypatch.undo()

    def test_a_stop_that_comes_before_the_call_begins_is_for_that_call(self) -> None:
        """C9: it was given to the worker, which is about to begin it. One for a call that is over is for nobody."""
        ours, theirs = socket.socketpair()
        fd = workers._shared()
        board = Board(fd)
        os.close(fd)
        try:
            worker = Worker(theirs, -1, board)
            worker._number, board.stop = 4, 3
            worker._terminate(signal.SIGTERM, None)
            assert not worker._told_to_stop
            board.stop = 5
            worker._terminate(signal.SIGTERM, None)
            assert worker._told_to_stop
        finally:
            ours.close()
            theirs.close()
            board.close()

    def test_workers_that_are_to_be_replaced_have_their_place(self) -> None:
        """E9: no more of them at once than CPUs."""
        counts: list[int] = []

        async def counted() -> None:
            graph = plait.Graph("g")
            for number in range(8):
                graph.add(f"n{number}", bodies.sleep, args=(0.1,), executor="process")
            run = plait.start(graph, max_concurrency=8, max_tasks_per_worker=1)
            while not run._driver.done.done():
                workers = run._driver._executors["process"]._workers if run._driver._executors else ()  # type: ignore[attr-defined]
                # Not those that have made their last call and are ending: several may do that at once.
                counts.append(sum(bool(each.held) or not each.retiring for each in workers))
                await asyncio.sleep(0.01)

        asyncio.run(counted())
        assert 1 <= max(counts) <= processes._cpus()

    def test_it_waits_for_descriptors_that_commands_hold(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """F29: for as long as anything of the run goes on."""
        go, tries = tmp_path / "go", 0
        start = subprocess.Popen

        def starting(*args: Any, **kwargs: Any) -> Any:
            nonlocal tries
            tries += 1
            if tries == 5:
                go.touch()
            if not go.exists():
                raise OSError(errno.EMFILE, "Too many open files")
            return start(*args, **kwargs)

        monkeypatch.setattr(subprocess, "Popen", starting)
        monkeypatch.setattr(shortage, "PAUSES_S", (0.001, 0.001))
        graph = plait.Graph("g")
        graph.add("command", plait.shell(f"while [ ! -e {go} ]; do sleep 0.01; done"))
        graph.add("call", bodies.take, args=(1,), executor="process")
        assert str(plait.run(graph).status) == "succeeded"


class TestAfresh:
    def test_a_lock_that_a_thread_holds_here_is_open_in_a_worker(self) -> None:
        """F51: nobody there would ever open it."""
        with bodies.LOCK:
            assert plait.map_(bodies.take_lock, [5], executor="process", timeout=30) == [True]


class TestLimits:
    def test_a_call_has_no_more_memory_than_its_limit(self) -> None:
        """F30: its task failed, with the limit in a note; the worker goes on, and the next call has its own limit or none."""
        take = plait.task(executor="process")(bodies.take)
        limited = take.options(memory_limit="64MB")
        graph = plait.Graph("limits")
        graph.add("fits", limited, args=(32_000_000,))
        graph.add("bursts", limited, args=(128_000_000,), needs=["fits"])
        graph.add("free", take, args=(256_000_000,), needs=["bursts"], join="all_done")
        result = plait.run(graph, raise_on_failure=False)
        assert [str(result[key].status) for key in ("fits", "bursts", "free")] == ["succeeded", "failed", "succeeded"]
        error = result["bursts"].error
        assert isinstance(error, MemoryError)
        assert error.__notes__[0] == "memory_limit: 64000000 bytes beside what its worker process had"

    def test_it_is_refused_where_nobody_can_keep_it(self) -> None:
        """E9: before anything runs."""
        with pytest.raises(plait.UsageError, match="on 'thread' a task shares the memory of the program"):
            plait.task(memory_limit="1GB")(bodies.take)
        with pytest.raises(plait.UsageError, match="on 'thread'"):
            plait.map_(bodies.take, [1], memory_limit="1GB")
        with pytest.raises(plait.UsageError, match="memory_limit belongs to each item"):
            plait.task(executor="process")(bodies.take).map([1], memory_limit="1GB")
        assert plait.map_(bodies.take, [1, 2], executor="process", memory_limit=10**8) == [1, 2]

    @pytest.mark.parametrize("most", [1, 3])
    def test_a_worker_makes_so_many_calls_and_no_more(self, most: int) -> None:
        """E9: also where workers hold calls ahead, give them back and are stopped."""
        pids = Counter(plait.map_(bodies.pid, range(40), executor="process", max_tasks_per_worker=most))
        assert sum(pids.values()) == 40
        assert max(pids.values()) <= most
        for never in (0, 1.5, True):
            with pytest.raises(plait.LimitError, match="max_tasks_per_worker must be a whole number of at least 1"):
                plait.map_(bodies.pid, [], executor="process", max_tasks_per_worker=never)

    def test_a_graph_says_it_of_all_its_tasks(self) -> None:
        pid = plait.task(executor="process")(bodies.pid)
        nodes = [pid.bind(number) for number in range(20)]
        pids = Counter(plait.run(nodes, max_tasks_per_worker=2))
        assert (sum(pids.values()), max(pids.values())) == (20, 2)

    def test_one_that_wrote_much_is_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What calls wrote is on the disk until their worker ends."""
        monkeypatch.setattr(processes, "MOST_WRITTEN", 1000)
        monkeypatch.setattr(pace, "MOST_AHEAD", 0)  # what it holds already it still runs
        pids = Counter(plait.map_(bodies.say, ["x" * 600] * 20, executor="process"))
        assert (sum(pids.values()), max(pids.values())) == (20, 2)

    def test_a_worker_whose_start_is_refused_is_tried_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """F29: while there is none that would take the call."""
        refused = iter([BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")] * 2)
        start = subprocess.Popen

        def starting(*args: Any, **kwargs: Any) -> Any:
            for error in refused:
                raise error
            return start(*args, **kwargs)

        monkeypatch.setattr(subprocess, "Popen", starting)
        monkeypatch.setattr(shortage, "PAUSES_S", (0.001, 0.001))
        assert plait.map_(bodies.take, [1, 2], executor="process") == [1, 2]

    def test_where_none_can_ever_be_had_the_task_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """F29."""

        def starting(*args: Any, **kwargs: Any) -> Any:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        monkeypatch.setattr(subprocess, "Popen", starting)
        monkeypatch.setattr(shortage, "PAUSES_S", (0.001, 0.001))
        with pytest.raises(plait.WorkerFailed, match=r"no worker process can be started: .*temporarily unavailable"):
            plait.map_(bodies.take, [1, 2], executor="process")
