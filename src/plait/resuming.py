"""Runs with a store, from their first line to their last: beginning one, and `resume`, `retry`, `fork` in any later process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from msgspec.json import encode

from plait import points
from plait._core.graph import Batch, Kept
from plait._core.outcome import RunResult
from plait._core.policy import Rules, nearest
from plait._core.states import SKIPPED, SUCCEEDED
from plait._core.table import NONE, Table
from plait._engine.keeping import KeptDriver
from plait._engine.orphans import end_orphans
from plait._engine.records import batch_of, value_of
from plait._engine.records import structure as structure_of
from plait._engine.replaying import Regrown, Replay, read_json, read_structure, structure_data
from plait._engine.wall import Wall
from plait._engine.work import Growth, Regrowth, Work
from plait.concurrency import default_slots
from plait.durations import ranked
from plait.edits import Changes, compare
from plait.errors import PlaitError, RunChanged, RunNotFound, StoreDamaged, UsageError
from plait.programs import Program, again, compile_graph, compile_nodes
from plait.snapshots import of_nodes, unknowns
from plait.stores.base import Claim, Generation, NewRun, RunInfo, Store
from plait.stores.values import PLAIN
from plait.tasks import Graph, Node

__all__ = ["begin", "fork", "reopen", "retry"]


class Definition(NamedTuple):
    """How a run's calls are made: as data for a store, and the program itself."""

    data: dict[str, Any]
    program: Program
    target: Any = None
    structure: Any = None
    """As it was read from the store, where it was."""

    @property
    def whole(self) -> Definition:
        """The same, with its batch: of stored nodes that is put off, for most resumes have it of the replay."""
        program = self.program
        if self.structure is None or self.target is not None or program.batch.size == self.structure["batch"]["size"]:
            return self
        batch = batch_of(self.structure["batch"], program.batch.calls, _no_value)
        batch.kept, batch.ranks = {}, None
        return self._replace(program=program._replace(batch=batch))


def definition_of(
    target: Any, program: Program, inputs: Mapping[str, Any], origin: Mapping[str, Any] | None
) -> Definition:
    """What a store keeps of a target, so that another process can go on with its run."""
    if hasattr(target, "snapshot"):
        data: dict[str, Any] = target.snapshot(inputs)
    else:
        kind = "graph" if isinstance(target, Graph) else "node" if isinstance(target, Node) else "nodes"
        work: Any = program.batch.calls
        data = {"kind": kind, "name": program.name, "targets": program.targets, **of_nodes(work.nodes, strict=False)}
    if origin:
        data["origin"] = dict(origin)
    return Definition(data, program, target)


def rules_now(target: Any) -> Rules | None:
    """The rules that a definition itself states; None where those of the run stay."""
    return (
        Rules.of(**{"on_failure": "continue", "max_concurrency": default_slots(), **target.rules()})
        if hasattr(target, "rules")
        else None
    )


# -- beginning


def begin(
    store: Store,
    definition: Definition,
    rules: Rules,
    *,
    run_id: str | None = None,
    **driving: Any,
) -> KeptDriver:
    """A driver for a new run. Once this returns, the run and all its tasks are stored (W1)."""
    if run_id is not None:
        check_id(run_id)
    program = definition.program
    ranked(store, program.batch, program.name)
    wall = time.time()
    structure = structure_data(program.batch, rules)
    claim = store.create(NewRun(run_id, program.name, definition.data, structure, program.batch.size, wall))
    return KeptDriver(
        program.batch,
        rules,
        store=store,
        claim=claim,
        wall=Wall(0.0, wall),
        name=program.name,
        value=program.value,
        **driving,
    )


def check_id(run_id: object) -> None:
    """Nothing, for text that can be a run's id.

    Raises:
        UsageError: otherwise.
    """
    if not isinstance(run_id, str) or not run_id or len(run_id) > 64 or not run_id.isascii():
        raise UsageError(f"a run's id must be 1 to 64 plain characters, not {run_id!r}")
    if run_id == "last" or not all(each.isalnum() or each in "-_." for each in run_id) or run_id[0] in ".-":
        raise UsageError(
            f"a run's id has letters, digits, '-', '_' and '.', begins with none of the last three, and is not `last`: not {run_id!r}"
        )


