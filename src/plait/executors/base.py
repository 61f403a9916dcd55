"""Attempts, and what all executors have in common. What an executor is stands in `contract`."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from plait.errors import UsageError
from plait.executors.reports import Asked, Beat, Begun, Ended, Interrupted, Output, Progress, Report, Spent
from plait.executors.tokens import CancelToken
from plait.signs import CURRENT

if TYPE_CHECKING:
    from plait._core.policy import Policy
    from plait.executors.contract import Sink

_token_lock = threading.Lock()

Call: TypeAlias = tuple[str, Any, Sequence[Any], Mapping[str, Any] | None]
"""Name of the executor, body, arguments, keyword arguments."""

UNDER_WAY: Call = ("async", None, (), None)
"""Stands for the call of an attempt whose body runs: nothing of the call is kept beside it."""


class Attempt:
    """One try of one task: the call, and what its executor keeps beside it (`handle`)."""

    __slots__ = ("call", "handle", "heard", "number", "rated", "stopped_at", "task", "ticket", "timed", "token")

    ticket: Ticket
    task: int
    number: int
    call: Call
    timed: float
    """Seconds of its timeout or its idle_timeout: its start matters then, and is to be told. 0: none, or it was told."""

    rated: bool
    """Is it to be told when its code has surely begun?"""

    handle: Any
    heard: float
    """When it gave its last sign of life, on the run's clock; 0 before the first. Whoever runs its code may write this, in any thread."""

    stopped_at: float | None
    """When it was told to stop, on the run's clock."""

    token: CancelToken | None

    @classmethod
    def of(cls, ticket: Ticket, call: Call, timed: float) -> Attempt:
        """An attempt that has not begun."""
        attempt = cls()
        attempt.ticket = ticket
        _, attempt.task, attempt.number, _ = ticket
        attempt.call = call
        attempt.timed = timed
        attempt.rated = False
        attempt.handle = attempt.stopped_at = attempt.token = None
        attempt.heard = 0.0
        return attempt

    @property
    def sink(self) -> Sink:
        """Whom its executor tells."""
        return self.ticket[0]

    @property
    def executor(self) -> str:
        """Who has it now."""
        return self.call[0]

    @property
    def signal(self) -> CancelToken:
        """The child signal of this attempt, made when first asked for."""
        with _token_lock:
            token = self.token
            if token is None:
                token = self.token = CancelToken()
        if self.stopped_at is not None:  # looked at after the token can be seen: a stop in between fires it
            token.cancel()
        return token

    def signal_stop(self, now: float) -> None:
        """Marks the attempt as told to stop at `now`, and fires its signal. The first call counts."""
        if self.stopped_at is None:
            self.stopped_at = now
            if self.token is not None:
                self.token.cancel()


Ticket: TypeAlias = "tuple[Sink, int, int, Container[type]]"
"""Which attempt it is: sink, task, number; and the types of values that are looked at before they count.

Most bodies end before anybody asks for more, and never get an `Attempt`.
"""


def current_attempt() -> Attempt | None:
    """The attempt whose code runs in this context; None outside of any."""
    ticket: Ticket | None = CURRENT.get(None)
    return None if ticket is None else ticket[0].attempt(ticket)


def beat_of_worker() -> Callable[[], None] | None:
    """How the code of a task gives a sign of life in a worker process; None elsewhere."""
    worker = sys.modules.get("plait.executors.worker")  # without it this is none
    return None if worker is None else worker.beat


EXECUTOR_NAMES = ("async", "thread", "process")
"""What a callable may run on; commands choose `shell` by what they are."""


def executor_for(function: Any, executor: str | None = None) -> str:
    """Where a callable runs: on the loop if it is a coroutine function (partials and `__call__` unwrapped), else in a thread.

    Raises:
        UsageError: for what cannot be called, an unknown executor, or a coroutine function that is to run in a thread.
    """
    if not callable(function):
        raise UsageError(f"{function!r} is not callable: give a function, a coroutine function or a callable object")
    bare = function
    while isinstance(bare, partial):
        bare = bare.func
    is_coroutine = inspect.iscoroutinefunction(bare) or (
        not inspect.isfunction(bare)
        and not isinstance(bare, type)
        and inspect.iscoroutinefunction(getattr(bare, "__call__", None))  # noqa: B004
    )
    if executor is None:
        return "async" if is_coroutine else "thread"
    if executor not in EXECUTOR_NAMES:
        raise UsageError(f"unknown executor {executor!r}; there are {', '.join(EXECUTOR_NAMES)}")
    if executor != "async" and is_coroutine:
        raise UsageError(f"{name_of(function)} is a coroutine function: it runs on executor 'async'")
    return executor


