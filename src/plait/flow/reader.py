"""From the tree of a file to checked values; every problem of the file is found in one reading."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plait._core.graph import REPAIR, cycle_text, find_cycle, safe_key
from plait._core.limits import check_uses, check_wants, owned
from plait._core.policy import OF_CODE, PLAIN, Policy, Rules, check_quota, of_cleanup, option_names, policy
from plait._engine.work import check_votes
from plait.calls.shell import OUTPUTS, OutputKind
from plait.errors import GraphError, LimitError, UsageError
from plait.flow.lookups import ERROR, ROOTS
from plait.flow.model import Argv, Ask, Body, FlowFile, FlowTask, Group, Input, PythonCall, Script, Wants
from plait.flow.problems import START, Place, Problems
from plait.flow.templates import Template, TemplateError, check_script, holds_template, parse_template
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree, kind, plain, read

DEEPEST_GROUPS = 100

OF_CODE_ALONE = ("retries", "retry", "idle_timeout", "on_interrupt", "memory_limit")
"""What a question, which runs no code, is refused."""

TOP = (
    "name",
    "inputs",
    "env",
    "max_concurrency",
    "on_failure",
    "deadline",
    "pools",
    "budget",
    "on_conflict",
    "health",
    "defaults",
    "tasks",
    "finally",
    "outputs",
)
BODIES = ("run", "call", "tasks", "ask")
OF_GROUPS = ("on_failure", "max_concurrency", "min_success", "max_failures", "reduce")
POLICIES = tuple(sorted(option_names() - set(OF_GROUPS)))
WHOLE = ("join", "budget", *OF_GROUPS)
COMMON = ("needs", "foreach", "key", "when", "on_error", *POLICIES, *OF_GROUPS)
BODY_KEYS = {
    "run": ("output", "env", "cwd"),
    "call": ("with", "executor"),
    "tasks": ("finally",),
    "ask": ("form", "default", "who", "approve", "rounds"),
}
LATER = {
    "http", "agent", "parallel", "switch", "loop", "while", "flow", "matrix", "cache", "workspace", "secrets",
}  # fmt: skip
"""Words of the language that this version does not run: refused, never ignored."""

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}


def read_flow(
    path: Path, text: str | None = None, look: Callable[[FlowFile, Problems], None] | None = None
) -> FlowFile:
    """The checked contents of a YAML workflow file, or of `text` in its place. Nothing is imported or run.

    `look` adds the problems of the file as a whole, once all tasks in it could be read.

    Raises:
        FlowError: with every problem of the file, each with its place.
    """
    problems = Problems(str(path))
    tree, text = read(path, problems, text)
    reader = _Reader(path, problems)
    flow = reader.flow(tree)
    if look is not None and flow is not None and reader.whole:
        look(flow, problems)
    if problems.found or flow is None:
        raise problems.error()
    return replace(flow, text=text)


class _Around:
    """What a task may refer to: the tasks beside it, and those around its group."""

    def __init__(
        self,
        tasks: Map,
        outer: _Around | None = None,
        item: bool = False,
        error: bool = False,
        cleanups: Map | None = None,
    ) -> None:
        self.tasks = tasks
        self.outer = outer
        self.item = item  # within a foreach
        self.error = error  # within an `on_error`
        self.cleanups = cleanups  # of the same group, where this is for those that they clean up after
        self.lifted: list[str] = []  # tasks of outer groups that something here refers to

    def within(self, *, item: bool = False, error: bool = False) -> _Around:
        """The same, seen from an item of a foreach, or from an `on_error`."""
        return _Around(self.tasks, self.outer, self.item or item, self.error or error, self.cleanups)

    def is_cleanup(self, name: object) -> bool:
        """Is there a task of that name, but for cleaning up?"""
        return self.cleanups is not None and name in self.cleanups.items and name not in self.tasks.items


class _OfItem:
    """The scope of an item of a foreach, before anything runs."""

    def __init__(self, item: Any, index: int) -> None:
        self._known = {"item": item, "index": index}

    def root(self, name: str) -> Any:
        return self._known[name]

    def task(self, path: tuple[str | int, ...]) -> Any:
        return None


def _is_of_items(template: Template) -> bool:
    """Do items alone decide it?"""
    return {root for hole in template.holes for root, _ in hole.lookup.names()} <= {"item", "index"}


def _keys_of(items: object, item_key: Template | None) -> list[str] | None:
    """What the items of a foreach will be called; None where that is not known before they are there."""
    if not isinstance(items, list):
        return None
    if item_key is None:
        return [f"[{at}]" for at in range(len(items))]
    if holds_template(items) or not _is_of_items(item_key):
        return None
    return [f"[{item_key.text(_OfItem(item, at))}]" for at, item in enumerate(items)]


class _Reader:
    def __init__(self, path: Path, problems: Problems) -> None:
        self._path = path
        self._problems = problems
        self._inputs: dict[str, Input] = {}
        self._env: dict[str, Template] = {}
        self._defaults: dict[str, Tree] = {}
        self._pools: dict[str, int] = {}
        self._feedback: list[Place] = []  # where it is looked up, and no approval is known that would give it
        self.whole = True
        """Are all tasks of the file there, in an order?"""

    def bad(self, at: Place, code: str, message: str) -> None:
        self._problems.add(at, code, message)

    # -- the file

    def flow(self, tree: Tree) -> FlowFile | None:
        if not isinstance(tree, Map):
            self.bad(tree.at, "type", f"a workflow file is a mapping with `tasks:`, not {kind(tree)}")
            return None
        self.unknown(tree, TOP, "a workflow file")
        items = tree.items
        name = self.text(items["name"], "name") if "name" in items else self._path.stem
        if "inputs" in items:
            self._inputs = self.inputs(items["inputs"])
        nowhere = _Around(Map({}, {}, START))
        if "env" in items:
            self._env = self.templates(items["env"], "env", nowhere, roots=("inputs",))
        if "defaults" in items:
            self.defaults(items["defaults"])
        rules = self.rules(tree)
        if "tasks" not in items:
            self.bad(tree.at, "missing", "the file has no `tasks:`")
            return None
        tasks, cleanups = self.everything(tree, None, 1)
        for place in self._feedback:
            self.bad(place, "unknown-name", NO_FEEDBACK)
        known = _together(items["tasks"], items.get("finally"))
        outputs = self.templates(items["outputs"], "outputs", _Around(known)) if "outputs" in items else {}
        return FlowFile(self._path, name or self._path.stem, self._inputs, self._env, tasks, outputs, cleanups, rules)

    def rules(self, tree: Map) -> dict[str, Any]:
        rules: dict[str, Any] = {}
        for name in ("max_concurrency", "on_failure", "deadline", "pools", "budget", "on_conflict", "health"):
            if name in tree.items:
                given = plain(tree.items[name])
                try:
                    checked = Rules.of(**{name: given})
                except (LimitError, UsageError) as error:
                    self.bad(tree.items[name].at, "value", str(error))
                    if name == "pools" and isinstance(given, dict):
                        self._pools = dict.fromkeys(
                            given, sys.maxsize
                        )  # declared, if badly: who uses them is not wrong
                else:
                    rules[name] = given
                    self._pools = self._pools or dict(checked.pools)
        return rules

    def inputs(self, tree: Tree) -> dict[str, Input]:
        found: dict[str, Input] = {}
        for name, each in self.entries(tree, "inputs"):
            if not isinstance(each, Map):
                self.bad(
                    each.at,
                    "type",
                    f"input {name!r} is a mapping such as {{type: string, default: x}}, not {kind(each)}",
                )
                continue
            self.unknown(each, ("type", "default", "required", "description"), f"input {name!r}")
            given = {key: plain(value) for key, value in each.items.items()}
            type_name = given.get("type", "string")
            if not isinstance(type_name, str) or type_name not in TYPES:
                hint = self._problems.nearest(str(type_name), TYPES)
                self.bad(
                    each.items["type"].at, "value", f"type must be one of {', '.join(TYPES)}, not {type_name!r}{hint}"
                )
                found[name] = Input("string")  # declared, if badly: what refers to it is not wrong
                continue
            default = given.get("default")
            if "default" in given and default is not None and not fits(default, type_name):
                self.bad(each.items["default"].at, "value", f"the default of input {name!r} is not {_a(type_name)}")
                continue
            required = given.get("required", "default" not in given)
            if not isinstance(required, bool):
                self.bad(each.items["required"].at, "type", "required must be true or false")
                continue
            if required and "default" in given:
                self.bad(
                    each.keys["required"], "value", f"input {name!r} is required, so its default would never be used"
                )
                continue
            found[name] = Input(type_name, default, required, str(given.get("description") or ""))
        return found

    def defaults(self, tree: Tree) -> None:
        for name, each in self.entries(tree, "defaults"):
            if name not in POLICIES:
                self.refuse_key(name, self.key_place(tree, name), POLICIES, "defaults")
            elif {"retries", "retry"} <= {name, *self._defaults}:
                self.bad(self.key_place(tree, name), "value", "retries and retry say the same: give one of them")
            elif is_worked_out(name, each) or self.option(name, each) is not None:
                self._defaults[name] = each

    # -- tasks

    def everything(
        self, tree: Map, outer: _Around | None, depth: int
    ) -> tuple[dict[str, FlowTask], dict[str, FlowTask]]:
        """The tasks of a file or of a group, and those that clean up after them."""
        tasks, last = tree.items["tasks"], tree.items.get("finally")
        item, error = (outer.item, outer.error) if outer is not None else (False, False)
        cleanups = last if isinstance(last, Map) else None
        known = tasks if isinstance(tasks, Map) else Map({}, {}, START)
        found = self.tasks(tasks, _Around(known, outer, item, error, cleanups), depth, "tasks")
        if last is None:
            return found, {}
        for key in known.items.keys() & (cleanups.items.keys() if cleanups is not None else set()):
            assert cleanups is not None
            self.bad(cleanups.keys[key], "key", f"key {key!r} is one of `tasks:` already")
        return found, self.tasks(last, _Around(_together(tasks, last), outer, item, error), depth, "finally")

    def tasks(self, tree: Tree, around: _Around, depth: int, where: str) -> dict[str, FlowTask]:
        found: dict[str, FlowTask] = {}
        if not isinstance(tree, Map):
            self.bad(tree.at, "type", f"{where} must be a mapping from keys to tasks, not {kind(tree)}")
            return found
        if not tree.items:
            self.bad(tree.at, "empty", "there are no tasks: give at least one")
        if depth > DEEPEST_GROUPS:
            self.bad(tree.at, "too-deep", f"groups are nested deeper than {DEEPEST_GROUPS} levels")
            return found
        places: dict[str, list[Place]] = {}
        for key, each in tree.items.items():
            seen = len(self._feedback)
            try:
                safe_key(key)
                if "[" in key or "#" in key:
                    raise GraphError(f"key {key!r} holds `[` or `#`, which stand for the tasks that plait numbers")
            except GraphError as error:
                self.bad(tree.keys[key], "key", str(error))
                continue
            task = self.task(key, each, tree.keys[key], around, depth, cleans=where == "finally")
            if task is not None:
                places[key] = self._feedback[seen:]
                found[key] = replace(task, takes_feedback=bool(places[key]))
        for key, task in found.items():
            if isinstance(task.body, Ask) and task.body.approves:
                found[key] = self.revising(task, task.body, tree.items[key], found, places)
        self.whole &= len(found) == len(tree.items)
        self.cycles(found, tree)
        return found

    def revising(
        self, task: FlowTask, body: Ask, tree: Tree, tasks: Mapping[str, FlowTask], places: dict[str, list[Place]]
    ) -> FlowTask:
        """An approval, with what runs again where a person wants that: what takes the feedback, and all between that and the approval."""
        before = _before(body.approves, tasks)
        again = {key for key in before if tasks[key].takes_feedback}
        while more := {key for key in before if key not in again and not again.isdisjoint(tasks[key].needs)}:
            again |= more
        for key in again:
            self._feedback = [each for each in self._feedback if each not in places[key]]
        if not again and isinstance(tree, Map) and "rounds" in tree.items:
            self.bad(
                tree.keys["rounds"],
                "value",
                f"nothing that {task.key!r} approves takes the feedback: look up {{{{ feedback }}}} in a task that is to run again",
            )
        revises = tuple(key for key in tasks if key in again)
        return replace(task, body=replace(body, revises=revises, rounds=body.rounds if revises else 0))

    def cycles(self, tasks: Mapping[str, FlowTask], tree: Map) -> None:
        """Every cycle among these tasks: once one is told, its tasks are left out and the rest is looked at again."""
        keys = list(tasks)
        while keys:
            place = {key: at for at, key in enumerate(keys)}
            needs = [[place[need] for need in tasks[key].needs if need in place] for key in keys]
            path = find_cycle(needs)
            if not path:
                return
            self.whole = False
            names = [keys[at] for at in path]
            self.bad(tree.keys[names[0]], "cycle", cycle_text(names))
            keys = [key for key in keys if key not in names]

    def task(
        self, key: str, tree: Tree, at: Place, around: _Around, depth: int, *, cleans: bool = False
    ) -> FlowTask | None:
        if not isinstance(tree, Map):
            hint = (
                ": write `run:` in front of the command"
                if isinstance(tree, Scalar) and isinstance(tree.value, str)
                else ""
            )
            self.bad(tree.at, "type", f"task {key!r} must be a mapping, not {kind(tree)}{hint}")
            return None
        bodies = [name for name in BODIES if name in tree.items]
        if len(bodies) != 1:
            later = [name for name in tree.items if name in LATER]
            if not later:
                what = "has no body" if not bodies else f"has {' and '.join(bodies)}"
                self.bad(at, "body", f"task {key!r} {what}: give exactly one of {', '.join(BODIES)}")
            known = (*BODIES, *COMMON, *(name for names in BODY_KEYS.values() for name in names))
            self.unknown(tree, known, f"task {key!r}")
            return None
        body_name = bodies[0]
        self.unknown(tree, (*BODIES, *COMMON, *BODY_KEYS[body_name]), f"task {key!r}")
        needs: list[str] = []
        items = tree.items
        if "needs" in items:
            needs += self.needs(items["needs"], key, around)
        looped = "foreach" in items
        foreach = self.foreach(items["foreach"], around, needs) if looped else None
        if "key" in items and not looped:
            self.bad(tree.keys["key"], "key", "`key` names the tasks of a foreach, and there is none here")
        inner = around.within(item=looped)
        item_key = self.template(items["key"], inner, needs) if looped and "key" in items else None
        when = self.when(items["when"], around, needs) if "when" in items else None
        body = self.body(body_name, tree, inner, needs, depth)
        given = items if body_name == "ask" else {} if body_name == "tasks" else {**self._defaults, **items}
        wants = self.wants(given, inner, needs)
        own, whole = self.policies(tree, body_name, looped)
        own = self.limited(own, tree, key)
        self.costed(tree, own, wants, foreach)
        self.counted(tree, own if whole is None else whole, body if foreach is None else foreach, key, item_key)
        on_error = self.on_error(tree, key, inner, needs, depth) if REPAIR in items else None
        if cleans:
            own, whole = self.cleaning(tree, own, whole)
        if body is None:
            return None
        unique = tuple(dict.fromkeys(needs))
        said = next((tree.keys[name] for name in ("writes", "reads") if name in items), None)
        return FlowTask(
            key, at, body, unique, own, whole, foreach, item_key, when, wants, said, self._problems.file, on_error
        )

    def cleaning(self, tree: Map, own: Policy, whole: Policy | None) -> tuple[Policy, Policy | None]:
        """The policies of a task that cleans up. One with its own times for each item needs no other limit for all of them."""
        joined = "join" in tree.items
        if whole is None:
            return of_cleanup(own, joined=joined), None
        bounded = own.timeout is not None or own.deadline is not None
        made = of_cleanup(whole, joined=joined)
        return own, made.but(deadline=whole.deadline) if bounded else made

    def on_error(self, tree: Map, key: str, around: _Around, needs: list[str], depth: int) -> FlowTask | None:
        """What runs when a task failed. What it refers to is a need of that task."""
        each, at = tree.items[REPAIR], tree.keys[REPAIR]
        if isinstance(each, Map):
            for name in ("needs", "join"):
                if name in each.items:
                    self.bad(
                        each.keys[name],
                        "misplaced",
                        f"`{name}` does not belong in on_error: it runs when task {key!r} failed",
                    )
        inner = tree.items.get("tasks")
        if isinstance(inner, Map) and REPAIR in inner.items and "foreach" not in tree.items:
            self.bad(
                inner.keys[REPAIR],
                "key",
                f"{key}/{REPAIR} is the key of what runs when {key!r} fails: give this task another",
            )
        found = self.task(REPAIR, each, at, around.within(error=True), depth)
        if found is None:
            return None
        needs += [need for need in found.needs if need != key]
        if key in found.needs:
            self.bad(at, "cycle", f"the on_error of task {key!r} refers to that task: what it failed of is in `error`")
        return found

    def counted(self, tree: Map, policy: Policy, what: object, key: str, item_key: Template | None) -> None:
        """What a group wants of its tasks must be possible, where their number stands in the file."""
        size = len(what.tasks) if isinstance(what, Group) else len(what) if isinstance(what, list) else None
        try:
            if size is not None:
                check_quota(policy, size)
        except UsageError as error:
            self.bad(tree.items["min_success"].at, "value", str(error))
        try:
            keys = list(what.tasks) if isinstance(what, Group) else _keys_of(what, item_key)
            if keys is not None:
                check_votes(policy, key, keys)
        except UsageError as error:
            self.bad(tree.items["reduce"].at, "value", str(error))

    def costed(self, tree: Map, own: Policy, wants: Wants | None, foreach: object) -> None:
        """What each item costs must be possible, where the items stand in the file and nothing else decides it."""
        if wants is None or wants.cost is None or not isinstance(foreach, list) or holds_template(foreach):
            return
        if not _is_of_items(wants.cost):
            return
        listed = tree.items["foreach"]
        assert isinstance(listed, Sequence)
        for index, (item, each) in enumerate(zip(foreach, listed.items, strict=True)):
            try:
                check_wants(own, None, 1, wants.units(_OfItem(item, index)))
            except LimitError as error:
                self.bad(each.at, "value", f"of this item: {error}")

    def wants(self, items: Mapping[str, Tree], around: _Around, needs: list[str]) -> Wants | None:
        """The templates of a key, a cost and paths, which are worked out for each task."""
        n = 1
        given = items.get("concurrency_key")
        if isinstance(given, Map) and is_template(given.items.get("key")):
            try:
                n = policy(PLAIN, concurrency_key={**plain(given), "key": "k"}).concurrency_key[1]  # type: ignore[index]
            except UsageError as error:
                self.bad(given.at, "value", str(error))
            given = given.items["key"]
        key = self.template(given, around, needs) if given is not None and is_template(given) else None
        cost = items.get("cost")
        units = self.template(cost, around, needs) if cost is not None and is_template(cost) else None
        reads, writes = (self.paths(name, items.get(name), around, needs) for name in ("reads", "writes"))
        nothing = key is None and units is None and reads is None and writes is None
        return None if nothing else Wants(key, n, units, reads, writes)

    def paths(self, name: str, given: Tree | None, around: _Around, needs: list[str]) -> tuple[Template, ...] | None:
        """The templates of paths; None where there are none to be filled in."""
        if given is None or not is_worked_out(name, given):
            return None
        found = [
            self.template(each, around, needs) for each in (given.items if isinstance(given, Sequence) else [given])
        ]
        return tuple(each for each in found if each is not None)

    def needs(self, tree: Tree, key: str, around: _Around, says: str = "") -> list[str]:
        listed = tree.items if isinstance(tree, Sequence) else [tree]
        found = []
        for each in listed:
            name = each.value if isinstance(each, Scalar) else None
            if not isinstance(name, str):
                self.bad(each.at, "type", f"needs must be keys of tasks, not {kind(each)}")
            elif name == key:
                self.bad(each.at, "cycle", f"task {key!r} needs itself. Drop that need.")
            elif around.is_cleanup(name):
                self.bad(each.at, "finally", _TOO_LATE.format(f"task {key!r} needs", name))
            elif name not in around.tasks.items:
                self.bad(
                    each.at,
                    "unknown-task",
                    f"{says or f'task {key!r} needs'} {name!r}, which is not beside it{self._problems.nearest(name, around.tasks.items)}",
                )
            else:
                found.append(name)
        return found

    def foreach(self, tree: Tree, around: _Around, needs: list[str]) -> Template | list[Any] | None:
        if isinstance(tree, Sequence):
            return [self.data(each, around, needs) for each in tree.items]
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            template = self.template(tree, around, needs)
            if template is not None and len(template.parts) == 1 and not isinstance(template.parts[0], str):
                return template
            if template is not None:
                self.bad(
                    tree.at,
                    "type",
                    'foreach needs a list, or one template that gives a list: "{{ tasks.list.output }}"',
                )
            return None
        self.bad(tree.at, "type", f"foreach needs a list or a template, not {kind(tree)}")
        return None

    def when(self, tree: Tree, around: _Around, needs: list[str]) -> Template | bool | None:
        if isinstance(tree, Scalar) and isinstance(tree.value, bool):
            return tree.value
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            template = self.template(tree, around, needs)
            if template is None or (len(template.parts) == 1 and not isinstance(template.parts[0], str)):
                return template
        self.bad(tree.at, "type", 'when needs true, false, or one template alone: "{{ tasks.check.output.ok }}"')
        return None

    def body(self, name: str, tree: Map, around: _Around, needs: list[str], depth: int) -> Body | None:
        each = tree.items[name]
        if name == "tasks":
            inner_needs = around.within()
            tasks, cleanups = self.everything(tree, inner_needs, depth + 1)
            needs += inner_needs.lifted
            return Group(tasks, any(task.names_files for task in (*tasks.values(), *cleanups.values())), cleanups)
        if name == "call":
            return self.call(tree, around, needs)
        if name == "ask":
            return self.ask(tree, around, needs)
        output = self.output(tree)
        env = self.templates(tree.items["env"], "env", around, needs) if "env" in tree.items else {}
        cwd = self.cwd(tree.items["cwd"], around, needs) if "cwd" in tree.items else None
        if isinstance(each, Sequence):
            if not each.items:
                self.bad(each.at, "empty", "the command is empty")
                return None
            words = [self.word(word, around, needs) for word in each.items]
            return None if None in words else Argv(tuple(word for word in words if word is not None), output, env, cwd)
        if not isinstance(each, Scalar) or not isinstance(each.value, str):
            self.bad(each.at, "type", f"run must be a script or a list of words, not {kind(each)}")
            return None
        if not each.value.strip():
            self.bad(each.at, "empty", "the command is empty")
            return None
        script = self.spoken(each, around, needs)
        if script is None:
            return None
        try:
            check_script(script)
        except TemplateError as error:
            self.bad(self.within(each, error.offset), error.code, str(error))
        return Script(script, output, env, cwd)

    def ask(self, tree: Map, around: _Around, needs: list[str]) -> Ask | None:
        from plait.forms import Form  # few files ask

        items = tree.items
        prompt = items["ask"]
        if not isinstance(prompt, Scalar) or not isinstance(prompt.value, str) or not prompt.value.strip():
            what = "empty text" if isinstance(prompt, Scalar) and isinstance(prompt.value, str) else kind(prompt)
            self.bad(prompt.at, "type", f"ask must be a question, as text, not {what}")
            return None
        template = self.template(prompt, around, needs)
        if "approve" in items:
            return self.approval(tree, template, around, needs)
        if "rounds" in items:
            self.bad(
                tree.keys["rounds"], "misplaced", "rounds is for an approval: name what is approved, `approve: KEY`"
            )
        given = plain(items["form"]) if "form" in items else None
        try:
            form = Form.of(given)
        except UsageError as error:
            self.bad(items["form"].at, "value", str(error))
            return None
        default: tuple[Any, ...] = ()
        if "default" in items:
            default = (plain(items["default"]),)
            try:
                form.check(default[0], "the default")
            except UsageError as error:
                self.bad(items["default"].at, "value", str(error))
        who, timeout = self.asked(tree)
        return None if template is None else Ask(template, given, default, timeout, who)

    def asked(self, tree: Map) -> tuple[tuple[str, ...], float | None]:
        """Who may answer, and in which time."""
        from plait.asking import names_of

        who: tuple[str, ...] = ()
        if "who" in tree.items:
            try:
                who = names_of(plain(tree.items["who"]))
            except UsageError as error:
                self.bad(tree.items["who"].at, "value", str(error))
        timeout = None
        if "timeout" in tree.items:
            found = self.option("timeout", tree.items["timeout"])
            timeout = None if found is None else found.timeout
        for name in OF_CODE_ALONE:
            if name in tree.items:
                self.bad(tree.keys[name], "misplaced", f"{name} is for code that runs, and a question has none")
        return who, timeout

    def approval(self, tree: Map, prompt: Template | None, around: _Around, needs: list[str]) -> Ask | None:
        """A question whether the work of other tasks is good."""
        from plait.approving import ROUNDS, approval_default, rounds_of
        from plait.asking import NOTHING

        items = tree.items
        each = items["approve"]
        found = self.needs(each, "", around, "an approval is of")
        needs += found
        for name in ("form", "foreach"):
            if name in items:
                says = (
                    "approve, revise or reject is the answer"
                    if name == "form"
                    else "put both into the tasks of a foreach"
                )
                self.bad(tree.keys[name], "misplaced", f"{name} does not go with approve: {says}")
        default: tuple[Any, ...] = ()
        try:
            default = approval_default(plain(items["default"]) if "default" in items else NOTHING)
        except UsageError as error:
            self.bad(items["default"].at, "value", str(error))
        rounds = ROUNDS
        if "rounds" in items:
            try:
                rounds = rounds_of(plain(items["rounds"]))
            except UsageError as error:
                self.bad(items["rounds"].at, "value", str(error))
        who, timeout = self.asked(tree)
        if prompt is None or not found:
            if isinstance(each, Sequence) and not each.items:
                self.bad(each.at, "empty", "approve names the tasks whose work is asked about: give at least one")
            return None
        approves = tuple(dict.fromkeys(found))
        return Ask(prompt, None, default, timeout, who, approves, isinstance(each, Sequence), rounds)

    def word(self, tree: Tree, around: _Around, needs: list[str]) -> Template | None:
        if not isinstance(tree, Scalar) or tree.value is None:
            self.bad(tree.at, "type", f"a word of a command must be text or a number, not {kind(tree)}")
            return None
        if isinstance(tree.value, str):
            return self.spoken(tree, around, needs)
        return Template((str(plain(tree)).lower() if isinstance(tree.value, bool) else str(tree.value),))

    def output(self, tree: Map) -> OutputKind:
        given = plain(tree.items["output"]) if "output" in tree.items else "text"
        for known in OUTPUTS:
            if given == known:
                return known
        self.bad(tree.items["output"].at, "value", f"output must be one of {', '.join(OUTPUTS)}, not {given!r}")
        return "text"

    def call(self, tree: Map, around: _Around, needs: list[str]) -> PythonCall | None:
        each = tree.items["call"]
        target = each.value if isinstance(each, Scalar) else None
        if not isinstance(target, str) or not _TARGET.fullmatch(target):
            self.bad(each.at, "value", f"call must name a function as module:name, not {plain(each)!r}"[:200])
            return None
        arguments: dict[str, Any] = {}
        if "with" in tree.items:
            for name, value in self.entries(tree.items["with"], "with"):
                arguments[name] = self.data(value, around, needs)
        if "executor" in tree.items and plain(tree.items["executor"]) not in ("thread", "process", "async"):
            self.bad(
                tree.items["executor"].at,
                "value",
                f"executor must be thread, process or async in this version, not {plain(tree.items['executor'])!r}",
            )
        module, name = target.split(":")
        executor = str(plain(tree.items["executor"])) if "executor" in tree.items else None
        return PythonCall(module, name, arguments, each.at, executor)

    # -- policies

    def policies(self, tree: Map, body: str, looped: bool) -> tuple[Policy, Policy | None]:
        """The policy of each item (or of the task), and of the whole where there are items."""
        own: dict[str, Any] = {}
        whole: dict[str, Any] = {}
        if body not in ("tasks", "ask"):
            for name, each in self._defaults.items():
                same = {name, "retry" if name == "retries" else "retries"}
                if not same & tree.items.keys() and not is_worked_out(name, each):
                    own[name] = plain(each)
        for name in (*POLICIES, *OF_GROUPS):
            if name not in tree.items or (body == "ask" and name in ("timeout", *OF_CODE_ALONE)):
                continue
            if name in OF_CODE and body == "tasks":
                instead = "give it to the tasks in it" + (", or `max_concurrency`" if name == "pool" else "")
                self.bad(tree.keys[name], "misplaced", f"{name} belongs to what runs, not to a group: {instead}")
                continue
            if is_worked_out(name, tree.items[name]):
                continue
            if name in OF_GROUPS and not looped and body != "tasks":
                self.bad(
                    tree.keys[name], "misplaced", f"{name} belongs to a run, a group or a foreach, not to a single task"
                )
                continue
            if self.option(name, tree.items[name]) is not None:
                (whole if looped and name in WHOLE else own)[name] = plain(tree.items[name])
        if own.get("memory_limit") is not None and not self.can_be_limited(tree, body):
            says = "memory_limit is for commands and for calls with `executor: process`"
            if "memory_limit" in tree.items:
                self.bad(tree.keys["memory_limit"], "misplaced", says)
            else:
                self.bad(
                    tree.at, "misplaced", f"{says}: against that of `defaults` give this task `memory_limit: null`"
                )
        try:
            return policy(PLAIN, **own), (policy(PLAIN, **whole) if looped else None)
        except UsageError as error:
            self.bad(tree.at, "value", str(error))
            return PLAIN, None

    def limited(self, own: Policy, tree: Map, key: str) -> Policy:
        """The policy with its rates the task's own, where nothing is wrong with what it takes beside its slot."""
        own = owned(own, f"task {key!r} of {self._path.name}")
        for names, part in ((("pool",), PLAIN.but(pool=own.pool)), (("cost", "rate_limit"), own.but(pool=()))):
            try:
                check_uses((part,), self._pools)
            except UsageError as error:
                given = [where[name] for where in (tree.items, self._defaults) for name in names if name in where]
                self.bad(given[0].at, "value", str(error))
        return own

    def can_be_limited(self, tree: Map, body: str) -> bool:
        """Has the task a process of its own?"""
        return body == "run" or ("executor" in tree.items and plain(tree.items["executor"]) == "process")

    def option(self, name: str, tree: Tree) -> Policy | None:
        """The policy with this one option; None, and a problem, where it cannot be."""
        try:
            made = policy(PLAIN, **{name: plain(tree)})
        except UsageError as error:
            self.bad(tree.at, "value", str(error))
            return None
        filled_in = [each for each in scalars(tree) if is_template(each)]
        for each in filled_in:
            self.bad(
                each.at,
                "value",
                f"{name} is taken as it stands, without a template: concurrency_key, cost, reads and writes are worked out for each task",
            )
        return None if filled_in else made

    # -- templates

    def template(
        self, tree: Tree, around: _Around, needs: list[str] | None = None, roots: tuple[str, ...] = ROOTS
    ) -> Template | None:
        if not isinstance(tree, Scalar) or isinstance(tree.value, (bool, type(None))):
            self.bad(tree.at, "type", f"text is needed here, not {kind(tree)}")
            return None
        if not isinstance(tree.value, str):
            return Template((str(tree.value),))
        try:
            template = parse_template(tree.value)
        except TemplateError as error:
            self.bad(self.within(tree, error.offset), error.code, str(error))
            return None
        for hole in template.holes:
            for root, steps in hole.lookup.names():
                if root == "feedback" and root in roots:
                    self._feedback.append(self.within(tree, hole.offset))
                problem = self.look(root, steps, around, needs, roots)
                if problem:
                    self.bad(self.within(tree, hole.offset), *problem)
        return template

    def spoken(
        self, tree: Tree, around: _Around, needs: list[str] | None = None, roots: tuple[str, ...] = ROOTS
    ) -> Template | None:
        """The template of what is handed to the system, which ends a text at the character NUL."""
        if isinstance(tree, Scalar) and isinstance(tree.value, str) and "\0" in tree.value:
            self.bad(tree.at, "value", "this holds the character NUL, which no command, variable or path can")
            return None
        return self.template(tree, around, needs, roots)

    def cwd(self, tree: Tree, around: _Around, needs: list[str]) -> Template | None:
        """The template of a folder. A number may have been written in another way than it would be read."""
        if not isinstance(tree, Scalar) or not isinstance(tree.value, str) or not tree.value:
            what = "empty text" if isinstance(tree, Scalar) and tree.value == "" else kind(tree)
            self.bad(tree.at, "type", f"cwd must be a folder, as text, not {what}")
            return None
        return self.spoken(tree, around, needs)

    def within(self, tree: Scalar, offset: int) -> Place:
        """The place of an offset in a text: exact but for escapes, and for the line only in a block of text."""
        if not isinstance(tree.value, str) or tree.style == ">":
            return tree.at
        if tree.style == "|":
            return Place(tree.at.line + 1 + tree.value.count("\n", 0, offset), 1)
        return tree.at if "\n" in tree.value else Place(tree.at.line, tree.at.column + offset + bool(tree.style))

    def look(
        self, root: str, steps: tuple[str | int, ...], around: _Around, needs: list[str] | None, roots: tuple[str, ...]
    ) -> tuple[str, str] | None:
        """What is wrong with a look-up; else None, and its task noted as a need."""
        if root not in ROOTS:
            return (
                "unknown-name",
                f"unknown name {root!r}; there are {', '.join(roots)}{self._problems.nearest(root, roots)}",
            )
        if root not in roots:
            return "unknown-name", f"{root!r} is not known here; there are {', '.join(roots)}"
        if root == "inputs" and (not steps or steps[0] not in self._inputs):
            shown = str(steps[0]) if steps else ""
            return (
                "unknown-input",
                f"input {shown!r} is not declared under `inputs:`{self._problems.nearest(shown, self._inputs)}",
            )
        if root == "env" and (not steps or steps[0] not in self._env):
            shown = str(steps[0]) if steps else ""
            return "unknown-name", f"{shown!r} is not declared under `env:`{self._problems.nearest(shown, self._env)}"
        if root == "error" and not around.error:
            return "unknown-name", "'error' is known inside an on_error only"
        if root == "error" and steps and steps[0] not in ERROR:
            shown = str(steps[0])
            return (
                "unknown-name",
                f"of `error` there are {', '.join(ERROR)}, not {shown!r}{self._problems.nearest(shown, ERROR)}",
            )
        if root in ("item", "index") and not around.item:
            return "unknown-name", f"{root!r} is known inside a foreach only"
        return self.look_task(steps, around, needs) if root == "tasks" else None

    def look_task(
        self, steps: tuple[str | int, ...], around: _Around, needs: list[str] | None
    ) -> tuple[str, str] | None:
        name = steps[0] if steps else ""
        scope: _Around | None = around
        level = 0
        while scope is not None and name not in scope.tasks.items:
            if scope.is_cleanup(name):
                return "finally", _TOO_LATE.format("a template refers to", name)
            scope = scope.outer
            level += 1
        if scope is None:
            known = [*around.tasks.items]
            return (
                "unknown-task",
                f"task {str(name)!r} is not in the file, or not to be seen from here{self._problems.nearest(str(name), known)}",
            )
        assert isinstance(name, str)
        if level == 0:
            if needs is not None:
                needs.append(name)
        else:
            # Seen from inside a group: what the group as a whole waits for.
            at: _Around = around
            for _ in range(level):
                assert at.outer is not None
                at = at.outer
                at.lifted.append(name)
        return self.look_into(scope.tasks.items[name], str(name), steps[1:])

    def look_into(self, tree: Tree, name: str, steps: tuple[str | int, ...]) -> tuple[str, str] | None:
        """Are the steps behind a task's name ones that it has?"""
        step = steps[0] if steps else None
        if step in ("output", "status"):
            return None
        inner: Tree | None = None
        if isinstance(tree, Map) and "foreach" not in tree.items and "tasks" in tree.items:
            inner = _together(tree.items["tasks"], tree.items.get("finally"))
        if isinstance(inner, Map) and inner.items and isinstance(step, str):
            if step in inner.items:
                return self.look_into(inner.items[step], f"{name}.{step}", steps[1:])
            return "unknown-task", f"group {name!r} has no task {step!r}{self._problems.nearest(step, inner.items)}"
        return "unknown-name", f"of task {name!r} there are `output` and `status`, not {str(step or '')!r}"

    def templates(
        self, tree: Tree, where: str, around: _Around, needs: list[str] | None = None, roots: tuple[str, ...] = ROOTS
    ) -> dict[str, Template]:
        found: dict[str, Template] = {}
        for name, each in self.entries(tree, where):
            if where == "env" and not _VARIABLE.fullmatch(name):
                self.bad(self.key_place(tree, name), "value", f"{name!r} cannot name an environment variable")
                continue
            if isinstance(each, Scalar) and isinstance(each.value, (bool, type(None))) and where == "outputs":
                self.bad(each.at, "type", f"output {name!r} must be a template, not {kind(each)}")
                continue
            read = self.spoken if where == "env" else self.template
            template = read(each, around, needs, roots)
            if template is not None:
                found[name] = template
        return found

    def data(self, tree: Tree, around: _Around, needs: list[str]) -> Any:
        """Plain data with templates where there are texts with `{{`."""
        match tree:
            case Scalar(str() as text):
                if "{{" not in text:
                    return text
                return self.template(tree, around, needs)
            case Scalar(value):
                return value
            case Sequence(items):
                return [self.data(each, around, needs) for each in items]
            case Map(items):
                return {key: self.data(each, around, needs) for key, each in items.items()}

    # -- small things

    def text(self, tree: Tree, what: str) -> str:
        if isinstance(tree, Scalar) and isinstance(tree.value, str) and tree.value.strip():
            return tree.value
        self.bad(tree.at, "type", f"{what} must be text, not {kind(tree)}")
        return ""

    def entries(self, tree: Tree, what: str) -> list[tuple[str, Tree]]:
        if isinstance(tree, Map):
            return list(tree.items.items())
        self.bad(tree.at, "type", f"{what} must be a mapping, not {kind(tree)}")
        return []

    def key_place(self, tree: Tree, name: str) -> Place:
        return tree.keys[name] if isinstance(tree, Map) else tree.at

    def unknown(self, tree: Map, known: tuple[str, ...], where: str) -> None:
        for name in tree.items:
            if name not in known:
                self.refuse_key(name, tree.keys[name], known, where)

    def refuse_key(self, name: str, at: Place, known: tuple[str, ...], where: str) -> None:
        if name in LATER:
            self.bad(at, "not-built", f"`{name}` is not in this version")
        elif name in (*COMMON, *TOP, *(each for keys in BODY_KEYS.values() for each in keys)):
            self.bad(at, "misplaced", f"`{name}` does not belong in {where}")
        else:
            self.bad(at, "unknown-key", f"unknown key {name!r} in {where}{self._problems.nearest(name, known)}")


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


