"""What a store in a file survives: kills, full and failing disks, damage, forks, locks and clocks; faults F05 to F36."""

from __future__ import annotations

import ast
import asyncio
import errno
import hashlib
import json
import logging
import math
import os
import random
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import plait
from faults import ENVIRONMENT, chain, failing_disk, give, own_mounts, program, said
from plait._engine.records import SPAWNED
from plait._engine.replaying import Replay
from plait.errors import OwnershipLost, RunChanged, RunOwned, StoreDamaged, StoreError, StoreTooNew, UsageError
from plait.stores import files, schema, sqlite
from plait.stores.base import FORMAT, Blob, Owner
from plait.stores.locks import started_ticks, this_process
from plait.stores.memory import MemoryStore
from plait.stores.sqlite import open_sqlite
from plait.testing import VirtualClock
from plait.testing.stores import batches as journal_of
from plait.testing.stores import ended, new_run, put

pytestmark = pytest.mark.realtime


@pytest.fixture(scope="session")
def preload(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return failing_disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store will be."""
    return tmp_path / "store" / "plait.db"


def state(path: Path) -> tuple[int, set[str], set[str]]:
    """The version of a store's schema, its tables, and the columns of its runs."""
    with closing(sqlite3.connect(path)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        columns = {row[1] for row in db.execute("PRAGMA table_info(runs)")}
    return version, tables, columns


def quick_check(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA quick_check").fetchone()[0])


# -- migrations

KNOWN = len(schema.MIGRATIONS)
"""The version of the schema that this plait writes."""

STEP = (
    "ALTER TABLE runs ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",
    "CREATE TABLE more (x)",
    "INSERT INTO more VALUES (1)",
)

MIGRATING = f"""
import shutil, sys
from faults import arm, in_child, kill_at, say
from plait.stores import schema, sqlite
schema.MIGRATIONS += ({STEP!r},)
folder, copies = sys.argv[1:]

def migrate(number, kill):
    shutil.copytree(folder, copies + str(number))
    kill()
    sqlite.open_sqlite(f"{{copies}}{{number}}/plait.db").close()

points = [("migrate", 1), ("migrate", 2), ("migrate", 3), ("in commit", 1), ("migrated", 1)]
at_points = [in_child(lambda: migrate(number, lambda: kill_at(*point))) for number, point in enumerate(points)]
at_calls = []
while not at_calls or at_calls[-1]:
    at_calls.append(in_child(lambda: migrate(1000 + len(at_calls), lambda: arm(1 + len(at_calls), 0))))
say(points=at_points, calls=at_calls)
"""


@pytest.fixture
def stored(path: Path) -> Path:
    """A store with a run that succeeded."""
    plait.run(chain(str(path.parent.parent / "calls"), 2), store=path, run_id="one")
    return path


def check_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """That the schema is the old one or the new one, and the run is there; which version it is."""
    try:
        old = open_sqlite(path)  # before anything else, for what is new may stand in the log alone
    except StoreTooNew as error:
        assert re.search(rf"schema version {KNOWN + 1}, and plait .* reads up to {KNOWN}", str(error))
        seen = KNOWN + 1
    else:
        assert old.find("one").status == "succeeded"
        old.close()
        seen = KNOWN
    version, tables, columns = state(path)
    assert version == seen
    assert ("more" in tables, "colour" in columns) == ((False, False) if version == KNOWN else (True, True))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, STEP))
        new = open_sqlite(path)
        assert new.find("one").status == "succeeded"
        new.close()
    assert state(path)[0] == KNOWN + 1
    return version


def test_a_kill_in_a_migration_leaves_the_old_schema_or_the_new_one(
    stored: Path, preload: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F05 F03: at each of its points, and at each write and sync of the process."""
    (ends,) = said(program(MIGRATING, stored.parent, tmp_path / "copy", **preload))

    def found(first: int, number: int) -> list[int]:
        copies = [tmp_path / f"copy{first + at}" / "plait.db" for at in range(number)]
        return [check_migrated(copy, monkeypatch) for copy in copies]

    assert ends["points"] == [-signal.SIGKILL] * 5
    assert found(0, 5) == [KNOWN] * 4 + [KNOWN + 1]
    *killed, whole = ends["calls"]
    assert (set(killed), whole) == ({-signal.SIGKILL}, 0)
    versions = found(1000, len(killed) + 1)
    assert len(killed) > 6
    assert versions == sorted(versions)
    assert set(versions) == {KNOWN, KNOWN + 1}


WRITING = """
import os, sys
from faults import SYNC, WRITE, arm, in_child, say, seen
from plait.stores.base import Blob
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import ended, new_run, put
folders, failure, on = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "on"

def write(number):
    arm(number, failure, SYNC if failure else SYNC | WRITE, forever=on)
    try:
        store = open_sqlite(f"{folders}{number}/plait.db")
        claim = store.create(new_run("one"))
        say(number=number, created=True)
        for batch, also in enumerate([{}, {}, {}, {"final": ended()}]):
            records = {1: [1, Blob(b"1" * 40_000)], 2: [2, "2" * 20_000]}.get(batch, [batch])
            told = put(store, claim, records, **also)
            say(number=number, batch=batch, error=told and str(told), kind=told and type(told).__name__)
        store.close()
    except Exception as raised:
        say(number=number, batch=-1, error=str(raised), kind=type(raised).__name__)
    os._exit(seen() >= number)

ends = [1]
while ends[-1]:
    ends.append(in_child(lambda: write(len(ends))))
say(ends=ends[1:])
"""


def check_kept(path: Path, told: list[dict[str, Any]]) -> tuple[int, ...]:
    """That what was told is in the store, and that another run can be made there; how much is there."""
    committed = [each["batch"] for each in told if "batch" in each and not each["error"]]
    with closing(open_sqlite(path)) as store:
        runs = store.runs()
        assert len(runs) == 1 or {"number": told[0]["number"], "created": True} not in told
        journal = [data for run in runs for _, data in journal_of(store, run)]
        assert [batch[0][0] for batch in journal] == list(range(len(journal)))
        assert len(journal) >= len(committed)
        assert [run.status == "succeeded" for run in runs] == [len(journal) == 4] * len(runs)
        assert all(store.blob(batch[0][1]) == b"1" * 40_000 for batch in journal[1:2])
        claim = store.create(new_run("another"))
        assert put(store, claim, "fine", final=ended()) is None
    return len(runs), len(journal)


def test_a_kill_at_any_write_or_sync_loses_nothing_that_was_told(preload: dict[str, str], tmp_path: Path) -> None:
    """F01 F02 F03 W1 W8."""
    *facts, ends = said(program(WRITING, tmp_path / "kill", 0, "once", **preload))
    *killed, whole = ends["ends"]
    assert (set(killed), whole) == ({-signal.SIGKILL}, 0)
    assert len(killed) > 30
    there = []
    for number in range(1, len(killed) + 2):
        mine = [each for each in facts if each["number"] == number] or [{"number": number}]
        there.append(check_kept(tmp_path / f"kill{number}" / "plait.db", mine))
    assert there == sorted(there)
    assert set(there) == {(0, 0), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)}


@pytest.mark.parametrize("lasting", ["once", "on"])
def test_a_sync_that_fails_is_never_taken_for_a_commit(lasting: str, preload: dict[str, str], tmp_path: Path) -> None:
    """F27: the error is told, with its cause; what follows it is not written as if nothing had been."""
    *facts, ends = said(program(WRITING, tmp_path / "sync", errno.EIO, lasting, **preload))
    *failed, whole = ends["ends"]
    assert (set(failed), whole) == ({1}, 0)
    assert len(failed) > 8
    for number in range(1, len(failed) + 2):
        mine = [each for each in facts if each["number"] == number]
        told = [each["error"] for each in mine if "batch" in each]
        first = next((at for at, error in enumerate(told) if error), len(told))
        assert all(told[first:]), mine
        assert all("SQLITE_IOERR_" in error or "Input/output error" in error for error in told[first:]), mine
        assert {each["kind"] for each in mine if each.get("error")} <= {"StoreError"}
        check_kept(tmp_path / f"sync{number}" / "plait.db", mine)


# -- owners

TAKING_OVER = """
import os, sys
from faults import say
from plait.stores import sqlite
from plait.testing.stores import put
sqlite.alive = lambda owner: False  # as where its machine was restarted, or its lock was lost
store = sqlite.open_sqlite(sys.argv[1])
os.unlink(os.path.join(store.folder, "locks"))
claim = store.claim(store.find("one"))
say(epoch=claim.epoch, told=put(store, claim, "theirs"))
store.release(claim)
store.close()
"""


def test_an_owner_that_was_taken_over_writes_nothing_more_and_its_run_ends(path: Path) -> None:
    """F16 W7."""
    begun, gate = threading.Event(), threading.Event()
    after: list[str] = []

    @plait.task
    def waits() -> str:
        begun.set()
        gate.wait(60)
        return "late"

    graph = plait.Graph("g")
    graph.add("after", plait.task(after.append), args=(graph.add("waits", waits),))
    run = plait.start(graph, store=path, run_id="one")
    assert begun.wait(30)
    with closing(open_sqlite(path)) as store:
        before = journal_of(store, store.find("one"))
        assert said(program(TAKING_OVER, path)) == [{"epoch": 2, "told": None}]
        gate.set()
        with pytest.raises(OwnershipLost, match="another process took run one over: this one records nothing more"):
            run.wait(30)
        assert journal_of(store, store.find("one")) == [*before, (len(before) + 1, ["theirs"])]
        now = store.find("one")
        assert (now.status, now.ended_at) == ("running", None)
    assert after == []


def test_a_pid_that_is_somebody_elses_by_now_owns_nothing_and_is_not_signalled(path: Path, tmp_path: Path) -> None:
    """F17: neither as the owner of the run nor as a child of that owner."""
    calls = str(tmp_path / "calls")
    graph = chain(calls, 3)
    died = program(LEAVING, path, calls)
    assert died.returncode == -signal.SIGKILL, died.stderr
    with subprocess.Popen(["sleep", "600"]) as innocent, subprocess.Popen(["sleep", "600"]) as left:
        try:
            with closing(open_sqlite(path)) as store:
                claim = store.claim(store.find("one"))
                for process, earlier in ((innocent, 1), (left, 0)):
                    started = started_ticks(process.pid)
                    assert started
                    assert put(store, claim, (SPAWNED, 1, 1, process.pid, started - earlier)) is None
                store.release(claim)
                me = this_process()
                with closing(sqlite3.connect(path)) as db, db:
                    db.execute("UPDATE runs SET owner_pid=?, owner_started=?, owner_boot=?", (innocent.pid, 1, me.boot))
                db.close()
                assert store.find("one").owner == Owner(innocent.pid, 1, me.boot)
            assert plait.resume("one", graph, store=path).wait(30).status == "succeeded"
            assert left.wait(30) == -signal.SIGTERM  # that one really was what the dead owner left
            assert innocent.poll() is None
        finally:
            innocent.kill()
            left.kill()


LEAVING = """
import sys
import plait
from faults import chain, kill_at
from plait.stores.sqlite import open_sqlite
open_sqlite(sys.argv[1]).close()  # its making passes commits, too
kill_at("in commit", 3)
plait.run(chain(sys.argv[2], 3), store=sys.argv[1], run_id="one")
"""

CLAIMING = """
import sys
from faults import say
from plait.errors import RunOwned
from plait.stores.sqlite import open_sqlite
store = open_sqlite(sys.argv[1])
try:
    store.claim(store.find("one"))
    say(claimed=True)
except RunOwned as error:
    say(pid=error.pid, text=str(error))
"""


@pytest.mark.parametrize("deleted", [False, True])
def test_a_run_is_refused_to_others_while_its_owner_lives_even_without_the_file_of_the_locks(
    path: Path, deleted: bool
) -> None:
    """F13 F18 W7."""
    with closing(open_sqlite(path)) as store:
        claim = store.create(new_run("one"))
        if deleted:
            os.unlink(path.parent / "locks")
        (refused,) = said(program(CLAIMING, path))
        assert refused["pid"] == os.getpid()
        assert refused["text"] == f"run one is driven by process {os.getpid()}, which is alive"
        with pytest.raises(RunOwned):
            store.claim(store.find("one"))
        assert put(store, claim, "still mine") is None
        assert store.find("one").epoch == 1
        store.release(claim)
        assert said(program(CLAIMING, path)) == [{"claimed": True}]
        assert store.claim(store.find("one")).epoch == 3  # that process is gone


# -- several at once


def test_every_transaction_that_writes_takes_the_lock_at_its_begin() -> None:
    """F19: a deferred one fails at once where another one writes."""
    folder = Path(sqlite.__file__).parent
    begins, connects = set(), {}
    for file in folder.glob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("BEGIN"):
                    begins.add((function.name, node.value))
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "sqlite3.connect":
                    connects[file.name] = {each.arg: ast.unparse(each.value) for each in node.keywords}
    # The one without IMMEDIATE is that of a connection which cannot write.
    assert begins == {("_begin", "BEGIN IMMEDIATE"), ("_reading", "BEGIN"), ("_transaction", "BEGIN IMMEDIATE")}
    assert {where: how["isolation_level"] for where, how in connects.items()} == {
        "sqlite.py": "None",
        "shares.py": "None",
    }
    assert "mode=ro" not in Path(sqlite.__file__).read_text().replace('_connected(self._path, "ro")', "")


CONTENDING = """
import logging, sys
import plait
from faults import chain, say
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import ended, new_run, put
logging.basicConfig()  # who waits for long says so
path, me = sys.argv[1:]
failed, done = [], 0
for number in range(12):
    store = open_sqlite(path)
    claim = store.create(new_run(f"{me}-{number}"))
    errors = [put(store, claim, [batch]) for batch in range(4)]
    store.release(claim)
    claim = store.claim(store.find(f"{me}-{number}"))
    errors.append(put(store, claim, "last", final=ended()))
    failed += [str(error) for error in errors if error]
    if number % 3 == 2:
        store.delete([store.find(f"{me}-{number}")])
        store.sweep()
    store.close()
    done += 1
plait.run(chain(f"{path}.{me}", 10), store=path, run_id=f"run-{me}")
say(done=done, failed=failed)
"""


def test_processes_that_write_to_one_store_at_once_all_succeed(path: Path) -> None:
    """F14 F19: and nobody hears of a lock."""
    text = [sys.executable, "-c", CONTENDING, str(path)]
    several = [
        subprocess.Popen([*text, str(me)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for me in range(4)
    ]
    for process in several:
        out, err = process.communicate(timeout=60)
        assert (json.loads(out or "null"), err) == ({"done": 12, "failed": []}, "")
    with closing(open_sqlite(path)) as store:
        runs = store.runs()
        assert len(runs) == 4 * 9
        assert {run.status for run in runs} == {"succeeded"}
        for run in runs:
            if not run.id.startswith("run-"):
                assert journal_of(store, run) == [*((at + 1, [[at]]) for at in range(4)), (5, ["last"])]
    assert quick_check(path) == "ok"


class Warned(logging.Handler):
    """Waits for a warning."""

    def __init__(self, part: str) -> None:
        super().__init__(logging.WARNING)
        self.part = part
        self.texts: list[str] = []
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.part in record.getMessage():
            self.texts.append(record.getMessage())
            self.came.set()

    def __enter__(self) -> Warned:
        logging.getLogger("plait").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("plait").removeHandler(self)


def test_a_run_waits_for_a_foreign_writer_says_so_and_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F20."""
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    begun, gate = threading.Event(), threading.Event()

    @plait.task
    def waits() -> str:
        begun.set()
        gate.wait(60)
        return "value"

    @plait.task
    def after(value: str) -> str:
        return value + "!"

    run = plait.start(after.bind(waits.bind()), store=path)
    assert begun.wait(30)
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with Warned("has been locked by another process") as warned:
        gate.set()
        assert warned.came.wait(30)
        assert not run.done
        foreign.execute("ROLLBACK")
        foreign.close()
        assert run.wait(30).value == "value!"
    assert str(path) in warned.texts[0]


def test_a_reader_that_holds_a_snapshot_blocks_nobody_and_the_growth_of_the_log_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F21."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_BYTES", 16 * 1024)
    log = Path(f"{path}-wal")
    with closing(open_sqlite(path, "normal")) as store:
        claim = store.create(new_run("one"))
        reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        with Warned("a reader holds an old snapshot") as warned:
            for number in range(200):
                assert put(store, claim, [number, "x" * 2000]) is None
            assert warned.came.is_set()
        assert str(path) in warned.texts[0]
        assert len(warned.texts) <= 3  # once for each doubling
        assert reader.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        grown = log.stat().st_size
        reader.close()
        for number in range(200, 264):
            assert put(store, claim, [number]) is None
        assert log.stat().st_size < grown / 4
        assert len(journal_of(store, store.find("one"))) == 264


FORKING = """
import os, sys
import plait
from faults import chain, in_child, say
from plait.errors import StoreError
from plait.stores.base import Append, Blob
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import new_run, put
path = sys.argv[1]
store = open_sqlite(path)
claim = store.create(new_run("one"))
assert put(store, claim, "parent") is None
run = store.find("one")

def child():
    store.release(claim)  # says nothing, and gives up nothing
    told = lambda error: None
    graph = chain(path + ".calls", 2)
    for name, use in {
        "append": lambda: store.append(Append(claim, ["child"], told)),
        "create": lambda: store.create(new_run("two")),
        "claim": lambda: store.claim(run),
        "begin_generation": lambda: store.begin_generation(claim, {}, {}, 1, 0.0),
        "runs": store.runs,
        "find": lambda: store.find("one"),
        "generation": lambda: store.generation(run, 1),
        "journal": lambda: list(store.journal(run, 1)),
        "learned_of": lambda: store.learned_of(""),
        "delete": lambda: store.delete([run]),
        "sweep": store.sweep,
        "open_sqlite": lambda: open_sqlite(path),
        "another durability": lambda: open_sqlite(path, "normal"),
        "plait.run": lambda: plait.run(graph, store=path),
        "plait.resume": lambda: plait.resume("one", graph, store=path),
    }.items():
        try:
            use()
            say(name=name, error=None)
        except StoreError as error:
            say(name=name, error=str(error))

assert in_child(child) == 0
assert put(store, claim, "parent again") is None
say(journal=[data.decode() for _, data in store.journal(run, 1)], owner=store.find("one").owner.pid == os.getpid())
store.release(claim)
store.close()
# Where nothing was open when it was forked a child is a process like any.
assert in_child(lambda: plait.run(chain(path + ".calls", 2), store=path, run_id="child")) == 0
say(runs=[run.id for run in open_sqlite(path).runs()])
"""


def test_a_forked_child_never_uses_its_parents_store(path: Path) -> None:
    """F22."""
    *refused, parent, after = said(program(FORKING, path))
    assert len(refused) == 15
    for each in refused:
        assert each["error"], each["name"]
        assert "fork" in each["error"]
        assert str(path) in each["error"]
    assert parent == {"journal": ['["parent"]', '["parent again"]'], "owner": True}
    assert after == {"runs": ["one", "child"]}


# -- disks

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/vda rw
31 22 0:40 / {0}/net rw - {1} server:/export rw
32 31 8:2 / {0}/net/disk rw shared:1 - xfs /dev/vdb rw
33 22 0:41 / {0}/with\\040space\\012line rw - {1} server:/export rw
34 22 0:42 / {0}/under rw - {1} server:/export rw
35 22 0:43 / {0}/under rw - tmpfs tmpfs rw
a line that is none
"""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"])
def test_a_store_on_a_network_file_system_is_refused_before_anything_is_made(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F23 W15."""
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS.format(tmp_path, kind))
    monkeypatch.setattr(sqlite, "filesystem_of", lambda path: files.filesystem_of(path, str(table)))
    (tmp_path / "net").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "net")
    for place in ("net", "net/a/b", "link", "link/.plait", "with space\nline/x"):
        with pytest.raises(StoreError, match=rf"is on a network file system \({kind}\).*--store PATH"):
            plait.run(give.bind(1), store=tmp_path / place / "plait.db")
    assert sorted(os.listdir(tmp_path)) == ["link", "mountinfo", "net"]
    assert os.listdir(tmp_path / "net") == []
    for place in ("net/disk/x", "network", "under/x", "here"):
        assert plait.run(give.bind(1), store=tmp_path / place / "plait.db") == 1


