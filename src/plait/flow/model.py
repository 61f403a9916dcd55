"""A workflow file as checked values: what the loader makes and the compiler takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from plait._core.policy import Policy
from plait.calls.shell import OutputKind
from plait.flow.lookups import Scope
from plait.flow.problems import Place
from plait.flow.templates import Template


@dataclass(frozen=True, slots=True)
class Script:
    """`run:` with text: a script for `/bin/sh -c`."""

    script: Template
    output: OutputKind
    env: Mapping[str, Template]
    cwd: Template | None


@dataclass(frozen=True, slots=True)
class Argv:
    """`run:` with a list: words, without a shell."""

    words: tuple[Template, ...]
    output: OutputKind
    env: Mapping[str, Template]
    cwd: Template | None


@dataclass(frozen=True, slots=True)
class PythonCall:
    """`call:`: a function, by module and name, with arguments."""

    module: str
    name: str
    arguments: Mapping[str, Any]  # plain data with Templates in it
    at: Place
    executor: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """`tasks:`: tasks that are one task to the outside, and those of its `finally:`."""

    tasks: Mapping[str, FlowTask]
    names_files: bool = False
    """Does a task in it say what it reads or writes?"""
    cleanups: Mapping[str, FlowTask] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """`ask:`: a question for a person. `form` is what the file says of the answer, `default` empty or the one that counts after `timeout` seconds."""

    prompt: Template
    form: Any
    default: tuple[Any, ...] = ()
    timeout: float | None = None
    who: tuple[str, ...] = ()
    approves: tuple[str, ...] = ()
    """The tasks whose work is asked about; none: it is a question as any other."""
    several: bool = False
    """Were they given as a list?"""
    rounds: int = 0
    """So often they may be asked for again."""
    revises: tuple[str, ...] = ()
    """What runs again then: the tasks that take the feedback, and all between these and what is approved."""


Body: TypeAlias = Script | Argv | PythonCall | Group | Ask


@dataclass(frozen=True, slots=True)
class Wants:
    """`concurrency_key`, `cost`, `reads` and `writes` as templates: worked out for each task."""

    key: Template | None
    n: int
    cost: Template | None
    reads: tuple[Template, ...] | None = None
    writes: tuple[Template, ...] | None = None

    def units(self, scope: Scope) -> Any:
        """The cost of one task: text is read as a number. None: what its policy says."""
        cost = None if self.cost is None else self.cost.value(scope)
        return int(cost) if isinstance(cost, str) and re.fullmatch(r"\s*[0-9]{1,300}\s*", cost) else cost

    @property
    def decides(self) -> bool:
        """Is there more than paths, so that the task is decided once its needs are met?"""
        return self.key is not None or self.cost is not None

    @property
    def names_files(self) -> bool:
        """Are there paths to be worked out?"""
        return self.reads is not None or self.writes is not None


@dataclass(frozen=True, slots=True)
class FlowTask:
    """One task of a file. With `foreach` the policy is each item's, and `whole` that of all of them."""

    key: str
    at: Place
    body: Body
    needs: tuple[str, ...]  # declared and found in templates, in the order of the file
    policy: Policy
    whole: Policy | None = None
    foreach: Template | list[Any] | None = None
    item_key: Template | None = None
    when: Template | bool | None = None
    wants: Wants | None = None
    files_at: Place | None = None
    file: str = ""
    on_error: FlowTask | None = None
    takes_feedback: bool = False
    """Does it look up `feedback`?"""

    @property
    def names_files(self) -> bool:
        """Does it say, or a task in it or its `on_error`, what it reads or writes?"""
        if self.on_error is not None and self.on_error.names_files:
            return True
        if isinstance(self.body, Group):
            return self.body.names_files
        worked_out = self.wants is not None and self.wants.names_files
        return worked_out or bool(self.policy.reads or self.policy.writes)

    @property
    def where(self) -> tuple[str, int, int]:
        """Where it says what it reads and writes."""
        at = self.files_at or self.at
        return self.file, at.line, at.column

    @property
    def is_control(self) -> bool:
        """Does it grow others instead of running something itself?"""
        return self.foreach is not None or isinstance(self.body, Group)

    @property
    def inner(self) -> list[FlowTask]:
        """The tasks that stand in it in the file: those of a group, its cleanups, its `on_error`."""
        found = [*self.body.tasks.values(), *self.body.cleanups.values()] if isinstance(self.body, Group) else []
        return found if self.on_error is None else [*found, self.on_error]


@dataclass(frozen=True, slots=True)
class Input:
    """A declared input: its type by name, and its default (`required` if there is none)."""

    type: str
    default: Any = None
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class FlowFile:
    """A checked workflow file."""

    path: Path
    name: str
    inputs: Mapping[str, Input]
    env: Mapping[str, Template]
    tasks: Mapping[str, FlowTask]
    outputs: Mapping[str, Template]
    cleanups: Mapping[str, FlowTask] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)  # max_concurrency, on_failure, deadline
    text: str = ""
