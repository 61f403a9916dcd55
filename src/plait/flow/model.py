"""A workflow file as checked values: what the loader makes and the compiler takes."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

from plait._core.policy import Policy, Retry
from plait.calls.shell import OutputKind
from plait.errors import UsageError
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


@dataclass(slots=True)
class Layout:
    """Where the names of FlowScript lead in a group: by the places of its tasks, in the order of the file."""

    ids: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    """Of each node that can be seen from here: in which task it is, and the keys below that."""
    keys: list[str] = field(default_factory=list)
    """Of its tasks, by place."""
    sets: dict[str, list[int]] = field(default_factory=dict)
    """Of each variable: the tasks that set it, themselves or in what they hold and share their scope with."""
    jumps: list[int] = field(default_factory=list)
    """The tasks that may end the sequence, by a `break` or `continue` in them."""
    gates: list[int] = field(default_factory=list)
    """The checkpoints that may send the run back, or on."""
    nodes: dict[str, FlowTask] = field(default_factory=dict)
    """Every node of the file by its key; one and the same for all groups of it."""

    @property
    def first_exit(self) -> float:
        """The first task behind which others may be left out."""
        return min((*self.jumps, *self.gates), default=inf)

    def part(self, start: int, stop: int) -> Layout:
        """The same for the tasks from `start` to before `stop` by themselves."""
        return self._of(range(start, stop))

    def only(self, keys: Container[str]) -> Layout:
        """The same for the tasks with these keys by themselves."""
        return self._of([place for place, key in enumerate(self.keys) if key in keys])

    def _of(self, places: Sequence[int]) -> Layout:
        at = {place: number for number, place in enumerate(places)}
        return Layout(
            {name: (at[place], keys) for name, (place, keys) in self.ids.items() if place in at},
            [self.keys[place] for place in places],
            {name: [at[each] for each in found if each in at] for name, found in self.sets.items()},
            [at[each] for each in self.jumps if each in at],
            [at[each] for each in self.gates if each in at],
            self.nodes,
        )


@dataclass(frozen=True, slots=True)
class Group:
    """`tasks:`: tasks that are one task to the outside, and those of its `finally:`."""

    tasks: Mapping[str, FlowTask]
    cleanups: Mapping[str, FlowTask] = field(default_factory=dict)
    layout: Layout | None = field(default=None, compare=False, repr=False)
    """Of FlowScript: then its value is the output of the node that was executed last."""
    outputs: Mapping[str, Template] | Template | None = None
    """What its value is made of; None: the outputs of its tasks, by their keys."""

    @property
    def all(self) -> Iterator[FlowTask]:
        """All of them, in order."""
        yield from self.tasks.values()
        yield from self.cleanups.values()


@dataclass(frozen=True, slots=True)
class Parallel:
    """`parallel:`: branches by their names, that run beside one another and see nothing of one another."""

    branches: Mapping[str, Group]
    merge: str | Template = "array"
    """What the results come to: array, concat, object, or an expression over them."""
    first: bool = False
    """Only the first ones count that succeed, as many as `min_success` wants."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a `switch:`; without `when` it is chosen where no other is."""

    when: Template | bool | None
    group: Group


@dataclass(frozen=True, slots=True)
class Switch:
    """`switch:`: the first case whose `when` holds."""

    cases: tuple[Case, ...]
    must: str = ""
    """What is told where none holds; empty: then there is no value, and that is no error."""


@dataclass(frozen=True, slots=True)
class Loop:
    """`tasks:` with `loop:` or `while:`: rounds, one after the other, each of them a group.

    `until` is looked at after each round, `condition` before each. `most` rounds: with a condition, more are an error.
    """

    group: Group
    most: int | Template
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
    shares: bool = False
    """Of FlowScript: does it see the config and the secrets of this file?"""


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


