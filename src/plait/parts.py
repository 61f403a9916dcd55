"""A part of a workflow file: which of its tasks run, what they take over from an earlier run, and why the others do not run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from plait._core.policy import nearest
from plait._core.states import SKIPPED, STATUSES, SUCCEEDED
from plait._core.table import Table
from plait._engine.replaying import read_json
from plait.errors import StoreError, UsageError
from plait.flow.model import Ask, FlowTask
from plait.history import at_a_glance, replayed
from plait.resuming import Anew, definition_now

if TYPE_CHECKING:
    from plait.flow.compile import Flow
    from plait.stores.base import RunInfo
    from plait.stores.contract import Store

__all__ = ["Part", "Source", "find_source", "part_of"]


@dataclass(frozen=True, slots=True)
class Part:
    """Of the tasks of a file those that `run`, those whose values are `taken` over for them, and why each of the others is `left` out.

    `starts` are the tasks that begin anew where something is taken over; `flow` has what runs and what is taken over.
    """

    flow: Flow
    runs: tuple[str, ...]
    taken: tuple[str, ...]
    left: Mapping[str, str]
    starts: tuple[str, ...] = ()


def part_of(flow: Flow, only: Sequence[str] = (), start: Sequence[str] = (), until: Sequence[str] = ()) -> Part:
    """The part that is asked for: of what the tasks `only` need, all but what depends on those of `until`, from those of `start` on.

    Raises:
        UsageError: for a key that is not there, or a task that another of these rules out.
    """
    tasks = flow.file.tasks
    for key in (*only, *start, *until):
        if key not in tasks:
            raise UsageError(f"there is no task {key!r} in {flow.file.path}{nearest(key, tasks)}")
    left = _behind(tasks, until)
    if only:
        wanted, why = _closure(tasks, only), f"no task of --only needs it ({', '.join(only)})"
        left |= {key: why for key in tasks if key not in wanted and key not in left}
    for option, keys in (("--only", only), ("--from", start), ("--until", until)):
        for key in keys:
            if key in left:
                raise UsageError(f"{option} {key} cannot run: {left[key]}")
    runs = [key for key in tasks if key not in left]
    taken: Collection[str] = ()
    if start:
        again = set(start) | {key for each in start for key in _dependents(tasks, each)}
        runs = [key for key in runs if key in again]
        taken = _values_for(tasks, runs)
        after = f"it does not depend on {', '.join(start)} (--from)"
        unneeded = "what runs does not need it (--from)"
        before = _closure(tasks, runs)
        for key in tasks:
            if key not in left and key not in again and key not in taken:
                left[key] = unneeded if key in before else after
    kept = [key for key in tasks if key in taken]
    ordered = {key: left[key] for key in tasks if key in left}
    part = flow.kept([*runs, *kept]) if ordered or kept else flow
    return Part(part, tuple(runs), tuple(kept), ordered, tuple(start) if kept else ())


def _behind(tasks: Mapping[str, FlowTask], until: Sequence[str]) -> dict[str, str]:
    """What depends on a task of `until`, and why it does not run. One that another of them needs does."""
    needed = _closure(tasks, until)
    found: dict[str, str] = {}
    for key in until:
        for each in _dependents(tasks, key):
            if each not in needed:
                found.setdefault(each, f"it depends on {key} (--until)")
    return found


def _closure(tasks: Mapping[str, FlowTask], keys: Iterable[str]) -> set[str]:
    """These tasks and all that they need, at any distance."""
    found: set[str] = set()
    stack = list(keys)
    while stack:
        key = stack.pop()
        if key not in found:
            found.add(key)
            stack.extend(tasks[key].needs)
    return found


def _dependents(tasks: Mapping[str, FlowTask], key: str) -> set[str]:
    """What needs a task, at any distance."""
    users: dict[str, list[str]] = {}
    for name, task in tasks.items():
        for need in task.needs:
            users.setdefault(need, []).append(name)
    found: set[str] = set()
    stack = [key]
    while stack:
        for user in users.get(stack.pop(), ()):
            if user not in found:
                found.add(user)
                stack.append(user)
    return found


def _values_for(tasks: Mapping[str, FlowTask], runs: Sequence[str]) -> set[str]:
    """The tasks beside `runs` whose values must be there: what these need, and what their needs are made of, where these grow again or
    may be asked for again."""
    found: set[str] = set()
    stack = list(runs)
    while stack:
        key = stack.pop()
        for need in _values_of(tasks, key):
            if need not in found and need not in runs:
                found.add(need)
                if tasks[need].is_control:
                    stack.append(need)
    return found


def _values_of(tasks: Mapping[str, FlowTask], key: str) -> set[str]:
    body = tasks[key].body
    again = body.revises if isinstance(body, Ask) else ()
    return {*tasks[key].needs, *again, *(need for each in again for need in tasks[each].needs)}


class Source(NamedTuple):
    """An earlier run from which a part takes values over, what becomes of each task taken, and the inputs of both."""

    run: RunInfo
    inputs: Mapping[str, Any]
    told: Mapping[str, str]


class _Unfit(Exception):
    """Why a run cannot be the source; the later it is found out the more it says."""

    def __init__(self, stage: int, why: str) -> None:
        super().__init__(why)
        self.stage = stage


def find_source(part: Part, store: Store | None, inputs: Mapping[str, Any]) -> Source:
    """The newest earlier run of the same file that no living process drives, that has what `part` takes over, and that was made with the
    given `inputs` and the definition as it is now.

    Raises:
        UsageError: where there is none.
        FlowError: for a file that cannot run.
    """
    path = str(part.flow.file.path.resolve())
    wanted = f"{', '.join(part.taken)} would be taken over for --from {' --from '.join(part.starts)}"
    closest: tuple[int, RunInfo, str] | None = None
    for run in reversed(store.runs() if store is not None else []):
        if at_a_glance(run).owner_pid is not None:
            continue
        try:
            return _source(part, store, run, path, inputs)  # type: ignore[arg-type]
        except StoreError:
            continue  # damaged, or of another version: it has nothing that could be relied on
        except _Unfit as unfit:
            if unfit.stage and (closest is None or unfit.stage > closest[0]):
                closest = (unfit.stage, run, str(unfit))
    if closest is None:
        where = f"in {store.where}" if store is not None else "kept"
        raise UsageError(
            f"no earlier run of {part.flow.file.path} is {where}, from which {wanted}: run it once without --from"
        )
    _, run, why = closest
    raise UsageError(f"{wanted} from an earlier run, and run {run.id} cannot give that: {why}")


def _source(part: Part, store: Store, run: RunInfo, path: str, given: Mapping[str, Any]) -> Source:
    generation = store.generation(run, run.generation)
    old = read_json(generation.definition)
    if not isinstance(old, dict) or old.get("kind") != "flow" or old.get("path") != path:
        raise _Unfit(0, "it is of another file")
    table = replayed(store, run).table
    rows = {key: row for row, key in enumerate(table.batch_of(0)[0].keys)} if table.size else {}
    told = {key: _told(table, rows.get(key), key) for key in part.taken}
    declared, before = part.flow.declared, old.get("inputs", {})
    values = part.flow.inputs({**{name: each for name, each in before.items() if name in declared}, **given})
    for name in given:
        if name in before and before[name] != values[name]:
            raise _Unfit(
                2, f"its input {name!r} was {_short(before[name])}, not {_short(values[name])}. Leave out -i, or --from"
            )
    _, changes = definition_now(store, run, generation, part.flow, anew=Anew(values))
    for key in part.taken:
        if any(each == key or each.startswith((f"{key}/", f"{key}[")) for each in changes.touched):
            raise _Unfit(3, f"task {key!r} was edited since. Begin with it: --from {key}")
    return Source(run, values, told)


def _told(table: Table, row: int | None, key: str) -> str:
    """How a task stands that is taken over.

    Raises:
        _Unfit: where it cannot be.
    """
    if row is None:
        raise _Unfit(1, f"it has no task {key!r}. Begin with that: --from {key}")
    state = table.status[row]
    if state not in (SUCCEEDED, SKIPPED):
        raise _Unfit(1, f"there task {key!r} is {STATUSES[state]}. Begin with it: --from {key}")
    if row in table.failures:
        raise _Unfit(1, f"there task {key!r} failed, and its on_error made up for it. Begin with it: --from {key}")
    again = sum(_again(table, row))
    more = f"; {again} of its tasks run{'s' if again == 1 else ''} again, as in a fork" if again else ""
    return f"{STATUSES[state]} there{more}"


def _again(table: Table, row: int) -> Iterable[int]:
    """How many tasks of each batch within a task run again: what had not succeeded, unless nobody wants it any more, and what cleans up."""
    stack = [row]
    while stack:
        parent = stack.pop()
        policy = table.policies[parent]
        decided = policy.reduce is not None or policy.min_success is not None or policy.max_failures is not None
        for rows in filter(len, table.grown(parent)):
            last = table.batch_of(rows.start)[0].cleanups
            fine = [row for row in rows if decided or table.status[row] in (SUCCEEDED, SKIPPED)]
            stack += fine
            yield sum(row - rows.start in last or row not in fine for row in rows)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
