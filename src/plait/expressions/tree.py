"""What an expression says, as a tree. `at` is where a node begins in its text (the name, of a member); equality does not look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Literal:
    """Text, a number, true, false or null."""

    value: str | int | float | bool | None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A name: of an arrow's parameter, or of what surrounds the expression."""

    name: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """`of.name`."""

    of: Tree
    name: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Index:
    """`of[index]`."""

    of: Tree
    index: Tree
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments)`."""

    function: str
    arguments: tuple[Tree | Arrow, ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`! - + typeof`."""

    operator: str
    operand: Tree
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands; `IN` is one of the operators, `NOT`, `AND` and `OR` are written as `!`, `&&` and `||`."""

    operator: str
    left: Tree
    right: Tree
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Conditional:
    """`condition ? then : otherwise`."""

    condition: Tree
    then: Tree
    otherwise: Tree
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Arrow:
    """`(parameters) => body`: only as an argument, or as a whole."""

    parameters: tuple[str, ...]
    body: Tree
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Spread:
    """`...of`, in a list or an object."""

    of: Tree
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """`[a, b]`."""

    items: tuple[Tree | Spread, ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Entries:
    """`{key: value, ...of}`."""

    entries: tuple[tuple[str, Tree] | Spread, ...]
    at: int = field(default=0, compare=False)


Tree: TypeAlias = Literal | Name | Member | Index | Call | Unary | Binary | Conditional | Listed | Entries
Node: TypeAlias = Tree | Arrow | Spread


def parts(node: Node) -> tuple[Node, ...]:
    """What a node is made of, in the order of the text."""
    match node:
        case Literal() | Name():
            return ()
        case Member(of) | Spread(of):
            return (of,)
        case Index(of, index):
            return (of, index)
        case Call(_, arguments):
            return arguments
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Conditional(condition, then, otherwise):
            return (condition, then, otherwise)
        case Arrow(_, body):
            return (body,)
        case Listed(items):
            return items
        case Entries(entries):
            return tuple(each if isinstance(each, Spread) else each[1] for each in entries)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that is none of an arrow's parameters, and the steps behind it that stand in the text."""

    root: str
    steps: tuple[str | int, ...]
    at: int
    places: tuple[int, ...] = field(compare=False, default=())
    """Where each step stands."""
    goes_on: bool = False
    """Does an index follow that only a value decides?"""


def walk(tree: Node) -> Iterator[tuple[Node, frozenset[str]]]:
    """Every node but those inside a chain of steps from a name, from left to right, each with the parameters that are known there.

    Deep trees are walked, too: long chains of operators are as deep as they are long.
    """
    stack: list[tuple[Node, frozenset[str]]] = [(tree, frozenset())]
    while stack:
        node, known = stack.pop()
        yield node, known
        kind = type(node)
        if kind is Name or kind is Literal:
            continue  # most nodes are that
        if isinstance(node, Arrow):
            stack.append((node.body, known | set(node.parameters)))
            continue
        if isinstance(node, (Member, Index)):
            base, steps = unrolled(node)
            inner: list[Node] = [step.index for step in steps if isinstance(step, Index)]
            if not isinstance(base, Name):
                inner.insert(0, base)
        else:
            inner = list(parts(node))
        stack.extend((each, known) for each in reversed(inner))


def unrolled(node: Tree) -> tuple[Tree, list[Member | Index]]:
    """What a chain of members and indices begins with, and its steps in order."""
    steps: list[Member | Index] = []
    while isinstance(node, (Member, Index)):
        steps.append(node)
        node = node.of
    steps.reverse()
    return node, steps


def references(tree: Node) -> Iterator[Reference]:
    """The names that an expression reads from what surrounds it, from left to right."""
    for node, known in walk(tree):
        base, steps = unrolled(node) if isinstance(node, (Member, Index)) else (node, [])
        if isinstance(base, Name) and base.name not in known:
            yield reference(base, steps)


def reference(base: Name, steps: list[Member | Index]) -> Reference:
    """A name with as many of the steps behind it as stand in the text."""
    said: list[str | int] = []
    places: list[int] = []
    for step in steps:
        if isinstance(step, Member):
            said.append(step.name)
        elif isinstance(step.index, Literal) and type(step.index.value) in (str, int):
            said.append(step.index.value)  # type: ignore[arg-type]
        elif (
            isinstance(step.index, Unary)
            and step.index.operator == "-"
            and isinstance(step.index.operand, Literal)
            and type(step.index.operand.value) is int
        ):
            said.append(-step.index.operand.value)
        else:
            return Reference(base.name, tuple(said), base.at, tuple(places), goes_on=True)
        places.append(step.at)
    return Reference(base.name, tuple(said), base.at, tuple(places))


def calls(tree: Node) -> Iterator[Call]:
    """Every call, from left to right."""
    return (node for node, _ in walk(tree) if isinstance(node, Call))
