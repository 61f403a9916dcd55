"""What others leave for the process that drives a run: rows of a file that anybody may have written, kills, and the bell."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import plait
from faults import ENVIRONMENT, chain, own_mounts, program, said
from plait.errors import StoreDamaged, StoreError, UsageError
from plait.stores import bells, notes, schema
from plait.stores.base import FORMAT, READABLE, RunInfo
from plait.stores.bells import AT_ONCE, Bell, Ring
from plait.stores.memory import MemoryStore
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import ended, leave, new_run, put

pytestmark = pytest.mark.realtime

PATIENCE_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store will be."""
    return tmp_path / "store" / "plait.db"


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs that are to be spoken with; they are gone when the test is over."""
    running: list[subprocess.Popen[str]] = []

    def start(text: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", text, *map(str, args)]
        running.append(
            subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.communicate()


def heard(from_whom: subprocess.Popen[str]) -> str:
    """The next line that a program says."""
    assert from_whom.stdout is not None
    return from_whom.stdout.readline().strip()


def tell(whom: subprocess.Popen[str]) -> None:
    assert whom.stdin is not None
    whom.stdin.write("go on\n")
    whom.stdin.flush()


# -- the schema and the format


MIGRATING = """
import shutil, sys
from faults import in_child, kill_at, say
from plait.stores import sqlite
folder, copies = sys.argv[1:]

def migrate(number, point):
    shutil.copytree(folder, copies + str(number))
    kill_at(*point)
    sqlite.open_sqlite(f"{copies}{number}/plait.db").close()

points = [("migrate", 1), ("migrate", 2), ("in commit", 1), ("migrated", 1), ("migrated", 2)]
say(ends=[in_child(lambda: migrate(*each)) for each in enumerate(points)])
"""


def as_it_was_without_an_inbox(path: Path) -> None:
    """A store of the schema before."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE inbox")
        db.execute("PRAGMA user_version=1")


