"""Names for expressions, and what expressions come to with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.errors import ExpressionError
from plait.expressions import Names, check_calls, evaluate, parse


class Scope(Names):
    """Names that stand for what is in a dict; others are unknown."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def look_up(self, name: str, steps: tuple[str | int, ...]) -> tuple[Any, int]:
        if name not in self.values:
            raise ExpressionError(f"unknown name {name!r}", code="EXPR_UNDEFINED_VARIABLE")
        return self.values[name], 0


def value(text: str, /, **values: Any) -> Any:
    """What an expression comes to."""
    return evaluate(parse(text), Scope(values))


def checked(text: str, /, **values: Any) -> Any:
    """The same, as a workflow does it: what can be said before it runs is said."""
    tree = parse(text)
    for problem in check_calls(tree):
        raise problem
    return evaluate(tree, Scope(values))


def error(text: str, /, **values: Any) -> ExpressionError:
    """The error that an expression ends with."""
    try:
        found = value(text, **values)
    except ExpressionError as raised:
        assert raised.offset is not None, f"{text}: {raised} has no place"
        assert 0 <= raised.offset <= len(text)
        return raised
    raise AssertionError(f"{text} is {str(found)[:200]!r}")
