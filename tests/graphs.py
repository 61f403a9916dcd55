"""Random graphs for simulations and properties: every policy that the scheduler knows, in every mixture."""

from __future__ import annotations

import random
from typing import Any

from plait._core.graph import Batch
from plait._core.health import HealthMonitor
from plait._core.policy import NO_RETRY, PLAIN, Policy, Retry, of_cleanup, policy
from plait.testing import Faults, Likelihood, Simulation, simulate

POOLS = {"wide": 5, "narrow": 2}
RATES = (("fast", 6, 5.0), ("slow", 3, 20.0))


def random_batch(dice: random.Random, size: int = 24, retry: Any = Retry) -> Batch:
    """`size` tasks with random needs and policies, some of them controls, some with a `when`."""
    keys = [f"t{at}" for at in range(size)]
    needs = [tuple(dice.sample(range(at), min(at, dice.choice([0, 0, 1, 1, 2, 3])))) for at in range(size)]
    policies = [random_policy(dice, retry) for _ in keys]
    if dice.random() < 0.7:  # where there is a budget nothing is lent
        policies = [each.but(budget=()) for each in policies]
    controls = [at for at in range(size) if dice.random() < 0.1]
    conditional = [at for at in range(size) if dice.random() < 0.1]
    last = range(size - dice.choice([1, 2, 3]), size) if dice.random() < 0.25 else range(0)
    for at in last:
        policies[at] = of_cleanup(policies[at], joined=dice.random() < 0.3)
    repairs = [at for at in range(size) if dice.random() < 0.15] if dice.random() < 0.4 else []
    apart = random.Random(repr(needs))  # the other draws stay those that were looked at
    narrow = apart.random() < 0.5
    policies = [
        each.but(width=apart.choice([1, 1, 2, 3])) if narrow and apart.random() < 0.5 else each for each in policies
    ]
    return Batch(
        size,
        calls=keys,
        keys=keys,
        needs=needs,
        policies=policies,
        controls=controls,
        conditional=conditional,
        cleanups=last,
        repairs=repairs,
    )


def random_policy(dice: random.Random, retry: Any = Retry) -> Policy:
    """A policy with something of everything; `retry` makes its retries."""
    again = retry(attempts=dice.randint(1, 3), delay=dice.choice([0, 1, 5])) if dice.random() < 0.4 else NO_RETRY
    return policy(PLAIN, **random_options(dice)).but(retry=again, **random_uses(dice))


def random_uses(dice: random.Random) -> dict[str, Any]:
    """Pools with weights, keys, rates with costs: most tasks have none."""
    found: dict[str, Any] = {}
    if dice.random() < 0.3:
        names = dice.choice([["wide"], ["narrow"], ["narrow", "wide"]])
        found["pool"] = tuple((name, dice.randint(1, 2 if name == "narrow" else 4), None) for name in names)
    if dice.random() < 0.15:
        found["concurrency_key"] = dice.choice([("one", 1), ("two", 2)])
    if dice.random() < 0.25:
        found["rate_limit"] = tuple(dice.choice([RATES[:1], RATES[1:], RATES]))
        found["cost"] = dice.randint(1, 3)
    return found


def random_options(dice: random.Random) -> dict[str, Any]:
    """Options of one task, in the public vocabulary."""
    options = {
        "priority": dice.choice([1, 2, 2, 2, 3]),
        "timeout": dice.choice([None, None, None, 4.0, 8.0]),
        "idle_timeout": dice.choice([None] * 7 + [1.5, 3.0]),
        "deadline": dice.choice([None] * 6 + [15.0]),
        "grace": dice.choice([1.0, 5.0]),
        "join": dice.choice(["all_success"] * 8 + ["all_done", "one_success", "one_failed", "none_failed"]),
        "uninterruptible": dice.random() < 0.1,
        "critical": dice.random() < 0.03,
        "allow_failure": dice.random() < 0.15,
        "on_failure": dice.choice([None, None, None, "fail_fast", "finish", "continue"]),
        "max_concurrency": dice.choice([None, None, 1, 2, 3]),
        "min_success": dice.choice([None] * 4 + [1, 2, 2, "50%"]),
        "max_failures": dice.choice([None] * 6 + [0, 1]),
        "reduce": dice.choice([None] * 4 + ["majority"]),
        "budget": dice.choice([None] * 8 + [{"usd": 1}, {"usd": 3}]),
        "on_interrupt": dice.choice([None] * 6 + ["fail", "ask", "ask"]),
    }
    return {name: value for name, value in options.items() if value is not None}


def random_health(dice: random.Random) -> dict[str | None, HealthMonitor] | None:
    """Monitors of the run, of pools, or of neither."""
    watched = dice.choice([[], [], [None], ["wide"], ["narrow", "wide"]])
    return {
        name: HealthMonitor(
            dice.choice([0, 0.25, 0.5]),
            dice.choice([2, 4]),
            min_outcomes=dice.choice([1, 2]),
            pause=dice.choice([3, 10]),
            max_pause=dice.choice([10, 30]),
            probes=dice.choice([1, 2]),
        )
        for name in watched
    } or None


def random_run(seed: int, **options: Any) -> Simulation:
    """One simulated run in which everything is drawn from `seed`, faults included."""
    dice = random.Random(seed)
    batch = random_batch(dice, **({"retry": options.pop("retry")} if "retry" in options else {}))
    return simulate(
        batch,
        seed,
        max_concurrency=dice.choice([1, 2, 3, 4, 8, None]),
        on_failure=dice.choice(["continue", "continue", "fail_fast", "finish"]),
        deadline=dice.choice([None] * 5 + [60.0]),
        pools=POOLS,
        budget=dice.choice([None] * 3 + [{"usd": 4}]),
        health=random_health(dice),
        likelihood=Likelihood(
            fails=dice.choice([0, 0.1, 0.3]),
            deaf=dice.choice([0, 0.2]),
            grows=dice.choice([0, 0.2]),
            asks=dice.choice([0, 0.2]),
            gives_up=dice.choice([0, 0.3]),
            unwanted=dice.choice([0, 0, 0.8]),
            rejects=dice.choice([0, 0, 0, 0.3]),
            blocks=dice.choice([0, 0.5]),
            cancels=dice.choice([0, 0, 0.5]),
            pauses=dice.choice([0, 0.3]),
            later=dice.choice([0, 0.1]),
            spends=dice.choice([0, 0.5]),
            settles=dice.choice([0, 0.5]),
            cleans=dice.choice([0, 0, 0.4]),
            lends=dice.choice([0, 0, 0.5]),
            shares=dice.choice([0, 0, 1]),
            dies=dice.choice([0, 0, 0.8]),
            declines=random.Random(f"declines {seed}").choice([0, 0, 0.5, 1]),
            narrows=random.Random(f"narrows {seed}").choice([0, 0.5]),
            goes_round=random.Random(~seed).choice(
                [0, 0, 0.4]
            ),  # drawn apart: the other draws stay those that were looked at
        ),
        faults=Faults.all() if dice.random() < 0.8 else Faults(),
        **options,
    )
