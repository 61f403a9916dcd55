"""From a checked file to a graph that can run: groups and foreach are control tasks that grow, nothing else is new."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from plait._core.graph import REPAIR, Batch
from plait._core.paths import Foreseen, Where
from plait._core.policy import OnConflict
from plait._core.result import RunResult
from plait._core.scheduler import describe
from plait._core.states import STATUSES, SUCCEEDED
from plait._core.table import Table, Try
from plait._engine.files import NoPath, conflicts
from plait._engine.work import Call, Growth, Join, RawFiles, Regrowth, Wanted, Work
from plait.calls.shell import ShellCommand, strict_json
from plait.errors import CommandFailed, RecordedError, TaskError, UsageError
from plait.executors.base import executor_for
from plait.fingerprints import declared_type, fingerprint
from plait.flow.lookups import ROOTS, follow
from plait.flow.model import Argv, Ask, FlowFile, FlowTask, Group, Input, PythonCall, Script
from plait.flow.problems import START, Place, Problems
from plait.flow.reader import fits, read_flow
from plait.flow.templates import Template, holds_template
from plait.flow.tree import plain, read
from plait.programs import Program

MOST_ITEMS = 100_000
"""Items of one foreach."""


def load(path: str | Path) -> Flow:
    """The workflow in a YAML file, checked; `plait.run(flow, inputs={...})` runs it. Nothing is imported or run here.

    Raises:
        FlowError: with every problem of the file, as `FILE:LINE:COL: error[CODE]: message`.
    """
    return Flow(read_flow(Path(path), look=_find_conflicts))


def reload(snapshot: Mapping[str, Any]) -> Flow:
    """The workflow that a stored run was started with, as its file is now; as it was, where the file is gone.

    Raises:
        FlowError: for a file that cannot run any more.
    """
    path = Path(snapshot["path"])
    flow = Flow(read_flow(path, None if path.exists() else snapshot["text"], _find_conflicts))
    only = snapshot.get("only")
    return flow if only is None else flow.kept(only)


def _find_conflicts(file: FlowFile, problems: Problems) -> None:
    """Adds the conflicts that are there whatever the inputs are."""
    try:
        found = conflicts(
            _shape(file.tasks, file.cleanups), OnConflict(file.rules.get("on_conflict", OnConflict.REFUSE))
        )
    except NoPath as error:
        _, line, column = error.where or ("", 1, 1)
        problems.add(Place(line, column), "value", error.text)
        return
    if found is None:
        return
    for each in found.told:
        _, line, column = each.where or ("", 1, 1)
        problems.add(Place(line, column), "conflict", str(each))
    if found.more:
        problems.add(START, "conflict", found.more)


def _shape(tasks: Mapping[str, FlowTask], cleanups: Mapping[str, FlowTask]) -> Batch:
    """The tasks of a run as a batch whose calls nobody can make: to look at, nothing is imported."""
    return _Tasks(tasks, _Scope({}, {}, {}, unknown=frozenset(ROOTS) - _EACH), cleanups).batch()


class Flow:
    """A loaded workflow file."""

    def __init__(self, file: FlowFile) -> None:
        self.file = file
        self.name = file.name
        self._only: frozenset[str] | None = None

    def only(self, keys: Sequence[str]) -> Flow:
        """The same flow with these top-level tasks and all that they need, and nothing else.

        Raises:
            UsageError: for a key that is not there.
        """
        from plait._core.policy import nearest

        tasks = self.file.tasks
        wanted: set[str] = set()
        stack = list(keys)
        for key in keys:
            if key not in tasks:
                raise UsageError(f"there is no task {key!r} in {self.file.path}{nearest(key, tasks)}")
        while stack:
            key = stack.pop()
            if key not in wanted:
                wanted.add(key)
                stack.extend(tasks[key].needs)
        flow = Flow(self.file)
        flow._only = frozenset(wanted)
        return flow

    def kept(self, keys: Sequence[str]) -> Flow:
        """The same flow with these top-level tasks, as far as they are there, and nothing else."""
        flow = Flow(self.file)
        flow._only = frozenset(keys)
        return flow

    def snapshot(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What a store keeps of this flow, to go on with a run of it and to see an edit."""
        functions = _import_calls(self.file, self.everything)
        return {
            "kind": "flow",
            "path": str(self.file.path.resolve()),
            "text": self.file.text,
            "raw": plain(read(self.file.path, Problems(str(self.file.path)), self.file.text)[0]),
            "inputs": self.inputs(inputs),
            "only": None if self._only is None else sorted(self._only),
            "code": {f"{module}:{name}": fingerprint(function) for (module, name), function in functions.items()},
        }

    @property
    def tasks(self) -> dict[str, FlowTask]:
        """The tasks that a run has, in the order of the file, but for those that clean up after it."""
        return {key: task for key, task in self.file.tasks.items() if self._only is None or key in self._only}

    @property
    def everything(self) -> dict[str, FlowTask]:
        """These, and those that clean up."""
        return {**self.tasks, **self.file.cleanups}

    def rules(self) -> dict[str, Any]:
        """What the file says of its run."""
        return dict(self.file.rules)

    def inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all inputs: the given ones, converted from text where needed, and the defaults.

        Raises:
            UsageError: for an unknown, missing or impossible input.
        """
        from plait._core.policy import nearest

        declared = self.file.inputs
        for name in given:
            if name not in declared:
                raise UsageError(f"{self.file.path} has no input {name!r}{nearest(name, declared)}")
        values: dict[str, Any] = {}
        for name, each in declared.items():
            if name in given:
                values[name] = _converted(name, each, given[name])
            elif each.required:
                raise UsageError(f"{self.file.path} needs the input {name!r} ({each.type}): give it as -i {name}=...")
            else:
                values[name] = each.default
        return values

    def shape(self) -> Batch:
        """The tasks of a run as a batch whose calls nobody can make: to look at, nothing is imported."""
        return _shape(self.tasks, self.file.cleanups)

    def program(self, inputs: Mapping[str, Any]) -> Program:
        """The graph of a run with these inputs; every `call:` is imported here, before anything runs.

        Raises:
            FlowError: for a function that cannot be imported or does not take its arguments, with the place.
            UsageError: for inputs that cannot be.
        """
        functions = _import_calls(self.file, self.everything)
        values = self.inputs(inputs)
        file_env = {name: template.text(_Inputs(values)) for name, template in self.file.env.items()}
        run = _Scope(values, file_env, functions)
        work = _Tasks(self.tasks, run, self.file.cleanups)
        outputs = self.file.outputs

        def value(result: RunResult) -> Any:
            scope = run.inside(result.table, 0, work.place)
            return {name: template.value(scope) for name, template in outputs.items()}

        return Program(work.batch(), [], self.name, value)

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}: {len(self.tasks)} tasks>"


def _converted(name: str, declared: Input, value: Any) -> Any:
    """A given input as its declared type; text from a command line is read as what is wanted.

    Raises:
        UsageError: where that cannot be.
    """
    if isinstance(value, str) and declared.type != "string":
        try:
            value = strict_json(value)
        except (ValueError, RecursionError):
            shown = _shown(value)
            raise UsageError(f"input {name!r} must be of type {declared.type}, not the text {shown}") from None
    if not fits(value, declared.type):
        raise UsageError(f"input {name!r} must be of type {declared.type}, not {_shown(value)}")
    return value


# -- functions


def _import_calls(file: FlowFile, tasks: Mapping[str, FlowTask]) -> dict[tuple[str, str], Callable[..., Any]]:
    problems = Problems(str(file.path))
    found: dict[tuple[str, str], Callable[..., Any]] = {}
    stack = list(tasks.values())[::-1]
    while stack:
        task = stack.pop()
        stack.extend(task.inner[::-1])
        if isinstance(task.body, PythonCall):
            call = task.body
            try:
                function = found.get((call.module, call.name)) or _import(file.path, call)
                found[call.module, call.name] = function
                _check_arguments(function, call)
            except UsageError as error:
                problems.add(call.at, "call", str(error))
    if problems.found:
        raise problems.error()
    return found


def _import(path: Path, call: PythonCall) -> Callable[..., Any]:
    folder = path.resolve().parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    top = call.module.split(".")[0]
    beside = folder / f"{top}.py"
    loaded = sys.modules.get(top)
    if beside.exists() and loaded is not None and getattr(loaded, "__file__", None) != str(beside):
        sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
        del sys.modules[top]  # of another file's folder
    try:
        module = import_module(call.module)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(f"module {call.module!r} cannot be imported: {type(error).__name__}: {error}") from None
    function = getattr(module, call.name, None)
    if function is None:
        from plait._core.policy import nearest

        raise UsageError(f"module {call.module!r} has no function {call.name!r}{nearest(call.name, vars(module))}")
    if not callable(function):
        raise UsageError(f"{call.module}:{call.name} is not callable")
    return function  # type: ignore[no-any-return]


def _check_arguments(function: Callable[..., Any], call: PythonCall) -> None:
    try:
        inspect.signature(function).bind(**call.arguments)
    except TypeError as error:
        raise UsageError(f"{call.module}:{call.name}: {error}") from None
    except ValueError:
        pass  # a built-in without a signature


# -- what names stand for


class _Inputs:
    """The scope of the file's own `env`: nothing has run yet."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._inputs = inputs

    def root(self, name: str) -> Any:
        return self._inputs

    def task(self, path: tuple[str | int, ...]) -> Any:
        return None


