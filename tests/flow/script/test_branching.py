"""`branch` and `if`: one of several blocks is chosen; what was left out is null to whoever names it."""

from __future__ import annotations

import pytest

from script_flows import Play, Stage, gives, ran, told, wrong

CASES = """
<branch id="b">
  <case when="$config.n > 10"><set var="x" value="large"/></case>
  <case when="$config.n > 5"><set var="x" value="middle"/></case>
  {}
</branch>
"""


class TestBranch:
    @pytest.mark.parametrize(("n", "chosen"), [(11, "large"), (6, "middle"), (1, None)])
    def test_the_first_case_that_is_true_is_chosen_and_none_is_null(self, n: int, chosen: str | None) -> None:
        """D7: without a default nothing is chosen, and that is no error."""
        assert gives("b", CASES.format(""), config={"n": n}) == chosen

    @pytest.mark.parametrize("tag", ["default", "otherwise"])
    def test_the_default_is_chosen_where_no_case_is(self, tag: str) -> None:
        """D7: it has two names."""
        body = CASES.format(f'<{tag}><set var="x" value="small"/></{tag}>')
        assert [gives("b", body, config={"n": n}) for n in (1, 20)] == ["small", "large"]

    def test_its_result_is_that_of_the_last_node_of_the_case(self, stage: Stage) -> None:
        """D7: the nodes of a case run in order."""
        body = """
        <branch id="b">
          <case when="true"><transform id="a" type="work"/><transform id="c" type="work"/></case>
          <case when="true"><transform id="d" type="work"/></case>
        </branch>
        """
        with Play(body) as play:
            assert play.running == {"a"}
            play.end("a", 1)
            assert play.running == {"c"}
            play.end("c", 2)
            assert play.over()["b"] == 2
        assert stage.began == ["a", "c"]

    def test_what_a_case_sets_is_seen_outside(self) -> None:
        """D7: it shares the scope around it."""
        body = '<set var="x" value="0"/>' + CASES.format("")
        assert [gives("x", body, config={"n": n}) for n in (11, 1)] == ["large", 0]

    def test_its_misuse(self) -> None:
        """D10: each at its place."""
        codes = [
            (code, at[:12])
            for code, at, _ in told(
                '<branch id="b">\n<case when="1 +"/>\n<case/>\n<default/>\n<case when="true"/>\n<else/></branch>'
            )
        ]
        assert codes == [
            ("EXPR_PARSE_ERROR", '"/>'),
            ("VALID_MISSING_REQUIRED_FIELD", "<case/>"),
            ("VALID_INVALID_FIELD_TYPE", "<default/>"),
            ("VALID_UNKNOWN_NODE_TYPE", "<else/></bra"),
        ]
        assert "branches that run at once stand in <parallel>" in wrong('<branch id="b"/>')[2]


IF = '<if id="f" condition="$config.n > 5"><then>{}</then>{}</if>'


class TestIf:
    @pytest.mark.parametrize(("n", "chosen"), [(6, "yes"), (5, "no")])
    def test_the_condition_chooses_a_side(self, n: int, chosen: str) -> None:
        """D7."""
        body = IF.format('<set var="x" value="yes"/>', '<else><set var="x" value="no"/></else>')
        assert gives("[f, x]", body, config={"n": n}) == [chosen, chosen]

    def test_a_side_that_is_not_there_is_null(self) -> None:
        """D7: also where there is an else alone, or an empty side."""
        assert gives("f", IF.format('<set var="x" value="yes"/>', ""), config={"n": 1}) is None
        assert gives("f", IF.format("", ""), config={"n": 9}) is None
        body = '<if id="f" condition="$config.n > 5"><else><set var="x" value="no"/></else></if>'
        assert [gives("f", body, config={"n": n}) for n in (1, 9)] == ["no", None]

    @pytest.mark.parametrize(
        ("condition", "holds"), [("''", False), ("[]", True), ("0", False), ("null", False), ("'0'", True)]
    )
    def test_what_holds_is_what_javascript_takes_for_true(self, condition: str, holds: bool) -> None:
        """D7 D9: false, null, 0, NaN and the empty text are false."""
        assert gives("f", f'<if id="f" condition="{condition}"><then><set var="x" value="1"/></then></if>') == (
            1 if holds else None
        )

    def test_a_condition_may_stand_in_braces(self) -> None:
        """D7: as a template that is one expression."""
        assert gives("f", '<if id="f" condition="{{ 1 < 2 }}"><then><set var="x" value="1"/></then></if>') == 1

    def test_who_is_left_out_is_skipped_and_null_to_others(self, stage: Stage) -> None:
        """D7: what names it goes on."""
        body = """
        <if id="f" condition="false"><then><transform id="a" type="step" value="1"/></then></if>
        <transform id="c" type="step" value="{{[a, a.x, a.status, a.error, f]}}"/>
        """
        assert ran(body)["c"] == [None, None, "pending", None, None]
        assert stage.began == ["c"]

    def test_it_waits_for_what_its_condition_names_and_others_for_its_nodes(self) -> None:
        """D7: no wave, no order of the file."""
        body = """
        <transform id="z" type="work" value="{{a}}"/>
        <if id="f" condition="n > 1"><then><transform id="a" type="work"/></then></if>
        <transform id="n" type="work"/>
        """
        with Play(body) as play:
            assert play.running == {"n"}
            play.end("n", 2)
            assert play.running == {"a"}
            play.end("a", "done")
            assert play.running == {"z"}
            play.end("z")
            assert play.over()["z"] == "done"

    def test_an_error_in_the_condition_fails_the_node(self) -> None:
        """D7 D6: it says where, and what."""
        over = ran('<if id="f" condition="upper(5) == 1"><then><set var="x" value="1"/></then></if>')
        assert over.state("f") == "failed"
        assert "upper" in over.errors["f"]
        assert "test.flow.md:6" in over.errors["f"]

    def test_its_misuse(self) -> None:
        """D10."""
        assert "needs a <then>" in wrong('<if id="f" condition="true"/>')[2]
        assert "needs a condition" in wrong('<if id="f"><then/></if>')[2]
        assert [code for code, _, _ in told('<if id="f" condition="true"><set var="x" value="1"/></if>')] == [
            "VALID_MISSING_REQUIRED_FIELD",
            "VALID_UNKNOWN_NODE_TYPE",
        ]
        assert "stands in <if> already" in wrong('<if id="f" condition="true"><then/><then/></if>')[2]
        assert wrong('<if id="f" condition="true"><then when="1"/></if>')[1].startswith("when=")
        assert wrong('<if id="f" condition=""><then/></if>')[0] == "EXPR_PARSE_ERROR"
        code, at, _message = wrong('<if id="f" condition="true"><then><nothing/></then></if>')
        assert (code, at[:10]) == ("VALID_UNKNOWN_NODE_TYPE", "<nothing/>")
