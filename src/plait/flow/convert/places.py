"""Every expression of a task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plait.expressions.formula import Formula
from plait.flow.model import FlowTask, Loop, NodeCall, Parallel, Switch, groups
from plait.flow.templates import Template


def formulas(task: FlowTask) -> Iterator[Formula]:
    """Those of the task itself, of its conditions and of what its groups give, in the order in which they are kept."""
    for each in (task.foreach, task.when, task.takes, task.item_key):
        yield from _in(each)
    match task.body:
        case NodeCall(said=said):
            yield from _in(dict(said))
        case Parallel(merge=merge):
            yield from _in(merge)
        case Switch(cases):
            for case in cases:
                yield from _in(case.when)
        case Loop(until=until, condition=condition):
            yield from _in(until)
            yield from _in(condition)
    for group in groups(task.body):
        yield from _in(group.outputs)
    if task.on_error is not None:
        yield from formulas(task.on_error)


def _in(data: Any) -> Iterator[Formula]:
    match data:
        case Formula():
            yield data
        case Template():
            yield from (hole.formula for hole in data.holes)
        case dict():
            for each in data.values():
                yield from _in(each)
        case list() | tuple():
            for each in data:
                yield from _in(each)