NO_FEEDBACK = "'feedback' is known only in tasks that an approval can have run again: one with `approve:` that depends on this task"


def _before(keys: tuple[str, ...], tasks: Mapping[str, FlowTask]) -> set[str]:
    """These tasks, and all that they need."""
    found: set[str] = set()
    stack = [key for key in keys if key in tasks]
    while stack:
        key = stack.pop()
        if key not in found:
            found.add(key)
            stack.extend(need for need in tasks[key].needs if need in tasks)
    return found


_TOO_LATE = (
    "{0} {1!r}, which is in `finally`: that runs when everything else is over. Drop this, or move {1!r} to `tasks:`"
)


def _together(tasks: Tree, last: Tree | None) -> Map:
    """All tasks of a file or of a group, those of its `finally` included."""
    parts = [each for each in (tasks, last) if isinstance(each, Map)]
    return Map(
        {key: value for part in reversed(parts) for key, value in part.items.items()},
        {key: place for part in reversed(parts) for key, place in part.keys.items()},
        tasks.at,
    )


def scalars(tree: Tree) -> Iterator[Scalar]:
    """All values in it, in order."""
    match tree:
        case Scalar():
            yield tree
        case Sequence(items):
            for each in items:
                yield from scalars(each)
        case Map(items):
            for each in items.values():
                yield from scalars(each)


def is_template(tree: Tree | None) -> bool:
    """Is it text with something to fill in?"""
    return isinstance(tree, Scalar) and isinstance(tree.value, str) and "{{" in tree.value


def is_worked_out(name: str, tree: Tree) -> bool:
    """Is it an option whose value is worked out for each task?"""
    if name == "cost":
        return is_template(tree)
    if name in ("reads", "writes"):
        return any(map(is_template, tree.items if isinstance(tree, Sequence) else (tree,)))
    inner = tree.items.get("key") if isinstance(tree, Map) else tree
    return name == "concurrency_key" and is_template(inner)


def fits(value: Any, type_name: str) -> bool:
    """Is `value` of that type? true and false are no numbers."""
    if isinstance(value, bool):
        return type_name == "boolean"
    return isinstance(value, TYPES[type_name])


def _a(type_name: str) -> str:
    return f"{'an' if type_name[0] in 'aeio' else 'a'} {type_name}"
