"""What a file or a graph is, as data and as text: all of it is read, nothing is run, and of a file nothing is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Listed
from typing import Any

from plait._core.graph import REPAIR
from plait._core.policy import PLAIN, Value, policy
from plait.errors import UsageError
from plait.flow.keys import BODIES, GROUPS, POLICIES
from plait.flow.model import Body, FlowTask, Group, Http, Loop, NodeCall, Parallel, Subflow, Switch, groups
from plait.flow.outlines import DEEPEST_DRAWN, MOST_DRAWN, does, kind, written
from plait.flow.problems import Problems
from plait.flow.stacks import with_own_stack
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Sequence, Tree, plain, read
from plait.observe.text import as_json, clean
from plait.programs import compile_graph, compile_nodes
from plait.tasks import Definition, Graph, Node

__all__ = ["facts", "text"]

WIDTH = 100
"""Characters of a line."""

LIMITS = ("max_concurrency", "on_failure", "deadline", "budget", "on_conflict", "health")
OVER = ("foreach", "matrix", "loop", "while", "when")
"""How often a task does what it does, and whether."""
STRUCTURE = ("needs", *OVER, REPAIR, "finally", *BODIES)
"""What of a task is told by itself; the rest are its options."""


def facts(target: Any, name: str) -> dict[str, Any]:
    """What a target is, for programs: all that its file says, and what follows from that."""
    if hasattr(target, "configured"):
        from plait.cli.scripted import facts as of_script

        return of_script(target, name)
    return _of_flow(target, name) if hasattr(target, "file") else _of_graph(target, name)


# -- files


def _of_flow(flow: Any, name: str) -> dict[str, Any]:
    file = flow.file
    tree, _ = read(file.path, Problems(str(file.path)), file.text)
    assert isinstance(tree, Map)
    said = {key: plain(each) for key, each in tree.items.items() if key not in ("tasks", "finally")}
    tasks, last = with_own_stack(lambda: _Telling(tree, _Room()).everything(tree, Group(file.tasks, file.cleanups)))
    return {
        "name": flow.name,
        "file": name,
        "inputs": {
            key: {
                "type": each.type,
                "required": each.required,
                "default": each.default,
                "description": each.description,
            }
            for key, each in file.inputs.items()
        },
        "env": said.get("env") or {},
        "pools": said.get("pools") or {},
        "limits": {"max_concurrency": None, "on_failure": "continue", "deadline": None, "budget": None}
        | {key: said[key] for key in LIMITS if key in said},
        "tasks": tasks,
        "finally": last,
        "outputs": said.get("outputs") or {},
    }


class _Room:
    """For so many tasks, on so many levels."""

    def __init__(self) -> None:
        self.left = MOST_DRAWN
        self.depth = 0


class _Telling:
    """The tasks of one file, with what it says of every task that runs something."""

    def __init__(self, tree: Map, room: _Room) -> None:
        given = tree.items.get("defaults")
        self._given = given.items if isinstance(given, Map) else {}
        self._room = room

    def options(self, tree: Map, body: str) -> dict[str, Any]:
        """The options of a task, its own and those of the file, where they differ from what holds anyhow."""
        own = {key: plain(each) for key, each in tree.items.items() if key not in STRUCTURE}
        if body in (*GROUPS, "ask"):
            return {key: each for key, each in own.items() if _differs(key, each)}
        said = {"retries", "retry"} if {"retries", "retry"} & own.keys() else set()
        beside = {key: plain(each) for key, each in self._given.items() if key not in {*own, *said}}
        return {key: each for key, each in (own | beside).items() if _differs(key, each)}

    def everything(self, tree: Tree, group: Group) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The tasks of a file or a group, and those that clean up after them."""
        items = tree.items if isinstance(tree, Map) else {}
        return self.tasks(items.get("tasks"), group.tasks), self.tasks(items.get("finally"), group.cleanups)

    def tasks(self, tree: Tree | None, tasks: Mapping[str, FlowTask]) -> list[dict[str, Any]]:
        found = tree.items.items() if isinstance(tree, Map) else ()
        return [self.task(key, each, tasks[key]) for key, each in found if isinstance(each, Map)]

    def task(self, key: str, tree: Map, task: FlowTask) -> dict[str, Any]:
        name = next(each for each in BODIES if each in tree.items)
        shown: dict[str, Any] = {"key": key, "kind": kind(task)}
        body = task.body
        if isinstance(body, Http):
            shown["does"] = does(body)
            given = plain(tree.items[name])
            rest = (
                {key: each for key, each in given.items() if key not in ("url", "method")}
                if isinstance(given, dict)
                else {}
            )
            if rest:
                shown["request"] = rest
        elif isinstance(body, NodeCall):
            shown["does"] = does(body).removeprefix(body.type).strip()
        elif name not in GROUPS or isinstance(body, Subflow):
            shown["does"] = plain(tree.items[name])
        if task.needs:
            shown["needs"] = list(task.needs)
        shown |= {each: plain(tree.items[each]) for each in OVER if each in tree.items}
        options = self.options(tree, name)
        if options:
            shown["options"] = options
        self.inside(shown, tree, body)
        repair = tree.items.get(REPAIR)
        if isinstance(repair, Map) and task.on_error is not None:
            shown[REPAIR] = self.task(REPAIR, repair, task.on_error)
        return shown

    def inside(self, shown: dict[str, Any], tree: Map, body: Body) -> None:
        """Adds the tasks in a task: of a group, of branches and cases, of another file."""
        match body:
            case Parallel(branches):
                shown["branches"] = [
                    self.part({"name": name}, each, group)
                    for (name, group), each in zip(branches.items(), _listed_in(tree, "parallel"), strict=True)
                ]
            case Switch(cases):
                shown["cases"] = [
                    self.part({} if case.when is None else {"when": written(case.when)}, each, case.group)
                    for case, each in zip(cases, _listed_in(tree, "switch"), strict=True)
                ]
            case Subflow(flow):
                whole, _ = read(flow.path, Problems(str(flow.path)), flow.text)
                assert isinstance(whole, Map)
                other = _Telling(whole, self._room)
                shown |= other.part({}, whole, Group(flow.tasks, flow.cleanups))
            case Group() | Loop():
                for group in groups(body):
                    shown |= self.part({}, tree, group)

    def part(self, shown: dict[str, Any], tree: Tree, group: Group) -> dict[str, Any]:
        room = self._room
        room.left -= len(group.tasks) + len(group.cleanups)
        if room.left < 0 or room.depth >= DEEPEST_DRAWN:
            return {**shown, "tasks": [], "cut": True}
        room.depth += 1
        tasks, last = self.everything(tree, group)
        room.depth -= 1
        return {**shown, "tasks": tasks, **({"finally": last} if last else {})}


