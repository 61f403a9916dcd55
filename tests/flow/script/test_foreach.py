"""`foreach`: the same nodes for each item; results in item order, so many at once as `concurrency` says, each with a state of its own."""

from __future__ import annotations

import pytest

from plait.errors import UsageError
from script_flows import Broken, Play, Stage, gives, ran, wrong

EACH = '<transform id="t" type="work" as="{{item}}"/>'


class TestItems:
    def test_the_results_are_in_item_order_whatever_ends_first(self) -> None:
        """D7."""
        with Play(f'<foreach id="f" collection="[1, 2, 3]" concurrency="3">{EACH}</foreach>') as play:
            for item in (3, 1, 2):
                play.end(f"t:{item}", item * 10)
            assert play.over()["f"] == [10, 20, 30]

    def test_one_after_the_other_where_nothing_else_is_said(self) -> None:
        """D7: concurrency is 1."""
        with Play(f'<foreach id="f" collection="[1, 2]">{EACH}</foreach>') as play:
            assert play.running == {"t:1"}
            play.end("t:1")
            assert play.running == {"t:2"}

    def test_what_the_items_are_called(self) -> None:
        """D7: `item` and `index`, or as the file says; always `$item` and `$index`, which are null elsewhere."""
        inner = '<transform id="t" type="step" value="{{[%s, $item, $index]}}"/>'
        body = f'<foreach id="f" collection="[5, 6]">{inner % "item, index"}</foreach>'
        assert gives("[f, $item, $index]", body) == [[[5, 0, 5, 0], [6, 1, 6, 1]], None, None]
        body = f'<foreach id="f" collection="[5]" item="city" index="at">{inner % "city, at"}</foreach>'
        assert gives("f", body) == [[5, 0, 5, 0]]

    def test_a_name_with_a_hyphen(self) -> None:
        """D7."""
        body = '<foreach id="f" collection="[5]" item="the-city"><set var="x" value="{{the-city + 1}}"/></foreach>'
        assert gives("f", body) == [6]

    def test_an_inner_foreach_hides_the_items_of_the_outer_one(self) -> None:
        """D7: iteration variables come first in the lookup."""
        body = """
        <foreach id="f" collection="[[1, 2], [3]]" item="row">
          <foreach id="g" collection="row" item="cell"><set var="x" value="{{[cell, length(row), index]}}"/></foreach>
        </foreach>
        """
        assert gives("f", body) == [[[1, 2, 0], [2, 2, 1]], [[3, 1, 0]]]

    def test_without_a_collection_it_goes_over_the_input(self) -> None:
        """D7: the input of the node, else of the workflow."""
        inner = '<set var="x" value="{{item * 2}}"/>'
        body = f'<transform id="a" type="step" value="{{{{[1, 2]}}}}"/><foreach id="f" input="a">{inner}</foreach>'
        assert gives("f", body) == [2, 4]
        body = f'<foreach id="f" collection="input.rows">{inner}</foreach>'
        assert gives("f", body, input={"rows": [4]}) == [8]

    def test_nothing_has_no_items_and_no_list_is_an_error(self) -> None:
        """D7: null is an empty list."""
        for said, result in (("[]", []), ("null", [])):
            assert gives("f", f'<foreach id="f" collection="{said}"><set var="x" value="1"/></foreach>') == result
        over = ran('<foreach id="f" collection="5"><set var="x" value="1"/></foreach>')
        assert "needs a list" in over.errors["f"]

    def test_an_item_gives_the_output_of_its_last_node(self) -> None:
        """D7: in order; null where nothing was executed."""
        body = """
        <foreach id="f" collection="[1, 2]">
          <transform id="a" type="step" value="{{item}}"/>
          <transform id="b" type="step" value="{{a * 10}}"/>
        </foreach>
        """
        assert gives("f", body) == [10, 20]


