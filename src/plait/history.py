"""Looking at stored runs, also while they run: listed, shown, told again, what their commands wrote; and letting go of old ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait._core.policy import seconds
from plait._core.result import RunResult
from plait._core.table import Table
from plait._core.why import Why, asked
from plait._engine.reading import readers_of
from plait._engine.replaying import Replay
from plait._engine.telling import Telling
from plait.errors import RunNotFound, UsageError
from plait.observe.readers import Reader
from plait.stores.base import RunInfo, needed_by_forks
from plait.stores.locks import alive
from plait.stores.opening import command, open_store

if TYPE_CHECKING:
    from plait.stores.contract import Store


__all__ = ["LogPart", "StoredRun", "collect_garbage", "list_runs", "read_logs", "retell", "show_run", "why"]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a store knows of a run at a glance.

    `status` is the run's; of one that is not over and that no living process (`owner_pid`) drives it is `waiting` (only answers are missing:
    so many `questions` are open), `paused`, or `interrupted`. Times are Unix seconds; `counts` of tasks by status are there once it is over, `tasks` counts those that it has from the start.
    """

    id: str
    name: str
    status: str
    created_at: float
    ended_at: float | None
    generation: int
    tasks: int
    counts: Mapping[str, int] = field(default_factory=dict)
    degraded: bool = False
    owner_pid: int | None = None
    forked_from: str | None = None
    version: str = ""
    questions: int = 0


@dataclass(frozen=True, slots=True)
class LogPart:
    """The next bytes that one attempt of a task wrote to `stdout` or `stderr`."""

    key: str
    attempt: int
    stream: str
    data: bytes


def list_runs(store: Any) -> list[StoredRun]:
    """All runs of a store (a path, or a store), the newest last.

    Raises:
        StoreError: where it cannot be read.
    """
    opened = open_store(store, None, create=False)
    try:
        return [at_a_glance(run) for run in opened.runs()]
    finally:
        opened.close()


def at_a_glance(run: RunInfo) -> StoredRun:
    """The public picture of a run in a store."""
    owner = run.owner if run.status == "running" and run.owner is not None and alive(run.owner) else None
    status, stands = run.status, run.summary.get("stands")
    if run.status == "running" and owner is None:
        status = str(stands) if stands in ("waiting", "paused") else "interrupted"
    questions = run.summary.get("questions")
    counts = run.summary.get("counts")
    return StoredRun(
        run.id,
        run.name,
        status,
        run.created_at,
        run.ended_at,
        run.generation,
        run.tasks,
        counts if isinstance(counts, dict) else {},
        bool(run.summary.get("degraded")),
        None if owner is None else owner.pid,
        run.forked_from,
        run.version,
        questions if isinstance(questions, int) and status in ("waiting", "paused") else 0,
    )


def show_run(run_id: str, store: Any) -> RunResult:
    """A run as its journal tells it up to now: outcomes by key, without the values that only its own process could read.

    Reading never holds up the process that drives it, and sees whole transitions only.

    Raises:
        RunNotFound, StoreError: where there is none, or it cannot be read.
    """
    opened = open_store(store, None, create=False)
    try:
        return replayed(opened, opened.find(run_id)).result()
    finally:
        opened.close()


def why(run_id: str, key: str, store: Any) -> Why:
    """Why a task of a stored run stands where it stands, as the journal tells it up to now, and whether anybody drives it: see `Run.why`.

    Raises:
        RunNotFound, StoreError: where there is no such run, or it cannot be read.
        UsageError: for a key that is not in the run.
    """
    opened = open_store(store, None, create=False)
    try:
        info = opened.find(run_id)
        replay = replayed(opened, info)
        living = info.owner is not None and info.status == "running" and alive(info.owner)
        # The run's clock stands still while nobody drives it.
        now = max(replay.now, time.time() - replay.wall(0.0)) if living and not replay.took_over else replay.now
        left = None if living or info.status != "running" else command(f"resume {info.id}", store)
        return asked(replay.scheduler, key, now, replay.wall, info.id, left=left)
    finally:
        opened.close()


def replayed(store: Store, run: RunInfo) -> Replay:
    """The latest generation of a run, replayed without its calls."""
    replay = Replay(store, run, store.generation(run, run.generation))
    replay.catch_up()
    return replay


