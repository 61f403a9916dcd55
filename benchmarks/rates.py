"""A rate limit, beside those of aiolimiter, pyrate-limiter and aiometer: `python benchmarks/rates.py [--peers DIR]`.

Four questions, one table. How many calls begin in the worst window of the interval, where so many are allowed? In which order do they begin,
where they are offered one after another? How many calls that were offered later overtake a heavy one? And what does a call cost that need not
wait? Starts are what the bodies see of the clock. Each library runs in a process of its own, the peers from `DIR/limits`:
`python3 -m venv DIR/limits; DIR/limits/bin/pip install aiolimiter pyrate-limiter aiometer`.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

UNITS, INTERVAL = 20, 1.0
"""So many in any such interval."""

OFFERED = 70
HEAVY, LIGHT = 10, 60
"""The cost of the heavy call, and how many light ones come after it."""

CHEAP = 20_000
"""Calls under a rate that never makes one wait."""

Call = tuple[int, int]
"""Number in the order in which it is offered, and cost."""

Runner = Callable[[list[Call], Callable[[int], Awaitable[None]], int, float], Coroutine[Any, Any, None]]


async def with_plait(calls: list[Call], body: Callable[[int], Awaitable[None]], units: int, interval: float) -> None:
    """As it comes: a flat map with a rate, the cost of each worked out from its item."""
    import plait

    async def call(item: Call) -> None:
        await body(item[0])

    heavy = any(cost > 1 for _, cost in calls)
    options: dict[str, Any] = {"cost": lambda item: item[1]} if heavy else {}
    await plait.amap(call, calls, max_concurrency=None, rate_limit=f"{units}/{interval:g}s", **options)


async def with_aiolimiter(
    calls: list[Call], body: Callable[[int], Awaitable[None]], units: int, interval: float
) -> None:
    """A leaky bucket around each call."""
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(units, interval)

    async def call(number: int, cost: int) -> None:
        await limiter.acquire(cost)
        await body(number)

    await asyncio.gather(*(call(*each) for each in calls))


async def with_pyrate(calls: list[Call], body: Callable[[int], Awaitable[None]], units: int, interval: float) -> None:
    """Its bucket in memory, around each call."""
    from pyrate_limiter import Limiter, Rate

    limiter = Limiter(Rate(units, round(interval * 1000)))

    async def call(number: int, cost: int) -> None:
        await limiter.try_acquire_async("call", cost)
        await body(number)

    await asyncio.gather(*(call(*each) for each in calls))


async def with_aiometer(calls: list[Call], body: Callable[[int], Awaitable[None]], units: int, interval: float) -> None:
    """Starts at even distances; it knows no costs."""
    import aiometer

    if any(cost > 1 for _, cost in calls):
        raise NotImplementedError
    await aiometer.run_all([functools.partial(body, number) for number, _ in calls], max_per_second=units / interval)


RUNNERS: dict[str, Runner] = {
    "plait": with_plait,
    "aiolimiter": with_aiolimiter,
    "pyrate-limiter": with_pyrate,
    "aiometer": with_aiometer,
}


def begun(runner: Runner, calls: list[Call], units: int, interval: float) -> list[tuple[float, int]]:
    """When each body began, by its own look at the clock, in the order of the starts."""
    seen: list[tuple[float, int]] = []

    async def body(number: int) -> None:
        seen.append((time.monotonic(), number))

    asyncio.run(runner(calls, body, units, interval))
    return seen


def worst_window(starts: list[float], interval: float) -> int:
    """The most starts in any half-open window of that length."""
    return max(sum(1 for other in starts if first <= other < first + interval) for first in starts)


def measure(name: str) -> dict[str, Any]:
    """The figures of one library."""
    runner = RUNNERS[name]
    seen = begun(runner, [(at, 1) for at in range(OFFERED)], UNITS, INTERVAL)
    order = [number for _, number in seen]
    found: dict[str, Any] = {
        "worst": worst_window([at for at, _ in seen], INTERVAL),
        "out_of_order": sum(1 for at, number in enumerate(order) if number != at),
        "took": round(seen[-1][0] - seen[0][0], 2),
    }
    # A heavy call behind as many light ones as are allowed at once, and many light ones behind it.
    calls = [(at, HEAVY if at == UNITS else 1) for at in range(UNITS + 1 + LIGHT)]
    try:
        seen = begun(runner, calls, UNITS, INTERVAL)
        place = [number for _, number in seen].index(UNITS)
        found["overtaken"] = sum(1 for _, number in seen[:place] if number > UNITS)
    except NotImplementedError:
        found["overtaken"] = None
    if name == "aiometer":
        found["cost_us"] = None  # it never starts two at once
        return found
    costs = []
    for _ in range(3):
        began = time.perf_counter()
        begun(runner, [(at, 1) for at in range(CHEAP)], 10_000_000, 1.0)
        costs.append((time.perf_counter() - began) / CHEAP * 1e6)
    found["cost_us"] = round(statistics.median(costs), 1)
    return found


def rows(found: dict[str, dict[str, Any]]) -> list[str]:
    """The table, as Markdown."""
    lines = [
        f"| | calls in the worst window ({UNITS} allowed) | {OFFERED} calls took, s | began out of order | later ones before a heavy call | µs a call, none waits |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, each in found.items():
        if "missing" in each:
            lines.append(f"| {name} | {each['missing']} | | | | |")
            continue
        shown = [each["worst"], each["took"], each["out_of_order"], each["overtaken"], each["cost_us"]]
        lines.append(f"| {name} | {' | '.join('-' if value is None else str(value) for value in shown)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peers", type=Path, default=Path(os.environ.get("PLAIT_PEERS", HERE / "venvs")), metavar="DIR"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    found: dict[str, dict[str, Any]] = {}
    for name in RUNNERS:
        python = Path(sys.executable) if name == "plait" else given.peers.absolute() / "limits" / "bin" / "python"
        if not python.exists():
            found[name] = {"missing": "not installed"}
            continue
        done = subprocess.run([str(python), __file__, "--one", name], capture_output=True, text=True, timeout=300)
        failed = done.stderr.strip().splitlines()[-1:] or ["no output"]
        found[name] = json.loads(done.stdout) if done.returncode == 0 else {"missing": f"failed: {failed[0]}"}
    print("\n".join(rows(found)))


if __name__ == "__main__":
    main()
