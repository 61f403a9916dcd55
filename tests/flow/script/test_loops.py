"""`loop` and `while`: rounds one after the other, in the scope around them, with the loop rule for what their conditions name."""

from __future__ import annotations

import pytest

from script_flows import Play, Stage, gives, ran, wrong

COUNT = (
    '<transform id="step" type="step" value="{{ {n: $iteration, state: $iteration >= 2 ? \'ready\' : \'not yet\'} }}"/>'
)


class TestLoop:
    def test_so_many_rounds_and_the_result_of_the_last(self, stage: Stage) -> None:
        """D7: `$iteration` is from 0, and null elsewhere."""
        assert gives("[l.n, $iteration]", f'<loop id="l" max="4">{COUNT}</loop>') == [3, None]
        assert [each["n"] for each in stage.given["step"]] == [0, 1, 2, 3]

    def test_break_is_looked_at_after_each_round(self, stage: Stage) -> None:
        """D7: so there is a first round in any case."""
        assert gives("l", '<loop id="l" break="true"><set var="x" value="1"/></loop>') == 1
        assert gives("l.n", f'<loop id="l" break="step.n == 1">{COUNT}</loop>') == 1

    def test_a_name_that_nothing_else_has_is_a_field_of_the_last_result(self) -> None:
        """D7: the loop rule."""
        assert gives("l.n", f'<loop id="l" break="state == \'ready\'">{COUNT}</loop>') == 2

    def test_a_variable_goes_before_a_field(self) -> None:
        """D7: of the last result only what is defined nowhere else is read."""
        body = f'<set var="state" value="ready"/><loop id="l" max="9" break="state == \'ready\'">{COUNT}</loop>'
        assert gives("l.n", body) == 0

    def test_without_max_there_are_a_thousand_rounds_at_most(self) -> None:
        """D7: that is no error."""
        over = ran('<loop id="l"><set var="n" value="{{$iteration}}"/></loop>')
        assert over["l"] == 999

    def test_max_may_be_a_template(self) -> None:
        """D7: also one of text that is a number."""
        assert gives("l.n", f'<loop id="l" max="{{{{$config.rounds}}}}">{COUNT}</loop>', config={"rounds": 2}) == 1
        assert gives("l.n", f'<loop id="l" max="{{{{$config.rounds}}}}">{COUNT}</loop>', config={"rounds": "3"}) == 2
        over = ran(f'<loop id="l" max="{{{{$config.rounds}}}}">{COUNT}</loop>', config={"rounds": -1})
        assert "max of 'l' must be a whole number from 1" in over.errors["l"]

    def test_what_a_round_sets_is_seen_in_the_next_and_behind_the_loop(self) -> None:
        """D7: a loop shares the scope around it."""
        body = """
        <set var="sum" value="10"/>
        <loop id="l" max="3"><set id="add" var="sum" value="{{sum + $iteration}}"/></loop>
        """
        assert gives("[sum, l, add]", body) == [13, 13, 13]

    def test_what_a_round_set_stays_where_the_last_one_was_left_before_that(self) -> None:
        """D7: by a break, or because nothing was to be set."""
        inner = '<break when="$iteration == 1"/><set var="x" value="{{x + 1}}"/>'
        assert gives("x", f'<set var="x" value="0"/><loop id="l" max="5">{inner}</loop>') == 1
        inner = '<if id="i" condition="$iteration == 0"><then><set var="x" value="7"/></then></if>'
        assert gives("x", f'<set var="x" value="0"/><loop id="l" max="3">{inner}</loop>') == 7

    def test_a_condition_sees_the_variables_of_the_round(self) -> None:
        """D7."""
        body = '<set var="n" value="0"/><loop id="l" break="n >= 3"><set var="n" value="{{n + 1}}"/></loop>'
        assert gives("n", body) == 3

    def test_a_node_sees_what_one_further_down_gave_in_the_round_before(self, stage: Stage) -> None:
        """D7: null in the first."""
        body = """
        <loop id="l" max="3">
          <transform id="a" type="step" value="{{b}}"/>
          <transform id="b" type="step" value="{{$iteration}}"/>
          <transform id="c" type="step" value="{{b}}"/>
        </loop>
        """
        ran(body)
        assert (stage.given["a"], stage.given["c"]) == ([None, 0, 1], [0, 1, 2])

    def test_a_loop_in_a_loop_begins_anew(self, stage: Stage) -> None:
        """D7: `$iteration` is that of the inner one; what a round of the outer one sees of the inner one is its last round."""
        body = """
        <loop id="outer" max="2">
          <loop id="inner" max="2"><transform id="a" type="step" value="{{$iteration}}"/></loop>
          <transform id="b" type="step" value="{{[$iteration, inner, a]}}"/>
        </loop>
        """
        ran(body)
        assert stage.given == {"a": [0, 1, 0, 1], "b": [[0, 1, 1], [1, 1, 1]]}

    def test_nodes_of_a_body_run_in_order_and_rounds_one_after_the_other(self) -> None:
        """D7."""
        body = '<loop id="l" max="2"><transform id="a" type="work"/><transform id="b" type="work"/></loop>'
        with Play(body) as play:
            for name in "abab":
                assert play.running == {name}
                play.end(name, name)
            assert play.over()["l"] == "b"

    def test_a_failed_round_ends_it(self, stage: Stage) -> None:
        """D6 D7: the error names the node and its round."""
        stage.script["a"] = [1, ValueError("boom")]
        over = ran('<loop id="l" max="3"><transform id="a" type="step"/></loop>')
        assert over.errors["l[1]/a"] == "boom"
        assert over.state("l") == "failed"

    def test_its_misuse(self) -> None:
        """D10."""
        assert wrong('<loop id="l"/>')[0] == "VALID_MISSING_REQUIRED_FIELD"
        assert wrong('<loop id="l" max="0"><set var="x" value="1"/></loop>')[1].startswith('0"')
        code, at, _message = wrong('<loop id="l" max="3" until="x"><set var="x" value="1"/></loop>')
        assert (code, at[:6]) == ("VALID_INVALID_FIELD_TYPE", "until=")
        assert wrong('<loop id="l" break="1 +"><set var="x" value="1"/></loop>')[0] == "EXPR_PARSE_ERROR"
        assert wrong('<loop id="l" max="3"><set var="x" value="{{nowhere}}"/></loop>')[0] == "EXPR_UNDEFINED_VARIABLE"


