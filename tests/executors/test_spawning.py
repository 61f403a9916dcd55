"""Commands are started, many at once by several threads, and each as Python's own `posix_spawn` does it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import plait
from plait.calls.shell import ShellCommand
from plait.executors import spawning
from plait.executors.base import Attempt
from plait.executors.native import native
from plait.executors.shell import ShellExecutor
from plait.executors.spawning import Spawner, Start

SHOW = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv[1:],
    "environment": {name: os.environ.get(name) for name in ("PATH", "ADDED", "EMPTY")},
    "leads": os.getpgid(0) == os.getpid(),
    "files": sorted(name for name in os.listdir("/proc/self/fd") if int(name) > 2)[:-1],
    "input": sys.stdin.read(),
}))
print("wrong", file=sys.stderr)
"""

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc and a C library that is known")


class Files:
    """Where commands write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.number = 0

    def start(self, *argv: str, cwd: str | None = None, **added: str) -> Start:
        fds = [
            os.open(self._folder / f"{self.number}.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            for name in ("out", "err")
        ]
        self.number += 1
        return Start(argv, added, cwd, *fds)

    def end(self, start: Start) -> tuple[int, str, str]:
        """Exit code and output of a started one."""
        code = os.waitstatus_to_exitcode(os.waitpid(start.pid, 0)[1])
        if start.popen is not None:
            start.popen.returncode = code
        out, err = (os.pread(fd, 1 << 16, 0).decode() for fd in (start.out, start.err))
        return code, out, err


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def spawner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spawner]:
    """One whose threads are there from its first command on, on a machine with two processors."""
    monkeypatch.setattr(spawning, "MANY", 1)
    monkeypatch.setattr(spawning, "_processors", lambda: 2)
    made = Spawner()
    yield made
    made.close()


@needs_linux
def test_both_ways_to_start_a_command_start_the_same(files: Files) -> None:
    """W9: a group of its own; F28: no descriptor of ours."""
    inherited = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        spawner = Spawner()
        way = native(spawner._closing)
        assert way is not None
        seen = []
        for spawn in (spawner._python, way):
            start = files.start(sys.executable, "-c", SHOW, "a b", "ü", "", ADDED="ü=1", EMPTY="")
            start.pid = spawn(start)
            code, out, err = files.end(start)
            assert (code, err) == (0, "wrong\n")
            signals = files.start("grep", "^Sig[IB]", "/proc/self/status")
            signals.pid = spawn(signals)
            seen.append({**json.loads(out), "signals": files.end(signals)[1].split()})
        assert seen[0] == seen[1]
        assert seen[0]["argv"] == ["a b", "ü", ""]
        assert seen[0]["environment"] == {"PATH": os.environ["PATH"], "ADDED": "ü=1", "EMPTY": ""}
        assert (seen[0]["leads"], seen[0]["files"], seen[0]["input"]) == (True, [], "")
        _, blocked, _, ignored = seen[0]["signals"]
        assert (int(ignored, 16) & (1 << signal.SIGPIPE - 1), int(blocked, 16)) == (0, 0)
    finally:
        os.close(inherited)


@needs_linux
@pytest.mark.parametrize(
    ("argv", "added"),
    [
        (("/no/such",), {}),
        (("no-such-program",), {}),
        (("/etc",), {}),
        (("true", "a\0b"), {}),
        (("true",), {"A": "\0"}),
    ],
)
def test_both_ways_refuse_the_same(files: Files, argv: tuple[str, ...], added: dict[str, str]) -> None:
    """F59, F60."""
    spawner = Spawner()
    way = native(spawner._closing)
    assert way is not None
    errors = []
    for spawn in (spawner._python, way):
        with pytest.raises((OSError, ValueError)) as caught:
            spawn(files.start(*argv, **added))
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]


def test_many_are_started_and_each_error_stays_with_its_own(spawner: Spawner, files: Files) -> None:
    """F60: also those that are started in another way, for their folder."""
    starts = [
        files.start("echo", str(number), cwd="/" if number % 7 == 3 else None)
        if number % 3
        else files.start(f"/no/such/{number}")
        for number in range(40)
    ]
    spawner.start(starts)
    for number, start in enumerate(starts):
        if number % 3:
            assert files.end(start) == (0, f"{number}\n", "")
            assert start.error is None
        else:
            assert isinstance(start.error, FileNotFoundError)
            assert start.error.filename == f"/no/such/{number}"
            assert not start.pid


def meeting(spawner: Spawner, monkeypatch: pytest.MonkeyPatch, files: Files, meet: Callable[[], Any]) -> list[Start]:
    """Three that only seem to be started, after `meet`, once its threads are there."""
    first = files.start("true")
    spawner.start([first])
    assert files.end(first)[0] == 0
    monkeypatch.setattr(spawner, "_native", lambda start: 4711 if meet() is not None else 0)
    return [files.start("true") for _ in range(4)]


@needs_linux
def test_two_are_started_at_the_same_time(spawner: Spawner, monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    """Two threads are in the middle of a start, else the barrier breaks."""
    barrier = threading.Barrier(2)
    starts = meeting(spawner, monkeypatch, files, lambda: barrier.wait(20))
    spawner.start(starts)
    assert [(start.pid, start.error) for start in starts] == [(4711, None)] * 4


@needs_linux
def test_an_interruption_waits_for_what_is_being_started(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    """F08: Ctrl-C between the end of our own starts and that of the other thread's loses no process."""
    here, entered, go = threading.get_ident(), threading.Event(), threading.Event()

    def meet() -> bool:
        if threading.get_ident() == here:
            return entered.wait(20)
        entered.set()
        return go.wait(20)

    starts = meeting(spawner, monkeypatch, files, meet)

    class Done:
        """The first to wait is interrupted."""

        def __init__(self) -> None:
            self.put, self._get, self.times = spawner._done.put, spawner._done.get, 0

        def get(self) -> None:
            self.times += 1
            if self.times == 1:
                raise KeyboardInterrupt
            go.set()
            self._get()

    monkeypatch.setattr(spawner, "_done", Done())
    with pytest.raises(KeyboardInterrupt):
        spawner.start(starts)
    assert [start.pid for start in starts] == [4711] * 4


