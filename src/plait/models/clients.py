"""The clients of providers: one for each loop and account while somebody asks, and none left behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import httpx2

from plait.calls.http import new_client

_CLIENTS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, list[Any]]] = WeakKeyDictionary()
"""By loop and account: a client, and how many requests use it."""


@asynccontextmanager
async def client(account: Hashable, make: Callable[[httpx2.AsyncClient], Any]) -> AsyncIterator[Any]:
    """The client of an account, made by the first who asks on this loop, and closed by the last.

    `make` is given the HTTP client that it is to use: it waits for as long as its caller, keeps nothing between requests, and
    follows no redirect, which would take the key along.
    """
    clients = _CLIENTS.setdefault(asyncio.get_running_loop(), {})
    if account not in clients:
        clients[account] = [make(new_client(limits=httpx2.Limits(max_connections=None))), 0]
    entry = clients[account]
    entry[1] += 1
    try:
        yield entry[0]
    finally:
        entry[1] -= 1
        if not entry[1]:
            del clients[account]
            await entry[0].close()


async def loaded(name: str, load: Callable[[], Any]) -> Any:
    """What `load` gives: the module `name`, which takes a second to import, and does so in a thread the first time."""
    if name in sys.modules:
        return load()
    return await asyncio.get_running_loop().run_in_executor(None, load)
