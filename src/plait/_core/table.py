"""The state of every task of a run, in columns. Only this module touches them; the scheduler asks and tells.

A task is a row, a small integer. What plain tasks lack (errors, later attempts, stops) sits in dicts by row.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from plait._core.graph import Batch, Kept
from plait._core.paths import Files
from plait._core.policy import ARMED, CHILD, CONTROL, HELD, WATCHED, Policy, odd_of
from plait._core.states import (
    CANCELLED,
    FINAL,
    LAW,
    NOT_STARTED,
    PENDING,
    READY,
    RETRYING,
    RUNNING,
    SKIPPED,
    STATUSES,
    SUCCEEDED,
    WAITING,
    WIDTH,
)
from plait.errors import InvariantError

NEVER = -1.0
"""In a column of times: it did not happen."""

NONE = -1
"""No task."""

VACANT = 12
"""A row without a task; no state, so no move leads here and none leads on."""

_FEW = 16
"""Users up to this many are a tuple: smaller than a list, and the garbage collector walks it once. Never a list's length."""

_SWEEP = bytes(NOT_STARTED if state in (PENDING, READY) else state for state in range(256))


class Move:
    """One task moved from one state to another at `at` (the run's clock); `attempt` is the latest one, 0 before any."""

    __slots__ = ("at", "attempt", "new", "old", "task")

    def __init__(self, task: int, old: int, new: int, at: float, attempt: int) -> None:
        self.task = task
        self.old = old
        self.new = new
        self.at = at
        self.attempt = attempt

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Move) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]


class Try:
    """One attempt as it ended: number from 1, state, error, times on the run's clock."""

    __slots__ = ("ended_at", "error", "number", "started_at", "state")

    def __init__(
        self, number: int, state: int, error: BaseException | None, started_at: float, ended_at: float
    ) -> None:
        self.number = number
        self.state = state
        self.error = error
        self.started_at = started_at
        self.ended_at = ended_at


