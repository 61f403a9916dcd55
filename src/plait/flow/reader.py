"""From the tree of a file to checked values; every problem of the file is found in one reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plait._core.graph import REPAIR, cycle_text, find_cycle, safe_key
from plait.errors import GraphError
from plait.flow.advice import advise
from plait.flow.inputs import TYPES, fits
from plait.flow.keys import BODIES, BODY_KEYS, COMMON, GROUPS, INPUT_KEYS, LATER, TOP, VARIABLE_NAME
from plait.flow.model import (
    Argv,
    Ask,
    Body,
    FlowFile,
    FlowTask,
    Input,
    Loop,
    Matrix,
    Script,
    Subflow,
)  # fmt: skip
from plait.flow.nesting import Blocks
from plait.flow.problems import START, Place, Problems
from plait.flow.scripts import check_script
from plait.flow.stacks import with_own_stack
from plait.flow.templates import Template, TemplateError
from plait.flow.texts import NO_FEEDBACK, Files, Sight, names_with_hyphens, parts_of, together
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree, kind, plain, read
from plait.flow.values import shown

DEEPEST_GROUPS = 100


def read_flow(
    path: Path,
    text: str | None = None,
    look: Callable[[FlowFile, Problems], None] | None = None,
    texts: Mapping[str, str] = {},
) -> FlowFile:
    """The checked contents of a YAML workflow file, or of `text` in its place. Nothing is imported or run.

    `look` adds the problems of the file as a whole, once all tasks in it could be read. `texts` are those of other files, by their
    paths, for those that are gone.

    Raises:
        FlowError: with every problem of the file, each with its place.
    """
    problems = Problems(str(path))
    tree, whole = read(path, problems, text)
    advise(tree, problems)
    reader = _Reader(path, problems, Files(texts, (path.resolve(),)))
    flow = with_own_stack(lambda: reader.flow(tree))
    if look is not None and flow is not None and reader.whole:
        look(flow, problems)
    if problems.found or problems.others or flow is None:
        raise problems.error()
    return replace(flow, text=whole, warnings=tuple(problems.warnings()))


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


def _a(type_name: str) -> str:
    return f"{'an' if type_name[0] in 'aeio' else 'a'} {type_name}"


class _Reader(Blocks):
    """Reads a file and its tasks."""

    def flow(self, tree: Tree) -> FlowFile | None:
        if not isinstance(tree, Map):
            self.bad(tree.at, "type", f"a workflow file is a mapping with `tasks:`, not {kind(tree)}")
            return None
        self.unknown(tree, TOP, "a workflow file")
        self._hyphens = frozenset(names_with_hyphens(tree))
        items = tree.items
        name = self.text(items["name"], "name") if "name" in items else self._path.stem
        if "inputs" in items:
            self._inputs = self.inputs(items["inputs"])
        nowhere = Sight(Map({}, {}, START))
        if "secrets" in items:
            self._secrets = self.secrets(items["secrets"])
        if "env" in items:
            self._env = self.templates(items["env"], "env", nowhere, roots=("inputs", "secrets"))
        if "defaults" in items:
            self.defaults(items["defaults"])
        rules = self.rules(tree)
        if "tasks" not in items:
            self.bad(tree.at, "missing", "the file has no `tasks:`", "begin with `tasks: {hello: {run: echo hello}}`")
            return None
        tasks, cleanups = self.everything(tree, None, 1)
        for place in self._feedback:
            self.bad(place, "unknown-name", NO_FEEDBACK)
        known = together(items["tasks"], items.get("finally"))
        outputs = (self.outputs(items["outputs"], Sight(known)) if "outputs" in items else None) or {}
        name = name or self._path.stem
        return FlowFile(
            self._path,
            name,
            self._inputs,
            self._env,
            tasks,
            outputs,
            cleanups,
            rules,
            size=self._size,
            secrets=tuple(self._secrets),
        )

    def secrets(self, tree: Tree) -> list[str]:
        """The names of variables whose values are secret."""
        found: list[str] = []
        if not isinstance(tree, Sequence):
            self.bad(tree.at, "type", f"secrets must be a list of names, such as [API_KEY], not {kind(tree)}")
            return found
        for each in tree.items:
            name = each.value if isinstance(each, Scalar) else None
            if not isinstance(name, str) or not VARIABLE_NAME.fullmatch(name):
                self.bad(
                    each.at, "value", f"a secret is named as a variable of the environment is, not {shown(plain(each))}"
                )
            elif name in found:
                self.bad(each.at, "duplicate-key", f"secret {name!r} is declared twice")
            else:
                found.append(name)
        return found

    def inputs(self, tree: Tree) -> dict[str, Input]:
        found: dict[str, Input] = {}
        for name, each in self.entries(tree, "inputs"):
            self.safe_name("input", name, self.key_place(tree, name))
            if not isinstance(each, Map):
                self.bad(
                    each.at,
                    "type",
                    f"input {name!r} is a mapping such as {{type: string, default: x}}, not {kind(each)}",
                )
                continue
            self.unknown(each, INPUT_KEYS, f"input {name!r}")
            given = {key: plain(value) for key, value in each.items.items()}
            if not isinstance(given.get("description", ""), str):
                self.bad(each.items["description"].at, "type", "description must be text")
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
            found[name] = Input(type_name, default, required, str(given.get("description", "")))
        return found

    def everything(self, tree: Map, outer: Sight | None, depth: int) -> tuple[dict[str, FlowTask], dict[str, FlowTask]]:
        """The tasks of a file or of a group, and those that clean up after them."""
        tasks, last = tree.items["tasks"], tree.items.get("finally")
        roots = outer.roots if outer is not None else frozenset()
        cleanups = last if isinstance(last, Map) else None
        known = tasks if isinstance(tasks, Map) else Map({}, {}, START)
        found = self.tasks(tasks, Sight(known, outer, roots, cleanups), depth, "tasks")
        if last is None:
            return found, {}
        for key in known.items.keys() & (cleanups.items.keys() if cleanups is not None else set()):
            assert cleanups is not None
            self.bad(cleanups.keys[key], "key", f"key {key!r} is one of `tasks:` already")
        return found, self.tasks(last, Sight(together(tasks, last), outer, roots), depth, "finally")

    def tasks(self, tree: Tree, around: Sight, depth: int, where: str) -> dict[str, FlowTask]:
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
        self, key: str, tree: Tree, at: Place, around: Sight, depth: int, *, cleans: bool = False
    ) -> FlowTask | None:
        if not isinstance(tree, Map):
            is_text = isinstance(tree, Scalar) and isinstance(tree.value, str)
            hint = "write `run:` in front of the command" if is_text else ""
            self.bad(tree.at, "type", f"task {key!r} must be a mapping, not {kind(tree)}", hint)
            return None
        self._size += 1
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
        looped = "foreach" in items or "matrix" in items
        foreach: Template | list[Any] | Matrix | None = None
        if "matrix" in items:
            with self.naming("a matrix, whose values name its tasks"):
                foreach = self.matrix(items["matrix"], around, needs)
            if "foreach" in items:
                self.bad(
                    tree.keys["matrix"],
                    "value",
                    "matrix and foreach exclude each other: put one of them around the other, as a group",
                )
        elif looped:
            with self.naming("items, which are stored"):
                foreach = self.foreach(items["foreach"], around, needs)
        if "key" in items and not looped:
            self.bad(tree.keys["key"], "key", "`key` names the tasks of a foreach, and there is none here")
        inner = (
            around.within("matrix", "index")
            if "matrix" in items
            else around.within("item", "index")
            if looped
            else around.within()
        )
        with self.naming("a key"):
            item_key = self.template(items["key"], inner, needs) if looped and "key" in items else None
        when = self.when(items["when"], around, needs) if "when" in items else None
        takes = self.taken(items["input"], inner, needs) if body_name == "node" and "input" in items else None
        body = self.body(body_name, tree, inner, needs, depth)
        given = items if body_name == "ask" else {} if body_name in GROUPS else {**self._defaults, **items}
        with self.naming("what a task takes, reads or writes"):
            wants = self.wants(given, inner, needs)
        own, whole = self.policies(tree, body_name, looped, body)
        own = self.limited(own, tree, key)
        if isinstance(body, Loop):
            body, own = self.rounds(body, tree, own, looped)
        self.costed(tree, own, wants, foreach)
        self.counted(tree, own if whole is None else whole, body if foreach is None else foreach, key, item_key)
        on_error = self.on_error(tree, key, body, inner, needs, depth) if REPAIR in items else None
        if cleans:
            own, whole = self.cleaning(tree, own, whole)
        if body is None:
            return None
        unique = tuple(dict.fromkeys(needs))
        said = next((tree.keys[name] for name in ("writes", "reads") if name in items), None)
        return FlowTask(
            key,
            at,
            body,
            unique,
            own,
            whole,
            foreach,
            item_key,
            when,
            wants,
            said,
            self._problems.file,
            on_error,
            takes=takes,
        )

    def on_error(
        self, tree: Map, key: str, body: Body | None, around: Sight, needs: list[str], depth: int
    ) -> FlowTask | None:
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
        parts = [] if "parallel" in tree.items else parts_of(tree)
        taken = [inner.keys[REPAIR] for inner in parts if REPAIR in inner.items]
        if isinstance(body, Subflow) and any(task.key == REPAIR for task in body.flow.all):
            taken.append(tree.keys["flow"])
        for place in taken:
            self.bad(place, "key", f"{key}/{REPAIR} is the key of what runs when {key!r} fails: give this task another")
        found = self.task(REPAIR, each, at, around.within("error"), depth)
        if found is None:
            return None
        needs += [need for need in found.needs if need != key]
        if key in found.needs:
            self.bad(at, "cycle", f"the on_error of task {key!r} refers to that task: what it failed of is in `error`")
        return found

    def body(self, name: str, tree: Map, around: Sight, needs: list[str], depth: int) -> Body | None:
        each = tree.items[name]
        match name:
            case "tasks":
                return (
                    self.repeated(tree, around, needs, depth)
                    if {"loop", "while"} & tree.items.keys()
                    else self.group(tree, around, needs, depth)
                )
            case "parallel":
                made = self.parallel(each, around, needs, depth)
                merge = self.merge(tree.items["merge"], around, needs) if "merge" in tree.items else "array"
                return None if made is None else replace(made, merge=merge)
            case "switch":
                return self.switch(each, around, needs, depth)
            case "flow":
                return self.subflow(tree, around, needs)
            case "http":
                return self.http(each, around, needs)
        if name == "call":
            return self.call(tree, around, needs)
        if name == "ask":
            return self.ask(tree, around, needs)
        if name == "node":
            return self.node(tree, around, needs)
        output = self.output(tree)
        env = self.templates(tree.items["env"], "env", around, needs) if "env" in tree.items else {}
        with self.naming("a folder"):
            cwd = self.cwd(tree.items["cwd"], around, needs) if "cwd" in tree.items else None
        if isinstance(each, Sequence):
            if not each.items:
                self.bad(each.at, "empty", "the command is empty")
                return None
            with self.naming("the words of a command, which all users of the machine can see"):
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
