"""Graphs as text, Mermaid, Graphviz and JSON, and the plan of a dry run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from plait._core.graph import REPAIR
from plait.flow.model import Argv, Ask, FlowTask, Group, PythonCall, Script
from plait.flow.templates import Template
from plait.observe.text import clean
from plait.programs import compile_graph, compile_nodes
from plait.tasks import Graph


class Box(NamedTuple):
    """A task as it is drawn."""

    key: str
    kind: str
    needs: list[str]
    inner: list[Box]
    what: str
    last: bool = False  # it begins when everything beside it is over


def boxes(target: Any) -> list[Box]:
    """The tasks of a target, in order."""
    if hasattr(target, "file"):
        return _of_file(target.tasks, target.file.cleanups)
    program = compile_graph(target) if isinstance(target, Graph) else compile_nodes([target])
    batch = program.batch
    needs = batch.needs or [()] * batch.size
    return [
        Box(
            batch.keys[at],
            "finally task" if at in batch.cleanups else "task",
            list(dict.fromkeys(batch.keys[need] for need in needs[at])),
            [Box(REPAIR, "task", [], [], "")] if at in batch.repairs else [],
            "",
            at in batch.cleanups,
        )
        for at in range(batch.size)
    ]


def _of_file(tasks: Mapping[str, FlowTask], cleanups: Mapping[str, FlowTask] = {}) -> list[Box]:
    found = []
    known = {**tasks, **cleanups}
    for key, task in known.items():
        body = task.body
        inner = _of_file(body.tasks, body.cleanups) if isinstance(body, Group) else []
        if task.on_error is not None:
            inner += _of_file({REPAIR: task.on_error})
        kind = {Script: "run", Argv: "run", PythonCall: "call", Group: "group", Ask: "ask"}[type(body)]
        if task.foreach is not None:
            kind = f"foreach {kind}"
        last = key not in tasks
        needs = [need for need in task.needs if need in known]
        found.append(Box(key, f"finally {kind}" if last else kind, needs, inner, _what(task), last))
    return found


def _what(task: FlowTask) -> str:
    match task.body:
        case Script(script):
            return _shown(script)
        case Argv(words):
            return " ".join(map(_shown, words))
        case PythonCall(module, name):
            return f"{module}:{name}"
        case Group(tasks):
            return f"{len(tasks)} tasks"
        case Ask(prompt):
            return _shown(prompt)


def _shown(template: Template) -> str:
    text = "".join(
        part
        if isinstance(part, str)
        else "{{ " + part.lookup.root + "".join(f".{step}" for step in part.lookup.steps) + " }}"
        for part in template.parts
    )
    return " ".join(text.split())


def text(target: Any) -> Iterator[str]:
    """One line a task, what it needs behind it."""
    yield from _text(boxes(target), "")


def _text(tasks: list[Box], indent: str) -> Iterator[str]:
    for box in tasks:
        behind = f"  <- {', '.join(map(clean, box.needs))}" if box.needs else ""
        yield f"{indent}{clean(box.key)}{f' ({box.kind})' if box.kind != 'task' else ''}{behind}"
        yield from _text(box.inner, indent + "    ")


def mermaid(target: Any) -> Iterator[str]:
    """For Markdown pages."""
    yield "flowchart LR"
    numbers: dict[str, str] = {}
    yield from _mermaid(boxes(target), "", "    ", numbers)


def _label(text: str) -> str:
    return clean(text).replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _mermaid(tasks: list[Box], path: str, indent: str, numbers: dict[str, str]) -> Iterator[str]:
    for box in tasks:
        name = numbers.setdefault(path + box.key, f"t{len(numbers)}")
        if box.inner:
            yield f'{indent}subgraph {name}["{_label(box.key)}"]'
            yield from _mermaid(box.inner, f"{path}{box.key}/", indent + "    ", numbers)
            yield f"{indent}end"
        else:
            yield f'{indent}{name}["{_label(box.key)}"]'
    for box in tasks:
        for need in box.needs:
            yield f"{indent}{numbers[path + need]} --> {numbers[path + box.key]}"


def dot(target: Any) -> Iterator[str]:
    """For Graphviz."""
    yield "digraph plait {"
    yield "    rankdir=LR; node [shape=box];"
    yield from _dot(boxes(target), "")
    yield "}"


def _dot(tasks: list[Box], path: str) -> Iterator[str]:
    for box in tasks:
        yield f"    {json.dumps(path + box.key)};"
        yield from _dot(box.inner, f"{path}{box.key}/")
        for need in box.needs:
            yield f"    {json.dumps(path + need)} -> {json.dumps(path + box.key)};"


def as_json(target: Any) -> Iterator[str]:
    """For programs."""
    yield json.dumps([_plain(box) for box in boxes(target)], indent=2)


def _plain(box: Box) -> dict[str, Any]:
    shown: dict[str, Any] = {"key": box.key, "kind": box.kind, "needs": box.needs}
    if box.inner:
        shown["tasks"] = [_plain(each) for each in box.inner]
    return shown


def plan(target: Any) -> Iterator[str]:
    """What would run, in an order in which it could, with what each task does."""
    tasks = boxes(target)
    done: set[str] = set()
    left = list(tasks)
    yield f"would run {len(tasks)} tasks:"
    while left:
        only_last = all(box.last for box in left)
        ready = [box for box in left if done.issuperset(box.needs) and (only_last or not box.last)]
        for box in ready:
            after = f" after {', '.join(map(clean, box.needs))}" if box.needs else ""
            in_the_end = ", in the end" if box.last else ""
            yield f"  {clean(box.key)}{after}{in_the_end}{f': {clean(box.what)}' if box.what else ''}"
            done.add(box.key)
        left = [box for box in left if box.key not in done]


FORMS: dict[str, Callable[[Any], Iterator[str]]] = {"text": text, "mermaid": mermaid, "dot": dot, "json": as_json}
