"""The other end of the pipe: a process that runs calls, one at a time, until its engine is gone.

Nobody imports this but the worker itself (`python -m plait.executors.worker FDS`), and it imports little: each worker waits for it.

Calls come over a socket, several at once, and are run in their order. What they come to is put into shared memory (`Board`), where
it outlives the worker, and the engine is woken over the socket: at once when the worker has nothing else to do, else once for all
that ended within two milliseconds. Over a pipe the engine asks for calls back that have not begun; a thread answers, while the code of
a call runs.
"""

from __future__ import annotations

import mmap
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from typing import Any, TypeAlias

HEAD = struct.Struct("!QQ")
"""Before each message: the call that it is about (0: none), and the number of bytes that follow."""

READY, WOKEN, REVOKED, RETURNED, RAISED, UNSENDABLE, UNREADABLE = range(7)
"""What a worker says, in the first byte of its messages. The first three are about no call."""

NUMBER = struct.Struct("!Q")

ENDED = struct.Struct("!B?ddQQ")
"""What is before a result: its kind, whether the worker was told to stop and leaves, when the code began and ended, how much there is of
standard output and error by then."""

RESULT = struct.Struct(HEAD.format + ENDED.format[1:])
"""Both in one."""

Told: TypeAlias = "tuple[int, bool, float, float, int, int, bytes]"
"""What `ENDED` holds, and the result."""

PREPARING = "PLAIT_PREPARING"
"""In the environment of a worker that imports the program: a run that starts there was meant for the program alone."""

AGAIN_MS = 50
"""Between two tries to answer the engine, where there is no memory for that."""

TOGETHER_S = 0.002
"""Results wait at most so long for others, while the worker has more to do."""

BOARD_BYTES = 256 * 1024


class Board:
    """Shared memory of a worker and its engine: what the worker runs, what it is to stop, and a ring of results.

    Each word has one writer. Calls have rising numbers, from 1. Results stand in the ring from `_TAKEN` to `_PUT`, both of which
    count bytes and only grow.
    """

    _TAKEN, _PUT, _STOP, _FIRST = 0, 1, 2, 4
    _HEADER = 128

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, BOARD_BYTES)
        self._bytes = memoryview(self._memory)
        self._words = self._bytes[:64].cast("Q")
        self._times = self._bytes[64:80].cast("d")
        self._ring = self._bytes[self._HEADER :]

    def close(self) -> None:
        """Lets go of the memory."""
        for view in (self._ring, self._times, self._words, self._bytes):
            view.release()
        self._memory.close()

    # The call that runs, or ran last. There is room for two, so that a reader never sees the number of one with the time of another.

    def begin(self, number: int, at: float) -> None:
        """The worker begins a call."""
        self._times[number & 1] = at
        self._words[self._FIRST + (number & 1)] = number

    @property
    def begun(self) -> tuple[int, float]:
        """The last call that began, and when; 0 before the first."""
        number = max(self._words[self._FIRST], self._words[self._FIRST + 1])
        return number, self._times[number & 1]

    @property
    def stop(self) -> int:
        """The call that the engine wants stopped: a TERM that finds another one is not for that."""
        return self._words[self._STOP]

    @stop.setter
    def stop(self, number: int) -> None:
        self._words[self._STOP] = number

    def put(self, data: bytes) -> bool:
        """Adds to the ring; False where it has no room for that."""
        put, ring = self._words[self._PUT], self._ring
        if len(data) > len(ring) - (put - self._words[self._TAKEN]):
            return False
        at = put % len(ring)
        if at + len(data) <= len(ring):
            ring[at : at + len(data)] = data
        else:
            first = len(ring) - at
            ring[at:] = data[:first]
            ring[: len(data) - first] = data[first:]
        self._words[self._PUT] = put + len(data)
        return True

    def take(self) -> bytes:
        """All that is in the ring, which is empty then."""
        taken, put, ring = self._words[self._TAKEN], self._words[self._PUT], self._ring
        if taken == put:
            return b""
        at, size = taken % len(ring), put - taken
        first = min(size, len(ring) - at)
        data = bytes(ring[at : at + first]) + bytes(ring[: size - first])
        self._words[self._TAKEN] = put
        return data


