"""Under GitHub Actions: failures are annotations, blocks fold, and no text of a task is a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from plait.observe.annotations import command, defused

PLAIT = [sys.executable, "-m", "plait"]
ENV = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "NO_COLOR", "FORCE_COLOR"))}
ENV["PLAIT_STORE"] = os.path.join(tempfile.mkdtemp(prefix="plait-tests-"), "plait.db")

FLOW = """\
name: checks
tasks:
  ok: {run: "echo '::error::smuggled'; echo '  ::set-output name=x::y'; echo 'x ##[error]old'"}
  bad: {run: "echo '50% ##[error]x' >&2; echo '::notice::inner' >&2; exit 3", retry: {attempts: 2, delay: 0.01}}
  group:
    tasks:
      inner: {run: "exit 4", allow_failure: true}
  each: {foreach: ["a:b,c", fine], key: "{{ item }}", run: "test {{ item }} = fine"}
outputs: {ok: "{{ tasks.ok.output }}"}
"""


def cli(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    env = {**ENV, "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(cwd.parent), **env}
    return subprocess.run([*PLAIT, *words], capture_output=True, text=True, cwd=cwd, timeout=60, env=env)


def obeyed(text: str) -> list[str]:
    """The lines that a runner takes for commands."""
    return [line for line in text.splitlines() if line.lstrip().startswith("::") or "##[" in line]


def test_a_message_and_properties_are_read_back_as_they_are() -> None:
    shown = command("error", {"title": "a:b,c\n100%"}, "50%\r\n: , done")
    assert shown == "::error title=a%3Ab%2Cc%0A100%25::50%25%0D%0A: , done"
    assert command("group", {}, "x") == "::group::x"


@pytest.mark.parametrize("text", ["::error::x", " \t::error::x", "\u00a0::x", "a\n::x", "a ##[error]b", "::x\n##[y]"])
def test_no_text_is_a_command_once_it_is_defused(text: str) -> None:
    assert obeyed(text)
    assert obeyed(defused(text)) == []
    assert defused("a :: b\n  # [x]") == "a :: b\n  # [x]"
    assert json.loads(defused(json.dumps({"a": text}, indent=2))) == {"a": text}


@pytest.mark.realtime
class TestRuns:
    def test_each_failure_is_told_once_with_its_place(self, tmp_path: Path) -> None:
        folder = tmp_path / "sub"
        folder.mkdir()
        (folder / "flow.yaml").write_text(FLOW)
        told = obeyed(cli("run", "flow.yaml", "--run-id", "one", cwd=folder).stderr)
        assert sorted(told) == [
            "::error file=sub/flow.yaml,line=4,col=3,title=bad failed::bad failed, 2 attempts: exit 3: ::notice::inner%0A    | 50%25 ##[error]x%0A    | ::notice::inner",
            "::error file=sub/flow.yaml,line=8,col=3,title=each[a%3Ab%2Cc] failed::each[a:b,c] failed: exit 1",
            "::warning file=sub/flow.yaml,line=7,col=7,title=group/inner failed::group/inner failed (allowed): exit 4",
        ]
        again = obeyed(cli("retry", "one", "--jsonl", cwd=folder).stderr)
        assert sorted(again) == sorted(told)
        elsewhere = obeyed(cli("run", "flow.yaml", cwd=folder, GITHUB_WORKSPACE="/nowhere").stderr)
        assert elsewhere[0].startswith("::error file=flow.yaml,line=")
        assert obeyed(cli("resume", "one", cwd=folder).stderr) == []  # it is over, and was told

    def test_elsewhere_nothing_of_this_is_done(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(FLOW)
        done = cli("run", "flow.yaml", "--output", "group", cwd=tmp_path, GITHUB_ACTIONS="")
        assert "--- bad ---" in done.stderr
        assert "::error file=" not in done.stderr
        assert "::group::" not in done.stderr
        assert "ok: ::error::smuggled\n  ::set-output name=x::y\nx ##[error]old\n" in done.stdout

    @pytest.mark.parametrize("how", ["interleaved", "prefixed", "group"])
    def test_what_tasks_print_smuggles_no_command_in(self, tmp_path: Path, how: str) -> None:
        (tmp_path / "flow.yaml").write_text(FLOW)
        done = cli("run", "flow.yaml", "--output", how, cwd=tmp_path)
        assert "error::smuggled" in done.stderr
        ours = ("::error file=", "::warning file=", "::group::", "::endgroup::")
        assert [line for line in obeyed(done.stderr) if not line.startswith(ours)] == []
        assert obeyed(done.stdout) == []
        begun = [line for line in obeyed(done.stderr) if "group::" in line]
        expected = [
            "::group::ok",
            "::endgroup::",
            "::group::bad",
            "::endgroup::",
            "::group::bad, attempt 2",
            "::endgroup::",
        ]
        assert sorted(begun) == (sorted(expected) if how == "group" else [])
        assert begun[1::2] == ["::endgroup::"] * (len(begun) // 2)

    def test_the_json_is_the_same_document(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(FLOW)
        done = cli("run", "flow.yaml", "--json", cwd=tmp_path)
        assert obeyed(done.stdout) == []
        assert json.loads(done.stdout)["outputs"]["ok"] == "::error::smuggled\n  ::set-output name=x::y\nx ##[error]old"
        assert len(obeyed(done.stderr)) == 3

    def test_a_task_of_python_has_no_place(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(
            "import plait\n@plait.task\ndef grow(): return [bad.bind()]\n@plait.task\ndef bad(): raise ValueError('x')\ngraph = plait.Graph('g')\ngraph.add('a', grow)\n"
        )
        (told,) = obeyed(cli("run", "mine:graph", "--store", "none", cwd=tmp_path).stderr)
        assert told.startswith("::error title=a/bad")
