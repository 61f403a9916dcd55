"""What the graph of a file is, whichever language it is written in: keys, needs, kinds, and policies as far as both say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.flow.model import FlowTask, Group, Loop, NodeCall, Parallel, Switch, groups


def shape(tasks: Mapping[str, FlowTask]) -> dict[str, Any]:
    """The graph of some tasks, as data. Two files of the same graph have the same."""
    return {
        key: {"kind": _kind(task), "needs": sorted({*task.needs} & tasks.keys()), **_policy(task), **_within(task)}
        for key, task in tasks.items()
    }


def _kind(task: FlowTask) -> str:
    body = task.body
    match body:
        case NodeCall(name):
            kind = name
        case Loop(condition=condition):
            kind = "loop" if condition is None else "while"
        case Parallel(merge=merge):
            kind = f"parallel, {merge if isinstance(merge, str) else 'an expression'}"
        case _:
            kind = {Group: "group", Switch: "switch"}.get(type(body), type(body).__name__)
    return kind if task.foreach is None else f"foreach of {kind}"


def _policy(task: FlowTask) -> dict[str, Any]:
    policy, whole = task.policy, task.whole or task.policy
    found: dict[str, Any] = {"timeout": policy.timeout, "allow_failure": policy.allow_failure, "width": whole.width}
    if task.foreach is not None and found["width"] == 100_000:
        found["width"] = None  # as many as there may be
    if policy.retry.attempts > 1:
        found["retry"] = policy.retry.row()
    return found


def _within(task: FlowTask) -> dict[str, Any]:
    found: dict[str, Any] = {"inside": [shape(group.tasks) for group in groups(task.body)]}
    if isinstance(task.body, Parallel):
        found["branches"] = list(task.body.branches)
    if isinstance(task.body, Loop):
        found["most"] = task.body.most
    if task.on_error is not None:
        found["on_error"] = shape({task.on_error.key: task.on_error})
    return found
