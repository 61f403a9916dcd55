"""What the command line says of bad and doubtful files: to people, to programs, to GitHub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from plait.observe.annotations import command

pytestmark = pytest.mark.realtime

ENV = {key: value for key, value in os.environ.items() if key != "GITHUB_ACTIONS"}
ENV["PLAIT_STORE"] = os.path.join(tempfile.mkdtemp(prefix="plait-tests-"), "plait.db")

BAD = "tasks:\n  a: {run: 'rm {{ tasks.b.output }}', retires: 1}\n  b: echo\n"
DOUBTFUL = "inputs: {unused: {default: 1%, type: string}}\ntasks: {a: {run: echo done}}\noutputs: {a: '{{ tasks.a.output }}'}\n"
FINE = "tasks: {a: {run: echo done}}\n"


def plait(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plait", *words], capture_output=True, text=True, cwd=cwd, timeout=60, env={**ENV, **env}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("bad", BAD), ("doubtful", DOUBTFUL), ("fine", FINE)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def firsts(told: str) -> list[str]:
    return [line.split(": ")[0] + ": " + line.split(": ")[1] for line in told.splitlines() if not line.startswith(" ")]


class TestValidate:
    def test_all_of_all_files_in_their_order_with_line_caret_and_hint(self, folder: Path) -> None:
        """D10."""
        done = plait("validate", "doubtful.yaml", "bad.yaml", "fine.yaml", cwd=folder)
        assert (done.returncode, done.stdout) == (2, "doubtful.yaml: ok, 1 warning\nfine.yaml: ok\n")
        assert firsts(done.stderr) == [
            "doubtful.yaml:1:10: warning[unused-input]",
            "bad.yaml:2:16: warning[option-like]",
            "bad.yaml:2:39: error[unknown-key]",
            "bad.yaml:3:6: error[type]",
        ]
        assert done.stderr.endswith(
            "bad.yaml:3:6: error[type]: task 'b' must be a mapping, not text\n"
            "    3 |   b: echo\n"
            "      |      ^\n"
            "      hint: write `run:` in front of the command\n"
        )

    def test_warnings_are_exit_0_and_with_strict_exit_2(self, folder: Path) -> None:
        done = plait("validate", "doubtful.yaml", cwd=folder)
        assert (done.returncode, done.stdout) == (0, "doubtful.yaml: ok, 1 warning\n")
        strict = plait("validate", "doubtful.yaml", "fine.yaml", "--strict", cwd=folder)
        assert (strict.returncode, strict.stdout, strict.stderr) == (2, "fine.yaml: ok\n", done.stderr)
        assert plait("validate", "fine.yaml", "--strict", cwd=folder).returncode == 0

    def test_json_is_one_list_of_all_that_was_found(self, folder: Path) -> None:
        done = plait("validate", "doubtful.yaml", "bad.yaml", "nofile.yaml", "--json", cwd=folder)
        assert (done.returncode, done.stderr) == (2, "")
        listed = json.loads(done.stdout)
        assert listed[0] == {
            "file": "doubtful.yaml",
            "line": 1,
            "column": 10,
            "severity": "warning",
            "code": "unused-input",
            "message": "input 'unused' is declared and never used",
            "hint": "look it up as {{ inputs.unused }}, or drop it",
            "source": DOUBTFUL.splitlines()[0],
        }
        assert [(each["severity"], each["code"]) for each in listed] == [
            ("warning", "unused-input"),
            ("warning", "option-like"),
            ("error", "unknown-key"),
            ("error", "type"),
            ("error", "file"),
        ]
        assert (listed[4]["hint"], listed[4]["source"]) == (None, None)
        for words, code in ((("--json",), 0), (("--json", "--strict"), 2)):
            done = plait("validate", "doubtful.yaml", *words, cwd=folder)
            assert (done.returncode, len(json.loads(done.stdout))) == (code, 1)
        assert json.loads(plait("validate", "fine.yaml", "--json", cwd=folder).stdout) == []


class TestOtherCommands:
    @pytest.mark.parametrize("words", [("run",), ("run", "-n"), ("graph",), ("inspect",), ("simulate",)], ids=" ".join)
    def test_a_bad_file_is_told_the_same_everywhere(self, folder: Path, words: tuple[str, ...]) -> None:
        done = plait(*words, "bad.yaml", cwd=folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == plait("validate", "bad.yaml", cwd=folder).stderr

    def test_a_run_says_its_warnings_once_and_goes_on(self, folder: Path) -> None:
        told = plait("validate", "doubtful.yaml", cwd=folder).stderr
        done = plait("run", "doubtful.yaml", cwd=folder)
        assert (done.returncode, done.stdout) == (0, "a: done\n")
        assert done.stderr.startswith(told)
        assert done.stderr.count("warning[") == 1
        assert "warning[" not in plait("run", "doubtful.yaml", "-q", cwd=folder).stderr
        done = plait("run", "doubtful.yaml", "--json", cwd=folder)
        assert (json.loads(done.stdout)["status"], done.stderr) == ("succeeded", told)
        assert "warning[" not in plait("graph", "doubtful.yaml", cwd=folder).stderr

    def test_a_call_that_is_not_there_is_shown_in_its_line(self, folder: Path) -> None:
        (folder / "call.yaml").write_text("tasks:\n  a: {call: 'nowhere_at_all:f'}\n")
        done = plait("run", "call.yaml", cwd=folder)
        assert done.returncode == 2
        assert done.stderr.splitlines()[1:] == ["    2 |   a: {call: 'nowhere_at_all:f'}", "      |             ^"]


class TestGitHub:
    def test_findings_are_annotations_where_github_listens(self, folder: Path) -> None:
        done = plait("validate", "doubtful.yaml", "bad.yaml", cwd=folder, GITHUB_ACTIONS="true")
        annotations = [line for line in done.stderr.splitlines() if line.startswith("::")]
        assert annotations[0] == (
            "::warning file=doubtful.yaml,line=1,col=10,title=unused-input::input 'unused' is declared and never used"
            "%0Ahint: look it up as {{ inputs.unused }}, or drop it"
        )
        assert [each.split("::")[1] for each in annotations] == [
            "warning file=doubtful.yaml,line=1,col=10,title=unused-input",
            "warning file=bad.yaml,line=2,col=16,title=option-like",
            "error file=bad.yaml,line=2,col=39,title=unknown-key",
            "error file=bad.yaml,line=3,col=6,title=type",
        ]
        assert (
            re.sub("^::.*\n", "", done.stderr, flags=re.M)
            == plait("validate", "doubtful.yaml", "bad.yaml", cwd=folder).stderr
        )
        done = plait("validate", "bad.yaml", "--json", cwd=folder, GITHUB_ACTIONS="true")
        assert len(json.loads(done.stdout)) == 3
        assert [line[:7] for line in done.stderr.splitlines()] == ["::warni", "::error", "::error"]
        assert "::" not in plait("validate", "bad.yaml", cwd=folder, GITHUB_ACTIONS="false").stderr

    def test_an_annotation_is_one_line_whatever_is_in_it(self) -> None:
        """S29."""
        properties = {"file": "a,b:c%\n.yaml", "line": 3, "col": 4, "title": "t:,"}
        assert command("error", properties, "100%\r\n::set-env name=X::y") == (
            "::error file=a%2Cb%3Ac%25%0A.yaml,line=3,col=4,title=t%3A%2C::100%25%0D%0A::set-env name=X::y"
        )
        assert command("notice", {}, "a\x1b[2J\u2028b") == "::notice::a?[2J?b"
        assert command("warning", {"line": 0}, "m") == "::warning line=0::m"


def test_hostile_files_move_no_cursor(tmp_path: Path) -> None:
    """S28 S29: escapes and line ends in keys, texts and names of files."""
    (tmp_path / "x\x1b[2J.yaml").write_text(
        'tasks:\n  "a\\e[2J\\nb": {run: x}\n  b: "\\e]0;t\\a"\n  "c\u202e": x\u009b2J\n'
    )
    for words in (("validate",), ("validate", "--json"), ("run",), ("graph",), ("inspect",), ("inspect", "--json")):
        done = plait(*words, "x\x1b[2J.yaml", cwd=tmp_path, GITHUB_ACTIONS="true")
        assert done.returncode == 2
        for line in (done.stdout + done.stderr).splitlines():
            assert line.isprintable()