def test_where_nobody_says_what_is_mounted_a_store_is_taken_for_local(tmp_path: Path) -> None:
    """F23."""
    assert files.filesystem_of(str(tmp_path), str(tmp_path / "nothing")) == ""
    assert files.filesystem_of("/proc/self") == "proc"


FILLING = """
import asyncio, resource, subprocess, sys
from pathlib import Path
import plait
from faults import chain, say, watched
what, path, calls, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
graph = chain(calls, 60, size)
store = path + "/plait.db"

async def main():
    if what == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(200_000, 3 * size), resource.RLIM_INFINITY))
    else:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=True)
    told, status, error = await watched(plait.start(graph, store=store, run_id="one"))
    say(told=told, status=status, error=error, halves=[str(half) for half in Path(path).rglob("*.new-*")])
    if what == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        subprocess.run(["mount", "-o", "remount,size=64m", path], check=True)
    told, status, error = await watched(plait.resume("one", graph, store=store))
    say(told=told, status=status, error=error)

asyncio.run(main())
"""


def check_filled(facts: list[dict[str, Any]], calls: Path, cause: str) -> None:
    full, resumed = facts
    assert re.fullmatch(f"StoreError: .*({cause}).*", full["error"])
    assert full["halves"] == []
    assert 2 < len(full["told"]) < 60
    assert (resumed["status"], resumed["error"]) == ("succeeded", "")
    # What was recorded and not told is no event of the run that goes on; what was told did not run again.
    told = full["told"] + resumed["told"]
    keys = [f"t{at}" for at in range(60)]
    assert told == [key for key in keys if key in told]
    assert len(told) >= 59
    called = calls.read_text().split()
    assert set(called) == set(keys)
    assert len(called) <= 61
    assert all(called.count(key) == 1 for key in full["told"])


