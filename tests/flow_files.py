"""Workflow files that a test writes, runs, and is told the problems of."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import plait
from plait.errors import FlowError
from plait.flow import load

LINE = re.compile(
    r"^(?P<file>[^:]+):(?P<line>\d+):(?P<column>\d+): error\[(?P<code>[A-Za-z_-]+)\]: (?P<message>[^\n]+)$"
)


def write(folder: Path, text: str | bytes, name: str = "flow.yaml") -> Path:
    """A file with that text; one that begins in a line of its own, without its common indentation."""
    path = folder / name
    whole = text if isinstance(text, bytes) else (dedent(text) if text[:1] == "\n" else text).encode()
    path.write_bytes(whole)
    return path


def run(folder: Path, text: str, **inputs: Any) -> plait.RunResult:
    """The result of the flow in `text`."""
    return plait.run(load(write(folder, text)), inputs=inputs, raise_on_failure=False)


def problems(path: Path) -> list[tuple[int, int, str, str]]:
    """Line, column, code and message (behind it the hint) of each problem of a file, which has some."""
    with pytest.raises(FlowError) as caught:
        load(path)
    found = []
    for problem in caught.value.problems:
        match = LINE.match(str(problem))
        assert match is not None, str(problem)
        found.append(
            (
                int(match["line"]),
                int(match["column"]),
                match["code"],
                match["message"] + (f" ({problem.hint})" if problem.hint else ""),
            )
        )
    return found
