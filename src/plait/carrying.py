"""What an earlier generation of a run finished, for the next one: a retry, an accepted edit, a fork."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from plait._core.graph import REPAIR, Batch, Kept
from plait._core.states import SKIPPED, SUCCEEDED
from plait._core.table import NONE, Table, Try
from plait._engine.replaying import Replay, read_structure
from plait._engine.wall import Wall
from plait._engine.work import Chosen, Growth, Regrowth, Work
from plait.beginning import Definition
from plait.errors import RunNotFound, StoreDamaged
from plait.stores.base import Generation, RunInfo
from plait.stores.values import PLAIN

if TYPE_CHECKING:
    from plait.stores.contract import Store


__all__ = ["Carried"]


class _Source(NamedTuple):
    """Where an earlier generation has a task, and under which path."""

    replay: _Earlier
    row: int
    path: str


class Carried:
    """What an earlier generation finished, brought into the batches of the next one, by path.

    Tasks that only grow others are not kept: they grow again, which runs nothing, and their children are.
    """

    def __init__(
        self,
        store: Store,
        carried: Mapping[str, Any],
        definition: Definition,
        wall: Wall,
        later: tuple[float, int] = (inf, 0),
    ) -> None:
        run = store.find(str(carried["run"]))
        generation = store.generation(run, int(carried["generation"]))
        if (run.number, generation.number) >= later:  # else it could be followed for ever
            raise StoreDamaged(
                f"run {run.id} in {store.where} is damaged: a generation carries on from one that is not earlier"
            )
        self.old = _Earlier(store, run, generation, definition.program.batch)
        self.old.catch_up()
        self._again = frozenset(map(str, carried["again"]))
        self._wall = wall
        self._sources: dict[int, _Source] = {}
        self._before: Carried | None = None
        if self.old.carried is not None:
            try:
                self._before = Carried(
                    store, self.old.carried, definition, self.old.wall, (run.number, generation.number)
                )
                self._before.adopt_all(self.old.table)
            except RunNotFound:
                pass  # it was forgotten meanwhile

    def known(self, batch: Batch) -> set[str]:
        """Paths of the tasks that there are, or were."""
        table = self.old.table
        return {*batch.keys, *(table.key(row) for row in range(table.size))}

    def adopt_all(self, table: Table) -> None:
        """Finds the earlier places of every task of a run that goes on."""
        first = 0
        while first < table.size:
            batch, _ = table.batch_of(first)
            self._adopt(batch, first, self._earlier(table.parent(first)), set(batch.kept))
            first += batch.size

    def into(self, batch: Batch, first: int, parent: int) -> None:
        """Marks what of `batch` enters final: all that succeeded or was skipped, but for what is to run again and what needs that."""
        earlier = self._earlier(parent)
        if earlier is None:
            return
        prefix, rows = earlier
        controls, last = set(batch.controls), frozenset(batch.cleanups)
        kept: dict[int, Kept] = {}
        redo: set[int] = set()
        decided = self._decided(parent)
        for place, key in enumerate(batch.keys):
            source = rows.get(key)
            path = prefix + key
            if (
                source is None
                or place in last  # what cleans up does so each time
                or (place in controls and source.row in source.replay.table.failures)  # its failed part runs again
                or source.row in source.replay.unfinished
                or (not decided and source.replay.table.status[source.row] not in (SUCCEEDED, SKIPPED))
                or any(each == path or each.startswith((f"{path}/", f"{path}[")) for each in self._again)
            ):
                redo.add(place)
        redo = _with_dependents(batch, redo)
        for place, key in enumerate(batch.keys):
            source = rows.get(key)
            if place in redo or place in controls or source is None:
                continue
            table, unix = source.replay.table, source.replay.wall
            if table.status[source.row] != SUCCEEDED:
                kept[place] = Kept(None, 0.0, 0.0, 0, skipped=True)
                continue
            since = self._wall(0.0)
            kept[place] = Kept(
                source.replay.value(source.row),
                unix(table.started_at[source.row]) - since,
                unix(table.ended_at[source.row]) - since,
                table.attempts(source.row),
            )
        batch.kept = kept
        self._adopt(batch, first, earlier, set(kept))

    def chosen(self, parent: int) -> Chosen | None:
        """What `parent` grew, as far as it is not to be chosen anew; None where nothing of it counts, or it grew nothing yet."""
        source = self._sources.get(parent)
        if source is None:
            return None
        replay, table = source.replay, source.replay.table
        nothing = replay.of_nothing.get(source.row)
        if not _growths(table, source.row) and nothing is None and self._before is not None and replay is self.old:
            return self._before.chosen(source.row)
        parts, whole = self._standing(source)
        snapshots = [table.batch_of(rows.start)[0].calls.snapshot() if rows else {} for rows in parts]  # type: ignore[attr-defined]
        if not parts:
            if nothing is None:
                return None
            snapshots = [nothing]
        batch, place = table.batch_of(source.row)
        around = source._replace(path=source.path.removesuffix(batch.keys[place]).removesuffix("/"))
        return Chosen(
            snapshots,
            whole and table.status[source.row] == SUCCEEDED,
            lambda other: not self._changes(around, source.row - place + other),
        )

    def _standing(self, source: _Source) -> tuple[list[range], bool]:
        """What an earlier task grew, time after time, up to the first of which something is to run again; and is that all, and nothing is?"""
        found: list[range] = []
        for rows in _growths(source.replay.table, source.row):
            found.append(rows)
            if any(self._changes(source, row) for row in rows):
                return found, False
        return found, True

    def _changes(self, source: _Source, row: int) -> bool:
        """Is there something in a child to run again, or the child itself?"""
        table = source.replay.table
        key = table.batch_of(row)[0].keys[table.batch_of(row)[1]]
        path = f"{source.path}{key}" if key.startswith("[") or not source.path else f"{source.path}/{key}"
        within = any(each == path or each.startswith((f"{path}/", f"{path}[")) for each in self._again)
        return within or row in source.replay.unfinished or table.status[row] not in (SUCCEEDED, SKIPPED)

    def _decided(self, parent: int) -> bool:
        """Did the children of `parent` come to what it needs of them, so that those that did not succeed are not wanted any more?

        To run them now would change its value under those that were made of it.
        """
        source = self._sources.get(parent)
        if source is None:
            return False
        within = any(each.startswith((f"{source.path}/", f"{source.path}[")) for each in self._again)
        return not within and _counts(source.replay.table, source.row)

    def _adopt(self, batch: Batch, first: int, earlier: tuple[str, dict[str, _Source]] | None, kept: set[int]) -> None:
        """Remembers the earlier places of those tasks whose children may be kept: nothing that they need runs again."""
        if earlier is None:
            return
        prefix, rows = earlier
        controls, last = set(batch.controls), frozenset(batch.cleanups)
        changing: set[int] = set()
        for place, key in enumerate(batch.keys):
            path = prefix + key
            needs = batch.needs[place] if batch.needs is not None else ()
            within = any(each.startswith((f"{path}/", f"{path}[")) for each in self._again)
            if place in last or path in self._again or key not in rows or any(need in changing for need in needs):
                changing.add(place)
            elif place not in kept:
                self._sources[first + place] = rows[key]._replace(path=path)
                replay, row = rows[key].replay, rows[key].row
                over = replay.table.status[row] == SUCCEEDED and row not in replay.unfinished
                if within or place not in controls or not over:
                    changing.add(place)

    def _earlier(self, parent: int) -> tuple[str, dict[str, _Source]] | None:
        """The earlier children of what is `parent` now, by key, and what their paths begin with; None if they do not count."""
        if parent == NONE:
            table = self.old.table
            batch = self.old.batch
            return "", {key: _Source(self.old, row, key) for row, key in enumerate(batch.keys)} if table.size else {}
        source = self._sources.get(parent)
        if source is None:
            return None
        table = source.replay.table
        if not table.grown(source.row) and self._before is not None and source.replay is self.old:
            return self._before._earlier(source.row)
        rows: dict[str, _Source] = {}
        for part in filter(len, self._standing(source)[0]):
            keys = table.batch_of(part.start)[0].keys
            rows.update({key: _Source(source.replay, row, key) for row, key in zip(part, keys, strict=True)})
        indexed = next(iter(rows), "").startswith("[")
        return f"{source.path}{'' if indexed else '/'}", rows


def _growths(table: Table, row: int) -> list[range]:
    """What a task grew, its `on_error` apart."""
    return [rows for rows in table.grown(row) if rows.start != table.repairs.get(row)]


def _counts(table: Table, row: int) -> bool:
    """Did a task succeed that wants so many of its children, or a result of them, so that the others are not wanted?"""
    policy = table.policies[row]
    counts = policy.reduce is not None or policy.min_success is not None or policy.max_failures is not None
    return counts and table.status[row] == SUCCEEDED


class _Earlier(Replay):
    """A generation that is over, for the values of what succeeded in it; they are read when they are kept."""

    def __init__(self, store: Store, run: RunInfo, generation: Generation, now: Batch) -> None:
        self.of_nothing: dict[int, Any] = {}
        """What is on record of tasks that grew nothing at all."""
        super().__init__(store, run, generation, _EarlierWork(now, generation))

    def _grew(self, parent: int, now: float, data: Mapping[str, Any], snapshot: Any) -> None:
        if snapshot is not None and not data["size"]:
            self.of_nothing[parent] = snapshot
        super()._grew(parent, now, data, snapshot)

    @cached_property
    def unfinished(self) -> set[int]:
        """Tasks that grew others, of which some did not come to their end, and are wanted."""
        table = self.table
        found: set[int] = set()
        for row in range(table.size - 1, -1, -1):
            parent = table.parent(row)
            if parent == NONE or table.repairs.get(parent) == row:
                continue
            batch, place = table.batch_of(row)
            ended = table.status[row] in (SUCCEEDED, SKIPPED) and (
                row not in table.failures or place not in batch.controls
            )
            if (row in found or not ended) and place not in batch.cleanups and not _counts(table, parent):
                found.add(parent)
        return found

    def _value(self, form: int, data: Any, declared: Callable[[], Any] = lambda: None) -> Any:
        return data if form == PLAIN else _Unread(form, data, declared)

    def _joined(self, task: int) -> Any:
        return _Unread(PLAIN, None, lambda: None, task)

    def value(self, row: int) -> Any:
        """What a task made."""
        found = self.table.values[row]
        if type(found) is not _Unread:
            return found
        if found.task < 0:
            return super()._value(found.form, found.data, found.declared)
        if found.task in self.table.failures:
            return self.value(self.table.repairs[found.task])
        for rows in self.table.grown(found.task):
            for child in rows:
                self.table.values[child] = self.value(child)
        return super()._joined(found.task)


class _Unread(NamedTuple):
    """A value as it is recorded; of a task that joined its children there is none."""

    form: int
    data: Any
    declared: Callable[[], Any]
    task: int = NONE


class _EarlierWork(Work):
    """The calls of an earlier generation, as far as they are asked for: for declared types, by the task's key now."""

    def __init__(self, now: Batch, generation: Generation) -> None:
        self._now = now
        self._keys: Sequence[str] = read_structure(generation.structure)["batch"]["keys"]
        self._places: dict[str, int] | None = None

    def _place(self, place: int) -> int | None:
        if isinstance(self._keys, dict):
            return place if place < self._now.size else None
        if self._places is None:
            self._places = {key: at for at, key in enumerate(self._now.keys)}
        return self._places.get(self._keys[place])

    def declared(self, place: int) -> Any:
        now = self._place(place)
        work: Work = self._now.calls  # type: ignore[assignment]
        return None if now is None else work.declared(now)

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        now = self._place(place)
        work: Work = self._now.calls  # type: ignore[assignment]
        return (
            _NOTHING_KNOWN.regrow(place, table, first, regrowth)
            if now is None
            else _read(work, now, table, first, regrowth)
        )

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        now = self._place(place)
        work: Work = self._now.calls  # type: ignore[assignment]
        if now is not None and now in self._now.repairs:
            return _ToRead(work).repair(now, failure, table, first)
        return Growth(Batch(1, calls=_NOTHING_KNOWN, keys=[REPAIR]), lambda table, rows: None)  # type: ignore[arg-type]


