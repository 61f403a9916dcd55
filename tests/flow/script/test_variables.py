"""`set` and `context`: variables, their types, and where they are seen (section 7)."""

from __future__ import annotations

import pytest

from script_flows import Play, Stage, gives, ran, told, wrong


class TestSet:
    @pytest.mark.parametrize(
        ("said", "value"),
        [
            ("5", 5),
            ("-1.5e3", -1500.0),
            ("true", True),
            ("null", None),
            ('"5"', "5"),
            ("text", "text"),
            ("5 apples", "5 apples"),
            ("007", "007"),
            ("[1, 2]", "[1, 2]"),
            ("{{[1, 2]}}", [1, 2]),
            ("{{ 5 }}", 5),
            ("{{5}} {{null}}x", "5 x"),
            ("", ""),
        ],
    )
    def test_json_scalars_are_typed_and_one_template_keeps_its_type(self, said: str, value: object) -> None:
        """D8: its result is the value, wherever that stands."""
        text = said.replace('"', "&quot;")
        found = [
            gives("[x, s]", f'<set id="s" var="x" value="{text}"/>'),
            gives("[x, s]", f'<set id="s" key="x" value="{text}"/>'),
            gives("[x, x]", f'<set key="x"><value>{text}</value></set>') if said else [value, value],
            gives("[x, x]", f'<set key="x">{text}</set>') if said else [value, value],
        ]
        assert found == [[value, value]] * 4
        assert [type(each[0]) for each in found] == [type(value)] * 4

    def test_without_an_id_it_is_called_as_its_variable_which_may_be_set_again(self) -> None:
        """D8."""
        body = '<set var="x" value="1"/><set var="x" value="{{x + 1}}"/><set var="x" value="{{x + 1}}"/>'
        assert gives("x", body) == 3

    def test_a_reader_sees_the_last_value_that_was_set_before_it(self) -> None:
        """D8: in the order of the file, whatever runs first."""
        body = """
        <set var="x" value="1"/>
        <transform id="a" type="step" value="{{x}}"/>
        <set id="two" var="x" value="{{w}}"/>
        <transform id="b" type="step" value="{{x}}"/>
        <transform id="w" type="work"/>
        """
        with Play(body) as play:
            play.end("w", 2)
            over = play.over()
            assert (over["a"], over["b"]) == (1, 2)

    def test_a_name_with_a_hyphen_is_one_name(self) -> None:
        """D8 D9: the longest that is known; else it is a subtraction."""
        assert gives("a-b", '<set var="a-b" value="1"/>') == 1
        assert gives("a-b", '<set var="a" value="3"/><set var="b" value="1"/>') == 2
        assert gives("a-b-c", '<set var="a-b" value="3"/><set var="c" value="1"/>') == 2

    def test_its_misuse(self) -> None:
        """D10."""
        assert "needs a var" in wrong('<set value="1"/>')[2]
        assert "needs a value" in wrong('<set var="x"/>')[2]
        assert wrong('<set var="1x" value="1"/>')[1].startswith("1x")
        assert wrong('<set var="x" value="{{"/>')[0] == "EXPR_PARSE_ERROR"
        assert wrong('<set var="x" val="2" value="1"/>')[1].startswith("val=")
        assert wrong('<set var="x" value="1"><values/></set>')[0] == "VALID_UNKNOWN_NODE_TYPE"
        code, at, message = wrong('<set var="xyz" value="1"/><set var="y" value="{{xzy}}"/>')
        assert (code, at[:3]) == ("EXPR_UNDEFINED_VARIABLE", "xzy")
        assert "Did you mean 'xyz'?" in message


class TestContext:
    def test_several_variables_at_once_and_its_result_is_an_object(self) -> None:
        """D8: `$context` has all variables."""
        body = (
            '<context id="c"><set key="a" value="1"/><set key="b" value="{{[2]}}"/></context><set var="d" value="x"/>'
        )
        assert gives("[c, a, b, $context, $context.b[0]]", body) == [
            {"a": 1, "b": [2]},
            1,
            [2],
            {"a": 1, "b": [2], "d": "x"},
            2,
        ]

    def test_a_later_one_goes_before(self) -> None:
        """D8."""
        assert gives("a", '<context><set key="a" value="1"/></context><set var="a" value="2"/>') == 2
        assert gives("a", '<set var="a" value="2"/><context><set key="a" value="1"/></context>') == 1

    def test_its_misuse(self) -> None:
        """D10."""
        assert wrong('<context id="c"/>')[0] == "VALID_MISSING_REQUIRED_FIELD"
        body = '<context id="c"><set key="a" value="1"/><set key="a" value="2"/></context>'
        assert "'a' is set twice" in wrong(body)[2]
        assert wrong('<context id="c"><set key="a" value="1"/><get key="a"/></context>')[1].startswith("<get")
        code, _, message = wrong('<set var="color" value="1"/><set var="y" value="{{$context.colour}}"/>')
        assert code == "EXPR_UNDEFINED_VARIABLE"
        assert "Did you mean 'color'?" in message


