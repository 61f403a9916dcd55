"""X9: what a store learned of tasks orders their starts and predicts a run."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

import plait
from plait._core.graph import Batch
from plait._core.policy import Rules
from plait._engine.work import Work
from plait.durations import longest_paths, ranked
from plait.prediction import predict
from plait.stores.base import Append, Learned, NewRun
from plait.stores.memory import MemoryStore
from plait.testing import VirtualClock


@plait.task
async def sleeps(seconds: float, *needs: Any) -> None:
    await asyncio.sleep(seconds)


@plait.task
async def sizes(number: int) -> list[float]:
    return [2.0] * number


def graph(name: str = "g") -> plait.Graph:
    made = plait.Graph(name)
    for number in range(6):
        made.add(f"short{number}", sleeps, args=(1.0,))
    made.add("long", sleeps, args=(4.0,))
    made.add("after", sleeps, args=(3.0,), needs=["short5"])
    made.add("each", sleeps.map(made.add("sizes", sizes, args=(3,))))
    return made


def run(target: Any, store: MemoryStore, slots: int) -> Any:
    async def kept() -> Any:
        return await plait.start(target, store=store, max_concurrency=slots)

    return VirtualClock().run(kept())


def batch_of(target: plait.Graph) -> Batch:
    from plait.programs import compile_graph

    return compile_graph(target).batch


def test_a_prediction_knows_the_limits_of_what_it_predicts() -> None:
    """X9 X4: pools and rates, of the items of a map, too."""
    made = plait.Graph("g", pools={"db": 2})
    made.add("pooled", plait.task(pool="db")(sleeps).map([1.0] * 6))
    made.add("rated", plait.task(rate_limit="2/10s")(sleeps).map([1.0] * 5))
    store = MemoryStore()
    taken = run(made, store, 20)
    assert taken.status == "succeeded"
    predicted = predict(store, batch_of(made), "g", Rules(max_concurrency=20, pools=(("db", 2),)))
    assert predicted is not None
    assert predicted.wall_s == pytest.approx(taken.wall_s, rel=1e-3) == pytest.approx(21.0, rel=1e-3)


@pytest.mark.parametrize("slots", [1, 2, 3, 10])
def test_a_prediction_is_what_the_next_run_takes(slots: int) -> None:
    """X9: the same scheduler, the same order, the learned seconds."""
    store = MemoryStore()
    run(graph(), store, 4)
    predicted = predict(store, batch_of(graph()), "g", Rules(max_concurrency=slots))
    assert predicted is not None
    taken = run(graph(), store, slots)
    assert predicted.wall_s == pytest.approx(taken.wall_s, rel=1e-6)
    assert predicted.work_s == pytest.approx(6 * 1 + 4 + 3 + 3 * 2, rel=1e-6)
    assert predicted.critical_path_s == pytest.approx(4.0, rel=1e-6)
    assert predicted.tasks == 12
    assert predicted.unknown == 0
    assert predicted.efficiency == pytest.approx(predicted.work_s / (predicted.wall_s * slots))


def test_the_longest_path_first_is_shorter_where_first_come_first_served_is_not() -> None:
    """X9: four short tasks before a long one, on two slots."""

    def made() -> plait.Graph:
        graph = plait.Graph("order")
        for number in range(4):
            graph.add(f"short{number}", sleeps, args=(1.0,))
        graph.add("long", sleeps, args=(4.0,))
        return graph

    store = MemoryStore()
    assert run(made(), store, 2).wall_s == pytest.approx(6.0, rel=1e-6)
    assert run(made(), store, 2).wall_s == pytest.approx(4.0, rel=1e-6)


def test_nothing_known_is_said_and_what_is_new_counts_as_average() -> None:
    store = MemoryStore()
    assert predict(store, batch_of(graph()), "g", Rules(max_concurrency=2)) is None
    run(graph(), store, 2)
    made = graph()
    made.add("new", sleeps, args=(9.0,))
    predicted = predict(store, batch_of(made), "g", Rules(max_concurrency=1))
    assert predicted is not None
    assert predicted.unknown == 1


def test_the_longest_path_of_every_task_is_that_of_an_exhaustive_walk() -> None:
    dice = random.Random(5)
    for _ in range(50):
        size = dice.randint(1, 30)
        needs = [tuple(dice.sample(range(at), min(at, dice.randint(0, 3)))) for at in range(size)]
        seconds = [dice.uniform(0, 5) for _ in range(size)]
        users = [[user for user in range(size) if at in needs[user]] for at in range(size)]

        def walk(at: int, users: list[list[int]] = users, seconds: list[float] = seconds) -> float:
            return seconds[at] + max((walk(user) for user in users[at]), default=0.0)

        assert longest_paths(needs, seconds) == pytest.approx([walk(at) for at in range(size)])


def test_priority_goes_before_the_path_and_alike_tasks_stay_in_order() -> None:
    started: list[str] = []

    @plait.task
    async def notes(name: str) -> None:
        started.append(name)
        await asyncio.sleep({"slow": 5, "high": 1}.get(name, 1))

    def made() -> plait.Graph:
        graph = plait.Graph("order")
        for name in ("a", "b", "slow", "c"):
            graph.add(name, notes, args=(name,))
        graph.add("high", notes, args=("high",), priority="high")
        return graph

    store = MemoryStore()
    run(made(), store, 1)
    assert started == ["high", "a", "b", "slow", "c"]
    started.clear()
    run(made(), store, 1)
    assert started == ["high", "slow", "a", "b", "c"]


def test_what_a_run_teaches_is_a_weighted_mean(tmp_path: Path) -> None:
    from plait.stores.opening import open_store

    store = open_store(tmp_path / "plait.db")
    claim = store.create(NewRun(None, "g", {}, {}, 1, 0.0))
    for seconds in (10.0, 20.0):
        store.append(Append(claim, [], lambda error: None, None, {"g/a": Learned(seconds, 2, 4.0)}))
    store.release(claim)
    assert store.learned_of("g/") == {"g/a": Learned(13.0, 4, 4.0)}
    assert store.learned_of("h/") == {}
    store.close()


def test_ranks_are_left_out_where_they_say_nothing() -> None:
    store = MemoryStore()
    batch = batch_of(graph())
    ranked(store, batch, "g")
    assert batch.ranks is None
    flat = Batch(2, calls=Work(), keys=["a", "b"])  # type: ignore[arg-type]
    ranked(store, flat, "g")
    assert flat.ranks is None


@pytest.mark.realtime
def test_the_command(tmp_path: Path) -> None:
    """X9: `plait simulate FILE -j N`: wall time, critical path, efficiency; nothing runs."""
    import subprocess
    import sys

    (tmp_path / "f.yaml").write_text(
        "name: f\ntasks:\n  list: {run: 'printf \"1\\n2\\n3\\n\"', output: lines}\n"
        "  each: {foreach: '{{ tasks.list.output }}', run: 'sleep 0.1; echo x >> ran'}\n"
        "  group: {tasks: {a: {run: sleep 0.1}, b: {run: 'true', needs: [a]}}}\n"
    )

    def plait_(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "plait", *words], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )

    refused = plait_("simulate", "f.yaml", "--store", "s.db")
    assert refused.returncode == 1
    assert "there is no store" in refused.stderr
    assert plait_("run", "f.yaml", "--store", "s.db").returncode == 0
    predicted = json.loads(plait_("simulate", "f.yaml", "-j", "1", "--store", "s.db", "--json").stdout)
    assert predicted["tasks"] == 6
    assert 0.4 < predicted["wall_s"] < 4
    assert predicted["efficiency"] == pytest.approx(1.0, abs=0.01)
    assert "critical path" in plait_("simulate", "f.yaml", "--store", "s.db").stdout
    assert (tmp_path / "ran").read_text() == "x\n" * 3
    other = tmp_path / "g.yaml"
    other.write_text("name: g\ntasks: {a: {run: 'true'}}\n")
    assert "run it once" in plait_("simulate", "g.yaml", "--store", "s.db").stderr
