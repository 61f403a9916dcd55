"""What the calls of a batch are to the engine: how to start each, what its value means, what it grows."""

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from plait._core.graph import Batch
from plait._core.paths import Foreseen, Where
from plait._core.policy import PLAIN, Policy
from plait._core.table import Table, Try
from plait._engine.files import declare
from plait.executors.base import Call

if TYPE_CHECKING:
    from plait.patterns.votes import Vote


RawFiles: TypeAlias = tuple[object, object]
"""What a task reads, and what it writes, as it was worked out; None for one of them: as its policy says."""

Wanted: TypeAlias = tuple[object, int, object, RawFiles | None]
"""A task's key, how many of it at once, its cost and its files, as they were worked out; None: as its policy says."""


class Growth:
    """Children to come under a task, and its value once they are final.

    `join` gets the table and the rows of the children: of the first ones, where it grew more than once. `vacant`: the rows are to
    be fed one by one. `again` gets the same, before that: what the task grows next, None if that was all. Of a growth that is on
    record it is never asked what came next, for that is on record, too.
    """

    __slots__ = ("again", "batch", "join", "vacant")

    def __init__(
        self,
        batch: Batch,
        join: Callable[[Table, range], Any],
        vacant: bool = False,
        again: "Callable[[Table, range], Growth | None] | None" = None,
    ) -> None:
        self.batch = batch
        self.join = join
        self.vacant = vacant
        self.again = again


class Ending:
    """What becomes of a task once all that it grew is final: it grows more, or it has a value."""

    __slots__ = ("again", "join")

    def __init__(
        self,
        join: Callable[[Table, range], Any],
        again: Callable[[Table, range], Growth | None] | None = None,
    ) -> None:
        self.join = join
        self.again = again


class Regrowth:
    """What is on record of a growth: the snapshot of its calls, its tasks (to which calls are put), and how values are read."""

    __slots__ = ("batch", "needs", "read", "snapshot")

    def __init__(
        self,
        snapshot: Any,
        batch: Callable[["Work"], Batch],
        read: Callable[[int, Any], Any],
        needs: Sequence[Sequence[int]] | None,
    ) -> None:
        self.snapshot = snapshot
        self.batch = batch
        self.read = read
        self.needs = needs


class Chosen:
    """What an earlier generation of a run has on record of what a task grew: a snapshot for each time, up to the first of which
    something is to run again; empty for one that grew nothing. `over`: all of it stands, and the task succeeded with it. `stands`:
    does the task at that place of its batch, in which nothing is to run again?
    """

    __slots__ = ("over", "snapshots", "stands")

    def __init__(self, snapshots: Sequence[Any], over: bool, stands: Callable[[int], bool]) -> None:
        self.snapshots = snapshots
        self.over = over
        self.stands = stands


class Work:
    """The calls of one batch, by place. `first` is the row of place 0, so `table.values[first + p]` is the value of place p."""

    policy: Policy = PLAIN
    """Of each of these calls, where they have one."""

    suspects: Container[type] = ()
    """Types of values that are to be shown to `check` before they count."""

    def begins(self, run_id: str, name: str) -> None:
        """Which run these calls are of: told once, before anything of it starts."""

    def call(self, place: int, table: Table, first: int) -> Call:
        """The call to start. An exception here is the task's failure."""
        raise NotImplementedError

    def check(self, place: int, value: Any, table: Table, first: int) -> Growth | None:
        """What a returned value grows, if anything. An exception here is the task's failure; the value is kept."""
        return None

    def decide(self, place: int, table: Table, first: int) -> bool:
        """Whether the task's `when` holds; true where it has none."""
        raise NotImplementedError

    def wants(self, place: int, table: Table, first: int) -> Wanted | None:
        """What is worked out for this task alone; None where nothing is."""
        return None

    # -- what is read and written

    filed: Sequence[int] = ()
    """The places whose paths are worked out."""

    def files(self, place: int) -> RawFiles | None:
        """What a task of `filed` reads and writes; None where only `wants` can tell, once its needs are met."""
        return None

    def where(self, place: int) -> Where:
        """Where the task says what it reads and writes."""
        return None

    def stands(self, place: int) -> Where:
        """Where the task itself stands in a file."""
        return None

    def foreseen(self, place: int) -> Foreseen | None:
        """What a control task will grow, as far as it is known before; None where nothing in it reads or writes anything."""
        shape = self.shape(place)
        if shape is not None:
            declare(shape.batch)
        return shape

    def foreseen_repair(self, place: int) -> Foreseen | None:
        """The same of the `on_error` of a task that has one: what it will be, as far as it is known before."""
        shape = self.shape_of_repair(place)
        if shape is not None:
            declare(shape.batch)
        return shape

    def shape(self, place: int) -> Foreseen | None:
        """`foreseen`, before the paths are looked up."""
        return None

    def shape_of_repair(self, place: int) -> Foreseen | None:
        """`foreseen_repair`, before the paths are looked up."""
        return None

    def children(self, place: int, table: Table, first: int) -> Growth:
        """What a control task grows."""
        raise NotImplementedError

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        """The `on_error` of the task at `place`, which ended in `failure`, as its one child."""
        raise NotImplementedError

    # -- for runs with a store

    def snapshot(self) -> Any:
        """What another process makes these calls of, where `regrow` cannot make them of values alone; None where it can.

        Raises:
            NotStorable: where nothing can.
        """
        return None

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        """What the task at `place` grew in an earlier process, again."""
        return self.children(place, table, first)

    def grown_again(self, place: int, table: Table, first: int, chosen: "Chosen") -> Growth:
        """What a control task grows in another generation of its run, where what it grew in an earlier one still holds."""
        return self.children(place, table, first)

    def declared(self, place: int) -> Any:
        """The type that a task says its value has; None if it says none."""
        return None

    def inside(self, place: int, snapshot: Any = None) -> "tuple[Work, Join] | None":
        """The calls of what a control task grows, as far as types are declared there, and how it joins them; None if it is none.

        `snapshot` is what is on record of them, where something is.
        """
        return None

    def called(self) -> Sequence[str] | str | None:
        """What tasks of a kind are called in figures: one for each place, or one for all. None: what stands in their keys
        before an item's number."""
        return None

    def identities(self) -> Sequence[str] | str:
        """Under which name each task is known from run to run: one for each place, or one for all."""
        return ""


Join: TypeAlias = Callable[[Table, range], Any]


def joining(policy: Policy, join: Join) -> Join:
    """How children are joined: as the calls have it, or to what their results come to (`reduce`)."""
    if policy.reduce is None:
        return join

    def reduced(table: Table, rows: range) -> Any:
        from plait._core.outcome import Outcomes  # few groups reduce

        return vote_of(policy).value(Outcomes(table, table.members(table.parent(rows.start)) if rows else rows, float))

    return reduced


def vote_of(policy: Policy) -> "Vote":
    """The `reduce` of a policy, at work."""
    from plait.patterns.votes import Vote

    assert policy.reduce is not None
    return Vote(policy.reduce)


def check_votes(policy: Policy, parent: str, keys: Sequence[str]) -> None:
    """Nothing, if children with these keys can come to a result.

    Raises:
        LimitError: otherwise.
    """
    if policy.reduce is not None:
        vote_of(policy).check([parent + key if key.startswith("[") else f"{parent}/{key}" for key in keys])


__all__ = ["Call", "Chosen", "Ending", "Growth", "Regrowth", "Work", "check_votes", "joining", "vote_of"]
