"""What a simulated run may do: the books of the checks, and the checks.

The books know the scheduler's table only through its moves, and what the play tells them, so that a wrong scheduler cannot
agree with itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from plait._core.commands import Stop
from plait._core.health import HealthMonitor
from plait._core.limits import Share
from plait._core.policy import CONTROL, Join, OnConflict, OnFailure, OnInterrupt, Rules
from plait._core.questions import BY_DEFAULT, INTERRUPT, RERUN
from plait._core.questions import TIMED_OUT as NOBODY
from plait._core.scheduler import Scheduler
from plait._core.states import FINAL, PENDING, READY, RUNNING, STATUSES, SUCCEEDED, WAITING, Status
from plait._core.table import NONE, Move
from plait.errors import ChildFailed, Declined, PlaitError, Rejected, RetryAfter, TaskInterrupted, TaskTimedOut
from plait.testing.others import Others


class SimulationError(PlaitError):
    """A promise did not hold; the message names it, the seed and the last moves before it."""

    code = "SIMULATION"


@dataclass
class Live:
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
class Units:
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


class Books:
    """What the checks know: their own counts, from the moves and from what they are told was started and ended."""

    def __init__(self, seed: int, rules: Rules, scheduler: Scheduler, others: Others) -> None:
        self.seed = seed
        self.rules = rules
        self.scheduler = scheduler
        self.table = scheduler.table
        self.now = 0.0
        self.moves: list[Move] = []
        self.others = others  # who else has parts of the limits
        # What was done to the run from outside.
        self.halted = False
        self.cancels = 0
        self.paused = False
        self.was_lent: set[int] = set()
        # What it came to so far.
        self.final: dict[int, int] = {}
        self.alive: dict[int, Live] = {}  # attempts whose code may still run, by task
        self.unreported: dict[int, Live] = {}  # attempts whose code ended, their report under way
        self.peak = 0
        self.ready: dict[int, tuple[int, int]] = {}  # ready tasks: aged level, and in which order they got so
        self.was_ready: dict[int, tuple[int, int]] = {}  # the same of every task, the last time
        self.ticket = 0
        self.under_way: dict[int, set[int]] = {}  # by the parent: its children that a width lets be under way
        self.in_line: dict[int, list[int]] = {}  # and those that wait for one of them to end
        self.were_in_line: set[int] = set()
        self.first = 0
        self.units: dict[tuple[str, int, float], list[Units]] = {}  # by rate
        self.shut: dict[tuple[str, int, float], float] = {}
        self.maybe_shut: dict[tuple[str, int, float], float] = {}
        self.spent: dict[int, int] = {}  # dollars, by task and by what it is in
        self.uncounted: dict[int, int] = {}  # attempts that only asked to be called later
        self.ran_s: dict[int, float] = {}  # seconds of code in the latest attempt
        self.numbers: dict[int, int] = {}
        self.watched = {pool: _Watched(monitor) for pool, monitor in rules.health}
        self.unwanted: set[int] = set()  # tasks that somebody cancelled
        self.gone: set[int] = set()  # waiting tasks whose code died with its process
        self.cut_short: set[int] = set()  # and must not run again before a person has said so
        self.answers: dict[int, list[int]] = {}  # by task, the numbers of its questions that had an answer
        self._known_uses: dict[int, list[tuple[Any, int, int]]] = {}

    def goes_on(self, task: int, number: int) -> bool:
        """Is it the attempt that was there before it asked for input?"""
        return self.numbers.get(task) == number

    def died(self) -> None:
        """None of the code runs any more, and no report of it is to come: what it used of rates it may have used until now."""
        for task in (*self.alive, *self.unreported):
            self.given_up(task, self.now)
        waiting = [task for task in range(self.table.size) if self.table.status[task] == WAITING]
        going_on = [task for task in self.ready if task in self.scheduler.admission.answered]
        for task in (*waiting, *going_on):
            if task not in self.gone and not self.is_about_interruption(task):
                self.uncounted[task] = self.uncounted.get(task, 0) + 1
        self.gone.update(waiting)
        cut = (task for task, live in self.alive.items() if not live.stopping)  # the others were ending anyway
        for task in (*cut, *waiting, *going_on):
            if self.table.policies[task].on_interrupt is not OnInterrupt.RERUN and not self.table.odd[task] & CONTROL:
                self.cut_short.add(task)
        self.alive.clear()
        self.unreported.clear()
        self.paused = False

    def is_about_interruption(self, task: int) -> bool:
        """Is a person asked what is to become of it?"""
        found = self.scheduler.open_question(task)
        return found is not None and found.question.kind == INTERRUPT

    def answered(self, task: int, number: int, value: Any) -> None:
        """Somebody is about to answer: exactly one answer of each question counts, and only while it is open."""
        found = self.scheduler.open_question(task, number)
        if found is None:
            return
        if number in self.answers.setdefault(task, []):
            self.wrong(f"question {number} of {self.table.key(task)} is open, and was answered (F74)")
        self.answers[task].append(number)
        if isinstance(value, dict) and value.get("action") == RERUN:
            self.cut_short.discard(task)

    def count_units(self, task: int, by: float) -> None:
        for units in self.open_units(task):
            units.by = by

    def given_up(self, task: int, at: float) -> None:
        """Its attempt is not told when it ended, and never will be: it has begun by now."""
        for entries in self.units.values():
            for units in entries:
                if units.task == task and not units.known:
                    units.by, units.known = at, True

    def reported_units(self, task: int) -> None:
        for entries in self.units.values():
            for units in entries:
                if units.task == task and units.by is not None:
                    units.known = True

    def open_units(self, task: int) -> list[Units]:
        return [
            units for entries in self.units.values() for units in entries if units.task == task and units.by is None
        ]

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
            self.spent.get(scope, 0) >= dict(budget).get("usd", math.inf)
            for scope, budget in limits.items()
            if around or scope not in self.table.failures  # what is done about a failure is not paid for by what failed
        )

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
        working = self.alive.keys() - self.table.unenforced
        return all(other in self.final for other in scope) and not working & set(scope)

    def within_cleanup_of(self, parent: int, task: int) -> bool:
        """Is `task` a cleanup of that group (`NONE`: of the run), or in one?"""
        return any(self.is_cleanup(each) and self.table.parent(each) == parent for each in (task, *self.parents(task)))

    def reported(self, live: Live) -> None:
        if self.unreported.get(live.task) is live:
            del self.unreported[live.task]

    @property
    def insisted(self) -> bool:
        """Were cleanups ended, too?"""
        return self.cancels > 1 or self.scheduler.halt_reason == "stuck" or bool(self.table.unenforced)

    def wrong(self, what: str) -> None:
        story = "\n".join(
            f"  {move.at:10.3f} {self.table.key(move.task)}: {STATUSES[move.old]} -> {STATUSES[move.new]} (attempt {move.attempt})"
            for move in self.moves[-25:]
        )
        raise SimulationError(f"seed {self.seed}, at {self.now:.3f}: {what}\nlast moves:\n{story}")

    def see_moves(self) -> None:
        """What the scheduler's table went through since the last look."""
        assert self.table.moves is not None
        moves, self.table.moves = self.table.moves, []
        for move in moves:
            self.moves.append(move)
            self._see(move)

    def _see(self, move: Move) -> None:
        task, key, control = move.task, self.table.key(move.task), self.table.odd[move.task] & CONTROL
        if task in self.final:
            self.wrong(f"{key} left its final status (W14)")
        if move.new >= FINAL:
            self._see_end(move)
        if move.old == RUNNING:
            for watched in self.watchers(task):
                watched.ends_with(task, self.speaks(move), move.at)
        self.ready.pop(task, None)
        if move.old == WAITING:
            self.gone.discard(task)
        if move.old == RUNNING and move.new == WAITING and self.is_about_interruption(task):
            self.uncounted[task] = self.uncounted.get(task, 0) + 1
        if move.old == RUNNING and move.new == READY:
            # A crash cut it short: that was no try, and it had its turn.
            self.uncounted[task] = self.uncounted.get(task, 0) + 1
            self.first -= 1
            self.ready[task] = self.was_ready[task] = (self.was_ready[task][0], self.first)
        elif move.new == READY and not control:
            self.ticket += 1
            # Worth 60 s of waiting is each level, in steps of a second.
            aged = math.floor((move.at - self.table.policies[task].priority * 60.0) / 1.0)
            self.was_ready[task] = (aged, self.ticket)
            if self.begins_at_once(task):
                self.ready[task] = self.was_ready[task]
        elif move.new == READY:
            self.begins_at_once(task)
        elif move.new == RUNNING and task in self.in_line.get(self.table.parent(task), ()):
            self.wrong(f"{key} begins, and as many of its siblings are under way as may be (A4)")
        if move.old == PENDING and move.new == READY and self.is_cleanup(task):
            self.check_last(move)
        begins = move.new == RUNNING and not control and task not in self.was_lent
        if self.halted and begins and not self.cleans(task):
            self.wrong(f"{key} started after the run was ended")

    def _see_end(self, move: Move) -> None:
        task = move.task
        self.final[task] = move.new
        self.follow(task)
        self.given_up(task, move.at)
        timeout = self.table.policies[task].timeout
        ran = self.ran_s.get(task, 0.0)
        control = self.table.odd[task] & CONTROL
        if (
            move.new == SUCCEEDED
            and move.old == RUNNING
            and timeout is not None
            and ran > timeout + 1e-6
            and not control
        ):
            self.wrong(f"{self.table.key(task)} succeeded after {ran} s with a timeout of {timeout} s (C9)")

    def begins_at_once(self, task: int) -> bool:
        """A task got ready: is it one that need not wait for its siblings?"""
        parent = self.table.parent(task)
        batch, place = self.table.batch_of(task)
        most = None if parent == NONE else self.table.policies[parent].width
        under_way = self.under_way.setdefault(parent, set())
        if most is None or batch.is_repair or place in batch.cleanups or task in under_way:
            return True
        if len(under_way) < most:
            under_way.add(task)
            return True
        self.in_line.setdefault(parent, []).append(task)
        self.were_in_line.add(task)
        return False

    def follow(self, task: int) -> None:
        """A task is final: those that waited for it begin, in the order in which they got ready."""
        parent = self.table.parent(task)
        under_way, line = self.under_way.get(parent, set()), self.in_line.get(parent, [])
        if task in line:
            line.remove(task)
        under_way.discard(task)
        while line and len(under_way) < (self.table.policies[parent].width or 0):
            following = line.pop(0)
            under_way.add(following)
            if not self.table.odd[following] & CONTROL:
                self.ready[following] = self.was_ready[following]

    def check_widths(self) -> None:
        """A4, D4: who holds no slot and need not wait for its siblings is at work."""
        for under_way in self.under_way.values():
            for task in under_way:
                if self.table.odd[task] & CONTROL and self.table.status[task] == READY:
                    self.wrong(f"{self.table.key(task)} waits, and there is room for it among its siblings (A4)")

    def comes_first(self, other: int, task: int) -> bool:
        """Was `other` to start before `task`? Of one level those that waited for siblings stand where they do."""
        mine, place = self.was_ready[task], self.was_ready[other]
        return place < mine and (place[0] < mine[0] or not {task, other} & self.were_in_line)

    def check_last(self, move: Move) -> None:
        """A cleanup begins when everything else of its run or group is over."""
        if not self.insisted and not self.others_over(move.task):
            self.wrong(f"{self.table.key(move.task)} cleans up, and not everything else is over")

    def check_start(self, task: int, number: int, passed: bool) -> None:
        table = self.table
        key = table.key(task)
        if task in self.cut_short:
            self.wrong(f"{key} was cut short, must not run twice, and starts (W5)")
        if task in self.unwanted and not self.goes_on(task, number):
            self.wrong(f"{key} starts, and somebody had cancelled it")
        if self.paused and not passed:
            self.wrong(f"{key} started while the run was paused")
        if task in self.alive or task in self.unreported:
            self.wrong(f"attempt {number} of {key} started while an earlier one was alive")
        slots = self.rules.max_concurrency
        if slots is not None and len(self.alive) >= slots:
            self.wrong(f"{key} started as number {len(self.alive) + 1} of {slots} (A3, W10)")
        for other in self.held():
            if self.meeting(task, other):
                self.wrong(f"{key} started beside {table.key(other)}, at {self.meeting(task, other)} (B19)")
        for what, weight, capacity in self.uses(task):
            taken = self.taken(what, self.alive) + self.of_others(what)
            if taken + weight > capacity:
                self.wrong(f"{key} started with {taken} + {weight} of {capacity} in use of {what} (X4)")
        for rate in table.policies[task].rate_limit if not self.goes_on(task, number) else ():
            used = self.used_of(rate, certain=False)
            if used + table.policies[task].cost > rate[1]:
                self.wrong(f"{key} started as {used} + {table.policies[task].cost} of rate {rate} (B8)")
            if self.shares is not None and used + self.of_others(rate) + table.policies[task].cost > rate[1]:
                self.wrong(f"{key} started as {used} of rate {rate} were used here, and more by others (X4, B8)")
            if self.now < self.shut.get(rate, -1.0):
                self.wrong(f"{key} started before {self.shut[rate]}, when rate {rate} was to be used again (X5)")
        for watched in self.watchers(task):
            if watched.refuses(self.now):
                self.wrong(f"{key} started, though what it uses is unhealthy until {watched.shut_until} (B17)")
        if number > table.policies[task].retry.attempts + self.uncounted.get(task, 0):
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
        if not self.watched or self.cleans(task):
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
        if isinstance(error, (RetryAfter, TaskInterrupted)) or (
            isinstance(error, TaskTimedOut) and "deadline" in str(error)
        ):
            return None
        return False

    def check_tried_enough(self, task: int, number: int, error: BaseException) -> None:
        """A failure that ends a task was the last one that it may have."""
        table = self.table
        tries = number - self.uncounted.get(task, 0)
        ended = table.failures[task].error if task in table.failures else table.errors.get(task)
        if (
            ended is error
            and not isinstance(error, Rejected)
            and tries < table.policies[task].retry.attempts
            and self.scheduler.halt_reason is None
            and not self.parents(task)
            and not self.broke(task)
        ):
            self.wrong(f"{table.key(task)} failed with try {tries} of {table.policies[task].retry.attempts} (B15)")

    def check_stop(self, live: Live, why: str) -> None:
        """No clock runs out before its time."""
        policy = self.table.policies[live.task]
        ran = self.ran_s[live.task] + self.now - live.began_at
        if why == Stop.TIMEOUT and (policy.timeout is None or ran < policy.timeout - 1e-6):
            self.wrong(f"{self.table.key(live.task)} timed out after {ran} s of {policy.timeout}")
        if why == Stop.IDLE and (policy.idle_timeout is None or self.silence(live) < policy.idle_timeout - 1e-6):
            self.wrong(f"{self.table.key(live.task)} was ended as idle, and last heard {self.silence(live)} s before")

    def silence(self, live: Live) -> float:
        """For how long an attempt gave no sign of life."""
        return self.now - live.heard(self.now)

    def check_silence(self) -> None:
        """No attempt that says nothing goes on for ever."""
        for live in self.alive.values() if not self.time_alone() else ():
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
        ended = [self.final.get(need) for need in needs]
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
        wants = {what for what, _, _ in self.uses(task)} | self.paths(task) | set(map(id, self.watchers(task)))
        if not self.goes_on(task, self.table.attempts(task)):
            wants |= set(self.table.policies[task].rate_limit)
        for other in self.ready:
            if other in self.scheduler.lent or {other, task} <= self.was_lent:
                continue  # somebody at work has it; those that come back at different times have lost their order
            if other in self.was_lent and wants:
                continue  # and so have those that come back from a limit
            if self.comes_first(other, task) and not self.time_alone():
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
        found = self._known_uses.get(task)
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
            self._known_uses[task] = found
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
            for units in self.units.get(rate, ())
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
            until = max(self.shut.get(rate, -1.0), self.maybe_shut.get(rate, -1.0))
            if used + policy.cost > rate[1] or self.now <= until:
                full.add(rate)
        return full

    def stands_behind(self, task: int) -> bool:
        """Does somebody before it in the order wait for something that it wants, too?"""
        wants = self.wants(task)
        return any(
            not self.comes_first(task, other) and other != task and wants & self.wants(other) for other in self.ready
        )

    def wants(self, task: int) -> set[Any]:
        """Everything that a task may have to wait for beside a slot."""
        found = {what for what, _, _ in self.uses(task)} | set(self.table.policies[task].rate_limit) | self.paths(task)
        return found | set(map(id, self.watchers(task)))

    def held(self) -> list[int]:
        """Tasks whose slot cannot be known to be free."""
        return [*self.alive, *self.unreported]

    def check_work_conserved(self) -> None:
        """W13: with a free slot, every ready task waits for a full limit of its groups."""
        for task in self.table.within(PENDING):
            if self.is_cleanup(task):
                if not self.needs_of(task) and task not in self.scheduler._deciding and self.others_over(task):
                    self.wrong(f"{self.table.key(task)} is pending, though everything else is over")
            elif self.join_holds(task)[0] and self.scheduler.halt_reason is None:
                self.wrong(f"{self.table.key(task)} is pending, though its needs are done (E1, E2)")
        slots = self.rules.max_concurrency
        held = len(self.alive) + len(self.unreported)
        if self.paused or (slots is not None and held >= slots):
            return
        for task in self.ready if not self.time_alone() else ():
            if self.scheduler.halt_reason is not None and not self.cleans(task):
                continue
            if not self.full_for(task) and not self.stands_behind(task):
                self.wrong(
                    f"{self.table.key(task)} is ready, every limit of it is free, and it does not start (A4, W13)"
                )

    def finish(self) -> None:
        for task in range(self.table.size):
            if task not in self.final:
                self.wrong(f"{self.table.key(task)} has no final status")
        if self.rules.max_concurrency is not None and self.peak > self.rules.max_concurrency:
            self.wrong(f"{self.peak} ran at once (A3)")
        for parent in set(self.table.parents.values()):
            ends = {
                STATUSES[self.final[child]]
                for rows in self.table.grown(parent)
                for child in rows
                if child not in self.unwanted
                or not (self.table.policies[child].allow_failure or self.is_cleanup(child))
            }
            self.check_cleaned(parent)
            if parent in self.table.failures:
                self.check_repaired(parent)
            elif self.counts(parent):
                self.check_quota(parent)
            elif STATUSES[self.final[parent]] is Status.SUCCEEDED and ends & {
                Status.NOT_STARTED,
                Status.CANCELLED,
            }:
                self.wrong(f"{self.table.key(parent)} succeeded, though not all of its children ran (E6)")
        self.check_cleaned(NONE)
        self.check_cause()
        self.check_questions()
        if self.scheduler.halt_reason is None:
            self.check_all_repaired()
        cut = (Status.NOT_STARTED, Status.CANCELLED)
        rest = [STATUSES[end] for task, end in self.final.items() if not self.cleans(task)]
        if self.scheduler.halt_reason == "budget" and not any(end in cut for end in rest):
            self.wrong("the run's budget ended it, and nothing was left to start (X6)")
        if self.rules.on_failure is OnFailure.CONTINUE and self.scheduler.halt_reason is None:
            for task, state in self.final.items():
                self.check_end(task, STATUSES[state])

    def check_questions(self) -> None:
        """Every question came to an end, and a default counts where nobody answered in time."""
        questions = self.scheduler.questions
        for task, inputs in questions.of.items() if questions is not None else ():
            for each in inputs:
                default, key = each.question.default, self.table.key(task)
                if each.what is None:
                    self.wrong(f"question {each.number} of {key} is open at the end (E7)")
                if each.what == BY_DEFAULT and default != (each.value,):
                    self.wrong(f"question {each.number} of {key} has {default} for its default, not {each.value} (E7)")
                if each.what == NOBODY and default:
                    self.wrong(f"question {each.number} of {key} has a default, and {key} timed out (E7)")

    def check_cleaned(self, parent: int) -> None:
        """Every cleanup ran, unless the caller insisted; and a failed one fails its run or group."""
        table, final = self.table, self.final
        batches = (range(table.size),) if parent == NONE else table.grown(parent)
        last = [task for rows in batches for task in rows if table.parent(task) == parent and self.is_cleanup(task)]
        for task in last:
            end = STATUSES[final[task]]
            wanted = not self.unwanted & {task, *self.parents(task)}
            if end in (Status.NOT_STARTED, Status.CANCELLED) and not self.insisted and wanted:
                self.wrong(f"{table.key(task)} was to clean up, and was {end}")
            failed = end in _FAILED and not table.policies[task].allow_failure
            whole = self.scheduler.status() if parent == NONE else STATUSES[final[parent]]
            if failed and whole == "succeeded" and not self.insisted:  # else it was a task like all others
                self.wrong(f"{table.key(task)} {end}, and what it cleaned up after {whole}")

    def check_all_repaired(self) -> None:
        """In a run that nothing ended, whatever had started and failed was to be made good where it has an `on_error`."""
        table = self.table
        for task, end in self.final.items():
            batch, place = table.batch_of(task)
            alone = table.parent(task) == NONE and not any(map(self.is_cleanup, table.children(task)))
            started = table.attempts(task) > 0
            refused = isinstance(self.root(task), Rejected)
            failed = STATUSES[end] in _FAILED and not refused
            if place in batch.repairs and alone and started and failed and task not in table.failures:
                self.wrong(f"{table.key(task)} {STATUSES[end]}, and its on_error did not run")

    def check_repaired(self, task: int) -> None:
        """A task with an `on_error` ended as that did, and its first error is on record."""
        table, final = self.table, self.final
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
            if STATUSES[self.final[cause]] not in _FAILED and cause not in self.unwanted:
                self.wrong(f"the first cause {self.table.key(cause)} ended {STATUSES[self.final[cause]]}")
            if cause in self.table.repairs.values():
                self.wrong(f"the first cause is {self.table.key(cause)}")
            self.check_declined(cause)
        elif self.scheduler.halt_reason is None:
            for task, state in self.final.items():
                policy = self.table.policies[task]
                if self.table.parent(task) == NONE and STATUSES[state] in _FAILED and not policy.allow_failure:
                    self.wrong(f"{self.table.key(task)} {STATUSES[state]}, and nobody is to blame")

    def root(self, task: int) -> BaseException | None:
        """The error at the bottom of that of a task."""
        error = self.table.errors.get(task)
        return error.root if isinstance(error, ChildFailed) else error

    def check_declined(self, cause: int) -> None:
        """Who said no at a gate ended nothing else, and is to blame where nothing else failed (A18)."""
        declined = isinstance(self.root(cause), Declined)
        halted, status = self.scheduler.halt_reason, self.scheduler.status()
        if declined and halted in ("failure", "rejected"):
            self.wrong(f"the run was ended ({halted}) by {self.table.key(cause)}, which was declined")
        if halted is None and declined != (status == "rejected"):
            self.wrong(f"the run is {status}, and its first cause was{'' if declined else ' not'} declined")
        for task, state in self.final.items() if declined and halted is None else ():
            mine = self.table.parent(task) == NONE and not self.table.policies[task].allow_failure
            if mine and STATUSES[state] in _FAILED and not isinstance(self.root(task), Declined):
                self.wrong(f"{self.table.key(task)} failed, and {self.table.key(cause)} is the first cause")

    def counts(self, task: int) -> bool:
        policy = self.table.policies[task]
        return policy.min_success is not None or policy.max_failures is not None or policy.reduce is not None

    def check_quota(self, parent: int) -> None:
        """A group that counts succeeded with enough successes and few enough failures, and failed without."""
        policy, children = self.table.policies[parent], self.table.members(parent)
        ends = [STATUSES[self.final[child]] for child in children]
        good = ends.count(Status.SUCCEEDED)
        bad = sum(
            (end in _FAILED or child in self.unwanted) and not self.table.policies[child].allow_failure
            for child, end in zip(children, ends, strict=True)
        )
        share = policy.min_success
        need = (
            0
            if share is None
            else min(len(children), share if isinstance(share, int) else math.ceil(len(children) / 2))
        )
        most = policy.max_failures if isinstance(policy.max_failures, int) else len(children)
        end = STATUSES[self.final[parent]]
        if end is Status.SUCCEEDED and (
            good < need or (bad > most and policy.min_success is None and policy.reduce is None)
        ):
            self.wrong(f"{self.table.key(parent)} succeeded with {good} of {need} needed and {bad} of {most} failures")
        if policy.budget or policy.reduce is not None:
            return  # these may end it early, either way
        rest = [child for child in self.table.children(parent) if child not in children]
        if any(STATUSES[self.final[child]] in _FAILED for child in rest):
            return  # it failed of that
        if end is Status.FAILED and good >= need and bad <= most and self.scheduler.halt_reason is None:
            self.wrong(f"{self.table.key(parent)} failed with {good} of {need} needed and {bad} of {most} failures")
        if (
            end is Status.SUCCEEDED
            and policy.min_success is None
            and {STATUSES[self.final[child]] for child in children if child not in self.unwanted}
            & {Status.NOT_STARTED, Status.CANCELLED}
        ):
            self.wrong(f"{self.table.key(parent)} succeeded, though not all of its children ran (E6)")

    def check_end(self, task: int, status: Status) -> None:
        """In a run that nothing ended early, a task's needs explain whether it ran at all."""
        needs = [STATUSES[self.final[need]] for need in self.needs_of(task)]
        allowed = [self.table.policies[need].allow_failure for need in self.needs_of(task)]
        bad = any(
            each not in (Status.SUCCEEDED, Status.SKIPPED) and not (each in _FAILED and may)
            for each, may in zip(needs, allowed, strict=True)
        )
        if self.parents(task) or self.table.policies[task].join is not Join.ALL_SUCCESS or task in self.unwanted:
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
