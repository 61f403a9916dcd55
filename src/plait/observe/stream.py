"""The public stream of events: one for each move of a task, numbered, with the slot that it holds, and the figures they add up to."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Protocol

from plait._core.graph import Batch, Numbered
from plait._core.policy import CHILD, CONTROL, LIMITED
from plait._core.questions import Input
from plait._core.result import RunResult
from plait._core.scheduler import Scheduler, describe
from plait._core.states import FINAL, PENDING, READY, RETRYING, RUNNING, STATUSES, SUCCEEDED, WAITING
from plait._core.table import NEVER, NONE, Move, Table
from plait.logs import log
from plait.observe.metrics import Metrics

MOST_NEEDS = 128
"""Needs of a task that an event names; of more, the first."""


class Frozen(dict[str, Any]):
    """A dict that nobody changes: every reader is shown the same one. `dict(...)` of it is one of the caller's own."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "an event is the same for everybody who is shown it, and stays as it is: dict(...) gives a copy of your own"
        )

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = _refuse
    __ior__ = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return Frozen, (dict(self),)


_NOTHING: Mapping[str, Any] = Frozen()


def _frozen(value: Any) -> Any:
    """The same with everything in it frozen."""
    if isinstance(value, dict):
        return Frozen({name: _frozen(each) for name, each in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One line of the stream, the same for all who are shown it. `at` is in Unix seconds; `detail` holds what only this kind of event has.

    `kind` is what tasks like this one are called (its function, command or key in a file, without an item's number), `pool` the
    weight that it takes of each pool by name.
    """

    run: str
    seq: int
    at: float
    event: str
    task: str | None = None
    attempt: int | None = None
    slot: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    pool: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The event as it stands in a JSON line."""
        line: dict[str, Any] = {"run": self.run, "seq": self.seq, "at": round(self.at, 6), "event": self.event}
        if self.task is not None:
            line["task"] = self.task
            if self.kind is not None:
                line["kind"] = self.kind
            if self.attempt:
                line["attempt"] = self.attempt
            if self.slot is not None:
                line["slot"] = self.slot
            if self.pool:
                line["pool"] = dict(self.pool)
        for name, value in self.detail.items():
            line[name] = round(value, 6) if isinstance(value, float) else value
        return line


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
    def opened_at(self) -> float:
        """When starts went on after a pause; -1.0 if there was none."""
        ...

    @property
    def unix(self) -> Callable[[float], float]: ...
    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def table(self) -> Table: ...

    def read(self, reader: Callable[[Any, Move | None], None]) -> None: ...

    def result(self) -> RunResult: ...


Subscriber = Callable[[RunEvent | None], object]


class Stream:
    """Makes events of moves for as many subscribers as there are; makes none before the first."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._subscribers: list[Subscriber] = []
        self._raised: list[Subscriber] = []  # and that was said
        self._unguarded: list[Subscriber] = []
        self._reading = False
        self._needs = False
        self._seq = 0
        self._free: list[int] = []
        self._slots = 0
        self._held: dict[int, tuple[int, float]] = {}  # slot and since when, by task
        self._grown: dict[int, float] = {}  # seconds for which a task held a slot before it grew
        self._answered: dict[int, int] = {}  # the attempt that waited, by task
        self._waiting = 0
        self._left: dict[int, int] = {}  # the state in which a task was, without a slot, when its `on_error` began
        self._ready_at: array[float] = array("d")  # the table's may be that of a later attempt by now
        self._untouched = source.scheduler.slots  # slots that nobody has had yet
        self._freed: deque[float] = deque()  # since when the others are free, the longest first
        self._abandoned = False
        self._latest = NEVER
        self._families: dict[int, _Family] = {}
        self._last: _Family | None = None
        self.metrics = Metrics()
        """What all events so far add up to."""

    def subscribe(
        self, subscriber: Subscriber, *, started: bool = False, needs: bool = False, guarded: bool = True
    ) -> None:
        """Has every event from now on shown to `subscriber`, and None at the end; what it raises is logged, unless not `guarded`.

        `started` tells of the run's start, too (see `begin`). With `needs` events of starts name the needs of their task.
        """
        self._read()
        self._subscribers.append(subscriber)
        if not guarded:
            self._unguarded.append(subscriber)
        self._needs = self._needs or needs
        if started:
            self.begin()

    def begin(self) -> None:
        """Tells that the run starts: whoever subscribed sees all of it, and the figures are of all of it."""
        self._read()
        slots = self._source.scheduler.rules.max_concurrency
        detail = {"name": self._source.name, "slots": slots, "pools": self._source.scheduler.pools}
        self._emit("run_started", self._source.started_at, detail=detail)

    def _read(self) -> None:
        if not self._reading:
            self._reading = True
            self._source.read(self._moved)

    def go_on(self, source: Source) -> None:
        """The run goes on in another process, which is `source`: numbers and figures go on, too, for other subscribers."""
        self._source = source
        self._subscribers.clear()
        self._families.clear()
        self._last = None
        self._reading = False
        self._read()

    def measure(self, metrics: Metrics) -> None:
        """Has the figures add up in `metrics`, which nobody has used, instead of some of our own."""
        metrics.enter(self._source.id, self._source.name, self.metrics)
        self.metrics = metrics

    @property
    def told(self) -> int:
        """The number of the latest event."""
        return self._seq

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Shows `subscriber` nothing more."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    def summary(self) -> dict[str, Any]:
        """What `run_finished` says of the run, as it stands now."""
        source = self._source
        return summary(source.result(), self.metrics, source.scheduler.pools, self._until() - source.started_at)

    def _until(self) -> float:
        """The run's clock at its end; of one that is not over, now."""
        # Not when somebody looked at the clock last: what a store tells afterwards is the same.
        return self._latest if self._source.scheduler.finished and self._latest != NEVER else self._source.now

    def _emit(
        self,
        event: str,
        at: float,
        move: Move | None = None,
        slot: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        self._seq += 1
        source = self._source
        if move is None:
            made = RunEvent(source.id, self._seq, source.unix(at), event, detail=_frozen(detail or {}), pool=_NOTHING)
        else:
            table, task = source.table, move.task
            rows = table.policies[task].pool
            pool = Frozen({name: weight for name, weight, _ in rows}) if rows else _NOTHING
            made = RunEvent(
                source.id, self._seq, source.unix(at), event, table.key(task), move.attempt, slot,
                Frozen(detail) if detail else _NOTHING, self._family(task).kind_of(task), pool,
            )  # fmt: skip
        self.metrics(made)
        self._show(made)

    def _show(self, event: RunEvent | None) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                if subscriber in self._unguarded:
                    raise
                if subscriber not in self._raised:  # one that always raises would fill the log
                    self._raised.append(subscriber)
                    log.exception("a reader of run %s raised; the run goes on, and it is shown more", self._source.id)

    # -- moves come in

    def _moved(self, source: Any, move: Move | None) -> None:
        if move is None:
            self._finished()
            return
        task, old, new, at = move.task, move.old, move.new, move.at
        if task == NONE:
            self._emit("run_waiting", self._latest, detail={"questions": self._waiting})
            return
        table, self._latest = self._source.table, at
        if new == RUNNING and old != READY:
            self._left[task] = old  # for its `on_error` alone, which has events of its own: no attempt starts
            return
        if new == WAITING and old == READY and self._input(task, lambda each: each.asked_at == at) is None:
            self._left[task] = old  # its code is told to stop, and nobody is asked
            return
        old = self._left.pop(task, old)
        if table.parents and table.odd[task] & CHILD:
            self._grew(self._family(task).parent, at)
        held = self._held.pop(task, None)
        slot = None if held is None else held[0]
        detail: dict[str, Any] = {}
        if table.odd[task] & CONTROL and self._family(task).is_group(task):
            detail["group"] = True
        if new == READY:
            self._gets_ready(task, at)
        if new == RUNNING:
            self._starts(move, detail)
            if "group" not in detail:
                slot = self._take_slot()
                self._held[task] = slot, at
        elif held is not None:
            self._free_slot(held[0], at)
        if old == RUNNING:
            self._ended(task, new, at, held, detail)
        elif (new >= FINAL and old != PENDING) or (new == WAITING and old != WAITING):
            detail["was"] = str(STATUSES[old])
        self._say_more(move, detail)
        name = f"task_{STATUSES[new]}"
        if new == RUNNING:
            name = "task_started"
        elif old == WAITING and new == READY:
            name = "task_answered"
            self._answered[task] = move.attempt
        self._waiting += (new == WAITING) - (old == WAITING)
        self._emit(name, at, move, slot, detail)

    def _gets_ready(self, task: int, at: float) -> None:
        column = self._ready_at
        if task >= len(column):
            column.extend(array("d", (NEVER,)) * (max(self._source.table.size, task + 1) - len(column)))
        column[task] = at

    def _starts(self, move: Move, detail: dict[str, Any]) -> None:
        table, task, at = self._source.table, move.task, move.at
        ready = self._ready_at[task] if task < len(self._ready_at) else NEVER
        if ready == NEVER:  # before anybody read
            ready = table.ready_at[task]
        detail["queued_s"] = at - ready
        if self._answered.pop(task, None) == move.attempt:  # else its process is gone, and its code begins anew
            detail["goes_on"] = True
        if not table.odd[task] & CONTROL:
            free = self._free_since(at)
            # What waits for a pool, a key, a rate or a group is not kept waiting by us; nor is it clear who holds an abandoned slot,
            # or what slots somebody held before we read.
            if self.metrics.whole and not self._abandoned and not table.odd[task] & LIMITED:
                detail["overhead_s"] = max(0.0, at - max(ready, free, self._source.opened_at))
        if self._needs:
            needs = self._needs_of(task)
            if needs:
                detail["needs"] = needs

    def _ended(self, task: int, new: int, at: float, held: tuple[int, float] | None, detail: dict[str, Any]) -> None:
        """An attempt ended, or all that a task grew."""
        if held is not None:
            detail["run_s"] = at - held[1]
        elif new >= FINAL:
            detail["run_s"] = at - self._source.table.started_at[task]
            grown = self._grown.pop(task, None)
            if grown is not None:
                detail["slot_s"] = grown

    def _say_more(self, move: Move, detail: dict[str, Any]) -> None:
        table = self._source.table
        task, new = move.task, move.new
        if new == RETRYING:
            tries = reversed(table.history[task])  # it may have been tried again since
            tried = next((each for each in tries if each.number == move.attempt), None)
            detail["error"] = describe(None if tried is None else tried.error)
        elif new >= FINAL and new != SUCCEEDED and task in table.errors:
            detail["error"] = describe(table.errors[task])
        if new == WAITING:
            found = self._input(task, lambda each: each.asked_at == move.at)
            if found is not None:
                detail["question"] = _frozen(self._shown(found))
        elif move.old == WAITING:
            found = self._input(task, lambda each: each.ended_at == move.at)
            if found is not None:
                detail["key"], detail["answer"] = found.question.address, found.what
                if found.by is not None:
                    detail["by"] = found.by
        if task in table.kept:
            detail["kept"] = True
        if new >= FINAL and task in table.unenforced:
            detail["enforced"] = False
            self._abandoned = True

    def _input(self, task: int, is_meant: Callable[[Input], bool]) -> Input | None:
        """The latest question of a task that is meant; it may have asked more since."""
        questions = self._source.scheduler.questions
        asked = () if questions is None else questions.of.get(task, ())
        return next(filter(is_meant, reversed(asked)), None)

    def _shown(self, found: Input) -> dict[str, Any]:
        question = found.question
        detail: dict[str, Any] = {
            "key": question.address,
            "kind": question.kind,
            "prompt": question.prompt,
            "form": dict(question.form),
        }
        if found.number:
            detail["number"] = found.number
        if question.default:
            detail["default"] = question.default[0]
        if question.timeout is not None:
            detail["until"] = self._source.unix(found.asked_at + question.timeout)
        if question.who:
            detail["who"] = list(question.who)
        return detail

    def _needs_of(self, task: int) -> tuple[str, ...]:
        table = self._source.table
        batch, place = table.batch_of(task)
        row = batch.needs[place] if batch.needs is not None else ()
        return tuple([table.key(task - place + need) for need in dict.fromkeys(row[:MOST_NEEDS])])

    def _grew(self, parent: int, at: float) -> None:
        """A task has children: it gave its slot back then."""
        held = self._held.pop(parent, None)
        if held is not None:
            self._grown[parent] = at - held[1]
            self._free_slot(held[0], at)

    def _take_slot(self) -> int:
        if self._free:
            return heappop(self._free)
        self._slots += 1
        return self._slots

    def _free_slot(self, slot: int, at: float) -> None:
        self._freed.append(at)
        heappush(self._free, slot)

    def _free_since(self, at: float) -> float:
        """Since when the slot that is taken at `at` is free: that which was so longest, so that no free moment counts twice."""
        if self._untouched:
            self._untouched -= 1
            return self._source.started_at
        return self._freed.popleft() if self._freed else at

    def _family(self, task: int) -> _Family:
        """Those that `task` came in with."""
        last = self._last
        if last is not None and last.first <= task < last.end:
            return last
        table = self._source.table
        first = table.first_row(task)
        family = self._families.get(first)
        if family is None:
            parent = table.parent(task)
            around = "" if parent == NONE else self._family(parent).kind_of(parent)
            family = self._families[first] = _Family(table.batch_of(task)[0], first, parent, around)
        self._last = family
        return family

    def _finished(self) -> None:
        self._emit("run_finished", self._until(), detail=self.summary())
        self._show(None)


class _Family:
    """The tasks of a batch, and what each is called."""

    __slots__ = ("_around", "_groups", "_keys", "_names", "end", "first", "parent")

    def __init__(self, batch: Batch, first: int, parent: int, around: str) -> None:
        self.first = first
        self.end = first + batch.size
        self.parent = parent
        self._around = around
        self._keys = batch.keys
        controls = batch.controls
        self._groups = controls if isinstance(controls, range) else frozenset(controls)
        called = batch.called if batch.called is not None else batch.calls.called()  # type: ignore[attr-defined]
        if called is None and isinstance(batch.keys, Numbered) and batch.size:
            called = batch.keys[0].partition("[")[0]
        self._names: Sequence[str] | str | None = self._inside(called) if isinstance(called, str) else called

    def kind_of(self, task: int) -> str:
        """What tasks like this one are called, with what they are in: `sides/left`."""
        names = self._names
        if isinstance(names, str):
            return names
        place = task - self.first
        return self._inside(self._keys[place].partition("[")[0] if names is None else names[place])

    def is_group(self, task: int) -> bool:
        """Did it come to hold others, and never a slot?"""
        return task - self.first in self._groups

    def _inside(self, name: str) -> str:
        if not name or not self._around:
            return name or self._around
        return f"{self._around}/{name}"


def summary(
    result: RunResult,
    metrics: Metrics | None = None,
    pools: Mapping[str, int] = _NOTHING,
    wall_s: float | None = None,
) -> dict[str, Any]:
    """What `run_finished` says of a run, with the figures where it was read from its start on.

    `efficiency` = busy slot time / (wall x slots); without figures the latest attempts tell how long slots were taken.
    """
    wall_s = result.wall_s if wall_s is None else wall_s
    path_s = critical_path(result.table)
    whole = metrics is not None and metrics.whole
    busy_s = metrics.busy_s if metrics is not None and whole else _busy_s(result.table)
    slots = result.slots or (metrics.peak if metrics is not None else 0)
    detail: dict[str, Any] = {
        "status": str(result.status),
        "degraded": result.degraded,
        "counts": result.counts,
        "wall_s": round(wall_s, 6),
        "critical_path_s": round(path_s, 6),
        "efficiency": round(busy_s / (wall_s * slots), 4) if wall_s > 0 and slots else None,
    }
    if result.reason:
        detail["reason"] = result.reason
    if metrics is not None and whole:
        metrics.know(wall_s, path_s, pools)
        detail["pools"] = dict(pools)
        detail["metrics"] = metrics.as_dict()
    return detail


def _busy_s(table: Table) -> float:
    """Seconds for which slots were taken, as far as the latest attempts tell."""
    return sum([_own(table, task) for task in range(table.size)])


def critical_path(table: Table) -> float:
    """Seconds of the longest chain of needs, each task counted with the run time of its last attempt; nothing for those that were kept.

    A task that grew counts with its own time until then and the longest chain among its children. Computed over the starts and ends of tasks in
    topological order (Kahn, 1962): a need ends before its user starts, a child starts after its parent and ends before it, and what has its
    turn (see `_turns`) starts after a moment that comes when all others whose turn it was have ended.
    """
    size = table.size
    length = [0.0] * (2 * size)  # the longest chain up to each start, then up to each end, then up to those moments
    left = [0] * size + [1] * size
    moments: dict[int, list[int]] = {}  # by task that comes before them
    begin: dict[int, list[int]] = {}  # the tasks that begin, by moment
    for before, after in _turns(table):
        if not before:
            continue  # nobody to wait for
        at = len(length)
        length.append(0.0)
        left.append(len(before))
        begin[at] = list(after)
        for task in before:
            moments.setdefault(task, []).append(at)
        for task in after:
            left[task] += 1
    for task in range(size):
        for user in table.users_of(task):
            left[user] += 1
        if table.odd[task] & CHILD:
            left[task] += 1
            left[size + table.parent(task)] += 1
    ready = [at for at in (*range(size), *begin) if not left[at]]
    while ready:
        at = ready.pop()
        task = at % size
        if at in begin:
            following = [(task, 0.0) for task in begin[at]]
        elif at < size:
            own = _own(table, task)
            following = [(size + task, own), *((child, own) for child in _grown(table, task))]
        else:
            following = [(then, 0.0) for then in (*table.users_of(task), *moments.get(task, ()))]
            if table.odd[task] & CHILD:
                following.append((size + table.parent(task), 0.0))
        for then, seconds in following:
            length[then] = max(length[then], length[at] + seconds)
            left[then] -= 1
            if not left[then]:
                ready.append(then)
    return max(length, default=0.0)


def _turns(table: Table) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """What begins only when others are over, though it needs none of them: those others, and what begins then.

    That are cleanups; an `on_error`, which comes between what its task grew and the cleanups of that; and what a task grew later.
    """
    earlier: dict[int, tuple[Sequence[int], Sequence[int]]] = {}  # what a task grew last, and the cleanups of that
    for first, batch in table.batches():
        rows = range(first, first + batch.size)
        last = sorted(first + place for place in batch.cleanups)
        others = rows if not last else sorted({*rows} - {*last})
        if last:
            yield others, last
        parent = table.parent(first)
        if parent == NONE:
            continue
        grown, cleanups = earlier.get(parent, ((), ()))
        if table.repairs.get(parent) == first:
            yield grown, others
            yield others, cleanups
        else:
            yield [*grown, *cleanups], others
        earlier[parent] = others, last


def _own(table: Table, task: int) -> float:
    """Seconds of the last attempt, until it grew others. One of an earlier generation took none of this one's."""
    started, ended = table.started_at[task], table.ended_at[task]
    if started == NEVER or task in table.kept:
        return 0.0
    if task in table.grown_at:
        return table.ran_s(task, table.grown_at[task])
    tries = table.history.get(task)
    if tries and tries[-1].number == table.attempts(task):  # what came after it was no attempt: a pause, an `on_error`
        return tries[-1].ended_at - tries[-1].started_at
    return 0.0 if table.odd[task] & CONTROL or ended == NEVER else table.ran_s(task, ended)


def _grown(table: Table, task: int) -> Iterator[int]:
    if table.odd[task] & CONTROL:
        for rows in table.grown(task):
            yield from rows