def tables(path: Path) -> tuple[int, set[str]]:
    with closing(sqlite3.connect(path)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        return version, {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'inbox%'")}


def test_a_store_without_an_inbox_gets_one_whole_or_not_at_all(path: Path, tmp_path: Path) -> None:
    """F05: and what is in it goes on."""
    with closing(open_sqlite(path)) as store:
        store.release(store.create(new_run("run")))
    as_it_was_without_an_inbox(path)
    assert tables(path) == (1, set())
    (facts,) = said(program(MIGRATING, path.parent, tmp_path / "copy"))
    assert facts["ends"] == [-signal.SIGKILL] * 4 + [0]
    found = []
    for number in range(5):
        copy = tmp_path / f"copy{number}" / "plait.db"
        found.append(tables(copy))
        with closing(open_sqlite(copy)) as store:
            run = store.find("run")
            note = leave(store, run)
            claim = store.claim(run)
            assert store.notes(run.number) == [note]
            assert put(store, claim, final=ended()) is None
        assert tables(copy)[0] == len(schema.MIGRATIONS)
    before, after = (1, set[str]()), (len(schema.MIGRATIONS), {"inbox", "inbox_of_run"})
    assert found == [before] * 3 + [after] * 2


@pytest.fixture
def unfinished(path: Path) -> Path:
    """A store with a run whose process was killed after its first task."""
    text = """
import sys
import plait
from faults import chain, kill_at
from plait.stores.sqlite import open_sqlite
open_sqlite(sys.argv[1]).close()
kill_at("in commit", 4)
plait.run(chain(sys.argv[2], 3), store=sys.argv[1], run_id="run")
"""
    assert program(text, path, path.parent.parent / "calls").returncode == -signal.SIGKILL
    return path


def test_a_run_of_the_format_before_is_read_and_gone_on_with(unfinished: Path) -> None:
    """F84: from then on it is in the format of whoever went on with it."""
    assert READABLE == (FORMAT - 1, FORMAT)
    with closing(sqlite3.connect(unfinished)) as db, db:
        db.execute("UPDATE runs SET format=?, version='0.0.1'", (FORMAT - 1,))
    assert plait.list_runs(unfinished)[0].version == "0.0.1"
    assert plait.show_run("run", unfinished).status == "running"
    graph = chain(str(unfinished.parent.parent / "calls"), 3)
    assert plait.resume("run", graph, store=unfinished).wait(PATIENCE_S).status == "succeeded"
    with closing(open_sqlite(unfinished)) as store:
        run = store.find("run")
        assert (run.format, run.version) == (FORMAT, plait.__version__)
    calls = (unfinished.parent.parent / "calls").read_text().split()
    assert (calls.count("t0"), set(calls)) == (1, {"t0", "t1", "t2"})  # what is on record does not run again


@pytest.mark.parametrize("written", [FORMAT - 2, FORMAT - 1, FORMAT + 1])
def test_a_format_is_written_by_a_claim_only_where_it_can_be_read(written: int, path: Path) -> None:
    """F84: of others nobody knows what they mean."""
    in_memory = MemoryStore()
    with closing(open_sqlite(path)) as in_file:
        for store in (in_memory, in_file):
            store.release(store.create(new_run("run")))
        kept = in_memory._runs[1]
        kept.info = kept.info.but(format=written, version="other")
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE runs SET format=?, version='other'", (written,))
        expected = (FORMAT, plait.__version__) if written in READABLE else (written, "other")
        for store in (in_memory, in_file):
            store.release(store.claim(store.find("run")))
            run = store.find("run")
            assert (run.format, run.version) == expected


# -- rows that others wrote

DEEP = "[" * 100_000 + "]" * 100_000

ODD: dict[str, tuple[Any, ...]] = {
    "a kind that is none": ("order", "k", "1", "anna", 5.0),
    "a kind that is bytes": (b"answer", "k", "1", "anna", 5.0),
    "an answer to nothing": ("answer", None, "1", "anna", 5.0),
    "a key that is bytes": ("answer", b"review", "1", "anna", 5.0),
    "a name that is bytes": ("answer", "review", "1", b"anna", 5.0),
    "data that are no JSON": ("answer", "review", "{", "anna", 5.0),
    "data that are bytes": ("answer", "review", b"1", "anna", 5.0),
    "data that are deep": ("answer", "review", DEEP, "anna", 5.0),
    "data without end": ("answer", "review", '"' + "x" * notes.MOST_BYTES + '"', "anna", 5.0),
    "a time that is text": ("answer", "review", "1", "anna", "soon"),
    "a time without end": ("answer", "review", "1", "anna", float("inf")),
    "a time before all time": ("answer", "review", "1", "anna", -1.0),
}


@pytest.mark.damages
def test_notes_that_cannot_be_read_are_left_aside_and_told_once(
    unfinished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F33: they end no run, and stand in nobody's way."""
    with closing(open_sqlite(unfinished)) as store:
        run = store.find("run")
        early = leave(store, run, "pause", None)
        with closing(sqlite3.connect(unfinished)) as db, db:
            for row in ODD.values():
                db.execute(
                    "INSERT INTO inbox (run, kind, key, data, left_by, left_at) VALUES (?,?,?,?,?,?)",
                    (run.number, *row),
                )
            db.execute(
                "INSERT INTO inbox VALUES (?,?,'resume',NULL,'1',CAST(x'ff' AS TEXT),5,NULL)", (1 << 62, run.number)
            )
        with caplog.at_level(logging.WARNING, "plait"):
            late = leave(store, run)  # whatever pretends to be an answer of that key
            found = store.notes(run.number)
            assert [note.id for note in found] == sorted([early.id, late.id, 1 << 62])
            assert store.notes(run.number) == found
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == len(set(told)) == len(ODD)
        assert all(str(unfinished) in each for each in told)
    graph = chain(str(unfinished.parent.parent / "calls"), 3)
    assert plait.resume("run", graph, store=unfinished).wait(PATIENCE_S).status == "succeeded"
    with closing(open_sqlite(unfinished)) as store:
        assert store.notes(run.number) == []
        assert store.verdict(late.id) == {"refused": "what was left is no answer"}


@pytest.mark.parametrize("verdict", ["{", "[]", b"\xff", 7, DEEP])
def test_a_verdict_that_cannot_be_read_is_told_as_damage(verdict: Any, path: Path) -> None:
    """F33: who waits for it would wait for ever."""
    with closing(open_sqlite(path)) as store:
        store.create(new_run("run"))
        note = leave(store, store.find("run"))
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE inbox SET verdict=?", (verdict,))
        with pytest.raises(StoreDamaged, match=f"note {note.id} in {path}"):
            store.verdict(note.id)
        assert not store.withdraw_note(note.id)


@pytest.mark.damages
def test_a_run_whose_line_cannot_be_read_takes_no_notes(path: Path) -> None:
    with closing(open_sqlite(path)) as store:
        store.release(store.create(new_run("run")))
        run = store.find("run")
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE runs SET epoch='x'")
        with pytest.raises(StoreDamaged, match="run run is damaged"):
            leave(store, run)


def test_escapes_in_a_name_are_shown_as_what_they_are(path: Path) -> None:
    """F33: what is said of a note is read at a terminal."""
    with closing(open_sqlite(path)) as store:
        store.create(new_run("run"))
        run = store.find("run")
        for kind, key in (("answer", "\x1b[2J"), ("cancel", None), ("cancel", "\x1b[2J")):
            leave(store, run, kind, key, by="\x1b[2Janna")
            with pytest.raises(UsageError) as refused:
                leave(store, run, kind, key)
            assert "\x1b" not in str(refused.value)
            assert "anna" in str(refused.value)


# -- processes

ANSWERING = """
import sys
from faults import say
from plait.errors import UsageError
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import leave
store = open_sqlite(sys.argv[1])
run = store.find("run")
print("ready", flush=True)
sys.stdin.readline()
try:
    said = leave(store, run, data=sys.argv[2], by=sys.argv[2]).id
except UsageError as error:
    said = str(error)
store.close()
say(said=said)
"""


def test_of_processes_that_answer_at_once_while_nobody_drives_the_run_one_does(
    path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    """F74 F75 E7: it is on record for whoever goes on with the run; the others know who was first."""
    with closing(open_sqlite(path)) as store:
        store.release(store.create(new_run("run")))
    answering = [started(ANSWERING, path, name) for name in ("anna", "berta", "carla", "dora")]
    for each in answering:
        assert heard(each) == "ready"
    for each in answering:
        tell(each)
    answers = [json.loads(heard(each))["said"] for each in answering]
    with closing(open_sqlite(path)) as store:
        run = store.find("run")
        claim = store.claim(run)
        (note,) = store.notes(run.number)
        assert [each for each in answers if isinstance(each, int)] == [note.id]
        assert sum(f"an answer by {note.by} already" in str(each) for each in answers) == 3
        assert put(store, claim, "answered", verdicts=[(note.id, {"taken": True})]) is None


KILLED_WITH_A_VERDICT = """
import sys
from faults import in_child, kill_at, say
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import put

def judge(point):
    store = open_sqlite(sys.argv[1])
    run = store.find("run")
    claim = store.claim(run)
    kill_at(point, 1)
    put(store, claim, "fact", verdicts=[(note.id, {"taken": True}) for note in store.notes(run.number)])

say(ends=[in_child(lambda: judge(sys.argv[2]))])
"""


@pytest.mark.parametrize(("point", "facts"), [("before commit", 0), ("in commit", 0), ("after commit", 1)])
def test_a_kill_leaves_a_note_open_without_its_fact_or_both_done(point: str, facts: int, path: Path) -> None:
    """F75 F02."""
    with closing(open_sqlite(path)) as store:
        store.release(store.create(new_run("run")))
        note = leave(store, store.find("run"))
    assert said(program(KILLED_WITH_A_VERDICT, path, point)) == [{"ends": [-signal.SIGKILL]}]
    with closing(open_sqlite(path)) as store:
        run = store.find("run")
        assert len(list(store.journal(run, 1))) == facts
        assert store.notes(run.number) == ([] if facts else [note])
        assert store.verdict(note.id) == ({"taken": True} if facts else None)


def test_a_kill_while_a_note_is_left_leaves_it_or_nothing(path: Path) -> None:
    """F03: and it is there once `leave_note` has returned."""
    text = """
import sys
from faults import in_child, kill_at, say
from plait.stores.sqlite import open_sqlite
from plait.testing.stores import leave

def left():
    store = open_sqlite(sys.argv[1])
    kill_at("in commit", 1)
    leave(store, store.find("run"))

say(ends=[in_child(left)])
"""
    with closing(open_sqlite(path)) as store:
        store.release(store.create(new_run("run")))
    assert said(program(text, path)) == [{"ends": [-signal.SIGKILL]}]
    with closing(open_sqlite(path)) as store:
        run = store.find("run")
        assert store.notes(run.number) == []
        assert leave(store, run).by == "anna"


def test_what_another_process_leaves_moves_the_version(path: Path) -> None:
    """E7: where there is no bell, it is all that an owner has."""
    leaving = (
        "import sys; from plait.stores.sqlite import open_sqlite; from plait.testing.stores import leave; "
        "store = open_sqlite(sys.argv[1]); leave(store, store.find('run')); store.close()"
    )
    with closing(open_sqlite(path)) as store:
        store.create(new_run("run"))
        before = store.data_version()
        assert store.data_version() == before
        assert program(leaving, path).returncode == 0
        assert store.data_version() != before
        assert len(store.notes(store.find("run").number)) == 1


def test_to_look_for_notes_reads_no_others_and_keeps_one_connection(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with closing(open_sqlite(path)) as store:
        store.release(store.create(new_run("run")))
        store.notes(1)
        opened = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            store.notes(1)
            store.data_version()
        assert len(os.listdir("/proc/self/fd")) == opened
        with closing(sqlite3.connect(path)) as db:
            plan = db.execute("EXPLAIN QUERY PLAN SELECT id FROM inbox WHERE run=1 AND verdict IS NULL").fetchall()
        assert "USING COVERING INDEX inbox_of_run (run=? AND verdict=?)" in plan[0][-1]
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_store_that_is_gone_or_was_forked_is_not_looked_at(path: Path, tmp_path: Path) -> None:
    """F22 F34."""
    text = """
import signal, sys
from faults import in_child, say
from plait.stores.sqlite import open_sqlite
store = open_sqlite(sys.argv[1])
store.data_version()
looking = [lambda: store.notes(1), lambda: store.data_version(), lambda: store.verdict(1)]
with store._watch:  # as a thread of the parent may have it at that moment
    ends = [in_child(lambda: (signal.alarm(10), each())) for each in (*looking, store.close)]
say(ends=ends, notes=store.notes(1))
"""
    done = program(text, path)
    assert said(done) == [{"ends": [1, 1, 1, 0], "notes": []}]
    assert done.stderr.count("StoreError: a forked child must not use its parent's store") == 3
    with closing(open_sqlite(path)) as store:
        store.data_version()
        shutil.move(path, tmp_path / "elsewhere")
        for look in (store.data_version, lambda: store.notes(1), lambda: store.verdict(1)):
            with pytest.raises(StoreError, match="deleted or replaced"):
                look()
        shutil.move(tmp_path / "elsewhere", path)


# -- the bell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a bell will be."""
    return tmp_path / "store"


def test_who_rings_is_heard_and_answered(folder: Path) -> None:
    """E7."""
    with (
        closing(Bell(str(folder), 7)) as bell,
        closing(Ring(str(folder), 7)) as ring,
        closing(Ring(str(folder), 7)) as other,
    ):
        assert bell.drain() == []
        assert not ring.wait(0)
        assert ring.ring()
        assert ring.ring()
        assert other.ring()
        senders = bell.drain()
        assert len(senders) == 2  # who rang twice is answered once
        assert bell.drain() == []
        bell.answer(senders)
        for each in (ring, other):
            assert each.wait(PATIENCE_S)
            assert not each.wait(0)
    assert os.listdir(folder / "bells") == []
    with closing(Ring(str(folder), 7)) as ring:
        assert not ring.ring()
        assert not ring.wait(0.001)


OWNING = """
import select, sys
from plait.stores.bells import Bell
bell = Bell(sys.argv[1], 7)
print("bound", flush=True)
while True:
    select.select([bell], [], [])
    bell.answer(bell.drain())
"""


def test_a_bell_whose_owner_was_killed_is_silent_until_the_next_one_has_it(
    folder: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    """F01 F15: the socket of a dead process is in nobody's way."""
    with closing(Ring(str(folder), 7)) as ring:
        assert not ring.ring()
        for _ in range(2):
            owner = started(OWNING, folder)
            assert heard(owner) == "bound"
            assert ring.ring()
            assert ring.wait(PATIENCE_S)
            owner.kill()
            owner.wait(PATIENCE_S)
            assert os.listdir(folder / "bells") == ["7.sock"]
            assert not ring.ring()
            assert not ring.wait(0.001)


def test_a_bell_is_for_its_owner_alone_whatever_the_umask(folder: Path) -> None:
    (folder / "bells").mkdir(parents=True)
    (folder / "bells").chmod(0o777)
    before = os.umask(0)
    try:
        with closing(Bell(str(folder), 7)) as bell:
            assert stat.S_IMODE((folder / "bells").stat().st_mode) == 0o700
            assert stat.S_IMODE((folder / "bells" / "7.sock").stat().st_mode) == 0o600
            assert not os.get_inheritable(bell.fileno())
    finally:
        os.umask(before)


def test_paths_longer_than_an_address_has_room_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E7: where there is no short path to the folder, either, it is said, and nothing is left of it."""
    deep = folder / ("d" * 100) / ("e" * 100)
    with closing(Bell(str(deep), 7)) as bell, closing(Ring(str(deep), 7)) as ring:
        assert os.listdir(deep / "bells") == ["7.sock"]
        assert ring.ring()
        bell.answer(bell.drain())
        assert ring.wait(PATIENCE_S)
    assert os.listdir(deep / "bells") == []
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(bells.os.path, "isdir", lambda path: False)
    with pytest.raises(OSError, match="too long"):
        Bell(str(deep), 7)
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(deep / "bells") == []
    with closing(Ring(str(deep), 7)) as ring:
        assert not ring.ring()
    with contextlib.chdir(folder), closing(Bell(".", 7)), closing(Ring(".", 7)) as ring:
        assert ring.ring()


def lay(what: str, place: Path, precious: Path) -> None:
    """Puts something into the place of a bell."""
    if what == "a file":
        place.write_text("something")
    elif what == "a link":
        place.symlink_to(precious)
    elif what == "a link to nothing":
        place.symlink_to("nothing")
    elif what == "a folder":
        place.mkdir()
    elif what == "a full folder":
        place.mkdir()
        (place / "kept").write_text("kept")
    elif what == "a pipe":
        os.mkfifo(place)


@pytest.mark.parametrize("what", ["a file", "a link", "a link to nothing", "a folder", "a full folder", "a pipe"])
def test_what_lies_in_the_place_of_a_bell_is_rung_by_nobody_and_gives_way(what: str, folder: Path) -> None:
    """A link is not followed: what it leads to is somebody else's."""
    (folder / "bells").mkdir(parents=True)
    precious = folder / "precious"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other, closing(Ring(str(folder), 7)) as ring:
        with contextlib.chdir(folder):
            other.bind("precious")
        other.setblocking(False)
        lay(what, folder / "bells" / "7.sock", precious)
        assert not ring.ring()
        if what == "a full folder":
            with pytest.raises(OSError, match="not empty"):
                Bell(str(folder), 7)
            assert (folder / "bells" / "7.sock" / "kept").read_text() == "kept"
        else:
            with closing(Bell(str(folder), 7)):
                assert ring.ring()
        with pytest.raises(BlockingIOError):
            other.recv(1)
        assert precious.exists()


@pytest.mark.parametrize("what", ["a file", "a link", "a link to nothing", "a pipe"])
def test_a_folder_that_is_none_has_no_bells(what: str, folder: Path) -> None:
    (folder / "elsewhere").mkdir(parents=True)
    with closing(Bell(str(folder), 1)):
        shutil.move(folder / "bells", folder / "precious")
        lay(what, folder / "bells", folder / "precious")
        before = len(os.listdir("/proc/self/fd"))
        with closing(Ring(str(folder), 1)) as ring:
            assert not ring.ring()
        with pytest.raises(OSError, match=r"Not a directory|symbolic links|File exists|No such"):
            Bell(str(folder), 2)
        assert len(os.listdir("/proc/self/fd")) == before
        assert os.listdir(folder / "precious") == ["1.sock"]


def test_a_folder_of_another_user_has_no_bell_of_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is led into ringing at what somebody else put there, but for root, who may do anything."""
    with closing(Bell(str(folder), 7)), closing(Ring(str(folder), 7)) as ring:
        me = os.geteuid()
        monkeypatch.setattr(bells.os, "geteuid", lambda: me + 1)
        with pytest.raises(PermissionError, match="another user"):
            Bell(str(folder), 8)
        assert not ring.ring()
        monkeypatch.setattr(bells.os, "geteuid", lambda: 0)
        assert ring.ring()
    assert os.listdir(folder / "bells") == []


def test_any_number_of_rings_is_heard_and_none_waits(folder: Path) -> None:
    with closing(Bell(str(folder), 7)) as bell, contextlib.ExitStack() as stack:
        rings = [stack.enter_context(closing(Ring(str(folder), 7))) for _ in range(50)]
        assert all(ring.ring() for _ in range(100) for ring in rings)
        senders = bell.drain()
        assert senders
        bell.answer(senders)
        assert sum(ring.wait(0) for ring in rings) == len(senders)
        late = rings[-1]
        assert late.ring()
        bell.answer(bell.drain())
        assert late.wait(PATIENCE_S)


def test_a_waiting_run_is_not_kept_by_whoever_rings_without_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Bell(str(folder), 7)) as bell, closing(Ring(str(folder), 7)) as ring:
        times = 0

        class Endless:
            """As a socket at which somebody rings faster than it is read."""

            def recvfrom(self, size: int) -> tuple[bytes, bytes]:
                nonlocal times
                times += 1
                return b".", b"\0%d" % (times % 3)

        with monkeypatch.context() as patch:
            patch.setattr(bell, "_socket", Endless())
            assert bell.drain() == [b"\x001", b"\x002", b"\x000"]
        assert times == AT_ONCE
        assert ring.ring()


def test_strangers_are_not_answered_and_do_not_answer(folder: Path) -> None:
    """Who has a name in a file system is left alone: it may be anybody's by now."""
    with closing(Bell(str(folder), 7)) as bell, closing(Ring(str(folder), 7)) as ring:
        address = str(folder / "bells" / "7.sock")
        with contextlib.chdir(folder), closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as named:
            named.bind("named")
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as nameless:
                for stranger in (named, nameless):
                    with contextlib.chdir(folder / "bells"):
                        stranger.sendto(b"a long story", "7.sock")
            assert bell.drain() == []
            assert ring.ring()
            (sender,) = bell.drain()
            with pytest.raises(PermissionError):
                named.sendto(b"lies", sender)
        assert not ring.wait(0)
        ring.close()
        bell.answer([sender])  # it waits no longer
        assert os.path.exists(address)


def test_a_bell_that_another_one_replaced_is_left_to_it(folder: Path) -> None:
    first = Bell(str(folder), 7)
    with closing(Bell(str(folder), 7)) as second, closing(Ring(str(folder), 7)) as ring:
        first.close()
        first.close()
        assert first.fileno() == -1
        assert first.drain() == []
        first.answer([b"\0nobody"])
        assert ring.ring()
        assert len(second.drain()) == 1


FORKING = """
import os, signal, sys
from plait.stores.bells import Bell
bell = Bell(sys.argv[1], 7)
seen, written = os.pipe()
child = os.fork()
if not child:
    facts = [bell.fileno(), len(bell.drain())]
    bell.close()
    os.write(written, repr(facts).encode())
    if sys.argv[2] == "stays":
        signal.pause()
    os._exit(0)
print(os.read(seen, 100).decode(), child, flush=True)
if sys.argv[2] == "leaves":
    os.waitpid(child, 0)
    print("left", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("child", ["stays", "leaves"])
def test_a_forked_child_has_no_part_in_the_bell(
    child: str, folder: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    """F22 F06: neither does it take the bell away, nor is a dead owner rung at while it lives."""
    owner = started(FORKING, folder, child)
    *facts, pid = heard(owner).split()
    try:
        assert facts == ["[-1,", "0]"]
        with closing(Ring(str(folder), 7)) as ring:
            if child == "leaves":
                assert heard(owner) == "left"
            assert ring.ring()
            owner.kill()
            owner.wait(PATIENCE_S)
            assert not ring.ring()
    finally:
        if child == "stays":
            os.kill(int(pid), signal.SIGKILL)


SHORT_OF = """
import errno, os, resource, subprocess, sys
from faults import say
from plait.stores.bells import Bell, Ring
folder = sys.argv[1]

def tried(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno]

os.makedirs(folder)
if sys.argv[2] == "descriptors":
    Bell(folder, 8).close()  # the folder is there
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(os.listdir("/proc/self/fd")) - 1
    found = []
    for room in (0, 1):
        resource.setrlimit(resource.RLIMIT_NOFILE, (there + room, hard))
        found += [tried(lambda: Bell(folder, 7)), tried(Ring(folder, 7).ring)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
else:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs", folder], check=True)
    found = [tried(lambda: Bell(folder, 7)), tried(Ring(folder, 7).ring)]
    subprocess.run(["mount", "-o", "remount,nr_inodes=20", folder], check=True)
left = os.listdir(folder + "/bells")
bell = Bell(folder, 7)
say(found=found, left=left, after=Ring(folder, 7).ring())
"""


def test_without_descriptors_there_is_no_bell_and_with_them_there_is(folder: Path) -> None:
    """F28."""
    (facts,) = said(program(SHORT_OF, folder, "descriptors"))
    assert facts == {"found": ["EMFILE"] * 4, "left": [], "after": True}


def test_on_a_full_disk_there_is_no_bell_and_with_room_there_is(folder: Path, tmp_path: Path) -> None:
    """F24."""
    (facts,) = said(program(SHORT_OF, folder, "room", prefix=own_mounts(tmp_path)))
    assert facts == {"found": ["ENOSPC", None], "left": [], "after": True}


def test_a_sweep_takes_the_bells_of_runs_that_nobody_drives(path: Path) -> None:
    with closing(open_sqlite(path)) as store:
        claims = [store.create(new_run(f"run{number}")) for number in range(3)]
        folder = path.parent
        live = Bell(str(folder), claims[0].number)
        text = "import sys; from plait.stores.bells import Bell; Bell(sys.argv[1], int(sys.argv[2])); import os; os._exit(0)"
        for number in (claims[1].number, claims[2].number, 99):
            assert program(text, folder, number).returncode == 0
        store.release(claims[1])
        odd = ["x.sock", "-1.sock", "9" * 40 + ".sock", "²2.sock", "7"]
        for name in (*odd, f"{claims[1].number}0.sock"):
            (folder / "bells" / name).write_text("somebody's")
        assert store.sweep() == (0, 0)
        names = {f"{claims[0].number}.sock", f"{claims[2].number}.sock", *odd, f"{claims[1].number}0.sock"}
        assert set(os.listdir(folder / "bells")) == names
        with closing(Ring(str(folder), claims[0].number)) as ring:
            assert ring.ring()
        live.close()
        assert f"{claims[0].number}.sock" not in os.listdir(folder / "bells")


def test_a_sweep_follows_no_link_to_the_bells_of_others(path: Path, tmp_path: Path) -> None:
    """S21."""
    (tmp_path / "others").mkdir()
    with closing(Bell(str(tmp_path / "others"), 7)), closing(open_sqlite(path)) as store:
        (path.parent / "bells").symlink_to(tmp_path / "others" / "bells")
        assert store.sweep() == (0, 0)
        assert (tmp_path / "others" / "bells" / "7.sock").exists()


def test_what_is_said_of_a_run_is_of_the_run_as_it_stands(path: Path) -> None:
    """The caller's look at it may be old."""
    with closing(open_sqlite(path)) as store:
        claim = store.create(new_run("run"))
        old: RunInfo = store.find("run")
        assert put(store, claim, final=ended("failed")) is None
        with pytest.raises(UsageError, match="run run is over: failed"):
            leave(store, old)
