"""Groups: the children of a task that grew, and what their ends come to, where that is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from plait._core.limits import Limit
from plait._core.policy import OnFailure, Policy, quota_of
from plait._core.states import FINAL, PENDING
from plait._core.table import NONE


class Family:
    """The children of a running task: it is their join and stays running, without a slot, until `left` is 0."""

    __slots__ = (
        "asking",
        "bad",
        "cleanups",
        "counts",
        "enough",
        "failed",
        "first_bad",
        "good",
        "halted",
        "joining",
        "left",
        "limits",
        "most_bad",
        "need",
        "open",
        "parent",
        "rows",
        "scope",
        "settled",
        "stream",
        "tolerated",
        "verdict",
        "verdict_text",
        "votes",
        "width",
    )

    def __init__(
        self, parent: int, limits: tuple[Limit, ...], around: Family | None, own_scope: bool, allowed: bool
    ) -> None:
        self.parent = parent
        # What a failure in here ends: this group, or one around it; None: the run.
        self.scope: Family | None = self if own_scope else around.scope if around is not None else None
        # Does some group around allow it?
        self.tolerated: bool = allowed or (around is not None and (around.tolerated or around.counts))
        self.rows: list[range] = []
        self.left = 0
        self.stream = False  # its rows are fed, delivered and used again
        self.open = False  # more may be fed
        self.asking = False  # is something to be worked out for each of them?
        self.joining = False
        self.limits = limits
        self.failed = NONE  # the first child whose failure counts
        self.halted: OnFailure | None = None
        self.verdict = PENDING  # the parent's state once all are final, where that is decided
        # Where the group counts (`min_success`, `max_failures`), a failure within it is one of those that it may have.
        self.counts: bool = False
        self.votes = False  # may its results be decided before all are there?
        self.settled = False  # and they are
        self.need: int | None = None
        self.most_bad: int | None = None
        self.good = self.bad = 0
        self.first_bad = NONE
        self.verdict_text = ""  # why it failed as a group
        self.enough = False  # so many succeeded: the others are not wanted any more
        self.cleanups = 0  # how many children only clean up: they count for nothing else
        self.width: Width | None = None  # where only so many of them may be under way at once

    @property
    def size(self) -> int:
        """How many children there are, but for those that clean up."""
        return sum(map(len, self.rows)) - self.cleanups

    def begin_repair(self) -> None:
        """What its children came to is on record: whatever comes now is judged by itself."""
        self.halted = None
        self.verdict = PENDING
        self.verdict_text = ""
        self.failed = self.first_bad = NONE
        self.counts = self.votes = self.enough = self.joining = False

    def count_for(self, policy: Policy, size: int, good: int) -> None:
        """Sets how many of `size` children must succeed and how many may fail, where `policy` says so; `good` did already."""
        if policy.min_success is None and policy.max_failures is None and policy.reduce is None:
            return
        self.counts = True
        self.votes = policy.reduce is not None and _decides_early(policy.reduce)
        if policy.min_success is not None:
            self.need = min(size, quota_of(policy.min_success, size, up=True))
        if policy.max_failures is not None:
            self.most_bad = quota_of(policy.max_failures, size, up=False)
        self.good = good

    @property
    def has_enough(self) -> bool:
        """Have so many succeeded as must, and, where its results are voted on, is that decided?"""
        return self.need is not None and self.good >= self.need and (self.settled or not self.votes)

    def lost(self, *, ended: bool) -> str | None:
        """Why it cannot come to what it needs any more; None if it can. One that was `ended` from outside had no chance."""
        if self.most_bad is not None and self.bad > self.most_bad:
            return f"{self.bad} of {self.size} tasks failed, {self.most_bad} may"
        if self.need is not None and self.good < self.need and self.good + self.left < self.need and not ended:
            of = f"{self.good} of {self.size} tasks succeeded"
            return f"{of}, and {self.left} are left: {self.need} are required"
        return None


class Width:
    """At most `most` children of a group are under way at once, each from when it begins until it is final; the others wait, ready.

    `waiting` holds all who wait in the run, whatever their group: who is not in it any more has ended in the line, and is passed over.
    """

    __slots__ = ("_line", "_waiting", "most", "under_way")

    def __init__(self, most: int, waiting: set[int]) -> None:
        self.most = most
        self.under_way: set[int] = set()
        self._line: deque[int] = deque()
        self._waiting = waiting

    def enters(self, task: int) -> bool:
        """Has a child begin that got ready; False where it stands in line from now on."""
        # Where there is room nobody is in line: whoever ends is followed before anybody else gets ready.
        if len(self.under_way) < self.most:
            self.under_way.add(task)
            return True
        self._line.append(task)
        self._waiting.add(task)
        return False

    def drop(self, task: int) -> None:
        """A child is final: it waits no more, if it did."""
        self._waiting.discard(task)

    def leave(self, task: int) -> None:
        """What follows from the end of a child is drawn: there is room for another one, if it had begun."""
        self.under_way.discard(task)

    def follow(self) -> int:
        """The first in line, which begins; NONE if there is no room, or nobody waits."""
        line, waiting = self._line, self._waiting
        while line and len(self.under_way) < self.most:
            task = line.popleft()
            if task in waiting:
                waiting.discard(task)
                self.under_way.add(task)
                return task
        return NONE

    def clear(self, status: Sequence[int]) -> None:
        """The group ends: nobody waits any more."""
        self._waiting.difference_update(self._line)
        self._line.clear()
        self.under_way = {task for task in self.under_way if status[task] < FINAL}

    @property
    def line(self) -> list[int]:
        """Those that wait, in order."""
        return [task for task in self._line if task in self._waiting]


def _decides_early(reduce: str) -> bool:
    from plait._core.reducing import EARLY, parse  # few groups reduce

    return parse(reduce)[0] in EARLY
