"""The other end of the pipe: a process that runs calls, one at a time, until its engine is gone.

It imports little, for each worker waits for it: that is why it takes from the C modules `_pickle`, `_signal`, `_socket` and `_thread`
what `pickle`, `signal`, `socket` and `threading` offer above them, with a third of a worker's start for `enum` and `re`.

Calls come over a socket, several at once, and are run in their order. What they come to is put into shared memory (`Board`), where
it outlives the worker, and the engine is woken over the socket: at once when the worker has nothing else to do, or a call failed, else
once for all that ended within the time that the engine says. Over a pipe the engine asks for calls back that have not begun; a thread answers, while the code of
a call runs.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import _thread
import mmap
import os
import select
import struct
import sys
import time
from _pickle import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HEAD = struct.Struct("!QQ")
"""Before each message: the call that it is about (0: none), and the number of bytes that follow."""

READY, WOKEN, REVOKED, RETURNED, RAISED, UNSENDABLE, UNREADABLE = range(7)
"""What a worker says, in the first byte of its messages. The first three are about no call."""

NUMBER = struct.Struct("!Q")
"""After REVOKED: of the calls that were asked for, this one and those behind it will not begin."""

ASKED = struct.Struct("!QQ")
"""What the engine asks for: calls from one to another, the last that was given."""

ENDED = struct.Struct("!B?ddQQ")
"""What is before a result: its kind, whether the worker was told to stop and leaves, when the code began and ended, how much there is of
standard output and error by then."""

RESULT = struct.Struct(HEAD.format + ENDED.format[1:])
"""Both in one."""

NEWEST_PICKLE = 5
"""The protocol of what is sent; that of `pickle.HIGHEST_PROTOCOL`."""

PREPARING = "PLAIT_PREPARING"
"""In the environment of a worker that imports the program: a run that starts there was meant for the program alone."""

AGAIN_MS = 50
"""Between two tries to answer the engine, where there is no memory for that."""

BOARD_BYTES = 256 * 1024

RECEIVED_BYTES = 64 * 1024
"""At once, at most. For more than 128 KB the allocator asks the system each time, which takes longer than the rest."""


class Board:
    """Shared memory of a worker and its engine: what the worker runs, when it was last alive, what it is to stop, how long results wait,
    and a ring of them.

    Each word has one writer. Calls have rising numbers, from 1. Results stand in the ring from `_TAKEN` to `_PUT`, both of which
    count bytes and only grow.
    """

    _TAKEN, _PUT, _STOP, _LINES, _FIRST = 0, 1, 2, 3, 4
    _HEADER = 128

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, BOARD_BYTES)
        self._bytes = memoryview(self._memory)
        self._words = self._bytes[:64].cast("Q")
        self._times = self._bytes[64:96].cast("d")
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

    @property
    def together(self) -> float:
        """Results wait at most so many seconds for others, while the worker has more to do."""
        return self._times[2]

    @together.setter
    def together(self, seconds: float) -> None:
        self._times[2] = seconds

    @property
    def alive_at(self) -> float:
        """When the code of a call said that it is alive; 0 before the first time."""
        return self._times[3]

    @alive_at.setter
    def alive_at(self, at: float) -> None:
        self._times[3] = at

    @property
    def lines(self) -> bool:
        """Is each line that a call prints to be written at once? Somebody looks whether it writes."""
        return self._words[self._LINES] != 0

    @lines.setter
    def lines(self, wanted: bool) -> None:
        self._words[self._LINES] = wanted

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


beat: Callable[[], None] | None = None
"""In a worker: the code of a task says that it is alive. A write into memory: it may be called a million times."""


class Stopped(BaseException):
    """What TERM raises in the code of a task: an `except Exception` does not catch it, a `finally` runs."""


class Worker:
    """One worker process."""

    def __init__(self, connection: _socket.socket, asked: int, board: Board) -> None:
        self._connection = connection
        self._asked = asked
        self._board = board
        self._inbox = bytearray()
        self._calls: list[tuple[int, bytes]] = []
        self._taking = _thread.allocate_lock()
        self._number = 0  # of the call that runs, or ran last
        self._revoked: list[tuple[int, int]] = []  # from one call to another, in their order
        self._sending = _thread.allocate_lock()
        self._unsaid = False  # is there a result of which the engine was not told?
        self._said_at = self._began = self._ended = 0.0
        self._sizes = (0, 0)
        self._may_be_stopped = False
        self._told_to_stop = False
        self._by_line = False

    def serve(self) -> None:
        """Runs what comes, until nothing comes any more."""
        while not self._calls:
            self._receive()
        _, preparation = self._calls.pop(0)
        _thread.start_new_thread(self._listen, ())
        os.environ[PREPARING] = "1"
        _prepare(**loads(preparation))
        del os.environ[PREPARING]
        _signal.signal(_signal.SIGTERM, self._terminate)
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
            _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
            os.killpg(0, _signal.SIGTERM)  # what the call has started
            _signal.signal(_signal.SIGTERM, self._terminate)
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
                        os.killpg(0, _signal.SIGKILL)
                    unanswered += data
                while unanswered:
                    self._send(0, bytes([REVOKED]) + NUMBER.pack(self._give_back(*ASKED.unpack_from(unanswered))))
                    unanswered = unanswered[ASKED.size :]
            except MemoryError:
                pass  # the call that runs is at its limit

    def _give_back(self, first: int, last: int) -> int:
        """The first of the calls that has not begun: it and those behind it never will."""
        with self._taking:
            first = max(first, self._number + 1)
            self._revoked.append((first, last))
        return first

    # -- calls come

    def _next(self) -> bytes:
        """The next call; waits for it. What ended before is told no later than that."""
        while True:
            if self._revoked:
                self._drop_revoked()
            if not self._calls:
                self._receive(_socket.MSG_DONTWAIT)
            if not self._calls:
                self._tell()
                self._receive()
            elif len(self._calls) == 1 or self._ended - self._said_at > self._board.together:
                self._tell()  # so that more comes before this one has nothing to do
            while self._calls:
                number, data = self._calls.pop(0)
                with self._taking:
                    if self._revoked and self._is_revoked(number):
                        continue
                    self._number = number
                    at = self._began = time.monotonic()
                    self._board.begin(number, at)
                return data

    def _drop_revoked(self) -> None:
        """What will not begin does not count as more to do."""
        with self._taking:
            self._calls = [call for call in self._calls if not self._is_revoked(call[0])]

    def _is_revoked(self, number: int) -> bool:
        while self._revoked and self._revoked[0][1] < number:
            del self._revoked[0]  # calls come in their order
        return any(first <= number <= last for first, last in self._revoked)

    def _receive(self, flags: int = 0) -> None:
        inbox = self._inbox
        try:
            data = self._connection.recv(RECEIVED_BYTES, flags)
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
        if self._board.lines and not self._by_line:
            self._write_by_line()
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

    def _beat(self) -> None:
        """The call that runs is alive."""
        self._board.alive_at = time.monotonic()

    def _write_by_line(self) -> None:
        """What calls print is written line by line from here on: it is a sign of life."""
        self._by_line = True
        try:
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):
            pass  # a task closed it, or put something else there

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
                data = dumps(value, NEWEST_PICKLE)
            except BaseException as error:
                kind = UNSENDABLE
                text = f"a value of type {type(value).__module__}.{type(value).__qualname__}: {_text(error)}"
                data = dumps(text)
        told = kind, self._told_to_stop, self._began, at, *sizes
        if self._board.put(RESULT.pack(self._number, ENDED.size + len(data), *told) + data):
            self._unsaid = True
            if kind != RETURNED:
                self._said_at = 0.0  # whatever failed may end the run, which is not to wait for that
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


def _prepare(path: list[str], argv: list[str], main_name: str | None, main_path: str | None) -> None:
    """Makes this process one in which the program's functions are found: its paths, its arguments, its main module.

    As `multiprocessing.spawn.prepare` does it, without what that imports: the main module runs again under the name `__mp_main__`, so
    that its `if __name__ == "__main__"` part stays asleep.
    """
    sys.path[:] = path
    sys.argv[:] = argv
    main = type(sys)("__mp_main__")
    if main_name is not None:
        import runpy

        main.__dict__.update(runpy.run_module(main_name, run_name="__mp_main__", alter_sys=True))
    elif main_path is not None and main_path.endswith(".pyc"):
        import runpy

        main.__dict__.update(runpy.run_path(main_path, run_name="__mp_main__"))
    elif main_path is not None:
        with open(main_path, "rb") as file:
            code = compile(file.read(), main_path, "exec", dont_inherit=True)
        main.__file__ = main_path
        sys.modules["__mp_main__"] = main
        exec(code, main.__dict__)
    else:
        return
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main


def _call(data: bytes) -> tuple[Any, Any, Any, int | None]:
    reference, args, kwargs, *memory = loads(data)
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
    """An exception with its traceback as text; where it cannot be sent, what of it can be, or its type's name and text alone."""
    import traceback

    trace = "".join(traceback.format_exception(error))
    for sent in (error, _Parts(error)):
        data = _sent((sent, trace))
        if data is not None and isinstance(loads(data)[0], BaseException):  # its class may say that it is anything
            return data
    return dumps(((type(error).__name__, _text(error), _pause(error)), trace))


