"""What became of tasks: outcomes as views over the table's columns, made when read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

from plait._core.scheduler import describe
from plait._core.states import (
    CANCELLED,
    FAILED,
    FINAL,
    NOT_STARTED,
    STATUSES,
    SUCCEEDED,
    TIMED_OUT,
    UPSTREAM_FAILED,
    Status,
)
from plait._core.table import NEVER, NONE, Table
from plait.errors import NotRun, PlaitError, TaskCancelled


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt as it ended: number from 1, status, error, Unix seconds of its start and end."""

    number: int
    status: Status
    error: BaseException | None
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task; a plain value.

    `attempts` counts the tries, `history` holds each as it ended. `started_at` and `ended_at` are Unix seconds (the
    run's start by the wall clock, plus monotonic time since), None if it never started. `queued_s` is the time from
    ready to its latest start, `run_s` that of the code of its latest attempt, without what it waited for a person. `enforced` is False if the task was stopped and its
    code may still run. `error` is the task's own exception where it raised one.
    """

    key: str
    status: Status
    value: Any
    error: BaseException | None
    attempts: int
    history: tuple[Tried, ...]
    started_at: float | None
    ended_at: float | None
    queued_s: float | None
    run_s: float | None
    cached: bool = False
    enforced: bool = True

    @property
    def ok(self) -> bool:
        """True if the task succeeded."""
        return self.status is Status.SUCCEEDED

    def unwrap(self) -> Any:
        """The value of a task that succeeded.

        Raises:
            BaseException: the task's own error otherwise.
        """
        if self.status is Status.SUCCEEDED:
            return self.value
        raise self.error if self.error is not None else NotRun(f"task {self.key!r} was {self.status}")


def outcome(table: Table, task: int, unix: Callable[[float], float]) -> Outcome:
    """The outcome of one row, as it stands."""
    state = table.status[task]
    started, ended = table.began_at(task), table.ended_at[task]
    key = table.key(task)
    error = table.errors.get(task)
    if error is None and state >= FINAL and state != SUCCEEDED:
        error = _why(table, task, key, state)
    return Outcome(
        key=key,
        status=STATUSES[state],
        value=table.values[task],
        error=error,
        attempts=table.attempts(task),
        history=_history(table, task, unix),
        started_at=None if started == NEVER else unix(started),
        ended_at=None if started == NEVER or ended == NEVER else unix(ended),
        queued_s=None if started == NEVER else max(0.0, table.started_at[task] - table.ready_at[task]),
        run_s=None if started == NEVER or ended == NEVER else max(0.0, table.ran_s(task, ended)),
        enforced=task not in table.unenforced,
    )


def _history(table: Table, task: int, unix: Callable[[float], float]) -> tuple[Tried, ...]:
    earlier = table.history.get(task, ())
    tries = [
        Tried(each.number, STATUSES[each.state], each.error, unix(each.started_at), unix(each.ended_at))
        for each in earlier
    ]
    number = table.attempts(task)
    state = table.status[task]
    if number > len(tries) and state in (SUCCEEDED, FAILED, TIMED_OUT, CANCELLED):
        started, ended = unix(table.began_at(task)), unix(table.ended_at[task])
        tries.append(Tried(number, STATUSES[state], table.errors.get(task), started, ended))
    return tuple(tries)


def _why(table: Table, task: int, key: str, state: int) -> PlaitError | None:
    if state == CANCELLED:
        return TaskCancelled(f"task {key!r} was cancelled after it had started")
    if state == NOT_STARTED:
        return NotRun(f"task {key!r} was not started: its run or group ended before")
    if state == UPSTREAM_FAILED:
        need = _bad_need(table, task)
        because = f": it needs {table.key(need)!r}, which {_ended_how(table, need)}" if need != NONE else ""
        return NotRun(f"task {key!r} did not run{because}")
    return None  # skipped: nothing is wrong


def _bad_need(table: Table, task: int) -> int:
    """The first need of `task` that stands in its way."""
    batch, place = table.batch_of(task)
    first = task - place
    for need in batch.needs[place] if batch.needs is not None else ():
        if table.status[first + need] in (FAILED, TIMED_OUT, CANCELLED, UPSTREAM_FAILED, NOT_STARTED):
            return first + need
    return NONE


def _ended_how(table: Table, task: int) -> str:
    state = table.status[task]
    if state == FAILED:
        return f"failed: {describe(table.errors.get(task))}"
    return {TIMED_OUT: "timed out", CANCELLED: "was cancelled", UPSTREAM_FAILED: "did not run either"}.get(
        state, "did not start"
    )


class Outcomes(Sequence[Outcome]):
    """The outcomes of some rows, in row order: a view, each made when read."""

    __slots__ = ("_rows", "_table", "_unix")

    def __init__(self, table: Table, rows: Sequence[int], unix: Callable[[float], float]) -> None:
        self._table = table
        self._rows = rows
        self._unix = unix

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Outcome: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Outcome]: ...
    def __getitem__(self, at: int | slice) -> Outcome | Sequence[Outcome]:
        if isinstance(at, slice):
            return Outcomes(self._table, self._rows[at], self._unix)
        return outcome(self._table, self._rows[at], self._unix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Outcomes: {len(self)} tasks>"


__all__ = ["Outcome", "Outcomes", "Tried", "outcome"]
