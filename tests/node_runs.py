"""Runs one leaf node by itself, with the fields as a workflow file would give them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from plait.errors import ExpressionError, TaskError
from plait.nodes import At, Node, given


class NoNames:
    """Where a node stands that asks for no names."""

    def look_up(self, root: str, steps: Any) -> Any:
        raise ExpressionError(f"there is no {root}", code="NAME")


NOTHING: Any = object()


def at(input: Any = NOTHING, **where: Any) -> At:
    has_input = input is not NOTHING
    names: Any = NoNames()
    return At("n", names, input if has_input else None, has_input, **where)


async def arun_node(made: type[Node], fields: Mapping[str, Any], input: Any = NOTHING, **where: Any) -> Any:
    found = made().run(given(made, fields, "n"), at(input, **where))
    return await found if asyncio.iscoroutine(found) else found


def run_node(made: type[Node], fields: Mapping[str, Any], input: Any = NOTHING, **where: Any) -> Any:
    return asyncio.run(arun_node(made, fields, input, **where))


def failure(made: type[Node], fields: Mapping[str, Any], input: Any = NOTHING, **where: Any) -> Any:
    """The error that a node ends with: one of plait's, which is a task's."""
    try:
        value = run_node(made, fields, input, **where)
    except TaskError as error:
        return error
    raise AssertionError(f"it gave {value!r}")
