"""Plain Python and plain asyncio: what the language allows, and what people write. No row has a feature that is not needed."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from graphlib import TopologicalSorter
from multiprocessing import get_context
from typing import Any, NoReturn

from common import (
    HOUR,
    LIMIT,
    SHAPES,
    Job,
    Shape,
    Span,
    clock,
    flat,
    graph,
    node,
    noop,
    pause,
    since,
    total,
    value,
)
from functions import long, same, short

Body = Callable[[int], Coroutine[Any, Any, int]]


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


# -- flat


async def bare_loop(body: Body, size: int) -> list[int]:
    """One after another, nothing else: the limit of the language."""
    return [await body(item) for item in range(size)]


async def gather_semaphore(body: Body, size: int) -> list[int]:
    """What people write."""
    semaphore = asyncio.Semaphore(LIMIT)

    async def one(item: int) -> int:
        async with semaphore:
            return await body(item)

    return await asyncio.gather(*(one(item) for item in range(size)))


async def task_per_item(body: Body, size: int) -> list[int]:
    """One asyncio.Task per item, never more than LIMIT; the end of one starts the next."""
    loop = asyncio.get_running_loop()
    values = [0] * size
    over = loop.create_future()
    items = iter(range(size))
    left = size

    def start() -> None:
        for item in items:
            task = loop.create_task(body(item))
            task.add_done_callback(lambda task, item=item: end(task, item))
            return

    def end(task: asyncio.Task[int], item: int) -> None:
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


async def task_per_item_timeout(body: Body, size: int) -> list[int]:
    """The same with a timeout on each, as users write it."""

    async def one(item: int) -> int:
        async with asyncio.timeout(60):
            return await body(item)

    return await task_per_item(one, size)


def uvloop_run(main: Coroutine[Any, Any, Any]) -> Any:
    """`asyncio.run` on uvloop."""
    import uvloop

    return uvloop.run(main)


def flat_row(make: Callable[[Body, int], Any], body: Body, runner: Callable[..., Any], size: int) -> Job:
    return flat(lambda: runner(make(body, size)), size)


# -- graphs


def users_of(shape: Shape) -> tuple[list[int], list[list[int]]]:
    """How many needs each node waits for, and who needs it."""
    users: list[list[int]] = [[] for _ in shape.needs]
    for at, row in enumerate(shape.needs):
        for need in row:
            users[need].append(at)
    return [len(row) for row in shape.needs], users


def indegree_loop(shape: Shape) -> int:
    """Counters, a deque and plain calls: the limit of the language."""
    left, users = users_of(shape)
    ready = deque(at for at, count in enumerate(left) if not count)
    values = [0] * len(left)
    while ready:
        at = ready.popleft()
        values[at] = value(*[values[need] for need in shape.needs[at]])
        for user in users[at]:
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    return total(shape, values)


def graphlib_loop(shape: Shape) -> int:
    """What people write without concurrency."""
    sorter = TopologicalSorter(dict(enumerate(shape.needs)))
    sorter.prepare()
    values = [0] * len(shape.needs)
    while sorter.is_active():
        for at in sorter.get_ready():
            values[at] = value(*[values[need] for need in shape.needs[at]])
            sorter.done(at)
    return total(shape, values)


async def task_per_node(shape: Shape) -> int:
    """Counters, a deque and one asyncio.Task per node, never more than LIMIT."""
    left, users = users_of(shape)
    ready = deque(at for at, count in enumerate(left) if not count)
    values = [0] * len(left)
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    running = done = 0

    def pump() -> None:
        nonlocal running
        while ready and running < LIMIT:
            at = ready.popleft()
            running += 1
            task = loop.create_task(node(*[values[need] for need in shape.needs[at]]))
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
        if done == len(values):
            over.set_result(None)
        else:
            pump()

    pump()
    await over
    return total(shape, values)


def graph_row(make: Callable[[Shape], Any], shape: str, size: int) -> Job:
    made = SHAPES[shape](size)
    return graph(lambda: make(made), made)


# -- cancel: from the failure of one of `size` running tasks until all are over and the caller knows


class Sleepers:
    """Bodies of which one fails once all run, and the others sleep until they are cancelled."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.running = self.ended = 0
        self.all_run = asyncio.Event()
        self.failed = (0.0, 0.0)

    async def body(self, item: int) -> None:
        """Item 0 fails, all others sleep."""
        self.running += 1
        if self.running == self.size:
            self.all_run.set()
        if not item:
            await self.all_run.wait()
            self.failed = clock()
            raise ValueError("boom")
        try:
            await asyncio.sleep(HOUR)
        finally:
            self.ended += 1

    def over(self) -> Span:
        """The span from the failure until now; its result is how many sleepers ended."""
        return since(self.failed, self.ended)


async def cancel_task_group(sleepers: Sleepers) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for item in range(sleepers.size):
                group.create_task(sleepers.body(item))
    except* ValueError:
        pass


