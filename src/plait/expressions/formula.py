"""An expression ready for use: its tree, what it reads, and where it stands, for the errors that come later."""

from __future__ import annotations

from typing import Any

from plait.errors import ExpressionError
from plait.expressions.evaluate import Budget, Names, evaluate
from plait.expressions.functions import FUNCTIONS
from plait.expressions.tree import Index, Member, Name, Node, Reference, calls, reference, references, unrolled
from plait.expressions.values import member, plain, text

PRINTED = frozenset(("pathlib", "decimal", "fractions", "datetime", "uuid", "ipaddress"))
"""Modules of Python whose objects are written down as they print themselves."""


class Formula:
    """An expression of a file. `text` is how it is written, `where` the place of that, if it is known."""

    __slots__ = ("_plain", "is_pure", "references", "text", "tree", "where")

    def __init__(self, tree: Node, text: str, where: str = "") -> None:
        self.tree = tree
        self.text = text
        self.where = where
        self._plain = _plain_reference(tree)
        # What most expressions are is one name with its steps: then that is all they read.
        self.references: tuple[Reference, ...] = tuple(references(tree)) if self._plain is None else (self._plain,)
        """The names that it reads, from left to right."""
        self.is_pure = self._plain is not None or all(
            each.function not in FUNCTIONS or FUNCTIONS[each.function].pure for each in calls(tree)
        )
        """Does it stand for the same whenever its names do? Not where it asks for the time, or for chance."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self.tree == other.tree

    def __hash__(self) -> int:
        return hash(self.text)

    def value(self, names: Names) -> Any:
        """What it stands for.

        Raises:
            ExpressionError: where it cannot be worked out: with the place, the text, and what is wrong.
        """
        try:
            return self._value(names)
        except ExpressionError as error:
            raise self._placed(error) from None

    def written(self, names: Names) -> str:
        """What it stands for as text. Numbers, paths and times of Python's are printed.

        Raises:
            ExpressionError: where it cannot be worked out, or is nothing that is written down.
        """
        try:
            value = self._value(names)
            budget: Budget | None = getattr(names, "budget", None)
            made = str(value) if type(value).__module__ in PRINTED else text(plain(value))
            if budget is not None:
                budget.wrote(len(made))
            return made
        except ExpressionError as error:
            raise self._placed(error) from None

    def _value(self, names: Names) -> Any:
        if self._plain is None:
            return evaluate(self.tree, names, budget=getattr(names, "budget", None))
        value, done = names.look_up(self._plain.root, self._plain.steps)
        for step in self._plain.steps[done:]:
            if value is None:
                break
            value = member(value, step)
        return value

    def _placed(self, error: ExpressionError) -> ExpressionError:
        hint = f" ({error.hint})" if error.hint else ""
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        where = f"{self.where}: " if self.where else ""
        return ExpressionError(
            f"{where}{{{{ {shown} }}}}: {error}{hint}",
            code=error.code,
            offset=error.offset,
            hint=error.hint,
            where=self.where,
        )


def _plain_reference(tree: Node) -> Reference | None:
    """What the expression is, if it is a name with steps that stand in the text, and nothing else."""
    base, steps = unrolled(tree) if isinstance(tree, (Member, Index)) else (tree, [])
    if not isinstance(base, Name):
        return None
    found = reference(base, steps)
    return None if found.goes_on else found
