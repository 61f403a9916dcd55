"""Budgets in units that tasks report and in seconds: looked at before each start, around runs, groups and tasks, kept over a resume."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import plait
from plait._core.budgets import Budget
from plait.testing import VirtualClock
from plait.testing.world import World, graph
from timed_steps import SEEN, step


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


async def call(cost: float = 0.1, seconds: float = 1.0, name: str = "x") -> float:
    await step(name, seconds)
    plait.current().spend(usd=cost, tokens=100)
    return cost


CALLED: list[float] = []


def blocking_call(cost: float) -> float:
    CALLED.append(cost)
    plait.current().spend(usd=cost)
    return cost


def run(target: Any, **options: Any) -> plait.RunResult:
    with VirtualClock():
        return plait.run(target, raise_on_failure=False, **options)  # type: ignore[no-any-return]


def statuses(outcomes: Any) -> list[str]:
    return [str(each.status) for each in outcomes]


FILE = """
budget: {usd: 0.3}
max_concurrency: 1
tasks:
  ask: {foreach: [0.1, 0.1, 0.1, 0.1, 0.1], call: "test_budgets:call", with: {cost: "{{ item }}"}}
"""


def calls(number: int, **options: Any) -> plait.Graph:
    made = plait.Graph("flow")
    made.add("ask", plait.task(call).map([0.1] * number, **options))
    return made


class TestRuns:
    def test_nothing_starts_once_it_is_spent(self) -> None:
        """X6: three times 0.1 is 0.3; what the run still had to do is not started, and the run says why."""
        result = run(calls(5), budget={"usd": 0.3}, max_concurrency=1)
        assert statuses(result.children("ask")) == ["succeeded"] * 3 + ["not_started"] * 2
        assert (str(result.status), result.halt_reason, result.reason) == (
            "failed",
            "budget",
            "the run's budget is spent",
        )
        assert result.spent == pytest.approx({"usd": 0.3, "tokens": 300})

    def test_the_same_in_a_file(self, tmp_path: Path) -> None:
        """X6."""
        (tmp_path / "flow.yaml").write_text(FILE.replace("test_budgets:call", "spending:call"))
        (tmp_path / "spending.py").write_text(
            "import plait\nasync def call(cost):\n    plait.current().spend(usd=cost)\n    return cost\n"
        )
        result = run(plait.load(tmp_path / "flow.yaml"))
        assert statuses(result.children("ask")) == ["succeeded"] * 3 + ["not_started"] * 2
        assert result.halt_reason == "budget"

    def test_sums_are_exact_in_the_decimals_that_were_reported(self) -> None:
        """X6: 0.7 and three times 0.1 are 1, and not a little less."""
        budget = Budget((("usd", 1.0),))
        for cost in (0.7, 0.1, 0.1, 0.1):
            assert budget.over() is None
            budget.add({"usd": cost})
        assert budget.over() == "its budget of 1 usd is spent (1)"

    def test_a_run_that_needs_no_more_than_its_budget_succeeds(self) -> None:
        """X6: the last start was within it."""
        assert run(calls(3), budget={"usd": 0.3, "tokens": 300}, max_concurrency=1).status == "succeeded"
        made = plait.Graph()
        made.add("a", call, (0.3, 1))
        made.add("b", call, (0.1, 5))
        assert run(made, budget={"usd": 0.3}, max_concurrency=4).status == "succeeded"

    def test_what_runs_goes_on(self) -> None:
        """X6: a budget stops starts, it does not cut what is paid for."""
        result = run(calls(4), budget={"usd": 0.1}, max_concurrency=2)
        assert statuses(result.children("ask")) == ["succeeded"] * 2 + ["not_started"] * 2

    def test_seconds_are_those_of_all_attempts_together(self) -> None:
        """X6."""
        result = run(calls(7), budget={"seconds": 4}, max_concurrency=2)  # the fifth starts when three have ended
        assert statuses(result.children("ask")) == ["succeeded"] * 5 + ["not_started"] * 2

    @pytest.mark.realtime
    def test_threads_spend_before_the_next_one_starts(self) -> None:
        """X6: what a function said is counted before another one starts, though threads go on by themselves."""
        for slots in (1, 2, 4):
            CALLED.clear()
            with pytest.raises(plait.RunFailed, match="budget is spent"):
                plait.map_(blocking_call, [1] * 5000, budget={"usd": 500}, max_concurrency=slots)
            assert 500 <= len(CALLED) < 500 + slots

    def test_flat_lists_have_a_budget(self) -> None:
        with VirtualClock(), pytest.raises(plait.RunFailed, match="budget is spent"):
            plait.map_(call, [0.1] * 5, budget={"usd": 0.2}, max_concurrency=1)
        assert len(SEEN) == 2

    def test_a_resume_goes_on_with_what_is_left(self, tmp_path: Path) -> None:
        """X6: two thirds were spent before the process left."""

        async def leave() -> str:
            handle = plait.start(calls(6), store=tmp_path / "plait.db", budget={"usd": 0.3}, max_concurrency=1)
            while len(SEEN) < 2:
                await asyncio.sleep(0.25)
            handle._driver.interrupt()
            await handle
            return handle.id

        run_id = VirtualClock().run(leave())

        async def go_on() -> Any:
            return await plait.resume(run_id, store=tmp_path / "plait.db")

        result = VirtualClock().run(go_on())
        assert statuses(result.children("ask")).count("succeeded") == 3
        assert result.spent["tokens"] == 300
        why = plait.why(run_id, "ask[5]", store=tmp_path / "plait.db")
        assert why.text == "ask[5] was not started: the run ended, for its budget of 0.3 usd is spent (0.3)"


class TestGroupsAndTasks:
    def test_a_group_ends_and_the_others_go_on(self) -> None:
        """X6: the budget of a map is that of all its items."""
        made = plait.Graph("flow")
        made.add("a", plait.task(call).map([0.1] * 4, budget={"usd": 0.2}, max_concurrency=1))
        made.add("b", plait.task(call).map([0.1] * 4, max_concurrency=1))
        result = run(made)
        assert statuses(result.children("a")) == ["succeeded", "succeeded", "not_started", "not_started"]
        assert statuses(result.children("b")) == ["succeeded"] * 4
        assert str(result["a"].error) == "its budget of 0.2 usd is spent (0.2)"

    def test_a_group_within_a_group_counts_for_both(self) -> None:
        """X6."""
        made = World(graph({"g": {"budget": {"usd": 3}}}, g=[]), slots=1)
        made.grows("g", graph(inner=[], other=[]))
        made.grows("g/inner", graph(x=[], y=[]))
        (first,) = made.running
        made.scheduler.spent(made.task(first), {"usd": 3}, made.now)
        made.returns(first)
        assert made.running == set()
        assert made.status("g") == "failed"
        assert {made.status(key) for key in ("g/inner/x", "g/inner/y", "g/other")} == {"succeeded", "not_started"}

    def test_a_task_is_not_tried_again_once_its_own_is_spent(self) -> None:
        """X6 B15: a retry is a start."""
        made = World(graph({"a": {"retries": 9, "budget": {"usd": 2}}, "b": {}}, a=[], b=[]))
        made.scheduler.spent(0, {"usd": 1.5}, made.now)
        made.fails("a")
        assert made.status("a") == "retrying"
        made.passes(60)
        made.scheduler.spent(0, {"usd": 0.5}, made.now)
        made.fails("a")
        assert (made.status("a"), made.status("b")) == ("failed", "running")


class TestRefusals:
    @pytest.mark.parametrize(
        "wrong", [{}, 5, {"usd": 0}, {"usd": -1}, {"usd": "much"}, {"usd": True}, {"": 1}, {"seconds": "soon"}]
    )
    def test_impossible_budgets(self, wrong: Any) -> None:
        """X6."""
        with pytest.raises(plait.LimitError, match="budget"):
            run(calls(1), budget=wrong)
        assert SEEN == []

    @pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True, "1"])
    def test_impossible_spending(self, wrong: Any) -> None:
        async def body() -> None:
            with pytest.raises(ValueError, match="usd must be a number from 0 to"):
                plait.current().spend(usd=wrong)

        plait.run(plait.task(body).bind())

    def test_nobody_spends_seconds(self) -> None:
        """X6: these are counted by plait; nothing that was reported with them is."""

        async def body() -> None:
            with pytest.raises(ValueError, match="seconds are counted by plait itself"):
                plait.current().spend(usd=1, seconds=3)

        graph = plait.Graph()
        graph.add("a", body)
        assert plait.run(graph, budget={"seconds": 100}).spent.get("usd") is None
