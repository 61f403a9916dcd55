"""What the scheduler asks of the engine. Starts are pulled (`Scheduler.take`), so they need no record."""

from enum import StrEnum
from typing import NamedTuple, TypeAlias


class Stop(StrEnum):
    """Why an attempt is to be stopped."""

    TIMEOUT = "timeout"  # its own clock ran out
    DEADLINE = "deadline"  # its task's clock ran out
    LEAVE = "leave"  # its process leaves the run: the task is to run again in another
    CANCEL = "cancel"  # the run, its group or the caller wants no more of it


class Cancel(NamedTuple):
    """End the latest attempts of these tasks: the stop signal now, force after `grace` seconds.

    One record for all that one fact ends: a run that is stopped may have 10,000 at work.
    """

    tasks: list[int]
    why: Stop
    grace: float


class Force(NamedTuple):
    """Grace is over and the attempt goes on: end it by force, or answer `abandoned` if that cannot be done."""

    task: int
    attempt: int


class Settle:
    """The task of a stream is final: deliver its outcome, then forget it."""

    __slots__ = __match_args__ = ("task",)

    def __init__(self, task: int) -> None:
        self.task = task


class Vacated:
    """A row of a stream is free again that an abandoned attempt had held: the stream may go on."""

    __slots__ = ()


Command: TypeAlias = Cancel | Force | Settle | Vacated