async def cancel_gather(sleepers: Sleepers) -> None:
    tasks = [asyncio.create_task(sleepers.body(item)) for item in range(sleepers.size)]
    try:
        await asyncio.gather(*tasks)
    except ValueError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def cancel_wait(sleepers: Sleepers) -> None:
    tasks = [asyncio.create_task(sleepers.body(item)) for item in range(sleepers.size)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in pending:
        task.cancel()
    await asyncio.wait(tasks)
    for task in done:
        assert isinstance(task.exception(), ValueError)


def cancel_row(stop: Callable[[Sleepers], Coroutine[Any, Any, Any]], size: int) -> Job:
    async def main() -> Span:
        sleepers = Sleepers(size)
        await stop(sleepers)
        return sleepers.over()

    return Job(lambda: asyncio.run(main()), lambda ended: ended == size - 1)


# -- stop: from the cancel of the caller until it is over, with one task running and `size` behind it


def stop_row(make: Callable[[Callable[..., Any], int], Coroutine[Any, Any, Any]], size: int) -> Job:
    """A job that cancels `make(sleeper, size)`; only one sleeper may have started by then."""

    async def main() -> Span:
        started = asyncio.Event()
        count = 0

        async def sleeper(*_: Any) -> None:
            nonlocal count
            count += 1
            started.set()
            await asyncio.sleep(HOUR)

        task = asyncio.create_task(make(sleeper, size))
        await started.wait()
        start = clock()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return since(start, count)
        raise SystemExit("was not cancelled")

    return Job(lambda: asyncio.run(main()), lambda count: count == 1)


async def queue_semaphore(sleeper: Callable[..., Any], size: int) -> None:
    semaphore = asyncio.Semaphore(1)

    async def one(item: int) -> None:
        async with semaphore:
            await sleeper(item)

    await asyncio.gather(*(one(item) for item in range(1 + size)))


def pool_row(body: Callable[[int], int], chunk: Callable[[int], int], size: int) -> Job:
    """`ProcessPoolExecutor.map`, whose workers are spawned as plait's are; starting them is part of the work."""

    def work() -> list[int]:
        with ProcessPoolExecutor(cpus(), mp_context=get_context("spawn")) as pool:
            return list(pool.map(body, range(size), chunksize=chunk(size)))

    return flat(work, size)


def forked_row(body: Callable[[int], int], size: int) -> Job:
    """A process for each CPU, its share in a plain loop, nothing told but how it ended: what this machine can give."""
    count = cpus()
    shares = [range(size * at // count, size * (at + 1) // count) for at in range(count)]

    def child(share: range) -> NoReturn:
        code = 1
        try:
            code = [body(item) for item in share] != list(share)
        finally:
            os._exit(code)

    def work() -> list[int]:
        return [os.waitpid(pid, 0)[1] for pid in [os.fork() or child(share) for share in shares]]

    return Job(work, lambda found: found == [0] * count)


def threads_row(slots: int, size: int) -> Job:
    def work() -> list[int]:
        with ThreadPoolExecutor(slots) as pool:
            return list(pool.map(same, range(size)))

    return flat(work, size)


def one_by_one(body: Callable[[int], int], size: int) -> Job:
    return flat(lambda: [body(item) for item in range(size)], size)


ROWS: dict[str, Callable[[int], Job]] = {
    "one by one short": partial(one_by_one, short),
    "one by one long": partial(one_by_one, long),
    "forked short": partial(forked_row, short),
    "forked long": partial(forked_row, long),
    "pool short": partial(pool_row, short, lambda size: 1),
    "pool long": partial(pool_row, long, lambda size: 1),
    "pool short tuned": partial(pool_row, short, lambda size: -(-size // (cpus() * 16))),
    **{f"threads {slots}": partial(threads_row, slots) for slots in (2, 8)},
    "bare_loop noop": partial(flat_row, bare_loop, noop, asyncio.run),
    "gather_semaphore noop": partial(flat_row, gather_semaphore, noop, asyncio.run),
    "gather_semaphore pause": partial(flat_row, gather_semaphore, pause, asyncio.run),
    "task_per_item noop": partial(flat_row, task_per_item, noop, asyncio.run),
    "task_per_item pause": partial(flat_row, task_per_item, pause, asyncio.run),
    "task_per_item noop timeout": partial(flat_row, task_per_item_timeout, noop, asyncio.run),
    "task_per_item pause timeout": partial(flat_row, task_per_item_timeout, pause, asyncio.run),
    "task_per_item noop uvloop": partial(flat_row, task_per_item, noop, uvloop_run),
    "task_per_item pause uvloop": partial(flat_row, task_per_item, pause, uvloop_run),
    **{
        f"task_per_node {shape}": partial(graph_row, lambda made: asyncio.run(task_per_node(made)), shape)
        for shape in SHAPES
    },
    **{f"graphlib_loop {shape}": partial(graph_row, graphlib_loop, shape) for shape in SHAPES},
    **{f"indegree_loop {shape}": partial(graph_row, indegree_loop, shape) for shape in SHAPES},
    "cancel task_group": partial(cancel_row, cancel_task_group),
    "cancel gather": partial(cancel_row, cancel_gather),
    "cancel wait": partial(cancel_row, cancel_wait),
    "stop semaphore": partial(stop_row, queue_semaphore),
}