# -- going on


class Reopened(NamedTuple):
    """A run that this process may drive on, or one that is over already."""

    driver: KeptDriver | None
    run: RunInfo
    replay: Replay
    changes: Changes
    value: Callable[[RunResult], Any] | None = None

    @property
    def result(self) -> RunResult:
        """Of a run that is over."""
        return self.replay.result(self.value)


def reopen(
    store: Store,
    run_id: str,
    target: Any = None,
    *,
    accept_changes: bool = False,
    load: Callable[[dict[str, Any]], Any] | None = None,
    **driving: Any,
) -> Reopened:
    """Takes a run over and brings it to where its journal ends; what ran there is interrupted, its processes are ended.

    Raises:
        RunOwned: while a living process drives it.
        RunNotFound, RunChanged, StoreError, UsageError: where it cannot go on; nothing was changed then.
    """
    run = store.find(run_id)
    if run.status != "running" and not accept_changes:
        return _over(store, run, target, load)
    claim = store.claim(run)
    try:
        points.reach("claimed")
        run = store.find(run.id)
        if run.status != "running" and not accept_changes:  # it came to its end meanwhile
            store.release(claim)
            return _over(store, run, target, load)
        generation = store.generation(run, run.generation)
        definition, changes = _definition_now(store, run, generation, target, load)
        if changes and not accept_changes:
            raise changed(run, changes)
        if changes:
            rerun = _Rerun(edits=changes, rules=rules_now(target if target is not None else definition.target))
            return _next_generation(store, run, generation, claim, definition, rerun, driving)
        work: Any = definition.program.batch.calls
        replay = Replay(store, run, generation, work, structure=definition.structure)
        replay.catch_up()
        if replay.scheduler.finished:
            store.release(claim)
            return Reopened(None, run, replay, changes, definition.program.value)
        end_orphans(store, run.id, replay.processes)
        driver = _driver(store, claim, definition, replay, driving)
        return Reopened(driver, run, replay, changes)
    except BaseException:
        store.release(claim)
        raise


def _over(store: Store, run: RunInfo, target: Any, load: Callable[[dict[str, Any]], Any] | None) -> Reopened:
    """A run that is over: it is not touched, so nobody has to own it."""
    generation = store.generation(run, run.generation)
    try:
        definition, changes = _definition_now(store, run, generation, target, load)
    except UsageError:
        return _looked_at(store, run, generation)  # nobody has to make its calls
    if changes:
        raise changed(run, changes)
    replay = Replay(store, run, generation, definition.program.batch.calls)  # type: ignore[arg-type]
    replay.catch_up()
    return Reopened(None, run, replay, changes, definition.program.value)


def _looked_at(store: Store, run: RunInfo, generation: Generation) -> Reopened:
    """A run that is over, as it is on record."""
    old = read_json(generation.definition)
    replay = Replay(store, run, generation)
    replay.catch_up()
    targets = old.get("targets", ())
    single = old["kind"] == "node"

    def value(result: RunResult) -> Any:
        found = [result.table.values[at] for at in targets]
        return found[0] if single else found

    return Reopened(None, run, replay, Changes(), value if targets and old["kind"] != "graph" else None)


def changed(run: RunInfo, changes: Changes) -> RunChanged:
    """What is said of an edited flow."""
    shown = "; ".join(changes.lines[:8]) + (f"; and {len(changes.lines) - 8} more" if len(changes.lines) > 8 else "")
    return RunChanged(
        f"run {run.id} was started with another definition: {shown}. Undo the edit, or accept it (--accept-changes), which runs "
        "again only what it touches",
        changes.lines,
    )


