"""Bugs planted into a process that drives a stored run, by name: each breaks a promise that killing processes must show."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from plait import resuming
from plait._core.policy import CONTROL
from plait._engine import records
from plait._engine.keeping import KeptDriver
from plait.stores import sqlite
from plait.stores.locks import Locks
from plait.stores.values import PLAIN

BUGS: dict[str, Callable[[], None]] = {}


def bug(plant: Callable[[], None]) -> Callable[[], None]:
    """Enters a bug under its function's name, in words."""
    BUGS[plant.__name__.replace("_", " ")] = plant
    return plant


def replace(home: Any, name: str, make: Callable[[Any], Any]) -> None:
    setattr(home, name, make(getattr(home, name)))


@bug
def record_before_run() -> None:
    """The journal says that a task returned as soon as it is taken (W2, W4)."""

    def broken(note: Any) -> Any:
        def noting(driver: Any, line: Any) -> None:
            note(driver, line)
            if line[0] == records.TAKEN and not driver.table.odd[line[1]] & CONTROL:
                task, now = line[1:]
                note(driver, (records.RETURNED, task, driver.table.attempts(task), now, PLAIN, None))

        return noting

    replace(KeptDriver, "_note", broken)


@bug
def late_batch() -> None:
    """What happened is reported, and what follows from it happens, while the batch is still on its way to the disk (W3, W6)."""

    def early(append: Any) -> Any:
        def appending(store: Any, batch: Any) -> None:
            batch.told(None)
            append(store, batch.but(told=lambda error: None))

        return appending

    def slow(commit: Any) -> Any:
        def committing(store: Any, db: Any, batches: Any) -> None:
            time.sleep(0.02)  # a disk that is busy
            commit(store, db, batches)

        return committing

    replace(sqlite.SqliteStore, "append", early)
    replace(sqlite.SqliteStore, "_commit", slow)


@bug
def no_lock() -> None:
    """A run is taken over while its owner lives (W7)."""
    replace(Locks, "take", lambda _: lambda locks, number: None)
    replace(sqlite, "alive", lambda _: lambda owner: False)


@bug
def orphans() -> None:
    """What a dead owner left behind lives on (F06)."""
    replace(resuming, "end_orphans", lambda _: lambda *_: 0)


@bug
def forgotten() -> None:
    """Now and then the record of a completion is left out of its batch (W3, W4)."""

    def broken(note: Any) -> Any:
        count = 0

        def noting(driver: Any, line: Any) -> None:
            nonlocal count
            count += line[0] == records.RETURNED
            if line[0] != records.RETURNED or count % 5:
                note(driver, line)

        return noting

    replace(KeptDriver, "_note", broken)


@bug
def no_epoch() -> None:
    """What a process writes counts, whoever owns the run, and nobody asks who does (W7)."""
    no_lock()

    def unfenced(write: Any) -> Any:
        def writing(store: Any, db: Any, batch: Any) -> Any:
            row = "SELECT epoch, (SELECT coalesce(max(sequence), 0) FROM journal WHERE run=number AND generation=?) FROM runs WHERE number=?"
            batch.claim.epoch, batch.claim.sequence = db.execute(
                row, (batch.claim.generation, batch.claim.number)
            ).fetchone()
            return write(store, db, batch)

        return writing

    replace(sqlite.SqliteStore, "_write", unfenced)
