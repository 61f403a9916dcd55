"""What names stand for at one place of a running flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait._core.scheduler import describe
from plait._core.states import STATUSES, SUCCEEDED
from plait._core.table import Table, Try
from plait.errors import CommandFailed, RecordedError, TaskError
from plait.expressions import Budget
from plait.flow.model import FlowFile, FlowTask, Group, Matrix

if TYPE_CHECKING:
    from plait.redaction import Secrets

ROOTS = ("inputs", "tasks", "item", "index", "matrix", "previous", "env", "secrets", "run", "error", "feedback")
"""What an expression of a YAML file begins with."""
OF_RUN = ("id", "name")
ERROR = ("type", "message", "status", "exit_code")
"""What an `on_error` may look up of `error`."""
OF_TASK = ("output", "status")

Functions = Mapping[tuple[str, str, str], Callable[..., Any]]


@dataclass(slots=True)
class Around:
    """What all tasks of a file share."""

    inputs: Mapping[str, Any]
    env: Mapping[str, str]
    functions: Functions
    run: dict[str, Any] = field(default_factory=dict)
    """Filled once the run has its name."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Those that the file declares; filled in before the first task starts."""
    vault: Secrets | None = None
    """All of the run; None where no file declares one."""
    bound: Mapping[str, Any] = field(default_factory=dict)
    """Variables that a file was given by the one that holds it."""
    schemas: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = field(default_factory=Path.cwd)
    """The working directory of nodes."""
    allowed: tuple[Path, ...] = ()
    """Folders beside the working directory in which nodes may read and write."""
    partly: bool = False
    """Of a look ahead: are there inputs and variables that will be known only later?"""

    def hidden(self, value: Any) -> Any:
        """A value without those of secrets."""
        return value if self.vault is None else self.vault.redactor.redact(value)


class Scope:
    """What names stand for. A group's tasks see their own scope, then those around; values are never changed, only made.

    What is worked out in one scope is worked out with one budget; a scope that is made of another has its own.
    """

    __slots__ = ("_budget", "_first", "_outer", "_place", "_roots", "_table", "_unknown", "around", "round")

    def __init__(self, around: Around, unknown: frozenset[str] = frozenset()) -> None:
        self.around = around
        self._unknown = unknown  # of a look ahead: what will be known only later
        self._table: Table | None = None
        self._first = 0
        self._place: Mapping[str, int] = {}
        self._roots: Mapping[str, Any] = {}
        self._outer: Scope | None = None
        self._budget: Budget | None = None
        self.round = 0
        """How often an approval had its work done again, of what runs for that."""

    def _copy(self) -> Scope:
        made: Scope = object.__new__(type(self))  # there are several for each task
        made.around, made._unknown = self.around, self._unknown
        made._table, made._first, made._place, made._outer = self._table, self._first, self._place, self._outer
        made._roots, made._budget, made.round = self._roots, None, self.round
        return made

    @property
    def budget(self) -> Budget:
        """What is left for what is worked out here."""
        if self._budget is None:
            self._budget = Budget()
        return self._budget

    def sharing(self, budget: Budget | None = None) -> Scope:
        """The same scope with that budget, or a new one."""
        made = self._copy()
        made._budget = budget
        return made

    def inside(self, table: Table | None, first: int, place: Mapping[str, int]) -> Scope:
        """The scope of tasks whose batch starts at row `first`, with the places of their keys. Without a table none of them has run yet."""
        made = self._copy()
        made._table, made._first, made._place, made._outer = table, first, place, self
        return made

    def at(self, unknown: frozenset[str] = frozenset(), **roots: Any) -> Scope:
        """The same scope, with these roots beside the others; of those that are `unknown` the values come later."""
        made = self._copy()
        made._roots = {**self._roots, **roots} if self._roots else roots
        if unknown:
            made._unknown = self._unknown | unknown
        return made

    def knowing(self, names: Mapping[str, Any], budget: Budget | None = None) -> Scope:
        """The same scope, with these names beside the others."""
        made = self._copy()
        made._roots, made._budget = {**self._roots, **names}, budget
        return made

    # -- where things stand; in YAML only their own roots matter

    def of(self, group: Group) -> Scope:
        """The same scope, for the tasks of that group."""
        return self

    def standing(self, place: int, task: FlowTask) -> Scope:
        """The same scope, for one task of its group."""
        return self

    def at_item(self, task: FlowTask, item: Any, index: int) -> Scope:
        """The same scope, for one item of a foreach or a matrix."""
        return (
            self.at(matrix=item, index=index) if isinstance(task.foreach, Matrix) else self.at(item=item, index=index)
        )

    def at_branch(self, index: int) -> Scope:
        """The same scope, for one branch of a `parallel`."""
        return self

    def at_round(self, number: int, previous: Any, table: Table, row: int) -> Scope:
        """The same scope, for one round of the loop in `row`; `previous` is what the one before it gave."""
        return self.at(index=number, previous=previous)

    def at_end(
        self, table: Table | None, first: int, group: Group, number: int, last: Any, loop: tuple[int, int]
    ) -> Scope:
        """What names stand for in the condition of a loop: the tasks of `group`, from row `first`, in its last round. Without a
        table there was none yet. `number`: of the round that the condition is asked for, `last`: what the last one gave; `loop`: its
        row, and how many rounds it had."""
        place = {key: at for at, key in enumerate((*group.tasks, *group.cleanups))}
        return self.at(index=number).inside(table, first, place)

    def jumped(self) -> bool:
        """Did a `break` or `continue` end the sequence before this place?"""
        return False

    def passed_over(self) -> bool:
        """Did a checkpoint send the run on, to something behind this place?"""
        return False

    def at_feedback(self, feedback: str) -> Scope:
        """The same scope, for what runs again with what a person said of it."""
        made = self.at(feedback=feedback)
        made.round += 1
        return made

    def at_error(self, failure: Try) -> Scope:
        """The same scope, for what is to make a failure good."""
        return self.at(error=error_data(failure))

    @property
    def env(self) -> Mapping[str, str]:
        return self.around.env

    # -- names

    def look_up(self, name: str, steps: tuple[str | int, ...]) -> tuple[Any, int]:
        """The value of a root; of a task, what its steps lead to as far as its output or status."""
        if name == "tasks":
            return self._task(steps)
        if name in self._roots:
            return self._roots[name], 0
        match name:
            case "inputs":
                return self.around.inputs, 0
            case "env":
                return self.around.env, 0
            case "secrets":
                return self.around.secrets, 0
            case "run":
                return self.around.run, 0
        return None, 0

    def knows(self, root: str, steps: tuple[str | int, ...]) -> bool:
        """Is what that stands for known already? A task is, once it ran."""
        if root in self._unknown:
            return False
        if root == "run":
            return bool(self.around.run)
        if root == "secrets":
            return False  # for whoever looks ahead, never
        if self.around.partly and root in ("inputs", "env"):
            return bool(steps) and steps[0] in (self.around.inputs if root == "inputs" else self.around.env)
        scope = self._scope_of(str(steps[0])) if root == "tasks" and steps else None
        return root != "tasks" or (scope is not None and scope._table is not None)

    def _scope_of(self, name: str) -> Scope | None:
        """Where a task of that name stands."""
        scope: Scope | None = self
        while scope is not None and name not in scope._place:
            scope = scope._outer
        return scope

    def _task(self, path: tuple[str | int, ...]) -> tuple[Any, int]:
        name = str(path[0]) if path else ""
        scope = self._scope_of(name)
        if scope is None or scope._table is None:
            return None, len(path)
        return _of_task(scope._table, scope._first + scope._place[name], path, 1)


