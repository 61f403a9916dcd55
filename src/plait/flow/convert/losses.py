"""What one language says and the other cannot: every such place of a file, with what to do there."""

from __future__ import annotations

from plait._core.policy import PLAIN, Policy
from plait.expressions.formula import Formula
from plait.flow.problems import START, Place, Problems
from plait.flow.templates import Template, templates_of

CODE = "convert"


class Losses:
    """Collects the places of one file."""

    def __init__(self, problems: Problems, language: str) -> None:
        self.problems = problems
        self.language = language
        """That into which is converted."""
        self.at = START
        """Where the task stands that is looked at."""

    def add(self, message: str, hint: str, at: Place | None = None) -> None:
        """Notes a place: by default the task's."""
        self.problems.add(self.at if at is None else at, CODE, f"{self.language} cannot say this: {message}", hint)

    def within(self, formula: Formula, message: str, hint: str) -> None:
        """Notes an expression."""
        self.add(message, hint, place_of(formula))


def place_of(formula: Formula) -> Place | None:
    """Where an expression stands, if it knows."""
    parts = formula.where.rsplit(":", 2)
    return Place(int(parts[1]), int(parts[2])) if len(parts) == 3 else None


def place_in(data: object) -> Place | None:
    """Where the first expression in some data stands."""
    if isinstance(data, Formula):
        return place_of(data)
    return next((place_of(hole.formula) for each in templates_of(data) for hole in each.holes), None)


def odd(policy: Policy, *but: str) -> list[str]:
    """What a policy says that is not as it is anyhow, beside the fields of `but`."""
    usual = PLAIN.fields()
    return [name for name, each in policy.fields().items() if name not in ("join", *but) and each != usual[name]]


def duration_text(seconds: float) -> str:
    """A duration with its unit, which both languages read as the same."""
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    milliseconds = round(seconds * 1000, 6)
    if milliseconds == int(milliseconds) and milliseconds:
        return f"{int(milliseconds)}ms"
    return f"{seconds:f}".rstrip("0") + "s"


def lone(template: object) -> Formula | None:
    """The expression of a template that is nothing else."""
    hole = template.alone if isinstance(template, Template) else None
    return None if hole is None else hole.formula
