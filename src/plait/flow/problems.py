"""What is wrong with a workflow file: every finding has a place, a stable code, and says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from plait.errors import FlowError


class Place(NamedTuple):
    """A position in a file, both from 1."""

    line: int
    column: int


START = Place(1, 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. Printed it is one line: `FILE:LINE:COL: error[CODE]: message`."""

    file: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        text = "".join(each if each.isprintable() else "?" for each in " ".join(self.message.split()))
        return f"{self.file}:{self.line}:{self.column}: error[{self.code}]: {text}"


def _where(problem: Problem) -> Place:
    return Place(problem.line, problem.column)


class Problems:
    """Collects the findings of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, at: Place, code: str, message: str) -> None:
        """Notes one finding."""
        self.found.append(Problem(self.file, at.line, at.column, code, message))

    def stop(self, at: Place, code: str, message: str) -> FlowError:
        """The error to raise where reading cannot go on."""
        self.add(at, code, message)
        return self.error()

    def error(self) -> FlowError:
        """All findings as one error, in the order of the file."""
        ordered: list[Problem] = sorted(self.found, key=_where)
        return FlowError(ordered)
