"""`break` and `continue`: they end a loop or a round, from anywhere within it."""

from __future__ import annotations

import pytest

from script_flows import Play, Stage, gives, ran, wrong


class TestInLoops:
    def test_break_ends_the_loop_and_continue_the_round(self, stage: Stage) -> None:
        """D7: what stands behind them in their sequence is skipped."""
        body = """
        <loop id="l" max="5">
          <transform id="a" type="step" value="{{$iteration}}"/>
          <continue when="$iteration == 1"/>
          <break when="$iteration == 3"/>
          <transform id="b" type="step" value="{{$iteration}}"/>
        </loop>
        """
        over = ran(body)
        assert stage.given == {"a": [0, 1, 2, 3], "b": [0, 2]}
        assert over["l"] == 3
        assert over.state("l[1]/b") == "skipped"

    def test_a_break_without_when_is_one(self, stage: Stage) -> None:
        """D7: and counts as executed for nothing: the round has the output of the node before."""
        body = '<loop id="l" max="5"><transform id="a" type="step" value="7"/><break/><transform id="b" type="step"/></loop>'
        assert ran(body)["l"] == "7"
        assert stage.began == ["a"]

    def test_a_while_ends_too_without_asking_its_condition(self, stage: Stage) -> None:
        """D7."""
        body = (
            '<while id="w" condition="true" max="3"><set var="n" value="{{$iteration}}"/><break when="n == 2"/></while>'
        )
        assert gives("w", body) == 2

    @pytest.mark.parametrize(
        ("open", "close"),
        [
            ('<if id="i" condition="true"><then>', "</then></if>"),
            ('<branch id="i"><case when="true">', "</case></branch>"),
            ('<parallel id="i"><branch>', "</branch></parallel>"),
            ('<phase id="i">', "</phase>"),
            ('<timeout id="i" duration="1h">', "</timeout>"),
        ],
    )
    def test_they_lead_out_of_what_stands_around_them(self, stage: Stage, open: str, close: str) -> None:
        """D7: of a parallel, once all of its branches are done."""
        body = f"""
        <loop id="l" max="5">
          {open}<break when="$iteration == 2"/>{close}
          <transform id="b" type="step" value="{{{{$iteration}}}}"/>
        </loop>
        """
        ran(body)
        assert stage.given["b"] == [0, 1]

    def test_the_loop_may_be_an_outer_one(self, stage: Stage) -> None:
        """D7: through the inner loop and all that is between."""
        body = """
        <loop id="outer" max="3">
          <loop id="inner" max="3">
            <if id="i" condition="$iteration == 1"><then><{} loop="outer"/></then></if>
            <transform id="a" type="step" value="{{{{$iteration}}}}"/>
          </loop>
          <transform id="b" type="step" value="{{{{$iteration}}}}"/>
        </loop>
        """
        ran(body.format("break"))
        assert stage.given == {"a": [0]}
        ran(body.format("continue"))
        assert stage.given == {"a": [0, 0, 0, 0]}

    def test_out_of_a_foreach_in_a_loop(self, stage: Stage) -> None:
        """D7: the foreach ends as with a break of its own."""
        body = """
        <loop id="l" max="3">
          <foreach id="f" collection="[1, 2, 3]">
            <{} loop="l" when="item == 2"/>
            <transform id="a" type="step" value="{{{{item}}}}"/>
          </foreach>
          <transform id="b" type="step" value="{{{{f}}}}"/>
        </loop>
        """
        ran(body.format("break"))
        assert stage.given == {"a": [1]}
        ran(body.format("continue"))
        assert stage.given == {"a": [1, 1, 1, 1]}

    def test_a_jump_in_one_branch_leaves_the_others_alone(self, stage: Stage) -> None:
        """D3 D7: they go on to their end."""
        body = """
        <loop id="l" max="3">
          <parallel id="p">
            <branch><break/><transform id="a" type="work"/></branch>
            <branch><transform id="b" type="work"/><transform id="c" type="work"/></branch>
          </parallel>
          <transform id="d" type="work"/>
        </loop>
        """
        with Play(body) as play:
            assert play.running == {"b"}
            play.end("b")
            assert play.running == {"c"}
            play.end("c")
            assert play.over().status == "succeeded"
        assert stage.began == ["b", "c"]

    def test_of_a_block_that_failed_no_jump_is_left_behind(self, stage: Stage) -> None:
        """D3 D6 D7: whether it need not succeed, or another node serves for it."""
        failing = '<parallel id="p"><branch><break/></branch><branch><set id="bad" var="q" value="{{upper(5)}}"/></branch></parallel>'
        for block in (
            f'<timeout id="t" duration="1h" required="false">{failing}</timeout>',
            f'<timeout id="t" duration="1h">{failing}<on-error><fallback node="o"/></on-error></timeout>',
        ):
            stage.began.clear()
            ran(f'<loop id="l" max="3">{block}<transform id="a" type="step"/></loop><set id="o" var="z" value="1"/>')
            assert stage.began == ["a"] * 3


