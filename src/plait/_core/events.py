"""The facts that a scheduler is told, as records: a run's journal, in the order in which they were applied.

On the hot path an event is a call of the scheduler's method of the same name; its record is made only when somebody
keeps a journal (`journalled`). `replay` applies records to a new scheduler: the same moves follow, for everything that decides (time,
chance, choices) is in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, assert_never

from plait._core.graph import Batch
from plait._core.limits import Wants
from plait._core.policy import OnFailure

if TYPE_CHECKING:
    from plait._core.questions import Question
    from plait._core.scheduler import Scheduler


class Added(NamedTuple):
    """Tasks of the run itself came in."""

    batch: Batch
    now: float


class Taken(NamedTuple):
    """The next task was asked for; `task` is what was given (a slot taken, or a control's turn): NONE, if some were parked."""

    task: int
    now: float


class Lent(NamedTuple):
    """A task was given out that is to begin with the slot of another one."""

    task: int
    now: float


class Passed(NamedTuple):
    """A lent task has a slot: it runs."""

    task: int
    now: float


class CameBack(NamedTuple):
    """A lent task has not begun, and is in nobody's hands any more."""

    task: int
    now: float


class Began(NamedTuple):
    """The code of an attempt began: its timeout runs from `now`."""

    task: int
    attempt: int
    now: float


class Seen(NamedTuple):
    """The code of an attempt under a rate has surely begun by `now`."""

    task: int
    attempt: int
    now: float


class Listened(NamedTuple):
    """The last sign of life of an attempt was at `at`."""

    task: int
    attempt: int
    at: float
    now: float


class Spending(NamedTuple):
    """A task reported what it has used up."""

    task: int
    units: Mapping[str, float]
    now: float


class Returned(NamedTuple):
    """An attempt ended with a value at `now`; `stopped`: the stop signal had reached its code."""

    task: int
    attempt: int
    value: Any
    now: float
    stopped: int = False


class Raised(NamedTuple):
    """An attempt ended with an error at `now`; `chance` in [0, 1) is the jitter of a pause; `value` may be kept.

    `again`: it is an error after which another attempt may follow; None: to be seen from the error.
    """

    task: int
    attempt: int
    error: BaseException
    now: float
    chance: float = 0.0
    stopped: bool = False
    value: Any = None
    again: bool | None = None


class Decided(NamedTuple):
    """The `when` of a task was worked out, and its key and cost where these are its own."""

    task: int
    choice: bool
    now: float
    wants: Wants | None = None


class Undecidable(NamedTuple):
    """The `when` of a task raised."""

    task: int
    error: BaseException
    now: float


class Grew(NamedTuple):
    """A running task has children; with `vacant` the batch's rows wait for `Fed`."""

    parent: int
    batch: Batch
    now: float
    vacant: bool = False


class Settled(NamedTuple):
    """It is decided what the results of a task's children come to; or, not `won`, that they come to nothing."""

    parent: int
    won: bool
    now: float


class Fed(NamedTuple):
    """A stream has one more task."""

    parent: int
    now: float


class Forgot(NamedTuple):
    """The outcome of a stream's task was delivered; its row is free."""

    task: int


class Closed(NamedTuple):
    """A stream has no more tasks."""

    parent: int
    now: float


class Asked(NamedTuple):
    """An attempt waits for a person's answer: its slot is free."""

    task: int
    attempt: int
    question: Question
    now: float


class Leased(NamedTuple):
    """Units of a shared limit were granted; do other runs wait for the same, and when may time alone bring more?"""

    number: int
    units: int
    wanted: bool
    now: float
    opens_at: float | None = None
    shut: bool = False


class Answered(NamedTuple):
    """A person answered question `number` of a task."""

    task: int
    number: int
    value: Any
    by: str | None
    now: float


class Withdrawn(NamedTuple):
    """The code that asked question `number` goes on without an answer."""

    task: int
    number: int
    now: float


class Cancelled(NamedTuple):
    """A person wants no more of a task."""

    task: int
    by: str | None
    now: float


class Abandoned(NamedTuple):
    """A stopped attempt cannot be ended by force: its slot stays taken, its task is final."""

    task: int
    attempt: int
    now: float


class Interrupted(NamedTuple):
    """The process of an attempt died, unasked."""

    task: int
    attempt: int
    why: str
    now: float


class Halted(NamedTuple):
    """The run is to end: `mode` says what becomes of running work."""

    mode: OnFailure
    now: float


class Paused(NamedTuple):
    """Nothing new starts until `Unpaused`."""

    now: float


class Unpaused(NamedTuple):
    """Starts go on."""

    now: float


class Leaving(NamedTuple):
    """The process leaves the run: nothing starts, what runs is stopped and will run again in another process."""

    now: float


class Recovered(NamedTuple):
    """A new process drives the run: what ran is interrupted, and none of its code runs any more. The clock had stood still."""

    now: float
    away: float = 0.0


class Ticked(NamedTuple):
    """Time alone: whatever was due by `now`."""

    now: float


Event: TypeAlias = (
    Added
    | Taken
    | Lent
    | Passed
    | CameBack
    | Began
    | Seen
    | Listened
    | Spending
    | Returned
    | Raised
    | Decided
    | Undecidable
    | Grew
    | Settled
    | Fed
    | Forgot
    | Closed
    | Asked
    | Answered
    | Withdrawn
    | Cancelled
    | Leased
    | Abandoned
    | Interrupted
    | Halted
    | Paused
    | Unpaused
    | Leaving
    | Recovered
    | Ticked
)


RECORDS: dict[str, type[Event]] = {
    "added": Added,
    "passed": Passed,
    "came_back": CameBack,
    "began": Began,
    "seen": Seen,
    "listened": Listened,
    "spent": Spending,
    "returned": Returned,
    "raised": Raised,
    "decided": Decided,
    "undecidable": Undecidable,
    "grew": Grew,
    "settled": Settled,
    "fed": Fed,
    "forgot": Forgot,
    "closed": Closed,
    "asked": Asked,
    "answered": Answered,
    "withdrawn": Withdrawn,
    "cancelled": Cancelled,
    "leased": Leased,
    "abandoned": Abandoned,
    "interrupted": Interrupted,
    "halted": Halted,
    "paused": Paused,
    "unpaused": Unpaused,
    "leaving": Leaving,
    "recovered": Recovered,
    "ticked": Ticked,
}
"""The record of each fact, by the scheduler's method; `take` and `lend` are recorded as `Taken` and `Lent` where they gave a task."""


def journalled(scheduler: Scheduler) -> list[Event]:
    """The journal of `scheduler` from here on: its methods are wrapped, so that one without a journal pays nothing."""
    journal: list[Event] = []

    def recording(name: str) -> Callable[..., Any]:
        method, record = getattr(scheduler, name), RECORDS[name]

        def tell(*arguments: Any) -> Any:
            journal.append(record(*arguments))
            return method(*arguments)

        return tell

    def asking(name: str, record: type[Taken] | type[Lent]) -> Callable[[float], int]:
        method = getattr(scheduler, name)

        def ask(now: float) -> int:
            parkings = scheduler.admission.parkings
            task: int = method(now)
            if task >= 0 or scheduler.admission.parkings != parkings:
                journal.append(record(task, now))
            return task

        return ask

    for name in RECORDS:
        setattr(scheduler, name, recording(name))
    scheduler.take = asking("take", Taken)  # type: ignore[assignment, method-assign]
    scheduler.lend = asking("lend", Lent)  # type: ignore[assignment, method-assign]
    return journal


def apply(scheduler: Scheduler, event: Event) -> None:
    """Tells `scheduler` one recorded fact."""
    match event:
        case Added(batch, now):
            scheduler.added(batch, now)
        case Taken(task, now):
            taken = scheduler.take(now)
            assert taken == task, f"the journal took {task}, the replay {taken}"
        case Lent(task, now):
            lent = scheduler.lend(now)
            assert lent == task, f"the journal lent {task}, the replay {lent}"
        case Passed(task, now):
            scheduler.passed(task, now)
        case CameBack(task, now):
            scheduler.came_back(task, now)
        case Began(task, attempt, now):
            scheduler.began(task, attempt, now)
        case Seen(task, attempt, now):
            scheduler.seen(task, attempt, now)
        case Listened(task, attempt, at, now):
            scheduler.listened(task, attempt, at, now)
        case Spending(task, units, now):
            scheduler.spent(task, units, now)
        case Returned(task, attempt, value, now, stopped):
            scheduler.returned(task, attempt, value, now, stopped)
        case Raised(task, attempt, error, now, chance, stopped, value, again):
            scheduler.raised(task, attempt, error, now, chance, stopped, value, again)
        case Decided(task, choice, now, wants):
            scheduler.decided(task, choice, now, wants)
        case Undecidable(task, error, now):
            scheduler.undecidable(task, error, now)
        case Grew(parent, batch, now, vacant):
            scheduler.grew(parent, batch, now, vacant)
        case Settled(parent, won, now):
            scheduler.settled(parent, won, now)
        case Fed(parent, now):
            scheduler.fed(parent, now)
        case Forgot(task):
            scheduler.forgot(task)
        case Closed(parent, now):
            scheduler.closed(parent, now)
        case Asked(task, attempt, question, now):
            scheduler.asked(task, attempt, question, now)
        case Answered(task, number, value, by, now):
            scheduler.answered(task, number, value, by, now)
        case Withdrawn(task, number, now):
            scheduler.withdrawn(task, number, now)
        case Cancelled(task, by, now):
            scheduler.cancelled(task, by, now)
        case Leased(number, units, wanted, now, opens_at, shut):
            scheduler.leased(number, units, wanted, now, opens_at, shut)
        case Abandoned(task, attempt, now):
            scheduler.abandoned(task, attempt, now)
        case Interrupted(task, attempt, why, now):
            scheduler.interrupted(task, attempt, why, now)
        case Halted(mode, now):
            scheduler.halted(mode, now)
        case Paused(now):
            scheduler.paused(now)
        case Unpaused(now):
            scheduler.unpaused(now)
        case Leaving(now):
            scheduler.leaving(now)
        case Recovered(now, away):
            scheduler.recovered(now, away)
        case Ticked(now):
            scheduler.ticked(now)
        case _:
            assert_never(event)


def replay(scheduler: Scheduler, events: Iterable[Event]) -> Scheduler:
    """`scheduler`, after it was told every recorded fact in order."""
    for event in events:
        apply(scheduler, event)
    return scheduler
