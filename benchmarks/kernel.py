"""What a task costs in plait, beside hand-written asyncio that does the same and nothing else.

    python benchmarks/kernel.py            # five interleaved rounds; a table with medians and ratios
    python benchmarks/kernel.py --markdown # the table for the README
    python benchmarks/kernel.py --smoke    # one short round, results checked, no figures to trust

Each row runs in a process of its own, rows interleaved; wall and CPU time of the work alone, without imports; every result is
checked. Ratios inside one run are what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any

import plait

MOD = 1_000_000_007
LIMIT = 100


async def noop(item: int) -> int:
    return item


async def pause(item: int) -> int:
    await asyncio.sleep(0)
    return item


def layered(size: int, width: int = 100, fan: int = 3) -> list[tuple[int, ...]]:
    """Layers of `width`; each node needs `fan` random nodes of the layer before."""
    dice = random.Random(0)
    return [
        () if at < width else tuple((at // width - 1) * width + each for each in dice.sample(range(width), fan))
        for at in range(size)
    ]


def chain(size: int) -> list[tuple[int, ...]]:
    """Each node needs the one before."""
    return [() if not at else (at - 1,) for at in range(size)]


def expected(needs: list[tuple[int, ...]]) -> int:
    """The sum of all values: a node's is the sum of its needs' plus one."""
    values = [0] * len(needs)
    for at, row in enumerate(needs):
        values[at] = (sum(values[need] for need in row) + 1) % MOD
    return sum(values) % MOD


async def node(*values: int) -> int:
    return (sum(values) + 1) % MOD


# -- hand-written


async def gather_semaphore(body: Callable[[int], Any], size: int) -> list[Any]:
    semaphore = asyncio.Semaphore(LIMIT)

    async def one(item: int) -> Any:
        async with semaphore:
            return await body(item)

    return await asyncio.gather(*(one(item) for item in range(size)))


async def task_per_item(body: Callable[[int], Any], size: int) -> list[Any]:
    loop = asyncio.get_running_loop()
    values: list[Any] = [None] * size
    over = loop.create_future()
    items = iter(range(size))
    left = size

    def start() -> None:
        for item in items:
            task = loop.create_task(body(item))
            task.add_done_callback(lambda task, item=item: end(task, item))
            return

    def end(task: asyncio.Task[Any], item: int) -> None:
        nonlocal left
        values[item] = task.result()
        left -= 1
        if left:
            start()
        else:
            over.set_result(None)

    for _ in range(min(LIMIT, size)):
        start()
    await over
    return values


async def task_per_node(needs: list[tuple[int, ...]]) -> int:
    size = len(needs)
    left = [len(row) for row in needs]
    users: list[list[int]] = [[] for _ in needs]
    for at, row in enumerate(needs):
        for need in row:
            users[need].append(at)
    ready = [at for at in range(size) if not left[at]][::-1]
    values = [0] * size
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    running = done = 0

    def pump() -> None:
        nonlocal running
        while ready and running < LIMIT:
            at = ready.pop()
            running += 1
            task = loop.create_task(node(*[values[need] for need in needs[at]]))
            task.add_done_callback(lambda task, at=at: end(task, at))

    def end(task: asyncio.Task[int], at: int) -> None:
        nonlocal running, done
        values[at] = task.result()
        running -= 1
        done += 1
        for user in users[at]:
            left[user] -= 1
            if not left[user]:
                ready.append(user)
        if done == size:
            over.set_result(None)
        else:
            pump()

    pump()
    await over
    return sum(values) % MOD


def graphlib_loop(needs: list[tuple[int, ...]]) -> int:
    sorter = TopologicalSorter(dict(enumerate(needs)))
    sorter.prepare()
    values = [0] * len(needs)
    while sorter.is_active():
        for at in sorter.get_ready():
            values[at] = (sum(values[need] for need in needs[at]) + 1) % MOD
            sorter.done(at)
    return sum(values) % MOD


# -- plait, through its public doors


async def plait_flat(body: Callable[[int], Any], size: int, **options: Any) -> list[Any]:
    return await plait.amap(body, range(size), max_concurrency=LIMIT, **options)


async def plait_graph(needs: list[tuple[int, ...]]) -> int:
    call = plait.task(node)
    nodes: list[Any] = []
    for row in needs:
        nodes.append(call.bind(*[nodes[need] for need in row]))
    return sum(await plait.arun(nodes, max_concurrency=LIMIT)) % MOD


# -- rows: group, name, size, work

Row = tuple[str, str, int, Callable[[], Any]]


def rows(scale: float) -> list[Row]:
    """The rows, the first of each group being what the others are compared with."""
    flat, graphs, long = int(100_000 * scale), int(100_000 * scale), int(1_000_000 * scale)

    def flat_row(make: Callable[..., Any], body: Callable[[int], Any], size: int, **options: Any) -> Callable[[], Any]:
        return lambda: lambda: check(asyncio.run(make(body, size, **options)) == list(range(size)))

    def graph_row(make: Callable[..., Any], shape: Callable[[int], Any], size: int) -> Callable[[], Any]:
        def prepare() -> Callable[[], None]:
            needs = shape(size)
            want = expected(needs)

            def work() -> None:
                found = make(needs)
                check((asyncio.run(found) if asyncio.iscoroutine(found) else found) == want)

            return work

        return prepare

    return [
        ("flat no-op", "one Task per item", flat, flat_row(task_per_item, noop, flat)),
        ("flat no-op", "gather + Semaphore", flat, flat_row(gather_semaphore, noop, flat)),
        ("flat no-op", "plait.amap", flat, flat_row(plait_flat, noop, flat)),
        ("flat no-op", "plait.amap, a timeout each", flat, flat_row(plait_flat, noop, flat, timeout=60)),
        ("flat suspending", "one Task per item", flat, flat_row(task_per_item, pause, flat)),
        ("flat suspending", "gather + Semaphore", flat, flat_row(gather_semaphore, pause, flat)),
        ("flat suspending", "plait.amap", flat, flat_row(plait_flat, pause, flat)),
        ("layered graph", "one Task per node", graphs, graph_row(task_per_node, layered, graphs)),
        ("layered graph", "bare graphlib loop", graphs, graph_row(graphlib_loop, layered, graphs)),
        ("layered graph", "plait, building included", graphs, graph_row(plait_graph, layered, graphs)),
        ("chain", "one Task per node", graphs, graph_row(task_per_node, chain, graphs)),
        ("chain", "plait, building included", graphs, graph_row(plait_graph, chain, graphs)),
        ("layered graph, large", "plait, building included", long, graph_row(plait_graph, layered, long)),
    ]


def check(right: bool) -> None:
    """Raises unless the work gave the right result."""
    if not right:
        raise SystemExit("a row gave a wrong result")


def one(index: int, scale: float) -> None:
    """Runs one row in this process and prints its figures."""
    _, _, size, prepare = rows(scale)[index]
    work = prepare()
    # What is imported at first use is not part of the work.
    asyncio.run(plait_graph([()]))
    asyncio.run(plait_flat(noop, 1))
    before = peak_kb()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        json.dumps(
            {"wall_us": wall / size * 1e6, "cpu_us": cpu / size * 1e6, "bytes": (peak_kb() - before) * 1024 / size}
        )
    )


def peak_kb() -> int:
    """Peak resident memory of this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Runs all rows and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--row", type=int)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.scale = 1, 0.01
    if options.row is not None:
        one(options.row, options.scale)
        return
    table = rows(options.scale)
    figures: list[list[dict[str, float]]] = [[] for _ in table]
    for _ in range(options.rounds):
        for index in range(len(table)):
            command = [sys.executable, __file__, "--row", str(index), "--scale", str(options.scale)]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"})
            if done.returncode:
                sys.exit(done.stderr)
            figures[index].append(json.loads(done.stdout))
    base: dict[str, dict[str, float]] = {}
    if options.markdown:
        print(
            "| work | row | us per task, wall | CPU | ratio wall | ratio CPU | bytes |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |"
        )
    for (group, name, size, _), found in zip(table, figures, strict=True):
        median = {key: statistics.median(each[key] for each in found) for key in found[0]}
        first = base.setdefault(group, median)
        ratios = (median["wall_us"] / first["wall_us"], median["cpu_us"] / first["cpu_us"])
        cells = (
            f"{group}, {size:,}",
            name,
            f"{median['wall_us']:.2f}",
            f"{median['cpu_us']:.2f}",
            f"{ratios[0]:.2f}",
            f"{ratios[1]:.2f}",
            f"{median['bytes']:.0f}",
        )
        print(
            "| " + " | ".join(cells) + " |"
            if options.markdown
            else "  ".join(f"{cell:>28}" if at < 2 else f"{cell:>8}" for at, cell in enumerate(cells))
        )


if __name__ == "__main__":
    main()
