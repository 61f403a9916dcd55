"""Ray on this machine alone. Its daemons are started and stopped as part of the work, and write into the working folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import partial

# A token of this process alone: without one Ray would write one into the home folder.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

import ray
from common import Job, flat
from functions import long, short
from limits import cpus


def tasks_row(body: Callable[[int], int], size: int) -> Job:
    def work() -> list[int]:
        ray.init(num_cpus=cpus(), include_dashboard=False, _temp_dir=os.path.abspath("ray"))
        remote = ray.remote(body)
        found = ray.get([remote.remote(item) for item in range(size)])
        ray.shutdown()
        return list(found)

    return flat(work, size)


ROWS: dict[str, Callable[[int], Job]] = {
    "short": partial(tasks_row, short),
    "long": partial(tasks_row, long),
}
