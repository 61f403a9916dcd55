"""Commands, each in its own process group: TERM and KILL reach all of it, and nothing of it outlives its task.

Output comes through pipes, or goes to files where the run keeps it (where it has secrets through pipes into files, without them): a command never waits for long to write, and whoever holds its
output after its group is gone holds nobody up.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

from plait._core.scheduler import NOT_BEGUN
from plait.calls.shell import ShellCommand, tail
from plait.errors import CommandFailed
from plait.executors.adopting import end_marked, environments, is_subreaper
from plait.executors.base import Attempt, Ended, Output
from plait.executors.groups import living_groups, signal_group, signal_name, signal_process
from plait.executors.outputs import File, Filtered, Pipe, Stream
from plait.executors.shortage import Shortage, is_short
from plait.executors.spawning import Spawner
from plait.executors.watchdog import Watchdog
from plait.executors.watching import Watch

if TYPE_CHECKING:
    from plait.executors.contract import Sink

YOUNG_S = 0.005
"""A command that ends within so much is read at its end: until then nobody looks whether it wrote something."""

SHOWN_S = 0.1
"""How often what commands write into files is looked at, where somebody wants to see it as it comes."""

SHOWN_AT_ONCE = 4
"""Pieces of one file that are told in one such look: a command that writes much holds nobody up."""

CLOSING_S = 1.0
"""So long the end of a run waits for a killed command; longer only the kernel holds one."""


class _Process:
    """A started command with what it writes."""

    __slots__ = ("command", "left", "pid", "pidfd", "popen", "streams", "waiter")

    def __init__(
        self, command: ShellCommand, pid: int, popen: subprocess.Popen[bytes] | None, streams: list[Stream]
    ) -> None:
        self.command = command
        self.pid = pid
        self.popen = popen
        self.streams = streams  # standard output, standard error
        self.pidfd = -1
        self.waiter: threading.Thread | None = None  # where there is no pidfd
        self.left: list[int] = []  # pidfds of what is left of the group, while it has its grace

    def wait_dead(self, seconds: float) -> None:
        """Waits for the death of the leader, at most so long."""
        if self.waiter is not None:
            self.waiter.join(seconds)
        elif self.pidfd >= 0:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            poll.poll(seconds * 1000)

    def reap(self) -> int | None:
        """Lets the dead leader go; gives its exit code, negative for a signal. None if somebody else has that, or it is not dead."""
        if self.popen is not None:
            self.popen.returncode = 0  # it is not to wait for anybody
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status) if pid else None


class ShellExecutor:
    """Runs `ShellCommand`s. `stop` sends TERM to the group, `force` KILL."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._watch = Watch(sink.loop)
        self._spawner = Spawner()
        self._watchdog = Watchdog()
        self._adopter = sink.adopter
        self._spare: list[Pipe] = []
        self._young: dict[Stream, None] = {}
        """Those whose output is not watched yet."""
        self._looking: asyncio.TimerHandle | None = None
        self._shown: dict[Stream, tuple[Attempt, str]] = {}
        """Those that are told as they come, by whom and as what they are written."""
        self._showing: asyncio.TimerHandle | None = None
        self._running: dict[Attempt, _Process] = {}
        self._short: dict[Attempt, None] = {}
        """Those for which the system had no descriptors, processes or memory left: each end of another one lets them try again."""
        self._shortage = Shortage(sink.loop, self._try_again)
        # Of all living processes, for one turn of the loop: by group, and what they carry in their environment.
        self._groups: dict[int, list[int]] | None = None
        self._carried: dict[int, set[bytes]] | None = None

    def start(self, attempt: Attempt) -> None:
        if attempt.stopped_at is not None:
            self._sink.loop.call_soon(self._withdrawn, attempt)
        elif self._short or not self._begin(attempt):
            self._short[attempt] = None  # who came first goes first

    def _begin(self, attempt: Attempt) -> bool:
        """Starts the command of an attempt, or says why it cannot be; false if it is to wait for the end of another one, or a while."""
        command: ShellCommand
        _, command, args, kwargs = attempt.call
        try:
            command = command.filled(*args, **(kwargs or {}))
            process = self._spawn(attempt, command)
        except BaseException as error:
            if is_short(error) and (self._running or self._shortage.pause(self._others)):
                return False
            self._sink.report(attempt, Ended(self._sink.clock(), error=_why_not_started(error, command)))
            return True
        self._shortage.over()
        self._running[attempt] = process
        attempt.handle = process
        self._sink.spawned(attempt, process.pid)
        if attempt.timed:
            self._sink.began(attempt, self._sink.clock())
        self._wait_on(attempt, process)
        return True

    @property
    def _others(self) -> bool:
        """Does anything of the run hold a slot that does not wait here, beside the one at hand?"""
        return self._sink.used > len(self._short) + 1

    def _try_again(self) -> None:
        self._begin_short()
        self._sink.more()

    def _begin_short(self) -> None:
        """Starts what waits for room, in order."""
        while self._short:
            attempt = next(iter(self._short))
            del self._short[attempt]
            if not self._begin(attempt):
                self._short = {attempt: None, **self._short}
                break

    def _withdrawn(self, attempt: Attempt) -> None:
        """An attempt was stopped before its command was started."""
        self._sink.report(attempt, Ended(self._sink.clock(), stopped=NOT_BEGUN))
        self._sink.more()

    def stop(self, attempt: Attempt) -> None:
        if attempt in self._short:
            del self._short[attempt]
            self._sink.loop.call_soon(self._withdrawn, attempt)  # whoever stops it is in the middle of something
        elif attempt in self._running:
            pid = attempt.handle.pid
            for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process would sleep through TERM
                signal_group(pid, number)
                for each in self._adopted(attempt):
                    signal_process(each, number)

    def force(self, attempt: Attempt) -> bool:
        if attempt in self._running:
            signal_group(attempt.handle.pid, signal.SIGKILL)
            self._end_adopted(attempt, attempt.handle)
        return True

    def latest(self, attempt: Attempt) -> bytes:
        if attempt not in self._running:
            return b""
        process: _Process = attempt.handle
        out, err = process.streams
        return out.latest() or err.latest()

    def heard(self, attempt: Attempt) -> float:
        now = self._sink.clock()
        if attempt not in self._running:
            return now  # it has not begun, or its end is about to be told
        process: _Process = attempt.handle
        if process.streams[0] in self._shown:
            self._show_soon()  # what is read here
        return max(stream.heard_by(now) for stream in process.streams)

    def _adopts(self) -> bool:
        """Does what is left behind come to this process? A run that began later than this one may have made it so."""
        if self._adopter is None and is_subreaper():
            self._adopter = self._sink.adopter
            if self._adopter is not None:
                self._adopter.known.update((self._watchdog.pid, *(each.handle.pid for each in self._running)))
        return self._adopter is not None

    def _adopted(self, attempt: Attempt) -> list[int]:
        """What an attempt started and nobody else has any more."""
        return [] if self._adopter is None else self._adopter.adopted(self._sink.environment(attempt))

    def _end_adopted(self, attempt: Attempt, process: _Process) -> None:
        if self._adopter is not None:
            self._adopter.end(self._sink.environment(attempt), process.pid)

    def _end_escaped(self, attempt: Attempt) -> None:
        """Ends what a stopped attempt started and nobody has any more, where that does not come to us."""
        if self._carried is None:
            self._carried = environments()
            self._sink.loop.call_soon(self._forget_looks)
        end_marked(self._sink.environment(attempt), self._carried)

    def close(self) -> None:
        self._short.clear()
        self._shortage.close()
        for attempt in list(self._running):
            process = self._running.pop(attempt)
            signal_group(process.pid, signal.SIGKILL)
            process.wait_dead(CLOSING_S)
            process.reap()
            self._unwatch(process)
            self._close(process)
        self._spawner.close()
        for timer in (self._looking, self._showing):
            if timer is not None:
                timer.cancel()
        self._shown.clear()
        for pipe in self._spare:
            pipe.close()
        self._spare.clear()
        self._watch.close()
        self._watchdog.close()

    def _spawn(self, attempt: Attempt, command: ShellCommand) -> _Process:
        argv = command.full_argv
        if not argv or not argv[0]:
            raise CommandFailed("the command is empty", retryable=False)
        memory = self._sink.memory_limit(attempt)
        if memory is not None:
            # Where it cannot be had a lower one holds already.
            argv = ("/bin/sh", "-c", 'ulimit -v "$0" 2>/dev/null; exec "$@"', str(-(-memory // 1024)), *argv)
        added = {**(command.env or {}), **self._sink.environment(attempt)}
        streams: list[Stream] = []
        try:
            redactor = self._sink.redactor
            for path in self._sink.output_paths(attempt) or (None, None):
                if redactor is not None:
                    streams.append(Filtered(command.kept_bytes, redactor.filter(), path))
                elif path is not None:
                    streams.append(File(command.kept_bytes, path))
                else:
                    pipe = self._spare.pop() if self._spare else Pipe()
                    streams.append(pipe.keeps(command.kept_bytes))
            out, err = streams
            pid, popen = self._spawner.spawn(argv, added, command.cwd, out.end, err.end, self._sink.hidden)
        except BaseException:
            for stream in streams:
                stream.close()
            raise
        self._watchdog.add(pid)
        if self._adopter is not None:
            self._adopter.known |= {pid, self._watchdog.pid}
        for stream in streams:
            stream.started()
        if self._sink.shows_output:
            for name, stream in (("stdout", out), ("stderr", err)):
                stream.shown = True
                self._shown[stream] = attempt, name
            if not out.piped:
                self._show_soon()
        process = _Process(command, pid, popen, streams)
        if out.fd >= 0:
            self._young.update(dict.fromkeys(streams))
            if self._looking is None:
                self._looking = self._sink.loop.call_later(YOUNG_S, self._watch_output)
        return process

    # -- waiting

    def _wait_on(self, attempt: Attempt, process: _Process) -> None:
        """Has `_exited` called once the leader of the group is dead, before it is reaped."""
        try:
            process.pidfd = os.pidfd_open(process.pid)
            self._watch.add(process.pidfd, partial(self._exited, attempt, process))
        except (AttributeError, NotImplementedError, OSError):  # no pidfd here, or no more descriptors
            if process.pidfd >= 0:
                os.close(process.pidfd)
                process.pidfd = -1
            process.waiter = threading.Thread(
                target=self._wait, args=(attempt, process), daemon=True, name="plait-wait"
            )
            process.waiter.start()

    def _wait(self, attempt: Attempt, process: _Process) -> None:
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass  # somebody else has waited for it
        try:
            self._sink.loop.call_soon_threadsafe(self._exited, attempt, process)
        except RuntimeError:
            pass  # the loop is closed, and `close` has seen to this process

    def _watch_output(self) -> None:
        """Has the output of commands that go on read as it comes: else one that writes much would wait."""
        self._looking = None
        young, self._young = self._young, {}
        for stream in young:
            try:
                self._watch.add(stream.fd, partial(self._readable, stream))
            except OSError:  # the system has no room for that
                stream.read()
                self._young[stream] = None
        if self._young:
            self._looking = self._sink.loop.call_later(YOUNG_S, self._watch_output)

    def _readable(self, stream: Stream) -> None:
        """Takes what a command wrote; a pipe whose other end is closed is let go."""
        if stream.read():
            stream.heard = self._sink.clock()
            if stream in self._shown:
                self._tell(stream)
        else:
            self._let_go_of(stream)

    def _show_soon(self) -> None:
        if self._showing is None:
            self._showing = self._sink.loop.call_later(SHOWN_S, self._show)

    def _show(self) -> None:
        """Tells what was written into files since the last look."""
        self._showing = None
        for stream in list(self._shown):
            if stream in self._shown:  # what is told may end others
                self._tell(stream, SHOWN_AT_ONCE)
        if any(not stream.piped for stream in self._shown):
            self._show_soon()

    def _tell(self, stream: Stream, most: int = sys.maxsize) -> None:
        """Tells what a command wrote since that was told last."""
        attempt, name = self._shown[stream]
        while most > 0 and (data := stream.more()):
            self._sink.report(attempt, Output(name, data))
            most -= 1

    def _let_go_of(self, stream: Stream) -> None:
        if stream.fd >= 0:
            self._watch.remove(stream.fd)
        stream.close()

    def _exited(self, attempt: Attempt, process: _Process) -> None:
        if attempt not in self._running:
            return
        if process.pidfd >= 0:
            self._watch.remove(process.pidfd)
        # What the command left behind in its group ends with it. The leader is not reaped yet, so the group's number
        # cannot have passed to somebody else.
        if attempt.stopped_at is None or not self._watch_group(attempt, process):
            self._group_ended(attempt, process)

    def _watch_group(self, attempt: Attempt, process: _Process) -> bool:
        """A stopped command's children have their grace too: waits for each of them. False if there are none."""
        for pid in (*self._members(process.pid), *self._adopted(attempt)):
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue  # it just ended
            except (OSError, AttributeError):
                break  # no way to wait for it: it ends now
            try:
                self._watch.add(pidfd, partial(self._member_ended, attempt, process, pidfd))
            except OSError:
                os.close(pidfd)
                break
            process.left.append(pidfd)
        return bool(process.left)

    def _members(self, group: int) -> list[int]:
        """The living processes of a group, but for its leader. Many commands that end together share one look."""
        if self._groups is None:
            self._groups = living_groups()
            self._sink.loop.call_soon(self._forget_looks)
        return [pid for pid in self._groups.get(group, ()) if pid != group]

    def _forget_looks(self) -> None:
        self._groups = self._carried = None

    def _member_ended(self, attempt: Attempt, process: _Process, pidfd: int) -> None:
        self._watch.remove(pidfd)
        os.close(pidfd)
        process.left.remove(pidfd)
        # The last one may have started others meanwhile.
        if not process.left and not self._watch_group(attempt, process):
            self._group_ended(attempt, process)

    def _unwatch(self, process: _Process) -> None:
        for stream in process.streams:
            # One that is young is not watched yet.
            if self._young.pop(stream, stream) is stream and stream.fd >= 0:
                self._watch.remove(stream.fd)
        if process.pidfd >= 0:
            self._watch.remove(process.pidfd)
        for fd in process.left:
            self._watch.remove(fd)

    def _close(self, process: _Process) -> None:
        """Lets go of all its descriptors, none of which is watched any more."""
        for pidfd in (process.pidfd, *process.left):
            if pidfd >= 0:
                os.close(pidfd)
        process.pidfd = -1
        process.left = []
        for stream in process.streams:
            stream.close()

    # -- the end

    def _group_ended(self, attempt: Attempt, process: _Process) -> None:
        adopts = self._adopts()
        del self._running[attempt]
        signal_group(process.pid, signal.SIGKILL)
        self._watchdog.remove(process.pid)
        if adopts:
            self._end_adopted(attempt, process)
        elif attempt.stopped_at is not None:
            self._end_escaped(attempt)
        code = process.reap()
        if self._adopter is not None:
            self._adopter.known.discard(process.pid)
        for stream in process.streams:
            stream.finish()
        self._unwatch(process)
        if self._short:
            self._close(process)
        self._report_end(attempt, process, code)
        self._begin_short()
        self._sink.more()
        # What follows takes as long as all that comes before: the next one was started first.
        self._close(process)
        self._begin_short()
        self._prepare(process)

    def _prepare(self, last: _Process) -> None:
        """Makes the pipes of the next command, while those that run are at work."""
        if self._running and not self._short and not self._spare and type(last.streams[0]) is Pipe:
            try:
                for _ in range(2):
                    self._spare.append(Pipe())
            except OSError:
                pass  # the system has no room for them

    def _report_end(self, attempt: Attempt, process: _Process, code: int | None) -> None:
        out, err = (bytes(stream.data) for stream in process.streams)
        left_out = process.streams[0].size - len(out)
        for stream in process.streams if self._shown else ():
            if stream in self._shown:
                self._tell(stream)
                del self._shown[stream]
        shown = process.streams[0].shown
        for name, data, left in (("stdout", out, left_out), ("stderr", err, process.streams[1].size - len(err))):
            if data and not shown:
                self._sink.report(attempt, Output(name, data, left))
        error: Exception | None = None
        value = None
        if code != 0:
            error = _failure(code, out, err)
        else:
            try:
                value = process.command.value(out, left_out)
            except Exception as raised:
                error = raised
        stopped = attempt.stopped_at is not None
        if error is None and not stopped:
            self._sink.returned(attempt.ticket, value)
        else:
            self._sink.report(attempt, Ended(self._sink.clock(), value, error, stopped=stopped))


def _failure(code: int | None, out: bytes, err: bytes) -> CommandFailed:
    """The error for a command that ended with `code`, negative for a signal."""
    if code is None:
        return CommandFailed(
            "its exit code is lost: this program ignores SIGCHLD, or waits for any child that it has", retryable=False
        )
    shown = tail(err) or tail(out)
    last = f": {shown.splitlines()[-1]}" if shown else ""
    if code < 0:
        name = signal_name(-code)
        return CommandFailed(f"killed by {name}{last}", signal=name, tail=shown)
    if code == 127:
        return CommandFailed(f"exit 127, command not found{last}", exit_code=127, tail=shown, retryable=False)
    if code == 126:
        return CommandFailed(f"exit 126, command cannot be executed{last}", exit_code=126, tail=shown, retryable=False)
    if code > 128 and (name := signal_name(code - 128)).startswith("SIG"):
        return CommandFailed(f"exit {code}, as after {name}{last}", exit_code=code, tail=shown)
    return CommandFailed(f"exit {code}{last}", exit_code=code, tail=shown)


def _short(name: str) -> str:
    """A name that may be of any length, and hold anything, on one line."""
    shown = name if name.isprintable() else repr(name)
    return shown if len(shown) <= 200 else f"{shown[:100]}...{shown[-97:]}"


def _why_not_started(error: BaseException, command: ShellCommand) -> BaseException:
    """A `CommandFailed` that names the cause, where the system refused to start the command."""
    program = _short(command.full_argv[0] if command.full_argv else "")
    if isinstance(error, ValueError):
        return CommandFailed(f"the command cannot be started: {error}", retryable=False)
    if not isinstance(error, OSError):
        return error
    missing = error.filename is not None and os.fspath(error.filename) == command.cwd
    if missing:
        return CommandFailed(f"the folder {_short(repr(command.cwd))} to run in: {error.strerror}", retryable=False)
    if error.errno == errno.ENOENT:
        return CommandFailed(f"exit 127, command not found: {program}", exit_code=127, retryable=False)
    if error.errno in (errno.EACCES, errno.ENOEXEC, errno.EISDIR):
        return CommandFailed(
            f"exit 126, command cannot be executed: {program}: {error.strerror}", exit_code=126, retryable=False
        )
    if error.errno == errno.E2BIG:
        return CommandFailed(
            "an argument or the environment is too long for the system (E2BIG): pass it in a file", retryable=False
        )
    hint = ": raise the limit of open files (ulimit -n)" if error.errno == errno.EMFILE else ""
    return CommandFailed(f"{program} cannot be started: {error.strerror or error}{hint}")


__all__ = ["ShellExecutor", "signal_name"]
