"""Start-up: whole processes that do next to nothing, `size` one after another. Run by the Python whose packages they import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from commands import plait_program
from common import Job, new_file, process, written

HELLO = "name: hello\ntasks:\n  hello: {run: [echo, hello]}\n"

DASK = "import dask; print(dask.delayed(int)(1).compute(scheduler='sync'))"

LANGGRAPH = """
from langgraph.graph import START, StateGraph
graph = StateGraph(dict)
graph.add_node("hello", lambda state: state)
graph.add_edge(START, "hello")
graph.compile().invoke({"hello": 1})
"""

PREFECT = """
import tempfile, os
os.environ.update(PREFECT_HOME=tempfile.mkdtemp(), PREFECT_LOGGING_LEVEL="ERROR", DO_NOT_TRACK="1",
                  PREFECT_SERVER_ANALYTICS_ENABLED="false", PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="90")
from prefect import flow
@flow
def hello():
    return 1
hello()
"""

BY_HAND = """
import asyncio, os, sqlite3, sys, time

async def hello():
    return "hello"

db = sqlite3.connect(sys.argv[1] if len(sys.argv) > 1 else f"{os.getpid()}.db", isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE IF NOT EXISTS tasks (run TEXT, task TEXT, state TEXT, value TEXT, started REAL, ended REAL, PRIMARY KEY (run, task))")
key = (os.urandom(4).hex(), "hello")
db.execute("BEGIN IMMEDIATE")
db.execute("INSERT INTO tasks VALUES (?, ?, 'started', NULL, ?, NULL)", (*key, time.time()))
db.execute("COMMIT")
value = asyncio.run(hello())
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE tasks SET state='done', value=?, ended=? WHERE run=? AND task=?", (value, time.time(), *key))
db.execute("COMMIT")
db.close()
print(value)
"""

WITH_PLAIT = """
import os, sys, plait

@plait.task
async def hello():
    return "hello"

print(plait.run(hello.bind(), store=sys.argv[1] if len(sys.argv) > 1 else f"{os.getpid()}.db"))
"""


def python(code: str, size: int) -> Job:
    return process([sys.executable, "-c", code], runs=size)


def plait_version(size: int) -> Job:
    return process([*plait_program(), "--version"], runs=size)


def plait_run(size: int) -> Job:
    return process([*plait_program(), "run", written("hello.yaml", HELLO)], runs=size)


def make(size: int) -> Job:
    return process(["make", "-f", written("Makefile", "hello:\n\t@echo hello\n")], runs=size)


def durable(code: str, again: bool, size: int) -> Job:
    """A program that keeps its one task in a file: a new one each time, or, `again`, one that is there."""
    job = process([sys.executable, written("hello.py", code), *([new_file()] if again else [])], runs=size)
    if again:
        job.right(job.work())
    return Job(job.work, lambda found: job.right(found) and all(each.stdout == "hello\n" for each in found))


ROWS: dict[str, Callable[[int], Job]] = {
    "pass": partial(python, "pass"),
    "import asyncio": partial(python, "import asyncio"),
    "import plait": partial(python, "import plait"),
    "from plait": partial(python, "from plait import amap, run"),
    "plait --version": plait_version,
    "plait run": plait_run,
    "make": make,
    "import dask": partial(python, "import dask"),
    "dask": partial(python, DASK),
    "import langgraph": partial(python, "import langgraph.graph"),
    "langgraph": partial(python, LANGGRAPH),
    "import prefect": partial(python, "import prefect"),
    "prefect": partial(python, PREFECT),
    "by hand": partial(durable, BY_HAND, False),
    "by hand, again": partial(durable, BY_HAND, True),
    "plait": partial(durable, WITH_PLAIT, False),
    "plait, again": partial(durable, WITH_PLAIT, True),
}
