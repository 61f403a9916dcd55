"""What the names of FlowScript stand for while a flow runs.

Nothing is ever written into a scope: the value of a variable is that of the last `set` of it that was executed, found in the table of the
run. So every branch and every iteration has its own state without a copy, a failed one leaves nothing behind, and a replay finds
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait._core.states import FAILED, STATUSES, SUCCEEDED, TIMED_OUT
from plait._core.table import Table, Try
from plait.errors import HttpError, RecordedError
from plait.expressions.values import member
from plait.flow.model import Assign, Attempts, FlowTask, Group, Jump, Layout, Parallel, Subflow
from plait.flow.scopes import Scope, error_data, within
from plait.flow.values import filled

RECORD = ("output", "status", "error", "duration", "attempts")
"""What can be said of a node, beside what is in its output."""

SPECIAL = ("$config", "$secrets", "$context", "$input", "$env", "$run")
NULL_ELSEWHERE = ("$item", "$index", "$iteration", "$branch", "$first", "$last", "$items", "$acc", "$branches")
"""Known in some places only, and null everywhere else."""
OF_FAILURE = ("$primaryError", "$primaryInput", "primaryError", "primaryInput")

_NOTHING: Any = object()


class _Input:
    """The `input` of a node: worked out when something asks for it."""

    __slots__ = ("scope", "takes", "value")

    def __init__(self, takes: Any, scope: NodeScope) -> None:
        self.takes = takes
        self.scope = scope
        self.value: Any = _NOTHING

    def get(self) -> Any:
        if self.value is _NOTHING:
            self.value = filled(self.takes, self.scope)
        return self.value


class NodeScope(Scope):
    """What names stand for at one place: of a group its nodes and variables, then those around it."""

    __slots__ = ("_before", "_last", "_layout", "_next", "_opened", "_reader")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._layout: Layout | None = None
        self._next: Group | None = None
        self._reader: int | None = None  # the place of the task in its group that reads; None: what comes behind all
        self._before: tuple[Table, int, int] | None = None  # of a round: the loop, and how many rounds it had before
        self._opened: tuple[Table, int, int] | None = None  # the same, for the group that is entered next
        self._last: Any = _NOTHING  # of the condition of a loop: what its last round gave

    def _copy(self) -> Scope:
        made = super()._copy()
        assert isinstance(made, NodeScope)
        made._layout, made._next, made._reader = self._layout, self._next, self._reader
        made._before, made._opened, made._last = self._before, self._opened, self._last
        return made

    def _with(self, roots: Mapping[str, Any]) -> NodeScope:
        made = self._copy()
        assert isinstance(made, NodeScope)
        made._roots = {**self._roots, **roots}
        return made

    # -- where things stand

    def of(self, group: Group) -> Scope:
        made = self._copy()
        made._next = group  # type: ignore[attr-defined]
        return made

    def inside(self, table: Table | None, first: int, place: Mapping[str, int]) -> Scope:
        made = super().inside(table, first, place)
        assert isinstance(made, NodeScope)
        made._layout = None if self._next is None else self._next.layout
        made._reader, made._next, made._last = None, None, _NOTHING
        made._before, made._opened = self._opened, None
        return made

    def standing(self, place: int, task: FlowTask) -> Scope:
        made = self._copy()
        assert isinstance(made, NodeScope)
        made._reader = place
        if task.takes is None:
            return made
        seen = made._copy()  # the input is worked out as its surroundings see it
        seen._roots = {**self._roots, "input": _Input(task.takes, made)}
        return seen

    def at_item(self, task: FlowTask, item: Any, index: int) -> Scope:
        name, number = task.item_names
        return self._with({name: item, "$item": item, number: index, "$index": index})

    def at_branch(self, index: int) -> Scope:
        return self._with({"$branch": index})

    def at_round(self, number: int, previous: Any, table: Table, row: int) -> Scope:
        made = self._with({"$iteration": number})
        made._opened = (table, row, number)
        return made

    def at_end(
        self, table: Table | None, first: int, group: Group, number: int, last: Any, loop: tuple[int, int]
    ) -> Scope:
        place = {key: at for at, key in enumerate(group.tasks)}
        made = self._with({"$iteration": number}).of(group).inside(table, first, place)
        assert isinstance(made, NodeScope)
        made._last = last
        made._before = None if table is None else (table, *loop)
        return made

    def at_error(self, failure: Try) -> Scope:
        error = failure_data(failure)
        given = self._roots.get("input")
        value = given.get() if isinstance(given, _Input) else given
        roots = {"primaryError": error, "primaryInput": value, "$primaryError": error, "$primaryInput": value}
        return self._with({"error": error, "status": error["status"], "retryable": error["retryable"], **roots})

    # -- names

    def look_up(self, name: str, steps: tuple[str | int, ...]) -> tuple[Any, int]:
        """The value of a name, and how many of the steps behind it that used up: of a node they may name a field of its record."""
        if name in self._roots:
            found = self._roots[name]
            return (found.get() if isinstance(found, _Input) else found), 0
        match name:
            case "$config":
                return self.around.inputs.get("config"), 0
            case "$input" | "input":
                return self.around.inputs.get("input"), 0
            case "$secrets":
                return self.around.secrets, 0
            case "$env":
                return self.around.env, 0
            case "$run":
                return self.around.run, 0
            case "$context":
                return self._context(steps)
        value, is_variable = self._variable(name)
        if value is not _NOTHING:
            return value, 0
        found = self._level_of(name)  # also of a variable that is not set yet: a `set` is a node, too
        if found is not None:
            return self._node(found[0], found[1], found[2], steps)
        if self._last is not _NOTHING and not is_variable:
            return member(self._last, name), 0  # the loop rule
        return None, 0

    def _level_of(self, name: str) -> tuple[NodeScope, int, tuple[str, ...]] | None:
        level: Scope | None = self
        while isinstance(level, NodeScope):
            way = None if level._layout is None else level._layout.ids.get(name)
            if way is not None:
                return level, *way
            level = level._outer
        return None

    def at_failure(self, error: BaseException, retryable: bool) -> NodeScope:
        """The same scope, for the question whether a failure is to be tried again."""
        data = failure_data(Try(0, FAILED, error, 0.0, 0.0))
        return self._with({"error": data, "status": data["status"], "retryable": retryable})

    # -- nodes

    def _node(
        self, level: NodeScope, place: int, keys: tuple[str, ...], steps: tuple[str | int, ...]
    ) -> tuple[Any, int]:
        row = None if level._stands_behind(place) else level._row(place, keys)
        if row is None and level._before is not None:
            row = level._row_before(place, keys)
        table = level._table
        if steps and steps[0] in RECORD and (row is None or table is None):
            return {"status": "pending", "attempts": 0}.get(str(steps[0])), 1
        if row is None or table is None:
            return None, len(steps)
        step = steps[0] if steps else "output"
        nodes = level._layout.nodes if level._layout is not None else {}
        task = nodes.get(keys[-1] if keys else level._key(place))
        if step == "attempts" and task is not None and isinstance(task.body, Attempts):
            return len(rounds_of(table, row)), 1
        if step in RECORD:
            return record(table, row, str(step)), min(len(steps), 1)
        phase = None if task is None else task.core
        if (
            phase is not None
            and isinstance(phase.body, Group)
            and phase.body.layout is not None
            and step in phase.body.layout.ids
        ):
            start = row if phase is task else within(table, row, phase.key)
            inner = self._below(table, start, str(step), phase.body.layout)
            if inner is not None:
                rest = steps[1:]
                if rest and rest[0] in RECORD:
                    return record(table, inner, str(rest[0])), 2
                return record(table, inner, "output"), 1
        return record(table, row, "output"), 0

    @staticmethod
    def _below(table: Table, row: int | None, name: str, layout: Layout) -> int | None:
        """The row of a node of a phase."""
        found = row
        place, keys = layout.ids[name]
        for key in (layout.keys[place], *keys):
            found = None if found is None else within(table, found, key)
        return found

    def _row(self, place: int, keys: tuple[str, ...]) -> int | None:
        """Where a node of this level, or below it, ran last; None before there is something."""
        if self._table is None:
            return None
        row: int | None = self._passes(place)[0]
        for key in keys:
            row = None if row is None else within(self._table, row, key)
        return row

    def _stands_behind(self, place: int) -> bool:
        """Of a round: is that the reader, or further down? Then what it gave in the round before is meant."""
        return self._before is not None and self._reader is not None and place >= self._reader

    def _key(self, place: int) -> str:
        assert self._layout is not None
        return self._layout.keys[place]

    def _passes(self, place: int) -> list[int]:
        """The rows of a task of this level: the last one first, where a checkpoint sent the run back."""
        assert self._table is not None
        rows = [self._first + place]
        for gate in self._layout.gates if self._layout is not None else ():
            if gate >= place:
                rows[:0] = _passes_behind(self._table, self._first + gate, self._key(place))
        return rows

    def _row_before(self, place: int, keys: tuple[str, ...]) -> int | None:
        """The same in the round before, for what stands further down in this one."""
        assert self._before is not None
        table, loop, number = self._before
        rounds = rounds_of(table, loop)
        if not 0 < number <= len(rounds):
            return None
        row: int | None = rounds[number - 1]
        for key in (self._key(place), *keys):
            row = None if row is None else within(table, row, key)
        return row

    # -- variables

    def _variable(self, name: str) -> tuple[Any, bool]:
        """The value of a variable as it was set last, and whether there is one of that name."""
        level: Scope | None = self
        known = False
        while isinstance(level, NodeScope):
            places = level._layout.sets.get(name) if level._layout is not None else None
            if places:
                known = True
                value = level._set_here(name, places)
                if value is not _NOTHING:
                    return value, True
            level = level._outer
        bound = self.around.bound
        return (bound[name], True) if name in bound else (_NOTHING, known)

    def _set_here(self, name: str, places: list[int]) -> Any:
        """The value that this level gives a variable, before its reader: in this round, or in the ones before."""
        table = self._table
        nodes = self._layout.nodes if self._layout is not None else {}
        if table is not None:
            for place in reversed(places):
                for row in self._passes(place) if self._reader is None or place < self._reader else ():
                    value = _set_by(table, row, name, nodes)
                    if value is not _NOTHING:
                        return value
        if self._before is not None:
            table, loop, number = self._before
            for row in reversed(rounds_of(table, loop)[:number]):
                value = _set_below(table, row, name, nodes)
                if value is not _NOTHING:
                    return value
        return _NOTHING

    def _context(self, steps: tuple[str | int, ...]) -> tuple[Any, int]:
        if steps:
            value, _ = self._variable(str(steps[0]))
            return (None if value is _NOTHING else value), 1
        names: dict[str, None] = dict.fromkeys(self.around.bound)
        level: Scope | None = self
        while isinstance(level, NodeScope):
            if level._layout is not None:
                names.update(dict.fromkeys(level._layout.sets))
            level = level._outer
        found = {name: self._variable(name)[0] for name in names}
        return {name: value for name, value in found.items() if value is not _NOTHING}, 0

    # -- jumps

    def jumped(self) -> bool:
        """Did a `break` or `continue` before the reader end its sequence?"""
        if self._layout is None or self._table is None:
            return False
        before = (place for place in self._layout.jumps if self._reader is None or place < self._reader)
        return any(jump_at(self._table, self._first + place, self._layout.nodes) is not None for place in before)

    def passed_over(self) -> bool:
        """Did a checkpoint before the reader send the run on, to something behind it?"""
        if self._layout is None or self._table is None:
            return False
        keys = self._layout.keys
        for place in self._layout.gates:
            if self._reader is not None and place < self._reader:
                goto = went_to(self._table, self._passes(place)[0], self._layout.nodes.get(keys[place]))
                if goto in keys and place < self._reader < keys.index(goto):
                    return True
        return False


def rounds_of(table: Table, loop: int) -> list[int]:
    """The rows of the rounds of a loop, in order."""
    return [rows.start for rows in table.grown(loop) if rows.start != table.repairs.get(loop)]


def went_to(table: Table, row: int, task: FlowTask | None) -> str:
    """With which sibling a checkpoint wants the run to go on; empty: with the next."""
    value = table.values[row] if table.status[row] == SUCCEEDED else None
    actions = getattr(task.body, "actions", ()) if task is not None else ()
    chosen = value.get("action") if isinstance(value, dict) else None
    return next((each.goto for each in actions if each.id == chosen), "")


def _passes_behind(table: Table, gate: int, key: str) -> list[int]:
    """The rows of that key among those that a checkpoint had run again, the latest pass first."""
    found: list[int] = []
    while children := _latest(table, gate):
        found[:0] = [child for child, name in children if name == key]
        gate = children[-1][0]  # the checkpoint itself stands last
    return found


def _latest(table: Table, row: int) -> list[tuple[int, str]]:
    """What a task grew last, and the keys."""
    grown = [rows for rows in table.grown(row) if rows.start != table.repairs.get(row)]
    if not grown:
        return []
    return list(zip(grown[-1], table.batch_of(grown[-1].start)[0].keys, strict=True))


def _happened(table: Table, row: int) -> bool:
    """Was a task done? Of one that failed nothing is left behind, also where a fallback served for it."""
    return bool(table.status[row] == SUCCEEDED) and row not in table.failures


def _set_by(table: Table, row: int, name: str, nodes: Mapping[str, FlowTask], key: str | None = None) -> Any:
    """The value that a task gave a variable, itself or in what it holds."""
    key = str(table.batch_of(row)[0].keys[row - table.first_row(row)]) if key is None else key
    task = nodes[key].core if key in nodes else None
    if task is not None and isinstance(task.body, Assign):
        if name not in task.body.values or table.status[row] != SUCCEEDED:
            return _NOTHING
        value = table.values[row]
        return value if task.body.single else member(value, name)
    if task is not None and _isolates(task):
        return _NOTHING
    if not _happened(table, row):
        return _NOTHING
    return _set_below(table, row, name, nodes)


def _isolates(task: FlowTask) -> bool:
    """Does what is set within stay within?"""
    return task.foreach is not None or isinstance(task.body, (Parallel, Subflow))


def _set_below(table: Table, row: int, name: str, nodes: Mapping[str, FlowTask]) -> Any:
    grown = [rows for rows in table.grown(row) if rows.start != table.repairs.get(row)]
    for rows in reversed(grown):  # of a loop the rounds: the last one may have been left before it set anything
        keys = table.batch_of(rows.start)[0].keys
        for child, key in zip(reversed(rows), reversed(keys), strict=True):
            value = _set_by(table, child, name, nodes, key)
            if value is not _NOTHING:
                return value
    return _NOTHING


def jump_at(table: Table, row: int, nodes: Mapping[str, FlowTask], key: str | None = None) -> Jump | None:
    """The `break` or `continue` that happened in a task, and leads out of it."""
    key = str(table.batch_of(row)[0].keys[row - table.first_row(row)]) if key is None else key
    task = nodes.get(key)
    if not _happened(table, row) or (task is not None and isinstance(task.body, Subflow)):
        return None
    if task is not None and isinstance(task.body, Jump):
        return task.body
    for child, inner in _latest(table, row):
        found = jump_at(table, child, nodes, inner)
        if found is not None and found.loop != key:
            return found
    return None


def record(table: Table, row: int, field: str) -> Any:
    """One field of what is known of a node."""
    state = table.status[row]
    match field:
        case "output":
            return table.values[row] if state == SUCCEEDED else None
        case "status":
            return _STATUS.get(str(STATUSES[state]), "skipped")
        case "attempts":
            return table.attempts(row)
        case "duration":
            if state not in (SUCCEEDED, FAILED, TIMED_OUT) or table.attempts(row) == 0:
                return None
            return round((table.ended_at[row] - table.began_at(row)) * 1000)
    failure = table.failures.get(row)
    if failure is not None:
        return failure_data(failure)
    error = table.errors.get(row)
    if error is None or state not in (FAILED, TIMED_OUT):
        return None
    return failure_data(Try(0, state, error, 0.0, 0.0))


_STATUS = {
    "succeeded": "success",
    "failed": "failed",
    "timed_out": "failed",
    "running": "running",
    "waiting": "waiting",
    "pending": "pending",
    "ready": "pending",
    "retrying": "pending",
}
"""What the statuses of tasks are called of nodes; all others are `skipped`."""


def failure_data(failure: Try) -> dict[str, Any]:
    """An error as FlowScript knows it: the same before a crash and after it."""
    cause = getattr(failure.error, "root", None) or failure.error  # of a block: the error of the node that failed
    data = error_data(Try(failure.number, failure.state, cause, failure.started_at, failure.ended_at))
    status = cause.status if isinstance(cause, HttpError) else None
    name = cause.kind.rpartition(":")[2] if isinstance(cause, RecordedError) else type(cause).__name__
    timed_out = failure.state == TIMED_OUT
    retryable = timed_out or getattr(cause, "retryable", False) is True
    told = {"name": name, "message": data["message"], "status": status, "retryable": retryable}
    return {**told, "timedOut": True} if timed_out else told
