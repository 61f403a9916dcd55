"""Who drives a run, and what becomes of what its dead owner had at work: real processes, killed and stopped."""

from __future__ import annotations

import itertools
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import plait
from faults import unavailable
from plait._engine import orphans
from plait._engine.orphans import end_orphans
from plait.errors import RunOwned
from plait.stores.locks import started_ticks
from plait.stores.memory import MemoryStore

pytestmark = pytest.mark.realtime

PROGRAM = """
import asyncio, os, pathlib, plait, signal, sys
from plait.errors import RunOwned
from plait.executors.watchdog import Watchdog

folder = pathlib.Path(__file__).parent
STORE = folder / "store" / "plait.db"

def say(text):
    handle = os.open(folder / "said", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{text}\\n".encode())
    os.close(handle)

def up():
    '''Tells the test that something runs, and waits until it has heard of it.'''
    with open(folder / "up", "w") as pipe:
        pipe.write("up\\n")

GRAPH

def main():
    Watchdog.enabled = False  # what is left of an owner is for the next one to find; whoever imports this keeps its own
    if sys.argv[1] == "start":
        run = plait.start(graph(), store=STORE, run_id="r", **OPTIONS)
    else:
        try:
            run = plait.resume("r", store=STORE)
        except RunOwned as error:
            print("owned", error.pid, error)
            return
    print("drives", flush=True)
    result = run.wait(60)
    print({key: str(each.status) for key, each in result.items()})
    print({key: str(each.error) for key, each in result.items() if each.error})
    print(result.value)

if __name__ == "__main__":
    main()
"""


class Program:
    """A program with a graph, run in processes of its own."""

    def __init__(self, folder: Path, graph: str, options: str = "{}") -> None:
        self.folder = folder
        self.path = folder / "program.py"
        text = PROGRAM.replace("GRAPH", textwrap.dedent(graph)).replace("OPTIONS", options)
        self.path.write_text(text)
        os.mkfifo(folder / "up")
        os.mkfifo(folder / "gate")
        self.pipe = os.open(folder / "up", os.O_RDWR)
        self.children: list[subprocess.Popen[str]] = []

    def process(self, what: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.path), what]
        with open(self.folder / "errors", "a") as errors:
            child = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **environment}
            )
        self.children.append(child)
        return child

    def output(self, what: str) -> str:
        """What a process prints before it ends."""
        out, _ = self.process(what).communicate(timeout=60)
        return out

    def wait_up(self, times: int = 1) -> None:
        """Until something in the run has said that it runs."""
        for _ in range(times):
            assert select.select([self.pipe], [], [], 60)[0], "nothing came up"
            assert os.read(self.pipe, 3) == b"up\n"

    def writes_log(self, pid: int) -> bool:
        """Has that process a log of the run open?"""
        try:
            names = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            return False
        return any(name.startswith(str(self.folder / "store" / "logs")) for name in names)

    def said(self) -> list[str]:
        """What the code of tasks said, in order."""
        path = self.folder / "said"
        return path.read_text().splitlines() if path.exists() else []

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
        os.close(self.pipe)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[type[Program]]:
    """Makes programs in the test's folder, and ends what is left of them."""
    made: list[Program] = []

    class Made(Program):
        def __init__(self, graph: str, options: str = "{}") -> None:
            super().__init__(tmp_path, graph, options)
            made.append(self)

    yield Made  # type: ignore[misc]
    for each in made:
        each.close()