class Wanting:
    """Functions of a task's arguments: its `concurrency_key`, its `cost`, what it `reads` and `writes`. None: what its policy says."""

    __slots__ = ("cost", "key", "n", "reads", "writes")

    def __init__(
        self,
        key: Callable[..., Any] | None,
        n: int,
        cost: Callable[..., Any] | None,
        reads: Callable[..., Any] | None = None,
        writes: Callable[..., Any] | None = None,
    ) -> None:
        self.key = key
        self.n = n
        self.cost = cost
        self.reads = reads
        self.writes = writes

    @property
    def decides(self) -> bool:
        """Is there more than paths, so that the task is decided once its needs are met?"""
        return self.key is not None or self.cost is not None

    @property
    def names_files(self) -> bool:
        """Are there paths to be worked out?"""
        return self.reads is not None or self.writes is not None

    def of(
        self, args: Sequence[Any], kwargs: Mapping[str, Any] | None
    ) -> tuple[object, int, object, tuple[object, object] | None]:
        """Key, how many of it at once, cost and files of one task."""
        given = kwargs or {}
        key = None if self.key is None else self.key(*args, **given)
        cost = None if self.cost is None else self.cost(*args, **given)
        return key, self.n, cost, self.files(args, kwargs) if self.names_files else None

    def files(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> tuple[object, object]:
        """What one task reads, and what it writes; a function that gives None says that it does not."""
        given = kwargs or {}
        reads = None if self.reads is None else self.reads(*args, **given) or ()
        return reads, None if self.writes is None else self.writes(*args, **given) or ()


def wanting(options: dict[str, Any], before: Wanting | None = None) -> Wanting | None:
    """Takes the functions out of `options` that work out a key, a cost or paths; `before` is what was said earlier.

    Raises:
        UsageError: for a coroutine function.
        LimitError: for an `n` that cannot be.
    """
    key, n, cost = (before.key, before.n, before.cost) if before is not None else (None, 1, None)
    files: dict[str, Any] = {name: getattr(before, name, None) for name in ("reads", "writes")}
    if "concurrency_key" in options:
        given = options["concurrency_key"]
        key, most = given, 1
        if isinstance(given, Mapping) and given.keys() <= {"key", "n"}:
            key, most = given.get("key"), given.get("n", 1)
        if callable(key):
            from plait._core.policy import count  # worker processes do without it

            n = count("concurrency_key.n", most)
            del options["concurrency_key"]
        else:
            key = None
    if "cost" in options:
        cost = options.pop("cost") if callable(options["cost"]) else None
    for name in files:
        if name in options:
            files[name] = options[name] if callable(options[name]) else None
            if files[name] is not None:
                options[name] = None  # nothing that holds for all of them
    for name, function in (("concurrency_key", key), ("cost", cost), *files.items()):
        if function is not None and executor_for(function) == "async":
            raise UsageError(f"{name} must be a plain function of the task's arguments, not {function!r}")
    return None if key is None and cost is None and not any(files.values()) else Wanting(key, n, cost, **files)


def check_memory(policy: Policy, executor: str) -> None:
    """Nothing, if whoever runs the task can keep its `memory_limit`.

    Raises:
        UsageError: for a coroutine or a thread, which share the memory of the program.
    """
    if policy.memory_limit is not None and executor not in ("process", "shell"):
        raise UsageError(
            f"memory_limit is for executor 'process' and for commands: on {executor!r} a task shares the memory of the program"
        )


def name_of(function: Any) -> str:
    """A callable's name, for keys: of the function below partials, else of the object's class."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


async def awaited(awaitable: Any) -> Any:
    """The value of any awaitable, as a coroutine."""
    return await awaitable


__all__ = [
    "CURRENT",
    "UNDER_WAY",
    "Asked",
    "Attempt",
    "Beat",
    "Begun",
    "Call",
    "CancelToken",
    "Ended",
    "Interrupted",
    "Output",
    "Progress",
    "Report",
    "Spent",
    "Ticket",
    "Wanting",
    "awaited",
    "beat_of_worker",
    "check_memory",
    "current_attempt",
    "executor_for",
    "name_of",
    "wanting",
]
