"""What the names of a YAML file are called in FlowScript, at each place of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from plait.expressions.formula import Formula
from plait.expressions.parse import RESERVED
from plait.expressions.tree import Index, Literal, Member, Name, Node, Tree
from plait.flow.convert.losses import Losses
from plait.flow.convert.trees import chain, named, renamed
from plait.flow.fields import EACH
from plait.flow.model import FlowTask, groups

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,199}")
TAKEN = frozenset(("input", "primaryError", "primaryInput", "branches", *EACH, *RESERVED))
"""Names that are something else in FlowScript, or may be."""

RUN = {"id": "id", "name": "workflow"}
ERROR = {"type": "name", "message": "message"}
HINTS = {
    "previous": "name the node, which in a loop is that of the round before",
    "matrix": "make the combinations in a node, and go over these",
    "env": "declare an input, and look at that",
    "secrets": "name each: secrets.NAME",
    "feedback": "use a <checkpoint> with goto",
}


@dataclass(frozen=True, slots=True)
class View:
    """One place of a YAML file: what is known there."""

    levels: tuple[Mapping[str, FlowTask], ...] = ()
    index: str = ""
    """Whose number `index` is: of an `item`, or of a `round`."""
    local: frozenset[str] = frozenset()

    def inside(self, tasks: Mapping[str, FlowTask]) -> View:
        """In a group."""
        return replace(self, levels=(*self.levels, tasks))

    def each(self) -> View:
        """In a foreach."""
        return replace(self, index="item")

    def rounds(self) -> View:
        """In a loop."""
        return replace(self, index="round")

    def knowing(self, *names: str) -> View:
        """Where these names are known, too."""
        return replace(self, local=frozenset(names))


def keys_of(tasks: Mapping[str, FlowTask]) -> Iterator[FlowTask]:
    """All tasks of a file, those in others included."""
    for task in tasks.values():
        yield task
        for each in [task, *([task.on_error] if task.on_error is not None else [])]:
            for group in groups(each.body):
                yield from keys_of(group.tasks)


class Said:
    """Gives expressions the names of FlowScript. `named` collects the tasks beside the reader that they name."""

    def __init__(self, losses: Losses, view: View, seen: set[str]) -> None:
        self._losses = losses
        self._view = view
        self._seen = seen
        self._formula: Formula | None = None

    def of(self, formula: Formula) -> Node:
        """The expression with other names."""
        self._formula = formula
        return renamed(formula.tree, self._rename)

    def _bad(self, what: str, hint: str) -> tuple[Tree, int]:
        assert self._formula is not None
        self._losses.within(self._formula, what, hint)
        return Literal(None), 0

    def _rename(self, base: Name, steps: list[Member | Index]) -> tuple[Tree, int]:
        name, view = base.name, self._view
        step = named(steps[0]) if steps else None
        if name in view.local:
            return Name("$branches" if name == "branches" else name), 0
        match name:
            case "inputs":
                return Name("$input"), 0
            case "secrets" if step is not None:
                return chain("$secrets", step), 1
            case "tasks":
                return self._task(steps)
            case "index" if view.index == "round":
                return Name("$iteration"), 0
            case "item" | "index" if view.index:
                return Name(name), 0
            case "run" if step in RUN:
                return chain("$run", RUN[step]), 1
            case "error" if step in ERROR:
                return chain("$primaryError", ERROR[step]), 1
        return self._bad(f"`{name}`", HINTS.get(name, "leave it out"))

    def _task(self, steps: list[Member | Index]) -> tuple[Tree, int]:
        first = named(steps[0])
        level = next((each for each in reversed(self._view.levels) if first in each), None)
        if level is None:
            return self._bad(f"{first!r}, which is in `finally`", "leave it out")
        assert first is not None
        if level is self._view.levels[-1]:
            self._seen.add(first)
        task, used = level[first], 1
        while used < len(steps):
            step = named(steps[used])
            used += 1
            if step == "output":
                if not NAME.fullmatch(task.key) or task.key in TAKEN:
                    return self._bad(f"the name {task.key!r} in an expression", "rename the task")
                return chain(task.key, "output"), used
            inner = next((group.tasks[str(step)] for group in groups(task.body) if step in group.tasks), None)
            if inner is None:
                break
            task = inner
        return self._bad(f"status of {task.key!r}", "look at its output")
