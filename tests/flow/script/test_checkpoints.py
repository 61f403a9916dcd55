"""`checkpoint`: a person decides; what stands behind it waits, other work goes on."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import plait
from script_flows import Broken, Busy, Play, Stage, file_of, gives, left_and_resumed, ran, wrong


def work(id: str, value: str = "") -> str:
    return f'<transform id="{id}" type="work" {value and f"value={chr(34)}{value}{chr(34)}"}/>'


class TestAsking:
    def test_later_siblings_wait_for_it_without_naming_it_and_others_go_on(self, stage: Stage) -> None:
        """D8: those before it too; its prompt is a template."""
        body = (
            work("a")
            + '<checkpoint id="ok" prompt="publish {{a}}?"/>'
            + work("b")
            + "<phase id='p'>"
            + work("c")
            + "</phase>"
        )
        with Play('<phase id="other">' + work("d") + "</phase>" + body) as play:
            assert (play.running, play.asked) == ({"a", "d"}, {})
            play.end("a", 5)
            assert play.asked == {"ok": "publish 5?"}
            play.end("d")
            assert play.running == set()
            play.answer("ok", "approve")
            assert play.running == {"b", "c"}
            play.end("b")
            play.end("c")
            assert play.over()["ok"] == {"action": "approve", "input": None, "timedOut": False}

    def test_in_a_sequence_only_what_stands_behind_it_there_waits(self) -> None:
        """D8: it gates its siblings, and not those of the block around it."""
        body = '<phase id="p"><checkpoint id="ok" prompt="go?"/>' + work("a") + "</phase>" + work("b")
        with Play(body) as play:
            assert play.running == {"b"}
            play.answer("p/ok", "approve")
            assert play.running == {"a", "b"}

    def test_the_prompt_may_be_a_child(self) -> None:
        """D8: <prompt> or <message>."""
        for tag in ("prompt", "message"):
            with Play(f'<checkpoint id="ok"><{tag}>really, {{{{1 + 1}}}}?</{tag}></checkpoint>') as play:
                assert play.asked == {"ok": "really, 2?"}

    def test_words_may_be_added(self) -> None:
        """D8: input-type="text"."""
        with Play('<checkpoint id="ok" prompt="go?" input-type="text"/>') as play:
            play.answer("ok", "approve", "with care")
            assert play.over()["ok"] == {"action": "approve", "input": "with care", "timedOut": False}

    def test_a_condition_that_does_not_hold_skips_it(self, stage: Stage) -> None:
        """D8: and what stands behind it runs."""
        body = '<checkpoint id="ok" prompt="go?"><condition>$config.n > 5</condition></checkpoint>' + work("a")
        with Play(body, config={"n": 1}) as play:
            assert (play.asked, play.running) == ({}, {"a"})
        with Play(body, config={"n": 9}) as play:
            assert (set(play.asked), play.running) == ({"ok"}, set())

    def test_who_rejects_ends_what_it_gates_and_the_run_is_rejected(self, stage: Stage) -> None:
        """D8 D6: other work goes on to its end."""
        body = '<phase id="p"><checkpoint id="ok" prompt="go?"/>' + work("a") + "</phase>" + work("b")
        with Play(body) as play:
            play.answer("p/ok", "reject")
            assert play.running == {"b"}
            play.end("b", 7)
            over = play.over()
        assert over.status == "rejected"
        assert stage.began == ["b"]
        assert over["b"] == 7
        assert over.state("p/a") in ("skipped", "upstream_failed")

    def test_one_in_a_branch_gates_that_branch(self) -> None:
        """D8."""
        branch = '<branch><checkpoint id="{0}" prompt="{0}?"/><transform id="after-{0}" type="work"/></branch>'
        with Play(f'<parallel id="p">{branch.format("x")}{branch.format("y")}</parallel>') as play:
            assert play.asked == {"p[0]/x": "x?", "p[1]/y": "y?"}
            play.answer("p[1]/y", "approve")
            assert play.running == {"after-y"}


class TestDefaults:
    def test_the_default_counts_at_once_where_nobody_can_be_asked(self) -> None:
        """D8: not on a terminal."""
        over = ran('<checkpoint id="ok" prompt="go?" default="approve"/><set var="x" value="1"/>')
        assert over["ok"] == {"action": "approve", "input": None, "timedOut": False}
        over = ran('<checkpoint id="ok" prompt="go?" default="reject" timeout="1h"/><transform id="a" type="step"/>')
        assert (over.status, over.state("a"), over.seconds) == ("rejected", "upstream_failed", 0)

    def test_it_counts_after_the_timeout_where_somebody_is_asked(self, stage: Stage) -> None:
        """D8: hours of virtual time."""
        body = '<checkpoint id="ok" prompt="go?" default="approve" timeout="2h"/>' + work("a")
        with Play(body, asks=True) as play:
            play.wait(7100)
            assert (set(play.asked), play.running) == ({"ok"}, set())
            play.wait(200)
            assert play.running == {"a"}
            play.end("a")
            assert play.over()["ok"] == {"action": "approve", "input": None, "timedOut": True}

    def test_the_default_may_be_a_template(self) -> None:
        """D8: of nothing there is none; what is no action fails the node."""
        body = '<checkpoint id="ok" prompt="go?" default="{{$config.usual}}"/>'
        assert ran(body, config={"usual": "approve"})["ok"]["action"] == "approve"
        assert (
            "default of 'ok' is one of approve, reject, not 'maybe'"
            in ran(body, config={"usual": "maybe"}).errors["ok"]
        )
        with Play(body, config={"usual": ""}) as play:
            assert set(play.asked) == {"ok"}

    def test_the_timeout_may_be_a_template(self) -> None:
        """D8."""
        body = '<checkpoint id="ok" prompt="go?" default="reject" timeout="{{$config.most}}"/>'
        with Play(body, config={"most": "1m"}, asks=True) as play:
            play.wait(61)
            over = play.over()
        assert over.status == "rejected"
        assert "nobody answered in time" in str(over.errors)

    def test_without_a_default_nobody_goes_on(self) -> None:
        """D8: the run waits; a later answer has it go on, with all that was done."""
        body = '<transform id="a" type="step" value="{{uuid()}}"/><checkpoint id="ok" prompt="go?"/><set id="b" var="x" value="{{a}}"/>'
        with Play(body, asks=True) as play:
            play.wait(10**7)
            assert (set(play.asked), str(play.run.status)) == ({"ok"}, "waiting")
            play.answer("ok", "approve")
            over = play.over()
        assert over["b"] == over["a"]


GOTO = """
<transform id="a" type="work"/>
<checkpoint id="ok" prompt="n = {{a}}">
  <action id="go" label="Go on"/>
  <action id="again" label="Do it again" goto="a"/>
  <action id="skip" goto="c"/>
