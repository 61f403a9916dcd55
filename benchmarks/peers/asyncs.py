"""trio, anyio (on asyncio) and aiometer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from common import HOUR, LIMIT, Job, Span, clock, flat, noop, since


async def trio_pause(item: int) -> int:
    import trio

    await trio.lowlevel.checkpoint()
    return item


async def anyio_pause(item: int) -> int:
    import anyio

    await anyio.lowlevel.checkpoint()
    return item


def trio_flat(body: Callable[[int], Awaitable[int]], size: int) -> Job:
    import trio

    async def main() -> list[int]:
        values = [0] * size
        limiter = trio.CapacityLimiter(LIMIT)

        async def one(item: int) -> None:
            async with limiter:
                values[item] = await body(item)

        async with trio.open_nursery() as nursery:
            for item in range(size):
                nursery.start_soon(one, item)
        return values

    return flat(lambda: trio.run(main), size)


def anyio_flat(body: Callable[[int], Awaitable[int]], size: int) -> Job:
    import anyio

    async def main() -> list[int]:
        values = [0] * size
        limiter = anyio.CapacityLimiter(LIMIT)

        async def one(item: int) -> None:
            async with limiter:
                values[item] = await body(item)

        async with anyio.create_task_group() as group:
            for item in range(size):
                group.start_soon(one, item)
        return values

    return flat(lambda: anyio.run(main), size)


def aiometer_flat(body: Callable[[int], Awaitable[int]], size: int) -> Job:
    import aiometer

    async def main() -> list[int]:
        return await aiometer.run_all([partial(body, item) for item in range(size)], max_at_once=LIMIT)

    return flat(lambda: asyncio.run(main()), size)


def cancel(library: Any, group_of: Callable[[], Any], size: int) -> Job:
    """As `limits.cancel_row`: trio and anyio have the same words for events and sleeping."""

    async def main() -> Span:
        all_run = library.Event()
        running = ended = 0
        failed = (0.0, 0.0)

        async def body(item: int) -> None:
            nonlocal running, ended, failed
            running += 1
            if running == size:
                all_run.set()
            if not item:
                await all_run.wait()
                failed = clock()
                raise ValueError("boom")
            try:
                await library.sleep(HOUR)
            finally:
                ended += 1

        try:
            async with group_of() as group:
                for item in range(size):
                    group.start_soon(body, item)
        except* ValueError:
            pass
        return since(failed, ended)

    return Job(lambda: library.run(main), lambda ended: ended == size - 1)


def trio_cancel(size: int) -> Job:
    import trio

    return cancel(trio, trio.open_nursery, size)


def anyio_cancel(size: int) -> Job:
    import anyio

    return cancel(anyio, anyio.create_task_group, size)


ROWS: dict[str, Callable[[int], Job]] = {
    "trio noop": partial(trio_flat, noop),
    "trio pause": partial(trio_flat, trio_pause),
    "trio cancel": trio_cancel,
    "anyio noop": partial(anyio_flat, noop),
    "anyio pause": partial(anyio_flat, anyio_pause),
    "anyio cancel": anyio_cancel,
    "aiometer noop": partial(aiometer_flat, noop),
}
