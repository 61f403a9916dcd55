"""The command line: exit codes, outputs, signals, terminals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from processes import living

pytestmark = pytest.mark.realtime

PLAIT = [sys.executable, "-m", "plait"]
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
ENV["PLAIT_STORE"] = os.path.join(
    tempfile.mkdtemp(prefix="plait-tests-"), "plait.db"
)  # runs are kept, but not in the project


def plait(*words: str, cwd: Path | None = None, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PLAIT, *words], capture_output=True, text=True, cwd=cwd, input=stdin, timeout=60, env=ENV)


def write(folder: Path, text: str, name: str = "flow.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


GOOD = "name: good\ntasks: {a: {run: echo 1}, b: {run: 'echo {{ tasks.a.output }}2'}}\noutputs: {b: '{{ tasks.b.output }}'}\n"
BAD = (
    "name: bad\ntasks: {a: {run: 'echo out; echo why >&2; exit 3'}, b: {run: echo, needs: [a]}, c: {run: sleep 0.3}}\n"
)


class TestRun:
    def test_a_good_run(self, tmp_path: Path) -> None:
        done = plait("run", write(tmp_path, GOOD))
        assert (done.returncode, done.stdout) == (0, "b: 12\n")
        lines = done.stderr.splitlines()
        assert lines[0].startswith("a: ok in 0.")
        assert lines[-1].startswith("run ")
        assert lines[-1].endswith(": 2 succeeded")

    def test_a_failed_run_says_why_first_cause_first_with_the_end_of_its_output(self, tmp_path: Path) -> None:
        done = plait("run", write(tmp_path, BAD))
        assert done.returncode == 1
        assert "first cause: a failed: exit 3: why\n    | why\n" in done.stderr
        assert done.stderr.splitlines()[-1].endswith("1 succeeded, 1 failed, 1 upstream_failed")
        assert (
            plait("run", write(tmp_path, BAD), "--fail-fast")
            .stderr.splitlines()[-1]
            .endswith("1 failed, 1 cancelled, 1 not_started")
        )
        assert (
            plait("run", write(tmp_path, BAD), "--finish")
            .stderr.splitlines()[-1]
            .endswith("1 succeeded, 1 failed, 1 not_started")
        )

    def test_json_is_one_document_and_jsonl_one_event_a_line(self, tmp_path: Path) -> None:
        done = plait("run", write(tmp_path, BAD), "--json")
        document = json.loads(done.stdout)
        assert (done.returncode, document["status"], document["first_cause"]) == (1, "failed", "a")
        assert document["tasks"]["a"] | {"started_at": 0, "queued_s": 0, "run_s": 0} == {
            "status": "failed", "attempts": 1, "started_at": 0, "queued_s": 0, "run_s": 0, "error": "exit 3: why", "value": None,
        }  # fmt: skip
        done = plait("run", write(tmp_path, GOOD), "--jsonl")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.stderr == ""
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert [event["event"] for event in events if event.get("task") == "b"] == [
            "task_ready",
            "task_started",
            "task_succeeded",
        ]
        assert (events[0]["event"], events[-1]["event"]) == ("run_started", "run_finished")
        assert abs(events[0]["at"] - time.time()) < 60
        assert {"status", "counts", "wall_s", "critical_path_s", "efficiency", "metrics"} <= events[-1].keys()
        assert plait("run", "x.yaml", "--json", "--jsonl").returncode == 2

    @pytest.mark.parametrize("store", [(), ("--store", "none")])
    def test_json_and_the_last_event_have_the_figures(self, tmp_path: Path, store: tuple[str, ...]) -> None:
        """B18: by kind and by pool; groups are no work."""
        text = (
            "pools: {disk: 2}\ntasks:\n  list: {run: \"printf 'a\\\\nb\\\\n'\", output: lines}\n"
            "  compile: {foreach: '{{ tasks.list.output }}', run: [echo, '{{ item }}'], pool: {disk: 1}}\n"
            "  last: {needs: [compile], tasks: {one: {run: 'false', allow_failure: true, retry: {attempts: 2, delay: 0.01}}}}\n"
        )
        document = json.loads(plait("run", write(tmp_path, text), "--json", *store).stdout)
        figures = document["metrics"]
        assert {name: each["counts"] for name, each in figures["kinds"].items()} == {
            "list": {"succeeded": 1}, "compile": {"succeeded": 2}, "last/one": {"failed": 1},
        }  # fmt: skip
        assert (figures["kinds"]["last/one"]["attempts"], figures["kinds"]["last/one"]["retries"]) == (2, 1)
        assert (figures["total"]["run_s"]["count"], document["counts"]) == (5, {"succeeded": 5, "failed": 1})
        assert (figures["pools"]["disk"]["capacity"], document["pools"]) == (2, {"disk": 2})
        assert 0 < document["efficiency"] <= 1
        done = plait("run", write(tmp_path, text), "--jsonl", *store)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert events[-1]["metrics"]["kinds"].keys() == figures["kinds"].keys()
        started = next(event for event in events if event["event"] == "task_started" and event["task"] == "compile[1]")
        assert (started["kind"], started["pool"]) == ("compile", {"disk": 1})

    def test_inputs_jobs_only_quiet_verbose_folder_and_dry_run(self, tmp_path: Path) -> None:
        file = write(
            tmp_path,
            "inputs: {n: {type: integer}}\ntasks: {a: {run: 'echo {{ inputs.n }}; touch ran'}, b: {run: echo b}}\noutputs: {a: '{{ tasks.a.output }}'}\n",
        )
        assert plait("run", file, "-i", "n=5", "-j", "1", "-C", str(tmp_path), "-q").stdout == "a: 5\n"
        assert (tmp_path / "ran").exists()
        assert plait("run", file, "-i", '{"n": 6}', "-j", "auto", "-C", str(tmp_path)).stdout == "a: 6\n"
        assert (
            plait("run", file, "-i", "n=5", "--only", "b", "-C", str(tmp_path))
            .stderr.splitlines()[-1]
            .endswith("1 succeeded")
        )
        verbose = plait("run", file, "-i", "n=5", "-v", "-C", str(tmp_path)).stderr
        assert "a | 5\n" in verbose
        assert "a: started\n" in verbose
        (tmp_path / "ran").unlink()
        dry = plait("run", file, "-i", "n=5", "-n", "-C", str(tmp_path))
        assert (dry.returncode, dry.stdout.splitlines()[0]) == (0, "would run 2 tasks:")
        assert not (tmp_path / "ran").exists()

    def test_a_python_graph_is_run_by_module_and_name(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            "import plait\ngraph = plait.Graph('py')\ngraph.add('a', lambda: 1)\ndef make():\n    return graph\nnumber = 5\n",
            "mine.py",
        )
        assert plait("run", "mine:graph", cwd=tmp_path).returncode == 0
        assert plait("run", "mine:make", cwd=tmp_path).returncode == 0
        for wrong, message in (
            ("mine:number", "a Graph, a node, or a function"),
            ("mine:nothing", "has no attribute"),
            ("nomodule:x", "No module named"),
        ):
            done = plait("run", wrong, cwd=tmp_path)
            assert done.returncode == 2
            assert message in done.stderr
            assert done.stderr.count("\n") == 1

    def test_a_deadline_is_exit_124(self, tmp_path: Path) -> None:
        done = plait("run", write(tmp_path, "deadline: 200ms\ntasks: {a: {run: sleep 60, grace: 100ms}}"))
        assert done.returncode == 124
        assert "the run's deadline passed" in done.stderr

    def test_a_swallowed_cancellation_costs_its_own_outcome_and_grace(self, tmp_path: Path) -> None:
        body = "import asyncio\nasync def deaf():\n    while True:\n        try:\n            await asyncio.sleep(60)\n        except asyncio.CancelledError:\n            pass\n"
        body += "def leave():\n    raise SystemExit(3)\nclass Odd(BaseException): pass\nasync def odd():\n    raise Odd('x')\ndef strange():\n    return object()\n"
        write(tmp_path, body, "odd_bodies.py")
        tasks = {"deaf": {"call": "odd_bodies:deaf", "timeout": 0.1, "grace": 0.2}} | {
            name: {"call": f"odd_bodies:{name}"} for name in ("leave", "odd", "strange")
        }
        began = time.monotonic()
        done = plait("run", write(tmp_path, json.dumps({"tasks": tasks})), "--json", "--store", "none")
        document = json.loads(done.stdout)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert {key: task["status"] for key, task in document["tasks"].items()} == {
            "deaf": "timed_out",
            "leave": "failed",
            "odd": "failed",
            "strange": "succeeded",
        }
        assert document["tasks"]["deaf"]["enforced"] is False
        assert time.monotonic() - began < 10


class TestBadUsage:
    @pytest.mark.parametrize(
        "words",
        [
            ("run",), ("run", "nofile.yaml"), ("run", "flow.txt"), ("run", "flow.yaml", "-j", "0"), ("run", "flow.yaml", "-j", "two"), ("run", "flow.yaml", "-j", "-1"), ("run", "flow.yaml", "-j", "1.5"),
            ("run", "flow.yaml", "-i", "x"), ("run", "flow.yaml", "-i", "x=1"), ("run", "flow.yaml", "-i", "{bad"), ("run", "flow.yaml", "--only", "zz"), ("run", "flow.yaml", "-C", "/no/such"),
            ("run", "flow.yaml", "--wat"), ("wat",), ("validate", "nofile.yaml"), ("graph", "nofile.yaml"), ("map", "echo '{}'", "a"), ("map", "true", "a", "--timeout", "soon"), ("map", "true", "a", "--retries", "-1"),
        ],
        ids=" ".join,
    )  # fmt: skip
    def test_is_exit_2_with_one_line_and_no_traceback(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        write(tmp_path, GOOD)
        write(tmp_path, "x", "flow.txt")
        done = plait(*words, cwd=tmp_path)
        assert done.returncode == 2, done
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        "data",
        [b"\x00\x01", b"tasks: " + b"[" * 100_000, b"x: y\n" * 4_000_000, b"a: 1\na: 2\n"],
        ids=["binary", "deep", "20MB", "duplicate"],
    )
    def test_bad_files_are_exit_2_within_two_seconds_with_their_place(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "bad.yaml"
        path.write_bytes(data)
        for command in ("run", "validate", "graph"):
            before = os.times()
            done = plait(command, "bad.yaml", cwd=tmp_path)
            after = os.times()
            # Processor time, which a busy machine does not lengthen.
            assert after.children_user + after.children_system - before.children_user - before.children_system < 2
            assert done.returncode == 2
            assert re.match(r"bad\.yaml:\d+:\d+: error\[", done.stderr)
            assert len(done.stderr) < 1000

    def test_validate_checks_many_files_and_imports_nothing(self, tmp_path: Path) -> None:
        write(tmp_path, "raise RuntimeError('imported')", "boom.py")
        write(tmp_path, "tasks: {a: {call: 'boom:f'}}", "one.yaml")
        write(tmp_path, "tasks: {a: {runs: x}}\nwat: 1", "two.yaml")
        done = plait("validate", "one.yaml", "two.yaml", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "one.yaml: ok\n")
        assert sum(line.startswith("two.yaml:") for line in done.stderr.splitlines()) == 3
        problems = json.loads(plait("validate", "two.yaml", "--json", cwd=tmp_path).stdout)
        assert [(each["line"], each["code"]) for each in problems] == [
            (1, "body"),
            (1, "unknown-key"),
            (2, "unknown-key"),
        ]
        assert plait("graph", "one.yaml", cwd=tmp_path).stdout == "a (call)\n"
        assert "imported" in plait("run", "one.yaml", cwd=tmp_path).stderr


class TestOutput:
    """What a command line writes when its streams, values or readers are odd."""

    ODD = "def odd(n): return [{(1, 2): 3}, float('nan'), 10**6000, float('inf'), object(), '\\x1b[2J'][n]\ndef loud(): print('LOUD')\ndef fails(): raise ValueError('made')\n"

    def test_values_that_json_cannot_say_are_shown_all_the_same(self, tmp_path: Path) -> None:
        write(tmp_path, self.ODD, "odd_values.py")
        file = write(
            tmp_path,
            "tasks: {o: {foreach: [0, 1, 2, 3, 4, 5], call: 'odd_values:odd', with: {n: '{{ item }}'}}}\noutputs: {o: '{{ tasks.o.output }}'}",
        )
        for words in ((), ("--json",), ("--jsonl",)):
            done = plait("run", file, "--store", "none", *words)
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr
        shown = json.loads(plait("run", file, "--store", "none", "--json").stdout)["outputs"]["o"]
        assert shown[:2] == [{"(1, 2)": 3}, None]

    def test_a_failed_call_says_where_it_raised(self, tmp_path: Path) -> None:
        write(tmp_path, self.ODD, "odd_values.py")
        done = plait("run", write(tmp_path, "tasks: {a: {call: 'odd_values:fails'}}"))
        assert "first cause: a failed: ValueError: made (odd_values.py:3 in fails)" in done.stderr

    def test_what_functions_print_stays_out_of_the_json(self, tmp_path: Path) -> None:
        write(tmp_path, self.ODD, "odd_values.py")
        file = write(tmp_path, "tasks: {a: {call: 'odd_values:loud'}}")
        done = plait("run", file, "--json")
        assert json.loads(done.stdout)["status"] == "succeeded"
        assert "LOUD" in done.stderr
        done = plait("run", file, "--jsonl")
        assert all(json.loads(line) for line in done.stdout.splitlines())

    @pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&-", ">&- 2>&-", "2>/dev/full"])
    def test_streams_that_are_closed_or_full_change_no_verdict(self, tmp_path: Path, redirect: str) -> None:
        file = write(tmp_path, GOOD)
        for words in (f"run {file}", f"run {file} --jsonl", f"validate {file}"):
            done = subprocess.run(
                f"exec {sys.executable} -m plait {words} {redirect}",
                shell=True,
                capture_output=True,
                text=True,
                timeout=60,
                env=ENV,
            )
            assert done.returncode == 0, (words, done.stderr)
            assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("words", "code"),
        [("run flow.yaml", 1), ("map 'echo {}' a b", 1), ("graph flow.yaml", 1), ("run flow.yaml --json", 1)],
    )
    def test_a_full_disk_behind_standard_output_is_one_line(self, tmp_path: Path, words: str, code: int) -> None:
        write(tmp_path, GOOD)
        done = subprocess.run(
            f"exec {sys.executable} -m plait {words} >/dev/full",
            shell=True,
            capture_output=True,
            text=True,
            timeout=60,
            env=ENV,
            cwd=tmp_path,
        )
        assert done.returncode == code
        assert done.stderr.splitlines()[-1] == "plait: standard output cannot be written: No space left on device"

    @pytest.mark.parametrize("words", ["graph flow.yaml", "map 'seq 100000; echo {}' a b c d", "run flow.yaml --json"])
    def test_a_reader_that_left_is_exit_141(self, tmp_path: Path, words: str) -> None:
        """F58."""
        write(tmp_path, GOOD)
        script = f"set -o pipefail; {sys.executable} -m plait {words} | sleep 0.0; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, env=ENV, cwd=tmp_path)
        assert done.returncode in (0, 141)  # 0 where all of it went into the pipe before
        assert "Traceback" not in done.stderr

    def test_hostile_names_move_no_cursor_and_bad_inputs_are_one_line(self, tmp_path: Path) -> None:
        """S28 S29."""
        write(tmp_path, self.ODD, "odd_values.py")
        write(tmp_path, "inputs: {x: {type: list}}\ntasks: {a: {run: 'echo {{ inputs.x }}'}}")
        deep = "[" * 50_000
        for words in (
            ("validate", "a\x1b[2J\nb.yaml"),
            ("run", "\x1b[2J:x"),
            ("run", "odd_values:fails"),
            ("run", "flow.yaml", "-i", f"x={deep}"),
            ("run", "flow.yaml", "-i", '{"x":' + deep),
        ):
            done = plait(*words, cwd=tmp_path)
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1
            assert "\x1b" not in done.stderr
            assert len(done.stderr) < 500


class TestOther:
    def test_graph_has_four_forms(self, tmp_path: Path) -> None:
        file = write(
            tmp_path, "tasks: {a: {run: x}, g: {needs: [a], tasks: {b: {run: y}, c: {run: '{{ tasks.b.output }}'}}}}"
        )
        assert plait("graph", file).stdout.splitlines() == [
            "a (run)",
            "g (group)  <- a",
            "    b (run)",
            "    c (run)  <- b",
        ]
        assert 'subgraph t1["g"]' in plait("graph", file, "--format", "mermaid").stdout
        assert '"a" -> "g/b" [lhead="cluster/g"];' in plait("graph", file, "--format", "dot").stdout
        assert json.loads(plait("graph", file, "--format", "json").stdout)[1]["tasks"][1]["needs"] == ["b"]

    def test_map_runs_a_command_for_each_item_output_in_order(self, tmp_path: Path) -> None:
        done = plait("map", "-j", "4", "sleep 0.{}; echo got {}", "3", "2", "1")
        assert (done.returncode, done.stdout) == (0, "got 3\ngot 2\ngot 1\n")
        hostile = ["$(touch CANARY)", "it's", "a b", "-n", "x; touch CANARY"]
        done = plait("map", "printf '<%s>\\n' {}", *["--", *hostile], cwd=tmp_path)
        assert done.stdout.splitlines() == [f"<{item}>" for item in hostile]
        assert not (tmp_path / "CANARY").exists()
        assert plait("map", "echo", stdin="one\ntwo\n").stdout == "one\ntwo\n"
        done = plait("map", "test {} != b", "a", "b", "c", "-k")
        assert done.returncode == 1
        assert "first cause: [1] b failed: exit 1" in done.stderr
        shown = plait()
        assert (shown.returncode, shown.stderr.splitlines()[0]) == (2, "Usage: plait [OPTIONS] COMMAND [ARGS]...")

    def test_doctor_version_and_help(self) -> None:
        assert "default slots" in plait("doctor").stdout
        assert plait("--version").stdout == plait("-V").stdout
        assert plait("--help").returncode == 0


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PLAIT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=ENV
    )


class TestSignals:
    def until_running(self, marker: str) -> None:
        deadline = time.monotonic() + 20
        while not living(marker):
            assert time.monotonic() < deadline

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_a_signal_stops_the_run_in_order(self, tmp_path: Path, number: int, code: int) -> None:
        """F08 F09 F10 W9: the run can be resumed; one that no store keeps is cancelled."""
        marker = f"plait-signal-{number}-{os.getpid()}"
        write(
            tmp_path, f"tasks: {{a: {{run: [bash, -c, 'exec -a {marker} sleep 600']}}, b: {{needs: [a], run: echo}}}}"
        )
        for store, ends in (("kept.db", "go on with: plait resume "), ("none", ": 1 cancelled, 1 not_started")):
            child = start("run", "flow.yaml", "--store", store, cwd=tmp_path)
            self.until_running(marker)
            child.send_signal(number)
            _, err = child.communicate(timeout=20)
            assert child.returncode == code
            assert ends in err.splitlines()[-1]
            assert "Traceback" not in err
            assert living(marker) == []

    def test_a_second_signal_kills_at_once(self, tmp_path: Path) -> None:
        """F09 W9."""
        marker = f"plait-twice-{os.getpid()}"
        write(tmp_path, f"tasks: {{a: {{run: 'trap \"\" TERM; while :; do sleep 0.1; done # {marker}', grace: 60}}}}")
        child = start("run", "flow.yaml", cwd=tmp_path)
        self.until_running(marker)
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        assert "once more kills now" in child.stderr.readline()
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)
        assert child.returncode == 130
        assert living(marker) == []

    def test_a_closed_standard_output_ends_the_run_without_a_traceback(self, tmp_path: Path) -> None:
        """F58."""
        write(tmp_path, "tasks: {a: {foreach: [1, 2, 3, 4, 5, 6, 7, 8, 9], max_concurrency: 1, run: sleep 0.2}}")
        child = start("run", "flow.yaml", "--jsonl", cwd=tmp_path)
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(20) == 141
        told = child.stderr.read().splitlines()
        assert len(told) == 1
        assert "is interrupted; go on with: plait resume " in told[0]
        child.stderr.close()


def on_a_terminal(words: list[str], cwd: Path, env: dict[str, str]) -> str:
    """What a command writes to a terminal of its own."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(PLAIT[0], [*PLAIT, *words], {**env, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"})
    data = b""
    with contextlib.suppress(OSError):
        while select.select([master], [], [], 30)[0]:
            chunk = os.read(master, 65536)
            if not chunk:
                break
            data += chunk
    os.waitpid(pid, 0)
    os.close(master)
    return data.decode(errors="replace")