@pytest.mark.parametrize("size", [20_000, 40_000])
def test_a_full_disk_ends_the_run_with_its_name_and_the_run_goes_on_when_there_is_room(
    size: int, tmp_path: Path
) -> None:
    """F24: by values in the journal, and by those in files of their own."""
    disk, calls = tmp_path / "disk", tmp_path / "calls"
    disk.mkdir()
    facts = said(program(FILLING, "disk", disk, calls, size, prefix=own_mounts(tmp_path)))
    cause = rf"the disk of the store {disk}/plait.db is full: make room" if size < 32_768 else "No space left on device"
    check_filled(facts, calls, cause)
    assert str(disk) in facts[0]["error"]


@pytest.mark.parametrize("size", [10_000, 100_000])
def test_a_limit_on_the_size_of_files_ends_the_run_and_it_goes_on_without(size: int, tmp_path: Path) -> None:
    """F25."""
    store, calls = tmp_path / "store", tmp_path / "calls"
    facts = said(program(FILLING, "limit", store, calls, size))
    check_filled(facts, calls, "SQLITE_IOERR_WRITE")
    assert str(store) in facts[0]["error"]


FULL_AT_ONCE = """
import os, subprocess, sys
import plait
from faults import chain, say
from plait.errors import StoreError
disk, calls = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
for filler in range(256, 120, -8):
    with open(disk + "/filler", "wb") as file:
        try:
            file.write(bytes(filler * 1024))
        except OSError:
            pass
    open(calls, "w").close()
    try:
        plait.run(chain(calls, 2), store=disk + "/.plait/plait.db")
        error = None
    except StoreError as raised:
        error = str(raised)
    left = os.listdir(disk + "/.plait") if os.path.exists(disk + "/.plait") else []
    say(error=error, left=left, called=os.path.getsize(calls) > 0)
    subprocess.run(["rm", "-rf", disk + "/filler", disk + "/.plait"], check=True)
"""


