"""Everything that plait raises or puts into an outcome, with a stable `code` each.

    PlaitError
    ├── UsageError                    the call itself is wrong; nothing was started
    │   ├── LimitError (ValueError)       a limit, timeout or count that is not one
    │   ├── GraphError (ValueError)       a cycle, an unknown, duplicate or unsafe key
    │   │   └── ConflictError                 tasks that may run at once write what others read or write
    │   ├── FlowError                     a workflow file with problems, all of them
    │   ├── ExpressionError               an expression that cannot be read, or not be worked out with these values
    │   └── MissingExtra (ImportError)    an optional package is not installed
    ├── TaskError                     found in `outcome.error`, raised by `outcome.unwrap()`
    │   ├── CommandFailed                 a command ended with another status than 0
    │   ├── NodeError                     what a node of a workflow file was given cannot be used
    │   ├── RetryAfter                    to be raised by a task: call me again in so many seconds
    │   ├── TaskTimedOut (TimeoutError)   its timeout or deadline passed
    │   ├── TaskCancelled                 it had started, and was stopped
    │   ├── TaskInterrupted               its process died or left while it ran
    │   ├── NotPicklable                  what it is given, or returns, cannot be sent to or from its process
    │   ├── WorkerFailed                  no process could be had for it, or none that finds its function
    │   ├── NotStorable                   its value, or what it grew, cannot be stored as it is
    │   ├── RecordedError                 what a task raised in an earlier process, as it was recorded
    │   ├── JudgedFailed                  it returned, and `is_failed` said no
    │   ├── Rejected                      a person said no: the run ends as `rejected`
    │   │   └── Declined                      a person said no at a gate: only what waits for it does not run
    │   ├── ChildFailed                   a task that it grew failed
    │   ├── NotDecided                    a vote was even, or too few results are there
    │   └── NotRun                        skipped, upstream_failed or not_started
    ├── LockTimeout (TimeoutError)    a named lock was not free in time
    ├── RunFailed                     a graph or file did not succeed; `.result` holds all outcomes
    ├── RunCancelled                  the run was cancelled before the wanted value existed
    ├── RunInterrupted                this process left the run; `plait resume` goes on with it
    ├── StoreError                    the store cannot be opened, read or written; the message names the cause
    │   ├── StoreDamaged                  it is no store of plait's, or its bytes are not what was written
    │   ├── StoreTooNew                   a newer plait wrote it; it was not touched
    │   ├── OwnershipLost                 another process took the run over; nothing of this one is recorded any more
    │   └── RunOwned                      a living process drives the run
    ├── RunNotFound                   no run, or more than one, has that id
    ├── RunChanged                    the definition is not the one that the run was started with
    └── InvariantError                plait itself is wrong; the message holds the task's story

A user's own exception is never wrapped: it passes through with a note that names task and attempt.
"""

from __future__ import annotations

TYPE_CHECKING = False  # worker processes import this, and would wait for `typing`
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ChildFailed",
    "CommandFailed",
    "ConflictError",
    "Declined",
    "ExpressionError",
    "FlowError",
    "GraphError",
    "HttpError",
    "InvariantError",
    "JudgedFailed",
    "LimitError",
    "LockTimeout",
    "MissingExtra",
    "NodeError",
    "NotDecided",
    "NotPicklable",
    "NotRun",
    "NotStorable",
    "OwnershipLost",
    "PlaitError",
    "RecordedError",
    "Rejected",
    "RetryAfter",
    "RunCancelled",
    "RunChanged",
    "RunFailed",
    "RunInterrupted",
    "RunNotFound",
    "RunOwned",
    "StoreDamaged",
    "StoreError",
    "StoreTooNew",
    "TaskCancelled",
    "TaskError",
    "TaskInterrupted",
    "TaskTimedOut",
    "UsageError",
    "WorkerFailed",
]


class PlaitError(Exception):
    """Base of all of plait's exceptions; `code` is stable, the text is for people."""

    code = "PLAIT"
    retryable = True
    """False where another attempt cannot end differently; retries leave such a failure alone."""

    def __reduce__(self) -> tuple[object, ...]:
        return revived, (type(self), self.args, self.__getstate__())


