"""Why a task stands where it stands: what it waits for and since when, or what made it end, the cause first.

Read from the scheduler's own books, so that the answer is what decides, not a second opinion about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from plait._core.groups import Family
from plait._core.limits import (
    OWNED,
    READS,
    WRITES,
    WRITES_WITHIN,
    Limit,
    PathLimit,
    RateLimit,
    Share,
    Waiter,
    goes_with,
)
from plait._core.policy import CHILD, CONTROL, MOST_GUESSES, nearest
from plait._core.scheduler import Scheduler, describe
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
    STATUSES,
    SUCCEEDED,
    TIMED_OUT,
    UPSTREAM_FAILED,
    WAITING,
    Status,
)
from plait._core.table import NEVER, NONE
from plait._core.timers import RUN, Due
from plait.errors import ChildFailed, UsageError

if TYPE_CHECKING:
    from plait._core.health import Health

MOST_NAMED = 5
"""So many needs, holders and causes are named, the others counted."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a task is in its status: `text` is one line for people, the rest is the same for programs.

    `reason` is one of `need`, `condition`, `last` (of a `finally`: it waits for all else), `slot`, `group`, `pool`, `key`, `path`, `rate`, `health`, `lent`,
    `paused` (what it waits for), `running`,
    `children`, `retry`, `input`, `succeeded`, `kept`, `failed`, `timed_out`, `skipped`, `upstream`, `stopped`. `since` and `until` are
    Unix seconds, None where nobody knows. `causes` are the keys of the tasks behind it, the first cause first.
    """

    key: str
    status: Status
    reason: str
    text: str
    since: float | None = None
    until: float | None = None
    causes: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The answer as a JSON document has it."""
        return {
            "task": self.key,
            "status": str(self.status),
            "reason": self.reason,
            "text": self.text,
            "since": self.since,
            "until": self.until,
            "causes": list(self.causes),
            **self.detail,
        }


Heard: TypeAlias = Callable[[int], float | None]
"""When the attempt of a task gave its last sign of life; None where it gave none."""


def why(
    scheduler: Scheduler,
    task: int,
    now: float,
    unix: Callable[[float], float],
    heard: Heard | None = None,
    left: str | None = None,
) -> Why:
    """Why `task` stands where it stands at `now`, on the run's clock, which `unix` reads as everybody's.

    Without `heard` signs of life are those that the scheduler was told of. `left`: nobody drives the run; what goes on with it.
    """
    return _Asked(scheduler, task, now, unix, heard or scheduler.heard.get, left).answer()


def asked(
    scheduler: Scheduler,
    key: str,
    now: float,
    unix: Callable[[float], float],
    run: str,
    heard: Heard | None = None,
    left: str | None = None,
) -> Why:
    """`why` of the task that has the path `key`.

    Raises:
        UsageError: where run `run` has none, with the nearest.
    """
    table = scheduler.table
    task = table.find(key)
    if not table.size:
        raise UsageError(f"run {run} has not begun yet")
    if task < 0:
        keys = [table.key(each) for each in range(min(table.size, MOST_GUESSES))]
        raise UsageError(f"run {run} has no task {key!r}{nearest(key, keys)}")
    return why(scheduler, task, now, unix, heard, left)


