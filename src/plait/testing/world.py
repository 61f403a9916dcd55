"""The scheduler alone, told fact by fact: what may run, what became of it, at which time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait._core.commands import Cancel, Command, Force
from plait._core.graph import Batch, refuse_cycles
from plait._core.invariants import check
from plait._core.limits import ALL
from plait._core.policy import CONTROL, PLAIN, OnFailure, Policy, Rules, policy
from plait._core.questions import Input, Question
from plait._core.scheduler import Scheduler
from plait._core.states import RUNNING, STATUSES, Status
from plait._engine.files import check_files, declare


def graph(policies: Mapping[str, Mapping[str, Any]] | None = None, /, **needs: Sequence[str]) -> Batch:
    """A batch from needs by key, `graph(a=[], b=["a"])`, with task options by key: `graph({"a": {"retries": 1}}, a=[])`."""
    keys = list(needs)
    place = {key: at for at, key in enumerate(keys)}
    rows = [tuple(place[need] for need in needs[key]) for key in keys]
    refuse_cycles(keys, rows)
    given = policies or {}
    made: list[Policy] = [policy(PLAIN, **given[key]) if key in given else PLAIN for key in keys]
    return Batch(len(keys), calls=keys, keys=keys, needs=rows, policies=made)


class World:
    """A scheduler with everything startable started, after each fact; its books are checked each time."""

    def __init__(
        self,
        batch: Batch,
        *,
        slots: int | None = None,
        on_failure: str = "continue",
        deadline: float | None = None,
        pools: Mapping[str, int] | None = None,
        budget: Mapping[str, float] | None = None,
        on_conflict: str = "refuse",
        health: Any = None,
        sharing: bool = False,
    ) -> None:
        self.now = 0.0
        rules = Rules.of(
            max_concurrency=slots,
            on_failure=on_failure,
            deadline=deadline,
            pools=pools or {},
            budget=budget,
            on_conflict=on_conflict,
            health=health,
        )
        if sharing:
            rules = rules.but(sharing=(ALL,))
        check_files(batch, rules.on_conflict)
        self.scheduler = Scheduler(rules, self.now, record_moves=True)
        self.table = self.scheduler.table
        self.started: list[str] = []
        """Keys in the order of starts, once for each attempt."""
        self.commands: list[Command] = []
        self.lingers = False
        """Does code that waits for an answer go on when it is told to stop, until it `returns`? Else it ends at once."""
        self.turns: list[tuple[int, str]] = []
        self.scheduler.added(batch, self.now)
        self._settle()

    def _settle(self) -> None:
        while (task := self.scheduler.take(self.now)) >= 0:
            self.started.append(self.table.key(task))
        commands, self.scheduler.commands = self.scheduler.commands, []
        self.commands += commands
        told = [task for each in commands if isinstance(each, Cancel) for task in each.tasks]
        dropped = [task for task in told if task in self.scheduler._dropped]
        if dropped and not self.lingers:
            for task in dropped:
                self.scheduler.returned(task, self.table.attempts(task), None, self.now, True)
            self._settle()
            return
        while self.scheduler.turns:
            turn, task = self.scheduler.turns.popleft()
            self.turns.append((turn, self.table.key(task)))
        check(self.scheduler)

    def task(self, key: str) -> int:
        """The row of a key.

        Raises:
            KeyError: for a key that is not there.
        """
        row = self.table.find(key)
        if row < 0:
            raise KeyError(key)
        return row

    # -- facts

    def returns(self, key: str, value: Any = None, *, stopped: bool = False, attempt: int | None = None) -> None:
        """The latest attempt (or a given one) returned."""
        task = self.task(key)
        number = self.table.attempts(task) if attempt is None else attempt
        self.scheduler.returned(task, number, value, self.now, stopped)
        self._settle()

    def dies(self, key: str, why: str = "killed by SIGKILL") -> None:
        """The process of the latest attempt died."""
        task = self.task(key)
        self.scheduler.interrupted(task, self.table.attempts(task), why, self.now)
        self._settle()

    def fails(
        self, key: str, error: BaseException | None = None, *, chance: float = 0.5, attempt: int | None = None
    ) -> None:
        """The latest attempt (or a given one) raised."""
        task = self.task(key)
        number = self.table.attempts(task) if attempt is None else attempt
        self.scheduler.raised(task, number, error or ValueError("boom"), self.now, chance)
        self._settle()

    def begins(self, key: str) -> None:
        """The code of the latest attempt began."""
        task = self.task(key)
        self.scheduler.began(task, self.table.attempts(task), self.now)
        self.scheduler.seen(task, self.table.attempts(task), self.now)
        self._settle()

    def hears(self, key: str, at: float) -> None:
        """The engine was asked when the latest attempt gave its last sign of life: at `at`."""
        task = self.task(key)
        self.scheduler.listened(task, self.table.attempts(task), at, self.now)
        self._settle()

    def asks(self, key: str, *, timeout: float | None = None, **default: Any) -> None:
        """The latest attempt waits for an answer; `default=` is what counts where none comes in time."""
        task = self.task(key)
        question = Question(key, "what now?", {}, tuple(default.values()), timeout)
        self.scheduler.asked(task, self.table.attempts(task), question, self.now)
        self._settle()

    def answers(self, key: str, value: Any = None, *, number: int | None = None, by: str | None = None) -> None:
        """Somebody answers the open question of a task, or question `number` of it."""
        task = self.task(key)
        found = self.scheduler.open_question(task)
        if number is None:
            number = found.number if found is not None else len(self.inputs(key))
        self.scheduler.answered(task, number, value, by, self.now)
        self._settle()

    def withdraws(self, key: str) -> None:
        """The code of a task does not wait for its answer any more."""
        task = self.task(key)
        found = self.scheduler.open_question(task)
        self.scheduler.withdrawn(task, 0 if found is None else found.number, self.now)
        self._settle()

    def cancels(self, key: str, by: str | None = None) -> None:
        """Somebody cancels one task."""
        self.scheduler.cancelled(self.task(key), by, self.now)
        self._settle()

    def pauses(self) -> None:
        """Nothing starts any more."""
        self.scheduler.paused(self.now)
        self._settle()

    def unpauses(self) -> None:
        """Starts go on."""
        self.scheduler.unpaused(self.now)
        self._settle()

    def lends(self) -> str | None:
        """Somebody at work is given the next ready task, for afterwards; its key, None if there is none."""
        task = self.scheduler.lend(self.now)
        self._settle()
        return None if task < 0 else self.table.key(task)

    def passes_on(self, key: str) -> None:
        """A lent task begins, with the slot of the one before it."""
        self.scheduler.passed(self.task(key), self.now)
        self._settle()

    def gives_back(self, key: str) -> None:
        """A lent task has not begun, and is nobody's any more."""
        self.scheduler.came_back(self.task(key), self.now)
        self._settle()

    def leaves(self) -> None:
        """The process leaves the run."""
        self.scheduler.leaving(self.now)
        self._settle()

    def inputs(self, key: str) -> list[Input]:
        """Every question of a task, with what became of it."""
        questions = self.scheduler.questions
        return [] if questions is None else questions.of.get(self.task(key), [])

    def grows(self, key: str, batch: Batch) -> None:
        """The task has children."""
        declare(batch)
        self.scheduler.grew(self.task(key), batch, self.now)
        self._settle()

    def decides(self, key: str, choice: bool) -> None:
        """The task's `when` was worked out."""
        self.scheduler.decided(self.task(key), choice, self.now)
        self._settle()

    def abandons(self, key: str) -> None:
        """A stopped attempt cannot be ended."""
        task = self.task(key)
        self.scheduler.abandoned(task, self.table.attempts(task), self.now)
        self._settle()

    def grants(self, path: str, units: int, *, wanted: bool = False, shut: bool = False) -> None:
        """The run has so many more of a limit that it shares; or hears that it is `shut`."""
        (share,) = (each for each in self.scheduler.admission.book.shares.values() if each.path == path)
        self.scheduler.leased(share.number, units, wanted, self.now, None, shut)
        self._settle()

    def recovers(self, away: float = 0.0) -> None:
        """Another process has the run."""
        self.scheduler.recovered(self.now, away)
        self._settle()

    def halts(self, mode: str = "fail_fast") -> None:
        """The caller ends the run."""
        self.scheduler.halted(OnFailure(mode), self.now)
        self._settle()

    def passes(self, seconds: float) -> None:
        """Time passes; every timer on the way fires at its own time."""
        until = self.now + seconds
        while (at := self.scheduler.next_wake()) is not None and at <= until:
            self.now = max(self.now, at)
            self.scheduler.ticked(self.now)
            self._settle()
        self.now = until

    # -- what is seen

    @property
    def running(self) -> set[str]:
        """Keys of the tasks that hold a slot."""
        return {self.table.key(task) for task in self.table.within(RUNNING) if not self.table.odd[task] & CONTROL}

    def status(self, key: str) -> Status:
        """Where a task stands."""
        return STATUSES[self.table.status[self.task(key)]]

    @property
    def statuses(self) -> dict[str, str]:
        """Where every task stands, by key."""
        return {self.table.key(task): str(STATUSES[self.table.status[task]]) for task in range(self.table.size)}

    @property
    def stopped(self) -> list[str]:
        """Keys of the attempts that were told to stop, in order."""
        return [self.table.key(task) for each in self.commands if isinstance(each, Cancel) for task in each.tasks]

    @property
    def forced(self) -> list[str]:
        """Keys of the attempts that were to be ended by force, in order."""
        return [self.table.key(each.task) for each in self.commands if isinstance(each, Force)]