def test_too_little_room_for_a_new_store_is_told_and_leaves_no_half_of_one(tmp_path: Path) -> None:
    """F24 F03."""
    (tmp_path / "disk").mkdir()
    tries = said(program(FULL_AT_ONCE, tmp_path / "disk", tmp_path / "calls", prefix=own_mounts(tmp_path)))
    for each in tries:
        if each["error"] is not None:
            assert re.search("is full|No space left on device", each["error"]), each
            assert str(tmp_path / "disk") in each["error"]
        assert "plait.db" in each["left"] or not each["called"], each
        assert not [name for name in each["left"] if ".new-" in name], each
    ends = [each["error"] is None for each in tries]
    assert ends == sorted(ends)
    assert set(ends) == {False, True}


KILLED_WHILE_MAKING = """
import sys
from faults import in_child, kill_at, say
from plait.stores.sqlite import open_sqlite

def makes():
    kill_at("rename store", 1)
    open_sqlite(sys.argv[1])

say(ends=[in_child(makes) for _ in range(2)])
"""


def test_what_a_process_that_died_left_of_a_new_store_is_removed(path: Path) -> None:
    """F01: and what a living one makes at this moment stays."""
    path.parent.mkdir()
    ours = path.with_name(f"plait.db.new-{os.getpid()}-1")
    ours.touch()
    assert said(program(KILLED_WHILE_MAKING, path)) == [{"ends": [-9, -9]}]
    left = {each.name for each in path.parent.iterdir() if ".new-" in each.name} - {ours.name}
    assert len(left) == 1  # the second one removed what the first one left
    open_sqlite(path).close()
    assert [each for each in path.parent.iterdir() if ".new-" in each.name] == [ours]


