"""Which process owns what: kernel locks that end with their holder, and names for processes that are not used again.

A lock is a byte of a file, by `fcntl.lockf`: unlike `flock` it does not pass to children that a task forked, which would keep a dead
owner's run locked for as long as they live.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
from functools import cache

from plait.errors import StoreError
from plait.stores.base import Owner

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]


def this_process() -> Owner:
    """The process that asks."""
    pid = os.getpid()
    return Owner(pid, started_ticks(pid) or 0, boot())


def started_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None if there is no such process, 0 if nobody can say."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        return None if os.path.exists("/proc/self/stat") or not _exists(pid) else 0
    except ProcessLookupError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@cache
def boot() -> str:
    """Which start of the machine this is, and which process namespace."""
    parts = []
    for path, read in (("/proc/sys/kernel/random/boot_id", _text), ("/proc/self/ns/pid", os.readlink)):
        try:
            parts.append(read(path))
        except OSError:
            parts.append("")
    return "/".join(parts)


def _text(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def alive(owner: Owner) -> bool:
    """Is that very process alive? One of another boot of the machine, or of a namespace that cannot be seen, is not."""
    return owner.boot == boot() and started_ticks(owner.pid) == owner.started


class _File:
    """The open file of some locks. To close it would free them all, so it stays open while one is held."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.held: set[int] = set()


_files: dict[tuple[int, int], _File] = {}
"""By device and inode, one for each file and process: the kernel frees a process's locks with the first handle that is closed."""
_guard = threading.Lock()


def _in_child() -> None:
    """A forked child holds no lock of its parent's."""
    global _guard
    _guard = threading.Lock()
    _files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Locks:
    """The locks of one store, by number, in one file. They are freed by the kernel when this process ends, however it does.

    What one `Locks` of this process holds is refused to every other, as it is to other processes.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._mine: dict[int, tuple[int, int]] = {}

    def take(self, number: int) -> int | None:
        """None if the lock is ours now; else the process that holds it, 0 where nobody can say which.

        Raises:
            StoreError: where there are no locks.
        """
        if fcntl is None:
            raise StoreError(f"stored runs need locks that {sys.platform} does not have")
        with _guard:
            if number in self._mine:
                return os.getpid()
            key = self._open()
            file = _files[key]
            if number in file.held:
                return os.getpid()
            try:
                fcntl.lockf(file.handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError as error:
                holder = _holder(file.handle, number)
                _let_go(key)
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise StoreError(f"{self._path} cannot be locked: {error.strerror}") from None
                return holder
            file.held.add(number)
            self._mine[number] = key
            return None

    def held(self, number: int) -> bool:
        """Does anybody hold the lock, in this process or another?"""
        with _guard:
            key = self._open()
            file = _files[key]
            if number in file.held:
                return True
            try:
                fcntl.lockf(file.handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
                fcntl.lockf(file.handle, fcntl.LOCK_UN, 1, number)
                return False
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise StoreError(f"{self._path} cannot be locked: {error.strerror}") from None
                return True
            finally:
                _let_go(key)

    def free(self, number: int) -> None:
        """Gives a lock back, if it is ours."""
        with _guard:
            key = self._mine.pop(number, None)
            if key is not None and key in _files:  # a forked child has no files
                fcntl.lockf(_files[key].handle, fcntl.LOCK_UN, 1, number)
                _files[key].held.discard(number)
                _let_go(key)

    def _open(self) -> tuple[int, int]:
        """Opens the file, unless some lock in it is held: then it is open."""
        try:
            key = _key(os.stat(self._path))
            if key in _files:
                return key
        except OSError:
            pass  # it is made, or its opening says why not
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be opened: {error.strerror}") from None
        key = _key(os.fstat(handle))
        _files.setdefault(key, _File(handle))
        return key


def _key(there: os.stat_result) -> tuple[int, int]:
    return there.st_dev, there.st_ino


def _let_go(key: tuple[int, int]) -> None:
    """Closes a file in which nothing is held: a process that runs for years opens many stores."""
    if not _files[key].held:
        os.close(_files.pop(key).handle)


def _holder(handle: int, number: int) -> int:
    # struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
    try:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
        return int(struct.unpack("hhqqi4x", fcntl.fcntl(handle, fcntl.F_GETLK, asked))[4])
    except (OSError, struct.error):
        return 0
