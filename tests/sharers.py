"""A process that shares a pool, a rate and a lock with others through a store: `python sharers.py STORE LOG SECONDS`.

Each start and end of what is limited is a line of LOG, written at once: kind, what, process, units, seconds of the machine's clock.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time

import plait

POOL, UNITS, RATE, WINDOW_S = 4, 30, "30/1s", 1.0


def main(store: str, path: str, seconds: float) -> None:
    """Runs small graphs one after the other until the time is over."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def tell(kind: str, what: str, units: int = 1) -> None:
        os.write(log, f"{kind} {what} {os.getpid()} {units} {time.monotonic()!r}\n".encode())

    async def hold(units: int) -> None:
        tell("+", "pool", units)
        await asyncio.sleep(random.uniform(0, 0.02))
        tell("-", "pool", units)

    async def call() -> None:
        tell("!", "rate")

    async def one_at_a_time() -> None:
        async with plait.Lock("index", folder=os.path.join(os.path.dirname(path), "named")):
            tell("+", "lock")
            await asyncio.sleep(random.uniform(0, 0.005))
            tell("-", "lock")

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        made = plait.Graph("sharers", pools={"gpu": POOL})
        for number in range(12):
            units = random.choice([1, 1, 2, 3])
            made.add(f"hold{number}", plait.task(pool={"gpu": units})(hold), args=(units,))
        for number in range(3):
            made.add(f"call{number}", plait.task(rate_limit=plait.Rate("api", RATE))(call))
            made.add(f"lock{number}", one_at_a_time)
        plait.run(made, store=store, durability="normal", max_concurrency=8)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
