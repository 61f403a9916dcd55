"""`plait run --watch`: a run for each change of what the workflow depends on, and for nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import plait
from plait.cli.watching import Watched, depends_on
from processes import living

PLAIT = [sys.executable, "-m", "plait"]
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
ENV["PLAIT_STORE"] = os.path.join(tempfile.mkdtemp(prefix="plait-tests-"), "plait.db")

FLOW = """\
name: watched
tasks:
  a: {run: "cat data.txt", reads: data.txt}
  b: {call: "watched_mod:f", needs: [a]}
outputs: {a: "{{ tasks.a.output }}", b: "{{ tasks.b.output }}"}
"""


class Watching:
    """A command that watches, and what it says."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child

    def until(self, *parts: str) -> list[str]:
        """The lines up to the one that has all of these."""
        assert self.child.stdout is not None
        lines: list[str] = []
        while not lines or not all(part in lines[-1] for part in parts):
            line = self.child.stdout.readline()
            assert line, lines
            lines.append(line.rstrip("\n"))
        return lines

    def waits(self) -> list[str]:
        return self.until("plait: waits for a change of ")[:-1]


@contextmanager
def watching(folder: Path, *words: str) -> Iterator[Watching]:
    child = subprocess.Popen(
        [*PLAIT, "run", *words, "--watch"],
        cwd=folder, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield Watching(child)
    finally:
        child.kill()
        child.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "data.txt").write_text("one\n")
    (tmp_path / "watched_mod.py").write_text("import watched_helper\ndef f(): return watched_helper.N\n")
    (tmp_path / "watched_helper.py").write_text("N = 1\n")
    return tmp_path


