"""What is wrong with a workflow file: every finding has a place, a stable code, and says what to do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from plait._core.policy import MOST_GUESSES as MOST_NAMES
from plait._core.policy import nearest
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
        text = _printable(" ".join(self.message.split()))
        return f"{_printable(self.file)}:{self.line}:{self.column}: error[{self.code}]: {text}"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


MOST = 1000
"""Problems of one file that are told; the others are counted."""

MOST_GUESSES = 20
"""Names that are not there for which one is looked for that is alike."""


def _where(problem: Problem) -> Place:
    return Place(problem.line, problem.column)


class Problems:
    """Collects the findings of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []
        self._told: set[Problem] = set()
        self._unread: set[Place] = set()
        self._left_out = 0
        self._hints: dict[tuple[str, ...], str] = {}

    def add(self, at: Place, code: str, message: str) -> None:
        """Notes one finding, once: what stands in `defaults`, or behind an alias, is looked at for each task that has it."""
        problem = Problem(self.file, at.line, at.column, code, message)
        if problem in self._told or at in self._unread:
            return
        if len(self.found) < MOST:
            self.found.append(problem)
            self._told.add(problem)
        else:
            self._left_out += 1

    def add_unread(self, at: Place, code: str, message: str) -> None:
        """Notes what kept the value at a place from being read: of that value nothing else is told."""
        self.add(at, code, message)
        self._unread.add(at)

    def nearest(self, name: str, known: Collection[object]) -> str:
        """`nearest`, for the first problems of a file only: a long list of them needs no hints. To the same question the same answer."""
        if len(known) > MOST_NAMES or len(self.found) >= MOST:
            return ""
        question = (name, *map(str, known))
        if question not in self._hints and len(self._hints) < MOST_GUESSES:
            self._hints[question] = nearest(name, known)
        return self._hints.get(question, "")

    def stop(self, at: Place, code: str, message: str) -> FlowError:
        """The error to raise where reading cannot go on."""
        self.add(at, code, message)
        return self.error()

    def error(self) -> FlowError:
        """All findings as one error, in the order of the file."""
        ordered: list[Problem] = sorted(self.found, key=_where)
        if self._left_out:
            last = Problem(self.file, 1, 1, "more", f"and {self._left_out} more problems")
            return FlowError([*ordered, last])
        return FlowError(ordered)