def retell(run_id: str, store: Any, readers: Sequence[Callable[[Any], object]]) -> None:
    """Shows `readers` every event of a stored run up to now, as its own process told it: to export it afterwards, or measure it.

    They are called here, one event after the other, and with None at the end; what one raises passes through. Of a run that began
    another generation (`retry`, an accepted edit) its events are those of the latest one.

    Raises:
        RunNotFound, StoreError: where there is none, or it cannot be read.
        UsageError: for readers that cannot be called.
    """
    shown = readers_of(readers)
    opened = open_store(store, None, create=False)
    try:
        telling = told(opened, opened.find(run_id))
        for each in shown:
            telling.stream.subscribe(each, needs=isinstance(each, Reader) and each.needs, guarded=False)
        telling.tell()
        if not telling.over:
            for each in shown:
                if isinstance(each, Reader):
                    each.leave(telling.id)
                each(None)
    finally:
        opened.close()


def told(store: Store, run: RunInfo) -> Telling:
    """The events of the latest generation of a run."""
    return Telling(store, run, store.generation(run, run.generation))


def read_logs(run_id: str, store: Any, key: str | None = None) -> Iterator[LogPart]:
    """What the commands of a run (or of its task `key`) have written up to now, task by task in the order of their rows.

    Raises:
        RunNotFound, StoreError: where there is none, or it cannot be read.
        UsageError: for a store that keeps no logs.
    """
    opened = open_store(store, None, create=False)
    try:
        logs = Logs(opened, opened.find(run_id), key)
        yield from logs.more()
        logs.check()
    finally:
        opened.close()


class Logs:
    """What commands of a run wrote; each `more` gives what came since the one before."""

    def __init__(self, store: Store, run: RunInfo, key: str | None) -> None:
        if store.folder is None:
            raise UsageError(f"the store {store.where} keeps no logs")
        self.folder = Path(store.folder, "logs", run.id)
        self.replay = Replay(store, run, store.generation(run, run.generation))
        self._key = key
        self._read: dict[Path, int] = {}

    def check(self) -> None:
        """Nothing, if there is such a task.

        Raises:
            RunNotFound: otherwise.
        """
        if self._key is not None and self.replay.table.find(self._key) < 0:
            run = self.replay.run.id
            raise RunNotFound(f"run {run} has no task {self._key!r}: `plait show -v {run}` lists them")

    def more(self) -> Iterator[LogPart]:
        """What is there now, and was not given before."""
        self.replay.catch_up()
        for row, attempt, path in sorted(self._files(self.replay.table)):
            try:
                with open(path, "rb") as file:
                    file.seek(self._read.get(path, 0))
                    data = file.read()
            except OSError:
                continue  # an empty file goes when its command ends
            if self._key is None and not data.endswith(b"\n") and b"\n" in data:
                data = data[: data.rindex(b"\n") + 1]  # the rest when its line is whole
            if data:
                self._read[path] = self._read.get(path, 0) + len(data)
                stream = "stdout" if path.suffix == ".out" else "stderr"
                yield LogPart(self.replay.table.key(row), attempt, stream, data)

    def _files(self, table: Table) -> Iterator[tuple[int, int, Path]]:
        for path in self.folder.glob(f"{self.replay.run.generation}-*-*.*"):
            try:
                _, row, attempt = path.stem.split("-")
                task = int(row)
                if task < table.size and (self._key is None or table.key(task) == self._key):
                    yield task, int(attempt), path
            except ValueError:
                continue  # nobody of ours wrote it


def collect_garbage(
    store: Any, older_than: float | str = "30d", *, dry_run: bool = False
) -> tuple[list[StoredRun], int]:
    """Forgets runs that ended more than `older_than` ago (0: all that ended), with values and logs that no other run refers to.

    A run from which an unfinished one was forked stays.

    Gives the runs that were forgotten (with `dry_run`: that would be), and the bytes of the files that went.

    Raises:
        LimitError: for a time that is none.
        StoreError: where it cannot be done.
    """
    everything = older_than == "0" or (older_than == 0 and older_than is not False)
    before = time.time() - (0.0 if everything else seconds("older_than", older_than))
    opened = open_store(store, None, create=False)
    try:
        runs = opened.runs()
        needed = needed_by_forks((run.id, run.status, run.forked_from) for run in runs)
        ended = [run for run in runs if run.ended_at is not None and run.status != "running" and run.id not in needed]
        old = [run for run in ended if run.ended_at is not None and run.ended_at < before]
        size = 0
        if not dry_run:
            opened.delete(old)
            _, size = opened.sweep()
        return [at_a_glance(run) for run in old], size
    finally:
        opened.close()
