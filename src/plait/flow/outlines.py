"""What the tasks of a file are, in a few words: for pictures, plans and facts."""

from __future__ import annotations

import json
from typing import Any

from plait.flow.model import (
    Argv,
    Ask,
    Body,
    FlowTask,
    Group,
    Http,
    Loop,
    Matrix,
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
}


def kind(task: FlowTask) -> str:
    """Which body it has, each item of a foreach or matrix by itself."""
    if isinstance(task.body, Loop) and task.body.condition is not None:
        return "while"
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
        case Subflow(_, _, said):
            return said


def _number(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def rounds(loop: Loop) -> str:
    """How often a loop goes round."""
    most = _number(loop.most, "round")
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