class _Scope:
    """What names stand for at one place of a running flow. A group's tasks see their own scope, then those around."""

    __slots__ = (
        "_env", "_error", "_feedback", "_first", "_index", "_inputs", "_item", "_outer", "_place", "_table", "_unknown", "functions",
        "round",
    )  # fmt: skip

    def __init__(
        self,
        inputs: Mapping[str, Any],
        env: Mapping[str, str],
        functions: Mapping[tuple[str, str], Callable[..., Any]],
        unknown: frozenset[str] = frozenset(),
    ) -> None:
        self._inputs = inputs
        self._env = env
        self.functions = functions
        self._unknown = unknown  # of a look ahead: what will be known only later
        self._table: Table | None = None
        self._first = 0
        self._place: Mapping[str, int] = {}
        self._item: Any = None
        self._index: int | None = None
        self._error: Mapping[str, Any] | None = None
        self._feedback: str | None = None
        self.round = 0
        """How often an approval had its work done again, of what runs for that."""
        self._outer: _Scope | None = None

    def inside(self, table: Table, first: int, place: Mapping[str, int]) -> _Scope:
        """The scope of tasks whose batch starts at row `first`, with the places of their keys."""
        scope = _Scope(self._inputs, self._env, self.functions, self._unknown)
        scope._table, scope._first, scope._place = table, first, place
        scope._item, scope._index, scope._error, scope._outer = self._item, self._index, self._error, self
        scope._feedback, scope.round = self._feedback, self.round
        return scope

    def at_item(self, item: Any, index: int | None, unknown: frozenset[str] = frozenset()) -> _Scope:
        """The same scope, for one item of a foreach."""
        scope = _Scope(self._inputs, self._env, self.functions, self._unknown | unknown)
        scope._table, scope._first, scope._place, scope._outer = self._table, self._first, self._place, self._outer
        scope._item, scope._index, scope._error = item, index, self._error
        scope._feedback, scope.round = self._feedback, self.round
        return scope

    def at_feedback(self, feedback: str) -> _Scope:
        """The same scope, for what runs again with what a person said of it."""
        scope = self.at_item(self._item, self._index)
        scope._feedback, scope.round = feedback, self.round + 1
        return scope

    def at_error(self, failure: Try) -> _Scope:
        """The same scope, for what is to make a failure good."""
        scope = self.at_item(self._item, self._index)
        scope._error = _error_data(failure)
        return scope

    def before_error(self) -> _Scope:
        """The same scope, for what is to make a failure good that is still to come."""
        return self.at_item(self._item, self._index, frozenset(("error",)))

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def root(self, name: str) -> Any:
        return {
            "inputs": self._inputs,
            "env": self._env,
            "item": self._item,
            "index": self._index,
            "error": self._error,
            "feedback": self._feedback,
        }[name]

    def knows(self, root: str, steps: tuple[str | int, ...]) -> bool:
        """Is what that stands for known already? A task is, once it ran."""
        if root in self._unknown:
            return False
        scope = self._scope_of(str(steps[0])) if root == "tasks" and steps else None
        return root != "tasks" or (scope is not None and scope._table is not None)

    def _scope_of(self, name: str) -> _Scope | None:
        """Where a task of that name stands."""
        scope: _Scope | None = self
        while scope is not None and name not in scope._place:
            scope = scope._outer
        return scope

    def task(self, path: tuple[str | int, ...]) -> Any:
        name = str(path[0])
        scope = self._scope_of(name)
        if scope is None or scope._table is None:
            return None
        row = scope._first + scope._place[name]
        return _of_task(scope._table, row, path[1:])


