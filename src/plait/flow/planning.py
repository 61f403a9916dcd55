"""What a run of a file would do, as far as that is known before: by its inputs, and by what the file says. Nothing is run.

What cannot be known yet is told as it is written. An expression that cannot be worked out is no error of the file: the task that has it would
fail, and the run would go on as it does after any failure, so the plan says that where the task stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from plait._core.policy import PLAIN, Join, Policy
from plait.errors import PlaitError, UsageError
from plait.expressions import truth
from plait.flow.inputs import values_of
from plait.flow.model import (
    Argv,
    Ask,
    Body,
    Case,
    FlowFile,
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
from plait.flow.outlines import DEEPEST_DRAWN, MOST_DRAWN, does, kind, over, value
from plait.flow.scopes import Around, Scope
from plait.flow.stacks import with_own_stack
from plait.flow.templates import Template, templates_of
from plait.flow.values import detached, filled
from plait.flow.work import EACH, Items, items_of, known

MOST_KEYS = 20
"""Items that are named; the others are counted."""

LATER = frozenset(("run", "previous", "error", "feedback"))
"""Roots that stand for nothing before a run."""

Told = dict[str, Any]


class Fate(StrEnum):
    """What would become of a task, if all goes well that can."""

    RUN = "run"
    MAYBE = "maybe"  # whether it begins is known at run time
    SKIPPED = "skipped"
    FAILED = "failed"
    UPSTREAM_FAILED = "upstream_failed"
    NOT_CHOSEN = "not_chosen"  # of a case


GOOD, BAD, SKIP, NEVER = "good", "bad", "skip", "never"
"""How a task may end: well, by failing, skipped, or by not beginning for a need."""

Ends = frozenset[str]

WELL, BADLY = frozenset((GOOD,)), frozenset((BAD,))


@dataclass(slots=True)
class Plan:
    """A task, a case or a branch of a plan."""

    key: str
    kind: str
    does: str = ""
    needs: Sequence[str] = ()
    ends: Ends = WELL
    because: list[str] = field(default_factory=list)
    last: bool = False
    """Does it clean up?"""
    items: Told = field(default_factory=dict)
    limits: Told = field(default_factory=dict)
    inside: list[Plan] = field(default_factory=list)
    on_error: Plan | None = None
    cut: bool = False
    """Is there more inside than is told?"""
    forgiven: bool = False
    """Do others go on where it fails?"""
    chosen: bool = True

    @property
    def would(self) -> Fate:
        """What would become of it."""
        if not self.chosen:
            return Fate.NOT_CHOSEN
        if self.ends <= {GOOD, BAD}:
            return Fate.RUN if GOOD in self.ends else Fate.FAILED
        return {frozenset((SKIP,)): Fate.SKIPPED, frozenset((NEVER,)): Fate.UPSTREAM_FAILED}.get(self.ends, Fate.MAYBE)

    def plain(self) -> Told:
        """As data, for programs."""
        made: Told = {"key": self.key, "kind": self.kind, "would": str(self.would)}
        if self.because:
            made["because"] = self.because
        if self.does:
            made["does"] = self.does
        made["needs"] = list(self.needs)
        if self.last:
            made["finally"] = True
        for name, given in (("items", self.items), ("limits", self.limits)):
            if given:
                made[name] = given
        if self.inside or self.cut:
            made["tasks"] = [each.plain() for each in self.inside]
        if self.cut:
            made["cut"] = True
        if self.on_error is not None:
            made["on_error"] = self.on_error.plain()
        return made


def plan_of(file: FlowFile, tasks: Mapping[str, FlowTask], inputs: Mapping[str, Any]) -> list[Plan]:
    """These tasks of a file and those that clean up after them, with these inputs, in an order in which they could run.

    Raises:
        ExpressionError: for a variable of the file's `env` that cannot be worked out: a run would not begin.
    """
    group = Group(tasks, file.cleanups)
    scope = Scope(_around(file, inputs, partly=False), LATER)
    return with_own_stack(lambda: _Planner().level(group, scope))


def _around(file: FlowFile, inputs: Mapping[str, Any], *, partly: bool) -> Around:
    """What the tasks of a file share, as far as its inputs decide it; `partly`: there are others."""
    before = Scope(Around(inputs, {}, {}, partly=partly), LATER)
    env = {name: each.text(before) for name, each in file.env.items() if known((each,), before, ())}
    return Around(inputs, env, {}, partly=partly or len(env) < len(file.env))


class _Said:
    """What a look ahead at some data says: `value`, if it is known; `error`, if it cannot be worked out; else `later`, as it is written."""

    __slots__ = ("error", "later", "value")

    def __init__(self, data: Any, scope: Scope) -> None:
        self.value: Any = None
        self.error = self.later = ""
        if not known(templates_of(data), scope, ()):
            self.later = value(data)
            return
        try:
            self.value = filled(data, scope)
        except PlaitError as error:
            self.error = str(error)

    @property
    def is_known(self) -> bool:
        return not self.error and not self.later


class _Planner:
    def __init__(self) -> None:
        self._left = MOST_DRAWN
        self._depth = 0

    # -- tasks beside one another

    def level(self, group: Group, scope: Scope) -> list[Plan]:
        """The tasks of a group, those that need others behind these, those that clean up at the end."""
        found: dict[str, Plan] = {}
        for tasks in (group.tasks, group.cleanups):
            for key in in_order({key: task.needs for key, task in tasks.items()}):
                found[key] = self.task(tasks[key], scope, found, last=tasks is group.cleanups)
        return list(found.values())

    def task(self, task: FlowTask, scope: Scope, done: Mapping[str, Plan], *, last: bool = False) -> Plan:
        needs = [need for need in task.needs if need in done]
        plan = Plan(task.key, kind(task), does(task.body), needs, last=last, limits=_limits(task))
        whole = task.policy if task.whole is None else task.whole
        plan.forgiven = whole.allow_failure
        before, plan.because = by_needs(whole.join, [done[need] for need in needs])
        plan.ends = before
        if GOOD not in before:
            return plan
        allowed = _by_condition(plan, task.when, scope)
        plan.ends = (before - {GOOD}) | allowed
        if GOOD in allowed:
            plan.ends = (plan.ends - {GOOD}) | (
                self.once(plan, task, scope) if task.foreach is None else self.each(plan, task, task.foreach, scope)
            )
        return plan

    def once(self, plan: Plan, task: FlowTask, scope: Scope) -> Ends:
        """How a task without items may end, or each of them."""
        ends = self.body(plan, task, scope)
        if task.on_error is None:
            return ends
        plan.on_error = self.task(task.on_error, scope.at(frozenset(("error",))), {})
        if BAD not in ends:
            return ends
        mended = frozenset(GOOD if each == GOOD else BAD for each in plan.on_error.ends)
        if GOOD in mended:
            plan.because.append("its on_error would run then")
        return (ends - BADLY) | mended

    def each(self, plan: Plan, task: FlowTask, foreach: Template | list[Any] | Matrix, scope: Scope) -> Ends:
        """How a foreach or a matrix may end."""
        plan.items = {"over": over(foreach), "count": None}
        if not self.items(plan, task, foreach, scope):
            return BADLY
        count = plan.items["count"]
        ends = WELL if count == 0 else self.once(plan, task, scope.at(EACH))
        if task.whole is not None and _counts(task.whole):
            return WELL if count and ends == WELL else WELL | BADLY
        if task.policy.allow_failure:
            return WELL
        return ends if count else ends | WELL

    def items(self, plan: Plan, task: FlowTask, foreach: Template | list[Any] | Matrix, scope: Scope) -> bool:
        """Notes what a task goes over; False where that cannot be worked out."""
        whole = [dict(foreach.axes), foreach.include, foreach.exclude] if isinstance(foreach, Matrix) else foreach
        if not known(templates_of(whole), scope, ()):
            return True
        try:
            items = items_of(task, foreach, scope)
            plan.items["count"] = len(items)
            if task.item_key is None or known((task.item_key,), scope, EACH):
                keys = Items(task, items, scope).growth().batch.keys
                plan.items["keys"] = [str(each)[1:-1] for each in keys[:MOST_KEYS]]
        except PlaitError as error:
            plan.items = {"over": plan.items["over"]}
            _fails(plan, str(error))
            return False
        return True

    # -- what is in a task

    def body(self, plan: Plan, task: FlowTask, scope: Scope) -> Ends:
        body = task.body
        match body:
            case Group():
                return self.draw(plan, body, scope, task.policy)
            case Parallel(branches):
                for name, group in branches.items():
                    branch = Plan(f"[{name}]", "branch")
                    plan.inside.append(branch)
                    branch.ends = self.draw(branch, group, scope, PLAIN)
                return _by_inside(plan, task.policy)
            case Switch(cases):
                return self.cases(plan, cases, scope, task.policy)
            case Loop():
                return self.rounds(plan, body, scope)
            case Subflow():
                return self.flow(plan, body, scope, task.policy)
        for said in (_Said(each, scope) for each in _templates(body)):
            if said.error:
                return _fails(plan, said.error)
        return WELL

    def draw(self, plan: Plan, group: Group, scope: Scope, policy: Policy) -> Ends:
        """The tasks of a group within a task; not for ever."""
        self._left -= len(group.tasks) + len(group.cleanups)
        if self._left < 0 or self._depth >= DEEPEST_DRAWN:
            plan.cut = True
            return WELL
        self._depth += 1
        plan.inside = self.level(group, scope)
        self._depth -= 1
        return _by_inside(plan, policy)

    def cases(self, plan: Plan, cases: Iterable[Case], scope: Scope, policy: Policy) -> Ends:
        """The first that holds is chosen: those behind it are not, and so long as nobody knows none is."""
        undecided, over_ = False, ""
        ends: Ends = frozenset()
        for number, case in enumerate(cases, 1):
            shown = Plan(f"case {number}", "case", "otherwise" if case.when is None else f"when {value(case.when)}")
            plan.inside.append(shown)
            said = _Said(case.when, scope)
            if over_ or (said.is_known and case.when is not None and not truth(said.value)):
                shown.chosen = False
                shown.because.append(over_ or "that does not hold")
                continue
            if undecided:
                shown.because.append("only if no earlier one is")
            if said.error:
                shown.ends = _fails(shown, said.error)
                over_ = "an earlier one cannot be worked out"
            else:
                if said.later:
                    shown.because.append(_later(case.when))
                shown.ends = self.draw(shown, case.group, scope, policy)
                over_ = "" if said.later else "an earlier one is"
            ends |= shown.ends
            undecided = undecided or bool(said.later)
            if undecided:
                shown.ends |= {SKIP}
        if not over_:
            ends |= WELL
        return _told_of(plan, ends)

    def rounds(self, plan: Plan, loop: Loop, scope: Scope) -> Ends:
        first = _Said(loop.condition, _Before(scope, (*loop.group.tasks, *loop.group.cleanups)))
        if first.error:
            return _fails(plan, first.error)
        if loop.condition is not None and first.is_known and not truth(first.value):
            plan.because.append("no round: its condition does not hold before the first")
            return WELL
        within = scope.at(frozenset(("previous", "index")))
        ends = self.draw(plan, loop.group, within, loop.policy)
        if loop.until is not None and (last := _Said(loop.until, within)).is_known and truth(last.value):
            plan.because.append("one round: its `until` holds after the first")
        return ends if first.is_known else ends | WELL

    def flow(self, plan: Plan, body: Subflow, scope: Scope, policy: Policy) -> Ends:
        flow = body.flow
        given = {name: _Said(each, scope) for name, each in body.arguments.items()}
        later = {name for name, said in given.items() if said.later}
        declared = {name: each for name, each in flow.inputs.items() if name not in later}
        try:
            for said in given.values():
                if said.error:
                    raise UsageError(said.error)
            known_ = {name: detached(said.value) for name, said in given.items() if name not in later}
            around = _around(flow, values_of(flow.path, declared, known_), partly=bool(later))
        except PlaitError as error:
            return _fails(plan, str(error))
        return self.draw(plan, Group(flow.tasks, flow.cleanups), Scope(around, LATER), policy)


def in_order(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """The keys, each behind those that it needs, in layers: in each of them in the given order."""
    left = {key: {need for need in given if need in needs} for key, given in needs.items()}
    place = {key: at for at, key in enumerate(needs)}
    users: dict[str, list[str]] = {}
    for key, given in left.items():
        for need in given:
            users.setdefault(need, []).append(key)
    found: list[str] = []
    ready = [key for key, given in left.items() if not given]
    while ready:
        found += ready
        following = []
        for key in ready:
            for user in users.get(key, ()):
                left[user].discard(key)
                if not left[user]:
                    following.append(user)
        ready = sorted(following, key=place.__getitem__)
    return found


class _Before(Scope):
    """What a `while` looks at before its first round: the tasks of it are there, and null."""

    __slots__ = ("_nulls",)

    def __init__(self, scope: Scope, nulls: Sequence[str]) -> None:
        super().__init__(scope.around, scope._unknown)
        self._roots = {**scope._roots, "index": 0, "previous": None}
        self._nulls = frozenset(nulls)

    def knows(self, root: str, steps: tuple[str | int, ...]) -> bool:
        if root == "tasks":
            return bool(steps) and steps[0] in self._nulls
        return root in ("index", "previous") or super().knows(root, steps)


def _templates(body: Body) -> list[Any]:
    """What of a body that runs something is filled in when it does."""
    match body:
        case Script(script, _, env, cwd):
            return [script, *env.values(), cwd]
        case Argv(words, _, env, cwd):
            return [*words, *env.values(), cwd]
        case PythonCall(_, _, given) | Http(_, given):
            return list(given.values())
        case Ask(prompt):
            return [prompt]
    return []


def _counts(policy: Policy) -> bool:
    """Does it say itself how many of its tasks may fail?"""
    return policy.min_success is not None or policy.max_failures is not None or policy.reduce is not None


def _fails(plan: Plan, because: str) -> Ends:
    """It would fail, if it would run."""
    plan.because.append(f"would fail: {because}")
    return BADLY


def _by_inside(plan: Plan, policy: Policy) -> Ends:
    """A group fails with a task in it, unless it says how many may."""
    if _counts(policy):
        return WELL if all(each.ends == WELL for each in plan.inside) else WELL | BADLY
    ends = WELL
    for each in plan.inside:
        if BAD in each.ends and not each.forgiven:
            ends = BADLY if each.ends <= {BAD, NEVER} or ends == BADLY else ends | BADLY
    return _told_of(plan, ends)


def _told_of(plan: Plan, ends: Ends) -> Ends:
    """The ends of what has others inside; one that fails says with which of them."""
    bad = [each.key for each in plan.inside if BAD in each.ends and not each.forgiven]
    if BAD in ends and bad:
        plan.because.append(f"{'may' if GOOD in ends else 'would'} fail with {_and(bad)}")
    return ends


def _by_condition(plan: Plan, when: Template | bool | None, scope: Scope) -> Ends:
    if when is None:
        return WELL
    said = _Said(when, scope)
    if said.error:
        return _fails(plan, said.error)
    if said.later:
        plan.because.append(f"only if {said.later}, {_later(when)}")
        return frozenset((GOOD, SKIP))
    if truth(said.value):
        return WELL
    plan.because.append(f"when {value(when)} does not hold" if isinstance(when, Template) else "when is false")
    return frozenset((SKIP,))


def _later(data: Any) -> str:
    roots = {each.root for template in templates_of(data) for each in template.references}
    return "known for each item" if roots & EACH else "known at run time"


def by_needs(join: Join, needs: Sequence[Plan]) -> tuple[Ends, list[str]]:
    """How a task may end by how its needs may, as the scheduler decides it when these are final; and why. `GOOD`: it may begin."""
    if not needs or join is Join.ALL_DONE:
        return WELL, []
    seen = {frozenset[str]()}
    for each in needs:
        # Who waits for a failure waits for one that nobody knows of yet.
        ends = each.ends | BADLY if join is Join.ONE_FAILED and GOOD in each.ends else each.ends
        marks = {_mark(end, each.forgiven) for end in ends}
        seen = {before | {mark} for before in seen for mark in marks}
    verdicts = frozenset(_VERDICTS[join](marks) for marks in seen)
    if verdicts == WELL:
        return verdicts, []
    if verdicts == {SKIP} and join is not Join.ALL_SUCCESS:
        return verdicts, [f"none of its needs would {'fail' if join is Join.ONE_FAILED else 'succeed'}"]
    if verdicts == {SKIP}:
        return verdicts, [f"{_and([each.key for each in needs if each.ends == {SKIP}])} would be skipped"]
    if verdicts == {NEVER}:
        bad = [each.key for each in needs if {_mark(end, each.forgiven) for end in each.ends} == {BAD}]
        return verdicts, [f"{_and(bad)} would not succeed"]
    if join is Join.ONE_FAILED:
        return verdicts, ["only if one of its needs fails"]
    return verdicts, [f"depends on how {_and([each.key for each in needs if len(each.ends) > 1])} ends"]


FORGIVEN = "forgiven"
"""Of a need: it failed, and others go on."""


def _mark(end: str, forgiven: bool) -> str:
    return end if end in (GOOD, SKIP) else FORGIVEN if forgiven and end == BAD else BAD


_VERDICTS: dict[Join, Callable[[frozenset[str]], str]] = {
    Join.ALL_SUCCESS: lambda marks: NEVER if BAD in marks else SKIP if SKIP in marks else GOOD,
    Join.NONE_FAILED: lambda marks: NEVER if BAD in marks else GOOD,
    Join.ALL_DONE: lambda marks: GOOD,
    Join.ONE_SUCCESS: lambda marks: GOOD if GOOD in marks else NEVER if BAD in marks else SKIP,
    Join.ONE_FAILED: lambda marks: GOOD if marks & {BAD, FORGIVEN} else SKIP,
}
"""What a task comes to by what its needs came to."""


def _and(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:5])
    return shown if len(keys) <= 5 else f"{shown} and {len(keys) - 5} more"


# -- limits


def _limits(task: FlowTask) -> Told:
    found = limits_of(task.policy)
    wants = task.wants
    if wants is not None and wants.cost is not None:
        found["cost"] = value(wants.cost)
    if wants is not None and wants.key is not None:
        found["concurrency_key"] = {"key": value(wants.key), "n": wants.n}
    for each in (task.whole, task.body.policy if isinstance(task.body, Loop) else None):
        if each is not None and each.max_concurrency is not None:
            found["max_concurrency"] = each.max_concurrency
    return found


def limits_of(policy: Policy) -> Told:
    """What a task waits for beside its needs and a slot, and how many of those that it grows run at once."""
    found: Told = {}
    if policy.pool:
        found["pool"] = {name: weight for name, weight, _ in policy.pool}
    if policy.rate_limit:
        found["rate_limit"] = [f"{units}/{interval:g}s" for _, units, interval in policy.rate_limit]
    if policy.cost != 1:
        found["cost"] = policy.cost
    if policy.concurrency_key is not None:
        found["concurrency_key"] = dict(zip(("key", "n"), policy.concurrency_key, strict=True))
    if policy.lock:
        found["lock"] = [name for name, _ in policy.lock]
    if policy.max_concurrency is not None:
        found["max_concurrency"] = policy.max_concurrency
    return found
