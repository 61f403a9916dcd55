"""What a demanding eye found in limits, quotas, votes and budgets: each was wrong once."""

from __future__ import annotations

import asyncio
import collections
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.testing import VirtualClock
from plait.testing.world import World, graph
from timed_steps import judge, step

CALLS: collections.Counter[Any] = collections.Counter()
FAILS: list[bool] = []


async def same(place: int) -> str:
    CALLS["same", place] += 1
    await step("same", 1.0 + place)
    if FAILS and place == 31:
        raise ValueError("boom")
    return "same"


async def use(value: Any) -> int:
    CALLS["use"] += 1
    return 1


async def flaky() -> int:
    await asyncio.sleep(60)
    if FAILS:
        raise ValueError("flaky")
    return 1


@pytest.mark.parametrize(
    "option", [{"min_success": 2}, {"reduce": {"quorum": 2}}, {"reduce": "first_success"}, {"max_failures": 3}]
)
def test_a_group_that_had_enough_is_kept_whole_by_a_retry(tmp_path: Path, option: dict[str, Any]) -> None:
    """X12 X11 W14: its losers are not run, its value stays what its users were given."""
    CALLS.clear()
    FAILS[:] = [True]
    store = tmp_path / "plait.db"

    async def first() -> Any:
        made = plait.Graph("g")
        group = made.add("m", plait.task(same).map([0, 1, 30, 31], **option))
        made.add("u", use, args=(group,))
        made.add("f", flaky)
        return await plait.arun(made, store=store, raise_on_failure=False, max_concurrency=9)

    before = VirtualClock().run(first())
    assert before["m"].status == "succeeded"
    CALLS.clear()
    FAILS.clear()

    async def again() -> Any:
        return await plait.retry("last", store=store)

    after = VirtualClock().run(again())
    assert after.status == "succeeded"
    assert CALLS == {}
    assert after["m"].value == before["m"].value


def test_what_is_kept_may_decide_a_group_before_anything_starts(tmp_path: Path) -> None:
    """X12: a fork from one of those that are not wanted any more."""
    from plait._core.graph import Kept

    made = World(graph({"g": {"min_success": 2}}, g=[]))
    batch = graph(a=[], b=[], c=[], d=[])
    batch.kept = {0: Kept("a", 0, 1, 1), 1: Kept("b", 0, 1, 1)}
    made.grows("g", batch)
    assert made.running == set()
    assert made.turns[-1][1] == "g"
    made = World(graph({"g": {"reduce": "majority"}}, g=[]))
    batch = graph(a=[], b=[])
    batch.kept = {0: Kept("a", 0, 1, 1)}
    made.scheduler.grew(0, batch, 0.0)
    assert list(made.scheduler.turns) == [(3, 0)]  # asked before one of them is taken


def test_a_run_whose_budget_is_spent_ends_with_all_that_had_grown() -> None:
    """X6 W13: a group whose last task is not started any more is over, and so is the run."""
    made = World(graph(g=[]), slots=1, budget={"usd": 1})
    made.grows("g", graph(x=[]))
    made.grows("g/x", graph(a=[], b=[], c=["b"]))
    made.scheduler.spent(made.task("g/x/a"), {"usd": 1}, made.now)
    made.returns("g/x/a")
    assert made.statuses == {
        "g": "cancelled", "g/x": "cancelled", "g/x/a": "succeeded", "g/x/b": "not_started", "g/x/c": "not_started",
    }  # fmt: skip
    assert made.scheduler.finished


def test_a_vote_and_a_number_of_successes_are_both_needed() -> None:
    """X12."""
    for first in ("vote", "number"):
        made = World(graph({"g": {"reduce": "majority", "min_success": 2}}, g=[]))
        made.grows("g", graph(a=[], b=[], c=[], d=[]))
        made.returns("g/a")
        if first == "vote":
            made.scheduler.settled(0, True, made.now)
            made._settle()
            assert made.stopped == []
        made.returns("g/b")
        if first == "number":
            assert made.stopped == []
            made.scheduler.settled(0, True, made.now)
            made._settle()
        assert made.stopped == ["g/c", "g/d"]


def test_an_interrupted_task_is_not_run_again_once_its_own_budget_is_spent() -> None:
    """X6: a crash of its worker, or of the whole process, is no way around it."""
    made = World(graph({"a": {"budget": {"usd": 2}}, "b": {}}, a=[], b=[]))
    made.scheduler.spent(0, {"usd": 5}, made.now)
    made.dies("a")
    made.dies("b")
    assert (made.status("a"), made.running) == ("failed", {"b"})
    assert "is not run again, for its budget of 2 usd is spent (5)" in str(made.table.errors[0])


def test_seconds_of_a_call_that_kills_its_worker_count() -> None:
    """X6."""
    result = plait.run(_suicidal(), raise_on_failure=False)
    assert result["c"].attempts == 1


def _suicidal() -> plait.Graph:
    made = plait.Graph("g")
    made.add("c", kills_itself, executor="process", budget={"seconds": 0.05})
    return made


