"""Plain functions, in worker processes of plait's own: a stop is TERM and then KILL for the one worker that runs the task.

Workers are spawned, never forked: a fork takes locks along that nobody in the child will free.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from typing import IO, TYPE_CHECKING, Any

from plait import points
from plait._core.scheduler import NOT_BEGUN
from plait.errors import MissingExtra, NotPicklable, RecordedError, UsageError, WorkerFailed
from plait.executors.base import Attempt, Call, Ended, Interrupted, Output
from plait.executors.groups import read_back, signal_group, signal_name
from plait.executors.worker import (
    BEGAN,
    ENDED,
    HEAD,
    PREPARING,
    READY,
    RETURNED,
    UNREADABLE,
    UNSENDABLE,
    Stopped,
)
from plait.references import reference

if TYPE_CHECKING:
    from plait.executors.contract import Sink


KEPT_BYTES = 8 * 1024 * 1024
"""Of each stream of a task, at most this much is read back into memory; the rest is counted."""

READ_BYTES = 256 * 1024

BAD_STARTS = 2
"""So many workers in a row that end before they can take a call: no more are started for this run."""


class _Worker:
    """A worker process: what it has to do, what it has said."""

    __slots__ = (
        "attempt", "connection", "inbox", "kin", "number", "outbox", "output", "pidfd", "popen", "ready", "seen", "stopping", "writing",
    )  # fmt: skip

    def __init__(self, popen: subprocess.Popen[bytes], connection: socket.socket, output: tuple[IO[bytes], IO[bytes]]):
        self.popen = popen
        self.connection = connection
        self.output = output
        self.seen = [0, 0]  # bytes of standard output and error that earlier tasks wrote
        self.pidfd = -1
        self.inbox = bytearray()
        self.outbox: deque[memoryview] = deque()
        self.writing = False
        self.ready = False
        self.stopping = False
        self.attempt: Attempt | None = None
        self.number = 0
        self.kin: list[Any] = []


class ProcessExecutor:
    """As many workers as there are CPUs at most, each started when a task waits and none is free."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = sink.loop
        self._most = _cpus()
        self._waiting: dict[Attempt, bytes] = {}
        self._workers: set[_Worker] = set()
        self._free: list[_Worker] = []
        self._running: dict[Attempt, _Worker] = {}
        self._numbers = 0
        self._bad_starts = 0
        self._why_bad = ""
        # The name by which a worker knows the program's main module, and the classes of what it sends back.
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])

    # -- what the engine asks

    def start(self, attempt: Attempt) -> None:
        try:
            if PREPARING in os.environ:
                raise UsageError(
                    "a run with process tasks starts while a worker imports the program: start it under `if __name__ == '__main__':`"
                )
            data = _encoded(attempt.call, bool(attempt.timed))
        except BaseException as error:
            self._sink.report(attempt, Ended(self._sink.clock(), error=error))
            return
        if attempt.stopped_at is not None:
            self._loop.call_soon(self._withdrawn, attempt)
            return
        self._waiting[attempt] = data
        self._dispatch()

    def stop(self, attempt: Attempt) -> None:
        worker = self._running.get(attempt)
        if worker is not None:
            if not worker.stopping:
                worker.stopping = True
                _see_kin(worker)
            signal_group(worker.popen.pid, signal.SIGTERM)
            signal_group(worker.popen.pid, signal.SIGCONT)  # a stopped process would sleep through TERM
        elif self._waiting.pop(attempt, None) is not None:
            self._loop.call_soon(self._withdrawn, attempt)  # whoever stops it is in the middle of something

    def force(self, attempt: Attempt) -> bool:
        worker = self._running.get(attempt)
        if worker is not None:
            _kill(worker)
        return True

    def close(self) -> None:
        self._waiting.clear()
        for worker in list(self._workers):
            self._let_go(worker)
            if worker.attempt is not None or worker.stopping:
                _kill(worker)
            else:
                signal_group(worker.popen.pid, signal.SIGKILL)
            try:
                worker.popen.wait(1.0)
            except subprocess.TimeoutExpired:
                pass  # the kernel holds it

    def _withdrawn(self, attempt: Attempt) -> None:
        """An attempt was stopped before a worker had it."""
        self._sink.report(attempt, Ended(self._sink.clock(), stopped=NOT_BEGUN))
        self._sink.more()

    # -- workers

    def _dispatch(self) -> None:
        """Gives what waits to free workers, and starts more workers where that is not enough."""
        while self._waiting and self._free:
            attempt = next(iter(self._waiting))
            self._give(self._free.pop(), attempt, self._waiting.pop(attempt))
        starting = sum(not worker.ready for worker in self._workers)
        while len(self._waiting) > starting and len(self._workers) < self._most:
            if self._bad_starts >= BAD_STARTS:
                self._give_up()
                return
            try:
                self._spawn(next(iter(self._waiting)))
            except OSError as error:
                self._why_bad = str(error)
                if not self._workers:  # else what waits gets one of those that there are
                    self._give_up()
                return
            starting += 1

    def _spawn(self, attempt: Attempt) -> None:
        ours, theirs = socket.socketpair()
        files: list[IO[bytes]] = []
        try:
            for _ in range(2):
                files.append(_appended())
            own = {name: value for name, value in self._sink.environment(attempt).items() if name in _OF_THE_RUN}
            points.reach("before spawn")
            popen = subprocess.Popen(
                [sys.executable, *_flags(), "-m", "plait.executors.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=files[0],
                stderr=files[1],
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **own},
                process_group=0,
            )
            points.reach("after spawn")
        except BaseException:
            ours.close()
            for file in files:
                file.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        worker = _Worker(popen, ours, (files[0], files[1]))
        self._workers.add(worker)
        self._loop.add_reader(ours, self._readable, worker)
        self._watch(worker)
        self._send(worker, 0, pickle.dumps(_preparation()))

    def _watch(self, worker: _Worker) -> None:
        """Has `_exited` called in the loop's thread once the process is dead, before it is reaped."""
        try:
            worker.pidfd = os.pidfd_open(worker.popen.pid)
            self._loop.add_reader(worker.pidfd, self._exited, worker)
        except (AttributeError, NotImplementedError, OSError):  # no pidfd here, or no more descriptors
            if worker.pidfd >= 0:
                os.close(worker.pidfd)
                worker.pidfd = -1
            threading.Thread(target=self._wait, args=(worker,), daemon=True, name="plait-wait").start()

    def _wait(self, worker: _Worker) -> None:
        os.waitid(os.P_PID, worker.popen.pid, os.WEXITED | os.WNOWAIT)
        try:
            self._loop.call_soon_threadsafe(self._exited, worker)
        except RuntimeError:
            pass  # the loop is closed, and `close` has seen to this process

    def _let_go(self, worker: _Worker) -> None:
        """Nothing of the worker is looked at any more."""
        self._workers.discard(worker)
        if worker in self._free:
            self._free.remove(worker)
        self._loop.remove_reader(worker.connection)
        if worker.writing:
            self._loop.remove_writer(worker.connection)
        worker.connection.close()
        if worker.pidfd >= 0:
            self._loop.remove_reader(worker.pidfd)
            os.close(worker.pidfd)
            worker.pidfd = -1
        for file in worker.output:
            file.close()

    def _give_up(self) -> None:
        """No worker can be had: what waits fails with the cause."""
        error = f"no worker process can be started: {self._why_bad}"
        waiting, self._waiting = list(self._waiting), {}
        self._loop.call_soon(self._all_failed, waiting, error)

    def _all_failed(self, attempts: list[Attempt], error: str) -> None:
        for attempt in attempts:
            self._sink.report(attempt, Ended(self._sink.clock(), error=WorkerFailed(error)))
        self._sink.more()

    # -- calls go, results come

    def _give(self, worker: _Worker, attempt: Attempt, data: bytes) -> None:
        self._numbers += 1
        worker.attempt, worker.number = attempt, self._numbers
        self._running[attempt] = worker
        self._sink.spawned(attempt, worker.popen.pid)
        self._send(worker, worker.number, data)

    def _send(self, worker: _Worker, number: int, data: bytes) -> None:
        worker.outbox.append(memoryview(HEAD.pack(number, len(data))))
        worker.outbox.append(memoryview(data))
        self._write(worker)

    def _write(self, worker: _Worker) -> None:
        """Sends as much as the pipe takes; the rest when it takes more."""
        outbox = worker.outbox
        try:
            while outbox:
                sent = worker.connection.send(outbox[0])
                if sent < len(outbox[0]):
                    outbox[0] = outbox[0][sent:]
                else:
                    outbox.popleft()
        except BlockingIOError:
            pass
        except OSError:
            outbox.clear()  # it is dead, which is told elsewhere
        if bool(outbox) is not worker.writing:
            worker.writing = bool(outbox)
            if worker.writing:
                self._loop.add_writer(worker.connection, self._write, worker)
            else:
                self._loop.remove_writer(worker.connection)

    def _readable(self, worker: _Worker) -> None:
        if self._read(worker) and worker in self._workers:
            self._loop.remove_reader(worker.connection)  # it is dead, which is told elsewhere
        self._sink.more()

    def _read(self, worker: _Worker) -> bool:
        """Takes what the worker has said; True at its end."""
        inbox = worker.inbox
        while worker in self._workers:  # what it says may be the end of the run
            try:
                data = worker.connection.recv(READ_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                data = b""
            if not data:
                return True
            inbox += data
            while len(inbox) >= HEAD.size:
                number, size = HEAD.unpack_from(inbox)
                if len(inbox) < HEAD.size + size:
                    break
                message = bytes(inbox[HEAD.size : HEAD.size + size])
                del inbox[: HEAD.size + size]
                self._said(worker, number, message)
        return True

    def _said(self, worker: _Worker, number: int, message: bytes) -> None:
        kind = message[0]
        if kind == READY:
            worker.ready = True
            self._bad_starts = 0
            self._free.append(worker)
            self._dispatch()
            return
        attempt = worker.attempt
        if attempt is None or number != worker.number:
            return
        if kind == BEGAN:
            self._sink.began(attempt, self._at(struct.unpack("!d", message[1:9])[0]))
            return
        _, ended, out, err = ENDED.unpack_from(message)
        at = self._at(ended)
        end = _end_of(kind, message[ENDED.size :], at, attempt)
        worker.attempt = None
        del self._running[attempt]
        self._tell_output(worker, attempt, (out, err))
        if not worker.stopping:
            self._free.append(worker)
        self._sink.report(attempt, end)
        self._dispatch()

    def _at(self, monotonic: float) -> float:
        """A moment of the system's clock on the run's."""
        return self._sink.clock() - max(0.0, time.monotonic() - monotonic)

    def _tell_output(self, worker: _Worker, attempt: Attempt, sizes: tuple[int, int]) -> None:
        """Reports what the task wrote, and keeps it where the run keeps such things."""
        paths = self._sink.output_paths(attempt) if any(map(int.__ne__, sizes, worker.seen)) else None
        for which, name in enumerate(("stdout", "stderr")):
            file, first, size = worker.output[which], worker.seen[which], sizes[which]
            worker.seen[which] = max(first, size)
            if size > first:
                data = read_back(file, first, min(size - first, KEPT_BYTES))
                if paths is not None:
                    with open(os.open(paths[which], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as kept:
                        kept.write(data)
                self._sink.report(attempt, Output(name, data, size - first - len(data)))

    def _exited(self, worker: _Worker) -> None:
        """A worker is dead: what it said last still counts, and its task, if it had one, came to nothing."""
        if worker not in self._workers:
            return
        self._read(worker)
        sizes = (os.fstat(worker.output[0].fileno()).st_size, os.fstat(worker.output[1].fileno()).st_size)
        attempt = worker.attempt
        if attempt is not None:
            self._tell_output(worker, attempt, sizes)
        elif not worker.ready:
            self._bad_starts += 1
            self._why_bad = _last_error(read_back(worker.output[1], 0, KEPT_BYTES))
        # Not reaped yet: its number, which is its group's, cannot have passed to somebody else.
        signal_group(worker.popen.pid, signal.SIGKILL)
        _kill_kin(worker)
        self._let_go(worker)
        code = worker.popen.wait()
        if not worker.ready and not self._why_bad:
            self._why_bad = _how(code)
        if attempt is not None:
            del self._running[attempt]
            at = self._sink.clock()
            if attempt.stopped_at is not None:
                self._sink.report(attempt, Ended(at, stopped=True))
            else:
                self._sink.report(attempt, Interrupted(at, _how(code)))
        self._dispatch()
        self._sink.more()


_OF_THE_RUN = ("PLAIT_RUN", "PLAIT_KEPT_IN")
"""What of a task's environment holds for all tasks of the run."""


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _flags() -> list[str]:
    """Options of this interpreter that hold for a worker, too."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined, no-any-return]


def _preparation() -> dict[str, Any]:
    """What makes a process one in which the program's functions are found (as `multiprocessing.spawn.prepare` takes it)."""
    found: dict[str, Any] = {
        "name": "plait-worker", "sys_path": list(sys.path), "sys_argv": list(sys.argv), "dir": os.getcwd(),
    }  # fmt: skip
    main = sys.modules.get("__main__")
    name = getattr(getattr(main, "__spec__", None), "name", None)
    path = getattr(main, "__file__", None)
    if name is not None:
        found["init_main_from_name"] = name
    elif path is not None and os.path.isfile(path):
        found["init_main_from_path"] = os.path.abspath(path)
    return found


def _encoded(call: Call, timed: bool) -> bytes:
    """A call as a worker takes it: its function by name where it has one that finds it, and pickled arguments.

    Raises:
        NotPicklable: for arguments that cannot travel, by their type.
        MissingExtra: for a function without a name, where the library that could send it is not there.
    """
    _, body, args, kwargs = call
    named = reference(body)
    given = (tuple(args), dict(kwargs or {}))
    try:
        if named is not None:
            return pickle.dumps((named, *given, timed), pickle.HIGHEST_PROTOCOL)
        try:
            return pickle.dumps((body, *given, timed), pickle.HIGHEST_PROTOCOL)
        except Exception:
            _check_arguments(given)
        return _of_a_closure((body, *given, timed))
    except (NotPicklable, MissingExtra):
        raise
    except Exception as error:
        _check_arguments(given)
        raise NotPicklable(f"the call cannot be sent to a worker process: {error}") from None


def _check_arguments(given: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    """Nothing, if each argument can travel; NotPicklable with the first that cannot."""
    args, kwargs = given
    for place, value in [*enumerate(args), *kwargs.items()]:
        try:
            pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            kind = type(value)
            which = f"argument {place + 1}" if isinstance(place, int) else f"argument {place!r}"
            raise NotPicklable(
                f"{which}, of type {kind.__module__}.{kind.__qualname__}, cannot be sent to a worker process: {error}"
            ) from None


def _of_a_closure(call: tuple[Any, ...]) -> bytes:
    try:
        import cloudpickle  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtra(
            f"{call[0]!r} cannot be sent to a worker process by name: put it at the top of a module, or install plait[process], which "
            "sends closures and lambdas"
        ) from None
    data: bytes = cloudpickle.dumps(call)
    return data


def _end_of(kind: int, data: bytes, at: float, attempt: Attempt) -> Ended:
    """What a worker's last word on a call comes to."""
    stopped = attempt.stopped_at is not None and attempt.stopped_at <= at
    try:
        found = pickle.loads(data)
    except BaseException as error:  # whatever its class does when it is read
        return Ended(
            at, error=NotPicklable(f"its result cannot be read: {type(error).__name__}: {error}"), stopped=stopped
        )
    if kind == RETURNED:
        return Ended(at, value=found, stopped=stopped)
    if kind == UNSENDABLE:
        return Ended(at, error=NotPicklable(f"its result cannot be sent back: {found}"), stopped=stopped)
    if kind == UNREADABLE:
        return Ended(at, error=WorkerFailed(f"the worker process cannot make the call: {found}"), stopped=stopped)
    raised, trace = found
    if isinstance(raised, Stopped):
        return Ended(at, stopped=True)
    if isinstance(raised, tuple):
        raised = RecordedError(f"{raised[0]}: {raised[1]}", raised[0], trace)
    else:
        raised.__cause__ = RecordedError(f"in the worker process:\n{trace}", type(raised).__name__, trace)
    return Ended(at, error=raised, stopped=stopped)


def _how(code: int) -> str:
    """How a process ended."""
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit {code}"


def _last_error(text: bytes) -> str:
    """What a traceback says at its end, without the notes that follow it."""
    lines = text.decode(errors="replace").splitlines()
    return next((line for line in reversed(lines) if re.match(r"[\w.]+: ", line)), lines[-1] if lines else "")


def _see_kin(worker: _Worker) -> None:
    """Remembers what the worker has started: a process that left its group is found by its parent alone, while that lives."""
    import psutil

    try:
        worker.kin += psutil.Process(worker.popen.pid).children(recursive=True)
    except psutil.Error:
        pass  # it is dead: what it left behind in its group is still found


def _kill(worker: _Worker) -> None:
    """KILL for a worker and all that it started."""
    _see_kin(worker)
    signal_group(worker.popen.pid, signal.SIGKILL)
    _kill_kin(worker)


def _kill_kin(worker: _Worker) -> None:
    for process in worker.kin:
        try:
            process.kill()  # told apart from a later process of the same number
        except Exception:
            pass


def _appended() -> IO[bytes]:
    """A file without a name whose writers all write at its end."""
    file = tempfile.TemporaryFile()
    import fcntl

    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


__all__ = ["ProcessExecutor"]
