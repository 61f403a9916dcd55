"""The tasks of a checked file as calls of a run: groups, foreach and all other control are tasks that grow, nothing else is new."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from plait._core.graph import REPAIR, Batch
from plait._core.paths import MOST_FORESEEN, Foreseen, Where
from plait._core.policy import Policy
from plait._core.states import SKIPPED, SUCCEEDED
from plait._core.table import Table, Try
from plait._engine.work import Call, Chosen, Growth, Join, RawFiles, Regrowth, Wanted, Work
from plait.calls.shell import ShellCommand
from plait.errors import RetryAfter, TaskError, UsageError
from plait.executors.base import executor_for
from plait.expressions import Budget
from plait.fingerprints import declared_type
from plait.flow import blocks
from plait.flow.keys import MOST_ITEMS
from plait.flow.matrices import combinations, name_of
from plait.flow.model import (
    CONTROLS,
    Argv,
    Ask,
    Assign,
    Delay,
    FlowTask,
    Gate,
    Group,
    Http,
    Layout,
    Matrix,
    NodeCall,
    PythonCall,
    Script,
)  # fmt: skip
from plait.flow.scopes import Around, Scope
from plait.flow.templates import Template, holds_template, templates_of
from plait.flow.values import detached, filled, holds, join_items, shown

MOST_TASKS = 1_000_000
"""Tasks of one run of a file, those that others grow included."""

STEPS_AN_ITEM = 30
"""Of expressions that are worked out for many tasks at once, so many steps more for each."""

LEFT = "left"
"""On record of an item that grew nothing: the place of the one before it that had said `break`. Whether it had depends on who was faster."""

EACH = frozenset(("item", "index", "matrix"))


class Tasks(Work):
    """The tasks of a file or of a group, behind them those that clean up."""

    def __init__(
        self,
        tasks: Mapping[str, FlowTask],
        around: Scope,
        cleanups: Mapping[str, FlowTask] | None = None,
        known: Any = None,
        layout: Layout | None = None,
        outputs: Mapping[str, Template] | Template | None = None,
    ) -> None:
        self._outputs = outputs
        self._known = known  # what is kept of how they came to be
        self._layout = layout
        self._tasks = [*tasks.values(), *(cleanups or {}).values()]
        self._around = around
        self.place = {key: at for at, key in enumerate((*tasks, *(cleanups or ())))}
        self.members = len(tasks)
        self._suspects: Container[type] = ()
        self._paths: dict[int, RawFiles | None] = {}
        self._budget = Budget(STEPS_AN_ITEM * len(self._tasks))
        if any(isinstance(task.body, Ask) and task.body.revises for task in self._tasks):
            from plait.approving import Revised  # few files ask

            self._suspects = frozenset((Revised,))
        if layout is not None and layout.gates:
            from plait.flow.script.gates import SentBack

            self._suspects = frozenset((SentBack,))
        self.filed = [
            at
            for at, task in enumerate(self._tasks)
            if task.wants is not None and task.wants.names_files and task.foreach is None
        ]

    def join(self, table: Table, rows: range) -> Any:
        """The value of a group of these tasks: by their keys, or what it says; in FlowScript that of the one that was executed last."""
        if self._layout is not None:
            return last_output(self._tasks, table, rows)
        if self._outputs is not None:
            scope = self.scope(table, rows.start)
            return scope.around.hidden(outputs_of(self._outputs, scope))
        return {
            key: table.values[rows.start + at] if table.status[rows.start + at] == SUCCEEDED else None
            for key, at in self.place.items()
            if at < self.members
        }

    def batch(self) -> Batch:
        """The tasks as they enter a run."""
        needs = [tuple(self.place[need] for need in task.needs if need in self.place) for task in self._tasks]
        return Batch(
            len(self._tasks),
            calls=self,  # type: ignore[arg-type]
            keys=list(self.place),
            needs=needs if any(needs) else None,
            policies=[self._policy(task) for task in self._tasks],
            controls=[at for at, task in enumerate(self._tasks) if task.is_control],
            conditional=[
                at
                for at, task in enumerate(self._tasks)
                if task.when is not None
                or (task.wants is not None and task.foreach is None and self._decides(at))
                or (self._layout is not None and at > self._layout.first_exit)
            ],
            cleanups=range(self.members, len(self._tasks)),
            repairs=[at for at, task in enumerate(self._tasks) if task.on_error is not None and task.foreach is None],
        )

    def _policy(self, task: FlowTask) -> Policy:
        policy = task.whole if task.whole is not None else task.policy
        return tuned(policy, task, self._around) if task.late else policy

    def growth(self) -> Growth:
        """The tasks as what a group grows."""
        return Growth(self.batch(), self.join)

    def snapshot(self) -> Any:
        return self._known

    @property
    def around(self) -> Around:
        """What the tasks of the file share."""
        return self._around.around

    def begins(self, run_id: str, name: str) -> None:
        run = self._around.around.run
        run["id"] = run_id
        if self._layout is None:
            run["name"] = name

    def _decides(self, place: int) -> bool:
        """Is something of the task worked out once its needs are met?"""
        wants = self._tasks[place].wants
        return wants is not None and (wants.decides or (wants.names_files and self.files(place) is None))

    def files(self, place: int) -> RawFiles | None:
        if place not in self._paths:  # asked by all who look ahead
            self._paths[place] = _files(self._tasks[place], self._around.sharing(self._budget), self.place)
        return self._paths[place]

    def where(self, place: int) -> Where:
        return self._tasks[place].where

    def stands(self, place: int) -> Where:
        return self._tasks[place].stands

    def shape(self, place: int) -> Foreseen | None:
        task = self._tasks[place]
        if not task.names_files:
            return None
        if task.foreach is None:
            return blocks.foreseen(_made, task, self._around)
        items = known_items(task.foreach)
        if items is not None and len(items) <= MOST_FORESEEN:
            return Foreseen(Items(task, items, self._around).shaped(), many=False)
        return Foreseen(Items(task, [None], self._around.at(EACH)).shaped(), many=True)

    def shape_of_repair(self, place: int) -> Foreseen | None:
        return _shape_of_repair(self._tasks[place], self._around)

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        return _grow_repair(self._tasks[place], failure, self._at(place, table, first))

    def scope(self, table: Table, first: int) -> Scope:
        """What names stand for in these tasks, the first of which is in row `first`."""
        return self._around.inside(table, first, self.place)

    def _at(self, place: int, table: Table, first: int) -> Scope:
        """The same, for one of them."""
        return self.scope(table, first).standing(place, self._tasks[place])

    @property
    def suspects(self) -> Container[type]:  # type: ignore[override]
        return self._suspects

    def check(self, place: int, value: Any, table: Table, first: int) -> Growth | None:
        match type(value).__name__:
            case "Revised":
                return self._revision(place, value.feedback, table, first)
            case "SentBack":
                return self._sent_back(place, value.goto, table, first)
        return None

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        known, task = regrowth.snapshot, self._tasks[place]
        if known is None:
            return self.children(place, table, first)
        if "feedback" in known:
            return self._revision(place, str(known["feedback"]), table, first)
        if "goto" in known:
            return self._sent_back(place, str(known["goto"]), table, first)
        return self._grown_again(task, known, table, first + place, first)

    def grown_again(self, place: int, table: Table, first: int, chosen: Chosen) -> Growth:
        task = self._tasks[place]
        known = chosen.snapshots[0]
        if task.foreach is None and known is not None:
            known = blocks.again(task, chosen)
        if known is None:
            return self.children(place, table, first)
        return self._grown_again(task, known, table, first + place, first)

    def _grown_again(self, task: FlowTask, known: Mapping[str, Any], table: Table, row: int, first: int) -> Growth:
        scope = self._at(row - first, table, first)
        if task.foreach is not None:
            return Items(task, list(known.get("items", ())), scope, list(known.get("keys", ()))).growth()
        return blocks.regrown(_made, task, scope, known, table, row)

    def _revision(self, place: int, feedback: str, table: Table, first: int) -> Growth:
        """What an approval wants done again, and behind it the approval of that."""
        task, known = self._tasks[place], {each.key: each for each in self._tasks}
        body = task.body
        assert isinstance(body, Ask)
        again = {key: known[key] for key in body.revises}
        again[task.key] = replace(task, when=None, body=replace(body, rounds=body.rounds - 1))
        work = Tasks(again, self.scope(table, first).at_feedback(feedback), known={"feedback": feedback})

        def approved(table: Table, rows: range) -> Any:
            row = rows.start + len(body.revises)
            if table.status[row] != SUCCEEDED:
                raise TaskError(f"what {task.key!r} wanted done again was not done, so nobody approved it")
            return table.values[row]

        return Growth(work.batch(), approved)

    def _sent_back(self, place: int, goto: str, table: Table, first: int) -> Growth:
        """What a checkpoint wants run again: the siblings from `goto` on, and behind them the checkpoint itself."""
        layout = self._layout
        assert layout is not None
        start = self.place[goto]
        again = {task.key: task for task in self._tasks[start : place + 1]}
        scope = self._at(place, table, first).of(Group(again, layout=layout.part(start, place + 1)))
        scope.round += 1
        work = Tasks(again, scope, known={"goto": goto}, layout=layout.part(start, place + 1))

        def answered(table: Table, rows: range) -> Any:
            return table.values[rows.stop - 1]

        return Growth(work.batch(), answered)

    def call(self, place: int, table: Table, first: int) -> Call:
        task = self._tasks[place]
        if isinstance(task.body, Delay):
            return delay_of(task.body, self._at(place, table, first), table, first + place)
        return _call(task, self._at(place, table, first))

    def decide(self, place: int, table: Table, first: int) -> bool:
        scope = self._at(place, table, first)
        if self._layout is not None and (scope.jumped() or scope.passed_over()):
            return False
        return holds(self._tasks[place].when, scope)

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        task = self._tasks[place]
        return None if task.foreach is not None else _wanted(task, self._at(place, table, first))

    def children(self, place: int, table: Table, first: int) -> Growth:
        task = self._tasks[place]
        scope = self._at(place, table, first)
        if task.foreach is None:
            return _with_room(task, blocks.grown(_made, task, scope, table, first + place), table)
        return _with_room(task, Items(task, items_of(task, task.foreach, scope), scope).growth(), table)

    def declared(self, place: int) -> Any:
        return _declared(self._tasks[place], self._around)

    def inside(self, place: int, snapshot: Any = None) -> tuple[Work, Join] | None:
        task = self._tasks[place]
        if task.foreach is not None:
            items = Items(task, [], self._around)
            return items, items.join
        return blocks.inside(_made, task, self._around, snapshot)

    def identities(self) -> list[str]:
        return [task.key for task in self._tasks]


def _with_room(task: FlowTask, growth: Growth, table: Table) -> Growth:
    """A growth, if so many more tasks may be grown: a foreach in a foreach asks for a great many with a few words.

    Raises:
        UsageError: otherwise.
    """
    number = growth.batch.size
    if table.size + number > MOST_TASKS:
        raise UsageError(
            f"task {task.key!r} would grow {number:,} tasks, and this run has {table.size:,}; at most {MOST_TASKS:,} are allowed"
        )
    return growth


def _made(group: Group, scope: Scope, known: Any = None) -> Tasks:
    return Tasks(group.tasks, scope.of(group), group.cleanups, known, group.layout, group.outputs)


def outputs_of(outputs: Mapping[str, Template] | Template, scope: Scope) -> Any:
    """What a run or a group gives, as it says."""
    if isinstance(outputs, Template):
        return outputs.value(scope)
    return {name: template.value(scope) for name, template in outputs.items()}


def last_output(tasks: Sequence[FlowTask], table: Table, rows: range) -> Any:
    """The output of the node that was executed last, in the order of the file; null where none was, or that one failed as it may."""
    for row, task in zip(reversed(rows), reversed(tasks), strict=True):
        if table.status[row] != SKIPPED and not task.passes_on:
            return table.values[row] if table.status[row] == SUCCEEDED else None
    return None


def tuned(policy: Policy, task: FlowTask, scope: Scope) -> Policy:
    """A policy, with the options that are templates worked out.

    Raises:
        UsageError: for what cannot be such an option.
    """
    from plait.flow.script.options import with_options  # only FlowScript has them

    return with_options(policy, {name: template.value(scope) for name, template in task.late.items()}, task.key)


class Items(Work):
    """The items of a foreach, or the combinations of a matrix: the same task, once for each."""

    def __init__(self, task: FlowTask, items: list[Any], scope: Scope, keys: list[str] | None = None) -> None:
        self._task = task
        self._items = items
        self._scope = scope
        self._named = keys
        self.policy = task.policy
        self._budget = Budget(STEPS_AN_ITEM * len(items))
        self._ended = blocks.ended_at(task)
        self.filed = range(len(items)) if task.wants is not None and task.wants.names_files else ()

    def growth(self) -> Growth:
        return Growth(self._batch(self._keys()), self.join)

    def join(self, table: Table, rows: range) -> list[Any]:
        """What the items gave, up to the one that said `break`."""
        if self._ended is None or not rows:
            return join_items(table, rows)
        return join_items(table, rows[: self._ended(table, rows) + 1])

    def snapshot(self) -> Any:
        """Items that asked for the time, or for chance, are kept: they would be others now."""
        task = self._task
        given = task.foreach.axes if isinstance(task.foreach, Matrix) else task.foreach
        pure = all(each.is_pure for each in templates_of(given)) and (task.item_key is None or task.item_key.is_pure)
        return None if pure else {"items": self._items, "keys": self._keys()}

    def shaped(self) -> Batch:
        """The items before they grow; one stands for all where they are not known."""
        if not self._scope.knows("item", ()):
            return self._batch(["[...]"])
        keys = [f"[{at}]" for at in range(len(self._items))]
        named = self._task.item_key
        if named is None or known((named,), self._scope, ()):
            with contextlib.suppress(UsageError):  # that is told when they grow
                keys = self._keys()
        return self._batch(keys)

    def _batch(self, keys: Sequence[str]) -> Batch:
        size = len(keys)
        return Batch(
            size,
            calls=self,  # type: ignore[arg-type]
            keys=keys,
            policy=self._task.policy,
            conditional=range(size) if self._task.wants is not None and self._task.wants.decides else (),
            controls=range(size) if isinstance(self._task.body, CONTROLS) else (),
            repairs=range(size) if self._task.on_error is not None else (),
        )

    def _at(self, place: int) -> Scope:
        """What names stand for in one item; of those that an earlier process had, and that are not known, it is null."""
        item = self._items[place] if place < len(self._items) else None
        return self._scope.at_item(self._task, item, place)

    def files(self, place: int) -> RawFiles | None:
        return _files(self._task, self._at(place).sharing(self._budget), ())

    def where(self, place: int) -> Where:
        return self._task.where

    def stands(self, place: int) -> Where:
        return self._task.stands

    def shape(self, place: int) -> Foreseen | None:
        if not any(task.names_files for task in self._task.inner):
            return None
        return blocks.foreseen(_made, self._task, self._at(place))

    def shape_of_repair(self, place: int) -> Foreseen | None:
        return _shape_of_repair(self._task, self._at(place))

    def _keys(self) -> list[str]:
        if self._named is not None:
            return self._named
        task = self._task
        of = "matrix" if isinstance(task.foreach, Matrix) else "foreach"
        if task.item_key is not None:
            budget = Budget(STEPS_AN_ITEM * len(self._items))
            keys = [task.item_key.text(self._at(place).sharing(budget)) for place in range(len(self._items))]
        elif isinstance(task.foreach, Matrix):
            keys = [name_of(each) for each in self._items]
            if len(set(keys)) < len(keys) or not all(map(_can_name, keys)):
                keys = list(map(str, range(len(keys))))
        else:
            return [f"[{at}]" for at in range(len(self._items))]
        seen: set[str] = set()
        for key in keys:
            if not _can_name(key):
                raise UsageError(f"{of} of task {task.key!r} gives the key {key[:60]!r}, which cannot name a task")
            if key in seen:
                raise UsageError(
                    f"{of} of task {task.key!r} gives the key {key!r} twice: leave `key` out to number the items"
                )
            seen.add(key)
        return [f"[{key}]" for key in keys]

    def call(self, place: int, table: Table, first: int) -> Call:
        return _call(self._task, self._at(place))

    def decide(self, place: int, table: Table, first: int) -> bool:
        return True

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        return _wanted(self._task, self._at(place))

    def children(self, place: int, table: Table, first: int) -> Growth:
        if self._ended is not None and (end := self._ended(table, range(first, first + len(self._items)))) < place:
            return blocks.nothing(_made, {LEFT: end})
        return self._grown(place, table, first)

    def _grown(self, place: int, table: Table, first: int) -> Growth:
        return _with_room(self._task, blocks.grown(_made, self._task, self._at(place), table, first + place), table)

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        if regrowth.snapshot is None:
            return self._grown(place, table, first)
        if LEFT in regrowth.snapshot:
            return blocks.nothing(_made, regrowth.snapshot)
        return blocks.regrown(_made, self._task, self._at(place), regrowth.snapshot, table, first + place)

    def grown_again(self, place: int, table: Table, first: int, chosen: Chosen) -> Growth:
        snapshot = chosen.snapshots[0]
        if snapshot is not None and LEFT in snapshot and chosen.stands(snapshot[LEFT]):
            return blocks.nothing(_made, snapshot)
        if snapshot is None or LEFT in snapshot:
            return self.children(place, table, first)
        known = blocks.again(self._task, chosen)
        return blocks.regrown(_made, self._task, self._at(place), known, table, first + place)

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        return _grow_repair(self._task, failure, self._at(place))

    def declared(self, place: int) -> Any:
        return _declared(self._task, self._scope)

    def inside(self, place: int, snapshot: Any = None) -> tuple[Work, Join] | None:
        return blocks.inside(_made, self._task, self._scope, snapshot)

    def identities(self) -> str:
        return f"{self._task.key}[]"


def _can_name(key: str) -> bool:
    return 0 < len(key) <= 200 and key.isprintable()


def known_items(foreach: Template | list[Any] | Matrix | None) -> list[Any] | None:
    """The items, where the file says them all."""
    if isinstance(foreach, Matrix):
        axes = {name: values for name, values in foreach.axes.items() if isinstance(values, list)}
        if len(axes) < len(foreach.axes) or prod(map(len, axes.values())) > MOST_FORESEEN:
            return None
        if any(map(holds_template, (*axes.values(), foreach.include, foreach.exclude))):
            return None
        return combinations(axes, foreach.include, foreach.exclude, MOST_ITEMS)
    return foreach if isinstance(foreach, list) and not holds_template(foreach) else None


def items_of(task: FlowTask, foreach: Template | list[Any] | Matrix, scope: Scope) -> list[Any]:
    """The items of a task, worked out.

    Raises:
        UsageError: where they are no list, or too many.
    """
    if isinstance(foreach, Matrix):
        axes = {name: filled(each, scope) for name, each in foreach.axes.items()}
        for name, values in axes.items():
            if not isinstance(values, (list, tuple)):
                raise UsageError(
                    f"axis {name!r} of the matrix of task {task.key!r} needs a list, and was given {shown(values)}"
                )
        include, exclude = filled(foreach.include, scope), filled(foreach.exclude, scope)
        for what, entries in (("include", include), ("exclude", exclude)):
            if not all(isinstance(each, dict) for each in entries):
                raise UsageError(f"{what} of the matrix of task {task.key!r} needs mappings, such as {{os: linux}}")
        items = combinations(axes, include, exclude, MOST_ITEMS)
    else:
        items = filled(foreach, scope)
        if items is None and isinstance(task.body, Group) and task.body.layout is not None:
            items = []  # nothing has no items, in FlowScript
        if not isinstance(items, (list, tuple)):
            raise UsageError(f"foreach of task {task.key!r} needs a list, and was given {shown(items)}")
        items = list(items)
    if len(items) > MOST_ITEMS:
        what = "matrix" if isinstance(foreach, Matrix) else "foreach"
        raise UsageError(
            f"{what} of task {task.key!r} was given {len(items):,} items; at most {MOST_ITEMS:,} are allowed"
        )
    return items


def _declared(task: FlowTask, scope: Scope) -> Any:
    """The type that the function of a task declares."""
    body = task.body
    return declared_type(scope.around.functions[body.target]) if isinstance(body, PythonCall) else None


# -- what is read and written


def _files(task: FlowTask, scope: Scope, beside: Container[str]) -> RawFiles | None:
    """What one task reads and writes, if its templates name nothing that is not known yet: no task of those `beside`."""
    wants = task.wants
    if wants is None or not known((*(wants.reads or ()), *(wants.writes or ())), scope, beside):
        return None
    return _paths(task, scope)


def known(templates: Iterable[Template], scope: Scope, beside: Container[str]) -> bool:
    """Is all known that these templates name, and none of it a task of those `beside`, the time, or chance?"""
    return all(
        template.is_pure
        and all(
            scope.knows(each.root, each.steps) and not (each.root == "tasks" and each.steps and each.steps[0] in beside)
            for each in template.references
        )
        for template in templates
    )


def _paths(task: FlowTask, scope: Scope) -> RawFiles | None:
    """What one task reads and writes, as its templates have it: one that gives a list gives several paths."""
    wants = task.wants
    if wants is None or not wants.names_files:
        return None
    reads, writes = (
        None if each is None else [path for template in each for path in _several(template.value(scope))]
        for each in (wants.reads, wants.writes)
    )
    return reads, writes


def _several(value: Any) -> list[Any]:
    """Null is no path; a whole number names a file, too."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in values]


