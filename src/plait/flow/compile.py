"""From a checked file to a graph that can run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from plait._core.graph import Batch
from plait._core.paths import Where
from plait._core.policy import OnConflict, nearest
from plait._core.result import RunResult
from plait._engine.files import NoPath, conflicts
from plait.errors import ExpressionError, UsageError
from plait.fingerprints import fingerprint
from plait.flow.imports import import_calls
from plait.flow.inputs import values_of
from plait.flow.model import FlowFile, FlowTask, Subflow
from plait.flow.problems import START, Place, Problem, Problems
from plait.flow.reader import read_flow
from plait.flow.scopes import ROOTS, Around, Functions, Scope, around_of
from plait.flow.tree import plain, read
from plait.flow.work import EACH, Tasks, outputs_of
from plait.programs import Program


def load(path: str | Path) -> Flow:
    """The workflow in a YAML file, checked; `plait.run(flow, inputs={...})` runs it. Nothing is imported or run here.

    Raises:
        FlowError: with every problem of the file, as `FILE:LINE:COL: error[CODE]: message`.
    """
    path = Path(path)
    if path.name.endswith(".flow.md"):
        from plait.flow.script.flows import ScriptFlow
        from plait.flow.script.reader import read_script

        return ScriptFlow(read_script(path))
    return Flow(read_flow(path, look=_find_conflicts))


def reload(snapshot: Mapping[str, Any]) -> Flow:
    """The workflow that a stored run was started with, as its file is now; as it was, where the file is gone.

    Raises:
        FlowError: for a file that cannot run any more.
    """
    path = Path(snapshot["path"])
    texts = snapshot.get("flows", {})
    text = None if path.exists() else snapshot["text"]
    if path.name.endswith(".flow.md"):
        from plait.flow.script.flows import ScriptFlow
        from plait.flow.script.reader import read_script

        flow: Flow = ScriptFlow(read_script(path, text, texts)).restored(snapshot)
    else:
        flow = Flow(read_flow(path, text, _find_conflicts, texts))
    only = snapshot.get("only")
    return flow if only is None else flow.kept(only)


def _find_conflicts(file: FlowFile, problems: Problems) -> None:
    """Adds the conflicts that are there whatever the inputs are."""
    try:
        found = conflicts(
            _shape(file.tasks, file.cleanups), OnConflict(file.rules.get("on_conflict", OnConflict.REFUSE))
        )
    except NoPath as error:
        _tell(problems, error.where, "value", error.text)
        return
    except ExpressionError as error:
        _tell(problems, _where(error.where), error.code, str(error).removeprefix(f"{error.where}: "))
        return
    if found is None:
        return
    for each in found.told:
        _tell(problems, each.where, "conflict", str(each))
    if found.more:
        problems.add(START, "conflict", found.more)


def _where(place: str) -> Where:
    if not place:
        return None
    name, line, column = place.rsplit(":", 2)
    return name, int(line), int(column)


def _tell(problems: Problems, where: Where, code: str, message: str) -> None:
    """Adds a problem of this file, or of one that it names."""
    name, line, column = where or (problems.file, 1, 1)
    if name == problems.file:
        problems.add(Place(line, column), code, message)
    else:
        problems.others.append(Problem(name, line, column, code, message))


def _shape(tasks: Mapping[str, FlowTask], cleanups: Mapping[str, FlowTask]) -> Batch:
    """The tasks of a run as a batch whose calls nobody can make: to look at, nothing is imported."""
    plain = {key: replace(task, late={}) if task.late else task for key, task in tasks.items()}
    return Tasks(plain, Scope(Around({}, {}, {}), unknown=frozenset(ROOTS) - EACH), cleanups).batch()


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
        return self.kept(wanted)

    def kept(self, keys: Iterable[str]) -> Flow:
        """The same flow with these top-level tasks, as far as they are there, and nothing else."""
        flow = copy(self)
        flow._only = frozenset(keys)
        return flow

    def snapshot(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What a store keeps of this flow, to go on with a run of it and to see an edit."""
        functions = self._functions()
        here = self.file.path.parent
        return {
            "kind": "flow",
            "path": str(self.file.path.resolve()),
            "text": self.file.text,
            "raw": self._definition(),
            "flows": {str(path): flow.text for path, flow in flows_in(self.file).items()},
            "inputs": self.inputs(inputs),
            "only": None if self._only is None else sorted(self._only),
            "code": {called(here, *target): fingerprint(function) for target, function in functions.items()},
        }

    def _definition(self) -> Any:
        """What the file says, as data: an edit is found by that."""
        return _definition(self.file, self.file.path.parent)

    @property
    def tasks(self) -> dict[str, FlowTask]:
        """The tasks that a run has, in the order of the file, but for those that clean up after it."""
        return {key: task for key, task in self.file.tasks.items() if self._only is None or key in self._only}

    @property
    def everything(self) -> dict[str, FlowTask]:
        """These, and those that clean up."""
        return {**self.tasks, **self.file.cleanups}

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What does not keep the file from being run, and is worth a look: one `FILE:LINE:COL: warning[CODE]: ...` each."""
        return self.file.warnings

    def _functions(self) -> Functions:
        files = [self.file, *flows_in(self.file).values()]
        return import_calls(self.everything.values(), {file.path: file.text for file in files})

    def rules(self) -> dict[str, Any]:
        """What the file says of its run; of the files in it the pools."""
        rules = dict(self.file.rules)
        pools = {**self.file.rules.get("pools", {})}
        for flow in flows_in(self.file).values():
            pools = {**flow.rules.get("pools", {}), **pools}
        return {**rules, "pools": pools} if pools else rules

    @property
    def declared(self) -> Collection[str]:
        """The names of its inputs."""
        return self.file.inputs

    def inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all inputs: the given ones, converted from text where needed, and the defaults.

        Raises:
            UsageError: for an unknown, missing or impossible input.
        """
        try:
            return values_of(self.file.path, self.file.inputs, given)
        except UsageError as error:
            if not self.file.secrets:
                raise
            from plait.redaction import Secrets

            raise UsageError(Secrets(self.file.secrets).hidden(str(error))) from None

    def shape(self, inputs: Mapping[str, Any] | None = None) -> Batch:
        """The tasks of a run (with these inputs) as a batch whose calls nobody can make: to look at, nothing is imported.

        Raises:
            UsageError: for inputs that cannot be.
        """
        return _shape(self.tasks, self.file.cleanups) if inputs is None else self._work(inputs, {}).batch()

    def program(self, inputs: Mapping[str, Any]) -> Program:
        """The graph of a run with these inputs; every `call:` is imported here, before anything runs.

        Raises:
            FlowError: for a function that cannot be imported or does not take its arguments, with the place.
            UsageError: for inputs that cannot be.
        """
        work = self._work(inputs, self._functions())
        outputs, around = self.file.outputs, work.around

        def value(result: RunResult) -> Any:
            try:
                return around.hidden(outputs_of(outputs, work.scope(result.table, 0)))
            except Exception as error:
                raise around.hidden(error)  # noqa: B904 - it is the same one, or says that it was another

        return Program(work.batch(), [], self.name, value, around.vault)

    def _work(self, inputs: Mapping[str, Any], functions: Functions) -> Tasks:
        values = self.inputs(inputs)
        names = [name for file in (self.file, *flows_in(self.file).values()) for name in file.secrets]
        vault = None
        if names:
            from plait.redaction import Secrets  # few files have some

            vault = Secrets(names, values)
        return Tasks(self.tasks, Scope(around_of(self.file, values, functions, vault)), self.file.cleanups)

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}: {len(self.tasks)} tasks>"