class TestScopes:
    def test_what_is_set_in_if_branch_loop_and_phase_is_seen_outside(self) -> None:
        """D7 D8: they share the scope around them."""
        body = """
        <set var="x" value="0"/>
        <if id="i" condition="true"><then><set var="x" value="{{x + 1}}"/></then></if>
        <branch id="b"><case when="true"><set var="x" value="{{x + 10}}"/></case></branch>
        <loop id="l" max="2"><set var="x" value="{{x + 100}}"/></loop>
        <phase id="p"><set var="x" value="{{x + 1000}}"/></phase>
        <timeout id="t" duration="1h"><set var="x" value="{{x + 10000}}"/></timeout>
        """
        assert gives("x", body) == 11211

    @pytest.mark.parametrize("retry", ["", "<on-error><retry max='1'/></on-error>"])
    def test_what_is_set_in_a_branch_or_an_item_stays_there_also_within_others(self, retry: str) -> None:
        """D3 D8: whatever stands around it, and also of a block that is tried again."""
        body = f"""
        <set var="x" value="0"/>
        <if id="i" condition="true"><then>
          <set var="x" value="1"/>
          <foreach id="f" collection="[1, 2]"><set var="x" value="inside"/>{retry}</foreach>
          <parallel id="p"><branch><set var="x" value="inside"/></branch>{retry}</parallel>
        </then></if>
        """
        assert gives("x", body) == 1

    def test_a_variable_of_a_loop_in_an_item_is_that_items(self) -> None:
        """D3 D7."""
        body = """
        <foreach id="f" collection="[1, 2]" concurrency="2">
          <set var="n" value="{{item * 100}}"/>
          <loop id="l" max="3"><set var="n" value="{{n + item}}"/></loop>
        </foreach>
        """
        assert gives("f", body) == [103, 206]

    def test_iteration_variables_go_before_variables_and_these_before_nodes(self) -> None:
        """D7 D9: the order of the lookup."""
        body = """
        <transform id="item" type="step" value="node"/>
        <set var="index" value="variable"/>
        <foreach id="f" collection="[5]"><set var="x" value="{{[item, index]}}"/></foreach>
        <transform id="x" type="step" value="node"/>
        <transform id="y" type="step" value="{{[item, index, x]}}"/>
        """
        over = ran(body)
        assert over["f"] == [[5, 0]]
        assert over["y"] == ["node", "variable", "node"]

    def test_an_id_that_is_written_goes_before_that_of_a_variable(self) -> None:
        """D8: a variable of the name of a node hides it from there on, and takes nothing away from it before."""
        body = """
        <transform id="y" type="step" value="{{x}}"/>
        <if id="i" condition="true"><then><parallel id="p"><branch><set var="x" value="1"/></branch></parallel></then></if>
        <transform id="x" type="step" value="node"/>
        """
        over = ran(body)
        assert (over["y"], over["x"]) == ("node", "node")
        body = '<set var="x" value="1"/><transform id="x" type="step" value="node"/><set id="y" var="z" value="{{x}}"/>'
        over = ran(body)
        assert (over["y"], over["x"]) == (1, "node")

    def test_the_state_of_a_branch_is_that_of_the_beginning_of_its_block(self, stage: Stage) -> None:
        """D3: what is set behind the block is not seen in it."""
        body = """
        <set var="x" value="1"/>
        <parallel id="p"><branch><transform id="w" type="work"/><transform id="a" type="step" value="{{x}}"/></branch></parallel>
        <set id="later" var="x" value="2"/>
        """
        with Play(body) as play:
            play.end("w")
            play.over()
        assert stage.given["a"] == [1]


class TestSpecialNames:
    def test_config_input_env_and_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """D9: of the environment only what is allowed."""
        monkeypatch.setenv("HERE", "1")
        given = {"config": {"n": 5}, "input": {"rows": [1]}}
        assert gives("[$config.n, $input.rows, input.rows, $env.HERE]", **given) == [5, [1], [1], None]
        found = gives("$run")
        assert (found["workflow"], set(found)) == ("test", {"workflow", "id", "startedAt"})

    def test_names_of_items_and_rounds_are_null_elsewhere(self) -> None:
        """D9."""
        assert gives("[$item, $index, $iteration, $branch]") == [None] * 4

    def test_what_is_not_declared(self) -> None:
        """D10: each with what it could be."""
        front = {"config": {"limit": 1}, "secrets": ["API_KEY"], "input": {"rows": "any[]"}}
        body = '<set var="x" value="{{[$config.limt, $secrets.API_KEYS, $input.row, $runn, $run.name, $nothing]}}"/>'
        problems = told(body, **front)
        assert [(code, at[:9]) for code, at, _ in problems] == [
            ("EXPR_UNDEFINED_VARIABLE", "$config.l"),
            ("VALID_UNDEFINED_SECRET_REF", "$secrets."),
            ("EXPR_UNDEFINED_VARIABLE", "$input.ro"),
            ("EXPR_UNDEFINED_VARIABLE", "$runn, $r"),
            ("EXPR_UNDEFINED_VARIABLE", "$run.name"),
            ("EXPR_UNDEFINED_VARIABLE", "$nothing]"),
        ]
        for message, guess in zip((each[2] for each in problems), ("limit", "API_KEY", "rows", "$run"), strict=False):
            assert f"Did you mean '{guess}'?" in message


def test_what_counts_up_from_nothing_waits_for_no_later_set() -> None:
    """D7: a `set` that reads its own variable sees what was set before it, and nothing at first."""
    body = '<set var="x" value="{{(x ?? 0) + 1}}"/><set var="x" value="{{x + 1}}"/><set var="x" value="{{x + 1}}"/>'
    assert ran(body).value == 3
