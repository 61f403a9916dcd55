"""Rows of the tables, read as what they are, for somebody else may have written them."""

from __future__ import annotations

import math
import sqlite3
from binascii import crc32
from collections.abc import Sequence
from typing import Any

from plait._core.states import RunStatus
from plait.errors import RunNotFound
from plait.stores.base import Learned, Owner, RunInfo, moment
from plait.stores.encoding import reader

COLUMNS = (
    "number, id, name, status, created_at, ended_at, generation, epoch, owner_pid, owner_started, owner_boot, tasks, summary,"
    " forked_from, format, version"
)


def info_of(row: Sequence[Any]) -> RunInfo:
    (
        number,
        run_id,
        name,
        status,
        created,
        ended,
        generation,
        epoch,
        pid,
        started,
        boot,
        tasks,
        summary,
        forked,
        form,
        version,
    ) = row
    try:
        owner = None if pid is None else Owner(int(pid), int(started), str(boot))
        facts = reader()(summary)
        if not isinstance(facts, dict) or not _names_a_folder(run_id):
            raise ValueError
        return RunInfo(
            number, run_id, str(name), str(RunStatus(status)), moment(created), None if ended is None else moment(ended),
            _count(generation, 1), _count(epoch, 1), owner, _count(tasks), facts, None if forked is None else str(forked), _count(form),
            str(version),
        )  # fmt: skip
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Others stay readable: this one is shown, and refused where more is wanted of it (F33).
        return RunInfo(number, str(run_id), str(name), "damaged", 0.0, None, 0, 0, None, 0, {}, None, -1, "")


def _names_a_folder(run_id: Any) -> bool:
    """Logs of tasks lie in a folder of this name."""
    return isinstance(run_id, str) and "/" not in run_id and run_id not in ("", ".", "..") and run_id.isprintable()


def _count(value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or not least <= value < 1 << 40:
        raise ValueError
    return value


def run_of(db: sqlite3.Connection, number: int) -> RunInfo:
    row = db.execute(f"SELECT {COLUMNS} FROM runs WHERE number=?", (number,)).fetchone()
    if row is None:
        raise RunNotFound("the run was deleted meanwhile")
    return info_of(row)


def learned_in(row: Sequence[Any] | None) -> Learned | None:
    """What stands in the table, unless somebody else wrote it there."""
    if row is None or not all(isinstance(each, (int, float)) and 0 <= each < math.inf for each in row):
        return None
    return Learned(float(row[0]), int(row[1]), float(row[2]))


def checksum(*parts: bytes) -> int:
    found = 0
    for part in parts:
        found = crc32(part, found)
    return found
