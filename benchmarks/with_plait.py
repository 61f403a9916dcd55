"""plait, through its public doors only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from common import LIMIT, MOD, SHAPES, Job, Shape, flat, graph, node, noop, pause
from limits import Body, Sleepers, cancel_row, stop_row, uvloop_run

import plait

# -- flat


def amap_row(body: Body, runner: Callable[..., Any], size: int, **options: Any) -> Job:
    return flat(lambda: runner(plait.amap(body, range(size), max_concurrency=LIMIT, **options)), size)


# -- graphs


async def of_list(needs: list[int]) -> int:
    """The value of a node that takes its needs in one list, as people write it where there are many."""
    return (sum(needs) + 1) % MOD


def build(shape: Shape) -> Any:
    """What is given to `arun`: the node that is wanted, or the list of them."""
    call, wide = plait.task(node), plait.task(of_list)
    nodes: list[Any] = []
    for row in shape.needs:
        if not row:
            nodes.append(call.bind())
        elif len(row) == 1:
            nodes.append(call.bind(nodes[row[0]]))
        elif len(row) < 10:
            nodes.append(call.bind(*[nodes[need] for need in row]))
        else:
            nodes.append(wide.bind([nodes[need] for need in row]))
    if len(shape.targets) == len(nodes):
        return nodes
    wanted = [nodes[at] for at in shape.targets]
    return wanted if len(wanted) > 1 else wanted[0]


async def arun(target: Any) -> int:
    values = await plait.arun(target, max_concurrency=LIMIT)
    return (sum(values) if isinstance(values, list) else values) % MOD


def graph_row(shape: str, size: int) -> Job:
    """Building the nodes is part of the work."""
    made = SHAPES[shape](size)
    return graph(lambda: asyncio.run(arun(build(made))), made)


def engine_row(shape: str, size: int) -> Job:
    """The nodes are there before: `arun` alone, which compiles them and runs them."""
    made = SHAPES[shape](size)
    target = build(made)
    return graph(lambda: asyncio.run(arun(target)), made)


def listed_row(size: int) -> Job:
    """A list of nodes without needs, building included."""
    leaf = plait.task(noop)
    return flat(lambda: asyncio.run(plait.arun([leaf.bind(item) for item in range(size)], max_concurrency=LIMIT)), size)


def grown_row(size: int) -> Job:
    """The same nodes, returned by a task that runs."""
    leaf = plait.task(noop)

    @plait.task
    async def grow() -> list[Any]:
        return [leaf.bind(item) for item in range(size)]

    return flat(lambda: asyncio.run(plait.arun(grow.bind(), max_concurrency=LIMIT)), size)


# -- cancel and stop


async def cancel_amap(sleepers: Sleepers) -> None:
    try:
        await plait.amap(sleepers.body, range(sleepers.size), max_concurrency=None)
    except ValueError:
        pass


async def queue_amap(sleeper: Callable[..., Any], size: int) -> None:
    await plait.amap(sleeper, range(1 + size), max_concurrency=1)


async def queue_graph(sleeper: Callable[..., Any], size: int) -> None:
    root = plait.task(sleeper).bind()
    leaf = plait.task(noop)
    await plait.arun([root, *[leaf.bind(root) for _ in range(size)]], max_concurrency=LIMIT)


ROWS: dict[str, Callable[[int], Job]] = {
    "amap noop": partial(amap_row, noop, asyncio.run),
    "amap pause": partial(amap_row, pause, asyncio.run),
    "amap noop timeout": partial(amap_row, noop, asyncio.run, timeout=60),
    "amap pause timeout": partial(amap_row, pause, asyncio.run, timeout=60),
    "amap noop uvloop": partial(amap_row, noop, uvloop_run),
    "amap pause uvloop": partial(amap_row, pause, uvloop_run),
    **{f"graph {shape}": partial(graph_row, shape) for shape in SHAPES},
    **{f"engine {shape}": partial(engine_row, shape) for shape in SHAPES},
    "listed": listed_row,
    "grown": grown_row,
    "cancel amap": partial(cancel_row, cancel_amap),
    "stop amap": partial(stop_row, queue_amap),
    "stop graph": partial(stop_row, queue_graph),
}
