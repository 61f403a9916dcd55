"""What the scheduler asks of the engine. Starts are pulled (`Scheduler.take`), so they need no record.

Plain classes: every program with plait waits for these definitions, and a NamedTuple or an enum costs twenty times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from plait._core.limits import Share


class Stop:
    """Why an attempt is to be stopped."""

    TIMEOUT = "timeout"  # its own clock ran out
    IDLE = "idle"  # it gave no sign of life for too long
    DEADLINE = "deadline"  # its task's clock ran out
    LEAVE = "leave"  # its process leaves the run: the task is to run again in another
    CANCEL = "cancel"  # the run, its group or the caller wants no more of it


class Cancel:
    """End the latest attempts of these tasks: the stop signal now, force after `grace` seconds.

    One record for all that one fact ends: a run that is stopped may have 10,000 at work. `why` is a reason of `Stop`.
    """

    __slots__ = __match_args__ = ("tasks", "why", "grace")

    def __init__(self, tasks: list[int], why: str, grace: float) -> None:
        self.tasks = tasks
        self.why = why
        self.grace = grace


class Force:
    """Grace is over and the attempt goes on: end it by force, or answer `abandoned` if that cannot be done."""

    __slots__ = __match_args__ = ("task", "attempt")

    def __init__(self, task: int, attempt: int) -> None:
        self.task = task
        self.attempt = attempt


class Recall:
    """These lent tasks are to come back, if their code has not begun."""

    __slots__ = __match_args__ = ("tasks",)

    def __init__(self, tasks: list[int]) -> None:
        self.tasks = tasks


class Settle:
    """The task of a stream is final: deliver its outcome, then forget it."""

    __slots__ = __match_args__ = ("task",)

    def __init__(self, task: int) -> None:
        self.task = task


class Vacated:
    """A row of a stream is free again that an abandoned attempt had held: the stream may go on."""

    __slots__ = ()


class Ask:
    """The first task that waits for a shared limit wants `units` of it; 0: nobody waits there any more.

    Up to `most` are of use, for those behind it, as long as no other run waits.
    """

    __slots__ = __match_args__ = ("share", "units", "most")

    def __init__(self, share: Share, units: int, most: int) -> None:
        self.share = share
        self.units = units
        self.most = most


class Return:
    """So many units of a shared limit are not used here."""

    __slots__ = __match_args__ = ("share", "units")

    def __init__(self, share: Share, units: int) -> None:
        self.share = share
        self.units = units


class Used:
    """Starts have used up units of a shared rate: those that are `gone` when this is carried out, told once for all of them."""

    __slots__ = __match_args__ = ("share",)

    def __init__(self, share: Share) -> None:
        self.share = share


class Shut:
    """Nobody is to get a unit of a shared rate for so many seconds."""

    __slots__ = __match_args__ = ("share", "seconds")

    def __init__(self, share: Share, seconds: float) -> None:
        self.share = share
        self.seconds = seconds


class Forget:
    """No task has this shared key any more."""

    __slots__ = __match_args__ = ("share",)

    def __init__(self, share: Share) -> None:
        self.share = share


class Diagnosed:
    """A pool (None: the run) is unhealthy, or well again: whoever wants to know that is to be told. `until` is on the run's clock."""

    __slots__ = __match_args__ = ("pool", "healthy", "errors", "outcomes", "until")

    def __init__(self, pool: str | None, healthy: bool, errors: int, outcomes: int, until: float | None) -> None:
        self.pool = pool
        self.healthy = healthy
        self.errors = errors
        self.outcomes = outcomes
        self.until = until


Command: TypeAlias = "Cancel | Force | Recall | Settle | Vacated | Ask | Return | Used | Shut | Forget | Diagnosed"
