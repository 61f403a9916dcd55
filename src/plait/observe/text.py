"""How things are shown to people: nothing that comes from a task can move the cursor or start a new line."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from plait._core.outcome import Outcome
from plait._core.result import RunResult
from plait._core.scheduler import describe
from plait.errors import CommandFailed, PlaitError

_CONTROLS = {**dict.fromkeys((*range(32), 127), "?"), **dict.fromkeys(map(ord, "\n\r\t"), " ")}


def clean(text: str) -> str:
    """`text` as one printable line: control characters and escapes become `?`, line ends spaces."""
    text = text.translate(_CONTROLS)
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


def clean_lines(text: str) -> list[str]:
    """The lines of `text`, each printable."""
    return [clean(line) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def as_json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON that any reader takes, whatever it is: what JSON has no word for is shown as text."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(_plain(value, 0), indent=indent, allow_nan=False, ensure_ascii=False)


def _plain(value: Any, depth: int) -> Any:
    """The nearest that JSON can say; too deep, odd or endless data becomes its text."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int) and value.bit_length() < 10_000:
        return value
    if depth < DEEPEST:
        if isinstance(value, dict):
            return {str(key): _plain(each, depth + 1) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(each, depth + 1) for each in value]
    try:
        return str(value) if depth < DEEPEST else "..."
    except Exception:
        return f"<{type(value).__name__}>"


DEEPEST = 60
"""Levels of data that are shown where JSON cannot show it as it is."""


def duration(seconds: float | None) -> str:
    """`0.25 s`, `12 s`, `3m 05s`, `2h 03m`."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"


def counted(counts: dict[str, int]) -> str:
    """`3 succeeded, 1 failed`."""
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "no tasks"


def failure_lines(outcome: Outcome, *, first: bool, allowed: bool, key: str = "") -> list[str]:
    """What the summary says of one failure: its key, its error and, unless it was allowed, the end of its output."""
    tried = f", {outcome.attempts} attempts" if outcome.attempts > 1 else ""
    unstopped = "" if outcome.enforced else " (its code may still run)"
    where = location(outcome.error)
    head = f"{'first cause: ' if first else ''}{clean(key or outcome.key)} {outcome.status}{' (allowed)' if allowed else ''}"
    head += f"{tried}{unstopped}: {clean(describe(outcome.error))}{f' ({where})' if where else ''}"
    tail = outcome.error.tail if isinstance(outcome.error, CommandFailed) and not allowed else ""
    return [head, *(f"    | {line}" for line in clean_lines(tail)[-10:] if tail)]


def location(error: BaseException | None) -> str:
    """`tools.py:4 in stats`: where a user's exception was raised; empty for plait's own."""
    trace = None if isinstance(error, PlaitError) or error is None else error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return clean(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} in {code.co_name}")


def summary_line(result: RunResult) -> str:
    """The last line of a run."""
    flag = " (degraded: allowed failures)" if result.degraded else ""
    status = "interrupted" if result.interrupted else result.status
    return f"run {result.run_id} {status}{flag} in {duration(result.wall_s)}: {counted(result.counts)}"
