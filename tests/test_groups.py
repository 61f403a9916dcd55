"""Groups that need not succeed whole: how many must, how many may fail, what their results come to; in Python and in files."""

from __future__ import annotations

import asyncio
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
        assert str(result["vote"].error) == "min_success is 2, and there are 1 task only"

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


def test_steps_are_what_they_say() -> None:
    assert VirtualClock().run(step("x")) == "x"
    with pytest.raises(ValueError, match="boom"):
        asyncio.run(judge("boom", -1))