def _of_task(table: Table, row: int, steps: tuple[str | int, ...]) -> Any:
    """`output`, `status`, or a task of a group, behind the name of a task."""
    if not steps:
        return None
    match steps[0]:
        case "output":
            value = table.values[row] if table.status[row] == SUCCEEDED else None
            return follow(value, steps[1:])
        case "status":
            return str(STATUSES[table.status[row]])
    inner = next((child for child in table.children(row) if table.key(child).rsplit("/", 1)[-1] == steps[0]), None)
    return None if inner is None else _of_task(table, inner, steps[1:])


def _error_data(failure: Try) -> dict[str, Any]:
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


def _filled(data: Any, scope: _Scope) -> Any:
    """Data with its templates replaced by their values."""
    if isinstance(data, Template):
        return data.value(scope)
    if isinstance(data, list):
        return [_filled(each, scope) for each in data]
    if isinstance(data, dict):
        return {key: _filled(each, scope) for key, each in data.items()}
    return data


# -- work


class _Tasks(Work):
    """The tasks of a file or of a group, behind them those that clean up."""

    def __init__(
        self, tasks: Mapping[str, FlowTask], around: _Scope, cleanups: Mapping[str, FlowTask] | None = None
    ) -> None:
        self._tasks = [*tasks.values(), *(cleanups or {}).values()]
        self._around = around
        self.place = {key: at for at, key in enumerate((*tasks, *(cleanups or ())))}
        self.members = len(tasks)
        self._suspects: Container[type] = ()
        if any(isinstance(task.body, Ask) and task.body.revises for task in self._tasks):
            from plait.approving import Revised  # few files ask

            self._suspects = frozenset((Revised,))
        self.filed = [
            at
            for at, task in enumerate(self._tasks)
            if task.wants is not None and task.wants.names_files and task.foreach is None
        ]

    def join(self, table: Table, rows: range) -> dict[str, Any]:
        """The value of a group of these tasks."""
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
            policies=[task.whole if task.whole is not None else task.policy for task in self._tasks],
            controls=[at for at, task in enumerate(self._tasks) if task.is_control],
            conditional=[
                at
                for at, task in enumerate(self._tasks)
                if task.when is not None or (task.wants is not None and task.foreach is None and self._decides(at))
            ],
            cleanups=range(self.members, len(self._tasks)),
            repairs=[at for at, task in enumerate(self._tasks) if task.on_error is not None and task.foreach is None],
        )

    def _decides(self, place: int) -> bool:
        """Is something of the task worked out once its needs are met?"""
        wants = self._tasks[place].wants
        return wants is not None and (wants.decides or (wants.names_files and self.files(place) is None))

    def files(self, place: int) -> RawFiles | None:
        return _files(self._tasks[place], self._around, self.place)

    def where(self, place: int) -> Where:
        return self._tasks[place].where

    def shape(self, place: int) -> Foreseen | None:
        task = self._tasks[place]
        if not task.names_files:
            return None
        if task.foreach is None:
            assert isinstance(task.body, Group)
            return Foreseen(_Tasks(task.body.tasks, self._around, task.body.cleanups).batch(), many=False)
        if isinstance(task.foreach, list) and not holds_template(task.foreach):
            return Foreseen(_Items(task, task.foreach, self._around).shaped(), many=False)
        return Foreseen(_Items(task, [None], self._around.at_item(None, 0, _EACH)).shaped(), many=True)

    def shape_of_repair(self, place: int) -> Foreseen | None:
        return _shape_of_repair(self._tasks[place], self._around)

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        return _grow_repair(self._tasks[place], failure, self._scope(table, first))

    def _scope(self, table: Table, first: int) -> _Scope:
        return self._around.inside(table, first, self.place)

    @property
    def suspects(self) -> Container[type]:  # type: ignore[override]
        return self._suspects

    def check(self, place: int, value: Any, table: Table, first: int) -> Growth | None:
        return self._revision(place, value.feedback, table, first) if type(value).__name__ == "Revised" else None

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        if regrowth.snapshot is not None:
            return self._revision(place, str(regrowth.snapshot["feedback"]), table, first)
        return self.children(place, table, first)

    def _revision(self, place: int, feedback: str, table: Table, first: int) -> Growth:
        """What an approval wants done again, and behind it the approval of that."""
        task, known = self._tasks[place], {each.key: each for each in self._tasks}
        body = task.body
        assert isinstance(body, Ask)
        again = {key: known[key] for key in body.revises}
        again[task.key] = replace(task, when=None, body=replace(body, rounds=body.rounds - 1))
        work = _Revision(again, self._scope(table, first).at_feedback(feedback), feedback)

        def approved(table: Table, rows: range) -> Any:
            row = rows.start + len(body.revises)
            if table.status[row] != SUCCEEDED:
                raise TaskError(f"what {task.key!r} wanted done again was not done, so nobody approved it")
            return table.values[row]

        return Growth(work.batch(), approved)

    def call(self, place: int, table: Table, first: int) -> Call:
        return _call(self._tasks[place], self._scope(table, first))

    def decide(self, place: int, table: Table, first: int) -> bool:
        when = self._tasks[place].when
        if when is None:
            return True
        value = when.value(self._scope(table, first)) if isinstance(when, Template) else when
        return truth(value)

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        task = self._tasks[place]
        return None if task.foreach is not None else _wanted(task, self._scope(table, first))

    def children(self, place: int, table: Table, first: int) -> Growth:
        task = self._tasks[place]
        scope = self._scope(table, first)
        if task.foreach is None:
            return _grow_group(task, scope)
        items = _filled(task.foreach, scope)
        if not isinstance(items, (list, tuple)):
            raise UsageError(f"foreach of task {task.key!r} needs a list, and was given {_shown(items)}")
        if len(items) > MOST_ITEMS:
            raise UsageError(
                f"foreach of task {task.key!r} was given {len(items):,} items; at most {MOST_ITEMS:,} are allowed"
            )
        return _Items(task, list(items), scope).growth()

    def declared(self, place: int) -> Any:
        return _declared(self._tasks[place], self._around)

    def inside(self, place: int) -> tuple[Work, Join] | None:
        task = self._tasks[place]
        if task.foreach is not None:
            return _Items(task, [], self._around), _join_items
        return _inside_group(task, self._around)

    def identities(self) -> list[str]:
        return [task.key for task in self._tasks]


