"""A worker process as its engine holds it: how it is started, what it was given, what it wrote, how it is ended."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from plait import points
from plait.executors.base import Attempt
from plait.executors.groups import read_back, signal_group, signal_name
from plait.executors.outputs import LATEST_BYTES, Dated
from plait.executors.worker import ASKED, BOARD_BYTES, HEAD, PREPARING, START, Board

KEPT_BYTES = 8 * 1024 * 1024
"""Of each stream of a task, at most this much is read back into memory; the rest is counted."""


class Held:
    """A call that a worker has."""

    __slots__ = ("attempt", "data", "lent", "number", "worker")

    def __init__(self, attempt: Attempt, data: bytes, number: int, worker: WorkerProcess, lent: bool) -> None:
        self.attempt = attempt
        self.data = data
        self.number = number
        self.worker = worker
        self.lent = lent
        """It begins with the slot of the one in front of it."""


class WorkerProcess:
    """A worker process: what it has to do, what it has said."""

    __slots__ = (
        "asked", "asking", "board", "bytes", "connection", "dated", "early", "given", "held", "inbox", "kin", "marks", "outbox", "output", "pid", "pidfd", "popen", "ready",
        "retiring", "seen", "stopping", "telling", "unwanted", "writing",
    )  # fmt: skip

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Starts it, with `environment` beside what there is: all that it starts carries that.

        Raises:
            OSError: the system has no room for it.
        """
        ours, theirs = socket.socketpair()
        fds: list[int] = []
        files: list[IO[bytes]] = []
        board: Board | None = None
        try:
            data = pickle.dumps(_preparation())
            fds += os.pipe()
            memory = _shared()
            fds.append(memory)
            for _ in range(2):
                files.append(_appended())
            self.board = board = Board(memory)
            points.reach("before spawn")
            passed = (theirs.fileno(), fds[0], memory)
            self.popen = subprocess.Popen(
                [sys.executable, *_flags(), "-c", START, *map(str, passed), _FOLDER],
                stdin=subprocess.DEVNULL,
                stdout=files[0],
                stderr=files[1],
                pass_fds=passed,
                env={**os.environ, **environment},
                process_group=0,
            )
            points.reach("after spawn")
        except BaseException:
            ours.close()
            for file in files:
                file.close()
            if board is not None:
                board.close()
            if len(fds) > 1:
                os.close(fds[1])
            raise
        finally:
            theirs.close()
            for fd in (fds[0], *fds[2:]) if fds else ():
                os.close(fd)
        ours.setblocking(False)
        os.set_blocking(fds[1], False)
        self.pid = self.popen.pid
        """Its number, and its group's."""
        self.marks = environment
        self.connection = ours
        self.asking = fds[1]
        self.output = (files[0], files[1])
        self.dated = (Dated(), Dated())
        self.seen = [0, 0]  # bytes of standard output and error that earlier tasks wrote
        self.pidfd = -1
        self.inbox = bytearray()
        self.outbox: deque[memoryview] = deque([memoryview(HEAD.pack(0, len(data)) + data)])
        self.writing = False
        self.ready = False
        self.stopping = False
        self.retiring = False
        """Is it to end, once what it has is over?"""
        self.given = 0  # calls, without those that it gave back
        self.held: dict[int, Held] = {}
        """Calls that it was given and that are not over, by number, in their order: only the first can have begun and not ended."""
        self.bytes = 0  # of the calls in `held`
        self.early: dict[
            int, tuple[Any, ...]
        ] = {}  # what `ENDED` holds, and results, that came before those of calls before them
        self.asked: list[int] = []  # calls that it was asked for, and has not answered
        self.unwanted: dict[int, None] = {}  # calls that it is to be asked for
        self.kin: list[Any] = []
        self.telling = False

    @property
    def takes(self) -> bool:
        """May it be given more? Not while it is asked for what it has: what is behind that would lose what it waits for."""
        return not (self.stopping or self.retiring or self.asked or self.unwanted)

    def take_from(self, number: int) -> Held:
        """It has that call no more."""
        held = self.held.pop(number)
        self.bytes -= len(held.data)
        if self.unwanted:
            self.unwanted.pop(number, None)
        held.attempt.handle = None
        return held

    def ask(self) -> None:
        """Asks for the calls that are unwanted here. It says which of them will not begin.

        And for all behind the first of them: what is lent needs the one in front of it to end.
        """
        if self.unwanted and not self.asked:
            first = min(self.unwanted)
            wanted = [number for number in self.held if number >= first]
            self.unwanted.clear()
            if wanted:
                with suppress(OSError):  # it is dead, which is told elsewhere
                    os.write(self.asking, ASKED.pack(first, wanted[-1]))
                self.asked = wanted

    def terminate(self, number: int) -> None:
        """TERM for that call."""
        self.board.stop = number
        # To the worker alone: it passes the signal on if that call still runs, for what the next one started is not to have it.
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        signal_group(self.pid, signal.SIGCONT)  # a stopped process would sleep through TERM

    def see_kin(self) -> None:
        """Remembers what it has started: a process that left its group is found by its parent alone, while that lives."""
        try:
            import psutil

            self.kin += psutil.Process(self.pid).children(recursive=True)
        except Exception:
            pass  # it is dead, or the system short of descriptors: what it left behind in its group is still found

    def kill(self) -> None:
        """KILL for it and all that it started."""
        self.see_kin()
        self.sweep()

    def sweep(self) -> None:
        """KILL for what is left of its group, and what was seen to leave that. Not to be called once it is reaped: its number passes on."""
        signal_group(self.pid, signal.SIGKILL)
        for process in self.kin:
            try:
                process.kill()  # told apart from a later process of the same number
            except Exception:
                pass

    def close(self) -> None:
        """Lets go of everything but the process."""
        self.connection.close()
        os.close(self.asking)
        self.board.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        for file in self.output:
            file.close()

    # -- what it wrote

    def written(self) -> tuple[int, int]:
        """How much there is of standard output and error."""
        return os.fstat(self.output[0].fileno()).st_size, os.fstat(self.output[1].fileno()).st_size

    def take_written(self, which: int, size: int) -> tuple[bytes, int]:
        """What is new in a stream up to `size`, and how much of that is left out."""
        first, self.seen[which] = self.seen[which], max(self.seen[which], size)
        if size <= first:
            return b"", 0
        data = read_back(self.output[which], first, min(size - first, KEPT_BYTES))
        return data, size - first - len(data)

    def latest(self) -> bytes:
        """The end of what the call that runs has written so far."""
        for which, size in enumerate(self.written()):
            if size > self.seen[which]:
                return read_back(self.output[which], max(self.seen[which], size - LATEST_BYTES), LATEST_BYTES)
        return b""

    def alive_at(self, now: float) -> float:
        """When one of its calls wrote last or said that it is alive, on the system's clock, which says `now`; 0 if none did."""
        written = [dated.heard_by(file.fileno(), now) for dated, file in zip(self.dated, self.output, strict=True)]
        return max(self.board.alive_at, *written)

    def last_error(self) -> str:
        """What a traceback says at its end, without the notes that follow it."""
        lines = read_back(self.output[1], 0, KEPT_BYTES).decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if re.match(r"[\w.]+: ", line)), lines[-1] if lines else "")


