"""From the syntax tree to the checked values that the compiler takes: the same tasks and blocks as YAML has."""

from __future__ import annotations

from dataclasses import replace

from plait._core.graph import REPAIR
from plait.expressions import parse
from plait.expressions.formula import Formula
from plait.flow.model import Assign, Attempts, Body, Case, FlowTask, Gate, Group, Layout, Parallel, Subflow, Switch
from plait.flow.script.elements.common import POLICY
from plait.flow.script.limits import DEEPEST, MOST_LEVELS, MOST_NODES
from plait.flow.script.names import MANY_FALLBACKS, Lookup
from plait.flow.script.options import OF_RETRY
from plait.flow.script.syntax import Block, Part
from plait.flow.templates import Hole, Template

TIMED_OUT = Template((Hole(Formula(parse("error.timedOut"), "error.timedOut"), 0),))


class Builder:
    """Makes the tasks of a file."""

    def __init__(self, file: str, lookup: Lookup) -> None:
        self._file = file
        self._lookup = lookup
        self._nodes: dict[str, FlowTask] = {}
        self.made = 0
        """Tasks, with those of other files."""
        self.deepest = self._depth = self._levels = 0
        self._places: dict[int, dict[str, int]] = {}
        self._ids: dict[int, list[tuple[str, tuple[str, ...]]]] = {}

    def group(self, block: Block) -> Group:
        """The tasks of a block, and where names lead from there."""
        kept = [place for place, part in enumerate(block.parts) if not part.dropped]
        at = {place: number for number, place in enumerate(kept)}
        parts = [block.parts[place] for place in kept]
        tasks = {part.key: self.task(part, block, at) for part in parts}
        sets = {
            name: sorted(at[place] for place in places if place in at)
            for name, places in self._lookup.variables(block).items()
        }
        layout = Layout(
            keys=[part.key for part in parts],
            sets={name: places for name, places in sets.items() if places},
            jumps=[number for number, part in enumerate(parts) if _leaves(part)],
            gates=[number for number, part in enumerate(parts) if part.gotos],
            nodes=self._nodes,
        )
        for number, part in enumerate(parts):
            for name, keys in self._ids_of(part):
                layout.ids[name] = (number, keys)
        return Group(tasks, layout=layout)

    def task(self, part: Part, block: Block, at: dict[int, int]) -> FlowTask:
        """One task, with all within."""
        needs = tuple(block.parts[place].key for place in sorted(part.needs) if place in at)
        self._depth += 1
        self._count(part, 1, 0)
        groups = [self.group(each) for each in part.blocks]
        on_error = self._repair(part)
        body = part.body(groups)
        if isinstance(body, Subflow):
            self._count(part, body.flow.size, getattr(body.flow, "levels", 0))
        self._depth -= 1
        if isinstance(body, Gate):
            places = self._places_in(block)
            actions = tuple(
                replace(each, back=places.get(each.goto, len(places)) < places[part.key]) if each.goto else each
                for each in body.actions
            )
            body = replace(body, actions=actions)
        made = FlowTask(
            part.key,
            part.at,
            body,
            needs,
            part.policy,
            part.whole,
            part.foreach,
            None,
            part.when,
            file=self._file,
            on_error=on_error,
            takes=part.takes,
            item_names=part.item_names,
            late=part.late,
            passes_on=part.passes_on,
        )
        if part.merges_apart:
            assert isinstance(body, Parallel)
            assert isinstance(body.merge, Template)
            made = _merged_apart(made, body, body.merge, self._nodes)
        if part.tries is not None:
            made = _tried(made, part, self._nodes)
        elif _waits_for_options(part) and not part.merges_apart:
            made = _later(made, self._nodes)
        self._nodes[part.key] = made
        return made

    def _places_in(self, block: Block) -> dict[str, int]:
        """Where the nodes of a block stand."""
        if id(block) not in self._places:
            self._places[id(block)] = {each.key: number for number, each in enumerate(block.parts)}
        return self._places[id(block)]

    def _count(self, part: Part, tasks: int, levels: int) -> None:
        """Counts tasks, and the levels of blocks in them."""
        self.made += tasks
        self.deepest = max(self.deepest, self._depth + levels)
        self._levels += self._depth
        if self.deepest > DEEPEST:
            raise self._lookup.too_large(
                part.at, f"blocks, and fallbacks of fallbacks, are nested deeper than {DEEPEST} levels"
            )
        if self.made > MOST_NODES:
            raise self._lookup.too_large(part.at, MANY_FALLBACKS)
        if self._levels > MOST_LEVELS:
            many = f"{MOST_LEVELS:,} nodes, each counted as often as there are blocks around it"
            raise self._lookup.too_large(part.at, f"the file has more than {many}")

    def _repair(self, part: Part) -> FlowTask | None:
        """What runs when a node failed: the fallback, or the first of several that serves."""
        cases: list[tuple[Template | None, FlowTask]] = []
        for fallback in part.fallbacks:
            way = self._lookup.ways.get(fallback.target)
            if way is None:
                continue
            target = way[-1].part
            made = replace(self.task(target, way[-1].block, {}), needs=())
            cases.append((TIMED_OUT if fallback.late else fallback.when, made))
        if not cases:
            return None
        nodes = self._nodes
        groups = [
            (when, Group({made.key: made}, layout=Layout({made.key: (0, ())}, [made.key], nodes=nodes)))
            for when, made in cases
        ]
        if len(groups) == 1 and groups[0][0] is None:
            return FlowTask(REPAIR, part.at, groups[0][1], (), POLICY, file=self._file)
        must = f"no fallback of {part.key!r} serves for this failure"
        body = Switch(tuple(Case(when, group) for when, group in groups), must)
        return FlowTask(REPAIR, part.at, body, (), POLICY, file=self._file)

    def _ids_of(self, part: Part) -> list[tuple[str, tuple[str, ...]]]:
        """Every node that can be seen from beside this part, with the keys that lead to it."""
        found = self._ids.get(id(part))
        if found is not None:
            return found
        found = self._ids[id(part)] = [(part.key, ())] if part.named else []
        waits = _waits_for_options(part) and not part.merges_apart
        again = (part.key,) if part.tries is not None or waits else ()
        if part.merges_apart:
            again = (*again, f"{part.key}.branches")
        for block in part.blocks if part.foreach is None else ():
            if block.id:
                found.append((block.id, (*again, f"[{block.id}]")))
            for each in block.parts:
                if not each.dropped:
                    found.extend((name, (*again, each.key, *keys)) for name, keys in self._ids_of(each))
        return found


