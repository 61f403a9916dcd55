"""Works expressions out over plain data, within a budget of steps and of size: no attributes of objects, no calls but listed ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from plait.errors import ExpressionError
from plait.expressions.checks import check_call
from plait.expressions.faults import EVALUATION, TYPE, fault
from plait.expressions.functions import FUNCTIONS, Function
from plait.expressions.functions.signature import Lambda
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
    reference,
    unrolled,
)  # fmt: skip
from plait.expressions.values import (
    MOST_VALUES,
    PLAIN,
    Weight,
    article,
    bounded,
    contains,
    encoded,
    equal,
    kind,
    less,
    member,
    number,
    plain,
    same,
    shortened,
    text,
    truth,
    weigh,
)

MOST_STEPS = 1_000_000
"""Of one evaluation: each node that is worked out is one, and so is each item that a function looks at."""
LARGEST = 20_000_000
"""Characters that one evaluation may make, in all."""
ITEM, ENTRY = 2, 25
"""So many characters take the memory of an item of a list, and of an entry of an object."""
MOST_GIVEN = 5_000_000
"""Values that may be in what an expression gives that calls arrows."""
REGEX_SECONDS = 1.0
"""All regular expressions of one evaluation together."""


class Names(Protocol):
    """What the names of an expression stand for."""

    def look_up(self, name: str, steps: tuple[str | int, ...]) -> tuple[Any, int]:
        """What a name and the first of the steps behind it stand for, and how many of these that were."""
        ...


class Budget:
    """What evaluations use up together: those of one task, or of all items of a foreach, which no turn of an event loop divides.

    `more`: so many steps beyond those of a single evaluation.
    """

    __slots__ = ("regex_seconds", "size", "steps")

    def __init__(self, more: int = 0) -> None:
        self.steps = -more
        self.size = 0
        self.regex_seconds = REGEX_SECONDS

    @property
    def is_over(self) -> bool:
        """Is nothing left?"""
        return self.steps > MOST_STEPS or self.size > LARGEST or self.regex_seconds <= 0

    def wrote(self, characters: int) -> None:
        """Is told what was written down of a value.

        Raises:
            ExpressionError: where that is too much, with what was written before.
        """
        self.size += characters
        if self.size > LARGEST:
            raise _too_large()


class Closure(Lambda):
    """An arrow, with what its names stood for where it was written."""

    __slots__ = ("arrow", "known", "work")

    def __init__(self, work: Work, arrow: Arrow, known: Mapping[str, Any]) -> None:
        self.work = work
        self.arrow = arrow
        self.known = known

    def __call__(self, *values: Any) -> Any:
        """Its value for these arguments; those that it does not name are left out, those that are missing are null."""
        parameters = self.arrow.parameters
        given = dict(zip(parameters, values, strict=False))
        if len(given) < len(parameters):
            given = dict.fromkeys(parameters) | given
        self.work.has_called = True
        try:
            return self.work.value(self.arrow.body, {**self.known, **given})
        except RecursionError:
            raise _too_deep() from None

    @property
    def width(self) -> int:
        """How many arguments it names."""
        return len(self.arrow.parameters)


def _too_large() -> ExpressionError:
    return fault(
        EVALUATION,
        None,
        f"this makes more than {LARGEST:,} characters, or as much in lists and objects: do that in a task of its own",
    )


def _too_deep() -> ExpressionError:
    return fault(EVALUATION, None, "this is nested too deep for the place where it stands")


class Work:
    """One evaluation: its names, and what it has used up."""

    __slots__ = ("_names", "_size", "_steps", "clock", "has_called", "regex_seconds")

    def __init__(self, names: Names, budget: Budget | None = None) -> None:
        self._names = names
        self._steps = 0 if budget is None else budget.steps
        self._size = 0 if budget is None else budget.size
        self.clock: Any = None
        """What functions of one evaluation share: it is one moment for all of it."""
        self.has_called = False
        """Was an arrow called?"""
        self.regex_seconds = REGEX_SECONDS if budget is None else budget.regex_seconds
        """What is left for regular expressions."""

    def charge(self, budget: Budget) -> None:
        """Notes what was used up."""
        budget.steps, budget.size, budget.regex_seconds = self._steps, self._size, self.regex_seconds

    # -- the budget

    def step(self, number: int = 1) -> None:
        """Uses up steps.

        Raises:
            ExpressionError: where more are used than there are.
        """
        self._steps += number
        if self._steps > MOST_STEPS:
            raise fault(EVALUATION, None, f"more than {MOST_STEPS:,} steps: work on less data, or in a task of its own")

    def makes(self, characters: int = 0, *, items: int = 0, entries: int = 0) -> None:
        """Is told before something of that size is made: text, a list, an object.

        Raises:
            ExpressionError: where that is too much.
        """
        self._size += characters + ITEM * items + ENTRY * entries
        if self._size > LARGEST:
            raise _too_large()
        self.step(characters // 256 + items // 16 + entries // 8)

    def weigh(self, value: Any) -> Weight:
        """What is in a value; a step for each."""
        found = weigh(value, min(MOST_VALUES, MOST_STEPS - self._steps + 1))
        self.step(found.values)
        return found

    def text(self, value: Any, indent: int | None = None, *, encode: bool = False) -> str:
        """A value as text, or as JSON."""
        if isinstance(value, str) and not encode:
            return value
        if isinstance(value, (list, tuple, dict, str)):
            weight = self.weigh(value)
            # With its brackets and commas; and every value may stand on a line of its own, as far in as the deepest one.
            size = weight.characters + (2 + (indent or 0) * weight.depth) * weight.values
            self.makes(size)
            made = encoded(value, indent)
            self.makes(max(0, len(made) - size))  # what was escaped
            return made
        return encoded(value) if encode else text(value)

    def same(self, left: Any, right: Any) -> bool:
        """`===`."""
        return same(left, right, self.step)

    # -- values

    def value(self, tree: Tree, known: Mapping[str, Any]) -> Any:
        """What a tree stands for, with these parameters of arrows."""
        self.step()
        try:
            match tree:
                case Literal(value):
                    return value
                case Name() | Member() | Index():
                    return self._chain(tree, known)
                case Call():
                    return self._call(tree, known)
                case Binary():
                    return self._binary(tree, known)
                case Unary(operator, operand):
                    return self._unary(operator, self.value(operand, known), tree.at)
                case Conditional(condition, then, otherwise):
                    return self.value(then if truth(self.value(condition, known)) else otherwise, known)
                case Listed(items):
                    return self._list(items, known)
                case Entries(entries):
                    return self._object(entries, known)
        except ExpressionError as error:
            if error.offset is not None:
                raise
            raise error.at(tree.at) from None
        except (OverflowError, MemoryError):
            raise fault(EVALUATION, tree.at, "a number, or what would be made here, is too large") from None

    def _chain(self, tree: Tree, known: Mapping[str, Any]) -> Any:
        base, steps = (tree, []) if isinstance(tree, Name) else unrolled(tree)
        self.step(len(steps))
        done = 0
        if not isinstance(base, Name):
            value = self.value(base, known)
        elif base.name in known:
            value = known[base.name]
        else:
            try:
                value, done = self._names.look_up(base.name, reference(base, steps).steps if steps else ())
            except ExpressionError as error:
                raise error if error.offset is not None else error.at(base.at) from None
        for step in steps[done:]:
            if value is None and isinstance(step, Member):
                continue
            name = step.name if isinstance(step, Member) else self.value(step.index, known)
            try:
                value = member(value, name)
            except ExpressionError as error:
                raise error.at(step.at) from None
        return value if type(value) in PLAIN else plain(value)

    def _binary(self, tree: Binary, known: Mapping[str, Any]) -> Any:
        chain = [tree]  # a + b + c is a deep tree, and no deep thought
        while isinstance(chain[-1].left, Binary):
            chain.append(chain[-1].left)
        value = self.value(chain[-1].left, known)
        for each in reversed(chain):
            self.step()
            match each.operator:
                case "&&":
                    value = self.value(each.right, known) if truth(value) else value
                case "||":
                    value = value if truth(value) else self.value(each.right, known)
                case "??":
                    value = self.value(each.right, known) if value is None else value
                case operator:
                    value = self._operate(operator, value, self.value(each.right, known), each.at)
        return value

    def _operate(self, operator: str, left: Any, right: Any, at: int) -> Any:
        if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
            self.step((_size(left) + _size(right)) // 1000)
        match operator:
            case "+" if isinstance(left, str) or isinstance(right, str):
                one, other = self.text(left), self.text(right)
                self.makes(len(one) + len(other))
                return one + other
            case "+" | "-" | "*" | "/" | "%":
                return self._reckon(operator, left, right, at)
            case "==" | "!=" | "===" | "!==":
                found = equal(left, right, self.step) if len(operator) == 2 else self.same(left, right)
                return found == (operator[0] == "=")
            case "IN":
                if isinstance(right, (list, tuple)):
                    self.step(len(right))
                return contains(left, right, self.step)
        ordered = less(right, left) if operator in (">", "<=") else less(left, right)
        return ordered is not None and ordered == (operator in ("<", ">"))

    def _reckon(self, operator: str, left: Any, right: Any, at: int) -> Any:
        one, other = (self._number(each, operator, at) for each in (left, right))
        if operator in "/%" and other == 0:
            return None
        exact = isinstance(one, int) and isinstance(other, int)
        try:
            match operator:
                case "+":
                    made: float | int = one + other
                case "-":
                    made = one - other
                case "*":
                    made = one * other
                case "/":
                    made = one // other if exact and one % other == 0 else one / other
                case _:
                    # The sign is the dividend's, as in JavaScript and C.
                    made = abs(one) % abs(other) * (-1 if one < 0 else 1) if exact else math.fmod(one, other)
        except (OverflowError, ValueError):
            return math.nan
        return bounded(made) if isinstance(made, int) else shortened(made) if made == made else made

    def _number(self, value: Any, operator: str, at: int) -> float | int:
        if isinstance(value, (list, tuple)) or (kind(value) == "object"):
            instead = {"array": "concat(a, b) joins lists", "object": "merge(a, b) joins objects"}
            raise fault(
                TYPE,
                at,
                f"`{operator}` needs numbers or text, not {article(value)}",
                instead[kind(value)] if operator == "+" else "",
            )
        return number(value)

    def _unary(self, operator: str, value: Any, at: int) -> Any:
        match operator:
            case "!":
                return not truth(value)
            case "typeof":
                return kind(value)
            case "-":
                found = self._number(value, "-", at)
                return -found if found else 0
            case _:
                return self._number(value, "+", at)

    def _list(self, items: Sequence[Tree | Spread], known: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = []
        for each in items:
            if isinstance(each, Spread):
                spread = self.value(each.of, known)
                if not isinstance(spread, (list, tuple, type(None))):
                    raise fault(TYPE, each.at, f"only a list can be spread in a list, not {article(spread)}")
                self.makes(items=len(spread or ()))
                found.extend(spread or ())
            else:
                found.append(self.value(each, known))
        self.makes(items=len(items))
        return found

    def _object(self, entries: Sequence[tuple[str, Tree] | Spread], known: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in entries:
            if isinstance(each, Spread):
                spread = self.value(each.of, known)
                if not isinstance(spread, (dict, type(None))):
                    raise fault(TYPE, each.at, f"only an object can be spread in an object, not {article(spread)}")
                self.makes(entries=len(spread or ()))
                found.update(spread or {})
            else:
                found[each[0]] = self.value(each[1], known)
        self.makes(entries=len(entries))
        return found

    # -- functions

    def _call(self, tree: Call, known: Mapping[str, Any]) -> Any:
        function = FUNCTIONS.get(tree.function)
        if function is None or not function.takes(len(tree.arguments)):
            raise next(check_call(tree))
        return self.call(function, [self._argument(each, known) for each in tree.arguments])

    def _argument(self, each: Node, known: Mapping[str, Any]) -> Any:
        if isinstance(each, Arrow):
            return Closure(self, each, known)
        assert not isinstance(each, Spread)
        return self.value(each, known)

    def call(self, function: Function, values: list[Any]) -> Any:
        """What a function gives for these arguments."""
        self.step(function.steps if function.charged else function.steps + sum(map(_size, values)) // 16)
        value = function(self, values)
        if not function.charged:
            if isinstance(value, str):
                self.makes(len(value))
            elif isinstance(value, (list, tuple)):
                self.makes(items=len(value))
            elif isinstance(value, dict):
                self.makes(entries=len(value))
        return value if type(value) in PLAIN else plain(value)


def _size(value: Any) -> int:
    """How long it takes to look at all of it, roughly; what is in it is not looked at."""
    if isinstance(value, str):
        return len(value) // 16
    return len(value) if isinstance(value, (list, tuple, dict)) else 0


def evaluate(tree: Node, names: Names, known: Mapping[str, Any] | None = None, budget: Budget | None = None) -> Any:
    """What an expression stands for. An arrow stands for a function of Python's, which works with what is left of the budget.

    `budget`: what it shares with other evaluations; without one it has its own.

    Raises:
        ExpressionError: for values that an operator or a function cannot take, and for a budget that is used up.
    """
    work = Work(names, budget)
    try:
        if isinstance(tree, Arrow):
            return Closure(work, tree, known or {})
        assert not isinstance(tree, Spread)
        value = work.value(tree, known or {})
        if work.has_called and isinstance(value, (list, tuple, dict)):
            # Arrows can make data as deep as they are often called, or hold one list many times: nobody could write that down.
            weigh(value, MOST_GIVEN)
        return value
    except RecursionError:
        raise _too_deep() from None
    except ExpressionError as error:
        raise error if error.offset is not None else error.at(tree.at) from None
    finally:
        if budget is not None:
            work.charge(budget)


__all__ = ["LARGEST", "MOST_STEPS", "Budget", "Closure", "Names", "Work", "evaluate"]
