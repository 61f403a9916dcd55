"""What a run came to: outcomes as views over the table's columns, made when read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    RunStatus,
    Status,
)
from plait._core.table import NEVER, NONE, VACANT, Table
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
    ready to its latest start, `run_s` that of its latest attempt. `enforced` is False if the task was stopped and its
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
    started, ended = table.started_at[task], table.ended_at[task]
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
        queued_s=None if started == NEVER else max(0.0, started - table.ready_at[task]),
        run_s=None if started == NEVER or ended == NEVER else max(0.0, ended - started),
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
        started, ended = unix(table.started_at[task]), unix(table.ended_at[task])
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


class RunResult(Mapping[str, Outcome]):
    """A finished run, by key: every task that it had, those grown on the way included.

    `status`, `value` (of the target, the declared outputs of a file, or the values by key of the tasks of a Graph that
    no other needs), `degraded` (an allowed failure happened), `first_cause` (the Outcome of the first task in time that
    failed by itself; None if none did), `counts` by status, `wall_s` seconds.
    """

    def __init__(
        self,
        table: Table,
        *,
        status: RunStatus,
        run_id: str,
        name: str,
        unix: Callable[[float], float],
        first_cause: int,
        degraded: bool,
        halt_reason: str | None,
        wall_s: float,
        slots: int | None,
        value: Callable[[RunResult], Any] | None,
        interrupted: bool = False,
    ) -> None:
        self.table = table
        self.status = status
        self.run_id = run_id
        self.name = name
        self.unix = unix
        self.degraded = degraded
        self.halt_reason = halt_reason
        self.wall_s = wall_s
        self.slots = slots
        self._first_cause = first_cause
        self._value = value
        self.interrupted = interrupted
        """This process left the run before its end; another one can resume it."""
        self._rows: dict[str, int] | None = None

    @property
    def value(self) -> Any:
        """What the run was for; None where that did not succeed."""
        return None if self._value is None else self._value(self)

    @property
    def first_cause(self) -> Outcome | None:
        """The first task in time that failed by itself, victims apart; None if none did."""
        return None if self._first_cause == NONE else self.row(self._first_cause)

    @property
    def counts(self) -> dict[str, int]:
        """How many tasks ended in each status that occurs."""
        return self.table.counts()

    @property
    def reason(self) -> str:
        """Why the run did not succeed, in one line; empty if it did."""
        cause = self.first_cause
        if self.halt_reason == "deadline":
            return "the run's deadline passed"
        if self.halt_reason == "stuck":
            return "abandoned attempts hold every slot that the ready tasks need"
        if cause is not None:
            return f"task {cause.key!r} {'failed' if cause.status is Status.FAILED else cause.status}: {describe(cause.error)}"
        return "the run was cancelled" if self.status is RunStatus.CANCELLED else ""

    def row(self, task: int) -> Outcome:
        """The outcome of a row."""
        return outcome(self.table, task, self.unix)

    def failures(self) -> Iterator[Outcome]:
        """Every task that failed or timed out by itself, the first cause first; groups only repeat their children."""
        table = self.table
        if self._first_cause != NONE:
            yield self.row(self._first_cause)
        parents = set(table.parents.values())
        for task in range(table.size):
            if table.status[task] in (FAILED, TIMED_OUT) and task != self._first_cause and task not in parents:
                yield self.row(task)

    def allowed(self, key: str) -> bool:
        """May the task `key` fail without failing its run?"""
        return self.table.policies[self._index()[key]].allow_failure

    def children(self, key: str) -> Outcomes:
        """The outcomes of what the task `key` grew, in order."""
        rows = [task for part in self.table.grown(self._index()[key]) for task in part]
        return Outcomes(self.table, rows, self.unix)

    def _index(self) -> dict[str, int]:
        if self._rows is None:
            table = self.table
            self._rows = {table.key(task): task for task in range(table.size) if table.status[task] != VACANT}
        return self._rows

    def __getitem__(self, key: str) -> Outcome:
        return self.row(self._index()[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index())

    def __len__(self) -> int:
        return self.table.size

    def __repr__(self) -> str:
        flag = ", degraded" if self.degraded else ""
        counted = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        return f"<RunResult {self.name!r} {self.status}{flag}: {counted}>"


__all__ = ["Outcome", "Outcomes", "RunResult", "Tried", "outcome"]
