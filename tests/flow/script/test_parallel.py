"""`parallel`: branches beside one another, their results, how many at once, and what a failure does."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Barrier
from typing import Any

import pytest

from plait.nodes import At, Field, Node, node
from script_flows import Broken, Play, Stage, gives, ran, wrong


@node("transform:both")
class Both(Node):
    """Two of them end at the same moment, in threads, which nobody can stop: they fail, or give their `value`."""

    fields = {"value": Field(), "fails": Field()}
    met = Barrier(2)

    def run(self, given: Mapping[str, Any], at: At) -> Any:
        self.met.wait(30)
        if given["fails"]:
            raise Broken(f"{at.node} broke")
        return given["value"]


TWO = """
<parallel id="both" {}>
  <branch><transform id="a" type="work" value="1"/></branch>
  <branch><transform id="b" type="work" value="2"/></branch>
</parallel>
"""


class TestResults:
    def test_the_results_of_the_branches_are_in_their_order_whatever_ends_first(self) -> None:
        """D1 D5: all branches at once."""
        with Play(TWO.format("")) as play:
            assert play.running == {"a", "b"}
            play.end("b", "second")
            play.end("a", "first")
            assert play.over()["both"] == ["first", "second"]

    def test_a_branch_gives_the_output_of_its_last_node(self) -> None:
        """D1 D3: the nodes of a branch run in order."""
        body = """
        <parallel id="both">
          <branch><transform id="a" type="work"/><transform id="b" type="work"/><transform id="c" type="work"/></branch>
          <branch/>
        </parallel>
        """
        with Play(body) as play:
            for each in "abc":
                assert play.running == {each}
                play.end(each, each)
            assert play.over()["both"] == ["c", None]

    def test_each_branch_knows_its_number_and_nobody_else_does(self) -> None:
        """D3."""
        branch = '<branch><set id="{0}" var="n" value="{{{{$branch}}}}"/></branch>'
        body = f'<parallel id="p">{branch.format("a")}{branch.format("b")}</parallel>'
        assert gives("[p, $branch]", body) == [[0, 1], None]

    def test_merge_makes_one_list_one_object_or_what_an_expression_says(self) -> None:
        """D3: the join is explicit."""
        body = """
        <parallel id="p" merge="{}">
          <branch><transform id="a" type="step" value="{{{{[1, 2]}}}}"/></branch>
          <branch><transform id="b" type="step" value="{{{{3}}}}"/></branch>
          <branch><if id="c" condition="false"><then><set var="x" value="1"/></then></if></branch>
        </parallel>
        """
        assert ran(body.format("array"))["p"] == [[1, 2], 3, None]
        assert ran(body.format("concat"))["p"] == [1, 2, 3]
        assert ran(body.format("$branches[0][1] + $branches[1]"))["p"] == 5
        assert ran(body.format("{all: compact(branches)}"))["p"] == {"all": [[1, 2], 3]}

    def test_one_object_has_of_equal_keys_the_later_branchs(self) -> None:
        """D3."""
        body = """
        <parallel id="p" merge="object">
          <branch><transform id="a" type="work"/></branch>
          <branch><transform id="b" type="work"/></branch>
        </parallel>
        """
        with Play(body) as play:
            play.end("b", {"x": 2, "z": 2})
            play.end("a", {"x": 1, "y": 1})
            assert play.over()["p"] == {"x": 2, "y": 1, "z": 2}
        with Play(body) as play:
            play.end("a", {"x": 1})
            play.end("b", [1])
            assert 'merge="object" needs an object of every branch, and branch 1 gave list' in play.over().errors["p"]


class TestWait:
    THREE = """
    <parallel id="p" wait="{}" {}>
      <branch><transform id="a" type="work"/></branch>
      <branch><transform id="b" type="work"/></branch>
      <branch><transform id="c" type="work"/></branch>
    </parallel>
    """

    def test_any_gives_the_list_of_the_first_success_and_cancels_the_rest(self, stage: Stage) -> None:
        """D1."""
        with Play(self.THREE.format("any", "")) as play:
            play.end("b", "won")
            assert play.over()["p"] == ["won"]
            assert sorted(stage.cancelled) == ["a", "c"]

    def test_n_gives_the_first_successes_in_branch_order(self, stage: Stage) -> None:
        """D1: a failure does not count, and stops nobody while enough may still succeed."""
        with Play(self.THREE.format("n(2)", "")) as play:
            play.end("c", "third")
            play.fail("a")
            assert play.running == {"b"}
            play.end("b", "second")
            assert play.over().value == ["second", "third"]
            assert stage.cancelled == []

    def test_of_those_that_succeed_at_the_same_moment_only_as_many_count(self) -> None:
        """D1: one that was to be cancelled, and did its work all the same, does not."""
        assert ran(TWO.format('wait="any"').replace('"work"', '"both"'))["both"] in (["1"], ["2"])

    def test_n_fails_as_soon_as_it_cannot_be_met(self, stage: Stage) -> None:
        """D1 D6: both errors are told."""
        with Play(self.THREE.format("n(2)", "")) as play:
            play.fail("a")
            play.fail("c")
            over = play.over()
            assert over.status == "failed"
            assert stage.cancelled == ["b"]
            assert (over.errors["p[0]/a"], over.errors["p[2]/c"]) == ("a broke", "c broke")

    def test_merge_has_the_first_ones_only(self) -> None:
        """D1 D3."""
        with Play(self.THREE.format("any", 'merge="object"')) as play:
            play.end("c", {"x": 3})
            assert play.over()["p"] == {"x": 3}

    @pytest.mark.parametrize(("said", "ends"), [("any", 1), ("n(2)", 2), ("all", 3)])
    def test_it_may_be_a_template(self, said: str, ends: int) -> None:
        """D1: of a configuration, or of another node."""
        for body, config in (
            (self.THREE.format("{{$config.wait}}", ""), {"wait": said}),
            (f'<set id="how" var="w" value="{said}"/>' + self.THREE.format("{{w}}", ""), {}),
        ):
            with Play(body, config=config) as play:
                for name in "abc"[:ends]:
                    play.end(name, name)
                assert play.over()["p"] == list("abc"[:ends])
        body = '<set id="how" var="w" value="few"/>' + self.THREE.format("{{w}}", "")
        assert "wait of 'p' is all, any or n(K), not 'few'" in ran(body).errors["p"]

    def test_what_cannot_be_waited_for(self) -> None:
        """D10: the place is that of the value."""
        for said in ("some", "n(4)", "n(0)", "n()", "2"):
            code, at, message = wrong(self.THREE.format(said, ""))
            assert (code, at.startswith(said + chr(34))) == ("VALID_INVALID_FIELD_TYPE", True)
            assert message.startswith("wait is ")


class TestLimits:
    def test_max_is_never_exceeded(self, stage: Stage) -> None:
        """D4: who ends makes room for the next branch."""
        branches = "".join(f'<branch><transform id="t{n}" type="work"/></branch>' for n in range(4))
        for name in ("max", "maxConcurrency"):
            with Play(f'<parallel id="p" {name}="2">{branches}</parallel>') as play:
                assert play.running == {"t0", "t1"}
                play.end("t1")
                assert play.running == {"t0", "t2"}
                play.end("t0")
                play.end("t2")
                assert play.running == {"t3"}
                play.end("t3")
                play.over()
        assert stage.most == 2

    def test_max_may_be_a_template(self, stage: Stage) -> None:
        """D4: and is worked out when the block begins."""
        branches = "".join(f'<branch><transform id="t{n}" type="work"/></branch>' for n in range(3))
        with Play(f'<parallel id="p" max="{{{{$config.rounds}}}}">{branches}</parallel>', config={"rounds": 1}) as play:
            assert play.running == {"t0"}

    def test_the_limit_of_the_run_holds_for_all_blocks_together(self, stage: Stage) -> None:
        """D4."""
        branches = "".join(f'<branch><transform id="{{0}}{n}" type="step" after="1"/></branch>' for n in range(4))
        body = "".join(f'<parallel id="{p}">{branches.format(p)}</parallel>' for p in "pq")
        assert ran(body, runtime={"concurrency": 3}).status == "succeeded"
        assert stage.most == 3
        assert len(stage.began) == 8

    def test_five_deep_at_a_limit_of_one_nothing_is_stuck(self, stage: Stage) -> None:
        """D4 D7: containers hold no slot."""
        inner = '<transform id="leaf" type="step" after="1"/>'
        for depth in range(5):
            inner = (
                f'<parallel id="p{depth}" max="1"><branch>{inner}</branch>'
                f'<branch><transform id="s{depth}" type="step" after="1"/></branch></parallel>'
            )
        assert ran(inner, runtime={"concurrency": 1}).status == "succeeded"
        assert (stage.most, len(stage.began)) == (1, 6)

    def test_a_block_in_a_block_keeps_both_limits(self, stage: Stage) -> None:
        """D4: a branch counts as long as anything in it is at work."""
        leaf = '<branch><transform id="{}" type="step" after="1"/></branch>'
        inner = '<parallel id="p{0}" max="2">' + "".join(leaf.format(f"t{{0}}{n}") for n in range(4)) + "</parallel>"
        body = (
            '<parallel id="p" max="2">'
            + "".join(f"<branch>{inner.format(n)}</branch>" for n in range(3))
            + "</parallel>"
        )
        assert ran(body, runtime={"concurrency": 100}).status == "succeeded"
        assert (stage.most, len(stage.began)) == (4, 12)

    def test_a_limit_that_is_none(self) -> None:
        """D10."""
        for said in ("0", "-1", "1.5", "many"):
            code, at, message = wrong(f'<parallel id="p" max="{said}"><branch/></parallel>')
            assert (code, at.startswith(said)) == ("VALID_INVALID_FIELD_TYPE", True)
            assert message.startswith("max of parallel must be a whole number")


class TestFailures:
    def test_the_first_error_cancels_the_siblings_and_names_its_node(self, stage: Stage) -> None:
        """D6."""
        with Play(TWO.format("")) as play:
            play.fail("b")
            over = play.over()
            assert stage.cancelled == ["a"]
            assert over.errors["both[1]/b"] == "b broke"
            assert over.status == "failed"
            assert "'both[1]/b' failed: Broken: b broke" in over.result.reason

    def test_all_errors_are_told(self, stage: Stage) -> None:
        """D6: of a sibling that was told to stop, and fails instead, too."""
        errors = ran(TWO.format("").replace('"work"', '"both" fails="yes"')).errors
        assert (errors["both[0]/a"], errors["both[1]/b"]) == ("a broke", "b broke")

    def test_a_failed_branch_leaves_nothing_behind(self, stage: Stage) -> None:
        """D3: neither its variables nor its results."""
        body = """
        <set var="x" value="before"/>
        <parallel id="p" wait="any">
          <branch><set id="s" var="x" value="inside"/><transform id="a" type="step"/></branch>
          <branch><transform id="b" type="step" after="1" value="ok"/></branch>
        </parallel>
        """
        stage.script = {"a": [Broken("boom")]}
        assert gives("[p, x]", body) == [["ok"], "before"]


class TestIsolation:
    def test_what_is_set_in_a_branch_stays_there(self) -> None:
        """D3: each branch has the state of the beginning of the block."""
        branch = """
        <branch><set id="s{0}" var="x" value="{{{{x + '{0}'}}}}"/><set id="t{0}" var="x" value="{{{{x + '{0}'}}}}"/></branch>
        """
        body = f'<set var="x" value="-"/><parallel id="p">{branch.format("a")}{branch.format("b")}</parallel>'
        assert gives("[p, x, sa, tb]", body) == [["-aa", "-bb"], "-", "-a", "-bb"]

    def test_branches_see_nothing_of_one_another(self) -> None:
        """D3 D10."""
        body = """
        <parallel id="p">
          <branch><transform id="a" type="step"/></branch>
          <branch><transform id="b" type="step" value="{{a.x}}"/></branch>
        </parallel>
        """
        code, at, message = wrong(body)
        assert (code, at[:5]) == ("VALID_CIRCULAR_DEPENDENCY", "a.x}}")
        assert "'a' stands in a sibling branch" in message

    def test_the_nodes_of_a_branch_are_seen_behind_the_block_and_a_branch_by_its_id(self) -> None:
        """D1: node outputs of a finished branch are published."""
        body = """
        <parallel id="p">
          <branch id="left"><transform id="a" type="step" value="1"/><transform id="b" type="step" value="2"/></branch>
          <branch name="x"><transform id="c" type="step" value="3"/></branch>
        </parallel>
        """
        assert gives("[a, left, b.output, c.status]", body) == ["1", "2", "2", "success"]


class TestMisuse:
    def test_what_belongs_into_it(self) -> None:
        """D10."""
        assert wrong('<parallel id="p"/>')[0] == "VALID_MISSING_REQUIRED_FIELD"
        code, at, message = wrong('<parallel id="p"><branch/><brnch/></parallel>')
        assert (code, at[:7]) == ("VALID_UNKNOWN_NODE_TYPE", "<brnch/")
        assert "Did you mean 'branch'?" in message
        assert wrong('<parallel id="p">text<branch/></parallel>')[0] == "VALID_INVALID_FIELD_TYPE"
        assert "needs an id" in wrong("<parallel><branch/></parallel>")[2]
        assert "no attribute 'maximum'" in wrong('<parallel id="p" maximum="1"><branch/></parallel>')[2]

    @pytest.mark.parametrize("merge", ["$branches +", "nothing($branches)", "nowhere"])
    def test_a_merge_that_is_no_expression(self, merge: str) -> None:
        """D10."""
        code, at, _ = wrong(f'<parallel id="p" merge="{merge}"><branch/></parallel>')
        assert code.startswith("EXPR_")
        assert at.endswith('"><branch/></parallel>')
