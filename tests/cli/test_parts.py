"""A part of a file is run: `--only`, `--from`, `--until`; what an earlier run has is taken over, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import plait
from plait.errors import UsageError
from plait.parts import Part, part_of

PLAIT = [sys.executable, "-m", "plait"]
ENV = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "PLAIT_STORE")}

CHAIN = """
name: chain
inputs: {n: {type: integer, default: 1}}
tasks:
  a: {run: "echo a >> ran; echo {{ inputs.n }}"}
  b: {run: "echo b >> ran; echo b{{ tasks.a.output }}"}
  c: {run: "echo c >> ran; echo c{{ tasks.b.output }}"}
  d: {run: "echo d >> ran; echo d{{ tasks.c.output }}"}
  z: {run: "echo z >> ran; test ! -e bad"}
outputs: {d: "{{ tasks.d.output }}"}
"""


def cli(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PLAIT, *words], capture_output=True, text=True, cwd=cwd, timeout=60, env=ENV)


def ran(folder: Path) -> list[str]:
    """What ran since this was asked last."""
    path = folder / "ran"
    found = path.read_text().split() if path.exists() else []
    path.write_text("")
    return sorted(found)


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    (tmp_path / "flow.yaml").write_text(CHAIN)
    return tmp_path


class TestWhichTasks:
    def part(self, folder: Path, text: str = CHAIN, **options: list[str]) -> Part:
        (folder / "flow.yaml").write_text(text)
        return part_of(plait.load(folder / "flow.yaml"), **options)

    def test_until_is_everything_but_what_depends_on_it(self, tmp_path: Path) -> None:
        part = self.part(tmp_path, until=["b"])
        assert part.runs == ("a", "b", "z")
        assert part.left == {"c": "it depends on b (--until)", "d": "it depends on b (--until)"}
        assert list(part.flow.tasks) == ["a", "b", "z"]

    def test_several_untils_are_all_reached(self, tmp_path: Path) -> None:
        part = self.part(tmp_path, until=["a", "c"])
        assert (part.runs, list(part.left)) == (("a", "b", "c", "z"), ["d"])

    def test_from_is_the_task_and_what_depends_on_it_and_takes_over_what_these_need(self, tmp_path: Path) -> None:
        part = self.part(tmp_path, start=["c"])
        assert (part.runs, part.taken) == (("c", "d"), ("b",))
        assert part.left == {
            "a": "what runs does not need it (--from)",
            "z": "it does not depend on c (--from)",
        }

    def test_they_go_with_each_other(self, tmp_path: Path) -> None:
        part = self.part(tmp_path, start=["b"], until=["c"], only=["c", "z"])
        assert (part.runs, part.taken) == (("b", "c"), ("a",))
        assert part.left["d"] == "it depends on c (--until)"
        part = self.part(tmp_path, start=["c", "z"])
        assert (part.runs, part.taken) == (("c", "d", "z"), ("b",))
        assert self.part(tmp_path, start=["a", "z"]).taken == ()

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"start": ["cc"]}, r"there is no task 'cc' in .*flow.yaml. Did you mean 'c'\?"),
            ({"until": ["y"]}, "there is no task 'y'"),
            ({"only": ["x"]}, "there is no task 'x'"),
            ({"start": ["c"], "until": ["b"]}, r"--from c cannot run: it depends on b \(--until\)"),
            ({"start": ["c"], "only": ["b"]}, r"--from c cannot run: no task of --only needs it \(b\)"),
            ({"only": ["d"], "until": ["a"]}, "--only d cannot run: it depends on a"),
            ({"until": ["z"], "only": ["a"]}, "--until z cannot run: no task of --only needs it"),
        ],
    )
    def test_what_cannot_be_is_refused(self, tmp_path: Path, options: dict[str, list[str]], told: str) -> None:
        with pytest.raises(UsageError, match=told):
            self.part(tmp_path, **options)

    def test_what_grows_again_has_the_values_that_it_is_made_of(self, tmp_path: Path) -> None:
        text = "tasks: {first: {run: x}, list: {run: 'x {{ tasks.first.output }}', output: lines}, each: {foreach: '{{ tasks.list.output }}', run: x}, sum: {run: 'x {{ tasks.each.output }}'}}"
        part = self.part(tmp_path, text, start=["sum"])
        assert part.taken == ("list", "each")

    def test_what_an_approval_may_have_done_again_is_there_with_what_it_needs(self, tmp_path: Path) -> None:
        text = "tasks: {facts: {run: x}, draft: {run: 'x {{ tasks.facts.output }} {{ feedback }}'}, ink: {run: 'x {{ tasks.draft.output }}'}, review: {ask: ok, approve: ink}}"
        assert self.part(tmp_path, text, start=["review"]).taken == ("facts", "draft", "ink")


@pytest.mark.realtime
class TestFrom:
    def test_what_is_needed_from_before_is_taken_over_and_nothing_else_runs(self, chain: Path) -> None:
        assert cli("run", "flow.yaml", "--until", "c", "--run-id", "first", cwd=chain).returncode == 0
        assert ran(chain) == ["a", "b", "c", "z"]
        done = cli("run", "flow.yaml", "--from", "c", "--run-id", "second", cwd=chain)
        assert (done.returncode, done.stdout) == (0, "d: dcb1\n")
        assert "plait: b is taken over from run first\n" in done.stderr
        assert "b: kept from before\n" in done.stderr
        assert ran(chain) == ["c", "d"]
        assert "forked from first" in cli("show", "second", cwd=chain).stdout
        third = json.loads(cli("run", "flow.yaml", "--from", "d", "--json", cwd=chain).stdout)
        assert list(third["tasks"]) == ["c", "d"]
        assert ran(chain) == ["d"]

    def test_without_an_earlier_run_that_has_it_there_is_one_line_that_says_what_to_do(self, chain: Path) -> None:
        for words in ((), ("-n",)):
            refused = cli("run", "flow.yaml", "--from", "c", *words, cwd=chain)
            assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
            assert "no earlier run of flow.yaml is kept" in refused.stderr
            assert "run it once without --from" in refused.stderr
        assert sorted(os.listdir(chain)) == ["flow.yaml"]
        (chain / "other.yaml").write_text(CHAIN)
        cli("run", "other.yaml", "-q", cwd=chain)
        assert "no earlier run of flow.yaml is in " in cli("run", "flow.yaml", "--from", "c", cwd=chain).stderr
        assert cli("run", "flow.yaml", "--from", "c", "--store", "none", cwd=chain).returncode == 2
        ran(chain)
        (chain / "flow.yaml").write_text(CHAIN.replace("echo b{{", "exit 3 {{"))
        cli("run", "flow.yaml", "-q", "--run-id", "bad", cwd=chain)
        refused = cli("run", "flow.yaml", "--from", "c", cwd=chain)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "run bad cannot give that: there task 'b' is failed. Begin with it: --from b" in refused.stderr
        assert ran(chain) == ["a", "b", "z"]

    def test_of_runs_that_have_it_the_newest_counts_also_one_that_failed_elsewhere(self, chain: Path) -> None:
        cli("run", "flow.yaml", "-q", "--run-id", "first", "-i", "n=1", cwd=chain)
        (chain / "bad").touch()
        assert cli("run", "flow.yaml", "-q", "--run-id", "second", "-i", "n=2", cwd=chain).returncode == 1
        ran(chain)
        assert cli("run", "flow.yaml", "--from", "d", cwd=chain).stdout == "d: dcb2\n"
        assert ran(chain) == ["d"]

    def test_inputs_are_those_of_the_earlier_run_and_others_are_refused(self, chain: Path) -> None:
        cli("run", "flow.yaml", "-q", "-i", "n=5", "--run-id", "five", cwd=chain)
        ran(chain)
        assert cli("run", "flow.yaml", "--from", "b", cwd=chain).stdout == "d: dcb5\n"
        assert cli("run", "flow.yaml", "--from", "b", "-i", "n=5", cwd=chain).stdout == "d: dcb5\n"
        ran(chain)
        for words in ((), ("-n",)):
            refused = cli("run", "flow.yaml", "--from", "b", "-i", "n=6", *words, cwd=chain)
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
            assert "its input 'n' was 5, not 6. Leave out -i, or --from" in refused.stderr
        cli("run", "flow.yaml", "-q", "-i", "n=7", cwd=chain)
        ran(chain)
        assert cli("run", "flow.yaml", "--from", "b", "-i", "n=5", cwd=chain).stdout == "d: dcb5\n"
        assert ran(chain) == ["b", "c", "d"]

    def test_what_was_edited_since_is_not_taken_over(self, chain: Path) -> None:
        cli("run", "flow.yaml", "-q", cwd=chain)
        ran(chain)
        (chain / "flow.yaml").write_text(CHAIN.replace("echo b{{", "echo new{{").replace("echo d{{", "echo end{{"))
        refused = cli("run", "flow.yaml", "--from", "c", cwd=chain)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "task 'b' was edited since. Begin with it: --from b" in refused.stderr
        assert ran(chain) == []
        assert cli("run", "flow.yaml", "--from", "b", cwd=chain).stdout == "d: endcnew1\n"
        assert ran(chain) == ["b", "c", "d"]

    def test_a_dry_run_says_what_runs_what_is_taken_over_and_why_the_rest_does_not_run(self, chain: Path) -> None:
        cli("run", "flow.yaml", "-q", "--run-id", "first", cwd=chain)
        ran(chain)
        dry = cli("run", "flow.yaml", "--from", "c", "--until", "c", "-n", cwd=chain)
        assert (dry.returncode, dry.stderr) == (0, "")
        assert re.sub(r"\(at most \d+ at once\)", "(LIMITS)", dry.stdout).splitlines() == [
            "would run 1 task:",
            "  (LIMITS)",
            "  c after b: echo c >> ran; echo c{{ tasks.b.output }}",
            "would take over 1 from run first:",
            "  b: succeeded there",
            "would not run 3:",
            "  a: what runs does not need it (--from)",
            "  d: it depends on c (--until)",
            "  z: it does not depend on c (--from)",
        ]
        assert ran(chain) == []
        assert "  d: it depends on c (--until)" in cli("run", "flow.yaml", "--until", "c", "-n", cwd=chain).stdout
        assert len(cli("ls", cwd=chain).stdout.splitlines()) == 2

    def test_the_rules_are_those_of_the_new_run(self, chain: Path) -> None:
        cli("run", "flow.yaml", "-q", "-j", "1", cwd=chain)
        begun = cli("run", "flow.yaml", "--from", "b", "-j", "3", "--fail-fast", "--jsonl", cwd=chain).stdout
        assert json.loads(begun.splitlines()[0])["slots"] == 3

    def test_items_of_what_is_taken_over_stay_and_what_had_not_succeeded_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(
            "tasks:\n  list: {run: \"printf '1\\\\n2\\\\n'\", output: lines}\n"
            "  each: {foreach: '{{ tasks.list.output }}', run: 'echo {{ item }} >> ran; test {{ item }} = 1', allow_failure: true}\n"
            "  sum: {run: 'echo sum >> ran; echo {{ tasks.each.output }}'}\n"
        )
        cli("run", "flow.yaml", "-q", "--run-id", "first", cwd=tmp_path)
        assert ran(tmp_path) == ["1", "2", "sum"]
        dry = cli("run", "flow.yaml", "--from", "sum", "-n", cwd=tmp_path).stdout
        assert "  each: succeeded there; 1 of its tasks runs again, as in a fork" in dry
        assert cli("run", "flow.yaml", "--from", "sum", cwd=tmp_path).returncode == 0
        assert ran(tmp_path) == ["2", "sum"]

    def test_a_run_that_was_left_half_way_is_a_source_and_one_that_goes_on_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "flow.yaml").write_text(
            "tasks: {a: {run: echo 1}, b: {run: 'cat gate; echo {{ tasks.a.output }}'}, c: {run: 'echo {{ tasks.a.output }}{{ tasks.b.output }}'}}"
        )
        os.mkfifo(tmp_path / "gate")
        child = subprocess.Popen(
            [*PLAIT, "run", "flow.yaml", "--run-id", "half"], cwd=tmp_path, env=ENV, stderr=subprocess.DEVNULL
        )
        gate = os.open(tmp_path / "gate", os.O_WRONLY)
        refused = cli("run", "flow.yaml", "--from", "b", "-n", cwd=tmp_path)
        assert (refused.returncode, "no earlier run" in refused.stderr) == (2, True)
        child.kill()
        child.wait()
        os.close(gate)
        assert "from run half" in cli("run", "flow.yaml", "--from", "b", "-n", cwd=tmp_path).stdout
        (tmp_path / "gate").unlink()
        (tmp_path / "gate").touch()
        assert cli("run", "flow.yaml", "--from", "b", cwd=tmp_path).returncode == 0

    def test_a_graph_of_python_has_no_parts(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("import plait\ngraph = plait.Graph('py')\ngraph.add('a', len, args=('x',))\n")
        for option in ("--from", "--until", "--only"):
            refused = cli("run", "mine:graph", option, "a", cwd=tmp_path)
            assert (refused.returncode, refused.stderr) == (2, f"plait: {option} is for workflow files\n")
