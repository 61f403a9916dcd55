"""A checked FlowScript file as a YAML file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plait._core.graph import REPAIR
from plait._core.policy import Policy
from plait.expressions.formula import Formula
from plait.flow.convert.losses import Losses, duration_text, odd, place_in
from plait.flow.convert.names_in_yaml import EACH, Seen, Spot
from plait.flow.convert.trees import written
from plait.flow.fields import of_data
from plait.flow.inputs import TYPES
from plait.flow.keys import MOST_ITEMS, MOST_ROUNDS
from plait.flow.model import FlowTask, Group, Loop, NodeCall, Parallel, Switch, groups
from plait.flow.options import usual_timeout
from plait.flow.script.front import CONCURRENCY, Front
from plait.flow.script.reader import ScriptFile
from plait.flow.templates import Hole, Template
from plait.nodes import FieldKind, node_type

WHAT = {
    "Assign": ("a variable", "let a <transform> give the value, and name that"),
    "Delay": ("a delay", "have a command wait: `run: sleep 5`, once it is YAML"),
    "Jump": ("<break> and <continue>", "say it in the condition of the loop"),
    "Gate": ("a checkpoint", "ask in YAML: `ask: TEXT`, and `needs` where its answer is waited for"),
    "Attempts": ("a block that is tried again as a whole", "have its nodes try again"),
    "Subflow": ("<include> and <call>", "convert that file by itself, and name it as `flow:`"),
}
SCHEMAS = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "object",
    "{}": "object",
}
SCHEMAS |= {"any[]": "list", "array": "list"}


TRUSTED = ("$secrets", "$env", "$run")
"""What is trusted in both languages to name a server."""


class ToYaml:
    """Makes the data of a YAML file of a FlowScript file; what cannot be said is noted."""

    def __init__(self, file: ScriptFile, losses: Losses) -> None:
        self._file = file
        self._losses = losses
        self._hyphens = frozenset((*file.front.input, *file.front.config, *_keys(file.root)))
        self._covered: dict[int, set[str]] = {}

    def data(self) -> dict[str, Any]:
        """The whole file."""
        file, front = self._file, self._file.front
        found: dict[str, Any] = {"name": file.name}
        inputs = self._inputs(front)
        if inputs:
            found["inputs"] = inputs
        if front.secrets:
            found["secrets"] = list(front.secrets)
        if front.schemas:
            self._losses.add("`schemas:`", "write the schema where it is used", front.places.get("schemas"))
        if front.concurrency != CONCURRENCY or "runtime" in front.places:
            self._losses.at = front.places.get("runtime", self._losses.at)
        found["max_concurrency"] = front.concurrency
        found["on_failure"] = "fail_fast"
        if front.timeout is not None:
            found["deadline"] = duration_text(front.timeout)
        return found | self._group(file.root, Spot())

    def _inputs(self, front: Front) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, given in front.input.items():
            called = SCHEMAS.get(given.said.strip())
            if called is None:
                hint = f"its inputs are {', '.join(TYPES)}"
                self._losses.add(f"input {name!r} is {given.said}", hint, front.places.get("input"))
                continue
            found[name] = _input(called, given.required, given.default)
        for name, option in front.config.items():
            at = front.places.get("config")
            if name in found:
                self._losses.add(f"config and input both have {name!r}", "give one of them another name", at)
            called = None if option.words else SCHEMAS.get(option.type)
            if called is None:
                what = "enum" if option.words else option.type or "of any type"
                self._losses.add(f"config {name!r} is {what}", f"its inputs are {', '.join(TYPES)}: give it a type", at)
                continue
            found[name] = _input(called, option.required and option.default is None, option.default)
            if option.description:
                found[name]["description"] = option.description
        return found

    # -- tasks

    def _group(self, group: Group, spot: Spot) -> dict[str, Any]:
        if not group.tasks:
            self._losses.add("a side without nodes", "turn the condition round, and drop the empty side")
            return {"tasks": {}}
        tasks: dict[str, Any] = {}
        for place, task in enumerate(group.tasks.values()):
            tasks[task.key] = self.task(task, spot.inside(group, place))
        last = list(group.tasks)[-1]
        return {"tasks": tasks, "outputs": f"{{{{ tasks.{last}.output }}}}"}

    def task(self, task: FlowTask, spot: Spot, *, repairs: bool = False) -> dict[str, Any]:
        """One task, with all within."""
        before, self._losses.at = self._losses.at, task.at
        found: dict[str, Any] = {}
        depth = len(spot.levels) - 1
        outer = self._covered.get(depth, set())
        if not repairs:
            self._covered[depth] = set()
        if task.late:
            names = ", ".join("concurrency" if name == "width" else name for name in task.late)
            hint = "write the number, or the duration, into the file"
            self._losses.add(f"{names} of {task.key!r} is worked out", hint, place_in(dict(task.late)))
        if task.foreach is not None:
            assert isinstance(task.foreach, Template)
            found["foreach"] = self._alone(task.foreach, spot.taking(task.takes))
            found |= self._width(task.whole)
        inner = spot.taking(task.takes) if not isinstance(task.body, NodeCall) else spot
        if task.foreach is not None:
            inner = inner.each(task.item_names)
        found |= self._body(task, inner)
        policies = [task.policy] if task.whole is None else [task.policy, task.whole]
        if task.whole is not None and task.whole.allow_failure:
            self._losses.add(f"{task.key!r} may fail as a whole", "let the nodes in it fail instead")
        for each in policies:
            strange = odd(each, "retry", "timeout", "allow_failure", "width", "min_success")
            if strange:
                self._losses.add(f"{', '.join(strange)} of {task.key!r}", "leave that out")
        if task.policy.allow_failure:
            found["allow_failure"] = True
        if task.on_error is not None:
            found[REPAIR] = self.task(task.on_error, inner.failed(), repairs=True)
        if not repairs:
            needs = [need for need in task.needs if need not in self._covered[depth]]
            found = {"needs": needs, **found} if needs else found
            self._covered[depth] = outer
        self._losses.at = before
        return found

    def _width(self, policy: Policy | None) -> dict[str, Any]:
        return {} if policy is None or policy.width is None or policy.width >= MOST_ITEMS else {"width": policy.width}

    def _body(self, task: FlowTask, spot: Spot) -> dict[str, Any]:
        body = task.body
        match body:
            case NodeCall():
                return self._node(task, body, spot)
            case Group(tasks) if f"{task.key}.merge" in tasks:
                self._losses.add(
                    "a merge that asks for the time, or for chance", "do that in a node behind the <parallel>"
                )
                return {}
            case Group():
                return {**self._timeout(task), **self._group(body, spot)}
            case Parallel():
                return self._parallel(task, body, spot)
            case Switch(cases, must):
                if must:
                    self._losses.add("a fallback that serves for some failures alone", "keep one that serves for all")
                    return {}
                shown = []
                for case in cases:
                    assert not isinstance(case.when, bool)
                    when = {} if case.when is None else {"when": self._alone(case.when, spot)}
                    shown.append({**when, **self._group(case.group, spot)})
                return {"switch": shown}
            case Loop():
                return self._loop(task, body, spot)
        what, hint = WHAT.get(type(body).__name__, (type(body).__name__, "leave it out"))
        self._losses.add(what, hint)
        return {}

    def _timeout(self, task: FlowTask) -> dict[str, Any]:
        return {} if task.policy.timeout is None else {"timeout": duration_text(task.policy.timeout)}

    def _parallel(self, task: FlowTask, body: Parallel, spot: Spot) -> dict[str, Any]:
        if body.first:
            self._losses.add("`wait` of a <parallel>", "wait for all branches")
        shown = []
        for number, (name, group) in enumerate(body.branches.items()):
            called = {} if name == str(number) else {"name": name}
            shown.append({**called, **self._group(group, spot.branch(number))})
        found: dict[str, Any] = {**self._width(task.policy), "parallel": shown}
        if isinstance(body.merge, Template):
            found["merge"] = self._alone(body.merge, spot.knowing(frozenset(("branches", "$branches"))))
        elif body.merge != "array":
            found["merge"] = body.merge
        return found

    def _loop(self, task: FlowTask, body: Loop, spot: Spot) -> dict[str, Any]:
        most = body.most
        if not isinstance(most, int):
            self._losses.add(f"max of {task.key!r} is worked out", "write the number into the file", place_in(most))
        within = self._group(body.group, spot.rounds())
        end = spot.rounds().behind(body.group)
        if body.condition is not None:
            assert isinstance(body.condition, Template)
            shown = self._alone(body.condition, end)
            return {"while": shown if most == MOST_ROUNDS else {"condition": shown, "max": most}, **within}
        until = {} if body.until is None else {"until": self._alone(body.until, end)}  # type: ignore[arg-type]
        return {"loop": {"max": most, **until}, **within}

    # -- nodes

    def _node(self, task: FlowTask, body: NodeCall, spot: Spot) -> dict[str, Any]:
        found: dict[str, Any] = {"node": body.type}
        if task.takes is not None:
            takes = task.takes if isinstance(task.takes, list) else [task.takes]
            shown = [self._alone(each, spot) for each in takes]
            found["input"] = shown if isinstance(task.takes, list) else shown[0]
        elif body.type in ("transform:filter", "transform:reduce"):
            self._losses.add(f"{task.key!r} takes what is around it for its input", 'give it one: input="..."')
        inside = spot.owning() if task.takes is not None else spot
        kind = node_type(body.type, load=False)
        fields: dict[str, Any] = {}
        for name, said in body.said.items():
            if name != "timeout":
                is_json = kind is not None and name in kind.fields and kind.fields[name].kind is FieldKind.JSON
                fields[name] = self._field(said, inside, body.type, json=is_json)
        if fields:
            found["with"] = fields
        self._trust(body)
        usual = usual_timeout(body.type).get("timeout")
        policy = task.policy
        if policy.timeout != usual:
            found["timeout"] = None if policy.timeout is None else duration_text(policy.timeout)
        if body.when is not None:
            self._losses.add(f"for which failures {task.key!r} is tried again", "leave `when` out", place_in(body.when))
        retry = policy.retry
        if retry.attempts > 1:
            if retry.backoff < 1:
                self._losses.add('backoff="linear"', "make it exponential, or fixed")
            found["retry"] = {
                "attempts": retry.attempts,
                "delay": duration_text(retry.delay),
                **({} if retry.backoff == 2 else {"backoff": retry.backoff}),
                "max_delay": duration_text(retry.max_delay),
                **({} if retry.jitter else {"jitter": False}),
                "on": list(map(str, retry.on)) if len(retry.on) > 1 else str(retry.on[0]),
            }
        return found

    def _trust(self, body: NodeCall) -> None:
        """A server that the configuration names may be in a private network; one that an input names may not."""
        now = body.from_data
        later = set(of_data(dict(body.filled), lambda each: each.root in TRUSTED))
        for name in (later - now) & {"url", "auth"}:
            self._losses.add(
                f"{name} leads where the configuration says, and in YAML that is an input, which is not trusted so far",
                "write the server into the file",
                place_in(body.filled[name]),
            )

    def _field(self, said: Any, spot: Spot, of: str, *, json: bool = False) -> Any:
        match said:
            case Formula():
                each = of in ("transform:filter", "transform:reduce") or spot.owns
                return self._expression(said, spot.knowing(EACH) if each else spot)
            case Template():
                return self._template(said, spot)
            case str():
                return said.replace("{{", "\\{{")
            case list() | tuple():
                return [self._field(each, spot, of) for each in said]
            case dict():
                return {str(name): self._field(each, spot, of) for name, each in said.items()}
        return said

    # -- texts

    def _expression(self, formula: Formula, spot: Spot) -> str:
        tree = Seen(self._file.front, self._losses, spot, self._cover).of(formula)
        text = written(tree, self._hyphens)
        if text is None:
            self._losses.within(formula, "an expression with names that cannot stand in it", "rename what it names")
            return ""
        return text

    def _cover(self, depth: int, key: str) -> None:
        """Of the task at that depth it stands in an expression that it needs the one of that key."""
        self._covered.setdefault(depth, set()).add(key)

    def _alone(self, template: Template, spot: Spot) -> str:
        return self._template(template, spot)

    def _template(self, template: Template, spot: Spot) -> str:
        parts = []
        for part in template.parts:
            if isinstance(part, str):
                parts.append(part.replace("{{", "\\{{"))
            else:
                if parts and parts[-1].endswith("\\"):
                    self._losses.within(
                        part.formula, "a backslash before `{{`", 'write it in an expression: {{ "\\\\" }}'
                    )
                parts.append(self._hole(part, spot))
        return "".join(parts)

    def _hole(self, hole: Hole, spot: Spot) -> str:
        text = self._expression(hole.formula, spot)
        return f"{{{{ raw({text}) }}}}" if hole.raw else f"{{{{ {text} }}}}"


def _input(called: str, required: bool, default: Any) -> dict[str, Any]:
    if required:
        return {"type": called}
    return {"type": called, "required": False} if default is None else {"type": called, "default": default}


def _keys(group: Group) -> Iterator[str]:
    for task in group.all:
        yield task.key
        for each in groups(task.body):
            yield from _keys(each)
        if task.on_error is not None:
            for each in groups(task.on_error.body):
                yield from _keys(each)
