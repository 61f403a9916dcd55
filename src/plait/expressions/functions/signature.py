"""How a function of the expression language is declared, and how its arguments are checked.

A function's own annotations say what it takes, by these names. Null is tolerated everywhere:

- a list or an object that is null is empty;
- a first argument that is a scalar gives what the function declares as `nothing`: null, where it declares none;
- where an argument may be left out, null is as if it were;
- any other scalar is empty text or 0;
- what is annotated `... | None` is told of null, and decides itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from plait.expressions.faults import TYPE, fault
from plait.expressions.values import article, is_number

if TYPE_CHECKING:
    from plait.expressions.evaluate import Work


class Lambda:
    """What an arrow is to a function: `x => ...`. It takes any number of arguments, and looks at those that it names."""

    __slots__ = ()

    def __call__(self, *values: Any) -> Any:
        """Its value."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """How many arguments it names."""
        raise NotImplementedError


MISSING: Any = object()
"""An argument that was left out, where null says something else."""

Text: TypeAlias = str
Number: TypeAlias = int | float
Whole: TypeAlias = int
"""A number without a fraction; 3.0 is one."""
List: TypeAlias = list[Any]
Object: TypeAlias = dict[str, Any]
Items: TypeAlias = list[Any] | str
"""A list, or text."""
Sized: TypeAlias = list[Any] | str | dict[str, Any]
"""A list, text, or an object."""
Held: TypeAlias = list[Any] | dict[str, Any]
"""An object, or a list."""
Path: TypeAlias = str | int | float | list[Any]
"""Where something is in an object: `"a.b.0"`, a place, or a list of names and places."""
Time: TypeAlias = str | int | float
"""A moment: ISO 8601 text, or milliseconds since 1970."""
Anything: TypeAlias = Any
Arrow: TypeAlias = Lambda
Key: TypeAlias = str | Lambda | None
"""What to look at in each item: a name (`"a.b"` for a member of a member), an arrow, or null for the item itself."""

_EMPTY: dict[str, Callable[[], Any]] = {"List": list, "Object": dict, "Held": dict}
_NEUTRAL: dict[str, Any] = {"Text": "", "Number": 0, "Whole": 0, "Items": "", "Sized": "", "Path": "", "Time": ""}
_WANTED = {
    "Text": "text",
    "Number": "a number",
    "Whole": "a whole number",
    "List": "a list",
    "Object": "an object",
    "Items": "a list or text",
    "Sized": "a list, text or an object",
    "Held": "an object or a list",
    "Path": 'a path such as "a.b.0"',
    "Time": "a time as text, or milliseconds",
    "Arrow": "a function such as x => x.name",
    "Key": "a name or a function such as x => x.name",
    "Anything": "a value",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: its name, its kind (of those above), whether null is told to the function, its value where it is left out."""

    name: str
    kind: str
    required: bool
    nullable: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function: `least` to `most` arguments, any number of the last one where `most` is None."""

    name: str
    parameters: tuple[Parameter, ...]
    rest: Parameter | None
    nothing: Any
    run: Callable[..., Any]
    pure: bool = True
    """Does it give the same for the same arguments? What asks the clock, or chance, does not: a run that is replayed must not ask again."""
    charged: bool = False
    """Does it say itself what it uses and makes? Else what it is given and what it gives is counted by its size."""
    steps: int = 1
    """So many at least: a step is about a microsecond."""

    @property
    def least(self) -> int:
        """So many arguments it needs."""
        return sum(each.required for each in self.parameters)

    @property
    def most(self) -> int | None:
        """So many it takes; None: any number."""
        return None if self.rest is not None else len(self.parameters)

    def takes(self, number: int) -> bool:
        """Can it be called with so many arguments?"""
        return number >= self.least and (self.rest is not None or number <= len(self.parameters))

    def parameter(self, place: int) -> Parameter | None:
        """What the argument at a place is."""
        return self.parameters[place] if place < len(self.parameters) else self.rest

    def __call__(self, work: Work, values: Sequence[Any]) -> Any:
        """What it gives.

        Raises:
            ExpressionError: for an argument of the wrong type, with the function's name and the argument's.
        """
        given: list[Any] = []
        nothing = False
        for place, value in enumerate(values):
            parameter = self.parameter(place)
            assert parameter is not None  # how many there are was checked before anything ran
            if value is None and place == 0 and parameter.kind in _NEUTRAL and parameter.required:
                nothing = nothing or not parameter.nullable
            given.append(self._taken(parameter, value))
        return _copied(self.nothing) if nothing else self.run(work, *given)

    def _taken(self, parameter: Parameter, value: Any) -> Any:
        kind = parameter.kind
        if value is None:
            if parameter.nullable:
                return None
            if not parameter.required and parameter is not self.rest:
                return parameter.default
            if kind in _EMPTY:
                return _EMPTY[kind]()
            if kind in _NEUTRAL:
                return _NEUTRAL[kind]
        if not _fits(kind, value):
            raise fault(
                TYPE,
                None,
                f"{self.name}: {parameter.name} must be {_WANTED[kind]}, not {_found(value)}",
                _hint(kind, value),
            )
        if kind == "Whole":
            return int(value)
        return list(value) if isinstance(value, tuple) and kind not in ("Anything", "Path") else value


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "Text":
            return isinstance(value, str)
        case "Number":
            return is_number(value)
        case "Whole":
            return is_number(value) and math.isfinite(value) and value == int(value)
        case "List":
            return isinstance(value, (list, tuple))
        case "Object":
            return isinstance(value, dict)
        case "Items":
            return isinstance(value, (str, list, tuple))
        case "Sized":
            return isinstance(value, (str, list, tuple, dict))
        case "Held":
            return isinstance(value, (list, tuple, dict))
        case "Path":
            return isinstance(value, (str, list, tuple)) or is_number(value)
        case "Time":
            return isinstance(value, str) or is_number(value)
        case "Arrow":
            return isinstance(value, Lambda)
        case "Key":
            return value is None or isinstance(value, (str, Lambda))
        case _:
            return not isinstance(value, Lambda)


def _found(value: Any) -> str:
    return "a function" if isinstance(value, Lambda) else article(value)


def _hint(kind: str, value: Any) -> str:
    if kind in ("Number", "Whole") and isinstance(value, str):
        return "to_number(...) reads a number from text"
    if kind == "Text" and not isinstance(value, Lambda):
        return "to_string(...) makes text of it"
    return ""


FUNCTIONS: dict[str, Function] = {}
"""Every function, by its name."""

F = TypeVar("F", bound=Callable[..., Any])


def function(
    *names: str, nothing: Any = None, pure: bool = True, charged: bool = False, steps: int = 1
) -> Callable[[F], F]:
    """Declares a function of that name (or of several): its first parameter is the evaluation, which it tells what it costs; the
    annotations of the others are names of this module.

    `nothing`: what it gives where its first argument, a scalar, is null. `pure`, `charged`, `steps`: see `Function`.
    """

    def declare(run: F) -> F:
        code = run.__code__
        kinds = run.__annotations__
        named = code.co_varnames[1 : code.co_argcount]
        defaults = run.__defaults__ or ()
        first = len(named) - len(defaults)
        parameters = tuple(
            _parameter(each, kinds[each], at < first, None if at < first else defaults[at - first])
            for at, each in enumerate(named)
        )
        rest = None
        if code.co_flags & 0x04:  # *values
            last = code.co_varnames[code.co_argcount]
            rest = _parameter(last, kinds[last], False)
        for name in names:
            FUNCTIONS[name] = Function(name, parameters, rest, nothing, run, pure, charged, steps)
        return run

    return declare


def _parameter(name: str, annotation: str, required: bool, default: Any = None) -> Parameter:
    kind = annotation.removesuffix(" | None")
    if kind not in _WANTED:
        raise TypeError(f"{kind} is no kind of argument")
    return Parameter(name.rstrip("_"), kind, required, kind != annotation, default)


def wrong(function: str, argument: str, what: str, hint: str = "") -> Exception:
    """The error for an argument that is of the right type, and cannot be used all the same: `what` goes on after its name."""
    return fault(TYPE, None, f"{function}: {argument} {what}", hint)