def revived(kind: type[BaseException], args: tuple[object, ...], state: object) -> BaseException:
    """An exception as it was, in another process: without its `__init__`, which wants what it was once given."""
    error = kind.__new__(kind, *args)
    error.args = args
    if isinstance(error, OSError):
        OSError.__init__(error, *args)  # its number and texts are made of them here, where its class has an `__init__`
    if kind.__setstate__ is not BaseException.__setstate__:
        error.__setstate__(state)  # type: ignore[arg-type]
        return error
    for part in state if isinstance(state, tuple) else (state,):  # what is in slots is apart
        for name, value in (part or {}).items():
            object.__setattr__(error, name, value)
    return error


class UsageError(PlaitError):
    """The call is wrong in itself; raised before anything started."""

    code = "USAGE"
    retryable = False


class LimitError(UsageError, ValueError):
    """A limit, count, timeout or delay that cannot be one (zero, negative, NaN, infinite, a boolean, text)."""

    code = "LIMIT"


class GraphError(UsageError, ValueError):
    """The graph cannot run: a cycle (printed as a path), an unknown, duplicate, own or unsafe key."""

    code = "GRAPH"


class ConflictError(GraphError):
    """Two tasks that may run at once declare the same output, or one writes what the other reads: a line for each such pair."""

    code = "CONFLICT"


