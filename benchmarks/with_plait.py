"""plait, through its public doors only."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common import LIMIT, MOD, SHAPES, Job, Shape, Span, clock, flat, graph, new_file, node, noop, pause, since
from functions import long, same, short
from limits import Body, Sleepers, cancel_row, stop_row, uvloop_run

import plait
from plait.stores.opening import open_store

# -- flat


def amap_row(body: Body, runner: Callable[..., Any], size: int, **options: Any) -> Job:
    return flat(lambda: runner(plait.amap(body, range(size), max_concurrency=LIMIT, **options)), size)


def read_row(which: str, size: int) -> Job:
    """A flat list that somebody reads, until the reader has seen the last event."""

    def reader() -> Any:
        if which == "metrics":
            return plait.Metrics()
        if which == "prometheus":
            from prometheus_client import CollectorRegistry

            return plait.PrometheusExporter(CollectorRegistry())
        if which == "otel":
            from opentelemetry.sdk.trace import TracerProvider

            return plait.OpenTelemetryExporter(TracerProvider())
        return lambda event: None

    def work() -> list[int]:
        found = asyncio.run(plait.amap(noop, range(size), max_concurrency=LIMIT, readers=[reader()]))
        if not plait.flush_readers(timeout=60):
            raise RuntimeError("the reader has not seen the last event")
        return found

    return flat(work, size)


def process_row(body: Callable[[int], int], size: int, **options: Any) -> Job:
    """In worker processes, which are started for it."""
    return flat(lambda: plait.map_(body, range(size), executor="process", **options), size)


def warm_row(body: Callable[[int], int], size: int) -> Job:
    """In worker processes that have run a task each: a graph whose other tasks need one that starts the clock then."""
    begun: list[Any] = []

    async def begin() -> None:
        begun.append(clock())

    def work() -> Span:
        graph = plait.Graph("warm")
        warm = [graph.add(f"w{number}", body, args=(0,), executor="process") for number in range(4)]
        gate = graph.add("begin", begin, needs=warm)
        for number in range(size):
            graph.add(str(number), body, args=(number,), executor="process", needs=[gate])
        result = plait.run(graph)
        span = since(begun.pop())
        return span._replace(result=[result[str(number)].value for number in range(size)])

    return Job(work, lambda found: found == list(range(size)))


def threads_row(slots: int, size: int) -> Job:
    return flat(lambda: plait.map_(same, range(size), executor="thread", max_concurrency=slots), size)


def thread_nodes_row(slots: int, size: int) -> Job:
    call = plait.task(same)
    return flat(lambda: plait.run([call.bind(item) for item in range(size)], max_concurrency=slots), size)


# -- graphs


async def of_list(needs: list[int]) -> int:
    """The value of a node that takes its needs in one list, as people write it where there are many."""
    return (sum(needs) + 1) % MOD


def build(shape: Shape, kinds: Sequence[dict[str, Any]] = ({},)) -> Any:
    """What is given to `arun`: the node that is wanted, or the list of them. The options of `kinds` are given to the nodes in turn."""
    calls, wides = [plait.task(**kind)(node) for kind in kinds], [plait.task(**kind)(of_list) for kind in kinds]
    call, wide = calls[0], wides[0]
    nodes: list[Any] = []
    for at, row in enumerate(shape.needs):
        if len(calls) > 1:
            call, wide = calls[at % len(calls)], wides[at % len(calls)]
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


async def arun(target: Any, **options: Any) -> int:
    values = await plait.arun(target, max_concurrency=LIMIT, **options)
    return (sum(values) if isinstance(values, list) else values) % MOD


def graph_row(shape: str, size: int) -> Job:
    """Building the nodes is part of the work."""
    made = SHAPES[shape](size)
    return graph(lambda: asyncio.run(arun(build(made))), made)


def limited_row(shape: str, which: str, size: int) -> Job:
    """The same nodes with a pool, a rate that never makes one wait, three priorities, or all of these."""
    made = SHAPES[shape](size)
    pool, rate = plait.Pool("pool", LIMIT // 2), plait.Rate("rate", f"{10 * size}/1s")
    options: dict[str, dict[str, Any]] = {"pool": {"pool": pool}, "rate": {"rate_limit": rate}}
    chosen: dict[str, Any] = {name: value for key in options if key in which for name, value in options[key].items()}
    levels = ("low", "normal", "high") if "priorities" in which else ("normal",)
    kinds = [{**chosen, "priority": level} for level in levels]
    return graph(lambda: asyncio.run(arun(build(made, kinds))), made)


def blocked_row(size: int) -> Job:
    """One pool of two for all of them, and more slots than that: all others are parked, and each is woken once."""
    leaf = plait.task(pool=plait.Pool("pool", 2))(pause)
    return flat(lambda: asyncio.run(plait.arun([leaf.bind(item) for item in range(size)], max_concurrency=LIMIT)), size)


def engine_row(shape: str, size: int) -> Job:
    """The nodes are there before: `arun` alone, which compiles them and runs them."""
    made = SHAPES[shape](size)
    target = build(made)
    return graph(lambda: asyncio.run(arun(target)), made)


async def listed(body: Body, size: int, **options: Any) -> list[int]:
    """A list of nodes without needs."""
    leaf = plait.task(body)
    return await plait.arun([leaf.bind(item) for item in range(size)], max_concurrency=LIMIT, **options)


def listed_row(size: int) -> Job:
    return flat(lambda: asyncio.run(listed(noop, size)), size)


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


# -- runs with a store


def stored(job: Job, path: str, count: int) -> Job:
    """The job, right only if the store says that `count` tasks succeeded, too."""

    def right(found: Any) -> bool:
        return job.right(found) and plait.resume("last", store=path).wait().counts["succeeded"] == count

    return Job(job.work, right)


def stored_flat_row(durability: str, size: int) -> Job:
    path = new_file()
    job = flat(lambda: asyncio.run(listed(noop, size, store=path, durability=durability)), size)
    return stored(job, path, size)


def stored_graph_row(shape: str, durability: str, size: int) -> Job:
    made, path = SHAPES[shape](size), new_file()
    job = graph(lambda: asyncio.run(arun(build(made), store=path, durability=durability)), made)
    return stored(job, path, len(made.needs))


deadly = False


async def last(needs: list[int]) -> int:
    if deadly:
        os._exit(9)
    return sum(needs) % MOD


def leave(shape: str, size: int, path: str) -> None:
    """Runs `size` tasks, then one that kills this process."""
    global deadly
    deadly = True
    leaf = plait.task(noop)
    nodes = [leaf.bind(item) for item in range(size)] if shape == "flat" else build(SHAPES[shape](size))
    # It needs those that end last: once it begins, all are on record.
    target = [*nodes, plait.task(last).bind(nodes[-LIMIT:])]
    plait.run(target, max_concurrency=LIMIT, store=path, durability="normal")


def resume_row(shape: str, size: int) -> Job:
    """From the call of `resume` until the run is over: one task of another process's run is left."""
    path = new_file()
    code = f"import with_plait; with_plait.leave({shape!r}, {size}, {path!r})"
    child = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)})
    assert child.returncode == 9, f"exit code {child.returncode}"

    def right(result: Any) -> bool:
        return result.counts["succeeded"] == size + 1 and result.value[-1] == sum(result.value[-1 - LIMIT : -1]) % MOD

    return Job(lambda: plait.resume("last", store=path).wait(), right)