@dataclass(frozen=True, slots=True)
class NodeCall:
    """A source, transform or sink of FlowScript; `node:` in YAML."""

    type: str
    """As in the registry: `source:http`."""
    fixed: Mapping[str, Any]
    """Its fields that hold no template, read, and those that are expressions."""
    filled: Mapping[str, Any]
    """The others: plain data with Templates in it."""
    from_data: frozenset[str] = frozenset()
    """Those of them that are made of what the file does not say."""
    when: Template | None = None
    """For which failures it is tried again; None: for those after which that may help."""
    server: Template | None = None
    """What stands before the first data in its URL: where that is the whole server, data says the path alone."""
    said: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """All its fields as the file has them, before they are read: plain data, Templates, and Formulas of expressions."""


@dataclass(frozen=True, slots=True)
class Assign:
    """`set` and `context`: variables and their values. `single`: its output is the one value, not an object."""

    values: Mapping[str, Any]
    single: bool


@dataclass(frozen=True, slots=True)
class Delay:
    """`delay`: so many seconds in which nothing behind it starts."""

    seconds: float | Template

    def seconds_of(self, scope: Names) -> float:
        """How long it takes.

        Raises:
            UsageError: for a template that gives no duration.
        """
        if not isinstance(self.seconds, Template):
            return self.seconds
        from plait.nodes.base import duration  # only FlowScript has them

        try:
            return duration(self.seconds.value(scope))
        except ValueError as error:
            raise UsageError(f"duration: {error}") from None


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` and `continue`, of the loop with that key."""

    ends: bool
    loop: str


@dataclass(frozen=True, slots=True)
class Action:
    """What a person may choose at a gate. `goto`: the sibling with which it goes on."""

    id: str
    label: str = ""
    goto: str = ""
    back: bool = False
    """Does that stand before the gate?"""


@dataclass(frozen=True, slots=True)
class Gate:
    """`checkpoint`: what stands behind it waits for a person."""

    prompt: Template
    actions: tuple[Action, ...] = ()
    default: str | Template = ""
    timeout: float | Template | None = None
    takes_text: bool = False


@dataclass(frozen=True, slots=True)
class Attempts:
    """A block that is tried again, as a whole, where it fails."""

    group: Group
    retry: Retry
    policy: Policy
    """Of each try as a group."""
    when: Template | None = None
    """For which failures there is another one; None: for those after which it may help."""
    late: Mapping[str, Template] = field(default_factory=dict)
    """What of `retry` is worked out when the block begins."""


Body: TypeAlias = (
    Script | Argv | PythonCall | Http | Ask | Group | Parallel | Switch | Loop | Subflow | NodeCall | Assign | Delay | Jump | Gate
    | Attempts
)  # fmt: skip

CONTROLS = (Group, Parallel, Switch, Loop, Subflow, Jump, Attempts)
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
        case Loop(group) | Attempts(group):
            return (group,)
        case Subflow(flow):
            return (flow.group,)
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
    takes: Any = None
    """Of a node: what `input` stands for in it, a Template or a list of them."""
    item_names: tuple[str, str] = ("item", "index")
    late: Mapping[str, Template] = field(default_factory=dict)
    """Options of its policy that are worked out when it begins, by their names."""
    passes_on: bool = False
    """Of FlowScript: it counts as executed for nothing, as a `delay` does: its sequence has the output of the one before it."""

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
    def core(self) -> FlowTask:
        """The node as it stands in the file, where something stands around it that tries it again, or waits for its options."""
        return next((group.tasks[self.key] for group in groups(self.body) if self.key in group.tasks), self)

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
    outputs: Mapping[str, Template] | Template
    cleanups: Mapping[str, FlowTask] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)  # max_concurrency, on_failure, deadline
    text: str = ""
    size: int = 0
    """So many tasks are written in it, and in the files that it names, as often as it names them."""
    warnings: tuple[Problem, ...] = ()
    """What does not keep it from being run, and is worth a look."""
    secrets: tuple[str, ...] = ()
    """The names of the secrets that it declares."""

    @property
    def group(self) -> Group:
        """All of its tasks as one group."""
        return Group(self.tasks, self.cleanups, outputs=self.outputs or None)

    @property
    def all(self) -> Iterator[FlowTask]:
        """Its tasks, and those that clean up after them."""
        yield from self.tasks.values()
        yield from self.cleanups.values()
