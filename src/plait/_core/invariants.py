"""What must hold after every event: checked by the tests and the simulation, at the cost of looking at everything."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import cast

from plait._core.limits import Limit, RateLimit, Share
from plait._core.policy import CHILD, CONTROL, LIMITED
from plait._core.scheduler import Scheduler
from plait._core.states import FINAL, NOT_STARTED, PENDING, READY, RUNNING, UPSTREAM_FAILED, WAITING
from plait._core.table import NEVER, NONE, VACANT
from plait._core.timers import Due
from plait.errors import InvariantError


def check(scheduler: Scheduler) -> None:
    """Nothing, if the scheduler's books agree with its table.

    Raises:
        InvariantError: naming the first law that does not hold.
    """
    table = scheduler.table
    status = table.status
    leaves = [task for task in range(table.size) if status[task] == RUNNING and not table.odd[task] & CONTROL]
    holding = leaves + sorted(scheduler._abandoned)
    _law(len(set(holding)) == len(holding), lambda: "an attempt is abandoned and running at once")
    _law(scheduler.used == len(holding), lambda: f"{scheduler.used} slots are counted, {len(holding)} are held")
    _law(scheduler.used <= scheduler.slots, lambda: f"{scheduler.used} of {scheduler.slots} slots are held")
    alive = [task for task in range(table.size) if status[task] < FINAL]
    _law(scheduler.unfinished == len(alive), lambda: f"{scheduler.unfinished} are counted unfinished, {len(alive)} are")
    _check_limits(scheduler, holding)
    _check_queue(scheduler)
    _check_widths(scheduler)
    _check_needs(scheduler)
    for parent, family in scheduler._families.items():
        left = sum(map(table.alive, family.rows)) - scheduler.cleanups.left(parent)
        _law(family.left == left, lambda: f"{table.key(parent)}: {family.left} children are counted alive, {left} are")
        if status[parent] >= FINAL:
            _law(left == 0, lambda: f"{table.key(parent)} is final before its children")
    for task in range(table.size):
        if status[task] in (NOT_STARTED, UPSTREAM_FAILED):
            _law(table.started_at[task] == NEVER, lambda: f"had started: {table.story(task)}")
    _law(not scheduler._work, lambda: "consequences were left undrawn")
    _check_questions(scheduler)
    for task in scheduler.cleanups.alive:
        _law(status[task] < FINAL, lambda: f"is over, and still spared: {table.story(task)}")
    for task in table.failures:
        running = status[task] == RUNNING
        _law(not running or bool(table.odd[task] & CONTROL), lambda: f"is repaired in a slot: {table.story(task)}")


def _check_questions(scheduler: Scheduler) -> None:
    """Exactly the tasks that wait have a question open, and a timer where there is a time for the answer."""
    table, questions = scheduler.table, scheduler.questions
    waiting = set(table.within(WAITING))
    found = set() if questions is None else set(questions.open)
    stopping = set(scheduler._dropped)
    _law(
        not stopping & found, lambda: f"{sorted(stopping)} were told to stop, and questions of {sorted(found)} are open"
    )
    _law(waiting == found | stopping, lambda: f"{sorted(waiting)} wait, and questions of {sorted(found)} are open")
    _law(stopping <= scheduler._stops.of.keys(), lambda: f"{sorted(stopping)} are to stop, and no force comes")
    if questions is None:
        return
    for task in found:
        asked = questions.open[task]
        armed = scheduler.timers.at(Due.ANSWER, task)
        _law(armed == asked.due, lambda: f"due at {asked.due}, armed for {armed}: {table.story(task)}")
        _law(asked is questions.of[task][-1] and asked.what is None, lambda: f"another one: {table.story(task)}")
    _law(questions.gone <= waiting, lambda: "code is gone of tasks that do not wait")
    for task in (*scheduler.admission.answered, *scheduler._lost):
        _law(table.status[task] == READY, lambda: f"has its answer: {table.story(task)}")


def _law(holds: bool, otherwise: Callable[[], str]) -> None:
    if not holds:
        raise InvariantError(otherwise())


def _check_limits(scheduler: Scheduler, holding: list[int]) -> None:
    table = scheduler.table
    used: Counter[int] = Counter()
    for task in holding:
        if table.odd[task] & LIMITED:
            limits, rates = scheduler.admission.asks[task]
            for limit, weight in (*limits, *(rates if task in scheduler.admission.unseen else ())):
                used[id(limit)] += weight
    _law(scheduler.admission.unseen <= set(holding), lambda: "an attempt that is over was not seen to have begun")
    for limit in _limits(scheduler):
        held = used[id(limit)]
        rate = (
            cast("RateLimit", limit) if limit.is_rate and not limit.shared else None
        )  # by what it says: a test may have made the class again
        if limit.shared:
            _check_share(scheduler, cast("Share", limit))
        if rate is not None:
            held += sum(units for _, units in rate.log)
            if rate.shut_until != -math.inf:
                held += limit.capacity
        else:
            _law(limit.sound, lambda: f"{limit.name}: {limit.used} of {limit.capacity} are held")
        _law(limit.used == held, lambda: f"{limit.kind} {limit.name}: {limit.used} are counted, {held} are held")
        first = scheduler.admission.first_waiter(limit)
        woken = any(waiter.limit is limit for _, waiter in scheduler._queue.back)
        awaited = rate is not None and scheduler.timers.armed(Due.OPENS, rate.number)
        _law(
            first is None or woken or awaited or limit.shared or not limit.fits(first.weight, first.place),
            lambda: f"{limit.kind} {limit.name} has room, and nobody was woken for it",
        )
        if first is not None and rate is not None and not woken:
            opens = rate.opens(first.weight, first.place)
            _law(
                opens is None or awaited, lambda: f"rate {limit.name} opens at {opens}, and nobody is to be woken then"
            )
        crowd = len(limit.line) + len(limit.early) + len(limit.claims)
        _law(limit.crowd == crowd, lambda: f"{limit.kind} {limit.name}: {limit.crowd} are counted, {crowd} stand there")
        for task, (place, _) in limit.claims.items():
            _law(
                task in scheduler.admission.claims and table.status[task] == READY and place[3] == task,
                lambda: f"{limit.kind} {limit.name} keeps units for {table.story(task)}",
            )
    for task in scheduler.admission.parked:
        _law(table.status[task] == READY, lambda: f"is parked: {table.story(task)}")


def _check_share(scheduler: Scheduler, share: Share) -> None:
    """Nobody waits without having asked, and nothing lies idle that others wait for."""
    first = scheduler.admission.first_waiter(share)
    sent = sum(waiter.limit is share for _, waiter in scheduler._queue.back)
    _law(share.sent == sent, lambda: f"{share.path}: {share.sent} are counted on their way to a slot, {sent} are")
    _law(
        first is None or share.asked == first.weight or sent > 0,
        lambda: f"{share.path}: {share.asked} were asked for, and {first} waits",
    )
    _law(not (share.wanted and share.idle), lambda: f"{share.path}: {share.idle} lie idle, and others wait")
    _law(share.used <= share.capacity, lambda: f"{share.path}: {share.used} of {share.capacity} are held")


def _limits(scheduler: Scheduler) -> list[Limit]:
    found = {id(limit): limit for family in scheduler._families.values() for limit in family.limits}
    found.update({id(limit): limit for limit in scheduler.admission.book.all()})  # the run's health is in both
    return list(found.values())


def _check_queue(scheduler: Scheduler) -> None:
    """Every ready task stands in exactly one queue, once."""
    table, queue = scheduler.table, scheduler._queue
    standing = Counter(queue.first)
    for bucket in queue._buckets.values():
        standing.update(bucket)
    standing.update(place[3] for place, _ in queue.back)
    standing.update(task for *_, task in queue._heap)
    _law(bool(queue) == bool(standing), lambda: f"the queue says {bool(queue)}, {sum(standing.values())} stand there")
    standing.update(task for family in scheduler._families.values() if family.width for task in family.width.line)
    for limit in _limits(scheduler):
        standing.update(
            waiter.place[3] for waiter in limit.everybody() if scheduler.admission.parked.get(waiter.place[3]) is waiter
        )
    for task in range(table.size):
        if table.status[task] == READY:
            wanted = 0 if task in scheduler.lent else 1
            _law(standing[task] == wanted, lambda: f"stands in {standing[task]} queues: {table.story(task)}")
    for task in scheduler.lent:
        _law(table.status[task] == READY, lambda: f"is lent: {table.story(task)}")


def _check_widths(scheduler: Scheduler) -> None:
    """Never are more children of a group under way than may be, and nobody waits for one to end where there is room."""
    table = scheduler.table
    standing: set[int] = set()
    for parent, family in scheduler._families.items():
        width, key = family.width, table.key(parent)
        if width is None:
            continue
        counted = {
            task
            for rows in family.rows
            for task in rows
            if READY <= table.status[task] < FINAL and task != table.repairs.get(parent)
        }
        last = {task for task in counted if (found := table.batch_of(task))[1] in found[0].cleanups}
        line = set(width.line)
        standing |= line
        under_way = counted - line - last
        _law(len(under_way) <= width.most, lambda: f"{key}: {len(under_way)} of {width.most} are under way")
        _law(width.under_way == under_way, lambda: f"{key}: {width.under_way} are counted, {under_way} are under way")
        _law(not line or len(under_way) == width.most, lambda: f"{key}: {sorted(line)} wait, and there is room")
        for task in line:
            _law(table.status[task] == READY, lambda: f"waits for others: {table.story(task)}")
    _law(scheduler.held_back == standing, lambda: f"{scheduler.held_back} are counted waiting, {standing} stand there")


def _check_needs(scheduler: Scheduler) -> None:
    table = scheduler.table
    if not table.users:
        return
    left = Counter(user for need in range(table.size) if table.status[need] < FINAL for user in table.users_of(need))
    last = {task for waiting in scheduler.cleanups.waiting.values() for task in waiting}
    for task in range(table.size):
        if table.status[task] == VACANT or task in last:
            continue
        _law(
            table.left[task] == left[task] or table.status[task] != PENDING,
            lambda: f"{left[task]} needs are not final: {table.story(task)}",
        )
        if (
            table.status[task] == PENDING
            and not left[task]
            and table.parent(task) == NONE
            and not table.odd[task] & CHILD
        ):
            _law(task in scheduler._deciding, lambda: f"pending without needs: {table.story(task)}")
