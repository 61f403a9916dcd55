"""Commands are started: by the shortest way that the system has, each in a process group of its own, several at the same time."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from plait import points

CODING = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""As `os.fsencode` does it, in a fifth of the time."""

DEFAULTS = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)]
"""What Python ignores for itself, and a command is not to."""

FEW = 3
"""Fewer than so many are started one after another: another thread would be asked for longer than that takes."""

MANY = 32
"""After so many it is worth it to load what starts them without holding up other threads."""

MOST_THREADS = 4


class Start:
    """A command that is to be started with output to `out` and `err`, `added` to its environment, and no input; then its process."""

    __slots__ = ("argv", "cwd", "environment", "err", "error", "out", "pid", "plain", "popen")

    def __init__(self, argv: tuple[str, ...], added: Mapping[str, str], cwd: str | None, out: int, err: int) -> None:
        self.argv = argv
        self.environment = environment = _environment()
        for name, value in added.items():
            environment[name.encode(*CODING)] = value.encode(*CODING)
        self.cwd = cwd
        self.out = out
        self.err = err
        self.plain = cwd is None and "PATH" not in added
        """Can `posix_spawn` do it? It knows no folder, and looks in our own PATH."""
        self.pid = 0
        self.popen: subprocess.Popen[bytes] | None = None
        """Who else waits for it."""
        self.error: BaseException | None = None
        """Why it could not be started: an OSError or ValueError."""


class Spawner:
    """Starts commands: `posix_spawn` takes a fifth of the time that `subprocess` takes in Python.

    The system holds up whoever starts a process until that has loaded its program: mostly it waits for a processor. So many commands
    are started by several threads, each of which waits for one.
    """

    def __init__(self) -> None:
        self._closing = _closing()
        self._native: Callable[[Start], int] | None = None
        self._until_native = MANY
        self._todo: SimpleQueue[deque[Start] | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, starts: Sequence[Start]) -> None:
        """Starts them all; each has a `pid` or an `error` then.

        They hold no other descriptor of ours. (Before Python 3.13: but for those that a C library opens without close-on-exec after
        the run began.)
        """
        if self._until_native > 0:
            self._until_native -= len(starts)
            if self._until_native <= 0:
                self._load()
        waiting = deque(starts)
        helpers = self._threads[: len(starts) - 1] if len(starts) >= FEW else ()
        for _ in helpers:
            self._todo.put(waiting)
        interrupted: BaseException | None = None
        try:
            self._work(waiting, self._native if helpers else None)
        except BaseException as error:  # Ctrl-C; what another thread is just starting is not to be lost
            interrupted = error
        for _ in helpers:
            try:
                self._done.get()
            except BaseException as error:
                interrupted = error
                self._done.get()
        if interrupted is not None:
            raise interrupted

    def close(self) -> None:
        """Ends its threads."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._until_native = 0

    def _load(self) -> None:
        """From now on the start of a command holds up nobody else."""
        from plait.executors.native import native

        self._native = native(self._closing)
        if self._native is None:
            return
        try:
            for _ in range(min(_processors(), MOST_THREADS) - 1):
                thread = threading.Thread(target=self._help, name="plait-spawn", daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError:
            pass  # the system has no room for another thread

    def _help(self) -> None:
        while (waiting := self._todo.get()) is not None:
            self._work(waiting, self._native)
            self._done.put(None)

    def _work(self, waiting: deque[Start], native: Callable[[Start], int] | None) -> None:
        """Starts those that nobody else has taken."""
        while True:
            try:
                start = waiting.popleft()
            except IndexError:
                return
            try:
                _start(start, native or self._python)
            except BaseException as error:
                start.error = error

    def _python(self, start: Start) -> int:
        """By Python's own function, which takes less time and holds up all threads."""
        actions = (
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, start.out, 1),
            (os.POSIX_SPAWN_DUP2, start.err, 2),
            *self._closing,
        )
        return os.posix_spawnp(
            start.argv[0], start.argv, start.environment, file_actions=actions, setpgroup=0, setsigdef=DEFAULTS
        )


def _start(start: Start, spawned: Callable[[Start], int]) -> None:
    points.reach("before spawn")
    if start.plain:
        try:
            start.pid = spawned(start)
        except OSError as error:
            # A descriptor that is to be closed is above the limit of today: it was opened before that was lowered.
            if error.errno != errno.EBADF:
                raise
    if not start.pid:
        start.popen = subprocess.Popen(
            start.argv,
            stdin=subprocess.DEVNULL,
            stdout=start.out,
            stderr=start.err,
            env=start.environment,
            cwd=start.cwd,
            process_group=0,
        )
        start.pid = start.popen.pid
    points.reach("after spawn")


def _environment() -> dict[bytes, bytes]:
    """Our environment, as it is now."""
    # Its own mapping decodes each variable whenever it is read: 35 µs for 38 of them.
    found: Any = getattr(os.environ, "_data", None)
    return dict(found if type(found) is dict else os.environb)


def _processors() -> int:
    """How many this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


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
