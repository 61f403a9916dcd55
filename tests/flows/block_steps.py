"""Functions of `blocks.yaml`: each says in the ledger what it does."""

from __future__ import annotations

import asyncio
from typing import Any

import ledger
import plait


async def made(values: Any = None) -> str:
    """A coroutine that gives the loop a turn."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        await asyncio.sleep(0)
    return ledger.made_of(me.key, 8, [values])


async def counted(last: Any = None) -> int:
    """One more than the round before."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        await asyncio.sleep(0)
    return (last or 0) + 1


def apart(values: Any = None) -> str:
    """A function in a thread, which changes what it was given."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        text = ledger.made_of(me.key, 8, [values])
        if isinstance(values, list):
            values.append("changed")
    return text


async def broken(values: Any = None) -> str:
    """Fails."""
    me = plait.current()
    with ledger.attempt(me.key, me.attempt):
        raise ledger.Broken(me.key)
