"""A checked YAML file as a FlowScript file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plait._core.graph import REPAIR
from plait._core.policy import PLAIN, Join, Retry, Rules
from plait.expressions.formula import Formula
from plait.expressions.tree import Arrow
from plait.flow.convert.emitting import yaml_text
from plait.flow.convert.losses import Losses, duration_text, lone, odd, place_in
from plait.flow.convert.markup import Hollow, Tag, Words, plain_text, section, stands_alone
from plait.flow.convert.names_in_script import TAKEN, Said, View, keys_of
from plait.flow.convert.places import formulas
from plait.flow.convert.trees import chain, written
from plait.flow.fields import EACH
from plait.flow.keys import MOST_ITEMS, MOST_ROUNDS
from plait.flow.model import FlowFile, FlowTask, Group, Loop, NodeCall, Parallel, Switch
from plait.flow.problems import START, Place
from plait.flow.script.elements.common import COMMON, MAX_DELAY_S
from plait.flow.script.texts import ID
from plait.flow.templates import Template
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Tree
from plait.nodes import FieldKind, node_type

TYPES = {"list": "any[]"}
VERSION = "1.0.0"
BACKOFF = {2.0: "", 1.0: "fixed"}
ASK = "let a <checkpoint> ask, once it is FlowScript"
WHAT = {
    "Script": ("`run:`", "let a node do it: an http source, or a file sink"),
    "Argv": ("`run:`", "let a node do it: an http source, or a file sink"),
    "PythonCall": ("`call:`", "let a <transform> work it out"),
    "Http": ("`http:`, whose options are others", "write `node: source:http`"),
    "Ask": ("`ask:`", ASK),
    "Subflow": ("`flow:`", "convert that file by itself, and name it in a <call>"),
}
ON_FAILURE = "write `on_failure: fail_fast`, which is how FlowScript runs"


class ToScript:
    """Makes the text of a FlowScript file of a YAML file; what cannot be said is noted."""

    def __init__(self, file: FlowFile, tree: Tree, losses: Losses) -> None:
        self._file = file
        self._top = tree.keys if isinstance(tree, Map) else {}
        self._losses = losses
        tasks = list(keys_of(file.tasks))
        self._hyphens = frozenset((*(task.key for task in tasks), *file.inputs))
        self._spare: list[tuple[str, FlowTask, View]] = []
        self._keys: set[str] = set()

    def text(self) -> str:
        """The whole file."""
        self._ids()
        front = yaml_text(self._front())
        body = Tag("workflow", children=self._group(self._file.group, View(), in_order=False))
        return f"---\n{front}---\n" + "\n".join(body.lines()) + "\n"

    def _at(self, key: str) -> Place:
        return self._top.get(key, START)

    def _ids(self) -> None:
        for task in keys_of(self._file.tasks):
            if not ID.fullmatch(task.key):
                self._losses.add(f"the key {task.key!r}", "name it by letters, digits, `_` and `-`", task.at)
            elif task.key in self._keys:
                self._losses.add(f"{task.key!r} twice in one file", "rename one of the tasks", task.at)
            elif task.key in TAKEN:
                self._losses.add(
                    f"a task that is called {task.key!r}", "rename it: that is something else there", task.at
                )
            self._keys.add(task.key)

    def _front(self) -> dict[str, Any]:
        file, losses = self._file, self._losses
        for name, each in (("env", file.env), ("finally", file.cleanups)):
            if each:
                losses.add(f"`{name}:`", "leave it out", self._at(name))
        for name in file.rules:
            if name not in ("max_concurrency", "on_failure", "deadline"):
                losses.add(f"`{name}:`", "leave it out", self._at(name))
        if file.rules.get("on_failure") != "fail_fast":
            losses.add("on_failure other than fail_fast", ON_FAILURE, self._at("on_failure"))
        found: dict[str, Any] = {"name": file.name, "version": VERSION}
        inputs: dict[str, dict[str, Any]] = {}
        for name, given in file.inputs.items():
            inputs[name] = {"type": TYPES.get(given.type, given.type)}
            if not given.required:
                inputs[name] |= {"required": False} if given.default is None else {"default": given.default}
            if given.description:
                inputs[name]["description"] = given.description
        if file.secrets:
            found["secrets"] = list(file.secrets)
        if inputs:
            found["input"] = inputs
        runtime: dict[str, Any] = {}
        most = file.rules.get("max_concurrency")
        if most is None:
            hint = "write `max_concurrency: 10`, which is what FlowScript has by itself"
            losses.add("as many tasks at once as the machine likes", hint, self._at("max_concurrency"))
        elif most != 10:
            runtime["concurrency"] = most
        if file.rules.get("deadline") is not None:
            runtime["timeout"] = duration_text(Rules.of(deadline=file.rules["deadline"]).deadline or 0.0)
        return found | ({"runtime": runtime} if runtime else {})

    # -- tasks

    def _group(self, group: Group, view: View, *, in_order: bool = True) -> list[Tag]:
        if group.cleanups and group.cleanups is not self._file.cleanups:
            self._losses.add("`finally:`", "leave it out")
        inside = view.inside(group.tasks)
        spare, self._spare = self._spare, []
        found: list[Tag] = []
        before = ""
        for task in group.tasks.values():
            found.append(self._task(task, inside, before if in_order else None))
            if in_order and before and before not in task.needs:
                hint = f"have {task.key!r} need {before!r}, or put them into a group of their own"
                self._losses.add(
                    f"tasks of a branch, case, item or round that run at once: {task.key!r}", hint, task.at
                )
            before = task.key
        self._ends(group, inside)
        while self._spare:
            key, task, there = self._spare.pop()
            found.append(self._task(task, there, "", key))
        self._spare = spare
        return found

    def _ends(self, group: Group, view: View) -> None:
        """The value of a group must be what its last task gave."""
        last = list(group.tasks)[-1]
        hint = f'write `outputs: "{{{{ tasks.{last}.output }}}}"`, or let a last task make what it is to give'
        if not _gives(group, last):
            at = place_in(group.outputs) or (self._at("outputs") if view.levels == (self._file.tasks,) else None)
            self._losses.add("a group that gives something else than its last task", hint, at)

    def _task(self, task: FlowTask, view: View, before: str | None, key: str = "") -> Tag:
        losses = self._losses
        outer, losses.at = losses.at, task.at
        seen: set[str] = set()
        for what, said in (
            ("when", task.when is not None), ("key", task.item_key is not None), ("a cost, key or path that is worked out", task.wants is not None),
            ("matrix", task.foreach is not None and not isinstance(task.foreach, Template)),
        ):  # fmt: skip
            if said:
                hint = {"when": "put the task into a `switch`", "matrix": "let a node give the items"}.get(
                    what, "leave it out"
                )
                losses.add(f"`{what}` of {task.key!r}", hint)
        for each in [task.policy, *([task.whole] if task.whole is not None else [])]:
            strange = odd(each, "retry", "timeout", "allow_failure", "width")
            if each.join not in (Join.ALL_SUCCESS, Join.NONE_FAILED):
                strange.append("join")
            if strange:
                losses.add(f"{', '.join(strange)} of {task.key!r}", "leave that out")
        tag = self._body(task, view, seen, key or task.key)
        if task.policy.allow_failure:
            if task.foreach is not None:
                losses.add(f"allow_failure of the items of {task.key!r}", "give it to the tasks in them")
            tag.attributes["required"] = "false"
        repairs = self._repair(task, view, seen)
        retry = self._retry(task)
        if retry or repairs:
            tag.children.append(Tag("on-error", children=[*retry, *repairs]))
        if not key:
            self._needs(task, tag, view, seen, before)
        losses.at = outer
        return tag

    def _needs(self, task: FlowTask, tag: Tag, view: View, seen: set[str], before: str | None) -> None:
        """What a node waits for is what it names; others are its input, where it has none."""
        silent = [need for need in task.needs if need in view.levels[-1] and need not in seen and need != before]
        if before is not None:
            silent = [need for need in silent if not _is_before(view.levels[-1], need, before)]
        if not silent:
            return
        if isinstance(task.body, NodeCall):
            hint = (
                f"name {silent[0]} in an expression of it, or put the two into a group in which one follows the other"
            )
            self._losses.add(f"{task.key!r} needs {', '.join(silent)}, which it does not name", hint)
            return
        tag.attributes["input"] = ", ".join(silent)

    def _repair(self, task: FlowTask, view: View, seen: set[str]) -> list[Tag]:
        repair = task.on_error
        if repair is None:
            return []
        body = repair.body
        if not isinstance(body, Group) or repair != replace(
            EMPTY, body=body, at=repair.at, file=repair.file, needs=repair.needs
        ):
            body = Group({})
        last = next(iter(body.tasks), "")
        if len(body.tasks) != 1 or body.cleanups or not _gives(body, last):
            hint = f'write `on_error: {{tasks: {{{last or "instead"}: ...}}, outputs: "{{{{ tasks.{last or "instead"}.output }}}}"}}`'
            self._losses.add(f"the on_error of {task.key!r}, which is no group of one task", hint)
            return []
        self._spare.append((last, body.tasks[last], view.inside(body.tasks)))
        self._lifted(Group({task.key: repair}), view, seen)
        return [Tag("fallback", {"node": last})]

    def _retry(self, task: FlowTask) -> list[Tag]:
        retry = task.policy.retry
        if not isinstance(task.body, NodeCall):
            return []
        kind = node_type(task.body.type, load=False)
        usual = 0 if kind is None else kind.tries_after(task.body.fixed, frozenset(task.body.said))
        if retry.attempts == 1:
            return [Tag("retry", {"max": "0"})] if usual else []
        like = Retry(retry.attempts, retry.delay, retry.backoff, MAX_DELAY_S, retry.jitter, ("retryable",))
        if retry != like or retry.backoff not in BACKOFF or not retry.delay:
            hint = "write `retry: {attempts: 4, max_delay: 32s, on: retryable}`; delay, jitter, and a backoff of 1 or 2 are as you like"
            self._losses.add(f"the retry of {task.key!r}", hint)
        if usual + 1 == retry.attempts and retry == Retry(usual + 1, 1.0, 2.0, MAX_DELAY_S, True, ("retryable",)):
            return []
        said = {
            "max": str(retry.attempts - 1),
            "backoff": BACKOFF.get(retry.backoff, ""),
            "base": duration_text(retry.delay),
        }
        said["jitter"] = "" if retry.jitter else "false"
        return [Tag("retry", {name: value for name, value in said.items() if value})]

    # -- bodies

    def _body(self, task: FlowTask, view: View, seen: set[str], key: str) -> Tag:
        body = task.body
        if task.foreach is not None:
            return self._foreach(task, view, seen, key)
        match body:
            case NodeCall():
                return self._node(task, body, view, seen, key)
            case Group():
                timed = task.policy.timeout is not None
                inside = self._within(body, view, seen, in_order=timed)
                if not timed:
                    return Tag("phase", {"id": key}, children=inside)
                return Tag(
                    "timeout", {"id": key, "duration": duration_text(task.policy.timeout or 0.0)}, children=inside
                )
            case Parallel():
                return self._parallel(task, body, view, seen, key)
            case Switch():
                return self._switch(body, view, seen, key)
            case Loop():
                return self._loop(body, view, seen, key)
        what, hint = WHAT.get(type(body).__name__, (type(body).__name__, "leave it out"))
        self._losses.add(what, hint)
        return Tag("phase", {"id": key})

    def _within(self, group: Group, view: View, seen: set[str], *, in_order: bool = True) -> list[Tag]:
        """The tasks of a group in a task. What they name beside it is noted, too."""
        self._lifted(group, view, seen)
        return self._group(group, view, in_order=in_order)

    def _lifted(self, group: Group, view: View, seen: set[str]) -> None:
        for task in keys_of(group.tasks):
            for formula in formulas(task):
                for each in formula.references:
                    if each.root == "tasks" and each.steps and each.steps[0] in view.levels[-1]:
                        seen.add(str(each.steps[0]))

    def _foreach(self, task: FlowTask, view: View, seen: set[str], key: str) -> Tag:
        body, policy = task.body, task.whole or task.policy
        attributes = {"id": key}
        if isinstance(task.foreach, Template):
            attributes["collection"] = self._expression(task.foreach, view, seen)
        elif isinstance(task.foreach, list):
            self._losses.add(f"the items of {task.key!r} themselves", 'write them as an expression: "{{ [1, 2] }}"')
        attributes["concurrency"] = str(policy.width or MOST_ITEMS)
        if not isinstance(body, Group):
            hint = "put it into `tasks:`, with `outputs:`"
            self._losses.add(f"a foreach of something else than a group: {task.key!r}", hint)
            return Tag("foreach", attributes)
        if task.policy.timeout is not None:
            self._losses.add(f"timeout of the items of {task.key!r}", "put a group with that timeout into it")
        return Tag("foreach", attributes, children=self._within(body, view.each(), seen))

    def _parallel(self, task: FlowTask, body: Parallel, view: View, seen: set[str], key: str) -> Tag:
        attributes = {"id": key}
        if task.policy.width is not None:
            attributes["max"] = str(task.policy.width)
        if isinstance(body.merge, Template):
            attributes["merge"] = self._expression(body.merge, view.knowing("branches"), seen)
        elif body.merge != "array":
            attributes["merge"] = body.merge
        tag = Tag("parallel", attributes)
        for number, (name, group) in enumerate(body.branches.items()):
            branch = Tag("branch", {} if name == str(number) else {"id": name})
            if branch.attributes and (not ID.fullmatch(name) or name in self._keys):
                self._losses.add(
                    f"the branch {name!r}", "give it a name that no task has, of letters, digits, `_` and `-`"
                )
            self._keys.add(name if branch.attributes else "")
            branch.children = self._within(group, view, seen)
            tag.children.append(branch)
        return self._timed(task, tag)

    def _timed(self, task: FlowTask, tag: Tag) -> Tag:
        if task.policy.timeout is not None:
            self._losses.add(f"timeout of {task.key!r}", "put it into a group with that timeout")
        return tag

    def _switch(self, body: Switch, view: View, seen: set[str], key: str) -> Tag:
        cases = body.cases
        whens = ["" if case.when is None else self._condition(case.when, view, seen) for case in cases]
        blocks = [self._within(case.group, view, seen) for case in cases]
        if whens[0] and len(cases) <= 2 and (len(cases) == 1 or not whens[1]):
            sides = [Tag(name, children=block) for name, block in zip(("then", "else"), blocks, strict=False)]
            return Tag("if", {"id": key, "condition": whens[0]}, children=sides)
        tags = [
            Tag("case", {"when": when}, children=block) if when else Tag("default", children=block)
            for when, block in zip(whens, blocks, strict=True)
        ]
        return Tag("branch", {"id": key}, children=tags)

    def _loop(self, body: Loop, view: View, seen: set[str], key: str) -> Tag:
        if odd(body.policy):
            self._losses.add(f"{', '.join(odd(body.policy))} of the rounds of {key!r}", "leave that out")
        inner = view.rounds()
        end = inner.inside(body.group.tasks)
        attributes = {"id": key}
        if body.condition is not None:
            attributes["condition"] = self._condition(body.condition, end, set())
        if body.most != MOST_ROUNDS:
            attributes["max"] = str(body.most)
        if body.until is not None:
            attributes["break"] = self._condition(body.until, end, set())
        children = self._within(body.group, inner, seen)
        return Tag("loop" if body.condition is None else "while", attributes, children=children)

    def _condition(self, when: Template | bool, view: View, seen: set[str]) -> str:
        return str(when).lower() if isinstance(when, bool) else self._expression(when, view, seen)

    # -- nodes

    def _node(self, task: FlowTask, body: NodeCall, view: View, seen: set[str], key: str) -> Tag:
        kind, _, name = body.type.partition(":")
        tag = Tag(kind, {"id": key, "type": name})
        if task.takes is not None:
            takes = task.takes if isinstance(task.takes, list) else [task.takes]
            shown = [self._expression(each, view, seen) for each in takes]
            if any("," in each for each in shown) or (isinstance(task.takes, list) and len(shown) == 1):
                hint = "let a node before it make that"
                self._losses.add(f"the input of {task.key!r}, which is more than names", hint, place_in(takes))
            tag.attributes["input"] = ", ".join(_as_input(each) for each in shown)
        elif body.type in ("transform:filter", "transform:reduce"):
            self._losses.add(f"{task.key!r} without an input", "give it one: `input:`")
        found = node_type(body.type, load=False)
        fields = {} if found is None else found.fields
        inside = view
        if task.takes is not None:
            inside = view.knowing("input")
        listed: dict[str, Any] = {}
        for field, said in body.said.items():
            if field in (*COMMON, "type", "timeout"):
                self._losses.add(f"a field that is called {field!r}", "leave it out")
                continue
            is_each = isinstance(said, Formula) and (task.takes is not None or body.type == "transform:reduce")
            known = inside.knowing(*inside.local, *EACH) if is_each else inside
            value = self._field(said, known, seen)
            expression = field in fields and fields[field].kind is FieldKind.EXPRESSION
            text = value if expression else plain_text(value) if isinstance(value, (str, Words)) else ""
            if text and stands_alone(text):
                tag.children.append(Tag(field, text=text))
            else:
                listed[field] = value
        if listed:
            tag.children.append(Tag("config", text=section(listed)))
        usual = fields["timeout"].default if "timeout" in fields else None
        if task.policy.timeout != usual:
            if "timeout" not in fields or task.policy.timeout is None:
                what = "no timeout" if task.policy.timeout is None else "a timeout"
                self._losses.add(
                    f"{what} of {task.key!r}",
                    "write `timeout: 1h`" if usual else "put it into a group with that timeout",
                )
            else:
                tag.children.append(Tag("timeout", text=duration_text(task.policy.timeout)))
        return tag

    def _field(self, said: Any, view: View, seen: set[str]) -> Any:
        match said:
            case Formula():
                return self._written(said, view, seen)
            case Template(parts):
                made: list[str] = []
                for part in parts:
                    if isinstance(part, str):
                        made.append(part)
                        continue
                    if made and not isinstance(made[-1], Hollow) and made[-1].endswith("\\"):
                        self._losses.within(
                            part.formula, "a backslash before `{{`", 'write it in an expression: {{ "\\\\" }}'
                        )
                    made.append(Hollow(f"{{{{ {self._written(part.formula, view, seen)} }}}}"))
                return Words(made)
            case dict():
                return {str(name): self._field(each, view, seen) for name, each in said.items()}
            case list() | tuple():
                return [self._field(each, view, seen) for each in said]
        return said

    def _expression(self, template: object, view: View, seen: set[str]) -> str:
        formula = lone(template)
        assert formula is not None
        return self._written(formula, view, seen)

    def _written(self, formula: Formula, view: View, seen: set[str]) -> str:
        tree = Said(self._losses, view, seen).of(formula)
        text = written(tree, self._hyphens)
        if text is None or (isinstance(tree, Arrow) and "\n" in text):
            self._losses.within(formula, "an expression with names that cannot stand in it", "rename what it names")
            return "null"
        return text


def _as_input(text: str) -> str:
    return text if all(each.isalnum() or each in "_-$.[]" for each in text) else f"{{{{ {text} }}}}"


EMPTY = FlowTask(REPAIR, START, Group({}), (), PLAIN)


def _gives(group: Group, last: str) -> bool:
    """Is the value of a group what that task gives, and nothing else?"""
    formula = lone(group.outputs)
    return formula is not None and formula.tree == chain("tasks", last, "output")


def _is_before(tasks: Mapping[str, FlowTask], key: str, last: str) -> bool:
    keys = list(tasks)
    return keys.index(key) <= keys.index(last)
