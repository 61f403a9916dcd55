"""What a FlowScript file says, as data, in the shape that edits are found in: the tasks of every block, by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plait._core.policy import Policy, Retry
from plait.expressions.formula import Formula
from plait.flow.model import (
    Assign,
    Attempts,
    Body,
    Delay,
    FlowTask,
    Gate,
    Group,
    Jump,
    Loop,
    NodeCall,
    Parallel,
    Subflow,
    Switch,
)
from plait.flow.templates import Template


@dataclass(frozen=True, slots=True)
class Values:
    """What a file gives its nodes by name: an edit of it is one of the nodes that name it."""

    config: Mapping[str, Any] = field(default_factory=dict)
    schemas: Mapping[str, Any] = field(default_factory=dict)

    def of_file(self, file: Any, shares: bool) -> Values:
        """What another file has, which sees these, too, where it `shares` them."""
        own = {name: each.default for name, each in file.front.config.items()}
        if not shares:
            return Values(own, file.front.schemas)
        return Values({**own, **self.config}, {**self.schemas, **file.front.schemas})

    def named(self, texts: Any) -> dict[str, Any]:
        """Those that these texts name."""
        found: dict[str, Any] = {}
        stack = [texts]
        while stack:
            each = stack.pop()
            if isinstance(each, (Template, Formula)):
                for reference in each.references:
                    if reference.root == "$config":
                        names = reference.steps[:1] or self.config
                        found.update({f"$config.{name}": self.config.get(str(name)) for name in names})
            elif isinstance(each, str) and each in self.schemas:
                found[each] = str(self.schemas[each])
            elif isinstance(each, (list, tuple, Mapping)):
                stack.extend(each.values() if isinstance(each, Mapping) else each)
        return found


def definition(group: Group, values: Values) -> dict[str, Any]:
    """The tasks of a block."""
    return {"tasks": {key: _task(task, values) for key, task in group.tasks.items()}}


def _task(task: FlowTask, values: Values) -> dict[str, Any]:
    found: dict[str, Any] = {"input": said(task.takes), "when": said(task.when)}
    found |= _policy(task.policy)
    if task.late:
        found["late"] = said(dict(task.late))
    if task.foreach is not None:
        found["foreach"] = [said(task.foreach), *task.item_names]
    if task.on_error is not None:
        found["on_error"] = _task(task.on_error, values)
    found["values"] = values.named((task.takes, task.when, dict(task.late), task.foreach, _texts(task.body))) or None
    found |= _body(task, values)
    return {name: value for name, value in found.items() if value is not None}


def _policy(policy: Policy) -> dict[str, Any]:
    """What a policy says of how a node is run, and (`min_success`) of what its value is made."""
    found: dict[str, Any] = {"timeout": policy.timeout, "allow_failure": policy.allow_failure or None}
    if policy.retry.attempts > 1:
        found["retry"] = _retry(policy.retry)
    found["max_concurrency"] = policy.width
    found["min_success"] = policy.min_success
    return found


def _retry(retry: Retry) -> list[Any]:
    return [each if isinstance(each, (int, float)) else list(each) for each in retry.row()]


def _texts(body: Body) -> Any:
    """What a node says itself, without the nodes in it."""
    match body:
        case NodeCall(_, fixed, filled):
            return fixed, filled, body.when
        case Assign(values):
            return values
        case Delay(seconds):
            return seconds
        case Gate():
            return body.prompt, body.timeout
        case Parallel(_, merge):
            return merge
        case Switch(cases):
            return [case.when for case in cases]
        case Loop(_, most, until, condition):
            return most, until, condition
        case Attempts():
            return body.when
        case Subflow(_, arguments):
            return arguments
    return None


def _body(task: FlowTask, values: Values) -> dict[str, Any]:
    body = task.body
    match body:
        case NodeCall(name, fixed, filled):
            return {"node": name, "fields": said({**fixed, **filled}), "again": said(body.when)}
        case Assign(given, single):
            return {"set": said(dict(given)), "single": single}
        case Delay(seconds):
            return {"delay": said(seconds)}
        case Jump(ends, loop):
            return {"jump": [ends, loop]}
        case Gate():
            actions = [[each.id, each.label, each.goto] for each in body.actions]
            return {"checkpoint": said([body.prompt, actions, body.default, body.timeout, body.takes_text])}
        case Group():
            return definition(body, values)
        case Parallel(branches, merge, first):
            blocks = [{"name": name, **definition(group, values)} for name, group in branches.items()]
            return {"parallel": blocks, "merge": said(merge), "first": first}
        case Switch(cases):
            return {"switch": [{"when": said(case.when), **definition(case.group, values)} for case in cases]}
        case Loop(group, most, until, condition):
            return {"loop": said([most, until, condition]), **definition(group, values)}
        case Attempts(group, retry):
            # Each try has all of its nodes anew, as a round has; how often there is one changes nothing of what came of it.
            return {"loop": "tries", "retry": [_retry(retry), said(body.when)], **definition(group, values)}
        case Subflow(flow, arguments, name, shares):
            held = {**definition(flow.group, values.of_file(flow, shares)), "config": None}
            return {"flow": {"file": name, "holds": held}, "with": said(dict(arguments)), "shares": shares}
    raise AssertionError(type(body).__name__)


def said(data: Any) -> Any:
    """Data with its templates and expressions as they are written."""
    match data:
        case Template(parts):
            return "".join(part if isinstance(part, str) else f"{{{{{part.formula.text}}}}}" for part in parts)
        case Formula():
            return data.text
        case dict():
            return {str(name): said(each) for name, each in data.items()}
        case list() | tuple():
            return [said(each) for each in data]
        case None | bool() | int() | float() | str():
            return data
    return str(data)
