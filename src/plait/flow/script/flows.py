"""A loaded FlowScript file: configured, given its input, and made a graph."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from copy import copy
from datetime import datetime
from pathlib import Path
from typing import Any

from plait._core.result import RunResult
from plait.flow.compile import Flow, flows_in
from plait.flow.model import Group, NodeCall
from plait.flow.scopes import Around, Functions
from plait.flow.script.definitions import Values, definition
from plait.flow.script.reader import ScriptFile
from plait.flow.script.running import loaded
from plait.flow.script.scope import NodeScope
from plait.flow.stacks import with_own_stack
from plait.flow.work import Tasks, last_output
from plait.programs import Program


class ScriptFlow(Flow):
    """A loaded FlowScript file. What it is given (`inputs`) is the workflow's input."""

    file: ScriptFile

    def __init__(self, file: ScriptFile) -> None:
        super().__init__(file)
        self._config: Mapping[str, Any] = {}
        self._env: tuple[str, ...] = ()
        self._allowed: tuple[Path, ...] = ()
        self.logs = False
        """Is what becomes of a run appended to the file?"""
        self._started_at: float | None = None
        self._is_restored = False

    def configured(
        self,
        config: Mapping[str, Any] = {},
        *,
        env: tuple[str, ...] = (),
        allowed: tuple[Path, ...] = (),
        logs: bool = False,
    ) -> ScriptFlow:
        """The same flow with these values of its configuration (text is read as JSON where that fits); `env` are variables of the environment that it may read, `allowed`
        folders beside the working directory in which it may read and write. `logs`: what becomes of a run is appended to the file.

        Raises:
            UsageError: for what is not declared, or does not fit.
        """
        made = copy(self)
        made._config, made._env, made._allowed, made.logs = dict(config), env, allowed, logs
        made.file.front.configured(made.file.path, config)
        return made

    def snapshot(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        found = super().snapshot(inputs)
        return {
            **found,
            "config": dict(self._config),
            "env": list(self._env),
            "allowed": [str(each) for each in self._allowed],
            "logs": self.logs,
            "started_at": time.time() if self._started_at is None else self._started_at,
        }

    def _definition(self) -> Any:
        front = self.file.front
        values = Values(front.configured(self.file.path, self._config), front.schemas)
        return {**with_own_stack(lambda: definition(self.file.root, values)), "secrets": list(front.secrets)}

    def restored(self, snapshot: Mapping[str, Any]) -> ScriptFlow:
        """The flow as a stored run has it."""
        made = copy(self)
        made._config = dict(snapshot.get("config", {}))
        made._env = tuple(snapshot.get("env", ()))
        made._allowed = tuple(map(Path, snapshot.get("allowed", ())))
        made.logs = bool(snapshot.get("logs", False))
        made._started_at, made._is_restored = snapshot.get("started_at"), True
        return made

    @property
    def declared(self) -> Collection[str]:
        return self.file.front.input

    def inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return self.file.front.inputs(self.file.path, given)

    def _functions(self) -> Functions:
        """No functions; but the types of node are loaded here that packages bring along.

        Raises:
            UsageError: for one that cannot be loaded.
        """
        for file in (self.file, *flows_in(self.file).values()):
            assert isinstance(file, ScriptFile)
            nodes = file.root.layout.nodes if file.root.layout is not None else {}
            for name in {task.body.type for task in nodes.values() if isinstance(task.body, NodeCall)}:
                loaded(name)
        return {}

    def program(self, inputs: Mapping[str, Any]) -> Program:
        if not self._is_restored:
            self._started_at = time.time()  # what is kept of the run is asked for behind this
        work = self._work(inputs, self._functions())
        tasks = list(self.tasks.values())

        def value(result: RunResult) -> Any:
            return work.around.hidden(last_output(tasks, result.table, range(len(tasks))))

        return Program(work.batch(), [], self.name, value, work.around.vault)

    def _work(self, inputs: Mapping[str, Any], functions: Functions) -> Tasks:
        front = self.file.front
        given = {"config": front.configured(self.file.path, self._config), "input": self.inputs(inputs)}
        names = [name for file in (self.file, *flows_in(self.file).values()) for name in file.secrets]
        vault = None
        if names:
            from plait.redaction import Secrets  # few files have some

            vault = Secrets(names, {**given["config"], **given["input"]})
        started = time.time() if self._started_at is None else self._started_at
        run = {"workflow": self.name, "startedAt": datetime.fromtimestamp(started).astimezone().isoformat()}
        around = Around(
            given,
            {name: os.environ[name] for name in self._env if name in os.environ},
            functions,
            run,
            secrets={} if vault is None else vault.of(self.file.secrets),
            vault=vault,
            schemas=front.schemas,
            allowed=self._allowed,
        )
        group = self.file.root
        if self._only is not None:
            assert group.layout is not None
            group = Group(self.tasks, layout=group.layout.only(self.tasks))
        return Tasks(self.tasks, NodeScope(around).of(group), {}, None, group.layout)