def _driver(store: Store, claim: Claim, definition: Definition, replay: Replay, driving: dict[str, Any]) -> KeptDriver:
    program = definition.program
    carry: _Carry | None = None
    if replay.carried is not None:
        try:
            carry = _Carry(store, replay.carried, definition.whole, replay.wall)
            carry.adopt_all(replay.table)
        except RunNotFound:
            carry = None  # the run that it was forked from was forgotten meanwhile
    now = time.time()
    replay.wall.went_on(replay.now, now)
    replay.table.moves = None
    _check_growths(replay)
    return KeptDriver(
        replay.batch,
        replay.rules,
        store=store,
        claim=claim,
        wall=replay.wall,
        scheduler=replay.scheduler,
        clock_at=replay.now,
        strict=replay.strict,
        joins=replay.joins,
        carry=carry,
        name=program.name,
        value=program.value,
        **driving,
    )


def _check_growths(replay: Replay) -> None:
    """What tasks grew that are not final is made again now: a function that is gone is told before anything runs."""
    table = replay.table
    for parent in list(replay.joins):
        if table.status[parent] < SUCCEEDED:
            for rows in filter(len, table.grown(parent)):
                work = table.batch_of(rows.start)[0].calls
                if isinstance(work, Regrown):
                    _ = work.growth


def _definition_now(
    store: Store, run: RunInfo, generation: Generation, target: Any, load: Callable[[dict[str, Any]], Any] | None
) -> tuple[Definition, Changes]:
    """The definition as it is now, and how it differs from the one that the generation has."""
    try:
        old, structure = read_json(generation.definition), read_structure(generation.structure)
        kind = old["kind"]
        if target is None and load is not None and ("origin" in old or kind == "flow"):
            target = load(old)
        if target is None and kind == "flow":
            target = _flow_of(old)
    except Exception as error:
        if isinstance(error, PlaitError):
            raise
        raise StoreDamaged(f"the definition of run {run.id} in {store.where} cannot be read: {error!r:.200}") from None
    if target is None:
        return _from_snapshot(store, run, structure, old), Changes()
    program, inputs = program_for(target, old.get("inputs", {}))
    if run.name and program.name != run.name and not hasattr(target, "snapshot"):
        program = program._replace(name=run.name)
    definition = definition_of(target, program, inputs, old.get("origin"))
    return definition, compare(old, structure["batch"], _as_kept(definition.data), structure_of(program.batch))


def _as_kept(data: Any) -> Any:
    """Data as it would come back from a store."""
    return read_json(encode(data, enc_hook=lambda thing: sha256(thing.data).hexdigest()))


def _flow_of(old: Mapping[str, Any]) -> Any:
    from plait.flow import reload

    return reload(old)


def program_for(target: Any, inputs: Mapping[str, Any]) -> tuple[Program, Mapping[str, Any]]:
    """The program of whatever can be run."""
    if isinstance(target, Graph):
        return compile_graph(target), {}
    if isinstance(target, Node):
        program = compile_nodes([target])
        (place,) = program.targets
        return program._replace(value=lambda result: result.table.values[place]), {}
    if isinstance(target, (list, tuple)) and all(isinstance(each, Node) for each in target):
        return compile_nodes(target), {}
    if hasattr(target, "program"):
        return target.program(dict(inputs)), inputs
    raise UsageError(f"{target!r} cannot be run: give a node, a list of nodes, a Graph or a loaded file")


def _from_snapshot(store: Store, run: RunInfo, structure: dict[str, Any], old: dict[str, Any]) -> Definition:
    """A graph that was built in Python, from what is stored of it."""
    try:
        missing = unknowns(old)
        if missing:
            raise UsageError(
                f"run {run.id} cannot be resumed from its store alone: another process cannot find {missing[0]} again"
                f"{f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''}. Give the graph: plait.resume({run.id!r}, graph, store=...)"
            )
        needs = structure["batch"].get("needs")
        program = again(old, needs, lambda work: Batch(0, calls=work, keys=()), _Reader(store))  # type: ignore[arg-type]
    except Exception as error:
        if isinstance(error, PlaitError):
            raise
        raise StoreDamaged(f"the definition of run {run.id} in {store.where} cannot be read: {error!r:.200}") from None
    return Definition(old, program, structure=structure)