@needs_linux
def test_it_leaves_no_thread(spawner: Spawner, files: Files) -> None:
    before = threading.active_count()
    start = files.start("true")
    spawner.start([start])
    files.end(start)
    assert threading.active_count() == before + 1
    spawner.close()
    assert threading.active_count() == before


def test_without_room_for_a_thread_it_starts_all_the_same(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    """F29."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    starts = [files.start("true") for _ in range(5)]
    spawner.start(starts)
    assert [files.end(start)[0] for start in starts] == [0] * 5


class TestRuns:
    """Commands of a run that may start together."""

    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spawning, "MANY", 1)
        monkeypatch.setattr(spawning, "_processors", lambda: 2)

    def test_each_has_its_own_output_and_failure(self) -> None:
        script = "echo out $1; echo err $1 >&2; exit $(($1 % 3))"
        nodes = {str(number): plait.shell(["/bin/sh", "-c", script, "sh", number]) for number in range(200)}
        graph = plait.Graph("g")
        for name, node in nodes.items():
            graph.add(name, node)
        result = plait.run(graph, max_concurrency=16, raise_on_failure=False)
        for number in range(200):
            outcome = result[str(number)]
            if number % 3:
                assert isinstance(outcome.error, plait.CommandFailed)
                assert (outcome.error.exit_code, outcome.error.tail) == (number % 3, f"err {number}")
            else:
                assert outcome.value == f"out {number}"

    def test_what_cannot_be_started_leaves_its_slot_to_the_next(self) -> None:
        """F60."""
        graph = plait.Graph("g")
        for number in range(50):
            graph.add(f"n{number}", plait.shell(["/no/such/program" if number % 5 else "true"]))
        result = plait.run(graph, max_concurrency=4, raise_on_failure=False)
        assert [str(each.status) for each in result.values()] == ["succeeded", *["failed"] * 4] * 10

    def test_those_that_found_no_room_keep_their_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """F29: refused together, tried again one by one."""
        begun: list[str] = []
        refuse = [5]

        def spawn(start: Start, spawned: Any, real: Any = spawning._start) -> None:
            if refuse[0]:
                refuse[0] -= 1
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            begun.append(start.argv[1])
            real(start, spawned)

        monkeypatch.setattr(spawning, "_start", spawn)
        values = plait.run([plait.shell(["echo", number]) for number in range(9)], max_concurrency=5)
        assert values == [str(number) for number in range(9)]
        assert begun[:5] == ["0", "1", "2", "3", "4"]

    def test_what_comes_after_a_stopped_one_that_found_no_room_begins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """F29: while a long command runs, whose end nobody waits for then."""

        def refuse(start: Start, spawned: Any) -> None:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        async def main() -> None:
            sink = Mock(loop=asyncio.get_running_loop(), clock=time.monotonic, adopter=None)
            sink.environment.return_value = {}
            sink.memory_limit.return_value = sink.output_paths.return_value = None
            begun = asyncio.Queue[int]()
            sink.spawned.side_effect = lambda attempt, pid: begun.put_nowait(attempt.task)
            executor = ShellExecutor(sink)
            first, refused, last = (
                Attempt.of((sink, number, 1, ()), ("shell", ShellCommand(()), (("sleep", "600"),), None), 0)
                for number in range(3)
            )
            executor.start(first)
            assert await begun.get() == 0
            with monkeypatch.context() as patch:
                patch.setattr(spawning, "_start", refuse)
                executor.start(refused)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            refused.signal_stop(0)
            executor.stop(refused)
            executor.start(last)
            async with asyncio.timeout(20):
                assert await begun.get() == 2
            executor.close()
            sink.report.assert_called_once()
            assert sink.report.call_args.args[0] is refused

        asyncio.run(main())
