"""What is wrong with files, told to people, to programs and to GitHub."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from plait.cli.output import command, out, say
from plait.errors import FlowError
from plait.observe.annotations import annotating, in_workspace
from plait.observe.annotations import command as annotation
from plait.observe.text import clean

if TYPE_CHECKING:
    from plait.flow.problems import Problem


def found(error: FlowError) -> list[Problem]:
    """All that was found in a file, in its order."""
    from plait.flow.problems import ordered

    return ordered([*error.problems, *error.warnings])  # type: ignore[list-item]  # errors know nobody above them


def tell(problems: Iterable[Problem]) -> None:
    """Says what was found, each with its line and what to do, on standard error."""
    for each in problems:
        for line in each.lines():
            say(line)
        annotate(each)


def annotate(problem: Problem) -> None:
    """The same for GitHub, where it listens."""
    if annotating():
        hint = f"\nhint: {problem.hint}" if problem.hint else ""
        place = {"file": in_workspace(problem.file), "line": problem.line, "col": problem.column, "title": problem.code}
        command(annotation(problem.severity, place, problem.message + hint))


def validated(files: Iterable[str], strict: bool, as_json: bool) -> int:
    """Checks files and tells of them; 2 where something is wrong (`strict`: or worth a look)."""
    from plait.flow import load

    listed: list[Problem] = []
    bad = False
    for file in files:
        try:
            problems = list(load(file).warnings)
        except FlowError as error:
            problems, bad = found(error), True
        else:
            bad = bad or (strict and bool(problems))
            if not as_json and not (strict and problems):
                out(f"{clean(file)}: ok{_counted(problems)}")
        if as_json:
            listed += problems
            for each in problems:
                annotate(each)
        else:
            tell(problems)
    if as_json:
        out(json.dumps([each.plain() for each in listed], indent=2))
    return 2 if bad else 0


def _counted(warnings: list[Problem]) -> str:
    from plait.flow.problems import MORE

    if warnings and warnings[-1].code == MORE:
        return f", more than {len(warnings) - 1} warnings"
    return f", {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""
