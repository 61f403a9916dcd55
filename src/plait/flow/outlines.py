"""What the tasks of a file are, in a few words: for pictures, plans and facts."""

from __future__ import annotations

import json
from typing import Any

from plait.expressions.formula import Formula
from plait.flow.model import (
    Argv,
    Ask,
    Assign,
    Attempts,
    Body,
    Delay,
    FlowTask,
    Gate,
    Group,
    Http,
    Jump,
    Loop,
    Matrix,
    NodeCall,
    Parallel,
    PythonCall,
    Script,
    Subflow,
    Switch,
)
from plait.flow.templates import Template

MOST_DRAWN = 5_000
"""Tasks that are drawn within others: a file that is named many times, in files that are, would never be done."""

DEEPEST_DRAWN = 150
"""Levels that are drawn: files name files, and each may have a great many."""

KINDS: dict[type, str] = {
    Script: "run",
    Argv: "run",
    PythonCall: "call",
    Http: "http",
    Ask: "ask",
    Group: "group",
    Parallel: "parallel",
    Switch: "switch",
    Loop: "loop",
    Subflow: "flow",
    NodeCall: "node",
    Assign: "set",
    Delay: "delay",
    Jump: "break",
    Gate: "checkpoint",
    Attempts: "tries",
}


def kind(task: FlowTask) -> str:
    """Which body it has, each item of a foreach or matrix by itself."""
    if isinstance(task.body, Loop) and task.body.condition is not None:
        return "while"
    if isinstance(task.body, NodeCall):
        return task.body.type
    if isinstance(task.body, Jump) and not task.body.ends:
        return "continue"
    return KINDS[type(task.body)]


def does(body: Body) -> str:
    """What it does, on one line, however long."""
    match body:
        case Script(script):
            return line(script)
        case Argv(words):
            return " ".join(map(line, words))
        case PythonCall(module, name):
            return f"{module}:{name}"
        case Group(tasks):
            return _number(len(tasks), "task")
        case Ask(prompt):
            return line(prompt)
        case Http(fixed, filled):
            return f"{fixed.get('method', 'GET')} {line(filled['url'])}"
        case Parallel(branches):
            return _number(len(branches), "branch", "branches")
        case Switch(cases):
            return f"one of {_number(len(cases), 'case')}"
        case Loop():
            return rounds(body)
        case Subflow(said=said):
            return said
        case NodeCall(name, fixed, filled):
            shown = next((each for each in SHOWN if each in fixed or each in filled), "")
            what = fixed.get(shown, filled.get(shown, ""))
            return f"{name} {what.text if isinstance(what, Formula) else value(what)}".strip()
        case Assign(values):
            return ", ".join(f"{name} = {value(each)}" for name, each in values.items())
        case Delay(seconds):
            return f"{seconds:g} s" if isinstance(seconds, (int, float)) else line(seconds)
        case Jump(ends, loop):
            return f"{'leaves' if ends else 'goes on with'} {loop}"
        case Gate(prompt):
            return line(prompt)
        case Attempts(_, retry):
            return f"at most {_number(retry.attempts, 'try', 'tries')}"


SHOWN = ("url", "path", "query", "table", "expression", "condition", "template", "model")
"""Fields of a leaf node that say best what it does."""


def _number(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def rounds(loop: Loop) -> str:
    """How often a loop goes round."""
    most = _number(loop.most, "round") if isinstance(loop.most, int) else f"{value(loop.most)} rounds"
    if loop.condition is not None:
        return f"while {value(loop.condition)}, at most {most}"
    return most if loop.until is None else f"at most {most}, until {value(loop.until)}"


def line(template: Template) -> str:
    """A template as it is written, on one line."""
    text = "".join(part if isinstance(part, str) else hole(part.formula.text) for part in template.parts)
    return " ".join(text.split())


def hole(text: str) -> str:
    """An expression as it stands in a text."""
    return f"{{{{ {text} }}}}"


def value(data: Any) -> str:
    """Data with templates in it, on one line."""
    data = written(data)
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def written(data: Any) -> Any:
    """Data with its templates as they are written."""
    if isinstance(data, Template):
        return line(data)
    if isinstance(data, list):
        return [written(each) for each in data]
    return {key: written(each) for key, each in data.items()} if isinstance(data, dict) else data


def over(foreach: Template | list[Any] | Matrix) -> Any:
    """What a foreach or a matrix goes over, as data."""
    if not isinstance(foreach, Matrix):
        return written(foreach)
    entries = {"include": foreach.include, "exclude": foreach.exclude}
    return written({**foreach.axes, **{name: each for name, each in entries.items() if each}})
