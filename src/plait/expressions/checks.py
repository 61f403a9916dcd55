"""What can be said of an expression before anything runs: its functions are there, and are called as they have to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from plait._core.policy import nearest
from plait.errors import ExpressionError
from plait.expressions.faults import FUNCTION, PARSE, TYPE, fault
from plait.expressions.functions import FUNCTIONS, Function
from plait.expressions.tree import Arrow, Call, Node, calls


def check_calls(tree: Node, guess: Callable[..., str] = nearest) -> Iterator[ExpressionError]:
    """What is wrong with the calls in an expression: unknown functions, wrong numbers of arguments, functions where values are needed.

    `guess` finds the name that was meant, as a sentence.
    """
    for call in calls(tree):
        yield from check_call(call, guess)


def check_call(call: Call, guess: Callable[..., str] = nearest) -> Iterator[ExpressionError]:
    """What is wrong with one call."""
    function = FUNCTIONS.get(call.function)
    if function is None:
        yield _unknown(call, guess)
        return
    given = len(call.arguments)
    if not function.takes(given):
        yield fault(TYPE, call.at, f"{call.function} takes {_numbers(function)}, and is given {given}", usage(function))
        return
    for place, argument in enumerate(call.arguments):
        parameter = function.parameter(place)
        assert parameter is not None
        if isinstance(argument, Arrow) and parameter.kind not in ("Arrow", "Key"):
            yield fault(
                TYPE, argument.at, f"{call.function}: {parameter.name} is a value, not a function", usage(function)
            )
        elif not isinstance(argument, Arrow) and parameter.kind == "Arrow":
            yield fault(
                TYPE,
                argument.at,
                f"{call.function}: {parameter.name} is a function such as x => x.name, not a value",
                usage(function),
            )


def _unknown(call: Call, guess: Callable[..., str]) -> ExpressionError:
    if call.function == "raw":
        return fault(PARSE, call.at, "raw(...) stands around a whole template of a command, and nowhere else")
    return fault(FUNCTION, call.at, f"there is no function {call.function!r}{guess(call.function, list(FUNCTIONS))}")


def _numbers(function: Function) -> str:
    least, most = function.least, function.most
    if most is None:
        return f"at least {_arguments(least)}"
    return _arguments(least) if least == most else f"{least} to {_arguments(most)}"


def _arguments(number: int) -> str:
    return "1 argument" if number == 1 else f"{number} arguments"


def usage(function: Function) -> str:
    """How it is called: `truncate(s, n, end?)`."""
    shown = [each.name if each.required else f"{each.name}?" for each in function.parameters]
    if function.rest is not None:
        shown.append(f"...{function.rest.name}")
    return f"{function.name}({', '.join(shown)})"