def kills_itself() -> None:
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_templates_in_defaults_are_worked_out_for_each_task(tmp_path: Path) -> None:
    """X4: and not taken for one key of all."""
    (tmp_path / "flow.yaml").write_text(
        'inputs: {units: {type: integer, default: 2}}\ndefaults: {concurrency_key: "k-{{ item }}", cost: "{{ inputs.units }}"}\n'
        'tasks:\n  b: {foreach: ["1", "1", "2"], call: "timed_steps:judge", with: {verdict: x}, rate_limit: 4/10s}\n'
    )
    with VirtualClock() as clock:
        plait.run(plait.load(tmp_path / "flow.yaml"))
        assert round(clock.now, 3) == 11  # two of four units each: the third waits for the window, and for its key
    (tmp_path / "bad.yaml").write_text('defaults: {cost: "{{ item }}"}\ntasks:\n  a: {run: echo}\n')
    with pytest.raises(plait.FlowError, match="item"):
        plait.load(tmp_path / "bad.yaml")


@pytest.mark.parametrize("wrong", [10**400, 1e308, 1e16])
def test_spending_is_bounded_so_that_sums_can_be_shown(wrong: Any) -> None:
    """X6: a run whose budget cannot be added up would never end."""

    async def body() -> None:
        with pytest.raises(ValueError, match="usd must be a number from 0 to 1e\\+15"):
            plait.current().spend(usd=wrong)

    plait.run(plait.task(body).bind())


def test_text_that_looks_like_what_is_stored_is_checked_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(plait.LimitError, match="reduce must be one of"):
        plait.task(judge).map([1], reduce='["majority", {}]')
    (tmp_path / "flow.yaml").write_text('tasks: {t: {foreach: [1], run: "true", reduce: "[1"}}\n')
    with pytest.raises(plait.FlowError, match="reduce must be one of"):
        plait.load(tmp_path / "flow.yaml")


@pytest.mark.parametrize("option", [{"reduce": "majority"}, {"min_success": 1}, {"max_failures": 1}])
def test_flat_lists_refuse_what_belongs_to_groups(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(plait.UsageError, match=f"{name} belongs to a group of a graph"):
        plait.map_(judge, [1], **option)
    with pytest.raises(plait.UsageError, match=f"{name} belongs to a group of a graph"):
        plait.as_completed(judge, [1], **option)


@pytest.mark.parametrize(
    ("option", "says"),
    [({"min_success": 2}, "had the 2 successes that it needs"), ({"reduce": "first_success"}, "is decided")],
)
def test_why_says_how_much_was_enough(option: dict[str, Any], says: str) -> None:
    """X7."""
    from plait._core.why import asked

    made = World(graph({"g": option}, g=[]))
    made.grows("g", graph(a=[], b=[], c=[]))
    made.returns("g/a")
    made.returns("g/b")
    if "reduce" in option:
        made.scheduler.settled(0, True, made.now)
        made._settle()
    made.returns("g/c", stopped=True)
    assert asked(made.scheduler, "g/c", made.now, float, "r").text.endswith(says)


def test_weights_may_name_whole_keys_in_a_file(tmp_path: Path) -> None:
    """X12."""
    path = tmp_path / "flow.yaml"
    path.write_text(
        "tasks:\n  o:\n    tasks:\n      g:\n        reduce: {weighted: {weights: {o/g/x: 1, o/g/y: 2}}}\n"
        '        tasks: {x: {run: "echo 1"}, y: {run: "echo 2"}}\n'
    )
    result = plait.run(plait.load(path))
    assert result["o/g"].value["value"] == "2"


def test_an_edit_of_how_a_group_is_decided_is_one_of_its_value(tmp_path: Path) -> None:
    """X11 X12: unlike one of how its tasks are run."""
    CALLS.clear()
    FAILS[:] = [True]
    store = tmp_path / "plait.db"

    def made(**options: Any) -> plait.Graph:
        found = plait.Graph("g")
        group = found.add("m", plait.task(same).map([0, 1], **options))
        found.add("u", use, args=(group,))
        found.add("f", hangs)
        return found

    async def leave() -> str:
        handle = plait.start(made(), store=store)
        await asyncio.sleep(1)
        while handle.why("u").status != "succeeded":
            await asyncio.sleep(1)
        handle._driver.interrupt()
        await handle
        return handle.id

    run_id = VirtualClock().run(leave())

    async def go_on(target: plait.Graph) -> Any:
        handle = plait.resume(run_id, target, store=store, accept_changes=True)
        await asyncio.sleep(1)
        while handle.why("u").status != "succeeded":
            await asyncio.sleep(1)
        value = handle._driver.table.values[handle._driver.table.find("m")]
        handle._driver.interrupt()
        await handle
        return value

    assert CALLS["use"] == 1
    assert VirtualClock().run(go_on(made(reduce="majority")))["value"] == "same"
    assert (CALLS["use"], CALLS["same", 0]) == (2, 1)


async def hangs() -> None:
    await asyncio.sleep(1e9)
