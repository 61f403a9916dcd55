"""What is wrong with a workflow file: every finding has a place, a stable code, and says what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from plait._core.policy import MOST_GUESSES as MOST_NAMES
from plait._core.policy import nearest
from plait.errors import FlowError
from plait.flow.excerpts import Excerpt, excerpt


class Place(NamedTuple):
    """A position in a file, both from 1."""

    line: int
    column: int


START = Place(1, 1)

LONGEST = 2_000
"""Characters of a message or a hint that are told: keys, and so what is said of them, may be of any length."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. Printed it is one line: `FILE:LINE:COL: error[CODE]: message`."""

    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    """What to do, where that is not in the message."""
    severity: Literal["error", "warning"] = "error"
    source: Excerpt | None = field(default=None, compare=False)
    """The line where it is; None where that is not at hand."""

    def __str__(self) -> str:
        return f"{_printable(self.file)}:{self.line}:{self.column}: {self.severity}[{self.code}]: {_line(self.message)}"

    def lines(self) -> list[str]:
        """As people read it: that line, and below it the line of the file with a caret, and the hint.

        Only the first begins at the edge, so nothing in a file can look like a finding.
        """
        told = [str(self)]
        if self.source is not None:
            number = f"{self.line:5}"
            told.append(f"{number} | {self.source.text}")
            told.append(f"{' ' * len(number)} | {' ' * self.source.caret}^")
        if self.hint:
            told.append(f"      hint: {_line(self.hint)}")
        return told

    def plain(self) -> dict[str, object]:
        """As data, for programs."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "hint": self.hint or None,
            "source": None if self.source is None else self.source.text,
        }


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _line(text: str) -> str:
    return _printable(" ".join(text.split()))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


MOST = 1000
"""Problems of one file that are told; the others are counted."""

MOST_WARNINGS = 100
"""And warnings."""

MOST_GUESSES = 20
"""Names that are not there for which one is looked for that is alike."""

MORE = "more"
"""The code of the line that counts the rest."""


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """In the order of their file; what counts the rest is last."""
    return sorted(problems, key=lambda each: (each.code == MORE, each.line, each.column))


HINTS = {
    "unknown-input": "declare it at the top of the file: `inputs: {NAME: {type: string}}`",
    "unknown-secret": "declare it at the top of the file: `secrets: [NAME]`",
    "duplicate-key": "drop one of them, or give it another name",
    "not-text": "save it as UTF-8 text",
    "too-large": "split the file, or make the items of a `foreach` in a task",
}
"""What to do about findings of a code, where they say nothing of their own."""


class Problems:
    """Collects the findings of one file, `text` where that has been read."""

    def __init__(self, file: str, text: str | None = None) -> None:
        self.file = file
        self.text = text
        self.found: list[Problem] = []
        self.others: list[Problem] = []
        """Of other files that this one names."""
        self._warned: dict[Problem, None] = {}
        self._told: set[Problem] = set()
        self._unread: set[Place] = set()
        self._left_out = 0
        self._under: tuple[str, tuple[str, ...]] | None = None
        self._hints: dict[tuple[str, ...], str] = {}
        self._lines: tuple[str | None, list[str]] = (None, [])

    @property
    def lines(self) -> list[str]:
        """The lines of the file, as YAML counts them."""
        if self._lines[0] is not self.text:
            self._lines = (self.text, (self.text or "").splitlines())
        return self._lines[1]

    def add(self, at: Place, code: str, message: str, hint: str = "") -> None:
        """Notes one finding, once: what stands in `defaults`, or behind an alias, is looked at for each task that has it."""
        hint = hint or HINTS.get(code, "")
        if self._under is not None and code not in self._under[1]:
            code = self._under[0]
        problem = Problem(self.file, at.line, at.column, code, _cut(message), _cut(hint))
        if problem in self._told or at in self._unread:
            return
        if len(self.found) < MOST:
            self.found.append(problem)
            self._told.add(problem)
        else:
            self._left_out += 1

    @contextmanager
    def under(self, code: str, but: tuple[str, ...] = ()) -> Iterator[None]:
        """What is noted inside is told by one code, save what has one of those in `but`."""
        before = self._under
        self._under = (code, but)
        try:
            yield
        finally:
            self._under = before

    def add_unread(self, at: Place, code: str, message: str, hint: str = "") -> None:
        """Notes what kept the value at a place from being read: of that value nothing else is told."""
        self.add(at, code, message, hint)
        self._unread.add(at)

    def warn(self, at: Place, code: str, message: str, hint: str) -> None:
        """Notes what keeps no file from being run, and is worth a look."""
        self._warned[Problem(self.file, at.line, at.column, code, _cut(message), _cut(hint), "warning")] = None

    def nearest(self, name: str, known: Collection[object]) -> str:
        """`nearest`, for the first problems of a file only: a long list of them needs no hints. To the same question the same answer."""
        if len(known) > MOST_NAMES or len(self.found) >= MOST:
            return ""
        question = (name, *map(str, known))
        if question not in self._hints and len(self._hints) < MOST_GUESSES:
            self._hints[question] = nearest(name, known)
        return self._hints.get(question, "")

    def stop(self, at: Place, code: str, message: str, hint: str = "") -> FlowError:
        """The error to raise where reading cannot go on. That is told, whatever was found before."""
        if len(self.found) >= MOST:
            self.found.pop()
            self._left_out += 1
        self.add(at, code, message, hint)
        return self.error()

    def listed(self) -> list[Problem]:
        """All findings, in the order of the file, and behind them those of other files."""
        errors = ordered(map(self._shown, self.found))
        if self._left_out:
            errors.append(Problem(self.file, 1, 1, MORE, f"and {self._left_out} more problems"))
        return [*errors, *self.others]

    def error(self) -> FlowError:
        """All findings as one error."""
        return FlowError(self.listed(), self.warnings())

    def warnings(self) -> list[Problem]:
        """What was warned of, in the order of the file."""
        warned = ordered(self._warned)
        more = len(warned) - MOST_WARNINGS
        told = [self._shown(each) for each in warned[:MOST_WARNINGS]]
        if more > 0:
            told.append(Problem(self.file, 1, 1, MORE, f"and {more} more warnings", severity="warning"))
        return told

    def _shown(self, problem: Problem) -> Problem:
        """With its line, where that is at hand."""
        if problem.line > len(self.lines):
            return problem
        return replace(problem, source=excerpt(self.lines[problem.line - 1], problem.column))