class Stopped(BaseException):
    """What TERM raises in the code of a task: an `except Exception` does not catch it, a `finally` runs."""


class Worker:
    """One worker process."""

    def __init__(self, connection: socket.socket, asked: int, board: Board) -> None:
        self._connection = connection
        self._asked = asked
        self._board = board
        self._inbox = bytearray()
        self._calls: deque[tuple[int, bytes]] = deque()
        self._taking = threading.Lock()
        self._number = 0  # of the call that runs, or ran last
        self._revoked: set[int] = set()
        self._sending = threading.Lock()
        self._unsaid = False  # is there a result of which the engine was not told?
        self._said_at = self._began = self._ended = 0.0
        self._sizes = (0, 0)
        self._may_be_stopped = False
        self._told_to_stop = False

    def serve(self) -> None:
        """Runs what comes, until nothing comes any more."""
        while not self._calls:
            self._receive()
        _, preparation = self._calls.popleft()
        threading.Thread(target=self._listen, name="plait-engine", daemon=True).start()
        os.environ[PREPARING] = "1"
        _prepare(pickle.loads(preparation))
        del os.environ[PREPARING]
        signal.signal(signal.SIGTERM, self._terminate)
        self._send(0, bytes([READY]))
        while not self._told_to_stop:
            try:
                self._may_be_stopped = True
                data = self._next()
                self._may_be_stopped = False
            except Stopped:
                return
            self._run(data)

    # -- what the engine wants

    def _terminate(self, number: int, frame: Any) -> None:
        if self._board.stop and self._board.stop < self._number:
            return  # that call is over, and what runs now is another one's
        self._told_to_stop = True
        if self._may_be_stopped:
            self._may_be_stopped = False  # once: what is on its way out is not disturbed again
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.killpg(0, signal.SIGTERM)  # what the call has started
            signal.signal(signal.SIGTERM, self._terminate)
            raise Stopped

    def _listen(self) -> None:
        """Gives back calls that the engine asks for; when it dies, whatever runs here ends, with all of this process group."""
        poller = select.poll()
        poller.register(self._connection, getattr(select, "POLLRDHUP", 0) | select.POLLHUP)
        poller.register(self._asked, select.POLLIN)
        unanswered = b""
        while True:
            try:
                ready = poller.poll(AGAIN_MS if unanswered else None)
                if ready:
                    data = os.read(self._asked, 4096) if (self._asked, select.POLLIN) in ready else b""
                    if not data:
                        os.killpg(0, signal.SIGKILL)
                    unanswered += data
                free = self._give_back([number for (number,) in NUMBER.iter_unpack(unanswered)])
                self._send(0, bytes([REVOKED]) + b"".join(map(NUMBER.pack, free)))
                unanswered = b""
            except MemoryError:
                pass  # the call that runs is at its limit

    def _give_back(self, wanted: list[int]) -> list[int]:
        """Those of the calls that have not begun: they never will."""
        with self._taking:
            free = [number for number in wanted if number > self._number]
            self._revoked.update(free)
        return free

    # -- calls come

    def _next(self) -> bytes:
        """The next call; waits for it. What ended before is told no later than that."""
        while True:
            if not self._calls:
                self._receive(socket.MSG_DONTWAIT)
            if not self._calls:
                self._tell()
                self._receive()
            elif len(self._calls) == 1 or self._ended - self._said_at > TOGETHER_S:
                self._tell()  # so that more comes before this one has nothing to do
            while self._calls:
                number, data = self._calls.popleft()
                with self._taking:
                    if number in self._revoked:
                        self._revoked.discard(number)
                        continue
                    self._number = number
                    at = self._began = time.monotonic()
                    self._board.begin(number, at)
                return data

    def _receive(self, flags: int = 0) -> None:
        inbox = self._inbox
        try:
            data = self._connection.recv(256 * 1024, flags)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            sys.exit()  # the engine has no more
        inbox += data
        at = 0
        while len(inbox) >= at + HEAD.size:
            number, size = HEAD.unpack_from(inbox, at)
            if len(inbox) < at + HEAD.size + size:
                break
            self._calls.append((number, bytes(inbox[at + HEAD.size : at + HEAD.size + size])))
            at += HEAD.size + size
        del inbox[:at]

    def _run(self, data: bytes) -> None:
        value: Any = None
        kind = RETURNED
        try:
            function, args, kwargs, memory = _call(data)
        except BaseException as error:
            self._end(UNREADABLE, f"{type(error).__name__}: {error}")
            return
        try:
            self._may_be_stopped = True
            if self._told_to_stop or self._board.stop == self._number:
                self._told_to_stop = True
                raise Stopped
            value = function(*args, **kwargs) if memory is None else _within(memory, function, args, kwargs)
            self._may_be_stopped = False
        except BaseException as error:
            self._may_be_stopped = False
            kind, value = RAISED, error
        self._end(kind, value)

    # -- results go

    def _end(self, kind: int, value: Any) -> None:
        at = self._ended = time.monotonic()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # a task closed it, or put something else there
        try:
            # Of both files, by a way that takes a third of a stat.
            sizes = self._sizes = os.lseek(1, 0, os.SEEK_END), os.lseek(2, 0, os.SEEK_END)
        except OSError:
            sizes = self._sizes  # a task closed one, or put something else there
        if kind == RAISED:
            data = _error_data(value)
        else:
            try:
                data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except BaseException as error:
                kind = UNSENDABLE
                text = f"a value of type {type(value).__module__}.{type(value).__qualname__}: {_text(error)}"
                data = pickle.dumps(text)
        told = kind, self._told_to_stop, self._began, at, *sizes
        if self._board.put(RESULT.pack(self._number, ENDED.size + len(data), *told) + data):
            self._unsaid = True
        else:
            self._send(self._number, ENDED.pack(*told) + data)

    def _tell(self) -> None:
        """Wakes the engine, if there is something new on the board."""
        if self._unsaid:
            self._unsaid = False
            self._said_at = time.monotonic()
            self._send(0, bytes([WOKEN]))

    def _send(self, number: int, data: bytes) -> None:
        try:
            with self._sending:
                self._connection.sendall(HEAD.pack(number, len(data)) + data)
        except OSError:
            os._exit(1)  # the engine is gone


