"""What must hold after every event: checked by the tests and the simulation, at the cost of looking at everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from plait._core.policy import CHILD, CONTROL, LIMITED
from plait._core.scheduler import Scheduler
from plait._core.states import FINAL, NOT_STARTED, PENDING, READY, RUNNING, UPSTREAM_FAILED
from plait._core.table import NEVER, NONE, VACANT
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
    _check_needs(scheduler)
    for parent, family in scheduler._families.items():
        left = sum(map(table.alive, family.rows))
        _law(family.left == left, lambda: f"{table.key(parent)}: {family.left} children are counted alive, {left} are")
        if status[parent] >= FINAL:
            _law(left == 0, lambda: f"{table.key(parent)} is final before its children")
    for task in range(table.size):
        if status[task] in (NOT_STARTED, UPSTREAM_FAILED):
            _law(table.started_at[task] == NEVER, lambda: f"had started: {table.story(task)}")
    _law(not scheduler._work, lambda: "consequences were left undrawn")


def _law(holds: bool, otherwise: Callable[[], str]) -> None:
    if not holds:
        raise InvariantError(otherwise())


def _check_limits(scheduler: Scheduler, holding: list[int]) -> None:
    table = scheduler.table
    used: Counter[int] = Counter()
    limits = {id(limit): limit for family in scheduler._families.values() for limit in family.limits}
    for task in holding:
        if table.odd[task] & LIMITED:
            used.update(id(limit) for limit in scheduler._limits[table.first_row(task)])
    for name, limit in limits.items():
        _law(limit.used == used[name], lambda: f"limit {limit.name}: {limit.used} are counted, {used[name]} hold it")
        _law(limit.used <= limit.capacity, lambda: f"limit {limit.name}: {limit.used} of {limit.capacity} are held")
        waiting = any(status == READY for status in (table.status[task] for _, _, task in limit.parked))
        woken = any(whose is limit for _, whose in scheduler._queue.back)
        _law(not waiting or limit.full or woken, lambda: f"limit {limit.name} has room, and nobody was woken for it")


def _check_queue(scheduler: Scheduler) -> None:
    """Every ready task stands in exactly one queue, once."""
    table, queue = scheduler.table, scheduler._queue
    standing = Counter(queue.first)
    for bucket in queue._buckets.values():
        standing.update(bucket)
    standing.update(task for (_, _, task), _ in queue.back)
    standing.update(task for *_, task in queue._heap)
    _law(bool(queue) == bool(standing), lambda: f"the queue says {bool(queue)}, {sum(standing.values())} stand there")
    for limit in {id(limit): limit for family in scheduler._families.values() for limit in family.limits}.values():
        standing.update(task for _, _, task in limit.parked)
    for task in range(table.size):
        if table.status[task] == READY:
            wanted = 0 if task in scheduler.lent else 1
            _law(standing[task] == wanted, lambda: f"stands in {standing[task]} queues: {table.story(task)}")
    for task in scheduler.lent:
        _law(table.status[task] == READY, lambda: f"is lent: {table.story(task)}")


def _check_needs(scheduler: Scheduler) -> None:
    table = scheduler.table
    if not table.users:
        return
    left = Counter(user for need in range(table.size) if table.status[need] < FINAL for user in table.users_of(need))
    for task in range(table.size):
        if table.status[task] == VACANT:
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
