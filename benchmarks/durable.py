"""Plain Python and sqlite3: runs that outlive their process, written by hand. A row for each task, and nothing that is not needed.

WAL mode, `synchronous=FULL` where a row does not say otherwise. The file is new for each row, in its working folder.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import closing
from functools import partial
from queue import SimpleQueue
from time import time
from typing import Any

import msgspec
from common import LIMIT, SHAPES, Job, Shape, flat, graph, new_file, node, noop, total
from limits import users_of

Stored = tuple[int, bytes, float]
"""Of a finished task: its number, its value as JSON, when it ended."""

Call = Callable[[int, list[int]], Coroutine[Any, Any, int]]

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def opened(path: str, synchronous: str = "FULL") -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={synchronous}")
    db.execute(
        "CREATE TABLE IF NOT EXISTS done (run TEXT, task INTEGER, value BLOB, ended REAL, PRIMARY KEY (run, task)) WITHOUT ROWID"
    )
    return db


def read(db: sqlite3.Connection) -> Iterable[tuple[int, bytes]]:
    """The tasks that are done, with their values."""
    return db.execute("SELECT task, value FROM done WHERE run='run'")


def commit(db: sqlite3.Connection, rows: list[Stored]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO done VALUES ('run', ?, ?, ?)", rows)
    db.execute("COMMIT")


def groups(shape: Shape, call: Call, values: list[int], known: Iterable[tuple[int, bytes]]) -> Iterator[list[Stored]]:
    """Counters and a deque: runs LIMIT ready tasks, asks for a commit of their rows, and lets what needs them get ready then."""
    left, users = users_of(shape)
    over = bytearray(len(left))
    for at, data in known:
        values[at] = decode(data)
        over[at] = 1
        for user in users[at]:
            left[user] -= 1
    ready = deque(at for at, count in enumerate(left) if not count and not over[at])
    while ready:
        rows = []
        for _ in range(min(LIMIT, len(ready))):
            at = ready.popleft()
            try:
                call(at, values).send(None)
            except StopIteration as end:
                values[at] = end.value
            rows.append((at, encode(values[at]), time()))
        yield rows
        for at, _, _ in rows:
            for user in users[at]:
                left[user] -= 1
                if not left[user]:
                    ready.append(user)


def kept_loop(shape: Shape, call: Call, path: str, synchronous: str = "FULL") -> list[int]:
    """One transaction for each group; goes on where the file stands."""
    values = [0] * len(shape.needs)
    with closing(opened(path, synchronous)) as db:
        for rows in groups(shape, call, values, read(db)):
            commit(db, rows)
    return values


async def kept_by_thread(shape: Shape, call: Call, path: str) -> list[int]:
    """The same on a loop that no commit blocks: a thread commits, and says so."""
    loop = asyncio.get_running_loop()
    queue: SimpleQueue[tuple[list[Stored], asyncio.Future[None]] | None] = SimpleQueue()

    def serve() -> None:
        with closing(opened(path)) as db:
            while (asked := queue.get()) is not None:
                rows, over = asked
                commit(db, rows)
                loop.call_soon_threadsafe(over.set_result, None)

    thread = threading.Thread(target=serve)
    thread.start()
    values = [0] * len(shape.needs)
    for rows in groups(shape, call, values, ()):
        over = loop.create_future()
        queue.put((rows, over))
        await over
    queue.put(None)
    thread.join()
    return values


def checked(job: Job, path: str, count: int) -> Job:
    """The job, right only if `count` tasks stand in the file, too."""

    def right(found: Any) -> bool:
        with closing(opened(path)) as db:
            return job.right(found) and sum(1 for _ in read(db)) == count

    return Job(job.work, right)


def call_of(shape: Shape) -> Call:
    """The bodies of a graph."""
    return lambda at, values: node(*[values[need] for need in shape.needs[at]])


def graph_row(make: Callable[..., list[int]], shape: str, size: int) -> Job:
    made, path = SHAPES[shape](size), new_file()
    return checked(graph(lambda: total(made, make(made, call_of(made), path)), made), path, size)


def flat_row(make: Callable[..., list[int]], size: int) -> Job:
    made, path = Shape([()] * size, range(size)), new_file()
    return checked(flat(lambda: make(made, lambda at, values: noop(at), path), size), path, size)


def again_row(size: int) -> Job:
    """Everything is done but for one task: read, and that task done."""
    made, path = SHAPES["layered"](size + 1), new_file()
    kept_loop(made, call_of(made), path, "OFF")
    with closing(opened(path)) as db:
        db.execute("DELETE FROM done WHERE task=?", (size,))
    return checked(graph(lambda: total(made, kept_loop(made, call_of(made), path)), made), path, size + 1)


def by_thread(*given: Any) -> list[int]:
    return asyncio.run(kept_by_thread(*given))


normal = partial(kept_loop, synchronous="NORMAL")

ROWS: dict[str, Callable[[int], Job]] = {
    "kept flat": partial(flat_row, kept_loop),
    "kept flat normal": partial(flat_row, normal),
    **{f"kept {shape}": partial(graph_row, kept_loop, shape) for shape in ("layered", "chain")},
    **{f"kept {shape} normal": partial(graph_row, normal, shape) for shape in ("layered", "chain")},
    **{f"kept {shape} thread": partial(graph_row, by_thread, shape) for shape in ("chain",)},
    "again": again_row,
}