def _prepare(preparation: dict[str, Any]) -> None:
    """Makes this process one in which the program's functions are found: its paths, its folder, its main module."""
    from multiprocessing import spawn

    spawn.prepare(preparation)


def _call(data: bytes) -> tuple[Any, Any, Any, int | None]:
    reference, args, kwargs, *memory = pickle.loads(data)
    return (
        _function(reference) if isinstance(reference, str) else reference,
        args,
        kwargs or {},
        memory[0] if memory else None,
    )


def _within(memory: int, function: Any, args: Any, kwargs: Any) -> Any:
    """What the function returns, with `memory` bytes of address space beside what this process has already."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", "rb") as file:
        most = int(file.read().split()[0]) * resource.getpagesize() + memory
    # Nobody can go above what holds for the whole process.
    most = min([most, *(each for each in (soft, hard) if each != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        return function(*args, **kwargs)
    except MemoryError as error:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        error.add_note(f"memory_limit: {memory} bytes beside what its worker process had")
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


_functions: dict[str, Any] = {}


def _function(reference: str) -> Any:
    function = _functions.get(reference)
    if function is None:
        from plait.references import resolve

        function = _functions[reference] = resolve(reference)
    return function


def _error_data(error: BaseException) -> bytes:
    """An exception with its traceback as text; where it cannot be sent, its type's name and text alone."""
    import traceback

    trace = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps((error, trace), pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)  # many can be pickled, and not be read again
        return data
    except BaseException:
        return pickle.dumps(((type(error).__name__, _text(error)), trace))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return ""


def main() -> None:
    """What a worker process does."""
    connection, asked, board = map(int, sys.argv[1:4])
    shared = Board(board)
    os.close(board)
    Worker(socket.socket(fileno=connection), asked, shared).serve()


if __name__ == "__main__":
    from plait.executors import worker  # this module again, under the name by which its classes are known

    worker.main()