class _Revision(_Tasks):
    """What runs again for an approval, and that approval."""

    def __init__(self, tasks: Mapping[str, FlowTask], scope: _Scope, feedback: str) -> None:
        super().__init__(tasks, scope)
        self._feedback = feedback

    def snapshot(self) -> Any:
        return {"feedback": self._feedback}


class _Items(Work):
    """The items of a foreach: the same task, once for each."""

    def __init__(self, task: FlowTask, items: list[Any], scope: _Scope) -> None:
        self._task = task
        self._items = items
        self._scope = scope
        self.policy = task.policy
        self.filed = range(len(items)) if task.wants is not None and task.wants.names_files else ()

    def growth(self) -> Growth:
        return Growth(self._batch([f"[{key}]" for key in self._keys()]), _join_items)

    def shaped(self) -> Batch:
        """The items before they grow; one stands for all where they are not known."""
        if not self._scope.knows("item", ()):
            return self._batch(["[...]"])
        keys: Sequence[object] = range(len(self._items))
        named = self._task.item_key
        if named is not None and _known((named,), self._scope, ()):
            with contextlib.suppress(UsageError):  # that is told when they grow
                keys = self._keys()
        return self._batch([f"[{key}]" for key in keys])

    def _batch(self, keys: Sequence[str]) -> Batch:
        size = len(keys)
        return Batch(
            size,
            calls=self,  # type: ignore[arg-type]
            keys=keys,
            policy=self._task.policy,
            conditional=range(size) if self._task.wants is not None and self._task.wants.decides else (),
            controls=range(size) if isinstance(self._task.body, Group) else (),
            repairs=range(size) if self._task.on_error is not None else (),
        )

    def files(self, place: int) -> RawFiles | None:
        return _files(self._task, self._scope.at_item(self._items[place], place), ())

    def where(self, place: int) -> Where:
        return self._task.where

    def shape(self, place: int) -> Foreseen | None:
        body = self._task.body
        if not isinstance(body, Group) or not body.names_files:
            return None
        scope = self._scope.at_item(self._items[place], place)
        return Foreseen(_Tasks(body.tasks, scope, body.cleanups).batch(), many=False)

    def shape_of_repair(self, place: int) -> Foreseen | None:
        return _shape_of_repair(self._task, self._scope.at_item(self._items[place], place))

    def _keys(self) -> list[str]:
        template = self._task.item_key
        if template is None:
            return list(map(str, range(len(self._items))))
        keys = [template.text(self._scope.at_item(item, index)) for index, item in enumerate(self._items)]
        seen: set[str] = set()
        for key in keys:
            if not key or len(key) > 200 or not key.isprintable():
                raise UsageError(
                    f"foreach of task {self._task.key!r} gives the key {key[:60]!r}, which cannot name a task"
                )
            if key in seen:
                raise UsageError(
                    f"foreach of task {self._task.key!r} gives the key {key!r} twice: leave `key` out to number the items"
                )
            seen.add(key)
        return keys

    def call(self, place: int, table: Table, first: int) -> Call:
        return _call(self._task, self._scope.at_item(self._items[place], place))

    def decide(self, place: int, table: Table, first: int) -> bool:
        return True

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        return _wanted(self._task, self._scope.at_item(self._items[place], place))

    def children(self, place: int, table: Table, first: int) -> Growth:
        return _grow_group(self._task, self._scope.at_item(self._items[place], place))

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        item = self._items[place] if place < len(self._items) else None
        return _grow_repair(self._task, failure, self._scope.at_item(item, place))

    def declared(self, place: int) -> Any:
        return _declared(self._task, self._scope)

    def inside(self, place: int) -> tuple[Work, Join] | None:
        return _inside_group(self._task, self._scope)

    def identities(self) -> str:
        return f"{self._task.key}[]"