def _wanted(task: FlowTask, scope: Scope) -> Wanted | None:
    """What is worked out for one task, as its templates have it."""
    wants = task.wants
    if wants is None:
        return None
    key = None if wants.key is None else wants.key.text(scope)
    return key, wants.n, wants.units(scope), _paths(task, scope)


# -- what is done about failures


class _Repair(Tasks):
    """The `on_error` of a task."""

    def __init__(self, task: FlowTask, scope: Scope) -> None:
        assert task.on_error is not None
        super().__init__({REPAIR: task.on_error}, scope)
        self._of = task.key

    def identities(self) -> list[str]:
        return [f"{self._of}/{REPAIR}"]

    def batch(self) -> Batch:
        batch = super().batch()
        batch.is_repair = True
        return batch


def _grow_repair(task: FlowTask, failure: Try, scope: Scope) -> Growth:
    return Growth(_Repair(task, scope.at_error(failure)).batch(), lambda table, rows: table.values[rows.start])


def _shape_of_repair(task: FlowTask, scope: Scope) -> Foreseen | None:
    """The `on_error` of a task that has not failed yet."""
    if task.on_error is None or not task.on_error.names_files:
        return None
    return Foreseen(_Repair(task, scope.at(frozenset(("error",)))).batch(), many=False)


