"""What an executor is: given an attempt, it makes the call happen and reports, in a closed union of reports.

An executor knows neither the scheduler nor the store. It is told `start`, `stop` and `force` in the loop's thread, and
tells its sink in the same thread: exactly one `Ended` (or `Interrupted`) per attempt, whatever the code does.

For type checkers and readers: programs do not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextvars import Context
from typing import Any, Protocol

from plait.executors.adopting import Adopter
from plait.executors.base import Attempt, Call, Ticket
from plait.executors.reports import Report
from plait.redaction import Redactor


class Sink(Protocol):
    """Whom an executor tells. All calls come in the loop's thread."""

    @property
    def clock(self) -> Callable[[], float]:
        """The run's clock, in seconds."""
        ...

    @property
    def now(self) -> float:
        """The clock as it was read last: when the attempt that `pull` gave was taken."""
        ...

    @property
    def id(self) -> str:
        """The run's id."""
        ...

    def key(self, task: int) -> str:
        """The path of a task."""
        ...

    @property
    def adopter(self) -> Adopter | None:
        """Ends what attempts leave behind; None where that is not wanted."""
        ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the run."""
        ...

    @property
    def call(self) -> Call:
        """What the ticket that `pull` gave last is to run."""
        ...

    @property
    def context(self) -> Context:
        """The context in which the run was started: bodies run in copies of it."""
        ...

    @property
    def used(self) -> int:
        """How many attempts hold a slot."""
        ...

    @property
    def unfinished(self) -> int:
        """How many tasks of the run are not over."""
        ...

    @property
    def patient(self) -> bool:
        """Does nobody look at the results of what is under way? Many of them may be told at once then."""
        ...

    @property
    def shows_output(self) -> bool:
        """Does somebody look at what commands write while they run? Then it is told in pieces, as it comes."""
        ...

    @property
    def redactor(self) -> Redactor | None:
        """Hides the secrets of the run in what commands write; None where it has none."""
        ...

    @property
    def hidden(self) -> Collection[str]:
        """Variables of the environment that no command inherits."""
        ...

    @property
    def max_tasks_per_worker(self) -> int | None:
        """So many calls run in a worker process; None: any number."""
        ...

    def memory_limit(self, attempt: Attempt) -> int | None:
        """Bytes that the attempt may take; None: as many as there are."""
        ...

    def idle_timeout(self, attempt: Attempt) -> float | None:
        """Seconds for which the attempt may give no sign of life; None: for ever."""
        ...

    def look(self) -> float:
        """Reads the clock: what is told and pulled from here on is at that time."""
        ...

    def report(self, attempt: Attempt, report: Report) -> None:
        """Takes one report."""
        ...

    def began(self, attempt: Attempt, at: float) -> None:
        """`Begun(at)` without the record; only the first of a timed attempt counts."""
        ...

    def seen(self, attempt: Attempt) -> None:
        """The code of a `rated` attempt has begun, at some moment before now; only the first counts. `began` says it, too."""
        ...

    def returned(
        self,
        ticket: Ticket,
        value: Any,
        stopped: bool = False,
        at: float | None = None,
        following: Attempt | None = None,
    ) -> None:
        """`Ended(at, value, stopped=stopped)` without the record: what most attempts report. None: now. And `passed(following, at)`."""
        ...

    def suspended(self) -> bool:
        """To be called when a body suspends: may `pull` give a ticket? False is certain."""
        ...

    def pull(self) -> Ticket | None:
        """The next attempt for `async`, if any may start `now`; those of other executors are started on the way."""
        ...

    def attempt(self, ticket: Ticket) -> Attempt:
        """The attempt of a ticket; made here where its body runs and nobody has asked before."""
        ...

    def lend(self, executor: str, most: int) -> list[Attempt]:
        """Attempts of the next ready tasks, where all slots are taken and they are for `executor`: `most` of them, or fewer.

        Each is not to begin before the attempt that it waits behind has ended: `passed` is told then, right after that end. Or
        it comes back.
        """
        ...

    def passed(self, attempt: Attempt, at: float) -> None:
        """A lent attempt has the slot of the one before it, which ended at `at`: that was told just before."""
        ...

    def came_back(self, attempt: Attempt) -> None:
        """A lent attempt has not begun, and will not. Of several the last one is told first."""
        ...

    def more(self) -> None:
        """Starts the next attempt, if any may start `now`: to be called after reports that may have freed a slot."""
        ...

    def cancelled_outside(self) -> bool:
        """Is what was cancelled, but not by the run, cancelled because the run's caller or loop is?"""
        ...

    def breathe(self) -> None:
        """To be called before the loop gets a turn in the middle of work."""
        ...

    def spawned(self, attempt: Attempt, pid: int) -> None:
        """The attempt has a process of its own, the first of its group."""
        ...

    def output_paths(self, attempt: Attempt) -> tuple[str, str] | None:
        """Files that are to take what a command writes, standard output and error; None if nobody keeps it."""
        ...

    def environment(self, attempt: Attempt) -> dict[str, str]:
        """What a command of this attempt sees: `PLAIT_RUN`, `PLAIT_TASK`, `PLAIT_ATTEMPT`, `PLAIT_KEY`."""
        ...


class Executor(Protocol):
    """One way of making calls happen."""

    def start(self, attempt: Attempt) -> None:
        """Begins the attempt. A call that cannot begin ends with its error: nothing is raised here."""
        ...

    def stop(self, attempt: Attempt) -> None:
        """Signals the attempt to end, gently. `attempt.stopped_at` is set. May be called again."""
        ...

    def force(self, attempt: Attempt) -> bool:
        """Ends the attempt by force; `Ended` follows. False if that cannot be done: it may go on."""
        ...

    def close(self) -> None:
        """The run is over: ends what can be ended, and lets go of what cannot, without waiting."""
        ...


class Showing(Executor, Protocol):
    """An executor that knows what code writes while it runs."""

    def latest(self, attempt: Attempt) -> bytes:
        """The end of what the attempt wrote so far, some lines of it at most; nothing if it does not run."""
        ...


class Hearing(Executor, Protocol):
    """An executor that knows of signs of life of which nothing is told before somebody asks."""

    def heard(self, attempt: Attempt) -> float:
        """When the attempt gave the last of them, on the run's clock; 0 if it gave none. Where nobody can say, as late as it may be."""
        ...


class Lender(Executor, Protocol):
    """An executor that asks its sink for more than there are slots."""

    def recall(self, attempt: Attempt) -> None:
        """A lent attempt is to come back, unless it has begun."""
        ...
