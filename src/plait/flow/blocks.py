"""What groups, branches, cases, rounds and other files grow. What was chosen is on record with what grew, so that a replay chooses nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from plait._core.graph import Batch
from plait._core.paths import Foreseen
from plait._core.policy import PLAIN, Policy
from plait._core.states import SUCCEEDED
from plait._core.table import Table
from plait._engine.work import Chosen, Growth, Join, Work
from plait.errors import TaskError
from plait.flow.inputs import values_of
from plait.flow.model import FlowFile, FlowTask, Group, Loop, Parallel, Subflow, Switch, groups
from plait.flow.scopes import Around, Scope
from plait.flow.values import detached, filled, holds, join_items


class GroupWork(Protocol):
    """The tasks of a group as calls."""

    def batch(self) -> Batch: ...
    def growth(self) -> Growth: ...
    def join(self, table: Table, rows: range) -> dict[str, Any]: ...
    def scope(self, table: Table, first: int) -> Scope: ...


class Make(Protocol):
    """Makes the calls of a group, seen from a scope; `known` is kept with them."""

    def __call__(self, group: Group, scope: Scope, known: Any = None) -> GroupWork: ...


def grown(make: Make, task: FlowTask, scope: Scope, table: Table, row: int) -> Growth:
    """What a control task grows first, with its names as they stand for it."""
    body = task.body
    match body:
        case Group():
            return make(body, scope).growth()
        case Parallel(branches):
            return _branches(make, branches, scope)
        case Switch(cases):
            for number, case in enumerate(cases):
                if holds(case.when, scope):
                    return make(case.group, scope, {"case": number}).growth()
            return _nothing(make, {"case": None})
        case Loop():
            return _Rounds(make, task.key, body, scope, table, row).first()
        case Subflow():
            return _subflow(make, body, scope)
    raise AssertionError(f"task {task.key!r} grows nothing")


def regrown(make: Make, task: FlowTask, scope: Scope, known: Mapping[str, Any], table: Table, row: int) -> Growth:
    """What it had grown in an earlier process, by what is on record of it: nothing is worked out again."""
    body = task.body
    match body:
        case Switch(cases):
            number = known.get("case")
            return _nothing(make, known) if number is None else make(cases[int(number)].group, scope, known).growth()
        case Loop():
            number = known.get("round")
            rounds = _Rounds(make, task.key, body, scope, table, row, known.get("of", 0), known.get("over", False))
            return rounds.none() if number is None else rounds.growth(int(number))
        case Subflow():
            return _subflow(make, body, scope, known["inputs"])
    raise AssertionError(f"task {task.key!r} keeps nothing of what it grows")


def again(task: FlowTask, chosen: Chosen) -> dict[str, Any]:
    """What is kept of the growth that an earlier generation chose: of a loop also how many rounds it had."""
    known: dict[str, Any] = chosen.snapshots[0]
    if isinstance(task.body, Loop) and known:
        return {"round": 0, "of": len(chosen.snapshots), "over": chosen.over}
    return known


def inside(make: Make, task: FlowTask, scope: Scope, known: Mapping[str, Any] | None) -> tuple[Work, Join] | None:
    """The calls of what it grows, as far as types are declared there: nothing is worked out."""
    body = task.body
    match body:
        case Group():
            return _with_join(make(body, scope))
        case Parallel(branches):
            return _Blocks(make, list(branches.values()), [scope] * len(branches)), join_items
        case Switch(cases):
            number = None if known is None else known["case"]
            if number is None or int(number) >= len(cases):
                return _Blocks(make, [], []), _no_value
            return _with_join(make(cases[int(number)].group, scope))
        case Loop(group):
            return _Blocks(make, [group], [scope]), _last_round
        case Subflow(flow):
            work = _tasks_of(make, flow, scope, None)
            return cast(Work, work), lambda table, rows: _outputs(flow, work, table, rows)
    return None


def foreseen(make: Make, task: FlowTask, scope: Scope) -> Foreseen | None:
    """What it will grow, as far as that is known before."""
    body = task.body
    match body:
        case Group():
            return Foreseen(make(body, scope).batch(), many=False)
        case Switch():
            # Only one of them runs: in a row they are in nobody's way.
            return Foreseen(_in_a_row(make, groups(body), scope), many=False)
        case Loop(group):
            around = scope.at(frozenset(("previous", "index")))
            return Foreseen(_Blocks(make, [group], [around]).batch(), many=False)
        case Parallel(branches):
            return Foreseen(_branches(make, branches, scope).batch, many=False)
        case Subflow(flow):
            return Foreseen(_tasks_of(make, flow, scope, None).batch(), many=False)
    return None


def _with_join(work: GroupWork) -> tuple[Work, Join]:
    return cast(Work, work), work.join


class _Blocks(Work):
    """Groups as tasks that grow: the branches of a block, or one round of a loop."""

    def __init__(
        self, make: Make, blocks: Sequence[Group], scopes: Sequence[Scope], policy: Policy = PLAIN, known: Any = None
    ) -> None:
        self._make = make
        self._blocks = blocks
        self._scopes = scopes
        self._known = known
        self.policy = policy

    def batch(self, keys: Sequence[str] | None = None) -> Batch:
        size = len(self._blocks)
        return Batch(
            size,
            calls=self,  # type: ignore[arg-type]
            keys=[f"[{at}]" for at in range(size)] if keys is None else keys,
            policy=self.policy,
            controls=range(size),
        )

    def children(self, place: int, table: Table, first: int) -> Growth:
        return self._make(self._blocks[place], self._scopes[place]).growth()

    def snapshot(self) -> Any:
        return self._known

    def shape(self, place: int) -> Foreseen | None:
        group = self._blocks[place]
        if not any(task.names_files for task in group.all):
            return None
        return Foreseen(self._make(group, self._scopes[place]).batch(), many=False)

    def inside(self, place: int, snapshot: Any = None) -> tuple[Work, Join] | None:
        if place >= len(self._blocks):
            return None
        return _with_join(self._make(self._blocks[place], self._scopes[place]))

    def identities(self) -> Sequence[str] | str:
        return [f"[{at}]" for at in range(len(self._blocks))]


def _nothing(make: Make, known: Any) -> Growth:
    """No tasks, and null."""
    return Growth(_Blocks(make, [], [], known=known).batch(), _no_value)


def _no_value(table: Table, rows: range) -> None:
    return None


# -- parallel


def _branches(make: Make, branches: Mapping[str, Group], scope: Scope) -> Growth:
    work = _Blocks(make, list(branches.values()), [scope] * len(branches))
    return Growth(work.batch([f"[{name}]" for name in branches]), join_items)


# -- switch


def _in_a_row(make: Make, blocks: Sequence[Group], scope: Scope) -> Batch:
    batch = _Blocks(make, blocks, [scope] * len(blocks)).batch()
    batch.needs = [(at - 1,) if at else () for at in range(batch.size)]
    return batch


# -- loop and while


class _Rounds:
    """The rounds of a loop: each is a task of its own that grows the group, and sees what the one before it gave."""

    def __init__(
        self, make: Make, key: str, loop: Loop, scope: Scope, table: Table, row: int, of: int = 0, over: bool = False
    ) -> None:
        self._chosen = of  # so many rounds it had in an earlier generation of the run
        self._over = over  # and no more
        self._make = make
        self._key = key
        self._loop = loop
        self._scope = scope
        self._table = table
        self._row = row

    def first(self) -> Growth:
        return self.growth(0) if self._goes_on(0) else self.none()

    def none(self) -> Growth:
        """Not even one round."""
        return _nothing(self._make, {"round": None})

    def growth(self, number: int) -> Growth:
        """Round `number`, from 0."""
        last = self._row_of(number - 1)
        previous = None if last is None else self._table.values[last]
        scope = self._scope.at(index=number, previous=previous)
        known = {"round": number}
        if number + 1 < self._chosen or (self._over and number + 1 == self._chosen):
            known |= {"of": self._chosen, "over": self._over}
        work = _Blocks(self._make, [self._loop.group], [scope], self._loop.policy, known)
        return Growth(work.batch([f"[{number}]"]), _last_round, again=lambda table, rows: self._next(number))

    def _next(self, done: int) -> Growth | None:
        """What comes behind round `done`, if anything does.

        Raises:
            TaskError: for a `while` that would have more rounds than it may.
        """
        loop = self._loop
        if done + 1 < self._chosen:
            return self.growth(done + 1)
        if done + 1 == self._chosen and self._over:
            return None
        if loop.until is not None and self._holds(loop.until, done):
            return None
        number = done + 1
        if loop.condition is None:
            return self.growth(number) if number < loop.most else None
        if not self._goes_on(number):
            return None
        if number >= loop.most:
            raise TaskError(
                f"the condition of `while` of task {self._key!r} still holds after {loop.most} rounds: give it a larger `max`, or look at what it waits for"
            )
        return self.growth(number)

    def _goes_on(self, number: int) -> bool:
        """Does the condition hold before round `number`? A loop without one has a first round."""
        return self._loop.condition is None or self._holds(self._loop.condition, number - 1)

    def _holds(self, condition: Any, last: int) -> bool:
        """A condition, with the tasks of round `last` in sight; before there is one they are null."""
        row = self._row_of(last)
        rows = [] if row is None else self._table.grown(row)
        place = {key: at for at, key in enumerate((*self._loop.group.tasks, *self._loop.group.cleanups))}
        scope = self._scope.at(index=last + 1 if condition is self._loop.condition else last)
        if rows:
            return holds(condition, scope.inside(self._table, rows[0].start, place))
        return holds(condition, scope.inside(None, 0, place))

    def _row_of(self, number: int) -> int | None:
        rounds = [rows for rows in self._table.grown(self._row) if rows.start != self._table.repairs.get(self._row)]
        return rounds[number].start if 0 <= number < len(rounds) else None


def _last_round(table: Table, rows: range) -> Any:
    if not rows:
        return None
    parent = table.parent(rows.start)
    last = [each for each in table.grown(parent) if each.start != table.repairs.get(parent)][-1].start
    return table.values[last] if table.status[last] == SUCCEEDED else None


# -- flow


def _tasks_of(make: Make, flow: FlowFile, scope: Scope, inputs: Mapping[str, Any] | None) -> GroupWork:
    """The tasks of another file, which see nothing of this one. Without inputs: to look at, before anything runs."""
    around, later = scope.around, frozenset[str]()
    if inputs is None:
        inner, later = Around({}, {}, around.functions, around.run), frozenset(("inputs", "env"))
    else:
        before = Scope(Around(inputs, {}, {}))
        env = {name: template.text(before) for name, template in flow.env.items()}
        inner = Around(inputs, env, around.functions, around.run)
    known = None if inputs is None else {"inputs": dict(inputs)}
    return make(Group(flow.tasks, flow.cleanups), Scope(inner, later), known)


def _subflow(make: Make, body: Subflow, scope: Scope, known: Mapping[str, Any] | None = None) -> Growth:
    flow = body.flow
    if known is None:
        given = detached(filled(dict(body.arguments), scope))
        known = values_of(flow.path, flow.inputs, given, "give it under `with:`")
    work = _tasks_of(make, flow, scope, known)
    return Growth(work.batch(), lambda table, rows: _outputs(flow, work, table, rows))


def _outputs(flow: FlowFile, work: GroupWork, table: Table, rows: range) -> Any:
    """The value of another file: its outputs; where it says none, the outputs of its tasks."""
    if not flow.outputs:
        return work.join(table, rows)
    scope = work.scope(table, rows.start)
    return {name: template.value(scope) for name, template in flow.outputs.items()}
