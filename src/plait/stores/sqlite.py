"""Runs in a SQLite file: one writer thread, one transaction for all that is queued, readers that never block it.

The driver of the standard library stays behind this module. WAL mode; `BEGIN IMMEDIATE` always, for a deferred transaction that
turns to writing fails at once where another one writes; no automatic checkpoints, for SQLite before 3.51.3 may corrupt a file
that one connection writes while another checkpoints: only an owner of a run does, with the write lock held.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from binascii import crc32
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from plait import points
from plait._version import __version__
from plait.errors import RunNotFound, StoreDamaged, StoreError, UsageError
from plait.logs import log
from plait.stores import inbox, notes, schema
from plait.stores.base import (
    FORMAT,
    READABLE,
    Append,
    Blob,
    Claim,
    Generation,
    Learned,
    NewRun,
    Note,
    RunInfo,
    folded,
    last_of,
    moment,
    needed_by_forks,
    owned,
    taken_over,
    tell,
)
from plait.stores.encoding import encode
from plait.stores.files import (
    Values,
    files_below,
    filesystem_of,
    folder_made,
    folders_below,
    identity_of,
    look_at,
    refuse_a_log_without_its_store,
    refuse_newer,
    remove_unfinished,
    synced,
)
from plait.stores.locks import Locks, alive, this_process
from plait.stores.rows import COLUMNS, checksum, info_of, learned_in, run_of

if TYPE_CHECKING:
    from plait.stores.shares import FileExchange

Durability = Literal["full", "normal"]
T = TypeVar("T")

BUSY_S = 5.0
"""How long a writer waits for another one's lock before it says so, and waits again."""

CHECKPOINT_BYTES = 8 * 1024 * 1024
"""The write-ahead log is copied back once it is this long."""

CHECKED_BYTES = 4 * 1024 * 1024
"""Files up to this size are checked whole when they are opened."""

CHECKPOINTING = 0
"""The lock of whoever checkpoints; run numbers begin at 1."""

REMOTE = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "lustre")
)
"""File systems over a network: their locks and their write-ahead logs cannot be relied on (F23, W15)."""

_open_stores: dict[tuple[int, tuple[int, int]], SqliteStore] = {}
"""By process, device and inode. There is one for each file: to open a file and close it, as looking at its head does, frees every
lock that SQLite holds on it in this process, and the next process to leave would take the log away from under us."""
_opening = threading.RLock()


def _in_child() -> None:
    """Whoever held the lock in the parent is not there to give it back."""
    global _opening
    _opening = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def open_sqlite(
    path: str | os.PathLike[str], durability: Durability | None = "full", *, create: bool = True
) -> SqliteStore:
    """The store in the file `path`, made if it is not there (unless `create` is false). One object for each file and process.

    Where it is open already the stronger durability holds from then on; None asks for none.

    Raises:
        StoreError: where that cannot be; StoreDamaged, StoreTooNew without touching the file.
    """
    if durability not in ("full", "normal", None):
        raise UsageError(f"durability must be full or normal, not {durability!r}")
    with _opening:
        real = os.path.realpath(path)
        file = identity_of(real)
        store = None
        if file is not None:
            _refuse_what_a_parent_has_open(real, file)
            store = _open_stores.get((os.getpid(), file))
        if store is None:
            store = SqliteStore(real, durability or "full", create)
            _open_stores[os.getpid(), store.file] = store
        elif durability == "full":
            store.durability = durability
        return store.share()


def _refuse_what_a_parent_has_open(path: str, file: tuple[int, int]) -> None:
    """Nothing, unless this process was forked from one that had this file open.

    SQLite's books say then that locks are held which only the parent holds: once the parent closes the file, what this process
    commits is lost (F22).
    """
    if any(pid != os.getpid() and other == file for pid, other in _open_stores):
        raise StoreError(
            f"the store {path} was open when this process was forked: fork before it is opened, or start processes by spawn or forkserver"
        )