def hesitant(folder: Path) -> Path:
    """A library that makes a first attempt's command say `up` and wait, right before it is executed."""
    if shutil.which("gcc") is None:
        unavailable("gcc")
    source, library = folder / "hesitant.c", folder / "hesitant.so"
    source.write_text(
        """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        #include <spawn.h>
        int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                         const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
            int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                        char *const[], char *const[]) = dlsym(RTLD_NEXT, "posix_spawnp");
            for (char *const *each = envp; *each; each++)
                if (!strcmp(*each, "PLAIT_ATTEMPT=1")) {
                    *pid = vfork();
                    if (!*pid) {
                        int up = open(getenv("HESITANT"), O_WRONLY);
                        write(up, "up\\n", 3);
                        close(up);
                        sleep(60);
                        _exit(1);
                    }
                    return 0;
                }
            return real(pid, file, actions, attributes, argv, envp);
        }
        """
    )
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, timeout=60)
    return library


def lives(pid: int) -> bool:
    return started_ticks(pid) is not None


SCRIPT = """
def graph():
    graph = plait.Graph("g")
    graph.add("a", plait.shell(["sh", "-c", SCRIPT, str(folder)]))
    return graph

# What a later attempt of it finds alive of the first it prints.
SCRIPT = r'''
cd "$0"
if [ "$PLAIT_ATTEMPT" = 1 ]; then
    FIRST
else
    for pid in $(cat pids); do
        state=$(sed -n "s/^State:.//p" /proc/$pid/status 2>/dev/null)
        case $state in Z*|"") ;; *) echo "$pid is alive" ;; esac
    done
    echo again
fi
'''
"""