def _declared(task: FlowTask, scope: _Scope) -> Any:
    """The type that the function of a task declares."""
    body = task.body
    return declared_type(scope.functions[body.module, body.name]) if isinstance(body, PythonCall) else None


_EACH = frozenset(("item", "index"))


def _files(task: FlowTask, scope: _Scope, beside: Container[str]) -> RawFiles | None:
    """What one task reads and writes, if its templates name nothing that is not known yet: no task of those `beside`."""
    wants = task.wants
    if wants is None or not _known((*(wants.reads or ()), *(wants.writes or ())), scope, beside):
        return None
    return _paths(task, scope)


def _known(templates: Iterable[Template], scope: _Scope, beside: Container[str]) -> bool:
    """Is all known that these templates name, and none of it a task of those `beside`?"""
    return all(
        scope.knows(root, steps) and not (root == "tasks" and steps and steps[0] in beside)
        for template in templates
        for hole in template.holes
        for root, steps in hole.lookup.names()
    )


def _paths(task: FlowTask, scope: _Scope) -> RawFiles | None:
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


def _wanted(task: FlowTask, scope: _Scope) -> Wanted | None:
    """What is worked out for one task, as its templates have it."""
    wants = task.wants
    if wants is None:
        return None
    key = None if wants.key is None else wants.key.text(scope)
    return key, wants.n, wants.units(scope), _paths(task, scope)


