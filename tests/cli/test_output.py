"""`--output`: what commands print is shown while they run, and nothing else is changed by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from plait._core.states import FAILED, RETRYING, RUNNING
from plait._core.table import Move
from plait.observe.printed import LONGEST_LINE, How, OutputView

PLAIT = [sys.executable, "-m", "plait"]
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
ENV["PLAIT_STORE"] = os.path.join(tempfile.mkdtemp(prefix="plait-tests-"), "plait.db")


def cli(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PLAIT, *words], capture_output=True, text=True, cwd=cwd, timeout=60, env=ENV)


class Tasks:
    """A table of two tasks, as far as it is asked."""

    def __init__(self) -> None:
        self.number = 1

    def attempts(self, task: int) -> int:
        return self.number

    def key(self, task: int) -> str:
        return "ab"[task]


class TestTheView:
    def view(self, how: str) -> None:
        self.lines: list[str] = []
        self.table: Tasks = Tasks()
        self.shown = OutputView(How(how), self.lines.extend)

    def says(self, task: int, data: bytes, stream: str = "stdout") -> None:
        self.shown.output(self.table, task, stream, data)  # type: ignore[arg-type]

    def ends(self, task: int, new: int = FAILED) -> None:
        self.shown.moved(self.table, Move(task, RUNNING, new, 0.0, self.table.number))  # type: ignore[arg-type]

    @pytest.mark.parametrize(("how", "before"), [("interleaved", ""), ("prefixed", "a | ")])
    def test_only_whole_lines_are_written_and_the_rest_at_the_end(self, how: str, before: str) -> None:
        self.view(how)
        self.says(0, b"one\ntw")
        assert self.lines == [f"{before}one"]
        self.says(0, b"err\n", "stderr")
        self.says(0, b"o\nlast")
        assert self.lines[1:] == [f"{before}err", f"{before}two"]
        self.ends(0)
        assert self.lines[3:] == [f"{before}last"]

    def test_a_block_comes_when_its_attempt_is_over(self) -> None:
        self.view("group")
        self.says(0, b"a1\n")
        self.says(1, b"b1\n")
        self.says(0, b"a2\n", "stderr")
        assert self.lines == []
        self.ends(1)
        assert self.lines == ["--- b ---", "b1"]
        self.ends(0, RETRYING)
        assert self.lines[2:] == ["--- a ---", "a1", "a2"]
        self.table.number = 2
        self.ends(0)
        assert len(self.lines) == 5
        self.says(0, b"a3")
        self.ends(0)
        assert self.lines[5:] == ["--- a, attempt 2 ---", "a3"]

    @pytest.mark.parametrize("how", list(How))
    def test_what_comes_after_the_end_of_a_task_is_shown_at_the_end_of_the_run(self, how: str) -> None:
        self.view(how)
        self.ends(0)
        self.says(0, b"late")
        self.shown.close(self.table)  # type: ignore[arg-type]
        assert self.lines[-1].endswith("late")
        self.shown.close(self.table)  # type: ignore[arg-type]
        assert "".join(self.lines).count("late") == 1

    def test_pieces_may_end_anywhere(self) -> None:
        self.view("interleaved")
        for byte in "ä\r\nö\r".encode() + b"\xff\n\xc3":
            self.says(0, bytes((byte,)))
        self.ends(0)
        assert self.lines == ["ä", "ö", "\ufffd", "\ufffd"]

    def test_no_control_characters_are_written(self) -> None:
        self.view("prefixed")
        self.says(0, b"\x1b[2J\tx\x00\x07\xc2\x9b\xe2\x80\xae\n")
        assert self.lines == ["a | ?[2J x????"]

    @pytest.mark.parametrize("how", list(How))
    def test_a_line_without_an_end_is_not_held(self, how: str) -> None:
        self.view(how)
        written = 0

        def write(lines: list[str]) -> None:
            nonlocal written
            written += sum(len(line.removeprefix("a | ")) for line in lines)
            assert len(lines) <= 20

        self.shown = OutputView(How(how), write, begin=lambda name: None)
        for _ in range(300):
            self.says(0, b"x" * 65_536)
            if how != "group":
                assert written % LONGEST_LINE == 0
        (attempt,) = self.shown._open[0].values()
        assert len(attempt.streams["stdout"]._held) <= LONGEST_LINE
        self.ends(0)
        assert written == 300 * 65_536


WAITS = "tasks: {a: {run: 'echo first; printf he; cat gate; echo llo; cat end'}, b: {run: 'echo other >&2'}}\n"


@pytest.mark.realtime
class TestRuns:
    @pytest.mark.parametrize("store", ["kept.db", "none"])
    @pytest.mark.parametrize(("how", "before"), [("interleaved", ""), ("prefixed", "a | ")])
    def test_lines_are_there_while_the_task_still_runs(self, tmp_path: Path, how: str, before: str, store: str) -> None:
        (tmp_path / "flow.yaml").write_text(WAITS)
        os.mkfifo(tmp_path / "gate")
        os.mkfifo(tmp_path / "end")
        child = subprocess.Popen(
            [*PLAIT, "run", "flow.yaml", "--output", how, "--store", store],
            cwd=tmp_path, env=ENV, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stderr is not None
        while child.stderr.readline() != f"{before}first\n":
            pass
        with open(tmp_path / "gate", "w") as gate:
            gate.write("y")
        while child.stderr.readline() != f"{before}heyllo\n":
            pass
        with open(tmp_path / "end", "w") as gate:
            gate.write("whole")
        assert f"{before}whole\na: ok" in child.stderr.read()
        assert child.wait(30) == 0
        child.stderr.close()

    def test_groups_are_whole_and_stand_before_what_became_of_the_task(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(
            "tasks:\n  a: {run: 'echo a1; echo err >&2; echo a2'}\n  b: {needs: [a], run: 'echo b; exit 3', retry: {attempts: 2, delay: 0.01}}\n  c: {run: 'true'}\n"
        )
        for store in ("kept.db", "none"):
            lines = cli("run", "flow.yaml", "--output", "group", "--store", store, cwd=tmp_path).stderr.splitlines()
            start = lines.index("--- a ---")
            assert sorted(lines[start + 1 : start + 4]) == ["a1", "a2", "err"]
            assert lines[start + 4].startswith("a: ok")
            start = lines.index("--- b ---")
            assert (lines[start + 1], lines[start + 2].startswith("b: retrying")) == ("b", True)
            assert lines[lines.index("--- b, attempt 2 ---") + 1] == "b"
            assert "--- c ---" not in lines

    def test_verbose_shows_it_too_and_the_option_alone_says_no_starts(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text("tasks: {a: {run: echo hello}}")
        verbose = cli("run", "flow.yaml", "-v", cwd=tmp_path).stderr
        assert "a | hello\n" in verbose
        assert "a: started\n" in verbose
        shown = cli("run", "flow.yaml", "--output", "prefixed", cwd=tmp_path).stderr
        assert "a | hello\n" in shown
        assert "started" not in shown
        assert "hello" not in cli("run", "flow.yaml", cwd=tmp_path).stderr
        assert cli("run", "flow.yaml", "--output", "prefixed", "-q", cwd=tmp_path).stderr == "a | hello\n"
        refused = cli("run", "flow.yaml", "--output", "both", cwd=tmp_path)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)

    @pytest.mark.parametrize("how", list(How))
    def test_standard_output_is_json_alone(self, tmp_path: Path, how: str) -> None:
        (tmp_path / "flow.yaml").write_text("tasks: {a: {run: 'echo hello; echo there >&2'}}")
        done = cli("run", "flow.yaml", "--json", "--output", how, cwd=tmp_path)
        assert json.loads(done.stdout)["status"] == "succeeded"
        assert "hello\n" in done.stderr
        assert "there\n" in done.stderr
        done = cli("run", "flow.yaml", "--jsonl", "--output", how, cwd=tmp_path)
        assert all(json.loads(line)["run"] for line in done.stdout.splitlines())
        assert "hello\n" in done.stderr

    @pytest.mark.parametrize("store", ["kept.db", "none"])
    def test_what_a_killed_command_writes_last_is_shown(self, tmp_path: Path, store: str) -> None:
        (tmp_path / "flow.yaml").write_text(
            "tasks: {a: {run: \"trap 'echo late; printf end; exit 1' TERM; echo early; cat gate & wait\", timeout: 0.3}}"
        )
        os.mkfifo(tmp_path / "gate")
        done = cli("run", "flow.yaml", "--output", "prefixed", "--store", store, cwd=tmp_path)
        assert done.stderr.startswith("a | early\na | late\na | end\na: TIMED OUT")

    def test_what_functions_in_workers_print_is_shown_when_they_end(self, tmp_path: Path) -> None:
        (tmp_path / "shown_work.py").write_text("def loud():\n    print('LOUD')\n")
        (tmp_path / "flow.yaml").write_text("tasks: {a: {call: 'shown_work:loud', executor: process}}")
        assert "a | LOUD\n" in cli("run", "flow.yaml", "--output", "prefixed", cwd=tmp_path).stderr

    def test_a_map_prints_its_results_as_before_and_shows_the_rest(self, tmp_path: Path) -> None:
        done = cli("map", "echo out {}; echo err {} >&2", "x", "y", "--output", "prefixed", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "out x\nout y\n")
        assert [line for line in sorted(done.stderr.splitlines()) if "|" in line] == [
            "[0] x | err x", "[0] x | out x", "[1] y | err y", "[1] y | out y",
        ]  # fmt: skip
        again = cli("map", "echo {}; test $PLAIT_ATTEMPT = 2", "x", "--retries", "1", "--output", "group", cwd=tmp_path)
        assert again.stdout == "x\n"

    def test_runs_that_go_on_show_it_too(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text("tasks: {a: {run: 'echo hello; cat missing'}}")
        assert cli("run", "flow.yaml", "-q", "--run-id", "one", cwd=tmp_path).returncode == 1
        (tmp_path / "missing").touch()
        assert "a | hello\n" in cli("retry", "one", "--output", "prefixed", cwd=tmp_path).stderr
        assert "--- a ---\nhello\n" in cli("fork", "one", "--from", "a", "--output", "group", cwd=tmp_path).stderr

    @pytest.mark.parametrize("how", list(How))
    def test_much_output_without_a_line_end_takes_no_memory(self, tmp_path: Path, how: str) -> None:
        (tmp_path / "flow.yaml").write_text("tasks: {a: {run: \"head -c 200000000 /dev/zero | tr '\\\\0' x\"}}")
        words = ["run", "flow.yaml", "--output", str(how), "--store", "none"]
        program = (
            # Not `ru_maxrss`: that is the parent's, where the parent was larger when this process began.
            "import atexit, re; from plait.cli import main\n"
            "atexit.register(lambda: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]))\n"
            f"main({words!r})"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=ENV, timeout=60, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert done.returncode == 0
        assert int(done.stdout) < 150_000  # KiB; 8 MB of the output are kept as its value
