"""Commands really end, with all that they started; output of any kind and size is kept or counted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

import bodies
import plait
from plait.errors import CommandFailed
from plait.executors import shortage
from plait.executors.outputs import LATEST_BYTES, Pipe
from plait.observe.live import LiveView
from plait.observe.stream import RunEvent
from processes import living

pytestmark = pytest.mark.realtime


def outcome(command: Any, **options: Any) -> plait.Outcome:
    graph = plait.Graph("shell")
    graph.add("command", plait.shell(command, **options))
    return plait.run(graph, raise_on_failure=False, grace=0.3)["command"]


def gone(marker: str) -> bool:
    """Is no process left that holds `marker`?"""
    return not living(marker)


def test_a_list_runs_without_a_shell_and_text_runs_in_one() -> None:
    assert outcome(["printf", "%s", "$HOME; echo x"]).value == "$HOME; echo x"
    assert outcome("printf %s 'a b' | tr a-z A-Z").value == "A B"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["/no/such/program"], "exit 127, command not found: /no/such/program"),
        ("no_such_program_here", "exit 127, command not found"),
        (["/etc/passwd"], "exit 126, command cannot be executed: /etc/passwd"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("echo why >&2; exit 3", "exit 3: why"),
        ("exit 141", "exit 141, as after SIGPIPE"),
        (["a\0b"], "cannot be started: embedded null byte"),
    ],
)
def test_each_way_to_fail_has_its_reason(command: Any, message: str) -> None:
    """F59 F60."""
    end = outcome(command)
    assert end.status == "failed"
    assert isinstance(end.error, CommandFailed)
    assert message in str(end.error)


def test_an_argument_too_long_names_its_cause() -> None:
    """F59."""
    assert "E2BIG" in str(outcome(["echo", "x" * 3_000_000]).error)


def test_a_missing_folder_is_named() -> None:
    assert "'/no/such/folder' to run in: No such file" in str(outcome("true", cwd="/no/such/folder").error)


def test_a_timeout_ends_the_whole_tree_of_a_command_that_ignores_term() -> None:
    """C9 X2 N: a timeout that only stops waiting."""
    marker = f"plait-tree-{os.getpid()}"
    script = f"trap '' TERM; (trap '' TERM; exec -a {marker} sleep 600) & exec -a {marker} sleep 600"
    end = outcome(["bash", "-c", f"trap '' TERM; {script}"], timeout=0.3, grace=0.3)
    assert end.status == "timed_out"
    assert end.enforced
    assert gone(marker)


def test_what_a_command_leaves_in_its_group_ends_with_it() -> None:
    """W9."""
    marker = f"plait-left-{os.getpid()}"
    assert outcome(["bash", "-c", f"(exec -a {marker} sleep 600) & echo started"]).value == "started"
    deadline = time.monotonic() + 5
    while not gone(marker) and time.monotonic() < deadline:
        os.sched_yield()
    assert gone(marker)


def test_a_stopped_command_is_killed_all_the_same() -> None:
    """F61."""
    assert outcome("kill -STOP $$", timeout=0.3, grace=0.3).status == "timed_out"


def test_a_stopped_command_hears_term() -> None:
    """F61: long before KILL."""
    began = time.monotonic()
    graph = plait.Graph("stopped")
    graph.add("command", plait.shell("trap 'exit 3' TERM; kill -STOP $$; sleep 30", timeout=0.3, grace=30))
    assert plait.run(graph, raise_on_failure=False)["command"].status == "timed_out"
    assert time.monotonic() - began < 15


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A fifo: who opens it to read waits until somebody opens it to write."""
    os.mkfifo(tmp_path / "gate")
    return tmp_path / "gate"


def test_a_grandchild_that_holds_the_output_does_not_hold_the_result(gate: Path) -> None:
    """F53."""
    began = time.monotonic()
    assert outcome(f"setsid sh -c ': > {gate}; sleep 30' & read x < {gate}; echo done").value == "done"
    assert time.monotonic() - began < 20


