"""What a store is: it appends batches of facts to runs that a process owns, and gives them back. It knows no scheduler.

Every store passes the checks of `plait.testing.stores`; adding one means adding a line to the list in `tests/stores`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from plait._core.policy import Value
from plait.errors import OwnershipLost, RunOwned
from plait.logs import log

FORMAT = 4
"""Of the journal. Whoever claims a run goes on with it in this one."""

READABLE = (3, 4)
"""Formats that can be read and gone on with: a run of another one is refused, never guessed at (F84)."""


class Owner(Value):
    """A process, told apart from a later one of the same number.

    `started` is in clock ticks from the machine's start; `boot` says which start that was, and which process namespace.
    """

    __slots__ = ("pid", "started", "boot")  # noqa: RUF023 - as they are given

    def __init__(self, pid: int, started: int, boot: str) -> None:
        self.pid = pid
        self.started = started
        self.boot = boot


class Blob:
    """Bytes too many for a journal's line: kept in a file of their own, under the hash of what is in it."""

    __slots__ = ("data",)  # and no tuple or dataclass: an encoder would write those out itself

    def __init__(self, data: bytes) -> None:
        self.data = data


class NewRun(Value):
    """A run that is to be stored: its id (None: the store gives one), what it is for people, how it was made.

    `definition` is how another process makes the same calls, `structure` the tasks that the run has from the start: plain
    data, Raw JSON and Blobs. `tasks` says how many. `wall` is Unix seconds at 0 on the run's clock.
    """

    __slots__ = ("id", "name", "definition", "structure", "tasks", "wall", "forked_from")  # noqa: RUF023 - as they are given

    def __init__(
        self,
        id: str | None,
        name: str,
        definition: Any,
        structure: Any,
        tasks: int,
        wall: float,
        forked_from: str | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.definition = definition
        self.structure = structure
        self.tasks = tasks
        self.wall = wall
        self.forked_from = forked_from


class RunInfo(Value):
    """What a store knows of a run without reading its journal.

    `status` is the final status, or "running"; `version` that of plait, which made the run.
    """

    __slots__ = (  # noqa: RUF023 - as they are given
        "number", "id", "name", "status", "created_at", "ended_at", "generation", "epoch", "owner", "tasks", "summary",
        "forked_from", "format", "version",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        id: str,
        name: str,
        status: str,
        created_at: float,
        ended_at: float | None,
        generation: int,
        epoch: int,
        owner: Owner | None,
        tasks: int,
        summary: Mapping[str, Any],
        forked_from: str | None,
        format: int,
        version: str,
    ) -> None:
        self.number = number
        self.id = id
        self.name = name
        self.status = status
        self.created_at = created_at
        self.ended_at = ended_at
        self.generation = generation
        self.epoch = epoch
        self.owner = owner
        self.tasks = tasks
        self.summary = summary
        self.forked_from = forked_from
        self.format = format
        self.version = version


class Generation(Value):
    """One try at a run: a retry or an accepted edit begins another, and the history stays."""

    __slots__ = ("number", "definition", "structure", "wall")  # noqa: RUF023 - as they are given

    def __init__(self, number: int, definition: bytes, structure: bytes, wall: float) -> None:
        self.number = number
        self.definition = definition
        self.structure = structure
        self.wall = wall


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


class Learned(Value):
    """What earlier runs showed of a task: mean seconds of an attempt, of how many; how many children it grew."""

    __slots__ = ("seconds", "number", "children")  # noqa: RUF023 - as they are given

    def __init__(self, seconds: float, number: int, children: float = 0.0) -> None:
        self.seconds = seconds
        self.number = number
        self.children = children


class Note(Value):
    """What another process left for the one that drives a run.

    `kind` is answer, cancel, pause or resume; `key` what it is about, of an answer the question; `data` plain JSON data; `by` who
    left it, as far as that was said; `at` Unix seconds.
    """

    __slots__ = ("id", "kind", "key", "data", "by", "at")  # noqa: RUF023 - as they are given

    def __init__(self, id: int, kind: str, key: str | None, data: Any, by: str | None, at: float) -> None:
        self.id = id
        self.kind = kind
        self.key = key
        self.data = data
        self.by = by
        self.at = at


class Append(Value):
    """A batch of facts for one run, one transaction.

    `told` is called once, in any thread, when it is committed (None) or will never be (why not). What `told` raises is logged.
    `final` comes with the last batch: the run's `status`, `ended_at` and `summary`. It has no owner from then on.
    `verdicts` are what became of notes, by their ids: a fact and the note that it came from do not part at a kill.
    """

    __slots__ = ("claim", "records", "told", "final", "learned", "verdicts")  # noqa: RUF023 - as they are given

    def __init__(
        self,
        claim: Claim,
        records: Sequence[Any],
        told: Callable[[BaseException | None], None],
        final: Mapping[str, Any] | None = None,
        learned: Mapping[str, Learned] | None = None,
        verdicts: Sequence[tuple[int, Mapping[str, Any]]] = (),
    ) -> None:
        self.claim = claim
        self.records = records
        self.told = told
        self.final = final
        self.learned = learned
        self.verdicts = verdicts


def moment(value: Any) -> float:
    """Unix seconds that a calendar knows.

    Raises:
        ValueError: for what is none.
    """
    if not isinstance(value, (int, float)) or not 0 <= value < 250_000_000_000:
        raise ValueError
    return float(value)


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
