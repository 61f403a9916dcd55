"""`include` and `call`: the nodes of another file, under the node that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plait._engine.work import Growth
from plait.flow.blocks import GroupWork, Make
from plait.flow.model import FlowFile, Subflow
from plait.flow.scopes import Scope
from plait.flow.script.reader import ScriptFile
from plait.flow.script.scope import NodeScope
from plait.flow.values import detached, filled


def tasks_of(
    make: Make, flow: FlowFile, scope: Scope, known: Mapping[str, Any] | None, again: Mapping[str, Any] = {}
) -> GroupWork:
    """The tasks of another file, which see of this one what they were given: what is on record, and what is worked out `again`.

    Without `known`: to look at, before anything runs.
    """
    assert isinstance(flow, ScriptFile)
    given = {} if known is None else {**known["given"], **again}
    around = scope.around
    if known is not None and known["shares"]:
        config = {**flow.front.configured(flow.path, {}), **(around.inputs.get("config") or {})}
        inner = replace(
            around,
            inputs={"config": config, "input": around.inputs.get("input")},
            bound={**around.bound, **given},
            secrets={**around.secrets, **({} if around.vault is None else around.vault.of(flow.front.secrets))},
            schemas={**around.schemas, **flow.front.schemas},
        )
    else:
        inner = replace(
            around,
            inputs={"config": flow.front.configured(flow.path, {}) if known is not None else {}, "input": given},
            bound=dict(given),
            secrets={} if around.vault is None else around.vault.of(flow.secrets),
            schemas=flow.front.schemas,
        )
    return make(flow.group, NodeScope(inner), known)


def _checked(body: Subflow, given: Mapping[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
    """What another file is given, as its `input` has it; with what is `known`, of that nothing more."""
    flow = body.flow
    assert isinstance(flow, ScriptFile)
    if body.shares or not flow.front.input:
        return dict(given)
    whole = flow.front.inputs(flow.path, given if known is None else {**known["given"], **given})
    return {**given, **(whole if known is None else {name: whole.get(name) for name in known["again"]})}


def grown_file(make: Make, body: Subflow, scope: Scope, known: Mapping[str, Any] | None) -> Growth:
    """What a node grows that runs another file. What it was given is on record."""
    flow = body.flow
    assert isinstance(flow, ScriptFile)
    names = [name for name in body.arguments if known is None or name in known["again"]]
    again = _checked(body, detached(filled({name: body.arguments[name] for name in names}, scope)), known)
    if known is None:
        hidden = {name: scope.around.hidden(value) for name, value in again.items()}
        kept = {name: value for name, value in again.items() if hidden[name] == value}
        # What holds a secret is never on record: it is worked out again where the run goes on.
        again = {name: value for name, value in again.items() if name not in kept}
        known = {"given": kept, "again": list(again), "shares": body.shares}
    work = tasks_of(make, flow, scope, known, again)
    return Growth(work.batch(), work.join)