class TestOrphans:
    def test_the_commands_of_a_killed_owner_are_dead_before_their_task_runs_again(self, program: type[Program]) -> None:
        """F06."""
        first = "sleep 60 & echo $$ $! > pids; echo up > up; wait"
        made = program(SCRIPT.replace("FIRST", first))
        owner = made.process("start")
        made.wait_up()
        owner.kill()
        owner.wait()
        pids = [int(pid) for pid in (made.folder / "pids").read_text().split()]
        assert all(map(lives, pids)), "the command outlives its owner"
        assert made.output("resume").splitlines()[-1] == "{'a': 'again'}"
        assert not any(map(lives, pids))

    @pytest.mark.parametrize(
        ("call", "deaf"),
        [
            ("setsid sh daemon > null 2>&1", False),
            ("setsid sh daemon > null 2>&1", True),
            ("env -i setsid sh daemon", False),
        ],
        ids=["by its environment", "by its environment, deaf", "by its output"],
    )
    def test_a_daemon_that_left_its_group_is_found(self, program: type[Program], call: str, deaf: bool) -> None:
        """F07: a double fork behind `setsid`, which drops its environment or its output; who drops both has escaped (W9)."""
        made = program(SCRIPT.replace("FIRST", f"({call} & ); sleep 60"))
        ignore = "trap '' TERM\n" if deaf else ""
        (made.folder / "daemon").write_text(f"{ignore}echo $$ > pids; echo up > up; sleep 60; true")
        owner = made.process("start")
        made.wait_up()
        pid = int((made.folder / "pids").read_text())
        assert os.getsid(pid) == pid
        owner.kill()
        owner.wait()
        began = time.monotonic()
        assert made.output("resume").splitlines()[-1] == "{'a': 'again'}"
        assert not lives(pid)
        assert time.monotonic() - began < 10

    def test_what_orphans_start_on_their_way_out_is_ended_too(self, program: type[Program]) -> None:
        """F06: a shell that cleans up in a child of its own when it is told to stop."""
        first = 'trap "sleep 60 & echo \\$! >> pids; wait" TERM; echo $$ > pids; echo up > up; sleep 60 & wait'
        made = program(SCRIPT.replace("FIRST", first))
        owner = made.process("start")
        made.wait_up()
        owner.kill()
        owner.wait()
        assert made.output("resume").splitlines()[-1] == "{'a': 'again'}"
        pids = [int(pid) for pid in (made.folder / "pids").read_text().split()]
        assert len(pids) == 2, "it started another one"
        assert not any(map(lives, pids))

    def test_a_command_that_was_forked_and_not_executed_yet_is_ended_too(self, program: type[Program]) -> None:
        """F06 F52: until then it has its owner's environment and nothing about it is on record; the logs it is to write tell it."""
        made = program(SCRIPT.replace("FIRST", "echo $$ > pids; sleep 60"))
        library = hesitant(made.folder)
        owner = made.process("start", LD_PRELOAD=str(library), HESITANT=str(made.folder / "up"))
        made.wait_up()  # it stands before its exec, and its owner's loop waits for that
        forked = [int(name) for name in os.listdir("/proc") if name.isdigit() and made.writes_log(int(name))]
        (pid,) = set(forked) - {owner.pid}
        assert b"PLAIT_RUN" not in Path(f"/proc/{pid}/environ").read_bytes()
        owner.kill()
        owner.wait()
        (made.folder / "pids").touch()
        assert made.output("resume").splitlines()[-1] == "{'a': 'again'}"
        assert not lives(pid)

    def test_a_reader_of_the_logs_is_left_alone(self, program: type[Program]) -> None:
        """F17: `tail -f` is no process of the run."""
        made = program(SCRIPT.replace("FIRST", "echo $$ > pids; echo up > up; echo first; sleep 60"))
        owner = made.process("start")
        made.wait_up()
        (log,) = (made.folder / "store" / "logs" / "r").glob("*.out")
        with subprocess.Popen(["tail", "-f", str(log)], stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"first\n"
            owner.kill()
            owner.wait()
            assert made.output("resume").splitlines()[-1] == "{'a': 'again'}"
            assert reader.poll() is None
            reader.kill()

    def test_a_machine_on_which_somebody_always_comes_is_looked_at_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """F06: a build beside it starts a process every millisecond."""
        pids, come = psutil.pids, itertools.count(10_000_000)  # no process has such a number
        monkeypatch.setattr(psutil, "pids", lambda: [*pids(), next(come)])
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            assert end_orphans(MemoryStore(), "r", [(sleeper.pid, started_ticks(sleeper.pid) or 0)]) == 1
            assert sleeper.wait() == -signal.SIGTERM

    def test_nobody_waits_for_the_reaping_of_the_dead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """F15: where nobody reaps orphans they stay zombies, and a takeover must not wait for them."""
        text = "import os, subprocess, sys; sleeper = subprocess.Popen(['sleep', '60']); print(sleeper.pid, flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as parent:
            # The parent, which never waits for its child, is no process of the run.
            assert parent.stdin is not None
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            monkeypatch.setattr(orphans, "PATIENCE_S", 60.0)
            began = time.monotonic()
            assert end_orphans(MemoryStore(), "r", [(pid, started_ticks(pid) or 0)]) == 1
            assert time.monotonic() - began < 30
            assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
            parent.stdin.close()

    def test_a_number_that_passed_to_another_process_is_left_alone(self) -> None:
        """F17."""
        with subprocess.Popen(["sleep", "60"], process_group=0) as other:
            ticks = started_ticks(other.pid)
            assert ticks is not None
            assert end_orphans(MemoryStore(), "r", [(other.pid, ticks + 1)]) == 0
            assert other.poll() is None
            other.kill()

    def test_commands_of_a_run_of_that_id_in_another_store_are_left_alone(
        self, program: type[Program], tmp_path: Path
    ) -> None:
        """W7: two projects may both have a run called `nightly`."""
        made = program(SCRIPT.replace("FIRST", "echo $$ > pids; echo up > up; sleep 60"))
        made.process("start")
        made.wait_up()
        pid = int((made.folder / "pids").read_text())
        elsewhere = tmp_path / "elsewhere" / "plait.db"
        graph = plait.Graph("g")
        graph.add("fails", plait.shell("false"))
        plait.run(graph, store=elsewhere, run_id="r", raise_on_failure=False)
        plait.retry("r", graph, store=elsewhere).wait(30)
        assert lives(pid)

    def test_a_fork_of_a_run_that_goes_on_leaves_its_commands_alone(self, program: type[Program]) -> None:
        made = program(
            """
            def graph():
                graph = plait.Graph("g")
                graph.add("first", plait.shell("true"))
                graph.add("long", plait.shell("[ -e pids ] || { echo $$ > pids; echo up > up; sleep 60; }", cwd=folder))
                return graph
            """
        )
        made.process("start")
        made.wait_up()
        pid = int((made.folder / "pids").read_text())
        forked = plait.fork("r", "first", store=made.folder / "store" / "plait.db").wait(30)
        assert str(forked.status) == "succeeded"
        assert lives(pid)


TWO = """
@plait.task
def waits():
    if not (folder / "go").exists():
        up()
        (folder / "gate").read_text()
    return "waited"

@plait.task
def then(value):
    return value + ", went on"

def graph():
    graph = plait.Graph("g")
    graph.add("b", then, args=(graph.add("a", waits),))
    return graph
"""


class TestOwners:
    def test_who_stopped_still_owns_and_goes_on(self, program: type[Program]) -> None:
        """F11: SIGSTOP is no death, however long it lasts."""
        made = program(TWO)
        owner = made.process("start")
        made.wait_up()
        owner.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, owner.pid, os.WSTOPPED)
        for _ in range(3):
            assert re.match(rf"owned {owner.pid} run r is driven by process {owner.pid}", made.output("resume"))
        owner.send_signal(signal.SIGCONT)
        (made.folder / "gate").write_text("go")
        out, _ = owner.communicate(timeout=60)
        assert out.splitlines()[-1] == "{'b': 'waited, went on'}"
        assert made.output("resume").splitlines()[-1] == "{'b': 'waited, went on'}"

    def test_a_second_resume_is_refused_and_a_third_takes_over_when_the_owner_was_killed(
        self, program: type[Program]
    ) -> None:
        """F13 F15 W7."""
        made = program(TWO)
        owner = made.process("start")
        made.wait_up()
        store = made.folder / "store" / "plait.db"
        with pytest.raises(RunOwned) as refused:
            plait.resume("r", store=store)
        assert refused.value.pid == owner.pid
        (made.folder / "go").touch()
        owner.kill()
        began = time.monotonic()
        owner.wait()
        run = plait.resume("r", store=store)
        took = time.monotonic() - began
        print(f"takeover: {took * 1000:.0f} ms")
        assert took < 2
        assert run.wait(30).value == {"b": "waited, went on"}

    def test_ten_rounds_of_processes_on_one_run_and_in_one_store(self, tmp_path: Path) -> None:
        """F13 F14 F15 W7: `python tests/owners.py --rounds 200` for more of the same."""
        command = [
            sys.executable,
            str(Path(__file__).with_name("owners.py")),
            "--rounds",
            "10",
            "--folder",
            str(tmp_path / "o"),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=110)
        print(done.stdout)
        assert done.returncode == 0, done.stdout
        assert re.search(r"^10 rounds: 0 wrong; 20 takeovers, ", done.stdout, re.M), done.stdout

    def test_a_process_refuses_itself_whatever_the_durability(self, tmp_path: Path) -> None:
        """W7: the kernel's locks know processes only."""
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        graph = plait.Graph("g")
        graph.add("a", plait.shell(["cat", str(gate)]))
        run = plait.start(graph, store=tmp_path / "plait.db")
        for durability in ("full", "normal"):
            with pytest.raises(RunOwned) as refused:
                plait.resume(run.id, store=tmp_path / "plait.db", durability=durability)
            assert refused.value.pid == os.getpid()
        gate.write_text("went on")
        assert run.wait(30).value == {"a": "went on"}

    def test_runs_leave_no_descriptor_behind(self, tmp_path: Path) -> None:
        def descriptors() -> int:
            return len(os.listdir("/proc/self/fd"))

        plait.run(plait.task(str).bind(1), store=tmp_path / "plait.db")
        before = descriptors()
        for at in range(5):
            for _ in range(2):
                plait.run(plait.task(str).bind(1), store=tmp_path / str(at) / "plait.db")
        assert descriptors() == before

    def test_a_run_that_is_over_is_read_while_others_read_it(self, tmp_path: Path) -> None:
        """F13: nobody is refused for a process that only looks at the end."""
        store = tmp_path / "plait.db"
        plait.run(plait.task(str).bind(1), store=store, run_id="r")
        from plait.stores.opening import open_store

        opened = open_store(store)
        before = opened.find("r")
        claim = opened.claim(before)
        text = f"import plait; print(plait.resume('r', store={str(store)!r}).wait().value)"
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
        opened.release(claim)
        opened.close()
        assert done.stdout == "1\n", done.stderr


