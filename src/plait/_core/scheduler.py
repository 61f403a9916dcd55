"""Decides what may run next, once, for every front door: facts with their time go in, commands come out.

The scheduler reads no clock and rolls no dice: `now` and `chance` are arguments, so the same calls lead to the same
state, in a real run, in a simulation and in a replay. A start is pulled with `take`; everything else that the engine has
to do stands in `commands` and `turns` after a call. Nothing here scans what is finished.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any

from plait._core.admission import Admission
from plait._core.commands import Cancel, Command, Force, Recall, Settle, Stop, Vacated
from plait._core.endings import Cleanups
from plait._core.graph import Batch
from plait._core.groups import Family, Width
from plait._core.limits import Wants
from plait._core.policy import (
    ARMED,
    ASKING,
    CHILD,
    CONTROL,
    HELD,
    LIMITED,
    NO_RETRY,
    STREAM,
    TIMED,
    UNUSUAL,
    WATCHED,
    Join,
    OnFailure,
    OnInterrupt,
    Rules,
    retry_after,
)
from plait._core.spending import SECONDS, Spending
from plait._core.states import (
    CANCELLED,
    FAILED,
    FINAL,
    NOT_STARTED,
    PENDING,
    READY,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    TIMED_OUT,
    UPSTREAM_FAILED,
    WAITING,
    RunStatus,
)
from plait._core.stops import Stops
from plait._core.table import NEVER, NONE, Table, Try
from plait._core.timers import RUN, Due, Timers
from plait.errors import (
    ChildFailed,
    Declined,
    PlaitError,
    Rejected,
    RetryAfter,
    TaskCancelled,
    TaskError,
    TaskInterrupted,
    TaskTimedOut,
)

if TYPE_CHECKING:
    from plait._core.questions import Input, Question, Questions

FORCE_PATIENCE_S = 5.0
"""An attempt that does not end this long after it was ended by force (a process that the kernel holds) is abandoned."""

FEW = 8
"""So many tasks that still wait are looked at one by one."""

OF_REPAIR = 0
"""The attempt by whose number a task ends whose `on_error` ran: attempts of its own code count from 1."""

NOT_BEGUN = 2
"""As `stopped` of an attempt: it was, and its code had not begun."""

# What a task with a join, or with a skipped need, has seen of its needs.
_GOOD, _BAD, _SKIP = 1, 2, 4


class Turn:
    """What the engine is to work out for a task, without a slot."""

    DECIDE = 0  # its `when`: answer with `decided`
    GROW = 1  # a control's children: answer with `grew`, or `raised`
    JOIN = 2  # its value, now that all children are final: answer with `returned`, or `raised`
    VOTE = 3  # is it decided what its children's results come to? Answer with `settled`, if so
    LISTEN = 4  # when did its attempt give its last sign of life? Answer with `listened`
    REPAIR = 5  # its `on_error`, for it failed: answer with `grew`, or `raised` as attempt OF_REPAIR


class Scheduler:
    """One run's decisions. Every method named like an event of `_core.events` tells it that fact."""

    def __init__(self, rules: Rules, now: float, *, record_moves: bool = False) -> None:
        self.table = Table()
        if record_moves:
            self.table.moves = []
        self.rules = rules
        self.began_at = now
        self.commands: list[Command] = []
        self.turns: deque[tuple[int, int]] = deque()
        self.unfinished = 0
        self.used = 0
        self.first_cause = NONE
        """The first in time that failed by itself and counts; one that was declined only where nothing else failed."""
        self.degraded = False
        self.halt_reason: str | None = None  # "failure", "deadline", "stuck", "rejected" or "cancel"
        self.slots = sys.maxsize if rules.max_concurrency is None else rules.max_concurrency
        self.room = self.slots  # 0 while nothing may start
        self._paused = False
        self.left = False  # this process leaves the run
        self._levels: dict[int, int] = {}  # where interrupted tasks stood when they had their turn
        self._crashes: dict[int, int] = {}  # how often a task's process died while it ran
        self._interruptions: dict[int, int] = {}  # attempts that another one stands in for, crashes included
        self._mode: OnFailure | None = None  # of the halt
        self.timers = Timers()
        self.admission = Admission(self.table, self.timers, rules, self._watch_for_stuck, self._tell, self._free)
        if rules.health:
            self.admission.watch_over(rules.health)
        self._queue = self.admission.queue
        self._families: dict[int, Family] = {}
        self._near: tuple[range, Family] | None = None  # the batch of children that was asked for last
        self.spending = Spending(self.table, rules.budget)
        self._broke = self.spending.broke  # asked for every start
        self.held_back: set[int] = set()
        """Ready children of groups that have a width, which wait for others of theirs to be final."""
        self.cleanups = Cleanups(self.table)
        self._cancels = 0
        self._repairs: set[int] = set()  # tasks whose `on_error` may run yet
        self._causes: dict[int, int] = {}  # the child that made a group fail, where that was nobody's failure yet
        self._declined: set[int] = set()  # tasks to which a person said no at a gate, and groups that failed by one
        self._undecided: set[int] = set()
        self._deciding: set[int] = set()
        self._seen: dict[int, int] = {}
        self._asked_back = False  # is all that is lent asked for?
        self.lent: dict[int, None] = {}
        """Ready tasks that an executor has: each begins with the slot that the one before it leaves, or comes back."""
        self._stops = Stops(self.timers)
        self._abandoned: set[int] = set()
        self._forgotten: set[int] = set()  # abandoned tasks of a stream whose outcome was delivered
        self._deadlines: dict[int, float] = {}  # from the first time that a task was ready
        self.questions: Questions | None = None
        """What tasks asked people, once one did."""
        self._unwanted: dict[int, str | None] = {}  # tasks that a person cancelled, and who that was
        self._waits = False  # was nothing left but waiting, when somebody looked?
        self._dropped: dict[int, int] = {}  # waiting tasks whose code was told to stop, and what they are once it has
        self._lost: set[int] = (
            set()
        )  # ready to go on after their answers, but for their code, which must not begin anew
        self.heard: dict[int, float] = {}
        """When a running attempt with an idle_timeout gave a sign of life, as far as that was asked for."""
        self._work: deque[int] = deque()  # final tasks whose consequences are to be drawn
        if rules.deadline is not None:
            self.timers.arm(Due.RUN_DEADLINE, RUN, now + rules.deadline)

    # -- what the engine asks

    @property
    def finished(self) -> bool:
        """True once every task is final."""
        return not self.unfinished

    @property
    def startable(self) -> bool:
        """May `take` give a task now? True is a guess (limits of groups may refuse), False is certain."""
        return self.used < self.room and bool(self._queue)

    @property
    def quiet(self) -> bool:
        """Does no attempt run, but for those that were given up?"""
        return self.used <= len(self._abandoned) and not self._dropped

    @property
    def idle(self) -> int:
        """Slots that nothing holds."""
        return self.slots - self.used

    @property
    def stalled(self) -> bool:
        """Does nothing run, though ready tasks wait for limits?"""
        return bool(self.admission.parked) and self.quiet

    def blocked(self) -> int:
        """A ready task that waits for a limit, the first in order there; NONE if there is none."""
        waiter = next(iter(self.admission.parked.values()), None)
        first = None if waiter is None else self.admission.first_waiter(waiter.limit)
        return NONE if first is None else first.place[3]

    @property
    def pools(self) -> dict[str, int]:
        """The capacities of the pools that are known, by name."""
        return {name: limit.most for name, limit in self.admission.book.pools.items()}

    def next_wake(self) -> float | None:
        """When time alone changes something: call `ticked` then. None: never, which an empty `timers.heap` says too."""
        return self.timers.next()

    def status(self) -> RunStatus:
        """Where the run stands."""
        if self.unfinished:
            if self._paused:
                return RunStatus.PAUSED
            return RunStatus.WAITING if self.only_waits else RunStatus.RUNNING
        if self.halt_reason in ("cancel", "rejected"):
            return RunStatus.CANCELLED if self.halt_reason == "cancel" else RunStatus.REJECTED
        if self.first_cause in self._declined and self.halt_reason is None:
            return RunStatus.REJECTED
        failed = self.first_cause != NONE or self.halt_reason is not None
        return RunStatus.FAILED if failed else RunStatus.SUCCEEDED

    @property
    def only_waits(self) -> bool:
        """Is nothing left that goes on before a person has answered?"""
        status = self.table.status
        if self.questions is None or not self.questions.open or not self.quiet or self._deciding:
            return False
        if status.count(READY) > len(self.held_back) or status.count(RETRYING):
            return False
        return not any(map(self._has_turn, self.table.within(RUNNING)))

    def _has_turn(self, task: int) -> bool:
        """Is something to be worked out for a running task that holds no slot?"""
        family = self._families.get(task)
        repaired = task in self.table.failures and task not in self.table.repairs
        if task in self._abandoned:
            return False
        # A stream is fed as long as there is room in it.
        return family is None or family.joining or repaired or (family.open and self.table.vacancies > 0)

    def see_waiting(self) -> bool:
        """Is nothing left any more that goes on by itself? Readers are told by a move of no task. To be asked between any two facts."""
        before, self._waits = self._waits, self.questions is not None and self.only_waits
        if before or not self._waits:
            return False
        self.table.moved(NONE, RUNNING, WAITING, NEVER)
        return True

    @property
    def is_paused(self) -> bool:
        """Does nothing start until `unpaused`?"""
        return self._paused

    def take(self, now: float) -> int:
        """The next task, `running` from here and holding a slot; NONE if none may start."""
        if self.used >= self.room:
            if self._abandoned:
                self._watch_for_stuck(now)
            return NONE
        if self._broke:
            self._end_the_broke(now)
        table, queue = self.table, self._queue
        while True:
            # The first line of `pop`, where nothing else is to be seen to.
            task = queue.first.popleft() if queue.first and not queue.back else queue.pop()
            if task < 0:
                if self.lent and not self._asked_back:
                    self._asked_back = True  # a slot is free, and what is ready stands behind others that have theirs
                    self._recall()
                return NONE
            if table.status[task] != READY:  # it ended while it stood in the queue
                self.admission.wake_another(now)
                continue
            odd = table.odd[task]
            if odd and odd & ASKING:
                if task in self._lost:
                    self._lost.discard(task)
                    self.admission.parkings += 1
                    self.admission.wake_another(now)
                    self._end_waiting(task, now)
                    self._drain(now)
                    continue
                if odd & LIMITED and not self.admission.admit(task, now):
                    continue
                if queue.came_from is not None:
                    self.admission.wake_another(now)
                if odd & HELD:
                    self._start(task, now)
                    self.used += 1
                    return task
            table.status[task] = RUNNING  # `Table.move`, written out: most tasks start here
            table.started_at[task] = now
            if table.moves is not None:
                table.moved(task, READY, RUNNING, now)
            self.used += 1
            return task

    def lend(self, now: float) -> int:
        """The next ready task, where all slots are taken: it stays `ready`, and begins by `passed`. NONE if it has to wait for more."""
        if self.used < self.room or not self.room or self._queue.back or self.spending.budgets:
            return NONE
        table = self.table
        while (task := self._queue.pop()) >= 0:
            if table.status[task] != READY:
                continue  # it ended while it stood in the queue
            if table.odd[task] & (ASKING | UNUSUAL):
                self._queue.put_back(task, self._level(task))
                return NONE
            self.lent[task] = None
            self._asked_back = False
            return task
        return NONE

    def nothing_waits(self) -> bool:
        """Can no end of what is under way make another task ready, or give it room? False where that takes more than a look to say."""
        table = self.table
        if self.admission.asks or self.cleanups.alive or self.held_back:
            return False
        if not table.users:
            return True
        few = table.status.count(PENDING)
        if few > FEW:
            return False
        under_way = self.used + len(self.lent)
        task = -1
        for _ in range(few):
            task = table.status.index(PENDING, task + 1)
            if table.odd[task] & (WATCHED | CONTROL) or table.left[task] <= under_way:
                return False
        return True

    def _free(self) -> int:
        return self.idle

    def _tell(self, command: Command) -> None:
        self.commands.append(command)

    # -- facts about attempts

    def passed(self, task: int, now: float) -> None:
        """A lent task has the slot of the attempt before it, which just ended: it runs."""
        if task not in self.lent:
            return
        del self.lent[task]
        self.table.move(task, RUNNING, now)
        self.used += 1
        by_run = self._mode is OnFailure.FAIL_FAST and not self.cleanups.spares(task)
        if by_run or self._ending_by_force(task) or task in self._unwanted:
            self._stop(task, Stop.CANCEL, now)

    def came_back(self, task: int, now: float) -> None:
        """A lent task has not begun, and whoever had it has it no more: it stands in front of its level again."""
        if task not in self.lent:
            return
        del self.lent[task]
        if self._ends(task) or task in self._unwanted:
            self._close(task, NOT_STARTED, now)
            self._drain(now)
        else:
            self._queue.put_back(task, self._level(task))

    def _recall(self) -> None:
        """What is lent is to come back: nothing starts any more."""
        if self.lent:
            self.commands.append(Recall(list(self.lent)))

    def unseen(self, task: int) -> bool:
        """Has nobody said yet that the code of a task under a rate has begun?"""
        return task in self.admission.unseen

    def began(self, task: int, attempt: int, now: float) -> None:
        """The code of an attempt began: its timeout runs from `now`."""
        table = self.table
        odd = table.odd[task]
        if (
            table.status[task] != RUNNING
            or task in table.failures
            or (odd & HELD and (attempt != table.attempts(task) or task in self._stops.of))
        ):
            return
        table.started_at[task] = now
        if odd & TIMED:
            self._arm_timeout(task)

    def listened(self, task: int, attempt: int, at: float, now: float) -> None:
        """The last sign of life of an attempt was at `at`: it is ended where that is too long ago, else asked about again."""
        table = self.table
        idle = table.policies[task].idle_timeout
        if (
            idle is None
            or table.status[task] != RUNNING
            or attempt != table.attempts(task)
            or task in self._stops.of
            or table.odd[task] & CONTROL
        ):
            return
        self.heard[task] = at
        if at + idle <= now:
            self._stop(task, Stop.IDLE, now)
        else:
            self.timers.arm(Due.IDLE, task, at + idle)

    def spent(self, task: int, units: Mapping[str, float], now: float) -> None:
        """A task reports what it has used up. Budgets around it are looked at before the next start."""
        self.spending.reported(task, units)

    @property
    def totals(self) -> dict[str, float]:
        """What tasks reported to have used up, by unit."""
        return self.spending.totals

    def seen(self, task: int, attempt: int, now: float) -> None:
        """The code of an attempt under a rate has surely begun by `now`: its units count from there."""
        if task in self.admission.unseen and attempt == self.table.attempts(task):
            self.admission.count_units(task, now)

    def returned(self, task: int, attempt: int, value: Any, now: float, stopped: int = False) -> None:
        """An attempt ended with a value; `stopped` says that the stop signal had reached its code before, or it NOT_BEGUN."""
        table = self.table
        odd = table.odd
        mark = odd[task]
        if mark:
            if mark & UNUSUAL or (mark & TIMED and now > table.started_at[task] + table.policies[task].most_s):
                self._ended(task, attempt, value, None, now, 0.0, stopped)
                self._drain(now)
                return
            if mark & ARMED:
                self._disarm(task)
            if mark & LIMITED and table.status[task] == RUNNING:
                self._give_back(task, now)
                self.admission.forget_key(task)
                if self.admission.book.healths:
                    self._judge(task, True, now)
        if table.status[task] != RUNNING:
            return  # a duplicate
        # Most tasks end here: `_ended`, `_close` and `_drain`, written out for one that has nothing to be compared.
        table.values[task] = value
        table.status[task] = SUCCEEDED
        table.ended_at[task] = now
        if table.moves is not None:
            table.moved(task, RUNNING, SUCCEEDED, now)
        self.used -= 1
        self.unfinished -= 1
        if table.users:
            left, status, queue = table.left, table.status, self._queue
            second = int(now)
            for user in table.users[task]:
                unlike = odd[user]
                if unlike and unlike & WATCHED:
                    self._need_final(user, SUCCEEDED, False, now)
                    continue
                number = left[user] = left[user] - 1
                if number or status[user] != PENDING:
                    continue
                if unlike and unlike & CONTROL:
                    self._met(user, now)
                    continue
                status[user] = READY  # `_met`, for one that has nothing else to be seen to
                table.ready_at[user] = now
                if table.moves is not None:
                    table.moved(user, PENDING, READY, now)
                level = second - table.policies[user].head_start
                if level == queue.level:
                    queue.first.append(user)
                else:
                    queue.push(user, level)
            if self._work:
                self._drain(now)
        if mark & CHILD:
            family = self._around(task)
            family.left -= 1
            if family.counts:
                self._count_child(family, SUCCEEDED, now)
                self._drain(now)
            if not family.left:
                self._check_family(family, now)
                self._drain(now)

    def raised(
        self,
        task: int,
        attempt: int,
        error: BaseException,
        now: float,
        chance: float = 0.0,
        stopped: bool = False,
        value: Any = None,
        again: bool | None = None,
    ) -> None:
        """An attempt ended with an error; `chance` in [0, 1) is the jitter of a pause, `value` is kept beside it.

        `again` says whether it is an error after which another attempt may follow, where the exception itself is gone: in a
        replay. None: its class says it (`Retry.fits`).
        """
        self._ended(task, attempt, value, error, now, chance, stopped, again)
        self._drain(now)

    def interrupted(self, task: int, attempt: int, why: str, now: float) -> None:
        """The process of an attempt died, unasked, and nothing of it runs any more; `why` says how. Its crashes have a budget."""
        table = self.table
        if attempt == table.attempts(task) and table.status[task] == RUNNING and task not in table.failures:
            if task in self._stops.of:
                self._ended(task, attempt, None, None, now, 0.0, True)
            else:
                self._interrupt(task, now, crash=True, why=f": {why}")
        elif task in self._abandoned:
            self._end_of_abandoned(task, now)
        self._drain(now)

    def abandoned(self, task: int, attempt: int, now: float) -> None:
        """A stopped attempt cannot be ended: its task is final and its last try, its slot stays taken until it ends."""
        if (self.table.status[task] == RUNNING or task in self._dropped) and attempt == self.table.attempts(task):
            self._abandon(task, now)
        self._drain(now)

    # -- facts about people

    def asked(self, task: int, attempt: int, question: Question, now: float) -> None:
        """An attempt waits for a person's answer: its slot is free, its timeout stands still. The time for the answer begins."""
        table = self.table
        if table.status[task] != RUNNING or attempt != table.attempts(task):
            return
        if task in self._stops.of or task in table.failures or table.odd[task] & CONTROL:
            return
        table.odd[task] |= HELD
        table.numbers[task] = attempt
        began, ran = table.began_at(task), table.ran_s(task, now)
        table.earlier[task] = began, ran
        self._disarm(task)
        self._release(task, now)
        self._ask(task, question, now)
        if self._ends(task):
            self._drop(task, CANCELLED, now)
            self._drain(now)

    def _ask(self, task: int, question: Question, now: float) -> None:
        if self.questions is None:
            from plait._core.questions import Questions  # few runs ask

            self.questions = Questions()
        made = self.questions.ask(task, question, now)
        if made.due is not None:
            self.timers.arm(Due.ANSWER, task, made.due)
        self.table.move(task, WAITING, now)

    def answered(self, task: int, number: int, value: Any, by: str | None, now: float) -> None:
        """A person answered question `number` of a task: its attempt goes on as soon as a slot is free, or what was asked about it is done."""
        found = self.open_question(task, number)
        if found is None:
            return
        from plait._core.questions import ANSWERED, INTERRUPT

        if found.question.kind == INTERRUPT:
            self._decide_interrupted(task, value, by, now)
        else:
            self._answer(task, ANSWERED, value, by, now)
        self._drain(now)

    def withdrawn(self, task: int, number: int, now: float) -> None:
        """The code that asked does not wait for the answer any more: it goes on as soon as a slot is free."""
        if self.open_question(task, number) is not None:
            from plait._core.questions import WITHDRAWN

            self._answer(task, WITHDRAWN, None, None, now)

    def open_question(self, task: int, number: int | None = None) -> Input | None:
        """What a task waits to be told, if it is question `number` of it (None: any)."""
        found = None if self.questions is None else self.questions.open.get(task)
        return found if found is not None and number in (None, found.number) else None

    def _answer(self, task: int, what: str, value: Any, by: str | None, now: float) -> None:
        """A question of a task is over, and its code goes on; begins anew, where its process is gone."""
        assert self.questions is not None
        self.questions.close(task, what, now, value, by)
        self.timers.disarm(Due.ANSWER, task)
        if task in self.questions.gone:
            self.questions.gone.discard(task)
        else:
            self.admission.answered.add(task)
        self._levels.pop(task, None)
        self.table.move(task, READY, now)
        self._queue.push(task, self._level(task))

    def _decide_interrupted(self, task: int, wanted: Mapping[str, Any], by: str | None, now: float) -> None:
        """A person says what is to become of a task that was cut short."""
        from plait._core.questions import ANSWERED, RERUN, SUCCEED

        assert self.questions is not None
        self.questions.close(task, ANSWERED, now, wanted, by)
        if wanted["action"] == RERUN:
            self._levels.pop(task, None)
            self.table.move(task, READY, now)
            self._queue.push(task, self._level(task))
        elif wanted["action"] == SUCCEED:
            self.table.values[task] = wanted.get("value")
            self._close(task, SUCCEEDED, now)
        else:
            who = "" if by is None else f" by {by}"
            self.table.errors[task] = TaskInterrupted(
                f"task {self.table.key(task)!r} was interrupted, and let fail{who}"
            )
            self._close(task, FAILED, now)

    def _pass_answer_time(self, task: int, now: float) -> None:
        """The time for an answer is over: the default is the answer, or the task timed out."""
        found = self.open_question(task)
        if found is None:
            return
        from plait._core.questions import BY_DEFAULT
        from plait._core.questions import TIMED_OUT as NOBODY

        question = found.question
        if question.default:
            self._answer(task, BY_DEFAULT, question.default[0], None, now)
            return
        self.table.errors[task] = TaskTimedOut(
            f"nobody answered {question.address!r} within the {question.timeout:g} s that there were"
        )
        self._drop(task, TIMED_OUT, now, NOBODY)

    def cancelled(self, task: int, by: str | None, now: float) -> None:
        """A person wants no more of one task: it is stopped, or never starts. It did not succeed; the rest of the run goes on."""
        table = self.table
        state = table.status[task]
        if state >= FINAL or task in self._unwanted or not self.cleanups.has_begun(task):
            return
        if state == RUNNING and not table.odd[task] & CONTROL and table.policies[task].uninterruptible:
            return
        self._unwanted[task] = by
        if state == RUNNING:
            self._stop(task, Stop.CANCEL, now)
        elif state in (RETRYING, WAITING) or task in self.admission.answered:
            self._drop(task, CANCELLED, now)
        elif task in self.lent:
            self.commands.append(Recall([task]))
        else:
            self._close(task, CANCELLED if task in table.numbers else NOT_STARTED, now)
        self._drain(now)

    def leased(
        self, number: int, units: int, wanted: bool, now: float, opens_at: float | None = None, shut: bool = False
    ) -> None:
        """Units of a shared limit were granted to this run; do other runs wait for the same? `opens_at`: when time alone may bring more."""
        share = self.admission.book.shares.get(number)
        if share is not None:
            self.admission.leased(share, units, wanted, opens_at, shut, now)

    # -- facts about the graph

    def added(self, batch: Batch, now: float) -> None:
        """Tasks of the run itself: those without needs get ready."""
        self.unfinished += batch.size
        around = self.admission.around
        rows = self.table.add(batch, NONE, LIMITED if around else 0, now)
        self.cleanups.add(NONE, rows, batch)
        self._repairs.update(rows.start + place for place in batch.repairs)
        self.admission.add(rows, batch, around, self.spending.add(rows, batch))
        self._expect(rows, batch)
        self._keep(rows, batch, now)
        self._enter(rows, batch, now)
        self._drain(now)

    def decided(self, task: int, choice: bool, now: float, wants: Wants | None = None) -> None:
        """The `when` of a task was worked out: it gets ready, or is skipped. And its key and cost, where these are its own."""
        if task in self._deciding and self.table.status[task] == PENDING:
            self._deciding.discard(task)
            if choice:
                if wants is not None:
                    self.admission.set_wants(task, wants)
                self._met(task, now)
            else:
                self._close(task, SKIPPED, now)
            self._drain(now)

    def undecidable(self, task: int, error: BaseException, now: float) -> None:
        """The `when` of a task raised: the task failed."""
        if task in self._deciding and self.table.status[task] == PENDING:
            self._deciding.discard(task)
            self.table.errors[task] = error
            self._close(task, FAILED, now)
            self._drain(now)

    def grew(self, parent: int, batch: Batch, now: float, vacant: bool = False) -> None:
        """A running task has children: it gives its slot back and is final when they are.

        With `vacant` the rows of `batch` hold no tasks yet: each `fed` puts one there, until `closed`.
        """
        table = self.table
        if parent in self._abandoned and not batch.is_repair:
            self._end_of_abandoned(parent, now)  # it came too late to grow, and its slot is free
            self._drain(now)
            return
        if batch.is_repair != (parent in table.failures) or parent in table.repairs:
            return  # it failed before it could grow
        if table.status[parent] != RUNNING:
            return
        if parent in self._stops.of:
            self._ended(parent, table.attempts(parent), None, None, now, 0.0, True)
            self._drain(now)
            return
        if not table.odd[parent] & CONTROL:
            self._release(parent, now)
            table.odd[parent] |= CONTROL
            self._disarm(parent)
            self._judge(parent, True, now)
        if table.odd[parent] & TIMED and not batch.is_repair:
            self._arm_timeout(parent)
        family = self._families.get(parent)
        if family is None:
            family = self._families[parent] = self._family_of(parent)
        elif batch.is_repair:
            family.begin_repair()
        else:
            family.joining = False  # it was asked for its value, and grew more
        most = table.policies[parent].width
        if most is not None and family.width is None and not vacant:
            family.width = Width(most, self.held_back)
        extra = (LIMITED if family.limits else 0) | (STREAM if vacant else 0) | (WATCHED if family.width else 0)
        rows = table.add(batch, parent, extra, now)
        family.rows.append(rows)
        if self._ends(parent):
            family.halted = self._mode or OnFailure.FAIL_FAST
        last = self.cleanups.add(parent, rows, batch)
        family.cleanups += last
        if last and self._mode is not None:
            self._set_room()
        self._repairs.update(rows.start + place for place in batch.repairs)
        metered, cleaning = self.spending.add(rows, batch), self.cleanups.spares(parent)
        self.admission.add(rows, batch, family.limits, metered, cleaning=cleaning)
        if vacant:
            family.stream = family.open = True
            family.asking = bool(batch.conditional)
            for task in reversed(rows):
                table.vacate(task)
        else:
            family.left += batch.size - last
            self.unfinished += batch.size
            self._expect(rows, batch)
            kept = self._keep(rows, batch, now)  # some of the others may be final by that
            family.left -= kept
            if not batch.is_repair:
                self._set_quota(family, batch)
            self._enter(rows, batch, now)
            self._check_family(family, now)
        self._drain(now)

    def fed(self, parent: int, now: float) -> int:
        """A stream has one more task: the row that it got, NONE if the stream is over or no row is vacant."""
        family = self._families.get(parent)
        if family is None or not family.open or self._mode is not None:
            return NONE
        task = self.table.occupy()
        if task != NONE:
            family.left += 1
            self.unfinished += 1
            if family.asking:
                self._undecided.add(task)
            self._met(task, now)
        return task

    def forgot(self, task: int) -> None:
        """The outcome of a stream's task was delivered: its row may serve another."""
        if task in self._abandoned:
            self._forgotten.add(task)  # its slot is still taken, and its end still to come
        else:
            self._vacate(task)

    def _vacate(self, task: int) -> None:
        self.table.vacate(task)
        self._declined.discard(task)
        if self.questions is not None:
            self.questions.of.pop(task, None)

    def closed(self, parent: int, now: float) -> None:
        """A stream has no more tasks."""
        family = self._families.get(parent)
        if family is not None and family.open:
            family.open = False
            self._check_family(family, now)
            self._drain(now)

    # -- facts about the run

    def halted(self, mode: OnFailure, now: float) -> None:
        """The caller ends the run: `fail_fast` stops running work too, `finish` lets it end. Said a second time, it ends cleanups, too."""
        if self.unfinished:
            self._cancels += mode is OnFailure.FAIL_FAST
            if self._cancels > 1:
                self._end_cleanups(now)
            self._halt_run(mode, "cancel", now)
            self._drain(now)

    def paused(self, now: float) -> None:
        """Nothing new starts until `unpaused`; running tasks finish."""
        self._paused = True
        self.room = 0
        self._recall()

    def unpaused(self, now: float) -> None:
        """Starts go on."""
        self._paused = False
        self._set_room()

    def _set_room(self) -> None:
        """A run that ends starts nothing any more, but for its cleanups; a paused one not even these."""
        may = (self._mode is None or self.cleanups.alive) and not self._paused and not self.left
        self.room = self.slots if may else 0

    def leaving(self, now: float) -> None:
        """This process leaves the run: nothing starts any more, what may be stopped is, to run again in another process."""
        self.left = True
        self.room = 0
        self._recall()
        for task in self.table.within(RUNNING):
            if not self.table.odd[task] & CONTROL and not self.table.policies[task].uninterruptible:
                self._stop(task, Stop.LEAVE, now)

    def recovered(self, now: float, away: float = 0.0) -> None:
        """A new process drives the run, and none of the code of the one before runs any more.

        What was being stopped has stopped; any other attempt is interrupted. The clock stood still in between, for `away`
        seconds of real time, in which rates went on.
        """
        table = self.table
        self.admission.taken_over(away, now)
        self.left = self._paused = False
        self._set_room()
        for task in reversed(list(self.lent)):
            self.came_back(task, now)
        for task in list(self._abandoned):
            self._end_of_abandoned(task, now)
        for task in list(self._dropped):
            self._end_dropped(task, now)
        if self.questions is not None:
            self._leave_questions(away, now)
        for task in reversed(list(table.within(RUNNING))):  # each goes before those that waited
            if table.odd[task] & CONTROL:
                continue
            stopped = self._stops.of.get(task)
            if stopped is None or stopped.why == Stop.LEAVE:
                self._interrupt(task, now, crash=stopped is None)
            else:
                self._ended(task, table.attempts(task), None, None, now, 0.0, True)
        self.admission.wake_all(now)
        self._drain(now)
        self.turns = deque(filter(self._unanswered, self.turns))

    def _leave_questions(self, away: float, now: float) -> None:
        """The code that waited for answers, or had them, is gone with its process. People's time went on for `away` seconds."""
        assert self.questions is not None
        from plait._core.questions import INTERRUPT

        for task, found in list(self.questions.open.items()):
            if found.due is not None:
                found.due -= away
                self.timers.arm(Due.ANSWER, task, found.due)
            if found.question.kind != INTERRUPT and task not in self.questions.gone:
                self.questions.gone.add(task)
                self._lose_waiting(task, now)
        for task in sorted(self.admission.answered):
            self.admission.answered.discard(task)
            self._lose_waiting(task, now)

    def _lose_waiting(self, task: int, now: float) -> None:
        """The code of a task that held no slot is gone: it begins anew when it is its turn, unless it must not."""
        table, policy = self.table, self.table.policies[task]
        attempt, key = table.attempts(task), table.key(task)
        self._interruptions[task] = self._interruptions.get(task, 0) + 1
        error = TaskInterrupted(f"the process that ran task {key!r} ended while it waited for an answer")
        table.history.setdefault(task, []).append(Try(attempt, CANCELLED, error, table.began_at(task), now))
        if policy.on_interrupt is not OnInterrupt.RERUN:
            if table.status[task] == WAITING:
                self._close_question(task, now)
                self._end_waiting(task, now)
            else:
                self._lost.add(task)  # it stands in the queue: that is done when it is its turn

    def _end_waiting(self, task: int, now: float) -> None:
        """A task whose code ended with its process while it waited, and must not begin anew: failed, or a person is asked."""
        if self.table.policies[task].on_interrupt is OnInterrupt.FAIL:
            self.table.errors[task] = TaskInterrupted(
                f"task {self.table.key(task)!r} was interrupted while it waited for an answer, and is not run again (on_interrupt: fail)"
            )
            self._close(task, FAILED, now)
        else:
            self._ask_about(task, " while it waited for an answer", now)

    def _ask_about(self, task: int, why: str, now: float) -> None:
        """Only a person can say what is to become of a task that was cut short."""
        from plait._core.questions import about_interruption

        if self.table.status[task] == RUNNING:
            self.table.earlier[task] = self.table.began_at(task), self.table.ran_s(task, now)
        self._ask(task, about_interruption(self.table.key(task), why), now)
        if self._ends(task):
            self._drop(task, CANCELLED, now)

    def _close_question(self, task: int, now: float, what: str | None = None) -> None:
        """Nobody waits for the answer any more."""
        if self.questions is not None:
            from plait._core.questions import DROPPED

            self.questions.close(task, what or DROPPED, now)
            self.questions.gone.discard(task)
            self.timers.disarm(Due.ANSWER, task)

    def _unanswered(self, wanted: tuple[int, int]) -> bool:
        """Is what the engine was to work out not told yet? A replay tells answers without taking the turns."""
        turn, task = wanted
        if turn == Turn.DECIDE:
            return task in self._deciding and self.table.status[task] == PENDING
        if self.table.status[task] != RUNNING or turn == Turn.LISTEN:
            return False
        family = self._families.get(task)
        if turn == Turn.REPAIR:
            return task not in self.table.repairs
        if task in self.table.failures and turn != Turn.JOIN:
            return False
        if turn == Turn.VOTE:
            return family is not None and not (family.enough or family.verdict_text or family.joining)
        return family is None if turn == Turn.GROW else family is not None and family.joining

    def _interrupt(
        self, task: int, now: float, *, crash: bool, alive: bool = False, begun: bool = True, why: str = ""
    ) -> None:
        """The attempt of a running task came to nothing: it runs again, unless its policy or its crashes say otherwise."""
        table = self.table
        policy = table.policies[task]
        self._stops.end(task)
        if not alive:
            self._release(task, now, begun)
        attempt = table.attempts(task)
        table.numbers[task] = attempt
        self._interruptions[task] = self._interruptions.get(task, 0) + 1
        table.odd[task] |= HELD
        self._disarm(task)
        if crash:
            self._crashes[task] = self._crashes.get(task, 0) + 1
        times = self._crashes.get(task, 0)
        if times > self.rules.crash_budget:
            error = TaskInterrupted(
                f"task {table.key(task)!r} was running {times} times when its process died{why}: given up"
            )
        elif task in self.spending.broke:
            over = self.spending.budgets[task].over()
            error = TaskInterrupted(f"task {table.key(task)!r} is not run again, for {over}{why}")
        elif policy.on_interrupt is OnInterrupt.FAIL and begun:
            error = TaskInterrupted(
                f"task {table.key(task)!r} was interrupted, and is not run again (on_interrupt: fail){why}"
            )
        else:
            error = TaskInterrupted(
                f"the process that ran task {table.key(task)!r} {'died' if crash else 'left the run'}{why}"
            )
            table.history.setdefault(task, []).append(Try(attempt, CANCELLED, error, table.began_at(task), now))
            if policy.on_interrupt is OnInterrupt.ASK and begun and task not in self._unwanted:
                self._ask_about(task, f": its process {'died' if crash else 'left the run'}{why}", now)
                return
            level = self._levels.setdefault(task, self._level(task))  # as it was, however often: it had its turn
            table.move(task, READY, now)
            if self._ends(task) or task in self._unwanted:
                self._close(task, CANCELLED, now)
            else:
                self._queue.put_first(task, level)
            return
        table.errors[task] = error
        self._close(task, FAILED, now)

    def ticked(self, now: float) -> None:
        """Time alone: draws the consequences of every timer that was due by `now`, in order."""
        while (due := self.timers.pop_due(now)) is not None:
            kind, task = due
            match kind:
                case Due.RUN_DEADLINE:
                    self._halt_run(OnFailure.FAIL_FAST, "deadline", now)
                case Due.STUCK:
                    if self._is_stuck():
                        if self._mode is OnFailure.FAIL_FAST:
                            self._end_cleanups(now)
                        self._halt_run(OnFailure.FAIL_FAST, "stuck", now)
                case Due.TIMEOUT:
                    self._stop(task, Stop.TIMEOUT, now)
                case Due.IDLE:
                    self.turns.append((Turn.LISTEN, task))
                case Due.DEADLINE:
                    self._pass_deadline(task, now)
                case Due.FORCE:
                    self.timers.arm(Due.GIVE_UP, task, now + FORCE_PATIENCE_S)
                    for stopped in self._stops.tasks(task):
                        self.commands.append(Force(stopped, self.table.attempts(stopped)))
                case Due.GIVE_UP:
                    for stopped in self._stops.tasks(task):
                        self._abandon(stopped, now)
                case Due.ANSWER:
                    self._pass_answer_time(task, now)
                case Due.RETRY:
                    self.table.move(task, READY, now)
                    self._queue.push(task, self._level(task))
                case Due.OPENS:
                    self.admission.opened(task, now)
                case Due.PROBE:
                    self.admission.probe(task, now)
                case Due.CLAIM:
                    self.admission.drop_claims(task, now)
            self._drain(now)

    # -- tasks enter

    def _expect(self, rows: range, batch: Batch) -> None:
        """What is to be known of new rows before one of them gets ready, as one may by what is kept."""
        self._undecided.update(rows.start + place for place in batch.conditional)
        if batch.ranks is not None:
            self._queue.rank(rows, batch.ranks)

    def _keep(self, rows: range, batch: Batch, now: float) -> int:
        """Makes final what an earlier generation of the run did; how many tasks that is."""
        table = self.table
        for place, kept in batch.kept.items():
            table.keep(rows.start + place, kept, now)
        self.unfinished -= len(batch.kept)
        # Once all of them are final: a join looks at what else its task waits for.
        for place in batch.kept:
            task = rows.start + place
            for user in table.users_of(task):
                if table.status[task] == SUCCEEDED and not table.odd[user] & WATCHED:
                    table.left[user] -= 1
                else:
                    self._need_final(user, table.status[task], False, now)
        return len(batch.kept)

    def _enter(self, rows: range, batch: Batch, now: float) -> None:
        """New rows: those without needs get ready; none does where their run or group is ending."""
        parent = self.table.parent(rows.start) if rows else NONE
        if self._mode is not None if parent == NONE else self._ends(parent):
            self._swept(rows, now)
            return
        plain = batch.needs is None and batch.policies is None and not batch.controls and not batch.conditional
        if plain and rows and not batch.kept and not self.table.odd[rows.start] & WATCHED:
            self.table.make_ready(rows, now)
            self._queue.extend(rows, int(now) - batch.policy.head_start)
            return
        left, last = self.table.left, self.cleanups.alive if batch.cleanups else ()
        for task in rows:
            if not left[task] and task not in last:
                self._met(task, now)

    def _met(self, task: int, now: float) -> None:
        """All needs of a pending task are as its join wants them: it gets ready, unless something is to be decided first."""
        table = self.table
        if table.status[task] != PENDING:
            return
        odd = table.odd[task]
        if odd & WATCHED and not self._may_get_ready(task, now):
            return
        table.status[task] = READY  # `Table.move`, written out
        table.ready_at[task] = now
        if table.moves is not None:
            table.moved(task, PENDING, READY, now)
        if odd & WATCHED:
            if (deadline := table.policies[task].deadline) is not None:
                self._deadlines[task] = now + deadline
                self.timers.arm(Due.DEADLINE, task, now + deadline)
            if odd & CHILD and self._is_held_back(task):
                return
        self._begin(task, now)

    def _begin(self, task: int, now: float) -> None:
        """A ready task stands in the queue; one that holds no slot is at work there and then."""
        table = self.table
        odd = table.odd[task]
        if odd & CONTROL:
            table.move(task, RUNNING, now)
            if odd & TIMED:
                self._arm_timeout(task)
            self.turns.append((Turn.GROW, task))
        else:
            self._queue.push(task, self._level(task))

    def _is_held_back(self, task: int) -> bool:
        """Does a child that got ready wait, for so many others of its group are under way as may be? What cleans up or repairs is not counted."""
        family = self._around(task)
        width = family.width
        if width is None or task in self.cleanups.alive or self.table.repairs.get(family.parent) == task:
            return False
        return not width.enters(task)

    def _follow(self, width: Width, task: int, now: float) -> None:
        """A child of a group that has a width is final: the next ones begin, as many as there is room for."""
        width.leave(task)
        while (following := width.follow()) != NONE:
            self._begin(following, now)

    def _may_get_ready(self, task: int, now: float) -> bool:
        """False where a need was skipped, or its `when` is to be worked out first."""
        if self._seen.pop(task, 0) & _SKIP and self.table.policies[task].join is Join.ALL_SUCCESS:
            self._close(task, SKIPPED, now)
            return False
        if task in self._undecided:
            self._undecided.discard(task)
            self._deciding.add(task)
            self.turns.append((Turn.DECIDE, task))
        return task not in self._deciding

    def _need_final(self, task: int, state: int, allowed: bool, now: float) -> None:
        """One need of `task` is final in `state`; `allowed`: it failed, and was allowed to."""
        table = self.table
        table.left[task] -= 1
        if table.status[task] != PENDING or task in self._deciding:
            return
        table.odd[task] |= WATCHED  # from here on its number of needs is not all
        join = table.policies[task].join
        failed = state not in (SUCCEEDED, SKIPPED)
        bad = failed and not allowed
        seen = self._seen.get(task, 0)
        if state == SKIPPED:
            seen |= _SKIP
        elif failed:
            seen |= _BAD if bad else 0
        else:
            seen |= _GOOD
        met = not table.left[task]
        match join:
            case Join.ALL_SUCCESS | Join.NONE_FAILED:
                # A skip is decided only when no failure can come any more: final states must not depend on timing (W12).
                verdict = UPSTREAM_FAILED if bad else PENDING
            case Join.ALL_DONE:
                verdict = PENDING
            case Join.ONE_SUCCESS:
                met, none = state == SUCCEEDED, met and not seen & _GOOD
                verdict = (UPSTREAM_FAILED if seen & _BAD else SKIPPED) if none else PENDING
            case Join.ONE_FAILED:
                met, none = failed, met and not failed
                verdict = SKIPPED if none else PENDING
        if verdict != PENDING:
            self._seen.pop(task, None)
            self._close(task, verdict, now)
        elif met:
            self._seen[task] = seen
            self._met(task, now)
            if table.status[task] != PENDING:
                self._seen.pop(task, None)
        else:
            self._seen[task] = seen

    def _family_of(self, parent: int) -> Family:
        table = self.table
        policy = table.policies[parent]
        around = self._around(parent) if table.odd[parent] & CHILD else None
        # An item of a group that counts fails for itself, as a whole, whatever the run does with failures.
        counted = around is not None and around.counts
        # What fails within may be made good by an `on_error`: until then it is nobody's failure.
        guarded = parent in self._repairs or parent in table.failures
        own_scope = policy.on_failure is not None or policy.allow_failure or counted or guarded
        return Family(parent, self.admission.limits_within(parent), around, own_scope, policy.allow_failure or guarded)

    def _around(self, task: int) -> Family:
        """The family that `task` is a child of."""
        near = self._near
        if near is None or task not in near[0]:
            near = self._near = (self.table.rows_of(task), self._families[self.table.parent(task)])
        return near[1]

    # -- limits and budgets

    def _end_the_broke(self, now: float) -> None:
        """What still had to start where a budget is spent never will: its run or group ends, and what runs may end by itself."""
        table = self.table
        if RUN in self.spending.broke:
            spared = self.cleanups.spared()
            starting = (task for state in (PENDING, READY, RETRYING) for task in table.within(state))
            if self._mode is None and any(task not in spared for task in starting):
                self.admission.parkings += 1
                self._halt_run(OnFailure.FINISH, "budget", now)
                self._drain(now)
            if not self.cleanups.alive:
                return  # else a cleanup may have spent a budget of its own
        for scope in list(self.spending.broke):
            family = self._families.get(scope)
            if family is None or family.halted is not None or table.status[scope] != RUNNING:
                continue
            spared = self.cleanups.spared(scope)
            within = (task for rows in self._within(family) for task in rows if task not in spared)
            if any(table.status[task] in (PENDING, READY, RETRYING) for task in within):
                self.admission.parkings += 1
                family.verdict_text = self.spending.budgets[scope].over() or ""
                self._halt_family(family, OnFailure.FINISH, now)
                self._check_family(family, now)
        self._drain(now)

    def _level(self, task: int) -> int:
        """Where a ready task stands, the lowest first: its priority, and since when it is ready.

        `floor((ready_at - level * age_s) / tick)`, with an `age_s` of 60 s and a `tick` of 1 s.
        """
        return int(self.table.ready_at[task]) - self.table.policies[task].head_start

    def _release(self, task: int, now: float, begun: bool = True) -> None:
        """Gives back the slot of `task` and what it took of every limit; units of a rate only where its code has not `begun`."""
        self.used -= 1
        if self.table.odd[task] & LIMITED:
            self._give_back(task, now, begun)

    def _give_back(self, task: int, now: float, begun: bool = True) -> None:
        """Gives back what `task` took of every limit, and counts its seconds where a budget wants them."""
        if self.spending.budgets:
            self.spending.spend(task, {SECONDS: max(0.0, now - self.table.started_at[task])})
        self.admission.give_back(task, now, begun)

    # -- attempts end

    def _start(self, task: int, now: float) -> None:
        """A task is taken: for its first attempt, for another one, or going on after its answer."""
        table = self.table
        if task in self.admission.answered:
            self.admission.answered.discard(task)
            table.move(task, RUNNING, now)
            if table.odd[task] & TIMED:
                self._arm_timeout(task)
            return
        if task in table.numbers:
            table.numbers[task] += 1
            table.earlier.pop(task, None)
        table.move(task, RUNNING, now)

    def _arm_timeout(self, task: int) -> None:
        """The clocks of an attempt begin, or go on after an answer; what grew has no code that could be idle."""
        table = self.table
        table.odd[task] |= ARMED
        policy = table.policies[task]
        if policy.timeout is not None:
            self.timers.arm(Due.TIMEOUT, task, self._due(task))
        if policy.idle_timeout is not None and not table.odd[task] & CONTROL:
            self.timers.arm(Due.IDLE, task, table.started_at[task] + policy.idle_timeout)

    def _due(self, task: int) -> float:
        """When the timeout of the running attempt passes."""
        timeout = self.table.policies[task].timeout
        assert timeout is not None
        return self.table.started_at[task] + timeout - self.table.earlier.get(task, (0.0, 0.0))[1]

    def _ended(
        self,
        task: int,
        attempt: int,
        value: Any,
        error: BaseException | None,
        now: float,
        chance: float,
        stopped: int,
        again: bool | None = None,
    ) -> None:
        table = self.table
        if attempt == OF_REPAIR:
            self._end_of_repair(task, value, error, now)
            return
        if attempt != table.numbers.get(task, 1):
            return  # of an earlier attempt
        if task in self._abandoned:
            self._end_of_abandoned(task, now)
            return
        if task in self._dropped:
            self._end_dropped(task, now)
            return
        if table.status[task] != RUNNING or task in table.failures:
            return  # a duplicate
        odd = table.odd[task]
        if stopped and task in self._stops.of and self._stops.of[task].why == Stop.LEAVE:
            self._interrupt(task, now, crash=False, begun=stopped != NOT_BEGUN)
            return
        if not odd & CONTROL:
            self._release(task, now, stopped != NOT_BEGUN)
        why = self._stops.end(task) if task in self._stops.of else None
        if why == Stop.CANCEL and (stopped or error is not None):
            state, late = CANCELLED, False
        else:
            state, late = self._verdict(task, error, now, stopped, why)
        if self.admission.book.healths and not odd & CONTROL:
            self._judge(task, self._says(state, late, error), now)
        table.values[task] = value if state in (SUCCEEDED, FAILED) else None  # what came too late is no result
        if state == SUCCEEDED:
            self._close(task, SUCCEEDED, now)
            return
        if state == TIMED_OUT:
            clock = Stop.DEADLINE if late else Stop.IDLE if why == Stop.IDLE else Stop.TIMEOUT
            error, again = self._timeout_error(task, clock), None
        if (
            state != CANCELLED
            and not odd & CONTROL
            and not late
            and self._try_again(task, attempt, state, error, now, chance, again)
        ):
            return
        if error is not None:
            table.errors[task] = error
        self._close(task, state, now)

    def _verdict(
        self, task: int, error: BaseException | None, now: float, stopped: int, why: str | None
    ) -> tuple[int, bool]:
        """The state in which an attempt ended, and whether its task's deadline had passed.

        Cancel (seen to before) beats timeout beats failure; a completion before the stop reached it is kept, unless its
        time was up.
        """
        policy = self.table.policies[task]
        over = bool(stopped) or error is not None
        deadline = self._deadlines.get(task)
        if deadline is not None and (now > deadline or (why == Stop.DEADLINE and over)):
            return TIMED_OUT, True
        if policy.timeout is not None and (now > self._due(task) or (why == Stop.TIMEOUT and over)):
            return TIMED_OUT, False
        if why == Stop.IDLE and over:
            return TIMED_OUT, False
        return (SUCCEEDED if error is None else FAILED), False

    def _says(self, state: int, late: bool, error: BaseException | None) -> bool | None:
        """Does the end of an attempt speak for the health of what it used? None: it says nothing about that."""
        if state == CANCELLED or late or (state == FAILED and error is not None and retry_after(error) > 0):
            return None
        return state == SUCCEEDED

    def _judge(self, task: int, good: bool | None, now: float, held: bool = False) -> None:
        """Tells those who watch over a task what its attempt came to. `held`: it keeps what it took."""
        if self.admission.book.healths and self.table.odd[task] & LIMITED:
            self.commands.extend(self.admission.judge(task, good, now, held))

    def _timeout_error(self, task: int, clock: str) -> TaskTimedOut:
        """What it is to say of a task that one of its clocks ran out, by the reason of the stop."""
        policy, key = self.table.policies[task], self.table.key(task)
        if clock == Stop.IDLE:
            return TaskTimedOut(f"task {key!r} was idle for {policy.idle_timeout:g} s")
        kind, length = ("deadline", policy.deadline) if clock == Stop.DEADLINE else ("timeout", policy.timeout)
        return TaskTimedOut(f"task {key!r} passed its {kind} of {length:g} s")

    def _try_again(
        self,
        task: int,
        attempt: int,
        state: int,
        error: BaseException | None,
        now: float,
        chance: float,
        again: bool | None,
    ) -> bool:
        """Puts a failed attempt's task between two attempts, if its policy wants another one and its run goes on."""
        table = self.table
        retry = table.policies[task].retry
        tries = attempt - self._interruptions.get(task, 0)  # what a crash cut short is no try
        after = 0.0 if error is None else retry_after(error)
        later = after > 0 and self._only_later(task, error)
        if later:
            self.admission.slow_down(task, after, now)
        if (
            (retry is NO_RETRY and not later)
            or error is None
            or not (later or (retry.wanted(tries, error) if again is None else again and tries < retry.attempts))
            or self._ends(task)
            or task in self._unwanted
            or self.spending.over(task, self.cleanups.alive) is not None
        ):
            return False
        table.history.setdefault(task, []).append(Try(attempt, state, error, table.began_at(task), now))
        table.values[task] = None
        table.numbers[task] = attempt
        self._levels.pop(task, None)
        self._disarm(task)
        table.odd[task] |= HELD
        table.move(task, RETRYING, now)
        if later:
            self._interruptions[task] = self._interruptions.get(task, 0) + 1
            self.timers.arm(Due.RETRY, task, now + after)
        else:
            self.timers.arm(Due.RETRY, task, now + max(retry.pause(tries, chance), after))
        return True

    def _only_later(self, task: int, error: BaseException | None) -> bool:
        """Is an error that asks for a pause no failure, but a wish to be called later?

        So it is where a task says so itself, and where a rate is there to be slowed down.
        """
        if isinstance(error, PlaitError) and not error.retryable:
            return False
        return isinstance(error, RetryAfter) or bool(self.table.policies[task].rate_limit)

    # -- stopping

    def _stop(self, task: int, why: str, now: float) -> None:
        """Ends the running `task`: an attempt by command, one that grew by ending its children."""
        table = self.table
        if table.status[task] != RUNNING or task in self._stops.of:
            return
        odd = table.odd[task]
        if odd & CONTROL:
            if why != Stop.CANCEL:
                table.errors[task] = self._timeout_error(task, why)
            self._end_family(task, CANCELLED if why == Stop.CANCEL else TIMED_OUT, now)
            return
        if odd & ARMED:
            self._disarm(task)
        table.odd[task] |= HELD
        self._cancel(task, why, now)

    def _cancel(self, task: int, why: str, now: float) -> None:
        """Has the code of `task` told to stop, together with those that were told just before for the same reason; force comes after `grace`."""
        grace = self.table.policies[task].grace
        self._stops.add(task, why, now + grace)
        last = self.commands[-1] if self.commands else None
        if type(last) is Cancel and last.why == why and last.grace == grace:
            last.tasks.append(task)
        else:
            self.commands.append(Cancel([task], why, grace))

    def _pass_deadline(self, task: int, now: float) -> None:
        state = self.table.status[task]
        if state == RUNNING:
            self._stop(task, Stop.DEADLINE, now)
        elif state in (READY, RETRYING, WAITING) and task not in self._dropped:
            self.table.errors[task] = self._timeout_error(task, Stop.DEADLINE)
            self._drop(task, TIMED_OUT, now)

    def _drop(self, task: int, state: int, now: float, what: str | None = None) -> None:
        """Makes a task final that holds no slot; one whose code waits, for an answer or for its slot after one, once that has stopped."""
        table = self.table
        if task in self._dropped:
            return
        answered = task in self.admission.answered
        has_code = answered or self._has_code(task)
        if table.status[task] == WAITING:
            self._close_question(task, now, what)
        if not has_code:
            self._close(task, state, now)
            return
        if answered:
            self.admission.answered.discard(task)
            if table.odd[task] & LIMITED:
                self.admission.leave(task, now)
            table.move(task, WAITING, now)
        self._dropped[task] = state
        self._cancel(task, Stop.CANCEL if state == CANCELLED else Stop.DEADLINE, now)

    def _has_code(self, task: int) -> bool:
        """Does code of a task wait for the answer to its question?"""
        found = self.open_question(task)
        if found is None or self.questions is None:
            return False
        from plait._core.questions import INTERRUPT

        return found.question.kind != INTERRUPT and task not in self.questions.gone

    def _end_dropped(self, task: int, now: float) -> None:
        """The code of a task has stopped that had waited."""
        self._stops.end(task)
        self._close(task, self._dropped.pop(task), now)

    def _abandon(self, task: int, now: float) -> None:
        if task in self._dropped:
            self.table.unenforced.add(task)
            self._end_dropped(task, now)
            return
        why = self._stops.end(task)
        if why is None:
            return
        table = self.table
        if why == Stop.LEAVE:
            # This process goes on to its end, and the code with it: only then does the task run again.
            self._interrupt(task, now, crash=False, alive=True)
        self._abandoned.add(task)
        if why == Stop.LEAVE:
            return
        table.unenforced.add(task)
        if table.odd[task] & LIMITED:
            self.admission.abandon(task, now)
        self._judge(task, False if why in (Stop.TIMEOUT, Stop.IDLE) else None, now, held=True)
        if why == Stop.CANCEL:
            self._close(task, CANCELLED, now)
        else:
            table.errors[task] = self._timeout_error(task, why)
            self._close(task, TIMED_OUT, now)

    def _end_of_abandoned(self, task: int, now: float) -> None:
        """An attempt that was given up ended after all: its slot is free again, and its row if nobody waits for it."""
        self._abandoned.discard(task)
        if self.table.odd[task] & LIMITED:
            self.admission.no_longer_abandoned(task)
        self._release(task, now)
        if not self._is_stuck():
            self.timers.disarm(Due.STUCK, RUN)
        if task in self._forgotten:
            self._forgotten.discard(task)
            self._vacate(task)
            self.commands.append(Vacated())

    def _watch_for_stuck(self, now: float) -> None:
        """Where only abandoned attempts hold what a ready task needs, the run ends unless that changes within `grace`."""
        if not self.timers.armed(Due.STUCK, RUN) and self._is_stuck():
            self.admission.parkings += 1  # so that it is on record who asked, and when
            self.timers.arm(Due.STUCK, RUN, now + self.rules.grace)

    def _is_stuck(self) -> bool:
        if not self.room or not self._abandoned:
            return False
        if self._queue and self.used >= self.slots and len(self._abandoned) >= self.used:
            return True
        return self.admission.held_by_lost(self._abandoned)

    def _ending_by_force(self, task: int) -> bool:
        """Is the group around `task` ending by `fail_fast`?"""
        return bool(self.table.odd[task] & CHILD) and self._around(task).halted is OnFailure.FAIL_FAST

    def _ends(self, task: int) -> bool:
        """Does the run, a group around `task` or the one that it grew end, so that nothing of it may start? Cleanups go on."""
        own = self._families.get(task)
        return (own is not None and own.halted is not None) or self._ends_around(task)

    def _ends_around(self, task: int) -> bool:
        """Does the run or a group around `task` end, and `task` with it? A group that ends marks those within it."""
        inner = self.table.odd[task] & CHILD and task not in self.cleanups.alive
        if inner and self._around(task).halted is not None:
            return True
        return self._mode is not None and not self.cleanups.spares(task)

    def _halt_run(self, mode: OnFailure, reason: str, now: float) -> None:
        """Ends the run: what has not started never will; with `fail_fast` what runs is stopped. May be made stricter."""
        if self._mode is mode or self._mode is OnFailure.FAIL_FAST:
            return
        if self.halt_reason is None:
            self.halt_reason = reason
        self._mode = mode
        self.timers.disarm(Due.RUN_DEADLINE, RUN)
        self._end_all(now)

    def _end_cleanups(self, now: float) -> None:
        """No cleanup is spared any longer."""
        if self.cleanups.alive:
            self.cleanups.clear()
            if self._mode is not None:
                self._mode = OnFailure.FAIL_FAST
                self._end_all(now)

    def _end_all(self, now: float) -> None:
        """Ends everything in the way of the halt, but for cleanups and what they grew."""
        assert self._mode is not None
        mode, spared = self._mode, self.cleanups.spared()
        self._set_room()
        self.timers.disarm(Due.STUCK, RUN)
        self._close_restarts(range(self.table.size), now, spared)
        self.unfinished -= self.table.sweep(now, spared={*self.lent, *spared} if spared else self.lent)
        self.admission.clear(now, spared)
        self._recall()
        for family in self._families.values():
            family.left = sum(map(self.table.alive, family.rows)) - self.cleanups.left(family.parent)
            family.open = False
            if family.width is not None and family.parent not in spared:
                family.width.clear(self.table.status)
            if family.stream:
                for rows in family.rows:
                    self.commands.extend(map(Settle, self.table.within(NOT_STARTED, rows)))
        self._stop_all([range(self.table.size)], mode, now, spared)
        for family in list(self._families.values()):
            if family.parent not in spared:
                family.halted = mode
                self._check_family(family, now)

    def _stop_all(self, rows: Iterable[range], mode: OnFailure, now: float, spared: Set[int]) -> None:
        """Ends what is between attempts or waiting in `rows` and, with `fail_fast`, what runs there and may be stopped."""
        table = self.table
        for part in rows:
            for state in (RETRYING, WAITING):
                for task in table.within(state, part):
                    if task not in spared:
                        self._drop(task, CANCELLED, now)
            for task in table.within(RUNNING, part):
                if task in spared:
                    continue
                if table.odd[task] & CONTROL:
                    family = self._families.get(task)
                    if task in table.failures and task not in table.repairs:  # its turn to be repaired never comes
                        if family is None:
                            self._fail_unrepaired(task, now)
                        else:
                            self._check_family(family, now)  # and what cleans up after it does
                    elif family is None:
                        self._close(task, CANCELLED, now)  # its turn to grow never comes
                elif mode is OnFailure.FAIL_FAST and not table.policies[task].uninterruptible:
                    self._stop(task, Stop.CANCEL, now)

    def _end_family(self, parent: int, verdict: int, now: float) -> None:
        """Stops every task below `parent`, which ends in `verdict` once they are final."""
        family = self._families.get(parent)
        if family is None:
            self._close(parent, verdict, now)
            return
        if family.verdict == PENDING:
            family.verdict = verdict
        self._halt_family(family, OnFailure.FAIL_FAST, now)

    def _halt_family(self, family: Family, mode: OnFailure, now: float) -> None:
        """Ends a group and the groups within it, as `_halt_run` ends a run."""
        table = self.table
        stack = [family]
        while stack:
            family = stack.pop()
            if family.halted is mode or family.halted is OnFailure.FAIL_FAST:
                continue
            family.halted = mode
            family.open = False
            for rows in family.rows:
                self._swept(rows, now)
            if family.width is not None:
                family.width.clear(table.status)
            self._recall()
            inner = [
                self._families[task]
                for rows in family.rows
                for task in table.within(RUNNING, rows)
                if task in self._families and task not in self.cleanups.alive
            ]
            self._stop_all(family.rows, mode, now, self.cleanups.alive)
            stack.extend(inner)
            self._check_family(family, now)

    def _close_restarts(self, rows: range, now: float, spared: Set[int]) -> None:
        """What is ready for another attempt, or after an answer, had started: it is cancelled."""
        if self.table.numbers:
            for task in self.table.within(READY, rows):
                if task in self.table.numbers and task not in spared:
                    self._drop(task, CANCELLED, now)

    def _swept(self, rows: range, now: float) -> None:
        """What has not started in `rows` never will, but for cleanups."""
        spared = self.cleanups.alive
        self._close_restarts(rows, now, spared)
        changed = self.table.sweep(now, rows, {*self.lent, *spared} if spared else self.lent)
        self.admission.swept(rows, now, spared)
        self.unfinished -= changed
        if changed and self.table.odd[rows.start] & CHILD:
            self._around(rows.start).left -= changed

    # -- tasks are final

    def _close(self, task: int, state: int, now: float) -> None:
        """Makes `task` final. What follows from it is drawn by `_drain`. One that failed is repaired first, where it has an `on_error`."""
        table = self.table
        odd = table.odd[task]
        repaired = task in self._repairs and state in (FAILED, TIMED_OUT) and not self._is_rejected(task)
        if repaired and self._begin_repair(task, state, now):
            return
        if odd & HELD and table.status[task] == RETRYING:
            self.timers.disarm(Due.RETRY, task)
        if table.status[task] == WAITING and task in table.earlier:
            began, ran = table.earlier[task]
            table.earlier[task] = began, ran + table.started_at[task] - now  # its code had not gone on since
        table.move(task, state, now)
        if odd & LIMITED:
            self.admission.leave(task, now)
        self.unfinished -= 1
        if odd & CHILD:
            family = self._around(task)
            family.left -= 1
            if family.width is not None:
                family.width.drop(task)
        if odd & (HELD | ARMED):
            self._disarm(task)
            self._levels.pop(task, None)
            self._lost.discard(task)
        if odd & WATCHED:
            self.timers.disarm(Due.DEADLINE, task)
            self._deadlines.pop(task, None)
        # In a run that is ending nothing follows from a task that was only stopped, unless a group counts it.
        if self._mode is None or state != CANCELLED or odd & CHILD or task in self.cleanups.alive:
            self._work.append(task)

    def _disarm(self, task: int) -> None:
        """No timer for the timeout of an attempt, or for its silence, is needed any more."""
        odd = self.table.odd
        if odd[task] & ARMED:
            self.timers.disarm(Due.TIMEOUT, task)
            self.timers.disarm(Due.IDLE, task)
            self.heard.pop(task, None)
            odd[task] &= ~ARMED

    def _drain(self, now: float) -> None:
        """Draws the consequences of every task that got final, without recursion: a chain may be long."""
        work = self._work
        table = self.table
        last = self.cleanups
        while work or (last.waiting and self.unfinished == last.left(NONE) and self._begin_cleanups(NONE, now)):
            if not work:
                continue
            task = work.popleft()
            state = table.status[task]
            allowed = unwanted = False
            if task in self._unwanted:
                unwanted = self._count_unwanted(task, state)
            if state in (FAILED, TIMED_OUT):
                allowed = table.policies[task].allow_failure
                self._count_failure(task, now)
            # A run that is ending has settled those that had not started.
            for user in table.users_of(task) if self._mode is None or last.spares(task) else ():
                if state == SUCCEEDED and not table.odd[user] & WATCHED:
                    table.left[user] -= 1
                    if not table.left[user]:
                        self._met(user, now)
                else:
                    self._need_final(user, state, allowed, now)
            if table.odd[task] & CHILD:
                family = self._around(task)
                if family.stream:
                    self.commands.append(Settle(task))
                if family.counts and task not in last.alive:
                    bad = unwanted or (state in (FAILED, TIMED_OUT) and not allowed)
                    self._count_child(family, state, now, failed=bad)
                self._check_family(family, now)
                if family.width is not None:
                    self._follow(family.width, task, now)
            last.alive.discard(task)

    def _check_family(self, family: Family, now: float) -> None:
        """Once all children are final, their parent is: as was decided, failed with its child, or by joining them.

        Before that comes its `on_error`, where it would fail, and then its cleanups.
        """
        parent = family.parent
        if family.left or family.open or self.table.status[parent] != RUNNING:
            return
        if family.halted is not None and self._has_undrawn(family):
            return  # what made it end may be among these, and not be counted yet
        state = self._state_of(family)
        if family.cleanups and parent not in self.cleanups.waiting and state != SUCCEEDED:
            self._repairs.discard(parent)  # cleanups failed, or what they came after was not to be repaired
        if state == FAILED and self._is_declined_within(family):
            self._repairs.discard(parent)  # a person said no: there is nothing to make good
        if parent in self._repairs and state in (FAILED, TIMED_OUT):
            if state == FAILED:
                self._blame_child(family)
            if self._begin_repair(parent, state, now):
                return
        elif state == PENDING:
            return
        if self._begin_cleanups(parent, now):
            return
        if parent in self.table.failures and not self._is_repaired(parent):
            self._fail_unrepaired(parent, now)
        elif state == FAILED:
            self._blame_child(family)
            self._close(parent, FAILED, now)
        elif state != SUCCEEDED:
            self._close(parent, state, now)
        elif not family.joining:
            family.joining = True
            self.degraded |= family.first_bad != NONE  # it may have failures, and had some
            self.turns.append((Turn.JOIN, parent))

    def _has_undrawn(self, family: Family) -> bool:
        """Is the end of some child still to be looked at? Each of them brings the family here again."""
        return any(task in rows for task in self._work for rows in family.rows)

    def _state_of(self, family: Family) -> int:
        """How a parent whose children are final is to end, as things stand; PENDING while its `on_error` is to come."""
        parent, table = family.parent, self.table
        failure = table.failures.get(parent)
        if failure is not None:
            if parent not in table.repairs and not self._ends_around(parent):
                return PENDING
            if not self._is_repaired(parent):
                return failure.state
            return SUCCEEDED if family.failed == NONE else FAILED
        if family.verdict != PENDING:
            return family.verdict
        if family.failed != NONE or family.verdict_text:
            return FAILED
        cut = family.halted is not None and not family.enough and any(map(table.cut_short, family.rows))
        return CANCELLED if cut else SUCCEEDED

    def _is_repaired(self, parent: int) -> bool:
        """Did its `on_error` succeed, or fail as it may?"""
        table = self.table
        repair = table.repairs.get(parent, NONE)
        state = NOT_STARTED if repair == NONE else table.status[repair]
        return state == SUCCEEDED or (state in (FAILED, TIMED_OUT) and table.policies[repair].allow_failure)

    def _blame_child(self, family: Family) -> None:
        """The error of a group is that of the child that made it fail."""
        cause = self.table.errors.get(family.failed)
        root = cause.root or cause if isinstance(cause, ChildFailed) else cause
        text = (
            "" if family.failed == NONE else f"task {self.table.key(self._deepest(family))!r} failed: {describe(root)}"
        )
        failure = ChildFailed("; ".join(filter(None, (family.verdict_text, text))), root)
        failure.__cause__ = cause
        self.table.errors[family.parent] = failure
        if self._is_declined_within(family):
            self._declined.add(family.parent)
        if family.tolerated and family.failed != NONE:
            self._causes[family.parent] = family.failed

    def _deepest(self, family: Family) -> int:
        """The task whose failure became that of a group, through all the groups between them."""
        while True:
            task = family.failed
            within = self._families.get(task)
            if within is None or within.failed == NONE or within.verdict_text:
                return task
            family = within

    # -- what is done about an end: repairs and cleanups

    def _begin_repair(self, task: int, state: int, now: float) -> bool:
        """`task` failed for good: its `on_error` is to run under it. False where it had not started, or ends with what is around it."""
        table = self.table
        self._repairs.discard(task)
        if table.started_at[task] == NEVER or self._ends_around(task):
            return False
        error = table.errors.pop(task, None)
        tries = table.history.setdefault(task, [])
        failure = table.failures[task] = Try(table.attempts(task), state, error, table.began_at(task), now)
        if failure.number > len(tries):
            tries.append(failure)
        table.values[task] = None
        self.spending.close(task)
        self._disarm(task)
        self._lost.discard(task)
        self.timers.disarm(Due.RETRY, task)
        self.timers.disarm(Due.DEADLINE, task)
        self._deadlines.pop(task, None)
        if table.odd[task] & LIMITED:
            self.admission.leave(task, now)
        table.odd[task] |= CONTROL
        family = self._families.get(task)
        if family is not None and family.joining and (Turn.JOIN, task) in self.turns:
            self.turns.remove((Turn.JOIN, task))  # a vote was lost once all its children were final
        if table.status[task] != RUNNING:
            table.go_on(task, now)
        self.turns.append((Turn.REPAIR, task))
        return True

    def _end_of_repair(self, task: int, value: Any, error: BaseException | None, now: float) -> None:
        """The engine tells the value of a task whose `on_error` ran; or that there is none."""
        table = self.table
        if task not in table.failures or table.status[task] != RUNNING:
            return
        if error is None:
            table.values[task] = value
            self._close(task, SUCCEEDED, now)
        else:
            self._fail_unrepaired(task, now, error)

    def _fail_unrepaired(self, task: int, now: float, second: BaseException | None = None) -> None:
        """`task` ends as it had failed, with its own error; what its `on_error` raised is noted beside that."""
        table = self.table
        failure = table.failures[task]
        repair = table.repairs.get(task)
        if second is None and repair is not None:
            second = table.errors.get(repair)
        if failure.error is not None:
            table.errors[task] = failure.error
            if second is not None:
                try:
                    told = NO_REPAIR if repair is None else "its on_error failed, too"
                    failure.error.add_note(f"{told}: {describe(second)}")
                except Exception:
                    pass  # a frozen class: the task below it has the second error
        self._close(task, failure.state, now)

    def _begin_cleanups(self, scope: int, now: float) -> bool:
        """Everything else of the run (`NONE`) or of the group of `scope` is over: its cleanups begin. False if there are none left."""
        table = self.table
        begun = self.cleanups.waiting.pop(scope, None)
        if begun is None:
            return False
        if scope != NONE:
            self._families[scope].left = len(begun)
        for task in begun:
            for need in table.needs_of(task):
                if need not in self.cleanups.alive:
                    state = table.status[need]
                    allowed = state in (FAILED, TIMED_OUT) and table.policies[need].allow_failure
                    self._need_final(task, state, allowed, now)
            if not table.left[task]:
                self._met(task, now)
        return True

    def _within(self, family: Family) -> Iterable[range]:
        """The rows of a group, and of the groups in it."""
        stack = [family]
        while stack:
            rows = stack.pop().rows
            yield from rows
            stack.extend(self._families[task] for part in rows for task in part if task in self._families)

    def _set_quota(self, family: Family, batch: Batch) -> None:
        """How many of the children must succeed, how many may fail; those that are final already are counted."""
        family.count_for(
            self.table.policies[family.parent], family.size, sum(not kept.skipped for kept in batch.kept.values())
        )
        if family.left and family.need is not None and family.good >= family.need and not family.votes:
            family.enough = True
            family.halted = OnFailure.FAIL_FAST  # nobody is to enter
        elif family.left and family.votes and family.good:
            self.turns.append((Turn.VOTE, family.parent))

    def _count_child(self, family: Family, state: int, now: float, failed: bool = False) -> None:
        """A child of a group that counts is final: the group may be decided by it, one way or the other."""
        if family.enough or family.verdict_text:
            return
        family.good += state == SUCCEEDED
        family.bad += failed
        ended = self._ended_early(family)
        if family.votes and family.left and not ended:
            self.turns.append((Turn.VOTE, family.parent))
        lost = family.lost(ended=ended)
        if lost is not None:
            self._lose(family, lost, now)
        elif family.has_enough:
            self._win(family, now)

    def settled(self, parent: int, won: bool, now: float) -> None:
        """It is decided what the results of a group come to, whatever the children do that are left; or that they come to nothing."""
        family = self._families.get(parent)
        if family is None or family.enough or family.verdict_text or self.table.status[parent] != RUNNING:
            return
        if won:
            family.settled = True
            if family.need is None or family.good >= family.need:
                self._win(family, now)
        else:
            self._lose(family, "no result can win any more", now)
            self._check_family(family, now)
        self._drain(now)

    def _ended_early(self, family: Family) -> bool:
        """Was a group ended from outside, so that its tasks did not fail but had no chance?"""
        return family.halted is not None and (family.left > 0 or any(map(self.table.cut_short, family.rows)))

    def _win(self, family: Family, now: float) -> None:
        """A group that counts has what it needs: what is left of it is not wanted any more."""
        family.enough = True
        if family.left:
            self._halt_family(family, OnFailure.FAIL_FAST, now)

    def _lose(self, family: Family, text: str, now: float) -> None:
        """A group that counts cannot come to what it needs any more."""
        family.verdict_text = text
        family.failed = family.first_bad
        if not family.tolerated and family.failed != NONE:
            self.first_cause = self._first_of(self.first_cause, family.failed)
        if family.left:
            self._halt_family(family, OnFailure.FAIL_FAST, now)

    def _is_rejected(self, task: int) -> bool:
        """Did a person say no to it?"""
        return isinstance(self.table.errors.get(task), Rejected)

    def _reject(self, task: int, now: float) -> None:
        """A person said no: nothing starts any more. What runs may end, unless failures cancel the rest."""
        table, cause = self.table, task
        if table.odd[task] & CHILD:
            family = self._around(task)
            if table.repairs.get(family.parent) == task:
                cause = family.parent
            else:
                family.failed = self._first_of(family.failed, task)
        self.first_cause = self._first_of(self.first_cause, cause)
        mode = OnFailure.FAIL_FAST if self.rules.on_failure is OnFailure.FAIL_FAST else OnFailure.FINISH
        self._halt_run(mode, "rejected", now)

    def _count_unwanted(self, task: int, state: int) -> bool:
        """A task is over that a person had cancelled: False if it succeeded or failed before that reached it. It did not succeed, but ends nothing."""
        by = self._unwanted.pop(task)
        table = self.table
        if state not in (CANCELLED, NOT_STARTED):
            return False
        table.errors[task] = TaskCancelled(f"task {table.key(task)!r} was cancelled{'' if by is None else f' by {by}'}")
        if table.policies[task].allow_failure or task in self.cleanups.alive:
            self.degraded = True
            return False
        family = self._around(task) if table.odd[task] & CHILD else None
        if family is not None:
            if family.counts:
                family.first_bad = self._first_of(family.first_bad, task)
                return True
            family.failed = self._first_of(family.failed, task)
        if not (family is not None and family.tolerated):
            self.first_cause = self._first_of(self.first_cause, task)
        return True

    def _count_failure(self, task: int, now: float) -> None:
        """A task failed: ends the scope that its failure ends, and remembers the first cause."""
        table = self.table
        policy = table.policies[task]
        if isinstance(table.errors.get(task), Declined):
            self._declined.add(task)
        elif self._is_rejected(task):
            self._reject(task, now)
            return
        declined = task in self._declined
        if policy.allow_failure and not policy.critical:
            self.degraded = True
            return
        family = self._around(task) if table.odd[task] & CHILD else None
        if family is not None and table.repairs.get(family.parent) == task:
            return  # whoever it was to repair fails, with its own error
        cleans = task in self.cleanups.alive
        if family is not None and family.counts and not policy.critical and not cleans:
            family.first_bad = self._first_of(family.first_bad, task)
            return
        if family is not None:
            family.failed = self._first_of(family.failed, task)
        scope = None if family is None else family.scope
        tolerated = family is not None and family.tolerated
        if policy.critical or not tolerated:
            self.first_cause = self._first_of(self.first_cause, self._cause_of(task))
        if declined:
            return  # what waits for it does not run, and nothing else ends
        if policy.critical:
            self._halt_run(OnFailure.FAIL_FAST, "failure", now)
        elif scope is None:
            if self.rules.on_failure is not OnFailure.CONTINUE:
                self._halt_run(self.rules.on_failure, "failure", now)
        else:
            mode = self._mode_of(scope.parent)
            if mode is not OnFailure.CONTINUE:
                self._halt_family(scope, mode, now)

    def _first_of(self, known: int, task: int) -> int:
        """Which of two failures counts: the first one, but for what was declined, which stands back behind any other."""
        return task if known == NONE or (known in self._declined and task not in self._declined) else known

    def _is_declined_within(self, family: Family) -> bool:
        """Does a group fail only for what a person declined in it? One whose budget is spent fails by itself."""
        spent = bool(family.verdict_text) and family.parent in self.spending.broke
        return family.failed in self._declined and not spent

    def _mode_of(self, parent: int) -> OnFailure:
        """What a failure does in the group of `parent`: its own rule, or that of the nearest around it."""
        table = self.table
        while (mode := table.policies[parent].on_failure) is None and table.odd[parent] & CHILD:
            parent = table.parent(parent)
        return mode or self.rules.on_failure

    def _cause_of(self, task: int) -> int:
        """The task at the bottom of a failure that its groups had been forgiven until now."""
        while task in self._causes:
            task = self._causes[task]
        return task


NO_REPAIR = "its on_error could not begin"
"""What is noted beside the error of a task whose `on_error` nobody can be asked about."""


def describe(error: BaseException | None) -> str:
    """`ValueError: boom`, in one line, for the texts of other errors."""
    if error is None:
        return "no reason was given"
    return "; ".join((_described(error), *_beside(error)))


def _beside(error: BaseException) -> list[str]:
    """What is noted of an `on_error` that could not begin."""
    try:
        notes = getattr(error, "__notes__", ())
        return [note for note in notes if isinstance(note, str) and note.startswith(NO_REPAIR)]
    except Exception:  # a user's class has its own idea of notes
        return []


def _described(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # a user's class: its text is not worth a run
        text = "its text cannot be made"
    name = type(error).__name__
    if isinstance(error, TaskError):
        return text
    return f"{name}: {text}" if text else name