def _pause(error: BaseException) -> float:
    """What the exception itself asks to wait, if it is a number."""
    try:
        after: Any = error.retry_after  # type: ignore[attr-defined]
    except BaseException:  # it has none, or a property of a user's class
        return 0.0
    return after if type(after) in (int, float) else 0.0


def _sent(value: Any) -> bytes | None:
    """It pickled, if it can be read again, which not all can that is pickled."""
    try:
        data = dumps(value, NEWEST_PICKLE)
        loads(data)
        return data
    except BaseException:
        return None


class _Parts:
    """An exception of which some parts cannot be sent, such as the answer of a server, or that cannot be made of its `args` alone."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        from plait.errors import revived

        error = self._error
        args = tuple(each if _sent(each) is not None else repr(each) for each in error.args)
        state = {name: value for name, value in error.__dict__.items() if _sent(value) is not None}
        return revived, (type(error), args, state)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return ""


def main() -> None:
    """What a worker process does: `python -c START CONNECTION ASKED BOARD FOLDER`, three descriptors and where plait is."""
    connection, asked, board = map(int, sys.argv[1:4])
    shared = Board(board)
    os.close(board)
    worker = Worker(_socket.socket(fileno=connection), asked, shared)
    global beat
    beat = worker._beat
    worker.serve()


START = "import sys; sys.path = [sys.argv[4], *filter(None, sys.path)]; from plait.executors.worker import main; main()"
"""What the interpreter of a worker is given: the engine's own plait, and no module of the folder in which it happens to start."""
