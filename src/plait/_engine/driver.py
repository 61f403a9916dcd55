"""Carries out what the scheduler decides, on one event loop, and tells it everything that happens.

Nothing here decides what may run. Reports of executors, calls of the owner and the one timer become facts; the commands
and turns that follow are carried out at once, in order.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Container, Mapping
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from importlib import import_module
from types import CoroutineType
from typing import TYPE_CHECKING, Any, assert_never, cast

from plait._core.commands import (
    Ask,
    Cancel,
    Command,
    Diagnosed,
    Force,
    Forget,
    Recall,
    Return,
    Settle,
    Shut,
    Used,
    Vacated,
)
from plait._core.graph import Batch
from plait._core.limits import check_batch, check_wants
from plait._core.paths import Files
from plait._core.policy import CONTROL, LIMITED, TIMED, OnFailure, Rules, check_quota, nearest
from plait._core.result import RunResult
from plait._core.scheduler import OF_REPAIR, Scheduler, Turn
from plait._core.states import FINAL, RUNNING, STATUSES
from plait._core.table import NEVER, NONE, Move
from plait._engine.files import Folder, check_files, declare
from plait._engine.work import Ending, Growth, Work, check_votes, joining, vote_of
from plait.errors import UsageError
from plait.executors.base import (
    UNDER_WAY,
    Asked,
    Attempt,
    Beat,
    Begun,
    Ended,
    Interrupted,
    Output,
    Progress,
    Report,
    Spent,
    Ticket,
    awaited,
)
from plait.logs import log

if TYPE_CHECKING:
    from plait._core.conflicts import Claimed, Conflicts
    from plait._engine.desk import Desk
    from plait._engine.hearing import Ears
    from plait._engine.hooks import Hooks
    from plait._engine.sharing import Exchange, Sharing
    from plait.executors.adopting import Adopter
    from plait.executors.contract import Executor, Hearing, Lender, Showing
    from plait.observe.stream import Stream
    from plait.patterns.votes import Vote
    from plait.redaction import Redactor


EXECUTORS = {
    "async": ("plait.executors.async_", "AsyncExecutor"),
    "thread": ("plait.executors.threads", "ThreadExecutor"),
    "process": ("plait.executors.processes", "ProcessExecutor"),
    "shell": ("plait.executors.shell", "ShellExecutor"),
}
"""By name, imported when a run first needs one."""


class Driver:
    """One run on one loop. Made and used in the loop's thread only; `Run` is the thread-safe handle around it."""

    __slots__ = (
        "_adopter",
        "_asking",
        "_async",
        "_at_desk",
        "_attempts",
        "_batch",
        "_cancelled_before",
        "_claimed",
        "_ears",
        "_end",
        "_endings",
        "_executors",
        "_factories",
        "_first",
        "_hooks",
        "_killed",
        "_late",
        "_left",
        "_listeners",
        "_on_settled",
        "_on_vacated",
        "_others_wait",
        "_readers",
        "_rules",
        "_sharing",
        "_stalled_until",
        "_timer",
        "_timer_at",
        "_unwanted",
        "_value",
        "_votes",
        "_work",
        "asks_people",
        "base",
        "call",
        "clock",
        "context",
        "done",
        "hidden",
        "id",
        "keeper",
        "loop",
        "name",
        "now",
        "opened_at",
        "reap",
        "redactor",
        "says_waiting",
        "scheduler",
        "shows_output",
        "spendings",
        "started_at",
        "stream",
        "table",
        "unix",
    )

    def __init__(
        self,
        batch: Batch,
        rules: Rules,
        *,
        name: str = "run",
        value: Callable[[RunResult], Any] | None = None,
        on_settled: Callable[[int], None] | None = None,
        on_vacated: Callable[[], None] | None = None,
        executors: dict[str, Callable[[Driver], Executor]] | None = None,
        clock_at: float | None = None,
        scheduler: Scheduler | None = None,
        reap: bool = False,
        redactor: Redactor | None = None,
        hidden: Collection[str] = (),
    ) -> None:
        if scheduler is None:
            check_batch(batch, dict(rules.pools))
            check_files(batch, rules.on_conflict)
        self.loop = asyncio.get_running_loop()
        # A loop with a clock of its own (a virtual one) says so; else the loop's time is this function behind a method.
        self.clock: Callable[[], float] = getattr(self.loop, "plait_clock", time.monotonic)
        if clock_at is not None:
            self.clock = _going_on_from(self.clock, clock_at)
        self.base: Context = copy_context()
        self.context: Context = self.base.copy()
        self.keeper: asyncio.Task[Any] | None = asyncio.current_task()  # whose cancellation is the run's
        self._cancelled_before = self.keeper.cancelling() if self.keeper is not None else 0
        self.id = os.urandom(4).hex()
        self.name = name
        self.now = self.clock() if clock_at is None else clock_at
        self.started_at = self.now
        self.asks_people = False
        """Is somebody there who is asked what opens, as at a terminal?"""
        self.opened_at = NEVER
        """When starts went on after a pause."""
        self.stream: Stream | None = None
        """The run's public events, once somebody wants them."""
        self.unix: Callable[[float], float] = (time.time() - self.now).__add__
        """Unix seconds of a moment on the run's clock."""
        self.done: asyncio.Future[RunResult] = self.loop.create_future()
        self._batch = batch
        if rules.sharing is None:
            rules = rules.but(sharing=SHARING)
        self._rules = rules
        self._claimed: Claimed | None = None
        self._value = value
        self._on_settled = on_settled
        self._on_vacated = on_vacated
        self._factories = executors or {}
        self._executors: dict[str, Executor] = {}
        self._async: Executor | None = None
        self.reap = reap
        """Is this process to be a subreaper while the run goes on? To be said before it starts."""
        self.redactor = redactor
        """Hides the secrets of the run in all that is told of it; None where it has none."""
        self.hidden = hidden
        """Variables of the environment that no command inherits."""
        self._adopter: Adopter | None = None
        self._asking = threading.Lock()
        self._at_desk: Desk | None = None
        self._attempts: dict[int, Attempt] = {}
        self._others_wait = False  # is what is next in order for another executor than the one that asked?
        self.call = UNDER_WAY
        # The batch that is at hand: its rows and its calls.
        self._first = self._end = 0
        self._work: Work = Work()
        self._votes: dict[int, Vote] = {}
        self._endings: dict[int, Ending] = {}
        self._readers: list[Callable[[Driver, Move | None], None]] = []
        self._listeners: list[Callable[[Driver, int, Output | Progress], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._stalled_until = 0.0  # and it was said
        self._sharing: Sharing | None = None
        self._killed = False
        self._left = False  # has this process left the run?
        self.shows_output = False
        """Is what commands write to be told as it comes? To be said before it starts."""
        self.says_waiting = True
        """Is it logged when only answers are missing?"""
        self._ears: Ears | None = None
        self._hooks: Hooks | None = None
        self._late = 0.0  # while a timer is seen to: how late that is
        self._unwanted = False  # nobody waits for the run any more, and that was said
        self.spendings: deque[tuple[int, Mapping[str, float]]] = deque()
        """Said by threads, and not counted yet."""
        self.scheduler = scheduler or Scheduler(rules, self.now)
        self.table = self.scheduler.table
        register = getattr(self.loop, "plait_register", None)
        if register is not None:
            register(self)

    # -- the run

    def start(self) -> None:
        """Starts whatever may start. An empty run is over at once."""
        if not self.done.done():
            LIVE.add(self)
            self._hide_secrets()
            if log.isEnabledFor(logging.DEBUG):
                self.read(_log_move)
            self._tell_work()
            self.scheduler.added(self._batch, self.look())
            self._follow()
            self.more()

    def _hide_secrets(self) -> None:
        """From here on nothing that is told to the scheduler holds a secret, and so nothing that follows from it."""
        if self.redactor is not None:
            from plait._engine.hiding import hide  # few runs have secrets

            hide(self, self.redactor)

    def _tell_work(self) -> None:
        """The calls may ask which run they are of."""
        begins = getattr(self._batch.calls, "begins", None)
        if begins is not None:
            begins(self.id, self.name)

    def read(self, reader: Callable[[Driver, Move | None], None]) -> None:
        """Has every move from now on shown to `reader`, and None at the end; what it raises is logged."""
        self._readers.append(reader)
        if self.table.moves is None:
            self.table.moves = []

    def open_stream(self) -> Stream:
        """The run's public events: one stream, for whoever wants them."""
        if self.stream is None:
            self.stream = self._made_stream()
        return self.stream

    def _made_stream(self) -> Stream:
        from plait.observe.stream import Stream  # for runs that somebody reads

        return Stream(self)

    def listen(self, listener: Callable[[Driver, int, Output | Progress], None]) -> None:
        """Has output and progress of tasks shown to `listener`; what it raises is logged."""
        self._listeners.append(listener)

    def cancel(self, mode: OnFailure = OnFailure.FAIL_FAST) -> None:
        """Ends the run: see `OnFailure`."""
        if not self.done.done():
            self.look()
            self.scheduler.halted(mode, self.now)
            self._follow()
            self.more()

    def interrupt(self) -> None:
        """Whoever waits for the run wants no more of it. Said again, as each of its coroutines may that is cancelled, it means nothing new."""
        if not self._unwanted:
            self._unwanted = True
            self.cancel()

    def kill(self) -> None:
        """Ends by force, at once, whatever can be; nothing is reported any more. For the way out of the process."""
        LIVE.discard(self)
        self._killed = True
        if self._at_desk is not None:
            self._closed(self._at_desk.close)
        for executor in self._executors.values():
            self._closed(executor.close)
        if self._sharing is not None:
            self._closed(self._sharing.close)
        if self._adopter is not None:
            self._closed(partial(self._adopter.end, self._marks()))
            self._adopter.close()
        if self.redactor is not None:
            from plait._engine.hiding import unhide

            unhide(self.redactor)

    def _closed(self, close: Callable[[], None]) -> None:
        """A run ends, whatever stands in the way of clearing up after it."""
        try:
            close()
        except Exception:
            log.exception("something that run %s started may be left", self.id)

    def cancelled_outside(self) -> bool:
        """Is the caller's task, or the loop, being cancelled? Then the run is, and what is cancelled is its victim."""
        # A caller may have swallowed a cancellation long ago: only a new one counts.
        if self.keeper is not None and self.keeper.cancelling() > self._cancelled_before and not self.done.done():
            self.interrupt()
        return self.scheduler.halt_reason == "cancel" or self.scheduler.left

    def grow_stream(self, parent: int, batch: Batch) -> None:
        """More rows for a stream."""
        declare(batch)
        self.scheduler.grew(parent, batch, self.look(), vacant=True)

    def pause(self) -> None:
        """Nothing new starts until `resume`; running tasks finish."""
        if not self.done.done():
            self.scheduler.paused(self.look())
            self._follow()

    def resume(self) -> None:
        """Starts go on."""
        if not self.done.done():
            self.opened_at = self.look()
            self.scheduler.unpaused(self.now)
            self.more()

    def feed(self, parent: int) -> int:
        """Adds one task to a stream; its row, or NONE. Its call must be there before `more` is called."""
        return self.scheduler.fed(parent, self.look())

    def close_stream(self, parent: int) -> None:
        """No more tasks for a stream."""
        if not self.done.done():
            self.scheduler.closed(parent, self.look())
            self._follow()
            self.more()

    @property
    def outside(self) -> bool:
        """Is something at work in a thread or a process, which a virtual clock cannot hurry?"""
        if self._sharing is not None and self._sharing.under_way:
            return True
        locks = sys.modules.get("plait.patterns.locks")  # without it there are none
        if locks is not None and locks.is_asked():
            return True
        if self._factories:
            return False
        return any(
            attempt.executor != "async"
            and attempt.task not in self.table.unenforced
            and not self._has_code(attempt.task)  # it waits for an answer, and not at work
            for attempt in self._attempts.values()
        )

    def result(self) -> RunResult:
        """The outcomes as they stand."""
        return RunResult(
            self.table,
            status=self.scheduler.status(),
            run_id=self.id,
            name=self.name,
            unix=self.unix,
            first_cause=self.scheduler.first_cause,
            degraded=self.scheduler.degraded,
            halt_reason=self.scheduler.halt_reason,
            wall_s=self.now - self.started_at,
            slots=self._rules.max_concurrency,
            value=self._value,
            interrupted=(self.scheduler.left or self._left) and bool(self.scheduler.unfinished),
            spent=self.scheduler.totals,
        )

    def latest(self, most: int) -> dict[str, bytes]:
        """The end of what running tasks wrote so far, by key: of the first `most` of them, where anybody knows."""
        found: dict[str, bytes] = {}
        for attempt in list(self._attempts.values())[:most]:
            executor = self._executors.get(attempt.call[0])
            data = cast("Showing", executor).latest(attempt) if hasattr(executor, "latest") else b""
            if data:
                found[self.table.key(attempt.task)] = data
        return found

    # -- people

    @property
    def desk(self) -> Desk:
        """Where tasks put questions, and people answer them."""
        if self._at_desk is None:
            from plait._engine.desk import Desk  # few runs ask

            self._at_desk = Desk(self)
        return self._at_desk

    def stop_code(self, attempt: Attempt) -> None:
        """Has the code of an attempt told to stop, whatever becomes of that."""
        with suppress(Exception):
            self._executor_of(attempt).stop(attempt)

    def _see_waiting(self) -> None:
        """A run that cannot move before somebody answers says what it waits for."""
        if self.scheduler.see_waiting() and self.says_waiting:
            open_now = [each.key for each in self.desk.questions()]
            more = f" and {len(open_now) - 5} more" if len(open_now) > 5 else ""
            log.warning("run %s waits for answers alone: %s%s", self.id, ", ".join(open_now[:5]), more)

    def cancel_task(self, key: str, by: str | None = None) -> None:
        """Ends one task, or all that it grew; the rest of the run goes on.

        Raises:
            UsageError: for a key that is not there, or of a task that is over or must not be stopped.
        """
        task = self.table.find(key)
        if task < 0:
            raise UsageError(
                f"run {self.id} has no task {key!r}{nearest(key, self.table.batch_of(0)[0].keys) if self.table.size else ''}"
            )
        state = self.table.status[task]
        if state >= FINAL:
            raise UsageError(f"task {key!r} of run {self.id} is over: it is {STATUSES[state]}")
        if not self.scheduler.cleanups.has_begun(task):
            raise UsageError(
                f"task {key!r} of run {self.id} cleans up at the end, however that comes: it can be cancelled once it runs"
            )
        if state == RUNNING and self.table.policies[task].uninterruptible:
            raise UsageError(f"task {key!r} of run {self.id} is uninterruptible: it is let finish")
        self.look()
        self.scheduler.cancelled(task, by, self.now)
        self._follow()
        self.more()

    def _has_code(self, task: int) -> bool:
        """Is there code of a task that waits for an answer, or for its slot after one?"""
        return self._at_desk is not None and (self._at_desk.closed or task in self._at_desk.waiting)

    # -- what executors tell (the Sink)

    def key(self, task: int) -> str:
        """The path of a task."""
        return self.table.key(task)

    @property
    def adopter(self) -> Adopter | None:
        """Ends what attempts leave behind, from when an executor first asks; None where that is not wanted."""
        if self._adopter is None:
            from plait.executors.adopting import Adopter, is_subreaper

            # Where another run has made this process a subreaper, what ours leave behind comes here, too.
            if self.reap or is_subreaper():
                self._adopter = Adopter()
        return self._adopter

    @property
    def used(self) -> int:
        """How many attempts hold a slot."""
        return self.scheduler.used

    @property
    def unfinished(self) -> int:
        """How many tasks of the run are not over."""
        return self.scheduler.unfinished

    @property
    def patient(self) -> bool:
        """Does nobody look at the results of what is under way? No reader, no stream, nobody who judges each, no task that may get ready."""
        seen = self.table.moves is not None or self._on_settled is not None or object in self._work.suspects
        return not (seen or self._others_wait) and self.scheduler.nothing_waits()

    @property
    def max_tasks_per_worker(self) -> int | None:
        """So many calls run in a worker process; None: any number."""
        return self._rules.max_tasks_per_worker

    def memory_limit(self, attempt: Attempt) -> int | None:
        """Bytes that the attempt may take; None: as many as there are."""
        return self.table.policies[attempt.task].memory_limit

    def idle_timeout(self, attempt: Attempt) -> float | None:
        """Seconds for which the attempt may give no sign of life; None: for ever."""
        return self.table.policies[attempt.task].idle_timeout

    def _marks(self) -> dict[str, str]:
        """What everything that a process of this run started carries in its environment."""
        return {"PLAIT_RUN": self.id}

    def look(self) -> float:
        """Reads the clock: what is told and pulled from here on is at that time. A timer that was due a hair before stays due."""
        now = self.now = max(self.now, self.clock())
        return now

    def suspended(self) -> bool:
        """A body suspends: readers are told what runs. May `pull` give a ticket? False is certain."""
        scheduler = self.scheduler
        if self.table.moves:
            self._follow()
        if scheduler.used < scheduler.room or scheduler.turns:
            return True
        if scheduler.timers.heap:
            self.breathe()  # nobody pulls, who would see to it
        return False

    def pull(self) -> Ticket | None:
        """The next attempt for `async`, if any may start `now`; those of other executors are started on the way."""
        scheduler = self.scheduler
        while not self._killed:
            if scheduler.turns:
                self._take_turns()
            task = scheduler.take(self.now)
            if task < 0:
                if scheduler.turns:
                    continue
                if scheduler.commands or not scheduler.unfinished or self.table.moves:
                    self._follow()
                if scheduler.admission.parkings and scheduler.stalled:
                    self._say_stalled()
                heap = scheduler.timers.heap
                if heap and heap[0][0] < self._timer_at:  # else what is set comes soon enough
                    self.breathe()
                return None
            table = self.table
            if task >= self._end or task < self._first:
                self._turn_to(task)
            work, first = self._work, self._first
            number = 1
            if table.numbers:
                if self._at_desk is not None and self._at_desk.goes_on(task):
                    continue
                number = table.numbers.get(task, 1)
            try:
                call = self.call = work.call(task - first, table, first)
                executor = None if call[0] == "async" else self._executor(call[0])
            except BaseException as error:
                self._raised(task, number, error, self.now)
                self._follow()
                continue
            if executor is None:
                return (self, task, number, work.suspects)
            ticket = (self, task, number, work.suspects)
            timed = table.policies[task].look_s if table.odd[task] & TIMED else 0.0
            attempt = self._attempts[task] = Attempt.of(ticket, call, timed)
            if table.odd[task] & LIMITED and table.policies[task].rate_limit:
                attempt.rated = True
                attempt.timed = min(attempt.timed or SEEN_S, SEEN_S)
            executor.start(attempt)
            if scheduler.commands or not scheduler.unfinished or table.moves:
                self._follow()
        return None

    def lend(self, executor: str, most: int) -> list[Attempt]:
        """Attempts of the next ready tasks, as long as they are for `executor`, each to begin once `passed` gives it the slot of another."""
        lent: list[Attempt] = []
        scheduler, table, attempts, now = self.scheduler, self.table, self._attempts, self.now
        while len(lent) < most and not self._killed and (task := scheduler.lend(now)) >= 0:
            if task >= self._end or task < self._first:
                self._turn_to(task)
            work, first = self._work, self._first
            try:
                call = work.call(task - first, table, first)
            except BaseException:
                call = UNDER_WAY  # its failure is told when its turn comes
            self._others_wait = call[0] != executor
            if self._others_wait:
                scheduler.came_back(task, now)
                break
            attempt = attempts[task] = Attempt()  # `Attempt.of`, written out
            attempt.ticket = (self, task, 1, work.suspects)
            attempt.task = task
            attempt.number = 1
            attempt.call = call
            attempt.timed = table.policies[task].look_s if table.odd[task] & TIMED else 0.0
            attempt.rated = False  # what takes more than a slot is not lent
            attempt.handle = attempt.stopped_at = attempt.token = None
            attempt.heard = 0.0
            lent.append(attempt)
        return lent

    def passed(self, attempt: Attempt, at: float) -> None:
        """The attempt before a lent one just ended, at `at`: this one has its slot, and may have begun."""
        scheduler = self.scheduler
        scheduler.passed(attempt.task, at)
        if scheduler.commands or self.table.moves:
            self._follow()

    def came_back(self, attempt: Attempt) -> None:
        """A lent attempt has not begun, and will not."""
        del self._attempts[attempt.task]
        self.scheduler.came_back(attempt.task, self.look())
        self._follow()

    def more(self) -> None:
        """Starts whatever may start now: those for `async` one by one, for each asks for the next."""
        ticket = self.pull()
        if ticket is not None:
            attempt = Attempt()  # `Attempt.of`, written out
            attempt.ticket = ticket
            _, task, attempt.number, _ = ticket
            attempt.task = task
            attempt.call = self.call
            odd = self.table.odd[task]
            attempt.timed = odd & TIMED
            attempt.rated = odd & LIMITED != 0
            attempt.handle = attempt.stopped_at = attempt.token = None
            attempt.heard = 0.0
            self._attempts[task] = attempt
            if self._async is None:
                self._async = self._executor("async")
            self._async.start(attempt)

    def attempt(self, ticket: Ticket) -> Attempt:
        """The attempt of a ticket; made here where its body runs and nobody has asked before."""
        _, task, number, _ = ticket
        attempt = self._attempts.get(task)
        if attempt is not None and attempt.number == number:
            return attempt
        with self._asking:  # a thread that a body started may ask, too
            attempt = self._attempts.get(task)
            if attempt is None or attempt.number != number:
                table = self.table
                attempt = Attempt.of(ticket, UNDER_WAY, table.odd[task] & TIMED)
                attempt.rated = table.odd[task] & LIMITED != 0
                # Only its first step can run unknown. Anything else is over, and is asked about by what it left behind.
                if table.status[task] == RUNNING and table.attempts(task) == number and not table.odd[task] & CONTROL:
                    self._attempts[task] = attempt
        return attempt

    def breathe(self) -> None:
        """Sees to the one timer, before the loop gets a turn."""
        at = self.scheduler.next_wake()
        if at is None or at >= self._timer_at or self._killed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(max(0.0, at - self.clock()), self._tick)

    def _say_stalled(self) -> None:
        """A run in which nothing runs for long says by itself for what it waits."""
        at = self.scheduler.next_wake()
        if at is None or at - self.now <= STALL_S or at == self._stalled_until:
            return
        from plait._core.why import why  # few runs stand still

        self._stalled_until = at
        task = self.scheduler.blocked()
        if task >= 0:
            log.warning("run %s stands still: %s", self.id, why(self.scheduler, task, self.now, self.unix).text)

    def returned(
        self,
        ticket: Ticket,
        value: Any,
        stopped: bool = False,
        at: float | None = None,
        following: Attempt | None = None,
    ) -> None:
        """`Ended(at, value, stopped=stopped)` without the record: what most attempts report. None: now. And `passed(following, at)`."""
        now = self.now = self.clock()
        if at is not None:
            now = at
            if self.spendings:
                self.count_spendings()
        scheduler = self.scheduler
        _, task, number, suspects = ticket
        if (self._at_desk is not None and self._has_code(task)) or (suspects and _among(value, suspects)):
            self._checked(self.attempt(ticket), Ended(now, value, stopped=stopped))
        else:
            if self._attempts:
                self._attempts.pop(task, None)
            scheduler.returned(task, number, value, now, stopped)
        if following is not None:
            scheduler.passed(following.task, now)
        if scheduler.commands or not scheduler.unfinished or self.table.moves:
            self._follow()

    def began(self, attempt: Attempt, at: float) -> None:
        """`Begun(at)` without the record; only the first of a timed attempt counts."""
        if attempt.timed:
            attempt.timed = 0
            if self.table.odd[attempt.task] & TIMED:
                self.scheduler.began(attempt.task, attempt.number, at)
            if attempt.rated and attempt.executor != "async":
                self.seen(attempt)
            self.breathe()

    def seen(self, attempt: Attempt) -> None:
        """The code of a rated attempt has begun: what it uses of its rate counts from now."""
        if attempt.rated:
            attempt.rated = False
            if self.scheduler.unseen(attempt.task):
                self.scheduler.seen(attempt.task, attempt.number, self.clock())
                self.breathe()

    def report(self, attempt: Attempt, report: Report) -> None:
        """Takes one report."""
        self.look()
        if self.spendings:
            self.count_spendings()
        match report:
            case Begun(at):
                self.began(attempt, at)
                self.seen(attempt)
            case Ended():
                self._checked(attempt, report)
            case Output() | Progress():
                attempt.heard = self.now
                for listener in self._listeners:
                    self._guarded(listener, attempt.task, report)
            case Interrupted(at, why):
                if self._attempts.get(attempt.task) is attempt:
                    del self._attempts[attempt.task]
                    self.scheduler.interrupted(attempt.task, attempt.number, why, at)
            case Asked(question):
                self.scheduler.asked(attempt.task, attempt.number, question, self.now)
            case Spent(units):
                self.scheduler.spent(attempt.task, units, self.now)
            case Beat():
                attempt.heard = self.now
            case _:
                assert_never(report)
        self._follow()

    def count_spendings(self) -> None:
        """What threads said that they have used up: before their ends are told, and so before anything starts in their place."""
        while self.spendings:
            task, units = self.spendings.popleft()
            self.scheduler.spent(task, units, self.now)

    def spawned(self, attempt: Attempt, pid: int) -> None:
        """An attempt has a process of its own."""

    def output_paths(self, attempt: Attempt) -> tuple[str, str] | None:
        """Where what a command writes is to be kept; None if nowhere."""
        return None

    def environment(self, attempt: Attempt) -> dict[str, str]:
        """What a command of this attempt sees of its run."""
        key = self.table.key(attempt.task)
        return {
            **self._marks(),
            "PLAIT_TASK": key,
            "PLAIT_ATTEMPT": str(attempt.number),
            "PLAIT_KEY": f"{self.id}/{key}/1",
        }

    def _turn_to(self, task: int) -> None:
        """Makes the batch of `task` the one that is at hand."""
        batch, place = self.table.batch_of(task)
        self._first, self._end = task - place, task - place + batch.size
        self._work = batch.calls  # type: ignore[assignment]

    # -- how facts are told

    def _checked(self, attempt: Attempt, ended: Ended) -> None:
        """An attempt ended: what it returned may go on as an awaitable, be judged failed, or grow."""
        if self._attempts.get(attempt.task) is not attempt:
            return  # reported before
        if self._at_desk is not None and self._at_desk.holds_back(attempt, ended):
            return
        task, number, value, error, table = attempt.task, attempt.number, ended.value, ended.error, self.table
        if error is None and not ended.stopped:
            if attempt.executor == "thread" and hasattr(type(value), "__await__"):
                attempt.call = ("async", awaited, (value,), None)
                attempt.timed = 0
                self._executor("async").start(attempt)
                return
            growth: Growth | None = None
            batch, place = table.batch_of(task)
            work: Work = batch.calls  # type: ignore[assignment]
            if _among(value, work.suspects):
                try:
                    found = work.check(place, value, table, task - place)
                    if found is not None:
                        self._check_growth(task, found)
                        growth = found
                except BaseException as raised:
                    error = raised
            if growth is not None:
                del self._attempts[task]
                self._endings[task] = Ending(joining(table.policies[task], growth.join), growth.again)
                self.scheduler.grew(task, growth.batch, ended.at)
                return
        elif isinstance(value, CoroutineType):
            value.close()  # it came too late to be awaited
            value = None
        del self._attempts[task]
        if error is None:
            self.scheduler.returned(task, number, value, ended.at, ended.stopped)
        else:
            self._raised(task, number, error, ended.at, ended.stopped, value)

    def _raised(
        self, task: int, number: int, error: BaseException, at: float, stopped: int = False, value: Any = None
    ) -> None:
        attempts = self.table.policies[task].retry.attempts
        tried = f"attempt {number} of {attempts}, " if attempts > 1 else ""
        _explain(error, f"task {self.table.key(task)!r}, {tried}run {self.id}")
        self.scheduler.raised(task, number, error, at, _chance(), bool(stopped), value)

    def _take_turns(self) -> None:
        """Works out what the scheduler wants to know of control tasks, conditions and joins."""
        scheduler, table = self.scheduler, self.table
        while scheduler.turns:
            turn, task = scheduler.turns.popleft()
            now = self.look()
            try:
                # User code may run there: in a copy of the context of the run's start, as no task in particular.
                self.base.copy().run(self._turn, turn, task, now)
            except BaseException as error:
                if turn == Turn.DECIDE:
                    _explain(error, f"condition or limits of task {table.key(task)!r}, run {self.id}")
                    scheduler.undecidable(task, error, now)
                else:
                    number = OF_REPAIR if task in table.failures else table.attempts(task)
                    self._raised(task, number, error, now)
        self._follow()

    def _turn(self, turn: int, task: int, now: float) -> None:
        scheduler, table = self.scheduler, self.table
        batch, place = table.batch_of(task)
        work: Work = batch.calls  # type: ignore[assignment]
        match turn:
            case Turn.DECIDE:
                if not work.decide(place, table, task - place):
                    scheduler.decided(task, False, now)
                    return
                wants = work.wants(place, table, task - place)
                if wants is None:
                    scheduler.decided(task, True, now)
                    return
                key, most, cost, given = wants
                files: Files | None = None
                if given is not None and place not in batch.files:
                    files = Folder().files(table.policies[task], given)
                    self._refuse(self.claimed.decided(task, files))
                scheduler.decided(task, True, now, check_wants(table.policies[task], key, most, cost, files))
            case Turn.GROW:
                self._grow(task, self._children(task, place, work), now)
            case Turn.REPAIR:
                growth = work.repair(place, table.failures[task], table, task - place)
                self._check_growth(task, growth)
                scheduler.grew(task, growth.batch, now)
            case Turn.JOIN if task in table.failures:
                self._endings.pop(task, None)
                scheduler.returned(task, OF_REPAIR, table.values[table.repairs[task]], now)
            case Turn.JOIN:
                ending, rows = self._endings[task], table.children(task)
                more = None if ending.again is None else ending.again(table, rows)
                if more is not None:
                    self._grow(task, more, now)
                    return
                del self._endings[task]
                scheduler.returned(task, table.attempts(task), ending.join(table, rows), now)
            case Turn.VOTE:
                vote = self._votes.get(task)
                if vote is None:
                    vote = self._votes[task] = vote_of(table.policies[task])
                won = vote.decided(table, table.members(task)) if vote.early else None
                if won is not None:
                    scheduler.settled(task, won, now)
            case Turn.LISTEN:
                scheduler.listened(task, table.attempts(task), self._heard(task, now), now)

    def _children(self, task: int, place: int, work: Work) -> Growth:
        """What a control task grows."""
        return work.children(place, self.table, task - place)

    def _grow(self, task: int, growth: Growth, now: float) -> None:
        """A control task grows, once or again."""
        self._check_growth(task, growth)
        policy, keys, last = self.table.policies[task], growth.batch.keys, growth.batch.cleanups
        if last:
            keys = [key for at, key in enumerate(keys) if at not in last]
        if policy.reduce is not None:
            check_votes(policy, self.table.key(task), keys)
        self._endings[task] = Ending(joining(policy, growth.join), growth.again)
        self.scheduler.grew(task, growth.batch, now, growth.vacant)

    def last_heard(self, task: int) -> float | None:
        """When the attempt of a running task gave its last sign of life, as far as anybody knows."""
        attempt = self._attempts.get(task)
        if attempt is None:
            return None
        executor = self._executors.get(attempt.executor)
        heard = cast("Hearing", executor).heard(attempt) if hasattr(executor, "heard") else 0.0
        heard = min(max(heard, attempt.heard), self.look())
        return heard if heard > self.table.started_at[task] else None

    def _heard(self, task: int, now: float) -> float:
        """From when on the silence of a running task counts."""
        attempt = self._attempts.get(task)
        if attempt is None:
            return now  # nobody has it in hand: its end is about to be told
        if self._ears is None:
            from plait._engine.hearing import Ears  # few runs listen

            self._ears = Ears(hasattr(self.loop, "plait_clock"))
        idle = self.table.policies[task].idle_timeout
        assert idle is not None
        began = self.table.started_at[task]
        return self._ears.heard(attempt, self._executors.get(attempt.executor), began, idle, now, self._late)

    def _check_growth(self, task: int, growth: Growth) -> None:
        """Nothing, if what a task is about to grow can run.

        Raises:
            UsageError: otherwise.
        """
        batch = growth.batch
        check_batch(batch, self.scheduler.pools)
        if not growth.vacant and not batch.is_repair:
            check_quota(self.table.policies[task], batch.size - len(batch.cleanups))
        if check_files(batch, self._rules.on_conflict, self.table.key(task)):
            self._refuse(self.claimed.grown(task, batch))

    @property
    def claimed(self) -> Claimed:
        """What the tasks of the run read and write, for those that come later."""
        if self._claimed is None:
            from plait._core.conflicts import Claimed  # few runs name files that are known later

            self._claimed = Claimed(self.table, self._rules.on_conflict)
        return self._claimed

    def _refuse(self, found: Conflicts) -> None:
        if found.number:
            raise found.error()

    def _tick(self) -> None:
        # Two clocks with different origins round differently: the loop's may be there a hair before ours says so.
        at, self._timer, self._timer_at = self._timer_at, None, math.inf
        if not self.done.done():
            self.now = max(self.look(), at)
            self._late = self.now - at
            self.scheduler.ticked(self.now)
            self._follow()
            self.more()
            self._late = 0.0

    # -- how commands are carried out

    def _follow(self) -> None:
        """Carries out the commands that are there, shows the moves, and ends the run when all is final."""
        scheduler = self.scheduler
        while scheduler.commands:
            commands, scheduler.commands = scheduler.commands, []
            for command in commands:
                self._carry_out(command)
        if scheduler.questions is not None:
            self._see_waiting()
        if self.table.moves:
            self._publish()
        if not scheduler.unfinished and not self.done.done():
            self._finish()

    def _carry_out(self, command: Command) -> None:
        match command:
            case Cancel(tasks):
                for task in tasks:
                    self._stop(task, self.table.numbers.get(task, 1))
            case Force(task, number):
                self._force(task, number)
            case Recall(tasks):
                for task in tasks:
                    attempt = self._attempts.get(task)
                    if attempt is not None:
                        cast("Lender", self._executor_of(attempt)).recall(attempt)
            case Settle(task):
                if self._on_settled is not None:
                    self._on_settled(task)
            case Vacated():
                if self._on_vacated is not None:
                    self.loop.call_soon(self._on_vacated)
            case Ask() | Return() | Used() | Shut() | Forget():
                self._shared().tell(command)
            case Diagnosed():
                self._tell_health(command)
            case _:
                assert_never(command)

    def _shared(self) -> Sharing:
        """Where limits are shared with other runs."""
        if self._sharing is None:
            from plait._engine.sharing import Sharing, clock_of  # few runs share a limit

            self._sharing = Sharing(self, self._exchange(), clock_of(self.loop))
        return self._sharing

    def _exchange(self) -> Exchange:
        from plait._engine.sharing import common

        return common(self.loop)

    def cannot_share(self, error: Exception) -> None:
        """What the run has of shared limits is not known any more: it cannot go on."""
        if self.done.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        for attempt in list(self._attempts.values()):
            with suppress(Exception):
                attempt.signal_stop(self.now)
                self._executor_of(attempt).stop(attempt)
        self.kill()
        for reader in self._readers:
            self._guarded(reader, None)
        self.done.set_exception(error)

    def follow(self) -> None:
        """Something from outside was told to the scheduler: what follows from it is done."""
        self._follow()
        self.more()

    def _tell_health(self, found: Diagnosed) -> None:
        """Says that something is unhealthy, or well again, and has the hook called that wants to know."""
        from plait._core.health import HealthReport, said  # few runs are watched

        until = None if found.until is None else self.unix(found.until)
        report = HealthReport(found.pool, found.healthy, found.errors, found.outcomes, until)
        (log.info if found.healthy else log.warning)("run %s: %s", self.id, said(report, found.until, self.now))
        monitor = dict(self._rules.health)[found.pool]
        hook = monitor.on_recovered if found.healthy else monitor.on_unhealthy
        if hook is not None:
            if self._hooks is None:
                from plait._engine.hooks import Hooks

                self._hooks = Hooks(self.id)
            self._hooks.call(hook, report)

    def _stop(self, task: int, number: int) -> None:
        attempt = self._attempts.get(task)
        if attempt is None or attempt.number != number:
            attempt = self.attempt((self, task, number, ()))
        attempt.signal_stop(self.now)
        # One that reported its end, of which nothing came, is made again here: its executor may never have been used.
        executor = self._executors.get(attempt.call[0])
        if executor is not None:
            executor.stop(attempt)

    def _force(self, task: int, number: int) -> None:
        attempt = self._attempts.get(task)
        if attempt is None or not self._executor_of(attempt).force(attempt):
            self.scheduler.abandoned(task, number, self.now)

    def _executor(self, name: str) -> Executor:
        executor = self._executors.get(name)
        if executor is None:
            factory = self._factories.get(name)
            if factory is None:
                if name not in EXECUTORS:
                    raise UsageError(f"unknown executor {name!r}; there are {', '.join(EXECUTORS)}")
                module, attribute = EXECUTORS[name]
                factory = getattr(import_module(module), attribute)
            executor = self._executors[name] = factory(self)
        return executor

    def _executor_of(self, attempt: Attempt) -> Executor:
        return self._executor(attempt.executor)

    def _publish(self) -> None:
        moves, self.table.moves = self.table.moves, []
        for move in moves or ():
            for reader in self._readers:
                self._guarded(reader, move)

    def _guarded(self, reader: Callable[..., None], *what: Any) -> None:
        try:
            reader(self, *what)
        except Exception:
            log.exception("a reader of run %s raised; the run goes on", self.id)

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.look()
        self.kill()
        result = self.result()
        for reader in self._readers:
            self._guarded(reader, None)
        self.done.set_result(result)


def _going_on_from(clock: Callable[[], float], at: float) -> Callable[[], float]:
    """`clock`, set so that it is `at` now."""
    since = clock() - at
    return lambda: clock() - since


def _among(value: Any, suspects: Container[type]) -> bool:
    try:
        return type(value) in suspects
    except TypeError:  # a class without a hash: none of ours
        return False


def _log_move(driver: Driver, move: Move | None) -> None:
    """A line on the logger `plait`, at DEBUG, for every move of a task."""
    if move is not None and move.task == NONE:
        log.debug("run %s: nothing is left but waiting for answers", driver.id)
    elif move is not None:
        table = driver.table
        what = (driver.id, table.key(move.task), STATUSES[move.old], STATUSES[move.new], move.attempt)
        log.debug("run %s: task %r: %s -> %s (attempt %d)", *what)


STALL_S = 10.0
"""A run in which nothing runs or changes for longer than this says why."""

SEEN_S = 0.05
"""So soon somebody looks whether an attempt under a rate has begun, where its worker does not say so by itself."""

SHARING: tuple[str, ...] = ()
"""What runs share with each other in one process, beside `Pool`s and `Rate`s that tasks name: nothing."""

LIVE: set[Driver] = set()
"""Runs that have started and not ended, on any loop: what is to be ended by force on the way out."""

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _chance() -> float:
    """In [0, 1), without a state that a fork would copy or a seed of the program's would fix."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


def _explain(error: BaseException, note: str) -> None:
    """Adds `note` to an exception, once, and takes the engine's frames off the front of its traceback."""
    try:
        if not any(
            known.startswith(("task '", "condition or limits of task '")) for known in getattr(error, "__notes__", ())
        ):
            error.add_note(note)
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
            trace = trace.tb_next
        if trace is not None:
            error.__traceback__ = trace
    except Exception:
        pass  # a frozen class, or odd notes: the user's exception stays as it is