def around_of(
    file: FlowFile,
    inputs: Mapping[str, Any],
    functions: Functions,
    vault: Secrets | None,
    run: dict[str, Any] | None = None,
) -> Around:
    """What the tasks of a file share in a run with these inputs."""
    secrets = {} if vault is None else vault.of(file.secrets)
    run = {} if run is None else run
    before = Scope(Around(inputs, {}, {}, secrets=secrets))
    env = {name: template.text(before) for name, template in file.env.items()}
    later = {
        name: template
        for name, template in file.env.items()
        if any(each.root == "secrets" for each in template.references)
    }
    if later and vault is not None:
        vault.when_open(lambda: env.update({name: each.text(before.sharing()) for name, each in later.items()}))
    return Around(inputs, env, functions, run, secrets=secrets, vault=vault)


def _of_task(table: Table, row: int, path: tuple[str | int, ...], done: int) -> tuple[Any, int]:
    """`output`, `status`, or a task within, behind the name of a task; and how many steps that took."""
    while done < len(path):
        step = path[done]
        done += 1
        if step == "output":
            return (table.values[row] if table.status[row] == SUCCEEDED else None), done
        if step == "status":
            return str(STATUSES[table.status[row]]), done
        inner = within(table, row, step)
        if inner is None:
            return None, len(path)
        row = inner
    return None, done


def within(table: Table, row: int, name: str | int) -> int | None:
    """The task of that name within another: of a group, of the branch that has it, of the last round of a loop."""
    grown = [rows for rows in table.grown(row) if rows.start != table.repairs.get(row)]
    for rows in grown[-1:]:
        keys = table.batch_of(rows.start)[0].keys
        for child, key in zip(rows, keys, strict=True):
            if key == name:
                return child
        for child, key in zip(rows, keys, strict=True):
            if key.startswith("[") and (found := within(table, child, name)) is not None:
                return found
    return None


def error_data(failure: Try) -> dict[str, Any]:
    """What a file can say of an error: the same before a crash and after it, when the exception itself is gone."""
    error = failure.error
    kind = error.kind.rpartition(":")[2] if isinstance(error, RecordedError) else type(error).__name__
    message = describe(error)
    if isinstance(error, RecordedError) or not isinstance(error, TaskError):
        message = message.removeprefix(kind).removeprefix(": ")
    return {
        "type": kind,
        "message": message,
        "status": str(STATUSES[failure.state]),
        "exit_code": error.exit_code if isinstance(error, CommandFailed) else None,
    }
