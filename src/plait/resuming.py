"""Runs with a store, gone on with in any later process: `resume`, `retry`, `fork`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.json import encode

from plait import points
from plait._core.graph import Batch
from plait._core.policy import Rules, nearest
from plait._core.result import RunResult
from plait._core.states import SUCCEEDED
from plait._core.table import NONE
from plait._engine.doors import default_slots
from plait._engine.files import check_files
from plait._engine.keeping import KeptDriver
from plait._engine.orphans import end_orphans
from plait._engine.records import structure as structure_of
from plait._engine.records import structure_data, value_of
from plait._engine.replaying import Regrown, Replay, read_json, read_structure
from plait._engine.wall import Wall
from plait.beginning import Definition, check_id, definition_of, shared_with_all
from plait.carrying import Carried
from plait.durations import ranked
from plait.edits import Changes, compare
from plait.errors import PlaitError, RunChanged, RunNotFound, StoreDamaged, UsageError
from plait.programs import Program, again, compile_graph, compile_nodes
from plait.snapshots import unknowns
from plait.stores.base import Claim, Generation, NewRun, RunInfo
from plait.tasks import Graph, Node

if TYPE_CHECKING:
    from plait.stores.contract import Store


__all__ = ["Anew", "definition_now", "fork", "program_for", "reopen", "retry"]


def rules_now(target: Any) -> Rules | None:
    """The rules that a definition itself states; None where those of the run stay."""
    return (
        Rules.of(**{"on_failure": "continue", "max_concurrency": default_slots(), **target.rules()})
        if hasattr(target, "rules")
        else None
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
    stood, claim = run.summary, store.claim(run)
    try:
        points.reach("claimed")
        run = store.find(run.id)
        if run.status != "running" and not accept_changes:  # it came to its end meanwhile
            store.release(claim)
            return _over(store, run, target, load)
        generation = store.generation(run, run.generation)
        definition, changes = definition_now(store, run, generation, target, load)
        if changes and not accept_changes:
            raise changed(run, changes)
        if changes:
            rerun = _Rerun(edits=changes, rules=rules_now(target if target is not None else definition.target))
            return _next_generation(store, run, generation, claim, definition, rerun, driving)
        opened = _open_secrets(definition, run, driving)
        work: Any = definition.program.batch.calls
        replay = Replay(store, run, generation, work, structure=definition.structure)
        replay.catch_up()
        if replay.scheduler.finished:
            store.release(claim)
            return Reopened(None, run, replay, changes, definition.program.value)
        end_orphans(store, run.id, replay.processes)
        driver = _driver(store, claim, definition, replay, opened)
        return Reopened(driver, run, replay, changes)
    except BaseException:
        store.release(claim, stood)
        raise


def _open_secrets(definition: Definition, run: RunInfo, driving: dict[str, Any]) -> dict[str, Any]:
    """What a driver is given, with what hides the secrets of the run: they are read again, for they are not stored.

    Raises:
        UsageError: for those without a value.
    """
    secrets = definition.program.secrets
    return driving if secrets is None else {**driving, "redactor": secrets.open(run.id), "hidden": secrets.names}


def _over(store: Store, run: RunInfo, target: Any, load: Callable[[dict[str, Any]], Any] | None) -> Reopened:
    """A run that is over: it is not touched, so nobody has to own it."""
    generation = store.generation(run, run.generation)
    try:
        definition, changes = definition_now(store, run, generation, target, load)
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


LATER_S = 1e-6
"""So much later the clock of a process begins that takes a run over: more than a clock's rounding."""


def _driver(store: Store, claim: Claim, definition: Definition, replay: Replay, driving: dict[str, Any]) -> KeptDriver:
    program = definition.program
    carry: Carried | None = None
    if replay.carried is not None:
        try:
            carry = Carried(
                store, replay.carried, definition.whole, replay.wall, (replay.run.number, replay.generation.number)
            )
            carry.adopt_all(replay.table)
        except RunNotFound:
            carry = None  # the run that it was forked from was forgotten meanwhile
    # What happened at the last moment on record happened in the process before.
    since = replay.now + LATER_S
    replay.wall.went_on(since, time.time())
    replay.table.moves = None
    _check_growths(replay)
    return KeptDriver(
        replay.batch,
        replay.rules,
        store=store,
        claim=claim,
        wall=replay.wall,
        scheduler=replay.scheduler,
        clock_at=since,
        strict=replay.strict,
        endings=replay.endings,
        carry=carry,
        name=program.name,
        value=program.value,
        **driving,
    )