class _Asked:
    def __init__(
        self,
        scheduler: Scheduler,
        task: int,
        now: float,
        unix: Callable[[float], float],
        heard: Heard,
        left: str | None,
    ) -> None:
        self.scheduler = scheduler
        self.table = scheduler.table
        self.task = task
        self.now = now
        self.unix = unix
        self.heard = heard
        self.left = left
        self.key = self.table.key(task)

    def waits_for_a_person(self) -> Why:
        """What it asks, and since when."""
        found = self.scheduler.open_question(self.task)
        if found is None:
            return self.says("input", "is told to stop: nobody waits for its answer any more", None)
        question = found.question
        who = f" by {' or '.join(question.who)}" if question.who else ""
        what = " ".join(question.prompt.split())
        shown = what if len(what) <= 80 else what[:77] + "..."
        return self.says(
            "input", f"waits for an answer{who} to {question.address!r}: {shown}", found.asked_at, found.due
        )

    def answer(self) -> Why:
        match self.table.status[self.task]:
            case state if state == PENDING:
                return self.pending()
            case state if state == READY:
                return self.ready()
            case state if state == RUNNING:
                return self.running()
            case state if state == RETRYING:
                return self.retrying()
            case state if state == WAITING:
                return self.waits_for_a_person()
            case state if state == SUCCEEDED:
                return self.succeeded()
            case state if state in (FAILED, TIMED_OUT):
                return self.failed()
            case state if state == SKIPPED:
                return self.skipped()
            case state if state == UPSTREAM_FAILED:
                return self.upstream()
            case _:
                return self.stopped()

    def says(
        self,
        reason: str,
        text: str,
        since: float | None = None,
        until: float | None = None,
        causes: Sequence[int] = (),
        **detail: Any,
    ) -> Why:
        """The answer; `since` and `until` are on the run's clock."""
        table = self.table
        status = STATUSES[table.status[self.task]]
        known = since is not None and since != NEVER
        open_ = status not in _OVER
        passed = self.passed(since) if known and open_ else ""  # type: ignore[arg-type]
        to_go = "" if until is None else f"; {_length(max(0.0, until - self.now))} to go"
        alone = ""
        if open_ and self.left is not None:
            alone = f"; nobody drives the run now: `{self.left}` goes on with it"
            detail = {**detail, "driven": False, "next": self.left}
        return Why(
            self.key,
            status,
            reason,
            f"{self.key} {text}{passed}{to_go}{alone}",
            self.unix(since) if known else None,  # type: ignore[arg-type]
            None if until is None else self.unix(until),
            tuple(map(table.key, causes)),
            detail,
        )

    def passed(self, since: float) -> str:
        """For how long it is so; the clock of a run stands still while nobody drives it."""
        return f", for {_length(self.now - since)} {'now' if self.left is None else 'at the latest record'}"

    # -- what it waits for

    def pending(self) -> Why:
        scheduler, table = self.scheduler, self.table
        if self.task in scheduler._deciding or (self.task in scheduler._undecided and not table.left[self.task]):
            return self.says("condition", "waits until its `when` is worked out")
        if any(self.task in waiting for waiting in scheduler.cleanups.waiting.values()):
            scope = f"of {table.key(table.parent(self.task))}" if table.odd[self.task] & CHILD else "of the run"
            return self.says("last", f"waits until everything else {scope} is over", self.entered())
        open_needs = [need for need in self.needs() if table.status[need] < FINAL]
        named = [f"{table.key(need)} ({STATUSES[table.status[need]]})" for need in open_needs[:MOST_NAMED]]
        return self.says(
            "need",
            f"waits for {_listed(named, len(open_needs))}",
            since=self.entered(),
            causes=open_needs[:MOST_NAMED],
            needs=[table.key(need) for need in open_needs],
        )

    def entered(self) -> float:
        """When the task came into the run."""
        if self.table.odd[self.task] & CHILD:
            return self.table.started_at[self.table.parent(self.task)]
        return self.scheduler.began_at

    def ready(self) -> Why:
        scheduler, table = self.scheduler, self.table
        since = table.ready_at[self.task]
        if scheduler._paused:
            return self.says("paused", "waits, for the run is paused", since)
        if self.task in scheduler.lent:
            return self.says("lent", "waits at a worker, behind what that does now", since)
        if self.task in scheduler.held_back:
            return self.held_back(since)
        waiter = scheduler.admission.parked.get(self.task)
        if waiter is not None and not self.is_behind_a_slot(waiter):
            return self.parked(waiter)
        holders = self.holders(lambda task: True)
        named = [table.key(each) for each in holders[:MOST_NAMED]]
        if scheduler.used >= scheduler.room:
            what = f"waits for one of {scheduler.slots} slots: {_listed(named, len(holders))} held"
            return self.says("slot", what, since, held_by=named, slots=scheduler.slots)
        return self.says(
            "slot",
            "is about to start",
            since,
            slots=None if scheduler.rules.max_concurrency is None else scheduler.slots,
        )

    def held_back(self, since: float) -> Why:
        """So many others of its group are under way as may be."""
        table = self.table
        parent = table.parent(self.task)
        width = self.scheduler._families[parent].width
        assert width is not None
        before = width.line.index(self.task)
        under_way = sorted(width.under_way)
        named = [table.key(each) for each in under_way[:MOST_NAMED]]
        behind = f", behind {before} more" if before else ""
        return self.says(
            "group",
            f"waits for one of the {width.most} that may be under way at once in {table.key(parent)!r}: "
            f"{_listed(named, len(under_way))}{behind}",
            since,
            causes=under_way[:MOST_NAMED],
            limit=table.key(parent),
            capacity=width.most,
            used=len(under_way),
            before=before,
            held_by=named,
        )

    def is_behind_a_slot(self, waiter: Waiter) -> bool:
        """Does it wait at a limit that has room for it, for its turn behind others who wait for a slot?"""
        scheduler, limit = self.scheduler, waiter.limit
        if not isinstance(limit, Share) or limit.asked or not limit.sent:
            return False
        return scheduler.used >= scheduler.room and limit.used + waiter.weight <= limit.most

    def parked(self, waiter: Waiter) -> Why:
        """It waits at a limit."""
        scheduler, table, limit = self.scheduler, self.table, waiter.limit
        before = sum(
            1
            for other in limit.everybody()
            if other.place < waiter.place and scheduler.admission.parked.get(other.place[3]) is other
        )
        units = "" if waiter.weight == 1 else f"{waiter.weight} units of "
        behind = f", behind {before} more" if before else ""
        detail: dict[str, Any] = {
            "limit": limit.name,
            "capacity": limit.most,
            "used": min(limit.used - limit.over(self.now), limit.most),
            "weight": waiter.weight,
            "before": before,
        }
        if isinstance(limit, Share):
            detail["shared"] = True
        if isinstance(limit, Share) and limit.is_rate:
            text = f"waits for {units}{_rate_name(limit)} ({limit.total} in {limit.interval:g} s, shared with other runs){behind}"
            return self.says("rate", text, waiter.since, limit.opens_at if not before else None, **detail)
        if isinstance(limit, RateLimit):
            until = limit.opens(waiter.weight, waiter.place) if not before else None
            shut = limit.shut_until > self.now
            asked = ", whose server asked for a pause" if shut else ""
            text = f"waits for {units}{_rate_name(limit)} ({limit.capacity} in {limit.interval:g} s){asked}{behind}"
            return self.says("rate", text, waiter.since, until, **detail)
        if isinstance(limit, PathLimit):
            return self.at_path(waiter, behind, before)
        if limit.is_health:
            return self.unhealthy(cast("Health", limit), waiter, behind, before)
        holders = self.holders(lambda task: any(each is limit for each, _ in scheduler.admission.asks[task][0]))
        named = [table.key(each) for each in holders[:MOST_NAMED]]
        kept = [table.key(task) for task in limit.claims if task != self.task]
        if holders:
            held = f": {_listed(named, len(holders))} held"
        else:
            held = f": kept for {_listed(kept[:MOST_NAMED], len(kept))}" if kept else ""
        here = " in this run; it is shared with others" if limit.shared else ""
        text = (
            f"waits for {units}{limit.kind} {limit.name!r} ({detail['used']} of {limit.most} taken{held}{here}){behind}"
        )
        return self.says(limit.kind, text, waiter.since, held_by=named, **detail)

    def at_path(self, waiter: Waiter, behind: str, before: int) -> Why:
        """It waits for a path that others read or write."""
        asks, table, limit = self.scheduler.admission.asks, self.table, waiter.limit

        def has(task: int) -> int:
            return next((weight for each, weight in asks[task][0] if each is limit), 0)

        holders = self.holders(lambda task: not goes_with(waiter.weight, has(task)))
        kept = [task for task in limit.claims if task != self.task]
        named = [f"{table.key(task)} {_doing(has(task), 's')} it" for task in holders[:MOST_NAMED]]
        others = [table.key(task) for task in kept[:MOST_NAMED]]
        if holders:
            held = f": {_listed(named, len(holders))}"
        else:
            held = f": kept for {_listed(others, len(kept))}" if kept else ""
        return self.says(
            "path",
            f"waits to {_doing(waiter.weight)} {limit.name!r}{held}{behind}",
            waiter.since,
            causes=holders[:MOST_NAMED],
            path=limit.name,
            held_by=[table.key(task) for task in holders[:MOST_NAMED]],
            before=before,
        )

    def unhealthy(self, health: Health, waiter: Waiter, behind: str, before: int) -> Why:
        """Too many attempts failed."""
        until = self.scheduler.timers.at(Due.PROBE, health.number)
        errors, outcomes = health.judged
        paused = until is not None
        waits = "until a probe may start" if paused else "for what comes of a probe"
        text = (
            f"waits {waits}, for {health.what} is unhealthy ({errors} of the latest {outcomes} attempts failed){behind}"
        )
        detail: dict[str, Any] = {
            "limit": health.name or None,
            "errors": errors,
            "outcomes": outcomes,
            "before": before,
        }
        return self.says("health", text, waiter.since, until, **detail)

    def holders(self, wanted: Callable[[int], bool]) -> list[int]:
        """Tasks that hold a slot and are wanted."""
        table, scheduler = self.table, self.scheduler
        running = [task for task in table.within(RUNNING) if not table.odd[task] & CONTROL]
        found = [*running, *sorted(scheduler._abandoned)]
        return [task for task in found if wanted(task)] if scheduler.admission.asks else found

    def running(self) -> Why:
        table = self.table
        family = self.scheduler._families.get(self.task)
        since = table.started_at[self.task]
        failure = table.failures.get(self.task)
        repair = table.repairs.get(self.task, NONE)
        if failure is not None and (repair == NONE or table.status[repair] < FINAL):
            text = f"{_PAST[STATUSES[failure.state]]} ({self.told(failure.error)}), and its on_error runs"
            causes = () if repair == NONE else (repair,)
            return self.says("children", text, failure.ended_at, causes=causes, error=self.told(failure.error))
        if family is not None:
            open_ones = [child for rows in family.rows for child in rows if table.status[child] < FINAL]
            named = [f"{table.key(child)} ({STATUSES[table.status[child]]})" for child in open_ones[:MOST_NAMED]]
            text = f"waits for its children: {_listed(named, len(open_ones))}"
            return self.says("children", text, since, causes=open_ones[:MOST_NAMED], left=len(open_ones))
        stopped = self.scheduler._stops.of.get(self.task)
        number = table.attempts(self.task)
        attempt = f" (attempt {number})" if number > 1 else ""
        if stopped is not None:
            return self.says("running", f"was told to stop ({stopped.why}) and has not ended yet{attempt}", since)
        return self.says("running", f"runs{attempt}{self.last_heard()}", since, **self.signs())

    def last_heard(self) -> str:
        """When it gave its last sign of life, and how long it may be silent."""
        heard, idle = self.heard(self.task), self.table.policies[self.task].idle_timeout
        said = "" if heard is None else f", last heard of {_length(self.now - heard)} ago"
        return said if idle is None else f"{said}, and may be silent for {_length(idle)}"

    def signs(self) -> dict[str, Any]:
        """The same for programs."""
        heard, idle = self.heard(self.task), self.table.policies[self.task].idle_timeout
        found: dict[str, Any] = {} if heard is None else {"heard_at": self.unix(heard)}
        return found if idle is None else {**found, "idle_timeout": idle}

    def retrying(self) -> Why:
        tries = self.table.history.get(self.task, ())
        error = f" after {describe(tries[-1].error)}" if tries else ""
        until = self.scheduler.timers.at(Due.RETRY, self.task)
        return self.says(
            "retry",
            f"waits for its next attempt{error}",
            tries[-1].ended_at if tries else None,
            until,
            tries=len(tries),
        )

    # -- what made it end

    def succeeded(self) -> Why:
        table = self.table
        if self.task in table.kept:
            return self.says("kept", "succeeded in an earlier generation of the run, and was not run again")
        failure = table.failures.get(self.task)
        if failure is not None:
            error = self.told(failure.error)
            return self.says(
                "succeeded", f"succeeded by its on_error, after {error}", table.ended_at[self.task], error=error
            )
        number = table.attempts(self.task)
        return self.says(
            "succeeded", f"succeeded{f' with attempt {number}' if number > 1 else ''}", table.ended_at[self.task]
        )

    def failed(self) -> Why:
        table = self.table
        timed_out = table.status[self.task] == TIMED_OUT
        causes = self.causes_of(self.task)
        first = causes[0]
        number = table.attempts(self.task)
        tries = f", after {number} attempts" if number > 1 else ""
        if first != self.task:
            text = f"failed, for {table.key(first)} did: {self.error(first)}{tries}"
        elif timed_out:
            text = f"timed out: {self.error(self.task)}{tries}"
        else:
            text = f"failed: {self.error(self.task)}{tries}"
        return self.says(
            "timed_out" if timed_out else "failed",
            text,
            table.ended_at[self.task],
            causes=causes,
            error=self.error(first),
        )

    def skipped(self) -> Why:
        table = self.table
        skipped = [need for need in self.needs() if table.status[need] == SKIPPED]
        if self.task in table.kept:
            return self.says("skipped", "was skipped in an earlier generation of the run")
        if skipped:
            first = self.first_skipped(skipped[0])
            return self.says(
                "skipped", f"was skipped, for {table.key(first)} was", table.ended_at[self.task], causes=[first]
            )
        if self.needs() and self.join_unmet():
            return self.says("skipped", "was skipped: its `join` cannot be met any more", table.ended_at[self.task])
        return self.says("skipped", "was skipped: its `when` is false", table.ended_at[self.task])

    def join_unmet(self) -> bool:
        """Was it skipped for how its needs ended, and not by its condition?"""
        batch, place = self.table.batch_of(self.task)
        return place not in batch.conditional

    def first_skipped(self, task: int) -> int:
        while True:
            before = [need for need in self.needs(task) if self.table.status[need] == SKIPPED]
            if not before:
                return task
            task = before[0]

    def upstream(self) -> Why:
        causes = self.causes_of(self.task)
        first = causes[0]
        status = STATUSES[self.table.status[first]]
        text = f"did not run, for {self.table.key(first)} {_PAST.get(status, str(status))}: {self.error(first)}"
        if len(causes) > 2:
            text += f" (by way of {_listed([self.table.key(each) for each in causes[1:-1][-MOST_NAMED:]], len(causes) - 2)})"
        return self.says("upstream", text, self.table.ended_at[self.task], causes=causes[:-1], error=self.error(first))

    def stopped(self) -> Why:
        """Cancelled, or not started: its run or its group ended."""
        scheduler, table = self.scheduler, self.table
        what = "was cancelled" if table.status[self.task] == CANCELLED else "was not started"
        if table.status[self.task] == NOT_STARTED and scheduler.left:
            what = "was not started"
        family = self.halted_family()
        since = table.ended_at[self.task]
        if family is not None and scheduler.halt_reason is None:
            return self.ended_with(family, what, since)
        match scheduler.halt_reason:
            case "failure":
                first = scheduler.first_cause
                causes = self.causes_of(first) if first != NONE else []
                root = causes[0] if causes else NONE
                text = f"{what}: the run ended, for {table.key(root)} failed: {self.error(root)}" if causes else what
                return self.says("stopped", text, since, causes=causes, error=self.error(root) if causes else None)
            case "deadline":
                return self.says(
                    "stopped", f"{what}: the run passed its deadline of {scheduler.rules.deadline:g} s", since
                )
            case "stuck":
                return self.says("stopped", f"{what}: attempts that could not be stopped held all it needed", since)
            case "budget":
                return self.says(
                    "stopped", f"{what}: the run ended, for {scheduler.spending.budgets[RUN].over()}", since
                )
            case "cancel":
                return self.says("stopped", f"{what}: the run was cancelled", since)
        return self.says("stopped", what, since)

    def halted_family(self) -> Family | None:
        """The outermost group around the task that ended before all in it had."""
        found = None
        task = self.task
        while self.table.odd[task] & CHILD:
            task = self.table.parent(task)
            family = self.scheduler._families.get(task)
            if family is not None and family.halted is not None:
                found = family
        return found

    def ended_with(self, family: Family, what: str, since: float) -> Why:
        table = self.table
        parent = table.key(family.parent)
        if family.enough:
            successes = "1 success" if family.need == 1 else f"{family.need} successes"
            enough = "is decided" if family.need is None else f"had the {successes} that it needs"
            text = f"{what}: its group {parent} {enough}"
            return self.says("stopped", text, since, causes=[family.parent])
        if family.failed != NONE and table.status[family.parent] == FAILED:
            causes = self.causes_of(family.failed)
            text = f"{what}: its group {parent} ended, for {table.key(causes[0])} failed: {self.error(causes[0])}"
            return self.says("stopped", text, since, causes=causes, error=self.error(causes[0]))
        if family.verdict_text:
            text = f"{what}: its group {parent} ended, for {family.verdict_text}"
            return self.says("stopped", text, since, causes=[family.parent])
        ended = _PAST.get(STATUSES[table.status[family.parent]], "ended")
        return self.says("stopped", f"{what}: its group {parent} {ended}", since, causes=[family.parent])

    # -- what lies behind

    def needs(self, task: int = NONE) -> list[int]:
        task = self.task if task == NONE else task
        batch, place = self.table.batch_of(task)
        if batch.needs is None:
            return []
        return list(dict.fromkeys(task - place + need for need in batch.needs[place]))

    def causes_of(self, task: int) -> list[int]:
        """The chain that ends in `task`, the first cause first: needs that failed, and children that made their parents fail."""
        chain = [task]
        while True:
            before = self.behind(chain[-1])
            if before == NONE or before in chain:
                return chain[::-1]
            chain.append(before)

    def behind(self, task: int) -> int:
        table = self.table
        state = table.status[task]
        if state == UPSTREAM_FAILED:
            bad = [
                need
                for need in self.needs(task)
                if table.status[need] not in (SUCCEEDED, SKIPPED) and table.status[need] >= FINAL
            ]
            return bad[0] if bad else NONE
        if state == FAILED and isinstance(table.errors.get(task), ChildFailed):
            family = self.scheduler._families.get(task)
            return self.scheduler._causes.get(task, NONE if family is None else family.failed)
        return NONE

    def error(self, task: int) -> str:
        return self.told(self.table.errors.get(task))

    def told(self, error: BaseException | None) -> str:
        return describe(error.root if isinstance(error, ChildFailed) else error)


_OVER = frozenset(each for each in Status if each.final)
_PAST = {
    Status.FAILED: "failed",
    Status.TIMED_OUT: "timed out",
    Status.CANCELLED: "was cancelled",
    Status.NOT_STARTED: "was not started",
    Status.SKIPPED: "was skipped",
    Status.SUCCEEDED: "succeeded",
}


def _rate_name(limit: Limit) -> str:
    return "its rate" if limit.name.startswith(OWNED) or not limit.name else f"rate {limit.name!r}"


def _doing(weight: int, ending: str = "") -> str:
    """What somebody does to a path, by what it took of it."""
    writes = weight >= WRITES or weight % READS >= WRITES_WITHIN
    return f"{'write' if writes else 'read'}{ending}{' in' if weight < READS else ''}"


def _listed(names: Sequence[str], count: int) -> str:
    """`a, b and 3 more`."""
    shown = ", ".join(names)
    more = count - len(names)
    return f"{shown} and {more} more" if more > 0 else shown or "nothing"


def _length(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