def _waits_for_options(part: Part) -> bool:
    """Do options of its policy name other nodes, or variables? These are known only when it begins."""
    names = (name.root for template in part.late.values() for name in template.references)
    return any(name == "$context" or not name.startswith("$") for name in names)


def _merged_apart(task: FlowTask, body: Parallel, merge: Template, nodes: dict[str, FlowTask]) -> FlowTask:
    """A `parallel` whose merge asks for the time, or for chance: that is a task of its own, so that what it came to is on record."""
    inside, behind = f"{task.key}.branches", f"{task.key}.merge"
    policy = task.policy.but(allow_failure=False)
    branches = replace(
        task,
        key=inside,
        body=replace(body, merge="array"),
        needs=(),
        policy=policy,
        on_error=None,
        when=None,
        takes=None,
    )
    assign = FlowTask(behind, task.at, Assign({"merge": merge}, True), (inside,), POLICY, file=task.file)
    names = {each.root for each in merge.references} & {"$branches", "branches"}
    layout = Layout(dict.fromkeys(names, (0, ())), [inside, behind], nodes=nodes)
    nodes[inside], nodes[behind] = branches, assign
    own = POLICY.but(allow_failure=task.policy.allow_failure)
    return replace(task, body=Group({inside: branches, behind: assign}, layout=layout), policy=own, late={})


def _tried(task: FlowTask, part: Part, nodes: dict[str, FlowTask]) -> FlowTask:
    """A block that is tried again: around it stands what does that."""
    assert part.tries is not None
    late = {name: each for name, each in task.late.items() if name in OF_RETRY}
    inner = replace(task, late={name: each for name, each in task.late.items() if name not in OF_RETRY})
    body = Attempts(_held(inner, nodes), part.tries, POLICY.but(allow_failure=True), part.tries_when, late)
    return _around(task, body)


def _later(task: FlowTask, nodes: dict[str, FlowTask]) -> FlowTask:
    """A node with options that name others: around it stands what begins once these are there, for then it is given its policy."""
    return _around(task, _held(task, nodes))


def _held(task: FlowTask, nodes: dict[str, FlowTask]) -> Group:
    """The node alone, without what is the business of what stands around it."""
    inner = replace(task, on_error=None, needs=(), when=None, takes=None)
    if task.whole is None:
        inner = replace(inner, policy=task.policy.but(allow_failure=False))
    else:
        inner = replace(inner, whole=task.whole.but(allow_failure=False))
    return Group({task.key: inner}, layout=Layout({task.key: (0, ())}, [task.key], nodes=nodes))


def _around(task: FlowTask, body: Body) -> FlowTask:
    own = POLICY.but(allow_failure=(task.whole or task.policy).allow_failure)
    return replace(task, body=body, foreach=None, whole=None, policy=own, late={})


def _leaves(part: Part) -> bool:
    """May a `break` or `continue` in it lead out of it?"""
    inside = {each.key for each in part.within()}
    return any(each.leaves and (each.leaves not in inside or each is part) for each in part.within())