class _ToRead(Work):
    """What an earlier generation had grown, for the values on record: nothing in it is worked out anew, for what it was made of may be
    there no more."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def declared(self, place: int) -> Any:
        return self._work.declared(place)

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        return _read(self._work, place, table, first, regrowth)

    def repair(self, place: int, failure: Try, table: Table, first: int) -> Growth:
        growth = self._work.repair(place, failure, table, first)
        growth.batch.calls = _ToRead(growth.batch.calls)  # type: ignore[assignment, arg-type]
        return growth


class _Gone(Work):
    """The calls of tasks that are there no more."""

    def regrow(self, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
        return Growth(regrowth.batch(self), lambda table, rows: None)


_NOTHING_KNOWN = _Gone()


def _read(work: Work, place: int, table: Table, first: int, regrowth: Regrowth) -> Growth:
    known = work.inside(place, regrowth.snapshot)
    if known is None and regrowth.snapshot is not None:
        return work.regrow(place, table, first, regrowth)
    calls, join = known or (_NOTHING_KNOWN, lambda table, rows: None)
    return Growth(regrowth.batch(_ToRead(calls)), join)


def _with_dependents(batch: Batch, places: set[int]) -> set[int]:
    """`places` and all that needs one of them, at any distance."""
    if batch.needs is None:
        return places
    users: list[list[int]] = [[] for _ in range(batch.size)]
    for place, row in enumerate(batch.needs):
        for need in row:
            users[need].append(place)
    found, stack = set(places), list(places)
    while stack:
        for user in users[stack.pop()]:
            if user not in found:
                found.add(user)
                stack.append(user)
    return found
