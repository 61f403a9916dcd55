"""Many descriptors behind one: each callback is for its own, also where a number passes to another one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from plait.executors import watching
from plait.executors.watching import Watch


def watched(check: Callable[[Watch], Awaitable[None]]) -> None:
    async def main() -> None:
        watch = Watch(asyncio.get_running_loop())
        await check(watch)
        watch.close()

    asyncio.run(main())


@pytest.mark.parametrize("has_epoll", [True, False])
def test_what_can_be_read_is_told_until_it_is_removed(monkeypatch: pytest.MonkeyPatch, has_epoll: bool) -> None:
    if has_epoll and not watching._HAS_EPOLL:
        pytest.skip("no epoll on this system")
    monkeypatch.setattr(watching, "_HAS_EPOLL", has_epoll)

    async def check(watch: Watch) -> None:
        out, end = os.pipe()
        told = asyncio.Event()
        watch.add(out, told.set)
        os.write(end, b"x")
        await told.wait()
        told.clear()
        await told.wait()  # it still can be
        watch.remove(out)
        told.clear()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not told.is_set()
        os.close(out)
        os.close(end)

    watched(check)


@pytest.mark.skipif(not watching._HAS_EPOLL, reason="each has its own reader where there is no epoll")
def test_a_number_that_passes_to_another_one_in_the_same_turn_is_not_told_the_old_news() -> None:
    async def check(watch: Watch) -> None:
        pipes = [os.pipe() for _ in range(2)]
        told: list[Any] = []

        def first(mine: int, other: int) -> None:
            watch.remove(mine)
            watch.remove(other)
            pipes.append(os.pipe())
            os.dup2(pipes[-1][0], other)  # whatever was there is closed: it is this one's now
            watch.add(other, lambda: told.append("nothing is there"))
            told.append("once")

        a, b = pipes[0][0], pipes[1][0]
        watch.add(a, lambda: first(a, b))
        watch.add(b, lambda: first(b, a))
        for _, end in pipes:
            os.write(end, b"x")
        while not told:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told == ["once"]
        for pair in pipes:
            for fd in pair:
                os.close(fd)

    watched(check)
