"""Commands end when the process that started them is killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import plait
from plait.executors.watchdog import Watchdog

pytestmark = pytest.mark.realtime

PROGRAM = """
import plait, sys

tidy = "trap 'echo tidy >> said; exit' TERM; echo $$ >> pids; echo up > up; while :; do sleep 0.05; done"
deaf = "trap '' TERM; echo $$ >> pids; echo up > up; while :; do sleep 0.05; done"
stopped = "echo $$ >> pids; echo up > up; kill -STOP $$"
children = "(trap '' TERM; sleep 600) & echo $! >> pids; echo $$ >> pids; echo up > up; wait"
store = sys.argv[1] if len(sys.argv) > 1 else None
plait.run([plait.shell("true"), *map(plait.shell, (tidy, deaf, stopped, children))], max_concurrency=8, store=store)
"""


def gone(pids: list[int], seconds: float = 20) -> bool:
    def lives(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    until = time.monotonic() + seconds
    while any(map(lives, pids)) and time.monotonic() < until:
        os.sched_yield()
    return not any(map(lives, pids))


@pytest.mark.parametrize("store", [None, "runs.db"])
def test_commands_end_when_their_engine_is_killed(tmp_path: Path, store: str | None) -> None:
    """W9 F06: all of their groups, by TERM and then KILL; and whoever saw to that ends too."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    os.mkfifo(tmp_path / "up")
    up = open(os.open(tmp_path / "up", os.O_RDWR))
    command = [sys.executable, "program.py", *([store] if store else [])]
    engine = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    try:
        assert [up.readline() for _ in range(4)] == ["up\n"] * 4
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert len(pids) == 5
        while len(watching := [each.pid for each in psutil.Process(engine.pid).children() if each.pid not in pids]) > 1:
            os.sched_yield()  # `true` is over any moment
        assert len(watching) == 1
        os.killpg(engine.pid, signal.SIGINT)
        os.kill(watching[0], signal.SIGTERM)  # neither Ctrl-C nor TERM is for the watchdog
    finally:
        engine.kill()
        engine.wait()
        up.close()
    assert gone([*pids, *watching])
    if store:  # else the end of its pipe may end it first
        assert (tmp_path / "said").read_text() == "tidy\n"


def test_nothing_of_it_is_left_after_a_run() -> None:
    me = psutil.Process()
    plait.run(plait.shell("true"))
    before = me.num_fds(), [child.pid for child in me.children()]
    plait.run([plait.shell(f"exit {number % 2}") for number in range(20)], raise_on_failure=False)
    assert (me.num_fds(), [child.pid for child in me.children()]) == before


def test_a_group_that_ended_is_left_alone(tmp_path: Path) -> None:
    """Its number may be another's; and places are used again."""
    watchdog = Watchdog()
    ends = []
    try:
        for _ in range(3):
            child = subprocess.Popen(["sleep", "600"], process_group=0)
            ends.append(child)
            watchdog.add(child.pid)
        watchdog.remove(ends[1].pid)
        watchdog.remove(12345)  # never heard of
        fourth = subprocess.Popen(["sleep", "600"], process_group=0)
        ends.append(fourth)
        watchdog.add(fourth.pid)
        assert watchdog._size == 3
        watchdog.remove(ends[0].pid)
        assert watchdog.pid > 0
        pid, watchdog.pid = watchdog.pid, -1
        os.close(watchdog._pipe)  # as when we die
        os.waitpid(pid, 0)
        assert [child.poll() for child in ends] == [None, None, -signal.SIGTERM, -signal.SIGTERM]
    finally:
        for child in ends:
            child.kill()
            child.wait()


def test_one_that_somebody_killed_and_waited_for_stands_in_nobodys_way() -> None:
    watchdog = Watchdog()
    watchdog.add(1_000_000)
    assert watchdog.pid > 0  # 0 would be this process, and all of its group
    os.kill(watchdog.pid, signal.SIGKILL)
    os.waitpid(watchdog.pid, 0)
    watchdog.close()
    watchdog.close()


def test_a_run_ends_whatever_stands_in_the_way_of_clearing_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: Watchdog) -> None:
        close(self)
        raise OSError("odd")

    close = Watchdog.close
    monkeypatch.setattr(Watchdog, "close", fails)
    assert plait.run(plait.shell("echo fine")) == "fine"
    assert "something that run" in caplog.text


def test_there_is_room_for_as_many_groups_as_run() -> None:
    """The table grows: what stood in it stays, and each place is told of once."""
    watchdog = Watchdog()
    try:
        for group in range(1_000_000, 1_001_500):  # no group has such a number
            watchdog.add(group)
        for group in range(1_000_000, 1_001_500, 2):
            watchdog.remove(group)
        assert watchdog._memory is not None
        told = [int(line) for line in watchdog._memory[:].split(b"\n") if line.strip()]
        assert sorted(filter(None, told)) == list(range(1_000_001, 1_001_500, 2))
        assert len(told) == 1500
    finally:
        watchdog.close()


def test_without_one_commands_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_shell(*_: object, **__: object) -> int:
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(os, "posix_spawn", no_shell)
    with caplog.at_level(logging.WARNING, "plait"):
        assert plait.run([plait.shell(["echo", "x"]), plait.shell(["echo", "y"])]) == ["x", "y"]
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "commands would outlive this process if it were killed"
    ]
