"""Blocks: groups, branches, cases, rounds, combinations, and other files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from plait._core.graph import safe_key
from plait._core.policy import PLAIN, Policy, policy
from plait.errors import FlowError, GraphError, UsageError
from plait.flow.bodies import Bodies
from plait.flow.keys import (
    AXIS,
    BRANCH_KEYS,
    CASE_KEYS,
    LARGEST_ROUNDS,
    LOOP_KEYS,
    MATRIX_KEYS,
    MERGES,
    MOST_ITEMS,
    MOST_ROUNDS,
    OF_GROUPS,
    PART_KEYS,
    WHILE_KEYS,
)
from plait.flow.matrices import is_sparing, too_many
from plait.flow.model import (
    Case,
    FlowFile,
    FlowTask,
    Group,
    Loop,
    Matrix,
    Parallel,
    Subflow,
    Switch,
)  # fmt: skip
from plait.flow.problems import Place, Problems
from plait.flow.templates import Template, templates_of
from plait.flow.texts import Sight, is_template, together
from plait.flow.tree import Mapping as Map
from plait.flow.tree import Scalar, Sequence, Tree, kind, plain, read
from plait.flow.values import shown

DEEPEST_FILES = 20
"""Files that name one another, one in the next."""


MOST_IN_FILES = 10_000
"""Tasks of a file that names others, with those of the files: as often as they are named."""


class Blocks(Bodies):
    """Reads what has tasks in it."""

    def everything(self, tree: Map, outer: Sight | None, depth: int) -> tuple[dict[str, FlowTask], dict[str, FlowTask]]:
        """The tasks of a file or of a group, and those that clean up after them."""
        raise NotImplementedError

    def flow(self, tree: Tree) -> FlowFile | None:
        """The file, as far as it can be read."""
        raise NotImplementedError

    def group(self, tree: Map, around: Sight, needs: list[str], depth: int) -> Group:
        """The tasks of a group. What they refer to outside of it the group needs."""
        seen = around.within()
        tasks, cleanups = self.everything(tree, seen, depth + 1)
        outputs = self.outputs_of(tree, seen)
        needs += seen.lifted
        return Group(tasks, cleanups, outputs=outputs)

    def outputs_of(self, tree: Map, seen: Sight) -> dict[str, Template] | Template | None:
        """What the value of a group is made of, if the file says it."""
        if "outputs" not in tree.items:
            return None
        known = together(tree.items["tasks"], tree.items.get("finally"))
        made = self.outputs(tree.items["outputs"], Sight(known, seen, seen.roots))
        self.pure(tree.items["outputs"], "outputs", *templates_of(made))
        return made

    def pure(self, tree: Tree, what: str, *templates: Template) -> None:
        """Tells of what would be something else when it is worked out again, after a crash: it is not on record by itself."""
        if not all(each.is_pure for each in templates):
            self.bad(
                tree.at, "value", f"{what} asks for the time, or for chance: let a task do that, and look at its output"
            )

    def outputs(self, tree: Tree, inside: Sight) -> dict[str, Template] | Template | None:
        """One template, or templates by name."""
        if not isinstance(tree, Scalar):
            return self.templates(tree, "outputs", inside)
        made = self.template(tree, inside) if is_template(tree) else None
        if made is not None and made.alone is not None:
            return made
        if made is not None or not is_template(tree):
            self.bad(
                tree.at,
                "type",
                'outputs are templates by name, or one template alone: "{{ tasks.last.output }}"',
            )
        return None

    def part(
        self, tree: Tree, what: str, keys: tuple[str, ...], around: Sight, needs: list[str], depth: int
    ) -> Group | None:
        """A branch or a case: a mapping with `tasks:`."""
        if not isinstance(tree, Map):
            self.bad(tree.at, "type", f"{what} must be a mapping with `tasks:`, not {kind(tree)}")
            return None
        self.unknown(tree, (*PART_KEYS, *keys), what)
        if "tasks" not in tree.items:
            self.bad(tree.at, "missing", f"{what} has no `tasks:`")
            return None
        return self.group(tree, around, needs, depth)

    def parts(self, tree: Tree, what: str) -> list[Tree]:
        if isinstance(tree, Sequence) and tree.items:
            return tree.items
        shown = "an empty list" if isinstance(tree, Sequence) else kind(tree)
        self.bad(tree.at, "type", f"{what}, each a mapping with `tasks:`, not {shown}")
        return []

    def parallel(self, tree: Tree, around: Sight, needs: list[str], depth: int) -> Parallel | None:
        """Branches. What they publish, outside of the block, is known by the keys of their tasks: no two may have the same."""
        found: dict[str, Group] = {}
        published: dict[str, Place] = {}
        listed = self.parts(tree, "parallel needs a list of branches")
        for number, each in enumerate(listed):
            name = str(number)
            if isinstance(each, Map) and "name" in each.items:
                name = self.branch_name(each.items["name"], found) or name
            branch = self.part(each, "a branch", BRANCH_KEYS, around, needs, depth)
            if branch is None:
                continue
            found[name] = branch
            assert isinstance(each, Map)
            for key, at in together(each.items["tasks"], each.items.get("finally")).keys.items():
                if key in published:
                    self.bad(
                        at,
                        "branch-conflict",
                        f"two branches have a task {key!r}, the first in line {published[key].line}: from outside nobody could tell their outputs apart. Rename one",
                    )
                published.setdefault(key, at)
        return Parallel(found) if listed and len(found) == len(listed) else None

    def merge(self, tree: Tree, around: Sight, needs: list[str]) -> str | Template:
        """What the results of branches come to."""
        said = tree.value if isinstance(tree, Scalar) else None
        if said in MERGES:
            return str(said)
        made = self.template(tree, around.within("branches"), needs) if is_template(tree) else None
        if made is not None and made.alone is not None:
            self.pure(tree, "merge", made)
            return made
        if made is not None or not is_template(tree):
            self.bad(
                tree.at,
                "value",
                f'merge is {", ".join(MERGES)} or one template alone, such as "{{{{ sum(branches) }}}}", not {shown(plain(tree))}'
                f"{self._problems.nearest(str(said), MERGES)}",
            )
        return "array"

    def branch_name(self, tree: Tree, taken: Mapping[str, Group]) -> str:
        name = plain(tree)
        try:
            safe_key(name)
            if "[" in name or "]" in name or "#" in name or name in taken or name.isdigit():
                raise GraphError(f"name {name!r} cannot name a branch: it is taken, a number, or holds `[`, `]` or `#`")
        except GraphError as error:
            self.bad(tree.at, "key", str(error))
            return ""
        return str(name)

    def switch(self, tree: Tree, around: Sight, needs: list[str], depth: int) -> Switch | None:
        found: list[Case] = []
        listed = self.parts(tree, "switch needs a list of cases")
        for number, each in enumerate(listed):
            when: Template | bool | None = None
            if isinstance(each, Map) and "when" in each.items:
                when = self.when(each.items["when"], around, needs)
            elif isinstance(each, Map) and number < len(listed) - 1:
                self.bad(
                    each.at,
                    "value",
                    "a case without `when` is taken whenever it is reached: only the last one may be without",
                )
            group = self.part(each, "a case", CASE_KEYS, around, needs, depth)
            if group is not None:
                found.append(Case(when, group))
        return Switch(tuple(found)) if listed and len(found) == len(listed) else None

    def repeated(self, tree: Map, around: Sight, needs: list[str], depth: int) -> Loop | None:
        """A group with `loop:` or `while:`."""
        items = tree.items
        if "loop" in items and "while" in items:
            self.bad(
                tree.keys["while"],
                "value",
                "loop and while exclude each other: `loop: {max: N, until: ...}` looks after each round, `while:` before",
            )
        seen = around.within("previous", "index")
        tasks, cleanups = self.everything(tree, seen, depth + 1)
        known = together(items["tasks"], items.get("finally"))
        inside = Sight(known, seen, seen.roots)
        name = "loop" if "loop" in items else "while"
        given = items[name]
        most, until, condition = MOST_ROUNDS, None, None
        whole = given.items if isinstance(given, Map) else {}
        if isinstance(given, Map):
            self.unknown(given, LOOP_KEYS if name == "loop" else WHILE_KEYS, name)
            if "max" in whole:
                most = self.round_limit(whole["max"])
        if name == "loop":
            if not isinstance(given, Map):
                most = self.round_limit(given)
            until = self.when(whole["until"], inside, [], "until") if "until" in whole else None
            if "until" not in whole and isinstance(given, Map) and "max" not in whole:
                self.bad(
                    given.at,
                    "missing",
                    'loop needs `max`, `until` or both: `loop: {max: 3, until: "{{ tasks.check.output.ok }}"}`',
                )
        else:
            if isinstance(given, Map) and "condition" not in whole:
                self.bad(
                    given.at, "missing", 'while needs a condition: `while: "{{ ... }}"`, or `{condition: ..., max: N}`'
                )
            else:
                condition = self.when(whole.get("condition", given), inside, [], "while")
        outputs = self.outputs_of(tree, seen)
        needs += seen.lifted
        return Loop(Group(tasks, cleanups, outputs=outputs), most, until, condition, PLAIN)

    def round_limit(self, tree: Tree) -> int:
        value = plain(tree)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_ROUNDS:
            self.bad(
                tree.at, "value", f"max must be a whole number of 1 to {LARGEST_ROUNDS:,} rounds, not {shown(value)}"
            )
            return MOST_ROUNDS
        return value

    def rounds(self, body: Loop, tree: Map, own: Policy, looped: bool) -> tuple[Loop, Policy]:
        """What is said of a group is said of each round; a failure of one is a failure of all."""
        given = {name: plain(tree.items[name]) for name in OF_GROUPS if name in tree.items and not looped}
        try:
            each = policy(PLAIN, **given)
        except UsageError:
            return body, own  # it is told already
        return replace(body, policy=each), own.but(
            min_success=None, max_failures=None, reduce=None, max_concurrency=None
        )

    def matrix(self, tree: Tree, around: Sight, needs: list[str]) -> Matrix | None:
        """The axes, and what is put in and left out."""
        axes: dict[str, Template | list[Any]] = {}
        extra: dict[str, list[Any]] = {name: [] for name in MATRIX_KEYS}
        for name, each in self.entries(tree, "matrix"):
            if name in extra:
                extra[name] = self.combinations(name, each, around, needs)
                continue
            if not AXIS.fullmatch(name):
                self.bad(
                    self.key_place(tree, name), "value", f"{name!r} cannot name an axis: letters, digits, `_` and `-`"
                )
            values = self.foreach(each, around, needs, f"axis {name!r}")
            if values is not None:
                axes[name] = values
            if isinstance(values, list) and not values:
                self.bad(each.at, "empty", f"axis {name!r} has no values, so there would be no combination")
        if isinstance(tree, Map) and not axes and not extra["include"] and not self._problems.found:
            self.bad(tree.at, "empty", 'the matrix has no axis: `matrix: {os: [linux, mac], python: ["3.11", "3.12"]}`')
        size = prod(len(each) for each in axes.values() if isinstance(each, list))
        if size > MOST_ITEMS:
            self.bad(tree.at, "too-large", f"the matrix has {size:,} combinations; at most {MOST_ITEMS:,} are allowed")
            return None
        entries = len(extra["include"]) + len(extra["exclude"])
        if not is_sparing(size, entries):
            self.bad(tree.at, "too-large", too_many(size, entries))
            return None
        for entry in extra["exclude"]:
            for name in entry if isinstance(entry, dict) else ():
                if name not in axes:
                    self.bad(
                        tree.at,
                        "unknown-name",
                        f"exclude names {name!r}, which is no axis of the matrix{self._problems.nearest(name, axes)}",
                    )
        return Matrix(axes, extra["include"], extra["exclude"])

    def combinations(self, name: str, tree: Tree, around: Sight, needs: list[str]) -> list[Any]:
        if not isinstance(tree, Sequence) or not all(isinstance(each, Map) for each in tree.items):
            self.bad(tree.at, "type", f'{name} needs a list of mappings, such as [{{os: linux, python: "3.11"}}]')
            return []
        return [self.data(each, around, needs) for each in tree.items]

    def subflow(self, tree: Map, around: Sight, needs: list[str]) -> Subflow | None:
        """Another file, read as it stands; its own problems are told with its own name."""
        each = tree.items["flow"]
        arguments: dict[str, Any] = {}
        if "with" in tree.items:
            with self.naming("inputs of another file, which are stored", "declare it there, too: `secrets: [{0}]`"):
                for name, value in self.entries(tree.items["with"], "with"):
                    arguments[name] = self.data(value, around, needs)
        if (
            not isinstance(each, Scalar)
            or not isinstance(each.value, str)
            or not each.value.strip()
            or is_template(each)
        ):
            what = "a template" if is_template(each) else kind(each)
            self.bad(each.at, "type", f"flow must name a workflow file, as text, not {what}")
            return None
        if not each.value.endswith((".yaml", ".yml")):
            self.bad(each.at, "value", f"{each.value!r} is no workflow file: its name must end in .yaml or .yml")
            return None
        try:
            path = self._path.parent / each.value
            flow = self.other(path, path.resolve(), each)
        except (OSError, ValueError, RuntimeError) as error:  # too long for the system, or a link in itself
            says = getattr(error, "strerror", None) or str(error)
            self.bad(each.at, "file", f"{shown(each.value)} cannot be read: {says}")
            return None
        if flow is None:
            return None
        self._size += flow.size
        if self._size > MOST_IN_FILES:
            self.bad(
                each.at,
                "too-large",
                f"with the files that it names this one has more than {MOST_IN_FILES:,} tasks: a file that is named twice counts twice",
                "let a task with `foreach` name the file",
            )
            return None
        for name in arguments:
            if name not in flow.inputs:
                self.bad(
                    self.key_place(tree.items["with"], name),
                    "unknown-input",
                    f"{each.value} has no input {name!r}{self._problems.nearest(name, flow.inputs)}",
                )
        for name, declared in flow.inputs.items():
            if declared.required and name not in arguments:
                self.bad(
                    each.at,
                    "missing",
                    f"{each.value} needs the input {name!r} ({declared.type}): give it under `with:`",
                )
        return Subflow(flow, arguments, each.value)

    def other(self, path: Path, whole: Path, named: Scalar) -> FlowFile | None:
        """The file at `path`, which is `whole`, read once."""
        files = self._files
        if whole in files.chain:
            names = [each.name for each in files.chain[files.chain.index(whole) :]]
            self.bad(
                named.at,
                "cycle",
                f"cycle of files: {' -> '.join([*names, whole.name])}. A file cannot be a part of itself: write the repeat as a loop",
            )
            return None
        if len(files.chain) > DEEPEST_FILES:
            self.bad(named.at, "too-deep", f"files name files for more than {DEEPEST_FILES} levels")
            return None
        if whole not in files.known:
            files.known[whole] = self.read_other(path, whole, named)
        elif files.known[whole] is None:
            self.bad(named.at, "flow", f"{named.value} has problems of its own")
        return files.known[whole]

    def read_other(self, path: Path, whole: Path, named: Scalar) -> FlowFile | None:
        problems = Problems(str(path))
        text = None if whole.exists() else self._files.texts.get(str(whole))
        flow = None
        try:
            tree, text = read(path, problems, text)
            flow = type(self)(path, problems, self._files.within(whole)).flow(tree)
        except FlowError:
            pass  # what keeps it from being read is among its problems
        if flow is not None and text is not None and not problems.found and not problems.others:
            return replace(flow, text=text)
        self._problems.others.extend(problems.listed())
        return None