def test_much_output_is_kept_to_its_cap_and_the_rest_counted() -> None:
    """F54 F55: memory does not grow with the output."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = outcome("head -c 300000000 /dev/zero | tr '\\0' x")
    assert end.value.endswith("[... 291611392 more bytes were left out ...]")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


def test_lines_and_json_that_were_cut_are_a_failure_not_a_wrong_value() -> None:
    end = outcome("head -c 9000000 /dev/zero | tr '\\0' x", output="lines")
    assert "write them to a file" in str(end.error)
    assert "not JSON" in str(outcome("echo '{'", output="json").error)
    assert outcome("echo '[1, 2]'", output="json").value == [1, 2]
    assert outcome("printf 'a\\n\\nb'", output="lines").value == ["a", "", "b"]


def test_bytes_that_are_no_text_are_shown_with_replacement() -> None:
    """F56 F57."""
    assert outcome(r"printf 'a\377b\0c\rd'").value == "a\ufffdb\0c\rd"


def test_a_command_sees_its_run_and_its_own_variables_and_no_input() -> None:
    end = outcome('echo "$PLAIT_TASK $PLAIT_ATTEMPT $MINE"; cat', env={"MINE": "x"})
    assert end.value == "command 1 x"


def test_a_failed_command_is_tried_again_and_one_that_does_not_exist_is_not(tmp_path: Path) -> None:
    """B15."""
    marker = tmp_path / "once"
    end = outcome(f"test -e {marker} || {{ touch {marker}; exit 1; }}", retry={"attempts": 3, "delay": 0})
    assert (end.status, end.attempts) == ("succeeded", 2)
    assert outcome(["/no/such/program"], retry={"attempts": 3, "delay": 0}).attempts == 1


def test_no_descriptor_and_no_zombie_is_left() -> None:
    me = psutil.Process()
    plait.run([plait.shell("true") for _ in range(3)])
    before = me.num_fds()
    plait.run([plait.shell(f"exit {number % 2}") for number in range(20)], raise_on_failure=False)
    assert me.num_fds() <= before
    assert [child for child in me.children() if child.status() == psutil.STATUS_ZOMBIE] == []


def limited(program: str) -> str:
    """What a program says in which no more than 64 files may be open (F28)."""
    head = "import resource, plait\nfrom collections import Counter\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    done = subprocess.run([sys.executable, "-c", head + program], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_wait_for_descriptors_that_others_hold() -> None:
    """F28: the first 20 hold them until the last one has started, or so many as there may be have."""
    said = limited(
        "graph = plait.Graph('g')\n"
        "for number in range(150): graph.add(f'n{number}', plait.shell(['sleep', '0.1']))\n"
        "result = plait.run(graph, raise_on_failure=False, max_concurrency=150)\n"
        "print(Counter(str(each.status) for each in result.values()), {each.attempts for each in result.values()})\n"
    )
    assert said == "Counter({'succeeded': 150}) {1}\n"


def test_one_that_waits_for_descriptors_can_be_stopped() -> None:
    """F28: by its deadline, by a cancel of the run; it never ran."""
    said = limited(
        "graph = plait.Graph('g')\n"
        "for number in range(40): graph.add(f'n{number}', plait.shell(['sleep', '60']))\n"
        "late = graph.add('late', plait.shell(['touch', '/nowhere/at/all'], deadline=0.3))\n"
        "graph.add('fails', plait.task(lambda: 1 / 0, join='all_done'), needs=[late])\n"
        "result = plait.run(graph, raise_on_failure=False, max_concurrency=150, on_failure='fail_fast', grace=1)\n"
        "print(Counter(str(each.status) for each in result.values()))\n"
    )
    assert "'timed_out': 1" in said


@pytest.mark.parametrize(
    ("before", "error"),
    [
        ("plait.run(plait.shell('true'))\n", "sh cannot be started: Too many open files: raise the limit of open files (ulimit -n)"),
        ("", "Too many open files"),
    ],
    ids=["of a command", "of what starts commands"],
)  # fmt: skip
def test_what_no_wait_can_help_fails_with_its_cause(before: str, error: str) -> None:
    """F28: nothing else runs that would give descriptors back."""
    said = limited(
        f"{before}held = []\n"
        "async def hold():\n"
        "    import os\n"
        "    try:\n"
        "        while True: held.append(os.dup(0))\n"
        "    except OSError: pass\n"
        "graph = plait.Graph('g')\n"
        "graph.add('command', plait.shell('true'), needs=[graph.add('hold', hold)])\n"
        "print(plait.run(graph, raise_on_failure=False)['command'].error)\n"
    )
    assert error in said


@pytest.mark.parametrize("store", [None, "runs.db"])
def test_what_a_command_writes_is_seen_while_it_runs(tmp_path: Path, store: str | None) -> None:
    """The end of it, also of what is over the cap."""
    go = tmp_path / "go"
    script = f"seq 1 2000000; echo last line; printf 'bar 1\\rbar 2' >&2; while [ ! -e {go} ]; do sleep 0.01; done; echo over"
    graph = plait.Graph("g")
    graph.add("out", plait.shell(script))
    graph.add("err", plait.shell(script.replace("seq 1 2000000; echo last line; ", "")))
    graph.add("worker", plait.task(executor="process")(bodies.say_and_wait), args=("said", str(go)))
    graph.add("thread", bodies.wait_for, args=(str(go),))

    async def seen() -> plait.RunResult:
        run = plait.start(graph, **({"store": tmp_path / store} if store else {}))
        wanted = {"out": b"last line\n", "err": b"bar 1\rbar 2", "worker": b"said\n"}
        while {key: data[-len(wanted[key]) :] for key, data in run._driver.latest(8).items()} != wanted:
            await asyncio.sleep(0.01)
        assert max(map(len, run._driver.latest(8).values())) <= LATEST_BYTES
        assert len(run._driver.latest(1)) <= 1
        go.touch()
        return await run

    result = asyncio.run(seen())
    assert str(result.status) == "succeeded"


def test_the_live_view_shows_the_last_line_with_anything_in_it() -> None:
    """Without what moves the cursor; what draws over its own line has many."""
    view = LiveView(Console(file=io.StringIO(), width=80), "view", lambda: 2)
    for key in "ab":
        view(RunEvent("r", 1, 0.0, "task_started", key, 1, 1, {}))
    view.said({"a": b"one\ntwo\x1b[2J\n \n", "b": b"10 %\r20 %\r", "c": b"\n\n"})
    console = Console(file=io.StringIO(), width=80)
    console.print(view._draw())
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[-2 - ("%" in line) :] for line in lines[1:]] == [["a", "two?[2J"], ["b", "20", "%"]]


def test_a_fork_that_is_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """F29: nothing of ours runs that would make room by its end."""
    refused = iter([BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")] * 3)
    spawn = os.posix_spawnp

    def spawning(*args: Any, **kwargs: Any) -> int:
        for error in refused:
            raise error
        return spawn(*args, **kwargs)

    monkeypatch.setattr(os, "posix_spawnp", spawning)
    monkeypatch.setattr(shortage, "PAUSES_S", (0.001, 0.001, 0.001))
    result = plait.run(three_commands())
    assert [(each.status, each.attempts) for each in result.values()] == [("succeeded", 1)] * 3
    assert next(refused, None) is None


def test_a_fork_that_is_always_refused_fails_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """F29: after all pauses, and what follows waits no more for as long as that."""
    calls: list[Any] = []

    def spawning(*args: Any, **kwargs: Any) -> int:
        calls.append(args)
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawnp", spawning)
    monkeypatch.setattr(shortage, "PAUSES_S", (0.001, 0.001))
    result = plait.run(three_commands(), raise_on_failure=False, max_concurrency=2)
    assert {str(each.error) for each in result.values()} == {"true cannot be started: Resource temporarily unavailable"}
    assert len(calls) == 3 + 2


def test_a_command_that_waits_for_a_process_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """F29."""

    def spawning(*args: Any, **kwargs: Any) -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawnp", spawning)
    monkeypatch.setattr(shortage, "PAUSES_S", (600.0,))
    result = plait.run(three_commands(), raise_on_failure=False, deadline=0.05)
    assert {str(each.status) for each in result.values()} == {"cancelled"}


def test_a_pipe_is_not_lost_where_there_is_room_for_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """F28: of the two that are made for the next command."""
    made, pipe = 0, Pipe.__init__

    def making(self: Pipe, most: int = 0) -> None:
        nonlocal made
        made += 1
        if made % 4 == 0:
            raise OSError(errno.EMFILE, "Too many open files")
        pipe(self, most)

    plait.run(three_commands())
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(Pipe, "__init__", making)
    graph = plait.Graph("g")
    for number in range(40):
        graph.add(f"n{number}", plait.shell(["true"]))
    result = plait.run(graph, max_concurrency=4)
    assert {str(each.status) for each in result.values()} == {"succeeded"}
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_descriptor_above_todays_limit_stands_in_nobodys_way() -> None:
    """F28: it was opened, and may be inherited, before the limit was lowered."""
    said = limited("import os\n" + LOWERED)
    assert said == "fine\n"


LOWERED = """
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 64))
os.dup2(0, 55)
os.set_inheritable(55, True)
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 64))
print(plait.run(plait.shell("echo fine")))
"""


def three_commands() -> plait.Graph:
    graph = plait.Graph("three")
    for number in range(3):
        graph.add(f"n{number}", plait.shell(["true"]))
    return graph


def test_a_command_has_no_more_memory_than_its_limit() -> None:
    """F30: and the one beside it has as much as there is."""
    takes = [sys.executable, "-S", "-c", "import sys; print(len(bytearray(400_000_000)))"]
    assert plait.run(plait.shell(takes)) == "400000000"
    with pytest.raises(plait.CommandFailed, match="exit 1: MemoryError"):
        plait.run(plait.shell(takes, memory_limit="300MB"))
    assert plait.run(plait.shell("ulimit -v; echo $0", memory_limit="1GiB")) == "1048576\n/bin/sh"
    with pytest.raises(plait.CommandFailed, match="exit 127, command not found"):
        plait.run(plait.shell(["/no/such/program"], memory_limit="300MB"))


def test_ten_thousand_commands_that_do_not_exist_are_each_told_of() -> None:
    """Bad input."""
    graph = plait.Graph("g")
    for number in range(10_000):
        graph.add(f"n{number}", plait.shell(["/no/such/program", str(number)]))
    result = plait.run(graph, raise_on_failure=False)
    assert {str(each.status) for each in result.values()} == {"failed"}
    assert {str(each.error) for each in result.values()} == {"exit 127, command not found: /no/such/program"}


def test_a_child_killed_from_outside_costs_only_its_own_task() -> None:
    graph = plait.Graph("outside")
    graph.add("victim", plait.shell(["sleep", "600"]))
    graph.add("other", plait.shell("echo fine"))

    def kills() -> None:
        killed = False
        while not killed:  # it may not have been started, or not be what it is to be
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if child.cmdline() == ["sleep", "600"]:
                        child.send_signal(signal.SIGKILL)
                        killed = True

    graph.add("kills", kills, needs=["other"])
    result = plait.run(graph, raise_on_failure=False)
    assert str(result["victim"].error) == "killed by SIGKILL"
    assert result["other"].value == "fine"


@pytest.mark.skipif(sys.platform != "linux", reason="waits by pidfd on Linux only")
def test_waiting_without_pidfd_works_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert outcome("echo x").value == "x"
    assert outcome("sleep 600", timeout=0.2).status == "timed_out"


def test_a_stopped_commands_children_have_their_grace_too(tmp_path: Path) -> None:
    """TERM goes to the whole tree, and KILL only after `grace`."""
    note = tmp_path / "note"
    child = f"trap 'sleep 0.3; echo clean > {note}; exit' TERM; while :; do sleep 0.05; done"
    graph = plait.Graph("tree")
    graph.add("server", plait.shell(["sh", "-c", f'sh -c "{child}" & wait'], timeout=0.5))
    assert plait.run(graph, raise_on_failure=False)["server"].status == "timed_out"
    assert note.read_text() == "clean\n"


def test_somebody_who_left_the_group_and_writes_on_does_not_hold_the_result(gate: Path) -> None:
    """F53: and ends of it, for nobody reads that any more."""
    marker = f"plait_writes_{os.getpid()}"
    began = time.monotonic()
    assert (
        "done"
        in outcome(f"setsid sh -c ': > {gate}; while :; do echo {marker}; done' & read x < {gate}; echo done").value
    )
    assert time.monotonic() - began < 10
    deadline = time.monotonic() + 10
    while not gone(marker) and time.monotonic() < deadline:
        os.sched_yield()
    assert gone(marker)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at /proc")
@pytest.mark.parametrize("options", [{}, {"cwd": "/"}], ids=["posix_spawn", "in a folder"])
def test_a_command_has_no_descriptor_of_ours_and_its_signals_as_they_were_born(options: Any) -> None:
    ours, others = os.pipe()
    os.set_inheritable(ours, True)
    try:
        open_there = outcome("ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> /\\1 /p'", output="lines", **options)
        ignored = outcome(["sed", "-n", "s/SigIgn:[[:space:]]*//p", "/proc/self/status"], **options).value
    finally:
        os.close(ours)
        os.close(others)
    assert [line.split()[0] for line in open_there.value if "/proc" not in line] == ["0", "1", "2"]
    assert open_there.value[0] == "0 /dev/null"
    assert int(ignored, 16) & 1 << (signal.SIGPIPE - 1) == 0


def test_a_command_sees_the_environment_as_it_is_when_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "own_program"
    program.write_text("#!/bin/sh\necho own $NAME\n")
    program.chmod(0o700)

    async def set_name() -> None:
        os.environ["NAME"] = "later"

    monkeypatch.setenv("NAME", "first")
    graph = plait.Graph("environment")
    graph.add("before", plait.shell("echo $NAME"))
    graph.add("set", set_name, needs=["before"])
    graph.add("after", plait.shell(["own_program"], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}), needs=["set"])
    result = plait.run(graph)
    assert (result["before"].value, result["after"].value) == ("first", "own later")


def test_a_lost_exit_code_is_told_and_is_no_success() -> None:
    program = (
        "import signal, plait\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "graph = plait.Graph('g')\n"
        "graph.add('command', plait.shell('echo x'))\n"
        "print(plait.run(graph, raise_on_failure=False)['command'].error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert done.stdout.startswith("its exit code is lost: "), done.stderr


def test_a_command_whose_pipes_are_full_goes_on_when_they_are_read() -> None:
    """F54: also what it writes to standard error, at the same time."""
    end = outcome(
        "for n in 1 2 3 4; do head -c 100000 /dev/zero | tr '\\0' a; head -c 100000 /dev/zero | tr '\\0' b >&2; done"
    )
    assert end.value == "a" * 400_000


def test_the_last_content_of_a_pipe_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """F53: somebody writes as fast as it is read."""
    stream = Pipe(3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", lambda fd, size: b"x" * size)
        stream.finish()
    assert (bytes(stream.data), stream.size) == (b"xxx", 16 * 64 * 1024)
    stream.close()