WITHOUT_RIGHTS = """
import os, sys, tempfile
import plait
from faults import chain, say
from plait.errors import StoreError
with tempfile.TemporaryDirectory() as warm:  # all that a run imports is imported while it may be read
    plait.run(chain(warm + "/calls", 1), store=warm)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
calls, *paths = sys.argv[1:]
for path in paths:
    try:
        plait.run(chain(calls, 1), store=path)
        say(path=path, error=None)
    except StoreError as error:
        say(path=path, error=str(error))
"""


def test_a_folder_that_may_not_be_written_is_told_before_anything_starts() -> None:
    """F26: not as root, who may write everywhere."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o777)
        for folder in ("empty", "stored", "log", "hidden/inside"):
            (top / folder).mkdir(parents=True)
        for folder in ("stored", "log"):
            plait.run(chain(str(top / "calls before"), 1), store=top / folder / "plait.db")
        unfinished = open_sqlite(top / "log" / "plait.db")
        claim = unfinished.create(new_run("one"))
        assert put(unfinished, claim, "in the log") is None
        for each in top.rglob("*"):
            each.chmod(0o555 if each.is_dir() else 0o444)
        (top / "hidden").chmod(0)
        paths = [
            top / place / "plait.db"
            for place in ("empty", "empty/new/folder", "stored", "log", "hidden/inside", "hidden/new")
        ]
        before = {file: file.read_bytes() for file in top.rglob("*") if file.is_file()}
        try:
            for told in said(program(WITHOUT_RIGHTS, top / "calls", *paths)):
                assert told["error"], told
                assert told["path"] in told["error"]
                assert re.search("Permission denied|check the folder's rights", told["error"]), told
            assert not (top / "calls").exists()
            assert {file: file.read_bytes() for file in top.rglob("*") if file.is_file()} == before
        finally:
            for each in [top, *top.rglob("*")]:
                each.chmod(0o700)
            (top / "hidden" / "inside").chmod(0o700)
            unfinished.close()


# -- rights


def test_what_a_store_holds_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    """S24."""

    @plait.task
    def large() -> str:
        return "x" * 100_000

    graph = plait.Graph("g")
    graph.add("echo", plait.shell(["echo", "hello"]), args=())
    graph.add("large", large)
    (tmp_path / "mine").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        for folder in (tmp_path / "a" / ".plait", tmp_path / "mine"):
            with closing(open_sqlite(folder / "plait.db")) as store:
                plait.run(graph, store=store)
                assert put(store, store.create(new_run()), "so that there is a log") is None
                found = {each.relative_to(folder).as_posix(): each.stat() for each in folder.rglob("*")}
            names = {re.sub("[0-9a-f]{8,}", "", name).split("/")[0] for name in found}
            assert {"plait.db", "plait.db-wal", "plait.db-shm", "locks", "values", "logs"} <= names
            for name, each in found.items():
                assert stat.S_IMODE(each.st_mode) == (0o700 if stat.S_ISDIR(each.st_mode) else 0o600), name
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a" / ".plait").stat().st_mode) == 0o700
    assert (tmp_path / "a" / ".plait" / ".gitignore").read_text() == "*\n"
    # A folder that was there is its owner's business.
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o755
    assert not (tmp_path / "mine" / ".gitignore").exists()


def test_what_is_swept_is_in_the_store_wherever_links_lead(path: Path, tmp_path: Path) -> None:
    """S21."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("kept")
    with closing(open_sqlite(path)) as store:
        claim = store.create(new_run("one"))
        assert put(store, claim, Blob(b"x" * 40_000)) is None
        (path.parent / "logs").mkdir()
        for name in ("values/ff", "logs/gone"):
            (path.parent / name).symlink_to(elsewhere)
        (path.parent / "logs" / "old").mkdir()
        (path.parent / "logs" / "old" / "link").symlink_to(elsewhere / "precious")
        files, _ = store.sweep()
        assert files == 3
        assert (elsewhere / "precious").read_text() == "kept"
        assert sorted(os.listdir(path.parent / "logs")) == []
        (path.parent / "logs").rmdir()
        (path.parent / "logs").symlink_to(tmp_path)
        assert store.sweep() == (0, 0)
        assert (elsewhere / "precious").read_text() == "kept"


@pytest.mark.parametrize("there", [b"", b"x" * 39_999, b"y" * 40_000])
def test_a_value_that_power_was_lost_over_is_written_again(path: Path, there: bytes) -> None:
    """W8: with durability `normal` its file may be there without what is in it."""
    data = b"x" * 40_000
    name = hashlib.sha256(data).hexdigest()
    with closing(open_sqlite(path, "normal")) as store:
        file = path.parent / "values" / name[:2] / name
        file.parent.mkdir(parents=True)
        file.write_bytes(there)
        claim = store.create(new_run("one"))
        assert put(store, claim, Blob(data)) is None
        assert store.blob(name) == data
        file.write_bytes(there)
        with pytest.raises(StoreDamaged, match="is damaged"):
            store.blob(name)


