"""Seeded simulations with faults, planted bugs, replay, and properties of random graphs."""

from __future__ import annotations

import random
import time
from graphlib import TopologicalSorter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import random_batch, random_run
from plait._core import policy as policy_module
from plait._core.events import replay
from plait._core.graph import Batch
from plait._core.policy import PLAIN, Policy, Retry, policy
from plait._core.scheduler import Scheduler
from plait.errors import InvariantError
from plait.testing import Faults, Likelihood, SimulationError, simulate
from planted import BUGS, Bug, plant

SEEDS = 10_000


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS // 10))
def test_ten_thousand_seeds_with_faults_keep_every_promise(first: int) -> None:
    """A tenth of them at a time. E11 X10 W13 W14: 24 tasks and more each; limits, needs, order, one final status, an end, at every moment."""
    began = time.monotonic()
    for seed in range(first, first + SEEDS // 10):
        random_run(seed)
    print(f"{SEEDS // 10} seeds in {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_planted_bugs_are_found_within_a_thousand_seeds(bug: Bug) -> None:
    options = {"retry": plant(bug)} if bug.module is policy_module else {"make": plant(bug)}
    for seed in range(1000):
        try:
            random_run(seed, **options)
        except (SimulationError, InvariantError):
            return
    pytest.fail(f"{bug.name}: not found")


def test_equal_seeds_give_equal_runs_bit_for_bit() -> None:
    """X10."""
    for seed in range(50):
        assert random_run(seed).moves == random_run(seed).moves


def test_a_replay_of_the_journal_makes_the_same_moves() -> None:
    for seed in range(300):
        run = random_run(seed)
        again = Scheduler(run.scheduler.rules, 0.0, record_moves=True)
        moves = []
        for event in run.journal:
            replay(again, [event])
            moves += again.table.moves or []
            again.table.moves = []
            again.commands.clear()
            again.turns.clear()
        assert moves == run.moves
        assert again.table.status == run.scheduler.table.status


def timing_free(seed: int) -> Batch:
    """A random graph whose outcomes may not depend on timing: no clocks that run out, no join that takes the first."""
    dice = random.Random(seed)
    batch = random_batch(dice)
    assert batch.policies is not None
    batch.policies = [
        Policy(
            priority=each.priority,
            retry=Retry(each.retry.attempts, delay=each.retry.delay),
            join=each.join if each.join in ("all_success", "all_done", "none_failed") else PLAIN.join,
            allow_failure=each.allow_failure,
            max_concurrency=each.max_concurrency,
        )
        for each in batch.policies
    ]
    batch.conditional = []
    return batch


def ends(seed: int):  # type: ignore[no-untyped-def]
    def end(key: str, attempt: int) -> BaseException | None:
        return ValueError(key) if random.Random(f"{seed} {key} {attempt}").random() < 0.25 else None

    return end


@given(
    graph_seed=st.integers(0, 10**6),
    timings=st.lists(st.integers(0, 10**6), min_size=2, max_size=4),
    slots=st.integers(1, 6),
)
@settings(max_examples=150, deadline=None)
def test_final_states_do_not_depend_on_timing(graph_seed: int, timings: list[int], slots: int) -> None:
    """W12: equal outcomes of attempts give equal final states, whatever ends when and however many slots there are."""
    results = []
    for number, seed in enumerate(timings):
        batch = timing_free(graph_seed)
        batch.controls = []
        run = simulate(
            batch,
            seed,
            max_concurrency=slots + number,
            ends=ends(graph_seed),
            likelihood=Likelihood(),
            faults=Faults.all(),
        )
        results.append(run.statuses)
    assert all(each == results[0] for each in results)


@given(seed=st.integers(0, 10**6), slots=st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_the_order_of_starts_is_one_that_graphlib_allows(seed: int, slots: int) -> None:
    """B3 E1, with graphlib as the oracle."""
    dice = random.Random(seed)
    size = dice.randint(1, 40)
    needs = [tuple(dice.sample(range(at), min(at, dice.randint(0, 3)))) for at in range(size)]
    keys = [str(at) for at in range(size)]
    batch = Batch(size, calls=keys, keys=keys, needs=needs)
    run = simulate(batch, seed, max_concurrency=slots, ends=lambda key, attempt: None)
    sorter = TopologicalSorter(dict(enumerate(needs)))
    sorter.prepare()
    ready = set(sorter.get_ready())
    started = 0
    for move in run.moves:
        if move.new == 2:
            assert move.task in ready
            started += 1
        elif move.new == 5:
            sorter.done(move.task)
            ready |= set(sorter.get_ready())
    assert started == size
    assert not sorter.is_active()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_results_keep_input_order_and_length(seed: int) -> None:
    """A2 C5 B13."""
    size = random.Random(seed).randint(0, 30)
    keys = [f"t{at}" for at in range(size)]
    run = simulate(
        Batch(size, calls=keys, keys=keys), seed, max_concurrency=3, on_failure="fail_fast", faults=Faults.all()
    )
    assert [each.key for each in run.outcomes] == keys


def test_a_graph_is_simulated_without_calling_anything() -> None:
    """X10: users' own graphs."""
    import plait

    def explode() -> None:
        raise AssertionError("called")

    graph = plait.Graph("mine")
    graph.add("a", explode)
    graph.add("b", explode, needs=["a"], retries=2)
    run = simulate(graph, seed=3, ends=lambda key, attempt: ValueError() if (key, attempt) == ("b", 1) else None)
    assert {each.key: (str(each.status), each.attempts) for each in run.outcomes} == {
        "a": ("succeeded", 1),
        "b": ("succeeded", 2),
    }


def test_ten_thousand_retries_are_spread_by_their_jitter() -> None:
    """F78."""
    size = 10_000
    scheduler = Scheduler(policy_module.Rules(), 0.0)
    keys = [""] * size
    scheduler.added(Batch(size, calls=keys, keys=keys, policy=policy(PLAIN, retry={"attempts": 2, "delay": 60})), 0.0)
    dice = random.Random(1)
    while (task := scheduler.take(0.0)) >= 0:
        scheduler.raised(task, 1, ValueError(), 0.0, dice.random())
    seconds = [0] * 60
    while (at := scheduler.next_wake()) is not None:
        scheduler.ticked(at)
        while scheduler.take(at) >= 0:
            seconds[min(59, int(at))] += 1
    assert sum(seconds) == size
    assert max(seconds) < 3 * size / 60
