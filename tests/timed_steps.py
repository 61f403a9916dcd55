"""Calls that say when they were at work, for tests of limits: workflow files find them by name."""

from __future__ import annotations

import asyncio
from typing import Any

import plait

SEEN: list[tuple[str, float, float]] = []
"""Name, start and end of every call, in seconds of the loop."""

LATER: list[float] = []
"""The next calls of `busy` ask to be called later, in so many seconds."""

CALLED: list[tuple[str, float]] = []
"""Name and time of every call of `flaky`."""


async def flaky(name: Any, until: float = 30.0) -> str:
    """Fails until a moment of the loop's clock."""
    now = asyncio.get_running_loop().time()
    CALLED.append((str(name), now))
    if now < until:
        raise ConnectionError("refused")
    return str(name)


async def step(name: str = "", seconds: float = 1.0) -> str:
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    SEEN.append((name, began, asyncio.get_running_loop().time()))
    return name


async def busy(name: str = "") -> str:
    if LATER:
        raise plait.RetryAfter(LATER.pop())
    return await step(name)


async def judge(verdict: Any, place: Any = 0) -> Any:
    """A verdict after as many seconds as its place says, and one more; `boom` fails."""
    await step(str(verdict), 1.0 + int(place))
    if verdict == "boom":
        raise ValueError("boom")
    return verdict
