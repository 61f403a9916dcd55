"""Files of a store: where they lie, what is in its head, folders and values that are there whole or not at all.

Paths are text: to import `pathlib` costs every program with a store milliseconds.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Iterator

from plait import points
from plait._version import __version__
from plait.errors import StoreDamaged, StoreError, StoreTooNew
from plait.stores import schema
from plait.stores.locks import started_ticks

MOUNTS = "/proc/self/mountinfo"


def filesystem_of(path: str, mounts: str = MOUNTS) -> str:
    """The type of the file system that holds `path`, as the kernel names it (`ext4`, `nfs4`); "" where nobody can say."""
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                fields = before.split()
                if len(fields) < 5 or not after:
                    continue
                point = fields[4]
                if "\\" in point:
                    point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, after.split()[0]
    except OSError:
        return ""
    return kind


def identity_of(path: str) -> tuple[int, int] | None:
    try:
        there = os.stat(path)
    except OSError:
        return None
    return there.st_dev, there.st_ino


def look_at(path: str) -> None:
    """Nothing, for what looks like a store, by its first page and without SQLite: a file that is refused is not touched.

    Raises:
        StoreDamaged, StoreTooNew: for a file that is no store, is cut short, or that a newer plait wrote.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise StoreDamaged(f"{path} is no file: a store is one (--store chooses another)")
    with open(path, "rb") as file:
        head = file.read(100)
        size = os.fstat(file.fileno()).st_size
    if len(head) < 100 or not head.startswith(b"SQLite format 3\x00"):
        raise StoreDamaged(f"{path} is no store of plait's: it was not touched (--store chooses another)")

    def number(at: int, length: int = 4) -> int:
        return int.from_bytes(head[at : at + length], "big")

    if number(68) != schema.APPLICATION or not number(60):
        raise StoreDamaged(
            f"{path} is a SQLite file, but no store of plait's: it was not touched (--store chooses another)"
        )
    page = number(16, 2)
    # Whoever dies while the log is copied back leaves a file that is shorter than its head says: the rest is in the log.
    logged = os.path.exists(path + "-wal") and os.path.getsize(path + "-wal")
    if not logged and number(24) == number(92) and size < number(28) * (65536 if page == 1 else page):
        raise StoreDamaged(
            f"the store {path} is cut short: {size:,} bytes are there, more were written; it was not touched"
        )
    refuse_newer(path, number(60))


def refuse_a_log_without_its_store(path: str) -> None:
    """SQLite would put what is in the log into the new file: pages of a store that somebody removed."""
    for beside in ("-wal", "-shm"):
        if os.path.exists(path + beside) and not os.path.exists(path):
            raise StoreError(
                f"{path} is gone, and its log {path}{beside} is still there: move that away to begin a new store"
            )


def refuse_newer(path: str, version: int, known: int | None = None, what: str = "store") -> None:
    known = len(schema.MIGRATIONS) if known is None else known
    if version > known:
        raise StoreTooNew(
            f"the {what} {path} has schema version {version}, and plait {__version__} reads up to {known}: "
            "upgrade plait; it was not touched"
        )


def remove_unfinished(path: str) -> None:
    """Removes what processes that died while they made the store `path` have left of it."""
    folder, name = os.path.split(path)
    for each in os.listdir(folder):
        if each.startswith(f"{name}.new-"):
            pid = each.removeprefix(f"{name}.new-").partition("-")[0]
            if pid.isdigit() and started_ticks(int(pid)) is None:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, each))


def synced(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def files_below(top: str) -> Iterator[str]:
    """What lies in the folders in `top`. A link may lead out of the store: it is one of the files, and is not followed (S21)."""
    for folder in folders_below(top):
        if os.path.islink(folder):
            yield folder
        else:
            yield from _inside(folder)


def folders_below(top: str) -> list[str]:
    """What lies in `top`, unless that is a link."""
    return [] if os.path.islink(top) else _inside(top)


def _inside(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError:
        return []  # it is not there, or is a file


def folder_made(path: str, *, sync: bool = True) -> bool:
    """Makes a folder for its owner alone, and those above it; false if it was there. With `sync` its name is on the disk, too."""
    if os.path.exists(path):
        return False
    above = os.path.dirname(path)
    folder_made(above, sync=sync)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    if sync:
        synced(above)
    return True


class Values:
    """Files below one folder, each under the hash of what is in it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._temporary = itertools.count()

    def keep(self, data: bytes, *, sync: bool) -> str:
        """Has `data` in its file, whole or not at all, and on the disk with `sync`; gives its name.

        Raises:
            OSError: where that cannot be.
        """
        from hashlib import sha256  # few programs have values that large: the rest need not wait for it

        name = sha256(data).hexdigest()
        path = self._path(name)
        if self._read(path) != data:  # what power was lost over may be there, and empty
            self._write(path, data, sync)
        return name

    def read(self, name: str) -> bytes:
        """What was kept under `name`; checked, for the name is its hash.

        Raises:
            ValueError: for what is no name, and for a file that holds something else.
            OSError: where it cannot be read.
        """
        from hashlib import sha256

        if not isinstance(name, str) or len(name) != 64 or not _HEX.issuperset(name):
            raise ValueError(f"{name!r:.80} names no value")
        with open(self._path(name), "rb") as file:
            data = file.read()
        if sha256(data).hexdigest() != name:
            raise ValueError(f"the value {name[:16]} is damaged")
        return data

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name[:2], name)

    def _read(self, path: str) -> bytes | None:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _write(self, path: str, data: bytes, sync: bool) -> None:
        folder = os.path.dirname(path)
        folder_made(folder, sync=sync)
        temporary = f"{path}.new-{os.getpid()}-{next(self._temporary)}"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            points.reach("rename value")
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # on a full disk its room is needed
            raise
        if sync:
            synced(folder)


_HEX = frozenset("0123456789abcdef")