def flows_in(file: FlowFile) -> dict[Path, FlowFile]:
    """The files that a file names, and those that they name, by their whole paths."""
    found: dict[Path, FlowFile] = {}
    stack: list[FlowTask] = list(file.all)
    while stack:
        task = stack.pop()
        if isinstance(task.body, Subflow):
            path = task.body.flow.path.resolve()
            if path in found:
                continue
            found[path] = task.body.flow
        stack.extend(task.inner)
    return found


def called(here: Path, folder: str | Path, module: str, name: str) -> str:
    """What a function is called on record: with its folder, where that is another one than that of the file."""
    target = f"{module}:{name}"
    whole = Path(folder).resolve()
    return target if whole == here.resolve() else f"{whole}/{target}"


def _definition(file: FlowFile, here: Path) -> Any:
    """The data of a file, with that of the files in it where they are named."""
    raw = plain(read(file.path, Problems(str(file.path)), file.text)[0])
    named = dict(_named(file))
    stack = [raw]
    while stack:
        each = stack.pop()
        if isinstance(each, list):
            stack.extend(each)
        elif isinstance(each, dict):
            flow = named.get(each["flow"]) if isinstance(each.get("flow"), str) else None
            if flow is not None:
                each["flow"] = {"file": each["flow"], "holds": _definition(flow, here)}
            elif isinstance(each.get("call"), str) and ":" in each["call"]:
                each["call"] = called(here, file.path.parent, *each["call"].split(":", 1))
            stack.extend(each.values() if flow is None else [])
    return raw


def _named(file: FlowFile) -> list[tuple[str, FlowFile]]:
    """The files that a file names itself, as it names them."""
    found: list[tuple[str, FlowFile]] = []
    stack: list[FlowTask] = list(file.all)
    while stack:
        task = stack.pop()
        if isinstance(task.body, Subflow):
            found.append((task.body.said, task.body.flow))
            stack.extend([task.on_error] if task.on_error is not None else [])
        else:
            stack.extend(task.inner)
    return found
