"""Groups that need not succeed whole: how many must, how many may fail, what their results come to; in Python and in files."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.testing import VirtualClock
from timed_steps import SEEN, judge, step


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


def run(target: Any, **options: Any) -> plait.RunResult:
    with VirtualClock():
        return plait.run(target, raise_on_failure=False, **options)  # type: ignore[no-any-return]


def from_file(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "flow.yaml"
    path.write_text(text)
    return plait.load(path)


def judged(door: str, tmp_path: Path, verdicts: list[Any], **options: Any) -> plait.RunResult:
    """One task for each verdict, a second longer each: `boom` fails. The whole is called `vote`."""
    if door == "file":
        lines = "".join(f"    {name}: {value}\n" for name, value in options.items())
        text = f"tasks:\n  vote:\n    foreach: {verdicts}\n    call: timed_steps:judge\n    with: {{verdict: '{{{{ item }}}}', place: '{{{{ index }}}}'}}\n{lines}"
        return run(from_file(tmp_path, text), max_concurrency=8)
    made = plait.Graph("flow")
    made.add("vote", plait.task(judge).map(verdicts, list(range(len(verdicts))), **options))
    return run(made, max_concurrency=8)


DOORS = pytest.mark.parametrize("door", ["file", "python"])


class TestQuotas:
    @DOORS
    def test_enough_is_enough(self, tmp_path: Path, door: str) -> None:
        """X12 B14: the rest is cancelled, and the value has null in its places."""
        result = judged(door, tmp_path, ["a", "boom", "c", "d", "e"], min_success=2)
        assert result.status == "succeeded"
        assert result.degraded
        assert result["vote"].value == ["a", None, "c", None, None]
        assert [str(each.status) for each in result.children("vote")] == [
            "succeeded", "failed", "succeeded", "cancelled", "cancelled",
        ]  # fmt: skip

    @DOORS
    def test_too_few_fail_at_once(self, tmp_path: Path, door: str) -> None:
        """X12: with the first cause apart from its victims."""
        result = judged(door, tmp_path, ["boom", "boom", "c", "d"], min_success="75%")
        assert result.status == "failed"
        assert result.first_cause is not None
        assert result.first_cause.key == "vote[0]"
        assert "0 of 4 tasks succeeded, and 2 are left: 3 are required" in str(result["vote"].error)
        assert [str(each.status) for each in result.children("vote")] == ["failed", "failed", "cancelled", "cancelled"]

    @DOORS
    def test_some_may_fail(self, tmp_path: Path, door: str) -> None:
        """B16."""
        result = judged(door, tmp_path, ["a", "boom", "c", "boom"], max_failures="50%")
        assert (result.status, result.degraded, result["vote"].value) == ("succeeded", True, ["a", None, "c", None])
        result = judged(door, tmp_path, ["boom", "b", "boom", "d"], max_failures=1)
        assert "2 of 4 tasks failed, 1 may" in str(result["vote"].error)

    def test_more_than_there_are_is_refused_with_the_place(self, tmp_path: Path) -> None:
        """B14: in a file before anything runs, for a list known at run time as its own failure."""
        with pytest.raises(plait.FlowError) as error:
            from_file(
                tmp_path,
                "tasks:\n  a: {min_success: 3, tasks: {x: {run: echo}, y: {run: echo}}}\n"
                "  b: {min_success: 2, foreach: [1], run: echo}\n  c: {min_success: 1, run: echo}\n",
            )
        lines = str(error.value).splitlines()
        assert [line.partition("flow.yaml:")[2].partition(" ")[0] for line in lines if "error[" in line] == [
            "2:20:", "3:20:", "4:7:",
        ]  # fmt: skip
        assert "min_success is 3, and there are 2 tasks only" in str(error.value)
        result = judged("python", tmp_path, ["a"], min_success=2)
        assert str(result["vote"].error) == "min_success is 2, and there is 1 task only"

    def test_a_stored_run_remembers_what_was_decided(self, tmp_path: Path) -> None:
        """X12 W12."""

        async def stored() -> Any:
            made = plait.Graph("flow")
            made.add("vote", plait.task(judge).map(["a", "boom", "c", "d"], [0, 1, 2, 3], min_success=2))
            return await plait.arun(made, store=tmp_path / "plait.db", max_concurrency=8)

        first = VirtualClock().run(stored())
        again = plait.show_run("last", tmp_path / "plait.db")
        assert [str(each.status) for each in again.values()] == [str(each.status) for each in first.values()]
        assert again.status == "succeeded"


class TestReducing:
    @DOORS
    @pytest.mark.parametrize(
        ("reduce", "verdicts", "value", "cancelled"),
        [
            ("majority", ["yes", "no", "yes", "yes", "no"], "yes", 1),
            ("majority", ["yes", "boom", "yes", "yes", "no", "no"], "yes", 2),
            ({"quorum": 2}, ["a", "b", "a", "b", "b"], "a", 2),
            ({"quorum": "60%"}, ["a", "b", "a", "a", "b"], "a", 1),
            ("first_success", ["boom", "b", "c"], "b", 1),
            ({"weighted": [1, 1, 5, 1]}, ["a", "a", "b", "a"], "b", 1),
            ({"frequency": 0.5}, ["ab", "b", "ba"], None, 0),
        ],
    )
    def test_a_vote_that_is_decided_cancels_the_losers(
        self, tmp_path: Path, door: str, reduce: Any, verdicts: list[str], value: Any, cancelled: int
    ) -> None:
        """X12 B11 B12: with who contributed what."""
        if value is None:
            verdicts = [list(each) for each in verdicts]  # type: ignore[misc]
        result = judged(door, tmp_path, verdicts, reduce=reduce)
        assert result.status == "succeeded", result["vote"].error
        ends = [str(each.status) for each in result.children("vote")]
        assert ends.count("cancelled") == cancelled
        found = result["vote"].value
        if value is None:
            assert (found["value"], found["sources"]) == (
                ["b", "a"],
                [["vote[0]", "vote[1]", "vote[2]"], ["vote[0]", "vote[2]"]],
            )
            return
        assert found["value"] == value
        voters = [f"vote[{at}]" for at, each in enumerate(verdicts) if each == value and ends[at] == "succeeded"]
        assert found["sources"] == voters
        assert found["missing"] == [f"vote[{at}]" for at, end in enumerate(ends) if end != "succeeded"]

    @DOORS
    def test_a_vote_that_nobody_can_win_any_more_fails_at_once(self, tmp_path: Path, door: str) -> None:
        """X12."""
        result = judged(door, tmp_path, ["a", "b", "c", "d", "a"], reduce={"quorum": 3})
        assert "no result can win any more" in str(result["vote"].error)
        assert [str(each.status) for each in result.children("vote")][3:] == ["succeeded", "cancelled"]

    @DOORS
    def test_a_tie_and_what_to_do_with_it(self, tmp_path: Path, door: str) -> None:
        """B12."""
        result = judged(door, tmp_path, ["a", "b"], reduce="majority")
        assert isinstance(result["vote"].error, plait.NotDecided)
        result = judged(door, tmp_path, ["a", "b"], reduce={"majority": {"ties": "first"}})
        assert result["vote"].value["value"] == "a"

    @DOORS
    def test_part_of_what_was_wanted(self, tmp_path: Path, door: str) -> None:
        """B14: `k/n` and who did not."""
        result = judged(door, tmp_path, ["a", "boom", "c"], reduce={"partial": "100%"})
        found = result["vote"].value
        assert (found["ok"], found["values"], found["failed"]) == (False, ["a", "c"], ["vote[1]"])
        assert found["reason"].startswith("2/3 succeeded, 3 required")

    def test_a_group_of_different_checkers_by_name(self, tmp_path: Path) -> None:
        """X12: weights by the keys of a group's tasks; what needs the group sees the result."""
        text = """
tasks:
  checks:
    reduce: {weighted: {weights: {strict: 3, lax: 1, odd: 1}}}
    tasks:
      strict: {call: "timed_steps:judge", with: {verdict: bad}}
      lax: {call: "timed_steps:judge", with: {verdict: good, place: 1}}
      odd: {call: "timed_steps:judge", with: {verdict: good, place: 2}}
  said: {run: "echo {{ tasks.checks.output.value }} by {{ tasks.checks.output.sources }}"}
outputs: {said: "{{ tasks.said.output }}"}
"""
        result = run(from_file(tmp_path, text))
        assert result.value == {"said": 'bad by ["checks/strict"]'}
        assert result["checks"].value["missing"] == ["checks/lax", "checks/odd"]
        assert [str(each.status) for each in result.children("checks")] == ["succeeded", "cancelled", "cancelled"]

    def test_our_own_functions_say_the_same(self, tmp_path: Path) -> None:
        result = judged("python", tmp_path, ["a", "b", "a", "b"], reduce=partial(plait.quorum, least=2))
        assert result["vote"].value["value"] == "a"
        assert judged("python", tmp_path, ["a"], reduce=plait.majority)["vote"].value["value"] == "a"

    @pytest.mark.parametrize(
        ("reduce", "says"),
        [
            ("majorty", "Did you mean 'majority'"),
            ({"quorum": 0}, "reduce.quorum.least must be a count or a share"),
            ("quorum", "quorum needs least"),
            ({"majority": {"ties": "coin"}}, "ties must be error, first or none, not 'coin'"),
            ({"union": 3}, "union takes no options"),
            ({"union": {"x": 3}}, "union takes no options, not 'x'"),
            ({"weighted": {"weights": {"a": -1}}}, "each a number from 0 on"),
            ({"frequency": "200%"}, "threshold must be a share"),
            (len, "reduce takes plait's own reducers"),
            (3, "reduce must be a reducer's name"),
        ],
    )
    def test_what_cannot_reduce_is_refused_when_given(self, reduce: Any, says: str) -> None:
        with pytest.raises(plait.UsageError) as error:
            plait.task(judge).map(["a"], reduce=reduce)
        assert says in str(error.value)

    def test_what_cannot_come_to_a_result_is_refused_with_the_place(self, tmp_path: Path) -> None:
        with pytest.raises(plait.FlowError) as error:
            from_file(
                tmp_path,
                "tasks:\n  a: {reduce: {quorum: 3}, tasks: {x: {run: echo}, y: {run: echo}}}\n"
                "  b: {reduce: {weighted: {weights: {z: 1}}}, tasks: {x: {run: echo}}}\n  c: {reduce: most, foreach: [1], run: echo}\n",
            )
        text = str(error.value)
        assert "2:15: error[value]: reduce: quorum wants 3 of 2 tasks" in text
        assert "3:15: error[value]: reduce: no weight for task 'b/x'" in text
        assert "4:15: error[value]: reduce must be one of union" in text
        result = judged("python", tmp_path, ["a"], reduce={"quorum": 2})
        assert str(result["vote"].error) == "reduce: quorum wants 2 of 1 tasks"
        with pytest.raises(plait.UsageError, match="reduce is for many results"):
            plait.task(judge).options(reduce="majority")

    @pytest.mark.parametrize("reduce", ["majority", "first_success", {"quorum": "50%"}, {"weighted": {"weights": []}}])
    def test_a_vote_of_nobody_is_refused_with_the_place(self, tmp_path: Path, reduce: Any) -> None:
        """X12: what needs no vote has a value."""
        with pytest.raises(plait.FlowError, match=r"2:\d+: error\[value\]: reduce: \w+ of no tasks"):
            from_file(tmp_path, f"tasks:\n  a: {{foreach: [], run: echo, reduce: {json.dumps(reduce)}}}\n")
        from_file(tmp_path, "tasks:\n  a: {foreach: [], run: echo, reduce: union}\n")
        assert "of no tasks" in str(judged("python", tmp_path, [], reduce=reduce)["vote"].error)

    def test_a_stored_vote_is_not_held_again(self, tmp_path: Path) -> None:
        """X12 W12: what was decided is on record; a retry of the run and its outputs see it."""
        store = tmp_path / "plait.db"

        async def stored() -> Any:
            made = plait.Graph("flow")
            vote = made.add("vote", plait.task(judge).map(["a", "a", "b"], [0, 1, 2], reduce="majority"))
            made.add("next", fails_once, args=(vote,))
            return await plait.arun(made, store=store, max_concurrency=8, raise_on_failure=False)

        first = VirtualClock().run(stored())
        assert [str(each.status) for each in first.children("vote")] == ["succeeded", "succeeded", "cancelled"]
        again = plait.show_run("last", store)
        assert [str(each.status) for each in again.values()] == [str(each.status) for each in first.values()]

        async def retried() -> Any:
            return await plait.retry("last", store=store)

        second = VirtualClock().run(retried())
        assert second.status == "succeeded", second.reason
        assert second["next"].value == "a"


FAILED: list[int] = []


async def fails_once(vote: Any) -> Any:
    if not FAILED:
        FAILED.append(1)
        raise ValueError("once")
    return vote["value"]


def test_steps_are_what_they_say() -> None:
    assert VirtualClock().run(step("x")) == "x"
    with pytest.raises(ValueError, match="boom"):
        asyncio.run(judge("boom", -1))
