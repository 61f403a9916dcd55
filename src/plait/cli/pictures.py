"""Graphs as text, Mermaid, Graphviz and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from plait._core.graph import REPAIR
from plait.flow.model import Case, FlowTask, Group, Http, Loop, Matrix, Parallel, Subflow, Switch, groups
from plait.flow.outlines import DEEPEST_DRAWN, MOST_DRAWN, does, kind, over, rounds, value, written
from plait.flow.stacks import with_own_stack
from plait.observe.text import clean
from plait.programs import compile_graph, compile_nodes
from plait.tasks import Graph

LONGEST = 60
"""Characters of what is said beside a key."""


@dataclass(slots=True)
class Box:
    """A task as it is drawn, a branch or a case."""

    key: str
    kind: str
    needs: list[str] = field(default_factory=list)
    inner: list[Box] = field(default_factory=list)
    says: list[str] = field(default_factory=list)
    """What is told beside its key."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for programs."""
    last: bool = False
    """Does it begin when everything beside it is over?"""
    cut: bool = False
    """Is there more inside than is drawn?"""

    @property
    def title(self) -> str:
        """What it is, for people."""
        shown = [each if len(each) <= LONGEST else f"{each[: LONGEST - 3]}..." for each in self.says]
        return f"{'finally ' if self.last else ''}{', '.join(shown)}"


def boxes(target: Any) -> list[Box]:
    """The tasks of a target, in order."""
    if hasattr(target, "file"):
        return with_own_stack(lambda: _Drawing().level(target.tasks, target.file.cleanups))
    program = compile_graph(target) if isinstance(target, Graph) else compile_nodes([target])
    batch = program.batch
    needs = batch.needs or [()] * batch.size
    return [
        Box(
            str(batch.keys[at]),
            "task",
            list(dict.fromkeys(str(batch.keys[need]) for need in needs[at])),
            [Box(REPAIR, "task", says=["task"])] if at in batch.repairs else [],
            ["task"],
            last=at in batch.cleanups,
        )
        for at in range(batch.size)
    ]


class _Drawing:
    """The tasks of a file, those of other files in it: not for ever."""

    def __init__(self) -> None:
        self._left = MOST_DRAWN
        self._depth = 0

    def level(self, tasks: Mapping[str, FlowTask], cleanups: Mapping[str, FlowTask]) -> list[Box]:
        beside = {**tasks, **cleanups}
        return [self.task(key, task, beside, last=key not in tasks) for key, task in beside.items()]

    def task(self, key: str, task: FlowTask, beside: Mapping[str, FlowTask], *, last: bool = False) -> Box:
        box = Box(key, kind(task), [need for need in task.needs if need in beside], last=last)
        box.says = _says(task)
        box.facts = _facts(task)
        match task.body:
            case Parallel(branches):
                for name, group in branches.items():
                    branch = Box(f"[{name}]", "branch", says=["branch"])
                    self.inside(branch, group)
                    box.inner.append(branch)
            case Switch(cases):
                box.inner = [self.case(number, case) for number, case in enumerate(cases, 1)]
            case _:
                for group in groups(task.body):
                    self.inside(box, group)
        if task.on_error is not None:
            box.inner.append(self.task(REPAIR, task.on_error, {}))
        return box

    def case(self, number: int, case: Case) -> Box:
        says = "otherwise" if case.when is None else f"when {value(case.when)}"
        box = Box(f"case {number}", "case", says=[says])
        if case.when is not None:
            box.facts["when"] = written(case.when)
        self.inside(box, case.group)
        return box

    def inside(self, box: Box, group: Group) -> None:
        self._left -= len(group.tasks) + len(group.cleanups)
        if self._left < 0 or self._depth >= DEEPEST_DRAWN:
            box.cut = True
            return
        self._depth += 1
        box.inner += self.level(group.tasks, group.cleanups)
        self._depth -= 1


def _says(task: FlowTask) -> list[str]:
    body = task.body
    what = kind(task)
    if isinstance(body, (Http, Subflow)):
        what = f"{what} {does(body)}"
    elif isinstance(body, Loop) and body.condition is not None:
        what = rounds(body)
    if task.foreach is not None:
        what = f"{'matrix' if isinstance(task.foreach, Matrix) else 'foreach'} {what}"
    found = [what]
    if isinstance(body, Loop) and body.condition is None:
        found.append(rounds(body))
    if task.foreach is not None:
        found.append(f"over {value(over(task.foreach))}")
    if task.when is not None:
        found.append(f"when {value(task.when)}")
    return found


def _facts(task: FlowTask) -> dict[str, Any]:
    body = task.body
    found: dict[str, Any] = {}
    if not isinstance(body, (Group, Parallel, Switch, Loop)):
        found["does"] = does(body)
    if task.foreach is not None:
        found["matrix" if isinstance(task.foreach, Matrix) else "foreach"] = over(task.foreach)
    if task.when is not None:
        found["when"] = written(task.when)
    if isinstance(body, Loop):
        found["max"] = written(body.most)
        for name, condition in (("until", body.until), ("while", body.condition)):
            if condition is not None:
                found[name] = written(condition)
    return found


# -- text


def text(target: Any) -> Iterator[str]:
    """One line a task, what it needs behind it."""
    yield from _text(boxes(target), "")


