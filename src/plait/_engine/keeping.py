"""A run with a store: every fact is committed before anything outside follows from it.

The scheduler is told a fact at once, and the fact joins the journal's next batch. What follows waits with it: a task that was
taken begins, commands are carried out and moves are shown when the batch is committed (W2, W3, W6). One batch is under way at a
time; what happens meanwhile is the next one. Ready tasks may be recorded ahead of their slot ("may have started"): those begin
the moment a slot is free.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from plait._core.commands import Command
from plait._core.graph import Batch
from plait._core.policy import CONTROL, LIMITED, OnInterrupt, Rules
from plait._core.result import RunResult
from plait._core.scheduler import NOT_BEGUN, Scheduler, describe
from plait._core.states import FAILED, READY, RUNNING, SUCCEEDED
from plait._core.table import NEVER, Move, Table
from plait._engine import records as lines
from plait._engine.driver import LIVE, Driver
from plait._engine.inbox import Inbox
from plait._engine.records import error_data, structure, value_data
from plait._engine.wall import Wall
from plait._engine.work import Chosen, Ending, Growth, Work
from plait.errors import NotStorable, PlaitError, StoreError
from plait.executors.base import Attempt
from plait.stores.base import Append, Claim, Learned
from plait.stores.locks import started_ticks
from plait.stores.values import JOINED, PLAIN, SMALL, TYPED

if TYPE_CHECKING:
    from typing import Protocol

    from plait._core.questions import Question
    from plait._engine.sharing import Exchange
    from plait._engine.telling import Telling
    from plait.observe.stream import Stream
    from plait.stores.contract import Store

    class Carry(Protocol):
        """What an earlier generation of the run finished."""

        def into(self, batch: Batch, first: int, parent: int) -> None:
            """Marks what of `batch` enters the run final; its rows begin at `first`, `parent` grew it (NONE: the run itself)."""
            ...

        def chosen(self, parent: int) -> Chosen | None:
            """What `parent` grew; None where that does not count any more."""
            ...


AHEAD, AHEAD_LEAST = 500, 250
"""How many ready tasks may be on record as "may have started", and how few there must be for more."""


class _Batch:
    """What one transaction holds, and what waits for it."""

    __slots__ = ("ahead", "commands", "final", "held", "moves", "verdicts")

    def __init__(
        self,
        commands: list[Command],
        moves: list[Move],
        held: list[int],
        ahead: list[int],
        final: RunResult | None,
        verdicts: bool,
    ) -> None:
        self.verdicts = verdicts
        self.commands = commands
        self.moves = moves
        self.held = held
        self.ahead = ahead
        self.final = final


class KeptDriver(Driver):
    """A driver whose run a store keeps; `claim` is the right to write to it."""

    __slots__ = (
        "_ahead",
        "_busy",
        "_carry",
        "_claim",
        "_final",
        "_fresh",
        "_held",
        "_inbox",
        "_is_held",
        "_lines",
        "_on_over",
        "_plain",
        "_released",
        "_scheduled",
        "_store",
        "_strict",
        "_verdicts",
        "leaves_when_paused",
        "leaves_when_waiting",
        "on_commit",
        "wall",
    )

    def __init__(
        self,
        batch: Batch,
        rules: Rules,
        *,
        store: Store,
        claim: Claim,
        wall: Wall,
        scheduler: Scheduler | None = None,
        clock_at: float = 0.0,
        strict: Iterable[int] = (),
        endings: dict[int, Ending] | None = None,
        on_over: Callable[[], None] | None = None,
        carry: Carry | None = None,
        name: str = "run",
        **driving: Any,
    ) -> None:
        self._fresh = scheduler is None
        super().__init__(
            batch, rules, name=name, clock_at=clock_at, scheduler=scheduler or Scheduler(rules, 0.0), **driving
        )
        self.id = claim.id
        self.wall = wall
        self.unix = wall
        self.started_at = 0.0
        self._store = store
        self._claim = claim
        self._on_over = on_over
        self._carry = carry
        self._endings.update(endings or {})
        self._lines: list[Any] = []
        self._ahead: set[int] = set()  # on record as "may have started"
        self._strict = set(strict)  # may have started under a process that died: recorded before they begin
        self._held: list[int] = []  # taken since the last batch
        self._is_held: set[int] = set()
        self._released: deque[int] = deque()  # taken, and on record
        self.on_commit: list[Callable[[], None]] = []
        """Called in the loop's thread after each batch, and at the end."""
        self._scheduled = False
        self._busy: _Batch | None = None
        self._final = False
        self._verdicts: list[tuple[int, Mapping[str, Any]]] = []
        self._inbox = Inbox(self, store, claim)
        self.leaves_when_waiting = False
        """Does this process leave the run when only answers are missing?"""
        self.leaves_when_paused = False
        """And when it is paused, and nothing runs?"""
        self._plain = self._record_facts()

    @property
    def outside(self) -> bool:
        """A commit is under way, too: a virtual clock waits for it."""
        return self._busy is not None or super().outside

    def _exchange(self) -> Exchange:
        """All processes that use the store share the limits of their runs."""
        from plait._engine.sharing import common_of

        own: Exchange | None = getattr(self._store, "exchange", None)
        return common_of(self._store) if own is None else own

    def cannot_share(self, error: Exception) -> None:
        self._fail(error)

    def follow(self) -> None:
        self._schedule()
        self.more()

    @property
    def begins(self) -> bool:
        """Is this process the first that drives this generation of the run?"""
        return self._fresh

    @property
    def store(self) -> Store:
        """Who keeps the run."""
        return self._store

    # -- facts are told to the scheduler and written down

    def _record_facts(self) -> Callable[[Batch, float], None]:
        """Has every fact that the scheduler is told written down, too. The bare `added` is given back."""
        scheduler, table = self.scheduler, self.table
        added = scheduler.added
        note = self._note

        def plain(name: str, kind: int) -> None:
            tell = getattr(scheduler, name)

            def telling(*facts: Any) -> None:
                note((kind, *facts))
                tell(*facts)

            setattr(scheduler, name, telling)

        for name in (
            "began",
            "seen",
            "listened",
            "settled",
            "spent",
            "withdrawn",
            "cancelled",
            "leased",
            "abandoned",
            "interrupted",
            "halted",
            "paused",
            "unpaused",
            "ticked",
            "decided",
            "leaving",
        ):
            plain(name, getattr(lines, name.upper()))
        returned, raised, grew, undecidable, recovered, take, asked, answered = (
            scheduler.returned, scheduler.raised, scheduler.grew, scheduler.undecidable, scheduler.recovered, scheduler.take,
            scheduler.asked, scheduler.answered,
        )  # fmt: skip
        for name in ("fed", "forgot", "closed", "added"):
            setattr(scheduler, name, _refused(name))

        def returning(task: int, attempt: int, value: Any, now: float, stopped: int = False) -> None:
            kind = type(value)
            if value is None or kind is bool or (kind is int and -SMALL < value < SMALL):
                form, data = PLAIN, value  # `value_data`, written out for what needs no look
            elif table.odd[task] & CONTROL:
                form, data = JOINED, None
            else:
                try:
                    form, data = value_data(value, lambda: self._work_of(task).declared(self._place_of(task)))
                    self._check_hidden(form, data)
                except NotStorable as error:
                    raising(task, attempt, self._refusal(task, "its value", error), now, 0.0, bool(stopped))
                    return
            note(
                (lines.RETURNED, task, attempt, now, form, data, int(stopped))
                if stopped
                else (lines.RETURNED, task, attempt, now, form, data)
            )
            returned(task, attempt, value, now, stopped)

        def raising(
            task: int,
            attempt: int,
            error: BaseException,
            now: float,
            chance: float = 0.0,
            stopped: bool = False,
            value: Any = None,
            again: bool | None = None,
        ) -> None:
            if again is None:
                again = table.policies[task].retry.fits(error)
            try:
                form, data = value_data(value)
            except NotStorable:
                value, form, data = None, PLAIN, None  # what is beside the error is no result
            note((lines.RAISED, task, attempt, now, self._error_data(error), chance, stopped, again, form, data))
            raised(task, attempt, error, now, chance, stopped, value, again)

        def growing(parent: int, batch: Batch, now: float, vacant: bool = False) -> None:
            work: Work = batch.calls  # type: ignore[assignment]
            if self._carry is not None and not batch.is_repair:
                try:
                    self._carry.into(batch, table.size, parent)
                except Exception as error:  # what an earlier generation kept cannot be read
                    self.loop.call_soon(self._fail, error)
                    return
            try:
                data, snapshot = structure(batch), work.snapshot()
            except NotStorable as error:
                raising(parent, table.attempts(parent), self._refusal(parent, "what it grew", error), now)
                return
            note((lines.GREW, parent, now, data, snapshot))
            grew(parent, batch, now, vacant)

        def undeciding(task: int, error: BaseException, now: float) -> None:
            note((lines.UNDECIDABLE, task, self._error_data(error), now))
            undecidable(task, error, now)

        def asking(task: int, attempt: int, question: Question, now: float) -> None:
            note((lines.ASKED, task, attempt, question.row(), now))
            asked(task, attempt, question, now)

        def answering(task: int, number: int, value: Any, by: str | None, now: float) -> None:
            found, line = scheduler.open_question(task, number), (*value_data(value), by, now)
            if found is not None:  # refused here, if it cannot be: nothing is on record then
                value = lines.as_wanted(
                    found.question, value, lambda: self._work_of(task).declared(self._place_of(task))
                )
            note((lines.ANSWERED, task, number, *line))
            answered(task, number, value, by, now)

        def recovering(now: float, away: float = 0.0) -> None:
            note((lines.RECOVERED, now, self.unix(now), away))
            recovered(now, away)

        def taking(now: float) -> int:
            released, ahead = self._released, self._ahead
            while released:
                task = released.popleft()
                self._is_held.discard(task)
                if table.status[task] == RUNNING and task not in scheduler._stops.of:
                    return task
                if self._has_code(task):
                    self.desk.ends_without_slot(task)
                else:
                    returning(task, table.attempts(task), None, now, NOT_BEGUN)  # it was stopped before its code began
            while True:
                parkings = scheduler.admission.parkings
                task = take(now)
                if task < 0:
                    if scheduler.admission.parkings != parkings:
                        note((lines.TAKEN, task, now))  # whoever replays this parks the same tasks at the same time
                    return task
                note((lines.TAKEN, task, now))
                if task in ahead:
                    ahead.discard(task)
                    return task
                self._held.append(task)
                self._is_held.add(task)

        scheduler.returned = returning  # type: ignore[method-assign]
        scheduler.raised = raising  # type: ignore[method-assign]
        scheduler.grew = growing  # type: ignore[method-assign]
        scheduler.undecidable = undeciding  # type: ignore[method-assign]
        scheduler.recovered = recovering  # type: ignore[method-assign]
        scheduler.asked = asking  # type: ignore[method-assign]
        scheduler.answered = answering  # type: ignore[method-assign]
        scheduler.take = taking  # type: ignore[method-assign]
        return added

    def _check_hidden(self, form: int, data: Any) -> None:
        """Nothing, unless what is to be stored of an object shows a secret that cannot be found in it.

        Raises:
            NotStorable: then.
        """
        if self.redactor is not None and form & ~lines.BLOB == TYPED:
            written = data.data if isinstance(data, lines.Blob) else bytes(data)
            if self.redactor.finds(written):
                raise NotStorable("it holds the value of a secret where that cannot be taken out: return plain data")

    def _error_data(self, error: BaseException) -> dict[str, Any]:
        """What is kept of an exception; where it was raised is said by lines of code, which may hold a secret."""
        data = error_data(error)
        return data if self.redactor is None else self.redactor.redact(data)

    def _refusal(self, task: int, what: str, error: NotStorable) -> NotStorable:
        return NotStorable(f"task {self.table.key(task)!r}: {what} cannot be stored: {error}")

    def _work_of(self, task: int) -> Work:
        return self.table.batch_of(task)[0].calls  # type: ignore[return-value]

    def _place_of(self, task: int) -> int:
        return self.table.batch_of(task)[1]

    def _children(self, task: int, place: int, work: Work) -> Growth:
        chosen = None if self._carry is None else self._carry.chosen(task)
        if chosen is None:
            return super()._children(task, place, work)
        return work.grown_again(place, self.table, task - place, chosen)

    def _note(self, line: Any) -> None:
        """Puts a line into the next batch."""
        if self.scheduler.questions is not None:
            self._see_waiting()
        self._lines.append(line)
        if not self._scheduled and self._busy is None:
            self._scheduled = True
            self.loop.call_soon(self._flush)

    # -- the run

    @property
    def patient(self) -> bool:
        """No: results are to be on record."""
        return False

    def lend(self, executor: str, most: int) -> list[Attempt]:
        """Nothing: what begins must be on record before."""
        return []

    def start(self) -> None:
        """Starts whatever may start; a run that was taken over goes on."""
        if self.done.done():
            return
        LIVE.add(self)
        self._hide_secrets()
        self.look()
        self._tell_work()
        if self._fresh:
            self._plain(self._batch, 0.0)
        else:
            self.scheduler.recovered(self.now, self.wall.away)
        self._inbox.open()
        self._schedule()
        self.more()

    @property
    def inbox(self) -> Inbox:
        """What other processes want of the run."""
        return self._inbox

    def judge(self, note: int, verdict: Mapping[str, Any]) -> None:
        """What became of a note: on record together with all that came of it."""
        self._verdicts.append((note, verdict))
        self._schedule()

    @property
    def has_verdicts(self) -> bool:
        """Are some not on record yet?"""
        return bool(self._verdicts) or (self._busy is not None and self._busy.verdicts)

    def interrupt(self) -> None:
        """This process leaves the run, in order: what it reported stays, the rest runs when the run is resumed."""
        if not self.done.done() and not self.scheduler.left:
            self.scheduler.leaving(self.look())
            self._schedule()

    def suspended(self) -> bool:
        scheduler = self.scheduler
        if self._released or scheduler.used < scheduler.room or scheduler.turns:
            return True
        if scheduler.timers.heap:
            self.breathe()
        return False

    def spawned(self, attempt: Attempt, pid: int) -> None:
        """Its process is on record: should this one die, the next finds and ends it."""
        self._note((lines.SPAWNED, attempt.task, attempt.number, pid, started_ticks(pid) or 0))

    def output_paths(self, attempt: Attempt) -> tuple[str, str] | None:
        folder = self._store.folder
        if folder is None:
            return None
        place = os.path.join(folder, "logs", self.id)
        for each in (os.path.dirname(place), place):
            with contextlib.suppress(FileExistsError):
                os.mkdir(each, 0o700)
        name = f"{self._claim.generation}-{attempt.task}-{attempt.number}"
        return os.path.join(place, name + ".out"), os.path.join(place, name + ".err")

    def environment(self, attempt: Attempt) -> dict[str, str]:
        environment = super().environment(attempt)
        environment["PLAIT_KEY"] = f"{self.id}/{environment['PLAIT_TASK']}/{self._claim.generation}"
        return environment

    def _marks(self) -> dict[str, str]:
        from plait._engine.orphans import marks

        return marks(self._store, self.id)

    # -- batches

    def _schedule(self) -> None:
        if not self._scheduled and self._busy is None:
            self._scheduled = True
            self.loop.call_soon(self._flush)

    _follow = _schedule

    def _flush(self) -> None:
        """Gives what has happened to the store."""
        self._scheduled = False
        if self._busy is not None or self._killed or self.done.done():
            return
        try:
            self._hand_over()
        except Exception as error:  # a bug of ours: a run that waits for nothing would be worse
            self._fail(error)

    def _hand_over(self) -> None:
        scheduler, table = self.scheduler, self.table
        commands, scheduler.commands = scheduler.commands, []
        moves: list[Move] = []
        if scheduler.questions is not None:
            self._see_waiting()
        if table.moves:
            moves, table.moves = table.moves, []
        ahead = self._see_ahead()
        final: RunResult | None = None
        if not scheduler.unfinished and not self._final:
            self._final = True
            self.look()
            final = self.result()
        if not (self._lines or commands or moves or final is not None or self._held or self._verdicts):
            if self.leaves_when_paused or self.leaves_when_waiting:
                self.loop.call_soon(self._leave_if_idle)  # whoever was just told of something may do something about it
            return
        batch = self._busy = _Batch(commands, moves, self._held.copy(), ahead, final, bool(self._verdicts))
        self._held.clear()
        written, self._lines = self._lines, []
        verdicts, self._verdicts = self._verdicts, []
        told = self._told(batch)
        try:
            self._store.append(
                Append(
                    self._claim,
                    written,
                    told,
                    None if final is None else self._end_of(final),
                    None if final is None else self._learned(),
                    verdicts,
                )
            )
        except Exception as error:
            told(error)

    def _told(self, batch: _Batch) -> Callable[[BaseException | None], None]:
        def told(error: BaseException | None) -> None:
            try:
                self.loop.call_soon_threadsafe(self._committed, batch, error)
            except RuntimeError:
                pass  # the loop is closed: the next process will find what was committed

        return told

    def _see_ahead(self) -> list[int]:
        """Puts more ready tasks on record as "may have started", where few are left of those."""
        ahead = self._ahead
        queue = self.scheduler._queue
        if len(ahead) >= AHEAD_LEAST or not (queue.first or queue._heap) or not self.scheduler.room:
            return []
        table = self.table
        standing: Iterable[int] = queue.first or (entry[3] for entry in queue._heap)
        found = [
            task
            for task in islice(standing, AHEAD + len(ahead))
            if task not in ahead
            and table.status[task] == READY
            and not table.odd[task] & LIMITED
            and task not in self._strict
            and table.policies[task].on_interrupt is OnInterrupt.RERUN
        ]
        if found:
            self._lines.append((lines.AHEAD, _ranges(found)))
        return found

    def _committed(self, batch: _Batch, error: BaseException | None) -> None:
        """A batch is on record, or never will be: what waited for it happens."""
        self._busy = None
        if self.done.done():
            return
        self.look()
        if error is None:
            try:
                self._go_on(batch)
            except Exception as raised:  # a bug of ours, or of an executor: a run that waits for nothing would be worse
                error = raised
        if error is not None and not self.done.done():
            self._fail(error)

    def _go_on(self, batch: _Batch) -> None:
        """Does what waited for a batch."""
        self._ahead.update(batch.ahead)
        self._released.extend(batch.held)
        for command in batch.commands:
            self._carry_out(command)
        for move in batch.moves:
            for reader in self._readers:
                self._guarded(reader, move)
        for hear in self.on_commit:
            hear()
        if batch.verdicts:
            self._inbox.committed()
        if batch.final is not None:
            self._over(batch.final)
            return
        if self.scheduler.left and self.scheduler.quiet and not self._lines and self.scheduler.unfinished:
            self._leave()
            return
        self._flush()
        self.more()

    def _stop(self, task: int, number: int) -> None:
        if task not in self._is_held or self._has_code(task):  # else its code has not begun, and never will
            super()._stop(task, number)

    def _force(self, task: int, number: int) -> None:
        if task not in self._is_held or self._has_code(task):
            super()._force(task, number)

    # -- ends

    def _over(self, result: RunResult) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._inbox.close()
        self.kill()
        for reader in self._readers:
            self._guarded(reader, None)
        self._let_go()
        self.done.set_result(result)

    def _leave_if_idle(self) -> None:
        """Leaves a run in which nothing goes on before a person says so, where this process is to; not where it would lose code for good."""
        scheduler = self.scheduler
        if not scheduler.quiet or self._released or not scheduler.unfinished or self.done.done():
            return
        if self._lines or self._verdicts or self._busy is not None or scheduler.left:
            return
        paused = self.leaves_when_paused and scheduler.is_paused
        if not paused and not (self.leaves_when_waiting and scheduler.only_waits):
            return
        if not self.must_stay():
            asked = scheduler.questions
            open_now = 0 if asked is None else len(asked.open)
            self._leave({"stands": str(scheduler.status()), "questions": open_now})

    def must_stay(self) -> bool:
        """Would code be lost that must not begin anew, if this process left now?"""
        policies = self.table.policies
        return any(policies[task].on_interrupt is not OnInterrupt.RERUN for task in self.waiting_code())

    def waiting_code(self) -> list[int]:
        """Tasks whose code waits in this process: for an answer, or for its slot after one."""
        return [] if self._at_desk is None else list(self._at_desk.waiting)

    def _leave(self, standing: dict[str, Any] | None = None) -> None:
        """Nothing of the run is at work in this process any more: another one may go on with it."""
        self._inbox.close()
        if self._inbox.look():
            self._inbox.open_again()  # somebody was faster
            return
        self._left = True
        result = self.result()
        self._store.release(self._claim, standing)
        self._over(result)

    def _fail(self, error: BaseException) -> None:
        """Nothing can be recorded any more: whatever runs is stopped, and the run ends here with the cause."""
        if self.done.done():
            return
        if not isinstance(error, PlaitError):
            cause = error
            error = StoreError(f"run {self.id} cannot be recorded any further: {describe(cause)}")
            error.__cause__ = cause
        if self._timer is not None:
            self._timer.cancel()
        self._inbox.close()
        for attempt in list(self._attempts.values()):
            with contextlib.suppress(Exception):
                attempt.signal_stop(self.now)
                self._executor_of(attempt).stop(attempt)
        self.kill()
        for reader in self._readers:
            self._guarded(reader, None)
        self._store.release(self._claim)
        self._let_go()
        self.done.set_exception(error)

    def telling(self) -> Telling:
        """The run's events from its first one on."""
        from plait._engine.telling import Telling

        run = self._store.find(self.id)
        return Telling(self._store, run, self._store.generation(run, self._claim.generation))

    def _made_stream(self) -> Stream:
        if self._fresh or self in LIVE:
            return super()._made_stream()
        telling = self.telling()  # what earlier processes told: numbers and figures go on from there
        telling.tell()
        telling.stream.go_on(self)
        return telling.stream

    def _let_go(self) -> None:
        for hear in self.on_commit:
            hear()
        if self._on_over is not None:
            self._on_over()

    def _end_of(self, result: RunResult) -> dict[str, Any]:
        """What the store tells of a finished run to those who only list it."""
        first = result.first_cause
        return {
            "status": str(result.status),
            "ended_at": self.unix(self.now),
            "summary": {
                "counts": result.counts,
                "degraded": result.degraded,
                "wall_s": round(result.wall_s, 6),
                "reason": lines.utf8(result.reason),
                "first_cause": None if first is None else lines.utf8(first.key),
            },
        }

    def _learned(self) -> dict[str, Learned]:
        return learned(self.table, self.name)