def _check_growths(replay: Replay) -> None:
    """What tasks grew that are not final is made again now: a function that is gone is told before anything runs."""
    table = replay.table
    for parent in sorted(set(table.parents.values())):
        if table.status[parent] < SUCCEEDED:
            for rows in filter(len, table.grown(parent)):
                work = table.batch_of(rows.start)[0].calls
                if isinstance(work, Regrown):
                    _ = work.growth


def definition_now(
    store: Store,
    run: RunInfo,
    generation: Generation,
    target: Any,
    load: Callable[[dict[str, Any]], Any] | None = None,
    anew: Anew | None = None,
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
    program, inputs = program_for(target, old.get("inputs", {}) if anew is None else anew.inputs)
    if run.name and program.name != run.name and not hasattr(target, "snapshot"):
        program = program.but(name=run.name)
    definition = definition_of(target, program, inputs, old.get("origin") if anew is None else anew.origin)
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
        return program.but(value=lambda result: result.table.values[place]), {}
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


class _Reader:
    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, form: int, data: Any) -> Any:
        return value_of(form, data, self._store.blob)


# -- another generation: retry, an accepted edit, a fork


class _Rerun(NamedTuple):
    """What is to run again of what has succeeded: the tasks that an edit touches, and `starts`; the rules now, where they changed."""

    edits: Changes = Changes()
    starts: Sequence[str] = ()
    rules: Rules | None = None

    @property
    def again(self) -> frozenset[str]:
        """The paths of those tasks."""
        return self.edits.touched.union(self.starts)


class Anew(NamedTuple):
    """What a new run says itself, and does not have from the one that it is forked from; no rules: those of that one."""

    inputs: Mapping[str, Any]
    rules: Rules | None = None
    origin: Mapping[str, Any] | None = None


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
    stood, claim = run.summary, store.claim(run)
    try:
        points.reach("claimed")
        run = store.find(run.id)
        generation = store.generation(run, run.generation)
        if run.status == "running":
            raise UsageError(f"run {run.id} is not over: `plait resume {run.id}` goes on with it")
        definition, changes = definition_now(store, run, generation, target, load)
        if changes:
            raise changed(run, changes)
        if run.status == "succeeded" and not run.summary.get("degraded"):
            raise UsageError(
                f"run {run.id} succeeded: there is nothing to retry (`plait fork {run.id} --from KEY` runs a part of it again)"
            )
        return _next_generation(store, run, generation, claim, definition, _Rerun(), driving)
    except BaseException:
        store.release(claim, stood)
        raise


def fork(
    store: Store,
    run_id: str,
    start: str | Sequence[str],
    target: Any = None,
    *,
    new_id: str | None = None,
    load: Callable[[dict[str, Any]], Any] | None = None,
    anew: Anew | None = None,
    **driving: Any,
) -> Reopened:
    """A new run that takes over what another one finished, but for the task `start` (or several) and all that needs it.

    An edited definition is taken as it is now: what the edit touches runs again too. The other run stays as it is. Inputs, rules and
    origin are those of the other run, unless `anew` has others.

    Raises:
        UsageError: for a task that is not there.
        RunNotFound, StoreError: where it cannot be.
    """
    if new_id is not None:
        check_id(new_id)
    run = store.find(run_id)
    generation = store.generation(run, run.generation)
    definition, changes = definition_now(store, run, generation, target, load, anew)
    starts = (start,) if isinstance(start, str) else tuple(start)
    rerun = _Rerun(changes, starts, None if anew is None else anew.rules)
    return _next_generation(store, run, generation, None, definition, rerun, driving, new_id)


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
    driving = _open_secrets(definition, run, driving)
    definition = definition.whole
    program = definition.program
    batch = program.batch
    carried = {"run": run.id, "generation": generation.number, "again": sorted(rerun.again)}
    wall = time.time()
    carry = Carried(store, carried, definition, Wall(0.0, wall))
    missing = rerun.again - carry.known(batch)
    for start in rerun.starts:
        if start in missing:
            raise UsageError(f"run {run.id} has no task {start!r}{nearest(start, list(batch.keys))}")
    carry.into(batch, 0, NONE)
    rules = shared_with_all(carry.old.rules if rerun.rules is None else rerun.rules)
    check_files(batch, rules.on_conflict)
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
