"""What texts of a workflow file say: templates, the names in them and what these lead to, and keys that are known or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait._core.graph import safe_key
from plait.errors import GraphError
from plait.expressions import Reference, check_calls
from plait.expressions.faults import VARIABLE
from plait.flow.keys import BODY_KEYS, COMMON, LATER, TOP, VARIABLE_NAME
from plait.flow.model import (
    FlowFile,
    Input,
)  # fmt: skip
from plait.flow.problems import Place, Problems
from plait.flow.scopes import ERROR, OF_RUN, OF_TASK, ROOTS
from plait.flow.templates import Template, TemplateError, parse_template
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree, inside, kind


class Sight:
    """What a task may refer to: the tasks beside it, and those around its group."""

    def __init__(
        self,
        tasks: Map,
        outer: Sight | None = None,
        roots: frozenset[str] = frozenset(),
        cleanups: Map | None = None,
    ) -> None:
        self.tasks = tasks
        self.outer = outer
        self.roots = roots  # of those that are known in some places only: item, error, ...
        self.cleanups = cleanups  # of the same group, where this is for those that they clean up after
        self.lifted: list[str] = []  # tasks of outer groups that something here refers to

    def within(self, *roots: str) -> Sight:
        """The same, seen from where these roots are known, too."""
        return Sight(self.tasks, self.outer, self.roots | set(roots), self.cleanups)

    def is_cleanup(self, name: object) -> bool:
        """Is there a task of that name, but for cleaning up?"""
        return self.cleanups is not None and name in self.cleanups.items and name not in self.tasks.items


class Files:
    """The files that are read for one: each once, and none inside itself."""

    def __init__(self, texts: Mapping[str, str], chain: tuple[Path, ...]) -> None:
        self.texts = texts
        self.chain = chain
        """From the first file to the one that is read, each named by the one before."""
        self.known: dict[Any, FlowFile | None] = {}

    def within(self, path: Path) -> Files:
        """The same, for a file that one of them names."""
        made = Files(self.texts, (*self.chain, path))
        made.known = self.known
        return made


ONLY_IN = {
    "item": "a foreach",
    "index": "a foreach, a matrix or a loop",
    "matrix": "a matrix",
    "previous": "a loop or while",
    "error": "an on_error",
}
"""Where a root is known that is not known everywhere."""


NO_FEEDBACK = "'feedback' is known only in tasks that an approval can have run again: one with `approve:` that depends on this task"


_RAW = "a script as it stands, which all users of the machine can see"


_TOO_LATE = (
    "{0} {1!r}, which is in `finally`: that runs when everything else is over. Drop this, or move {1!r} to `tasks:`"
)


def _inner(tree: Tree) -> list[Map]:
    """The tasks within a task, as they are seen from outside: of a group, of all branches, of all cases."""
    return [] if not isinstance(tree, Map) or {"foreach", "matrix"} & tree.items.keys() else parts_of(tree)


def parts_of(tree: Map) -> list[Map]:
    """The tasks of a group, of each branch, of each case."""
    if "tasks" in tree.items:
        return [together(tree.items["tasks"], tree.items.get("finally"))]
    listed = tree.items.get("parallel", tree.items.get("switch"))
    parts = listed.items if isinstance(listed, Sequence) else []
    return [
        together(part.items["tasks"], part.items.get("finally"))
        for part in parts
        if isinstance(part, Map) and "tasks" in part.items
    ]


def names_with_hyphens(tree: Tree) -> Iterator[str]:
    """The names in a file that hold a hyphen: of tasks, inputs, variables and axes."""
    stack = [(tree, False)]
    while stack:
        each, names = stack.pop()
        if isinstance(each, Sequence):
            stack.extend((item, False) for item in each.items)
        elif isinstance(each, Map):
            if names:
                yield from (key for key in each.items if "-" in key)
            stack.extend(
                (item, key in ("tasks", "finally", "inputs", "env", "matrix")) for key, item in each.items.items()
            )


_WORD = re.compile(r"[\w-]*-[\w-]*")


def hyphen_hint(text: str, at: int) -> str:
    """What to do where a name with a hyphen was meant, and a difference was read."""
    start = at
    while start and (text[start - 1].isalnum() or text[start - 1] in "_-"):
        start -= 1
    found = _WORD.match(text, start)
    return (
        f'a name with a hyphen that no task or input has is written ["{found[0]}"]'
        if found and found.end() > at
        else ""
    )


def together(tasks: Tree, last: Tree | None) -> Map:
    """All tasks of a file or of a group, those of its `finally` included."""
    parts = [each for each in (tasks, last) if isinstance(each, Map)]
    return Map(
        {key: value for part in reversed(parts) for key, value in part.items.items()},
        {key: place for part in reversed(parts) for key, place in part.keys.items()},
        tasks.at,
    )


def scalars(tree: Tree) -> Iterator[Scalar]:
    """All values in it, in order."""
    match tree:
        case Scalar():
            yield tree
        case Sequence(items):
            for each in items:
                yield from scalars(each)
        case Map(items):
            for each in items.values():
                yield from scalars(each)


def is_template(tree: Tree | None) -> bool:
    """Is it text with something to fill in?"""
    return isinstance(tree, Scalar) and isinstance(tree.value, str) and "{{" in tree.value


class Texts:
    """Reads texts, and tells what is wrong with them."""

    def __init__(self, path: Path, problems: Problems, files: Files) -> None:
        self._path = path
        self._problems = problems
        self._files = files
        self._hyphens: frozenset[str] = frozenset()
        """Names with hyphens, which expressions read as one."""
        self._inputs: dict[str, Input] = {}
        self._env: dict[str, Template] = {}
        self._secrets: list[str] = []
        self._named: tuple[str, str] = ("", "")  # what is read that no secret may be in, and what to do about one
        self._defaults: dict[str, Tree] = {}
        self._pools: dict[str, int] = {}
        self._feedback: list[Place] = []  # where it is looked up, and no approval is known that would give it
        self._size = 0  # tasks that were read, those of other files included
        self.whole = True
        """Are all tasks of the file there, in an order?"""

    def bad(self, at: Place, code: str, message: str, hint: str = "") -> None:
        self._problems.add(at, code, message, hint)

    def needs(self, tree: Tree, key: str, around: Sight, says: str = "") -> list[str]:
        listed = tree.items if isinstance(tree, Sequence) else [tree]
        found = []
        for each in listed:
            name = each.value if isinstance(each, Scalar) else None
            if not isinstance(name, str):
                self.bad(each.at, "type", f"needs must be keys of tasks, not {kind(each)}")
            elif name == key:
                self.bad(each.at, "cycle", f"task {key!r} needs itself. Drop that need.")
            elif around.is_cleanup(name):
                self.bad(each.at, "finally", _TOO_LATE.format(f"task {key!r} needs", name))
            elif name not in around.tasks.items:
                self.bad(
                    each.at,
                    "unknown-task",
                    f"{says or f'task {key!r} needs'} {name!r}, which is not beside it{self._problems.nearest(name, around.tasks.items)}",
                )
            else:
                found.append(name)
        return found

    def template(
        self, tree: Tree, around: Sight, needs: list[str] | None = None, roots: tuple[str, ...] = ROOTS
    ) -> Template | None:
        if not isinstance(tree, Scalar) or isinstance(tree.value, (bool, type(None))):
            self.bad(tree.at, "type", f"text is needed here, not {kind(tree)}")
            return None
        if not isinstance(tree.value, str):
            return Template((str(tree.value),))
        try:
            template = parse_template(tree.value, self._hyphens, lambda offset: self.where(tree, offset))
        except TemplateError as error:
            self.bad(self.within(tree, error.offset), error.code, str(error), error.hint)
            return None
        for hole in template.holes:
            for fault in check_calls(hole.formula.tree, self._problems.nearest):
                self.bad(self.within(tree, hole.offset + (fault.offset or 0)), fault.code, str(fault), fault.hint)
            for each in hole.formula.references:
                if each.root == "feedback" and each.root in roots:
                    self._feedback.append(self.within(tree, hole.offset + each.at))
                problem = self.look(each, around, needs, roots)
                at = hole.offset + each.at
                if problem:
                    self.bad(self.within(tree, at), *problem, hyphen_hint(tree.value, at))
                elif (name := self.secret_in(each)) and (self._named[0] or hole.raw):
                    where, hint = self._named if self._named[0] else (_RAW, "drop raw(...)")
                    self.bad(
                        self.within(tree, at), "secret", f"secret {name!r} may not be in {where}", hint.format(name)
                    )
        return template

    @contextmanager
    def naming(
        self, what: str, hint: str = 'hand it over as a variable: `env: {{TOKEN: "{{{{ secrets.{0} }}}}"}}`'
    ) -> Iterator[None]:
        """While this is read no secret may be in it."""
        before, self._named = self._named, (what, hint)
        yield
        self._named = before

    def secret_in(self, reference: Reference) -> str:
        """The secret that a name leads to, also by a variable of the file; empty for none."""
        root, steps = reference.root, reference.steps
        if root == "secrets":
            return str(steps[0]) if steps else "secrets"
        variables = [str(steps[0])] if root == "env" and steps else [*self._env] if root == "env" else []
        looked_up = (each for name in variables if name in self._env for each in self._env[name].references)
        return next((str(each.steps[0]) for each in looked_up if each.root == "secrets" and each.steps), "")

    def where(self, tree: Scalar, offset: int) -> str:
        """The place of an offset in a text, for errors that come while it runs."""
        at = self.within(tree, offset)
        return f"{self._problems.file}:{at.line}:{at.column}"

    def spoken(
        self, tree: Tree, around: Sight, needs: list[str] | None = None, roots: tuple[str, ...] = ROOTS
    ) -> Template | None:
        """The template of what is handed to the system, which ends a text at the character NUL."""
        if isinstance(tree, Scalar) and isinstance(tree.value, str) and "\0" in tree.value:
            self.bad(tree.at, "value", "this holds the character NUL, which no command, variable or path can")
            return None
        return self.template(tree, around, needs, roots)

    def within(self, tree: Scalar, offset: int) -> Place:
        """The place of an offset in a text."""
        return inside(tree, offset, self._problems.lines)

    def look(
        self, reference: Reference, around: Sight, needs: list[str] | None, roots: tuple[str, ...]
    ) -> tuple[str, str] | None:
        """What is wrong with a name; else None, and its task noted as a need."""
        root, steps = reference.root, reference.steps
        if root in around.roots and root not in ROOTS:
            return None
        if root not in ROOTS:
            return (
                VARIABLE,
                f"unknown name {root!r}; there are {', '.join(roots)}{self._problems.nearest(root, roots)}",
            )
        if root not in roots:
            return VARIABLE, f"{root!r} is not known here; there are {', '.join(roots)}"
        if root == "inputs" and steps and steps[0] not in self._inputs:
            shown = str(steps[0])
            return (
                "unknown-input",
                f"input {shown!r} is not declared under `inputs:`{self._problems.nearest(shown, self._inputs)}",
            )
        if root == "env" and steps and steps[0] not in self._env:
            shown = str(steps[0])
            return "unknown-name", f"{shown!r} is not declared under `env:`{self._problems.nearest(shown, self._env)}"
        if root == "secrets":
            return self.look_secret(reference)
        if root in ONLY_IN and root not in around.roots:
            return VARIABLE, f"{root!r} is known inside {ONLY_IN[root]} only"
        if root == "run" and steps and steps[0] not in OF_RUN:
            shown = str(steps[0])
            return (
                "unknown-name",
                f"of `run` there are {', '.join(OF_RUN)}, not {shown!r}{self._problems.nearest(shown, OF_RUN)}",
            )
        if root == "error" and steps and steps[0] not in ERROR:
            shown = str(steps[0])
            return (
                "unknown-name",
                f"of `error` there are {', '.join(ERROR)}, not {shown!r}{self._problems.nearest(shown, ERROR)}",
            )
        return self.look_task(reference, around, needs) if root == "tasks" else None

    def look_secret(self, reference: Reference) -> tuple[str, str] | None:
        if not reference.steps:
            return "unknown-secret", "which secret is looked up must stand in the text: secrets.NAME"
        name = str(reference.steps[0])
        if name in self._secrets:
            return None
        near = self._problems.nearest(name, self._secrets)
        return "unknown-secret", f"secret {name!r} is not declared under `secrets:`{near}"

    def look_task(self, reference: Reference, around: Sight, needs: list[str] | None) -> tuple[str, str] | None:
        steps = reference.steps
        if not steps:
            return (
                "unknown-task",
                'which task is read must stand in the text, so that it can be waited for: tasks.NAME or tasks["NAME"]',
            )
        name = steps[0]
        scope: Sight | None = around
        level = 0
        while scope is not None and name not in scope.tasks.items:
            if scope.is_cleanup(name):
                return "finally", _TOO_LATE.format("a template refers to", name)
            scope = scope.outer
            level += 1
        if scope is None:
            known = [*around.tasks.items]
            return (
                "unknown-task",
                f"task {str(name)!r} is not in the file, or not to be seen from here{self._problems.nearest(str(name), known)}",
            )
        assert isinstance(name, str)
        if level == 0:
            if needs is not None:
                needs.append(name)
        else:
            # Seen from inside a group: what the group as a whole waits for.
            at: Sight = around
            for _ in range(level):
                assert at.outer is not None
                at = at.outer
                at.lifted.append(name)
        return self.look_into(scope.tasks.items[name], str(name), steps[1:])

    def look_into(self, tree: Tree, name: str, steps: tuple[str | int, ...]) -> tuple[str, str] | None:
        """Are the steps behind a task's name ones that it has?"""
        step = steps[0] if steps else None
        if step in OF_TASK:
            return None
        inner = _inner(tree)
        if inner and isinstance(step, str):
            for each in inner:
                if step in each.items:
                    return self.look_into(each.items[step], f"{name}.{step}", steps[1:])
            known = [key for each in inner for key in each.items]
            return "unknown-task", f"group {name!r} has no task {step!r}{self._problems.nearest(step, known)}"
        return "unknown-name", f"of task {name!r} there are `output` and `status`, not {str(step or '')!r}"

    def templates(
        self, tree: Tree, where: str, around: Sight, needs: list[str] | None = None, roots: tuple[str, ...] = ROOTS
    ) -> dict[str, Template]:
        found: dict[str, Template] = {}
        for name, each in self.entries(tree, where):
            if where == "env" and not VARIABLE_NAME.fullmatch(name):
                self.bad(self.key_place(tree, name), "value", f"{name!r} cannot name an environment variable")
                continue
            if where == "outputs":
                self.safe_name("output", name, self.key_place(tree, name))
            if isinstance(each, Scalar) and isinstance(each.value, (bool, type(None))) and where == "outputs":
                self.bad(each.at, "type", f"output {name!r} must be a template, not {kind(each)}")
                continue
            read = self.spoken if where == "env" else self.template
            template = read(each, around, needs, roots)
            if template is not None:
                found[name] = template
        return found

    def data(self, tree: Tree, around: Sight, needs: list[str]) -> Any:
        """Plain data with templates where there are texts with `{{`."""
        match tree:
            case Scalar(str() as text):
                if "{{" not in text:
                    return text
                return self.template(tree, around, needs)
            case Scalar(value):
                return value
            case Sequence(items):
                return [self.data(each, around, needs) for each in items]
            case Map(items):
                return {key: self.data(each, around, needs) for key, each in items.items()}

    def safe_name(self, what: str, name: str, at: Place) -> None:
        """Inputs and outputs are named as tasks are: who uses the names may make files or columns of them."""
        try:
            safe_key(name)
        except GraphError as error:
            self.bad(at, "key", f"{what}: {error}")

    def text(self, tree: Tree, what: str) -> str:
        if isinstance(tree, Scalar) and isinstance(tree.value, str) and tree.value.strip():
            return tree.value
        self.bad(tree.at, "type", f"{what} must be text, not {kind(tree)}")
        return ""

    def entries(self, tree: Tree, what: str) -> list[tuple[str, Tree]]:
        if isinstance(tree, Map):
            return list(tree.items.items())
        self.bad(tree.at, "type", f"{what} must be a mapping, not {kind(tree)}")
        return []

    def key_place(self, tree: Tree, name: str) -> Place:
        return tree.keys[name] if isinstance(tree, Map) else tree.at

    def unknown(self, tree: Map, known: tuple[str, ...], where: str) -> None:
        for name in tree.items:
            if name not in known:
                self.refuse_key(name, tree.keys[name], known, where)

    def refuse_key(self, name: str, at: Place, known: tuple[str, ...], where: str) -> None:
        if name in LATER:
            self.bad(at, "not-built", f"`{name}` is not in this version")
        elif name in (*COMMON, *TOP, *(each for keys in BODY_KEYS.values() for each in keys)):
            self.bad(at, "misplaced", f"`{name}` does not belong in {where}")
        else:
            near = self._problems.nearest(name, known)
            hint = "" if near or len(known) > len(TOP) else f"there are {', '.join(known)}"
            self.bad(at, "unknown-key", f"unknown key {name!r} in {where}{near}", hint)