</checkpoint>
<transform id="b" type="work" value="{{a}}"/>
<transform id="c" type="work" value="{{[a, b]}}"/>
"""


class TestActions:
    @pytest.mark.parametrize("block", ["{}", '<phase id="p">{}</phase>', '<loop id="p" max="1">{}</loop>'])
    def test_a_goto_back_runs_the_siblings_between_again(self, stage: Stage, block: str) -> None:
        """D8: and asks again; who reads sees the last of them."""
        with Play(block.format(GOTO)) as play:
            play.end("a", 1)
            for n in (2, 3):
                key, prompt = next(iter(play.asked.items()))
                assert prompt.splitlines()[0] == f"n = {n - 1}"
                play.answer(key, "again")
                assert play.running == {"a"}
                play.end("a", n)
            play.answer(key, "go")
            while play.running:
                play.end(min(play.running))
            over = play.over()
            assert over.status == "succeeded"
        assert stage.given["b"] == [3]
        assert stage.given["c"] == [[3, 3]]

    def test_a_goto_forward_skips_the_siblings_between(self, stage: Stage) -> None:
        """D8."""
        with Play(GOTO) as play:
            play.end("a", 1)
            play.answer("ok", "skip")
            assert play.running == {"c"}
            play.end("c")
            over = play.over()
        assert over.state("b") == "skipped"
        assert over["ok"]["action"] == "skip"
        assert stage.given["c"] == [[1, None]]

    def test_a_goto_back_over_variables(self, stage: Stage) -> None:
        """D8 D3: they have the values of the last pass."""
        body = """
        <set var="n" value="0"/>
        <set id="inc" var="n" value="{{n + 1}}"/>
        <checkpoint id="ok" prompt="{{n}}"><action id="go"/><action id="again" goto="inc"/></checkpoint>
        <set id="z" var="y" value="{{n}}"/>
        """
        with Play(body) as play:
            for n in (1, 2, 3):
                assert list(play.asked.values()) == [str(n)]
                play.answer("ok", "again" if n < 3 else "go")
            assert play.over()["z"] == 3

    def test_reject_may_go_somewhere_too(self, stage: Stage) -> None:
        """D8: then nothing is rejected."""
        body = (
            work("a")
            + '<checkpoint id="ok" prompt="?"><action id="approve"/><action id="reject" goto="a"/></checkpoint>'
        )
        with Play(body) as play:
            play.end("a")
            play.answer("ok", "reject")
            assert play.running == {"a"}
            play.end("a")
            play.answer("ok", "approve")
            assert play.over().status == "succeeded"

    def test_what_was_chosen_is_data_for_what_follows(self) -> None:
        """D8."""
        body = """
        <checkpoint id="ok" prompt="how?" default="fast"><action id="slow"/><action id="fast">Quickly</action></checkpoint>
        """
        assert gives("ok.action == 'fast' ? 1 : 2", body) == 1

    def test_an_answer_that_is_no_action_is_refused(self) -> None:
        """D8."""
        with Play('<checkpoint id="ok" prompt="?"/>') as play:
            with pytest.raises(plait.UsageError):
                play.answer("ok", "maybe")
            assert set(play.asked) == {"ok"}


class TestMisuse:
    @pytest.mark.parametrize(
        ("attributes", "inner", "at"),
        [
            ('prompt="?" default="maybe"', "", "maybe"),
            ('prompt="?" timeout="soon"', "", "soon"),
            ('prompt="?" timeout="0s"', "", "0s"),
            ('prompt="?" input-type="number"', "", "number"),
            ('prompt="{{nowhere}}"', "", "nowhere"),
            ('prompt="?" ask="x"', "", "ask="),
            ('prompt="?"', '<action label="x"/>', "<action"),
            ('prompt="?"', '<action id="a"/><action id="a"/>', 'a"/></ch'),
            ('prompt="?"', "<condition>nowhere</condition>", "nowhere"),
            ('prompt="?"', "<options/>", "<options/>"),
            ("", "", "<checkpoint"),
        ],
    )
    def test_each_at_its_place(self, attributes: str, inner: str, at: str) -> None:
        """D10."""
        assert wrong(f'<checkpoint id="ok" {attributes}>{inner}</checkpoint>')[1].startswith(at)

    def test_a_goto_must_lead_to_a_sibling(self) -> None:
        """D10."""
        body = '<set id="start" var="x" value="1"/><checkpoint id="ok" prompt="?"><action id="a" goto="strt"/></checkpoint>'
        code, at, message = wrong(body)
        assert (code, at[:5]) == ("VALID_UNDEFINED_NODE_REF", 'strt"')
        assert "Did you mean 'start'?" in message
        body = '<phase id="p"><set id="s" var="x" value="1"/></phase><checkpoint id="ok" prompt="?"><action id="a" goto="s"/></checkpoint>'
        assert wrong(body)[0] == "VALID_UNDEFINED_NODE_REF"


class TestLeft:
    def test_a_run_that_is_left_while_it_waits_goes_on_with_all_that_was_done(self, stage: Stage) -> None:
        """D8 D11: what was chosen, worked out and tried again is on record, inside of blocks too; and so is where a goto leads back."""
        body = """
        <transform id="n" type="step" value="{{2}}"/>
        <phase id="first">
          <foreach id="f" collection="map(range(0, 3), x => random())" concurrency="{{n}}"><transform id="t" type="step" value="{{item}}"/></foreach>
          <phase id="tried"><transform id="u" type="step"/><set var="v" value="{{f}}"/><on-error><retry max="3" base="1h"/></on-error></phase>
          <loop id="l" max="3"><set var="i" value="{{random()}}"/><break when="$iteration == 1"/></loop>
          <transform id="r" type="step"><on-error><fallback node="o"/></on-error></transform>
          <transform id="o" type="step" value="{{[$primaryError.message, i]}}"/>
        </phase>
        <checkpoint id="ok" prompt="go?"><action id="go"/><action id="again" goto="first"/></checkpoint>
        <transform id="z" type="step" value="{{[f == v, i == l, r, r[1] == i, n, first.r == r]}}"/>
        """
        stage.script = {"u": [Busy("once"), Busy("twice")], "r": [Broken("first"), Broken("second")]}
        choices = ["again", "go"]
        over = left_and_resumed(body, lambda key: choices.pop(0))
        assert over.status == "succeeded"
        assert stage.given["z"] == [[True, True, ["second", over["z"][2][1]], True, 2, True]]
        assert [stage.began.count(each) for each in "nturoz"] == [1, 6, 4, 2, 2, 1]


@pytest.mark.realtime
class TestCommandLine:
    BODY = '<checkpoint id="ok" prompt="go?"/><set var="x" value="1"/><phase id="p"><checkpoint id="inner" prompt="on?" {}/></phase>'

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "plait", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def test_approve_names_a_checkpoint(self) -> None:
        """D8: by its id, wherever it stands."""
        file_of(self.BODY.format(""))
        done = self.run("run", "test.flow.md", "--approve", "ok", "--approve", "inner")
        assert done.returncode == 0, done.stderr + done.stdout

    def test_without_a_default_the_run_stops_as_waiting_and_goes_on_with_an_answer(self) -> None:
        """D8: with an exit code of its own, and its state kept."""
        file_of(self.BODY.format('default="approve"'))
        done = self.run("run", "test.flow.md")
        assert done.returncode not in (0, 1, 2), done.stderr
        waiting = done.returncode
        (run_id,) = set(re.findall(r"\b[0-9a-f]{8}\b", done.stdout + done.stderr))
        done = self.run("answer", run_id, "ok", "approve")
        assert done.returncode == 0, done.stderr
        done = self.run("resume", run_id)
        assert (done.returncode, waiting) != (waiting, 0), done.stderr
        assert done.returncode == 0, done.stderr + done.stdout