def _text(tasks: list[Box], indent: str) -> Iterator[str]:
    for box in tasks:
        behind = f"  <- {', '.join(box.needs)}" if box.needs else ""
        title = f" ({box.title})" if box.title != "task" else ""
        yield clean(f"{indent}{box.key}{title}{behind}")
        yield from _text(box.inner, indent + "    ")
        if box.cut:
            yield f"{indent}    ..."


# -- Mermaid


def mermaid(target: Any) -> Iterator[str]:
    """For Markdown pages."""
    yield "flowchart LR"
    yield from _mermaid(boxes(target), "    ", _Numbers())


class _Numbers:
    """Names for boxes: keys may be the same in different places, and may be words of the language."""

    def __init__(self) -> None:
        self._next = 0

    def new(self) -> str:
        name = f"t{self._next}"
        self._next += 1
        return name


def _caption(box: Box) -> str:
    """A key, and what is not to be seen in a picture: a condition, rounds, items, a request, another file."""
    title = box.title.removesuffix(box.kind).strip()
    return f"{box.key}: {title}" if title else box.key


_ENTITIES = {each: f"#{ord(each)};" for each in "#&%$`\\"} | {'"': "#quot;", "<": "#lt;", ">": "#gt;"}
"""What ends a text of Mermaid, or means something in it: entities, markup, formulas, and directives, which are looked for everywhere."""


def _label(text: str) -> str:
    shown = "".join(_ENTITIES.get(each, each) for each in clean(text))
    # Mermaid takes the last `;` away from what looks like a definition of a style.
    return shown.replace(":", "#58;") if "style" in shown or "classDef" in shown else shown


def _mermaid(tasks: list[Box], indent: str, numbers: _Numbers) -> Iterator[str]:
    names: dict[str, str] = {}
    for box in tasks:
        name = names[box.key] = numbers.new()
        if box.inner or box.cut:
            yield f'{indent}subgraph {name}["{_label(_caption(box))}"]'
            yield from _mermaid(box.inner, indent + "    ", numbers)
            if box.cut:
                yield f'{indent}    {numbers.new()}["..."]'
            yield f"{indent}end"
        else:
            yield f'{indent}{name}["{_label(_caption(box))}"]'
    for box in tasks:
        for need in box.needs:
            yield f"{indent}{names[need]} --> {names[box.key]}"


# -- Graphviz


def dot(target: Any) -> Iterator[str]:
    """For Graphviz. A task with others in it is a cluster; an arrow to one leads to its first task, and ends at its edge."""
    yield "digraph plait {"
    yield "    rankdir=LR; compound=true; node [shape=box];"
    yield from _dot(boxes(target), (), "    ")
    yield "}"


@dataclass(slots=True)
class _Ends:
    """Where arrows to and from a box are fixed."""

    first: str
    last: str
    cluster: str = ""


def _dot(tasks: list[Box], path: tuple[str, ...], indent: str) -> Iterator[str]:
    ends: dict[str, _Ends] = {}
    for box in tasks:
        here = (*path, box.key)
        ends[box.key] = _ends(box, here)
        if box.inner or box.cut:
            yield f"{indent}subgraph {_name('cluster', *here)} {{"
            yield f"{indent}    label={_quoted(_caption(box))};"
            yield from _dot(box.inner, here, indent + "    ")
            if box.cut:
                yield f'{indent}    {_name(*here, "...")} [label="..."];'
            yield f"{indent}}}"
        else:
            yield f"{indent}{_name(*here)} [label={_quoted(_caption(box))}];"
    for box in tasks:
        to = ends[box.key]
        for need in box.needs:
            start = ends[need]
            at = [f"{name}={cluster}" for name, cluster in (("ltail", start.cluster), ("lhead", to.cluster)) if cluster]
            behind = f" [{', '.join(at)}]" if at else ""
            yield f"{indent}{start.last} -> {to.first}{behind};"


def _ends(box: Box, path: tuple[str, ...]) -> _Ends:
    first = last = box
    start, end = path, path
    while first.inner:
        first = first.inner[0]
        start = (*start, first.key)
    while last.inner:
        last = last.inner[-1]
        end = (*end, last.key)
    if first.cut:
        start = (*start, "...")
    if last.cut:
        end = (*end, "...")
    cluster = _name("cluster", *path) if box.inner or box.cut else ""
    return _Ends(_name(*start), _name(*end), cluster)


def _name(*path: str) -> str:
    """A name for what has that path. In names a backslash is not taken away, so that none may stand before the quote."""
    return '"' + "/".join(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _quoted(text: str) -> str:
    """A text that is shown as it is: without escapes and entities of its own."""
    shown = clean(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'


# -- JSON


def as_json(target: Any) -> Iterator[str]:
    """For programs."""
    yield json.dumps([_plain(box) for box in boxes(target)], indent=2)


def _plain(box: Box) -> dict[str, Any]:
    shown: dict[str, Any] = {"key": box.key, "kind": box.kind, "needs": box.needs, **box.facts}
    if box.last:
        shown["finally"] = True
    if box.inner:
        shown["tasks"] = [_plain(each) for each in box.inner]
    if box.cut:
        shown["cut"] = True
    return shown


def left_out(why: Mapping[str, str]) -> Iterator[str]:
    """What would not run, and why."""
    if why:
        yield f"would not run {len(why)}:"
    for key, reason in why.items():
        yield f"  {clean(key)}: {clean(reason)}"


FORMS: dict[str, Callable[[Any], Iterator[str]]] = {"text": text, "mermaid": mermaid, "dot": dot, "json": as_json}
