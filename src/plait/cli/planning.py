"""`plait run -n`: what would run, and why; nothing is run, and no store is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from plait._core.graph import REPAIR
from plait._core.policy import PLAIN, of_cleanup
from plait._engine.doors import DEFAULT, blocking, slots
from plait._engine.driver import Driver
from plait.cli.inspecting import called_as
from plait.cli.output import out
from plait.cli.session import Display, Settings
from plait.flow.outlines import value
from plait.flow.planning import GOOD, SKIP, Plan, by_needs, in_order, limits_of, plan_of
from plait.observe.text import as_json, clean
from plait.programs import compile_graph, compile_nodes
from plait.runs import make_driver
from plait.tasks import Definition, Graph, Node

__all__ = ["document", "dry_run", "text"]

LONGEST = 100
"""Characters of what a task does."""


def dry_run(target: Any, inputs: Mapping[str, Any], settings: Settings) -> int:
    """Tells what a run of `target` would do. All that is checked before a run is checked here, functions are imported.

    Raises:
        FlowError, UsageError: for what cannot be run.
    """
    jobs = DEFAULT if settings.jobs is None else settings.jobs
    options: dict[str, Any] = {"on_failure": settings.on_failure} if settings.on_failure else {}

    async def made() -> Driver:
        return make_driver(target, dict(inputs), jobs, options, is_run=False)

    blocking(made)  # whose run is never started
    found = document(target, inputs, settings)
    for line in [as_json(found, indent=2)] if settings.display is not Display.PEOPLE else text(found):
        out(line)
    return 0


def document(
    target: Any, inputs: Mapping[str, Any], settings: Settings, only: Collection[str] | None = None
) -> dict[str, Any]:
    """The plan as data; `only` these tasks of a file and those that clean up, where it runs a part of it."""
    is_file = hasattr(target, "file")
    rules = target.rules() if is_file else _rules(target)
    plans = plan_of(target.file, target.tasks, target.inputs(inputs)) if is_file else _of_graph(target)
    if only is not None:
        plans = [plan for plan in plans if plan.key in only or plan.last]
    jobs = settings.jobs if settings.jobs is not None else slots(rules.get("max_concurrency", DEFAULT))
    taken = {name for plan in plans for each in _all(plan) for name in each.limits.get("pool", ())}
    return {
        "name": target.name if hasattr(target, "name") else target._name,
        "inputs": target.inputs(inputs) if is_file else {},
        "max_concurrency": jobs,
        "on_failure": settings.on_failure or str(rules.get("on_failure", "continue")),
        "deadline": rules.get("deadline"),
        "pools": {name: each for name, each in rules.get("pools", {}).items() if name in taken},
        "counts": dict(Counter(str(plan.would) for plan in plans)),
        "tasks": [plan.plain() for plan in plans],
    }


def _all(plan: Plan) -> Iterator[Plan]:
    stack = [plan]
    while stack:
        each = stack.pop()
        yield each
        stack += each.inside
        stack += [] if each.on_error is None else [each.on_error]


# -- graphs of Python


def _rules(target: Any) -> dict[str, Any]:
    return {"pools": dict(target.pools)} if isinstance(target, Graph) else {}


def _of_graph(target: Any) -> list[Plan]:
    """The nodes of a graph. Conditions that are functions are not asked."""
    batch = (compile_graph(target) if isinstance(target, Graph) else compile_nodes([target])).batch
    nodes: Sequence[Node[Any]] = batch.calls.nodes  # type: ignore[attr-defined]  # of what it was compiled
    keys = [str(key) for key in batch.keys]
    needs = {
        key: list(dict.fromkeys(keys[need] for need in (batch.needs or [()] * batch.size)[at]))
        for at, key in enumerate(keys)
    }
    place = {key: at for at, key in enumerate(keys)}
    found: dict[str, Plan] = {}
    for last in (False, True):
        for key in in_order({key: needs[key] for at, key in enumerate(keys) if (at in batch.cleanups) is last}):
            found[key] = _of_node(key, nodes[place[key]], needs[key], found, last=last)
    return list(found.values())


def _of_node(key: str, node: Node[Any], needs: Sequence[str], done: Mapping[str, Plan], *, last: bool = False) -> Plan:
    definition: Definition = node._definition
    called = definition.body if definition.each else definition
    kind, does = called_as(called, node)
    shown = does if isinstance(does, str) else " ".join(map(str, does))
    limits = {**limits_of(called.policy), **limits_of(definition.policy)}
    plan = Plan(key, kind, shown, needs, last=last, limits=limits, forgiven=definition.policy.allow_failure)
    join = definition.policy.join
    if last:
        join = of_cleanup(definition.policy, joined=join is not PLAIN.join).join
    plan.ends, plan.because = by_needs(join, [done[need] for need in needs])
    if GOOD not in plan.ends:
        return plan
    when = definition.when
    if when is False:
        plan.ends = (plan.ends - {GOOD}) | {SKIP}
        plan.because.append("when is false")
        return plan
    if when is not None and when is not True:
        plan.ends |= {SKIP}
        says = f"only if {when._name} gives true" if isinstance(when, Node) else "only if a function says so"
        plan.because.append(f"{says}, known at run time")
    if definition.each:
        lists = node._args
        is_known = node._refs is None and all(isinstance(each, (list, tuple)) for each in lists)
        plan.items = {"over": "its lists", "count": min(map(len, lists)) if is_known else None}
    if called.on_error is not None:
        plan.on_error = _of_node(REPAIR, called.on_error.node, [], {})
    return plan


# -- text


def text(found: Mapping[str, Any]) -> Iterator[str]:
    """The plan for people: a line for each task, and below it what is to be said of it."""
    tasks = found["tasks"]
    yield f"would run {_counted(tasks, found['counts'])}:"
    limits = [
        "any number at once" if found["max_concurrency"] is None else f"at most {found['max_concurrency']} at once"
    ]
    limits += [f"pool {name}: {_capacity(each)}" for name, each in found["pools"].items()]
    if found["on_failure"] != "continue":
        limits.append(f"on failure {found['on_failure']}")
    if found["deadline"] is not None:
        limits.append(f"deadline {found['deadline']}")
    yield f"  ({clean(', '.join(limits))})"
    for task in tasks:
        yield from _told(task, "  ")


def _counted(tasks: Sequence[Any], counts: Mapping[str, int]) -> str:
    sure = counts.get("run", 0) + counts.get("failed", 0)
    of = "" if sure == len(tasks) else f" of {len(tasks)}"
    others = [f"{counts[name]} {says}" for name, says in _OTHERS.items() if counts.get(name)]
    number = f"{sure}{of} task{'s' if len(tasks) != 1 else ''}"
    return f"{number} ({', '.join(others)})" if others else number


_OTHERS = {"maybe": "known at run time", "failed": "would fail", "skipped": "skipped", "upstream_failed": "not begun"}
_WOULD = {"skipped": "skipped", "upstream_failed": "would not begin", "not_chosen": "not chosen"}


def _capacity(pool: Any) -> Any:
    return pool["capacity"] if isinstance(pool, Mapping) else pool


def _told(task: Mapping[str, Any], indent: str) -> Iterator[str]:
    after = f" after {', '.join(task['needs'])}" if task["needs"] else ""
    in_the_end = ", in the end" if task.get("finally") else ""
    does, would = task.get("does", ""), task["would"]
    named = f"{task['kind']} " if task["kind"] in ("call", "http", "ask", "flow") else ""
    said = f": {named}{_cut(does)}" if does else ""
    if would in _WOULD:
        said = f"{said}: {_WOULD[would]}" if task["kind"] == "case" else f": {_WOULD[would]}"
    yield clean(f"{indent}{task['key']}{after}{in_the_end}{said}")
    aside = f"{indent}      "
    yield from (clean(f"{aside}{each}") for each in task.get("because", ()))
    yield from (clean(f"{aside}{each}") for each in _items(task.get("items", {})))
    limits = _limited(task.get("limits", {}))
    if limits:
        yield clean(f"{aside}{', '.join(limits)}")
    for each in task.get("tasks", ()):
        yield from _told(each, f"{indent}    ")
    if task.get("cut"):
        yield f"{indent}    ..."
    if "on_error" in task:
        yield from _told(task["on_error"], f"{indent}    ")


def _items(items: Mapping[str, Any]) -> Iterator[str]:
    if "count" not in items:
        return
    count = items["count"]
    if count is None:
        yield f"for each item of {_cut(value(items['over']))}, known at run time"
        return
    yield "no items" if not count else f"for each of {count} item{'s' if count > 1 else ''}{_named(items, count)}"


def _named(items: Mapping[str, Any], count: int) -> str:
    keys = items.get("keys", [])
    if not keys or keys == [str(at) for at in range(len(keys))]:
        return ""
    more = f" and {count - len(keys)} more" if count > len(keys) else ""
    return f": {' '.join(f'[{key}]' for key in keys)}{more}"


def _limited(limits: Mapping[str, Any]) -> list[str]:
    said = []
    for name, each in limits.items():
        match name:
            case "pool":
                said += [f"pool {pool}" if weight == 1 else f"pool {pool} ({weight})" for pool, weight in each.items()]
            case "rate_limit":
                said.append(f"rate {' '.join(each)}")
            case "concurrency_key":
                said.append(f"key {each['key']}" + (f" (at most {each['n']})" if each["n"] > 1 else ""))
            case "lock":
                said.append(f"lock {' '.join(each)}")
            case "max_concurrency":
                said.append(f"at most {each} at once")
            case _:
                said.append(f"{name} {each}")
    return said


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