class Table:
    """Columns of one length, `size` rows; rows are added in batches and never move."""

    def __init__(self) -> None:
        self.size = 0
        self.status = bytearray()
        self.odd = bytearray()
        self.left: list[int] = []  # needs that are not final
        self.users: list[Sequence[int]] = []
        """Rows that need a task; no rows at all where no task has needs."""
        self.policies: list[Policy] = []
        self.values: list[Any] = []
        self.ready_at: array[float] = array("d")
        self.started_at: array[float] = array("d")  # of the latest attempt
        self.ended_at: array[float] = array("d")
        self.errors: dict[int, BaseException] = {}
        self.numbers: dict[int, int] = {}  # attempts, where there was more than one
        self.history: dict[int, list[Try]] = {}  # the tries before the last
        self.unenforced: set[int] = set()  # final, though the attempt may still run
        self.failures: dict[int, Try] = {}  # how the tasks ended whose `on_error` runs, or ran
        self.repairs: dict[int, int] = {}  # and the rows of those
        self.grown_at: dict[int, float] = {}
        """When tasks that grew others gave their slots back; an `on_error` is grown by no attempt."""
        self.earlier: dict[int, tuple[float, float]] = {}
        """Of attempts that waited for a person: when they started, and for how many seconds their code had run before they went on last."""
        self.kept: set[int] = set()  # final from the start: an earlier generation of the run did it
        self.files: dict[int, Files] = {}
        """What tasks read and write, of those that say so."""
        self.filed: list[int] = []
        """Tasks whose files became known, until somebody has looked at them."""
        self.parents: dict[int, int] = {}  # by first row of a batch
        self._children: dict[int, list[range]] = {}  # the batches that a task grew
        self.moves: list[Move] | None = None
        """A list if somebody reads it; every move is appended."""
        self._firsts: list[int] = []
        self._batches: list[Batch] = []
        self._vacant: list[int] = []

    # -- rows come

    def add(self, batch: Batch, parent: int, extra: int, now: float) -> range:
        """Rows for the tasks of `batch`, all pending; `extra` is or-ed into what makes them odd."""
        first, size = self.size, batch.size
        if parent >= 0 and not batch.is_repair:
            self.grown_at.setdefault(parent, now)
        if not size:
            return range(first, first)  # a batch is known by its first row: an empty one has none
        self.size += size
        self._firsts.append(first)
        self._batches.append(batch)
        if parent >= 0:
            self.parents[first] = parent
            self._children.setdefault(parent, []).append(range(first, first + size))
            extra |= CHILD
        elif batch.cleanups:
            extra |= WATCHED  # the end of each is looked at: it may be the last before they begin
        if batch.is_repair:
            self.repairs[parent] = first
        self.status.extend(bytes(size))
        policies = batch.policies
        if policies is None:
            self.odd.extend(bytes((odd_of(batch.policy) | extra,)) * size)
            self.policies.extend([batch.policy] * size)
        else:
            odds = {number: odd_of(each) | extra for number, each in batch.kinds.items()}
            self.odd.extend(map(odds.__getitem__, map(id, policies)))
            self.policies.extend(policies)
        for place in batch.controls:
            self.odd[first + place] |= CONTROL
        for places in (batch.conditional, batch.cleanups, batch.repairs):
            for place in places:
                self.odd[first + place] |= WATCHED
        self.values.extend([None] * size)
        blank = array("d", (NEVER,)) * size
        self.ready_at.extend(blank)
        self.started_at.extend(blank)
        self.ended_at.extend(blank)
        self._add_needs(batch, first)
        for place, files in batch.files.items():
            self.file(first + place, files)
        return range(first, first + size)

    def file(self, task: int, files: Files) -> None:
        """Notes what `task` reads and writes."""
        self.files[task] = files
        self.filed.append(task)

    def _add_needs(self, batch: Batch, first: int) -> None:
        needs = batch.needs
        if needs is None:
            self.left.extend([0] * batch.size)
            if self.users:
                self.users.extend([()] * batch.size)
            return
        self.left.extend(map(len, needs))
        users = self.users
        users.extend([()] * (self.size - len(users)))
        last = frozenset(first + place for place in batch.cleanups)
        for place, row in enumerate(needs, first):
            for need in row:
                at = first + need
                if last and place in last and at not in last:
                    continue  # it is looked at when they begin: a run that ends draws no consequences
                known = users[at]
                if len(known) != _FEW:
                    known += (place,)  # type: ignore[operator]  # a list grows where it is
                else:
                    known = [*known, place]
                users[at] = known

    def keep(self, task: int, kept: Kept, now: float) -> None:
        """Makes a new row final, as an earlier generation of the run left it."""
        self.move(task, SKIPPED if kept.skipped else SUCCEEDED, now)
        self.kept.add(task)
        if kept.skipped:
            return
        self.values[task] = kept.value
        self.started_at[task] = self.ready_at[task] = kept.started_at
        self.ended_at[task] = kept.ended_at
        if kept.attempts > 1:
            self.numbers[task] = kept.attempts

    def _worked_out(self, task: int) -> bool:
        """Are the files of `task` its own, and not those of its row?"""
        batch, place = self.batch_of(task)
        return place not in batch.files

    def users_of(self, task: int) -> Sequence[int]:
        """Rows that need `task`; empty where nobody does."""
        return self.users[task] if self.users else ()

    # -- rows come again: an endless stream keeps only what is in flight

    def vacate(self, task: int) -> None:
        """Empties a row: nobody's, or that of a final task of a stream whose outcome was delivered."""
        self.values[task] = None
        self.errors.pop(task, None)
        self.history.pop(task, None)
        self.numbers.pop(task, None)
        self.earlier.pop(task, None)
        self.unenforced.discard(task)
        if task in self.files and self._worked_out(task):
            del self.files[task]
        self.status[task] = VACANT
        self._vacant.append(task)

    @property
    def vacancies(self) -> int:
        """How many rows are vacant."""
        return len(self._vacant)

    def occupy(self) -> int:
        """A vacant row for a new task, pending; NONE if there is none."""
        if not self._vacant:
            return NONE
        task = self._vacant.pop()
        self.status[task] = PENDING
        self.odd[task] &= ~(HELD | ARMED)
        self.started_at[task] = self.ended_at[task] = NEVER
        return task

    # -- states

    def move(self, task: int, new: int, now: float) -> None:
        """Puts `task` into state `new`.

        Raises:
            InvariantError: where the law of moves does not allow it.
        """
        old = self.status[task]
        if not LAW[old * WIDTH + new]:
            raise InvariantError(f"move {STATUSES[old]} -> {STATUSES[new]} is not allowed: {self.story(task)}")
        self.status[task] = new
        if new >= FINAL:
            self.ended_at[task] = now
        elif new == READY:
            self.ready_at[task] = now
        elif new == RUNNING:
            self.started_at[task] = now
        if self.moves is not None:
            self.moves.append(Move(task, old, new, now, self.attempts(task)))

    def go_on(self, task: int, now: float) -> None:
        """Has a task run on that is between two attempts or waits, and whose last attempt is over: the times of that one stay."""
        old = self.status[task]
        if not LAW[old * WIDTH + RUNNING]:
            raise InvariantError(f"move {STATUSES[old]} -> running is not allowed: {self.story(task)}")
        self.status[task] = RUNNING
        self.moved(task, old, RUNNING, now)

    def moved(self, task: int, old: int, new: int, now: float) -> None:
        """Tells readers a move that the scheduler wrote out itself: the law and the times are its own then. NONE: of the run."""
        if self.moves is not None:
            self.moves.append(Move(task, old, new, now, 0 if task == NONE else self.attempts(task)))

    def make_ready(self, rows: range, now: float) -> None:
        """Moves pending `rows` to ready, at memory speed when nobody reads the moves."""
        if self.moves is not None:
            for task in rows:
                self.move(task, READY, now)
            return
        self.status[rows.start : rows.stop] = bytes((READY,)) * len(rows)
        self.ready_at[rows.start : rows.stop] = array("d", (now,)) * len(rows)

    def sweep(self, now: float, rows: range | None = None, spared: Iterable[int] = ()) -> int:
        """Makes every task (of `rows`) that is pending or ready `not_started`, but for `spared` ones; none of them may have started
        before.

        Returns how many tasks became final. The statuses change at memory speed when nobody reads the moves.
        """
        rows = range(self.size) if rows is None else rows
        part = self.status[rows.start : rows.stop]
        kept = {task: state for task in spared if task in rows and (state := self.status[task]) <= READY}
        changed = part.count(PENDING) + part.count(READY) - len(kept)
        if not changed:
            return 0
        if self.moves is None:
            self.status[rows.start : rows.stop] = part.translate(_SWEEP)
            for task, state in kept.items():
                self.status[task] = state
        else:
            for task, state in enumerate(part, rows.start):
                if state <= READY and task not in kept:
                    self.move(task, NOT_STARTED, now)
        return changed

    def within(self, state: int, rows: range | None = None) -> Iterator[int]:
        """The tasks (of `rows`) that are in `state` when reached, found at memory speed."""
        rows = range(self.size) if rows is None else rows
        task = self.status.find(state, rows.start, rows.stop)
        while task >= 0:
            yield task
            task = self.status.find(state, task + 1, rows.stop)

    def alive(self, rows: range) -> int:
        """How many of `rows` are not final."""
        part = self.status[rows.start : rows.stop]
        return sum(part.count(state) for state in (PENDING, READY, RUNNING, RETRYING, WAITING))

    def began_at(self, task: int) -> float:
        """When the latest attempt started; `started_at` is when it went on, where it waited for a person."""
        earlier = self.earlier.get(task)
        return self.started_at[task] if earlier is None else earlier[0]

    def ran_s(self, task: int, until: float) -> float:
        """For how many seconds the code of the latest attempt ran, which ended at `until`; not while it waited for a person."""
        earlier = self.earlier.get(task)
        return until - self.started_at[task] + (0.0 if earlier is None else earlier[1])

    def all_are(self, state: int, rows: range) -> bool:
        """Are all of `rows` in one state?"""
        return self.status.count(state, rows.start, rows.stop) == len(rows)

    def seconds(self, rows: range) -> float:
        """From start to end, of all of `rows` together; each of them has ended."""
        before = sum(ran for task, (_, ran) in self.earlier.items() if task in rows)
        return sum(self.ended_at[rows.start : rows.stop]) - sum(self.started_at[rows.start : rows.stop]) + before

    def cut_short(self, rows: range) -> bool:
        """Did some task of `rows` end because its run or group did?"""
        part = self.status[rows.start : rows.stop]
        return NOT_STARTED in part or CANCELLED in part

    # -- what is read

    def attempts(self, task: int) -> int:
        """How many attempts have started."""
        return self.numbers.get(task) or (1 if self.started_at[task] != NEVER else 0)

    def batch_of(self, task: int) -> tuple[Batch, int]:
        """The batch that `task` came in, and its place there."""
        at = bisect_right(self._firsts, task) - 1
        return self._batches[at], task - self._firsts[at]

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """Every batch that came in, with its first row."""
        return zip(self._firsts, self._batches, strict=True)

    def rows_of(self, task: int) -> range:
        """The rows of the batch that `task` came in."""
        at = bisect_right(self._firsts, task) - 1
        return range(self._firsts[at], self._firsts[at] + self._batches[at].size)

    def parent(self, task: int) -> int:
        """The task that grew `task`; -1 for one of the run's own."""
        return self.parents.get(self._firsts[bisect_right(self._firsts, task) - 1], -1)

    def call(self, task: int) -> Any:
        """What is to be done: opaque here."""
        batch, place = self.batch_of(task)
        return batch.calls[place]

    def needs_of(self, task: int) -> list[int]:
        """The rows that `task` needs, as often as it names them."""
        batch, place = self.batch_of(task)
        return [] if batch.needs is None else [task - place + need for need in batch.needs[place]]

    def members(self, task: int) -> range:
        """The children that a vote of `task` is held among: those of its first batch, but for what cleans up, which stands last."""
        rows = self.children(task)
        last = self.batch_of(rows.start)[0].cleanups if rows else ()
        return range(rows.start, rows.start + min(last)) if last else rows

    def children(self, task: int) -> range:
        """The rows of the first batch that `task` grew, its `on_error` apart; empty if it grew none."""
        grown = self._children.get(task)
        return range(0) if grown is None or grown[0].start == self.repairs.get(task) else grown[0]

    def grown(self, task: int) -> list[range]:
        """The rows of every batch that `task` grew, in order."""
        return self._children.get(task, [])

    def first_row(self, task: int) -> int:
        """The row of the first task of the batch that `task` came in."""
        return self._firsts[bisect_right(self._firsts, task) - 1]

    def key(self, task: int) -> str:
        """The path of `task`: `digest/parse[3]`."""
        parts: list[str] = []
        while True:
            batch, place = self.batch_of(task)
            key: str = batch.keys[place]
            parts.append(key)
            task = self.parent(task)
            if task < 0:
                return "".join(reversed(parts))
            if not key.startswith("["):
                parts.append("/")

    def find(self, key: str) -> int:
        """The row of the task with that path; -1 if there is none. Linear: for people's questions."""
        return next((task for task in range(self.size) if self.key(task) == key), -1)

    def story(self, task: int) -> str:
        """What is known of a task, in one line, for the report of a bug."""
        tried = "".join(f", attempt {t.number} {STATUSES[t.state]}" for t in self.history.get(task, ()))
        return (
            f"task {self.key(task)!r} is {STATUSES[self.status[task]]}, {self.attempts(task)} attempts{tried}, "
            f"{self.left[task]} needs left, ready {self.ready_at[task]:.6f}, started {self.started_at[task]:.6f}, "
            f"ended {self.ended_at[task]:.6f}"
        )

    def counts(self) -> dict[str, int]:
        """How many tasks are in each state that occurs, by name."""
        return {str(name): number for state, name in enumerate(STATUSES) if (number := self.status.count(state))}
