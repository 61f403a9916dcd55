"""What the names of a FlowScript file are called in YAML, at each place of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from plait.expressions.formula import Formula
from plait.expressions.tree import Index, Listed, Literal, Member, Name, Node, Tree, references
from plait.flow.convert.losses import Losses, lone
from plait.flow.convert.trees import chain, named, renamed
from plait.flow.fields import EACH as OF_ITEMS
from plait.flow.model import Group
from plait.flow.script.front import Front
from plait.flow.script.scope import NULL_ELSEWHERE, OF_FAILURE, RECORD

EACH = frozenset((*OF_ITEMS, *(f"${name}" for name in OF_ITEMS)))
"""What the expressions of leaf nodes know of the items that they are worked out for."""

RUN = {"id": "id", "workflow": "name"}
ERROR = {"name": "type", "message": "message"}


@dataclass(frozen=True, slots=True)
class Level:
    """A group, and the place in it where is read; None: behind all of it."""

    group: Group
    place: int | None
    rounds: bool


@dataclass(frozen=True, slots=True)
class Spot:
    """One place of a FlowScript file: what is known there."""

    levels: tuple[Level, ...] = ()
    item: tuple[str, str] = ("", "")
    """What the item of the innermost foreach is called, and its number."""
    outer: frozenset[str] = frozenset()
    """What those of the others are called."""
    index: str = ""
    """Whose number `index` would be in YAML: of an `item`, or of a `round`."""
    takes: tuple[Any, Spot] | None = None
    """What `input` stands for, and where that was said."""
    owns: bool = False
    """Is that the node's own?"""
    local: frozenset[str] = frozenset()
    number: int | None = None
    """Of the branch."""
    repairs: bool = False
    last: str = ""
    """Of the condition of a loop: the last node of its body."""
    _rounds: bool = field(default=False, compare=False)

    def inside(self, group: Group, place: int | None) -> Spot:
        """In a group."""
        level = Level(group, place, self._rounds)
        return replace(self, levels=(*self.levels, level), _rounds=False, repairs=self.repairs, owns=False)

    def behind(self, group: Group) -> Spot:
        """Where the condition of a loop is looked at."""
        return replace(self.inside(group, None), last=list(group.tasks)[-1] if group.tasks else "")

    def taking(self, takes: Any) -> Spot:
        """In a block with an input."""
        return self if takes is None else replace(self, takes=(takes, self))

    def each(self, names: tuple[str, str]) -> Spot:
        """In a foreach."""
        return replace(self, item=names, outer=self.outer | {*self.item} - {""}, index="item")

    def rounds(self) -> Spot:
        """In a loop."""
        return replace(self, index="round", _rounds=True)

    def branch(self, number: int) -> Spot:
        """In a branch."""
        return replace(self, number=number)

    def knowing(self, names: frozenset[str]) -> Spot:
        """Where these names are known, too."""
        return replace(self, local=names)

    def owning(self) -> Spot:
        """In a node with an input of its own."""
        return replace(self, owns=True)

    def failed(self) -> Spot:
        """In what serves for a failed node."""
        return replace(self, repairs=True)


