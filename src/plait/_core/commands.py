"""What the scheduler asks of the engine. Starts are pulled (`Scheduler.take`), so they need no record.

Plain classes: every program with plait waits for these definitions, and a NamedTuple or an enum costs twenty times as much.
"""

from typing import TypeAlias


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


class Diagnosed:
    """A pool (None: the run) is unhealthy, or well again: whoever wants to know that is to be told. `until` is on the run's clock."""

    __slots__ = __match_args__ = ("pool", "healthy", "errors", "outcomes", "until")

    def __init__(self, pool: str | None, healthy: bool, errors: int, outcomes: int, until: float | None) -> None:
        self.pool = pool
        self.healthy = healthy
        self.errors = errors
        self.outcomes = outcomes
        self.until = until


Command: TypeAlias = Cancel | Force | Recall | Settle | Vacated | Diagnosed