def _join_items(table: Table, rows: range) -> list[Any]:
    return [table.values[row] if table.status[row] == SUCCEEDED else None for row in rows]


def _grow_group(task: FlowTask, scope: _Scope) -> Growth:
    work = _group_work(task, scope)
    return Growth(work.batch(), work.join)


def _group_work(task: FlowTask, scope: _Scope) -> _Tasks:
    assert isinstance(task.body, Group)
    return _Tasks(task.body.tasks, scope, task.body.cleanups)


def _inside_group(task: FlowTask, scope: _Scope) -> tuple[Work, Join] | None:
    if not isinstance(task.body, Group):
        return None
    work = _group_work(task, scope)
    return work, work.join


class _Repair(_Tasks):
    """The `on_error` of a task."""

    def __init__(self, task: FlowTask, scope: _Scope) -> None:
        assert task.on_error is not None
        super().__init__({REPAIR: task.on_error}, scope)
        self._of = task.key

    def identities(self) -> list[str]:
        return [f"{self._of}/{REPAIR}"]

    def batch(self) -> Batch:
        batch = super().batch()
        batch.is_repair = True
        return batch


def _grow_repair(task: FlowTask, failure: Try, scope: _Scope) -> Growth:
    return Growth(_Repair(task, scope.at_error(failure)).batch(), lambda table, rows: table.values[rows.start])