class Seen:
    """Gives expressions the names of YAML. `cover` is told which task of which level is read."""

    def __init__(self, front: Front, losses: Losses, spot: Spot, cover: Callable[[int, str], None]) -> None:
        self._front = front
        self._losses = losses
        self._spot = spot
        self._cover = cover
        self._formula: Formula | None = None

    def of(self, formula: Formula) -> Node:
        """The expression with other names."""
        self._formula = formula
        return renamed(formula.tree, self._rename)

    def _bad(self, what: str, hint: str) -> tuple[Tree, int]:
        assert self._formula is not None
        self._losses.within(self._formula, what, hint)
        return Literal(None), 0

    def _rename(self, base: Name, steps: list[Member | Index]) -> tuple[Tree, int]:
        name, spot = base.name, self._spot
        step = named(steps[0]) if steps else None
        if name in spot.local:
            return Name(name.removeprefix("$")), 0
        if name == spot.item[0] or (name == "$item" and spot.item[0]):
            return self._of_item("item", name)
        if name == spot.item[1] or (name == "$index" and spot.item[0]):
            if spot.index != "item":
                return self._bad(f"{name!r} of a <foreach>, in a loop", "give it to a node before the loop")
            return self._of_item("index", name)
        if name in spot.outer:
            hint = "put what is needed of it into the items of the inner one"
            return self._bad(f"{name!r}, the item of an outer <foreach>", hint)
        match name:
            case "$iteration" if spot.index:
                if spot.index != "round":
                    return self._bad("$iteration, in a <foreach>", "give it to a node before the foreach")
                return self._of_item("index", name)
            case "$branch" if spot.number is not None:
                return Literal(spot.number), 0
            case "input":
                return self._input(steps)
            case "$input" | "$config":
                return self._given(name, steps)
            case "$run":
                if step in RUN:
                    return chain("run", RUN[step]), 1
                return self._bad("$run but for its id and workflow", "take the time from now()")
            case "$primaryError" | "primaryError" if spot.repairs and step in ERROR:
                return chain("error", ERROR[step]), 1
            case "$secrets":
                if step is None:
                    return self._bad("$secrets without a name that stands in the text", "name each: $secrets.NAME")
                return chain("secrets", step), 1
            case "$env" | "$context":
                return self._bad(name, "declare an input, and give it with -i")
        if name in OF_FAILURE:
            return self._bad(f"{name}, but for the name and the message of an error", "use $primaryError.message")
        if name in NULL_ELSEWHERE:
            return Literal(None), 0
        return self._node(name, steps)

    def _of_item(self, name: str, was: str) -> tuple[Tree, int]:
        if self._spot.local & {name}:
            hint = "name it otherwise, or give it to a node before this one"
            return self._bad(f"{was!r}, where {name!r} is what the node itself goes over", hint)
        return Name(name), 0

    # -- inputs

    def _given(self, name: str, steps: list[Member | Index]) -> tuple[Tree, int]:
        front = self._front
        step = named(steps[0]) if steps else None
        known = front.config if name == "$config" else front.input
        other = front.input if name == "$config" else front.config
        if step is not None and step in known:
            return chain("inputs", step), 1
        if step is None and not steps and known and not other:
            return Name("inputs"), 0
        key = name.removeprefix("$")
        return self._bad(f"{name} without a name that stands in `{key}:`", f"declare what is read under `{key}:`")

    def _input(self, steps: list[Member | Index]) -> tuple[Tree, int]:
        spot = self._spot
        if spot.owns:
            return Name("input"), 0
        if spot.takes is None:
            return self._given("$input", steps)
        takes, there = spot.takes
        listed = takes if isinstance(takes, list) else [takes]
        made: list[Tree] = []
        for each in listed:
            formula = lone(each)
            assert formula is not None
            made.append(Seen(self._front, self._losses, there, self._cover).of(formula))  # type: ignore[arg-type]
        tree = Listed(tuple(made)) if isinstance(takes, list) else made[0]
        moved = there.item != spot.item or there.index != spot.index or spot.local
        if moved and any(each.root in ("item", "index") for each in references(tree)):
            return self._bad("`input` of a block around a <foreach>, which is an item itself", "name what is meant")
        return tree, 0

    # -- nodes

    def _node(self, name: str, steps: list[Member | Index]) -> tuple[Tree, int]:
        for depth in reversed(range(len(self._spot.levels))):
            level = self._spot.levels[depth]
            layout = level.group.layout
            assert layout is not None
            if name in layout.ids:
                place, inner = layout.ids[name]
                if level.rounds and level.place is not None and place >= level.place:
                    hint = "look at it in the condition of the loop, or at `previous` in YAML"
                    return self._bad(f"{name!r} of the round before", hint)
                keys = [layout.keys[place], *inner]
                if keys[-1].startswith("["):
                    return self._bad(f"the branch {name!r}", "name the <parallel>, or a node of the branch")
                self._cover(depth, keys[0])
                return self._output(keys, steps)
            if name in layout.sets:
                return self._bad(f"the variable {name!r}", "name a node that gives the value")
        if self._spot.last:
            return chain("tasks", self._spot.last, "output", name), 0
        return self._bad(f"{name!r}, which is given by another file", "declare it under `input:`")

    def _output(self, keys: list[str], steps: list[Member | Index]) -> tuple[Tree, int]:
        used = 0
        task = self._task(keys)
        while used < len(steps):
            step = named(steps[used])
            inner = task.body.layout if isinstance(task.body, Group) and task.foreach is None else None
            if step == "output":
                used += 1
                break
            if step in RECORD:
                return self._bad(
                    f"{step} of a node", "look at its output; of YAML's own words for a status see the docs"
                )
            if inner is None or step not in inner.ids:
                break
            place, below = inner.ids[step]
            keys = [*keys, inner.keys[place], *below]
            task = self._task(keys)
            used += 1
        return chain("tasks", *keys, "output"), used

    def _task(self, keys: list[str]) -> Any:
        layout = self._spot.levels[0].group.layout
        assert layout is not None
        return layout.nodes[keys[-1]]


__all__ = ["EACH", "Level", "Seen", "Spot"]
