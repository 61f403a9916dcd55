"""Runs in a store, for people: listed, shown, their output; what is old let go."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from plait._core.outcome import RunResult
from plait._core.policy import Rules, seconds
from plait._core.scheduler import describe
from plait._core.states import RUNNING, STATUSES, SUCCEEDED
from plait._core.table import NEVER, NONE, Table
from plait._engine.replaying import Replay
from plait.cli.output import out, say
from plait.cli.session import document
from plait.concurrency import default_slots
from plait.errors import RecordedError, RunNotFound, StoreError, UsageError
from plait.observe.text import as_json, clean, counted, duration
from plait.resuming import program_for
from plait.stores.base import RunInfo, Store
from plait.stores.locks import alive
from plait.stores.opening import open_store

DEFAULT_STORE = os.path.join(".plait", "plait.db")

LOOK_S = 0.2
"""How often `logs -f` looks for more."""


def store_path(given: str | None) -> str | None:
    """What `--store`, `PLAIT_STORE` or the default name; None for `none`."""
    chosen = given or os.environ.get("PLAIT_STORE") or DEFAULT_STORE
    return None if chosen == "none" else chosen


def existing(given: str | None) -> Store:
    """The store that commands look into.

    Raises:
        StoreError: where there is none.
    """
    path = store_path(given)
    if path is None:
        raise UsageError("--store none has no runs to look at")
    return open_store(path, create=False)


def status_of(run: RunInfo) -> str:
    """Where a run stands; "interrupted" is seen from its owner, nobody has to write it."""
    if run.status != "running":
        return "succeeded (degraded)" if run.status == "succeeded" and run.summary.get("degraded") else run.status
    return f"running (process {run.owner.pid})" if run.owner is not None and alive(run.owner) else "interrupted"


def _when(at: float) -> str:
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "?"


# -- ls


def list_runs(given: str | None, as_json_lines: bool) -> int:
    """`plait ls`: the newest last."""
    path = store_path(given)
    try:
        runs = existing(given).runs()
    except StoreError as error:
        if path is not None and not os.path.exists(path):
            say(f"there are no runs in {path} yet")
            return 0
        raise error
    if as_json_lines:
        out(as_json([{**_facts(run), "summary": run.summary} for run in runs], indent=2))
        return 0
    rows = [("RUN", "NAME", "STATUS", "STARTED", "TOOK", "TASKS")]
    for run in runs:
        counts = run.summary.get("counts")
        shown = counted(counts) if isinstance(counts, dict) and counts else f"{run.tasks} tasks"
        took = "-" if run.ended_at is None else duration(max(0.0, run.ended_at - run.created_at))
        rows.append((run.id, clean(run.name)[:40], status_of(run), _when(run.created_at), took, shown))
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    for row in rows:
        out("  ".join([each.ljust(width) for each, width in zip(row, widths, strict=False)] + [row[5]]).rstrip())
    return 0


def _facts(run: RunInfo) -> dict[str, Any]:
    return {
        "run": run.id,
        "name": run.name,
        "status": status_of(run).split(" ")[0],
        "created_at": run.created_at,
        "ended_at": run.ended_at,
        "generation": run.generation,
        "forked_from": run.forked_from,
        "owner_pid": run.owner.pid if run.owner is not None and alive(run.owner) else None,
        "version": run.version,
    }


# -- show


def show(given: str | None, text: str, as_document: bool, verbose: bool) -> int:
    """`plait show`: one run, as its journal tells it up to now."""
    store = existing(given)
    run, replay = _looked_at(store, text)
    result = replay.result()
    if as_document:
        out(as_json({**document(result), **_facts(run), "value": None}, indent=2))
        return 0
    for line in _shown(run, replay, result, verbose):
        out(line)
    return 0


def _looked_at(store: Store, text: str) -> tuple[RunInfo, Replay]:
    run = store.find(text)
    replay = Replay(store, run, store.generation(run, run.generation))
    replay.catch_up()
    return run, replay


MOST_SHOWN = 200
"""Tasks that are shown one by one unless `-v` is given; of more, those that are not plain."""


def _shown(run: RunInfo, replay: Replay, result: RunResult, verbose: bool) -> Iterator[str]:
    table = replay.table
    yield f"run {run.id} {clean(run.name)}: {status_of(run)}"
    origin = f", forked from {run.forked_from}" if run.forked_from else ""
    again = f", generation {run.generation}" if run.generation > 1 else ""
    owners = (
        f", taken over {'once' if replay.took_over == 1 else f'{replay.took_over} times'}" if replay.took_over else ""
    )
    yield f"  started {_when(run.created_at)}, ran {duration(replay.now)}{again}{owners}{origin}"
    yield f"  {counted(result.counts)}"
    first = result.first_cause
    if first is not None:
        yield f"  first cause: {clean(first.key)}: {clean(describe(first.error))}"
    rows = list(range(table.size)) if verbose else [row for row in range(table.size) if table.parent(row) == NONE]
    plain = rows if verbose or len(rows) <= MOST_SHOWN else [row for row in rows if table.status[row] != SUCCEEDED]
    width = min(40, max((len(table.key(row)) for row in plain[:MOST_SHOWN]), default=0))
    for number, row in enumerate(plain):
        if not verbose and number == MOST_SHOWN:
            yield f"  and {len(plain) - number} more: -v lists them all"
            break
        yield f"  {clean(table.key(row)).ljust(width)}  {_line(table, row)}".rstrip()
    if len(plain) < len(rows):
        yield f"  {len(rows) - len(plain)} that succeeded are not listed: -v lists them all"
    if run.status == "running" and status_of(run) == "interrupted":
        yield f"  go on with: plait resume {run.id}"
    elif run.status == "failed":
        yield f"  try what failed again with: plait retry {run.id}"


def _line(table: Table, row: int) -> str:
    state = str(STATUSES[table.status[row]])
    parts = [state]
    if row in table.kept:
        parts.append("(kept from before)")
    if table.started_at[row] != NEVER and table.ended_at[row] != NEVER and row not in table.kept:
        parts.append(f"in {duration(max(0.0, table.ended_at[row] - table.started_at[row]))}")
    if table.attempts(row) > 1:
        parts.append(f"{table.attempts(row)} attempts")
    children = [child for part in table.grown(row) for child in part]
    if children:
        done = sum(table.status[child] == SUCCEEDED for child in children)
        parts.append(f"{done} of {len(children)} of its tasks succeeded")
    error = table.errors.get(row)
    if error is not None:
        parts.append(clean(describe(error)))
    return ", ".join(parts).replace(", (kept", " (kept").replace(f"{state}, in", f"{state} in")


# -- simulate


def simulated(given: str | None, target: Any, jobs: int | None, as_document: bool) -> int:
    """`plait simulate`: what a run is expected to take."""
    from plait.prediction import predict

    if hasattr(target, "shape"):
        batch, rules = target.shape(), {"on_failure": "continue", **target.rules()}
        name = target.name
    else:
        program, _ = program_for(target, {})
        batch, rules, name = program.batch, {}, program.name
    rules["max_concurrency"] = jobs or rules.get("max_concurrency", default_slots())
    predicted = predict(existing(given), batch, name, Rules.of(**rules))
    if predicted is None:
        raise UsageError(f"no run of {name!r} is in the store: run it once, then its tasks are known")
    if as_document:
        out(as_json({**predicted._asdict(), "efficiency": predicted.efficiency}, indent=2))
        return 0
    unknown = f", {predicted.unknown} of them not known yet and taken for average ones" if predicted.unknown else ""
    out(f"{clean(name)} on {predicted.slots} slots: {duration(predicted.wall_s)}")
    out(
        f"  critical path {duration(predicted.critical_path_s)}, work {duration(predicted.work_s)}, efficiency {predicted.efficiency or 0.0:.0%}"
    )
    out(f"  {predicted.tasks} tasks{unknown}")
    return 0


# -- logs


class _Log(NamedTuple):
    """One file of what an attempt wrote."""

    key: str
    attempt: int
    stream: str
    path: Path


def logs(given: str | None, text: str, key: str | None, follow: bool) -> int:
    """`plait logs`: what commands of a run wrote, and the errors of what failed; with `-f` until the run is over."""
    store = existing(given)
    run = store.find(text)
    if store.folder is None:
        raise UsageError(f"the store {store.where} keeps no logs")
    shown: dict[Path, int] = {}
    told: set[int] = set()
    replay = Replay(store, run, store.generation(run, run.generation))
    while True:
        run = store.find(run.id)
        over = run.status != "running" or status_of(run) == "interrupted"
        replay.catch_up()
        if key is not None and replay.table.find(key) < 0 and (over or not follow):
            raise RunNotFound(f"run {run.id} has no task {key!r}: `plait show -v {run.id}` lists them")
        for log in _logs_of(Path(store.folder), run, replay.table, key):
            _copy(log, shown, plain=key is not None)
        _tell_errors(replay.table, key, told)
        if over or not follow:
            if run.generation > 1 and key is None and not follow:
                say(
                    f"these are of generation {run.generation}: earlier ones are beside them in {Path(store.folder, 'logs', run.id)}"
                )
            return 0
        threading.Event().wait(LOOK_S)


def _logs_of(folder: Path, run: RunInfo, table: Table, key: str | None) -> list[_Log]:
    found = []
    for path in Path(folder, "logs", run.id).glob(f"{run.generation}-*-*.*"):
        try:
            _, row, attempt = path.stem.split("-")
            task = int(row)
            name = table.key(task) if task < table.size else None
        except (ValueError, IndexError):
            continue
        if name is not None and (key is None or name == key):
            found.append((task, int(attempt), path.suffix != ".out", _Log(name, int(attempt), path.suffix[1:], path)))
    return [log for *_, log in sorted(found)]


def _copy(log: _Log, shown: dict[Path, int], *, plain: bool) -> None:
    """Writes what a file has more than before: as it is for one task, by lines with its name for many."""
    try:
        with open(log.path, "rb") as file:
            file.seek(shown.get(log.path, 0))
            data = file.read()
    except OSError:
        return
    if not plain and not data.endswith(b"\n") and b"\n" in data:
        data = data[: data.rindex(b"\n") + 1]  # the rest when its line is whole
    shown[log.path] = shown.get(log.path, 0) + len(data)
    if not data:
        return
    if plain and not sys.stdout.isatty():
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    prefix = "" if plain else f"{clean(log.key)} | "
    for line in data.decode(errors="replace").rstrip("\n").split("\n"):
        out(prefix + clean(line))


def _tell_errors(table: Table, key: str | None, told: set[int]) -> None:
    for row, error in sorted(table.errors.items()):
        if row in told or table.status[row] == RUNNING or (key is not None and table.key(row) != key):
            continue
        told.add(row)
        say(f"{clean(table.key(row))}: {STATUSES[table.status[row]]}: {clean(describe(error))}")
        if isinstance(error, RecordedError):
            for line in error.trace.rstrip("\n").split("\n") if error.trace else ():
                say(f"    {clean(line)}")


# -- gc


def collect(given: str | None, older_than: str, dry_run: bool) -> int:
    """`plait gc`: lets go of runs that ended long ago, and of values and logs that no run refers to."""
    age = seconds("--older-than", older_than)
    store = existing(given)
    before = time.time() - age
    old = [
        run for run in store.runs() if run.ended_at is not None and run.ended_at < before and run.status != "running"
    ]
    for run in old:
        say(
            f"{'would forget' if dry_run else 'forgot'} run {run.id} {clean(run.name)}, {run.status} {_when(run.ended_at or 0.0)}"
        )
    if dry_run:
        out(f"{len(old)} runs would be forgotten")
        return 0
    store.delete(old)
    files, size = store.sweep()
    store.close()
    out(f"{len(old)} runs forgotten, {files} files with {size:,} bytes removed")
    return 0
