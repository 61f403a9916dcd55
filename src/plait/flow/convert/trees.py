"""Expressions with other names: on the tree, never on the text."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

from plait.errors import ExpressionError
from plait.expressions import parse
from plait.expressions.printing import to_text
from plait.expressions.tree import (
    Arrow,
    Binary,
    Call,
    Conditional,
    Entries,
    Index,
    Listed,
    Literal,
    Member,
    Name,
    Node,
    Spread,
    Tree,
    Unary,
    unrolled,
)  # fmt: skip

Rename: TypeAlias = Callable[[Name, list[Member | Index]], tuple[Tree, int]]
"""What stands for a name with the steps behind it, and how many of these that says."""


def renamed(tree: Node, rename: Rename, known: frozenset[str] = frozenset()) -> Node:
    """The same expression with other names in it. Parameters of arrows (`known`) keep theirs."""

    def again(node: Tree) -> Tree:
        return renamed(node, rename, known)  # type: ignore[return-value]

    match tree:
        case Literal():
            return tree
        case Name() | Member() | Index():
            base, steps = unrolled(tree)
            used = 0
            if not isinstance(base, Name):
                base = again(base)
            elif base.name not in known:
                base, used = rename(base, steps)
            return _stepped(base, [_step(each, again) for each in steps[used:]])
        case Call(function, arguments, at):
            return Call(function, tuple(renamed(each, rename, known) for each in arguments), at)  # type: ignore[misc]
        case Unary(operator, operand, at):
            return Unary(operator, again(operand), at)
        case Binary(operator, left, right, at):
            return Binary(operator, again(left), again(right), at)
        case Conditional(condition, then, otherwise, at):
            return Conditional(again(condition), again(then), again(otherwise), at)
        case Arrow(parameters, body, at):
            return Arrow(parameters, renamed(body, rename, known | set(parameters)), at)  # type: ignore[arg-type]
        case Spread(of, at):
            return Spread(again(of), at)
        case Listed(items, at):
            return Listed(tuple(renamed(each, rename, known) for each in items), at)  # type: ignore[misc]
        case Entries(entries, at):
            made = (
                Spread(again(each.of), each.at) if isinstance(each, Spread) else (each[0], again(each[1]))
                for each in entries
            )
            return Entries(tuple(made), at)


def _step(step: Member | Index, again: Callable[[Tree], Tree]) -> Member | Index:
    return step if isinstance(step, Member) else Index(step.of, again(step.index), step.at)


def _stepped(base: Tree, steps: list[Member | Index]) -> Tree:
    for step in steps:
        base = Member(base, step.name, step.at) if isinstance(step, Member) else Index(base, step.index, step.at)
    return base


def chain(root: str, *steps: str) -> Tree:
    """`root.step.step`."""
    return _stepped(Name(root), [Member(Name(root), each) for each in steps])


def named(step: Member | Index) -> str | None:
    """The name that a step stands for, if that stands in the text."""
    if isinstance(step, Member):
        return step.name
    return step.index.value if isinstance(step.index, Literal) and isinstance(step.index.value, str) else None


def written(tree: Node, hyphens: Collection[str]) -> str | None:
    """The expression as text; None where the text would be read as another one."""
    text = to_text(tree, hyphens)
    try:
        return text if parse(text, hyphens, arrow=isinstance(tree, Arrow)) == tree else None
    except ExpressionError:
        return None
