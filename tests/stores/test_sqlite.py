"""What a store in a file is to one process: one owner however often it is opened, shared, closed, and nothing left behind."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import plait
from faults import chain, give, program
from plait import points
from plait.errors import StoreError
from plait.stores import sqlite
from plait.stores.locks import Locks
from plait.stores.opening import open_store
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import batches, ended, new_run, put


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "plait.db"


def test_runs_leave_no_descriptor_and_no_thread_behind(path: Path) -> None:
    plait.run(give.bind(1), store=path)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        plait.run(give.bind(1), store=path)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_what_one_part_of_a_process_locks_is_refused_to_every_other(tmp_path: Path) -> None:
    """W7: the kernel's locks are the process's, not those of whoever took them; and they go with the first handle that is closed."""
    before = len(os.listdir("/proc/self/fd"))
    one, other = Locks(str(tmp_path / "locks")), Locks(str(tmp_path / "locks"))
    assert (one.take(1), other.take(2)) == (None, None)
    assert (one.take(1), other.take(1), one.take(2)) == (os.getpid(),) * 3
    other.free(1)
    other.free(2)
    asking = "import sys; from plait.stores.locks import Locks; print([Locks(sys.argv[1]).take(at) for at in (1, 2)])"
    assert program(asking, tmp_path / "locks").stdout == f"[{os.getpid()}, None]\n"
    one.free(1)
    assert other.take(1) is None
    other.free(1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_opening_again_gives_the_same_store_until_its_last_user_closed_it(path: Path) -> None:
    first, other = open_sqlite(path), open_sqlite(path, "normal")
    again = open_sqlite(f"{path.parent}/../store/plait.db")
    assert other is again is first
    other.close()
    first.close()
    assert open_sqlite(path) is again
    claim = again.create(new_run("one"))
    again.close()
    assert put(again, claim, "still open") is None
    again.close()
    with closing(open_sqlite(path)) as fresh:
        assert fresh is not again
        again.release(claim)
        assert fresh.claim(fresh.find("one")).epoch == 2


@pytest.mark.parametrize(
    ("asked", "durability"), [(["normal", "full"], "full"), (["full", "normal"], "full"), (["normal", None], "normal"), ([None], "full")]
)  # fmt: skip
def test_of_all_that_is_asked_for_the_stronger_durability_holds(path: Path, asked: list[Any], durability: str) -> None:
    """W8."""
    stores = [open_sqlite(path, each) for each in asked]
    assert stores[0].durability == durability
    level = stores[0]._called(lambda db: db.execute("PRAGMA synchronous").fetchone()[0])
    assert level == {"normal": 1, "full": 2}[durability]
    for store in stores:
        store.close()


def test_a_store_that_is_given_serves_runs_at_once_and_stays_open(path: Path, tmp_path: Path) -> None:
    with closing(open_sqlite(path)) as store:
        writer = None
        for turn in range(3):
            runs = [plait.start(chain(str(tmp_path / "calls"), 5), store=store) for _ in range(5)]
            assert [str(run.wait(30).status) for run in runs] == ["succeeded"] * 5
            assert writer in (None, store._writer), turn
            writer = store._writer
        shared = open_store(store)
        assert shared is store
        shared.close()
        assert put(store, store.create(new_run()), "open") is None
        assert len(store.runs()) == 16
    assert store._writer is None


def test_without_a_lock_for_it_a_checkpoint_is_left_to_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F28."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_BYTES", 0)
    with closing(open_sqlite(path, "normal")) as store:
        claim = store.create(new_run("one"))
        take = Locks.take

        def no_descriptor(locks: Locks, number: int) -> int | None:
            raise StoreError("locks cannot be opened: Too many open files")

        monkeypatch.setattr(Locks, "take", no_descriptor)
        for number in range(70):
            assert put(store, claim, number) is None
        grown = Path(f"{path}-wal").stat().st_size
        monkeypatch.setattr(Locks, "take", take)
        for number in range(70, 130):
            assert put(store, claim, number) is None
        assert Path(f"{path}-wal").stat().st_size < grown
        assert len(batches(store, store.find("one"))) == 130


def test_a_run_that_could_not_be_stored_keeps_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W1."""
    with closing(open_sqlite(path)) as store:

        def fail(point: str) -> None:
            if point == "in commit":
                raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(points, "hook", fail)
            with pytest.raises(StoreError):
                store.create(new_run("one"))
        assert store.runs() == []
        others = Locks(str(path.parent / "locks"))
        assert others.take(1) is None  # as whoever makes run 1 now
        others.free(1)


def test_a_commit_that_fails_is_told_and_nothing_follows_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F27: not even where the next commit would succeed."""
    with closing(open_sqlite(path)) as store:
        claim, other = store.create(new_run("one")), store.create(new_run("other"))
        assert put(store, claim, "first") is None

        def fail(point: str) -> None:
            if point == "in commit":
                raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(points, "hook", fail)
            why = put(store, claim, "second")
        assert isinstance(why, StoreError)
        assert put(store, claim, "third") is why
        assert put(store, other, "of another run", final=ended()) is why
        assert batches(store, store.find("one")) == [(1, ["first"])]
        store.release(claim)
        store.release(other)
    with closing(open_sqlite(path)) as store:  # whoever opens it again may try again
        assert put(store, store.claim(store.find("one")), "second") is None
        assert batches(store, store.find("one")) == [(1, ["first"]), (2, ["second"])]
