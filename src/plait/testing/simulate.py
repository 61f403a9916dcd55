"""The scheduler under a seeded order of events, virtual time and faults; every promise about order and limits is checked.

No user code runs: a seed decides how long each attempt takes and how it ends. The checks here keep books of their own
and know the scheduler's table only through its moves, so that a wrong scheduler cannot agree with itself.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
from plait._core.health import HealthMonitor, monitors_of
from plait._core.invariants import check
from plait._core.limits import ALL, Share, check_batch
from plait._core.outcome import Outcome, Outcomes
from plait._core.policy import CONTROL, NO_RETRY, PLAIN, Join, OnConflict, OnFailure, Policy, Retry, Rules, of_cleanup
from plait._core.scheduler import NOT_BEGUN, OF_REPAIR, Scheduler, Turn
from plait._core.states import FINAL, PENDING, READY, RUNNING, STATUSES, SUCCEEDED, RunStatus, Status
from plait._core.table import NONE, Move
from plait._engine.files import check_files
from plait.errors import PlaitError, RetryAfter, TaskTimedOut
from plait.testing.others import Others


class SimulationError(PlaitError):
    """A promise did not hold; the message names it, the seed and the last moves before it."""

    code = "SIMULATION"


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely each thing is, from 0 to 1, and how long attempts take, in virtual seconds."""

    fails: float = 0.2  # an attempt
    deaf: float = 0.1  # an attempt ignores being stopped, for a while or for ever
    grows: float = 0.0  # an attempt ends by growing children
    blocks: float = 0.0  # an attempt never suspends: its start is not told, its end is the first that is heard of it
    asks: float = 0.0  # an attempt asks for input on its way
    holds: float = 0.7  # a `when`
    cancels: float = 0.0  # the whole run, at some moment
    insists: float = 0.3  # and, where it was, once more
    cleans: float = 0.0  # what is grown has tasks that clean up
    pauses: float = 0.0  # the whole run, for a while
    lends: float = 0.0  # whoever is at work is given another task, for afterwards
    later: float = 0.0  # an attempt ends by asking to be called later
    spends: float = 0.0  # an attempt reports, before it ends, that it has used up a dollar
    settles: float = 0.0  # at one of its ends, that a vote is decided
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


@dataclass
class _Live:
    """An attempt that is at work."""

    task: int
    number: int
    began_at: float
    stopping: bool = False
    clock: bool = False  # and that because one of its clocks ran out
    over: bool = False
    told: bool = False
    beat_s: float = math.inf  # between two signs of life
    silent_at: float = math.inf  # from then on it gives none
    deaf_until: float | None = None
    behind: list[int] = field(default_factory=list)  # lent tasks, in the order in which they begin

    def heard(self, now: float) -> float:
        """When it gave its last sign of life, up to `now`."""
        alive = min(now, self.silent_at) - self.began_at
        return self.began_at + (0.0 if self.beat_s == math.inf else math.floor(alive / self.beat_s) * self.beat_s)


@dataclass
class _Units:
    """What an attempt uses of a rate: its code began at some moment up to `by` (None: up to now)."""

    task: int
    cost: int
    by: float | None = None
    known: bool = False  # is that told?


@dataclass
class _Watched:
    """What the checks know of the health of a pool, or of the run: by the ends that they saw."""

    monitor: HealthMonitor
    ends: list[bool] = field(default_factory=list)  # since it was last well: did each succeed?
    shut_until: float | None = None
    probing: bool = False
    probe: int | None = None
    passed: int = 0
    pause: float = 0.0
    period: int = 0  # how often it was found unhealthy
    began_in: dict[int, int] = field(default_factory=dict)  # in which period an attempt began

    def refuses(self, now: float) -> bool:
        """May nothing start?"""
        if self.shut_until is not None and now >= self.shut_until:
            self.shut_until, self.probing, self.passed = None, True, 0
        return self.shut_until is not None or (self.probing and self.probe is not None)

    def starts(self, task: int) -> None:
        self.began_in[task] = self.period
        if self.probing:
            self.probe = task

    def ends_with(self, task: int, good: bool | None, now: float) -> None:
        began_in = self.began_in.pop(task, None)
        if self.probe == task:
            self.probe = None
        if began_in != self.period or good is None or self.shut_until is not None:
            return
        if self.probing and good:
            self.passed += 1
            if self.passed == self.monitor.probes:
                self.probing, self.pause, self.ends = False, 0.0, []
            return
        self.ends.append(good)
        latest = self.ends[-self.monitor.window :]
        if self.probing or (
            len(latest) >= self.monitor.min_outcomes
            and latest.count(False) / len(latest) > self.monitor.max_error_rate + 1e-9
        ):
            self.pause = min(2 * self.pause, self.monitor.max_pause) or self.monitor.pause
            self.shut_until, self.probing, self.probe, self.ends = now + self.pause, False, None, []
            self.period += 1


@dataclass
class _Books:
    """What the checks know: their own counts, from the moves and from what they themselves started."""

    final: dict[int, int] = field(default_factory=dict)
    alive: dict[int, _Live] = field(default_factory=dict)  # attempts whose code may still run, by task
    unreported: dict[int, _Live] = field(default_factory=dict)  # attempts whose code ended, their report under way
    peak: int = 0
    ready: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # ready tasks: aged level, and in which order they got so
    was_ready: dict[int, tuple[int, int]] = field(default_factory=dict)  # the same of every task, the last time
    ticket: int = 0
    units: dict[tuple[str, int, float], list[_Units]] = field(default_factory=dict)  # by rate
    shut: dict[tuple[str, int, float], float] = field(default_factory=dict)
    maybe_shut: dict[tuple[str, int, float], float] = field(default_factory=dict)
    spent: dict[int, int] = field(default_factory=dict)  # dollars, by task and by what it is in
    uncounted: dict[int, int] = field(default_factory=dict)  # attempts that only asked to be called later
    ran_s: dict[int, float] = field(default_factory=dict)  # seconds of code in the latest attempt
    numbers: dict[int, int] = field(default_factory=dict)


