"""The other end of the pipe: a process that runs calls, one at a time, until its engine is gone.

Nobody imports this but the worker itself (`python -m plait.executors.worker FD`), and it imports little: each worker waits for it.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import time
from typing import Any

HEAD = struct.Struct("!QQ")
"""Before each message: the call that it is about, and the number of bytes that follow."""

READY, BEGAN, RETURNED, RAISED, UNSENDABLE, UNREADABLE = range(6)
"""What a worker says, in the first byte of its messages."""

ENDED = struct.Struct("!BdQQ")
"""What is before a result: its kind, when its code ended, how much there is of standard output and error by then."""

PREPARING = "PLAIT_PREPARING"
"""In the environment of a worker that imports the program: a run that starts there was meant for the program alone."""


class Stopped(BaseException):
    """What TERM raises in the code of a task: an `except Exception` does not catch it, a `finally` runs."""


class Worker:
    """One worker process."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._may_be_stopped = False
        self._told_to_stop = False

    def serve(self) -> None:
        """Runs what comes, until nothing comes any more."""
        self._end_with_the_engine()
        _, preparation = self._receive()
        os.environ[PREPARING] = "1"
        _prepare(pickle.loads(preparation))
        del os.environ[PREPARING]
        signal.signal(signal.SIGTERM, self._terminate)
        self._send(0, bytes([READY]))
        while not self._told_to_stop:
            try:
                self._may_be_stopped = True
                number, data = self._receive()
                self._may_be_stopped = False
            except Stopped:
                return
            self._run(number, data)

    def _terminate(self, number: int, frame: Any) -> None:
        self._told_to_stop = True
        if self._may_be_stopped:
            self._may_be_stopped = False  # once: what is on its way out is not disturbed again
            raise Stopped

    def _end_with_the_engine(self) -> None:
        """When the engine dies, whatever runs here ends, with all of this process group."""
        poller = select.poll()
        poller.register(self._connection, getattr(select, "POLLRDHUP", 0) | select.POLLHUP)

        def wait() -> None:
            while not poller.poll():
                pass
            os.killpg(0, signal.SIGKILL)

        threading.Thread(target=wait, name="plait-engine", daemon=True).start()

    def _run(self, number: int, data: bytes) -> None:
        value: Any = None
        kind = RETURNED
        try:
            function, args, kwargs, timed = _call(data)
        except BaseException as error:
            self._end(number, UNREADABLE, f"{type(error).__name__}: {error}")
            return
        if timed:
            self._send(number, bytes([BEGAN]) + struct.pack("!d", time.monotonic()))
        try:
            self._may_be_stopped = True
            if self._told_to_stop:
                raise Stopped
            value = function(*args, **kwargs)
            self._may_be_stopped = False
        except BaseException as error:
            self._may_be_stopped = False
            kind, value = RAISED, error
        self._end(number, kind, value)

    def _end(self, number: int, kind: int, value: Any) -> None:
        at = time.monotonic()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # a task closed it, or put something else there
        sizes = os.fstat(1).st_size, os.fstat(2).st_size
        if kind == RAISED:
            data = _error_data(value)
        else:
            try:
                data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except BaseException as error:
                kind = UNSENDABLE
                text = f"a value of type {type(value).__module__}.{type(value).__qualname__}: {_text(error)}"
                data = pickle.dumps(text)
        self._send(number, ENDED.pack(kind, at, *sizes) + data)

    def _receive(self) -> tuple[int, bytes]:
        number, size = HEAD.unpack(self._exactly(HEAD.size))
        return number, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._connection.recv_into(view)
            if not count:
                sys.exit()  # the engine has no more
            view = view[count:]
        return bytes(data)

    def _send(self, number: int, data: bytes) -> None:
        try:
            self._connection.sendall(HEAD.pack(number, len(data)))
            self._connection.sendall(data)
        except OSError:
            sys.exit()  # the engine is gone


def _prepare(preparation: dict[str, Any]) -> None:
    """Makes this process one in which the program's functions are found: its paths, its folder, its main module."""
    from multiprocessing import spawn

    spawn.prepare(preparation)


def _call(data: bytes) -> tuple[Any, Any, Any, bool]:
    reference, args, kwargs, timed = pickle.loads(data)
    if isinstance(reference, str):
        from plait.references import resolve

        return resolve(reference), args, kwargs, timed
    return reference, args, kwargs, timed


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
    Worker(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    from plait.executors import worker  # this module again, under the name by which its classes are known

    worker.main()
