"""What waits for what (section 4), and what names stand for (section 7): who is at work while others are not done."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import script_flows
from script_flows import Play, Stage, gives, ran, told, wrong


def work(id: str, value: str = "", more: str = "") -> str:
    return f'<transform id="{id}" type="work" {value and f"value={chr(34)}{value}{chr(34)}"} {more}/>'


class TestWhoWaits:
    @pytest.mark.parametrize(
        "reader",
        [
            work("b", "{{a}}"),
            work("b", "{{a.output.x}}"),
            work("b", "x {{ [1, {k: a[0]}] }}"),
            work("b", "{{map([1], x => a + x)}}"),
            work("b", more='input="a"'),
            work("b", more='input="a.output.rows"'),
            work("b", more='input="c, a"') + '<transform id="c" type="step"/>',
            '<transform id="b0" type="map"><expression>a</expression></transform>' + work("b", "{{b0}}"),
            '<if id="i" condition="a == 1"><then>' + work("b") + "</then><else>" + work("b2") + "</else></if>",
            '<if id="i" condition="1 == 1"><then>' + work("b", "{{a}}") + "</then></if>",
            '<branch id="i"><case when="a">' + work("b") + "</case><default>" + work("b2") + "</default></branch>",
            '<foreach id="f" collection="[a]">' + work("b") + "</foreach>",
            '<foreach id="f" collection="[1]">' + work("b", "{{a}}") + "</foreach>",
            '<foreach id="f" collection="[1]" concurrency="{{a ?? 1}}">' + work("b") + "</foreach>",
            '<loop id="l" max="1" break="a">' + work("b") + "</loop>",
            '<loop id="l" max="{{a ?? 1}}">' + work("b") + "</loop>",
            '<while id="l" condition="!a || $iteration == 0">' + work("b") + "</while>",
            '<parallel id="p" merge="[a, branches]"><branch>' + work("b") + "</branch></parallel>",
            '<parallel id="p"><branch>' + work("b", "{{a}}") + "</branch></parallel>",
            '<phase id="p">' + work("b", "{{a}}") + "</phase>",
            '<timeout id="t" duration="{{a ? 1 : 1}}h">' + work("b") + "</timeout>",
            '<set var="x" value="{{a}}"/>' + work("b", "{{x}}"),
            '<set var="x" value="{{a}}"/>' + work("b", "{{$context.x}}"),
            '<set var="x" value="{{a}}"/>' + work("b", "{{$context}}"),
            '<context id="c"><set key="x" value="{{a}}"/></context>' + work("b", "{{x}}"),
            '<if id="i" condition="true"><then><set var="x" value="{{a}}"/></then></if>' + work("b", "{{x}}"),
            '<transform id="b" type="work"><on-error><retry max="{{a ?? 1}}"/></on-error></transform>',
            '<transform id="b" type="work"><on-error><retry when="a"/></on-error></transform>',
            '<transform id="b" type="work"><on-error><fallback node="o" when="a"/></on-error></transform><set id="o" var="y" value="1"/>',
            '<transform id="b" type="work"><on-error><fallback node="o"/></on-error></transform><set id="o" var="y" value="{{a}}"/>',
        ],
    )
    def test_a_node_waits_for_every_node_that_it_names_anywhere(self, reader: str) -> None:
        """D7: in attributes, children, nested nodes, conditions, prompts, variables; wherever in the file that stands."""
        for body in (work("a") + reader, reader + work("a")):
            with Play(body) as play:
                assert play.running == {"a"}, body
                play.end("a", 1)
                assert "b" in play.running or "b2" in play.running, body

    @pytest.mark.parametrize(
        "gate",
        [
            '<delay duration="{{a ? 0 : 0}}"/>',
            '<checkpoint id="ok" default="approve" prompt="{{a}}?"/>',
            '<checkpoint id="ok" default="approve" prompt="?"><condition>a</condition></checkpoint>',
        ],
    )
    def test_so_does_a_gate_and_all_behind_it(self, gate: str) -> None:
        """D7 D8: which cannot name what stands behind it, for that waits for it."""
        with Play(work("a") + gate + work("b")) as play:
            assert play.running == {"a"}
            play.end("a", 1)
            assert play.running == {"b"}
        assert wrong(gate + work("b") + work("a"))[0] == "VALID_CIRCULAR_DEPENDENCY"

    def test_it_starts_when_its_own_dependencies_are_done_and_not_in_waves(self) -> None:
        """D7: section 4."""
        body = work("a") + work("slow") + work("b", "{{a}}") + work("c", "{{b}}") + work("d", "{{slow}}")
        with Play(body) as play:
            assert play.running == {"a", "slow"}
            play.end("a")
            play.end("b")
            assert play.running == {"c", "slow"}
            play.end("slow")
            assert play.running == {"c", "d"}

    def test_the_order_of_the_file_says_nothing_where_nothing_is_named(self) -> None:
        """D7 D5."""
        with Play(work("a") + "<phase id='p'>" + work("b") + work("c") + "</phase>" + work("d")) as play:
            assert play.running == {"a", "b", "c", "d"}

    def test_a_reader_outside_waits_for_the_outermost_block_that_does_not_hold_it(self) -> None:
        """D7: also from within another block."""
        inner = work("x") + work("y")
        body = f'<phase id="p"><if id="i" condition="true"><then>{inner}</then></if>{work("z")}</phase><phase id="q">{work("r", "{{x}}")}{work("s")}</phase>'
        with Play(body) as play:
            assert play.running == {"x", "z"}
            play.end("x")
            play.end("y")
            assert play.running == {"z"}
            play.end("z")
            assert play.running == {"r", "s"}

    def test_within_a_block_it_waits_for_the_node_itself(self) -> None:
        """D7."""
        body = f'<phase id="p"><if id="i" condition="true"><then>{work("x")}</then></if>{work("r", "{{x}}")}{work("s")}</phase>'
        with Play(body) as play:
            assert play.running == {"x", "s"}
            play.end("x")
            assert play.running == {"r", "s"}

    def test_strings_and_properties_are_no_names(self) -> None:
        """D7 D9."""
        body = work("a") + work("b", "{{['a', {a: 1}, $input.a, $item]}}") + '<set var="x" value="a"/>'
        with Play(body) as play:
            assert play.running == {"a", "b"}

    def test_variables_that_are_set_behind_the_reader_are_not_waited_for(self) -> None:
        """D7 D8."""
        body = '<set var="x" value="1"/>' + work("b", "{{x}}") + '<set var="x" value="{{a}}"/>' + work("a")
        with Play(body) as play:
            assert play.running == {"a", "b"}

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_nothing_starts_before_what_it_names_and_all_else_is_at_work(self, data: st.DataObject) -> None:
        """D7: of graphs by chance."""
        script_flows.STAGE = Stage()
        size = data.draw(st.integers(1, 7))
        order = data.draw(st.permutations(range(size)))
        needs = {n: data.draw(st.sets(st.sampled_from(range(n)), max_size=3)) if n else set() for n in range(size)}
        body = "".join(work(f"n{n}", "{{[" + ", ".join(f"n{need}" for need in sorted(needs[n])) + "]}}") for n in order)
        done: set[int] = set()
        with Play(body, runtime={"concurrency": 100}) as play:
            while len(done) < size:
                wanted = {f"n{n}" for n in range(size) if n not in done and needs[n] <= done}
                assert play.running == wanted
                chosen = data.draw(st.sampled_from(sorted(wanted)))
                play.end(chosen, int(chosen[1:]))
                done.add(int(chosen[1:]))
            assert play.over().status == "succeeded"


class TestInput:
    def test_it_binds_the_output_of_a_node_or_what_is_in_it(self) -> None:
        """D7: `ID`, `ID.output`, `ID.output.path`, a list of several."""
        body = '<transform id="a" type="step" value="{{ {rows: [1, 2], output: 3} }}"/><transform id="b" type="step" value="x"/>'
        for said, wanted in (
            ("a", {"rows": [1, 2], "output": 3}),
            ("a.output", {"rows": [1, 2], "output": 3}),
            ("a.output.rows", [1, 2]),
            ("a.rows[1]", 2),
            ("a.output.output", 3),
            ("b, a.rows", ["x", [1, 2]]),
            ("{{a.rows}}", [1, 2]),
            ("a.status", "success"),
        ):
            assert gives("z", f'{body}<transform id="z" type="step" input="{said}"/>') == wanted, said

    def test_within_a_block_with_an_input_it_is_that(self) -> None:
        """D7: `input` of the workflow, of the block, of the node: the nearest."""
        body = """
        <set id="a" var="v" value="1"/>
        <phase id="p" input="a"><set id="x" var="q" value="{{input}}"/><transform id="y" type="step" input="x" value="{{[input, $input.n]}}"/></phase>
        <set id="z" var="r" value="{{[x, y, input.n]}}"/>
        """
        assert gives("z", body, input={"n": 5}) == [1, [1, 5], 5]

    def test_what_is_no_input(self) -> None:
        """D10."""
        for said, code in (
            ("a b", "VALID_INVALID_FIELD_TYPE"),
            ("1 +", "VALID_INVALID_FIELD_TYPE"),
            ("nowhere", "VALID_UNDEFINED_NODE_REF"),
            ("", "VALID_INVALID_FIELD_TYPE"),
        ):
            found, at, _ = wrong(f'<set id="a" var="v" value="1"/><transform id="z" type="step" input="{said}"/>')
            assert (found, at.startswith(said)) == (code, True)


class TestRecords:
    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("a", {"x": {"y": [7, 8]}, "status": "own", "n": 1}),
            ("a.x.y[1]", 8),
            ("a['x']", {"y": [7, 8]}),
            ("a.status", "success"),
            ("a.output.status", "own"),
            ("a.n + 1", 2),
            ("a.nothing", None),
            ("l[0]", 5),
            ("l.output[1]", 6),
            ("length(l)", 2),
            ("the-node", 3),
            ("the-node + 1", 4),
            ("the-node.status", "success"),
            ("a?.x?.y", [7, 8]),
            ("{a}.a.n", 1),
            ("{...a}.n", 1),
        ],
    )
    def test_a_bare_id_is_its_output(self, expression: str, value: object) -> None:
        """D8 D9: fields that a record does not have are read from the output."""
        body = """
        <transform id="a" type="step" value="{{ {x: {y: [7, 8]}, status: 'own', n: 1} }}"/>
        <transform id="l" type="step" value="{{[5, 6]}}"/>
        <transform id="the-node" type="step" value="{{3}}"/>
        """
        assert gives(expression, body) == value


class TestWrongNames:
    def test_unknown_ones_with_a_guess_each_at_its_place(self) -> None:
        """D10."""
        body = """
        <transform id="cities" type="step"/>
        <transform id="b" type="step" value="{{length(citys) + nowhere}}"/>
        <transform id="c" type="step" input="cites"/>
        """
        problems = told(body)
        assert [(code, at[:6]) for code, at, _ in problems] == [
            ("EXPR_UNDEFINED_VARIABLE", "citys)"),
            ("EXPR_UNDEFINED_VARIABLE", "nowher"),
            ("VALID_UNDEFINED_NODE_REF", 'cites"'),
        ]
        assert "Did you mean 'cities'?" in problems[0][2]
        assert "Did you mean 'cities'?" in problems[2][2]

    def test_cycles_are_printed_as_a_path(self) -> None:
        """D10: through expressions, variables, inputs and blocks."""
        for body, path in (
            (work("a", "{{b}}") + work("b", "{{c}}") + work("c", "{{a}}"), "c -> b -> a -> c"),
            (work("a", more='input="b"') + work("b", more='input="a"'), "b -> a -> b"),
            (work("a", "{{a}}"), "a -> a"),
            (f'<phase id="p">{work("x", "{{y}}")}</phase><phase id="q">{work("y", "{{x}}")}</phase>', "q -> p -> q"),
            (f'<if id="i" condition="x"><then>{work("x")}</then></if>', "i -> x -> i"),
            (f'<foreach id="f" collection="[1]">{work("x", "{{f}}")}</foreach>', "f -> x -> f"),
            (f'<phase id="p">{work("x", "{{p}}")}</phase>', "p -> x -> p"),
        ):
            code, _, message = wrong(body)
            assert code == "VALID_CIRCULAR_DEPENDENCY", body
            assert f"cycle: {path}" in message

    def test_in_a_sequence_a_later_node_cannot_be_waited_for(self) -> None:
        """D10: outside of loops."""
        code, at, message = wrong(f'<if id="i" condition="true"><then>{work("a", "{{b}}")}{work("b")}</then></if>')
        assert (code, at[:3]) == ("VALID_CIRCULAR_DEPENDENCY", "b}}")
        assert "the nodes here run in order, and 'b' comes later" in message
        assert "move 'b' before 'a'" in message

    def test_what_is_read_once_a_block_is_done_may_name_what_is_in_it(self, stage: Stage) -> None:
        """D7 D8: the merge of a parallel, the `when` of a retry; and in a loop it is what that gave in the round before."""
        body = (
            '<parallel id="p" merge="a + 1"><branch><transform id="a" type="step" value="{{5}}"/></branch></parallel>'
        )
        assert gives("p", body) == 6
        body = """
        <phase id="p">
          <transform id="a" type="step" value="{{7}}"/><transform id="b" type="step" value="{{a}}"/>
          <on-error><retry max="5" when="a == 7"/></on-error>
        </phase>
        """
        stage.script["b"] = [ValueError("once")]
        assert gives("p", body) == 7
        body = """
        <loop id="l" max="3">
          <if id="i" condition="a == null"><then><transform id="a" type="step" value="{{$iteration}}"/></then></if>
        </loop>
        """
        stage.given.clear()
        ran(body)
        assert stage.given["a"] == [0, 2]

    def test_the_other_side_of_an_if_is_null(self) -> None:
        """D7: it is never chosen together with this one."""
        body = '<if id="i" condition="false"><then><set id="a" var="q" value="1"/></then><else><transform id="b" type="step" value="{{[a]}}"/></else></if>'
        assert gives("b", body) == [None]

    def test_nested_elements_are_checked_too(self) -> None:
        """D10: all the way down, and all at once."""
        inner = '<transform id="t" type="step" value="{{nowhere}}"/><transform id="t" type="stp"/><thing/>'
        for n, block in enumerate(('<phase id="b{n}">', '<loop id="b{n}" max="1">', '<foreach id="b{n}" collection="[1]">', '<timeout id="b{n}" duration="1s">') * 2):  # fmt: skip
            tag = block[1 : block.index(" ")]
            inner = f"{block.format(n=n)}{inner}</{tag}>"
        assert sorted(code for code, _, _ in told(inner)) == [
            "EXPR_UNDEFINED_VARIABLE",
            "VALID_DUPLICATE_NODE_ID",
            "VALID_UNKNOWN_NODE_TYPE",
            "VALID_UNKNOWN_NODE_TYPE",
        ]


class TestFallbacksAreNotInTheWay:
    def test_one_that_nothing_else_names_runs_only_when_it_is_wanted(self, stage: Stage) -> None:
        """D8: nor does it count as the last node of its sequence."""
        body = '<transform id="a" type="step" value="1"><on-error><fallback node="o"/></on-error></transform><transform id="o" type="step" value="2"/>'
        assert ran(body).value == "1"
        assert ran(f'<phase id="p">{body}</phase>')["p"] == "1"
        assert stage.began == ["a", "a"]
