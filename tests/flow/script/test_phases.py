"""`phase`: nodes that run where they are independent, and are one node to the outside."""

from __future__ import annotations

from script_flows import Busy, Play, Stage, gives, wrong


class TestPhase:
    def test_its_nodes_run_as_soon_as_what_they_name_is_there(self, stage: Stage) -> None:
        """D7: not in order, and not in waves."""
        body = """
        <phase id="p">
          <transform id="c" type="work" value="{{a}}"/>
          <transform id="a" type="work"/>
          <transform id="b" type="work"/>
        </phase>
        """
        with Play(body) as play:
            assert play.running == {"a", "b"}
            play.end("a")
            assert play.running == {"b", "c"}

    def test_its_result_is_that_of_its_last_node(self) -> None:
        """D7: in the order of the file."""
        body = '<phase id="p"><transform id="a" type="work"/><transform id="b" type="work"/></phase>'
        with Play(body) as play:
            play.end("b", "last")
            play.end("a", "first")
            assert play.over()["p"] == "last"

    def test_its_nodes_are_named_with_and_without_it(self) -> None:
        """D7: `phase.node.output`."""
        body = '<phase id="get"><transform id="a" type="step" value="{{ {n: 1} }}"/><set var="x" value="2"/></phase>'
        names = "[get.a.output.n, get.a.n, get.a.status, a.n, get.output, get]"
        assert gives(names, body) == [1, 1, "success", 1, 2, 2]

    def test_a_phase_in_a_phase(self) -> None:
        """D7."""
        body = '<phase id="p"><phase id="q"><transform id="a" type="step" value="1"/></phase></phase>'
        assert gives("[p.q.output, p.a.output, p.q.status, a]", body) == ["1", "1", "success", "1"]

    def test_its_name_serves_as_id_and_may_be_anything(self) -> None:
        """D7: section 3."""
        body = '<phase name="fetch"><transform id="a" type="step" value="1"/></phase>'
        assert gives("[fetch, fetch.a.output]", body) == ["1", "1"]
        body = '<phase name="Get the rows"><transform id="a" type="step" value="1"/></phase>'
        assert gives("Get-the-rows.a.output", body) == "1"

    def test_who_names_a_node_in_it_waits_for_all_of_it(self) -> None:
        """D7: section 4: for its outermost container that does not hold the reader."""
        body = """
        <phase id="p"><transform id="a" type="work"/><transform id="b" type="work"/></phase>
        <transform id="c" type="work" value="{{a}}"/>
        """
        with Play(body) as play:
            play.end("a")
            assert play.running == {"b"}
            play.end("b")
            assert play.running == {"c"}

    def test_a_phase_waits_for_what_its_nodes_name(self) -> None:
        """D7."""
        body = """
        <phase id="p"><transform id="a" type="work" value="{{c}}"/><transform id="b" type="work"/></phase>
        <transform id="c" type="work"/>
        """
        with Play(body) as play:
            assert play.running == {"c"}
            play.end("c")
            assert play.running == {"a", "b"}

    def test_its_misuse(self) -> None:
        """D10."""
        assert wrong("<phase><set var='x' value='1'/></phase>")[0] == "VALID_MISSING_REQUIRED_FIELD"
        assert wrong('<phase id="p">text<set var="x" value="1"/></phase>')[0] == "VALID_INVALID_FIELD_TYPE"
        body = '<phase id="p"><set var="x" value="1"/></phase><phase id="p"><set var="x" value="1"/></phase>'
        assert wrong(body)[0] == "VALID_DUPLICATE_NODE_ID"

    def test_two_phases_of_one_name_are_one_too_many(self) -> None:
        """D10: ids are unique."""
        body = "".join(f'<phase name="the same"><set var="x" value="{n}"/></phase>' for n in "ab")
        code, at, message = wrong(body)
        assert (code, at[:5]) == ("VALID_DUPLICATE_NODE_ID", "the s")
        assert "the id 'the-same', which this name stands for, was given in line 6" in message

    def test_its_nodes_are_named_also_where_it_is_tried_again(self, stage: Stage) -> None:
        """D7 D8."""
        body = '<phase id="p"><transform id="a" type="step" value="1"/><on-error><retry max="2" base="1s"/></on-error></phase>'
        stage.script["a"] = [Busy("later")]
        assert gives("[p.a.output, p.a.attempts, p.output, a]", body) == ["1", 1, "1", "1"]
