"""A workflow file as checked values: what the loader makes and the compiler takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from plait._core.policy import Policy
from plait.calls.shell import OutputKind
from plait.expressions import Names
from plait.flow.problems import Place, Problem
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
    file: Path = Path()
    """The workflow file; modules that lie beside it are found first."""

    target: tuple[str, str, str] = field(init=False, compare=False)
    """Which function it is, whichever file of a run names it: folder, module, name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", (str(self.file.parent), self.module, self.name))


@dataclass(frozen=True, slots=True)
class Http:
    """`http:`: a request; `fixed` are the options that hold no template, `filled` those that do."""

    fixed: Mapping[str, Any]
    filled: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """`tasks:`: tasks that are one task to the outside, and those of its `finally:`."""

    tasks: Mapping[str, FlowTask]
    cleanups: Mapping[str, FlowTask] = field(default_factory=dict)

    @property
    def all(self) -> Iterator[FlowTask]:
        """All of them, in order."""
        yield from self.tasks.values()
        yield from self.cleanups.values()


@dataclass(frozen=True, slots=True)
class Parallel:
    """`parallel:`: branches by their names, that run beside one another and see nothing of one another."""

    branches: Mapping[str, Group]


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a `switch:`; without `when` it is chosen where no other is."""

    when: Template | bool | None
    group: Group


@dataclass(frozen=True, slots=True)
class Switch:
    """`switch:`: the first case whose `when` holds."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """`tasks:` with `loop:` or `while:`: rounds, one after the other, each of them a group.

    `until` is looked at after each round, `condition` before each. `most` rounds: with a condition, more are an error.
    """

    group: Group
    most: int
    until: Template | bool | None
    condition: Template | bool | None
    policy: Policy
    """Of each round as a group."""


@dataclass(frozen=True, slots=True)
class Subflow:
    """`flow:`: the tasks of another file, with inputs of its own."""

    flow: FlowFile
    arguments: Mapping[str, Any]  # plain data with Templates in it
    said: str
    """How this file names it."""


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


Body: TypeAlias = Script | Argv | PythonCall | Http | Ask | Group | Parallel | Switch | Loop | Subflow

CONTROLS = (Group, Parallel, Switch, Loop, Subflow)
"""What grows tasks instead of running something itself."""


def groups(body: Body) -> tuple[Group, ...]:
    """The groups that a body is made of, in the order of the file; those of another file are that one's."""
    match body:
        case Group():
            return (body,)
        case Parallel(branches):
            return tuple(branches.values())
        case Switch(cases):
            return tuple(case.group for case in cases)
        case Loop(group):
            return (group,)
        case Subflow(flow):
            return (Group(flow.tasks, flow.cleanups),)
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """`matrix:`: every combination of the axes, but for those left out, and those put in.

    `exclude` and `include` are as on GitHub Actions: an entry leaves out each combination that has all of its values; an entry
    that is put in is added to each combination none of whose axes it would change, and is one of its own where there is none.
    """

    axes: Mapping[str, Template | list[Any]]
    include: list[Any]
    exclude: list[Any]


@dataclass(frozen=True, slots=True)
class Wants:
    """`concurrency_key`, `cost`, `reads` and `writes` as templates: worked out for each task."""

    key: Template | None
    n: int
    cost: Template | None
    reads: tuple[Template, ...] | None = None
    writes: tuple[Template, ...] | None = None

    def units(self, scope: Names) -> Any:
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
    foreach: Template | list[Any] | Matrix | None = None
    item_key: Template | None = None
    when: Template | bool | None = None
    wants: Wants | None = None
    files_at: Place | None = None
    file: str = ""
    on_error: FlowTask | None = None
    takes_feedback: bool = False
    """Does it look up `feedback`?"""

    names_files: bool = field(init=False)
    """Does it say, or a task in it or its `on_error`, what it reads or writes?"""

    def __post_init__(self) -> None:
        worked_out = self.wants is not None and self.wants.names_files
        own = worked_out or bool(self.policy.reads or self.policy.writes)
        object.__setattr__(self, "names_files", own or any(task.names_files for task in self.inner))

    @property
    def where(self) -> tuple[str, int, int]:
        """Where it says what it reads and writes."""
        at = self.files_at or self.at
        return self.file, at.line, at.column

    @property
    def stands(self) -> tuple[str, int, int]:
        """Where it stands itself."""
        return self.file, self.at.line, self.at.column

    @property
    def is_control(self) -> bool:
        """Does it grow others instead of running something itself?"""
        return self.foreach is not None or isinstance(self.body, CONTROLS)

    @property
    def inner(self) -> list[FlowTask]:
        """The tasks that stand in it: those of its groups, their cleanups, its `on_error`."""
        found = [task for group in groups(self.body) for task in group.all]
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
    size: int = 0
    """So many tasks are written in it, and in the files that it names, as often as it names them."""
    warnings: tuple[Problem, ...] = ()
    """What does not keep it from being run, and is worth a look."""

    @property
    def all(self) -> Iterator[FlowTask]:
        """Its tasks, and those that clean up after them."""
        yield from self.tasks.values()
        yield from self.cleanups.values()