class Timed:
    """A store, and how long after the end of its code each task was committed."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.ended: list[float] = []
        """Tasks that are in no batch yet."""
        self.seconds: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def share(self) -> Timed:
        self._store.share()
        return self

    def append(self, batch: Any) -> None:
        ended, self.ended = self.ended, []

        def told(error: BaseException | None) -> None:
            now = time.perf_counter()
            self.seconds += [now - each for each in ended]
            batch.told(error)

        self._store.append(batch.but(told=told))


def commit_row(share: float, size: int) -> Job:
    """Seconds within which this share of the tasks is committed."""

    def work() -> Span:
        store = Timed(open_store(new_file()))

        async def body(item: int) -> int:
            await asyncio.sleep(0)
            store.ended.append(time.perf_counter())
            return item

        assert asyncio.run(listed(body, size, store=store)) == list(range(size))
        store.close()
        seconds = sorted(store.seconds)
        return Span(seconds[int(share * (size - 1))], 0.0, len(seconds))

    return Job(work, lambda count: count == size)


TIMEOUT_S = GRACE_S = 0.1


def spins(deaf: bool) -> None:
    """For ever, in pure Python."""
    while True:
        try:
            while True:
                pass
        except BaseException:
            if not deaf:
                raise


def end_row(deaf: bool, size: int) -> Job:
    """Seconds from when a call that spins is to be over until it is, with its worker: the longest of all."""

    def work() -> Span:
        graph = plait.Graph("spins")
        for number in range(size):
            graph.add(f"n{number}", spins, args=(deaf,), executor="process", timeout=TIMEOUT_S, grace=GRACE_S)
        result = plait.run(graph, raise_on_failure=False, max_concurrency=1)
        allowed = TIMEOUT_S + (GRACE_S if deaf else 0)
        late = [each.ended_at - each.started_at - allowed for each in result.values()]
        return Span(max(late), 0.0, [str(each.status) for each in result.values()])

    return Job(work, lambda found: found == ["timed_out"] * size)


ROWS: dict[str, Callable[[int], Job]] = {
    "end spinning": partial(end_row, False),
    "end deaf": partial(end_row, True),
    **{f"threads {slots}": partial(threads_row, slots) for slots in (2, 8)},
    **{f"thread nodes {slots}": partial(thread_nodes_row, slots) for slots in (2, 8)},
    "process short": partial(process_row, short),
    "process short 100": partial(process_row, short, max_concurrency=LIMIT),
    "process long": partial(process_row, long),
    "process short warm": partial(warm_row, short),
    "process long warm": partial(warm_row, long),
    "amap noop": partial(amap_row, noop, asyncio.run),
    "amap pause": partial(amap_row, pause, asyncio.run),
    "amap noop timeout": partial(amap_row, noop, asyncio.run, timeout=60),
    "amap pause timeout": partial(amap_row, pause, asyncio.run, timeout=60),
    "amap noop uvloop": partial(amap_row, noop, uvloop_run),
    "amap pause uvloop": partial(amap_row, pause, uvloop_run),
    **{f"graph {shape}": partial(graph_row, shape) for shape in SHAPES},
    **{f"engine {shape}": partial(engine_row, shape) for shape in SHAPES},
    **{
        f"limited {which}": partial(limited_row, "layered", which)
        for which in ("priorities", "pool", "rate", "pool rate priorities")
    },
    **{f"read {which}": partial(read_row, which) for which in ("nothing", "metrics", "prometheus", "otel")},
    "blocked": blocked_row,
    "listed": listed_row,
    "grown": grown_row,
    "stored flat": partial(stored_flat_row, "full"),
    "stored flat normal": partial(stored_flat_row, "normal"),
    **{f"stored {shape}": partial(stored_graph_row, shape, "full") for shape in ("layered", "chain")},
    **{f"stored {shape} normal": partial(stored_graph_row, shape, "normal") for shape in ("layered", "chain")},
    **{f"resume {shape}": partial(resume_row, shape) for shape in ("flat", "layered")},
    "commit median": partial(commit_row, 0.5),
    "commit late": partial(commit_row, 0.99),
    "cancel amap": partial(cancel_row, cancel_amap),
    "stop amap": partial(stop_row, queue_amap),
    "stop graph": partial(stop_row, queue_graph),
}
