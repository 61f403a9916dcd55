"""Runs in a store, for people: listed, shown, their output; what is old let go."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from plait._core.policy import Rules
from plait._core.result import RunResult
from plait._core.scheduler import describe
from plait._core.states import RUNNING, STATUSES, SUCCEEDED
from plait._core.table import NEVER, NONE, Table
from plait._engine.desk import open_questions
from plait._engine.doors import default_slots
from plait._engine.replaying import Replay
from plait.cli.asked import how_to_answer, question_lines, said, when
from plait.cli.configured import filled, store_path
from plait.cli.output import out, say
from plait.cli.session import Settings, document, person
from plait.errors import RecordedError, UsageError
from plait.history import LogPart, Logs, StoredRun, at_a_glance, collect_garbage, list_runs, replayed, told
from plait.history import why as asked_why
from plait.observe.text import as_json, clean, counted, duration
from plait.opened import OpenRun, open_run
from plait.resuming import program_for
from plait.stores.notes import answer_in
from plait.stores.opening import command, open_store

if TYPE_CHECKING:
    from plait.stores.base import Note, RunInfo
    from plait.stores.contract import Store


LOOK_S = 0.2
"""How often `logs -f` looks for more."""


def needed(given: str | None) -> str:
    """The path of the store that commands look into."""
    path = store_path(given)
    if path is None:
        raise UsageError("--store none has no runs to look at")
    return path


def existing(given: str | None) -> Store:
    """The store that commands look into.

    Raises:
        StoreError: where there is none.
    """
    return open_store(needed(given), None, create=False)


def _status(run: StoredRun) -> str:
    if run.owner_pid is not None:
        return f"{run.status} (process {run.owner_pid})"
    if run.status == "waiting":
        return f"waiting ({run.questions} question{'s' if run.questions != 1 else ''})"
    return f"{run.status} (degraded)" if run.degraded else run.status


# -- ls


def ls(given: str | None, as_document: bool) -> int:
    """`plait ls`: the newest last."""
    path = needed(given)
    if not os.path.exists(path):
        say(f"there are no runs in {path} yet")
        return 0
    runs = list_runs(path)
    if as_document:
        out(as_json([_facts(run) for run in runs], indent=2))
        return 0
    rows = [("RUN", "NAME", "STATUS", "STARTED", "TOOK", "TASKS")]
    for run in runs:
        shown = counted(dict(run.counts)) if run.counts else f"{run.tasks} tasks"
        took = "-" if run.ended_at is None else duration(max(0.0, run.ended_at - run.created_at))
        rows.append((run.id, clean(run.name)[:40], _status(run), when(run.created_at), took, shown))
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    for row in rows:
        out("  ".join([each.ljust(width) for each, width in zip(row, widths, strict=False)] + [row[5]]).rstrip())
    return 0


def _facts(run: StoredRun) -> dict[str, Any]:
    facts = asdict(run)
    return {"run": facts.pop("id"), **facts}


# -- show


def show(given: str | None, text: str, as_document: bool, verbose: bool) -> int:
    """`plait show`: one run, as its journal tells it up to now."""
    store = existing(given)
    info = store.find(text)
    run = at_a_glance(info)
    if as_document:
        telling = told(store, info)
        telling.tell()
        facts = _facts(run)
        del facts["counts"], facts["tasks"]
        people = {
            "open_questions": [each.as_dict() for each in telling.questions()],
            "notes": [_as_dict(note) for note in _left(store, info, run)],
        }
        out(as_json({**document(telling.result(), telling.stream.summary()), **facts, **people}, indent=2))
        return 0
    replay = replayed(store, info)
    result = replay.result()
    for line in _shown(run, replay, result, _left(store, info, run), verbose, needed(given)):
        out(line)
    return 0


def _left(store: Store, info: RunInfo, run: StoredRun) -> list[Note]:
    """What people left for the next process that drives the run."""
    return [] if run.status not in UNDRIVEN else store.notes(info.number)


def _as_dict(note: Note) -> dict[str, Any]:
    found = {name: getattr(note, name) for name in ("kind", "key", "data", "by", "at")}
    return {**found, "data": answer_in(note.data)} if note.kind == "answer" else found


# -- people


def answer(given: str | None, text: str, key: str, words: Sequence[str], name: str | None) -> int:
    """`plait answer`."""
    with open_run(text, needed(given)) as run:
        if run.answer_text(key, *words, by=name or person()):
            say(f"run {run.id}: {clean(key)} is answered")
        else:
            say(f"run {run.id}: the answer to {clean(key)} is kept, {_kept_for(run, needed(given))}")
    return 0


def cancel(given: str | None, text: str, key: str | None, name: str | None) -> int:
    """`plait cancel`."""
    with open_run(text, needed(given)) as run:
        what = f"run {run.id}" if key is None else f"task {clean(key)} of run {run.id}"
        if run.cancel(key, by=name or person()):
            say(f"{what} is being cancelled")
        else:
            say(f"{what}: the wish to cancel is kept, {_kept_for(run, needed(given))}")
    return 0


def pause(given: str | None, text: str, name: str | None) -> int:
    """`plait pause`."""
    with open_run(text, needed(given)) as run:
        if run.pause(by=name or person()):
            say(f"run {run.id} is paused: nothing starts; go on with: {command(f'resume {run.id}', needed(given))}")
        else:
            say(f"run {run.id}: the wish to pause is kept, {_kept_for(run, needed(given))}")
    return 0


def _kept_for(run: OpenRun, store: str) -> str:
    """Who will find what was left."""
    pid = run.look().owner_pid
    if pid is not None:
        return f"for process {pid}, which drives the run and has not looked at it yet"
    return f"for no process drives the run; go on with: {command(f'resume {run.id}', store)}"


def go_on_there(given: str | None, text: str) -> bool:
    """A paused run goes on in the process that drives it; false where there is none, or it is not paused."""
    with open_run(text, needed(given)) as run:
        if not run.is_paused_there():
            return False
        run.resume(by=person())
        say(f"run {run.id} goes on in process {run.look().owner_pid}")
        return True


# -- why


def why(given: str | None, text: str, key: str, as_document: bool) -> int:
    """`plait why`: one task, as the journal tells it up to now."""
    answer = asked_why(text, key, needed(given))
    out(as_json(answer.as_dict(), indent=2) if as_document else clean(answer.text))
    return 0


MOST_SHOWN = 200
"""Tasks that are shown one by one unless `-v` is given; of more, those that are not plain."""


UNDRIVEN = ("interrupted", "waiting", "paused")
"""Runs that are not over, and that nobody drives."""


STANDS = ("waiting", "paused")
"""How a run may stand that a living process drives, beside running."""


def _shown(
    run: StoredRun, replay: Replay, result: RunResult, left: Sequence[Note], verbose: bool, store: str
) -> Iterator[str]:
    table = replay.table
    stands = str(replay.scheduler.status())
    status = f"{stands} (process {run.owner_pid})" if run.owner_pid is not None and stands in STANDS else _status(run)
    yield f"run {run.id} {clean(run.name)}: {status}"
    origin = f", forked from {run.forked_from}" if run.forked_from else ""
    again = f", generation {run.generation}" if run.generation > 1 else ""
    owners = f", taken over {_times(replay.took_over)}" if replay.took_over else ""
    yield f"  started {when(run.created_at)}, ran {duration(replay.now)}{again}{owners}{origin}"
    yield f"  {counted(result.counts)}"
    first = result.first_cause
    answers = {note.key: note for note in left if note.kind == "answer"}
    for each in open_questions(run.id, replay.scheduler, replay.wall):
        yield from (f"  {line}" for line in question_lines(each))
        note = answers.get(each.key)
        if note is None:
            yield f"      answer with: {how_to_answer(each, store)}"
        else:
            yield f"      answered {clean(said(each, answer_in(note.data)))}{_by(note)}; it counts once the run goes on"
    for note in left:
        if note.kind != "answer":
            what = note.kind if note.key is None else f"{note.kind} {note.key}"
            yield f"  asked for{_by(note)}: {clean(what)}; it is done once the run goes on"
    if first is not None:
        yield f"  first cause: {clean(first.key)}: {clean(describe(first.error))}"
    rows = list(range(table.size)) if verbose else [row for row in range(table.size) if table.parent(row) == NONE]
    plain = rows if verbose or len(rows) <= MOST_SHOWN else [row for row in rows if table.status[row] != SUCCEEDED]
    listed = plain if verbose else plain[:MOST_SHOWN]
    width = min(40, max((len(table.key(row)) for row in listed), default=0))
    for row in listed:
        yield f"  {clean(table.key(row)).ljust(width)}  {_line(table, row)}".rstrip()
    if len(listed) < len(rows):
        yield f"  and {len(rows) - len(listed)} more: -v lists them all"
    if run.status in UNDRIVEN:
        yield f"  go on with: {command(f'resume {run.id}', store)}"
    elif run.status == "failed":
        yield f"  try what failed again with: {command(f'retry {run.id}', store)}"


def _by(note: Note) -> str:
    return f"{'' if note.by is None else f' by {clean(note.by)}'}, {when(note.at)}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _line(table: Table, row: int) -> str:
    head = str(STATUSES[table.status[row]])
    parts = []
    if row in table.kept:
        head += " (kept from before)"
    elif table.started_at[row] != NEVER and table.ended_at[row] != NEVER:
        head += f" in {duration(max(0.0, table.ran_s(row, table.ended_at[row])))}"
    if table.attempts(row) > 1:
        parts.append(f"{table.attempts(row)} attempts")
    children = [child for part in table.grown(row) for child in part]
    if children:
        done = sum(table.status[child] == SUCCEEDED for child in children)
        parts.append(f"{done} of {len(children)} of its tasks succeeded")
    error = table.errors.get(row)
    if error is not None:
        parts.append(clean(describe(error)))
    return ", ".join([head, *parts])


# -- simulate


def simulated(given: str | None, target: Any, jobs: int | None, as_document: bool) -> int:
    """`plait simulate`: what a run is expected to take."""
    from plait.prediction import predict

    if hasattr(target, "shape"):
        batch, rules = target.shape(), {"on_failure": "continue", **target.rules()}
        name = target.name
    else:
        program, _ = program_for(target, {})
        rules = {key: getattr(target, key) for key in ("pools", "on_conflict") if hasattr(target, key)}
        rules["health"] = getattr(target, "health", None) or None
        batch, name = program.batch, program.name
    jobs = filled(Settings(jobs), rules).jobs
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


def logs(given: str | None, text: str, key: str | None, follow: bool) -> int:
    """`plait logs`: what commands of a run wrote, and the errors of what failed; with `-f` until the run is over."""
    store = existing(given)
    run = store.find(text)
    written = Logs(store, run, key)
    shown: set[int] = set()
    while True:
        over = at_a_glance(store.find(run.id)).owner_pid is None
        for part in written.more():
            _print(part, plain=key is not None)
        _tell_errors(written.replay.table, key, shown)
        if over or not follow:
            written.check()
            return 0
        threading.Event().wait(LOOK_S)


def _print(part: LogPart, *, plain: bool) -> None:
    """Output as it is for one task, by lines with its name for many. A terminal is told nothing that it would obey."""
    if plain and not sys.stdout.isatty():
        sys.stdout.buffer.write(part.data)
        sys.stdout.flush()
        return
    prefix = "" if plain else f"{clean(part.key)} | "
    for line in part.data.decode(errors="replace").rstrip("\n").split("\n"):
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
    forgotten, size = collect_garbage(needed(given), older_than, dry_run=dry_run)
    for run in forgotten:
        say(
            f"{'would forget' if dry_run else 'forgot'} run {run.id} {clean(run.name)}, {run.status} {when(run.ended_at or 0.0)}"
        )
    out(
        f"{len(forgotten)} runs would be forgotten"
        if dry_run
        else f"{len(forgotten)} runs forgotten, {size:,} bytes of files removed"
    )
    return 0
