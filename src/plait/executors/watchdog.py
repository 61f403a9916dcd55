"""Somebody who outlives us: ends the process groups of our commands when we are killed (W9).

A process of our own would take longer to start than most commands take to run: it is a shell that waits, and costs a millisecond.
"""

from __future__ import annotations

import mmap
import os
import signal

from plait.logs import log

GRACE_S = 1
"""Between TERM and KILL for what our death leaves behind."""

# It reads a pipe that nobody writes to, whose other end closes when we are gone; then the table, a group in each line.
_SCRIPT = f"""
trap '' HUP INT QUIT TERM
read -r _
while read -r group; do
    [ "$group" -gt 1 ] && groups="$groups -$group"
done <&3
[ -n "$groups" ] || exit
kill -s TERM -- $groups
kill -s CONT -- $groups
sleep {GRACE_S}
kill -s KILL -- $groups
"""

_WIDTH, _BYTES = 12, 4096
_NOBODY = b"%-*d\n" % (_WIDTH - 1, 0)
"""Of a line of the table, and of the table in the beginning."""


class Watchdog:
    """Knows which groups live; begins with the first one. A group is told before its leader is reaped: its number may be another's then.

    Whom somebody kills together with us, or between the start of a command and `add`, is not helped: a resumed run ends what is left.
    """

    enabled = True

    def __init__(self) -> None:
        self.pid = 0
        self._pipe = self._pidfd = -1
        self._memory: mmap.mmap | None = None
        self._places: dict[int, int] = {}
        self._free: list[int] = []
        self._size = 0

    def add(self, group: int) -> None:
        """Has a group ended when we are gone."""
        if not self.pid and not self._begin():
            return
        if self._free:
            place = self._free.pop()
        elif not self._has_room():
            return
        else:
            place, self._size = self._size, self._size + 1
        self._places[group] = place
        self._write(place, group)

    def remove(self, group: int) -> None:
        """The group ended."""
        place = self._places.pop(group, None)
        if place is not None:
            self._write(place, 0)
            self._free.append(place)

    def close(self) -> None:
        """All groups ended, and so does the watchdog."""
        if self.pid > 0:
            self._kill()
            try:
                os.waitpid(self.pid, 0)
            except ChildProcessError:
                pass  # the program waits for any child that it has
            os.close(self._pipe)
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        self.pid = 0
        self._places.clear()

    def _kill(self) -> None:
        """By what tells it from a later process of the same number: the program may have waited for it."""
        try:
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # somebody else killed it

    def _write(self, place: int, group: int) -> None:
        assert self._memory is not None
        at = place * _WIDTH
        self._memory[at : at + _WIDTH] = b"%-*d\n" % (_WIDTH - 1, group) if group else _NOBODY

    def _has_room(self) -> bool:
        """Is there a place more, or can one be made?"""
        assert self._memory is not None
        end = self._size * _WIDTH
        if end + _WIDTH > len(self._memory):
            try:
                self._memory.resize(len(self._memory) * 2)
            except (OSError, SystemError):  # no memory left; on macOS never
                return False
            _clear(self._memory, end)
        return True

    def _begin(self) -> bool:
        if not self.enabled:
            return False
        fds: list[int] = []
        try:
            ours, theirs = os.pipe()[::-1]
            fds += (ours, theirs)
            table = _table()
            fds.append(table)
            os.ftruncate(table, _BYTES)
            self._memory = mmap.mmap(table, _BYTES)
            _clear(self._memory, 0)
            actions = (
                (os.POSIX_SPAWN_DUP2, theirs, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, table, 3),
            )
            self.pid = os.posix_spawn(
                "/bin/sh", ("sh", "-c", _SCRIPT), {"PATH": os.defpath}, file_actions=actions, setpgroup=0
            )
        except OSError as error:
            for fd in fds:
                os.close(fd)
            log.warning("commands would outlive this process if it were killed: no watchdog: %s", error.strerror)
            self.enabled = False
            return False
        os.close(theirs)
        os.close(table)  # it stays while it is mapped
        self._pipe = ours
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._pidfd = -1  # none here, or no room for it
        return True


def _clear(memory: mmap.mmap, first: int) -> None:
    """Lines without a group from `first` on."""
    memory[first:] = b"\n" * (len(memory) - first)


def _table() -> int:
    """A file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("plait-groups")
    import tempfile  # which takes longer than all else that a command needs

    fd, path = tempfile.mkstemp()
    os.unlink(path)
    return fd
