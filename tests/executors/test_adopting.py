"""F07, W9: what leaves its group and its parent comes to a run that adopts, and ends with its task."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import plait
from plait.executors import adopting
from plait.executors.adopting import Adopter, _children

pytestmark = pytest.mark.skipif(
    not os.path.exists(f"/proc/self/task/{os.getpid()}/children"), reason="no list of children here"
)

DAEMON = "(setsid sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 300' &) ; while [ ! -e {pid} ]; do sleep 0.01; done"
"""Forks twice, in a session of its own, and tells its number."""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _lives(path: Path) -> bool:
    return _alive(int(path.read_text()))


def _told(path: Path) -> bool:
    return path.exists() and bool(path.read_text())


def _there(pid: int) -> bool:
    """Alive, or a zombie of ours."""
    return pid in _children()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = set(_children())
    yield
    left = set(_children()) - before
    assert not left, [Path(f"/proc/{pid}/stat").read_text() for pid in left]
    assert adopting._wanted == 0


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Path]:
    """Where a daemon writes its number; it is ended if the test did not see to that."""
    path = tmp_path / "pid"
    yield path
    if path.exists() and _alive(int(path.read_text())):
        os.kill(int(path.read_text()), signal.SIGKILL)


def test_a_daemon_ends_with_its_command(told: Path) -> None:
    command = plait.shell(DAEMON.format(pid=told))
    looks = plait.task(lambda: _alive(int(told.read_text())) or _there(int(told.read_text())))
    assert plait.run(looks.bind().after(command), reap=True) is False


def test_without_it_a_daemon_has_escaped(told: Path) -> None:
    plait.run(plait.shell(DAEMON.format(pid=told)))
    pid = int(told.read_text())
    assert _alive(pid)
    assert not _there(pid)


def test_the_daemon_of_a_command_that_goes_on_is_let_be(told: Path, tmp_path: Path) -> None:
    """It came to us when its own parent ended, and is still of use: it ends with its command, not with another one's."""
    pid = tmp_path / "pid"
    first = plait.shell(
        f"{DAEMON.format(pid=pid)}; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; kill -0 $(cat {pid})"
    )
    second = plait.shell(f"while [ ! -e {pid} ]; do sleep 0.01; done")
    third = plait.shell(f"touch {tmp_path}/go").after(second)
    plait.run([first, third], reap=True, max_concurrency=2)
    assert not _alive(int(pid.read_text()))


def test_a_daemon_of_a_stopped_command_has_its_grace(told: Path, tmp_path: Path) -> None:
    trap = (
        f"trap 'sleep 0.3; echo told > {tmp_path}/trapped; exit' TERM; echo $$ > {told}; while :; do sleep 0.01; done"
    )
    (tmp_path / "daemon.sh").write_text(trap)
    command = f"(setsid sh {tmp_path}/daemon.sh &) ; exec sleep 300"

    async def stopped() -> None:
        run = plait.start(plait.shell(command), reap=True)
        while not _told(told):
            await asyncio.sleep(0.01)
        run.cancel()
        await run

    asyncio.run(stopped())
    assert (tmp_path / "trapped").read_text() == "told\n"
    assert not _alive(int(told.read_text()))


@pytest.mark.parametrize("executor", ["shell", "process"])
@pytest.mark.parametrize("reap", [True, False])
def test_nothing_of_a_stopped_attempt_lives_on(told: Path, executor: str, reap: bool) -> None:
    """X2: also where this process is no subreaper: by its marks. The one beside it is let be."""
    deaf = DAEMON.replace("exec sleep 300", 'trap "" TERM; while :; do sleep 0.1; done').format(pid=told)
    graph = plait.Graph("g")
    if executor == "shell":
        graph.add("stopped", plait.shell(f"{deaf}; sleep 300", grace=0.1))
    else:
        graph.add("stopped", _leave_and_spin, args=(deaf,), executor="process", grace=0.1)
    graph.add("beside", plait.shell(f"while [ ! -e {told}.go ]; do sleep 0.01; done", uninterruptible=True))
    alive: list[bool] = []

    async def stopped() -> plait.RunResult:
        run = plait.start(graph, reap=reap, max_concurrency=2)
        while not _told(told):
            await asyncio.sleep(0.01)
        run.cancel()
        async for event in run.events():
            if event.event == "task_cancelled":
                alive.append(_lives(told))
                told.with_name("pid.go").touch()
        return await run

    result = asyncio.run(stopped())
    assert alive == [False]
    assert [str(result[key].status) for key in ("stopped", "beside")] == ["cancelled", "succeeded"]


def _leave_and_spin(script: str) -> None:
    subprocess.run(["sh", "-c", script], check=True)
    while True:
        pass


def test_what_a_daemon_starts_ends_too(told: Path, tmp_path: Path) -> None:
    """Children in yet other sessions, one of them without the marks."""
    inner = f"env -i PATH=$PATH setsid sh -c 'echo $$ > {told}; exec sleep 300' & setsid sleep 300 & wait"
    (tmp_path / "daemon.sh").write_text(inner)
    command = f"(setsid sh {tmp_path}/daemon.sh &) ; while [ ! -s {told} ]; do sleep 0.01; done"
    plait.run(plait.shell(command), reap=True)
    assert not _alive(int(told.read_text()))