def _listed_in(tree: Map, name: str) -> list[Tree]:
    listed = tree.items[name]
    assert isinstance(listed, Sequence)
    return listed.items


def _differs(name: str, value: Any) -> bool:
    try:
        return name not in POLICIES or policy(PLAIN, **{name: value}) != PLAIN
    except UsageError:
        return True  # a template


# -- graphs


def _of_graph(target: Any, name: str) -> dict[str, Any]:
    program = compile_graph(target) if isinstance(target, Graph) else compile_nodes([target])
    batch = program.batch
    nodes: Listed[Node[Any]] = batch.calls.nodes  # type: ignore[attr-defined]  # of what it was compiled
    found = []
    for at, node in enumerate(nodes):
        needs = list(dict.fromkeys(batch.keys[need] for need in (batch.needs or [()] * batch.size)[at]))
        found.append(_of_node(str(batch.keys[at]), node, [str(need) for need in needs]))
    graph = target if isinstance(target, Graph) else None
    return {
        "name": program.name,
        "file": name,
        "inputs": {},
        "env": {},
        "pools": dict(graph.pools) if graph is not None else {},
        "limits": {"max_concurrency": None, "on_failure": "continue", "deadline": None, "budget": None}
        | ({"on_conflict": str(graph.on_conflict)} if graph is not None and graph.on_conflict != "refuse" else {}),
        "tasks": [each for at, each in enumerate(found) if at not in batch.cleanups],
        "finally": [each for at, each in enumerate(found) if at in batch.cleanups],
        "outputs": {},
    }


def _of_node(key: str, node: Node[Any], needs: list[str]) -> dict[str, Any]:
    definition: Definition = node._definition
    called = definition.body if definition.each else definition
    kind, does = called_as(called, node)
    shown: dict[str, Any] = {"key": key, "kind": kind, "does": does}
    if needs:
        shown["needs"] = needs
    if definition.each:
        shown["foreach"] = "its lists"
    if definition.when is not None:
        shown["when"] = definition.when if isinstance(definition.when, bool) else "worked out"
    options = {name: _said(name, each) for name, each in called.policy.fields().items() if each != getattr(PLAIN, name)}
    if called.executor not in ("thread", "async", "shell"):
        options["executor"] = called.executor
    if options:
        shown["options"] = options
    if called.on_error is not None:
        repair = called.on_error.node
        shown[REPAIR] = _of_node(REPAIR, repair, [])
    return shown


_OURS = {"plait.asking:asked": "ask", "plait.approving:reviewed": "ask", "plait.calls.http:request": "http"}
"""Bodies that plait brings along, as files call them."""


def called_as(definition: Definition, node: Node[Any]) -> tuple[str, Any]:
    """Which body of a file a node would be, and what it does."""
    body = definition.body
    first = node._args[0] if node._args else ""
    if definition.executor == "shell":
        several = isinstance(first, (list, tuple))
        return "run", [_argument(each) for each in first] if several else _argument(first)
    name = f"{getattr(body, '__module__', '')}:{getattr(body, '__qualname__', definition.name)}"
    return (_OURS[name], _argument(first)) if name in _OURS else ("call", name)


def _argument(value: Any) -> str:
    return f"<{value._beside.key or value._name}>" if isinstance(value, Node) else str(value)


