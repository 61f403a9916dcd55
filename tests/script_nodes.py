"""Types of node of `script.flow.md`: each says in the ledger what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import ledger
import plait
from plait.nodes import At, Field, FieldKind, Node, node


@node("transform:made")
class Made(Node):
    """A coroutine that gives the loop a turn."""

    fields = {"values": Field(FieldKind.VALUE)}

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """What is made of its key, its values and its input."""
        me = plait.current()
        with ledger.attempt(me.key, me.attempt):
            await asyncio.sleep(0)
        return ledger.made_of(me.key, 8, [given["values"], at.input])


@node("transform:apart")
class Apart(Made):
    """The same in a thread; it changes what it was given."""

    def run(self, given: Mapping[str, Any], at: At) -> Any:
        """What is made of its key, its values and its input."""
        me = plait.current()
        with ledger.attempt(me.key, me.attempt):
            text = ledger.made_of(me.key, 8, [given["values"], at.input])
            if isinstance(at.input, list):
                at.input.append("changed")
        return text


@node("transform:broken")
class Broken(Node):
    """Fails."""

    fields = Made.fields

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """Nothing."""
        me = plait.current()
        with ledger.attempt(me.key, me.attempt):
            raise ledger.Broken(me.key)