def test_what_a_python_task_leaves_ends_with_its_worker(told: Path) -> None:
    left = plait.task(executor="process")(_leave).bind(str(told))
    ended = plait.shell(f"while kill -0 $(cat {told}); do sleep 0.01; done", timeout=20).after(left)
    plait.run(ended, reap=True, max_tasks_per_worker=1)


def _leave(told: str) -> None:
    subprocess.run(["sh", "-c", DAEMON.format(pid=told)], check=True)


def test_children_of_the_program_are_let_be(tmp_path: Path) -> None:
    """Alive or dead, its exit code included: only what carries the marks of an attempt is waited for."""
    living = subprocess.Popen(["sleep", "300"], start_new_session=True)
    dead = subprocess.Popen(["sh", "-c", "exit 7"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    try:
        plait.run([plait.shell("true").named(f"t{number}") for number in range(20)], reap=True)
        assert living.poll() is None
        assert dead.wait() == 7
    finally:
        living.kill()
        living.wait()


def test_one_that_dies_by_itself_is_reaped(tmp_path: Path) -> None:
    """It was seen alive at the end of one command, and is dead at that of its own."""
    pid, go = tmp_path / "pid", tmp_path / "go"
    dies = f"(setsid sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; while [ ! -e {go} ]; do sleep 0.01; done' &)"
    first = plait.shell(f"{dies}; while [ ! -e {tmp_path}/over ]; do sleep 0.01; done")
    second = plait.shell(f"while [ ! -e {pid} ]; do sleep 0.01; done")
    wait = f"touch {go}; while [ $(cut -d ' ' -f 3 /proc/$(cat {pid})/stat 2>/dev/null || echo X) = S ]; do sleep 0.01; done"
    third = plait.shell(f"{wait}; touch {tmp_path}/over").after(second)
    plait.run([first, third], reap=True, max_concurrency=2)


def test_the_command_line_adopts(told: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "plait", "map", "--", f"{DAEMON.format(pid=told)}; echo {{}}", "x"]
    found = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert (found.returncode, found.stdout) == (0, "x\n"), found.stderr
    assert not _alive(int(told.read_text()))


def test_what_died_in_its_group_is_reaped() -> None:
    """Its parent was the leader, which does not wait for it: it comes to us as a zombie, of which nothing but its group is known."""
    plait.run([plait.shell("true & exec sleep 0.3") for _ in range(5)], reap=True)


def test_a_run_beside_one_that_adopts_adopts_too(tmp_path: Path) -> None:
    """What its commands leave behind comes to this process all the same, and would stay as zombies."""
    up = tmp_path / "up"
    adopter = Adopter()
    try:
        left = f"(setsid sh -c 'touch {up}; sleep 600' &) ; (sh -c 'sleep 0.01' &)"
        plait.run(plait.shell(f"{left} ; while [ ! -e {up} ]; do :; done"))
    finally:
        adopter.close()


def test_a_run_that_began_before_one_that_adopts_adopts_too(tmp_path: Path) -> None:
    """And each of its commands keeps its exit code."""
    go = tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.01; done"

    async def beside() -> plait.RunResult:
        graph = plait.Graph("older")
        graph.add("first", plait.shell("true"))
        for number in range(5):
            graph.add(f"n{number}", plait.shell(f"{wait}; true & exec sleep 0.2"))
            graph.add(f"fails{number}", plait.shell(f"{wait}; exit 7"))
        older = plait.start(graph, max_concurrency=10)
        while "shell" not in older._driver._executors:
            await asyncio.sleep(0.01)
        await plait.arun(plait.shell(f"touch {go}; sleep 0.1"), reap=True)
        adopter = Adopter()  # this process stays one until the older run is over
        try:
            return await older
        finally:
            adopter.close()

    result = asyncio.run(beside())
    errors = [str(result[f"fails{number}"].error) for number in range(5)]
    assert errors == ["exit 7"] * 5
    assert [str(result[f"n{number}"].status) for number in range(5)] == ["succeeded"] * 5


def test_two_runs_share_what_the_process_is() -> None:
    first, second = Adopter(), Adopter()
    first.close()
    first.close()
    assert second.works
    assert adopting._wanted == 1
    second.close()
    assert not second.adopted({"PLAIT_RUN": "x"})


def test_a_value_that_is_none_is_refused() -> None:
    with pytest.raises(plait.UsageError, match="reap must be true or false, not 1"):
        plait.run(plait.shell("true"), reap=1)


def test_who_starts_others_faster_than_they_are_killed_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(adopting, "_kill", lambda pid: None)
    monkeypatch.setattr(adopting, "PATIENCE_S", 0.0)
    adopter = Adopter()
    child = subprocess.Popen(["sleep", "300"], env={"PLAIT_RUN": "named"})
    try:
        while not adopter.adopted({"PLAIT_RUN": "named"}):
            time.sleep(0.001)  # it is not yet what it is to be
        adopter.end({"PLAIT_RUN": "named"})
        assert f"live on: [{child.pid}]" in caplog.text
    finally:
        adopter.close()
        child.kill()
        child.wait()