class SqliteStore:
    """See `open_sqlite`."""

    def __init__(self, path: str, durability: Durability, create: bool) -> None:
        self.durability = durability
        self.users = 0
        self._path = path
        self._pid = os.getpid()
        # Beside a `plait.db`, which has its folder for itself; any other file has a folder of its own name for what lies beside it.
        self._folder = os.path.dirname(path) if os.path.basename(path) == "plait.db" else f"{path}.d"
        self._prepare(create)
        self._locks = Locks(os.path.join(self._folder, "locks"))
        self._epochs: dict[int, int] = {}  # of the claims whose locks are held, by run
        self._jobs: _Mailbox = _Mailbox()
        self._writer: threading.Thread | None = None
        self._starting = threading.Lock()
        self._failure: StoreError | None = None
        self._commits = 0
        self._warned_bytes = 16 * CHECKPOINT_BYTES
        there = os.stat(path)
        self.file = (there.st_dev, there.st_ino)
        self._log: int | None = None  # the inode of the log that we write to
        self._applied: Durability = durability
        self._values = Values(os.path.join(self._folder, "values"))
        self._generations: dict[int, int] = {}
        self._watching: sqlite3.Connection | None = None
        self._watch = threading.Lock()
        self._odd_notes: set[int] = set()  # that were told of

    def share(self) -> SqliteStore:
        """The same store for one more user, who closes it too."""
        with _opening:
            self.users += 1
            return self

    @property
    def where(self) -> str:
        """The path of the file."""
        return self._path

    @property
    def folder(self) -> str | None:
        """Where it lies."""
        return self._folder

    @property
    def exchange(self) -> FileExchange:
        """Where the runs of all processes that use the store share limits."""
        from plait.stores.shares import FileExchange  # few runs share any

        return FileExchange(os.path.join(self._folder, "shares"))

    # -- the file

    def _prepare(self, create: bool) -> None:
        """Nothing, if the file is a store that this plait may write; makes one where there is none."""
        remote = filesystem_of(self._path)
        if remote in REMOTE:
            raise StoreError(
                f"{self._path} is on a network file system ({remote}), whose locks cannot be relied on: keep the store on a local disk (--store PATH)"
            )
        try:
            if not os.path.exists(self._path):
                if not create:
                    raise StoreError(f"there is no store {self._path}")
                self._make_folder()
                self._make()
                return
            look_at(self._path)
        except OSError as error:
            raise StoreError(f"the store {self._path} cannot be opened: {error.strerror}") from None
        if self._check() < len(schema.MIGRATIONS):
            self._migrate()

    def _make_folder(self) -> None:
        """The folder, for its owner alone, with a note to git that it is no part of a project."""
        fresh = folder_made(self._folder)
        folder_made(os.path.dirname(self._path))
        if fresh:
            with open(os.open(os.path.join(self._folder, ".gitignore"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write("*\n")

    def _make(self) -> None:
        """A whole store, or none: it gets its name once it is complete; whoever names one first has made it."""
        remove_unfinished(self._path)
        temporary = f"{self._path}.new-{os.getpid()}-{threading.get_ident()}"
        os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        try:
            with _named(self._path), contextlib.closing(_connected(temporary)) as made:
                made.execute("PRAGMA synchronous=OFF")
                made.execute(f"PRAGMA application_id={schema.APPLICATION}")
                for version in range(len(schema.MIGRATIONS)):
                    _step(made, version, temporary)
                made.execute("PRAGMA journal_mode=WAL")
            synced(temporary)
            points.reach("rename store")
            refuse_a_log_without_its_store(self._path)
            try:
                os.link(temporary, self._path)
            except FileExistsError:
                pass
            synced(os.path.dirname(self._path))
        finally:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    os.unlink(temporary + suffix)

    def _check(self) -> int:
        """The schema's version. A migration may stand in the log while the head of the file is as it was."""
        small = os.path.getsize(self._path) <= CHECKED_BYTES
        with self._reading() as db:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0] if small else "ok"
            version: int = db.execute("PRAGMA user_version").fetchone()[0]
            foreign = db.execute("SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone()
        if found != "ok":
            raise StoreDamaged(f"the store {self._path} is damaged ({found.splitlines()[0][:100]}): it was not touched")
        refuse_newer(self._path, version)
        if foreign is not None:
            # Code that would run with our statements.
            raise StoreDamaged(
                f"the store {self._path} holds {foreign[0]!r:.80}, which plait did not make: it was not touched"
            )
        return version

    def _migrate(self) -> None:
        with _named(self._path), contextlib.closing(self._connected()) as db:
            for version in range(db.execute("PRAGMA user_version").fetchone()[0], len(schema.MIGRATIONS)):
                _step(db, version, self._path)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _connected(self) -> sqlite3.Connection:
        db = _connected(self._path)
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute(f"PRAGMA synchronous={'FULL' if self.durability == 'full' else 'NORMAL'}")
        return db

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that can only read, on one snapshot of its own."""
        self._refuse_a_forked_child()
        with _named(self._path):
            # A reader that is the last to close would checkpoint, were it not read-only.
            db = _connected(self._path, "ro")
            try:
                db.execute("BEGIN")
                yield db
            finally:
                db.close()

    @contextlib.contextmanager
    def _glancing(self) -> Iterator[sqlite3.Connection]:
        """A connection that can only read, and is kept: for one short statement, outside of transactions."""
        self._refuse_a_forked_child()
        if identity_of(self._path) != self.file:
            raise StoreError(f"the store {self._path} was deleted or replaced while it was in use")
        with self._watch, _named(self._path):
            if self._watching is None:
                self._watching = _connected(self._path, "ro")
            yield self._watching

    # -- the writer thread

    def _enqueue(self, job: Append | _Call) -> None:
        self._refuse_a_forked_child()
        if self._writer is None:
            with self._starting:
                if self._writer is None:
                    self._writer = threading.Thread(target=self._serve, name="plait-store", daemon=True)
                    self._writer.start()
        self._jobs.put(job)

    def _refuse_a_forked_child(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(f"a forked child must not use its parent's store {self._path}")

    def _called(self, what: Callable[[sqlite3.Connection], T]) -> T:
        """What `what` gives in a transaction of its own, in the writer thread."""
        call = _Call(what)
        self._enqueue(call)
        call.over.wait()
        if call.error is not None:
            raise call.error
        return call.value  # type: ignore[no-any-return]

    def _serve(self) -> None:
        db: sqlite3.Connection | None = None
        following: list[Append | _Call | None] = []
        while (job := following.pop() if following else self._jobs.get()) is not None:
            if db is None:
                try:
                    with _named(self._path):
                        db = self._connected()
                except Exception as error:
                    _tell(job, error)
                    continue
            if self._applied != self.durability:
                db.execute(f"PRAGMA synchronous={self.durability.upper()}")
                self._applied = self.durability
            if isinstance(job, _Call):
                self._carry_out(db, job)
                continue
            batches = [job]
            while self._jobs.holds and not following:
                later = self._jobs.get()
                (batches if isinstance(later, Append) else following).append(later)  # type: ignore[arg-type]
            self._commit(db, batches)
            self._commits += 1
            if not self._commits % 64:
                self._checkpoint(db, least=CHECKPOINT_BYTES)
        if db is not None:
            self._checkpoint(db)
            db.close()

    def _carry_out(self, db: sqlite3.Connection, call: _Call) -> None:
        try:
            with _named(self._path), self._transaction(db):
                call.value = call.what(db)
        except BaseException as error:
            call.error = error
        call.over.set()

    def _commit(self, db: sqlite3.Connection, batches: list[Append]) -> None:
        """Commits batches in one transaction; those of a run that another process took over are rejected."""
        before = [batch.claim.sequence for batch in batches]
        rejected: list[BaseException | None] = []
        try:
            if self._failure is not None:
                raise self._failure
            points.reach("before commit")
            with _named(self._path), self._transaction(db):
                rejected = [self._write(db, batch) for batch in batches]
            points.reach("after commit")
        except BaseException as error:
            for batch, sequence in zip(batches, before, strict=True):
                batch.claim.sequence = sequence
            if isinstance(error, StoreError):
                self._failure = error  # what is in doubt is never taken for done
            elif len(batches) > 1:
                for batch in batches:  # one of them cannot be written: the others are
                    self._commit(db, [batch])
                return
            for batch in batches:
                batch.claim.failure = error
                tell(batch, error)
            return
        for batch, refusal in zip(batches, rejected, strict=True):
            if refusal is None and batch.final is not None:
                self._free(batch.claim)
            tell(batch, refusal)

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        self._refuse_a_deleted_file()
        _begin(db, self._path)
        try:
            yield
            points.reach("in commit")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
            raise

    def _refuse_a_deleted_file(self) -> None:
        """SQLite goes on writing into a file, or a log, that has no name any more: nobody would find it (F34)."""
        if identity_of(self._path) != self.file:
            raise StoreError(f"the store {self._path} was deleted or replaced while it was in use")
        try:
            log_file = os.stat(self._path + "-wal").st_ino
        except OSError:
            log_file = None
        if self._log is not None and log_file != self._log:
            raise StoreError(f"the log of the store {self._path} was deleted or replaced while it was in use")
        self._log = log_file

    def _write(self, db: sqlite3.Connection, batch: Append) -> BaseException | None:
        """Writes one batch; why not, if its run has another owner now, or lacks what came before."""
        claim = batch.claim
        if claim.failure is not None:
            return claim.failure
        found = db.execute("SELECT epoch FROM runs WHERE number=?", (claim.number,)).fetchone()
        if found is None or found[0] != claim.epoch:
            claim.lost = True
            return taken_over(claim)
        if batch.records:
            blobs: list[str] = []
            data = self._encoded(batch.records, blobs, len(batch.records))
            claim.sequence += 1
            row = (claim.number, claim.generation, claim.sequence, crc32(data), data)
            db.execute("INSERT INTO journal VALUES (?,?,?,?,?)", row)
            self._refer(db, claim.number, blobs)
        if batch.verdicts:
            inbox.settle(db, claim.number, batch.verdicts)
        if batch.final is not None:
            final = (
                batch.final["status"],
                batch.final["ended_at"],
                encode(batch.final["summary"]).decode(),
            )
            db.execute(
                "UPDATE runs SET status=?, ended_at=?, summary=?, owner_pid=NULL, owner_started=NULL, owner_boot=NULL WHERE number=?",
                (*final, claim.number),
            )
            inbox.close(db, claim.number, notes.closed_by_an_end(batch.final["status"]))
        if batch.learned:
            _learn(db, batch.learned)
        return None

    # -- large values

    def _encoded(self, data: Any, blobs: list[str], size: int) -> bytes:
        """Plain data as JSON; every Blob in it goes to its file, and its name to `blobs`."""
        return encode(data, lambda thing: self._kept(thing, blobs), size=size)

    def _refer(self, db: sqlite3.Connection, run: int, blobs: list[str]) -> None:
        if blobs:
            db.executemany("INSERT OR IGNORE INTO blobs VALUES (?,?)", [(run, name) for name in blobs])

    def _kept(self, thing: Any, blobs: list[str]) -> Any:
        """What stands in the journal for a Blob: the hash that names its file; its bytes, where no file can be opened."""
        if not isinstance(thing, Blob):
            raise NotImplementedError(f"{type(thing)} in a journal")
        try:
            name = self._values.keep(thing.data, sync=self.durability == "full")
        except OSError as error:
            if error.errno not in (errno.ENFILE, errno.EMFILE):
                raise StoreError(
                    f"the store {self._path} cannot keep a value of {len(thing.data):,} bytes: {error.strerror}"
                ) from None
            return {"inline": thing.data}
        blobs.append(name)
        return name

    def blob(self, name: str) -> bytes:
        """The bytes of a value."""
        try:
            return self._values.read(name)
        except OSError as error:
            raise StoreDamaged(
                f"the value {name[:16]} of the store {self._path} is missing: {error.strerror}"
            ) from None
        except ValueError as error:
            raise StoreDamaged(f"the store {self._path} is damaged: {error}") from None

    # -- the write-ahead log

    def _checkpoint(self, db: sqlite3.Connection, least: int = 0) -> None:
        """Copies the log back into the file once it is long. Only one process at a time, and nobody writes meanwhile."""
        try:
            size = os.stat(self._path + "-wal").st_size
        except OSError:
            return
        if size <= least or self._failure is not None:
            return
        try:
            if self._locks.take(CHECKPOINTING) is not None:
                return
            db.execute("PRAGMA busy_timeout=0")
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy and size > self._warned_bytes:
                self._warned_bytes = 2 * size
                log.warning(
                    "the log of the store %s has %d MB, for a reader holds an old snapshot: close it",
                    self._path,
                    size >> 20,
                )
        except (sqlite3.Error, StoreError):
            pass  # the next one will do; nothing depends on it
        finally:
            self._locks.free(CHECKPOINTING)
            with contextlib.suppress(sqlite3.Error):
                db.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")

    # -- owning runs

    def create(self, new: NewRun) -> Claim:
        """Stores a run and all its tasks in one transaction, owned by this process."""
        me = this_process().row()

        def insert(db: sqlite3.Connection) -> Claim:
            run_id = new.id or _fresh_id(db)
            columns = (
                run_id,
                new.name,
                "running",
                new.wall,
                1,
                1,
                *me,
                new.tasks,
                "{}",
                new.forked_from,
                FORMAT,
                __version__,
            )
            try:
                number = db.execute(
                    "INSERT INTO runs (id, name, status, created_at, generation, epoch, owner_pid, owner_started, owner_boot, tasks,"
                    " summary, forked_from, format, version) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    columns,
                ).lastrowid
            except sqlite3.IntegrityError:
                raise UsageError(f"there is a run {run_id} already: resume it, or choose another id") from None
            assert number is not None
            self._insert_generation(db, number, 1, new.wall, new.definition, new.structure, new.tasks)
            self._locks.take(number)
            taken.append(number)
            return Claim(number, run_id, 1, 1)

        taken: list[int] = []
        points.reach("create run")
        try:
            claim = self._called(insert)
        except BaseException:
            for number in taken:  # it will be another run's
                self._locks.free(number)
            raise
        self._epochs[claim.number] = claim.epoch
        return claim

    def claim(self, run: RunInfo) -> Claim:
        """Takes over a run that no living process owns."""
        self._refuse_a_forked_child()
        self._lock(run)
        me = this_process().row()

        def take(db: sqlite3.Connection) -> Claim:
            now = self._unowned(db, run)
            db.execute(
                "UPDATE runs SET epoch=epoch+1, owner_pid=?, owner_started=?, owner_boot=? WHERE number=?",
                (*me, run.number),
            )
            if now.format in READABLE:
                db.execute("UPDATE runs SET format=?, version=? WHERE number=?", (FORMAT, __version__, run.number))
            db.execute("UPDATE runs SET summary='{}' WHERE number=? AND status='running'", (run.number,))
            last = db.execute(
                "SELECT coalesce(max(sequence), 0) FROM journal WHERE run=? AND generation=?",
                (run.number, now.generation),
            ).fetchone()[0]
            return Claim(run.number, run.id, now.epoch + 1, now.generation, last)

        try:
            claim = self._called(take)
        except BaseException:
            self._locks.free(run.number)
            raise
        self._epochs[claim.number] = claim.epoch
        return claim

    def _lock(self, run: RunInfo) -> None:
        """Takes the lock of a run."""
        folder_made(self._folder)  # the file alone may have been moved here
        holder = self._locks.take(run.number)
        if holder is not None:
            raise owned(run, holder or (run.owner.pid if run.owner else 0))

    def _unowned(self, db: sqlite3.Connection, run: RunInfo) -> RunInfo:
        """The run as it stands, if nobody else owns it. We have its lock, but the file of the locks may be another one (F18)."""
        now = run_of(db, run.number)
        if now.format < 0:
            raise StoreDamaged(f"run {now.id} is damaged in {self._path}: its line in the list of runs cannot be read")
        if now.owner is not None and now.owner != this_process() and alive(now.owner):
            raise owned(now, now.owner.pid)
        return now

    def _insert_generation(
        self, db: sqlite3.Connection, run: int, number: int, wall: float, definition: Any, structure: Any, size: int
    ) -> None:
        blobs: list[str] = []
        parts = (self._encoded(definition, blobs, size), self._encoded(structure, blobs, size))
        db.execute("INSERT INTO generations VALUES (?,?,?,?,?,?)", (run, number, wall, checksum(*parts), *parts))
        self._refer(db, run, blobs)

    def begin_generation(self, claim: Claim, definition: Any, structure: Any, tasks: int, wall: float) -> None:
        """Begins another generation of a run that this process owns."""

        def begin(db: sqlite3.Connection) -> None:
            changed = db.execute(
                "UPDATE runs SET generation=generation+1, status='running', ended_at=NULL, summary='{}', tasks=? WHERE number=? AND epoch=?",
                (tasks, claim.number, claim.epoch),
            ).rowcount
            if not changed:
                raise taken_over(claim)
            self._insert_generation(db, claim.number, claim.generation + 1, wall, definition, structure, tasks)
            inbox.close(db, claim.number, notes.closed_by_a_generation())

        self._called(begin)
        claim.generation += 1
        claim.sequence = 0

    def append(self, batch: Append) -> None:
        """Queues a batch."""
        self._enqueue(batch)

    def release(self, claim: Claim, standing: Mapping[str, Any] | None = None) -> None:
        """Gives the run up, after everything that was appended; `standing` becomes its `summary`, unless it is over."""

        def let_go(db: sqlite3.Connection) -> None:
            mine = (claim.number, claim.epoch)
            db.execute(
                "UPDATE runs SET owner_pid=NULL, owner_started=NULL, owner_boot=NULL WHERE number=? AND epoch=?", mine
            )
            if standing is not None:
                text = encode(standing).decode()
                db.execute("UPDATE runs SET summary=? WHERE number=? AND epoch=? AND status='running'", (text, *mine))

        try:
            if self._failure is None and not claim.lost:
                self._called(let_go)
        except StoreError:
            pass  # the lock alone says who owns it
        finally:
            self._free(claim)

    def _free(self, claim: Claim) -> None:
        """Frees the lock of a run, unless it is that of a later claim by now."""
        if self._epochs.get(claim.number) == claim.epoch:
            del self._epochs[claim.number]
            self._locks.free(claim.number)

    # -- notes for whoever drives a run

    def leave_note(
        self,
        run: RunInfo,
        kind: str,
        key: str | None,
        data: Any,
        by: str | None,
        at: float,
        generation: int | None = None,
    ) -> Note:
        """Leaves a note for whoever drives the run, now or later: on record once this returns."""
        text = notes.written(kind, key, data, by, at)
        return self._called(lambda db: inbox.leave(db, run, kind, key, text, by, at, generation))

    def notes(self, run_number: int) -> list[Note]:
        """Notes for a run of which nobody has said what became of them, the oldest first."""
        with self._glancing() as db:
            return inbox.not_looked_at(db, run_number, self._warn_of_a_note)

    def _warn_of_a_note(self, number: int) -> None:
        if number not in self._odd_notes:
            self._odd_notes.add(number)
            log.warning("note %d in the store %s cannot be read: it is left aside", number, self._path)

    def verdict(self, note_id: int) -> Mapping[str, Any] | None:
        """What became of a note; None while nobody has said it."""
        with self._glancing() as db:
            return inbox.verdict_on(db, note_id, self._path)

    def withdraw_note(self, note_id: int) -> bool:
        """Takes a note back; false where something was said of it before."""
        return self._called(lambda db: inbox.withdraw(db, note_id))

    def data_version(self) -> int:
        """Another number than before if something was committed meanwhile, by this process or another."""
        with self._glancing() as db:
            return int(db.execute("PRAGMA data_version").fetchone()[0])

    # -- reading

    def runs(self) -> list[RunInfo]:
        """All runs, the oldest first."""
        with self._reading() as db:
            return [info_of(row) for row in db.execute(f"SELECT {COLUMNS} FROM runs ORDER BY number")]

    def find(self, text: str) -> RunInfo:
        """The run with that id, the only one whose id begins so, or the `last`."""
        found = last_of(self.runs(), text) if text else []
        if not found:
            raise RunNotFound(f"there is no run {text!r} in {self._path}: `plait ls` lists them")
        if len(found) > 1:
            several = ", ".join(run.id for run in found[:5])
            raise RunNotFound(f"{len(found)} runs begin with {text!r}: {several}{' ...' if len(found) > 5 else ''}")
        return found[0]

    def generation(self, run: RunInfo, number: int) -> Generation:
        """One generation of a run."""
        with self._reading() as db:
            row = db.execute(
                "SELECT definition, structure, wall, crc FROM generations WHERE run=? AND number=?",
                (run.number, number),
            ).fetchone()
        if row is None:
            raise StoreDamaged(f"generation {number} of run {run.id} is missing in {self._path}")
        definition, structure, wall, crc = row
        try:
            if crc == checksum(definition, structure):
                return Generation(number, definition, structure, moment(wall))
        except (TypeError, ValueError):
            pass
        raise StoreDamaged(f"generation {number} of run {run.id} in {self._path} is damaged")

    def journal(self, run: RunInfo, generation: int, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """The batches behind number `after`, with their numbers, as they stand now: only whole transactions."""
        expected = after
        with self._reading() as db:
            rows = db.execute(
                "SELECT sequence, crc, data FROM journal WHERE run=? AND generation=? AND sequence>? ORDER BY sequence",
                (run.number, generation, after),
            )
            for sequence, crc, data in rows:
                expected += 1
                if sequence != expected or not isinstance(data, bytes) or crc32(data) != crc:
                    raise StoreDamaged(f"the journal of run {run.id} in {self._path} is damaged at batch {expected}")
                yield sequence, data

    def learned_of(self, prefix: str) -> dict[str, Learned]:
        """What is known of the tasks whose keys begin with `prefix`."""
        with self._reading() as db:
            # No LIKE: a name may hold its wildcards.
            rows = db.execute(
                "SELECT key, seconds, number, children FROM learned WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)
            )
            known = {key: learned_in(rest) for key, *rest in rows}
        return {key: each for key, each in known.items() if each is not None}

    # -- letting go

    def delete(self, runs: Sequence[RunInfo]) -> None:
        """Forgets runs that nobody owns, all or none, but for those that an unfinished fork takes over from."""
        locked: list[int] = []

        def forget(db: sqlite3.Connection) -> None:
            needed = needed_by_forks(db.execute("SELECT id, status, forked_from FROM runs").fetchall())
            numbers = [(run.number,) for run in runs if run.id not in needed]
            for run in runs:
                self._lock(run)
                locked.append(run.number)
                with contextlib.suppress(RunNotFound, StoreDamaged):
                    self._unowned(db, run)
            for table in ("journal", "generations", "blobs", "inbox"):
                db.executemany(f"DELETE FROM {table} WHERE run=?", numbers)
            db.executemany("DELETE FROM runs WHERE number=?", numbers)

        try:
            self._called(forget)
        finally:
            for number in locked:
                self._locks.free(number)

    def sweep(self) -> tuple[int, int]:
        """Removes blobs and logs that no run refers to, and bells of runs that nobody drives: how many files, and bytes, the first had."""
        from plait.stores.bells import clear_up  # few programs sweep

        def remove(db: sqlite3.Connection) -> tuple[int, int]:
            # With the write lock held: nobody can refer meanwhile to what is about to go.
            named = {name for (name,) in db.execute("SELECT name FROM blobs")}
            ids = {name for (name,) in db.execute("SELECT id FROM runs")}
            files = size = 0
            below = {name: os.path.join(self._folder, name) for name in ("values", "logs")}
            values = [path for path in files_below(below["values"]) if os.path.basename(path) not in named]
            logs = [path for path in files_below(below["logs"]) if os.path.basename(os.path.dirname(path)) not in ids]
            for path in (*values, *logs):
                with contextlib.suppress(OSError):
                    bytes_there = os.lstat(path).st_size
                    os.unlink(path)
                    files, size = files + 1, size + bytes_there
            for folder in (*folders_below(below["values"]), *folders_below(below["logs"])):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)  # only where nothing is in it
            # Who claims a run has a bell once that is committed, so after us.
            clear_up(self._folder, self._locks.held)
            return files, size

        return self._called(remove)

    def close(self) -> None:
        """Lets go of the store once everything queued is committed; the last user's call counts."""
        with _opening:  # to the end: nobody may look at the file while our connection is there
            self.users -= 1
            if self.users > 0:
                return
            writer, self._writer = self._writer, None
            if os.getpid() == self._pid:  # a forked child leaves its parent's connections alone
                with self._watch:
                    if self._watching is not None:
                        self._watching.close()
                        self._watching = None
                if writer is not None:
                    self._jobs.put(None)
                    writer.join()
            if _open_stores.get((self._pid, self.file)) is self:
                del _open_stores[self._pid, self.file]


class _Mailbox:
    """Jobs for one thread, in order: what of `queue` is needed here, without what it makes every program with a store wait for."""

    def __init__(self) -> None:
        self.holds: deque[Append | _Call | None] = deque()
        self._awake = threading.Lock()
        self._awake.acquire()

    def put(self, job: Append | _Call | None) -> None:
        self.holds.append(job)
        with contextlib.suppress(RuntimeError):  # it was woken before
            self._awake.release()

    def get(self) -> Append | _Call | None:
        """The next job; waits for it. For one thread only."""
        while not self.holds:
            self._awake.acquire()
        return self.holds.popleft()


class _Call:
    """Something that is to happen in the writer thread."""

    def __init__(self, what: Callable[[sqlite3.Connection], Any]) -> None:
        self.what = what
        self.value: Any = None
        self.error: BaseException | None = None
        self.over = threading.Event()


def _tell(job: Append | _Call, error: BaseException) -> None:
    if isinstance(job, _Call):
        job.error = error
        job.over.set()
    else:
        job.claim.failure = error
        tell(job, error)


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """SQLite's errors as ours, with the file's name and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(path, error) from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which quotes what is in the file
        raise StoreDamaged(f"the store {path} is damaged: {error}") from error


def _translated(path: str, error: sqlite3.Error) -> StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return StoreError(f"the disk of the store {path} is full: make room, then resume")
    if name.startswith("SQLITE_IOERR"):
        return StoreError(f"the store {path} cannot be written or read ({name}): see to its disk, then resume")
    if name in ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_READONLY_DIRECTORY", "SQLITE_PERM", "SQLITE_AUTH"):
        return StoreError(f"the store {path} cannot be opened for writing ({name}): check the folder's rights")
    # Our statements fit our tables: SQLITE_ERROR is what others make of them.
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_ERROR")) or (
        isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    ):
        return StoreDamaged(f"the store {path} is damaged: {error}")
    return StoreError(f"the store {path}: {error}")


def _is_full(path: str) -> bool:
    try:
        room = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < 64 * 1024


def _connected(path: str, mode: str = "rw") -> sqlite3.Connection:
    """A connection to a file that is there; text in it that is none is shown with replacement."""
    db = sqlite3.connect(
        f"file:{_quoted(path)}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_S,
        check_same_thread=False,
        cached_statements=32,
    )
    db.text_factory = lambda data: data.decode(errors="replace")
    return db


def _quoted(path: str) -> str:
    """`path` as it stands in a URI."""
    if path.isascii() and path.translate(_PLAIN_MARKS).isalnum():
        return path  # the library for the others costs every program with a store two milliseconds
    from urllib.parse import quote

    return quote(os.fsencode(path))


_PLAIN_MARKS = str.maketrans("", "", "/._-")


def _begin(db: sqlite3.Connection, path: str) -> None:
    """Takes the write lock; waits for whoever has it, and says so (F19, F20)."""
    waited = 0.0
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
            waited += BUSY_S
            log.warning("the store %s has been locked by another process for %.0f s: waiting", path, waited)


def _step(db: sqlite3.Connection, version: int, path: str) -> None:
    """One migration, whole or not at all."""
    _begin(db, path)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == version:
            for statement in schema.MIGRATIONS[version]:
                db.execute(statement)
                points.reach("migrate")
            db.execute(f"PRAGMA user_version={version + 1}")
        points.reach("in commit")
        db.execute("COMMIT")
        points.reach("migrated")
    except BaseException:
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


def _fresh_id(db: sqlite3.Connection) -> str:
    while True:
        run_id = os.urandom(4).hex()
        if db.execute("SELECT 1 FROM runs WHERE id=?", (run_id,)).fetchone() is None:
            return run_id


def _learn(db: sqlite3.Connection, learned: Mapping[str, Learned]) -> None:
    """Folds what a run showed into what is known."""
    for key, new in learned.items():
        row = db.execute("SELECT seconds, number, children FROM learned WHERE key=?", (key,)).fetchone()
        db.execute("INSERT OR REPLACE INTO learned VALUES (?,?,?,?)", (key, *folded(learned_in(row), new).row()))
