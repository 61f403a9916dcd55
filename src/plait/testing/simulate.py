"""The scheduler under a seeded order of events, virtual time and faults; every promise about order and limits is checked.

No user code runs: a seed decides how long each attempt takes and how it ends. What is checked stands in `books`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from typing import Any

from plait._core.commands import (
    Ask,
    Cancel,
    Command,
    Diagnosed,
    Forget,
    Recall,
    Return,
    Settle,
    Shut,
    Stop,
    Used,
    Vacated,
)
from plait._core.events import Event, journalled
from plait._core.graph import REPAIR, Batch
from plait._core.health import monitors_of
from plait._core.invariants import check
from plait._core.limits import ALL, check_batch
from plait._core.outcome import Outcome, Outcomes
from plait._core.policy import (
    CONTROL,
    NO_RETRY,
    PLAIN,
    OnConflict,
    OnFailure,
    OnInterrupt,
    Policy,
    Retry,
    Rules,
    of_cleanup,
)
from plait._core.questions import FAIL, INTERRUPT, RERUN, SUCCEED, Question
from plait._core.scheduler import NOT_BEGUN, OF_REPAIR, Scheduler, Turn
from plait._core.states import FINAL, RUNNING, STATUSES, SUCCEEDED, RunStatus, Status
from plait._core.table import NONE, Move
from plait._engine.files import check_files
from plait.errors import Declined, Rejected, RetryAfter
from plait.testing.books import Books, Live, Units
from plait.testing.others import Others

MOST_LIVES = 4
"""So often a simulated run is taken over, at most: fewer times than a task is run again after crashes."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely each thing is, from 0 to 1, and how long attempts take, in virtual seconds."""

    fails: float = 0.2  # an attempt
    deaf: float = 0.1  # an attempt ignores being stopped, for a while or for ever
    grows: float = 0.0  # an attempt ends by growing children
    goes_round: float = 0.0  # a task whose children are final grows more, as a loop does
    blocks: float = 0.0  # an attempt never suspends: its start is not told, its end is the first that is heard of it
    asks: float = 0.0  # an attempt asks a person on its way
    gives_up: float = 0.0  # an attempt that asked does not wait for the answer
    unwanted: float = 0.0  # a task is cancelled by a person, at some moment
    rejects: float = 0.0  # an attempt that fails does so for a person said no
    declines: float = 0.0  # or for a person said no at a gate
    holds: float = 0.7  # a `when`
    cancels: float = 0.0  # the whole run, at some moment
    insists: float = 0.3  # and, where it was, once more
    cleans: float = 0.0  # what is grown has tasks that clean up
    narrows: float = 0.0  # what may grow may have few of its children under way at once
    pauses: float = 0.0  # the whole run, for a while
    lends: float = 0.0  # whoever is at work is given another task, for afterwards
    later: float = 0.0  # an attempt ends by asking to be called later
    spends: float = 0.0  # an attempt reports, before it ends, that it has used up a dollar
    settles: float = 0.0  # at one of its ends, that a vote is decided
    dies: float = 0.0  # at some moment the process that drives the run, and another one goes on
    shares: float = 0.0  # the limits of the whole run are shared with others, who come and go
    shortest_s: float = 0.0
    longest_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each fault is, from 0 to 1: reports twice, late, of superseded attempts; jumps of the clock."""

    duplicate: float = 0.0
    late: float = 0.0
    superseded: float = 0.0
    clock_step: float = 0.0

    @classmethod
    def all(cls) -> Faults:
        """Every fault, often."""
        return cls(duplicate=0.2, late=0.2, superseded=0.2, clock_step=0.05)


@dataclass
class Simulation:
    """What a simulated run came to: its status, the outcome of every task, and how it went."""

    seed: int
    status: RunStatus
    outcomes: Sequence[Outcome]
    moves: list[Move]
    journal: list[Event]
    peak: int
    ended_at: float
    scheduler: Scheduler

    @property
    def statuses(self) -> dict[str, Status]:
        """The final status of every task, by key."""
        return {each.key: each.status for each in self.outcomes}


def simulate(
    target: Any,
    seed: int,
    *,
    max_concurrency: int | None = 4,
    on_failure: str = "continue",
    deadline: float | None = None,
    pools: Mapping[str, int] | None = None,
    budget: Mapping[str, float] | None = None,
    on_conflict: str | None = None,
    health: Any = None,
    likelihood: Likelihood = Likelihood(),
    faults: Faults = Faults(),
    ends: Callable[[str, int], BaseException | None] | None = None,
    make: Callable[..., Scheduler] = Scheduler,
) -> Simulation:
    """Runs a Graph, a node or a batch to its end without calling anything; equal seeds give equal runs, bit for bit.

    `ends(key, attempt)` says how an attempt ends instead of chance: an error, or None for success. Values are keys.

    Raises:
        SimulationError: when a promise does not hold: a limit, the order, a need, one final status each, an end.
    """
    batch, declared, otherwise = _batch_of(target)
    rules = Rules.of(
        max_concurrency=max_concurrency,
        on_failure=on_failure,
        deadline=deadline,
        pools={**declared, **(pools or {})},
        budget=budget,
        on_conflict=on_conflict or otherwise,
        health={**dict(getattr(target, "health", {})), **dict(monitors_of("health", health))} or None,
    )
    check_batch(batch, dict(rules.pools))
    check_files(batch, rules.on_conflict)
    play = _Play(batch, seed, rules, likelihood, faults, ends, make)
    return play.run()


def _batch_of(target: Any) -> tuple[Batch, dict[str, int], str]:
    """The tasks, the pools that they come with, and what is to become of conflicts."""
    if isinstance(target, Batch):
        return target, {}, OnConflict.REFUSE
    from plait.programs import compile_graph, compile_nodes
    from plait.tasks import Graph

    if isinstance(target, Graph):
        return compile_graph(target).batch, target.pools, target.on_conflict
    return compile_nodes([target]).batch, {}, OnConflict.REFUSE


class _Play:
    """The course of one simulated run: chance decides what happens next, and the books say whether that may be."""

    def __init__(
        self,
        batch: Batch,
        seed: int,
        rules: Rules,
        likelihood: Likelihood,
        faults: Faults,
        ends: Callable[[str, int], BaseException | None] | None,
        make: Callable[..., Scheduler],
    ) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.likely = likelihood
        if self.chance(likelihood.shares):
            rules = rules.but(sharing=(ALL,))
        self.rules = rules
        self.faults = faults
        self.ends = ends
        self.scheduler = make(rules, 0.0, record_moves=True)
        self.journal = journalled(self.scheduler)
        self.table = self.scheduler.table
        self.apart = random.Random(f"apart {seed}")  # drawn apart: the other draws stay those that were looked at
        self.due: list[tuple[float, float, int, Callable[[], None]]] = []
        self.count = 0
        self.old: list[tuple[int, int]] = []
        self.grown = 0
        self.life = self.lives = 0
        self.asking: dict[int, Live] = {}  # attempts that wait for an answer
        self.people_know: set[tuple[int, int]] = set()
        self.others = Others(self.dice, self.later, lambda: self.now, self.leased)
        self.books = Books(seed, rules, self.scheduler, self.others)
        self.scheduler.added(batch, 0.0)

    @property
    def now(self) -> float:
        return self.books.now

    def run(self) -> Simulation:
        if self.chance(self.likely.cancels):
            mode = self.dice.choice([OnFailure.FAIL_FAST, OnFailure.FAIL_FAST, OnFailure.FINISH])
            at = self.dice.uniform(0, 3 * self.likely.longest_s)
            self.later(at, lambda: self.halt(mode))
            if self.chance(self.likely.insists):
                self.later(at + self.dice.uniform(0, 2 * self.likely.longest_s), lambda: self.halt(OnFailure.FAIL_FAST))
        while self.chance(self.likely.dies) and self.lives < MOST_LIVES:
            self.lives += 1
            self.later(self.dice.uniform(0, 2 * self.likely.longest_s), self.die)
        if self.chance(self.likely.unwanted):
            self.later(self.dice.uniform(0, 2 * self.likely.longest_s), self.unwant)
        if self.chance(self.likely.pauses):
            self.later(self.dice.uniform(0, self.likely.longest_s), self.pause)
        self.after()
        while not self.scheduler.finished:
            self.next()
            self.after()
        self.books.finish()
        outcomes = Outcomes(self.table, range(self.table.size), float)
        return Simulation(
            self.seed,
            self.scheduler.status(),
            outcomes,
            self.books.moves,
            self.journal,
            self.books.peak,
            self.now,
            self.scheduler,
        )

    def next(self) -> None:
        """The next thing happens: a timer or a report, whichever is first; equal times in an order of chance."""
        wake = self.scheduler.next_wake()
        if not self.due and wake is None:
            self.books.wrong("the run cannot move: nothing is under way and no timer is set (W13)")
        if wake is not None and (
            not self.due or wake < self.due[0][0] or (wake == self.due[0][0] and self.chance(0.5))
        ):
            self.books.now = max(self.now, wake)
            if self.chance(self.faults.clock_step):
                self.books.now += self.dice.choice([0.001, 60.0, 3600.0])  # a laptop was closed
            self.scheduler.ticked(self.now)
            return
        at, _, _, happen = heappop(self.due)
        self.books.now = max(self.now, at)
        if self.chance(self.faults.clock_step):
            self.books.now += self.dice.uniform(0, 5)
        happen()

    def after(self) -> None:
        """What follows a fact: commands are carried out, turns answered, everything startable started; then checks."""
        scheduler = self.scheduler
        while True:
            self.books.see_moves()
            if scheduler.commands:
                commands, scheduler.commands = scheduler.commands, []
                for command in commands:
                    self.obey(command)
            elif scheduler.turns:
                self.answer(*scheduler.turns.popleft())
            else:
                task = scheduler.take(self.now)
                if task == NONE:
                    if self.steal():
                        continue
                    self.lend()
                    break
                self.books.see_moves()
                self.start(task)
        self.books.see_moves()
        if scheduler.commands or scheduler.turns:
            self.after()
            return
        self.people()
        check(scheduler)
        self.books.check_widths()
        self.books.check_work_conserved()
        self.books.check_silence()

    def lend(self) -> None:
        """Somebody at work is given another task, which begins when this one's report is told."""
        while self.books.alive and self.chance(self.likely.lends):
            task = self.scheduler.lend(self.now)
            if task == NONE:
                return
            self.books.was_lent.add(task)
            self.dice.choice(list(self.books.alive.values())).behind.append(task)

    def steal(self) -> bool:
        """With a free slot what was lent comes back, the last first. False if there is nothing to come back."""
        scheduler = self.scheduler
        if not scheduler.lent or scheduler.used >= scheduler.room:
            return False
        self.give_back(next(reversed(scheduler.lent)))
        return True

    def give_back(self, task: int) -> None:
        for live in [*self.books.alive.values(), *self.books.unreported.values()]:
            if task in live.behind:
                live.behind.remove(task)
        self.scheduler.came_back(task, self.now)

    def pass_on(self, live: Live) -> None:
        """The report of an attempt was told: the next one of its line begins, with its slot."""
        behind, live.behind = live.behind, []
        if behind:
            task = behind.pop(0)
            self.scheduler.passed(task, self.now)
            self.books.see_moves()
            self.start(task, passed=True)
            self.books.alive[task].behind = behind

    def leased(self, number: int, units: int, wanted: bool, now: float, opens_at: float | None, shut: bool) -> None:
        self.scheduler.leased(number, units, wanted, now, opens_at, shut)

    def chance(self, likely: float) -> bool:
        return likely > 0 and self.dice.random() < likely

    def later(self, seconds: float, happen: Callable[[], None]) -> None:
        self.count += 1
        heappush(self.due, (self.now + seconds, self.dice.random(), self.count, happen))

    def soon(self, seconds: float, happen: Callable[[], None]) -> None:
        """The same, by the process that drives the run now: it does not happen once that is dead."""
        life = self.life
        self.later(seconds, lambda: happen() if life == self.life else None)

    def die(self) -> None:
        """The process that drives the run is killed, with all code that it ran, and another one goes on."""
        self.life += 1
        for live in (*self.books.alive.values(), *self.books.unreported.values()):
            live.over = True
        self.books.died()
        self.asking.clear()
        self.others.died()
        self.scheduler.recovered(self.now)

    def start(self, task: int, passed: bool = False) -> None:
        number = self.table.attempts(task)
        books = self.books
        self.books.check_start(task, number, passed)
        live = Live(task, number, self.now)
        self.asking.pop(task, None)
        books.alive[task] = live
        books.peak = max(books.peak, len(books.alive))
        if not self.books.goes_on(task, number):
            for rate in self.table.policies[task].rate_limit:
                books.units.setdefault(rate, []).append(Units(task, self.table.policies[task].cost))
        if books.numbers.get(task) != number:
            books.numbers[task] = number
            books.ran_s[task] = 0.0
        if not self.chance(self.likely.blocks):
            live.told = True
            self.scheduler.began(task, number, self.now)
            if self.table.policies[task].rate_limit:
                self.later(self.dice.choice([0.0, self.dice.uniform(0, 3)]), lambda: self.seen(live))
        if self.chance(self.likely.deaf):
            live.deaf_until = self.now + self.dice.choice([1.0, 8.0, 100.0])
        if self.table.policies[task].idle_timeout is not None:
            live.beat_s = self.dice.choice([0.5, 1.0, 7.0])
            live.silent_at = self.now + self.dice.choice([2.0, math.inf])
        length = self.dice.uniform(self.likely.shortest_s, self.likely.longest_s)
        if self.chance(self.likely.asks):
            self.later(length / 2, lambda: self.ask(live))
        self.later(length, lambda: self.end(live))

    def seen(self, live: Live) -> None:
        """It is told that the code of an attempt under a rate has begun."""
        if not live.over:
            self.books.count_units(live.task, self.now)
            self.scheduler.seen(live.task, live.number, self.now)
            self.books.reported_units(live.task)

    def end(self, live: Live, stopped: int = False) -> None:
        """The code of an attempt ended now; its report may come late, twice, or beside one of an earlier attempt."""
        if live.over:
            return
        if self.table.status[live.task] not in (RUNNING, *range(FINAL, FINAL + 7)):
            self.later(1.0, lambda: self.end(live, stopped))  # it waits for input
            return
        live.over = True
        del self.books.alive[live.task]
        self.books.unreported[live.task] = live
        self.books.ran_s[live.task] += self.now - live.began_at
        at = self.now
        stopped = stopped or live.stopping
        if stopped and not live.told and self.books.open_units(live.task) and self.chance(0.9):
            stopped = NOT_BEGUN
        else:
            self.books.count_units(live.task, at)
        key = self.table.key(live.task)
        error: BaseException | None
        if self.ends is not None:
            error = self.ends(key, live.number)
        elif stopped != NOT_BEGUN and self.chance(self.likely.later):
            error = RetryAfter(self.dice.uniform(0.5, 20))
        else:
            error = ValueError(f"{key} failed") if stopped != NOT_BEGUN and self.chance(self.likely.fails) else None
            if error is not None and self.chance(self.likely.rejects):
                error = Rejected(f"{key} is not wanted")
            declines = self.likely.declines
            if error is not None and declines and self.apart.random() < declines:
                error = Declined(f"{key} is not wanted")
        if self.chance(self.likely.spends):
            self.spend(live.task)
        if error is None and not stopped and self.chance(self.likely.grows) and self.grown < 40:
            self.report(live, at, lambda: self.grow(live))
            return

        def tell() -> None:
            self.books.reported(live)
            self.old.append((live.task, live.number))
            if error is None:
                self.scheduler.returned(live.task, live.number, key, at, stopped)
                latest = self.table.attempts(live.task) == live.number and live.task not in self.table.failures
                if live.clock and latest and self.table.status[live.task] == SUCCEEDED:
                    self.books.wrong(f"{key} succeeded, though its time was up (C9)")
            else:
                tried = len(self.table.history.get(live.task, ()))
                self.scheduler.raised(live.task, live.number, error, at, self.dice.random(), bool(stopped))
                if isinstance(error, RetryAfter):
                    self.called_later(live.task, tried, error, at)
                else:
                    self.books.check_tried_enough(live.task, live.number, error)
            if stopped == NOT_BEGUN:
                for entries in self.books.units.values():
                    entries[:] = [units for units in entries if units.task != live.task or units.by is not None]
            self.books.reported_units(live.task)
            self.pass_on(live)

        self.report(live, at, tell)
        if self.chance(self.faults.duplicate):
            self.soon(self.dice.uniform(0, 5), tell)
        if self.old and self.chance(self.faults.superseded):
            task, number = self.dice.choice(self.old)
            if number < self.table.attempts(task):
                self.soon(
                    self.dice.uniform(0, 5), lambda: self.scheduler.returned(task, number, "superseded", self.now)
                )

    def spend(self, task: int) -> None:
        """A task reports that it has used up a dollar."""
        for scope in (task, *self.books.parents(task), NONE):
            self.books.spent[scope] = self.books.spent.get(scope, 0) + 1
        self.scheduler.spent(task, {"usd": 1}, self.now)

    def repair(self, task: int) -> None:
        """The `on_error` of a task that failed."""
        if task in self.books.alive and task not in self.table.unenforced:
            self.books.wrong(f"the on_error of {self.table.key(task)} was asked for while that ran")
        if self.books.halted and not self.books.cleans(task):
            self.books.wrong(f"the on_error of {self.table.key(task)} was asked for after the run was ended")
        failure = self.table.failures[task]
        if isinstance(failure.error, Rejected):
            self.books.wrong(f"the on_error of {self.table.key(task)} was asked for, and a person had said no (A18)")
        for watched in self.books.watchers(task):  # its attempt is over, though it stays running
            watched.ends_with(task, self.books.speaks_for(STATUSES[failure.state], failure.error), failure.ended_at)
        dice = random.Random(self.table.key(task))
        again = Retry(attempts=2, delay=1) if dice.random() < 0.3 else NO_RETRY
        made = Policy(
            retry=again,
            timeout=dice.choice([None, 5.0]) if self.ends is None else None,
            allow_failure=dice.random() < 0.1,
            critical=dice.random() < 0.3,
        )
        control = self.ends is None and dice.random() < 0.1
        batch = Batch(1, calls=[REPAIR], keys=[REPAIR], policy=made, controls=[0] if control else (), is_repair=True)
        self.scheduler.grew(task, batch, self.now)

    def called_later(self, task: int, tried: int, error: RetryAfter, at: float) -> None:
        """An attempt asked to be called later, if it had not been stopped before: that counts none, and slows its rates down.

        It does that also where the task itself is not called again.
        """
        history = self.table.history.get(task, [])
        again = len(history) > tried and history[-1].error is error
        if self.scheduler.halt_reason is not None:  # there is no next try then, and its server is let be all the same
            for rate in self.table.policies[task].rate_limit:
                self.books.maybe_shut[rate] = max(self.books.maybe_shut.get(rate, 0.0), at + error.retry_after)
        if again:
            self.books.uncounted[task] = self.books.uncounted.get(task, 0) + 1
        ended = self.table.errors.get(task) is error and STATUSES[self.table.status[task]] is not Status.CANCELLED
        if again or (ended and self.scheduler.halt_reason is None):
            for rate in self.table.policies[task].rate_limit:
                self.books.shut[rate] = max(self.books.shut.get(rate, 0.0), at + error.retry_after)

    def report(self, live: Live, at: float, tell: Callable[[], None]) -> None:
        if self.chance(self.faults.late):
            self.soon(self.dice.uniform(0, 3), tell)
        else:
            tell()

    def ask(self, live: Live) -> None:
        if not live.over and not live.stopping and self.table.status[live.task] == RUNNING:
            key = self.table.key(live.task)
            timeout = self.dice.choice([None, None, 1.0, 15.0])
            question = Question(key, "what now?", {}, self.dice.choice([(), (key,)]) if timeout else (), timeout)
            self.scheduler.asked(live.task, live.number, question, self.now)
            if self.table.status[live.task] == RUNNING:
                return
            self.books.count_units(live.task, self.now)
            self.books.reported_units(live.task)
            # While it waits its code does nothing: it counts against no limit.
            del self.books.alive[live.task]
            self.asking[live.task] = live
            self.books.ran_s[live.task] += self.now - live.began_at
            if self.chance(self.likely.gives_up):
                number = len(self.scheduler.questions.of[live.task]) - 1 if self.scheduler.questions else 0
                self.soon(self.dice.uniform(0, 5), lambda: self.scheduler.withdrawn(live.task, number, self.now))
            live.over = True
            for task in reversed(live.behind.copy()):
                live.behind.remove(task)
                self.scheduler.came_back(task, self.now)

    def people(self) -> None:
        """Whatever is asked, somebody answers it at some time: twice, late or not at all, where that does no harm."""
        for asked in list(self.scheduler.questions.open.values()) if self.scheduler.questions else ():
            if (asked.task, asked.number) in self.people_know:
                continue
            self.people_know.add((asked.task, asked.number))
            if asked.question.timeout is not None and self.chance(0.3):
                continue
            for _ in range(self.dice.choice([1, 1, 2])):
                self.later(self.dice.uniform(0, 20), partial(self.say, asked.task, asked.number, asked.question.kind))

    def say(self, task: int, number: int, kind: str) -> None:
        """Somebody answers."""
        value: Any = self.table.key(task)
        if kind == INTERRUPT:
            value = {"action": self.dice.choice([RERUN, RERUN, SUCCEED, FAIL])}
        self.books.answered(task, number, value)
        self.scheduler.answered(task, number, value, "somebody", self.now)

    def unwant(self) -> None:
        """Somebody cancels a task."""
        if self.table.size:
            task = self.dice.randrange(self.table.size)
            state, later = self.table.status[task], not self.scheduler.cleanups.has_begun(task)
            held = state == RUNNING and not self.table.odd[task] & CONTROL
            spared = later or (held and self.table.policies[task].uninterruptible)
            if not spared:
                self.books.unwanted.add(task)
            self.scheduler.cancelled(task, "somebody", self.now)

    def stop_asking(self, live: Live) -> None:
        """Code that waits for an answer is told to stop: it takes its time, as any."""
        wait = self.dice.uniform(0, 2) if live.deaf_until is None else max(0.0, live.deaf_until - self.now)
        self.soon(wait, lambda: self.end_asking(live))

    def end_asking(self, live: Live) -> None:
        if self.asking.get(live.task) is live:
            del self.asking[live.task]
            self.scheduler.returned(live.task, live.number, None, self.now, True)

    def grow(self, live: Live) -> None:
        self.books.reported(live)
        self.books.given_up(live.task, self.now)
        size = self.dice.choice([0, 1, 2, 3, 5])
        self.grown += size
        keys = [f"c{at}" for at in range(size)]
        needs = [tuple(need for need in range(at) if self.chance(0.3)) for at in range(size)]
        policies = [self.dice.choice(_CHILD_POLICIES) for _ in range(size)]
        last: Sequence[int] = ()
        if size > 1 and self.chance(self.likely.cleans):
            last = range(self.dice.randint(1, size - 1), size)
            policies[last.start :] = [of_cleanup(each, joined=False) for each in policies[last.start :]]
        policies = self.narrowed(policies)
        repairs = [at for at in range(size) if self.chance(self.likely.cleans / 2)]
        controls = [at for at in range(size) if self.chance(self.likely.cleans / 4)]
        batch = Batch(
            size,
            calls=keys,
            keys=keys,
            needs=needs if any(needs) else None,
            policies=policies,
            controls=controls,
            cleanups=last,
            repairs=repairs,
        )
        self.scheduler.grew(live.task, batch, self.now)
        if self.table.odd[live.task] & CONTROL and live.task not in self.table.failures:
            for watched in self.books.watchers(live.task):
                watched.ends_with(live.task, True, self.now)
            self.books.see_moves()
        self.pass_on(live)

    def narrowed(self, policies: Sequence[Policy]) -> list[Policy]:
        """The same, some of them with a width."""
        likely, dice = self.likely.narrows, self.apart
        return [
            each.but(width=dice.choice([1, 1, 2, 3])) if likely and dice.random() < likely else each
            for each in policies
        ]

    def obey(self, command: Command) -> None:
        if isinstance(command, (Settle, Vacated, Diagnosed)):
            return
        if isinstance(command, (Ask, Return, Used, Shut, Forget)):
            self.others.tell(command)
            return
        if isinstance(command, Cancel):
            for task in command.tasks:
                told = self.books.alive.get(task)
                if told is not None:  # else its report is under way
                    self.stop(told, command.why)
                elif task in self.asking and task in self.scheduler._dropped:
                    self.stop_asking(self.asking[task])
            return
        if isinstance(command, Recall):
            for task in reversed(command.tasks):
                if self.chance(0.5):
                    self.give_back(task)
                else:
                    self.soon(self.dice.uniform(0, 2), partial(self.give_back, task))
            return
        live = self.books.alive.get(command.task)
        if live is None and command.task in self.asking:
            if self.chance(0.5):
                self.end_asking(self.asking[command.task])
            else:
                self.scheduler.abandoned(command.task, command.attempt, self.now)
            return
        if live is None or live.number != command.attempt:
            return  # its report is under way
        if self.chance(0.5):
            self.end(live, stopped=True)
        else:
            for task in reversed(live.behind.copy()):
                self.give_back(task)
            self.scheduler.abandoned(command.task, command.attempt, self.now)

    def stop(self, live: Live, why: str) -> None:
        """An attempt is told to stop: sooner or later it does, or goes on for as long as it is deaf."""
        self.books.check_stop(live, why)
        live.stopping = True
        live.clock = why in (Stop.TIMEOUT, Stop.IDLE, Stop.DEADLINE)
        wait = self.dice.uniform(0, 2) if live.deaf_until is None else max(0.0, live.deaf_until - self.now)
        self.later(wait, lambda: self.end(live, stopped=True))

    def answer(self, turn: int, task: int) -> None:
        match turn:
            case Turn.DECIDE:
                self.scheduler.decided(task, self.chance(self.likely.holds), self.now)
            case Turn.GROW:
                live = Live(task, 1, self.now)
                self.grow(live)
            case Turn.VOTE:
                if self.chance(self.likely.settles):
                    self.scheduler.settled(task, self.chance(0.7), self.now)
            case Turn.LISTEN:
                self.listen(task)
            case Turn.REPAIR:
                self.repair(task)
            case Turn.JOIN if self.goes_round(task):
                self.round(task)
            case Turn.JOIN:
                number = OF_REPAIR if task in self.table.failures else self.table.attempts(task)
                self.scheduler.returned(task, number, self.table.key(task), self.now)

    def goes_round(self, task: int) -> bool:
        """Does it grow once more, now that its children are final?"""
        if not self.likely.goes_round or task in self.table.failures:
            return False  # nothing is drawn, where nothing can come of it
        return not self.books.counts(task) and self.grown < 40 and self.chance(self.likely.goes_round)

    def round(self, task: int) -> None:
        """One more round: as many children as it likes, none among them."""
        size = self.dice.choice([0, 1, 1, 2])
        self.grown += max(1, size)
        keys = [f"r{len(self.table.grown(task))}.{at}" for at in range(size)]
        policies = self.narrowed([self.dice.choice(_CHILD_POLICIES) for _ in range(size)])
        controls = [at for at in range(size) if self.chance(self.likely.cleans / 4)]
        self.scheduler.grew(task, Batch(size, calls=keys, keys=keys, policies=policies, controls=controls), self.now)

    def listen(self, task: int) -> None:
        """It is told when an attempt was last alive; an old answer, about an earlier one, may come before."""
        live = self.books.alive.get(task) or self.books.unreported.get(task)
        if live is None:
            return  # its code does not run
        if live.number > 1 and self.chance(self.faults.superseded):
            self.scheduler.listened(task, live.number - 1, 0.0, self.now)
        # Its end is a sign of life, too.
        heard = self.now if live.over else live.heard(self.now)
        self.scheduler.listened(task, live.number, heard, self.now)

    def halt(self, mode: OnFailure) -> None:
        self.scheduler.halted(mode, self.now)
        self.books.cancels += mode is OnFailure.FAIL_FAST
        self.books.halted = True

    def pause(self) -> None:
        self.scheduler.paused(self.now)
        self.books.paused = True
        self.later(self.dice.uniform(0, 20), self.unpause)

    def unpause(self) -> None:
        self.scheduler.unpaused(self.now)
        self.books.paused = False


_CHILD_POLICIES = (
    PLAIN,
    PLAIN,
    PLAIN,
    Policy(priority=3),
    Policy(allow_failure=True),
    Policy(max_concurrency=1),
    Policy(timeout=6.0),
    Policy(pool=(("of children", 1, 2),)),
    Policy(pool=(("of children", 2, 2),), concurrency_key=("child", 1)),
    Policy(rate_limit=(("of children", 3, 20.0),), cost=2),
    Policy(on_interrupt=OnInterrupt.ASK),
    Policy(on_interrupt=OnInterrupt.FAIL),
)