class ExpressionError(UsageError):
    """An expression of a workflow file that cannot be read, or not be worked out: `code` says why, `offset` where in its text.

    `offset` is None where that is not known; `hint` says what to do next, and may be empty. `where` is the place of the text in its
    file (`FILE:LINE:COL`), with which the message begins; empty where it stands in none.
    """

    def __init__(self, message: str, *, code: str, offset: int | None = None, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.offset = offset
        self.hint = hint
        self.where = where

    def at(self, offset: int) -> ExpressionError:
        """The same, at a place."""
        return ExpressionError(str(self), code=self.code, offset=offset, hint=self.hint)


class FlowError(UsageError):
    """A workflow file cannot run. `problems` holds every finding, one `FILE:LINE:COL: error[CODE]: ...` each; `warnings` what else was seen."""

    code = "FLOW"

    def __init__(self, problems: Sequence[object], warnings: Sequence[object] = ()) -> None:
        self.problems = list(problems)
        self.warnings = list(warnings)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class MissingExtra(UsageError, ImportError):
    """An optional package is not installed; the message holds the install command."""

    code = "MISSING_EXTRA"


class TaskError(PlaitError):
    """Why a task has no value, where no exception of the user's says it."""

    code = "TASK"


class NodeError(TaskError):
    """What a node of a workflow file was given cannot be used, or what it made: another try would end no differently, unless `retryable`."""

    code = "NODE"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class CommandFailed(TaskError):
    """A command ended with another status than 0.

    `exit_code` is None when a signal ended it (`signal` names it, as in `SIGKILL`) or when it never started;
    `tail` is the end of what it wrote, standard error first.
    """

    code = "COMMAND"

    def __init__(
        self,
        message: str,
        *,
        exit_code: int | None = None,
        signal: str | None = None,
        tail: str = "",
        retryable: bool = True,
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal
        self.tail = tail
        self.retryable = retryable


class HttpError(TaskError):
    """A request was answered with a status of 400 or more, or came to nothing.

    `status` is None where there was no answer; `body` is the beginning of it as text. Another attempt begins `retry_after` seconds
    later at the earliest.
    """

    code = "HTTP"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        body: str = "",
        retry_after: float = 0.0,
        retryable: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.retry_after = float(retry_after)
        self.retryable = retryable


LONGEST_PAUSE_S = 1e9


class RetryAfter(TaskError):
    """To be raised by a task: not now, but in `seconds`. It is run again then, and no attempt is counted.

    Its rate, if it has one, starts nobody before: see `rate_limit`.
    """

    code = "RETRY_AFTER"

    def __init__(self, seconds: float, message: str = "") -> None:
        number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not number or not 0 < seconds <= LONGEST_PAUSE_S:
            raise LimitError(f"RetryAfter needs seconds, more than 0 and at most {LONGEST_PAUSE_S:g}, not {seconds!r}")
        super().__init__(message or f"to be tried again in {seconds:g} s")
        self.retry_after = float(seconds)


class TaskTimedOut(TaskError, TimeoutError):
    """The attempt's `timeout` or the task's `deadline` passed before its end was reported."""

    code = "TIMEOUT"


class TaskCancelled(TaskError):
    """The task had started and was stopped: by the caller, by fail-fast or by the end of its group."""

    code = "CANCELLED"
    retryable = False


class TaskInterrupted(TaskError):
    """The process that ran the task died, or left the run, before the task ended."""

    code = "INTERRUPTED"
    retryable = False


class NotPicklable(TaskError):
    """An argument or a result cannot be sent to or from a worker process; the message names its type."""

    code = "NOT_PICKLABLE"
    retryable = False


class WorkerFailed(TaskError):
    """No worker process could be started, or none that finds the task's function; the message says why."""

    code = "WORKER_FAILED"
    retryable = False


class NotStorable(TaskError):
    """A value would not come back from the store as it is; the message names the task, the place and the type."""

    code = "NOT_STORABLE"
    retryable = False


class RecordedError(TaskError):
    """What a task raised in another process: its text, the exception itself is gone.

    So it is with what is on record of an earlier process, and with what a worker process cannot send, as an exception of a class that no
    module has. `kind` is the name of its class, `trace` its traceback as text.
    """

    code = "RECORDED"
    retryable = False
    retry_after = 0.0

    def __init__(self, message: str, kind: str = "", trace: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace


class JudgedFailed(TaskError):
    """The body returned, and the caller's `is_failed` judged its value failed; `value` is kept."""

    code = "JUDGED"

    def __init__(self, value: object) -> None:
        super().__init__("is_failed judged the returned value failed")
        self.value = value


class Rejected(TaskError):
    """A person said no. A task that ends with it ends its run, whose status is `rejected`: nothing starts any more, what runs may end."""

    code = "REJECTED"
    retryable = False


class Declined(Rejected):
    """A person said no at a gate: what waits for the gate is not run, all else goes on, and the run ends as `rejected`.

    That is so whatever `on_failure` says. Where something else fails, that counts: the run has `failed` then.
    """

    code = "DECLINED"


class ChildFailed(TaskError):
    """A task that this one grew failed; `__cause__` is that task's own error, `root` the error at the very bottom."""

    code = "CHILD"

    def __init__(self, message: str, root: BaseException | None = None) -> None:
        super().__init__(message)
        self.root = root


class NotDecided(TaskError):
    """Results that come to no answer: an even vote, or fewer of them than were asked for; the message counts them."""

    code = "NOT_DECIDED"
    retryable = False


class NotRun(TaskError):
    """The task never started: skipped, upstream_failed or not_started; the message says why."""

    code = "NOT_RUN"


class LockTimeout(PlaitError, TimeoutError):
    """A `plait.Lock` was not free in time."""

    code = "LOCK_TIMEOUT"


class RunFailed(PlaitError):
    """A run did not succeed. `result` is the whole RunResult; `__cause__` the first cause's exception."""

    code = "RUN_FAILED"

    def __init__(self, message: str, result: object) -> None:
        super().__init__(message)
        self.result = result


class RunCancelled(PlaitError):
    """The run was cancelled before the wanted value existed."""

    code = "RUN_CANCELLED"


class RunInterrupted(PlaitError):
    """This process left the run before its end, in order: all that was reported is stored. `run_id` is what to resume."""

    code = "RUN_INTERRUPTED"

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class StoreError(PlaitError):
    """The store cannot be opened, read or written. A run ends with it; what was committed stays, and can be resumed."""

    code = "STORE"
    retryable = False


class StoreDamaged(StoreError):
    """What is there is no store of plait's, or not what plait wrote; it was not changed."""

    code = "STORE_DAMAGED"


class StoreTooNew(StoreError):
    """A newer plait wrote the store, or the run; neither was changed."""

    code = "STORE_TOO_NEW"


class OwnershipLost(StoreError):
    """Another process drives the run now: this one's writes are rejected, and it ends."""

    code = "OWNERSHIP_LOST"


class RunOwned(StoreError):
    """A living process drives the run; `pid` is its number."""

    code = "RUN_OWNED"

    def __init__(self, message: str, pid: int) -> None:
        super().__init__(message)
        self.pid = pid


class RunNotFound(PlaitError):
    """No run has that id, or several begin so."""

    code = "RUN_NOT_FOUND"
    retryable = False


class RunChanged(PlaitError):
    """The definition differs from the one that the run was started with. `changes` names what, a line each."""

    code = "RUN_CHANGED"
    retryable = False

    def __init__(self, message: str, changes: Sequence[str]) -> None:
        super().__init__(message)
        self.changes = list(changes)


class InvariantError(PlaitError):
    """A bug in plait: a move that the table of states does not allow. Please report it with this text."""

    code = "INVARIANT"
    retryable = False
