"""The bell of the process that drives a stored run: others leave a note in the store, and ring, so that nobody has to look for it.

A ring carries nothing. What counts is in the store, so a ring that is lost, made twice, or made by a stranger costs a look.
A bell is a unix datagram socket in the store's folder, under the number of the run: it is bound before the notes are first looked at,
and closed before the run is given up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from plait.stores.files import folder_made, folders_below

AT_ONCE = 1024
"""Rings that are heard at a time: whoever rings without end does not keep a run from its work."""

Sender = bytes
"""The address of somebody who rang."""

_bells: set[Bell] = set()
"""Of this process. A forked child has copies of their sockets: while it keeps them, a dead owner's bell would be rung at."""


def _in_child() -> None:
    for bell in list(_bells):
        bell._let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Bell:
    """The bell of run `number`, for the process that holds its lock: whatever lies in its place was left by an earlier one.

    Raises:
        OSError: where there can be none; whoever drives the run looks at the store from time to time instead.
    """

    def __init__(self, folder: str, number: int) -> None:
        self._path = os.path.join(folder, "bells", f"{number}.sock")
        self._socket: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        folder_made(os.path.dirname(self._path), sync=False)
        _bells.add(self)
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._bind(self._socket)
        except BaseException:
            self.close()
            raise

    def _bind(self, bell: socket.socket) -> None:
        folder, name = os.path.split(self._path)
        with _opened(folder) as handle:
            there = os.fstat(handle)
            if there.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "belongs to another user", folder)
            if there.st_mode & 0o077:
                os.fchmod(handle, 0o700)
            _removed(name, handle)
            bell.bind(_within(handle, folder, name))
            self._identity = _identity(os.stat(name, dir_fd=handle, follow_symlinks=False))
            os.chmod(name, 0o600, dir_fd=handle)

    def fileno(self) -> int:
        """What gets readable when somebody rings; -1 once the bell is closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def drain(self) -> list[Sender]:
        """Hears the rings there are, and gives those who can be answered."""
        found: dict[Sender, None] = {}
        for _ in range(AT_ONCE):
            if self._socket is None:
                break
            try:
                _, sender = self._socket.recvfrom(1)
            except OSError:  # no more
                break
            # A name in a file system may be that of anybody's socket by now.
            if isinstance(sender, bytes) and sender.startswith(b"\0"):
                found[sender] = None
        return list(found)

    def answer(self, senders: Iterable[Sender]) -> None:
        """Has those who rang look at the store: once what is said of their notes is committed.

        Whoever rings while a batch is on its way may ask for a note in it: it is to be answered when that is committed.
        """
        for sender in senders:
            if self._socket is not None:
                with contextlib.suppress(OSError):  # it waits no longer
                    self._socket.sendto(b".", sender)

    def close(self) -> None:
        """Nobody can ring any more."""
        # While the socket is open no other file can be the same one.
        with contextlib.suppress(OSError):
            if self._identity is not None and _identity(os.lstat(self._path)) == self._identity:
                os.unlink(self._path)
        self._let_go()

    def _let_go(self) -> None:
        _bells.discard(self)
        self._identity = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Ring:
    """Rings for whoever drives run `number` of the store in `folder`."""

    def __init__(self, folder: str, number: int) -> None:
        self._path = os.path.join(folder, "bells", f"{number}.sock")
        self._socket: socket.socket | None = None

    def ring(self) -> bool:
        """Did somebody hear it? False: nobody has a bell, so nobody drives the run, or whoever does looks at the store unasked.

        Raises:
            OSError: for want of descriptors or memory.
        """
        ringing = self._opened()
        folder, name = os.path.split(self._path)
        try:
            with _opened(folder) as handle:
                there = os.stat(name, dir_fd=handle, follow_symlinks=False)
                if not stat.S_ISSOCK(there.st_mode) or os.geteuid() not in (0, there.st_uid):
                    return False
                # From now on nobody else can answer. Anew each time: the run may have another owner by now.
                ringing.connect(_within(handle, folder, name))
                ringing.send(b".")
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            return error.errno in (errno.EAGAIN, errno.ENOBUFS)  # there are so many rings that it will be heard
        return True

    def _opened(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            if sys.platform == "linux":
                self._socket.bind("")  # the kernel gives an address that is in no folder, and goes with us
        return self._socket

    def wait(self, seconds: float) -> bool:
        """Waits for an answer: true at once when it comes, false after `seconds` without one."""
        until = time.monotonic() + seconds
        poll = select.poll()
        if self._socket is not None:
            poll.register(self._socket, select.POLLIN)
        while (left := until - time.monotonic()) > 0:
            if poll.poll(left * 1000) and self._answered():
                return True
        return self._answered()

    def _answered(self) -> bool:
        answers = 0
        with contextlib.suppress(OSError):  # no more
            while self._socket is not None and answers < AT_ONCE:
                self._socket.recv(1)
                answers += 1
        return answers > 0

    def close(self) -> None:
        """Waits for no answer any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def clear_up(folder: str, owned: Callable[[int], bool]) -> None:
    """Removes what owners that died have left in the store's folder. Nobody may claim a run meanwhile."""
    for path in folders_below(os.path.join(folder, "bells")):
        number = os.path.basename(path).removesuffix(".sock")
        if path.endswith(".sock") and number.isascii() and number.isdigit() and len(number) < 19:
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.lstat(path).st_mode) and not owned(int(number)):
                    os.unlink(path)


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int]:
    """The folder, and nothing that a link leads to."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _within(handle: int, folder: str, name: str) -> str:
    """A path of that name in the folder: of few characters where that can be had, for an address has room for 107 bytes."""
    short = f"/proc/self/fd/{handle}"
    return os.path.join(short if os.path.isdir(short) else folder, name)


def _removed(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError:
        os.rmdir(name, dir_fd=folder)  # it may be one; else, or where something is in it, this says why not


def _identity(there: os.stat_result) -> tuple[int, int]:
    return there.st_dev, there.st_ino