class TestInterruptions:
    @pytest.mark.parametrize(("options", "deaths"), [("{'crash_budget': 2}", 3), ("{}", 11)])
    def test_a_task_that_kills_its_process_every_time_fails_when_its_budget_is_spent(
        self, program: type[Program], options: str, deaths: int
    ) -> None:
        """F82."""
        made = program(
            """
            @plait.task
            async def poison(need):
                say("poison")
                os.kill(os.getpid(), signal.SIGKILL)

            @plait.task
            async def good(*values):
                say("good")
                return "good"

            def graph():
                graph = plait.Graph("g")
                good_one = graph.add("good", good)
                bad = graph.add("bad", poison, args=(good_one,))
                graph.add("beside", good, args=(good_one,), needs=[bad], join="all_done")
                graph.add("upstream", good, args=(bad,))
                return graph
            """,
            options,
        )
        first = made.process("start")
        first.wait(60)
        died = 1
        while "succeeded" not in (out := made.output("resume")):
            assert made.children[-1].returncode == -signal.SIGKILL, (made.folder / "errors").read_text()
            died += 1
        assert died == deaths
        assert made.said() == ["good", *["poison"] * deaths, "good"]
        statuses, errors, _ = out.splitlines()[1:]
        assert (
            statuses == "{'good': 'succeeded', 'bad': 'failed', 'beside': 'succeeded', 'upstream': 'upstream_failed'}"
        )
        assert f"task 'bad' was running {deaths} times when its process died: given up" in errors

    def test_code_that_must_not_start_twice_fails_where_its_process_died(self, program: type[Program]) -> None:
        """W5: `on_interrupt: fail`, for a coroutine, a function and a command; what may start again does."""
        made = program(
            """
            def hang(key):
                say(key)
                up()
                return key

            @plait.task
            async def soon(key):
                hang(key)
                if key == "again" and (folder / "go").exists():
                    return "ran again"
                await asyncio.sleep(60)

            @plait.task
            def apart(key):
                import time
                hang(key)
                time.sleep(60)

            def graph():
                graph = plait.Graph("g")
                graph.add("soon", soon, args=("soon",), on_interrupt="fail")
                graph.add("apart", apart, args=("apart",), on_interrupt="fail")
                script = f'cd "{folder}"; echo command >> said; echo up > up; sleep 60'
                graph.add("command", plait.shell(script), on_interrupt="fail")
                graph.add("again", soon, args=("again",))
                return graph
            """,
            "{'max_concurrency': 8}",
        )
        owner = made.process("start")
        made.wait_up(4)
        owner.kill()
        owner.wait()
        (made.folder / "go").touch()
        out = made.output("resume").splitlines()
        statuses, errors, value = out[1:]
        assert statuses == "{'soon': 'failed', 'apart': 'failed', 'command': 'failed', 'again': 'succeeded'}"
        assert errors.count("was interrupted, and is not run again (on_interrupt: fail)") == 3
        assert "'again': 'ran again'" in value
        assert sorted(made.said()) == ["again", "again", "apart", "command", "soon"]
