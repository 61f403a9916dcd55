"""The notes of a SQLite store: the statements, each in the transaction of whoever calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plait.errors import RunNotFound, StoreDamaged
from plait.stores import notes
from plait.stores.base import Note, RunInfo
from plait.stores.rows import run_of

_COLUMNS = f"id, kind, key, CASE WHEN length(data)<={notes.MOST_BYTES} THEN data END, left_by, left_at"


def leave(
    db: sqlite3.Connection, run: RunInfo, kind: str, key: str | None, text: str, by: str | None, at: float, generation: int | None
) -> Note:  # fmt: skip
    """Leaves a note, unless it is one too many or too late."""
    try:
        now = run_of(db, run.number)
    except RunNotFound:
        raise notes.deleted(run) from None
    if now.format < 0:
        raise StoreDamaged(f"run {now.id} is damaged: its line in the list of runs cannot be read")
    notes.refuse(now, generation)
    same = db.execute(
        f"SELECT {_COLUMNS} FROM inbox WHERE run=? AND verdict IS NULL AND kind=? AND key IS ?", (run.number, kind, key)
    )
    for row in same:
        earlier = notes.read(*row)
        if earlier is not None:  # nobody will ever look at one that cannot be read
            raise notes.there_already(now, earlier)
    number = db.execute(
        "INSERT INTO inbox (run, kind, key, data, left_by, left_at) VALUES (?,?,?,?,?,?)",
        (run.number, kind, key, text, by, at),
    ).lastrowid
    left = notes.read(number, kind, key, text, by, at)
    assert left is not None
    return left


def not_looked_at(db: sqlite3.Connection, run: int, odd: Callable[[int], None]) -> list[Note]:
    """Notes without a verdict, the oldest first; `odd` is told of those that cannot be read."""
    found = []
    for row in db.execute(f"SELECT {_COLUMNS} FROM inbox WHERE run=? AND verdict IS NULL ORDER BY id", (run,)):
        note = notes.read(*row)
        if note is None:
            odd(row[0])
        else:
            found.append(note)
    return found


def verdict_on(db: sqlite3.Connection, note: int, where: str) -> Mapping[str, Any] | None:
    """What became of a note; None while nobody has said it."""
    row = db.execute("SELECT verdict FROM inbox WHERE id=?", (note,)).fetchone()
    if row is None:
        raise RunNotFound("the run was deleted meanwhile, and what was left for it")
    if row[0] is None:
        return None
    found = notes.verdict_read(row[0])
    if found is None:
        raise StoreDamaged(f"what became of note {note} in {where} cannot be read")
    return found


def settle(db: sqlite3.Connection, run: int, verdicts: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Writes verdicts; the first one stands. Who took a note back that was acted upon meanwhile is told that it was."""
    db.executemany(
        "UPDATE inbox SET verdict=? WHERE id=? AND run=? AND (verdict IS NULL OR verdict=?)",
        [(notes.verdict_text(verdict), note, run, notes.WITHDRAWN) for note, verdict in verdicts],
    )


def close(db: sqlite3.Connection, run: int, verdict: str) -> None:
    """Says the same of every note that nobody has looked at."""
    db.execute("UPDATE inbox SET verdict=? WHERE run=? AND verdict IS NULL", (verdict, run))


def withdraw(db: sqlite3.Connection, note: int) -> bool:
    """Takes a note back; false if something was said of it."""
    return db.execute("UPDATE inbox SET verdict=? WHERE id=? AND verdict IS NULL", (notes.WITHDRAWN, note)).rowcount > 0
