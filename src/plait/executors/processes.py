"""Plain functions, in worker processes of plait's own: a stop is TERM and then KILL for the one worker that runs the task.

Workers are spawned, never forked: a fork takes locks along that nobody in the child will free. Where tasks are short a worker holds
several, so that it never waits for the engine between two of them; one that has nothing to do gets what another has not begun (E8).
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from asyncio import TimerHandle
from collections import deque
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from plait import points
from plait._core.scheduler import NOT_BEGUN
from plait.errors import UsageError, WorkerFailed
from plait.executors.base import Attempt, Ended, Interrupted, Output
from plait.executors.groups import read_back, signal_group, signal_name
from plait.executors.pickles import encoded, end_of
from plait.executors.worker import (
    BOARD_BYTES,
    ENDED,
    HEAD,
    NUMBER,
    PREPARING,
    READY,
    REVOKED,
    Board,
)

if TYPE_CHECKING:
    from plait.executors.contract import Sink

KEPT_BYTES = 8 * 1024 * 1024
"""Of each stream of a task, at most this much is read back into memory; the rest is counted."""

READ_BYTES = 256 * 1024

BAD_STARTS = 2
"""So many workers in a row that end before they can take a call: no more are started for this run."""

AHEAD_S, MOST_AHEAD, MOST_AHEAD_BYTES = 0.005, 64, 64 * 1024
"""Behind the call that runs a worker is given calls for so many seconds, by what calls took so far; never more of them than that, nor of
their bytes."""

RECENT = 0.2
"""The weight of the latest call in what calls take."""


class _Worker:
    """A worker process: what it has to do, what it has said."""

    __slots__ = (
        "asked", "asking", "board", "bytes", "connection", "early", "held", "inbox", "kin", "outbox", "output", "pidfd", "popen", "ready",
        "seen", "stopping", "telling", "unwanted", "writing",
    )  # fmt: skip

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        connection: socket.socket,
        asking: int,
        board: Board,
        output: tuple[IO[bytes], IO[bytes]],
    ) -> None:
        self.popen = popen
        self.connection = connection
        self.asking = asking
        self.board = board
        self.output = output
        self.seen = [0, 0]  # bytes of standard output and error that earlier tasks wrote
        self.pidfd = -1
        self.inbox = bytearray()
        self.outbox: deque[memoryview] = deque()
        self.writing = False
        self.ready = False
        self.stopping = False
        self.held: dict[int, tuple[Attempt, bytes]] = {}
        """Calls that it was given and that are not over, by number, in their order: only the first can have begun and not ended."""
        self.bytes = 0  # of the calls in `held`
        self.early: dict[int, bytes] = {}  # results that came before those of calls before them
        self.asked: list[int] = []  # calls that it was asked for, and has not answered
        self.unwanted: dict[int, None] = {}  # calls that it is to be asked for
        self.kin: list[Any] = []
        self.telling = False

    @property
    def takes(self) -> bool:
        """May it be given more? Not while it is asked for what it has: what is behind that would lose what it waits for."""
        return not (self.stopping or self.asked or self.unwanted)


class ProcessExecutor:
    """As many workers as there are CPUs at most, each started when a task waits and none is free."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = sink.loop
        self._most = _cpus()
        self._waiting: dict[Attempt, bytes] = {}
        self._workers: set[_Worker] = set()
        self._given: dict[Attempt, tuple[_Worker, int]] = {}
        self._lent: set[Attempt] = set()
        """Of those, what begins with the slot of the one in front of it: never the first that a worker holds."""
        self._numbers = 0
        self._usual_s: float | None = None  # what a call takes; None until one was over
        self._bad_starts = 0
        self._why_bad = ""
        self._coming = False  # is `_dispatch` to be called in this turn of the loop?
        self._check: TimerHandle | None = None
        self._check_at = 0.0
        # The name by which a worker knows the program's main module, and the classes of what it sends back.
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])

    # -- what the engine asks

    def start(self, attempt: Attempt) -> None:
        try:
            if PREPARING in os.environ:
                raise UsageError(
                    "a run with process tasks starts while a worker imports the program: start it under `if __name__ == '__main__':`"
                )
            data = encoded(attempt.call)
        except BaseException as error:
            self._sink.report(attempt, Ended(self._sink.clock(), error=error))
            return
        if attempt.stopped_at is not None:
            self._loop.call_soon(self._withdrawn, attempt)
            return
        self._waiting[attempt] = data
        self._soon()

    def stop(self, attempt: Attempt) -> None:
        if attempt in self._given:
            worker, number = self._given[attempt]
            self._take_results(worker)
            if attempt in self._given:
                self._stop_given(worker, number)
        elif self._waiting.pop(attempt, None) is not None:
            self._loop.call_soon(self._withdrawn, attempt)  # whoever stops it is in the middle of something

    def force(self, attempt: Attempt) -> bool:
        if attempt in self._given:
            worker, number = self._given[attempt]
            if number != next(iter(worker.held)):
                return False  # the one before it keeps the worker from giving it back, and is not to be harmed
            _kill(worker)
        return True

    def recall(self, attempt: Attempt) -> None:
        if attempt in self._lent:
            worker, number = self._given[attempt]
            worker.unwanted[number] = None
            self._soon()

    def close(self) -> None:
        self._waiting.clear()
        if self._check is not None:
            self._check.cancel()
        for worker in list(self._workers):
            held = bool(worker.held)
            self._let_go(worker)
            if held or worker.stopping:
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

    def _stop_given(self, worker: _Worker, number: int) -> None:
        """Ends a call that a worker has: by TERM if it is the first, else the worker is asked for it."""
        if number != next(iter(worker.held)):
            worker.unwanted[number] = None
            self._soon()
            return
        if not worker.stopping:
            worker.stopping = True
            _see_kin(worker)
        worker.unwanted.update(dict.fromkeys(each for each in worker.held if each != number))
        self._ask(worker)
        worker.board.stop = number
        # To the worker alone: it passes the signal on if that call still runs, for what the next one started is not to have it.
        with suppress(ProcessLookupError):
            os.kill(worker.popen.pid, signal.SIGTERM)
        signal_group(worker.popen.pid, signal.SIGCONT)  # a stopped process would sleep through TERM

    # -- workers

    def _soon(self) -> None:
        """Has what waits given out once all that happens in this turn of the loop has happened."""
        if not self._coming:
            self._coming = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Gives what waits to workers, starts more of them where that is not enough, and asks for what is to come back."""
        self._coming = False
        if self._waiting:
            self._give_out()
        if not self._waiting:
            self._borrow()
        for worker in self._workers:
            if worker.unwanted and not worker.asked:
                self._ask(worker)
        starting = sum(not worker.ready for worker in self._workers)
        idle = sum(worker.ready and not worker.held and worker.takes for worker in self._workers)
        if not self._waiting:
            if idle:
                self._steal()
            return
        while len(self._waiting) > starting + idle and len(self._workers) < self._most:
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

    def _give_out(self) -> None:
        """What waits goes to the workers that hold least; more than one call for each only where calls are short."""
        free = [worker for worker in self._workers if worker.ready and worker.takes]
        if not free:
            return
        ahead = self._ahead()
        # Workers that are about to come get their share of what waits.
        fair = -(-(len(self._waiting) + sum(len(worker.held) for worker in free)) // max(self._most, 1))
        most = max(1, min(ahead, fair))
        given: dict[_Worker, list[bytes]] = {}
        while self._waiting:
            worker = min(free, key=lambda each: len(each.held))
            size = len(next(iter(self._waiting.values())))
            if worker.held and (len(worker.held) >= most or worker.bytes + size > MOST_AHEAD_BYTES):
                break
            attempt = next(iter(self._waiting))
            self._give(worker, attempt, self._waiting.pop(attempt), given.setdefault(worker, []))
        for worker, parts in given.items():
            self._send(worker, parts)

    def _ahead(self) -> int:
        """How many calls a worker may hold, by what calls take."""
        if self._usual_s is None:
            return 1
        return 1 + min(MOST_AHEAD, int(AHEAD_S / max(self._usual_s, 1e-9)))

    def _borrow(self) -> None:
        """Where calls are short, workers get some for which there is no slot yet, behind those that have one."""
        ahead = self._ahead()
        short = [worker for worker in self._workers if worker.held and worker.takes and len(worker.held) < ahead]
        given: dict[_Worker, list[bytes]] = {}
        while short:
            worker = min(short, key=lambda each: len(each.held))
            if len(worker.held) >= ahead or worker.bytes > MOST_AHEAD_BYTES:
                break
            attempt = self._sink.lend("process")
            if attempt is None:
                break
            try:
                data = encoded(attempt.call)
            except BaseException:
                self._sink.came_back(attempt)  # its failure is told when its turn comes
                break
            self._lent.add(attempt)
            self._give(worker, attempt, data, given.setdefault(worker, []))
        for worker, parts in given.items():
            self._send(worker, parts)

    def _steal(self) -> None:
        """An idle worker gets half of what the one with most has not begun; where that is given back it is given out again."""
        most = max(self._workers, key=lambda each: len(each.held), default=None)
        if most is None or most.asked or most.stopping or len(most.held) < 2:
            return
        behind = list(most.held)[1:]
        most.unwanted.update(dict.fromkeys(behind[len(behind) // 2 :]))
        self._ask(most)

    def _ask(self, worker: _Worker) -> None:
        """Asks a worker for the calls that are unwanted there. It says which of them will not begin.

        And for all behind the first of them: what is lent needs the one in front of it to end.
        """
        if worker.unwanted and not worker.asked:
            first = min(worker.unwanted)
            wanted = [number for number in worker.held if number >= first]
            worker.unwanted.clear()
            if wanted:
                with suppress(OSError):  # it is dead, which is told elsewhere
                    os.write(worker.asking, b"".join(map(NUMBER.pack, wanted)))
                worker.asked = wanted

    def _spawn(self, attempt: Attempt) -> None:
        ours, theirs = socket.socketpair()
        fds: list[int] = []
        files: list[IO[bytes]] = []
        try:
            fds += os.pipe()
            memory = _shared()
            fds.append(memory)
            for _ in range(2):
                files.append(_appended())
            board = Board(memory)
            own = {name: value for name, value in self._sink.environment(attempt).items() if name in _OF_THE_RUN}
            points.reach("before spawn")
            passed = (theirs.fileno(), fds[0], memory)
            popen = subprocess.Popen(
                [sys.executable, *_flags(), "-m", "plait.executors.worker", *map(str, passed)],
                stdin=subprocess.DEVNULL,
                stdout=files[0],
                stderr=files[1],
                pass_fds=passed,
                env={**os.environ, **own},
                process_group=0,
            )
            points.reach("after spawn")
        except BaseException:
            ours.close()
            for file in files:
                file.close()
            if len(fds) > 1:
                os.close(fds.pop(1))
            raise
        finally:
            theirs.close()
            for fd in (fds[0], *fds[2:]) if fds else ():
                os.close(fd)
        ours.setblocking(False)
        os.set_blocking(fds[1], False)
        worker = _Worker(popen, ours, fds[1], board, (files[0], files[1]))
        self._workers.add(worker)
        self._loop.add_reader(ours, self._readable, worker)
        self._watch(worker)
        data = pickle.dumps(_preparation())
        self._send(worker, [HEAD.pack(0, len(data)), data])

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
        self._loop.remove_reader(worker.connection)
        if worker.writing:
            self._loop.remove_writer(worker.connection)
        worker.connection.close()
        os.close(worker.asking)
        worker.board.close()
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

    def _give(self, worker: _Worker, attempt: Attempt, data: bytes, parts: list[bytes]) -> None:
        self._numbers += 1
        number = self._numbers
        worker.held[number] = (attempt, data)
        worker.bytes += len(data)
        self._given[attempt] = (worker, number)
        self._sink.spawned(attempt, worker.popen.pid)
        parts += (HEAD.pack(number, len(data)), data)
        if attempt.timed:
            self._check_by(self._loop.time() + attempt.timed)

    def _taken_from(self, worker: _Worker, number: int) -> tuple[Attempt, bytes]:
        """The worker has that call no more."""
        attempt, data = worker.held.pop(number)
        worker.bytes -= len(data)
        worker.unwanted.pop(number, None)
        del self._given[attempt]
        return attempt, data

    def _send(self, worker: _Worker, parts: list[bytes]) -> None:
        worker.outbox.append(memoryview(b"".join(parts)))
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
        self._dispatch()

    def _read(self, worker: _Worker) -> bool:
        """Takes what the worker has said; True at its end."""
        inbox = worker.inbox
        self._take_results(worker)
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
            if len(inbox) < HEAD.size or len(inbox) < HEAD.size + HEAD.unpack_from(inbox)[1]:
                continue  # the rest of something large
            self._take_messages(worker, inbox)
            self._take_results(worker)
            if len(data) < READ_BYTES:
                return False
        return True

    def _take_results(self, worker: _Worker) -> None:
        """Takes what is on the board, and tells of what is next in order."""
        if worker not in self._workers:
            return
        self._take_messages(worker, bytearray(worker.board.take()))
        if worker.telling:
            return  # what one end leads to asks for the next one: that one's turn comes once the slot is passed on
        worker.telling = True
        try:
            while worker in self._workers and worker.early and (number := next(iter(worker.held), 0)) in worker.early:
                self._over(worker, number, worker.early.pop(number))
        finally:
            worker.telling = False

    def _take_messages(self, worker: _Worker, data: bytearray) -> None:
        at = 0
        while len(data) >= at + HEAD.size:
            number, size = HEAD.unpack_from(data, at)
            if len(data) < at + HEAD.size + size:
                break
            message = bytes(data[at + HEAD.size : at + HEAD.size + size])
            at += HEAD.size + size
            if number:
                worker.early[number] = message
            elif message[0] == READY:
                worker.ready = True
                self._bad_starts = 0
            elif message[0] == REVOKED:
                self._came_back(worker, [each for (each,) in NUMBER.iter_unpack(message[1:])])
        del data[:at]

    def _came_back(self, worker: _Worker, numbers: list[int]) -> None:
        """The worker will not begin these calls. What else it was asked for has begun, or is over."""
        asked, worker.asked = worker.asked, []
        self._unbegun([self._taken_from(worker, number) for number in numbers])
        if worker not in self._workers:
            return
        self._take_results(worker)
        for number in asked:
            held = worker.held.get(number)
            if held is not None and held[0].stopped_at is not None and worker in self._workers:
                self._stop_given(worker, number)

    def _unbegun(self, calls: list[tuple[Attempt, bytes]]) -> None:
        """These calls, in their order, were with a worker that will not begin them."""
        self._waiting = {
            **{attempt: data for attempt, data in calls if attempt.stopped_at is None and attempt not in self._lent},
            **self._waiting,
        }
        for attempt, _ in reversed(calls):
            if attempt in self._lent:
                self._lent.discard(attempt)
                self._sink.came_back(attempt)
            elif attempt.stopped_at is not None:
                self._sink.report(attempt, Ended(self._sink.clock(), stopped=NOT_BEGUN))

    def _over(self, worker: _Worker, number: int, message: bytes) -> None:
        """A call is over."""
        kind, leaves, began, ended, out, err = ENDED.unpack_from(message)
        attempt, _ = self._taken_from(worker, number)
        if worker.stopping and not leaves:
            worker.stopping = False  # the signal came too late for that call, and is for no other
            worker.kin = []
        took = ended - began
        self._usual_s = took if self._usual_s is None else self._usual_s + RECENT * (took - self._usual_s)
        at = self._at(ended)
        if attempt.timed:
            self._sink.began(attempt, self._at(began))
        end = end_of(kind, message[ENDED.size :], at, attempt)
        if out != worker.seen[0] or err != worker.seen[1]:
            self._tell_output(worker, attempt, (out, err))
        self._sink.report(attempt, end)
        following = next(iter(worker.held.values()), None)
        if following is not None and following[0] in self._lent and worker in self._workers:
            self._lent.discard(following[0])
            self._sink.passed(following[0])

    def _at(self, monotonic: float) -> float:
        """A moment of the system's clock on the run's."""
        return self._sink.clock() - max(0.0, time.monotonic() - monotonic)

    # -- when calls with a timeout began

    def _check_by(self, at: float) -> None:
        """No call with a timeout can have passed it before `at`: its code begins after it was given."""
        if self._check is None or at < self._check_at:
            if self._check is not None:
                self._check.cancel()
            self._check_at = at
            self._check = self._loop.call_at(at, self._look_who_began)

    def _look_who_began(self) -> None:
        """Tells of calls with a timeout that they began; the run's own timer sees to the rest."""
        self._check = None
        now = self._loop.time()
        for worker in list(self._workers):
            self._take_results(worker)
            if worker not in self._workers:
                continue
            number, began = worker.board.begun
            for each, (attempt, _) in list(worker.held.items()):
                if attempt.timed and each <= number:
                    self._sink.began(attempt, self._at(began))
                elif attempt.timed:
                    self._check_by(now + attempt.timed)
        self._sink.more()

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
        """A worker is dead: what it said last still counts, the call that ran, if one did, came to nothing, the others never began."""
        if worker not in self._workers:
            return
        self._read(worker)
        if worker not in self._workers:
            return
        sizes = (os.fstat(worker.output[0].fileno()).st_size, os.fstat(worker.output[1].fileno()).st_size)
        begun, _ = worker.board.begun
        ran = worker.held[begun][0] if begun in worker.held else None
        if ran is not None:
            self._taken_from(worker, begun)
            self._tell_output(worker, ran, sizes)
        elif not worker.ready:
            self._bad_starts += 1
            self._why_bad = _last_error(read_back(worker.output[1], 0, KEPT_BYTES))
        # Not reaped yet: its number, which is its group's, cannot have passed to somebody else.
        signal_group(worker.popen.pid, signal.SIGKILL)
        _kill_kin(worker)
        unbegun = [self._taken_from(worker, number) for number in list(worker.held)]
        self._let_go(worker)
        code = worker.popen.wait()
        if not worker.ready and not self._why_bad:
            self._why_bad = _how(code)
        self._unbegun(unbegun)
        at = self._sink.clock()
        if ran is not None:
            if ran.stopped_at is not None:
                self._sink.report(ran, Ended(at, stopped=True))
            else:
                self._sink.report(ran, Interrupted(at, _how(code)))
        self._sink.more()
        self._dispatch()


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


__all__ = ["ProcessExecutor"]
