"""What groups, branches, cases, rounds and other files grow. What was chosen is on record with what grew, so that a replay chooses nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

from plait._core.graph import Batch
from plait._core.paths import Foreseen
from plait._core.policy import PLAIN, Policy
from plait._core.states import SUCCEEDED
from plait._core.table import Table
from plait._engine.work import Chosen, Growth, Join, Work
from plait.errors import TaskError
from plait.flow.inputs import values_of
from plait.flow.model import Attempts, FlowFile, FlowTask, Group, Jump, Loop, Parallel, Subflow, Switch, groups
from plait.flow.scopes import Around, Scope, around_of
from plait.flow.templates import Template
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
        case Parallel():
            return _branches(make, body, scope)
        case Switch(cases, must):
            for number, case in enumerate(cases):
                if holds(case.when, scope):
                    return make(case.group, scope, {"case": number}).growth()
            if must:
                raise TaskError(must)
            return nothing(make, {"case": None})
        case Jump():
            return nothing(make)
        case Attempts():
            return _Tries(make, task.key, body, scope, table, row).growth(0)
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
            return nothing(make, known) if number is None else make(cases[int(number)].group, scope, known).growth()
        case Loop():
            number = known.get("round")
            rounds = _Rounds(make, task.key, body, scope, table, row, known.get("of", 0), known.get("over", False))
            return rounds.none() if number is None else rounds.growth(int(number))
        case Subflow():
            return _subflow(make, body, scope, known.get("inputs", known))
        case Attempts():
            return _Tries(make, task.key, body, scope, table, row).growth(int(known["try"]))
        case Jump():
            return nothing(make)
    raise AssertionError(f"task {task.key!r} keeps nothing of what it grows")


def again(task: FlowTask, chosen: Chosen) -> dict[str, Any]:
    """What is kept of the growth that an earlier generation chose: of a loop also how many rounds it had."""
    known: dict[str, Any] = chosen.snapshots[0]
    if isinstance(task.body, Loop) and known.get("round") is not None:
        return {"round": 0, "of": len(chosen.snapshots), "over": chosen.over}
    if isinstance(task.body, Attempts):
        return {"try": 0}
    return known


def inside(make: Make, task: FlowTask, scope: Scope, known: Mapping[str, Any] | None) -> tuple[Work, Join] | None:
    """The calls of what it grows, as far as types are declared there: nothing is worked out."""
    body = task.body
    match body:
        case Group():
            return _with_join(make(body, scope))
        case Parallel(branches):
            return _Blocks(make, list(branches.values()), [scope] * len(branches)), _joined(body, scope)
        case Attempts(group):
            return _Blocks(make, [group], [scope]), _last_try
        case Jump():
            return _Blocks(make, [], []), _no_value
        case Switch(cases):
            number = None if known is None else known["case"]
            if number is None or int(number) >= len(cases):
                return _Blocks(make, [], []), _no_value
            return _with_join(make(cases[int(number)].group, scope))
        case Loop(group):
            return _Blocks(make, [group], [scope]), _last_round
        case Subflow(flow):
            return _with_join(_tasks_of(make, flow, scope, None))
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
        case Parallel():
            return Foreseen(_branches(make, body, scope).batch, many=False)
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


def nothing(make: Make, known: Any = None) -> Growth:
    """No tasks, and null."""
    return Growth(_Blocks(make, [], [], known=known).batch(), _no_value)


def _no_value(table: Table, rows: range) -> None:
    return None


# -- parallel


def _branches(make: Make, body: Parallel, scope: Scope) -> Growth:
    branches = body.branches
    work = _Blocks(make, list(branches.values()), [scope.at_branch(at) for at in range(len(branches))])
    return Growth(work.batch([f"[{name}]" for name in branches]), _joined(body, scope))


def _joined(body: Parallel, scope: Scope) -> Join:
    """What the results of branches come to, as `merge` has it."""

    def merged(table: Table, rows: range) -> Any:
        results = join_items(table, rows)
        if body.first:
            policy = table.policies[table.parent(rows.start)]
            wanted = policy.min_success if isinstance(policy.min_success, int) else len(rows)
            won = [row for row in rows if table.status[row] == SUCCEEDED]
            won = sorted(sorted(won, key=lambda row: table.ended_at[row])[:wanted])
            results = [table.values[row] for row in won]
        if body.merge == "array":
            return results
        from plait.flow.script.merging import merge  # only FlowScript has others

        return merge(body.merge, results, scope)

    return merged


# -- foreach with a break


def ended_at(task: FlowTask) -> Callable[[Table, range], int] | None:
    """Of a foreach with a `break` in it: which item said so, the first of those that did; None where there is none to say it."""
    layout = task.body.layout if isinstance(task.body, Group) else None
    if task.foreach is None or layout is None or not layout.jumps:
        return None
    from plait.flow.script.scope import jump_at

    known: dict[int, bool] = {}

    def first(table: Table, rows: range) -> int:
        for at, row in enumerate(rows):
            if at not in known:
                if table.status[row] != SUCCEEDED:
                    continue  # nothing can be said of it yet
                jump = jump_at(table, row, layout.nodes, f"[{at}]")
                known[at] = jump is not None and (jump.ends or jump.loop != task.key)
            if known[at]:
                return at
        return len(rows)

    return first


# -- tries


class _Tries:
    """A block that is tried again where it fails: each try is a group of its own, that has nothing of the one before."""

    def __init__(self, make: Make, key: str, body: Attempts, scope: Scope, table: Table, row: int) -> None:
        self._make = make
        self._key = key
        self._body = body
        if body.late:
            from plait.flow.script.options import with_options  # only FlowScript has templates there

            values = {name: template.value(scope) for name, template in body.late.items()}
            self._body = replace(body, retry=with_options(body.policy.but(retry=body.retry), values, key).retry)
        self._scope = scope
        self._table = table
        self._row = row

    def growth(self, number: int) -> Growth:
        """Try `number`, from 0; before a later one there is a pause."""
        known = {"try": number}
        if number:
            from plait.flow.script.tries import pause

            groups = [pause(self._body.retry, number, self._error(number - 1)), self._body.group]
            work = _Blocks(self._make, groups, [self._scope] * 2, self._body.policy, known)
            batch = work.batch([f"pause[{number}]", f"[{number}]"])
            batch.needs = [(), (0,)]
        else:
            batch = _Blocks(self._make, [self._body.group], [self._scope], self._body.policy, known).batch(["[0]"])
        return Growth(batch, self._value, again=lambda table, rows: self._next(number))

    def _next(self, done: int) -> Growth | None:
        from plait.flow.script.tries import is_wanted

        error = self._error(done)
        wanted = error is not None and is_wanted(self._body, done + 1, error, self._scope)
        return self.growth(done + 1) if wanted else None

    def _error(self, number: int) -> BaseException | None:
        """What try `number` failed of."""
        return self._table.errors.get(self._row_of()[number])

    def _row_of(self) -> list[int]:
        grown = [rows for rows in self._table.grown(self._row) if rows.start != self._table.repairs.get(self._row)]
        return [rows.stop - 1 for rows in grown]

    def _value(self, table: Table, rows: range) -> Any:
        last = self._row_of()[-1]
        if table.status[last] == SUCCEEDED:
            return table.values[last]
        error = table.errors.get(last)
        raise error if error is not None else TaskError(f"the last try of {self._key!r} did not succeed")


def _last_try(table: Table, rows: range) -> Any:
    """The value of a block that was tried several times."""
    return _last_round(table, range(rows.stop - 1, rows.stop)) if rows else None


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
        return nothing(self._make, {"round": None})

    def growth(self, number: int) -> Growth:
        """Round `number`, from 0."""
        last = self._row_of(number - 1)
        previous = None if last is None else self._table.values[last]
        scope = self._scope.at_round(number, previous, self._table, self._row)
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
        if self._left(done):
            return None
        if loop.until is not None and self._holds(loop.until, done):
            return None
        number = done + 1
        most = loop.most if isinstance(loop.most, int) else self._most(loop.most)
        if loop.condition is None:
            return self.growth(number) if number < most else None
        if not self._goes_on(number):
            return None
        if number >= most:
            raise TaskError(
                f"the condition of `while` of task {self._key!r} still holds after {most} rounds: give it a larger `max`, or look at what it waits for"
            )
        return self.growth(number)

    def _most(self, most: Template) -> int:
        from plait.flow.script.options import rounds  # only FlowScript has templates there

        return rounds(most.value(self._scope), self._key)

    def _left(self, done: int) -> bool:
        """Was the loop left in round `done`, by a `break`, or by a jump to a loop around it?"""
        layout = self._loop.group.layout
        row = self._row_of(done)
        if layout is None or not layout.jumps or row is None:
            return False
        from plait.flow.script.scope import jump_at

        jump = jump_at(self._table, row, layout.nodes, f"[{done}]")
        return jump is not None and (jump.ends or jump.loop != self._key)

    def _goes_on(self, number: int) -> bool:
        """Does the condition hold before round `number`? A loop without one has a first round."""
        return self._loop.condition is None or self._holds(self._loop.condition, number - 1)

    def _holds(self, condition: Any, last: int) -> bool:
        """A condition, with the tasks of round `last` in sight; before there is one they are null."""
        row = self._row_of(last)
        rows = [] if row is None else self._table.grown(row)
        number = last + 1 if condition is self._loop.condition else last
        value = None if row is None else self._table.values[row]
        table, first = (self._table, rows[0].start) if rows else (None, 0)
        loop = (self._row, last + 1)
        return holds(condition, self._scope.at_end(table, first, self._loop.group, number, value, loop))

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
    if flow.group.layout is not None:
        from plait.flow.script.calls import tasks_of

        return tasks_of(make, flow, scope, inputs)
    around, later = scope.around, frozenset[str]()
    if inputs is None:
        inner, later = Around({}, {}, around.functions, around.run), frozenset(("inputs", "env"))
    else:
        inner = around_of(flow, inputs, around.functions, around.vault, around.run)
    known = None if inputs is None else {"inputs": dict(inputs)}
    return make(flow.group, Scope(inner, later), known)


def _subflow(make: Make, body: Subflow, scope: Scope, known: Mapping[str, Any] | None = None) -> Growth:
    flow = body.flow
    if flow.group.layout is not None:
        from plait.flow.script.calls import grown_file

        return grown_file(make, body, scope, known)
    if known is None:
        given = detached(filled(dict(body.arguments), scope))
        known = values_of(flow.path, flow.inputs, given, "give it under `with:`")
    work = _tasks_of(make, flow, scope, known)
    return Growth(work.batch(), work.join)
