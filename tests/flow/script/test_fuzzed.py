"""FlowScript files that mutation found: those that took minutes, a thousand megabytes, or ended in a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fuzz_files
import fuzz_scripts
import plait
from flow_files import problems, write
from fuzz_scripts import BLOCKS, DEEPEST, LEAF, deep, many, nest, script
from plait.cli.pictures import FORMS
from plait.expressions.parse import _cuts, _Names
from plait.flow import load
from plait.flow.script import limits

NAME = "flow.flow.md"


def looked(folder: Path, text: str) -> str:
    """What is said of a file with that text: `accepted` or `refused`."""
    fuzz_files.folder_for(folder)
    return fuzz_files.look(write(folder, text, NAME))


class TestDepth:
    @pytest.mark.parametrize("name", BLOCKS)
    def test_blocks_a_hundred_deep_are_read_drawn_planned_and_run_at_limit_1(self, tmp_path: Path, name: str) -> None:
        """D4 D7: containers hold no slot, and no depth that is allowed is too deep for what looks at the file."""
        assert looked(tmp_path, deep(name)) == "accepted"
        result = plait.run(load(tmp_path / NAME), max_concurrency=1, raise_on_failure=False)
        assert result.status == "succeeded", result.first_cause
        value = result["b0"].value
        while isinstance(value, list):
            (value,) = value
        assert value == 1

    @pytest.mark.parametrize("name", BLOCKS)
    def test_one_block_more_is_refused_at_its_place(self, tmp_path: Path, name: str) -> None:
        """D4: with the limit."""
        found = problems(write(tmp_path, deep(name, DEEPEST + 1), NAME))
        assert {each[3] for each in found} == {f"blocks are nested deeper than {limits.DEEPEST} levels"}

    @pytest.mark.realtime
    @pytest.mark.parametrize("name", ["parallels", "tried foreaches"])
    def test_the_deepest_file_runs_by_the_command_line_and_is_told_from_its_store(
        self, tmp_path: Path, name: str
    ) -> None:
        """D4 D7: with what a store keeps of it, and what is read back."""
        write(tmp_path, deep(name), NAME)

        def plait_(*words: str) -> str:
            command = [sys.executable, "-m", "plait", *words]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr + done.stdout
            assert "Traceback" not in done.stderr
            return done.stdout

        assert '"status": "succeeded"' in plait_("run", NAME, "--run-id", "r", "-j", "1", "--json")
        assert "succeeded" in plait_("show", "r")
        plait_("run", NAME, "-n")
        plait_("inspect", NAME, "--json")

    def test_what_is_read_has_its_own_stack(self, tmp_path: Path) -> None:
        """D4 D7: however deep its caller stands."""
        write(tmp_path, deep("tried foreaches"), NAME)

        def far(left: int) -> str:
            return far(left - 1) if left else fuzz_files.look(tmp_path / NAME)

        assert far(350) == "accepted"

    def test_fallbacks_of_fallbacks_count_as_blocks_do(self, tmp_path: Path) -> None:
        """D4: what repairs what repairs is in it."""

        def chain(length: int) -> str:
            node = '<transform id="m@" type="map"><expression>1</expression>{}</transform>'
            repaired = node.format('<on-error><fallback node="m#"/></on-error>')
            return script(
                many(length, repaired).replace('"m0"/>', f'"m{length}"/>') + node.format("").replace("@", str(length))
            )

        assert looked(tmp_path, chain(98)) == "accepted"
        ((_, _, code, says),) = problems(write(tmp_path, chain(120), NAME))
        assert (code, says[:70]) == (
            "too-large",
            "blocks, and fallbacks of fallbacks, are nested deeper than 100 levels ",
        )

    def test_blocks_in_files_in_files_count_together(self, tmp_path: Path) -> None:
        """D4: files of forty levels each, three of them are too many."""
        for at in range(3):
            inner = f'<call id="next" workflow="f{at + 1}.flow.md"/>' if at < 2 else LEAF
            write(tmp_path, script(nest(40, '<phase id="b@">', inner, "</phase>")), f"f{at}.flow.md")
        assert load(tmp_path / "f1.flow.md").file.size == 82
        found = problems(tmp_path / "f0.flow.md")
        assert [each[3][:45] for each in found] == ["blocks, and fallbacks of fallbacks, are neste"]


class TestCost:
    @pytest.mark.parametrize(
        "name",
        [
            "many nodes deep down", "fallbacks of fallbacks", "one fallback of all", "fallbacks in blocks", "many sets of one name",
            "many sets and contexts", "an element flood", "files twice each", "conditions of retries", "many unknown names", "many hyphens",
            "all name all", "many cycles", "nodes on all levels",
        ],
    )  # fmt: skip
    def test_what_took_minutes_takes_less_than_two_seconds(self, tmp_path: Path, name: str) -> None:
        """S13 S17: nodes times levels, fallbacks of fallbacks, nodes that wait for all before them, expressions that are worked out while reading."""
        began = time.process_time()
        looked(tmp_path, fuzz_scripts.EVIL[name])
        assert time.process_time() - began < fuzz_files.SECONDS

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("many nodes deep down", "more than 100,000 nodes, each counted as often as there are blocks around it"),
            ("fallbacks of fallbacks", "more than 100,000 nodes, each counted as often as there are blocks around it"),
            ("one fallback of all", "with fallbacks, as often as they are named, the file has more than 20,000 nodes"),
            ("many sets of one name", "the nodes of this file wait for one another more than 500,000 times"),
            ("an element flood", "the file has more than 20,000 nodes"),
            ("files twice each", "the file has more than 20,000 nodes"),
        ],
    )  # fmt: skip
    def test_too_much_is_refused_with_the_limit(self, tmp_path: Path, name: str, says: str) -> None:
        """S13: stated limits."""
        fuzz_files.folder_for(tmp_path)
        found = problems(write(tmp_path, fuzz_scripts.EVIL[name], NAME))
        assert says in "\n".join(each[3] for each in found)

    def test_waits_are_counted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """S13: nodes that wait for all that were before them are as many as the square of them."""
        text = script(many(5, '<set var="x" value="{{x}}"/>'))
        assert looked(tmp_path, text) == "accepted"
        monkeypatch.setattr("plait.flow.script.names.MOST_WAITS", 9)
        ((_, _, code, says),) = problems(write(tmp_path, text, NAME))
        assert (code, says[:52]) == ("too-large", "the nodes of this file wait for one another more tha")

    def test_of_many_cycles_the_first_are_told(self, tmp_path: Path) -> None:
        """S13: each of them is looked for anew."""
        found = problems(write(tmp_path, fuzz_scripts.EVIL["many cycles"], NAME))
        assert [each[2] for each in found] == ["VALID_CIRCULAR_DEPENDENCY"] * limits.MOST_CYCLES

    @pytest.mark.parametrize("name", ["a-b-c", "a-" * 80 + "b"])
    def test_hyphens_cost_as_much_as_other_signs(self, name: str) -> None:
        """S17: of a row of them few beginnings are looked at, whatever names there are."""

        class Counted(str):
            asked = 0

            def __getitem__(self, at: object) -> str:
                Counted.asked += 1
                return str.__getitem__(self, at)  # type: ignore[index]

        known = _Names([name])
        cuts = _cuts("-".join(["a"] * 4000), 1)
        text = Counted("-".join(["a"] * 4000))
        for at in range(0, 8000, 2):
            assert known.end(text, at, at + 1, cuts) == at + 1
        assert Counted.asked < 4000 * 14
        assert known.end(f"{name}-1", 0, 1, _cuts(f"{name}-1", 1)) == len(name)

    def test_more_files_than_are_read_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """S13: a file that is told other names is read once more."""
        fuzz_files.folder_for(tmp_path)
        text = script(many(6, '<call id="c@" workflow="inner.flow.md" words="1" n@="1"/>'))
        assert looked(tmp_path, text) == "accepted"
        monkeypatch.setattr("plait.flow.script.reader.MOST_FILES", 5)
        ((_, _, code, says),) = problems(write(tmp_path, text, NAME))
        assert (code, "files name more than 5 files" in says) == ("too-large", True)

    def test_a_file_that_is_named_twice_is_read_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """S13: with the same names; else it is another one."""
        from plait.flow.script import reader

        fuzz_files.folder_for(tmp_path)
        read: list[str] = []
        real = reader.read_markup
        monkeypatch.setattr(reader, "read_markup", lambda path, *more: read.append(path.name) or real(path, *more))
        load(write(tmp_path, script(many(3, '<call id="c@" workflow="inner.flow.md" words="@"/>')), NAME))
        assert read == [NAME, "inner.flow.md"]
        found = problems(write(tmp_path, script(many(2, '<call id="c@" workflow="inner.flow.md"/>')), NAME))
        assert [each[2] for each in found] == ["VALID_UNDEFINED_NODE_REF", "EXPR_UNDEFINED_VARIABLE"]


class TestOptionsThatAreTemplates:
    TEXT = script(
        '<loop id="l" max="{{$config.rounds}}"><set var="a" value="1"/></loop>'
        '<timeout id="t" duration="{{$config.time}}"><set var="b" value="2"/></timeout>'
        '<foreach id="f" collection="[1]" concurrency="{{$config.rounds}}"><set var="c" value="3"/></foreach>',
        "config: {rounds: 2, time: 5s}\n",
    )

    def test_a_file_is_drawn_in_every_form_before_they_are_known(self, tmp_path: Path) -> None:
        """V1: and `simulate` looks at it without values."""
        flow = load(write(tmp_path, self.TEXT, NAME))
        assert flow.shape().size == 3
        for form in FORMS.values():
            assert list(form(flow))
        drawn = json.loads("\n".join(FORMS["json"](flow)))
        assert drawn[0]["max"] == "{{ $config.rounds }}"

    def test_the_condition_of_a_retry_that_cannot_be_worked_out_is_told_when_it_is_asked(self, tmp_path: Path) -> None:
        """D16: a file is never refused with a traceback."""
        text = script(
            '<source id="s" type="http" url="http://x/" timeout="1s"><on-error><retry max="1" base="1ms" when="upper([1]) == 1"/></on-error></source>'
        )
        assert looked(tmp_path, text) == "accepted"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a/" * 3000 + "x.flow.md", "cannot be read: File name too long"),
        ("x" * 300 + ".flow.md", "cannot be read: File name too long"),
        ("gone.flow.md", "there is no file 'gone.flow.md' beside this one"),
        ("folder.flow.md", "there is no file 'folder.flow.md' beside this one"),
        ("inner.yaml", "'inner.yaml' is no FlowScript file: its name must end in .flow.md"),
    ],
    ids=["long", "long name", "gone", "folder", "yaml"],
)
def test_files_that_cannot_be_read_are_told_of_where_they_are_named(tmp_path: Path, name: str, says: str) -> None:
    """S19: whatever the path."""
    fuzz_files.folder_for(tmp_path)
    text = script(f'<call id="c" workflow="{name}"/>')
    ((line, column, _, said),) = problems(write(tmp_path, text, NAME))
    assert (line, column) == (6, text.split("\n")[5].index('workflow="') + len('workflow="') + 1)
    assert says in said


def test_keys_of_nodes_without_ids_are_numbered_in_order(tmp_path: Path) -> None:
    """D8: however many there are of a name."""
    flow = load(
        write(
            tmp_path,
            script('<set var="x" value="1"/><set id="x-1" var="x" value="2"/>' + '<set var="x" value="3"/>' * 3),
            NAME,
        )
    )
    assert list(flow.tasks) == ["x", "x-1", "x.1", "x.2", "x.3"]