class _Play:
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
        self.now = 0.0
        self.scheduler = make(rules, 0.0, record_moves=True)
        self.journal = journalled(self.scheduler)
        self.table = self.scheduler.table
        self.books = _Books()
        self.moves: list[Move] = []
        self.due: list[tuple[float, float, int, Callable[[], None]]] = []
        self.count = 0
        self.halted = False
        self.cancels = 0
        self.paused = False
        self.old: list[tuple[int, int]] = []
        self.grown = 0
        self.was_lent: set[int] = set()
        self.watched = {pool: _Watched(monitor) for pool, monitor in rules.health}
        self.known_uses: dict[int, list[tuple[Any, int, int]]] = {}
        self.others = Others(self.dice, self.later, lambda: self.now, self.leased)
        self.scheduler.added(batch, 0.0)

    # -- the course of things

    def run(self) -> Simulation:
        if self.chance(self.likely.cancels):
            mode = self.dice.choice([OnFailure.FAIL_FAST, OnFailure.FAIL_FAST, OnFailure.FINISH])
            at = self.dice.uniform(0, 3 * self.likely.longest_s)
            self.later(at, lambda: self.halt(mode))
            if self.chance(self.likely.insists):
                self.later(at + self.dice.uniform(0, 2 * self.likely.longest_s), lambda: self.halt(OnFailure.FAIL_FAST))
        if self.chance(self.likely.pauses):
            self.later(self.dice.uniform(0, self.likely.longest_s), self.pause)
        self.after()
        while not self.scheduler.finished:
            self.next()
            self.after()
        self.finish()
        outcomes = Outcomes(self.table, range(self.table.size), float)
        return Simulation(
            self.seed,
            self.scheduler.status(),
            outcomes,
            self.moves,
            self.journal,
            self.books.peak,
            self.now,
            self.scheduler,
        )

    def next(self) -> None:
        """The next thing happens: a timer or a report, whichever is first; equal times in an order of chance."""
        wake = self.scheduler.next_wake()
        if not self.due and wake is None:
            self.wrong("the run cannot move: nothing is under way and no timer is set (W13)")
        if wake is not None and (
            not self.due or wake < self.due[0][0] or (wake == self.due[0][0] and self.chance(0.5))
        ):
            self.now = max(self.now, wake)
            if self.chance(self.faults.clock_step):
                self.now += self.dice.choice([0.001, 60.0, 3600.0])  # a laptop was closed
            self.scheduler.ticked(self.now)
            return
        at, _, _, happen = heappop(self.due)
        self.now = max(self.now, at)
        if self.chance(self.faults.clock_step):
            self.now += self.dice.uniform(0, 5)
        happen()

    def after(self) -> None:
        """What follows a fact: commands are carried out, turns answered, everything startable started; then checks."""
        scheduler = self.scheduler
        while True:
            self.see_moves()
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
                self.see_moves()
                self.start(task)
        self.see_moves()
        if scheduler.commands or scheduler.turns:
            self.after()
            return
        check(scheduler)
        self.check_work_conserved()
        self.check_silence()

    # -- what is lent

    def lend(self) -> None:
        """Somebody at work is given another task, which begins when this one's report is told."""
        while self.books.alive and self.chance(self.likely.lends):
            task = self.scheduler.lend(self.now)
            if task == NONE:
                return
            self.was_lent.add(task)
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

    def pass_on(self, live: _Live) -> None:
        """The report of an attempt was told: the next one of its line begins, with its slot."""
        behind, live.behind = live.behind, []
        if behind:
            task = behind.pop(0)
            self.scheduler.passed(task, self.now)
            self.see_moves()
            self.start(task, passed=True)
            self.books.alive[task].behind = behind

    def leased(self, number: int, units: int, wanted: bool, now: float, opens_at: float | None, shut: bool) -> None:
        self.scheduler.leased(number, units, wanted, now, opens_at, shut)

    def chance(self, likely: float) -> bool:
        return likely > 0 and self.dice.random() < likely

    def later(self, seconds: float, happen: Callable[[], None]) -> None:
        self.count += 1
        heappush(self.due, (self.now + seconds, self.dice.random(), self.count, happen))

    # -- attempts

    def start(self, task: int, passed: bool = False) -> None:
        number = self.table.attempts(task)
        books = self.books
        self.check_start(task, number, passed)
        live = _Live(task, number, self.now)
        books.alive[task] = live
        books.peak = max(books.peak, len(books.alive))
        if not self.goes_on(task, number):
            for rate in self.table.policies[task].rate_limit:
                books.units.setdefault(rate, []).append(_Units(task, self.table.policies[task].cost))
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

    def goes_on(self, task: int, number: int) -> bool:
        """Is it the attempt that was there before it asked for input?"""
        return self.books.numbers.get(task) == number

    def seen(self, live: _Live) -> None:
        """It is told that the code of an attempt under a rate has begun."""
        if not live.over:
            self.count_units(live.task, self.now)
            self.scheduler.seen(live.task, live.number, self.now)
            self.reported_units(live.task)

    def count_units(self, task: int, by: float) -> None:
        for units in self.open_units(task):
            units.by = by

    def given_up(self, task: int, at: float) -> None:
        """Its attempt is not told when it ended, and never will be: it has begun by now."""
        for entries in self.books.units.values():
            for units in entries:
                if units.task == task and not units.known:
                    units.by, units.known = at, True

    def reported_units(self, task: int) -> None:
        for entries in self.books.units.values():
            for units in entries:
                if units.task == task and units.by is not None:
                    units.known = True

    def open_units(self, task: int) -> list[_Units]:
        return [
            units
            for entries in self.books.units.values()
            for units in entries
            if units.task == task and units.by is None
        ]

    def end(self, live: _Live, stopped: int = False) -> None:
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
        if stopped and not live.told and self.open_units(live.task) and self.chance(0.9):
            stopped = NOT_BEGUN
        else:
            self.count_units(live.task, at)
        key = self.table.key(live.task)
        error: BaseException | None
        if self.ends is not None:
            error = self.ends(key, live.number)
        elif stopped != NOT_BEGUN and self.chance(self.likely.later):
            error = RetryAfter(self.dice.uniform(0.5, 20))
        else:
            error = ValueError(f"{key} failed") if stopped != NOT_BEGUN and self.chance(self.likely.fails) else None
        if self.chance(self.likely.spends):
            self.spend(live.task)
        if error is None and not stopped and self.chance(self.likely.grows) and self.grown < 40:
            self.report(live, at, lambda: self.grow(live))
            return

        def tell() -> None:
            self.reported(live)
            self.old.append((live.task, live.number))
            if error is None:
                self.scheduler.returned(live.task, live.number, key, at, stopped)
                latest = self.table.attempts(live.task) == live.number and live.task not in self.table.failures
                if live.clock and latest and self.table.status[live.task] == SUCCEEDED:
                    self.wrong(f"{key} succeeded, though its time was up (C9)")
            else:
                tried = len(self.table.history.get(live.task, ()))
                self.scheduler.raised(live.task, live.number, error, at, self.dice.random(), bool(stopped))
                if isinstance(error, RetryAfter):
                    self.called_later(live.task, tried, error, at)
                else:
                    self.check_tried_enough(live.task, live.number, error)
            if stopped == NOT_BEGUN:
                for entries in self.books.units.values():
                    entries[:] = [units for units in entries if units.task != live.task or units.by is not None]
            self.reported_units(live.task)
            self.pass_on(live)

        self.report(live, at, tell)
        if self.chance(self.faults.duplicate):
            self.later(self.dice.uniform(0, 5), tell)
        if self.old and self.chance(self.faults.superseded):
            task, number = self.dice.choice(self.old)
            if number < self.table.attempts(task):
                self.later(
                    self.dice.uniform(0, 5), lambda: self.scheduler.returned(task, number, "superseded", self.now)
                )

    def spend(self, task: int) -> None:
        """A task reports that it has used up a dollar."""
        for scope in (task, *self.parents(task), NONE):
            self.books.spent[scope] = self.books.spent.get(scope, 0) + 1
        self.scheduler.spent(task, {"usd": 1}, self.now)

    def broke(self, task: int, *, around: bool = True) -> bool:
        """Is a budget spent, of the task, of what it is in, or of the run? Not `around`: of what does not end with what it cleans up after."""
        scopes = [task, *self.parents(task)]
        limits = {scope: self.table.policies[scope].budget for scope in scopes}
        limits[NONE] = self.rules.budget
        if not around:
            last = next((at for at, scope in enumerate(scopes) if self.is_cleanup(scope)), None)
            if last is not None:
                limits = {scope: limits[scope] for scope in scopes[: last + 1]}
        return any(
            self.books.spent.get(scope, 0) >= dict(budget).get("usd", math.inf) for scope, budget in limits.items()
        )

    # -- what comes last

    def is_cleanup(self, task: int) -> bool:
        batch, place = self.table.batch_of(task)
        return place in batch.cleanups

    def cleans(self, task: int) -> bool:
        """Is it a cleanup, or in one?"""
        return any(map(self.is_cleanup, (task, *self.parents(task))))

    def others_over(self, task: int) -> bool:
        """Is everything that the cleanup `task` comes after over, and none of its code at work but for what was given up?"""
        parent = self.table.parent(task)
        scope = [
            other
            for other in range(self.table.size)
            if (parent == NONE or parent in self.parents(other)) and not self.within_cleanup_of(parent, other)
        ]
        working = self.books.alive.keys() - self.table.unenforced
        return all(other in self.books.final for other in scope) and not working & set(scope)

    def within_cleanup_of(self, parent: int, task: int) -> bool:
        """Is `task` a cleanup of that group (`NONE`: of the run), or in one?"""
        return any(self.is_cleanup(each) and self.table.parent(each) == parent for each in (task, *self.parents(task)))

    def repair(self, task: int) -> None:
        """The `on_error` of a task that failed."""
        if task in self.books.alive and task not in self.table.unenforced:
            self.wrong(f"the on_error of {self.table.key(task)} was asked for while that ran")
        if self.halted and not self.cleans(task):
            self.wrong(f"the on_error of {self.table.key(task)} was asked for after the run was ended")
        failure = self.table.failures[task]
        for watched in self.watchers(task):  # its attempt is over, though it stays running
            watched.ends_with(task, self.speaks_for(STATUSES[failure.state], failure.error), failure.ended_at)
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

    def report(self, live: _Live, at: float, tell: Callable[[], None]) -> None:
        if self.chance(self.faults.late):
            self.later(self.dice.uniform(0, 3), tell)
        else:
            tell()

    def reported(self, live: _Live) -> None:
        if self.books.unreported.get(live.task) is live:
            del self.books.unreported[live.task]

    def ask(self, live: _Live) -> None:
        if not live.over and not live.stopping and self.table.status[live.task] == RUNNING:
            self.scheduler.asked(live.task, live.number, self.now)
            if self.table.status[live.task] == RUNNING:
                return
            self.count_units(live.task, self.now)
            self.reported_units(live.task)
            # While it waits its code does nothing: it counts against no limit.
            del self.books.alive[live.task]
            self.books.ran_s[live.task] += self.now - live.began_at
            self.later(self.dice.uniform(0, 20), lambda: self.scheduler.answered(live.task, self.now))
            live.over = True
            for task in reversed(live.behind.copy()):
                live.behind.remove(task)
                self.scheduler.came_back(task, self.now)

    def grow(self, live: _Live) -> None:
        self.reported(live)
        self.given_up(live.task, self.now)
        size = self.dice.choice([0, 1, 2, 3, 5])
        self.grown += size
        keys = [f"c{at}" for at in range(size)]
        needs = [tuple(need for need in range(at) if self.chance(0.3)) for at in range(size)]
        policies = [self.dice.choice(_CHILD_POLICIES) for _ in range(size)]
        last: Sequence[int] = ()
        if size > 1 and self.chance(self.likely.cleans):
            last = range(self.dice.randint(1, size - 1), size)
            policies[last.start :] = [of_cleanup(each, joined=False) for each in policies[last.start :]]
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
            for watched in self.watchers(live.task):
                watched.ends_with(live.task, True, self.now)
            self.see_moves()
        self.pass_on(live)

    # -- what the scheduler asks for

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
            return
        if isinstance(command, Recall):
            for task in reversed(command.tasks):
                if self.chance(0.5):
                    self.give_back(task)
                else:
                    self.later(self.dice.uniform(0, 2), partial(self.give_back, task))
            return
        live = self.books.alive.get(command.task)
        if live is None or live.number != command.attempt:
            return  # its report is under way
        if self.chance(0.5):
            self.end(live, stopped=True)
        else:
            for task in reversed(live.behind.copy()):
                self.give_back(task)
            self.scheduler.abandoned(command.task, command.attempt, self.now)

    def stop(self, live: _Live, why: str) -> None:
        """An attempt is told to stop: sooner or later it does, or goes on for as long as it is deaf."""
        self.check_stop(live, why)
        live.stopping = True
        live.clock = why in (Stop.TIMEOUT, Stop.IDLE, Stop.DEADLINE)
        wait = self.dice.uniform(0, 2) if live.deaf_until is None else max(0.0, live.deaf_until - self.now)
        self.later(wait, lambda: self.end(live, stopped=True))

    def answer(self, turn: int, task: int) -> None:
        match turn:
            case Turn.DECIDE:
                self.scheduler.decided(task, self.chance(self.likely.holds), self.now)
            case Turn.GROW:
                live = _Live(task, 1, self.now)
                self.grow(live)
            case Turn.VOTE:
                if self.chance(self.likely.settles):
                    self.scheduler.settled(task, self.chance(0.7), self.now)
            case Turn.LISTEN:
                self.listen(task)
            case Turn.REPAIR:
                self.repair(task)
            case Turn.JOIN:
                number = OF_REPAIR if task in self.table.failures else self.table.attempts(task)
                self.scheduler.returned(task, number, self.table.key(task), self.now)

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
        self.cancels += mode is OnFailure.FAIL_FAST
        self.halted = True

    @property
    def insisted(self) -> bool:
        """Were cleanups ended, too?"""
        return self.cancels > 1 or self.scheduler.halt_reason == "stuck" or bool(self.table.unenforced)

    def pause(self) -> None:
        self.scheduler.paused(self.now)
        self.paused = True
        self.later(self.dice.uniform(0, 20), self.unpause)

    def unpause(self) -> None:
        self.scheduler.unpaused(self.now)
        self.paused = False

    # -- checks

    def wrong(self, what: str) -> None:
        story = "\n".join(
            f"  {move.at:10.3f} {self.table.key(move.task)}: {STATUSES[move.old]} -> {STATUSES[move.new]} (attempt {move.attempt})"
            for move in self.moves[-25:]
        )
        raise SimulationError(f"seed {self.seed}, at {self.now:.3f}: {what}\nlast moves:\n{story}")

    def see_moves(self) -> None:
        assert self.table.moves is not None
        moves, self.table.moves = self.table.moves, []
        books = self.books
        for move in moves:
            self.moves.append(move)
            if move.task in books.final:
                self.wrong(f"{self.table.key(move.task)} left its final status (W14)")
            if move.new >= FINAL:
                books.final[move.task] = move.new
                self.given_up(move.task, move.at)
                timeout = self.table.policies[move.task].timeout
                ran = books.ran_s.get(move.task, 0.0)
                if (
                    move.new == SUCCEEDED
                    and timeout is not None
                    and ran > timeout + 1e-6
                    and not self.table.odd[move.task] & CONTROL
                ):
                    self.wrong(
                        f"{self.table.key(move.task)} succeeded after {ran} s with a timeout of {timeout} s (C9)"
                    )
            if move.old == RUNNING:
                for watched in self.watchers(move.task):
                    watched.ends_with(move.task, self.speaks(move), move.at)
            books.ready.pop(move.task, None)
            if move.new == READY and not self.table.odd[move.task] & CONTROL:
                books.ticket += 1
                # Worth 60 s of waiting is each level, in steps of a second.
                aged = math.floor((move.at - self.table.policies[move.task].priority * 60.0) / 1.0)
                books.ready[move.task] = books.was_ready[move.task] = (aged, books.ticket)
            lent = move.task in self.was_lent
            if move.old == PENDING and move.new == READY and self.is_cleanup(move.task):
                self.check_last(move)
            last = self.cleans(move.task)
            if (
                self.halted
                and not last
                and move.new == RUNNING
                and not lent
                and not self.table.odd[move.task] & CONTROL
            ):
                self.wrong(f"{self.table.key(move.task)} started after the run was ended")

    def check_last(self, move: Move) -> None:
        """A cleanup begins when everything else of its run or group is over."""
        if not self.insisted and not self.others_over(move.task):
            self.wrong(f"{self.table.key(move.task)} cleans up, and not everything else is over")

    def check_start(self, task: int, number: int, passed: bool) -> None:
        table, books = self.table, self.books
        key = table.key(task)
        if self.paused and not passed:
            self.wrong(f"{key} started while the run was paused")
        if task in books.alive or task in books.unreported:
            self.wrong(f"attempt {number} of {key} started while an earlier one was alive")
        slots = self.rules.max_concurrency
        if slots is not None and len(books.alive) >= slots:
            self.wrong(f"{key} started as number {len(books.alive) + 1} of {slots} (A3, W10)")
        for other in self.held():
            if self.meeting(task, other):
                self.wrong(f"{key} started beside {table.key(other)}, at {self.meeting(task, other)} (B19)")
        for what, weight, capacity in self.uses(task):
            taken = self.taken(what, books.alive) + self.of_others(what)
            if taken + weight > capacity:
                self.wrong(f"{key} started with {taken} + {weight} of {capacity} in use of {what} (X4)")
        for rate in table.policies[task].rate_limit if not self.goes_on(task, number) else ():
            used = self.used_of(rate, certain=False)
            if used + table.policies[task].cost > rate[1]:
                self.wrong(f"{key} started as {used} + {table.policies[task].cost} of rate {rate} (B8)")
            if self.shares is not None and used + self.of_others(rate) + table.policies[task].cost > rate[1]:
                self.wrong(f"{key} started as {used} of rate {rate} were used here, and more by others (X4, B8)")
            if self.now < books.shut.get(rate, -1.0):
                self.wrong(f"{key} started before {books.shut[rate]}, when rate {rate} was to be used again (X5)")
        for watched in self.watchers(task):
            if watched.refuses(self.now):
                self.wrong(f"{key} started, though what it uses is unhealthy until {watched.shut_until} (B17)")
        if number > table.policies[task].retry.attempts + books.uncounted.get(task, 0):
            self.wrong(f"{key} got attempt {number}")
        if not self.goes_on(task, number) and self.broke(task, around=False):
            self.wrong(f"{key} started, and a budget around it was spent (X6)")
        self.check_needs(task)
        if not passed:
            self.check_order(task)
        for watched in self.watchers(task):
            watched.starts(task)

    def watchers(self, task: int) -> list[_Watched]:
        """Who watches over the health of what a task uses."""
        if not self.watched:
            return []
        names = (None, *(name for name, _, _ in self.table.policies[task].pool))
        return [self.watched[name] for name in names if name in self.watched]

    def speaks(self, move: Move) -> bool | None:
        """Does the end of an attempt speak for the health of what it used? None: it says nothing."""
        table, state = self.table, STATUSES[move.new]
        error = table.history[move.task][-1].error if state is Status.RETRYING else table.errors.get(move.task)
        return self.speaks_for(state, error)

    @staticmethod
    def speaks_for(state: Status, error: BaseException | None) -> bool | None:
        if state is Status.SUCCEEDED:
            return True
        if state not in (*_FAILED, Status.RETRYING):
            return None
        if isinstance(error, RetryAfter) or (isinstance(error, TaskTimedOut) and "deadline" in str(error)):
            return None
        return False

    def check_tried_enough(self, task: int, number: int, error: BaseException) -> None:
        """A failure that ends a task was the last one that it may have."""
        table = self.table
        tries = number - self.books.uncounted.get(task, 0)
        ended = table.failures[task].error if task in table.failures else table.errors.get(task)
        if (
            ended is error
            and tries < table.policies[task].retry.attempts
            and self.scheduler.halt_reason is None
            and not self.parents(task)
            and not self.broke(task)
        ):
            self.wrong(f"{table.key(task)} failed with try {tries} of {table.policies[task].retry.attempts} (B15)")

    def check_stop(self, live: _Live, why: str) -> None:
        """No clock runs out before its time."""
        policy = self.table.policies[live.task]
        ran = self.books.ran_s[live.task] + self.now - live.began_at
        if why == Stop.TIMEOUT and (policy.timeout is None or ran < policy.timeout - 1e-6):
            self.wrong(f"{self.table.key(live.task)} timed out after {ran} s of {policy.timeout}")
        if why == Stop.IDLE and (policy.idle_timeout is None or self.silence(live) < policy.idle_timeout - 1e-6):
            self.wrong(f"{self.table.key(live.task)} was ended as idle, and last heard {self.silence(live)} s before")

    def silence(self, live: _Live) -> float:
        """For how long an attempt gave no sign of life."""
        return self.now - live.heard(self.now)

    def check_silence(self) -> None:
        """No attempt that says nothing goes on for ever."""
        for live in self.books.alive.values() if not self.time_alone() else ():
            idle = self.table.policies[live.task].idle_timeout
            if idle is not None and live.told and not live.stopping and self.silence(live) > idle + 1e-6:
                self.wrong(f"{self.table.key(live.task)} is silent for {self.silence(live)} s of {idle}, and goes on")

    def parents(self, task: int) -> list[int]:
        found = []
        while (task := self.table.parent(task)) != NONE:
            found.append(task)
        return found

    def needs_of(self, task: int) -> list[int]:
        batch, place = self.table.batch_of(task)
        return [] if batch.needs is None else [task - place + need for need in batch.needs[place]]

    def check_needs(self, task: int) -> None:
        met, ended = self.join_holds(task)
        if not met:
            shown = {
                self.table.key(need): "not final" if end is None else str(STATUSES[end])
                for need, end in zip(self.needs_of(task), ended, strict=True)
            }
            self.wrong(f"{self.table.key(task)} started before its needs were done: {shown} (E1)")

    def join_holds(self, task: int) -> tuple[bool, list[int | None]]:
        """May `task` start, as its needs stand? And how they stand."""
        needs = self.needs_of(task)
        ended = [self.books.final.get(need) for need in needs]
        fine = [
            end is not None
            and (
                STATUSES[end] is Status.SUCCEEDED
                or (STATUSES[end] in _FAILED and self.table.policies[need].allow_failure)
            )
            for need, end in zip(needs, ended, strict=True)
        ]
        match self.table.policies[task].join:
            case Join.ALL_SUCCESS:
                met = all(fine)
            case Join.ALL_DONE:
                met = None not in ended
            case Join.NONE_FAILED:
                met = all(
                    good or (end is not None and STATUSES[end] is Status.SKIPPED)
                    for good, end in zip(fine, ended, strict=True)
                )
            case Join.ONE_SUCCESS:
                met = not needs or any(end is not None and STATUSES[end] is Status.SUCCEEDED for end in ended)
            case Join.ONE_FAILED:
                met = not needs or any(
                    end is not None and STATUSES[end] not in (Status.SUCCEEDED, Status.SKIPPED) for end in ended
                )
        return met, ended

    def check_order(self, task: int) -> None:
        """Nobody who might have started was passed over: a higher level first, then the one that waited longer."""
        books = self.books
        mine = books.was_ready[task]
        wants = {what for what, _, _ in self.uses(task)} | self.paths(task) | set(map(id, self.watchers(task)))
        if not self.goes_on(task, self.table.attempts(task)):
            wants |= set(self.table.policies[task].rate_limit)
        for other, place in books.ready.items():
            if other in self.scheduler.lent or {other, task} <= self.was_lent:
                continue  # somebody at work has it; those that come back at different times have lost their order
            if other in self.was_lent and wants:
                continue  # and so have those that come back from a limit
            if place < mine and not self.time_alone():
                full = self.full_for(other)
                if not full and not self.stands_behind(other):
                    self.wrong(f"{self.table.key(task)} started before {self.table.key(other)} (B2)")
                if len(full) == 1 and full <= wants and not self.stands_behind(other):
                    self.wrong(f"{self.table.key(task)} overtook {self.table.key(other)} at {full} (X4)")

    def time_alone(self) -> bool:
        """Is a timer due, so that what it changes is not told yet?"""
        wake = self.scheduler.next_wake()
        return wake is not None and wake <= self.now + 1e-9

    def uses(self, task: int) -> list[tuple[Any, int, int]]:
        """What a task takes beside a slot while it runs: of what, how much, and how much there is."""
        found = self.known_uses.get(task)
        if found is None:
            policies = self.table.policies
            found = [
                (("group", parent), 1, capacity)
                for parent in self.parents(task)
                if (capacity := policies[parent].max_concurrency) is not None
            ]
            declared = dict(self.rules.pools)
            for name, weight, own in policies[task].pool:
                found.append((("pool", name), weight, declared.get(name, own)))  # type: ignore[arg-type]
            key = policies[task].concurrency_key
            if key is not None:
                found.append((("key", key[0]), 1, key[1]))
            self.known_uses[task] = found
        return found

    @property
    def shares(self) -> dict[Any, Share] | None:
        """The limits that others have parts of, too, as the checks name them; None where there are none."""
        if self.rules.sharing is None:
            return None
        return {
            (share.name, share.total, share.interval) if share.is_rate else (share.kind, share.name): share
            for share in self.scheduler.admission.book.shares.values()
        }

    def of_others(self, what: Any) -> int:
        share = (self.shares or {}).get(what)
        return 0 if share is None else self.others.taken(share, self.now)

    def files(self, task: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a task reads and writes, where it waits for others."""
        mode = self.table.policies[task].on_conflict or self.rules.on_conflict
        return self.table.files.get(task, ((), ())) if mode is OnConflict.SERIALISE else ((), ())

    def paths(self, task: int) -> set[Any]:
        """The paths that a task has to do with, and the folders around them."""
        return {("path", folder) for paths in self.files(task) for path in paths for folder in _folders(path)}

    def meeting(self, task: int, other: int) -> set[Any]:
        """The paths at which two tasks are in each other's way."""
        if task == other:
            return set()
        (reads, writes), (other_reads, other_writes) = self.files(task), self.files(other)
        pairs = [(one, two) for one in writes for two in (*other_reads, *other_writes)]
        pairs += [(one, two) for one in reads for two in other_writes]
        return {
            ("path", min(one, two, key=lambda path: len(_folders(path))))
            for one, two in pairs
            if one in _folders(two) or two in _folders(one)
        }

    def taken(self, what: Any, tasks: Iterable[int]) -> int:
        return sum(weight for other in tasks for which, weight, _ in self.uses(other) if which == what)

    def used_of(self, rate: tuple[str, int, float], *, certain: bool) -> int:
        """Units of a rate in the window that ends now: all that may be in it, or (`certain`) that the scheduler cannot rule out."""
        edge = self.now - rate[2] + (-1e-9 if certain else 1e-9)
        return sum(
            units.cost
            for units in self.books.units.get(rate, ())
            if units.by is None or units.by > edge or (certain and not units.known)
        )

    def full_for(self, task: int) -> set[Any]:
        """What a ready task does not find enough of."""
        held = self.held()
        full = {what for what, weight, capacity in self.uses(task) if self.taken(what, held) + weight > capacity}
        full.update(*(self.meeting(task, other) for other in held))
        full |= {id(watched) for watched in self.watchers(task) if watched.refuses(self.now)}
        policy = self.table.policies[task]
        if self.shares is not None:
            # What of these is granted when is for others to say.
            full |= {what for what, _, _ in self.uses(task) if what[0] != "group"} | set(policy.rate_limit)
        if self.goes_on(task, self.table.attempts(task)) and task in self.scheduler.admission.answered:
            return full
        for rate in policy.rate_limit:
            used = self.used_of(rate, certain=True)
            until = max(self.books.shut.get(rate, -1.0), self.books.maybe_shut.get(rate, -1.0))
            if used + policy.cost > rate[1] or self.now <= until:
                full.add(rate)
        return full

    def stands_behind(self, task: int) -> bool:
        """Does somebody before it in the order wait for something that it wants, too?"""
        mine, wants = self.books.ready[task], self.wants(task)
        return any(place < mine and wants & self.wants(other) for other, place in self.books.ready.items())

    def wants(self, task: int) -> set[Any]:
        """Everything that a task may have to wait for beside a slot."""
        found = {what for what, _, _ in self.uses(task)} | set(self.table.policies[task].rate_limit) | self.paths(task)
        return found | set(map(id, self.watchers(task)))

    def held(self) -> list[int]:
        """Tasks whose slot cannot be known to be free."""
        return [*self.books.alive, *self.books.unreported]

    def check_work_conserved(self) -> None:
        """W13: with a free slot, every ready task waits for a full limit of its groups."""
        for task in self.table.within(PENDING):
            if self.is_cleanup(task):
                if not self.needs_of(task) and task not in self.scheduler._deciding and self.others_over(task):
                    self.wrong(f"{self.table.key(task)} is pending, though everything else is over")
            elif self.join_holds(task)[0] and self.scheduler.halt_reason is None:
                self.wrong(f"{self.table.key(task)} is pending, though its needs are done (E1, E2)")
        slots = self.rules.max_concurrency
        held = len(self.books.alive) + len(self.books.unreported)
        if self.paused or (slots is not None and held >= slots):
            return
        for task in self.books.ready if not self.time_alone() else ():
            if self.scheduler.halt_reason is not None and not self.cleans(task):
                continue
            if not self.full_for(task) and not self.stands_behind(task):
                self.wrong(
                    f"{self.table.key(task)} is ready, every limit of it is free, and it does not start (A4, W13)"
                )

    def finish(self) -> None:
        for task in range(self.table.size):
            if task not in self.books.final:
                self.wrong(f"{self.table.key(task)} has no final status")
        if self.rules.max_concurrency is not None and self.books.peak > self.rules.max_concurrency:
            self.wrong(f"{self.books.peak} ran at once (A3)")
        for parent in set(self.table.parents.values()):
            ends = {STATUSES[self.books.final[child]] for child in self.table.children(parent)}
            self.check_cleaned(parent)
            if parent in self.table.failures:
                self.check_repaired(parent)
            elif self.counts(parent):
                self.check_quota(parent)
            elif STATUSES[self.books.final[parent]] is Status.SUCCEEDED and ends & {
                Status.NOT_STARTED,
                Status.CANCELLED,
            }:
                self.wrong(f"{self.table.key(parent)} succeeded, though not all of its children ran (E6)")
        self.check_cleaned(NONE)
        self.check_cause()
        if self.scheduler.halt_reason is None:
            self.check_all_repaired()
        cut = (Status.NOT_STARTED, Status.CANCELLED)
        rest = [STATUSES[end] for task, end in self.books.final.items() if not self.cleans(task)]
        if self.scheduler.halt_reason == "budget" and not any(end in cut for end in rest):
            self.wrong("the run's budget ended it, and nothing was left to start (X6)")
        if self.rules.on_failure is OnFailure.CONTINUE and self.scheduler.halt_reason is None:
            for task, state in self.books.final.items():
                self.check_end(task, STATUSES[state])

    def check_cleaned(self, parent: int) -> None:
        """Every cleanup ran, unless the caller insisted; and a failed one fails its run or group."""
        table, final = self.table, self.books.final
        batches = (range(table.size),) if parent == NONE else table.grown(parent)
        last = [task for rows in batches for task in rows if table.parent(task) == parent and self.is_cleanup(task)]
        for task in last:
            end = STATUSES[final[task]]
            if end in (Status.NOT_STARTED, Status.CANCELLED) and not self.insisted:
                self.wrong(f"{table.key(task)} was to clean up, and was {end}")
            failed = end in _FAILED and not table.policies[task].allow_failure
            whole = self.scheduler.status() if parent == NONE else STATUSES[final[parent]]
            if failed and whole == "succeeded":
                self.wrong(f"{table.key(task)} {end}, and what it cleaned up after {whole}")

    def check_all_repaired(self) -> None:
        """In a run that nothing ended, whatever had started and failed was to be made good where it has an `on_error`."""
        table = self.table
        for task, end in self.books.final.items():
            batch, place = table.batch_of(task)
            alone = table.parent(task) == NONE and not any(map(self.is_cleanup, table.children(task)))
            started = table.attempts(task) > 0
            if place in batch.repairs and alone and started and STATUSES[end] in _FAILED and task not in table.failures:
                self.wrong(f"{table.key(task)} {STATUSES[end]}, and its on_error did not run")

    def check_repaired(self, task: int) -> None:
        """A task with an `on_error` ended as that did, and its first error is on record."""
        table, final = self.table, self.books.final
        failure, end = table.failures[task], STATUSES[final[task]]
        repair = table.repairs.get(task)
        state = Status.NOT_STARTED if repair is None else STATUSES[final[repair]]
        good = state is Status.SUCCEEDED or (
            repair is not None and state in _FAILED and table.policies[repair].allow_failure
        )
        if end is Status.SUCCEEDED and not good:
            self.wrong(f"{table.key(task)} succeeded, and its on_error was {state}")
        if not good and (end is not STATUSES[failure.state] or table.errors.get(task) is not failure.error):
            self.wrong(f"{table.key(task)} ended {end}, and its on_error was {state}: its own end was {failure.state}")
        tried = [each.error for each in table.history[task]]
        if failure.error not in tried and final[task] == SUCCEEDED and len(tried) != table.attempts(task):
            self.wrong(f"the error of {table.key(task)} is lost")

    def check_cause(self) -> None:
        """The first cause failed by itself, and not in an `on_error` that was to make something good."""
        cause = self.scheduler.first_cause
        if cause != NONE:
            if STATUSES[self.books.final[cause]] not in _FAILED:
                self.wrong(f"the first cause {self.table.key(cause)} ended {STATUSES[self.books.final[cause]]}")
            if cause in self.table.repairs.values():
                self.wrong(f"the first cause is {self.table.key(cause)}")
        elif self.scheduler.halt_reason is None:
            for task, state in self.books.final.items():
                policy = self.table.policies[task]
                if self.table.parent(task) == NONE and STATUSES[state] in _FAILED and not policy.allow_failure:
                    self.wrong(f"{self.table.key(task)} {STATUSES[state]}, and nobody is to blame")

    def counts(self, task: int) -> bool:
        policy = self.table.policies[task]
        return policy.min_success is not None or policy.max_failures is not None or policy.reduce is not None

    def check_quota(self, parent: int) -> None:
        """A group that counts succeeded with enough successes and few enough failures, and failed without."""
        policy, children = self.table.policies[parent], self.table.members(parent)
        ends = [STATUSES[self.books.final[child]] for child in children]
        good = ends.count(Status.SUCCEEDED)
        bad = sum(
            end in _FAILED and not self.table.policies[child].allow_failure
            for child, end in zip(children, ends, strict=True)
        )
        share = policy.min_success
        need = (
            0
            if share is None
            else min(len(children), share if isinstance(share, int) else math.ceil(len(children) / 2))
        )
        most = policy.max_failures if isinstance(policy.max_failures, int) else len(children)
        end = STATUSES[self.books.final[parent]]
        if end is Status.SUCCEEDED and (
            good < need or (bad > most and policy.min_success is None and policy.reduce is None)
        ):
            self.wrong(f"{self.table.key(parent)} succeeded with {good} of {need} needed and {bad} of {most} failures")
        if policy.budget or policy.reduce is not None:
            return  # these may end it early, either way
        rest = [child for child in self.table.children(parent) if child not in children]
        if any(STATUSES[self.books.final[child]] in _FAILED for child in rest):
            return  # it failed of that
        if end is Status.FAILED and good >= need and bad <= most and self.scheduler.halt_reason is None:
            self.wrong(f"{self.table.key(parent)} failed with {good} of {need} needed and {bad} of {most} failures")
        if (
            end is Status.SUCCEEDED
            and policy.min_success is None
            and set(ends) & {Status.NOT_STARTED, Status.CANCELLED}
        ):
            self.wrong(f"{self.table.key(parent)} succeeded, though not all of its children ran (E6)")

    def check_end(self, task: int, status: Status) -> None:
        """In a run that nothing ended early, a task's needs explain whether it ran at all."""
        needs = [STATUSES[self.books.final[need]] for need in self.needs_of(task)]
        allowed = [self.table.policies[need].allow_failure for need in self.needs_of(task)]
        bad = any(
            each not in (Status.SUCCEEDED, Status.SKIPPED) and not (each in _FAILED and may)
            for each, may in zip(needs, allowed, strict=True)
        )
        if self.parents(task) or self.table.policies[task].join is not Join.ALL_SUCCESS:
            return
        if bad != (status is Status.UPSTREAM_FAILED):
            self.wrong(f"{self.table.key(task)} ended {status} with needs {[str(each) for each in needs]}")
        if not bad and Status.SKIPPED in needs and status is not Status.SKIPPED:
            self.wrong(f"{self.table.key(task)} ended {status} though a need was skipped")


def _folders(path: str) -> list[str]:
    """A path and the folders around it."""
    parts = path.split("/")
    found = ["/".join(parts[:number]) or "/" for number in range(len(parts), 0, -1)]
    return found if path.startswith("/") or path == "." else [*found, "."]


_FAILED = (Status.FAILED, Status.TIMED_OUT)
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
)