class TestWhile:
    def test_the_condition_is_looked_at_before_each_round(self) -> None:
        """D7: without a round it is null."""
        assert gives("w", '<while id="w" condition="false"><set var="x" value="1"/></while>') is None
        body = '<set var="n" value="0"/><while id="w" condition="n < 3"><set var="n" value="{{n + 1}}"/></while>'
        assert gives("[w, n]", body) == [3, 3]

    @pytest.mark.parametrize("wrapped", ["{}", "<do>{}</do>"])
    def test_a_field_of_the_last_result_is_null_before_the_first_round(self, wrapped: str) -> None:
        """D7: the loop rule; the body may stand in <do>."""
        assert gives("w.n", f'<while id="w" condition="state != \'ready\'">{wrapped.format(COUNT)}</while>') == 2

    def test_nodes_of_the_body_are_null_before_the_first_round(self) -> None:
        """D7."""
        assert gives("w.n", f'<while id="w" condition="step == null || step.n < 4">{COUNT}</while>') == 4
        assert gives("w.n", f'<while id="w" condition="step.status != \'success\'">{COUNT}</while>') == 0

    def test_its_number_is_that_of_the_round_to_come(self) -> None:
        """D7."""
        assert gives("w.n", f'<while id="w" condition="$iteration < 3">{COUNT}</while>') == 2

    def test_reaching_max_is_an_error(self) -> None:
        """D7: which says what to do; without max it is a thousand."""
        over = ran(f'<while id="w" condition="true" max="3">{COUNT}</while>')
        assert "still holds after 3 rounds" in over.errors["w"]
        assert (
            "still holds after 1000 rounds"
            in ran('<while id="w" condition="true"><set var="x" value="1"/></while>').errors["w"]
        )
        assert gives("w.n", f'<while id="w" condition="$iteration < 3" max="3">{COUNT}</while>') == 2

    def test_its_misuse(self) -> None:
        """D10."""
        assert "needs a condition" in wrong('<while id="w"><set var="x" value="1"/></while>')[2]
        assert wrong('<while id="w" condition="1"/>')[0] == "VALID_MISSING_REQUIRED_FIELD"
        assert (
            wrong('<while id="w" condition="nothing(1)"><set var="x" value="1"/></while>')[0]
            == "EXPR_UNDEFINED_FUNCTION"
        )
        assert wrong('<while id="w" condition="true" break="1"><set var="x" value="1"/></while>')[1].startswith(
            "break="
        )
