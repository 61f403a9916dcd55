"""What a run came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from plait._core.scheduler import describe
from plait._core.states import FAILED, TIMED_OUT, RunStatus, Status
from plait._core.table import NONE, VACANT, Table

if TYPE_CHECKING:
    from plait._core.outcome import Outcome, Outcomes


class RunResult(Mapping[str, "Outcome"]):
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
        spent: Mapping[str, float] | None = None,
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
        self.spent = dict(spent or {})
        """What its tasks reported to have used up (`plait.current().spend(usd=0.02)`), by unit."""
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
        if self.status is RunStatus.REJECTED and cause is not None:
            return describe(cause.error)
        if self.halt_reason == "budget":
            return "the run's budget is spent"
        if self.halt_reason == "stuck":
            return "abandoned attempts hold every slot that the ready tasks need"
        if cause is not None and self.status is RunStatus.CANCELLED and self._cleans(self._first_cause):
            return f"the run was cancelled, and then task {cause.key!r} failed: {describe(cause.error)}"
        if cause is not None and cause.status in (Status.CANCELLED, Status.NOT_STARTED):
            return describe(cause.error)  # a person cancelled it
        if cause is not None:
            return f"task {cause.key!r} {'failed' if cause.status is Status.FAILED else cause.status}: {describe(cause.error)}"
        return "the run was cancelled" if self.status is RunStatus.CANCELLED else ""

    def _cleans(self, task: int) -> bool:
        """Is it, or what it is in, one of those that clean up?"""
        while task != NONE:
            batch, place = self.table.batch_of(task)
            if place in batch.cleanups:
                return True
            task = self.table.parent(task)
        return False

    def row(self, task: int) -> Outcome:
        """The outcome of a row."""
        from plait._core.outcome import outcome  # a run whose value is all that is wanted need not wait for it

        return outcome(self.table, task, self.unix)

    def failures(self) -> Iterator[Outcome]:
        """Every task that failed or timed out by itself, the first cause first; groups only repeat their children."""
        table = self.table
        if self._first_cause != NONE:
            yield self.row(self._first_cause)
        parents = set(table.parents.values()) - table.failures.keys()
        for task in range(table.size):
            if table.status[task] in (FAILED, TIMED_OUT) and task != self._first_cause and task not in parents:
                yield self.row(task)

    def allowed(self, key: str) -> bool:
        """May the task `key` fail without failing its run?"""
        return self.table.policies[self._index()[key]].allow_failure

    def children(self, key: str) -> Outcomes:
        """The outcomes of what the task `key` grew, in order."""
        from plait._core.outcome import Outcomes

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