# -- calls


def delay_of(body: Delay, scope: Scope, table: Table, row: int) -> Call:
    """A pause without a slot: the first try asks to be called later, the next one is the end of it. What is due when is on record."""
    from plait.flow.script.running import over, paused

    had = any(isinstance(each.error, RetryAfter) for each in table.history.get(row, ()))
    return ("async", over, (), None) if had else ("async", paused, (body.seconds_of(scope),), None)


def _call(task: FlowTask, scope: Scope) -> Call:
    body = task.body
    match body:
        case PythonCall():
            function = scope.around.functions[body.target]
            return executor_for(function, body.executor), function, (), detached(filled(dict(body.arguments), scope))
        case Http(fixed, given):
            from plait.calls.http import request  # few files ask a server

            return "async", request, (), {**fixed, **filled(dict(given), scope)}
        case Ask():
            return _question(body, scope)
        case NodeCall() | Assign() | Gate():
            from plait.flow.script.running import call_of  # YAML has none

            return call_of(task, scope)
    assert isinstance(body, (Script, Argv))
    env = {**scope.env, **{name: template.text(scope) for name, template in body.env.items()}}
    cwd = body.cwd.text(scope) if body.cwd is not None else None
    if isinstance(body, Script):
        script, values = body.script.script(scope)
        return "shell", ShellCommand("", None, cwd, body.output), (script, {**env, **values}), None
    words = tuple(word.text(scope) for word in body.words)
    return "shell", ShellCommand((), None, cwd, body.output), (words, env), None


def _question(body: Ask, scope: Scope) -> Call:
    from plait.approving import reviewed  # few files ask
    from plait.asking import asked, settings_of

    settings = settings_of(body.form, body.default, body.timeout, body.who)
    prompt = body.prompt.text(scope)
    if not body.approves:
        return "async", asked, (prompt, settings), None
    outputs = {key: scope.look_up("tasks", (key, "output"))[0] for key in body.approves}
    work = outputs if body.several else outputs[body.approves[0]]
    return "async", reviewed, (prompt, {**settings, "rounds": body.rounds, "round": scope.round}, work), None
