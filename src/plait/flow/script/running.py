"""The leaf nodes of FlowScript as calls of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import iscoroutinefunction
from typing import Any

from plait.errors import NodeError, RetryAfter, UsageError
from plait.executors.base import Call
from plait.expressions import text, truth
from plait.flow.model import Assign, FlowTask, Gate, NodeCall
from plait.flow.scopes import Scope
from plait.flow.script.gates import decided
from plait.flow.script.scope import NodeScope
from plait.flow.script.texts import json_or_text
from plait.flow.script.tries import may_help
from plait.flow.templates import Template
from plait.flow.values import detached, filled
from plait.nodes import At, FieldKind, Node, node_type
from plait.nodes.base import given
from plait.nodes.registry import OWN

SERVER = re.compile(r"https?://[^/?#]+", re.IGNORECASE)


def call_of(task: FlowTask, scope: Scope) -> Call:
    """The call of a leaf node, with its fields worked out: each try begins here anew."""
    body = task.body
    if not isinstance(scope, NodeScope) and task.takes is not None:
        scope = scope.at(input=filled(task.takes, scope))
    match body:
        case Assign(values, single):
            found = filled(dict(values), scope)
            return "async", _given, (next(iter(found.values())) if single else found,), None
        case Gate():
            assert isinstance(scope, NodeScope)
            return "async", decided, _question(task, body, scope), None
    assert isinstance(body, NodeCall)
    found = loaded(body.type)
    raw = {**body.fixed, **filled(dict(body.filled), scope)}
    made = at(task, body, scope, raw)
    if body.type not in OWN:  # plait's own change nothing that they are given
        made.copied = detached
    run = _run if iscoroutinefunction(found.run) else _run_in_thread
    return (
        "async" if run is _run else "thread",
        run,
        (found, raw, frozenset(body.fixed), made, _Wish(body, scope)),
        None,
    )


def loaded(name: str) -> type[Node]:
    """The class of a type of node.

    Raises:
        UsageError: where there is none any more, or it cannot be loaded.
    """
    found = node_type(name)
    if found is None:
        raise UsageError(f"there is no node type {name!r} any more: is the package installed that has it?")
    return found


def at(task: FlowTask, body: NodeCall, scope: Scope, raw: Mapping[str, Any]) -> At:
    """What a node may use beside its fields."""
    around = scope.around
    return At(
        task.key,
        scope,
        input=scope.look_up("input", ())[0],
        has_input=task.takes is not None,
        folder=around.folder,
        allowed=around.allowed,
        schemas=around.schemas,
        secrets=around.secrets,
        from_data=_from_data(body, scope, raw),
        known=scope.knowing,
    )


def _from_data(body: NodeCall, scope: Scope, raw: Mapping[str, Any]) -> frozenset[str]:
    """The fields that lead where data says. A URL that stays at the server that stands before its data is none."""
    if "url" in body.from_data and body.server is not None:
        server = re.match(SERVER, body.server.text(scope).lstrip())
        led = re.match(SERVER, str(raw.get("url")).strip())
        if server is not None and led is not None and server[0].lower() == led[0].lower():
            return body.from_data - {"url"}
    return body.from_data


class _Wish:
    """Says of a failure whether it is to be tried again, as the file has it."""

    __slots__ = ("_body", "_scope")

    def __init__(self, body: NodeCall, scope: Scope) -> None:
        self._body = body
        self._scope = scope

    def mark(self, error: Exception) -> None:
        """Has an error say whether another try may help: the retries of nodes go by that alone."""
        wanted = may_help(error)
        if self._body.when is not None and isinstance(self._scope, NodeScope):
            wanted = truth(self._body.when.value(self._scope.at_failure(error, wanted)))
        try:
            error.retryable = wanted  # type: ignore[attr-defined]
        except Exception:  # a class that takes no attributes is not tried again
            return


def completed(kind: type[Node], raw: Mapping[str, Any], fixed: frozenset[str], node: str) -> dict[str, Any]:
    """Every field of a type: those of `fixed` are read already, the others are read now; a text that is null is not given.

    Raises:
        NodeError: for a required field that is missing, and for a value that cannot be read.
    """
    if not kind.fields:
        return dict(raw)
    done = {name: value for name, value in raw.items() if name in fixed}
    later: dict[str, Any] = {}
    for name, value in raw.items():
        field = kind.fields.get(name)
        if name in fixed or (field is not None and field.kind is FieldKind.TEXT and value is None):
            continue
        if field is not None and field.kind is FieldKind.TEXT and field.read is None:
            value = text(value)
        elif field is not None and field.kind is FieldKind.JSON and isinstance(value, str):
            value = json_or_text(value)
        later[name] = value
    missing = [name for name, each in kind.fields.items() if each.required and name not in later and name not in done]
    if missing:
        raise NodeError(f"{node}: {missing[0]} is null, and the node needs it")
    optional = {name: each for name, each in kind.fields.items() if name not in done}
    return {**given(kind, later, node, optional), **done}


def _own(fields: dict[str, Any], at: At) -> dict[str, Any]:
    """What a node is given, so that it may change it: nobody else sees that, nor does its next try."""
    if at.copied is None:
        return fields
    at.input = at.copied(at.input)
    copied: dict[str, Any] = at.copied(fields)
    return copied


async def _given(value: Any) -> Any:
    return value


async def _run(kind: type[Node], raw: Mapping[str, Any], fixed: frozenset[str], at: At, wish: _Wish) -> Any:
    try:
        return await kind().run(_own(completed(kind, raw, fixed, at.node), at), at)
    except RetryAfter:
        raise
    except Exception as error:
        wish.mark(error)
        raise


def _run_in_thread(kind: type[Node], raw: Mapping[str, Any], fixed: frozenset[str], at: At, wish: _Wish) -> Any:
    try:
        return kind().run(_own(completed(kind, raw, fixed, at.node), at), at)
    except RetryAfter:
        raise
    except Exception as error:
        wish.mark(error)
        raise


# -- delays and checkpoints


async def paused(seconds: float) -> None:
    """The beginning of a delay.

    Raises:
        RetryAfter: so it has no slot, and what is due is on record.
    """
    if seconds > 0:
        raise RetryAfter(seconds)


async def over() -> None:
    """The end of a delay."""


def _question(task: FlowTask, body: Gate, scope: NodeScope) -> tuple[Any, ...]:
    timeout = body.timeout.value(scope) if isinstance(body.timeout, Template) else body.timeout
    if isinstance(body.timeout, Template):
        from plait.flow.script.options import seconds

        timeout = seconds(timeout, f"timeout of {task.key!r}")
    default = body.default.text(scope).strip() if isinstance(body.default, Template) else body.default
    actions = [each.id for each in body.actions]
    if default and default not in actions:
        raise UsageError(f"default of {task.key!r} is one of {', '.join(actions)}, not {default!r:.60}")
    settings = {
        "actions": actions,
        "back": {each.id: each.goto for each in body.actions if each.back},
        "gotos": {each.id: each.goto for each in body.actions if each.goto},
        "default": default,
        "timeout": timeout if default or timeout is not None else None,
        "text": body.takes_text,
        "pass": scope.round,
    }
    labels = [f"{each.id}: {each.label}" for each in body.actions if each.label]
    return "\n".join([body.prompt.text(scope), *labels]), settings