def _no_value(form: int, data: Any, place: int) -> None:
    """Values that were kept are the journal's to give."""


class _Reader:
    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, form: int, data: Any) -> Any:
        return value_of(form, data, self._store.blob)


# -- another generation: retry, an accepted edit, a fork


class _Rerun(NamedTuple):
    """What is to run again of what has succeeded: the tasks that an edit touches, and `start`; the rules now, where they changed."""

    edits: Changes = Changes()
    start: str | None = None
    rules: Rules | None = None

    @property
    def again(self) -> frozenset[str]:
        """The paths of those tasks."""
        return self.edits.touched | ({self.start} if self.start is not None else frozenset())


def retry(
    store: Store,
    run_id: str,
    target: Any = None,
    *,
    load: Callable[[dict[str, Any]], Any] | None = None,
    **driving: Any,
) -> Reopened:
    """Another generation of a finished run: what did not succeed runs again, and all that needs it; history is kept.

    Raises:
        UsageError: for a run that is not over, or of which nothing failed.
        RunOwned, RunNotFound, RunChanged, StoreError: where it cannot be.
    """
    run = store.find(run_id)
    claim = store.claim(run)
    try:
        points.reach("claimed")
        run = store.find(run.id)
        generation = store.generation(run, run.generation)
        if run.status == "running":
            raise UsageError(f"run {run.id} is not over: `plait resume {run.id}` goes on with it")
        definition, changes = _definition_now(store, run, generation, target, load)
        if changes:
            raise changed(run, changes)
        if run.status == "succeeded" and not run.summary.get("degraded"):
            raise UsageError(
                f"run {run.id} succeeded: there is nothing to retry (`plait fork {run.id} --from KEY` runs a part of it again)"
            )
        return _next_generation(store, run, generation, claim, definition, _Rerun(), driving)
    except BaseException:
        store.release(claim)
        raise


def fork(
    store: Store,
    run_id: str,
    start: str,
    target: Any = None,
    *,
    new_id: str | None = None,
    load: Callable[[dict[str, Any]], Any] | None = None,
    **driving: Any,
) -> Reopened:
    """A new run that takes over what another one finished, but for the task `start` and all that needs it.

    An edited definition is taken as it is now: what the edit touches runs again too. The other run stays as it is.

    Raises:
        UsageError: for a task that is not there.
        RunNotFound, StoreError: where it cannot be.
    """
    if new_id is not None:
        check_id(new_id)
    run = store.find(run_id)
    generation = store.generation(run, run.generation)
    definition, changes = _definition_now(store, run, generation, target, load)
    return _next_generation(store, run, generation, None, definition, _Rerun(changes, start), driving, new_id)


def _next_generation(
    store: Store,
    run: RunInfo,
    generation: Generation,
    claim: Claim | None,
    definition: Definition,
    rerun: _Rerun,
    driving: dict[str, Any],
    new_id: str | None = None,
) -> Reopened:
    definition = definition.whole
    program = definition.program
    batch = program.batch
    carried = {"run": run.id, "generation": generation.number, "again": sorted(rerun.again)}
    wall = time.time()
    carry = _Carry(store, carried, definition, Wall(0.0, wall))
    missing = rerun.again - carry.known(batch)
    if rerun.start in missing:
        raise UsageError(f"run {run.id} has no task {rerun.start!r}{nearest(rerun.start or '', list(batch.keys))}")
    carry.into(batch, 0, NONE)
    rules = carry.old.rules if rerun.rules is None else rerun.rules
    ranked(store, batch, program.name)
    structure = structure_data(batch, rules, carried)
    if claim is None:  # what that run has at work is its owner's, who may live
        claim = store.create(NewRun(new_id, program.name, definition.data, structure, batch.size, wall, run.id))
    else:
        end_orphans(store, run.id, carry.old.processes)
        store.begin_generation(claim, definition.data, structure, batch.size, wall)
    driver = KeptDriver(
        batch,
        rules,
        store=store,
        claim=claim,
        wall=Wall(0.0, wall),
        name=program.name,
        value=program.value,
        carry=carry,
        **driving,
    )
    return Reopened(driver, run, carry.old, rerun.edits)


