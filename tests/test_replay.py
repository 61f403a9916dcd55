"""A run killed after any of its commits: what the journal holds by then, gone on with, comes to the same end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

import plait
from plait._engine import records
from plait._engine.driver import Driver
from plait._engine.replaying import Replay, read_json
from plait.errors import Declined
from plait.stores.memory import MemoryStore, _Kept
from plait.tasks import make_node
from plait.testing import VirtualClock

SEEDS = 60

CALLED: list[str] = []


@plait.task
async def work(name: str, seconds: float, fails: int, *needs: Any) -> Any:
    """Sleeps, fails as often as it is told, else sums what it was given."""
    key = plait.current().key
    CALLED.append(key)
    await asyncio.sleep(seconds)
    if plait.current().attempt <= fails and not name.startswith("always"):
        raise ValueError(f"{key} fails")
    if name.startswith("always"):
        raise KeyError(key)
    return sum(each for each in needs if isinstance(each, int)) + 1


@plait.task
async def listing(size: int, *needs: Any) -> list[int]:
    CALLED.append(plait.current().key)
    await asyncio.sleep(0.5)
    return list(range(size))


@plait.task
async def mended(*needs: Any) -> Any:
    """Stands in for a task that failed."""
    CALLED.append(plait.current().key)
    await asyncio.sleep(0.2)
    if isinstance(plait.current().error, KeyError):
        return str(plait.current().error)
    raise RuntimeError("cannot be mended")


@plait.task
async def item(number: int) -> Any:
    CALLED.append(plait.current().key)
    await asyncio.sleep(0.1 * number)
    return number * 10


@plait.task
async def nested(number: int) -> Any:
    CALLED.append(plait.current().key)
    await asyncio.sleep(0.2)
    return [item.bind(number), {"more": item.bind(number + 1)}] if number % 2 else number


def random_graph(seed: int) -> plait.Graph:
    """Up to 14 tasks of every kind; what becomes of each does not depend on timing."""
    dice = random.Random(seed)
    graph = plait.Graph(f"random {seed}")
    nodes: list[Any] = []
    for number in range(dice.randint(3, 14)):
        needs = dice.sample(nodes, min(len(nodes), dice.randint(0, 3)))
        key = f"t{number}"
        options: dict[str, Any] = {}
        if dice.random() < 0.2:
            options["priority"] = dice.choice(["high", "low"])
        if dice.random() < 0.15:
            options["allow_failure"] = True
        if dice.random() < 0.15:
            options["when"] = dice.random() < 0.6
        if dice.random() < 0.2:
            options["join"] = dice.choice(["all_done", "none_failed"])
        if dice.random() < 0.25:
            options["on_error"] = mended
        kind = dice.random()
        if kind < 0.6:
            fails = dice.choice([0, 0, 0, 1])
            name = "always" if dice.random() < 0.12 else "fine"
            retry = {"retries": 2} if fails else {}
            if dice.random() < 0.2:
                retry["timeout"] = 50.0
            node = graph.add(key, work, args=(name, dice.choice([0.0, 0.3, 1.0]), fails, *needs), **options, **retry)
        elif kind < 0.75:
            node = graph.add(key, listing, args=(dice.randint(0, 4), *needs), **options)
        elif kind < 0.9:
            lists = graph.add(f"{key}-list", listing, args=(dice.randint(0, 4), *needs))
            each = {name: options.pop(name) for name in ("priority", "on_error") if name in options}
            mapped = dice.choice([item, nested]).options(**each)
            node = mapped.map(lists, **({"max_concurrency": 2} if dice.random() < 0.5 else {}))
            if seed % 3:
                node = narrow(node, seed % 3)
            node = graph.add(key, node, **{name: value for name, value in options.items() if name != "join"})
        else:
            node = graph.add(key, nested, args=(dice.randint(0, 5),), needs=list(needs), **options)
        nodes.append(node)
    for number in range(dice.choice([0, 0, 1, 2])):
        call = dice.choice([work.bind("fine", 0.2, 0), nested.bind(3), work.bind("always", 0.1, 0)])
        graph.add(f"last{number}", call, needs=dice.sample(nodes, 1) if dice.random() < 0.5 else (), finally_=True)
    return graph


def narrow(node: Any, width: int) -> Any:
    """The same, with so many of its children under way at once."""
    definition = node._definition
    return make_node(definition.but(policy=definition.policy.but(width=width)), node._args, node._beside)


def played(graph: plait.Graph, seed: int, **options: Any) -> tuple[Any, MemoryStore]:
    """A graph run to its end under virtual time, and the store that kept it."""
    store = MemoryStore()
    dice = random.Random(seed)

    async def play() -> Any:
        run = plait.start(graph, store=store, max_concurrency=dice.choice([1, 2, 3, 8]), **options)
        return await run

    return VirtualClock().run(play()), store


def cut(store: MemoryStore, batches: int) -> MemoryStore:
    """The store as a process would find it whose owner was killed after so many commits."""
    copy = MemoryStore()
    (kept,) = store._runs.values()
    info = kept.info.but(status="running", ended_at=None, summary={}, owner=None)
    again = copy._runs[1] = _Kept(info, dict(kept.generations), {1: kept.journal[1][:batches]}, set(kept.blobs))
    copy._numbers = 1
    copy._blobs = dict(store._blobs)
    assert again.info.generation == 1
    return copy


def finished_in(store: MemoryStore) -> Counter[str]:
    """Keys of the tasks whose end is on record, with the number of calls that were made of each until then."""
    run = store.find("last")
    replay = Replay(store, run, store.generation(run, 1))
    replay.catch_up()
    table = replay.table
    return Counter({table.key(task): 1 for task in range(table.size) if table.status[task] >= 5})


def ends_of(result: Any) -> dict[str, tuple[str, Any]]:
    return {key: (str(each.status), each.value if each.ok else None) for key, each in result.items()}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_after_any_commit_a_run_comes_to_the_same_end_and_runs_nothing_again(seed: int) -> None:
    """E11 W3 W4 W12 F01 F02 F04: each prefix of the journal is gone on with; each of those is cut and gone on with once more."""
    graph = random_graph(seed)
    CALLED.clear()
    whole, store = played(graph, seed)
    dice = random.Random(seed)
    commits = len(store._runs[1].journal[1])
    assert ends_of(replayed(store)) == ends_of(whole)
    for batches in sorted(dice.sample(range(commits), min(commits, 6))):
        left = cut(store, batches)
        for _ in range(2):
            done = finished_in(left)
            CALLED.clear()
            resumed = VirtualClock().run(go_on(left))
            assert ends_of(resumed) == ends_of(whole), f"cut after {batches} of {commits} commits"
            again = [key for key in CALLED if done[key]]
            assert again == [], f"finished before the cut after {batches} commits, and run again: {again}"
            now = len(left._runs[1].journal[1])
            left = cut(left, dice.randint(min(batches + 1, now), now))


async def go_on(store: MemoryStore) -> Any:
    return await plait.resume("last", store=store)


def replayed(store: MemoryStore) -> Any:
    return plait.resume("last", store=store).wait()


def under_way(scheduler: Any) -> set[int]:
    """The children of the first task that had begun and are not over."""
    family = scheduler._families.get(0)
    return set() if family is None else set(family.width.under_way)


def test_killed_in_a_group_that_has_a_width_the_same_children_are_under_way() -> None:
    """A4 D4 W3: those go on that had begun, and nobody else begins before one of them is over; after each commit."""
    graph = plait.Graph("narrow")
    graph.add("all", narrow(nested.map([1, 2, 3, 4, 5]), 2))
    whole, store = played(graph, 1)
    run = store.find("last")
    full = 0
    for batches in range(1, len(store._runs[1].journal[1])):
        left = cut(store, batches)
        before = Replay(left, run, store.generation(run, 1))
        before.catch_up()
        if before.scheduler.finished:
            break
        begun = under_way(before.scheduler)
        full += len(begun) == 2

        async def go_on_with(store: MemoryStore = left, begun: set[int] = begun) -> Any:
            resumed = plait.resume("last", store=store)
            assert not begun or under_way(resumed._driver.scheduler) == begun
            return await resumed

        assert ends_of(VirtualClock().run(go_on_with())) == ends_of(whole)
    assert full > 3


@plait.task
async def gate(*needs: Any) -> Any:
    """A person says no."""
    CALLED.append(plait.current().key)
    await asyncio.sleep(0.2)
    raise Declined("gate was declined by cy")


@plait.task
async def gated() -> Any:
    CALLED.append(plait.current().key)
    return [gate.bind(), item.bind(3)]


def test_killed_at_any_commit_a_run_with_a_gate_that_was_declined_is_rejected_and_all_else_done() -> None:
    """A18 W3: in a run that failures cancel, inside a group and out of it; a retry asks again, and runs nothing else again."""
    graph = plait.Graph("gates")
    first = graph.add("first", work, args=("fine", 0.1, 0))
    shut = graph.add("shut", gate, args=(first,))
    graph.add("behind", work, args=("fine", 0.1, 0), needs=[shut])
    group = graph.add("group", gated)
    graph.add("after", work, args=("fine", 0.1, 0), needs=[group])
    graph.add("beside", work, args=("fine", 5.0, 1), retries=1)
    whole, store = played(graph, 1, on_failure="fail_fast")
    assert (str(whole.status), whole.first_cause.error.code) == ("rejected", "DECLINED")
    ended = {key: str(each.status) for key, each in whole.items()}
    assert ended == {
        "first": "succeeded", "shut": "failed", "behind": "upstream_failed", "group": "failed", "after": "upstream_failed", "beside": "succeeded",
        "group/gate": "failed", "group/item": "succeeded",
    }  # fmt: skip
    for batches in range(len(store._runs[1].journal[1])):
        resumed = VirtualClock().run(go_on(cut(store, batches)))
        assert (str(resumed.status), resumed.reason) == ("rejected", "gate was declined by cy")
        assert ends_of(resumed) == ends_of(whole)
        assert type(resumed["shut"].error) is Declined
    CALLED.clear()

    async def try_again() -> Any:
        return await plait.retry("last", store=store)

    again = VirtualClock().run(try_again())
    assert str(again.status) == "rejected"
    assert sorted(CALLED) == ["group", "group/gate", "shut"]


@pytest.mark.parametrize("seed", range(30))
def test_cancelled_paused_and_left_runs_are_replayed_too(seed: int) -> None:
    """W14 F71: whatever the caller does is a fact; the fixture of all tests compares the states after each."""
    dice = random.Random(seed)
    graph = random_graph(seed + 1000)
    store = MemoryStore()

    async def play() -> Any:
        run = plait.start(
            graph, store=store, max_concurrency=2, on_failure=dice.choice(["continue", "finish", "fail_fast"])
        )
        for _ in range(3):
            await asyncio.sleep(dice.choice([0.0, 0.1, 0.45, 1.0]))
            what = dice.choice([run.pause, run.resume, run.resume, run.cancel, run._driver.interrupt])
            what()
            run.resume()
        return await run

    result = VirtualClock().run(play())
    if result.interrupted:
        before = finished_in(store)
        CALLED.clear()
        VirtualClock().run(go_on(store))
        assert [key for key in CALLED if before[key]] == []
    _, once_more = ends_of(replayed(store)), ends_of(replayed(store))
    assert set(once_more) >= set(result)


def test_a_journal_says_each_fact_once_and_a_start_before_its_end() -> None:
    """W2 W4: the lines of a task in order: on record as taken (or ahead), then its one end."""
    whole, store = played(random_graph(7), 7)
    run = store.find("last")
    taken: Counter[tuple[int, int]] = Counter()
    ahead: set[int] = set()
    for _, data in store.journal(run, 1):
        for line in read_json(data):
            if line[0] == records.AHEAD:
                for first, last in line[1]:
                    ahead.update(range(first, last + 1))
            elif line[0] == records.TAKEN:
                taken[line[1], 0] += 1
            elif line[0] in (records.RETURNED, records.RAISED):
                assert taken[line[1], 0] or line[4] == 3  # a join is nobody's start
    assert isinstance(whole.table.size, int)
    assert Driver is not None
