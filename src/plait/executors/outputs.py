"""What a command writes to one of its streams: through a pipe, or into a file that its run keeps."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from plait.logs import log

if TYPE_CHECKING:
    from plait.redaction import Filter

_PIPE_BYTES = 64 * 1024
"""What a pipe holds, and what is read from one (or a file) at a time."""

LATEST_BYTES = 1024
"""So much of the end of what was written is shown while a command runs."""

_LAST_READS = 16
"""The last content of a pipe, once its command is over: so much at most, for somebody who left the group may write on."""


STEADY_S = 0.05
"""A clock that went by so much more or less than another one was set."""


_write = os.write

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


class Dated:
    """When a file was written last. Its date is that of a clock which may be set: then it is as late as it may have been."""

    __slots__ = ("_ahead", "_heard", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._heard = 0.0
        self._ahead = time.time() - time.monotonic()

    def heard_by(self, fd: int, now: float) -> float:
        """When something was written last, on the clock that says `now`; 0 if nothing was."""
        found = os.fstat(fd)
        if found.st_size != self._size:
            wall = time.time()
            ahead = wall - time.monotonic()
            steady = abs(ahead - self._ahead) < STEADY_S
            self._heard = now - max(0.0, wall - found.st_mtime) if steady else now
            self._size, self._ahead = found.st_size, ahead
        return self._heard


class Stream:
    """The first bytes of what was written (`data`), and how many there were (`size`)."""

    __slots__ = ("_most", "data", "end", "fd", "heard", "shown", "size")

    piped = False
    """Does it come through a pipe?"""

    def __init__(self, most: int, fd: int, end: int) -> None:
        self._most = most
        self.data: bytes | bytearray = b""
        self.size = 0
        self.fd = fd
        """To be watched: it is to be read when something is there. -1: nothing is."""
        self.end = end
        """What the command gets."""
        self.heard = 0.0
        """When something was seen in it, on the clock of whoever reads it; 0 before."""
        self.shown = False
        """Is all of it wanted as it comes, by `more`? To be said before anything is written."""

    def started(self) -> None:
        """The command has its end."""

    def read(self) -> bool:
        """Takes what is there; false at the end, and where nothing is."""
        return False

    def heard_by(self, now: float) -> float:
        """When something was written last, as late as it may have been; 0 if nothing was."""
        if self.fd >= 0 and self.read():
            self.heard = now  # at some time since somebody read it
        return self.heard

    def latest(self) -> bytes:
        """The end of what was written so far."""
        return bytes(self.data[-LATEST_BYTES:])

    def more(self) -> bytes:
        """Of what is `shown` that which was written since this was asked last, or the first part of it; nothing at its end."""
        return b""

    def finish(self) -> None:
        """The command is over: takes what is left."""

    def close(self) -> None:
        """Lets go of the descriptors."""
        if self.fd >= 0:
            os.close(self.fd)
        if self.end >= 0:
            os.close(self.end)
        self.fd = self.end = -1


class Pipe(Stream):
    """A pipe that is emptied as it fills: nothing is written to a disk, and whoever holds it after the command's end holds nobody up."""

    __slots__ = ("_fresh", "_recent")
    piped = True

    def __init__(self, most: int = 0) -> None:
        super().__init__(most, *os.pipe())
        self.data = bytearray()
        self._recent = b""  # the end of what is over the cap
        self._fresh: list[bytes] = []  # what is shown, and was not asked for yet
        try:
            os.set_blocking(self.fd, False)
        except OSError:
            self.close()
            raise

    def keeps(self, most: int) -> Pipe:
        """It, for a command of whose output so much is kept."""
        self._most = most
        return self

    def started(self) -> None:
        os.close(self.end)
        self.end = -1

    def read(self) -> bool:
        try:
            data = os.read(self.fd, _PIPE_BYTES)
        except BlockingIOError:
            return False
        self._take(data)
        return bool(data)

    def _take(self, data: bytes) -> None:
        """Keeps what was written."""
        if self.size < self._most:
            self.data += data[: self._most - self.size]
        else:
            self._recent = data[-LATEST_BYTES:] or self._recent
        self.size += len(data)
        if self.shown and data:
            self._fresh.append(data)

    def more(self) -> bytes:
        return self._fresh.pop(0) if self._fresh else b""

    def latest(self) -> bytes:
        return self._recent or super().latest()

    def finish(self) -> None:
        for _ in range(_LAST_READS):
            if self.fd < 0 or not self.read():
                break


class Filtered(Pipe):
    """A pipe behind which secrets are taken out; what is left goes into a file, where the run keeps it."""

    __slots__ = ("_file", "_filter", "_path")

    def __init__(self, most: int, cleaner: Filter, path: str | None) -> None:
        self._filter = cleaner
        self._path = path
        self._file = -1 if path is None else os.open(path, _NEW_FILE, 0o600)
        try:
            super().__init__(most)
        except BaseException:
            self._close_file()
            raise

    def _take(self, data: bytes) -> None:
        self._keep(self._filter.feed(data) if data else self._filter.flush())

    def _keep(self, clean: bytes) -> None:
        super()._take(clean)
        try:
            while clean and self._file >= 0:
                clean = clean[_write(self._file, clean) :]
        except OSError as error:
            log.warning("what a command writes is not kept any further in %s: %s", self._path, error.strerror)
            self._close_file()

    def finish(self) -> None:
        super().finish()
        self._keep(self._filter.flush())
        if self._path is not None and not self.size:
            with suppress(OSError):
                os.unlink(self._path)  # as with `File`
        self._close_file()

    def close(self) -> None:
        super().close()
        if self._file >= 0:
            self._keep(self._filter.flush())
            self._close_file()

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class File(Stream):
    """A file for its owner alone. It is there while the command writes and after we are dead, and tells whose a command is."""

    __slots__ = ("_asked", "_dated", "_path")

    def __init__(self, most: int, path: str) -> None:
        super().__init__(most, -1, os.open(path, _NEW_FILE, 0o600))
        self._path = path
        self._dated = Dated()
        self._asked = 0  # so many bytes of it

    def latest(self) -> bytes:
        size = os.fstat(self.end).st_size
        return os.pread(self.end, LATEST_BYTES, max(0, size - LATEST_BYTES))

    def more(self) -> bytes:
        data = os.pread(self.end, _PIPE_BYTES, self._asked) if self.shown else b""
        self._asked += len(data)
        return data

    def heard_by(self, now: float) -> float:
        return self._dated.heard_by(self.end, now)

    def finish(self) -> None:
        self.size = os.fstat(self.end).st_size
        if not self.size:
            try:
                os.unlink(self._path)  # an empty file says no more than none
            except OSError:
                pass
            return
        data = bytearray()
        while len(data) < self._most and (more := os.pread(self.end, self._most - len(data), len(data))):
            data += more
        self.data = data
