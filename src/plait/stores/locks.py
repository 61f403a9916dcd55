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
    return Owner(pid, started_ticks(pid) or 0, _boot())


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
def _boot() -> str:
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
    return owner.boot == _boot() and started_ticks(owner.pid) == owner.started


class Locks:
    """The locks of one file, by number. They are freed by the kernel when this process ends, however it does.

    A process has one object for a file (`locks_of`): to the kernel all its locks there are of one holder, and go with the first
    descriptor that is closed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        self._held: set[int] = set()
        self._guard = threading.Lock()

    def take(self, number: int) -> int | None:
        """None if the lock is ours now; else the process that holds it."""
        if fcntl is None:
            raise StoreError(f"stored runs need locks that {sys.platform} does not have")
        with self._guard:
            if number in self._held:
                return os.getpid()
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise StoreError(f"{self._path} cannot be locked: {error.strerror}") from None
                holder = self._holder(number)
                self._close_unless_used()
                return holder
            self._held.add(number)
            return None

    def free(self, number: int) -> None:
        """Gives a lock back."""
        with self._guard:
            if number in self._held and self._fd is not None:
                self._held.discard(number)
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, number)
                self._close_unless_used()

    def _close_unless_used(self) -> None:
        if not self._held and self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _holder(self, number: int) -> int:
        # struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
        try:
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
            return int(struct.unpack("hhqqi4x", fcntl.fcntl(self._fd or 0, fcntl.F_GETLK, asked))[4])
        except (OSError, struct.error):
            return 0


_locks: dict[tuple[int, str], Locks] = {}
_making = threading.Lock()


def locks_of(path: str) -> Locks:
    """The locks of the file `path`: one object for each file and process."""
    with _making:
        return _locks.setdefault((os.getpid(), os.path.realpath(path)), Locks(path))
