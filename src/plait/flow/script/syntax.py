"""The syntax tree of a FlowScript file: its nodes and blocks, with what each of them names; the compiler's input, and the validator's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from plait._core.policy import PLAIN, Policy, Retry
from plait.flow.model import Body, Group
from plait.flow.problems import START, Place
from plait.flow.templates import Template


@dataclass(frozen=True, slots=True)
class Use:
    """A name that an expression reads.

    `is_id`: an attribute names a node by its id, and nothing else would do. `after`: it is read once the node is done, or has failed.
    """

    name: str
    steps: tuple[str | int, ...]
    at: Place
    is_id: bool = False
    after: bool = False


@dataclass(slots=True)
class Fallback:
    """A node that serves for a failed one. `late`: for one that took too long, alone."""

    target: str
    at: Place
    when: Template | None = None
    late: bool = False


@dataclass(slots=True)
class Part:
    """A node as it stands in the file. `body` makes what it runs of its blocks, once these are compiled."""

    key: str
    tag: str
    at: Place
    body: Callable[[list[Group]], Body]
    uses: list[Use] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    policy: Policy = PLAIN
    whole: Policy | None = None
    late: dict[str, Template] = field(default_factory=dict)
    when: Template | None = None
    foreach: Template | None = None
    item_names: tuple[str, str] = ("item", "index")
    takes: Any = None
    sets: tuple[str, ...] = ()
    """The variables that it sets itself."""
    leaves: str = ""
    """Of `break` and `continue`: the loop that they are of."""
    is_gate: bool = False
    """Does all that stands behind it wait for it?"""
    gotos: tuple[tuple[str, Place], ...] = ()
    """Of a checkpoint: the siblings that it may lead to, and where they are named."""
    passes_on: bool = False
    fallbacks: list[Fallback] = field(default_factory=list)
    tries: Retry | None = None
    """Of a block: it is tried again as a whole."""
    tries_when: Template | None = None
    merges_apart: bool = False
    """Of a `parallel`: does its merge ask for the time, or for chance?"""
    named: bool = True
    """Was its id written down, or is it one that others may name?"""
    needs: set[int] = field(default_factory=set)
    """The parts of its block that it needs, by place: found when names are looked up."""
    dropped: bool = False
    """Does it run only where it is a fallback?"""

    @property
    def isolates(self) -> bool:
        """Does what is set within stay within?"""
        return self.foreach is not None or self.tag == "parallel"

    def within(self) -> Iterator[Part]:
        """It, and every part in it."""
        stack = [self]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(each for block in reversed(part.blocks) for each in reversed(block.parts))


@dataclass(slots=True)
class Block:
    """Nodes that stand beside one another. `in_order`: one after the other; else each as soon as what it names is there."""

    parts: list[Part] = field(default_factory=list)
    in_order: bool = True
    names: frozenset[str] = frozenset()
    """What is known in it beside what is known around it: the item of a foreach."""
    rounds: bool = False
    """Is it run again and again, and sees what it was in the round before?"""
    ends: list[Use] = field(default_factory=list)
    """What the condition of the loop names, which is looked at behind the last of its nodes."""
    at: Place = START
    id: str = ""
    """Of a branch that has one."""