class _Source(NamedTuple):
    """Where an earlier generation has a task, and under which path."""

    replay: _Earlier
    row: int
    path: str


class _Carry:
    """What an earlier generation finished, brought into the batches of the next one, by path.

    Tasks that only grow others are not kept: they grow again, which runs nothing, and their children are.
    """

    def __init__(self, store: Store, carried: Mapping[str, Any], definition: Definition, wall: Wall) -> None:
        run = store.find(str(carried["run"]))
        generation = store.generation(run, int(carried["generation"]))
        self.old = _Earlier(store, run, generation, definition.program.batch)
        self.old.catch_up()
        self._again = frozenset(map(str, carried["again"]))
        self._wall = wall
        self._sources: dict[int, _Source] = {}
        self._before: _Carry | None = None
        if self.old.carried is not None:
            try:
                self._before = _Carry(store, self.old.carried, definition, self.old.wall)
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
        controls = set(batch.controls)
        kept: dict[int, Kept] = {}
        redo: set[int] = set()
        for place, key in enumerate(batch.keys):
            source = rows.get(key)
            path = prefix + key
            if (
                source is None
                or source.replay.table.status[source.row] not in (SUCCEEDED, SKIPPED)
                or any(each == path or each.startswith((f"{path}/", f"{path}[")) for each in self._again)
            ):
                redo.add(place)
        redo = _with_dependents(batch, redo)
        for place, key in enumerate(batch.keys):
            source = rows.get(key)
            if place in redo or place in controls or source is None:
                continue
            table, unix = source.replay.table, source.replay.wall
            if table.status[source.row] == SKIPPED:
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

    def _adopt(self, batch: Batch, first: int, earlier: tuple[str, dict[str, _Source]] | None, kept: set[int]) -> None:
        """Remembers the earlier places of those tasks whose children may be kept: nothing that they need runs again."""
        if earlier is None:
            return
        prefix, rows = earlier
        controls = set(batch.controls)
        changing: set[int] = set()
        for place, key in enumerate(batch.keys):
            path = prefix + key
            needs = batch.needs[place] if batch.needs is not None else ()
            within = any(each.startswith((f"{path}/", f"{path}[")) for each in self._again)
            if path in self._again or key not in rows or any(need in changing for need in needs):
                changing.add(place)
            elif place not in kept:
                self._sources[first + place] = rows[key]._replace(path=path)
                if within or place not in controls or rows[key].replay.table.status[rows[key].row] != SUCCEEDED:
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
        parts = table.grown(source.row)
        if not parts and self._before is not None and source.replay is self.old:
            return self._before._earlier(source.row)
        rows: dict[str, _Source] = {}
        for part in filter(len, parts):
            keys = table.batch_of(part.start)[0].keys
            rows.update({key: _Source(source.replay, row, key) for row, key in zip(part, keys, strict=True)})
        indexed = next(iter(rows), "").startswith("[")
        return f"{source.path}{'' if indexed else '/'}", rows


class _Earlier(Replay):
    """A generation that is over, for the values of what succeeded in it; they are read when they are kept."""

    def __init__(self, store: Store, run: RunInfo, generation: Generation, now: Batch) -> None:
        super().__init__(store, run, generation, _EarlierWork(now, generation))

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
        rows = self.table.children(found.task)
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
        if regrowth.snapshot is not None:
            return work.regrow(now or 0, table, first, regrowth)
        inside = None if now is None else work.inside(now)
        return Growth(Batch(0, calls=inside or Work(), keys=()), lambda table, rows: None)  # type: ignore[arg-type]


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
