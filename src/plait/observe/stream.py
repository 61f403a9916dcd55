"""The public stream of events: one for each move of a task, numbered, with the slot that it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Protocol

from plait._core.policy import CHILD, CONTROL
from plait._core.result import RunResult
from plait._core.scheduler import Scheduler, describe
from plait._core.states import FINAL, READY, RETRYING, RUNNING, STATUSES, SUCCEEDED, WAITING
from plait._core.table import NEVER, Move, Table


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One line of the stream. `at` is in Unix seconds; `detail` holds what only this kind of event has."""

    run: str
    seq: int
    at: float
    event: str
    task: str | None = None
    attempt: int | None = None
    slot: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The event as it stands in a JSON line."""
        line: dict[str, Any] = {"run": self.run, "seq": self.seq, "at": round(self.at, 6), "event": self.event}
        if self.task is not None:
            line["task"] = self.task
            if self.attempt:
                line["attempt"] = self.attempt
            if self.slot is not None:
                line["slot"] = self.slot
        return {**line, **self.detail}


class Source(Protocol):
    """What the stream reads: a run and its moves."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def now(self) -> float: ...
    @property
    def started_at(self) -> float: ...
    @property
    def unix(self) -> Callable[[float], float]: ...
    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def table(self) -> Table: ...

    def read(self, reader: Callable[[Any, Move | None], None]) -> None: ...

    def result(self) -> RunResult: ...


class Stream:
    """Makes events of moves for as many subscribers as there are; makes none before the first."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._subscribers: list[Callable[[RunEvent | None], None]] = []
        self._reading = False
        self._seq = 0
        self._free: list[int] = []
        self._slots = 0
        self._held: dict[int, int] = {}
        self._busy_s = 0.0
        self._since: dict[int, float] = {}

    def subscribe(self, subscriber: Callable[[RunEvent | None], None], *, started: bool = False) -> None:
        """Has every event from now on shown to `subscriber`, and None at the end; `started` adds `run_started`."""
        if not self._reading:
            self._reading = True
            self._source.read(self._moved)
        self._subscribers.append(subscriber)
        if started:
            self._emit("run_started", self._source.started_at, detail={"name": self._source.name})

    def go_on_from(self, number: int) -> None:
        """The next event has the number behind `number`: those up to it were told by another process."""
        self._seq = number

    def unsubscribe(self, subscriber: Callable[[RunEvent | None], None]) -> None:
        """Shows `subscriber` nothing more."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    def _emit(
        self,
        event: str,
        at: float,
        move: Move | None = None,
        slot: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        self._seq += 1
        key = None if move is None else self._source.table.key(move.task)
        attempt = None if move is None else move.attempt
        made = RunEvent(self._source.id, self._seq, self._source.unix(at), event, key, attempt, slot, detail or {})
        for subscriber in tuple(self._subscribers):
            subscriber(made)

    def _moved(self, source: Any, move: Move | None) -> None:
        if move is None:
            self._finished()
            return
        task, old, new = move.task, move.old, move.new
        table = self._source.table
        slot = self._held.get(task)
        if old == RUNNING and slot is not None:
            self._busy_s += move.at - self._since.pop(task)
            del self._held[task]
            heappush(self._free, slot)
        if new == RUNNING and not table.odd[task] & CONTROL:
            slot = self._held[task] = self._take_slot()
            self._since[task] = move.at
        name = "task_answered" if old == WAITING and new == READY else f"task_{STATUSES[new]}"
        if new == RUNNING:
            name = "task_started"
        self._emit(name, move.at, move, slot, self._detail(move))
        if new == WAITING and self._source.scheduler.status() == "waiting":
            self._emit("run_waiting", move.at)

    def _detail(self, move: Move) -> dict[str, Any]:
        table = self._source.table
        task, new = move.task, move.new
        detail: dict[str, Any] = {}
        if new == RUNNING:
            detail["queued_s"] = round(move.at - table.ready_at[task], 6)
        if new >= FINAL and move.old == RUNNING:
            detail["run_s"] = round(move.at - table.started_at[task], 6)
        if new == RETRYING:
            detail["error"] = describe(table.history[task][-1].error)
        elif new >= FINAL and new != SUCCEEDED and task in table.errors:
            detail["error"] = describe(table.errors[task])
        if task in table.kept:
            detail["kept"] = True
        if task in table.unenforced:
            detail["enforced"] = False
        return detail

    def _take_slot(self) -> int:
        if self._free:
            return heappop(self._free)
        self._slots += 1
        return self._slots

    def _finished(self) -> None:
        result = self._source.result()
        self._emit("run_finished", self._source.now, detail=summary(result, self._busy_s, self._slots))
        for subscriber in tuple(self._subscribers):
            subscriber(None)