def _said(name: str, value: Any) -> Any:
    """An option as one gives it."""
    match value:
        case Value():
            usual = type(value)().fields()
            return {key: _said(key, each) for key, each in value.fields().items() if each != usual[key]}
        case type():
            return value.__name__
        case float() if value.is_integer():
            return int(value)
        case tuple() if name == "pool":
            return {each[0]: each[1] for each in value}
        case tuple() if name == "rate_limit":
            return [f"{units}/{interval:g}s" for _, units, interval in value]
        case tuple():
            return [_said("", each) for each in value]
        case _:
            return value


# -- text


def text(facts: Mapping[str, Any]) -> Iterator[str]:
    """The same for people: a task is two lines or three, none longer than a terminal."""
    yield _cut(f"{facts['name']}  ({facts['file']})")
    for given_as in ("config", "inputs"):
        inputs: Mapping[str, Any] = facts.get(given_as, {})
        if inputs:
            yield given_as
            width = min(max(map(len, inputs)), 30)
            for name, each in inputs.items():
                given = "required" if each["required"] else f"default {_short(each['default'])}"
                yield _cut(f"  {name:{width}}  {each['type']:7}  {given}")
                if each["description"]:
                    yield _cut(f"  {'':{width}}  {each['description']}")
    if facts.get("secrets"):
        yield _cut(f"secrets {', '.join(facts['secrets'])}")
    for name in ("env", "pools", "limits"):
        said = {key: each for key, each in facts[name].items() if each is not None}
        if said:
            yield name
            yield from (_cut(f"  {key}: {_short(each)}") for key, each in said.items())
    for name in ("tasks", "finally"):
        if facts[name]:
            yield name
            for task in facts[name]:
                yield from _told(task, "  ")
    if facts["outputs"]:
        yield "outputs"
        given = facts["outputs"]
        told = given.items() if isinstance(given, dict) else [("value", given)]
        yield from (_cut(f"  {key}: {_short(each)}") for key, each in told)


def _told(task: Mapping[str, Any], indent: str) -> Iterator[str]:
    yield _cut(f"{indent}{task['key']}: {task['kind']}{_does(task)}")
    deeper, aside = indent + "    ", indent + "      "
    for name in OVER:
        if name in task:
            yield _cut(f"{aside}{name} {_over(task[name])}")
    if "needs" in task:
        yield from _listed(f"{aside}needs ", task["needs"])
    for name in ("request", "options"):
        if name in task:
            yield from _listed(aside, [f"{key}: {_short(each)}" for key, each in task[name].items()])
    for branch in task.get("branches", ()):
        yield _cut(f"{deeper}[{branch['name']}]")
        yield from _inside(branch, deeper + "  ")
    for number, case in enumerate(task.get("cases", ()), 1):
        says = f"when {_short(case['when'])}" if "when" in case else "otherwise"
        yield _cut(f"{deeper}case {number}: {says}")
        yield from _inside(case, deeper + "  ")
    yield from _inside(task, deeper)
    if REPAIR in task:
        yield from _told(task[REPAIR], deeper)


def _inside(task: Mapping[str, Any], indent: str) -> Iterator[str]:
    for each in task.get("tasks", ()):
        yield from _told(each, indent)
    if task.get("finally"):
        yield f"{indent}finally"
        for each in task["finally"]:
            yield from _told(each, indent)
    if task.get("cut"):
        yield f"{indent}..."


def _over(given: Any) -> str:
    """What a foreach goes over, axes, rounds, a condition."""
    return (
        ", ".join(f"{key}: {_short(each)}" for key, each in given.items()) if isinstance(given, dict) else _short(given)
    )


def _does(task: Mapping[str, Any]) -> str:
    """The first line of what a task does."""
    does = task.get("does")
    if does is None:
        return f" of {len(task.get('branches') or task.get('cases') or task.get('tasks', ()))}"
    shown = " ".join(map(_word, does)) if isinstance(does, list) else str(does)
    lines = [line for line in shown.splitlines() if line.strip()] or [""]
    lines = [line for line in lines if not line.lstrip().startswith("#")] or lines
    return f" {lines[0].strip()}{' ...' if len(lines) > 1 else ''}"


def _word(value: Any) -> str:
    """A word of a command, told apart from those beside it."""
    word = as_json(value) if not isinstance(value, str) else value
    return as_json(word) if not word or (" " in word and "{{" not in word) else word


def _listed(start: str, parts: Listed[str]) -> Iterator[str]:
    """Parts behind commas, as many to a line as fit, on some lines at most."""
    line, lines = start, 0
    for at, each in enumerate(parts):
        part = each + ("," if at + 1 < len(parts) else "")
        if len(line) + len(part) > WIDTH and line.strip() and line != start:
            yield _cut(line.rstrip())
            line, lines = " " * len(start), lines + 1
            if lines == MOST_LINES:
                yield f"{line}... and {len(parts) - at} more"
                return
        line += f"{part} "
    yield _cut(line.rstrip())


MOST_LINES = 4
"""Of needs, and of options, of one task."""


def _short(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str) and value and value == value.strip():
        return value
    return as_json(value)


def _cut(line: str) -> str:
    line = clean(line)
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
