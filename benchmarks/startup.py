"""Start-up: whole processes that do next to nothing, `size` one after another. Run by the Python whose packages they import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from commands import plait_program
from common import Job, process, written

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


def python(code: str, size: int) -> Job:
    return process([sys.executable, "-c", code], runs=size)


def plait_version(size: int) -> Job:
    return process([*plait_program(), "--version"], runs=size)


def plait_run(size: int) -> Job:
    return process([*plait_program(), "run", written("hello.yaml", HELLO)], runs=size)


def make(size: int) -> Job:
    return process(["make", "-f", written("Makefile", "hello:\n\t@echo hello\n")], runs=size)


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
}