def replaced(path: Path, text: str) -> None:
    """As many editors write: a new file takes the place of the old one."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)


class TestWhatItDependsOn:
    def watched(self, folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, **inputs: str) -> Watched:
        monkeypatch.chdir(folder)
        (folder / "flow.yaml").write_text(text)
        return depends_on(plait.load("flow.yaml"), inputs)

    def test_the_file_its_modules_and_what_is_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = (
            "inputs: {where: {type: string, default: src}}\ntasks:\n  a: {run: x, reads: ['{{ inputs.where }}', made.txt, list.txt]}\n"
            "  b: {needs: [a], run: x, reads: list.txt, writes: [src/out.txt, made.txt]}\n"
            "  c: {tasks: {d: {run: x, reads: inner.txt}, e: {call: 'package.inner:f'}}}\n  f: {call: 'json:dumps', with: {obj: 1}}\n"
        )
        for name in ("src", "other", "package"):
            (folder / name).mkdir()
            (folder / name / "x.c").touch()
        watched = self.watched(folder, text, monkeypatch)
        for name in ("flow.yaml", "list.txt", "inner.txt", "src/x.c", "src/new/y.c", "package/inner.py", "json.py"):
            assert watched.concerns(str(folder / name)), name
        for name in ("src/out.txt", "other/x.c", "data.txt", ".plait/plait.db", "src/.git/x", "src/__pycache__/x.pyc"):
            assert not watched.concerns(str(folder / name)), name
        other = self.watched(folder, text, monkeypatch, where="other")
        assert other.concerns(str(folder / "other/x.c"))
        assert not other.concerns(str(folder / "src/x.c"))
        assert {str(folder), str(folder / "src")} <= set(watched.places())

    def test_a_link_and_what_it_leads_to(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "real").mkdir()
        (folder / "real" / "data").touch()
        (folder / "link.txt").symlink_to("real/data")
        watched = self.watched(folder, "tasks: {a: {run: x, reads: link.txt}}", monkeypatch)
        assert watched.concerns(str(folder / "link.txt")) or watched.concerns(str(folder / "real" / "data"))
        assert str(folder / "real") in watched.places()


@pytest.mark.realtime
class TestRuns:
    def test_each_change_is_a_new_run_with_what_was_changed(self, folder: Path) -> None:
        with watching(folder, "flow.yaml") as it:
            assert it.waits()[-2:] == ["a: one", "b: 1"]
            (folder / "data.txt").write_text("two\n")
            assert it.until("changed")[-1] == "plait: changed: data.txt"
            assert it.waits()[-2:] == ["a: two", "b: 1"]
            replaced(folder / "watched_helper.py", "N = 2\n")
            assert it.waits()[-2:] == ["a: two", "b: 2"]
            replaced(folder / "watched_helper.py", "N = 3\n")  # the old file is gone, and the new one is watched
            assert it.waits()[-2:] == ["a: two", "b: 3"]
            replaced(folder / "flow.yaml", FLOW.replace("cat data.txt", "echo three"))
            assert it.waits()[-2:] == ["a: three", "b: 3"]
            (folder / "unrelated.txt").write_text("x")
            os.utime(folder / "flow.yaml")
            assert it.until("changed")[-1] == "plait: changed: flow.yaml"
            it.waits()
            it.child.send_signal(signal.SIGINT)
            assert it.child.wait(20) == 130
            assert it.child.stdout is not None
            assert it.child.stdout.read().strip() == ""
        listed = subprocess.run([*PLAIT, "ls"], capture_output=True, text=True, env=ENV, timeout=60).stdout
        assert listed.count(" watched ") >= 6

    def test_what_is_broken_is_told_and_waited_for(self, folder: Path) -> None:
        (folder / "flow.yaml").write_text(FLOW.replace("name:", "nam:"))
        with watching(folder, "flow.yaml") as it:
            assert "flow.yaml:1:1: error[unknown-key]" in it.waits()[-1]
            (folder / "flow.yaml").write_text(FLOW)
            assert it.waits()[-1] == "b: 1"
            (folder / "watched_helper.py").write_text("N = \n")
            assert "flow.yaml:4:13: error[call]: module 'watched_mod' cannot be imported: SyntaxError" in it.waits()[-1]
            (folder / "watched_helper.py").write_text("N = (\n")
            assert "error[call]" in it.waits()[-1]
            (folder / "watched_helper.py").write_text("N = 5\n")
            assert it.waits()[-1] == "b: 5"
            (folder / "flow.yaml").unlink()
            assert "flow.yaml:1:1: error[" in it.waits()[-1]
            (folder / "flow.yaml").write_text("inputs: {n: {type: integer}}\n" + FLOW)
            assert it.waits()[-1].startswith("plait: flow.yaml needs the input 'n'")

    def test_a_change_while_it_runs_is_followed_by_another_run_at_once(self, folder: Path) -> None:
        (folder / "flow.yaml").write_text("tasks: {a: {run: 'echo begun; cat gate; cat data.txt', reads: data.txt}}")
        os.mkfifo(folder / "gate")
        with watching(folder, "flow.yaml", "--output", "interleaved") as it:
            it.until("begun")
            replaced(folder / "data.txt", "other\n")
            with open(folder / "gate", "w"):
                pass
            lines = it.until("begun")
            assert "plait: changed: data.txt" in lines
            assert not any("waits" in line for line in lines)
            with open(folder / "gate", "w"):
                pass
            assert "other" in it.waits()

    def test_what_a_run_writes_itself_does_not_make_it_run_again(self, folder: Path) -> None:
        (folder / "flow.yaml").write_text(
            "tasks: {a: {run: 'echo same > data.txt; date +%N > made.txt', reads: [data.txt, .], writes: made.txt}}"
        )
        (folder / "data.txt").write_text("same\n")
        with watching(folder, "flow.yaml", "--store", "runs.db") as it:
            it.waits()
            replaced(folder / "data.txt", "new\n")
            assert it.until("changed")[-1] == "plait: changed: data.txt"
            it.until("1 succeeded")
            assert it.until("plait:")[-1] == "plait: changed: data.txt"  # by the run, which made it another one
            assert not any("changed" in line for line in it.waits())

    def test_ctrl_c_while_it_runs_is_that_of_the_run(self, folder: Path) -> None:
        marker = f"plait-watch-{os.getpid()}"
        (folder / "flow.yaml").write_text(
            f"tasks: {{a: {{run: 'echo begun; exec -a {marker} sleep 600'}}}}".replace(
                "'echo begun; exec", "[bash, -c, 'echo begun; exec"
            ).replace("600'", "600']")
        )
        with watching(folder, "flow.yaml", "--output", "interleaved") as it:
            it.until("begun")
            it.child.send_signal(signal.SIGINT)
            lines = it.until("go on with: plait resume ")
            assert "plait: SIGINT: stopping; once more kills now" in lines
            assert it.child.wait(20) == 130
        assert living(marker) == []

    def test_a_graph_of_python(self, folder: Path) -> None:
        text = "import plait, watched_helper\n@plait.task\ndef f():\n    print('N is', watched_helper.N, flush=True)\ngraph = plait.Graph('g')\ngraph.add('f', f)\n"
        (folder / "watched_graph.py").write_text(text)
        with watching(folder, "watched_graph:graph", "--store", "none") as it:
            assert "N is 1" in it.waits()
            replaced(folder / "watched_helper.py", "N = 2\n")
            assert "N is 2" in it.waits()
            replaced(folder / "watched_graph.py", text.replace("N is", "now"))
            assert "now 2" in it.waits()

    def test_each_run_takes_over_from_the_one_before(self, folder: Path) -> None:
        text = "tasks: {a: {run: 'echo a >> ran; echo 1'}, b: {run: 'echo b{{ tasks.a.output }}'}}\noutputs: {b: '{{ tasks.b.output }}'}\n"
        (folder / "flow.yaml").write_text(text)
        subprocess.run([*PLAIT, "run", "flow.yaml", "-q", "--store", "runs.db"], cwd=folder, env=ENV, check=True)
        with watching(folder, "flow.yaml", "--from", "b", "--store", "runs.db") as it:
            assert it.waits()[-1] == "b: b1"
            (folder / "flow.yaml").write_text(text.replace("echo b", "echo c"))
            assert it.waits()[-1] == "b: c1"
        assert (folder / "ran").read_text() == "a\n"

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["flow.yaml", "--json"], "--watch runs many times, and --json is for one run"),
            (["flow.yaml", "--run-id", "x"], "--watch runs many times, and --run-id is for one run"),
            (["flow.yaml", "-n"], "--watch runs many times, and -n is for one run"),
            (["nofile.yaml"], "nofile.yaml:1:1: error["),
            (["flow.yaml", "--only", "zz"], "there is no task 'zz'"),
            (["flow.yaml", "-i", "x=1"], "has no input 'x'"),
            (["json:dumps"], "--watch is for workflow files and modules of the working folder"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, folder: Path, words: list[str], told: str) -> None:
        done = subprocess.run(
            [*PLAIT, "run", "-w", *words], cwd=folder, env=ENV, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert told in done.stderr

    def test_without_its_library_it_says_what_to_install(self, folder: Path) -> None:
        program = (
            "import sys; sys.modules['watchfiles'] = None; from plait.cli import main; main(['run', 'flow.yaml', '-w'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env=ENV, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (
            2, "plait: --watch needs the package 'watchfiles': pip install \"plait[watch]\"\n",
        )  # fmt: skip