class TestLimits:
    def test_concurrency_is_never_exceeded(self, stage: Stage) -> None:
        """D4."""
        with Play(f'<foreach id="f" collection="range(0, 5)" concurrency="2">{EACH}</foreach>') as play:
            assert play.running == {"t:0", "t:1"}
            play.end("t:1")
            assert play.running == {"t:0", "t:2"}
        assert stage.most == 2

    def test_concurrency_may_be_a_template(self, stage: Stage) -> None:
        """D4: text that is a number will do."""
        body = f'<foreach id="f" collection="range(0, 9)" concurrency="{{{{$config.n}}}}">{EACH}</foreach>'
        with Play(body, config={"n": 3}) as play:
            assert len(play.running) == 3
        with Play(body, config={"n": "4"}) as play:
            assert len(play.running) == 4
        with pytest.raises(UsageError, match="the most at once of 'f' must be a whole number"):
            ran(body, config={"n": 0})

    def test_the_limit_of_the_run_goes_before(self, stage: Stage) -> None:
        """D4: ten, where nothing is said."""
        body = '<foreach id="f" collection="range(0, 30)" concurrency="30"><transform id="t" type="step" as="{{item}}" after="1"/></foreach>'
        assert len(ran(body)["f"]) == 30
        assert stage.most == 10
        ran(body, runtime={"concurrency": 4})
        assert stage.most == 10

    def test_a_foreach_in_a_foreach_keeps_both_limits(self, stage: Stage) -> None:
        """D4: an item counts as long as anything in it is at work."""
        body = """
        <foreach id="f" collection="range(0, 4)" item="x" concurrency="2">
          <foreach id="g" collection="range(0, 4)" item="y" concurrency="3">
            <transform id="t" type="step" as="{{x}}{{y}}" after="1"/>
          </foreach>
        </foreach>
        """
        ran(body, runtime={"concurrency": 100})
        assert (stage.most, len(stage.began)) == (6, 16)

    def test_five_deep_at_a_limit_of_one(self, stage: Stage) -> None:
        """D4 D7: nothing is stuck."""
        inner = '<transform id="t" type="step" after="1"/>'
        for depth in range(5):
            inner = f'<foreach id="f{depth}" collection="[1, 2]">{inner}</foreach>'
        assert ran(inner, runtime={"concurrency": 1}).status == "succeeded"
        assert (stage.most, len(stage.began)) == (1, 32)


class TestIsolation:
    def test_each_item_has_the_state_of_the_beginning(self) -> None:
        """D3 D7: what is set inside stays inside."""
        body = """
        <set var="n" value="1"/>
        <foreach id="f" collection="[10, 20]"><set id="s" var="n" value="{{n + item}}"/><set id="r" var="n" value="{{n * 2}}"/></foreach>
        """
        assert gives("[f, n]", body) == [[22, 42], 1]

    def test_its_nodes_are_seen_only_as_the_list(self) -> None:
        """D10: from outside there is no telling which item is meant."""
        body = '<foreach id="f" collection="[1]"><transform id="t" type="step"/></foreach><transform id="u" type="step" value="{{t}}"/>'
        code, at, message = wrong(body)
        assert (code, at[:3]) == ("VALID_UNDEFINED_NODE_REF", "t}}")
        assert "'t' runs once for each item of 'f'" in message

    def test_nodes_outside_are_seen_inside_and_waited_for(self) -> None:
        """D7."""
        body = """
        <foreach id="f" collection="[1, 2]"><set var="x" value="{{a + item}}"/></foreach>
        <transform id="a" type="work"/>
        """
        with Play(body) as play:
            assert play.running == {"a"}
            play.end("a", 100)
            assert play.over()["f"] == [101, 102]


class TestFailures:
    def test_the_first_error_ends_all(self, stage: Stage) -> None:
        """D6: nothing new begins, the others are cancelled, and the item is named."""
        with Play(f'<foreach id="f" collection="range(0, 5)" concurrency="2">{EACH}</foreach>') as play:
            play.fail("t:1")
            over = play.over()
        assert stage.cancelled == ["t:0"]
        assert len(stage.began) == 2
        assert over.errors["f[1]/t"] == "t:1 broke"

    def test_an_item_whose_node_may_fail_gives_null(self, stage: Stage) -> None:
        """D6: required="false" on the node."""
        stage.script["t"] = [1, Broken("boom"), 3]
        body = '<foreach id="f" collection="[1, 2, 3]"><transform id="t" type="step" required="false"/></foreach>'
        assert ran(body)["f"] == [1, None, 3]


class TestMisuse:
    @pytest.mark.parametrize(
        ("attributes", "at"),
        [
            ('concurrency="0"', "0"),
            ('item="two words"', "two"),
            ('index="1st"', "1st"),
            ('collection="[1"', "[1"),
            ('collect="[1]"', "collect="),
            ('collection="nowhere"', "nowhere"),
        ],
    )
    def test_attributes(self, attributes: str, at: str) -> None:
        """D10."""
        assert wrong(f'<foreach id="f" {attributes}><set var="x" value="1"/></foreach>')[1].startswith(at)

    def test_what_it_holds(self) -> None:
        """D10."""
        assert wrong('<foreach id="f" collection="[1]"/>')[0] == "VALID_MISSING_REQUIRED_FIELD"
        assert wrong('<foreach id="f" collection="[1]"><map/></foreach>')[0] == "VALID_UNKNOWN_NODE_TYPE"
        assert wrong('<foreach id="f" collection="[1]">text<set var="x" value="1"/></foreach>')[1].startswith(
            "text<set"
        )
