"""Runs of FlowScript files, gone on with after a kill, a failure, an edit: only what must runs again, and no choice is made anew."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import logged_nodes
import plait
from flow_files import write
from plait.flow import load

HEAD = "---\nname: blocks\nversion: 1.0\n---\n"

INNER = """---
name: inner
version: 1.0
---
<workflow>
  <transform id="i1" type="logged"><v>{{words}}</v></transform>
  <transform id="i2" type="logged"><v>{{[i1, words]}}</v></transform>
</workflow>
"""

FLOW = (
    HEAD
    + """<workflow>
  <transform id="top" type="logged"><v>1</v></transform>
  <foreach id="each" collection="map(range(0, 3), x => uuid())"><transform id="one" type="logged"><v>{{item}}</v></transform></foreach>
  <foreach id="wide" collection="map(range(0, 4), x => uuid())" concurrency="3">
    <transform id="w1" type="logged"><v>{{item}}</v></transform>
    <set var="seen" value="{{index}}"/>
    <transform id="w2" type="logged"><v>{{[w1, seen, random()]}}</v></transform>
  </foreach>
  <foreach id="cut" collection="range(0, 6)" item="x" concurrency="3">
    <transform id="c1" type="logged"><v>{{[x, random()]}}</v></transform>
    <break when="x == 2"/>
    <transform id="c2" type="logged" input="c1"><v>{{input}}</v></transform>
  </foreach>
  <parallel id="mixed" merge="{all: $branches, by: random()}">
    <branch id="up"><transform id="x1" type="logged"><v>{{random()}}</v></transform></branch>
    <branch><transform id="x2" type="logged"><v>{{random()}}</v></transform></branch>
  </parallel>
  <parallel id="sides" merge="{all: $branches, n: length($branches)}">
    <branch><transform id="a" type="logged"/><transform id="b" type="logged" input="a"/></branch>
    <branch id="right"><transform id="c" type="logged"/><transform id="d" type="logged"><v>{{[c, random()]}}</v></transform></branch>
  </parallel>
  <parallel id="vote" wait="n(2)" max="2">
    <branch><transform id="v0" type="logged"><v>0</v></transform></branch>
    <branch><transform id="v1" type="logged"><v>1</v></transform></branch>
    <branch><transform id="v2" type="logged"><v>2</v></transform></branch>
  </parallel>
  <branch id="route">
    <case when="random() &lt; 0.3"><transform id="r1" type="logged"><v>1</v></transform></case>
    <case when="random() &lt; 0.5"><transform id="r2" type="logged"><v>2</v></transform></case>
    <default><transform id="r3" type="logged"><v>3</v></transform></default>
  </branch>
  <if id="side" condition="random() &lt; 2">
    <then><transform id="taken" type="logged"><v>{{random()}}</v></transform><transform id="then" type="logged"><v>{{taken}}</v></transform></then>
    <else><transform id="other" type="logged"/></else>
  </if>
  <loop id="turns" max="8" break="$iteration >= 2 &amp;&amp; random() &lt; 0.4">
    <transform id="n" type="logged"><v>{{[$iteration, random()]}}</v></transform>
    <transform id="m" type="logged"><v>{{n}}</v></transform>
  </loop>
  <while id="waiting" condition="(count ?? 0) &lt; 2 || random() &lt; 0.4">
    <set var="count" value="{{(count ?? 0) + 1}}"/>
    <transform id="p" type="logged"><v>{{[count, random()]}}</v></transform>
  </while>
  <phase id="group" name="group"><transform id="g1" type="logged"/><transform id="g2" type="logged" input="g1"><v>{{random()}}</v></transform></phase>
  <timeout id="bounded" duration="10m"><transform id="quick" type="logged"/></timeout>
  <include id="shared" workflow="inner.flow.md"><bind key="words" value="{{uuid()}}"/></include>
  <call id="called" workflow="inner.flow.md" words="{{uuid()}}"/>
  <transform id="mended" type="logged"><v>{{random()}}</v><on-error><fallback node="good"/></on-error></transform>
  <transform id="good" type="logged"><v>{{$primaryError.name}}</v></transform>
  <transform id="again" type="logged"><v>x</v><on-error><retry max="1" base="5ms"/><continue/></on-error></transform>
  <phase id="tried" name="tried">
    <transform id="sometimes" type="logged"><v>{{random()}}</v></transform>
    <transform id="behind" type="logged"><v>{{sometimes}}</v></transform>
    <on-error><retry max="1" base="5ms"/></on-error>
  </phase>
  <transform id="after" type="logged">
    <v>{{[each, wide, cut, mixed, up, x2, sides, vote, route, side, turns, waiting, group, bounded, shared, called, mended, again, tried]}}</v>
  </transform>
