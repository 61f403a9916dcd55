"""`map`, `filter` and `reduce`: expressions over the items of a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plait.expressions import Budget, Closure, truth
from plait.expressions.formula import Formula
from plait.expressions.tree import Arrow
from plait.nodes.base import At, Field, FieldKind, Node

EACH = ("item", "index", "first", "last", "items")
"""What an expression may say of the item it is worked out for, with and without `$`."""

EXPRESSION = Field(FieldKind.EXPRESSION, required=True)


class Map(Node):
    """`<expression>` for each item of `input`, as a list; without `input` once, as it is."""

    fields = {"expression": EXPRESSION}

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """The values, in the order of the items."""
        formula: Formula = given["expression"]
        if not at.has_input:
            value = at.worked_out(formula)
            return value() if isinstance(value, Closure) else value
        return [value for _, value in _each(formula, at)]


class Filter(Node):
    """Those items of `input` for which `<condition>` holds, as they are."""

    fields = {"condition": Field(FieldKind.EXPRESSION, required=True, aliases=("expression",))}

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """The items, in their order."""
        return [item for item, value in _each(given["condition"], at) if truth(value)]


class Reduce(Node):
    """`<expression>` for each item of `input`, with what the one before it gave as `$acc`."""

    fields = {
        "initial": Field(FieldKind.JSON),
        "expression": Field(FieldKind.EXPRESSION, aliases=("reducer",), required=True),
        "finalize": Field(FieldKind.EXPRESSION),
    }

    async def run(self, given: Mapping[str, Any], at: At) -> Any:
        """What the last item gave, or `<finalize>` of it."""
        formula, accumulated = given["expression"], given["initial"]
        arrow = _arrow(formula, at)
        budget = _budget(at)
        for index, item in enumerate(listed(at.input)):
            if arrow is not None:
                accumulated = arrow(accumulated, item, index)
            else:
                names = _both(acc=accumulated, item=item, index=index)
                accumulated = at.worked_out(formula, names, budget)
        if given["finalize"] is None:
            return accumulated
        end = _arrow(given["finalize"], at)
        return end(accumulated) if end is not None else at.worked_out(given["finalize"], _both(acc=accumulated))


def listed(value: Any) -> list[Any]:
    """The items of an input: null has none, what is no list is one."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _each(formula: Formula, at: At) -> list[tuple[Any, Any]]:
    """Every item, and the value for it."""
    items = listed(at.input)
    arrow = _arrow(formula, at)
    if arrow is not None:
        return [(item, arrow(item, index, items)) for index, item in enumerate(items)]
    budget, end = _budget(at), len(items) - 1
    return [
        (
            item,
            at.worked_out(
                formula, _both(item=item, index=index, first=index == 0, last=index == end, items=items), budget
            ),
        )
        for index, item in enumerate(items)
    ]


def _arrow(formula: Formula, at: At) -> Callable[..., Any] | None:
    """The function that an expression is, if it is one."""
    return at.worked_out(formula) if isinstance(formula.tree, Arrow) else None


def _both(**names: Any) -> dict[str, Any]:
    return {**names, **{f"${name}": value for name, value in names.items()}}


STEPS_AN_ITEM = 1_000
"""Of an expression that is worked out for many items, so many steps more for each."""


def _budget(at: At) -> Budget:
    """One for all items together, larger the more there are."""
    return Budget(STEPS_AN_ITEM * len(listed(at.input)))
