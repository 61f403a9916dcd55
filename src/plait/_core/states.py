"""The states of a task and of a run, and the one table that is the law of moves between them."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a task stands. The last seven are final: no task ever leaves one of them."""

    PENDING = "pending"  # some need is not final, or its `when` is not decided
    READY = "ready"  # needs met; waits for a slot or a limit
    RUNNING = "running"  # an attempt holds a slot; or, having grown, it waits without one for its children
    RETRYING = "retrying"  # between two attempts
    WAITING = "waiting"  # for a person's input, without a slot
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"  # had started, and was stopped
    SKIPPED = "skipped"  # condition false, or a skipped need
    UPSTREAM_FAILED = "upstream_failed"  # a need failed, timed out, was cancelled or did not start
    NOT_STARTED = "not_started"  # run or group ended before it could start

    @property
    def final(self) -> bool:
        """True for the statuses that never change again."""
        return CODE[self] >= FINAL


STATUSES: tuple[Status, ...] = tuple(Status)
"""Status by number: `STATUSES[FAILED] is Status.FAILED`."""

CODE: dict[Status, int] = {status: number for number, status in enumerate(STATUSES)}

# The same as small numbers, which is what the table's column holds. Plain ones: an IntEnum member costs an attribute look-up and
# compares slowly on the hot path.
(
    PENDING,
    READY,
    RUNNING,
    RETRYING,
    WAITING,
    SUCCEEDED,
    FAILED,
    TIMED_OUT,
    CANCELLED,
    SKIPPED,
    UPSTREAM_FAILED,
    NOT_STARTED,
) = range(12)

FINAL = SUCCEEDED
"""A state is final if its number is at least this."""

_ENDED_EARLY = (SKIPPED, UPSTREAM_FAILED, NOT_STARTED)

MOVES: dict[int, tuple[int, ...]] = {
    PENDING: (READY, SUCCEEDED, FAILED, *_ENDED_EARLY),
    READY: (RUNNING, WAITING, SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, NOT_STARTED),
    RUNNING: (SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, RETRYING, WAITING, READY),
    RETRYING: (READY, RUNNING, TIMED_OUT, CANCELLED),
    WAITING: (READY, RUNNING, WAITING, SUCCEEDED, FAILED, TIMED_OUT, CANCELLED),
}
"""The law. RETRYING and WAITING go on RUNNING, without a slot, where a deadline passed and an `on_error` runs. PENDING fails when its `when` raises, and has succeeded where an earlier generation of the run did it; READY is
CANCELLED where an earlier attempt had started; RUNNING is READY again where its process died or left. Where a task must not run twice, a
person is asked then (`on_interrupt: ask`): RUNNING, WAITING and READY (it had its answer, and had not gone on) are WAITING for that, and
the person may say that it SUCCEEDED or FAILED; with `on_interrupt: fail` WAITING and READY are FAILED."""

WIDTH = 16
LAW = bytes(to in MOVES.get(old, ()) for old in range(12) for to in range(WIDTH))
"""`LAW[old * WIDTH + new]` is 1 where the move is allowed: the same table, one look-up."""


class RunStatus(StrEnum):
    """Where a run stands; the last four are final. `degraded` is a flag beside `succeeded`."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"  # only answers from people are missing
    PAUSED = "paused"  # starts nothing; running tasks finish
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"  # a person said no
    CANCELLED = "cancelled"
