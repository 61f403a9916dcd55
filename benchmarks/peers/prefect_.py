"""Prefect flows with the server that it starts by itself, in a home of their own; the first flow, which starts it, is not measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.update(
    PREFECT_HOME=os.path.abspath("prefect"),
    PREFECT_LOGGING_LEVEL="ERROR",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="90",
    DO_NOT_TRACK="1",
)

from common import LIMIT, SHAPES, Job, flat, graph, total, value
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

same_task = task(lambda item: item, name="same")
value_task = task(value)
# Their values are written down, too: else only states are, and a flow that starts again runs everything.
kept_same = same_task.with_options(persist_result=True)
kept_value = value_task.with_options(persist_result=True)


def noop_row(same_task: Any, size: int) -> Job:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=LIMIT))
    def run() -> list[int]:
        return [future.result() for future in same_task.map(range(size))]

    return flat(run, size)


def graph_row(value_task: Any, shape: str, size: int) -> Job:
    made = SHAPES[shape](size)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=LIMIT))
    def run() -> int:
        futures: list[Any] = []
        for row in made.needs:
            futures.append(value_task.submit(*[futures[need] for need in row]))
        return total(made, [future.result() for future in futures])

    return graph(run, made)


ROWS: dict[str, Callable[[int], Job]] = {
    "noop": partial(noop_row, same_task),
    "layered": partial(graph_row, value_task, "layered"),
    "kept flat": partial(noop_row, kept_same),
    "kept layered": partial(graph_row, kept_value, "layered"),
    "kept chain": partial(graph_row, kept_value, "chain"),
}
