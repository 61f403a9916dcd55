"""joblib and loky: workers that are started and stopped as part of the work, as with `ProcessPoolExecutor`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from common import Job, flat
from functions import long, same, short
from limits import cpus


def joblib_row(body: Callable[[int], int], size: int) -> Job:
    """Items to a batch as joblib itself finds best."""
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    def work() -> list[int]:
        found = Parallel(n_jobs=cpus())(delayed(body)(item) for item in range(size))
        get_reusable_executor(reuse=True).shutdown()
        return list(found)

    return flat(work, size)


def joblib_threads(slots: int, size: int) -> Job:
    from joblib import Parallel, delayed

    return flat(
        lambda: Parallel(n_jobs=slots, backend="threading")(delayed(same)(item) for item in range(size)),
        size,
    )


def loky_row(body: Callable[[int], int], size: int) -> Job:
    from loky import ProcessPoolExecutor

    def work() -> list[int]:
        with ProcessPoolExecutor(cpus()) as pool:
            return list(pool.map(body, range(size), chunksize=1))

    return flat(work, size)


ROWS: dict[str, Callable[[int], Job]] = {
    **{
        f"{name} {work}": partial(row, body)
        for name, row in (("joblib", joblib_row), ("loky", loky_row))
        for work, body in (("short", short), ("long", long))
    },
    **{f"joblib threads {slots}": partial(joblib_threads, slots) for slots in (2, 8)},
}