</workflow>
"""
)
"""Each block by chance: whoever chose anew would be seen."""

FAILS = ("mended", "again", "tried[0]/tried/sometimes")
"""What fails in it whenever it runs, so that something is done about it."""


class Place:
    """A folder with the files, and what ran there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = str(folder / "runs.db")
        self.path = write(folder, FLOW, "flow.flow.md")
        write(folder, INNER, "inner.flow.md")
        self.failing(*FAILS)

    def failing(self, *keys: str) -> None:
        """From now on these fail."""
        (self.folder / "fails").write_text(" ".join(keys))

    def log(self) -> list[str]:
        """What ran since it was asked before."""
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def ran(self) -> set[str]:
        return set(values(self.log()))

    def command(self, *words: str, **env: str) -> subprocess.Popen[bytes]:
        """`plait` with the node type `step`, as a process of its own."""
        command = [sys.executable, str(logged_nodes.__file__), *words, "--store", self.store]
        return subprocess.Popen(
            command, cwd=self.folder, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def cli(self, *words: str) -> tuple[int, str]:
        """The exit status of `plait`, and what it says."""
        child = self.command(*words)
        said = child.communicate(timeout=50)[0].decode()
        return child.returncode, said

    def kill_at(self, key: str, *words: str) -> list[str]:
        """A run that is killed while that node runs; what ran in it."""
        for name in ("stopped", "never"):
            os.mkfifo(self.folder / name)
        child = self.command("run", "flow.flow.md", "--run-id", "r", *words, STOP_AT=key)
        try:
            with open(self.folder / "stopped"):  # until it is there
                child.send_signal(signal.SIGKILL)
        finally:
            child.kill()
            child.communicate(timeout=30)
        return self.log()

    def run(self, *fails: str, text: str | None = None, **options: Any) -> tuple[plait.RunResult, list[str]]:
        """The first run; these fail, beside those that always do."""
        if text is not None:
            self.path.write_text(HEAD + text if text.startswith("<") else text)
        self.failing(*FAILS, *fails)
        result = plait.run(load(self.path), store=self.store, raise_on_failure=False, run_id="r", **options)
        self.failing(*FAILS)
        return result, self.log()

    def resume(self, **options: Any) -> plait.RunResult:
        return plait.resume("r", store=self.store, **options).wait()

    def retry(self) -> plait.RunResult:
        return plait.retry("r", store=self.store).wait()

    def accept(self, old: str, new: str, name: str = "flow.flow.md") -> plait.RunResult:
        """Goes on with an edit."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, (old, text.count(old))
        path.write_text(text.replace(old, new))
        return self.resume(accept_changes=True)

    def same_again(self, result: plait.RunResult) -> None:
        """Values that are made again of what is on record are those that the run had."""
        told = self.resume()
        assert {key: told[key].value for key in told} == {key: result[key].value for key in result}
        assert self.log() == []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("STEPS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def values(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines)


def rounds(result: Any, key: str) -> list[str]:
    return [each for each in result if each.startswith(f"{key}[") and "/" not in each]


CHOSEN = re.compile(r"(each\[\d\]/one|wide\[\d\]/w1|(shared|called)/i\d)$")
"""What gives nothing but what it was chosen for: an item, or an argument."""


def chosen_anew(before: list[str], again: list[str]) -> list[str]:
    """What ran again with another item, or argument; a case of which another one was taken before."""
    first, now = values(before), values(again)
    found = [key for key, value in now.items() if CHOSEN.match(key) and first.get(key, value) != value]
    routes = {key for key in (*first, *now) if key.startswith("route/")}
    return [*found, *(routes if len(routes) > 1 else ())]


KEYS = [
    "each[1]/one", "wide[1]/w1", "wide[2]/w2", "cut[1]/c1", "cut[2]/c1", "cut[1]/c2", "sides[0]/b", "sides[right]/c", "mixed/mixed.branches[up]/x1", "vote[1]/v1", "side/then", "turns[0]/n", "turns[1]/m",
    "turns[2]/n", "waiting[1]/p", "group/g2", "bounded/quick", "shared/i1", "shared/i2", "called/i2", "mended", "mended/on_error/good", "again", "tried[0]/tried/sometimes",
    "tried[1]/tried/behind", "after",
]  # fmt: skip


class TestKills:
    @pytest.mark.realtime
    @pytest.mark.parametrize("key", KEYS)
    def test_a_run_killed_in_the_middle_of_a_block_goes_on_there(self, place: Place, key: str) -> None:
        """F01 W1 W3 W4 D7: by a real SIGKILL; nothing recorded runs again, and what was chosen by chance stays chosen."""
        before = place.kill_at(key)
        stood = plait.show_run("r", place.store)
        over = {each for each, outcome in stood.items() if outcome.status in ("succeeded", "failed")}
        result = place.resume()
        assert result.status == "succeeded", result.first_cause
        again = place.log()
        assert over.isdisjoint(values(again))
        assert key in values(again)
        counted = Counter(line.partition("=")[0] for line in (*before, *again))
        known = {each for each in result if result[each].attempts}
        assert set(counted) <= known, "something ran that is not in the run"
        for each in ("each", "wide"):
            items = [result[f"{each}[{at}]"].value for at in range(3 if each == "each" else 4)]
            assert result[each].value == items
        assert result["after"].value == json.loads(values(again)["after"])
        assert not chosen_anew(before, again)
        place.same_again(result)


class TestRetries:
    @pytest.mark.parametrize(
        ("fails", "again"),
        [
            (["each[1]/one"], {"each[1]/one"}),
            (["wide[1]/w2"], {"wide[1]/w2"}),
            (["cut[1]/c2"], {"cut[1]/c2"}),
            (["sides[0]/b"], {"sides[0]/b"}),
            (["sides[right]/c"], {"sides[right]/c", "sides[right]/d"}),
            (["mixed/mixed.branches[up]/x1"], {"mixed/mixed.branches[up]/x1"}),
            (["side/then"], {"side/then"}),
            (["side/taken"], {"side/taken", "side/then"}),
            (["turns[1]/m"], {"turns[1]/m", "turns[2]/n", "turns[2]/m"}),
            (["waiting[1]/p"], {"waiting[1]/p"}),
            (["group/g2"], {"group/g2"}),
            (["bounded/quick"], {"bounded/quick"}),
            (["shared/i2"], {"shared/i2"}),
            (["called/i1"], {"called/i1", "called/i2"}),
            (["mended/on_error/good"], {"mended", "mended/on_error/good"}),
            (["after"], set()),
        ],
        ids=lambda keys: " ".join(sorted(keys)) or "itself",
    )
    def test_what_failed_runs_again_with_the_choices_that_were_made(
        self, place: Place, fails: list[str], again: set[str]
    ) -> None:
        """X11 W3 D7: items, cases, arguments, and what a merge came to are on record."""
        text = FLOW.replace("random() &lt; 0.4", "$iteration == 1").replace(">= 2 &amp;&amp; $iteration == 1", "== 2")
        first, lines = place.run(*fails, text=text, on_failure="continue")
        assert first.status == "failed"
        result = place.retry()
        assert result.status == "succeeded", result.first_cause
        rerun = place.log()
        always = {"again", "after", "tried[0]/tried/sometimes", "tried[1]/tried/sometimes", "tried[1]/tried/behind", "mended", "mended/on_error/good"}  # fmt: skip
        assert set(values(rerun)) - always == again - always
        assert not chosen_anew(lines, rerun)
        for key in ("mixed", "cut", "vote"):
            if first[key].status == "succeeded":
                assert result[key].value == first[key].value
        place.same_again(result)

    def test_the_branches_that_were_first_stay_those(self, place: Place) -> None:
        """X11 D3: others that had succeeded, too, or were not wanted any more, change nothing of it."""
        text = """<workflow>
          <parallel id="vote" wait="n(2)">
            <branch><delay duration="100ms"/><transform id="v0" type="logged"><v>0</v></transform></branch>
            <branch><transform id="v1" type="logged"><v>1</v></transform></branch>
            <branch><transform id="v2" type="logged"><v>2</v></transform></branch>
          </parallel>
          <transform id="end" type="logged" input="vote"><v>{{input}}</v></transform>
          <transform id="late" type="logged"><v>{{vote}}</v></transform>
        </workflow>"""
        first, _ = place.run("late", text=text, on_failure="continue")
        assert first["vote"].value == ["1", "2"]
        result = place.retry()
        assert result["late"].value == ["1", "2"]
        assert place.ran() == {"late"}

    def test_a_branch_that_was_not_wanted_is_left_as_it_was(self, place: Place) -> None:
        """X11 D3: it had failed, or was cut short, and others were enough."""
        text = """<workflow>
          <parallel id="vote" wait="n(2)">
            <branch><transform id="v0" type="logged"><v>0</v></transform><transform id="w0" type="logged"><v>0</v></transform></branch>
            <branch><transform id="v1" type="logged"><v>1</v></transform></branch>
            <branch><transform id="v2" type="logged"><v>2</v></transform><delay duration="50ms"/></branch>
            <branch><transform id="v3" type="logged"><v>3</v></transform><delay duration="9s"/><transform id="w3" type="logged"/></branch>
          </parallel>
          <transform id="end" type="logged" input="vote"><v>{{input}}</v></transform>
          <transform id="late" type="logged"><v>{{vote}}</v></transform>
        </workflow>"""
        first, _ = place.run("late", "vote[0]/w0", text=text, on_failure="continue")
        assert first["vote"].value == ["1", "2"]
        result = place.retry()
        assert result["late"].value == ["1", "2"]
        assert place.ran() == {"late"}


class TestForks:
    @pytest.mark.parametrize(
        ("start", "again"),
        [
            ("sides[0]/a", {"sides[0]/a", "sides[0]/b"}), ("sides[right]/d", {"sides[right]/d"}), ("sides[0]", {"sides[0]/a", "sides[0]/b"}),
            ("sides", {"sides[0]/a", "sides[0]/b", "sides[right]/c", "sides[right]/d"}), ("side/taken", {"side/taken", "side/then"}), ("shared/i2", {"shared/i2"}),
            ("wide[1]/w1", {"wide[1]/w1", "wide[1]/w2"}), ("wide[2]", {"wide[2]/w1", "wide[2]/w2"}), ("each[2]/one", {"each[2]/one"}), ("group/g1", {"group/g1", "group/g2"}),
            ("bounded", {"bounded/quick"}), ("cut[1]/c2", {"cut[1]/c2"}), ("after", set()),
        ],
        ids=lambda given: given if isinstance(given, str) else "",
    )  # fmt: skip
    def test_a_part_of_a_block_runs_again_and_what_needs_it(self, place: Place, start: str, again: set[str]) -> None:
        """X11 W3 D7: the rest is taken over."""
        place.failing()
        first = plait.run(load(place.path), store=place.store, run_id="r")
        lines = place.log()
        result = plait.fork("r", start, store=place.store).wait()
        assert result.status == "succeeded", result.first_cause
        rerun = place.log()
        assert set(values(rerun)) == again | {"after"}
        assert not chosen_anew(lines, rerun)
        assert set(first) - {"vote[2]/v2"} == set(result) - {"vote[2]/v2"}, "which was not wanted any more"

    def test_a_node_that_is_not_there_is_refused(self, place: Place) -> None:
        """X11."""
        place.run()
        for start in ("sides[1]/c", "sides[0]/c", "side/other", "turns[99]/n", "turns/n", "shared/c"):
            with pytest.raises(plait.UsageError, match="has no task"):
                plait.fork("r", start, store=place.store)


class TestEdits:
    @pytest.mark.parametrize(
        ("old", "new", "again"),
        [
            ('<transform id="b" type="logged" input="a"/>', '<transform id="b" type="logged" input="a"><v>7</v></transform>', {"sides[0]/b", "after"}),
            ('<transform id="c" type="logged"/>', '<transform id="c" type="logged"><v>7</v></transform>', {"sides[right]/c", "sides[right]/d", "after"}),
            ('<transform id="b" type="logged" input="a"/>', '<transform id="b" type="logged" input="a"/><transform id="f" type="logged"/>', {"sides[0]/a", "sides[0]/b", "sides[0]/f", "after"}),
            ('id="b" type="logged" input="a"/>', 'id="b" type="logged" input="a"><on-error><retry max="2"/></on-error></transform>', set()),
            ("n: length($branches)}", "n: 1}", {"sides[0]/a", "sides[0]/b", "sides[right]/c", "sides[right]/d", "after"}),
            ("<v>{{taken}}</v>", "<v>{{taken + 1}}</v>", {"side", "after"}),
            ("<v>{{n}}</v>", "<v>{{[n]}}</v>", {"turns", "after"}),
            ("<v>{{[count, random()]}}</v>", "<v>{{count}}</v>", {"waiting", "after"}),
            ("<v>{{[w1, seen, random()]}}</v>", "<v>{{seen}}</v>", {"wide", "after"}),
            ("x == 2", "x == 3", {"cut", "after"}),
            ('<transform id="g1" type="logged"/>', '<transform id="g1" type="logged"><v>1</v></transform>', {"group/g1", "group/g2", "after"}),
            ('<transform id="quick" type="logged"/>', '<transform id="quick" type="logged"><v>1</v></transform>', {"bounded/quick", "after"}),
            ('duration="10m"', 'duration="11m"', set()),
            ("<v>{{sometimes}}</v>", "<v>{{[sometimes]}}</v>", {"tried", "after"}),
            ("<v>{{$primaryError.name}}</v>", "<v>1</v>", set()),
            ('<retry max="1" base="5ms"/></on-error>\n  </phase>', '<retry max="4" base="7ms"/></on-error>\n  </phase>', set()),
            ('<transform id="top" type="logged"><v>1</v></transform>', '<transform id="top" type="logged"><v>2</v></transform>', {"top"}),
            ("</workflow>\n", "</workflow>\n\n## Execution Log\n\n### a run\n", set()),
            ("<workflow>", "<!-- said -->\n<workflow>", set()),
        ],
        ids=["branch", "named branch", "new in a branch", "options", "merge", "if", "loop", "while", "foreach", "break", "phase", "timeout", "its duration", "tries", "fallback",
             "number of tries", "elsewhere", "footer", "comment"],
    )  # fmt: skip
    def test_what_an_edit_touches_runs_again_and_nothing_else(
        self, place: Place, old: str, new: str, again: set[str]
    ) -> None:
        """X11 W4 D7: in a branch only what it touches; a case, a loop and a foreach as a whole."""
        place.failing()
        plait.run(load(place.path), store=place.store, run_id="r")
        place.log()
        result = place.accept(old, new)
        assert result.status == "succeeded", result.first_cause
        whole = ("side", "turns", "waiting", "wide", "cut", "tried")
        found = {re.split(r"[\[/]", key)[0] if key.startswith(whole) and "sides" not in key else key for key in place.ran()}  # fmt: skip
        assert found == again

    @pytest.mark.parametrize(
        ("old", "new", "again"),
        [
            ("<v>{{[i1, words]}}</v>", "<v>{{[i1]}}</v>", {"shared/i2", "called/i2", "after"}),
            ("version: 1.0", "version: 1.1", set()),
        ],
        ids=["node", "version"],
    )
    def test_and_so_it_is_in_another_file(self, place: Place, old: str, new: str, again: set[str]) -> None:
        """X11 D8: arguments stay as they were chosen."""
        place.failing()
        plait.run(load(place.path), store=place.store, run_id="r")
        lines = place.log()
        result = place.accept(old, new, "inner.flow.md")
        assert result.status == "succeeded", result.first_cause
        rerun = place.log()
        assert set(values(rerun)) == again
        if again:
            assert json.loads(values(rerun)["shared/i2"]) == [json.loads(values(lines)["shared/i1"])]

    CONFIGURED = """---
name: blocks
version: 1.0
config:
  a: {type: number, default: 1}
  b: {type: number, default: 2}
---
<workflow>
  <transform id="one" type="logged"><v>{{$config.a}}</v></transform>
  <transform id="two" type="logged"><v>{{$config.b}}</v></transform>
  <phase id="three" name="three"><transform id="four" type="logged"><v>{{[$config.a, $config.b]}}</v></transform></phase>
  <foreach id="five" collection="[$config.a]"><transform id="six" type="logged"><v>{{item}}</v></transform></foreach>
  <include id="seven" workflow="inner.flow.md"><bind key="words" value="w"/></include>
</workflow>
"""

    @pytest.mark.parametrize(
        ("config", "again"), [({}, {"one", "three/four", "five[0]/six", "seven/i1", "seven/i2"}), ({"a": 5}, set())]
    )
    def test_an_edit_of_a_default_is_one_of_what_names_it(
        self, place: Place, config: dict[str, Any], again: set[str]
    ) -> None:
        """X11 D11: in blocks and in files that share it, too; where the run was given another value it is none."""
        write(place.folder, INNER.replace("{{words}}", "{{[words, $config.a]}}"), "inner.flow.md")
        place.path.write_text(self.CONFIGURED)
        plait.run(load(place.path).configured(config), store=place.store, run_id="r")
        place.log()
        result = place.accept("default: 1", "default: 3")
        assert result.status == "succeeded"
        assert place.ran() == again
        assert result["one"].value == (config or {"a": 3})["a"]
        assert result["two"].value == 2

    def test_an_edit_of_what_had_not_run_yet_is_taken(self, place: Place) -> None:
        """X11 W4: what failed is among what runs again."""
        place.run("sides[0]/b", "turns[0]/n", on_failure="continue")
        result = place.accept(
            '<transform id="b" type="logged" input="a"/>', '<transform id="b" type="logged"><v>3</v></transform>'
        )
        assert result.status == "succeeded"
        rerun = values(place.log())
        assert rerun["sides[0]/b"] == '"3"'
        assert {"sides[0]/a", "sides[right]/c", "side/taken", "each[0]/one", "shared/i1", "waiting[0]/p"}.isdisjoint(
            rerun
        )


class TestChance:
    @pytest.mark.parametrize(
        "block",
        [
            '<if id="x" condition="random_int(1, 10) == 1"><then><transform id="t" type="logged"/></then></if>',
            '<branch id="x"><case when="random_int(1, 10) == 1"><transform id="t" type="logged"/></case></branch>',
            '<while id="x" condition="random_int(1, 10) == 1" max="100"><transform id="t" type="logged"/></while>',
            '<foreach id="x" collection="random_int(1, 10) == 1 ? [1] : []"><transform id="t" type="logged"/></foreach>',
            '<foreach id="x" collection="range(0, random_int(0, 9))" concurrency="4"><transform id="t" type="logged"/></foreach>',
            '<loop id="x" max="{{random_int(1, 9)}}"><transform id="t" type="logged"/></loop>',
            '<parallel id="x" merge="random()"><branch><transform id="t" type="logged"/></branch></parallel>',
            '<foreach id="x" collection="range(0, 9)" concurrency="2"><transform id="t" type="logged"><v>{{random_int(1, 5)}}</v></transform><break when="t &lt; 3"/></foreach>',
        ],
        ids=["if", "branch", "while", "no items", "items", "loop", "merge", "break"],
    )
    def test_what_chance_had_chosen_stands_in_later_generations(self, place: Place, block: str) -> None:
        """X11 W3: also that there is nothing to do."""
        text = f"""<workflow>{block}<transform id="bad" type="logged"><v>{{{{[x, t.attempts]}}}}</v></transform></workflow>"""
        text = text.replace("[x, t.attempts]", "[x]")
        for number in range(6):
            (place.folder / f"{number}.flow.md").write_text(HEAD + text)
            store = str(place.folder / f"{number}.db")
            place.failing("bad")
            options: dict[str, Any] = {"store": store, "run_id": "r", "raise_on_failure": False}
            first = plait.run(load(place.folder / f"{number}.flow.md"), on_failure="continue", **options)
            place.log()
            place.failing()
            result = plait.retry("r", store=store).wait()
            assert result.status == "succeeded"
            assert place.ran() == {"bad"}
            assert result["x"].value == first["x"].value
            assert set(result) == set(first)

    def test_an_item_behind_a_break_is_asked_again_where_that_is(self, place: Place) -> None:
        """X11 D7: what said `break` runs again, and says something else."""
        text = """<workflow>
          <foreach id="cut" collection="range(0, 4)" item="x" concurrency="2">
            <transform id="c" type="logged"><v>{{x}}</v></transform>
            <break when="x == 1 &amp;&amp; $config.stop"/>
            <transform id="d" type="logged"><v>{{x}}</v></transform>
          </foreach>
        </workflow>"""
        head = HEAD.replace("version: 1.0\n", "version: 1.0\nconfig: {stop: true}\n")
        first, _ = place.run(text=head + text)
        assert first["cut"].value == ["0", "1"] or first["cut"].value == [0, 1]
        result = place.accept("stop: true", "stop: false")
        assert result["cut"].value == [0, 1, 2, 3]


GATED = (
    HEAD
    + """<workflow>
  <loop id="rounds" max="1">
    <transform id="draft" type="logged"><v>{{random()}}</v></transform>
    <checkpoint id="ok" prompt="good?"><action id="approve"/><action id="again" goto="draft"/><action id="skip" goto="last"/></checkpoint>
    <transform id="middle" type="logged" input="draft"><v>{{input}}</v></transform>
    <transform id="last" type="logged"><v>{{draft}}</v></transform>
  </loop>
  <transform id="beside" type="logged"/>
  <delay id="pause" duration="400ms"/>
</workflow>
"""
)


WAITING = 3
"""What `plait` ends with where only answers are missing."""


def answer(place: Place, action: str) -> None:
    with plait.open_run("r", place.store) as run:
        (asked,) = run.questions()
        run.answer(asked, action)


class TestWaiting:
    @pytest.mark.realtime
    def test_a_checkpoint_that_waits_is_killed_and_asks_on(self, place: Place) -> None:
        """W1 W3 A18 D7: what stands before it does not run again; goto back, then forward, each killed behind it."""
        place.path.write_text(GATED)
        before = place.kill_at("beside")
        assert place.cli("resume", "r")[0] == WAITING
        drafted = {**values(before), **values(place.log())}["rounds[0]/draft"]
        answer(place, "again")
        os.unlink(place.folder / "stopped")
        os.mkfifo(place.folder / "stopped")
        child = place.command("resume", "r", STOP_AT="rounds[0]/ok/draft")
        try:
            with open(place.folder / "stopped"):
                child.send_signal(signal.SIGKILL)
        finally:
            child.kill()
            child.communicate(timeout=30)
        assert set(values(place.log())) == {"rounds[0]/ok/draft"}
        assert place.cli("resume", "r")[0] == WAITING
        second = values(place.log())
        assert set(second) == {"rounds[0]/ok/draft"}
        assert second["rounds[0]/ok/draft"] != drafted
        answer(place, "skip")
        result = place.resume()
        assert result.status == "succeeded", result.first_cause
        last = values(place.log())
        assert last == {"rounds[0]/last": second["rounds[0]/ok/draft"]}
        assert str(result["rounds[0]/middle"].status) == "skipped"
        place.same_again(result)

    @pytest.mark.realtime
    def test_a_delay_that_was_cut_short_ends_when_it_was_due(self, place: Place) -> None:
        """W1 D7: what it is due at is on record; it does not begin anew."""
        place.path.write_text(
            HEAD
            + """<workflow>
              <transform id="a" type="logged"/><delay id="pause" duration="{{random_int(1, 1)}}s"/><transform id="b" type="logged"/>
            </workflow>"""
        )
        before = place.kill_at("b")
        assert set(values(before)) == {"a", "b"}
        result = place.resume()
        assert set(values(place.log())) == {"b"}
        assert result["pause"].attempts == 2


SET = """---
name: set
version: 1.0
secrets: [TOKEN]
config: {n: {type: number, default: 1}}
input: {who: string}
---
<workflow>
  <transform id="begun" type="logged"><v>{{[$config.n, $env.PLACE, $run.id, $run.startedAt, $input.who, len($secrets.TOKEN)]}}</v></transform>
  <transform id="stops" type="logged" input="begun"/>
  <source id="read" type="file"><path>{{stops ? 'x' : '../outside.json'}}</path></source>
  <transform id="gone" type="logged"><v>{{[stops, read, $config.n, $env.PLACE, $run.id, $run.startedAt, $input.who, len($secrets.TOKEN)]}}</v></transform>
</workflow>
"""


class TestSettings:
    @pytest.mark.realtime
    @pytest.mark.parametrize("is_gone", [False, True])
    def test_a_run_keeps_what_it_was_started_with(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_gone: bool
    ) -> None:
        """D11 X11: config, the variables and folders it may see, its id and when it began; the text, too, where the file is gone. Secrets
        are read again."""
        (tmp_path / "outside.json").write_text("[7]")
        folder = tmp_path / "work"
        folder.mkdir()
        monkeypatch.setenv("STEPS", str(folder))
        monkeypatch.setenv("PLACE", "here")
        monkeypatch.setenv("TOKEN", "s3cret-token")
        monkeypatch.chdir(folder)
        place = Place(folder)
        place.path.write_text(SET)
        words = ("--config", "n=5", "--allow-env", "PLACE", "--allow-path", "..", "-i", "who=me")
        (begun, _) = place.kill_at("stops", *words)
        if is_gone:
            place.path.unlink()
        monkeypatch.setenv("TOKEN", "another-secret-token")
        result = place.resume()
        assert result.status == "succeeded", result.first_cause
        ended = json.loads(values(place.log())["gone"])
        first = json.loads(begun.partition("=")[2])
        assert first[:3] == [5, "here", "r"]
        assert ended[:7] == [None, [7], *first[:5]]
        assert first[5] == len("s3cret-token")
        assert ended[7] == len("another-secret-token")
        assert b"s3cret-token" not in Path(place.store).read_bytes()

    def test_a_secret_that_has_no_value_any_more_stops_the_run_before_it_goes_on(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """D11."""
        monkeypatch.setenv("TOKEN", "s3cret-token")
        place.path.write_text(HEAD.replace("---\n<", "<").replace("version: 1.0\n", "version: 1.0\nsecrets: [TOKEN]\n") + """<workflow>
          <transform id="a" type="logged"><v>{{len($secrets.TOKEN)}}</v></transform><transform id="b" type="logged" input="a"/>
        </workflow>""")  # fmt: skip
        place.run("b", text=place.path.read_text())
        monkeypatch.delenv("TOKEN")
        with pytest.raises(plait.UsageError, match="TOKEN"):
            place.retry()
        monkeypatch.setenv("TOKEN", "s3cret-token")
        assert place.retry().status == "succeeded"
        assert place.ran() == {"b"}

    @pytest.mark.realtime
    def test_an_entry_that_a_run_appends_is_no_edit_of_it(self, place: Place) -> None:
        """X11."""
        place.path.write_text(
            HEAD + '<workflow><transform id="a" type="logged"/><transform id="b" type="logged"/></workflow>\n'
        )
        place.failing("b")
        code, said = place.cli("run", "flow.flow.md", "--run-id", "r", "--log")
        assert code == 1, said
        assert place.path.read_text().count("### ") == 1
        place.failing()
        place.log()
        code, said = place.cli("retry", "r")
        assert code == 0, said
        assert place.ran() == {"b"}


PARTED = (
    HEAD
    + """<workflow>
  <set var="n" value="3"/>
  <transform id="unused" type="logged"/>
  <phase id="p" name="p"><transform id="a" type="logged"><v>{{n}}</v></transform></phase>
  <transform id="b" type="logged"><v>{{[a, n]}}</v></transform>
  <transform id="c" type="logged"><v>{{[b, p.a.output]}}</v></transform>
</workflow>
"""
)


@pytest.mark.realtime
class TestParts:
    def test_only_what_is_needed_runs_and_names_lead_where_they_did(self, place: Place) -> None:
        """X11: `--only`, `--until`, `--from`: variables and nodes within blocks are found, whichever nodes are left out."""
        place.path.write_text(PARTED)
        code, said = place.cli("run", "flow.flow.md", "--only", "b")
        assert code == 0, said
        assert values(place.log()) == {"p/a": "3", "b": "[3, 3]"}
        code, said = place.cli("run", "flow.flow.md", "--until", "b")
        assert code == 0, said
        assert place.ran() == {"unused", "p/a", "b"}
        code, said = place.cli("run", "flow.flow.md", "--from", "b")
        assert code == 0, said
        assert values(place.log()) == {"b": "[3, 3]", "c": "[[3, 3], 3]"}
        code, said = place.cli("fork", "last", "--from", "p/a")
        assert code == 0, said
        assert place.ran() == {"p/a", "b", "c"}

    def test_the_input_of_the_earlier_run_is_that_of_the_part(self, place: Place) -> None:
        """X11: it need not be given again; another one, or another config that what is taken over had named, is refused."""
        place.path.write_text("""---
name: given
version: 1.0
config: {k: {type: number, default: 1}}
input: {who: string}
---
<workflow>
  <transform id="a" type="logged"><v>{{[$input.who, $config.k]}}</v></transform>
  <transform id="b" type="logged"><v>{{[a, $input.who]}}</v></transform>
</workflow>
""")
        code, said = place.cli("run", "flow.flow.md", "-i", "who=me")
        assert code == 0, said
        place.log()
        code, said = place.cli("run", "flow.flow.md", "--from", "b")
        assert code == 0, said
        assert values(place.log()) == {"b": '[["me", 1], "me"]'}
        code, said = place.cli("run", "flow.flow.md", "--from", "b", "-i", "who=you")
        assert code != 0
        assert "who" in said
        code, said = place.cli("run", "flow.flow.md", "--from", "b", "--config", "k=2")
        assert code != 0
        assert "'a' was edited" in said
