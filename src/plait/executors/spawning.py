"""A command is started: by the shortest way that the system has, in a process group of its own."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from plait import points
from plait.logs import log

if TYPE_CHECKING:
    from plait.executors.slices import Slice

_CODING = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""As `os.fsencode` does it, in a fifth of the time."""

_DEFAULTS = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)]
"""What Python ignores for itself, and a command is not to."""


FEW = 16
"""With the start of so many commands a short slice is asked for: that takes 2 ms, which fewer do not gain."""


class Spawner:
    """Starts commands, in one thread: `posix_spawn` takes a fifth of the time that `subprocess` takes in Python, and knows no folder."""

    def __init__(self) -> None:
        self._closing = _closing()
        self._few = FEW
        self._slice: Slice | None = None

    def close(self) -> None:
        """Nothing is to be started any more. To be called in the thread that started the others."""
        try:
            if self._slice is not None:
                self._slice.restore()
        except Exception as error:  # what else ends the run has still to be done
            log.debug("the short time slice stays: %r", error)

    def spawn(
        self,
        argv: tuple[str, ...],
        added: Mapping[str, str],
        cwd: str | None,
        out: int,
        err: int,
        hidden: Collection[str] = (),
    ) -> tuple[int, subprocess.Popen[bytes] | None]:
        """A process that writes to `out` and `err` and reads nothing, with `added` in its environment, and nothing of our own that is `hidden`; and who else waits for it.

        It holds no other descriptor of ours. (Before Python 3.13: but for those that a C library opens without close-on-exec after
        the run began.)

        Raises:
            OSError, ValueError: it cannot be started.
        """
        if self._few:
            self._few -= 1
            if not self._few:
                self._shorten()
        environment = _environment()
        for name in hidden:
            environment.pop(name.encode(*_CODING), None)
        for name, value in added.items():
            environment[name.encode(*_CODING)] = value.encode(*_CODING)
        points.reach("before spawn")
        popen: subprocess.Popen[bytes] | None = None
        pid = 0
        if cwd is None and "PATH" not in added:
            actions = (
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, err, 2),
                *self._closing,
            )
            try:
                pid = os.posix_spawnp(
                    argv[0], argv, environment, file_actions=actions, setpgroup=0, setsigdef=_DEFAULTS
                )
            except OSError as error:
                # A descriptor that is to be closed is above the limit of today: it was opened before that was lowered.
                if error.errno != errno.EBADF:
                    raise
        if not pid:
            popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=cwd, process_group=0
            )
            pid = popen.pid
        points.reach("after spawn")
        return pid, popen

    def _shorten(self) -> None:
        try:
            from plait.executors.slices import Slice  # with what it needs, longer than a few commands gain

            self._slice = Slice()
            self._slice.shorten()
        except Exception as error:  # it is for speed alone: whatever is wrong with it is no command's failure
            log.debug("no short time slice: %r", error)


def _environment() -> dict[bytes, bytes]:
    """Our environment, as it is now."""
    # Its own mapping decodes each variable whenever it is read: 35 µs for 38 of them.
    found: Any = getattr(os.environ, "_data", None)
    return dict(found if type(found) is dict else os.environb)


def _closing() -> tuple[tuple[int, ...], ...]:
    """What closes every descriptor that a child would inherit beside its standard ones."""
    if hasattr(os, "POSIX_SPAWN_CLOSEFROM"):
        return ((os.POSIX_SPAWN_CLOSEFROM, 3),)
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        return ()
    return tuple((os.POSIX_SPAWN_CLOSE, fd) for fd in map(int, names) if fd > 2 and _inherited(fd))


def _inherited(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False  # the one that listed them
