"""Dask's local schedulers, without and with threads, and its cluster of processes, which is started and stopped as part of the work.

Building the dictionary of a local scheduler is part of the work, as nodes are for plait.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from common import SHAPES, Job, flat, graph, total, value
from dask.local import get_sync
from dask.threaded import get as get_threaded
from functions import long, short
from limits import cpus


def same(item: int) -> int:
    return item


def flat_row(get: Callable[..., Any], size: int) -> Job:
    return flat(
        lambda: get({f"t{item}": (same, item) for item in range(size)}, [f"t{item}" for item in range(size)]), size
    )


def graph_row(get: Callable[..., Any], shape: str, size: int) -> Job:
    made = SHAPES[shape](size)

    def work() -> int:
        tasks = {f"t{at}": (value, *[f"t{need}" for need in row]) for at, row in enumerate(made.needs)}
        return total(made, get(tasks, list(tasks)))

    return graph(work, made)


def cluster_row(body: Callable[[int], int], size: int) -> Job:
    from distributed import Client, LocalCluster

    def work() -> list[int]:
        with (
            LocalCluster(n_workers=cpus(), threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            return list(client.gather(client.map(body, range(size))))

    return flat(work, size)


threads = partial(get_threaded, num_workers=os.cpu_count() or 1)

ROWS: dict[str, Callable[[int], Job]] = {
    "sync noop": partial(flat_row, get_sync),
    "threaded noop": partial(flat_row, threads),
    "sync layered": partial(graph_row, get_sync, "layered"),
    "threaded layered": partial(graph_row, threads, "layered"),
    "sync chain": partial(graph_row, get_sync, "chain"),
    "threaded chain": partial(graph_row, threads, "chain"),
    "cluster short": partial(cluster_row, short),
    "cluster long": partial(cluster_row, long),
}
