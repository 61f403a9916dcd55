"""Limits that all processes share which use one store: their ledgers, in a small SQLite file beside it.

Each run that has to do with such a limit is a holder: a number that is never used again, a kernel lock that ends with its process, and
a named pipe at which others ring. One of them at a time has its turn, by a kernel lock too, reads the ledgers that it wants
something of, and writes them back in one transaction: whoever is killed in the midst of it has changed nothing. Nobody polls: who
waits is rung at, and watches the processes that stand in its way, so that the end of one of them is seen at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from json import dumps, loads

from plait import points
from plait._core.ledger import Ledger, News, Wish, news, trade
from plait.errors import PlaitError, StoreError
from plait.logs import log
from plait.stores.files import refuse_newer
from plait.stores.locks import Locks, boot

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

LOOK_S = 1.0
"""So often somebody looks who waits for a process that cannot be watched: one of another namespace."""

PATIENCE_S = 1.0
"""So long the end of a run waits, at most, for what it had to be given back. Should it not be: its process ends, or is asked for."""

VERSION = 1

SCHEMA = f"""
PRAGMA user_version={VERSION};
CREATE TABLE IF NOT EXISTS holders(id INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL, home TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ledgers(path TEXT PRIMARY KEY, clock TEXT NOT NULL, wall REAL NOT NULL, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS news(holder INTEGER, path TEXT, PRIMARY KEY(holder, path)) WITHOUT ROWID;
"""

Told = Callable[[list[News]], None]

_handles: set[int] = set()
"""Open files by which this process has its turn: a forked child would keep it, should its parent die in the midst of it."""


def _in_child() -> None:
    for handle in _handles:
        with contextlib.suppress(OSError):
            os.close(handle)
    _handles.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class FileExchange:
    """The limits of the runs of one store, in `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def join(
        self, poked: Callable[[], None], failed: Callable[[Exception], None], clock: Callable[[], float]
    ) -> FileMember:
        """One more run. `poked` is called when there is news for it, `failed` if the books can be kept no more."""
        return FileMember(self._folder, poked, failed, clock)


class FileMember:
    """One run. A thread of its own keeps its books, from when it first wants something until it is over."""

    def __init__(
        self,
        folder: str,
        poked: Callable[[], None],
        failed: Callable[[Exception], None],
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._poked = poked
        self._failed = failed
        self._clock = clock
        self._clock_id = boot() if clock is time.monotonic else f"{os.getpid()}/{id(clock):x}"
        self._jobs: deque[tuple[list[Wish], Told] | None] = deque()
        self._bell = -1
        self._rings, self._ring = os.pipe()
        for handle in (self._rings, self._ring):
            os.set_blocking(handle, False)
        self._thread = threading.Thread(target=self._serve, name="plait-shares", daemon=True)
        self._thread.start()

    # -- in the run's thread

    def trade(self, wishes: list[Wish], told: Told) -> None:
        """Enters wishes; `told` is called in another thread with what is new."""
        self._jobs.append((wishes, told))
        self._wake()

    def close(self) -> None:
        """The run is over: what it had is free."""
        self._jobs.append(None)
        self._wake()
        self._thread.join(PATIENCE_S)
        if not self._thread.is_alive():
            for handle in (self._rings, self._ring):
                os.close(handle)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._ring, b".")

    # -- in the thread that keeps the books

    def _serve(self) -> None:
        try:
            books = _Books(self._folder, self._clock, self._clock_id)
        except Exception as error:
            self._failed(_named(self._folder, error))
            return
        try:
            self._attend(books)
        except Exception as error:
            self._failed(_named(self._folder, error))
        finally:
            books.leave()

    def _attend(self, books: _Books) -> None:
        poll = select.poll()
        poll.register(self._rings, select.POLLIN)
        poll.register(books.bell, select.POLLIN)
        watched: dict[int, int] = {}  # pidfds, by process
        strange: set[int] = set()  # processes that are not seen here, and yet hold their locks
        try:
            while True:
                unseen = self._watch(poll, watched, books.in_the_way - strange)
                look_s = 0.0 if unseen else LOOK_S if strange or books.blind or books.unrung else None
                came = {handle for handle, _ in poll.poll(None if look_s is None else look_s * 1000)}
                gone = {pid for pid, handle in watched.items() if handle in came} | unseen
                looked = look_s is not None or bool(gone)
                # Once they are gone their locks are free. What is still in the way then is no process that can be seen from here.
                strange = (strange | gone) & books.in_the_way
                _drained(self._rings)
                _drained(books.bell)
                books.ring_again()
                wishes: list[Wish] = []
                tellers: list[Told] = []
                over = False
                while self._jobs:
                    job = self._jobs.popleft()
                    if job is None:
                        over = True
                        break
                    wishes += job[0]
                    tellers.append(job[1])
                if tellers:
                    found = books.trade(wishes)
                    for told in tellers:
                        told(found)
                        found = []
                elif not over and books.look(gone=looked):
                    self._poked()
                strange &= books.in_the_way
                if over:
                    return
        finally:
            for handle in watched.values():
                os.close(handle)

    @staticmethod
    def _watch(poll: select.poll, watched: dict[int, int], pids: set[int]) -> set[int]:
        """Has the end of these processes wake us, and of no others. Those that cannot be watched."""
        for pid in watched.keys() - pids:
            poll.unregister(watched[pid])
            os.close(watched.pop(pid))
        unseen = set()
        for pid in pids - watched.keys():
            try:
                handle = os.pidfd_open(pid)
            except (
                AttributeError,
                OSError,
            ):  # gone already, of another namespace; no such thing here, too many open files
                unseen.add(pid)
                continue
            watched[pid] = handle
            poll.register(handle, select.POLLIN)
        return unseen


class _Books:
    """The file, as one holder uses it."""

    def __init__(self, folder: str, clock: Callable[[], float], clock_id: str) -> None:
        self._folder = folder
        self._clock = clock
        self._clock_id = clock_id
        self._home = boot()
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._locks = Locks(os.path.join(folder, "alive"))
        self._numbers: dict[str, int] = {}
        self._waits: dict[str, Wish] = {}
        self.in_the_way: set[int] = set()
        """Other processes that hold what this one waits for, or stand before it."""
        self.blind = False
        """Is one of them of another namespace, where it cannot be watched?"""
        self.unrung: set[int] = set()
        """Holders for whom there is news, and at whose pipe nobody could ring yet."""
        self.number = 0
        self.bell = self._spare = -1
        self._db: sqlite3.Connection
        self._turn = os.open(os.path.join(folder, "turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _handles.add(self._turn)
        try:
            with self._exclusive():
                self._db = self._opened()
                self._enrol()
                self._clear_up()
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self._let_go()
            raise

    def _opened(self) -> sqlite3.Connection:
        """The file; a new one in the place of one that cannot be read, for what stood there is worth little."""
        path = os.path.join(self._folder, "ledgers.db")
        for again in (True, False):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(path, isolation_level=None)
            try:
                refuse_newer(path, db.execute("PRAGMA user_version").fetchone()[0], VERSION, "books of limits")
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")
                db.executescript(SCHEMA)
                return db
            except (PlaitError, sqlite3.DatabaseError) as error:
                db.close()
                if not again or isinstance(error, (PlaitError, sqlite3.OperationalError)):
                    raise
                log.warning("the shared limits in %s are counted anew: %s is damaged (%s)", self._folder, path, error)
                for suffix in ("-wal", "-shm"):
                    with contextlib.suppress(OSError):
                        os.unlink(path + suffix)
                points.reach("before shares commit")
                os.replace(path, path + ".damaged")
        raise AssertionError

    def _enrol(self) -> None:
        """Takes a number that nobody has."""
        while not self.number:
            row = (os.getpid(), self._home)
            number = self._db.execute("INSERT INTO holders(pid, home) VALUES(?, ?)", row).lastrowid or 0
            if self._locks.take(number) is None:  # else the file is new, and somebody goes on with an older one
                self.number = number
        path = self._pipe(self.number)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.mkfifo(path, 0o600)
        # For writing, too: else each ring's end would look like the end of all rings.
        self.bell = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def _let_go(self) -> None:
        """Nothing is held any more, whatever the file says of it: who is not alive has nothing."""
        if self.number:
            self._locks.free(self.number)
        with contextlib.suppress(sqlite3.Error, AttributeError):  # it may never have been opened
            self._db.close()
        for handle in (self.bell, self._spare, self._turn):
            if handle >= 0:
                os.close(handle)
        _handles.discard(self._turn)
        self.bell = self._spare = self._turn = -1

    def _pipe(self, number: int) -> str:
        return os.path.join(self._folder, f"bell-{number}")

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Nobody else, of any process, reads or writes meanwhile."""
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            if not os.fstat(self._turn).st_nlink:
                raise StoreError(f"the shared limits in {self._folder} were removed while a run used them")
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._exclusive():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                points.reach("before shares commit")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            points.reach("after shares commit")

    def _clear_up(self) -> None:
        """Those that died have left their pipes and their names."""
        for (number,) in self._db.execute("SELECT id FROM holders").fetchall():
            if not self._alive(number):
                self._strike(number)

    def _strike(self, number: int) -> None:
        self._db.execute("DELETE FROM holders WHERE id=?", (number,))
        self._db.execute("DELETE FROM news WHERE holder=?", (number,))
        with contextlib.suppress(OSError):
            os.unlink(self._pipe(number))

    def _alive(self, number: int) -> bool:
        return number == self.number or self._locks.held(number)

    # -- what a run wants

    def trade(self, wishes: list[Wish]) -> list[News]:
        """Enters wishes; all that is new to this run."""
        with self._transaction():
            changed = {
                path for (path,) in self._db.execute("SELECT path FROM news WHERE holder=?", (self.number,)).fetchall()
            }
            if changed:
                self._db.execute("DELETE FROM news WHERE holder=?", (self.number,))
            woken, ledgers, now = self._enter(wishes, changed & self._numbers.keys())
            found = [
                news(ledger, path, self._numbers[path], self.number, now)
                for path, ledger in ledgers.items()
                if path in self._numbers
            ]
            for path in list(self._waits):
                if path in ledgers and self.number not in ledgers[path].line:
                    del self._waits[path]
            self._write(ledgers, now)
            self._see_who_stands_in_the_way(ledgers)
        self._ring(woken)
        return found

    def look(self, *, gone: bool) -> bool:
        """Is there news? Where a process is `gone`, what this run waits for is looked at anew before."""
        with self._transaction():
            woken: set[int] = set()
            if gone:
                wishes = [Wish("look", *wish[1:]) for wish in self._waits.values()]
                woken, ledgers, now = self._enter(wishes, ())
                self._db.executemany(
                    "INSERT OR IGNORE INTO news VALUES(?, ?)", [(self.number, path) for path in ledgers]
                )
                self._write(ledgers, now)
                self._see_who_stands_in_the_way(ledgers)
            there = self._db.execute("SELECT 1 FROM news WHERE holder=? LIMIT 1", (self.number,)).fetchone()
        self._ring(woken)
        return there is not None

    def leave(self) -> None:
        """The run is over, or its books are."""
        try:
            with self._transaction():
                wishes = [Wish("forget", path, 0, 0, self._intervals(path)) for path in self._numbers]
                woken, ledgers, now = self._enter(wishes, ())
                self._write(ledgers, now)
                self._strike(self.number)
            self._ring(woken)
            with self._exclusive():
                self._db.close()  # the last one copies the log back
        except Exception as error:
            log.warning(
                "a run has left the shared limits in %s without a word (%s): whoever asks next sees that",
                self._folder,
                error,
            )
        finally:
            self._let_go()

    def _intervals(self, path: str) -> float:
        return float(path.rpartition(" per ")[2][:-1]) if path.startswith("rate ") else 0.0

    def _enter(self, wishes: list[Wish], also: Iterable[str]) -> tuple[set[int], dict[str, Ledger], float]:
        """Enters wishes into the ledgers that they name. Who is to be rung at; these ledgers, and those that were asked for `also`."""
        now = self._clock()
        ledgers = {path: self._read(path, now) for path in dict.fromkeys([*(wish.path for wish in wishes), *also])}
        rung = trade(ledgers, self.number, wishes, now, self._alive)
        for wish in wishes:
            if wish.kind == "forget":
                self._numbers.pop(wish.path, None)
                self._waits.pop(wish.path, None)
                continue
            self._numbers[wish.path] = wish.number
            if wish.kind == "ask":
                self._waits.pop(wish.path, None)
                if wish.units:
                    self._waits[wish.path] = wish
        self._db.executemany("INSERT OR IGNORE INTO news VALUES(?, ?)", list(rung))
        return {other for other, _ in rung}, ledgers, now

    def _read(self, path: str, now: float) -> Ledger:
        row = self._db.execute("SELECT clock, wall, data FROM ledgers WHERE path=?", (path,)).fetchone()
        if row is None:
            return Ledger()
        clock_id, wall, data = row
        if clock_id == self._clock_id:
            return Ledger.of(loads(data))
        # Written before the machine was started anew, or by a clock of its own: all that both know is the time of day.
        return Ledger.of(loads(data), wall - (time.time() - now), now + self._intervals(path))

    def _write(self, ledgers: dict[str, Ledger], now: float) -> None:
        for path, ledger in ledgers.items():
            ledger.taken(now)
            if ledger.empty:
                self._db.execute("DELETE FROM ledgers WHERE path=?", (path,))
            else:
                data = dumps(ledger.data(), separators=(",", ":"))
                row = (path, self._clock_id, time.time() - now, data)
                self._db.execute("INSERT OR REPLACE INTO ledgers VALUES(?, ?, ?, ?)", row)

    def _see_who_stands_in_the_way(self, ledgers: dict[str, Ledger]) -> None:
        if not self._waits:
            self.in_the_way, self.blind = set(), False
            return
        others: set[int] = set()
        for path in self._waits:
            others |= (ledgers[path] if path in ledgers else self._read(path, self._clock())).members()
        marks = ",".join("?" * len(others))
        rows = self._db.execute(
            f"SELECT DISTINCT pid, home FROM holders WHERE id IN ({marks})", list(others)
        ).fetchall()
        self.in_the_way = {pid for pid, home in rows if home == self._home} - {os.getpid()}
        self.blind = any(home != self._home for _, home in rows)

    def ring_again(self) -> None:
        """Rings at those at whose pipe nobody could ring."""
        again, self.unrung = self.unrung, set()
        self._ring(again)

    def _ring(self, holders: Iterable[int]) -> None:
        """Has others look. One that is dead, or has rings enough, needs none."""
        for number in holders:
            try:
                self._ring_at(self._pipe(number))
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._ring_with_the_spare(number)

    @staticmethod
    def _ring_at(path: str) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # it is full of rings, or nobody hears it any more
                os.write(handle, b".")
        finally:
            os.close(handle)

    def _ring_with_the_spare(self, number: int) -> None:
        """The program has no descriptor left, and somebody waits for this one: there is one that was kept for that."""
        if self._spare >= 0:
            os.close(self._spare)
        try:
            self._ring_at(self._pipe(number))
        except OSError:
            self.unrung.add(number)  # another thread took it: once more, a second later
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._spare = -1


def _drained(handle: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(handle, 4096):
            pass


def _named(folder: str, error: Exception) -> Exception:
    """What is said where the books cannot be kept."""
    if isinstance(error, PlaitError):
        return error
    return StoreError(f"the shared limits in {folder} cannot be kept: {error}")


__all__ = ["FileExchange", "FileMember"]