def how(code: int) -> str:
    """How a process ended."""
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit {code}"


def _flags() -> list[str]:
    """Options of this interpreter that hold for a worker, too."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined, no-any-return]


def _preparation() -> dict[str, Any]:
    """What makes a process one in which the program's functions are found."""
    main = sys.modules.get("__main__")
    name = getattr(getattr(main, "__spec__", None), "name", None)
    path = getattr(main, "__file__", None)
    if name is not None and name.rpartition(".")[2] == "__main__":
        name = path = None  # of a package: what starts it has no `if`, and would start it again
    if path is not None and (not os.path.isfile(path) or os.path.basename(path) in ("ipython", "ipython.py")):
        path = None  # IPython starts without an `if`, too
    return {
        "path": list(sys.path),
        "argv": list(sys.argv),
        "main_name": name,
        "main_path": path and os.path.abspath(path),
    }


_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""Where plait is."""


def _shared() -> int:
    """A descriptor of memory for a worker's board."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("plait-board")
    else:  # macOS
        fd, path = tempfile.mkstemp()
        os.unlink(path)
    os.ftruncate(fd, BOARD_BYTES)
    return fd


def _appended() -> IO[bytes]:
    """A file without a name whose writers all write at its end."""
    file = tempfile.TemporaryFile()
    import fcntl

    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


def started_within_a_worker() -> bool:
    """Does a worker import the program at this moment?"""
    return PREPARING in os.environ