class TestInForeach:
    def test_break_leaves_out_the_items_behind_and_continue_the_rest_of_one(self, stage: Stage) -> None:
        """D7."""
        body = """
        <foreach id="f" collection="[10, 20, 30, 40]">
          <set var="x" value="{{item}}"/>
          <continue when="item == 20"/>
          <break when="item == 30"/>
          <transform id="a" type="step" value="{{x + 1}}"/>
        </foreach>
        """
        assert ran(body)["f"] == [11, 20, 30]
        assert stage.given["a"] == [11, 21][:1]

    def test_with_several_at_once_items_behind_the_first_that_said_so_count_for_nothing(self, stage: Stage) -> None:
        """D7 D4."""
        body = """
        <foreach id="f" collection="range(0, 6)" concurrency="3">
          <transform id="t" type="work" as="{{item}}"/>
          <break when="t == 'stop'"/>
        </foreach>
        """
        with Play(body) as play:
            play.end("t:2", "late")
            assert play.running == {"t:0", "t:1", "t:3"}
            play.end("t:1", "stop")
            assert "t:4" not in play.running
            play.end("t:0", "first")
            if play.running:
                play.end("t:3", "never")
            assert play.over()["f"] == ["first", "stop"]
        assert "t:4" not in stage.began

    def test_of_an_outer_foreach(self, stage: Stage) -> None:
        """D7."""
        body = """
        <foreach id="f" collection="[1, 2, 3]" item="x">
          <foreach id="g" collection="[1, 2]" item="y">
            <break loop="f" when="x == 2"/>
            <transform id="a" type="step" value="{{x * 10 + y}}"/>
          </foreach>
          <transform id="b" type="step" value="{{g}}"/>
        </foreach>
        """
        ran(body)
        assert stage.given == {"a": [11, 12], "b": [[11, 12]]}


class TestMisuse:
    @pytest.mark.parametrize("tag", ["break", "continue"])
    def test_outside_of_a_loop_and_for_a_loop_that_is_not_around(self, tag: str) -> None:
        """D10."""
        code, at, message = wrong(f"<{tag}/>")
        assert (code, at[:2]) == ("VALID_INVALID_FIELD_TYPE", f"<{tag[0]}")
        assert "stands in no loop: it belongs into <loop>, <while> or <foreach>" in message
        body = f'<loop id="outer" max="1"><set var="x" value="1"/><{tag} loop="outr"/></loop>'
        code, at, message = wrong(body)
        assert (code, at[:5]) == ("VALID_UNDEFINED_NODE_REF", 'outr"')
        assert "Did you mean 'outer'?" in message
        body = f'<loop id="l" max="1"><set var="x" value="1"/></loop><loop id="m" max="1"><{tag} loop="l"/></loop>'
        assert wrong(body)[0] == "VALID_UNDEFINED_NODE_REF"
        assert wrong(f'<loop id="l" max="1"><{tag} when="nowhere"/></loop>')[0] == "EXPR_UNDEFINED_VARIABLE"
        assert wrong(f'<loop id="l" max="1"><{tag} if="true"/></loop>')[1].startswith("if=")