class TestTerminal:
    FLOW = "name: shown\ntasks:\n  slow: {foreach: [a, b, c], run: sleep 0.5}\n  bad: {run: \"printf '\\\\033]0;title\\\\007'; exit 9\"}\n"

    def test_a_live_picture_on_a_terminal_failures_repeated_at_the_end(self, tmp_path: Path) -> None:
        write(tmp_path, self.FLOW)
        shown = on_a_terminal(["run", "flow.yaml"], tmp_path, ENV)
        assert "shown" in shown
        assert "slow[0]" in shown
        assert "\x1b[" in shown
        assert "first cause: bad failed: exit 9" in shown

    @pytest.mark.parametrize("how", ["interleaved", "group", "prefixed"])
    def test_output_that_is_shown_stands_above_the_picture_and_obeys_nobody(self, tmp_path: Path, how: str) -> None:
        """S28 S29."""
        write(tmp_path, self.FLOW)
        shown = on_a_terminal(["run", "flow.yaml", "--output", how], tmp_path, ENV)
        assert "\x1b]0;" not in shown
        line = shown.index(f"{'bad | ' if how == 'prefixed' else ''}?]0;title?\r\n")
        assert "slow[0]" in shown[line:]
        assert ("--- bad ---\r\n" in shown) == (how == "group")

    def test_no_escapes_of_tasks_reach_the_terminal_and_no_color_gives_plain_lines(self, tmp_path: Path) -> None:
        """S28 S29."""
        write(tmp_path, self.FLOW)
        for env in (ENV, {**ENV, "NO_COLOR": "1"}):
            shown = on_a_terminal(["run", "flow.yaml"], tmp_path, env)
            assert "\x1b]0;" not in shown
        assert "\x1b" not in shown
        assert "slow[0]: ok in" in shown
        write(tmp_path, self.FLOW.replace("exit 9", "exit 0") + "outputs: {o: '{{ tasks.bad.output }}'}\n")
        shown = on_a_terminal(["run", "flow.yaml"], tmp_path, ENV)
        assert "o: ?]0;title?" in shown


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_ctrl_c_in_a_real_terminal(tmp_path: Path) -> None:
    write(tmp_path, "name: shown\ntasks: {a: {run: sleep 600}}")
    name = f"plait-{os.getpid()}"
    command = "trap : INT; " + " ".join(PLAIT) + " run flow.yaml; echo exit-code=$?; sleep 600"

    def tmux(*words: str) -> str:
        return subprocess.run(
            ["tmux", "-L", name, *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout

    tmux("new-session", "-d", "-s", name, "-x", "100", "-y", "30", "-c", str(tmp_path), "sh", "-c", command)
    try:
        wait_for(
            lambda: "sleep" in tmux("capture-pane", "-p", "-t", name) or "0/1" in tmux("capture-pane", "-p", "-t", name)
        )
        tmux("send-keys", "-t", name, "C-c")
        wait_for(lambda: "exit-code=130" in tmux("capture-pane", "-p", "-t", name))
    finally:
        tmux("kill-server")


def wait_for(holds: Any) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.05)