def _ranges(tasks: list[int]) -> list[list[int]]:
    """Ascending runs of numbers as pairs: first, last."""
    found: list[list[int]] = []
    for task in tasks:
        if found and found[-1][1] == task - 1:
            found[-1][1] = task
        else:
            found.append([task, task])
    return found


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*facts: Any) -> Any:
        raise AssertionError(f"a run with a store is told no {name!r}: it could not be replayed")

    return refuse


def learned(table: Table, name: str) -> dict[str, Learned]:
    """What a run showed of its tasks, by identity: mean seconds of the last attempt of those that ended by themselves."""
    seconds: dict[str, list[float]] = {}  # sum and number
    grown: dict[str, list[float]] = {}
    first = 0
    while first < table.size:
        batch, _ = table.batch_of(first)
        rows = range(first, first + batch.size)
        identities = batch.calls.identities()  # type: ignore[attr-defined]
        if isinstance(identities, str) and not batch.controls and table.all_are(SUCCEEDED, rows) and not batch.kept:
            total, number = table.seconds(rows), batch.size  # most children of a map, at memory speed
            entry = seconds.setdefault(f"{name}/{identities}", [0.0, 0])
            entry[0] += total
            entry[1] += number
        else:
            _learn_rows(table, rows, name, identities, seconds, grown)
        first += max(1, batch.size)
    found = {key: Learned(total / number, int(number)) for key, (total, number) in seconds.items()}
    found.update({key: Learned(0.0, int(number), total / number) for key, (total, number) in grown.items()})
    return found


def _learn_rows(
    table: Table,
    rows: range,
    name: str,
    identities: Sequence[str] | str,
    seconds: dict[str, list[float]],
    grown: dict[str, list[float]],
) -> None:
    names = [identities] * len(rows) if isinstance(identities, str) else identities
    part = slice(rows.start, rows.stop)
    columns = zip(
        rows, names, table.status[part], table.odd[part], table.started_at[part], table.ended_at[part], strict=True
    )
    for row, identity, state, odd, started, ended in columns:
        if (state != SUCCEEDED and state != FAILED) or started == NEVER or row in table.kept or row in table.failures:
            continue
        key = f"{name}/{identity}"
        if odd & CONTROL:
            entry = grown.setdefault(key, [0.0, 0])
            entry[0] += sum(map(len, table.grown(row)))
        else:
            found = seconds.get(key)
            entry = seconds.setdefault(key, [0.0, 0]) if found is None else found
            entry[0] += max(0.0, ended - started if row not in table.earlier else table.ran_s(row, ended))
        entry[1] += 1
