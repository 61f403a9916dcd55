"""What a store in a file survives: kills, full and failing disks, damage, forks, locks and clocks; faults F05 to F36."""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import logging
import os
import random
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import plait
from faults import TESTS, chain, failing_disk, give, program, said, unavailable
from plait._engine.records import SPAWNED
from plait._engine.replaying import Replay
from plait.errors import OwnershipLost, RunOwned, StoreDamaged, StoreError, StoreTooNew
from plait.stores import mounts, schema, sqlite
from plait.stores.base import Blob
from plait.stores.locks import started_ticks, this_process
from plait.stores.sqlite import open_sqlite
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

STEP = (
    "ALTER TABLE runs ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",
    "CREATE TABLE more (x)",
    "INSERT INTO more VALUES (1)",
)

MIGRATING = f"""
import shutil, sys
from faults import arm, in_child, kill_at, say
from plait.stores import sqlite
sqlite.MIGRATIONS += ({STEP!r},)
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
    version, tables, columns = state(path)
    assert ("more" in tables, "colour" in columns) == ((False, False) if version == 1 else (True, True))
    if version == 2:
        with pytest.raises(StoreTooNew, match=r"schema version 2, and plait .* reads up to 1"):
            open_sqlite(path)
    else:
        old = open_sqlite(path)
        assert old.find("one").status == "succeeded"
        old.close()
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "MIGRATIONS", (*schema.MIGRATIONS, STEP))
        new = open_sqlite(path)
        assert new.find("one").status == "succeeded"
        new.close()
    assert state(path)[0] == 2
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
    assert found(0, 5) == [1, 1, 1, 1, 2]
    *killed, whole = ends["calls"]
    assert (set(killed), whole) == ({-signal.SIGKILL}, 0)
    versions = found(1000, len(killed) + 1)
    assert len(killed) > 6
    assert versions == sorted(versions)
    assert set(versions) == {1, 2}


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
        assert store.find("one")[3:6:2] == ("running", None)
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
                with sqlite3.connect(path) as db:
                    db.execute("UPDATE runs SET owner_pid=?, owner_started=?, owner_boot=?", (innocent.pid, 1, me.boot))
                db.close()
                assert store.find("one").owner == (innocent.pid, 1, me.boot)
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
kill_at("in commit", 4)
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
    begins, connects = set(), []
    for file in folder.glob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("BEGIN"):
                    begins.add((function.name, node.value))
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "sqlite3.connect":
                    connects.append((function.name, {each.arg: ast.unparse(each.value) for each in node.keywords}))
    # The one without IMMEDIATE is that of a connection which cannot write.
    assert begins == {("_begin", "BEGIN IMMEDIATE"), ("_reading", "BEGIN")}
    ((where, how),) = connects
    assert (where, how["isolation_level"]) == ("_connected", "None")
    assert "mode=ro" not in Path(sqlite.__file__).read_text().replace('_connected(self._path, "ro")', "")


CONTENDING = """
import sys
import plait
from faults import chain, say
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import ended, new_run, put
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
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    several = [
        subprocess.Popen([*text, str(me)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
    monkeypatch.setattr(sqlite, "filesystem_of", lambda path: mounts.filesystem_of(path, str(table)))
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
    assert mounts.filesystem_of(str(tmp_path), str(tmp_path / "nothing")) == ""
    assert mounts.filesystem_of("/proc/self") == "proc"


FILLING = """
import asyncio, resource, subprocess, sys
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
    say(told=told, status=status, error=error)
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


def own_mounts(folder: Path) -> tuple[str, ...]:
    """What a command begins with that may mount file systems which nobody else sees."""
    apart = ("unshare", "-m") if os.getuid() == 0 else ("unshare", "-rm")
    try:
        subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        unavailable("a file system of one's own (unshare -m, mount)")
    return apart


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
    check_filled(facts, calls, "SQLITE_IOERR_WRITE|disk I/O error")
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


WITHOUT_RIGHTS = """
import os, sys
import plait
from faults import chain, say
from plait.errors import StoreError
from plait.stores import sqlite
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
            facts: list[Any] = [run._replace(owner=None)]
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
