"""What a store is: it appends batches of facts to runs that a process owns, and gives them back. It knows no scheduler.

Every store passes the checks of `plait.testing.stores`; adding one means adding a line to the list in `tests/stores`.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from plait.errors import OwnershipLost, RunOwned

log = logging.getLogger("plait")

FORMAT = 1
"""Of the journal: a run of another format is refused, never guessed at (F84)."""


class Owner(Struct, frozen=True):
    """A process, told apart from a later one of the same number."""

    pid: int
    started: int
    """Clock ticks from the machine's start to the process's."""
    boot: str
    """Which start of the machine, and which process namespace."""


class Blob:
    """Bytes too many for a journal's line: kept in a file of their own, under the hash of what is in it."""

    __slots__ = ("data",)  # and no tuple or dataclass: an encoder would write those out itself

    def __init__(self, data: bytes) -> None:
        self.data = data


class NewRun(Struct, frozen=True):
    """A run that is to be stored: its id (None: the store gives one), what it is for people, how it was made."""

    id: str | None
    name: str
    definition: Any
    """How another process makes the same calls: plain data, Raw JSON and Blobs."""
    structure: Any
    """The tasks that the run has from the start, likewise."""
    tasks: int
    wall: float
    """Unix seconds at 0 on the run's clock."""
    forked_from: str | None = None


class RunInfo(Struct, frozen=True):
    """What a store knows of a run without reading its journal."""

    number: int
    id: str
    name: str
    status: str
    """The final status, or "running"."""
    created_at: float
    ended_at: float | None
    generation: int
    epoch: int
    owner: Owner | None
    tasks: int
    summary: Mapping[str, Any]
    forked_from: str | None
    format: int
    version: str
    """Of plait, that made the run."""


class Generation(Struct, frozen=True):
    """One try at a run: a retry or an accepted edit begins another, and the history stays."""

    number: int
    definition: bytes
    structure: bytes
    wall: float


class Claim:
    """The right to write to a run: this process owns it, in this epoch."""

    __slots__ = ("epoch", "failure", "generation", "id", "lost", "number", "sequence")

    def __init__(self, number: int, id: str, epoch: int, generation: int, sequence: int = 0) -> None:
        self.number = number
        self.id = id
        self.epoch = epoch
        self.generation = generation
        self.sequence = sequence
        """Of the last batch that was appended."""
        self.lost = False
        self.failure: BaseException | None = None
        """Why one of its batches was not written: none that follows it is, for the journal has no holes."""


class Learned(Struct, frozen=True):
    """What earlier runs showed of a task: mean seconds of an attempt, of how many; how many children it grew."""

    seconds: float
    number: int
    children: float = 0.0


class Append(Struct, frozen=True):
    """A batch of facts for one run, one transaction.

    `told` is called once, in any thread, when it is committed (None) or will never be (why not). What `told` raises is logged.
    """

    claim: Claim
    records: Sequence[Any]
    told: Callable[[BaseException | None], None]
    final: Mapping[str, Any] | None = None
    """With the last batch: the run's `status`, `ended_at` and `summary`. It has no owner from then on."""
    learned: Mapping[str, Learned] | None = None


def owned(run: RunInfo, pid: int) -> RunOwned:
    """What is said of a run that process `pid` owns."""
    return RunOwned(f"run {run.id} is driven by process {pid}, which is alive", pid)


def taken_over(claim: Claim) -> OwnershipLost:
    """What is said to whoever writes to a run under an older claim."""
    return OwnershipLost(f"another process took run {claim.id} over: this one records nothing more and ends")


def tell(batch: Append, error: BaseException | None) -> None:
    """Says what became of a batch."""
    try:
        batch.told(error)
    except Exception:
        log.exception("whoever was told of a batch of run %s raised", batch.claim.id)


LEARNING = 0.3
"""The weight of the latest run in what is known of a task's seconds."""


def folded(old: Learned | None, new: Learned) -> Learned:
    """What is known of a task with what one more run showed: an exponentially weighted mean."""
    if old is None:
        return new
    seconds = old.seconds + LEARNING * (new.seconds - old.seconds)
    children = old.children + LEARNING * (new.children - old.children)
    return Learned(seconds, old.number + new.number, children)


def last_of(runs: Sequence[RunInfo], text: str) -> list[RunInfo]:
    """Those of `runs` that `text` may mean: an id, the beginning of ids, or `last`."""
    if text == "last":
        return list(runs[-1:])
    exact = [run for run in runs if run.id == text]
    return exact or [run for run in runs if run.id.startswith(text)]


def needed_by_forks(runs: Iterable[tuple[str, str, str | None]]) -> set[str]:
    """The ids of the runs from which an unfinished one was forked, at any distance, of (id, status, forked from)."""
    found = {run_id: (status, origin) for run_id, status, origin in runs}
    needed: set[str] = set()
    for status, origin in found.values():
        while status == "running" and origin is not None and origin not in needed:
            needed.add(origin)
            origin = found.get(origin, ("", None))[1]
    return needed