def summary(result: RunResult, busy_s: float, slots: int) -> dict[str, Any]:
    """What `run_finished` says of a run. `efficiency` = busy slot time / (wall x slots)."""
    slots = result.slots or slots
    detail: dict[str, Any] = {
        "status": str(result.status),
        "degraded": result.degraded,
        "counts": result.counts,
        "wall_s": round(result.wall_s, 6),
        "critical_path_s": round(critical_path(result.table), 6),
        "efficiency": round(busy_s / (result.wall_s * slots), 4) if result.wall_s > 0 and slots else None,
    }
    if result.reason:
        detail["reason"] = result.reason
    return detail


def critical_path(table: Table) -> float:
    """Seconds of the longest chain of needs, each task counted with the run time of its last attempt.

    A task that grew counts with the longest chain among its children. Computed over the starts and ends of tasks in
    topological order (Kahn, 1962): a need ends before its user starts, a child starts after its parent and ends before it, and a cleanup
    starts after a moment that comes when all others beside it have ended.
    """
    size = table.size
    length = [0.0] * (2 * size)  # the longest chain up to each start, then up to each end, then up to those moments
    left = [0] * size + [1] * size
    moment: dict[int, int] = {}  # by task beside cleanups
    behind: dict[int, list[int]] = {}  # the cleanups, by moment
    for first, batch in table.batches():
        if batch.cleanups:
            at = len(length)
            length.append(0.0)
            left.append(batch.size - len(batch.cleanups))
            behind[at] = [first + place for place in batch.cleanups]
            moment.update((first + place, at) for place in range(batch.size) if place not in batch.cleanups)
            for task in behind[at]:
                left[task] += 1
    for task in range(size):
        for user in table.users_of(task):
            left[user] += 1
        if table.odd[task] & CHILD:
            left[task] += 1
            left[size + table.parent(task)] += 1
    ready = [at for at in (*range(size), *behind) if not left[at]]
    while ready:
        at = ready.pop()
        task = at % size
        if at in behind:
            after = [(task, 0.0) for task in behind[at]]
        elif at < size:
            after = [(size + task, _own(table, task)), *((child, 0.0) for child in _grown(table, task))]
        else:
            after = [(user, 0.0) for user in table.users_of(task)]
            if task in moment:
                after.append((moment[task], 0.0))
            if table.odd[task] & CHILD:
                after.append((size + table.parent(task), 0.0))
        for then, seconds in after:
            length[then] = max(length[then], length[at] + seconds)
            left[then] -= 1
            if not left[then]:
                ready.append(then)
    return max(length, default=0.0)


def _own(table: Table, task: int) -> float:
    """Seconds of the last attempt; a control task's are its children's."""
    if table.odd[task] & CONTROL or table.started_at[task] == NEVER or table.ended_at[task] == NEVER:
        return 0.0
    return table.ended_at[task] - table.started_at[task]


def _grown(table: Table, task: int) -> Iterator[int]:
    if table.odd[task] & CONTROL:
        for rows in table.grown(task):
            yield from rows