def test_a_folder_whose_name_is_no_text_holds_a_store_like_any(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff ?#%41&mode=memory")
    assert plait.run(give.bind(1), store=f"{folder}/plait.db") == 1
    with closing(open_sqlite(f"{folder}/plait.db")) as store:
        assert [run.status for run in store.runs()] == ["succeeded"]


# -- damage


def examined(path: Path) -> Any:
    """All that a store tells, its runs replayed."""
    found: list[Any] = []
    with closing(open_sqlite(path)) as store:
        for run in store.runs():
            facts: list[Any] = [run.but(owner=None)]
            for number in range(1, run.generation + 1):
                generation = store.generation(run, number)
                facts += [generation, list(store.journal(run, number))]
                replay = Replay(store, run, generation)
                replay.catch_up()
                facts.append([(key, str(outcome.status)) for key, outcome in replay.result().items()])
            found.append(facts)
        found.append(store.learned_of(""))
    return found


def damages(seed: int, whole: bytes) -> bytes:
    """A store's file with some damage."""
    dice = random.Random(seed)
    data = bytearray(whole)
    at = dice.randrange(len(data))
    match seed % 10:
        case 0:
            return bytes(data[:at])
        case 1 | 2 | 3:
            for _ in range(dice.choice((1, 1, 2, 8, 100))):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        case 4:
            data[at : at + dice.choice((16, 512, 4096, 20_000))] = bytes(dice.choice((16, 512, 4096, 20_000)))
        case 5:
            text = b"Lorem ipsum dolor sit amet, " * dice.choice((1, 20, 1000))
            data[at : at + len(text)] = text
        case 6:
            data[dice.randrange(100)] = dice.randrange(256)
        case 7:
            pages = [data[place : place + 4096] for place in range(0, len(data), 4096)]
            one, other = dice.sample(range(len(pages)), 2)
            pages[one], pages[other] = pages[other], pages[one]
            return b"".join(pages)
        case 8:
            place = at - at % 4096
            for _ in range(3):
                data[place + dice.randrange(24) if place else 100 + dice.randrange(24)] = dice.randrange(256)
        case _:
            return dice.choice(
                [
                    b"",
                    b"text\n",
                    dice.randbytes(at),
                    whole[:16] + dice.randbytes(at),
                    whole[:100],
                    whole[:4096],
                    whole + dice.randbytes(9000),
                    bytes(len(whole)),
                ]
            )
    return bytes(data)


@pytest.fixture(scope="module")
def valuable(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Any]:
    """A store's file with four runs, and all that it tells."""
    path = tmp_path_factory.mktemp("valuable") / "plait.db"
    for number, size in enumerate((0, 2000, 50, 20_000)):
        plait.run(chain(str(path.parent / "calls"), 8, size), store=path, run_id=f"run{number}")
    return path.read_bytes(), examined(path)


@pytest.mark.damages
@pytest.mark.parametrize("checked", [True, False], ids=["checked", "too large to be checked"])
def test_a_damaged_store_is_refused_or_reads_as_it_was_and_is_not_touched(
    checked: bool, valuable: tuple[bytes, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F31: 500 seeded damages, and 250 of a file that is too large to be looked through at each start."""
    whole, expected = valuable
    if not checked:
        monkeypatch.setattr(sqlite, "CHECKED_BYTES", 0)
    path = tmp_path / "plait.db"
    refused = 0
    for seed in range(500) if checked else range(500, 750):
        data = damages(seed, whole)
        path.write_bytes(data)
        try:
            found = examined(path)
        except StoreError as error:
            assert type(error) is not StoreError, f"{seed}: {error}"  # each says that it is damaged, or too new
            assert str(path) in str(error), seed
            refused += 1
        else:
            assert found == expected or (not checked and is_a_beginning(found, expected)), seed
        assert path.read_bytes() == data, seed
        for each in ("-wal", "-shm"):
            Path(f"{path}{each}").unlink(missing_ok=True)
    assert refused > 200


def is_a_beginning(found: Any, expected: Any) -> bool:
    """Are the journals those that are expected, as far as they go? Where a page is lost without a trace the last lines may be."""
    return len(found) == len(expected) and all(
        mine[:2] == theirs[:2] and mine[2] == theirs[2][: len(mine[2])]
        for mine, theirs in zip(found[:-1], expected[:-1], strict=True)
    )


@pytest.mark.damages
def test_of_a_damaged_log_whole_transactions_are_left(path: Path, tmp_path: Path) -> None:
    """F31 W8: as many as came before the damage."""
    with closing(open_sqlite(path)) as store:
        claim = store.create(new_run("one"))
        for number in range(12):
            assert put(store, claim, [number, "x" * 500 * number]) is None
        files = {name: (path.parent / name).read_bytes() for name in ("plait.db", "plait.db-wal")}
    lengths = set()
    for seed in range(100):
        dice = random.Random(seed)
        copy = tmp_path / f"copy{seed}"
        copy.mkdir()
        log = bytearray(files["plait.db-wal"])
        if seed % 2:
            del log[dice.randrange(len(log)) :]
        else:
            log[dice.randrange(32, len(log))] ^= 1 << dice.randrange(8)
        (copy / "plait.db").write_bytes(files["plait.db"])
        (copy / "plait.db-wal").write_bytes(log)
        with closing(open_sqlite(copy / "plait.db")) as store:
            for run in store.runs():
                found = journal_of(store, run)
                assert found == [(number + 1, [[number, "x" * 500 * number]]) for number in range(len(found))]
                lengths.add(len(found))
    assert {0, 5, 11} <= lengths


@pytest.mark.damages
def test_what_is_no_store_is_refused_as_what_it_is(path: Path, tmp_path: Path) -> None:
    """F31."""
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE runs (x)")
        db.commit()
    (tmp_path / "text.db").write_text("not a store\n" * 100)
    (tmp_path / "empty.db").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.db")
    plait.run(give.bind(1), store=path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TRIGGER more AFTER INSERT ON journal BEGIN DELETE FROM runs; END")
    words = bytearray(path.read_bytes())
    at = words.index(b"CREATE TABLE runs")
    words[at + 7 : at + 12] = b"TA\xd4LE"  # SQLite quotes it
    (tmp_path / "words.db").write_bytes(words)
    for name, what in {
        "words.db": "is damaged",
        "other.db": "is a SQLite file, but no store of plait's",
        "text.db": "is no store of plait's",
        "empty.db": "is no store of plait's",
        "pipe.db": "is no file",
        "store/plait.db": "holds 'more', which plait did not make",
    }.items():
        file = tmp_path / name
        before = file.read_bytes() if file.is_file() else b""
        for use in (lambda file=file: plait.run(give.bind(1), store=file), lambda file=file: plait.list_runs(file)):
            with pytest.raises(StoreDamaged, match=what):
                use()
        assert (file.read_bytes() if file.is_file() else b"") == before
    there = [
        name for name in os.listdir(tmp_path) if not name.startswith("words.db-")
    ]  # who reads a log makes its index
    assert sorted(there) == ["empty.db", "other.db", "pipe.db", "store", "text.db", "words.db"]


@pytest.mark.damages
def test_what_a_newer_plait_wrote_is_refused_with_both_versions_and_not_touched(stored: Path) -> None:
    """F32: a store with a newer schema, and a run in a newer format beside one that is not."""
    plait.run(give.bind(1), store=stored, run_id="two")
    with closing(sqlite3.connect(stored)) as db:
        db.execute(f"UPDATE runs SET format={FORMAT + 1}, version='9.9' WHERE id='two'")
        db.commit()
    before = stored.read_bytes()
    for use in (plait.show_run, lambda run_id, store: plait.resume(run_id, give.bind(1), store=store).wait(30)):
        with pytest.raises(
            StoreTooNew, match=rf"run two .* plait 9\.9 in format {FORMAT + 1}, .* reads formats 3 and {FORMAT}"
        ):
            use("two", store=stored)
    assert plait.show_run("one", stored).status == "succeeded"
    with closing(sqlite3.connect(stored)) as db:
        db.execute("PRAGMA user_version=7")
    before = stored.read_bytes()
    with pytest.raises(
        StoreTooNew,
        match=rf"has schema version 7, and plait \d.* reads up to {KNOWN}: upgrade plait; it was not touched",
    ):
        plait.list_runs(stored)
    assert stored.read_bytes() == before


# -- hostile contents

DEEP = "[" * 100_000 + "]" * 100_000


def row(what: str, *values: Any) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.execute(f"UPDATE runs SET {what} WHERE id='bad'", values)


def line(data: Any) -> Callable[[sqlite3.Connection], object]:
    """A batch more, with the right checksum."""
    written = data if isinstance(data, bytes) else json.dumps([data]).encode()
    return lambda db: db.execute(
        "INSERT INTO journal SELECT run, generation, max(sequence) + 1, ?, ? FROM journal WHERE run=1", (zlib.crc32(written), written)
    )  # fmt: skip


def made(part: str, *place: str | int, value: Any, new: bool = False) -> Callable[[sqlite3.Connection], object]:
    """The definition or the structure with something else in it, with the right checksum."""

    def change(db: sqlite3.Connection) -> None:
        definition, structure = db.execute("SELECT definition, structure FROM generations WHERE run=1").fetchone()
        parts = {"definition": definition, "structure": structure}
        if place:
            data = inner = json.loads(parts[part])
            for each in place[:-1]:
                inner = inner[each]
            assert new or place[-1] in inner
            inner[place[-1]] = value
            parts[part] = json.dumps(data).encode()
        else:
            parts[part] = value
        crc = zlib.crc32(parts["structure"], zlib.crc32(parts["definition"]))
        db.execute("UPDATE generations SET definition=?, structure=?, crc=? WHERE run=1", (*parts.values(), crc))

    return change


REFUSED: dict[str, Callable[[sqlite3.Connection], object]] = {
    "a status that is none": row("status='x'"),
    "a start at no time": row("created_at=9e999"),
    "a start before all time": row("created_at=-1"),
    "a start after all time": row("created_at=1e300"),
    "a start that is text": row("created_at='x'"),
    "a deep summary": row("summary=?", DEEP),
    "a summary that is no JSON": row("summary='{'"),
    "a summary that is a list": row("summary='[]'"),
    "a summary that is bytes": row("summary=x'ff'"),
    "a generation below 1": row("generation=-1"),
    "a generation that is not there": row("generation=99"),
    "a generation without end": row("generation=9e999"),
    "an epoch that is text": row("epoch='x'"),
    "an epoch without end": row("epoch=9e999"),
    "the last epoch": row("epoch=9223372036854775807"),
    "an owner that is text": row("owner_pid='x'"),
    "fewer tasks than none": row("tasks=-5"),
    "a format that is text": row("format='x'"),
    "an id that is a path": row("id='../../bad'"),
    "an id with escapes": row("id=?", "bad\x1b[2J"),
    "a start of the generation at no time": lambda db: db.execute("UPDATE generations SET wall=9e999 WHERE run=1"),
    "no generation": lambda db: db.execute("DELETE FROM generations WHERE run=1"),
    "a definition that is text": lambda db: db.execute("UPDATE generations SET definition='x' WHERE run=1"),
    "another definition": lambda db: db.execute("UPDATE generations SET definition=x'7b7d' WHERE run=1"),
    "another structure": lambda db: db.execute(
        "UPDATE generations SET structure=CAST(replace(CAST(structure AS TEXT), '\"grace\":5', '\"grace\":6') AS BLOB) WHERE run=1"
    ),
    "a definition that is a list": made("definition", value=b"[]"),
    "a definition that is no JSON": made("definition", value=b"{"),
    "a function that is not there": made("definition", "calls", 0, "function", value="nosuch:x"),
    "a structure that is a list": made("structure", value=b"[]"),
    "a structure that is no JSON": made("structure", value=b"{"),
    "more tasks than keys": made("structure", "batch", "size", value=10**12),
    "fewer tasks than keys": made("structure", "batch", "size", value=1),
    "needs in a ring": made("structure", "batch", "needs", value=[[2], [0], [1]]),
    "a need that is negative": made("structure", "batch", "needs", value=[[-1], [0], [1]]),
    "no rules": made("structure", "rules", value={}),
    "a generation that carries on from itself": made(
        "structure", "carried", value={"run": "bad", "generation": 1, "again": []}, new=True
    ),
    "a generation that carries on from a later run": made(
        "structure", "carried", value={"run": "good", "generation": 1, "again": []}, new=True
    ),
    "no slots": made("structure", "rules", "max_concurrency", value=0),
    "a hole in the journal": lambda db: db.execute("UPDATE journal SET sequence=5 WHERE run=1"),
    "a checksum that is text": lambda db: db.execute("UPDATE journal SET crc='x' WHERE run=1"),
    "a batch that is text": lambda db: db.execute("UPDATE journal SET data='[]' WHERE run=1"),
    "a deep batch": line(DEEP.encode()),
    "a batch that is no JSON": line(b"{"),
    "a batch that is no text": line(b'["\xff"]'),
    "a line that is a number": line(5),
    "a line without anything": line([]),
    "a line of a kind that is none": line([99]),
    "a line that is too short": line([2]),
    "a line that is too long": line([0, 1, 2, 3, 4, 5]),
    "a task that is not there": line([2, 10**9, 1, 0.0, 0, 1]),
    "a task that is text": line([2, "x", 1, 0.0, 0, 1]),
    "a time that is text": line([2, 0, 1, "x", 0, 1]),
    "bytes that are none": line([2, 0, 1, 0.0, 1, "%%%"]),
    "a value in /dev/zero": line([2, 0, 1, 0.0, 8, "/dev/zero"]),
    "a value that is somebody's file": line([2, 0, 1, 0.0, 9, "../../../etc/passwd"]),
    "a value that is not there": line([2, 0, 1, 0.0, 8, "0" * 64]),
    "a declared value of no type": line([2, 0, 1, 0.0, 2, {"a": 1}]),
    "a task that is not ready": line([0, 2, 0.0]),
    "children of less than none": line([6, 0, 0.0, {"size": -5, "keys": {"numbered": "x", "size": -5}}, None]),
    "a process that is text": line([17, 0, 1, "x", "y"]),
    "an end that is none": line([10, "zzz", 0.0]),
    "an error that is none": line([3, 0, 1, 0.0, {"kind": 5}, 0.0, False, False, 0, None]),
}
"""What makes a run unreadable."""

HARMLESS: dict[str, Callable[[sqlite3.Connection], object]] = {
    "a name that is no text": row("name=CAST(x'ff00' AS TEXT)"),
    "an id that is no text": row("id=CAST(x'ff' AS TEXT)"),
    "an owner of another machine": row("owner_pid=9223372036854775807, owner_boot=NULL"),
    "a summary of other things": row("summary=?", json.dumps({"counts": [1], "degraded": {}, "wall_s": "x"})),
    "learned things that are none": lambda db: db.executemany(
        "INSERT INTO learned VALUES (?,?,?,?)", [("chain/faults:noted", "x", "y", "z"), ("chain/a", math.inf, 1, 1), (b"\xff", 1, 1, 1)]
    ),
    "values that are no names": lambda db: db.executemany(
        "INSERT INTO blobs VALUES (1, ?)", [("../../../precious",), (b"\xff",), ("/etc/passwd",)]
    ),
}  # fmt: skip
"""What keeps nobody from anything."""


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two runs whose process was killed."""
    folder = tmp_path_factory.mktemp("unfinished")
    done = program(
        """
import sys
import plait
from faults import chain, in_child, kill_at
from plait.stores.sqlite import open_sqlite

def run(run_id):
    open_sqlite(sys.argv[1] + "/store/plait.db").close()  # its making passes commits, too
    kill_at("in commit", 3)
    plait.run(chain(sys.argv[1] + "/calls", 3), store=sys.argv[1] + "/store/plait.db", run_id=run_id)

for run_id in ("bad", "good"):
    assert in_child(lambda: run(run_id)) == -9
""",
        folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.damages
@pytest.mark.parametrize("kind", ["refused", "harmless"])
def test_hostile_values_spoil_their_own_run_alone(kind: str, unfinished: Path, tmp_path: Path) -> None:
    """F33 S19: whatever somebody wrote into a store that SQLite finds valid."""
    graph = chain(str(unfinished / "calls"), 3)
    (tmp_path / "precious").write_text("kept")
    for number, (what, change) in enumerate((REFUSED if kind == "refused" else HARMLESS).items()):
        path = tmp_path / str(number) / "plait.db"
        shutil.copytree(unfinished / "store", path.parent)
        with closing(sqlite3.connect(path)) as db:
            change(db)
            db.commit()
        listed = plait.list_runs(path)
        assert len(listed) == 2, what
        assert listed[1].id == "good", what
        assert plait.show_run("good", path).status == "running", what
        if kind == "harmless":
            for each in listed:
                assert plait.resume(each.id, graph, store=path).wait(30).status == "succeeded", what
            assert plait.run(graph, store=path).status == "succeeded", what
        else:
            try:
                status = str(plait.resume(listed[0].id, store=path).wait(30).status)
            except (StoreError, RunChanged, UsageError) as error:
                status = f"refused: {error}"
            assert status.startswith("refused: "), what
            if number % 10 == 0:
                assert plait.resume("good", graph, store=path).wait(30).status == "succeeded", what
        with closing(open_sqlite(path)) as store:
            store.sweep()
    assert (tmp_path / "precious").read_text() == "kept"


# -- what happens meanwhile


@pytest.mark.parametrize("loss", ["the file", "the folder", "another in its place"])
def test_a_store_that_is_deleted_while_it_is_in_use_ends_the_run_with_the_cause(
    loss: str, path: Path, tmp_path: Path
) -> None:
    """F34."""
    other = tmp_path / "other" / "plait.db"
    plait.run(give.bind(1), store=other)
    begun, gate = threading.Event(), threading.Event()
    after: list[str] = []

    @plait.task
    def waits() -> str:
        begun.set()
        gate.wait(60)
        return "x" * 100_000

    graph = plait.Graph("g")
    graph.add("after", plait.task(after.append), args=(graph.add("waits", waits),))
    run = plait.start(graph, store=path)
    assert begun.wait(30)
    if loss == "the file":
        path.unlink()
    elif loss == "the folder":
        shutil.rmtree(path.parent)
    else:
        os.replace(other, path)
    left = sorted(each.relative_to(tmp_path) for each in tmp_path.rglob("*"))
    gate.set()
    with pytest.raises(StoreError, match=rf"the store {path} was deleted or replaced while it was in use"):
        run.wait(30)
    assert after == []
    assert sorted(each.relative_to(tmp_path) for each in tmp_path.rglob("*")) == left
    if loss == "the file":
        # What is in its log would come to stand in a new store.
        with pytest.raises(StoreError, match=rf"{path} is gone, and its log {path}-wal is still there"):
            plait.run(give.bind(1), store=path)
        Path(f"{path}-wal").unlink()
        Path(f"{path}-shm").unlink(missing_ok=True)
    assert plait.run(give.bind(1), store=path) == 1  # a new one, or the other one


@pytest.mark.parametrize("step", [-3600.0, 10 * 365 * 86400.0], ids=["back an hour", "on ten years"])
def test_a_step_of_the_clock_moves_neither_timeouts_nor_pauses(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """F36: between a run and its resume, and while it runs."""
    real, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])
    tried: list[float] = []
    store = MemoryStore()

    async def flaky() -> str:
        tried.append(clock.now)
        if len(tried) < 3:
            raise ConnectionError("not yet")
        return "value"

    async def slow() -> None:
        shift[0] += step
        await asyncio.sleep(10_000)

    graph = plait.Graph("g")
    graph.add("flaky", flaky, retry={"attempts": 3, "delay": 50, "backoff": 1, "jitter": False})
    graph.add("slow", slow, timeout=200)
    graph.add("long", asyncio.sleep, args=(10_000,))
    with VirtualClock() as clock:

        async def first() -> None:
            run = asyncio.create_task(plait.arun(graph, store=store, run_id="one", deadline=400))
            await asyncio.sleep(40)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        async def second() -> plait.RunResult:
            return await plait.resume("one", graph, store=store)

        clock.run(first())
        assert (tried, clock.now) == ([0.0], 40.0)
        clock.now = 5000.0  # nobody drives it, and its time stands still
        shift[0] += step
        result = clock.run(second())
        assert tried == pytest.approx([0.0, 5010.0, 5060.0])
        assert clock.now == pytest.approx(5360.0)
    assert {key: str(result[key].status) for key in result} == {
        "flaky": "succeeded",
        "slow": "timed_out",
        "long": "cancelled",
    }
    assert result["slow"].ended_at - result["slow"].started_at == pytest.approx(200)
    assert result["long"].ended_at - result["slow"].ended_at == pytest.approx(160)
