"""Plain functions, in worker processes of plait's own: a stop is TERM and then KILL for the one worker that runs the task.

Workers are spawned, never forked: a fork takes locks along that nobody in the child will free. Where tasks are short a worker holds
several, so that it never waits for the engine between two of them; one that has nothing to do gets what another has not begun (E8).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from asyncio import TimerHandle
from pickle import loads
from typing import TYPE_CHECKING

from plait._core.scheduler import NOT_BEGUN
from plait.errors import UsageError, WorkerFailed
from plait.executors.adopting import end_marked, environments, is_subreaper
from plait.executors.base import Attempt, Ended, Interrupted, Output
from plait.executors.outputs import LATEST_BYTES
from plait.executors.pace import MOST_AHEAD_BYTES, Pace
from plait.executors.pickles import Encoder, end_of
from plait.executors.shortage import Shortage, is_short
from plait.executors.worker import (
    ENDED,
    HEAD,
    NUMBER,
    READY,
    RECEIVED_BYTES,
    RESULT,
    RETURNED,
    REVOKED,
)
from plait.executors.workers import Held, WorkerProcess, how, started_within_a_worker
from plait.logs import log

if TYPE_CHECKING:
    from plait.executors.contract import Sink

READ_BYTES = RECEIVED_BYTES

MOST_WRITTEN = 256 * 1024 * 1024
"""A worker whose calls wrote more bytes than that is replaced: what it wrote is on the disk until it ends."""

BAD_STARTS = 2
"""So many workers in a row that end before they can take a call: no more are started for this run."""

UNSAID = 3
"""A worker that holds fewer calls has told of all that it ended before it began the next one."""


class ProcessExecutor:
    """As many workers as there are CPUs at most, each started when a task waits and none is free."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = sink.loop
        self._most = _cpus()
        self._each = sink.max_tasks_per_worker
        self._encoder = Encoder()
        self._adopter = sink.adopter
        self._waiting: dict[Attempt, bytes] = {}
        self._workers: set[WorkerProcess] = set()
        self._numbers = self._started = 0
        self._pace = Pace()
        self._bad_starts = 0
        self._why_bad = ""
        self._shortage = Shortage(sink.loop, self._dispatch)
        self._coming = False  # is `_dispatch` to be called in this turn of the loop?
        self._look: TimerHandle | None = None
        self._check: TimerHandle | None = None
        self._check_at = 0.0
        # The name by which a worker knows the program's main module, and the classes of what it sends back.
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])

    # -- what the engine asks

    def start(self, attempt: Attempt) -> None:
        try:
            if started_within_a_worker():
                raise UsageError(
                    "a run with process tasks starts while a worker imports the program: start it under `if __name__ == '__main__':`"
                )
            data = self._encoder.encoded(attempt.call, self._sink.memory_limit(attempt))
        except BaseException as error:
            self._sink.report(attempt, Ended(self._sink.clock(), error=error))
            return
        if attempt.stopped_at is not None:
            self._loop.call_soon(self._withdrawn, attempt)
            return
        self._waiting[attempt] = data
        self._soon()

    def stop(self, attempt: Attempt) -> None:
        held: Held | None = attempt.handle
        if held is not None:
            self._take_results(held.worker)
            if attempt.handle is held:
                self._stop_given(held)
        elif self._waiting.pop(attempt, None) is not None:
            self._loop.call_soon(self._withdrawn, attempt)  # whoever stops it is in the middle of something

    def force(self, attempt: Attempt) -> bool:
        held: Held | None = attempt.handle
        if held is not None:
            self._take_results(held.worker)
            if attempt.handle is not held:
                return True
            if held.number != next(iter(held.worker.held)):
                return False  # the one before it keeps the worker from giving it back, and is not to be harmed
            held.worker.kill()
        return True

    def recall(self, attempt: Attempt) -> None:
        held: Held | None = attempt.handle
        if held is not None and held.lent:
            held.worker.unwanted[held.number] = None
            self._soon()

    def latest(self, attempt: Attempt) -> bytes:
        held: Held | None = attempt.handle
        if held is None or held.number != held.worker.board.begun[0]:
            return b""
        data, redactor = held.worker.latest(), self._sink.redactor
        if redactor is None:
            return data
        # One that is cut may begin in the middle of a secret.
        return redactor.whole(data.partition(b"\n")[2] if len(data) >= LATEST_BYTES else data)

    def heard(self, attempt: Attempt) -> float:
        held: Held | None = attempt.handle
        if held is None or held.number != held.worker.board.begun[0]:
            return self._sink.clock()  # it has not begun, or its end is about to be told
        now = time.monotonic()
        return held.worker.alive_at(now) + self._sink.clock() - now

    def close(self) -> None:
        self._waiting.clear()
        self._shortage.close()
        for timer in (self._check, self._look):
            if timer is not None:
                timer.cancel()
        for worker in list(self._workers):
            if worker.held or worker.stopping:
                worker.see_kin()
            self._let_go(worker)
            worker.sweep()
            try:
                worker.popen.wait(1.0)
            except subprocess.TimeoutExpired:
                pass  # the kernel holds it

    def _withdrawn(self, attempt: Attempt) -> None:
        """An attempt was stopped before a worker had it."""
        self._sink.report(attempt, Ended(self._sink.clock(), stopped=NOT_BEGUN))
        self._sink.more()

    def _stop_given(self, held: Held) -> None:
        """Ends a call that a worker has: by TERM if it is the first, else the worker is asked for it."""
        worker, number = held.worker, held.number
        if number != next(iter(worker.held)):
            worker.unwanted[number] = None
            self._soon()
            return
        if not worker.stopping:
            worker.stopping = True
            worker.see_kin()
        worker.unwanted.update(dict.fromkeys(each for each in worker.held if each != number))
        worker.ask()
        worker.terminate(number)

    # -- workers

    def _soon(self) -> None:
        """Has what waits given out once all that happens in this turn of the loop has happened."""
        if not self._coming:
            self._coming = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Gives what waits to workers, starts more of them where that is not enough, and asks for what is to come back."""
        self._coming = False
        pace = self._pace
        pace.plan(self._sink.unfinished, self._most, self._sink.patient)
        if self._waiting:
            self._give_out()
        # What waits for a worker that is about to come keeps no other one from work.
        if not self._waiting or not all(worker.ready for worker in self._workers):
            self._borrow()
        starting = staying = idle = 0
        unsaid = False
        for worker in self._workers:
            worker.board.together = pace.together
            if worker.unwanted:
                worker.ask()
            if worker.retiring and not worker.held and not worker.stopping:
                worker.stopping = True
                worker.sweep()  # all that it did is told; its end follows
            if worker.held:
                staying += 1
                unsaid = unsaid or len(worker.held) >= UNSAID
            elif not worker.retiring:  # one that is to be replaced has its place while it runs its last call
                staying += 1
                idle += worker.ready and worker.takes
            starting += not worker.ready
        if unsaid and self._look is None:
            self._look = self._loop.call_later(pace.look_s, self._look_at_boards)
        if not self._waiting:
            if idle:
                self._steal()
            return
        while len(self._waiting) > starting + idle and staying < self._most:
            if self._bad_starts >= BAD_STARTS:
                if not any(worker.ready for worker in self._workers):
                    self._give_up()
                return
            try:
                self._spawn(next(iter(self._waiting)))
            except OSError as error:
                self._why_bad = str(error)
                # Where there are workers what waits gets one of those.
                if not (self._workers or (is_short(error) and self._shortage.pause(self._others))):
                    self._give_up()
                return
            self._shortage.over()
            starting += 1
            staying += 1

    @property
    def _others(self) -> bool:
        """Does anything of the run hold a slot that does not wait here?"""
        return self._sink.used > len(self._waiting)

    def _give_out(self) -> None:
        """What waits goes to the workers that hold least; more than one call for each only where calls are short."""
        free = [worker for worker in self._workers if worker.ready and worker.takes]
        if not free:
            return
        # Workers that are about to come get their share of what waits.
        fair = -(-(len(self._waiting) + sum(len(worker.held) for worker in free)) // max(self._most, 1))
        most = max(1, min(self._pace.ahead, fair))
        given: dict[WorkerProcess, list[bytes]] = {}
        while self._waiting and free:
            worker = min(free, key=_held_by)
            size = len(next(iter(self._waiting.values())))
            if worker.held and (len(worker.held) >= most or worker.bytes + size > MOST_AHEAD_BYTES):
                break
            attempt = next(iter(self._waiting))
            self._give(worker, attempt, self._waiting.pop(attempt), False, given.setdefault(worker, []))
            if worker.retiring:
                free.remove(worker)
        for worker, parts in given.items():
            self._send(worker, parts)

    def _borrow(self) -> None:
        """Where calls are short, workers get some for which there is no slot yet, behind those that have one."""
        ahead = self._pace.ahead
        # In turn, whoever holds least first. `held` has no end that is not told here: nothing else happens meanwhile.
        short = [
            worker
            for worker in self._workers
            if 0 < len(worker.held) < ahead and worker.takes and worker.bytes <= MOST_AHEAD_BYTES
        ]
        if not short:
            return
        short.sort(key=_held_by)
        wanted = sum(ahead - len(worker.held) for worker in short)
        room = sum(MOST_AHEAD_BYTES - worker.bytes for worker in short)
        lent = self._sink.lend("process", self._pace.at_once(wanted, room))
        lent.reverse()
        given: dict[WorkerProcess, list[bytes]] = {worker: [] for worker in short}
        memory_limit = self._sink.memory_limit
        while lent and short:
            level = len(short[0].held) + 1
            for worker in list(short):
                if len(worker.held) >= level:
                    break
                try:
                    data = self._encoder.encoded(lent[-1].call, memory_limit(lent[-1]))
                except BaseException:
                    self._pace.stumbled()
                    short.clear()  # its failure is told when its turn comes
                    break
                self._give(worker, lent.pop(), data, True, given[worker])
                if level >= ahead or worker.bytes > MOST_AHEAD_BYTES or worker.retiring:
                    short.remove(worker)
                if not lent:
                    break
        for attempt in lent:
            self._sink.came_back(attempt)
        for worker, parts in given.items():
            if parts:
                self._send(worker, parts)

    def _steal(self) -> None:
        """An idle worker gets half of what the one with most has not begun; where that is given back it is given out again."""
        most = max(self._workers, key=_held_by, default=None)
        if most is None or most.asked or most.stopping or len(most.held) < 2:
            return
        behind = list(most.held)[1:]
        most.unwanted.update(dict.fromkeys(behind[len(behind) // 2 :]))
        most.ask()

    def _spawn(self, attempt: Attempt) -> None:
        environment = self._sink.environment(attempt)
        marks = {name: value for name, value in environment.items() if name in _OF_THE_RUN}
        self._started += 1
        self._adopts()
        worker = WorkerProcess({**marks, "PLAIT_WORKER": f"{os.getpid()}-{self._started}"})
        self._workers.add(worker)
        if self._adopter is not None:
            self._adopter.known.add(worker.pid)
        self._loop.add_reader(worker.connection, self._readable, worker)
        self._watch(worker)
        self._write(worker)

    def _watch(self, worker: WorkerProcess) -> None:
        """Has `_exited` called in the loop's thread once the process is dead, before it is reaped."""
        try:
            worker.pidfd = os.pidfd_open(worker.pid)
            self._loop.add_reader(worker.pidfd, self._exited, worker)
        except (AttributeError, NotImplementedError, OSError):  # no pidfd here, or no more descriptors
            if worker.pidfd >= 0:
                os.close(worker.pidfd)
                worker.pidfd = -1
            threading.Thread(target=self._wait, args=(worker,), daemon=True, name="plait-wait").start()

    def _wait(self, worker: WorkerProcess) -> None:
        try:
            os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass  # somebody else has waited for it
        try:
            self._loop.call_soon_threadsafe(self._exited, worker)
        except RuntimeError:
            pass  # the loop is closed, and `close` has seen to this process

    def _let_go(self, worker: WorkerProcess) -> None:
        """Nothing of the worker is looked at any more."""
        self._workers.discard(worker)
        self._loop.remove_reader(worker.connection)
        if worker.writing:
            self._loop.remove_writer(worker.connection)
        if worker.pidfd >= 0:
            self._loop.remove_reader(worker.pidfd)
        worker.close()

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

    def _give(self, worker: WorkerProcess, attempt: Attempt, data: bytes, lent: bool, parts: list[bytes]) -> None:
        number = self._numbers = self._numbers + 1
        attempt.handle = worker.held[number] = Held(attempt, data, number, worker, lent)
        worker.bytes += len(data)
        self._pace.sent(len(data))
        worker.given += 1
        if worker.given == self._each:
            worker.retiring = True
        self._sink.spawned(attempt, worker.pid)
        parts += (HEAD.pack(number, len(data)), data)
        if attempt.timed:
            self._check_by(self._loop.time() + attempt.timed)
            if self._sink.idle_timeout(attempt) is not None:
                worker.board.lines = True

    def _send(self, worker: WorkerProcess, parts: list[bytes]) -> None:
        worker.outbox.append(memoryview(b"".join(parts)))
        self._write(worker)

    def _write(self, worker: WorkerProcess) -> None:
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

    def _readable(self, worker: WorkerProcess) -> None:
        self._coming = True  # below, and not once more in the loop's next turn
        try:
            if self._read(worker) and worker in self._workers:
                self._loop.remove_reader(worker.connection)  # it is dead, which is told elsewhere
            self._sink.more()
        finally:
            self._dispatch()

    def _read(self, worker: WorkerProcess) -> bool:
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

    def _take_results(self, worker: WorkerProcess) -> None:
        """Takes what is on the board, and tells of what is next in order."""
        if worker not in self._workers:
            return
        early, held, data = worker.early, worker.held, worker.board.take()
        at, size = 0, len(data)
        while at < size:
            number, length, *told = RESULT.unpack_from(data, at)
            end = at + HEAD.size + length
            early[number] = (*told, data[at + RESULT.size : end])
            at = end
        if worker.telling or not early:
            return  # what one end leads to asks for the next one: that one's turn comes once the slot is passed on
        worker.telling = True
        behind = self._sink.clock() - time.monotonic()
        try:
            while early and worker in self._workers and (number := next(iter(held), 0)) in early:
                self._over(worker, number, behind, *early.pop(number))
        finally:
            worker.telling = False

    def _take_messages(self, worker: WorkerProcess, data: bytearray) -> None:
        at = 0
        while len(data) >= at + HEAD.size:
            number, size = HEAD.unpack_from(data, at)
            if len(data) < at + HEAD.size + size:
                break
            message = bytes(data[at + HEAD.size : at + HEAD.size + size])
            at += HEAD.size + size
            if number:
                worker.early[number] = (*ENDED.unpack_from(message), message[ENDED.size :])
            elif message[0] == READY:
                worker.ready = True
                self._bad_starts = 0
            elif message[0] == REVOKED:
                self._came_back(worker, *NUMBER.unpack_from(message, 1))
        del data[:at]

    def _came_back(self, worker: WorkerProcess, first: int) -> None:
        """The worker will not begin what it was asked for from that call on. What else it was asked for has begun, or is over."""
        asked, worker.asked = worker.asked, []
        numbers = [number for number in asked if number >= first]
        worker.given -= len(numbers)
        worker.retiring = worker.given == self._each or max(worker.seen) > MOST_WRITTEN
        self._unbegun([worker.take_from(number) for number in numbers])
        if worker not in self._workers:
            return
        self._take_results(worker)
        for number in asked:
            held = worker.held.get(number)
            if held is not None and held.attempt.stopped_at is not None and worker in self._workers:
                self._stop_given(held)

    def _unbegun(self, calls: list[Held]) -> None:
        """These calls, in their order, were with a worker that will not begin them."""
        self._waiting = {
            **{held.attempt: held.data for held in calls if held.attempt.stopped_at is None and not held.lent},
            **self._waiting,
        }
        for held in reversed(calls):
            if held.lent:
                self._sink.came_back(held.attempt)
            elif held.attempt.stopped_at is not None:
                self._sink.report(held.attempt, Ended(self._sink.clock(), stopped=NOT_BEGUN))

    def _over(
        self,
        worker: WorkerProcess,
        number: int,
        behind: float,
        kind: int,
        leaves: bool,
        began: float,
        ended: float,
        out: int,
        err: int,
        data: bytes,
    ) -> None:
        """A call is over. The run's clock is `behind` the system's by so much."""
        attempt = worker.take_from(number).attempt
        if worker.stopping and not leaves:
            worker.stopping = False  # the signal came too late for that call, and is for no other
            worker.kin = []
        self._pace.took(ended - began)
        at = ended + behind
        if attempt.timed:
            self._sink.began(attempt, began + behind)
        if out != worker.seen[0] or err != worker.seen[1]:
            self._tell_output(worker, attempt, (out, err))
        if leaves and attempt.stopped_at is not None:
            self._end_left(worker)
        following: Attempt | None = None
        for held in worker.held.values():
            if held.lent:
                held.lent = False
                following = held.attempt
            break
        if kind == RETURNED and attempt.stopped_at is None:
            try:
                value = loads(data)
            except BaseException:
                pass  # told below
            else:
                self._sink.returned(attempt.ticket, value, False, at, following)
                return
        self._sink.report(attempt, end_of(kind, data, at, attempt))
        if following is not None:
            self._sink.passed(following, at)

    def _adopts(self) -> bool:
        """Does what is left behind come to this process? A run that began later than this one may have made it so."""
        if self._adopter is None and is_subreaper():
            self._adopter = self._sink.adopter
            if self._adopter is not None:
                self._adopter.known.update(worker.pid for worker in self._workers)
        return self._adopter is not None

    def _end_left(self, worker: WorkerProcess) -> None:
        """Ends what calls of the worker left behind in sessions of their own."""
        if self._adopter is not None:
            self._adopter.end(worker.marks, worker.pid)
        else:
            carried = environments()
            carried.pop(worker.pid, None)
            end_marked(worker.marks, carried)

    # -- results that nobody told of: a worker tells of several at once, and may have begun a long call before it did

    def _look_at_boards(self) -> None:
        """Takes what is there. Looks again while calls come and go; one that runs for longer is told of at its end."""
        self._look = None
        now = time.monotonic()
        going = False
        for worker in list(self._workers):
            self._take_results(worker)
            if worker in self._workers and len(worker.held) >= UNSAID:
                number, began = worker.board.begun
                going |= number != next(iter(worker.held)) or now - began < self._pace.look_s
        self._sink.more()
        if going and self._look is None:
            self._look = self._loop.call_later(self._pace.look_s, self._look_at_boards)

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
            behind = self._sink.clock() - time.monotonic()
            number, began = worker.board.begun
            for held in list(worker.held.values()):
                if held.attempt.timed and held.number <= number:
                    self._sink.began(held.attempt, began + behind)
                elif held.attempt.timed:
                    self._check_by(now + held.attempt.timed)
        self._sink.more()

    def _tell_output(self, worker: WorkerProcess, attempt: Attempt, sizes: tuple[int, int]) -> None:
        """Reports what the task wrote, and keeps it where the run keeps such things."""
        paths = None
        if any(map(int.__ne__, sizes, worker.seen)):
            try:
                paths = self._sink.output_paths(attempt)
            except OSError as error:
                log.warning("what a task wrote is not kept: %s", error)
        for which, name in enumerate(("stdout", "stderr")):
            data, left_out = worker.take_written(which, sizes[which])
            worker.retiring |= worker.seen[which] > MOST_WRITTEN
            if data and self._sink.redactor is not None:
                data = self._sink.redactor.whole(data)
            if data:
                if paths is not None:
                    _keep(paths[which], data)
                self._sink.report(attempt, Output(name, data, left_out))

    def _exited(self, worker: WorkerProcess) -> None:
        """A worker is dead: what it said last still counts, the call that ran, if one did, came to nothing, the others never began."""
        if worker not in self._workers:
            return
        self._read(worker)
        if worker not in self._workers:
            return
        begun, _ = worker.board.begun
        ran = worker.take_from(begun).attempt if begun in worker.held else None
        if ran is not None:
            self._tell_output(worker, ran, worker.written())
        elif not worker.ready:
            self._bad_starts += 1
            self._why_bad = worker.last_error()
        worker.sweep()
        adopts = self._adopts()
        unbegun = [worker.take_from(number) for number in list(worker.held)]
        self._let_go(worker)
        if adopts or ran is not None:
            self._end_left(worker)
        if self._adopter is not None:
            self._adopter.known.discard(worker.pid)
        code = worker.popen.wait()
        if not worker.ready and not self._why_bad:
            self._why_bad = how(code)
        self._unbegun(unbegun)
        at = self._sink.clock()
        if ran is not None:
            if ran.stopped_at is not None:
                self._sink.report(ran, Ended(at, stopped=True))
            else:
                self._sink.report(ran, Interrupted(at, how(code)))
        self._sink.more()
        self._dispatch()


_OF_THE_RUN = ("PLAIT_RUN", "PLAIT_KEPT_IN")
"""What of a task's environment holds for all tasks of the run."""


def _keep(path: str, data: bytes) -> None:
    """Writes a file; where it cannot be written the task has a result all the same."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as kept:
            kept.write(data)
    except OSError as error:
        log.warning("what a task wrote is not kept: %s", error)


def _held_by(worker: WorkerProcess) -> int:
    return len(worker.held)


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


__all__ = ["ProcessExecutor"]