def _shape_of_repair(task: FlowTask, scope: _Scope) -> Foreseen | None:
    """The `on_error` of a task that has not failed yet."""
    if task.on_error is None or not task.on_error.names_files:
        return None
    return Foreseen(_Repair(task, scope.before_error()).batch(), many=False)


def _call(task: FlowTask, scope: _Scope) -> Call:
    body = task.body
    if isinstance(body, PythonCall):
        function = scope.functions[body.module, body.name]
        return executor_for(function, body.executor), function, (), _filled(dict(body.arguments), scope)
    if isinstance(body, Ask):
        from plait.approving import reviewed  # few files ask
        from plait.asking import asked, settings_of

        settings = settings_of(body.form, body.default, body.timeout, body.who)
        prompt = body.prompt.text(scope)
        if not body.approves:
            return "async", asked, (prompt, settings), None
        outputs = {key: scope.task((key, "output")) for key in body.approves}
        work = outputs if body.several else outputs[body.approves[0]]
        return "async", reviewed, (prompt, {**settings, "rounds": body.rounds, "round": scope.round}, work), None
    assert isinstance(body, (Script, Argv))
    env = {**scope.env, **{name: template.text(scope) for name, template in body.env.items()}}
    cwd = body.cwd.text(scope) if body.cwd is not None else None
    if isinstance(body, Script):
        script, values = body.script.script(scope)
        return "shell", ShellCommand("", None, cwd, body.output), (script, {**env, **values}), None
    words = tuple(word.text(scope) for word in body.words)
    return "shell", ShellCommand((), None, cwd, body.output), (words, env), None


def truth(value: Any) -> bool:
    """Is a value true? As in the expression language: not false, null, 0, NaN and the empty text."""
    if isinstance(value, (list, dict)):
        return True
    return bool(value) and value == value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = ["Flow", "load", "truth"]
